"""Packets over UDP: VXLAN (RFC 7348), Geneve (RFC 8926), GTP (3GPP TS 29.281), Teredo (RFC 4380), AYIYA."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.assigned import ETHERTYPES, IP_PROTOCOLS
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Next, Protocol
from echowire.core.packets.protocols.gre import encapsulated

VXLAN_BYTES, GENEVE_BYTES = 8, 8
GTP_0_BYTES = 20
"""The header of GTP's version 0 (3GPP TS 09.60)."""

USER_DATA = 0xFF
"""GTP's message type of a packet that is carried."""

MAX_GTP_EXTENSIONS = 8
"""Extension headers of a GTP packet that are skipped; a packet of more is not looked into."""

TEREDO_AUTHENTICATION, TEREDO_ORIGIN, TEREDO_ORIGIN_BYTES = 0x0001, 0x0000, 8

MESSAGES = {
    1: "Echo request",
    2: "Echo response",
    3: "Version not supported",
    16: "Create PDP context request",
    17: "Create PDP context response",
    18: "Update PDP context request",
    19: "Update PDP context response",
    20: "Delete PDP context request",
    21: "Delete PDP context response",
    26: "Error indication",
    31: "Supported extension header notification",
    254: "End Marker",
    255: "T-PDU",
}


def _vxlan_next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(layer.has(VXLAN_BYTES))
    yield Next("eth.inner", (0,), index, layer.start[index] + VXLAN_BYTES, layer.wire_end[index])


def _geneve_bytes(layer: Layer) -> Rows:
    return GENEVE_BYTES + 4 * (layer.uint(0, 1) & 0x3F).astype(np.int64)


def _geneve_next(layer: Layer) -> Iterator[Next]:
    start = layer.start + _geneve_bytes(layer)
    index = np.flatnonzero(layer.has(GENEVE_BYTES) & (start <= layer.wire_end))
    # Geneve names what it carries as GRE does: bridged frames and network packets.
    yield Next("gre.proto", (layer.uint(2, 2)[index],), index, start[index], layer.wire_end[index])


def _gtp_bytes(layer: Layer) -> Rows:
    """Length of the header with its options and extensions; -1 where it is not as it must be."""

    def made() -> Rows:
        flags = layer.uint(0, 1)
        first = flags >> 5 == 0
        size = np.where(first, GTP_0_BYTES, np.where(flags & 0x07, 12, 8)).astype(np.int64)
        following = np.where(flags & 0x04 != 0, layer.uint(11, 1), 0)
        following[first] = 0
        for _ in range(MAX_GTP_EXTENSIONS):
            more = np.flatnonzero(following)
            if not len(more):
                break
            at = layer.start[more] + size[more]
            words = layer.number(at, 1).astype(np.int64)
            inside = (words > 0) & (at + 4 * words <= layer.end[more])
            size[more] = np.where(inside, size[more] + 4 * words, -1)
            following[more] = np.where(inside, layer.number(at + 4 * words - 1, 1), 0)
        size[following != 0] = -1
        return size

    return layer.once("gtp header", made)


def _is_gtp(layer: Layer) -> NDArray[np.bool_]:
    """Versions 0 and 1 of GTP, not its charging variant."""
    return layer.has(8) & np.isin(layer.uint(0, 1) >> 4, (1, 3))


def _gtp_next(layer: Layer) -> Iterator[Next]:
    size = _gtp_bytes(layer)
    start = layer.start + size
    least = np.where(layer.uint(0, 1) >> 5 == 0, GTP_0_BYTES, 8)
    end = np.minimum(layer.start + least + layer.uint(2, 2), layer.wire_end)
    index = np.flatnonzero((layer.uint(1, 1) == USER_DATA) & (size > 0) & (start < layer.end) & (start < end))
    yield Next("mpls.nibble", (layer.number(start[index], 1) >> 4,), index, start[index], end[index])


def _teredo_bytes(layer: Layer) -> Rows:
    """What comes before the packet: an authentication header, an origin, both or neither."""
    authenticated = layer.uint(0, 2) == TEREDO_AUTHENTICATION
    size = np.where(authenticated, 13 + layer.uint(2, 1).astype(np.int64) + layer.uint(3, 1), 0)
    return size + np.where(layer.uint(size, 2) == TEREDO_ORIGIN, TEREDO_ORIGIN_BYTES, 0)


def _teredo_next(layer: Layer) -> Iterator[Next]:
    start = layer.start + _teredo_bytes(layer)
    index = np.flatnonzero(start < layer.end)
    yield Next("mpls.nibble", (layer.number(start[index], 1) >> 4,), index, start[index], layer.wire_end[index])


def _ayiya_bytes(layer: Layer) -> Rows:
    identity = np.left_shift(1, (layer.uint(0, 1) >> 4).astype(np.int64))
    return 8 + identity + 4 * (layer.uint(1, 1) >> 4).astype(np.int64)


def _ayiya_next(layer: Layer) -> Iterator[Next]:
    start = layer.start + _ayiya_bytes(layer)
    forwarded = layer.uint(2, 1) & 0x0F == 1
    index = np.flatnonzero(layer.has(8) & forwarded & (start <= layer.wire_end))
    yield Next("ip.proto", (layer.uint(3, 1)[index],), index, start[index], layer.wire_end[index])


def _of_gtp(layer: Layer) -> list[str | None]:
    return [MESSAGES.get(kind, "Unknown") for kind in layer.uint(1, 1).tolist()]


PROTOCOLS = (
    Protocol(
        "vxlan",
        "Virtual eXtensible Local Area Network",
        "VxLAN",
        fields=(
            Field("vxlan.flags", "Flags", Type.UINT16, 0, base="hex"),
            Field("vxlan.gbp", "Group Policy ID", Type.UINT16, 2),
            Field("vxlan.vni", "VXLAN Network Identifier (VNI)", Type.UINT24, 4),
            Field("vxlan.reserved8", "Reserved", Type.UINT8, 7),
        ),
        keys=(("udp.port", 4789),),
        follow=_vxlan_next,
        tables=("eth.inner",),
        size=VXLAN_BYTES,
    ),
    Protocol(
        "geneve",
        "Generic Network Virtualization Encapsulation",
        "Geneve",
        fields=(
            Field("geneve.version", "Version", Type.UINT8, 0, mask=0xC0),
            Field("geneve.flags.oam", "Operations, Administration and Management Frame", Type.BOOLEAN, 1, mask=0x80),
            Field("geneve.flags.critical", "Critical Options Present", Type.BOOLEAN, 1, mask=0x40),
            Field("geneve.proto_type", "Protocol Type", Type.UINT16, 2, base="hex", names=ETHERTYPES),
            Field("geneve.vni", "Virtual Network Identifier (VNI)", Type.UINT24, 4, base="hex_dec"),
        ),
        keys=(("udp.port", 6081),),
        follow=_geneve_next,
        accepts=lambda layer: layer.uint(0, 1) >> 6 == 0,
        tables=("gre.proto",),
        size=_geneve_bytes,
        label=lambda layer: [f", VNI: 0x{vni:06x}" for vni in layer.uint(4, 3).tolist()],
        info=encapsulated(ETHERTYPES),
    ),
    Protocol(
        "gtp",
        "GPRS Tunneling Protocol",
        "GTP",
        fields=(
            Field("gtp.flags", "Flags", Type.UINT8, 0, base="hex"),
            Field("gtp.message", "Message Type", Type.UINT8, 1, base="hex", names=MESSAGES),
            Field("gtp.length", "Length", Type.UINT16, 2),
            Field(
                "gtp.teid",
                "TEID",
                Type.UINT32,
                4,
                base="hex_dec",
                when=lambda layer: layer.uint(0, 1) >> 5 == 1,
            ),
            Field(
                "gtp.seq_number",
                "Sequence number",
                Type.UINT16,
                8,
                base="hex_dec",
                when=lambda layer: layer.uint(0, 1) & 0xE2 == 0x22,
            ),
        ),
        keys=(("udp.port", 2152), ("udp.port", 2123), ("udp.port", 3386)),
        accepts=_is_gtp,
        follow=_gtp_next,
        tables=("mpls.nibble",),
        size=_gtp_bytes,
        info=_of_gtp,
    ),
    Protocol(
        "teredo",
        "Teredo IPv6 over UDP tunneling",
        "Teredo",
        keys=(("udp.port", 3544),),
        follow=_teredo_next,
        tables=("mpls.nibble",),
        size=_teredo_bytes,
    ),
    Protocol(
        "ayiya",
        "Anything in Anything Protocol",
        "AYIYA",
        fields=(
            Field("ayiya.idlen", "Identity field length", Type.UINT8, 0, mask=0xF0, base="hex"),
            Field("ayiya.idtype", "Identity field type", Type.UINT8, 0, mask=0x0F, base="hex"),
            Field("ayiya.siglen", "Signature Length", Type.UINT8, 1, mask=0xF0, base="hex"),
            Field("ayiya.opcode", "Operation Code", Type.UINT8, 2, mask=0x0F, base="hex"),
            Field("ayiya.nextheader", "Next Header", Type.UINT8, 3, base="hex", names=IP_PROTOCOLS),
        ),
        keys=(("udp.port", 5072),),
        follow=_ayiya_next,
        tables=("ip.proto",),
        size=_ayiya_bytes,
    ),
)
