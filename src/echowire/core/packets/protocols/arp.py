"""ARP and RARP (RFC 826, RFC 903), with addresses of any size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.assigned import ETHERTYPES, HARDWARE
from echowire.core.packets.cells import strings
from echowire.core.packets.columns import Type, objects
from echowire.core.packets.layers import Field, Layer, Picked, Protocol

FIXED_BYTES = 8
IPV4 = 0x0800
ETHERNETS = (1, 6)
"""Hardware types whose addresses of six bytes are MAC addresses: Ethernet, IEEE 802."""

MAC_BYTES, IPV4_BYTES = 6, 4

OPCODES = {
    0: "reserved",
    1: "request",
    2: "reply",
    3: "reverse request",
    4: "reverse reply",
    5: "drarp request",
    6: "drarp reply",
    7: "drarp error",
    8: "inverse request",
    9: "inverse reply",
    10: "arp nak",
    11: "mars request",
    12: "mars multi",
    13: "mars mserv",
    14: "mars join",
    15: "mars leave",
    16: "mars nak",
    17: "mars unserv",
    18: "mars sjoin",
    19: "mars sleave",
    20: "mars grouplist request",
    21: "mars grouplist reply",
    22: "mars redirect map",
    23: "mapos unarp",
    24: "experimental 1",
    25: "experimental 2",
    65535: "reserved",
}
REQUEST, REPLY, REVERSE_REQUEST, REVERSE_REPLY, INVERSE_REQUEST, INVERSE_REPLY = 1, 2, 3, 4, 8, 9


PLACES = ("src.hw", "src.proto", "dst.hw", "dst.proto")


class _Addresses:
    """Where the four addresses are, whose sizes each packet tells, and which are MAC and IPv4 addresses."""

    def __init__(self, layer: Layer) -> None:
        hardware, protocol = layer.uint(4, 1).astype(np.int64), layer.uint(5, 1).astype(np.int64)
        self.size = dict(zip(PLACES, (hardware, protocol, hardware, protocol), strict=True))
        before = (0 * hardware, hardware, hardware + protocol, 2 * hardware + protocol)
        self.at = {place: FIXED_BYTES + size for place, size in zip(PLACES, before, strict=True)}
        self.end = FIXED_BYTES + 2 * (hardware + protocol)
        mac = np.isin(layer.uint(0, 2), ETHERNETS) & (hardware == MAC_BYTES)
        ipv4 = (layer.uint(2, 2) == IPV4) & (protocol == IPV4_BYTES)
        self.is_usual = dict(zip(PLACES, (mac, ipv4, mac, ipv4), strict=True))

    def numbers(self, layer: Layer, place: str) -> NDArray[np.unsignedinteger]:
        """One of the addresses as a number, of meaning where it is a usual one."""
        return layer.number(layer.start + self.at[place], MAC_BYTES if place.endswith("hw") else IPV4_BYTES)


def _addresses(layer: Layer) -> _Addresses:
    return layer.once("addresses", lambda: _Addresses(layer))


def _usual(place: str) -> Callable[[Layer], Picked]:
    """One of the addresses where it is a MAC or an IPv4 address."""

    def make(layer: Layer) -> Picked:
        found = _addresses(layer)
        index = np.flatnonzero(found.is_usual[place] & layer.has(found.at[place] + found.size[place]))
        return Picked(index, found.numbers(layer, place)[index])

    return make


def _other(place: str) -> Callable[[Layer], Picked]:
    """One of the addresses where it is of another kind."""

    def make(layer: Layer) -> Picked:
        found = _addresses(layer)
        at, size = found.at[place], found.size[place]
        index = np.flatnonzero(~found.is_usual[place] & (size > 0) & layer.has(at + size))
        begin = (layer.start + at)[index]
        pieces = zip(begin.tolist(), (begin + size[index]).tolist(), strict=True)
        return Picked(index, objects([layer.data[a:b].tobytes() for a, b in pieces]))

    return make


class _Meaning:
    """What a packet that is about IPv4 is for (RFC 5227): who tells of its own address, or asks whether it is taken."""

    def __init__(self, layer: Layer) -> None:
        found, operation = _addresses(layer), layer.uint(6, 2)
        whole = found.is_usual["src.proto"] & layer.has(found.end)
        source, target = found.numbers(layer, "src.proto"), found.numbers(layer, "dst.proto")
        unknown = found.is_usual["dst.hw"] & (found.numbers(layer, "dst.hw") == 0)
        self.gratuitous = whole & (operation <= REPLY) & (operation >= REQUEST) & (source == target)
        self.announcement = self.gratuitous & (operation == REQUEST) & unknown
        self.probe = whole & (operation == REQUEST) & (source == 0) & (target != 0)


def _meaning(layer: Layer) -> _Meaning:
    return layer.once("meaning", lambda: _Meaning(layer))


def _marked(name: str) -> Callable[[Layer], Picked]:
    """A flag that is there only where it is true."""

    def make(layer: Layer) -> Picked:
        index = np.flatnonzero(getattr(_meaning(layer), name))
        return Picked(index, np.ones(len(index), np.bool_))

    return make


def _texts(layer: Layer, place: str) -> list[str]:
    """One of the addresses of each packet as text."""
    found = _addresses(layer)
    number, usual = found.numbers(layer, place), found.is_usual[place]
    texts: list[str] = strings(_FIELDS[place], number).tolist()
    begin, size = (layer.start + found.at[place]).tolist(), found.size[place].tolist()
    for entry in np.flatnonzero(~usual).tolist():
        texts[entry] = layer.data[begin[entry] : begin[entry] + size[entry]].tobytes().hex() or "<No address>"
    return texts


def _info(layer: Layer) -> list[str | None]:
    meaning, operations = _meaning(layer), layer.uint(6, 2).tolist()
    whole = layer.has(_addresses(layer).end).tolist()
    marks = zip(meaning.gratuitous.tolist(), meaning.announcement.tolist(), meaning.probe.tolist(), strict=True)
    places = zip(*(_texts(layer, place) for place in PLACES), strict=True)
    columns = zip(whole, operations, marks, places, strict=True)
    return [_sentence(operation, *marked, *four) if has else None for has, operation, marked, four in columns]


def _sentence(
    operation: int, gratuitous: bool, announcement: bool, probe: bool, sha: str, spa: str, tha: str, tpa: str
) -> str:
    """What the packet says, of sender's and target's hardware and protocol addresses."""
    if operation == REQUEST:
        if announcement:
            return f"ARP Announcement for {spa}"
        if gratuitous:
            return f"Gratuitous ARP for {spa} (Request)"
        return f"Who has {tpa}? (ARP Probe)" if probe else f"Who has {tpa}? Tell {spa}"
    if operation == REPLY:
        return f"Gratuitous ARP for {spa} (Reply)" if gratuitous else f"{spa} is at {sha}"
    if operation in (REVERSE_REQUEST, INVERSE_REQUEST):
        return f"Who is {tha}? Tell {sha}"
    if operation == REVERSE_REPLY:
        return f"{tha} is at {tpa}"
    if operation == INVERSE_REPLY:
        return f"{sha} is at {spa}"
    name = OPCODES.get(operation)
    return f"{name[0].upper()}{name[1:]}" if name else f"Unknown ARP opcode 0x{operation:04x}"


def _label(layer: Layer) -> list[str]:
    meaning = _meaning(layer)
    marks = zip(meaning.probe.tolist(), meaning.announcement.tolist(), meaning.gratuitous.tolist(), strict=True)
    found = []
    for operation, (probe, announcement, gratuitous) in zip(layer.uint(6, 2).tolist(), marks, strict=True):
        name = OPCODES.get(operation, "unknown")
        more = "/gratuitous ARP" if gratuitous else ""
        found.append(" (ARP Probe)" if probe else " (ARP Announcement)" if announcement else f" ({name}{more})")
    return found


def _column(layer: Layer) -> list[str | None]:
    names: dict[int, str] = {3: "RARP", 4: "RARP", 5: "DRARP", 6: "DRARP", 7: "DRARP", 8: "Inverse ARP"}
    return [names.get(operation, "ARP") for operation in layer.uint(6, 2).tolist()]


_FIELDS = {
    "src.hw": Field("arp.src.hw_mac", "Sender MAC address", Type.ETHER, make=_usual("src.hw")),
    "src.proto": Field("arp.src.proto_ipv4", "Sender IP address", Type.IPV4, make=_usual("src.proto")),
    "dst.hw": Field("arp.dst.hw_mac", "Target MAC address", Type.ETHER, make=_usual("dst.hw")),
    "dst.proto": Field("arp.dst.proto_ipv4", "Target IP address", Type.IPV4, make=_usual("dst.proto")),
}

PROTOCOLS = (
    Protocol(
        "arp",
        "Address Resolution Protocol",
        _column,
        fields=(
            Field("arp.hw.type", "Hardware type", Type.UINT16, 0, names=HARDWARE),
            Field("arp.proto.type", "Protocol type", Type.UINT16, 2, base="hex", names=ETHERTYPES),
            Field("arp.hw.size", "Hardware size", Type.UINT8, 4),
            Field("arp.proto.size", "Protocol size", Type.UINT8, 5),
            Field("arp.opcode", "Opcode", Type.UINT16, 6, names=OPCODES),
            Field("arp.isgratuitous", "Is gratuitous", Type.BOOLEAN, make=_marked("gratuitous"), generated=True),
            Field("arp.isprobe", "Is probe", Type.BOOLEAN, make=_marked("probe"), generated=True),
            Field("arp.isannouncement", "Is announcement", Type.BOOLEAN, make=_marked("announcement"), generated=True),
            _FIELDS["src.hw"],
            Field("arp.src.hw", "Sender hardware address", Type.BYTES, make=_other("src.hw")),
            _FIELDS["src.proto"],
            Field("arp.src.proto", "Sender protocol address", Type.BYTES, make=_other("src.proto")),
            _FIELDS["dst.hw"],
            Field("arp.dst.hw", "Target hardware address", Type.BYTES, make=_other("dst.hw")),
            _FIELDS["dst.proto"],
            Field("arp.dst.proto", "Target protocol address", Type.BYTES, make=_other("dst.proto")),
        ),
        keys=(
            ("ethertype", 0x0806),
            ("ethertype", 0x8035),
            ("chdlc.protocol", 0x0806),
            ("arcnet.protocol_id", 0xF1),
            ("arcnet.protocol_id", 0xD5),
        ),
        label=_label,
        info=_info,
        least=2,
    ),
)
