"""Where a field is that a display filter names: in which layers of a chunk, in which of their packets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.filters.tree import FieldValues, Range
from echowire.core.packets.columns import Column
from echowire.core.packets.dissect import Packets
from echowire.core.packets.layers import Layer

Mask: TypeAlias = NDArray[np.bool_]
"""Of each packet, whether."""


def pieces(packets: Packets, wanted: FieldValues) -> Iterator[tuple[Layer, Rows, Column]]:
    """Of each layer that has the field, the entries that have it, and its values."""
    numbers = _layer_numbers(packets, wanted) if wanted.layers else {}
    for layer, picked in packets.pieces(wanted.name):
        index, column = picked.index, picked.values
        if wanted.layers:
            number, count = numbers[id(layer)]
            keep = _within(number[index], count[index], wanted.layers)
            index, column = index[keep], column[keep]
        yield layer, index, column


def _layer_numbers(packets: Packets, wanted: FieldValues) -> dict[int, tuple[Rows, Rows]]:
    """For each layer that has the field: of its protocol's layers in the packet, which each entry is, of how many."""
    found = {}
    for name in {layer.protocol.name for layer, _ in packets.pieces(wanted.name)}:
        layers = packets.layers_of(name)
        rows = np.concatenate([one.rows for one in layers])
        order = np.argsort(rows, kind="stable")
        sorted_rows = rows[order]
        first = np.searchsorted(sorted_rows, sorted_rows)
        number, count = np.empty_like(rows), np.bincount(rows, minlength=len(packets))[rows]
        number[order] = np.arange(len(rows)) - first + 1
        at = 0
        for one in layers:
            found[id(one)] = number[at : at + len(one)], count[at : at + len(one)]
            at += len(one)
    return found


def _within(number: Rows, count: Rows, ranges: Sequence[Range]) -> Mask:
    keep = np.zeros(len(number), np.bool_)
    for one in ranges:
        first = one.first if one.first > 0 else count + 1 + one.first
        last = count if one.last is None else one.last if one.last > 0 else count + 1 + one.last
        keep |= (number >= first) & (number <= last)
    return keep
