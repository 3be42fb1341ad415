"""What a load is made of: a stream that is known at every offset, and datagrams that say which they are. Pure.

A stream's byte at offset `k` is `cycle()[k % PERIOD]`. The period is a prime, so that messages of any one size all
differ from their neighbours and a piece that is lost, repeated or put elsewhere shows at its first byte. Comparing
is `cycle().startswith(data, k % PERIOD)`: one memcmp, without a copy.

A datagram begins with a header, big-endian:

    0   4  run        drawn once a socket: what another run or socket sent is told apart
    4   8  sequence   0, 1, 2, … in order of sending
    12  4  size       of the whole datagram, so that a shorter one is known to be cut
    16  4  digest     of the three before it, so that a damaged sequence number is not taken for another datagram
    20  …  the cycle from offset `sequence % VARIANTS`

Bursts of equal datagrams, as UDP_SEGMENT sends and UDP_GRO receives them, are made and read as columns.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERIOD = 65_521
"""The largest prime below 65,536."""

CHUNK_BYTES = 256 * 1024
"""The most that may be compared with the cycle, or sent from it, at a time."""

HEADER = struct.Struct(">IQII")
VARIANTS = 64

WINDOW_DATAGRAMS = 1 << 20
"""Datagrams of a flood whose fate is remembered, 9 MiB: a second's worth of a million a second. What comes back
later than that many others is counted as unexpected, and its datagram as lost."""

_MASK = (1 << 64) - 1
_FIRST_FACTOR, _SECOND_FACTOR = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9  # splitmix64's (Steele, Lea, Flood 2014)

Sequences = NDArray[np.int64]


class State(IntEnum):
    """What a datagram that came in is."""

    INTACT = 0
    TRUNCATED = 1
    CORRUPTED = 2
    UNEXPECTED = 3
    """Well made, and by somebody else: another run, or another socket of this one."""


@dataclass(slots=True)
class Outcomes:
    """What was sent, and what became of it. Messages are echoes of a stream, or datagrams.

    `sent` is `echoed + corrupted + truncated + lost + unanswered`, once the load has ended.
    """

    sent: int = 0
    echoed: int = 0
    """Came back whole and right, once."""
    sent_bytes: int = 0
    received_bytes: int = 0
    corrupted: int = 0
    """Came back with a wrong byte; from a source that is compared, lines of RFC 864's pattern that have one."""
    truncated: int = 0
    lost: int = 0
    unanswered: int = 0
    """In flight when the load ended."""
    partial: int = 0
    """Of those on a stream, as many had begun to come back, and right so far."""
    duplicated: int = 0
    reordered: int = 0
    """Came after one that was sent later (RFC 4737 section 3.3)."""
    late: int = 0
    """Came after they had been given up, and are counted as lost as well."""
    unexpected: int = 0
    """Answer nothing that was sent, or more bytes than were."""
    compared_bytes: int = 0
    """From a source: those that were held against RFC 864's pattern. 0 where it sends something else."""

    def add(self, other: Outcomes) -> None:
        """Add what another worker, or the time after, has counted."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def since(self, before: Outcomes) -> Outcomes:
        """What was counted since `before`, a copy of an earlier state."""
        return Outcomes(*(getattr(self, item.name) - getattr(before, item.name) for item in fields(self)))

    def copy(self) -> Outcomes:
        """The state as it is now."""
        return Outcomes(**asdict(self))

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Outcomes:
        """What `asdict` gave."""
        return cls(**document)


@cache
def cycle() -> bytes:
    """The stream's bytes, from its start: one period, and a chunk more, so that a slice never has to wrap."""
    period = hashlib.shake_128(b"echowire").digest(PERIOD)
    times, rest = divmod(CHUNK_BYTES, PERIOD)
    return period * (1 + times) + period[:rest]


def digest(run: int, sequence: int, size: int) -> int:
    """The digest of a header: 32 bits that each bit of it changes half of."""
    mixed = (sequence * _FIRST_FACTOR + (run << 32 | size)) & _MASK
    mixed = (mixed ^ mixed >> 29) * _SECOND_FACTOR & _MASK
    return mixed >> 32


def count_damage(outcomes: Outcomes, state: State, count: int = 1) -> None:
    """Count `count` datagrams that came in `state`; those that are as they must be are counted elsewhere."""
    if state is State.TRUNCATED:
        outcomes.truncated += count
    elif state is State.CORRUPTED:
        outcomes.corrupted += count
    elif state is State.UNEXPECTED:
        outcomes.unexpected += count


def make_probe(run: int, sequence: int, size: int) -> bytes:
    """Datagram number `sequence` of `size` bytes, at least the header's."""
    start = sequence % VARIANTS
    header = HEADER.pack(run, sequence, size, digest(run, sequence, size))
    return header + cycle()[start : start + size - HEADER.size]


def read_probe(run: int, data: bytes | memoryview) -> tuple[int | None, State]:
    """Which datagram of `run` this is, None where it does not say or is not ours, and its state."""
    if len(data) < HEADER.size:
        ours = bytes(data[:4]) == run.to_bytes(4, "big")[: len(data)]
        return None, State.TRUNCATED if ours else State.CORRUPTED
    said_run, sequence, size, said_digest = HEADER.unpack_from(data)
    if said_digest != digest(said_run, sequence, size):
        return None, State.CORRUPTED
    if said_run != run:
        return None, State.UNEXPECTED
    if len(data) > size or not cycle().startswith(memoryview(data)[HEADER.size :], sequence % VARIANTS):
        return sequence, State.CORRUPTED
    return sequence, State.INTACT if len(data) == size else State.TRUNCATED


class Bursts:
    """Makes and reads bursts of datagrams of one size."""

    def __init__(self, run: int, size: int, most: int) -> None:
        self.run, self.size, self.most = run, size, most
        fill = np.frombuffer(cycle(), dtype=np.uint8)
        length = size - HEADER.size
        self._fills = (
            np.lib.stride_tricks.sliding_window_view(fill[: VARIANTS - 1 + length], length) if length else None
        )
        self._rows = np.zeros((most, size), dtype=np.uint8)
        self._heads = np.zeros(
            most, dtype=np.dtype([("run", ">u4"), ("sequence", ">u8"), ("size", ">u4"), ("d", ">u4")])
        )
        self._heads["run"], self._heads["size"] = run, size

    def make(self, first: int, count: int) -> memoryview:
        """Datagrams `first` to `first + count`, one after the other; valid until the next call."""
        sequences = np.arange(first, first + count, dtype=np.int64)
        heads = self._heads[:count]
        heads["sequence"], heads["d"] = sequences, self._digests(sequences)
        rows = self._rows[:count]
        rows[:, : HEADER.size] = heads.view(np.uint8).reshape(count, HEADER.size)
        if self._fills is not None:
            rows[:, HEADER.size :] = self._fills[sequences % VARIANTS]
        return rows.data.cast("B")

    def read(self, data: memoryview, segment: int) -> tuple[list[int], dict[State, int]]:
        """The sequence numbers of those in `data` that say theirs, and how many are in which state.

        `data` holds datagrams of `segment` bytes each, the last of them maybe shorter, as UDP_GRO gives them.
        """
        whole = len(data) // segment if segment == self.size else 0
        rows = np.frombuffer(data[: whole * segment], dtype=np.uint8).reshape(whole, self.size)
        heads = np.ascontiguousarray(rows[:, : HEADER.size]).view(self._heads.dtype).reshape(whole)
        sequences = heads["sequence"].astype(np.uint64).astype(np.int64)
        ours = (heads["run"] == self.run) & (heads["size"] == self.size) & (heads["d"] == self._digests(sequences))
        if self._fills is not None:
            ours &= (rows[:, HEADER.size :] == self._fills[sequences % VARIANTS]).all(axis=1)
        states = {State.INTACT: int(ours.sum())}
        named: list[int] = sequences[ours].tolist()
        # What is not as it must be is looked at one by one, as is a last datagram that is shorter.
        odd = [data[int(row) * segment : (int(row) + 1) * segment] for row in np.flatnonzero(~ours)]
        odd += [data[at : at + segment] for at in range(whole * segment, len(data), segment)]
        for piece in odd:
            sequence, state = read_probe(self.run, piece)
            states[state] = states.get(state, 0) + 1
            if sequence is not None:
                named.append(sequence)
        return named, states

    def _digests(self, sequences: Sequences) -> NDArray[np.uint64]:
        mixed = sequences.astype(np.uint64) * np.uint64(_FIRST_FACTOR)
        mixed += np.uint64(self.run << 32 | self.size)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(_SECOND_FACTOR)
        return mixed >> np.uint64(32)


class Window:
    """Remembers when each datagram of a flood was sent, and whether it has come back."""

    def __init__(self, capacity: int = WINDOW_DATAGRAMS) -> None:
        self._capacity = capacity
        self._sent_at = np.zeros(capacity)
        self._waits = np.zeros(capacity, dtype=bool)
        self._next = 0
        self._next_expected = 0
        self.outstanding = 0
        """Sent and neither come back nor forgotten."""
        self.forgotten = 0
        """Not come back while this many others were sent."""

    def sent(self, count: int, now: float) -> None:
        """The next `count` datagrams went out at `now`."""
        at = np.arange(self._next, self._next + count) % self._capacity
        forgotten = int(self._waits[at].sum())
        self._sent_at[at], self._waits[at] = now, True
        self._next += count
        self.forgotten += forgotten
        self.outstanding += count - forgotten

    def arrived(self, numbers: list[int], times: list[float], outcomes: Outcomes) -> list[float]:
        """Note what came in, in order, and when; the round trips, in seconds, of those that came for the first time."""
        if not numbers:
            return []
        sequences, at = np.array(numbers, dtype=np.int64), np.array(times)
        known = (sequences < self._next) & (sequences >= max(0, self._next - self._capacity))
        outcomes.unexpected += int((~known).sum())
        sequences, at = sequences[known], at[known]
        firsts = np.sort(np.unique(sequences, return_index=True)[1])
        new = firsts[self._waits[sequences[firsts] % self._capacity]]
        outcomes.duplicated += len(sequences) - len(new)
        fresh, at = sequences[new], at[new]
        if not len(fresh):
            return []
        places = fresh % self._capacity
        self._waits[places] = False
        self.outstanding -= len(fresh)
        expected = np.maximum.accumulate(np.concatenate([[self._next_expected], fresh + 1]))
        outcomes.reordered += int((fresh < expected[:-1]).sum())
        self._next_expected = int(expected[-1])
        trips: list[float] = (at - self._sent_at[places]).tolist()
        return trips
