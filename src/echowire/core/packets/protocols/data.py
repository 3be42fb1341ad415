"""Data: bytes of which no protocol is known."""

from __future__ import annotations

from echowire.core.packets.columns import Column, Type, objects
from echowire.core.packets.layers import Field, Layer, Protocol


def _bytes(layer: Layer) -> Column:
    return objects([layer.payload(entry) for entry in range(len(layer))])


PROTOCOLS = (
    Protocol(
        "data",
        "Data",
        fields=(
            Field("data.data", "Data", Type.BYTES, make=_bytes),
            Field("data.len", "Length", Type.UINT32, make=lambda layer: layer.wire_end - layer.start, generated=True),
        ),
    ),
)
