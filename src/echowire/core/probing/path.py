"""A path as probes found it: hop by hop who answers, how far, and what is only a router's own reluctance. Pure.

Routers limit how many errors they send, and answer late because they have better things to do. A hop that loses
while one behind it does not has lost nothing of what passes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echowire.core.figures.samples import Samples
from echowire.core.probing.answers import UP, Answer
from echowire.core.probing.statistics import ANSWERERS_MAX, Jitter, times_json
from echowire.core.schemas import document_head
from echowire.core.units import micro


class Hop:
    """Those who answer probes of one time to live."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.received = 0
        self.lost = 0
        self.answers: Counter[tuple[str, str, str]] = Counter()
        """How often each answer came: who, its word, and what was unreachable."""
        self.round_trips = Samples()
        self.jitter = Jitter()
        self.last_ns: int | None = None
        self.flows: dict[int, str] = {}
        """By flow, who answered it last."""
        self.refused_ttl: int | None = None
        """The time to live that the last refusal came with; None where nobody refused, or it is not known."""

    def take(self, answer: Answer) -> None:
        """Count `answer`."""
        if answer.duplicate or answer.late:
            return
        if answer.word == "no reply":
            self.lost += 1
            return
        self.received += 1
        key = (answer.by, answer.word, answer.what)
        if key in self.answers or len(self.answers) < ANSWERERS_MAX:
            self.answers[key] += 1
            self.flows[answer.flow] = answer.by
        if answer.word == "refused":
            self.refused_ttl = answer.ttl
        if answer.rtt_ns is not None:
            self.round_trips.add(answer.rtt_ns)
            self.jitter.add(answer.rtt_ns)
            self.last_ns = answer.rtt_ns

    @property
    def sent(self) -> int:
        """Probes whose fate is known."""
        return self.received + self.lost

    @property
    def loss(self) -> float | None:
        """The share that nobody answered."""
        return self.lost / self.sent if self.sent else None

    @property
    def addresses(self) -> list[str]:
        """Who answered, whoever did so most often first."""
        counts: Counter[str] = Counter()
        for (by, _, _), count in self.answers.items():
            counts[by] += count
        return [address for address, _ in counts.most_common()]

    @property
    def said(self) -> list[tuple[str, str]]:
        """What was answered besides the expected: words, and what was unreachable."""
        return list(dict.fromkeys((word, what) for _, word, what in self.answers if word != "ttl exceeded"))


class Path:
    """The hops of a path as they are found."""

    def __init__(self, address: str, on_end: Callable[[int], object]) -> None:
        self._hops: dict[int, Hop] = {}
        self._address = address
        self._on_end = on_end
        self.end: int | None = None
        """The least time to live that brought a probe to where it was answered for good."""
        self.reached = False
        """Whether that was the target."""

    def take(self, answer: Answer) -> None:
        """Count `answer`, of a probe whose time to live was chosen."""
        if answer.hops is None:
            return
        if answer.hops not in self._hops:
            self._hops[answer.hops] = Hop(answer.hops)
        self._hops[answer.hops].take(answer)
        if answer.word not in ("ttl exceeded", "no reply") and (self.end is None or answer.hops <= self.end):
            self.end = answer.hops
            self.reached = self.reached or answer.word in UP or answer.by == self._address
            self._on_end(answer.hops)

    @property
    def judged(self) -> list[tuple[Hop, Judged]]:
        """Each hop, and how much of its loss is the path's."""
        return judged_hops(self.hops, self._address)

    @property
    def hops(self) -> list[Hop]:
        """From the first to the end, or to the last one that answered."""
        answering = [number for number, hop in self._hops.items() if hop.received]
        last = self.end if self.end is not None else max(answering, default=0)
        return [hop for number, hop in sorted(self._hops.items()) if number <= last]


@dataclass(frozen=True, slots=True)
class Judged:
    """A hop's loss, seen with what is behind it."""

    path_loss: float | None
    """What the path itself can have lost up to here: no more than any hop behind it."""
    rate_limited: bool
    """It answers some, and a hop behind it lost nothing: it holds back its answers, and loses no packets."""
    silent: bool
    """It answers none, and a hop behind it does."""
    translated: bool = False
    """Addresses are translated here or before: its error bears the target's own address, which the translator makes of
    all that comes back (RFC 5508, section 4.2), its own errors too."""
    reset_by: int | None = None
    """The hop that a refusal came from, by its time to live, where it came from one before this."""


INITIAL_TTLS = (64, 128, 255)
"""Those that systems send with: Linux and BSD, Windows, routers."""


def sender_hop(ttl: int) -> int:
    """How many hops away a packet was sent that arrived with this time to live."""
    return next(initial for initial in INITIAL_TTLS if initial >= ttl) - ttl + 1


def judged_hops(hops: Sequence[Hop], target: str = "") -> list[tuple[Hop, Judged]]:
    """Each hop of the path to the address `target`, and how much of its loss is the path's."""
    found: list[tuple[Hop, Judged]] = []
    behind: float | None = None
    for hop in reversed(hops):
        loss = hop.loss
        known = [share for share in (loss, behind) if share is not None]
        path_loss = min(known) if known else None
        limited = bool(hop.lost and hop.received and behind == 0)
        translated = any(by == target and word == "ttl exceeded" for by, word, _ in hop.answers)
        sender = None if hop.refused_ttl is None else sender_hop(hop.refused_ttl)
        reset_by = sender if sender is not None and sender < hop.number else None
        silent = not hop.received and behind is not None
        found.append((hop, Judged(path_loss, limited, silent, translated, reset_by)))
        behind = path_loss if hop.received or behind is not None else None
    return found[::-1]


@dataclass(frozen=True, slots=True)
class PathReport:
    """A path: what was asked, what was in effect, and the path."""

    target: str
    address: str
    hops: Sequence[Hop]
    reached: bool
    flow: str
    """`constant` (every probe takes the same path, where routers balance by flow) or `varied`."""
    supplied: Mapping[str, Any]
    effective: Mapping[str, Any]
    started_ns: int
    seconds: float
    ended: str
    ghosts: int

    @property
    def judged(self) -> list[tuple[Hop, Judged]]:
        """Each hop, and how much of its loss is the path's."""
        return judged_hops(self.hops, self.address)

    @property
    def exit_status(self) -> int:
        """0 where the target was reached, else 1."""
        return 0 if self.reached else 1

    def document(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {
            **document_head("path"),
            "target": self.target,
            "address": self.address,
            "reached": self.reached,
            "flow": self.flow,
            "started_ns": self.started_ns,
            "seconds": self.seconds,
            "ended": self.ended,
            "supplied": dict(self.supplied),
            "effective": dict(self.effective),
            "ghosts": self.ghosts,
            "hops": [_hop_json(hop, judged) for hop, judged in self.judged],
        }


def _hop_json(hop: Hop, judged: Judged) -> dict[str, Any]:
    return {
        "hop": hop.number,
        "addresses": hop.addresses,
        "answers": [
            {"by": by, "word": word, "what": what or None, "count": count}
            for (by, word, what), count in hop.answers.items()
        ],
        "flows": {str(flow): address for flow, address in sorted(hop.flows.items())},
        "sent": hop.sent,
        "received": hop.received,
        "lost": hop.lost,
        "loss": hop.loss,
        "path_loss": judged.path_loss,
        "rate_limited": judged.rate_limited,
        "silent": judged.silent,
        "translated": judged.translated,
        "reset_by_hop": judged.reset_by,
        "last_us": micro(hop.last_ns),
        "rtt_us": times_json(hop.round_trips),
        "jitter_us": micro(hop.jitter.rfc3550_ns),
    }
