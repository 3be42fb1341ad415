"""IPv4 (RFC 791)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echowire.wire.columns import Type
from echowire.wire.layers import Field, Layer, Next, Protocol
from echowire.wire.records import Rows

MIN_HEADER_BYTES = 20


def header_bytes(layer: Layer) -> Rows:
    """The header's length as it says itself."""
    return layer.once("header", lambda: (layer.uint(0, 1) & 0xF).astype(np.int64) * 4)


def _ends(layer: Layer) -> Rows:
    """Offset behind each packet: where it says, or where the outer layer does if that is sooner.

    A length of 0 is a segment that the network card was to cut into packets (TCP segmentation offload).
    """
    said = layer.start + layer.uint(2, 2)
    return np.where(layer.uint(2, 2) == 0, layer.wire_end, np.minimum(said, layer.wire_end))


def _next(layer: Layer) -> Iterator[Next]:
    header = header_bytes(layer)
    first = (layer.uint(6, 2) & 0x1FFF) == 0
    which = np.flatnonzero(layer.has(MIN_HEADER_BYTES) & (header >= MIN_HEADER_BYTES) & first)
    yield Next("ip.proto", (layer.uint(9, 1)[which],), which, (layer.start + header)[which], _ends(layer)[which])


PROTOCOLS = (
    Protocol(
        "ip",
        "Internet Protocol Version 4",
        "IPv4",
        fields=(
            Field("ip.version", "Version", Type.UINT8, 0, mask=0xF0),
            Field("ip.hdr_len", "Header Length", Type.UINT8, 0, mask=0x0F, scale=4),
            Field("ip.dsfield", "Differentiated Services Field", Type.UINT8, 1, base="hex"),
            Field("ip.len", "Total Length", Type.UINT16, 2),
            Field("ip.id", "Identification", Type.UINT16, 4, base="hex"),
            Field("ip.flags", "Flags", Type.UINT8, 6, mask=0xE0, base="hex"),
            Field("ip.flags.df", "Don't fragment", Type.BOOLEAN, 6, mask=0x40, under="ip.flags"),
            Field("ip.flags.mf", "More fragments", Type.BOOLEAN, 6, mask=0x20, under="ip.flags"),
            Field("ip.frag_offset", "Fragment Offset", Type.UINT16, 6, mask=0x1FFF, scale=8),
            Field("ip.ttl", "Time to Live", Type.UINT8, 8),
            Field("ip.proto", "Protocol", Type.UINT8, 9),
            Field("ip.checksum", "Header Checksum", Type.UINT16, 10, base="hex"),
            Field("ip.src", "Source Address", Type.IPV4, 12),
            Field("ip.dst", "Destination Address", Type.IPV4, 16),
            Field("ip.addr", "Source or Destination Address", Type.IPV4, either=("ip.src", "ip.dst")),
        ),
        keys=(("ethertype", 0x0800), ("ip.proto", 4), ("link_type", 228)),
        follow=_next,
        addresses=("ip.src", "ip.dst"),
        tables=("ip.proto",),
        size=header_bytes,
    ),
)
