"""From answers to what they say of each target: loss and its direction, round trips, jitter, one-way delays. Pure.

Every figure that was not measured is None: a target that never answered has no round trip, and not one of zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from echowire.core.figures.samples import Samples
from echowire.core.probing.answers import Answer
from echowire.core.schemas import document_head
from echowire.core.units import micro

PERCENTILES = (50, 90, 99, 99.9, 99.99)

RECENT = 60
"""Answers that a sparkline shows."""

ANSWERERS_MAX = 256
"""Different answers (a word, from an address) that are told apart for one target; further ones count as `others`."""

JITTER_SHARE = 16
"""RFC 3550 section 6.4.1: each difference moves the estimate by a sixteenth."""


class Jitter:
    """How much the time taken changes from one packet to the next that arrives."""

    __slots__ = ("_last_ns", "_sum_ns", "count", "rfc3550_ns")

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._sum_ns = 0
        self.count = 0
        self.rfc3550_ns: float | None = None
        """RFC 3550's smoothed estimate; None before there are two."""

    def add(self, time_ns: int) -> None:
        """The next packet took `time_ns`; clocks that differ by a constant do not matter."""
        if self._last_ns is not None:
            difference = abs(time_ns - self._last_ns)
            self.count += 1
            self._sum_ns += difference
            before = self.rfc3550_ns or 0.0
            self.rfc3550_ns = before + (difference - before) / JITTER_SHARE
        self._last_ns = time_ns

    @property
    def mean_ns(self) -> float | None:
        """The mean of the differences, which no start value weighs down."""
        return self._sum_ns / self.count if self.count else None


class OneWay:
    """The delay in one direction. `delays` has only those that both clocks vouch for."""

    __slots__ = ("delays", "error_ns", "jitter", "unsynchronised")

    def __init__(self) -> None:
        self.delays = Samples()
        self.jitter = Jitter()
        self.error_ns = 0
        self.unsynchronised = 0

    def add(self, delay_ns: int, error_ns: int | None) -> None:
        """A delay and the most by which it is wrong; None where a clock says that it is not synchronised.

        What is less than nothing by more than that shows the clocks to be wrong about themselves.
        """
        self.jitter.add(delay_ns)
        if error_ns is None or delay_ns < -error_ns:
            self.unsynchronised += 1
            return
        self.delays.add(max(delay_ns, 0))
        self.error_ns = max(self.error_ns, error_ns)

    @property
    def synchronised(self) -> bool | None:
        """Whether every delay can be believed, within its error; None where there are none."""
        return None if not self.jitter_or_delay else not self.unsynchronised

    @property
    def jitter_or_delay(self) -> bool:
        """Whether anything was measured."""
        return bool(self.unsynchronised or self.delays.count)

    def document(self) -> dict[str, Any] | None:
        """The delays; null where the protocol tells none."""
        if not self.jitter_or_delay:
            return None
        usable = bool(self.synchronised)
        return {
            "synchronised": usable,
            "error_us": micro(self.error_ns) if usable else None,
            "delay_us": times_json(self.delays if usable else Samples()),
            "jitter_us": micro(self.jitter.rfc3550_ns),
            "mean_difference_us": micro(self.jitter.mean_ns),
        }


NO_WAY = OneWay()
"""Of a protocol that tells none."""


class TargetStatistics:
    """What is known of one target. `sent` counts probes; each is in one of received, lost, refused by this host or
    unanswered (in flight when the run ended)."""

    def __init__(self, name: str, address: str, problem: str = "") -> None:
        self.name = name
        self.address = address
        self.problem = problem
        """Why it could not be probed at all: its name is unknown."""
        self.sent = 0
        self.received = 0
        self.lost = 0
        self.corrupted = 0
        self.late = 0
        self.duplicated = 0
        self.reordered = 0
        self.retransmitted = 0
        self.answers: Counter[tuple[str, str, str]] = Counter()
        """How often each answer came: its word, what was unreachable, and who said so."""
        self.clocks: Counter[str] = Counter()
        self.round_trips = Samples()
        self.jitter = Jitter()
        self._one_way: tuple[OneWay, OneWay] | None = None
        self.mtu: int | None = None
        """The least that an answer `too big` named."""
        self.recent: list[float | None] = []
        """The last round trips in nanoseconds, None for those that were not answered."""
        self.last: Answer | None = None
        self._direct: tuple[int, int, int, int] | None = None

    def take(self, answer: Answer) -> None:
        """Count `answer`."""
        key = (answer.word, answer.what, answer.by)
        if key not in self.answers and len(self.answers) >= ANSWERERS_MAX:
            key = (answer.word, answer.what, "others")
        self.answers[key] += 1
        if answer.word == "name unknown":
            return
        if answer.mtu is not None:
            self.mtu = answer.mtu if self.mtu is None else min(self.mtu, answer.mtu)
        if answer.duplicate:
            self.duplicated += 1
            return
        if answer.late:
            self.late += 1
            return
        self.last = answer
        self.reordered += answer.reordered
        self.retransmitted += answer.retransmitted
        if answer.corrupted:
            self.corrupted += 1
            self._note(None)
        elif answer.is_reply:
            self._take_reply(answer)
        else:
            self.lost += 1
            self._note(None)

    def _take_reply(self, answer: Answer) -> None:
        self.received += 1
        if answer.reflector_received is not None and answer.reflector_sent is not None:
            self._take_direct(answer.sequence, answer.reflector_received, answer.reflector_sent)
        if answer.rtt_ns is None:
            return
        self.round_trips.add(answer.rtt_ns)
        self.jitter.add(answer.rtt_ns)
        self.clocks[answer.clock or "monotonic"] += 1
        self._note(answer.rtt_ns)
        if answer.forward_ns is not None and answer.backward_ns is not None:
            self._one_way = self._one_way or (OneWay(), OneWay())
            self._one_way[0].add(answer.forward_ns, answer.error_ns)
            self._one_way[1].add(answer.backward_ns, answer.error_ns)

    @property
    def forward(self) -> OneWay:
        """The delay on the way there; empty where the protocol does not tell."""
        return NO_WAY if self._one_way is None else self._one_way[0]

    @property
    def backward(self) -> OneWay:
        """The delay on the way back."""
        return NO_WAY if self._one_way is None else self._one_way[1]

    def _note(self, value: float | None) -> None:
        self.recent.append(value)
        if len(self.recent) > RECENT:
            del self.recent[0]

    def _take_direct(self, sequence: int, reflector_received: int, reflector_sent: int) -> None:
        """Of the latest probe that came back: how many had been sent, had arrived, had been answered, had returned."""
        if self._direct is None or sequence > self._direct[0]:
            self._direct = (sequence, reflector_received, reflector_sent, self.received)

    @property
    def lost_forward(self) -> int | None:
        """Lost on the way there, up to the last probe that came back; None where the protocol does not tell."""
        return None if self._direct is None else max(self._direct[0] - self._direct[1], 0)

    @property
    def lost_backward(self) -> int | None:
        """Lost on the way back, likewise."""
        return None if self._direct is None else max(self._direct[2] - self._direct[3], 0)

    @property
    def unanswered(self) -> int:
        """In flight when the run ended."""
        return self.sent - self.received - self.lost - self.corrupted

    @property
    def loss(self) -> float | None:
        """The share of probes that the target did not answer, of those whose fate is known."""
        known = self.sent - self.unanswered
        return (known - self.received) / known if known else None

    @property
    def is_up(self) -> bool:
        """Whether the target itself answered, once at least."""
        return self.received > 0

    @property
    def could_not_send(self) -> bool:
        """Whether there was no address, or this host let no probe go."""
        refused = sum(count for (_, _, by), count in self.answers.items() if by == "local")
        return bool(self.problem) or (self.sent > 0 and refused == self.sent)

    def document(self) -> dict[str, Any]:
        """The target as `--json` has it."""
        return {
            "target": self.name,
            "address": self.address or None,
            "up": self.is_up,
            "problem": self.problem or None,
            **{name: getattr(self, name) for name in COUNTS},
            "lost_forward": self.lost_forward,
            "lost_backward": self.lost_backward,
            "loss": self.loss,
            "mtu": self.mtu,
            "answers": [
                {"word": word, "what": what or None, "by": by or None, "count": count}
                for (word, what, by), count in self.answers.items()
            ],
            "rtt_us": times_json(self.round_trips),
            "jitter_us": micro(self.jitter.rfc3550_ns),
            "mean_difference_us": micro(self.jitter.mean_ns),
            "clocks": dict(self.clocks),
            "forward": self.forward.document(),
            "backward": self.backward.document(),
        }


COUNTS = (
    *("sent", "received", "lost", "unanswered", "corrupted"),
    *("late", "duplicated", "reordered", "retransmitted"),
)
"""The counts of a target, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class PingReport:
    """A run: what was asked, what was in effect, and what came of it, target by target."""

    targets: Sequence[TargetStatistics]
    supplied: Mapping[str, Any]
    effective: Mapping[str, Any]
    started_ns: int
    """Nanoseconds since 1970, UTC."""
    seconds: float
    ended: Literal["count", "deadline", "stopped", "interrupted"]
    ghosts: int
    """Packets that looked like replies, and belonged to no probe of this run."""
    conditions: Mapping[str, bool | None] = field(default_factory=dict)
    """Each condition that was to fail the run, and whether it holds for any target; None where it is not known."""

    @property
    def failed_conditions(self) -> list[str]:
        """The conditions that hold, or cannot be known."""
        return [text for text, holds in self.conditions.items() if holds is not False]

    @property
    def exit_status(self) -> int:
        """0: every target answered; 1: one did not, or a condition failed; 2: one could not even be asked."""
        if any(target.could_not_send for target in self.targets):
            return 2
        return 1 if self.failed_conditions or not all(target.is_up for target in self.targets) else 0

    @property
    def ok(self) -> bool:
        """Whether every target answered and no condition failed the run."""
        return self.exit_status == 0

    def document(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {
            **document_head("ping"),
            "started_ns": self.started_ns,
            "seconds": self.seconds,
            "ended": self.ended,
            "ok": self.ok,
            "supplied": dict(self.supplied),
            "effective": dict(self.effective),
            "ghosts": self.ghosts,
            "conditions": dict(self.conditions),
            "targets": [target.document() for target in self.targets],
        }


def times_json(samples: Samples) -> dict[str, float | None]:
    """Least, mean, deviation, percentiles and largest, microseconds; null while there are none."""
    return {
        "min": micro(samples.min_ns),
        "mean": micro(samples.mean_ns),
        "stddev": micro(samples.deviation_ns),
        **{f"p{percent:g}": micro(samples.percentile(percent)) for percent in PERCENTILES},
        "max": micro(samples.max_ns),
    }
