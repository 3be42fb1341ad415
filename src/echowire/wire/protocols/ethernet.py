"""Ethernet II and IEEE 802.3 (IEEE 802.3-2022, clause 3)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echowire.wire.columns import Type
from echowire.wire.layers import Field, Layer, Next, Protocol

HEADER_BYTES = 14
MIN_TYPE = 0x0600
"""A number below is the length of an 802.3 frame, not a type (IEEE 802.3-2022, 3.2.6)."""


def _next(layer: Layer) -> Iterator[Next]:
    whole = np.flatnonzero(layer.has(HEADER_BYTES))
    kind = layer.uint(12, 2)[whole]
    start = layer.start[whole] + HEADER_BYTES
    is_type = kind >= MIN_TYPE
    yield Next("ethertype", (kind[is_type],), whole[is_type], start[is_type], layer.wire_end[whole][is_type])


PROTOCOLS = (
    Protocol(
        "eth",
        "Ethernet II",
        "Ethernet",
        fields=(
            Field("eth.dst", "Destination", Type.ETHER, 0),
            Field("eth.src", "Source", Type.ETHER, 6),
            Field("eth.addr", "Address", Type.ETHER, either=("eth.dst", "eth.src")),
            Field("eth.type", "Type", Type.UINT16, 12, base="hex", when=lambda layer: layer.uint(12, 2) >= MIN_TYPE),
        ),
        keys=(("link_type", 1),),
        follow=_next,
        addresses=("eth.src", "eth.dst"),
        tables=("ethertype", "llc"),
        size=HEADER_BYTES,
    ),
)
