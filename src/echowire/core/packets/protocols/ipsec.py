"""IPsec: the authentication header (RFC 4302), encrypted payloads (RFC 4303), and compression (RFC 3173)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from echowire.core.captures.records import Rows
from echowire.core.packets.assigned import IP_PROTOCOLS
from echowire.core.packets.columns import Type, objects
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol
from echowire.core.packets.walk import Walk

AH_FIXED_BYTES = 12
IPCOMP_BYTES = 4

MAX_UNPACKED_BYTES = 65_535
"""Of a compressed payload: the longest that an IP packet can have."""


def _ah_bytes(layer: Layer) -> Rows:
    return (layer.uint(1, 1).astype(np.int64) + 2) * 4


def _ah_next(layer: Layer) -> Iterator[Next]:
    size = _ah_bytes(layer)
    index = np.flatnonzero(layer.has(AH_FIXED_BYTES) & (layer.start + size <= layer.wire_end))
    yield Next("ip.proto", (layer.uint(0, 1)[index],), index, (layer.start + size)[index], layer.wire_end[index])


def _check_value(layer: Layer) -> Picked:
    size = _ah_bytes(layer)
    index = np.flatnonzero(layer.has(size) & (size > AH_FIXED_BYTES))
    begin = layer.start[index] + AH_FIXED_BYTES
    pieces = zip(begin.tolist(), (layer.start + size)[index].tolist(), strict=True)
    return Picked(index, objects([layer.data[a:b].tobytes() for a, b in pieces]))


def _encapsulated(layer: Layer) -> Iterator[Next]:
    """Four zero bytes are put before what is not ESP (RFC 3948, section 2.2); one byte of ones keeps a way open."""
    index = np.flatnonzero(layer.has(8) & (layer.uint(0, 4) != 0))
    yield Next("udpencap", (0,), index, layer.start[index], layer.wire_end[index])
    index = np.flatnonzero(layer.has(8) & (layer.uint(0, 4) == 0))
    yield Next("udp.port", (500,), index, layer.start[index] + 4, layer.wire_end[index])


def _unpack(walk: Walk) -> None:
    """What was compressed by DEFLATE (RFC 2394), whatever number its two ends agreed upon for that."""
    kind, packed = walk.u8(0), walk.take(IPCOMP_BYTES, walk.size - IPCOMP_BYTES)
    try:
        plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, MAX_UNPACKED_BYTES)
    except zlib.error:
        return
    walk.hand_on_bytes("ip.proto", kind, plain)


PROTOCOLS = (
    Protocol(
        "ah",
        "Authentication Header",
        "AH",
        fields=(
            Field("ah.next_header", "Next header", Type.UINT8, 0, names=IP_PROTOCOLS),
            Field("ah.length", "Length", Type.UINT8, 1),
            Field("ah.reserved", "Reserved", Type.UINT16, 2, base="hex"),
            Field("ah.spi", "AH SPI", Type.UINT32, 4, base="hex"),
            Field("ah.sequence", "AH Sequence", Type.UINT32, 8),
            Field("ah.icv", "AH ICV", Type.BYTES, make=_check_value),
        ),
        keys=(("ip.proto", 51),),
        follow=_ah_next,
        tables=("ip.proto",),
        size=_ah_bytes,
        info=lambda layer: [f"AH (SPI=0x{spi:08x})" for spi in layer.uint(4, 4).tolist()],
        least=2,
    ),
    Protocol(
        "esp",
        "Encapsulating Security Payload",
        "ESP",
        fields=(
            Field("esp.spi", "ESP SPI", Type.UINT32, 0, base="hex_dec"),
            Field("esp.sequence", "ESP Sequence", Type.UINT32, 4),
        ),
        keys=(("ip.proto", 50), ("udpencap", 0)),
        info=lambda layer: [
            f"ESP (SPI=0x{spi:08x})" if has else None
            for spi, has in zip(layer.uint(0, 4).tolist(), layer.has(4).tolist(), strict=True)
        ],
    ),
    Protocol(
        "udpencap",
        "UDP Encapsulation of IPsec Packets",
        "UDPENCAP",
        keys=(("udp.port", 4500),),
        follow=_encapsulated,
        tables=("udpencap", "udp.port"),
        info=lambda layer: ["NAT-keepalive" if size == 1 else None for size in (layer.wire_end - layer.start).tolist()],
    ),
    Protocol(
        "ipcomp",
        "IP Payload Compression",
        "IPComp",
        fields=(
            Field("ipcomp.next_header", "Next Header", Type.UINT8, 0, base="hex", names=IP_PROTOCOLS),
            Field("ipcomp.flags", "IPComp Flags", Type.UINT8, 1, base="hex"),
            Field("ipcomp.cpi", "IPComp CPI", Type.UINT16, 2, base="hex"),
        ),
        keys=(("ip.proto", 108),),
        walk=_unpack,
        tables=("ip.proto",),
        size=IPCOMP_BYTES,
        info=lambda layer: [f"IPComp (CPI=0x{cpi:04x})" for cpi in layer.uint(2, 2).tolist()],
        least=1,
    ),
)
