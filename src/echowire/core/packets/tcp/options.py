"""The list of options in TCP headers (RFC 9293, section 3.1), found for all segments at once.

The loop is over places in the list: the first option of all segments, then the second of those that have one, and so
on, 40 at most. A length that cannot be ends the list there, and what was found before it stands.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import gather_uint
from echowire.core.packets.layers import Layer

FIRST = 20
"""Offset of the first option."""

END, NOP, MSS, WINDOW_SCALE, SACK_PERMITTED, SACK, TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8


TIMESTAMPS_ALONE = 0x0101080A
"""Two NOPs, and the head of a timestamps option of ten bytes."""
TIMESTAMPS_ALONE_WORDS = 8
"""The header's length then."""


class Place(NamedTuple):
    """The options at one place of the list."""

    entry: Rows
    """Entries of the layer, ascending."""
    at: Rows
    """Offset from the segment's beginning."""
    kind: NDArray[np.uint8]
    size: Rows
    """With kind and length, as the option says; its last bytes may not have been captured."""


def places(layer: Layer) -> list[Place]:
    """The options of a layer of TCP."""
    return layer.once("options", lambda: _places(layer, np.ones(len(layer), np.bool_)))


def _notable(layer: Layer) -> list[Place]:
    """The same, but for segments that have timestamps alone, in the form that RFC 7323 (appendix A) recommends: that
    is most segments, and to find their options is most of the work."""

    def made() -> list[Place]:
        alone = (layer.uint(20, 4) == TIMESTAMPS_ALONE) & (layer.uint(12, 1) >> 4 == TIMESTAMPS_ALONE_WORDS)
        return _places(layer, ~alone) if alone.any() else places(layer)

    return layer.once("notable options", made)


def _places(layer: Layer, wanted: NDArray[np.bool_]) -> list[Place]:
    header = (layer.uint(12, 1) >> 4).astype(np.int64) * 4
    captured = np.minimum(header, layer.end - layer.start)
    index = np.flatnonzero((captured > FIRST) & wanted)
    at = np.full(len(index), FIRST, np.int64)
    found = []
    while len(index):
        begin, limit = layer.start[index] + at, captured[index]
        kind, size = layer.data[begin], layer.data[begin + 1].astype(np.int64)
        single = kind <= NOP
        size[single] = 1
        good = single | ((at + 2 <= limit) & (size >= 2) & (at + size <= header[index]))
        if not good.all():
            index, at, kind, size, limit = (one[good] for one in (index, at, kind, size, limit))
        found.append(Place(index, at, kind, size))
        at = at + size
        padding = layer.data[layer.start[index] + at] == END  # all that may follow the end of the list
        go_on = (at < limit) & ((kind != END) | padding)
        index, at = index[go_on], at[go_on]
    return found


def option_values(layer: Layer, kind: int, size: int, width: int) -> Rows:
    """The number of `width` bytes in each entry's last option of a kind, of exactly `size` bytes; -1 without one."""
    found = np.full(len(layer), -1, np.int64)
    for place in places(layer) if kind == TIMESTAMPS else _notable(layer):
        which = (place.kind == kind) & (place.size == size)
        if which.any():
            index, at = place.entry[which], place.at[which]
            there = layer.start[index] + at + 2 + width <= layer.end[index]
            index, at = index[there], at[there]
            value = np.zeros(len(index), np.int64)
            for step in range(width):
                value = value << 8 | layer.data[layer.start[index] + at + 2 + step]
            found[index] = value
    return found


def has_option(layer: Layer, kind: int) -> NDArray[np.bool_]:
    """Which entries have an option of a kind, of whatever size."""
    found = np.zeros(len(layer), np.bool_)
    for place in places(layer):
        found[place.entry[place.kind == kind]] = True
    return found


COUNTED_BLOCKS = 3
"""Of a SACK option, whose bytes count as delivered (Wireshark's MAX_TCP_SACK_RANGES)."""


def sacked_bytes(layer: Layer) -> Rows:
    """The bytes that each entry acknowledges selectively (RFC 2018, section 3)."""
    found = np.zeros(len(layer), np.int64)
    for place in _notable(layer):
        which = place.kind == SACK
        if not which.any():
            continue
        entry, start, size = place.entry[which], layer.start[place.entry[which]] + place.at[which], place.size[which]
        size = np.minimum(size, layer.end[entry] - start)
        found[entry] = 0
        for block in range(COUNTED_BLOCKS):
            there = size >= 10 + 8 * block
            edges = [
                gather_uint(layer.data, start[there] + 2 + 8 * block + side, 4).astype(np.int64) for side in (0, 4)
            ]
            found[entry[there]] += (edges[1] - edges[0]) & 0xFFFFFFFF
    return found
