"""What the packet list says of TCP's options: `MSS=1460`, `TSval=1 TSecr=0`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import gather_uint
from echowire.core.packets.layers import Layer
from echowire.core.packets.protocols.tcp.option_names import COUNTERS, FAST_OPEN, ORDER_1, RATES
from echowire.core.packets.protocols.tcp.options import base_of
from echowire.core.packets.tcp.header import WORD
from echowire.core.packets.tcp.options import MSS, SACK, SACK_PERMITTED, TIMESTAMPS, WINDOW_SCALE, places
from echowire.core.packets.tcp.segments import MAX_SHIFT

Texts: TypeAlias = Iterator[tuple[int, str]]


def _texts(
    layer: Layer, index: Rows, at: Rows, size: int, text: Callable[..., str], *numbers: tuple[int, int]
) -> Texts:
    """A text for each option at `at` that has `size` bytes, of the numbers that stand in it (offset, bytes)."""
    start = layer.start[index] + at
    fits = (start + size <= layer.end[index]) & (layer.data[start + 1] == size)
    index, start = index[fits], start[fits]
    columns = [gather_uint(layer.data, start + offset, width).tolist() for offset, width in numbers]
    for entry, *values in zip(index.tolist(), *columns, strict=True):
        yield entry, text(*values)


TEXTS: Mapping[int, tuple[int, Callable[..., str], tuple[tuple[int, int], ...]]] = {
    MSS: (4, lambda value: f" MSS={value}", ((2, 2),)),
    WINDOW_SCALE: (3, lambda shift: f" WS={1 << min(shift, MAX_SHIFT)}", ((2, 1),)),
    SACK_PERMITTED: (2, lambda: " SACK_PERM", ()),
    TIMESTAMPS: (10, lambda value, echo: f" TSval={value} TSecr={echo}", ((2, 4), (6, 4))),
    **dict.fromkeys((6, 7), (6, lambda value: f" ECHO={value}", ((2, 4),))),
    **dict.fromkeys((11, 12, 13), (6, lambda value: f" CC={value}", ((2, 4),))),
    19: (18, lambda: " MD5", ()),
    27: (8, lambda rate: f" QSresp={RATES[rate & 15]}", ((2, 1),)),
    28: (4, lambda value: f" USER_TO={value & 0x7FFF}", ((2, 2),)),
}
"""By kind: the bytes that an option must have, and what is said of it."""


def option_texts(layer: Layer) -> Texts:
    """What the packet list says of the options of a layer of TCP: entry and text, in the order of the options."""
    for place in places(layer):
        for kind in np.unique(place.kind).tolist():
            which = place.kind == kind
            index, at = place.entry[which], place.at[which]
            if kind in TEXTS:
                size, text, numbers = TEXTS[kind]
                yield from _texts(layer, index, at, size, text, *numbers)
            elif kind in OTHER_TEXTS:
                make = OTHER_TEXTS[kind]
                for entry, start, length in zip(index.tolist(), at.tolist(), place.size[which].tolist(), strict=True):
                    yield entry, make(layer, entry, layer.payload(entry)[start : start + length])


def _sack(layer: Layer, entry: int, option: bytes) -> str:
    base = int(layer.once("sack base", lambda: base_of(layer))[entry])
    edges = [int.from_bytes(option[at : at + 4], "big") for at in range(2, len(option) - 3, 4)]
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return "".join(f" SLE={(left - base) & WORD} SRE={(right - base) & WORD}" for left, right in pairs)


def _fast_open(layer: Layer, entry: int, option: bytes) -> str:
    return " TFO=R" if len(option) == 2 else " TFO=C"


def _experiment(layer: Layer, entry: int, option: bytes) -> str:
    if len(option) < 4:
        return ""
    identifier = int.from_bytes(option[2:4], "big")
    if identifier == FAST_OPEN:
        return " TFO=R" if len(option) == 4 else " TFO=C"
    return f" ExID={identifier:x}"


def _accurate_ecn(layer: Layer, entry: int, option: bytes) -> str:
    names = [name.upper() for name in COUNTERS][:: -1 if option[0] == ORDER_1 else 1]
    values = [int.from_bytes(option[at : at + 3], "big") for at in range(2, len(option) - 2, 3)]
    return "".join(f" {name}={value}" for name, value in zip(names, values, strict=False))


OTHER_TEXTS: Mapping[int, Callable[[Layer, int, bytes], str]] = {
    SACK: _sack,
    29: lambda layer, entry, option: "TCP AO",
    34: _fast_open,
    172: _accurate_ecn,
    ORDER_1: _accurate_ecn,
    253: _experiment,
    254: _experiment,
}
