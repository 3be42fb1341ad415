"""IEEE 802.2 logical link control, and the SNAP header that many an Ethernet type hides behind (RFC 1042)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.assigned import ETHERTYPES
from echowire.core.packets.columns import Column, Type
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol

SNAP = 0xAA
ETHERNET_OUIS = (0x000000, 0x0000F8)
"""Organizations by which an Ethernet type follows: RFC 1042's, and 802.1H's for bridged frames."""

BRIDGED_OUI, CISCO_OUI = 0x0080C2, 0x00000C
UNNUMBERED = 0x03
"""The low bits of the control field of an unnumbered frame, whose control field is one byte."""

ACCESS_POINTS = {
    0x00: "NULL LSAP",
    0x02: "LLC Sub-Layer Management",
    0x04: "SNA Path Control",
    0x06: "TCP/IP",
    0x08: "SNA",
    0x0E: "PROWAY (IEC955) Network Management and Initialization",
    0x18: "Texas Instruments",
    0x42: "Spanning Tree BPDU",
    0x4E: "EIA RS-511 Manufacturing Message Service",
    0x7E: "ISO 8208 (X.25 over 802.2)",
    0x7F: "ISO 802.2",
    0x80: "Xerox Network Systems (XNS)",
    0x82: "BACnet",
    0x86: "Nestar",
    0x8E: "PROWAY (IEC955) Active Station List Maintenance",
    0x98: "ARP",
    0xAA: "SNAP",
    0xBA: "Banyan Vines",
    0xBC: "Banyan Vines",
    0xD4: "IBM Resource Management",
    0xDC: "IBM Dynamic Address Resolution",
    0xE0: "NetWare",
    0xEC: "CLNP over 802.2",
    0xF0: "NetBIOS",
    0xF4: "IBM Net Management",
    0xF8: "IBM Net Management",
    0xFC: "HP JetDirect Printer",
    0xFE: "ISO Network Layer",
    0xFF: "Global LSAP",
}
SUPERVISORY = {0: "RR", 1: "RNR", 2: "REJ"}
COMMANDS = {0x00: "UI", 0x40: "DISC", 0x6C: "SABME", 0xAC: "XID", 0xE0: "TEST"}
RESPONSES = {0x60: "UA", 0x0C: "DM", 0x84: "FRMR", 0xAC: "XID", 0xE0: "TEST"}
ORGANIZATIONS = {
    0x000000: "Officially Xerox, but 0:0:0:0:0:0 is more common",
    0x0000F8: "Cisco 90-Compatible",
    CISCO_OUI: "Cisco Systems, Inc",
    BRIDGED_OUI: "IEEE 802.1",
}


def _control_bytes(layer: Layer) -> Rows:
    """One byte of control field in an unnumbered frame, two in others."""
    one = (layer.uint(2, 1) & UNNUMBERED) == UNNUMBERED
    return np.where(one & layer.has(3), 1, 2)


def _is_snap(layer: Layer) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (layer.uint(0, 1) & 0xFE == SNAP) & (layer.uint(1, 1) & 0xFE == SNAP) & layer.has(8)
    return found


def header_bytes(layer: Layer) -> Rows:
    """Its length, with SNAP's."""
    control = _control_bytes(layer)
    return np.where(_is_snap(layer), control + 7, control + 2)


def _oui(layer: Layer) -> NDArray[np.unsignedinteger]:
    return layer.uint(2 + _control_bytes(layer), 3)


def _pid(layer: Layer) -> NDArray[np.unsignedinteger]:
    return layer.uint(5 + _control_bytes(layer), 2)


def _control(layer: Layer) -> Picked:
    index = np.flatnonzero(layer.has(2 + _control_bytes(layer)))
    one = _control_bytes(layer)[index] == 1
    value = np.where(one, layer.uint(2, 1)[index], layer.uint(2, 2, little=True)[index])
    return Picked(index, value.astype(np.uint16))


def _snap_field(layer: Layer, values: Column, where: NDArray[np.bool_]) -> Picked:
    index = np.flatnonzero(_is_snap(layer) & where)
    return Picked(index, values[index])


def _is_ethernet(layer: Layer) -> NDArray[np.bool_]:
    return np.isin(_oui(layer), ETHERNET_OUIS)


def _next(layer: Layer) -> Iterator[Next]:
    start = layer.start + header_bytes(layer)
    snap, oui, pid = _is_snap(layer), _oui(layer), _pid(layer)
    for table, which in (
        ("ethertype", snap & _is_ethernet(layer)),
        ("llc.cisco_pid", snap & (oui == CISCO_OUI)),
        ("llc.bridged_pid", snap & (oui == BRIDGED_OUI)),
        ("", snap & ~_is_ethernet(layer) & (oui != CISCO_OUI) & (oui != BRIDGED_OUI)),
    ):
        index = np.flatnonzero(which)
        yield Next(table, (pid[index],), index, start[index], layer.wire_end[index])
    information = np.isin(layer.uint(2, 1) & 3, (0, 2)) | np.isin(layer.uint(2, 1) & 0xEF, (0x03, 0xAF, 0xE3))
    index = np.flatnonzero(layer.has(3) & ~snap & information & (layer.wire_end > start))
    yield Next("llc.dsap", (layer.uint(0, 1)[index] & 0xFE,), index, start[index], layer.wire_end[index])


def _kind(control: int, source: int) -> str:
    """What sort of frame it is, as Info says it: `U P, func=SABME`."""
    answer = source & 1
    final = "F" if answer else "P"
    if control & 3 == UNNUMBERED:
        bit = f" {final}" if control & 0x10 else ""
        names = RESPONSES if answer else COMMANDS
        return f"U{bit}, func={names.get(control & 0xEC, 'Unknown')}"
    bit = f" {final}" if control & 0x100 else ""
    if control & 3 == 1:
        return f"S{bit}, func={SUPERVISORY.get(control >> 2 & 3, 'Unknown')}, N(R)={control >> 9}"
    return f"I{bit}, N(R)={control >> 9}, N(S)={control >> 1 & 0x7F}"


def _points(target: int, source: int) -> tuple[str, str]:
    group, answer = "Group" if target & 1 else "Individual", "Response" if source & 1 else "Command"
    named = [ACCESS_POINTS.get(point & 0xFE, f"0x{point & 0xFE:02x}") for point in (target, source)]
    return f"{named[0]} {group}", f"{named[1]} {answer}"


def _info(layer: Layer) -> list[str | None]:
    controls = np.where(_control_bytes(layer) == 1, layer.uint(2, 1), layer.uint(2, 2, little=True))
    columns = (layer.has(3), controls, layer.uint(0, 1), layer.uint(1, 1))
    found: list[str | None] = []
    for has, control, target, source in zip(*(column.tolist() for column in columns), strict=True):
        points = _points(target, source)
        found.append(f"{_kind(control, source)}; DSAP {points[0]}, SSAP {points[1]}" if has else None)
    return found


PROTOCOLS = (
    Protocol(
        "llc",
        "Logical-Link Control",
        "LLC",
        fields=(
            Field("llc.dsap", "DSAP", Type.UINT8, 0, base="hex", names=ACCESS_POINTS),
            Field("llc.dsap.ig", "IG Bit", Type.BOOLEAN, 0, mask=0x01, under="llc.dsap"),
            Field("llc.ssap", "SSAP", Type.UINT8, 1, base="hex", names=ACCESS_POINTS),
            Field("llc.ssap.cr", "CR Bit", Type.BOOLEAN, 1, mask=0x01, under="llc.ssap"),
            Field("llc.control", "Control", Type.UINT16, base="hex", make=_control),
            Field(
                "llc.oui",
                "Organization Code",
                Type.UINT24,
                names=ORGANIZATIONS,
                make=lambda layer: _snap_field(layer, _oui(layer), layer.has(3)),
            ),
            Field(
                "llc.type",
                "Type",
                Type.UINT16,
                base="hex",
                names=ETHERTYPES,
                make=lambda layer: _snap_field(layer, _pid(layer), _is_ethernet(layer)),
            ),
            Field(
                "llc.cisco_pid",
                "PID",
                Type.UINT16,
                base="hex",
                names={0x0111: "UDLD", 0x2000: "CDP", 0x2003: "VTP", 0x2004: "DTP", 0x010B: "PVSTP+"},
                make=lambda layer: _snap_field(layer, _pid(layer), _oui(layer) == CISCO_OUI),
            ),
        ),
        keys=(
            ("802.3", 0),
            ("sll.ltype", 4),
            ("link_type", 100),
            ("wlan.body", 0),
            ("fddi", 1),
            ("arcnet.protocol_id", 0xCD),
            ("atm.traffic", 2),
        ),
        follow=_next,
        tables=("ethertype", "llc.cisco_pid", "llc.bridged_pid", "llc.dsap"),
        size=header_bytes,
        info=_info,
        least=1,
    ),
)
