"""One TCP conversation as a list of its segments, with numbers that do not wrap: what verdicts and ladders are made of.

End 0 is the client: the one whose SYN was seen, else the one that a SYN+ACK was sent to, else the one with the higher
port, as servers have the lower ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from echowire.core.packets.dissect import Packets
from echowire.core.packets.layers import Layer
from echowire.core.packets.streams import internet_layer, outer_layers
from echowire.core.packets.tcp.header import ACK, FIN, HALF, MIN_HEADER_BYTES, SYN, WORD
from echowire.core.packets.tcp.options import END, MSS, NOP, SACK, WINDOW_SCALE
from echowire.core.packets.tcp.segments import MAX_SHIFT
from echowire.core.probing.icmp import KINDS
from echowire.core.reports.ends import Endpoint, ends_of, has_ends
from echowire.core.reports.follow import TCP_FIELDS, StreamPacket, packets_of
from echowire.model import host_and_port

MAX_SEGMENTS = 2_000_000
"""Of one conversation that are kept, some hundred bytes each; what comes after is counted."""

MAX_REFUSALS = 100

COPY_NS = 10_000_000
"""Within which a second copy of a packet comes."""


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
    told_twice: int | None = None
    """The number after bytes that it says came twice (D-SACK, RFC 2883): they were sent again for nothing."""

    @property
    def stop(self) -> int:
        """The sequence number after its last; SYN and FIN count one each."""
        return self.seq + self.length + bool(self.flags & SYN) + bool(self.flags & FIN)


class Refusal(NamedTuple):
    """An ICMP error about a segment of the conversation."""

    frame: int
    time_ns: int
    version: int
    """Of IP."""
    type: int
    code: int
    source: str
    """Who sent it."""

    @property
    def kind(self) -> str:
        """What it is about, as `echowire.core.probing.icmp` names it; nothing where that is not known."""
        return KINDS.get((self.version, self.type, self.code), ("", ""))[0]

    @property
    def said(self) -> str:
        """In the RFC's words."""
        known = KINDS.get((self.version, self.type, self.code))
        return known[1] if known else f"type {self.type}, code {self.code}"


class Raw(NamedTuple):
    """A segment as it was captured."""

    source: Endpoint
    destination: Endpoint
    frame: int
    time_ns: int
    head: bytes
    """Its TCP header with options, as much as was captured."""
    length: int
    """Bytes of data."""
    identification: int = 0
    """Of its IPv4 header; 0 where it has none that tells packets apart."""

    @property
    def client(self) -> Endpoint:
        """The end that is the client by what this segment alone tells."""
        if self.head[13] & SYN:
            return self.destination if self.head[13] & ACK else self.source
        return max(self.source, self.destination, key=lambda end: end[1])


@dataclass(slots=True)
class _Side:
    """What is known of one direction while its numbers are made relative."""

    base: int | None = None
    last: int = 0
    scale: int | None = None

    def relative(self, number: int, *, syn: bool = False) -> int:
        if self.base is None:
            self.base = number if syn else (number - 1) & WORD
            self.last = 0
        self.last = self.near(number)
        return self.last

    def near(self, number: int) -> int:
        """The number nearest to the last one that was met; 0 before any was."""
        wrapped = (number - (self.base or 0)) & WORD
        return self.last + ((wrapped - self.last + HALF) & WORD) - HALF


@dataclass(slots=True)
class Numbering:
    """Makes the segments of one conversation, in the order of the capture."""

    client: Endpoint
    mss: list[int] = field(default_factory=lambda: [0, 0])
    """What each end said in its SYN that it takes; 0 where that was not seen."""
    _sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))

    def segment(self, raw: Raw) -> Segment:
        """The next one."""
        end = 0 if raw.source == self.client else 1
        mine, other = self._sides[end], self._sides[1 - end]
        flags, options = raw.head[13], _options(raw.head[20:])
        if flags & SYN:
            scale = options.get(WINDOW_SCALE, b"")
            mine.scale = min(scale[0], MAX_SHIFT) if scale else None
            mss = options.get(MSS, b"")
            self.mss[end] = int.from_bytes(mss, "big") if len(mss) == 2 else 0
        seq = mine.relative(int.from_bytes(raw.head[4:8], "big"), syn=bool(flags & SYN))
        ack = other.relative(int.from_bytes(raw.head[8:12], "big")) if flags & ACK else 0
        window = int.from_bytes(raw.head[14:16], "big")
        if not flags & SYN and mine.scale is not None and other.scale is not None:
            window <<= mine.scale
        sack = options.get(SACK, b"")
        twice = _told_twice(sack, raw.head[8:12])
        told = None if twice is None else other.near(twice)
        return Segment(end, raw.frame, raw.time_ns, seq, ack, flags, raw.length, window, bool(sack), told)


def raw_of(one: StreamPacket) -> Raw:
    """A segment as it was captured."""
    layer, entry = one.layer, one.entry
    begin, stop, row = int(layer.start[entry]), int(layer.end[entry]), int(layer.rows[entry])
    size = max(MIN_HEADER_BYTES, (int(layer.data[begin + 12]) >> 4) * 4)
    head = layer.data[begin : min(begin + size, stop)].tobytes()
    length = max(0, int(layer.wire_end[entry]) - begin - size)
    frame, time_ns = layer.records.first + row, int(layer.records.time_ns[row])
    return Raw(one.source, one.destination, frame, time_ns, head, length, _identification(layer, entry))


def _identification(layer: Layer, entry: int) -> int:
    around = internet_layer(layer)
    if around is None or around[0].protocol.name != "ip":
        return 0
    outer, index = around
    begin = int(outer.start[index[entry]])
    return int.from_bytes(outer.data[begin + 4 : begin + 6].tobytes(), "big")


@dataclass(slots=True)
class TcpRecord:
    """Collects a conversation, chunk by chunk; `segments` are there when all were fed."""

    stream: int
    left_out: int = 0
    """Segments beyond `MAX_SEGMENTS`."""
    copies: int = 0
    """Packets that the capture has twice; they are looked at once."""
    ends: list[Endpoint] = field(default_factory=list)
    """The client and the server."""
    mss: list[int] = field(default_factory=lambda: [0, 0])
    """What each end said in its SYN that it takes; 0 where that was not seen."""
    refusals: list[Refusal] = field(default_factory=list)
    """ICMP errors that quote its segments, the first `MAX_REFUSALS`."""
    _raw: list[Raw] = field(default_factory=list)
    _identified: dict[tuple[Endpoint, int], Raw] = field(default_factory=dict)
    """The last packet of each end with each identification, of which there are 65,535."""

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs."""
        return (*TCP_FIELDS, "icmp.type", "icmpv6.type")

    def add(self, packets: Packets) -> None:
        """Take the conversation's segments of a chunk."""
        for one in packets_of(packets, "tcp", self.stream):
            if len(self._raw) >= MAX_SEGMENTS:
                self.left_out += 1
            else:
                self._take(raw_of(one))
        if self.ends:
            self._add_refusals(packets)

    def _add_refusals(self, packets: Packets) -> None:
        """Take the ICMP errors of a chunk that quote the conversation."""
        for quoted in packets.layers_of("tcp"):
            if not quoted.is_quoted:
                continue
            errors, index = next(one for one in outer_layers(quoted) if one[0].protocol.is_quoting)
            entries = np.flatnonzero(has_ends(quoted))
            ends = ends_of(quoted, entries)
            for at, entry in enumerate(entries.tolist()):
                if len(self.refusals) < MAX_REFUSALS and sorted(ends.pair(at)) == sorted(self.ends):
                    self.refusals.append(_refusal(errors, int(index[entry])))

    def _take(self, raw: Raw) -> None:
        if raw.identification and self._is_copy(raw):
            self.copies += 1
            return
        if not self.ends or (raw.head[13] & SYN and not self._has_syn()):
            client = raw.client
            self.ends = [client, raw.destination if client == raw.source else raw.source]
        self._raw.append(raw)

    def _is_copy(self, raw: Raw) -> bool:
        """Whether the capture has this packet twice, as one on several interfaces or of a mirror port may: the same to
        the last bit of its headers, while what is sent again is a packet of its own.
        """
        key = (raw.source, raw.identification)
        one = self._identified.get(key)
        self._identified[key] = raw
        if one is None or raw.time_ns - one.time_ns > COPY_NS:
            return False
        return (one.head, one.length) == (raw.head, raw.length)

    def _has_syn(self) -> bool:
        return any(one.head[13] & SYN for one in self._raw)

    def segments(self) -> list[Segment]:
        """All segments, in the order of the capture."""
        if not self.ends:
            return []
        numbering = Numbering(self.ends[0], self.mss)
        return [numbering.segment(raw) for raw in self._raw]


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

    @property
    def title(self) -> str:
        """Which conversation it is."""
        return title_of(self._record.stream, self._record.ends)


def title_of(stream: int, ends: Sequence[Endpoint]) -> str:
    """Which conversation it is; `ends` are its client and its server, if it was met."""
    if not ends:
        return f"tcp.stream {stream}: not in the capture"
    client, server = (host_and_port(*end) for end in ends)
    return f"tcp.stream {stream}: client {client}, server {server}"


def _refusal(errors: Layer, entry: int) -> Refusal:
    begin, row = int(errors.start[entry]), int(errors.rows[entry])
    kind, code = errors.data[begin : begin + 2].tolist()
    (source, _), _ = ends_of(errors, np.array([entry])).pair(0)
    version = 4 if errors.protocol.name == "icmp" else 6
    return Refusal(errors.records.first + row, int(errors.records.time_ns[row]), version, kind, code, source)


def _options(data: bytes) -> dict[int, bytes]:
    """The options of a header, the last of each kind; what is cut or lies ends them."""
    found, at = {}, 0
    while at < len(data) and data[at] != END:
        if data[at] == NOP:
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data):
            break
        found[data[at]] = data[at + 2 : at + size]
        at += size
    return found


def _told_twice(sack: bytes, acknowledged: bytes) -> int | None:
    """Where the bytes end that a SACK option says came twice: its first block, if that lies below the acknowledgment,
    or within the second block (RFC 2883, section 4).
    """
    numbers = [int.from_bytes(sack[at : at + 4], "big") for at in range(0, len(sack) - len(sack) % 8, 4)]
    if not numbers:
        return None
    begin, end = numbers[:2]
    if _is_up_to(end, int.from_bytes(acknowledged, "big")):
        return end
    return end if len(numbers) >= 4 and _is_up_to(numbers[2], begin) and _is_up_to(end, numbers[3]) else None


def _is_up_to(one: int, other: int) -> bool:
    """Whether a sequence number is before another, or the same."""
    return (other - one) & WORD < HALF
