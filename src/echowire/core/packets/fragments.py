"""IP fragments joined to datagrams (RFC 791, section 3.2; RFC 8200, section 4.5), where a reading asks for it.

Fragments come in any order and some never come, so what is held is bounded. Fragments that overlap are how datagrams
are smuggled past those who watch: unless one is the same as another, the datagram that they belong to is not joined
(RFC 5722), and neither is one of which a part was not captured.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from echowire.core.captures.records import PAD, Bytes, Rows
from echowire.core.captures.ticks import NO_TIME, SECOND_NS
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Picked

MAX_PENDING = 4096
"""Datagrams that wait for the rest; beyond it the oldest are given up. Linux holds 4 MB of them (ipfrag_high_thresh),
about as many of a few fragments each."""

MAX_PENDING_BYTES = 16 * 1024 * 1024
"""Bytes held of all of them together: 256 of the largest datagrams."""

MAX_DATAGRAM_BYTES = 65_535
"""No offset and length may reach beyond it."""

LIFETIME_NS = 60 * SECOND_NS
"""Fragments as far apart as this belong to different datagrams (RFC 8200, section 4.5), as identifications return."""


@dataclass(slots=True)
class _Datagram:
    """The fragments of one datagram, as far as they came."""

    time_ns: int
    pieces: dict[int, bytes] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)
    """Of the pieces, ascending."""
    numbers: list[int] = field(default_factory=list)
    """Of the frames that they came in."""
    have: int = 0
    total: int | None = None
    """Bytes of all, known from the last fragment."""
    is_spoilt: bool = False
    """It is not to be joined."""

    def add(self, offset: int, more: bool, data: bytes, number: int) -> bytes | None:
        """Take a fragment. Gives the whole once there is no gap."""
        if self.is_spoilt or self.pieces.get(offset) == data:
            return None
        end = offset + len(data)
        total = self.total if more else end
        beyond = end > MAX_DATAGRAM_BYTES or (total is not None and (end > total or total not in (self.total, end)))
        changed = self.total is not None and total != self.total
        if beyond or changed or self._overlaps(offset, end):
            self.is_spoilt, self.have = True, 0
            self.pieces.clear()
            return None
        self.pieces[offset] = data
        insort(self.offsets, offset)
        self.numbers.append(number)
        self.have += len(data)
        self.total = total
        if self.total is None or self.have < self.total:
            return None
        return b"".join(self.pieces[at] for at in self.offsets)

    def _overlaps(self, offset: int, end: int) -> bool:
        place = bisect(self.offsets, offset)
        before = self.offsets[place - 1] if place else None
        runs_on = before is not None and before + len(self.pieces[before]) > offset
        return runs_on or (place < len(self.offsets) and self.offsets[place] < end)


@dataclass(slots=True)
class _Pending:
    """All datagrams that wait, the oldest first."""

    datagrams: dict[bytes, _Datagram] = field(default_factory=dict)
    held: int = 0
    """Bytes of them."""

    def of(self, key: bytes, time_ns: int) -> _Datagram:
        """The datagram that a fragment belongs to."""
        found = self.datagrams.get(key)
        if found is not None and NO_TIME not in (time_ns, found.time_ns) and time_ns - found.time_ns > LIFETIME_NS:
            self.drop(key)
            found = None
        if found is None:
            found = self.datagrams[key] = _Datagram(time_ns)
        return found

    def drop(self, key: bytes) -> None:
        """Forget a datagram: it is whole, or is given up."""
        self.held -= self.datagrams.pop(key).have

    def add(self, key: bytes, time_ns: int, fragment: tuple[int, bool, bytes, int]) -> tuple[bytes, list[int]] | None:
        """Take a fragment. Gives the whole datagram, if that completes it, and the frames that it came in."""
        datagram = self.of(key, time_ns)
        before = datagram.have
        whole = datagram.add(*fragment)
        self.held += datagram.have - before
        if whole is not None:
            self.drop(key)
            return whole, datagram.numbers
        while len(self.datagrams) > MAX_PENDING or self.held > MAX_PENDING_BYTES:
            self.drop(next(iter(self.datagrams)))
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """The datagrams that were completed in one layer: in which entries, and where each is in `data`."""

    index: Rows
    data: Bytes
    start: Rows
    end: Rows
    numbers: Sequence[Sequence[int]]
    """The frames of each one's fragments."""


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """The fragments of a layer, a column each: its entries, what tells datagrams apart, and where the bytes are."""

    index: Rows
    keys: Sequence[bytes]
    offset: Rows
    more: Rows
    start: Rows
    wire_end: Rows


def join(layer: Layer, fragments: Fragments) -> Joined:
    """Add a layer's fragments, in the order of the file, to those that came before."""
    pending = layer.memory.of(f"fragments of {layer.protocol.name}", _Pending)
    times = layer.records.time_ns[layer.rows[fragments.index]].tolist()
    numbers = (layer.rows[fragments.index] + layer.records.first).tolist()
    columns = (fragments.offset, fragments.more, fragments.start, fragments.wire_end, layer.end[fragments.index])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    index, wholes, frames = [], [], []
    for entry, (offset, more, start, wire_end, end) in enumerate(rows):
        data = layer.data[start : min(end, wire_end)].tobytes()
        if end < wire_end or not data:
            continue  # a part was not captured: the datagram stays incomplete
        found = pending.add(fragments.keys[entry], times[entry], (offset, bool(more), data, numbers[entry]))
        if found is not None:
            index.append(int(fragments.index[entry]))
            wholes.append(found[0])
            frames.append(found[1])
    size = np.array([len(one) for one in wholes], np.int64)
    every = np.frombuffer(b"".join([*wholes, bytes(PAD)]), np.uint8)
    return Joined(np.array(index, np.int64), every, np.cumsum(size) - size, np.cumsum(size), frames)


def joined_fields(name: str, title: str) -> tuple[Field, ...]:
    """What the packet that completes a datagram tells of it."""

    def joined(layer: Layer) -> Joined | None:
        found: Joined | None = layer.once("joined", lambda: None)
        return found

    def count(layer: Layer) -> Picked:
        found = joined(layer)
        sizes = [] if found is None else [len(one) for one in found.numbers]
        return Picked(np.zeros(0, np.int64) if found is None else found.index, np.array(sizes, np.uint32))

    def length(layer: Layer) -> Picked:
        found = joined(layer)
        if found is None:
            return Picked(np.zeros(0, np.int64), np.zeros(0, np.uint32))
        return Picked(found.index, (found.end - found.start).astype(np.uint32))

    def frames(layer: Layer) -> Picked:
        found = joined(layer)
        pairs = (
            []
            if found is None
            else [
                (entry, number)
                for entry, some in zip(found.index.tolist(), found.numbers, strict=True)
                for number in some
            ]
        )
        index = np.array([entry for entry, _ in pairs], np.int64)
        return Picked(index, np.array([number for _, number in pairs], np.uint32))

    return (
        Field(f"{name}.fragment", f"{title} Fragment", Type.FRAME_NUMBER, make=frames, generated=True),
        Field(f"{name}.fragment.count", "Fragment count", Type.UINT32, make=count, generated=True),
        Field(f"{name}.reassembled.length", f"Reassembled {title} length", Type.UINT32, make=length, generated=True),
    )
