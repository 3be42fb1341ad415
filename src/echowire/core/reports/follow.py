"""What the two ends of a stream said to each other, put together again from its packets.

The bytes of each direction in their order, every one once: what came twice is left out, what came early waits for what
belongs before it, and what the receiver acknowledged without the capture having seen it is a gap, said as such; so are
segments of which not one byte was captured. This is how Wireshark's Follow Stream orders them, so that both show the
same: of two versions of a byte the first that came in turn, and of those that waited the first that came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

import numpy as np

from echowire.core.packets.dissect import Packets
from echowire.core.packets.layers import Layer
from echowire.core.packets.streams import stream_numbers
from echowire.core.packets.tcp.header import ACK, HALF, MIN_HEADER_BYTES, SYN, WORD
from echowire.core.reports.ends import Endpoint, counted, ends_of

UDP_BYTES = 8

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Of early segments that wait for what belongs before them, each direction: a thousand times the largest window that
is usual. Beyond it the oldest gap is given up, as if it had been acknowledged."""

SEGMENT_COST = 256
"""Bytes that a waiting segment takes besides its data: of those with a byte each, too, there must be an end."""

TCP_FIELDS = ("tcp.stream", "tcp.len", "ip.src", "ipv6.src")
UDP_FIELDS = ("udp.stream", "ip.src", "ipv6.src")


class Piece(NamedTuple):
    """Some bytes that one end said, or a gap."""

    end: int
    """0 is the end whose packet came first, 1 the other."""
    frame: int
    """Number of the packet that they came in, or that showed the gap."""
    time_ns: int
    data: bytes
    missing: int = 0
    """Bytes of a gap; `data` is then empty."""


class Segment(NamedTuple):
    """A TCP segment, as far as following needs it."""

    end: int
    frame: int
    time_ns: int
    sequence: int
    acknowledgment: int
    flags: int
    length: int
    """Bytes of its payload on the wire."""
    data: bytes
    """Those that were captured."""


class _Early(NamedTuple):
    """A segment that waits. The numbers count from the direction's beginning and do not wrap."""

    sequence: int
    arrival: int
    """Of those that waited, the first that came is taken first."""
    segment: Segment


@dataclass(slots=True)
class _Direction:
    next: int | None = None
    """The number of the byte that is expected, not wrapped; None before the first segment."""
    waiting: list[_Early] = field(default_factory=list)
    """A heap, the lowest sequence number first."""
    arrived: int = 0
    cost: int = 0
    """Of what waits, in bytes."""

    def distance(self, number: int) -> int:
        """How far a sequence number of this direction is ahead of what is expected; negative where it is behind."""
        return ((number - (self.next or 0) + HALF) & WORD) - HALF


@dataclass(slots=True)
class Reassembly:
    """Both directions of one TCP stream; feed it the segments in the order of the capture."""

    tells_cuts: bool = False
    """What a snapshot length cut off of a segment is a gap, too; Wireshark's Follow Stream does not show it."""
    _directions: tuple[_Direction, _Direction] = field(default_factory=lambda: (_Direction(), _Direction()))

    @property
    def waiting_bytes(self) -> int:
        """Bytes of early segments that wait for what belongs before them, of both directions, with what they cost."""
        return sum(one.cost for one in self._directions)

    @property
    def expected(self) -> tuple[int | None, int | None]:
        """The sequence number that comes next of each end; None before its first segment. May be set, to go on."""
        first, second = (None if one.next is None else one.next & WORD for one in self._directions)
        return first, second

    @expected.setter
    def expected(self, sequences: tuple[int | None, int | None]) -> None:
        for one, sequence in zip(self._directions, sequences, strict=True):
            one.next = sequence

    def has_said(self, end: int, sequence: int) -> bool:
        """Whether all that an end said before a sequence number is known, or known to be missing."""
        mine = self._directions[end]
        return mine.next is not None and mine.distance(sequence) <= 0

    def finish(self) -> Iterator[Piece]:
        """What still waits, where nothing more is to come: behind gaps that nobody acknowledged."""
        for end, mine in enumerate(self._directions):
            if mine.waiting:
                yield from self._release(end, mine.waiting[0].segment, inf)

    def feed(self, segment: Segment) -> Iterator[Piece]:
        """What is known to be said now that this segment has come."""
        other, mine = self._directions[1 - segment.end], self._directions[segment.end]
        if segment.flags & ACK and other.waiting:
            assert other.next is not None, "something came of what waits"
            acknowledged = other.next + other.distance(segment.acknowledgment)
            yield from self._release(1 - segment.end, segment, acknowledged)
        start = segment.sequence + (1 if segment.flags & SYN else 0)
        if mine.next is None:
            mine.next = start
        ahead = mine.distance(start)
        if len(segment.data) <= max(0, -ahead):
            return  # nothing, or nothing new, was captured of it
        if ahead > 0:
            self._wait(mine, mine.next + ahead, segment)
            if mine.cost > MAX_WAITING_BYTES:
                yield from self._release(segment.end, segment, inf)
            return
        mine.next += ahead + segment.length
        yield Piece(segment.end, segment.frame, segment.time_ns, segment.data[-ahead:])
        if self.tells_cuts and len(segment.data) < segment.length:
            yield Piece(segment.end, segment.frame, segment.time_ns, b"", segment.length - len(segment.data))
        yield from self._release(segment.end, segment, -inf)

    def _wait(self, mine: _Direction, sequence: int, segment: Segment) -> None:
        heappush(mine.waiting, _Early(sequence, mine.arrived, segment))
        mine.arrived += 1
        mine.cost += len(segment.data) + SEGMENT_COST

    def _release(self, end: int, by: Segment, acknowledged: float) -> Iterator[Piece]:
        """Segments whose turn it is, also those behind a gap that the receiver did get, as it acknowledged so far."""
        mine = self._directions[end]
        assert mine.next is not None, "something came of it"
        ready: list[tuple[int, _Early]] = []
        while True:
            while mine.waiting and mine.waiting[0].sequence <= mine.next:
                early = heappop(mine.waiting)
                heappush(ready, (early.arrival, early))
            if ready:
                _, (sequence, _, segment) = heappop(ready)
                mine.cost -= len(segment.data) + SEGMENT_COST
                data = segment.data[mine.next - sequence :]
                mine.next += len(data)
                if data:
                    yield Piece(end, segment.frame, segment.time_ns, data)
            elif mine.waiting and acknowledged > mine.waiting[0].sequence:
                yield Piece(end, by.frame, by.time_ns, b"", mine.waiting[0].sequence - mine.next)
                mine.next = mine.waiting[0].sequence
            else:
                return


class Following:
    """One stream of a capture, followed chunk by chunk: its ends, and the pieces."""

    def __init__(self, protocol: str, stream: int) -> None:
        self.protocol = protocol
        """`tcp` or `udp`."""
        self.stream = stream
        self.ends: list[Endpoint] = []
        """Address and port of each end, once the stream was met."""
        self._reassembly = Reassembly()

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that a reading needs."""
        return TCP_FIELDS if self.protocol == "tcp" else UDP_FIELDS

    def feed(self, packets: Packets) -> Iterator[Piece]:
        """What the stream's packets in a chunk say."""
        for one in packets_of(packets, self.protocol, self.stream):
            yield from self._feed_one(one)

    def _feed_one(self, one: StreamPacket) -> Iterator[Piece]:
        datagram = datagram_of(one.layer, one.entry, 0) if self.protocol == "udp" else None
        if not (one.has_length if datagram is None else datagram.data):
            return
        if not self.ends:
            self.ends = [one.source, one.destination]
        end = 0 if one.source == self.ends[0] else 1
        if datagram is None:
            yield from self._reassembly.feed(segment_of(one.layer, one.entry, end))
        else:
            yield datagram._replace(end=end)


def datagram_of(layer: Layer, entry: int, end: int) -> Piece:
    """What a UDP datagram carries."""
    frame, time_ns = _when(layer, entry)
    begin, stop = int(layer.start[entry]), int(layer.end[entry])
    length = int.from_bytes(layer.data[begin + 4 : begin + 6].tobytes(), "big")
    return Piece(
        end, frame, time_ns, layer.data[begin + UDP_BYTES : min(stop, begin + max(length, UDP_BYTES))].tobytes()
    )


def segment_of(layer: Layer, entry: int, end: int) -> Segment:
    """A TCP segment, of which the header must have been captured."""
    frame, time_ns = _when(layer, entry)
    begin, stop, wire_end = int(layer.start[entry]), int(layer.end[entry]), int(layer.wire_end[entry])
    head = layer.data[begin : begin + MIN_HEADER_BYTES].tobytes()
    header = (head[12] >> 4) * 4
    return Segment(
        end,
        frame,
        time_ns,
        int.from_bytes(head[4:8], "big"),
        int.from_bytes(head[8:12], "big"),
        head[13],
        max(0, wire_end - begin - header),
        layer.data[min(begin + header, stop) : stop].tobytes(),
    )


def _when(layer: Layer, entry: int) -> tuple[int, int]:
    """The number of the packet, and its time."""
    row = int(layer.rows[entry])
    return layer.records.first + row, int(layer.records.time_ns[row])


class StreamPacket(NamedTuple):
    """A segment or datagram of a stream: where it is, who sent it and to whom."""

    layer: Layer
    entry: int
    source: Endpoint
    destination: Endpoint
    has_length: bool
    """A piece of an IP datagram does not say how much a segment had."""
    stream: int


def packets_of(packets: Packets, protocol: str, stream: int | None = None) -> list[StreamPacket]:
    """A stream's segments or datagrams in a chunk, or all, by packet: some may lie in tunnels or joined fragments."""
    found = []
    for one in counted(packets, protocol):
        mine = one if stream is None else one.only(one.key == stream)
        if not len(mine.entries):
            continue
        layer, entries = mine.layer, mine.entries
        sides = ends_of(layer, entries).sides()
        measured = stream_numbers(layer, "tcp.len") >= 0 if protocol == "tcp" else np.ones(len(layer), np.bool_)
        columns = (entries.tolist(), *sides, measured[entries].tolist(), mine.key.tolist())
        rows = zip(layer.rows[entries].tolist(), *columns, strict=True)
        found += [(row, StreamPacket(layer, *rest)) for row, *rest in rows]
    return [one for _, one in sorted(found, key=lambda row: row[0])]
