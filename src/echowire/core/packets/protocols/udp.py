"""UDP (RFC 768) and UDP-Lite (RFC 3828), which differ in one field: the length, or how much the checksum covers.

Conversations are numbered for both together, as in Wireshark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from echowire.core.captures.records import Rows
from echowire.core.packets.checksums import CHECKSUM_STATES, ILLEGAL, NOT_PRESENT, UNVERIFIED, transport_checksums
from echowire.core.packets.columns import Column, Type, objects
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol
from echowire.core.packets.streams import (
    Growing,
    Joined,
    Mask,
    Numbers,
    Slots,
    Times,
    conversation,
    conversation_numbers,
    internet_layer,
    stream_field,
    time_fields,
)

HEADER_BYTES = 8

NAMES = ("udp", "udplite")


def _lengths(layer: Layer) -> Rows:
    """Bytes of each datagram with its header. In IPv6, 0 is a jumbogram: all that there are (RFC 2675, section 4)."""
    said, there = layer.uint(4, 2).astype(np.int64), layer.wire_end - layer.start
    if layer.protocol.name == "udplite":
        return there
    around = internet_layer(layer)
    if around is None or around[0].protocol.name == "ip":
        return said
    return np.where(said == 0, there, said)


def _is_sound(layer: Layer) -> Mask:
    """Whether the length can be: Wireshark dissects no further where not."""
    return (_lengths(layer) >= HEADER_BYTES) & layer.has(HEADER_BYTES)


def _has_payload(layer: Layer) -> Mask:
    return _is_sound(layer) & (_lengths(layer) > HEADER_BYTES)


def _ends(layer: Layer) -> Rows:
    """Offset behind each datagram."""
    ends: Rows = np.minimum(layer.start + _lengths(layer), layer.wire_end)
    return ends


# Conversations.


@dataclass(slots=True)
class Memory:
    """What is kept of conversations from chunk to chunk."""

    numbers: Numbers = field(default_factory=Numbers)
    scratch: Growing = field(default_factory=lambda: Growing(np.int64, 0))
    times: Times = field(default_factory=Times)


class Datagrams:
    """All datagrams of a chunk."""

    def __init__(self, layer: Layer) -> None:
        layers = [one for one in layer.chunk if one.protocol.name in NAMES]
        self.joined = Joined(layers, _is_sound)
        self._memory = layer.memory.of("udp", Memory)
        self._known = len(self._memory.numbers)
        self.stream: Rows = self._memory.numbers.of(self.joined.column(lambda one: conversation(one)[0]))

    @cached_property
    def times(self) -> tuple[Rows, Rows]:
        """Nanoseconds since the conversation's first datagram, and since the one before."""
        known = len(self._memory.numbers)
        slots = Slots(self.stream, self._memory.scratch.of(known))
        of_slots = slots.slot, slots.number, slots.first, slots.number >= self._known, np.ones(len(slots), np.bool_)
        time_ns = self.joined.column(lambda one: one.records.time_ns[one.rows])
        return self._memory.times.of(*of_slots, known, time_ns)


def _datagrams(layer: Layer) -> Datagrams:
    return layer.chunk[0].once("udp datagrams", lambda: Datagrams(layer))


def _of(column: Callable[[Datagrams], Column]) -> Callable[[Layer], Picked]:
    def make(layer: Layer) -> Picked:
        every = _datagrams(layer)
        return every.joined.picked(layer, column(every))

    return make


# Checksums.


def _covered(layer: Layer) -> Rows:
    length, said = layer.wire_end - layer.start, layer.uint(4, 2).astype(np.int64)
    if layer.protocol.name == "udplite":
        return np.where(said == 0, length, said)
    covered: Rows = np.minimum(_lengths(layer), length)
    return covered


def _checksum(layer: Layer) -> tuple[Rows, Column, Column]:
    number = dict(layer.protocol.keys)["ip.proto"]
    return layer.once("checksum", lambda: transport_checksums(layer, number, _covered(layer), 6))


def _calculated(layer: Layer) -> Picked:
    index, said, should = _checksum(layer)
    counts = said != 0
    return Picked(index[counts], np.where(should == 0, 0xFFFF, should)[counts].astype(np.uint16))


def _is_bad(layer: Layer) -> Picked:
    index, said, should = _checksum(layer)
    bad = index[(said != 0) & (said != np.where(should == 0, 0xFFFF, should))]
    return Picked(bad, np.ones(len(bad), np.uint8))


def _status(layer: Layer) -> Column:
    none = ILLEGAL if layer.protocol.name == "udplite" else NOT_PRESENT  # RFC 3828, section 3.1
    return np.where(layer.uint(6, 2) == 0, none, UNVERIFIED).astype(np.uint8)


def _whole_length(layer: Layer) -> Picked:
    index = np.flatnonzero(layer.has(6))
    return Picked(index, np.minimum(_lengths(layer)[index], 0xFFFF).astype(np.uint16))


# What follows.


def _payload(layer: Layer) -> Picked:
    captured = np.minimum(_ends(layer), layer.end)
    index = np.flatnonzero(_is_sound(layer) & (captured > layer.start + HEADER_BYTES))
    ranges = zip((layer.start[index] + HEADER_BYTES).tolist(), captured[index].tolist(), strict=True)
    return Picked(index, objects([layer.data[start:end].tobytes() for start, end in ranges]))


def _next(layer: Layer) -> Iterator[Next]:
    if not layer.leads_to("udp.port"):
        return
    start, end = layer.start + HEADER_BYTES, _ends(layer)
    # Of a datagram that was cut behind its header nothing is to be told.
    which = np.flatnonzero(_is_sound(layer) & (np.minimum(end, layer.end) > start))
    source, destination = layer.uint(0, 2)[which], layer.uint(2, 2)[which]
    ports = np.minimum(source, destination), np.maximum(source, destination)
    yield Next("udp.port", ports, which, start[which], end[which], streams=partial(conversation_numbers, layer, which))


# Lines.


def _label(layer: Layer) -> Sequence[str]:
    source, destination = layer.uint(0, 2).tolist(), layer.uint(2, 2).tolist()
    return [f", Src Port: {one}, Dst Port: {other}" for one, other in zip(source, destination, strict=True)]


def _info(layer: Layer) -> Sequence[str]:
    columns = (layer.uint(0, 2), layer.uint(2, 2), layer.uint(4, 2), layer.wire_end - layer.start, _lengths(layer))
    texts = []
    for source, destination, said, there, size in zip(*(one.tolist() for one in columns), strict=True):
        text = f"{source} → {destination} Len={size - HEADER_BYTES}"
        if size < HEADER_BYTES:
            text = f"{source} → {destination} [BAD UDP LENGTH {size} < {HEADER_BYTES}]"
        elif size > there:
            fault = f"[BAD UDP LENGTH {said} > IP PAYLOAD LENGTH]"
            text = f"{source} → {destination} {fault} Len={size - HEADER_BYTES}"
        texts.append(text)
    return texts


def _info_lite(layer: Layer) -> Sequence[str]:
    columns = (layer.uint(0, 2), layer.uint(2, 2), layer.uint(4, 2), layer.uint(6, 2), _lengths(layer))
    texts = []
    for source, destination, covered, checksum, size in zip(*(one.tolist() for one in columns), strict=True):
        fault = f" [BAD LIGHTWEIGHT UDP CHECKSUM COVERAGE LENGTH {covered} < {HEADER_BYTES} or > {size}]"
        text = f"{source} → {destination}{'' if HEADER_BYTES <= covered <= size or not covered else fault}"
        texts.append(f"{text} Len={size - HEADER_BYTES}{'' if checksum else ' [ILLEGAL CHECKSUM (0)]'}")
    return texts


PORTS = (
    Field("udp.srcport", "Source Port", Type.UINT16, 0),
    Field("udp.dstport", "Destination Port", Type.UINT16, 2),
    Field("udp.port", "Source or Destination Port", Type.UINT16, either=("udp.srcport", "udp.dstport")),
)
SHARED = (
    Field("udp.checksum", "Checksum", Type.UINT16, 6, base="hex", when=_is_sound),
    Field(
        "udp.checksum.status",
        "Checksum Status",
        Type.UINT8,
        make=_status,
        when=_is_sound,
        names=CHECKSUM_STATES,
        generated=True,
    ),
    Field(
        "udp.checksum_calculated",
        "Calculated Checksum",
        Type.UINT16,
        make=_calculated,
        base="hex",
        generated=True,
        hidden=True,
    ),
    Field("udp.checksum.bad", "Bad checksum", Type.NONE, make=_is_bad, generated=True, hidden=True),
    stream_field("udp", _of(lambda every: every.stream.astype(np.uint32))),
    *time_fields("udp", "", _of(lambda every: every.times[0]), _of(lambda every: every.times[1]), when=_has_payload),
    Field("udp.payload", "Payload", Type.BYTES, make=_payload),
)


PROTOCOLS = (
    Protocol(
        "udp",
        "User Datagram Protocol",
        "UDP",
        fields=(*PORTS, Field("udp.length", "Length", Type.UINT16, 4), *SHARED),
        keys=(("ip.proto", 17),),
        follow=_next,
        tables=("udp.port",),
        size=HEADER_BYTES,
        label=_label,
        info=_info,
        least=4,
    ),
    Protocol(
        "udplite",
        "Lightweight User Datagram Protocol",
        "UDP-Lite",
        fields=(
            *PORTS,
            Field("udp.length", "Length", Type.UINT16, make=_whole_length, generated=True),
            Field("udp.checksum_coverage", "Checksum coverage", Type.UINT16, 4),
            *SHARED,
        ),
        keys=(("ip.proto", 136),),
        follow=_next,
        tables=("udp.port",),
        size=HEADER_BYTES,
        label=_label,
        info=_info_lite,
        least=4,
    ),
)
