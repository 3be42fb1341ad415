"""Every stream of a capture put together again in one pass: what each end of each conversation said.

What `core/reports/follow.py` does for one stream, for all at once, in bounded memory: a stream that is closed, or has
been silent while very many others spoke, keeps nothing but where it had come to, so that what is sent again later is
still known as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.dissect import Packets
from echowire.core.packets.layers import Layer
from echowire.core.packets.streams import conversation, stream_numbers
from echowire.core.packets.tcp.header import ACK, FIN, MIN_HEADER_BYTES, RST, SYN, WORD
from echowire.core.packets.tcp.segments import header_bytes
from echowire.core.reports.ends import Endpoint, Ends, ends_of, has_ends
from echowire.core.reports.follow import (
    TCP_FIELDS,
    UDP_BYTES,
    UDP_FIELDS,
    Piece,
    Reassembly,
    Segment,
    datagram_of,
    segment_of,
)

MAX_FOLLOWED = 65_536
"""Streams of which more is kept than where they had come to: as many as one host has ports, at about 1 KB each."""

MAX_HELD_BYTES = 256 * 1024 * 1024
"""Of early segments of all streams together. Beyond it the stream that was first to wait goes on behind its gap."""


@dataclass(slots=True, eq=False)
class Stream:
    """One conversation."""

    protocol: str
    """`tcp` or `udp`."""
    number: int
    """`tcp.stream` or `udp.stream`."""
    ends: tuple[Endpoint, Endpoint]
    """The one whose packet came first, then the other."""
    is_higher_first: bool
    """Whether the first end is the higher one; see `echowire.core.packets.streams.conversation`."""
    is_answer_first: bool = False
    """Its first packet was a SYN's answer: the second end is the client."""
    reassembly: Reassembly = field(default_factory=lambda: Reassembly(tells_cuts=True))
    fins: list[int | None] = field(default_factory=lambda: [None, None])
    """Sequence number behind the last byte of each end, once it said so."""
    closed: list[bool] = field(default_factory=lambda: [False, False])


class Said(NamedTuple):
    """Some bytes of a stream, a gap, or an end."""

    stream: Stream
    frame: int
    """Number of the packet by which it became known; 0 at the end of the capture."""
    piece: Piece
    """Empty and without a gap where its end is over."""
    is_end: bool = False
    """Nothing more comes from `piece.end`."""
    is_cut: bool = False
    """It ended without a FIN, by a reset or with the capture: there may have been more."""


class AllStreams:
    """Feed it the chunks of a capture in their order, and then `finish` it."""

    def __init__(self, protocols: Sequence[str] = ("tcp", "udp")) -> None:
        self._protocols = protocols
        self._streams: dict[tuple[str, int], Stream] = {}
        self._left: dict[int, int] = {}
        """Of TCP streams that are not followed any more, where they had come to, packed, at 140 bytes a stream: 33 bits
        for each end, in which 0 is none and the others are a sequence number plus 1, above four flags."""
        self._waiting: dict[int, int] = {}
        """Bytes that wait, by TCP stream, the one that was first to wait first."""
        self._held = 0
        self.fields = (*(TCP_FIELDS if "tcp" in protocols else ()), *(UDP_FIELDS if "udp" in protocols else ()))
        """The fields that a reading needs."""

    def feed(self, packets: Packets) -> Iterator[Said]:
        """What the packets of a chunk say."""
        found: list[tuple[int, Layer, int, int, bool, bool, Ends, int]] = []
        for protocol in self._protocols:
            for layer in packets.layers_of(protocol):
                if layer.is_quoted:
                    continue
                numbers = stream_numbers(layer, f"{protocol}.stream")
                silent = _silent(layer)
                has = layer.has(MIN_HEADER_BYTES if protocol == "tcp" else UDP_BYTES)
                which = np.flatnonzero((numbers >= 0) & has & has_ends(layer))
                ends = ends_of(layer, which)
                columns = (layer.rows, layer.every, numbers, conversation(layer)[1], silent)
                rows = zip(*(column[which].tolist() for column in columns), strict=True)
                found += [(row, layer, *rest, ends, at) for at, (row, *rest) in enumerate(rows)]
        found.sort(key=lambda one: one[0])
        for _, layer, entry, number, is_higher, is_silent, ends, at in found:
            if is_silent and number not in self._waiting and self._is_known(number):
                continue
            stream = self._streams.pop((layer.protocol.name, number), None)
            if stream is None:
                stream = self._begun(layer, entry, number, is_higher, ends.pair(at))
            self._streams[layer.protocol.name, number] = stream  # the last is the one that spoke last
            end = 0 if stream.is_higher_first == is_higher else 1
            if layer.protocol.name == "tcp":
                yield from self._feed_segment(stream, segment_of(layer, entry, end))
            else:
                yield from self._feed_datagram(stream, datagram_of(layer, entry, end))

    def _is_known(self, number: int) -> bool:
        return ("tcp", number) in self._streams or number in self._left

    def _feed_datagram(self, stream: Stream, piece: Piece) -> Iterator[Said]:
        if piece.data:
            yield Said(stream, piece.frame, piece)
        yield from self._give_up_others(piece)

    def _feed_segment(self, stream: Stream, segment: Segment) -> Iterator[Said]:
        for piece in stream.reassembly.feed(segment):
            yield Said(stream, segment.frame, piece)
        now = Piece(segment.end, segment.frame, segment.time_ns, b"")
        yield from self._ended(stream, segment, now)
        self._count(stream)
        while self._held > MAX_HELD_BYTES:
            yield from self._flush(self._streams["tcp", next(iter(self._waiting))], now)
        if all(stream.closed):
            yield from self._settle(stream, now)
        yield from self._give_up_others(now)

    def _ended(self, stream: Stream, segment: Segment, now: Piece) -> Iterator[Said]:
        """The ends that are over with this segment."""
        if segment.flags & RST:
            yield from self._flush(stream, now)
            for end in (0, 1):
                yield from _over(stream, end, now, is_cut=True)
        elif segment.flags & FIN:
            stream.fins[segment.end] = (segment.sequence + segment.length) & WORD
        for end, last in enumerate(stream.fins):
            if last is not None and stream.reassembly.has_said(end, last):
                yield from _over(stream, end, now)

    def _flush(self, stream: Stream, now: Piece) -> Iterator[Said]:
        """What waits is said, behind its gaps."""
        for piece in stream.reassembly.finish():
            yield Said(stream, now.frame, piece)
        self._count(stream)

    def _count(self, stream: Stream) -> None:
        """Keep in mind how much waits, and in which streams."""
        if stream.protocol == "udp":
            return
        now = stream.reassembly.waiting_bytes
        self._held += now - self._waiting.get(stream.number, 0)
        if now:
            self._waiting[stream.number] = now
        else:
            self._waiting.pop(stream.number, None)

    def _begun(self, layer: Layer, entry: int, number: int, is_higher: bool, pair: tuple[Endpoint, Endpoint]) -> Stream:
        if layer.protocol.name == "udp":
            return Stream("udp", number, pair, is_higher)
        left = self._left.pop(number, None)
        if left is None:
            flags = int(layer.uint(13, 1)[entry])
            return Stream("tcp", number, pair, is_higher, flags & (SYN | ACK) == SYN | ACK)
        is_higher_first = bool(left & 1)
        ends = pair if is_higher_first == is_higher else pair[::-1]
        closed = [bool(left & 2), bool(left & 4)]
        stream = Stream("tcp", number, ends, is_higher_first, bool(left & 8), closed=closed)
        stream.reassembly.expected = _sequence(left >> 4), _sequence(left >> 37)
        return stream

    def _give_up_others(self, now: Piece) -> Iterator[Said]:
        """Follow no more streams than may be."""
        while len(self._streams) > MAX_FOLLOWED:
            yield from self._settle(next(iter(self._streams.values())), now)

    def _settle(self, stream: Stream, now: Piece) -> Iterator[Said]:
        """Go on without a stream, but for where it had come to."""
        yield from self._flush(stream, now)
        if stream.protocol == "tcp":
            ahead, behind = (0 if one is None else one + 1 for one in stream.reassembly.expected)
            flags = stream.is_higher_first | stream.closed[0] << 1 | stream.closed[1] << 2 | stream.is_answer_first << 3
            self._left[stream.number] = flags | ahead << 4 | behind << 37
        for end in (0, 1):
            yield from _over(stream, end, now, is_cut=stream.protocol == "tcp")
        self._streams.pop((stream.protocol, stream.number), None)

    def finish(self) -> Iterator[Said]:
        """What still waits at the end of the capture, and the ends of all that were open."""
        for stream in list(self._streams.values()):
            yield from self._settle(stream, Piece(0, 0, 0, b""))


def _sequence(packed: int) -> int | None:
    """A sequence number of 33 bits, of which 0 is none."""
    packed &= (1 << 33) - 1
    return packed - 1 if packed else None


def _over(stream: Stream, end: int, now: Piece, *, is_cut: bool = False) -> Iterator[Said]:
    if not stream.closed[end]:
        stream.closed[end] = True
        yield Said(stream, now.frame, now._replace(end=end), is_end=True, is_cut=is_cut)


def _silent(layer: Layer) -> NDArray[np.bool_]:
    """Segments that carry nothing and end nothing."""
    if layer.protocol.name == "udp":
        return np.zeros(len(layer), np.bool_)
    says = (layer.wire_end - layer.start - header_bytes(layer)) > 0
    found: NDArray[np.bool_] = ~(says | ((layer.uint(13, 1) & (FIN | SYN | RST)) != 0))
    return found
