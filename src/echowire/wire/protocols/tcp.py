"""TCP (RFC 9293)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echowire.wire.columns import Type
from echowire.wire.layers import Field, Layer, Next, Protocol
from echowire.wire.records import Rows

MIN_HEADER_BYTES = 20


def header_bytes(layer: Layer) -> Rows:
    """The header's length as it says itself."""
    return layer.once("header", lambda: (layer.uint(12, 1) >> 4).astype(np.int64) * 4)


def _next(layer: Layer) -> Iterator[Next]:
    start = layer.start + header_bytes(layer)
    which = np.flatnonzero(layer.has(MIN_HEADER_BYTES) & (layer.wire_end > start))
    source, destination = layer.uint(0, 2)[which], layer.uint(2, 2)[which]
    ports = np.minimum(source, destination), np.maximum(source, destination)
    yield Next("tcp.port", ports, which, start[which], layer.wire_end[which])


PROTOCOLS = (
    Protocol(
        "tcp",
        "Transmission Control Protocol",
        "TCP",
        fields=(
            Field("tcp.srcport", "Source Port", Type.UINT16, 0),
            Field("tcp.dstport", "Destination Port", Type.UINT16, 2),
            Field("tcp.port", "Source or Destination Port", Type.UINT16, either=("tcp.srcport", "tcp.dstport")),
            Field("tcp.seq_raw", "Sequence Number (raw)", Type.UINT32, 4),
            Field("tcp.ack_raw", "Acknowledgment number (raw)", Type.UINT32, 8),
            Field("tcp.hdr_len", "Header Length", Type.UINT8, 12, mask=0xF0, scale=4),
            Field("tcp.flags", "Flags", Type.UINT16, 12, mask=0x0FFF, base="hex"),
            Field("tcp.flags.push", "Push", Type.BOOLEAN, 12, 2, mask=0x0008, under="tcp.flags"),
            Field("tcp.window_size_value", "Window", Type.UINT16, 14),
            Field("tcp.checksum", "Checksum", Type.UINT16, 16, base="hex"),
            Field("tcp.urgent_pointer", "Urgent Pointer", Type.UINT16, 18),
        ),
        keys=(("ip.proto", 6),),
        follow=_next,
        tables=("tcp.port",),
        size=header_bytes,
    ),
)
