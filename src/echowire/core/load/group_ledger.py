"""Who answered what was sent to many, and how: lost, doubled, out of order, wrong, each sender for itself. Pure.

One datagram to a group has as many answers as it has members, none of which says that it is the last. So each sender
has an account of its own, of all that was sent: what it never answered is lost to it, whether it went away, came late,
or the path lost the question or the answer. An answer is known by the number in it (`verify.Payloads`), and where it is
too small for one, or of somebody's own words, by its content: the newest of that content that this sender has not
answered yet.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from echowire.core.load.verify import HEADER, Payloads, Verdict, compare

WINDOW = 1 << 20
"""Datagrams whose fate is remembered, as in a flood of `bench`: what is answered after a million others came too late
to be known. It bounds a sender's account to a mebibyte."""

SENDERS_MAX = 256
"""Senders that have an account; the others are counted together."""

CONTENTS_MAX = 4096
"""Different contents without a number of their own that are known again: `-m` gives a few."""

KEPT = 1024
"""Payloads that are kept to compare answers with; an elder one is made again."""


@dataclass(slots=True)
class SenderAccount:
    """One that answers. `answered` counts the datagrams that it answered at least once, well or not; times are seconds.

    `reordered` counts answers to one that was sent before another whose answer had come (RFC 4737 section 3.3).
    """

    address: str
    answered: int = 0
    intact: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    truncated: int = 0
    received_bytes: int = 0
    least_s: float | None = None
    most_s: float | None = None
    total_s: float = 0.0
    _next: int = 0
    _seen: bytearray = field(default_factory=bytearray)

    def lost(self, sent: int) -> int:
        """Of `sent` datagrams, how many it has not answered."""
        return sent - self.answered

    @property
    def mean_s(self) -> float | None:
        """The mean round trip of first answers."""
        return self.total_s / self.answered if self.answered else None

    def has_answered(self, number: int) -> bool:
        """Whether it has answered datagram `number`, one of the window."""
        slot = number % WINDOW
        return slot < len(self._seen) and self._seen[slot] == _lap(number)

    def note(self, number: int) -> bool:
        """Note an answer to `number`; whether it is the first."""
        if self.has_answered(number):
            self.duplicated += 1
            return False
        slot = number % WINDOW
        if slot >= len(self._seen):
            self._seen.extend(bytes(min(WINDOW, max(slot + 1, 2 * len(self._seen))) - len(self._seen)))
        self._seen[slot] = _lap(number)
        self.answered += 1
        self.reordered += number < self._next
        self._next = max(self._next, number + 1)
        return True

    def timed(self, seconds: float) -> None:
        """Note the round trip of a first answer."""
        self.total_s += seconds
        self.least_s = seconds if self.least_s is None else min(self.least_s, seconds)
        self.most_s = seconds if self.most_s is None else max(self.most_s, seconds)

    def document(self, sent: int) -> dict[str, Any]:
        """The account as JSON has it, of `sent` datagrams."""
        trips = (self.least_s, self.mean_s, self.most_s)
        names = ("min", "mean", "max")
        lost = self.lost(sent)
        return {
            "sender": self.address,
            "answered": self.answered,
            "lost": lost,
            "loss": lost / sent if sent else None,
            "duplicated": self.duplicated,
            "reordered": self.reordered,
            "corrupted": self.corrupted,
            "truncated": self.truncated,
            "received_bytes": self.received_bytes,
            "rtt_us": {
                name: None if trip is None else round(trip * 1e6, 3) for name, trip in zip(names, trips, strict=True)
            },
        }


def _lap(number: int) -> int:
    """What stands in the window for `number`, so that a place that is used again need not be cleared first."""
    return number // WINDOW % 255 + 1


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """An answer that came: to datagram `number`, None if it answers none; `again` if this sender had answered it."""

    sender: str
    data: bytes
    number: int | None
    again: bool
    verdict: Verdict
    rtt_s: float | None

    def document(self) -> dict[str, Any]:
        """The answer as a line of JSON."""
        return {
            "event": "answer",
            "sender": self.sender,
            "number": self.number,
            "again": self.again,
            "outcome": self.verdict.outcome if self.number is not None else "unexpected",
            "received_bytes": len(self.data),
            "rtt_us": None if self.rtt_s is None else round(self.rtt_s * 1e6, 3),
        }


class GroupLedger:
    """The accounts of all senders, for one run of numbered payloads, or of payloads of one's own."""

    def __init__(self, payloads: Payloads, size: int | None) -> None:
        """`size` is that of each payload of `payloads`; None where the payloads are somebody's own words."""
        self._payloads, self._size = payloads, size
        self.sent = 0
        self.sent_bytes = 0
        self.unexpected = 0
        """Answers to nothing that was sent, or to what was sent a million datagrams ago."""
        self.others = 0
        """Answers of those for whom there is no account any more."""
        self.senders: dict[str, SenderAccount] = {}
        self.sent_from: float | None = None
        self.sent_until: float | None = None
        """When the first datagram was sent, and when the last one had gone, by the caller's clock."""
        self._times = array("d")
        self._kept: dict[int, bytes] = {}
        self._by_content: dict[bytes, array[int]] = {}

    def note_sent(self, payload: bytes, now: float) -> int:
        """Note that `payload` goes out at `now`; its number."""
        number = self.sent
        if self.sent_from is None:
            self.sent_from = now
        self.sent += 1
        self.sent_bytes += len(payload)
        if number < WINDOW:
            self._times.append(now)
        else:
            self._times[number % WINDOW] = now
        if self._is_numbered(payload):
            self._kept[number] = payload
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        elif payload in self._by_content or len(self._by_content) < CONTENTS_MAX:
            self._by_content.setdefault(payload, array("Q")).append(number)
        return number

    def _is_numbered(self, payload: bytes) -> bool:
        return self._size is not None and len(payload) >= HEADER.size

    def received(self, sender: str, data: bytes, now: float) -> GroupAnswer:
        """Note that `data` came from `sender` at `now`."""
        account = self.senders.get(sender)
        if account is None:
            if len(self.senders) >= SENDERS_MAX:
                self.others += 1
                return GroupAnswer(sender, data, None, False, Verdict("intact"), None)
            account = SenderAccount(sender)
        number, expected = self._find(account, data)
        if number is None or expected is None:
            self.unexpected += 1
            return GroupAnswer(sender, data, None, False, Verdict("intact"), None)
        self.senders[sender] = account
        account.received_bytes += len(data)
        verdict = compare(expected, data)
        is_first = account.note(number)
        rtt = now - self._times[number % WINDOW]
        if is_first:
            account.timed(rtt)
            account.intact += verdict.ok
            account.truncated += verdict.outcome == "truncated"
            account.corrupted += verdict.outcome in ("corrupted", "surplus")
        return GroupAnswer(sender, data, number, not is_first, verdict, rtt)

    def _find(self, account: SenderAccount, data: bytes) -> tuple[int | None, bytes | None]:
        """Which datagram `data` answers, and what it should be."""
        if self._size is not None and len(data) >= HEADER.size:
            run, low, _ = HEADER.unpack_from(data)
            number = self._whole(low)
            if run != self._payloads.run or not max(0, self.sent - WINDOW) <= number < self.sent:
                return None, None
            return number, self._kept.get(number) or self._payloads.make(number, self._size)
        numbers = self._by_content.get(data)
        if numbers is None:
            return self._garbled(account)
        for number in reversed(numbers[-KEPT:]):
            if not account.has_answered(number):
                return number, data
        return numbers[-1], data

    def _whole(self, low: int) -> int:
        """The number of which a payload has the lower 32 bits: the newest that it can be."""
        number = (self.sent - 1) & ~0xFFFFFFFF | low
        return number if number < self.sent else number - (1 << 32)

    def _garbled(self, account: SenderAccount) -> tuple[int | None, bytes | None]:
        """What an answer that is like nothing that was sent is taken for: the newest that this sender owes."""
        for payload, numbers in reversed(self._by_content.items()):
            if numbers and not account.has_answered(numbers[-1]):
                return numbers[-1], payload
        return None, None
