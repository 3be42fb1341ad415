"""The Internet checksum (RFC 1071) over columns: of all packets of a layer at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Bytes, Rows
from echowire.core.packets.columns import Column
from echowire.core.packets.layers import Layer
from echowire.core.packets.streams import Mask, internet_layer

CHECKSUM_STATES = {0: "Bad", 1: "Good", 2: "Unverified", 3: "Not present", 4: "Illegal"}
UNVERIFIED, NOT_PRESENT, ILLEGAL = 2, 3, 4
"""What Wireshark says of checksums. Unless it is told to look they are unverified, as network cards fill them in behind
the capture."""


def unverified(layer: Layer) -> Column:
    """The state of a checksum that every entry has."""
    return np.full(len(layer), UNVERIFIED, np.uint8)


def word_sums(data: Bytes, start: Rows, size: Rows) -> Rows:
    """The sum of the 16-bit words of each range of `data`; an odd last byte counts as a word's upper half."""
    out = np.zeros(len(start), np.int64)
    for parity in (0, 1):
        which = np.flatnonzero((start & 1) == parity)
        if not len(which):
            continue
        low = int(start[which].min())
        high = int((start[which] + size[which]).max())
        words = data[low : high + ((high - low) & 1)].view(">u2")
        sums = np.zeros(len(words) + 1, np.int64)
        np.cumsum(words, out=sums[1:])
        first, count = (start[which] - low) >> 1, size[which] >> 1
        out[which] = sums[first + count] - sums[first]
    odd = np.flatnonzero(size & 1)
    out[odd] += data[start[odd] + size[odd] - 1].astype(np.int64) << 8
    return out


def folded(sums: Rows) -> NDArray[np.uint16]:
    """Sums of words as the 16-bit one's complement sum."""
    for _ in range(3):
        sums = (sums & 0xFFFF) + (sums >> 16)
    found: NDArray[Any] = sums.astype(np.uint16)
    return found


def transport_checksums(
    layer: Layer, protocol: int, covered: Rows, at: int
) -> tuple[Rows, NDArray[np.uint16], NDArray[np.uint16]]:
    """The entries of a transport layer whose checksum can be verified, what it is, and what it should be.

    `covered` bytes of each entry count, and all of them must have been captured; `at` is where the checksum stands.
    The addresses are those of the IP layer around (the pseudo-header of RFC 9293, 3.1, and RFC 8200, 8.1).
    """
    around = internet_layer(layer)
    length = layer.wire_end - layer.start
    good: Mask = (covered >= at + 2) & (covered <= length) & layer.has(length)
    index = np.flatnonzero(good if around is not None else good & False)
    if around is None:
        return index, np.zeros(0, np.uint16), np.zeros(0, np.uint16)
    ip, entries = around
    first, size = (12, 8) if ip.protocol.name == "ip" else (8, 32)
    addresses = word_sums(ip.data, ip.start[entries[index]] + first, np.full(len(index), size))
    said = layer.uint(at, 2)[index].astype(np.uint16)
    sums = word_sums(layer.data, layer.start[index], covered[index]) + addresses - said
    sums += protocol + (length[index] & 0xFFFF) + (length[index] >> 16)
    return index, said, ~folded(sums)
