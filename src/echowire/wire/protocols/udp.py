"""UDP (RFC 768)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echowire.wire.columns import Type
from echowire.wire.layers import Field, Layer, Next, Protocol

HEADER_BYTES = 8


def _next(layer: Layer) -> Iterator[Next]:
    start = layer.start + HEADER_BYTES
    end = np.minimum(layer.start + layer.uint(4, 2), layer.wire_end)
    which = np.flatnonzero(layer.has(HEADER_BYTES) & (end > start))
    source, destination = layer.uint(0, 2)[which], layer.uint(2, 2)[which]
    ports = np.minimum(source, destination), np.maximum(source, destination)
    yield Next("udp.port", ports, which, start[which], end[which])


PROTOCOLS = (
    Protocol(
        "udp",
        "User Datagram Protocol",
        "UDP",
        fields=(
            Field("udp.srcport", "Source Port", Type.UINT16, 0),
            Field("udp.dstport", "Destination Port", Type.UINT16, 2),
            Field("udp.port", "Source or Destination Port", Type.UINT16, either=("udp.srcport", "udp.dstport")),
            Field("udp.length", "Length", Type.UINT16, 4),
            Field("udp.checksum", "Checksum", Type.UINT16, 6, base="hex"),
        ),
        keys=(("ip.proto", 17),),
        follow=_next,
        tables=("udp.port",),
        size=HEADER_BYTES,
    ),
)
