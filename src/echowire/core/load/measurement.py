"""From what a load recorded to what it means: rates, latencies, and what was the limit. Pure.

Every figure that was not measured is None, which JSON has as null: a server that never answered has no latency,
and not one of zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from echowire.core.figures.histogram import Histogram
from echowire.core.load.comparison import COMPARED_FIGURES, Compared, Comparison
from echowire.core.load.payloads import Outcomes
from echowire.core.schemas import document_head
from echowire.core.units import format_duration, micro

PERCENTILES = (50, 90, 99, 99.9, 99.99)

BUSY = 0.85
"""A process that used this share of a processor was at its limit: the rest is waiting it can do nothing about."""

ALL_BUSY = 0.95
"""Of the whole host."""

RATE_KEPT = 0.99
"""Bytes that flowed at this share of the rate asked for have kept it."""

NOT_YET_DUE_S = 0.02
"""Of bytes that flow at a rate: they go in pieces, up to a hundredth of a second apart, and the last is not due yet."""

RATE_REACHED = 0.98
"""An open loop that sent this share of what was due has kept its rate."""

SHORT_S = 0.1
"""In less, processor time says nothing: the kernel counts a process's in hundredths of a second."""

LATE_NS = 1_000_000
"""A sender that is this late at the 99th percentile, and later than the median echo, measures itself."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of the run, a second unless it was said otherwise; `omitted` ones are warm-up and in no total.

    Times in microseconds. `start_s` counts from the load's first message.
    """

    start_s: float
    seconds: float
    omitted: bool
    outcomes: Outcomes
    p50_us: float | None
    p99_us: float | None
    max_us: float | None
    client_cpu: float | None
    """Processor time over time, of the busiest client process."""
    direction: str = "echo"
    is_stream: bool = False

    @property
    def echoes_per_s(self) -> float | None:
        """Echoes that came back whole and right, a second; None where there are to be none."""
        echoed = known_counts(self.outcomes, self.direction, is_stream=self.is_stream)["echoed"]
        return echoed / self.seconds if self.seconds > 0 and echoed is not None else None

    @property
    def errors(self) -> int:
        """What went wrong in it."""
        return errors_of(self.outcomes)

    def document(self) -> dict[str, Any]:
        """The interval as `--jsonl` and `--json` have it."""
        values = {item: getattr(self, item) for item in ("start_s", "seconds", "omitted", "p50_us", "p99_us", "max_us")}
        counts = known_counts(self.outcomes, self.direction, is_stream=self.is_stream)
        sent, received = (
            8 * count / self.seconds if self.seconds > 0 and count is not None else None
            for count in (counts["sent_bytes"], counts["received_bytes"])
        )
        return {
            **values,
            "echoes_per_s": self.echoes_per_s,
            "sent_bits_per_s": sent,
            "received_bits_per_s": received,
            "client_cpu": self.client_cpu,
            **counts,
        }


@dataclass(frozen=True, slots=True)
class Cpu:
    """Shares of a processor that were used: 1.0 is one whole one. None where it could not be seen."""

    client: float | None = None
    """Of the busiest client process."""
    server: float | None = None
    """Of all processes that serve the endpoint, where they are on this host."""
    host: float | None = None
    """Mean over this host's processors."""
    busiest: float | None = None
    """This host's busiest processor."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What kept the result from being better: `client`, `server`, `host`, `rate`, `round trip`; None is unknown."""

    by: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker measured. `interrupted` is None, or why it ended before its time."""

    outcomes: Outcomes
    latency: Histogram
    uncorrected: Histogram
    lateness: Histogram
    seconds: float
    cpu_s: float
    jitter_s: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A measurement: what was asked, what was in effect, what came of it, and how far to believe it.

    Latencies are round trips. In an open loop `latency` counts from when each message was due, and `uncorrected`
    from its sending; in a closed loop there is no due time and `uncorrected` is empty.
    """

    endpoint: str
    supplied: Mapping[str, Any]
    effective: Mapping[str, Any]
    started_ns: int
    """Nanoseconds since 1970, UTC."""
    seconds: float
    """How long was measured, warm-up and the waiting for last replies not counted."""
    ended: str
    """`time`, `count`, `interrupted` or `failed`."""
    failures: Mapping[str, int]
    """Why connections, or the whole load, failed; and how many of them."""
    outcomes: Outcomes
    latency: Histogram
    uncorrected: Histogram
    lateness: Histogram
    jitter_s: float | None
    cpu: Cpu
    intervals: Sequence[Interval] = ()
    tcp_info: Sequence[Mapping[str, int]] = field(default=(), repr=False)
    conditions: Mapping[str, bool | None] = field(default_factory=dict)
    """Each condition that was to fail the run, and whether it holds; None where its figure is not known."""
    against: Mapping[str, Any] | None = field(default=None, repr=False)
    """The document of another run to compare with."""

    @property
    def direction(self) -> str:
        """`echo`, `send`, `receive` or `both`."""
        return str(self.supplied["direction"])

    @property
    def is_stream(self) -> bool:
        """Whether connections carried it, in which nothing is lost, repeated or reordered without their failing."""
        return not self.endpoint.startswith(("udp:", "unixgram:"))

    @property
    def no_reply(self) -> bool:
        """Whether something was to come back, or in, and nothing did, not even while it warmed up."""
        parts = (self.outcomes, *(interval.outcomes for interval in self.intervals if interval.omitted))
        return self.direction != "send" and not any(part.received_bytes or part.echoed for part in parts)

    @property
    def no_echo(self) -> bool:
        """Whether messages were to be echoed, and not one was, not even while it warmed up."""
        parts = (self.outcomes, *(interval.outcomes for interval in self.intervals if interval.omitted))
        return self.direction == "echo" and not any(part.echoed for part in parts)

    @property
    def ok(self) -> bool:
        """Whether there was an answer (an echo where one was due), every connection lasted, no byte was wrong, and no
        condition failed it.

        A condition that cannot be known fails it too. Lost datagrams are a result.
        """
        wrong = self.outcomes.corrupted or self.outcomes.truncated or self.outcomes.unexpected
        return not (self.failures or self.no_reply or self.no_echo or wrong or self.failed_conditions)

    @property
    def failed_conditions(self) -> list[str]:
        """The conditions that hold, or cannot be known."""
        return [text for text, holds in self.conditions.items() if holds is not False]

    @property
    def echoes_per_s(self) -> float | None:
        """Echoes that came back whole and right, a second; None where there were to be none."""
        if not self.seconds or self.no_reply or (not self.outcomes.echoed and self.direction != "echo"):
            return None
        return self.outcomes.echoed / self.seconds

    @property
    def sent_bits_per_s(self) -> float | None:
        """Payload bits sent a second."""
        return 8 * self.outcomes.sent_bytes / self.seconds if self.seconds and self.direction != "receive" else None

    @property
    def received_bits_per_s(self) -> float | None:
        """Payload bits received a second."""
        if not self.seconds or self.direction == "send" or self.no_reply:
            return None
        return 8 * self.outcomes.received_bytes / self.seconds

    @property
    def loss(self) -> float | None:
        """The share of datagrams that did not come back; None for streams, and where none was to."""
        outcomes = self.outcomes
        if self.is_stream or self.direction == "send" or not outcomes.sent:
            return None
        return (outcomes.lost + outcomes.unanswered) / outcomes.sent

    @property
    def corrupted(self) -> int | None:
        """Messages that came back with a wrong byte, or a source's lines; None for a source that was not compared."""
        if self.direction == "receive" and not self.outcomes.compared_bytes:
            return None
        return self.outcomes.corrupted

    @property
    def rate_kept(self) -> float | None:
        """The share of the rate asked for that was reached: in messages sent, or bits sent (or received)."""
        asked, bits = self.supplied.get("rate"), self.supplied.get("bits_per_s")
        if not self.seconds or self.no_reply:
            return None
        if bits:
            moved = self.outcomes.received_bytes if self.direction == "receive" else self.outcomes.sent_bytes
            return float(8 * moved / (self.seconds * bits * self.supplied["connections"]))
        return float(self.outcomes.sent / (self.seconds * asked)) if asked else None

    @property
    def errors(self) -> int:
        """Failed connections, and messages that came back wrong, in part or not at all."""
        return errors_of(self.outcomes) + sum(self.failures.values())

    @property
    def limit(self) -> Limit:
        """What was the limit."""
        return find_limit(self)

    def compare(self) -> Comparison | None:
        """This run beside the one that it is to be compared with."""
        if self.against is None:
            return None
        before, after = self.against, self._figures()
        rows = [Compared(name, before.get(name), after.get(name)) for name in COMPARED_FIGURES]
        for kind in ("latency_us", "uncorrected_latency_us"):
            rows += [Compared(f"{kind}.{name}", before[kind].get(name), value) for name, value in after[kind].items()]
        known = [row for row in rows if row.before is not None or row.after is not None]
        asked_before, asked = before["supplied"], after["supplied"]
        differences = [
            f"{name}: {_shown(asked_before.get(name))} before, {_shown(asked.get(name))} now"
            for name in {**asked_before, **asked}
            if asked_before.get(name) != asked.get(name)
        ]
        if before["endpoint"] != self.endpoint:
            differences.insert(0, f"endpoint: {before['endpoint']} before, {self.endpoint} now")
        return Comparison(tuple(known), tuple(differences))

    def document(self) -> dict[str, Any]:
        """The document that `--json` prints and `--against` reads."""
        comparison = self.compare()
        return {**self._figures(), "comparison": None if comparison is None else comparison.document()}

    def _figures(self) -> dict[str, Any]:
        limit = self.limit
        return {
            **document_head("bench"),
            "endpoint": self.endpoint,
            "started_ns": self.started_ns,
            "seconds": self.seconds,
            "ended": self.ended,
            "ok": self.ok,
            "no_reply": self.no_reply,
            "no_echo": self.no_echo,
            "failures": dict(self.failures),
            "supplied": dict(self.supplied),
            "effective": dict(self.effective),
            "echoes_per_s": self.echoes_per_s,
            "sent_bits_per_s": self.sent_bits_per_s,
            "received_bits_per_s": self.received_bits_per_s,
            "rate_kept": None if (kept := self.rate_kept) is None else round(kept, 6),
            "counts": known_counts(self.outcomes, self.direction, is_stream=self.is_stream),
            "loss": self.loss,
            "latency_us": latency_json(self.latency),
            "uncorrected_latency_us": latency_json(self.uncorrected),
            "lateness_us": latency_json(self.lateness),
            "jitter_us": None if self.jitter_s is None else round(self.jitter_s * 1e6, 3),
            "cpu": asdict(self.cpu),
            "limit": limit.by,
            "limit_why": limit.why,
            "measured_the_client": limit.by == "client",
            "conditions": dict(self.conditions),
            "histogram": self.latency.document(),
            "intervals": [interval.document() for interval in self.intervals],
            "tcp_info": [dict(info) for info in self.tcp_info],
        }


def known_counts(outcomes: Outcomes, direction: str, *, is_stream: bool) -> dict[str, int | None]:
    """`outcomes`, with None for what a load in that direction, over streams or datagrams, does not tell."""
    counts: dict[str, int | None] = asdict(outcomes)
    if is_stream:
        counts.update(dict.fromkeys(("truncated", "duplicated", "reordered", "late")))
    if direction != "echo" or not is_stream:
        counts["partial"] = None
    if direction == "send":
        counts.update(dict.fromkeys(name for name in counts if not name.startswith("sent")))
        counts["sent"] = None if is_stream else outcomes.sent
    elif direction != "echo" and is_stream:
        counts.update(dict.fromkeys(("sent", "echoed", "lost", "unanswered")))
    elif direction == "receive":  # no datagram of a source says which one it is, or answers
        counts.update(dict.fromkeys(("echoed", "truncated", "duplicated", "reordered", "late", "unanswered")))
    if direction == "receive" and not outcomes.compared_bytes:
        counts["corrupted"] = None
    if direction != "receive":
        counts["compared_bytes"] = None
    return counts


def errors_of(outcomes: Outcomes) -> int:
    """Messages that came back wrong, in part, or not at all."""
    return outcomes.corrupted + outcomes.truncated + outcomes.unexpected + outcomes.lost


def percentile_name(percent: float) -> str:
    """`p50`, `p99.9`."""
    return f"p{percent:g}"


def latency_json(histogram: Histogram) -> dict[str, float | None]:
    """Least, mean, percentiles and largest of `histogram`, microseconds; null while it is empty."""
    return {
        "min": micro(histogram.min_ns),
        "mean": micro(histogram.mean_ns),
        **{percentile_name(percent): micro(histogram.percentile(percent)) for percent in PERCENTILES},
        "max": micro(histogram.max_ns),
    }


def merge_shares(shares: Sequence[Share]) -> Share:
    """What all workers measured together. The time is the longest, the processor time the largest share's."""
    outcomes, latency, uncorrected, lateness = Outcomes(), Histogram(), Histogram(), Histogram()
    for share in shares:
        outcomes.add(share.outcomes)
        latency.add(share.latency)
        uncorrected.add(share.uncorrected)
        lateness.add(share.lateness)
    jitters = [share.jitter_s for share in shares if share.jitter_s is not None]
    busiest = max(shares, key=lambda share: share.cpu_s / share.seconds if share.seconds > 0 else 0.0, default=None)
    return Share(
        outcomes,
        latency,
        uncorrected,
        lateness,
        max((share.seconds for share in shares), default=0.0),
        busiest.cpu_s if busiest else 0.0,
        sum(jitters) / len(jitters) if jitters else None,
    )


def merge_intervals(parts: Sequence[tuple[Interval, Histogram]]) -> Interval:
    """The same stretch of several workers as one."""
    outcomes, latency = Outcomes(), Histogram()
    for interval, histogram in parts:
        outcomes.add(interval.outcomes)
        latency.add(histogram)
    first = parts[0][0]
    loads = [interval.client_cpu for interval, _ in parts if interval.client_cpu is not None]
    return Interval(
        first.start_s,
        max(interval.seconds for interval, _ in parts),
        first.omitted,
        outcomes,
        micro(latency.percentile(50)),
        micro(latency.percentile(99)),
        micro(latency.max_ns),
        max(loads, default=None),
        first.direction,
        first.is_stream,
    )


def find_limit(report: Report) -> Limit:
    """What was the limit, as far as processor time, lateness and the rate asked for tell."""
    kept = report.rate_kept if report.direction != "echo" else None
    is_kept = kept is not None and kept >= RATE_KEPT - NOT_YET_DUE_S / report.seconds
    if is_kept and not report.latency.count:  # however busy the host: there is no latency to suffer from that
        return Limit("rate", "the rate asked for was kept")
    rate, is_short = report.supplied.get("rate"), report.seconds < SHORT_S
    cpu = Cpu() if is_short else report.cpu
    if report.no_reply:
        return Limit(None, "nothing came back, so nothing can be said")
    if not report.seconds:
        return Limit(None, "nothing was measured")
    if cpu.client is not None and cpu.client >= BUSY:
        return Limit("client", f"a client process used {cpu.client:.0%} of a processor; try more --workers")
    if rate and report.direction != "receive":
        late, median = report.lateness.percentile(99), report.latency.percentile(50)
        if late is not None and late > LATE_NS and late > (median or 0):
            by = format_duration(late / 1e9)
            return Limit(
                "client", f"the sender was {by} late at its 99th percentile, for want of a processor or a timer"
            )
    if cpu.server is not None and cpu.server >= BUSY:
        return Limit("server", f"the server used {cpu.server:.0%} of a processor")
    if cpu.host is not None and cpu.host >= ALL_BUSY:
        return Limit("host", "every processor of this host was busy, so client and others competed for them")
    if is_kept:
        return Limit("rate", "the rate asked for was kept, with processor time to spare")
    if kept is not None:
        what = "the peer did not send more" if report.direction == "receive" else "the peer or the path took no more"
        return Limit(None, f"{kept:.1%} of the rate asked for was reached: {what}")
    if rate and report.direction == "echo":
        due = rate * report.seconds
        # Of a Poisson process, the number of arrivals in a time varies by the root of their mean.
        spread = 4 * math.sqrt(due) if report.supplied.get("poisson") else 1
        if report.outcomes.sent >= RATE_REACHED * due - spread:
            return Limit("rate", "the rate asked for was kept, with processor time to spare")
        said = f"{report.outcomes.sent} of {due:.0f} messages were sent: at the others' time every connection waited"
        return Limit("round trip", f"{said} for its echo; more -c, or --pipeline, would send them")
    if report.direction == "echo" and report.supplied["connections"] * report.supplied["pipeline"] == 1:
        return Limit("round trip", "one message at a time: client and server wait for each other")
    if is_short:
        return Limit(None, f"less than {format_duration(SHORT_S)} is too short to tell")
    return Limit(None, "neither client nor server was seen to be at its limit; the network, or a server elsewhere")


def _shown(value: Any) -> str:
    return "not given" if value is None else str(value)
