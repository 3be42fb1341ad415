"""What the messages of ICMP and ICMPv6 have in common: their type stands first, their code second, and some quote a
packet or carry data behind a header of eight bytes (RFC 792, RFC 4443)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from echowire.core.captures.records import Rows
from echowire.core.packets.layers import Layer, Next

HEADER_BYTES = 8


def what_follows(
    layer: Layer, errors: tuple[int, ...], echoes: tuple[int, ...], skipped: Rows | int = 0
) -> Iterator[Next]:
    """What a message of the types `errors` quotes, and the data of one of `echoes` behind `skipped` bytes."""
    kind, start = layer.uint(0, 1), layer.start + HEADER_BYTES
    inside = layer.has(HEADER_BYTES) & (start < layer.wire_end)
    index = np.flatnonzero(inside & np.isin(kind, errors))
    yield Next("quoted", (layer.uint(HEADER_BYTES, 1)[index] >> 4,), index, start[index], layer.wire_end[index])
    start = start + skipped
    index = np.flatnonzero(inside & np.isin(kind, echoes) & (start < layer.wire_end))
    yield Next("", (), index, start[index], layer.wire_end[index])


def named_codes(name: Callable[[int, int], str | None]) -> Callable[[Layer], list[str]]:
    """What the tree says of codes: the number, and behind it what `name` calls a type's code, if it has a name."""

    def show(layer: Layer) -> list[str]:
        columns = layer.uint(0, 1).tolist(), layer.uint(1, 1).tolist()
        names = ((code, name(kind, code)) for kind, code in zip(*columns, strict=True))
        return [f"{code} ({text})" if text else str(code) for code, text in names]

    return show
