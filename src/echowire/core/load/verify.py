"""Comparing what was sent with what came back, and counting what went wrong on the way. Pure: no clock, no socket.

A stream promises every byte, once, in order, so comparing is finding the first wrong offset. Datagrams promise
nothing, so each test datagram says which one it is (`Payloads`): what comes back is then lost, corrupted,
truncated, duplicated or reordered, and not merely "different". Datagrams that were not made here, or are too
small to say who they are, are matched by content, and failing that by order.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

from echowire.errors import ProtocolError

Outcome: TypeAlias = Literal["intact", "lost", "corrupted", "truncated", "surplus"]

HEADER = struct.Struct(">8sII")
"""A test payload's head: run, sequence number (modulo 2**32), and how long the payload is, header included."""

WINDOW_DATAGRAMS = 4096
"""Datagrams remembered, so that a late or a second reply is known; a reply later than that is `unexpected`."""

WINDOW_BYTES = 16 * 1024 * 1024
"""Bytes remembered of them: four times the socket buffer that `call` asks for, so all that can be in flight here."""

STREAM_WINDOW_BYTES = 64 * 1024 * 1024
"""How far a stream may be behind what was sent: what two hosts' largest buffers hold. Beyond it, it is no echo."""

COMPARE_BYTES = 64 * 1024
"""Compared at a time while looking for the first difference."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one message. `wrong_at` is the offset of the first wrong byte; byte counts are of the end."""

    outcome: Outcome
    wrong_at: int | None = None
    missing: int = 0
    surplus: int = 0

    @property
    def ok(self) -> bool:
        """Whether every byte came back, once and in order."""
        return self.outcome == "intact"

    def __str__(self) -> str:
        if self.outcome == "corrupted":
            return f"corrupted at byte {self.wrong_at}"
        if self.outcome == "truncated":
            return f"truncated, {_count(self.missing, 'byte')} missing"
        if self.outcome == "surplus":
            return f"{_count(self.surplus, 'byte')} too many"
        return self.outcome


def compare(sent: bytes, received: bytes | None) -> Verdict:
    """The verdict on `received` as the echo of `sent`; None is no reply."""
    if received is None:
        return Verdict("lost", missing=len(sent))
    missing, surplus = max(0, len(sent) - len(received)), max(0, len(received) - len(sent))
    if (wrong_at := first_difference(sent, received)) is not None:
        return Verdict("corrupted", wrong_at, missing, surplus)
    if missing:
        return Verdict("truncated", None, missing)
    return Verdict("surplus", None, 0, surplus) if surplus else Verdict("intact")


def first_difference(first: bytes | memoryview, second: bytes | memoryview) -> int | None:
    """The offset of the first byte that differs, as far as both go; None if none does."""
    one, other = memoryview(first), memoryview(second)
    for start in range(0, min(len(one), len(other)), COMPARE_BYTES):
        size = min(COMPARE_BYTES, len(one) - start, len(other) - start)
        left, right = one[start : start + size], other[start : start + size]
        if left != right:
            return next(start + i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
    return None


@dataclass(frozen=True, slots=True)
class Payloads:
    """Makes the payloads of one run, and knows them again. `run` is eight bytes that no other run has.

    After the header comes a fill that only this run and sequence number have, so that a part in the wrong place is
    seen. A payload shorter than the header is fill alone: it can be matched by its content.
    """

    run: bytes

    def make(self, sequence: int, size: int) -> bytes:
        """Payload number `sequence`, of `size` bytes."""
        header = HEADER.pack(self.run, sequence & 0xFFFFFFFF, min(size, 0xFFFFFFFF)) if size >= HEADER.size else b""
        fill = hashlib.shake_128(self.run + sequence.to_bytes(8, "big")).digest(size - len(header))
        return header + fill


@dataclass(slots=True)
class Tally:
    """What was sent, and what came of it. Messages are datagrams, or the exchanges of a stream.

    A count that cannot be known is None: nothing can be duplicated or reordered within a stream.
    """

    sent: int = 0
    received: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    intact: int = 0
    lost: int = 0
    corrupted: int = 0
    truncated: int = 0
    duplicated: int | None = None
    reordered: int | None = None
    unexpected: int = 0
    """Datagrams that answer nothing we remember."""
    surplus_bytes: int = 0
    """Bytes of a stream beyond what was sent."""
    first_wrong_offset: int | None = None
    """Of a stream: where the first wrong byte is, counted in the bytes sent."""

    @property
    def ok(self) -> bool:
        """Whether all came back as it was sent."""
        wrong = (self.lost, self.corrupted, self.truncated, self.duplicated, self.reordered, self.unexpected)
        return not any(wrong) and not self.surplus_bytes and self.first_wrong_offset is None

    def __str__(self) -> str:
        """`5 sent, 5 intact, 0 lost, …`: everything that was counted."""
        names = ("sent", "intact", "lost", "corrupted", "truncated", "duplicated", "reordered", "unexpected")
        parts = [f"{getattr(self, name)} {name}" for name in names if getattr(self, name) is not None]
        if self.surplus_bytes:
            parts.append(f"{_count(self.surplus_bytes, 'byte')} too many")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A datagram that came in: which one sent it answers (None: none that is known), how, and whether again."""

    index: int | None
    verdict: Verdict
    again: bool = False


class _Book:
    """Which datagrams bear a key, as those remembered that wait for a reply, and the latest of all."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[int]] = {}
        self._latest: dict[bytes, int] = {}

    def add(self, key: bytes, index: int) -> None:
        self._waiting.setdefault(key, deque()).append(index)
        self._latest[key] = index

    def find(self, key: bytes) -> int | None:
        waiting = self._waiting.get(key)
        return waiting[0] if waiting else self._latest.get(key)

    def answered(self, key: bytes, index: int) -> None:
        waiting = self._waiting.get(key, deque())
        if index in waiting:
            waiting.remove(index)
            if not waiting:
                del self._waiting[key]

    def forget(self, key: bytes, index: int) -> None:
        self.answered(key, index)
        if self._latest[key] == index:
            del self._latest[key]


class DatagramLedger:
    """Matches datagrams that come in with those that went out, whoever made them, and keeps the `tally`."""

    def __init__(self) -> None:
        self.tally = Tally(duplicated=0, reordered=0)
        self._window: dict[int, bytes] = {}
        self._window_bytes = 0
        self._unanswered: dict[int, None] = {}
        self._given_up: set[int] = set()
        self._by_content, self._by_header = _Book(), _Book()
        self._next_expected = 0

    def sent(self, payload: bytes) -> int:
        """Note that `payload` goes out; returns its index."""
        index = self.tally.sent
        self.tally.sent += 1
        self.tally.sent_bytes += len(payload)
        self.tally.lost += 1
        self._window[index] = payload
        self._window_bytes += len(payload)
        self._unanswered[index] = None
        self._by_content.add(payload, index)
        self._by_header.add(payload[: HEADER.size], index)
        while len(self._window) > WINDOW_DATAGRAMS or (self._window_bytes > WINDOW_BYTES and len(self._window) > 1):
            self._forget_oldest()
        return index

    def give_up(self, index: int) -> None:
        """Wait no longer for `index`: a reply that does not say what it answers is then not taken for its own."""
        if index in self._unanswered:
            self._given_up.add(index)

    def received(self, payload: bytes) -> Arrival:
        """Note that `payload` came in, and say what it answers."""
        tally = self.tally
        tally.received += 1
        tally.received_bytes += len(payload)
        index = self._match(payload)
        if index is None:
            tally.unexpected += 1
            return Arrival(None, Verdict("surplus", surplus=len(payload)))
        verdict = compare(self._window[index], payload)
        if index not in self._unanswered:
            tally.duplicated = (tally.duplicated or 0) + 1
            return Arrival(index, verdict, again=True)
        self._settle(index)
        tally.lost -= 1
        if verdict.ok:
            tally.intact += 1
        elif verdict.outcome == "truncated":
            tally.truncated += 1
        else:
            tally.corrupted += 1
        if index < self._next_expected:  # RFC 4737 section 3.3: reordered is what comes below the next expected
            tally.reordered = (tally.reordered or 0) + 1
        self._next_expected = max(self._next_expected, index + 1)
        return Arrival(index, verdict)

    def _match(self, payload: bytes) -> int | None:
        """By content; else by the header, if it came through; else by order, among those not given up."""
        index = self._by_content.find(payload)
        if index is None and len(payload) >= HEADER.size:
            index = self._by_header.find(payload[: HEADER.size])
        if index is not None:
            return index
        waiting = [index for index in self._unanswered if index not in self._given_up]
        begun = (index for index in waiting if payload and self._window[index].startswith(payload))
        alike = (index for index in waiting if len(self._window[index]) == len(payload))
        return next(begun, next(alike, waiting[0] if waiting else None))

    def _settle(self, index: int) -> None:
        payload = self._window[index]
        self._unanswered.pop(index, None)
        self._given_up.discard(index)
        self._by_content.answered(payload, index)
        self._by_header.answered(payload[: HEADER.size], index)

    def _forget_oldest(self) -> None:
        index = next(iter(self._window))
        self._settle(index)
        payload = self._window.pop(index)
        self._window_bytes -= len(payload)
        self._by_content.forget(payload, index)
        self._by_header.forget(payload[: HEADER.size], index)


class StreamLedger:
    """Compares a stream with its echo as both go by; it holds what has not come back yet and no more."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0
        self._wrong_at: int | None = None
        self._unmatched: deque[memoryview] = deque()

    def sent(self, data: bytes) -> None:
        """Note that `data` went out. Raises `ProtocolError` when far too much has not come back."""
        self.sent_bytes += len(data)
        if self._wrong_at is None:
            self._unmatched.append(memoryview(data))
            if (behind := self.sent_bytes - self.received_bytes) > STREAM_WINDOW_BYTES:
                raise ProtocolError(f"verify: {behind} of the bytes sent have not come back; this is no echo")

    def received(self, data: bytes) -> None:
        """Note that `data` came back. After a wrong byte nothing more is compared: all that follows may be shifted."""
        rest = memoryview(data)
        while rest and self._unmatched:
            expected = self._unmatched.popleft()
            size = min(len(expected), len(rest))
            if (wrong := first_difference(expected, rest)) is not None:
                self._wrong_at = self.received_bytes + wrong
                self._unmatched.clear()
            elif size < len(expected):
                self._unmatched.appendleft(expected[size:])
            self.received_bytes += size
            rest = rest[size:]
        if rest and self._wrong_at is None and self.received_bytes >= self.sent_bytes:
            # An echo cannot know what has not been sent yet: these bytes are nobody's.
            self._wrong_at = self.received_bytes
        self.received_bytes += len(rest)

    def verdict(self) -> Verdict:
        """The verdict on the whole stream, once it has ended."""
        missing = max(0, self.sent_bytes - self.received_bytes)
        surplus = max(0, self.received_bytes - self.sent_bytes)
        if self._wrong_at is not None and self._wrong_at < self.sent_bytes:
            return Verdict("corrupted", self._wrong_at, missing, surplus)
        if surplus:
            return Verdict("surplus", None, 0, surplus)
        if missing:
            return Verdict("truncated" if self.received_bytes else "lost", None, missing)
        return Verdict("intact")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
