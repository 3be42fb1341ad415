"""Routers among themselves: the headers of OSPF (RFC 2328, RFC 5340), PIM (RFC 7761), VRRP (RFC 5798), HSRP (RFC 2281).

A PIM register carries the multicast packet that it is about, and that is dissected.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Next, Protocol, begins_with

PIM_VERSION, REGISTER, NULL_REGISTER = 2, 1, 0x40000000
PIM_HEADER_BYTES = 8

OSPF_TYPES = {1: "Hello Packet", 2: "DB Description", 3: "LS Request", 4: "LS Update", 5: "LS Acknowledge"}
PIM_TYPES = {
    0: "Hello",
    REGISTER: "Register",
    2: "Register-stop",
    3: "Join/Prune",
    4: "Bootstrap",
    5: "Assert",
    6: "Graft",
    7: "Graft-Ack",
    8: "Candidate-RP-Advertisement",
    9: "State-Refresh",
    10: "DF election",
    11: "ECMP redirect",
    12: "PFM source discovery",
}
VRRP_TYPES = {1: "Advertisement"}
HSRP_OPCODES = {0: "Hello", 1: "Coup", 2: "Resign", 3: "Advertise"}
HSRP_STATES = {0: "Initial", 1: "Learn", 2: "Listen", 4: "Speak", 8: "Standby", 16: "Active"}


def _pim_next(layer: Layer) -> Iterator[Next]:
    carries = layer.uint(0, 1) == PIM_VERSION << 4 | REGISTER
    index = np.flatnonzero(carries & layer.has(PIM_HEADER_BYTES + 1))
    start = layer.start[index] + PIM_HEADER_BYTES
    yield Next("mpls.nibble", (layer.number(start, 1) >> 4,), index, start, layer.wire_end[index])


def _pim_info(layer: Layer) -> list[str | None]:
    return [
        PIM_TYPES.get(first & 0x0F, f"Unknown ({first & 0x0F})") if first >> 4 == PIM_VERSION else None
        for first in layer.uint(0, 1).tolist()
    ]


def _hsrp_info(layer: Layer) -> list[str | None]:
    """Advertisements have a state of their own, of two values."""
    found: list[str | None] = []
    for opcode, state, passive in zip(*(layer.uint(at, 1).tolist() for at in (1, 2, 6)), strict=True):
        name = HSRP_OPCODES.get(opcode, "Unknown")
        named = {1: "Dormant", 2: "Passive", 3: "Active"}.get(passive) if opcode == 3 else HSRP_STATES.get(state)
        found.append(f"{name} (state {named or 'Unknown'})")
    return found


PROTOCOLS = (
    Protocol(
        "ospf",
        "Open Shortest Path First",
        "OSPF",
        fields=(
            Field("ospf.version", "Version", Type.UINT8, 0),
            Field("ospf.msg", "Message Type", Type.UINT8, 1, names=OSPF_TYPES),
            Field("ospf.packet_length", "Packet Length", Type.UINT16, 2),
            Field("ospf.srcrouter", "Source OSPF Router", Type.IPV4, 4),
            Field("ospf.area_id", "Area ID", Type.IPV4, 8),
            Field("ospf.checksum", "Checksum", Type.UINT16, 12, base="hex"),
            Field("ospf.auth.type", "Auth Type", Type.UINT16, 14, when=begins_with(2)),
            Field("ospf.instance_id", "Instance ID", Type.UINT8, 14, when=begins_with(3)),
        ),
        keys=(("ip.proto", 89),),
        info=lambda layer: [OSPF_TYPES.get(kind, "Unknown") for kind in layer.uint(1, 1).tolist()],
        least=4,
    ),
    Protocol(
        "pim",
        "Protocol Independent Multicast",
        lambda layer: ["PIMv2" if first >> 4 == PIM_VERSION else None for first in layer.uint(0, 1).tolist()],
        fields=(
            Field("pim.version", "Version", Type.UINT8, 0, mask=0xF0),
            Field("pim.type", "Type", Type.UINT8, 0, mask=0x0F, names=PIM_TYPES),
            Field("pim.checksum", "Checksum", Type.UINT16, 2, base="hex"),
        ),
        keys=(("ip.proto", 103),),
        follow=_pim_next,
        tables=("mpls.nibble",),
        info=_pim_info,
        least=1,
    ),
    Protocol(
        "vrrp",
        "Virtual Router Redundancy Protocol",
        "VRRP",
        fields=(
            Field("vrrp.version", "VRRP protocol version", Type.UINT8, 0, mask=0xF0),
            Field("vrrp.type", "VRRP packet type", Type.UINT8, 0, mask=0x0F, names=VRRP_TYPES),
            Field("vrrp.virt_rtr_id", "Virtual Rtr ID", Type.UINT8, 1),
            Field("vrrp.prio", "Priority", Type.UINT8, 2),
            Field("vrrp.addr_count", "Addr Count", Type.UINT8, 3),
        ),
        keys=(("ip.proto", 112),),
        info=lambda layer: [f"Announcement (v{first >> 4})" for first in layer.uint(0, 1).tolist()],
        least=1,
    ),
    Protocol(
        "hsrp",
        "Cisco Hot Standby Router Protocol",
        "HSRP",
        fields=(
            Field("hsrp.version", "Version", Type.UINT8, 0),
            Field("hsrp.opcode", "Op Code", Type.UINT8, 1, names=HSRP_OPCODES),
            Field("hsrp.state", "State", Type.UINT8, 2, names=HSRP_STATES, when=lambda layer: layer.uint(1, 1) < 3),
        ),
        keys=(("udp.port", 1985),),
        info=_hsrp_info,
    ),
)
