"""What a wireless card says of a frame before it: radiotap, and the older Prism and AVS headers.

Radiotap's fields stand in the order of the bits that say which are there, each on a multiple of its own alignment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import Column, Type
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol

FIXED_BYTES = 8
MORE_WORDS = 0x80000000
"""The bit of a word of presence that says that another follows."""

MAX_WORDS = 32
"""Words of presence that are skipped; nobody has more than a handful."""

TSFT, FLAGS, RATE, CHANNEL, HOPPING, SIGNAL, NOISE = range(7)
SIZES = ((8, 8), (1, 1), (1, 1), (4, 2), (2, 2), (1, 1), (1, 1))
"""Bytes and alignment of the first of the fields (radiotap.org, Defined fields)."""

FCS_AT_END, DATA_PAD = 0x10, 0x20
FCS_BYTES = 4
PRISM_BYTES = 144
PRISM_AVS = 0x80211001
"""The number with which an AVS header begins where Prism's is announced."""


def header_bytes(layer: Layer) -> Rows:
    """The header's length as it says itself."""
    return layer.uint(2, 2, little=True).astype(np.int64)


def _places(layer: Layer) -> list[Rows]:
    """Where each of the first fields stands; -1 where it is not there."""

    def made() -> list[Rows]:
        words = np.ones(len(layer), np.int64)
        more = layer.uint(4, 4, little=True) & MORE_WORDS != 0
        for count in range(1, MAX_WORDS):
            words += more
            more &= layer.uint(4 + 4 * count, 4, little=True) & MORE_WORDS != 0
            if not more.any():
                break
        at, present, places = 4 + 4 * words, layer.uint(4, 4, little=True), []
        for bit, (size, alignment) in enumerate(SIZES):
            is_there = present >> bit & 1 == 1
            at = np.where(is_there, -(-at // alignment) * alignment, at)
            places.append(np.where(is_there, at, -1))
            at = np.where(is_there, at + size, at)
        return places

    return layer.once("places", made)


def _field(bit: int, size: int, plus: int = 0) -> Callable[[Layer], Picked]:
    """The numbers of one field."""

    def make(layer: Layer) -> Picked:
        at = _places(layer)[bit]
        index = np.flatnonzero((at >= 0) & layer.has(at + plus + size) & (at + plus + size <= header_bytes(layer)))
        return Picked(index, layer.uint(np.maximum(at, 0) + plus, size, little=True)[index])

    return make


def _decibels(bit: int) -> Callable[[Layer], Picked]:
    def make(layer: Layer) -> Picked:
        found = _field(bit, 1)(layer)
        return Picked(found.index, found.values.astype(np.uint8).view(np.int8))

    return make


def _rate(layer: Layer) -> Picked:
    found = _field(RATE, 1)(layer)
    values: Column = found.values / 2  # in units of 500 kb/s
    return Picked(found.index, values)


def flags(layer: Layer) -> NDArray[np.uint8]:
    """What is told of the frame itself; 0 where nothing is."""
    out = np.zeros(len(layer), np.uint8)
    found = _field(FLAGS, 1)(layer)
    out[found.index] = found.values
    return out


def _next(layer: Layer) -> Iterator[Next]:
    start = layer.start + header_bytes(layer)
    index = np.flatnonzero(layer.has(FIXED_BYTES) & (header_bytes(layer) >= FIXED_BYTES) & (start <= layer.end))
    end = layer.wire_end - FCS_BYTES * (flags(layer) & FCS_AT_END != 0)
    yield Next("wlan_radio", (0,), index, start[index], np.maximum(end, start)[index])


def _prism_bytes(layer: Layer) -> Rows:
    avs = layer.uint(0, 4) == PRISM_AVS
    return np.where(avs, layer.uint(4, 4), PRISM_BYTES).astype(np.int64)


def _prism_next(layer: Layer) -> Iterator[Next]:
    start = layer.start + _prism_bytes(layer)
    index = np.flatnonzero(layer.has(FIXED_BYTES) & (start <= layer.end))
    yield Next("wlan_radio", (0,), index, start[index], layer.wire_end[index])


def _radio_next(layer: Layer) -> Iterator[Next]:
    yield Next("wlan", (0,), layer.every, layer.start, layer.wire_end)


PROTOCOLS = (
    Protocol(
        "radiotap",
        "IEEE 802.11 Radiotap Capture header",
        "Radiotap",
        fields=(
            Field("radiotap.version", "Header revision", Type.UINT8, 0),
            Field("radiotap.pad", "Header pad", Type.UINT8, 1),
            Field("radiotap.length", "Header length", Type.UINT16, 2, little=True),
            Field("radiotap.present.word", "Present flags word", Type.UINT32, 4, little=True, base="hex"),
            Field("radiotap.mactime", "MAC timestamp", Type.UINT64, make=_field(TSFT, 8)),
            Field("radiotap.flags", "Flags", Type.UINT8, base="hex", make=_field(FLAGS, 1)),
            Field("radiotap.datarate", "Data rate (Mb/s)", Type.FLOAT, make=_rate),
            Field("radiotap.channel.freq", "Channel frequency", Type.UINT32, make=_field(CHANNEL, 2)),
            Field("radiotap.channel.flags", "Channel flags", Type.UINT16, base="hex", make=_field(CHANNEL, 2, 2)),
            Field("radiotap.dbm_antsignal", "Antenna signal", Type.INT8, make=_decibels(SIGNAL)),
            Field("radiotap.dbm_antnoise", "Antenna noise", Type.INT8, make=_decibels(NOISE)),
        ),
        keys=(("link_type", 127),),
        follow=_next,
        tables=("wlan_radio",),
        size=header_bytes,
        least=4,
    ),
    Protocol(
        "prism",
        "Prism capture header",
        "Prism",
        fields=(
            Field("prism.msgcode", "Message Code", Type.UINT32, 0),
            Field("prism.msglen", "Message Length", Type.UINT32, 4),
        ),
        keys=(("link_type", 119), ("link_type", 163)),
        follow=_prism_next,
        tables=("wlan_radio",),
        size=_prism_bytes,
    ),
    Protocol(
        "wlan_radio",
        "802.11 radio information",
        "802.11 Radio",
        keys=(("wlan_radio", 0),),
        follow=_radio_next,
        tables=("wlan",),
        size=0,
    ),
)
