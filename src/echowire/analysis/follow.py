"""What the two ends of a stream said to each other, put together again from its packets.

The bytes of each direction in their order, every one once: what came twice is left out, what came early waits for what
belongs before it, and what the receiver acknowledged without the capture having seen it is a gap, said as such. This is
how Wireshark's Follow Stream orders them, so that both show the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from echowire.wire.cells import text_of
from echowire.wire.dissect import Packets
from echowire.wire.layers import Layer
from echowire.wire.streams import internet_layer, stream_numbers

SEQUENCE_MASK = 0xFFFFFFFF
HALF = 1 << 31
"""Sequence numbers are compared modulo 2^32 (RFC 9293, section 3.4): one is before another if it is less than half the
circle behind."""

SYN, ACK = 0x02, 0x10

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Of early segments that wait for what belongs before them, each direction: a thousand times the largest window that
is usual. Beyond it the oldest gap is given up, as if it had been acknowledged."""

MAX_ADDRESSES = 10_000
"""Pairs of addresses whose texts are kept, each chunk."""

Endpoint: TypeAlias = tuple[str, int]
"""An address as text, and a port."""

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


@dataclass(slots=True)
class _Direction:
    next: int | None = None
    """The sequence number that is expected; None before the first segment."""
    waiting: list[Segment] = field(default_factory=list)
    waiting_bytes: int = 0


@dataclass(slots=True)
class Reassembly:
    """Both directions of one TCP stream; feed it the segments in the order of the capture."""

    tells_cuts: bool = False
    """What a snapshot length cut off of a segment is a gap, too; Wireshark's Follow Stream does not show it."""
    _directions: tuple[_Direction, _Direction] = field(default_factory=lambda: (_Direction(), _Direction()))

    @property
    def waiting_bytes(self) -> int:
        """Bytes of early segments that wait for what belongs before them, of both directions."""
        return sum(one.waiting_bytes for one in self._directions)

    @property
    def expected(self) -> tuple[int | None, int | None]:
        """The sequence number that comes next of each end; None before its first segment. May be set, to go on."""
        return self._directions[0].next, self._directions[1].next

    @expected.setter
    def expected(self, sequences: tuple[int | None, int | None]) -> None:
        for one, sequence in zip(self._directions, sequences, strict=True):
            one.next = sequence

    def has_said(self, end: int, sequence: int) -> bool:
        """Whether all that an end said before a sequence number is known, or known to be missing."""
        expected = self._directions[end].next
        return expected is not None and _distance(expected, sequence) >= 0

    def finish(self) -> Iterator[Piece]:
        """What still waits, where nothing more is to come: behind gaps that nobody acknowledged."""
        for end, mine in enumerate(self._directions):
            while mine.waiting and mine.next is not None:
                yield from self._release(end, mine.waiting[0], (mine.next + HALF - 1) & SEQUENCE_MASK)

    def feed(self, segment: Segment) -> Iterator[Piece]:
        """What is known to be said now that this segment has come."""
        if segment.flags & ACK:
            yield from self._release(1 - segment.end, segment, segment.acknowledgment)
        mine = self._directions[segment.end]
        syn = 1 if segment.flags & SYN else 0
        if mine.next is None:
            mine.next = segment.sequence
        fresh = _from(segment, mine.next)
        if fresh is None:
            return
        if fresh.sequence != mine.next:
            if fresh.data:
                mine.waiting.append(fresh)
                mine.waiting_bytes += len(fresh.data)
                if mine.waiting_bytes > MAX_WAITING_BYTES:
                    yield from self._release(segment.end, segment, (mine.next + HALF - 1) & SEQUENCE_MASK)
            return
        mine.next = (mine.next + fresh.length + syn) & SEQUENCE_MASK
        yield from self._said(fresh)
        yield from self._release(segment.end, segment, None)

    def _said(self, fresh: Segment) -> Iterator[Piece]:
        """What a segment says that is due, as far as it was captured."""
        if fresh.data:
            yield Piece(fresh.end, fresh.frame, fresh.time_ns, fresh.data)
        if self.tells_cuts and len(fresh.data) < fresh.length:
            yield Piece(fresh.end, fresh.frame, fresh.time_ns, b"", fresh.length - len(fresh.data))

    def _release(self, end: int, by: Segment, acknowledged: int | None) -> Iterator[Piece]:
        """Segments whose turn it is; with `acknowledged`, also those behind a gap that the receiver did get."""
        mine = self._directions[end]
        while mine.waiting and mine.next is not None:
            expected = mine.next
            first = min(mine.waiting, key=lambda one: (one.sequence - expected + HALF) & SEQUENCE_MASK)
            gap = _distance(first.sequence, expected)
            if gap > 0:
                if acknowledged is None or _distance(acknowledged, first.sequence) <= 0:
                    return
                yield Piece(end, by.frame, by.time_ns, b"", gap)
                mine.next = first.sequence
                continue
            mine.waiting.remove(first)
            mine.waiting_bytes -= len(first.data)
            fresh = _from(first, expected)
            if fresh is not None:
                mine.next = (expected + fresh.length) & SEQUENCE_MASK
                yield from self._said(fresh)


def _distance(a: int, b: int) -> int:
    """How far `a` is behind `b` on the circle of sequence numbers; negative where it is before."""
    return ((a - b + HALF) & SEQUENCE_MASK) - HALF


def _from(segment: Segment, expected: int) -> Segment | None:
    """The part of a segment that was not seen yet; None where all of it was."""
    old = _distance(expected, segment.sequence)
    if old <= 0:
        return segment
    if old >= segment.length:
        return None
    return segment._replace(sequence=expected, length=segment.length - old, data=segment.data[old:])


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
        for layer, entry in entries_of(packets, self.protocol, self.stream):
            yield from self._feed_one(layer, entry)

    def _feed_one(self, layer: Layer, entry: int) -> Iterator[Piece]:
        source, destination = endpoints_of(layer, entry)
        if not self.ends:
            self.ends = [source, destination]
        end = 0 if source == self.ends[0] else 1
        if self.protocol == "tcp":
            yield from self._reassembly.feed(segment_of(layer, entry, end))
        elif (piece := datagram_of(layer, entry, end)).data:
            yield piece


def datagram_of(layer: Layer, entry: int, end: int) -> Piece:
    """What a UDP datagram carries."""
    frame, time_ns = _when(layer, entry)
    begin, stop = int(layer.start[entry]), int(layer.end[entry])
    length = int.from_bytes(layer.data[begin + 4 : begin + 6].tobytes(), "big")
    return Piece(end, frame, time_ns, layer.data[begin + 8 : min(stop, begin + max(length, 8))].tobytes())


def segment_of(layer: Layer, entry: int, end: int) -> Segment:
    """A TCP segment, of which the header must have been captured."""
    frame, time_ns = _when(layer, entry)
    begin, stop, wire_end = int(layer.start[entry]), int(layer.end[entry]), int(layer.wire_end[entry])
    head = layer.data[begin : begin + 20].tobytes()
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


def entries_of(packets: Packets, protocol: str, stream: int) -> list[tuple[Layer, int]]:
    """The stream's segments or datagrams in a chunk, by packet: some may lie in tunnels or in joined fragments."""
    found = []
    for layer in packets.layers_of(protocol):
        if not layer.is_quoted:
            mine = np.flatnonzero(stream_numbers(layer, f"{protocol}.stream") == stream)
            found += [(row, layer, entry) for row, entry in zip(layer.rows[mine].tolist(), mine.tolist(), strict=True)]
    return [(layer, entry) for _, layer, entry in sorted(found, key=lambda one: one[0])]


def endpoints_of(layer: Layer, entry: int) -> list[Endpoint]:
    """Address and port that a segment or datagram came from, and those that it went to."""
    begin = int(layer.start[entry])
    ports = layer.data[begin : begin + 4].tobytes()
    texts = ("", "")
    around = layer.once("internet", lambda: internet_layer(layer))
    if around is not None:
        outer, index = around
        texts = _addresses(outer, int(index[entry]))
    return [(texts[0], int.from_bytes(ports[:2], "big")), (texts[1], int.from_bytes(ports[2:], "big"))]


PLAIN_HEADERS = {"ip": (0, 0x45, slice(12, 20)), "ipv6": (6, 6, slice(8, 40))}
"""A byte that tells that no option or extension header changes where a packet goes, and where the addresses are."""


def _addresses(layer: Layer, entry: int) -> tuple[str, str]:
    """Source and destination of an IP packet. Those of a chunk have few addresses, whose texts are made once."""
    at, value, place = PLAIN_HEADERS[layer.protocol.name]
    begin = int(layer.start[entry])
    head = layer.data[begin : min(begin + place.stop, int(layer.end[entry]))].tobytes()
    made: dict[bytes, tuple[str, str]] = layer.once("addresses", dict)
    is_plain = len(head) == place.stop and head[at] == value
    if is_plain and (known := made.get(head[place])):
        return known
    source, destination = layer.protocol.addresses or ("", "")
    texts = _address(layer, entry, source), _address(layer, entry, destination)
    if is_plain and len(made) < MAX_ADDRESSES:
        made[head[place]] = texts
    return texts


def _address(layer: Layer, entry: int, name: str) -> str:
    field = layer.protocol.field(name)
    picked = layer.once(f"endpoints {name}", lambda: layer.pick(field))
    at = int(np.searchsorted(picked.index, entry))
    return text_of(field, picked.values[at]) if at < len(picked.index) and picked.index[at] == entry else ""
