"""What `echowire ping` prints: a line an answer and a summary for people, a live table, one JSON document, or a line
of JSON an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from echowire import Pinged, document_head, format_duration
from echowire.cli.columns import fitted, width_of
from echowire.cli.common import Environment, printable
from echowire.cli.histogram import histogram_lines
from echowire.cli.interim import asked_by_quit, say_interim
from echowire.cli.ping_habits import is_list
from echowire.cli.ping_rows import COLUMNS, LEAVING, WORDS, aligned, describe, nano, target_row
from echowire.cli.run_report import RunReport

LINES_UP_TO = 16
"""Targets up to which each answer has its line where there is no live table."""

PERCENTILES = (50, 90, 99, 99.9)

HISTOGRAM_FROM = 20
"""Round trips from which a histogram says more than the lines above it."""

PROBES = {"icmp": "ICMP echo", "udp": "UDP echo", "tcp": "TCP connect", "stamp": "STAMP"}


class Report(RunReport):
    """Told of the targets, of each answer and of the end; prints what the options ask for."""

    def __init__(self, env: Environment, options: Mapping[str, Any], number: int) -> None:
        super().__init__(env, options, document_head("ping"))
        wanted = options["live"]
        self._is_list = is_list(options)
        is_quiet = options["quiet"] or options["flood"] or self._is_list
        several = number > 1 and not is_quiet
        self._is_live = self.for_people and env.has_colour and (several if wanted is None else wanted)
        self._has_lines = self.for_people and not is_quiet and not self._is_live and number <= LINES_UP_TO
        self._targets: Sequence[Any] = ()
        self._live: Any = None
        self._quit = asked_by_quit()
        self._asked = self._quit.__enter__()

    def close(self) -> None:
        """Leave the live table as it is."""
        self._quit.__exit__(None, None, None)
        if self._live is not None:
            self._live.close()

    def begin(self, targets: Sequence[Any], effective: Mapping[str, Any]) -> None:
        """The targets are known, and nothing is sent yet."""
        self._targets = targets
        for target in targets:
            if target.problem and not self._is_list:
                self.env.say(f"echowire: ping {printable(target.name)}: {printable(target.problem)}")
        if self.options["verbose"] and "socket" in effective:
            self.env.say(f"echowire: {effective['socket']} socket of ICMP, identifier {effective['identifier']}")
        if self._is_live:
            from echowire.cli.live import Redrawn, ping_table

            self._live = Redrawn(self.env, ping_table(targets))
        elif self._has_lines and len(targets) == 1 and targets[0].address:
            self.env.answer(_headline(targets[0], effective))

    def answer(self, answer: Any) -> None:
        """One more answer."""
        if self.options["jsonl"]:
            target = self._targets[answer.target]
            self.event("answer", {**answer.document(), "target": target.name, "address": target.address or None})
        elif self._has_lines and answer.word != "name unknown":
            self.env.answer(self._line(answer))
        if self.options["audible"] and answer.is_reply:
            self.env.write(b"\a")
            self.env.flush()

    def idle(self) -> None:
        """Some time has passed."""
        if self._live is not None:
            self._live.redraw()
        if self._asked.take() and self._live is None:
            say_interim(self.env, [_interim(target) for target in self._targets[:LINES_UP_TO]])

    def conclude(self, pinged: Pinged) -> None:
        """The run has ended."""
        env = self.env
        if not self.for_people:
            self.conclude_json(pinged.document())
        elif self._is_list:
            for target in pinged.targets:
                if target.is_up == self.options["alive"]:
                    env.answer(printable(target.name))
        elif len(pinged.targets) == 1:
            plain = env.variables.get("TERM") == "dumb"
            for line in _summary(pinged, plain=plain):
                env.answer(line)
        else:
            for line in _table(pinged, width_of(env)):
                env.answer(line)
        self.say_conditions(pinged.conditions)

    def _line(self, answer: Any) -> str:
        target = self._targets[answer.target]
        at = f"[{answer.time_ns / 1e9:.6f}] " if self.options["timestamps"] else ""
        whose = f"{target.name}: " if len(self._targets) > 1 else ""
        return f"{at}{printable(whose)}{_said(answer)}"


def _interim(target: Any) -> str:
    """How it stands: `192.0.2.1: 12/13 packets, 8% loss, min/avg/max = 40.1 µs/52 µs/80 µs`."""
    known, times = target.received + target.lost + target.corrupted, target.round_trips
    loss = "" if not known else f", {100 * (known - target.received) / known:.3g}% loss"
    figures = "/".join(nano(figure) for figure in (times.min_ns, times.mean_ns, times.max_ns))
    return f"{target.name}: {target.received}/{known} packets{loss}" + (
        f", min/avg/max = {figures}" if times.count else ""
    )


def _headline(target: Any, effective: Mapping[str, Any]) -> str:
    name = printable(target.name)
    where = name if name == target.address else f"{name} ({target.address})"
    size = f", {effective['size']} bytes of data" if effective["size"] else ""
    kind = f" ({effective['socket']} socket)" if "socket" in effective else ""
    return f"Ping {where}: {PROBES[effective['probe']]}{kind}{size}"


def _said(answer: Any) -> str:
    """The answer in words: `reply from 192.0.2.1: seq=1 ttl=64 time=1.20 ms`."""
    marks = [name for name in ("duplicate", "late", "corrupted", "reordered", "retransmitted") if getattr(answer, name)]
    tail = f" ({', '.join(marks)})" if marks else ""
    if answer.word in ("reply", "refused"):
        size = f"{answer.size} bytes" if answer.size else answer.word
        ttl = f" ttl={answer.ttl}" if answer.ttl is not None else ""
        said = f"{size} from {answer.by}: seq={answer.sequence}{ttl} time={nano(answer.rtt_ns)}"
        if answer.forward_ns is not None and answer.error_ns is not None:
            said += f" there={nano(answer.forward_ns)} back={nano(answer.backward_ns)} ±{nano(answer.error_ns)}"
        return said + tail
    time = "" if answer.rtt_ns is None else f" time={nano(answer.rtt_ns)}"
    return f"seq={answer.sequence} {describe(answer.word, answer.what, answer.by, answer.mtu)}{time}{tail}"


def _summary(pinged: Pinged, *, plain: bool) -> list[str]:
    target: Any = pinged.targets[0]
    if target.problem:
        return []
    lines = ["", f"{printable(target.name)}: {', '.join(_counts(target))}, {format_duration(pinged.seconds)}"]
    others = [
        f"{count} {describe(word, what, by)}"
        for (word, what, by), count in target.answers.items()
        if word not in ("reply", "no reply")
    ]
    if others:
        lines.append(f"  Answers: {', '.join(others)}")
    if target.mtu:
        lines.append(f"  MTU: {target.mtu} bytes")
    times = target.round_trips
    if times.count:
        lines.append(f"  Round trip: {_times(times)}")
        if target.jitter.count:
            lines.append(
                f"  Jitter: {nano(target.jitter.rfc3550_ns)} (RFC 3550), mean difference {nano(target.jitter.mean_ns)}"
            )
    for name, way in (("There", target.forward), ("Back", target.backward)):
        if way.jitter_or_delay:
            lines.append(f"  {name}: {_one_way(way)}")
    if target.lost_forward is not None:
        lines.append(f"  Lost on the way there: {target.lost_forward}, on the way back: {target.lost_backward}")
    if target.clocks:
        lines.append(f"  Clock: {', '.join(f'{name} ({count})' for name, count in target.clocks.items())}")
    if pinged.ghosts:
        lines.append(f"  Packets that answered no probe of this run: {pinged.ghosts}")
    return [*lines, *(histogram_lines(times, plain=plain) if times.count >= HISTOGRAM_FROM else [])]


def _counts(target: Any) -> list[str]:
    counts = [f"{target.sent} sent", f"{target.received} received", f"{target.lost} lost{_percent(target.loss)}"]
    for name in ("unanswered", "corrupted", "late", "duplicated", "reordered", "retransmitted"):
        if getattr(target, name):
            counts.append(f"{getattr(target, name)} {name}")
    return counts


def _percent(share: float | None) -> str:
    return "" if share is None else f" ({100 * share:.3g}%)"


def _times(times: Any) -> str:
    middle = (f"p{percent:g} {nano(times.percentile(percent))}" for percent in PERCENTILES)
    return (
        f"min {nano(times.min_ns)}, mean {nano(times.mean_ns)}, {', '.join(middle)}, "
        f"max {nano(times.max_ns)}, stddev {nano(times.deviation_ns)}"
    )


def _one_way(way: Any) -> str:
    jitter = f"jitter {nano(way.jitter.rfc3550_ns)} (RFC 3550)"
    if not way.synchronised:
        return f"unsynchronised; {jitter}"
    delays = way.delays
    middle = ", ".join(f"p{percent:g} {nano(delays.percentile(percent))}" for percent in (50, 99))
    return f"min {nano(delays.min_ns)}, {middle}, max {nano(delays.max_ns)}, ± {nano(way.error_ns)}; {jitter}"


def _table(pinged: Pinged, width: int | None) -> list[str]:
    """A line a target, in the order in which they were given."""
    every = [COLUMNS, *(target_row(target) for target in pinged.targets)]
    rows = fitted(every, width, LEAVING, WORDS)
    lines = ["", *aligned(rows, [at for at, name in enumerate(rows[0]) if name in WORDS])]
    up = sum(target.is_up for target in pinged.targets)
    total = f"{len(pinged.targets)} targets, {up} up, {format_duration(pinged.seconds)}"
    return [*lines, "", total]
