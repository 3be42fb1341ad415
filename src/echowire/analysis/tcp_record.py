"""One TCP conversation as a list of its segments, with numbers that do not wrap: what verdicts and ladders are made of.

End 0 is the client: the one whose SYN was seen, else the one that a SYN+ACK was sent to, else the one with the higher
port, as servers have the lower ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from echowire.analysis.follow import HALF, SEQUENCE_MASK, Endpoint, StreamPacket, packets_of
from echowire.wire.dissect import Packets

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

MAX_SEGMENTS = 2_000_000
"""Of one conversation that are kept, some hundred bytes each; what comes after is counted."""

MIN_HEADER = 20
MAX_SCALE = 14
"""RFC 7323, section 2.3."""

KIND_END, KIND_NOP, KIND_MSS, KIND_SCALE, KIND_SACK = 0, 1, 2, 3, 5


class Segment(NamedTuple):
    """A segment. Numbers are relative to the first of their direction, as Wireshark shows them, and do not wrap."""

    end: int
    """0 if the client sent it."""
    frame: int
    time_ns: int
    seq: int
    ack: int
    flags: int
    length: int
    window: int
    """Bytes, scaled."""
    has_sack: bool

    @property
    def stop(self) -> int:
        """The sequence number after its last; SYN and FIN count one each."""
        return self.seq + self.length + bool(self.flags & SYN) + bool(self.flags & FIN)


class _Raw(NamedTuple):
    source: Endpoint
    frame: int
    time_ns: int
    head: bytes
    length: int


@dataclass(slots=True)
class _Side:
    """What is known of one direction while its numbers are made relative."""

    base: int | None = None
    last: int = 0
    scale: int | None = None

    def relative(self, number: int, *, syn: bool = False) -> int:
        if self.base is None:
            self.base = number if syn else (number - 1) & SEQUENCE_MASK
            self.last = 0
        wrapped = (number - self.base) & SEQUENCE_MASK
        self.last += ((wrapped - self.last + HALF) & SEQUENCE_MASK) - HALF
        return self.last


@dataclass(slots=True)
class TcpRecord:
    """Collects a conversation, chunk by chunk; `segments` are there when all were fed."""

    stream: int
    left_out: int = 0
    """Segments beyond `MAX_SEGMENTS`."""
    ends: list[Endpoint] = field(default_factory=list)
    """The client and the server."""
    mss: list[int] = field(default_factory=lambda: [0, 0])
    """What each end said in its SYN that it takes; 0 where that was not seen."""
    _raw: list[_Raw] = field(default_factory=list)

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs."""
        return ("tcp.stream", "tcp.len", "ip.src", "ipv6.src")

    def add(self, packets: Packets) -> None:
        """Take the conversation's segments of a chunk."""
        for one in packets_of(packets, "tcp", self.stream):
            if len(self._raw) >= MAX_SEGMENTS:
                self.left_out += 1
            else:
                self._take(one)

    def _take(self, packet: StreamPacket) -> None:
        layer, entry, source, destination = packet.layer, packet.entry, packet.source, packet.destination
        begin, stop, row = int(layer.start[entry]), int(layer.end[entry]), int(layer.rows[entry])
        size = max(MIN_HEADER, (int(layer.data[begin + 12]) >> 4) * 4)
        head = layer.data[begin : min(begin + size, stop)].tobytes()
        flags = head[13]
        if not self.ends or (flags & SYN and not self._has_syn()):
            client = destination if flags & SYN and flags & ACK else source
            if not flags & SYN:
                client = max(source, destination, key=lambda end: end[1])
            self.ends = [client, destination if client == source else source]
        length = max(0, int(layer.wire_end[entry]) - begin - size)
        frame = layer.records.first + row
        self._raw.append(_Raw(source, frame, int(layer.records.time_ns[row]), head, length))

    def _has_syn(self) -> bool:
        return any(one.head[13] & SYN for one in self._raw)

    def segments(self) -> list[Segment]:
        """All segments, in the order of the capture."""
        sides = (_Side(), _Side())
        out = []
        for raw in self._raw:
            end = 0 if raw.source == self.ends[0] else 1
            mine, other = sides[end], sides[1 - end]
            flags, options = raw.head[13], _options(raw.head[20:])
            if flags & SYN:
                scale = options.get(KIND_SCALE, b"")
                mine.scale = min(scale[0], MAX_SCALE) if scale else None
                mss = options.get(KIND_MSS, b"")
                self.mss[end] = int.from_bytes(mss, "big") if len(mss) == 2 else 0
            seq = mine.relative(int.from_bytes(raw.head[4:8], "big"), syn=bool(flags & SYN))
            ack = other.relative(int.from_bytes(raw.head[8:12], "big")) if flags & ACK else 0
            window = int.from_bytes(raw.head[14:16], "big")
            if not flags & SYN and mine.scale is not None and other.scale is not None:
                window <<= mine.scale
            has_sack = KIND_SACK in options
            out.append(Segment(end, raw.frame, raw.time_ns, seq, ack, flags, raw.length, window, has_sack))
        return out


class TcpReport:
    """What reports about one TCP conversation have in common: they collect it."""

    def __init__(self, stream: int) -> None:
        self._record = TcpRecord(stream)

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs."""
        return self._record.fields

    def add(self, packets: Packets) -> None:
        """Take a chunk."""
        self._record.add(packets)


def _options(data: bytes) -> dict[int, bytes]:
    """The options of a header, the last of each kind; what is cut or lies ends them."""
    found, at = {}, 0
    while at < len(data) and data[at] != KIND_END:
        if data[at] == KIND_NOP:
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data):
            break
        found[data[at]] = data[at + 2 : at + size]
        at += size
    return found
