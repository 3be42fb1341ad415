"""GRE (RFC 2784, RFC 2890), as PPTP has it (RFC 2637), and ERSPAN, which carries frames in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol

CHECKSUM, ROUTING, KEY, SEQUENCE, ACKNOWLEDGMENT = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
ERSPAN, ETHERNET = 0x88BE, 0x6558
ERSPAN_II_BYTES, ERSPAN_III_BYTES, PLATFORM_BYTES = 8, 12, 8

PROTOCOL_NAMES = {
    0x0000: "Possible GRE keepalive packet",
    0x0800: "IP",
    0x0806: "ARP",
    0x00FE: "OSI",
    0x2000: "CDP (Cisco)",
    0x2001: "NHRP",
    0x22EB: "ERSPAN III",
    0x6400: "MIKROTIK EoIP",
    0x6558: "Transparent Ethernet bridging",
    0x6559: "Frame Relay",
    0x8137: "IPX",
    0x86DD: "IPv6",
    0x880B: "PPP",
    0x8847: "MPLS label switched packet",
    0x883E: "WCCP",
    0x8881: "CDMA2000 A10 Unstructured byte stream",
    0x88BE: "ERSPAN",
    0x88D2: "CDMA2000 A10 3GPP2 Packet",
    0x894F: "Network Service Header",
}
ERSPAN_VERSIONS = {0: "Type I", 1: "Type II", 2: "Type III"}


def _is_version(version: int) -> Callable[[Layer], NDArray[np.bool_]]:
    """Version 1 is PPTP's."""
    return lambda layer: layer.uint(0, 2) & 7 == version


def _at(layer: Layer, flag: int) -> Rows:
    """Where the optional field of a flag stands: they follow one another, those of other flags being left out."""
    flags = layer.uint(0, 2).astype(np.int64)
    at = np.full(len(layer), 4, np.int64)
    for mask in (CHECKSUM | ROUTING, KEY, SEQUENCE, ACKNOWLEDGMENT):
        if mask & flag:
            break
        at += np.where(flags & mask, 4, 0)
    return at


def _optional(flag: int, size: int = 4, plus: int = 0) -> Callable[[Layer], Picked]:
    def make(layer: Layer) -> Picked:
        at = _at(layer, flag) + plus
        index = np.flatnonzero((layer.uint(0, 2) & flag != 0) & layer.has(at + size))
        return Picked(index, layer.uint(at, size)[index])

    return make


def header_bytes(layer: Layer) -> Rows:
    """Its length, without a source route."""
    return _at(layer, 0)


def _next(layer: Layer) -> Iterator[Next]:
    start = layer.start + header_bytes(layer)
    index = np.flatnonzero((start <= layer.end) & (layer.uint(0, 2) & ROUTING == 0) & (start < layer.wire_end))
    kind = layer.uint(2, 2)
    # ERSPAN's first type has no header of its own, and is told by the sequence number that it lacks.
    bare = (kind == ERSPAN) & (layer.uint(0, 2) & SEQUENCE == 0)
    kind = np.where(bare, ETHERNET, kind)
    yield Next("gre.proto", (kind[index],), index, start[index], layer.wire_end[index])


def _erspan_bytes(layer: Layer) -> Rows:
    third = layer.uint(0, 1) >> 4 == 2
    more = third & (layer.uint(11, 1) & 1 == 1)
    size = np.where(third, ERSPAN_III_BYTES, ERSPAN_II_BYTES)
    return size.astype(np.int64) + np.where(more, PLATFORM_BYTES, 0)


def _erspan_next(layer: Layer) -> Iterator[Next]:
    start = layer.start + _erspan_bytes(layer)
    index = np.flatnonzero((start <= layer.end) & (start < layer.wire_end) & (layer.uint(0, 1) >> 4 <= 2))
    yield Next("eth.inner", (0,), index, start[index], layer.wire_end[index])


def encapsulated(names: Mapping[int, str]) -> Callable[[Layer], list[str]]:
    """What the packet list says of a header whose third and fourth byte are the type of what it carries."""
    return lambda layer: [
        f"Encapsulated {names.get(kind, f'0x{kind:04x} (unknown)')}" for kind in layer.uint(2, 2).tolist()
    ]


def _label(layer: Layer) -> list[str]:
    return [f" ({PROTOCOL_NAMES.get(kind, f'0x{kind:04x} - unknown')})" for kind in layer.uint(2, 2).tolist()]


PROTOCOLS = (
    Protocol(
        "gre",
        "Generic Routing Encapsulation",
        "GRE",
        fields=(
            Field("gre.flags_and_version", "Flags and Version", Type.UINT16, 0, base="hex"),
            *(
                Field(f"gre.flags.{name}", label, Type.BOOLEAN, 0, 2, mask=mask, under="gre.flags_and_version")
                for name, label, mask in (
                    ("checksum", "Checksum Bit", CHECKSUM),
                    ("routing", "Routing Bit", ROUTING),
                    ("key", "Key Bit", KEY),
                    ("sequence_number", "Sequence Number Bit", SEQUENCE),
                    ("strict_source_route", "Strict Source Route Bit", 0x0800),
                )
            ),
            Field("gre.flags.version", "Version", Type.UINT16, 0, mask=0x0007, under="gre.flags_and_version"),
            Field("gre.proto", "Protocol Type", Type.UINT16, 2, base="hex", names=PROTOCOL_NAMES),
            Field("gre.checksum", "Checksum", Type.UINT16, base="hex", make=_optional(CHECKSUM, 2)),
            Field("gre.offset", "Offset", Type.UINT16, make=_optional(ROUTING, 2, 2)),
            Field("gre.key", "Key", Type.UINT32, base="hex", make=_optional(KEY), when=_is_version(0)),
            Field("gre.key.payload_length", "Payload Length", Type.UINT16, make=_optional(KEY, 2), when=_is_version(1)),
            Field("gre.key.call_id", "Call ID", Type.UINT16, make=_optional(KEY, 2, 2), when=_is_version(1)),
            Field("gre.sequence_number", "Sequence Number", Type.UINT32, make=_optional(SEQUENCE)),
            Field(
                "gre.ack_number",
                "Acknowledgment Number",
                Type.UINT32,
                make=_optional(ACKNOWLEDGMENT),
                when=_is_version(1),
            ),
        ),
        keys=(("ip.proto", 47), ("udp.port", 4754)),
        follow=_next,
        tables=("gre.proto",),
        size=header_bytes,
        label=_label,
        info=encapsulated(PROTOCOL_NAMES),
    ),
    Protocol(
        "erspan",
        "Encapsulated Remote Switch Packet ANalysis",
        "ERSPAN",
        fields=(
            Field("erspan.version", "Version", Type.UINT16, 0, mask=0xF000, names=ERSPAN_VERSIONS),
            Field("erspan.vlan", "Vlan", Type.UINT16, 0, mask=0x0FFF),
            Field("erspan.cos", "COS", Type.UINT16, 2, mask=0xE000),
            Field("erspan.truncated", "Truncated", Type.UINT16, 2, mask=0x0400),
            Field("erspan.spanid", "SpanID", Type.UINT16, 2, mask=0x03FF),
        ),
        keys=(("gre.proto", ERSPAN), ("gre.proto", 0x22EB)),
        follow=_erspan_next,
        tables=("eth.inner",),
        size=_erspan_bytes,
    ),
)
