"""`call`, `bench` and `ping` where the endpoint is many: a multicast group, or the broadcast address of a link."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

import echowire
from echowire import Endpoint, GroupAnswer, GroupReport, NoReplyError, UsageError, format_duration
from echowire.cli.call_terminal import as_text
from echowire.cli.common import Environment, family_of, refuse_two_forms
from echowire.cli.sockets_report import write_columns

MOST_DATAGRAM_BYTES = 65_507
"""Of a piece of piped input: what a datagram over IPv4 carries."""

RATE_PER_S = 1000.0
"""Datagrams a second of `bench` unless it is said: nothing holds a sender to many back, so it is not as many as go."""


_HOW = {"ipv4", "ipv6", "udp", "count", "interval", "wait", "ttl", "loop", "interface", "broadcast", "as_json", "jsonl"}

TAKEN = {
    "call": _HOW
    | {
        "endpoint",
        "source",
        "source_port",
        "messages",
        "as_hex",
        "size",
        "timeout",
        "verify",
        "quit_after",
        "numeric",
        "verbose",
    },
    "bench": (_HOW | {"endpoint", "sizes", "seconds", "rate", "send"}) - {"interval"},
    "ping": _HOW
    | {"targets", "port", "files", "deadline", "size", "source", "quiet", "numeric", "verbose", "live", "yes"},
}
"""What means something where many are called; any other option is about one peer."""


def refuse_others(endpoint: Endpoint, verb: str) -> None:
    """Raise `UsageError` where an option was given that means nothing here: it is not passed over in silence."""
    context = click.get_current_context()
    for option in context.command.params:
        is_given = context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
        if is_given and option.name not in TAKEN[verb]:
            raise UsageError(
                f"{endpoint.host} is many hosts, each of which answers for itself: {option.opts[-1]} is for one"
            )


def how_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options say of how it is sent."""
    return {
        "ttl": 1 if options["ttl"] is None else options["ttl"],
        "loop": options["loop"] is not False,
        "interface": options.get("interface") or "",
        "broadcast": options["broadcast"],
        "family": family_of(options),
    }


def call(env: Environment, options: dict[str, Any], endpoint: Endpoint, messages: Iterable[bytes] | None) -> int:
    """`call GROUP`; `messages` are those of -m, -s and -c, None for what is typed or piped."""
    refuse_others(endpoint, "call")
    how = {**how_of(options), "source": options["source"], "source_port": options["source_port"]}
    waits = (options["wait"], options["quit_after"], options["timeout"])
    wait_s = next((wait for wait in waits if wait is not None), 1.0)
    hears = options["quit_after"] != 0  # as of netcat: the end of the input is the end
    if messages is None and env.is_terminal:
        return _prompt(env, options, endpoint, {**how, "wait_s": wait_s})
    is_own = messages is None or bool(options["messages"])
    count = 1 if options["count"] is None else options["count"] or None
    measures = options["verify"] or any(options[name] is not None for name in ("size", "count", "interval"))
    asked = echowire.call_group(
        endpoint,
        messages=(_piped(env) if messages is None else messages) if is_own else None,
        size=64 if options["size"] is None else options["size"],
        count=1 if is_own else count,
        interval_s=options["interval"] or 0.0,
        wait_s=wait_s,
        hears=hears,
        **how,
    )
    printer = GroupPrinter(env, options, measures=measures, as_hex=options["as_hex"])
    report = printer.run(asked, wait_s if hears else None)
    return 1 if options["verify"] and not report.ok else 0


def bench(env: Environment, options: dict[str, Any], endpoint: Endpoint, rate: float | None) -> int:
    """`bench GROUP`: at a rate of datagrams a second, answered or with --send not."""
    refuse_two_forms(options, "a sender")
    refuse_others(endpoint, "bench")
    least, most = options["sizes"] or (64, 64)
    if least != most:
        raise UsageError(f"{endpoint}: the datagrams to many are all of one size; give -s {most}")
    seconds = options["seconds"]
    if seconds is None and options["count"] is None:
        seconds = 10.0
    asked = echowire.call_group(
        endpoint,
        size=most,
        count=options["count"],
        seconds=seconds,
        interval_s=1.0 / (rate or RATE_PER_S),
        wait_s=options["wait"],
        hears=not options["send"],
        **how_of(options),
    )
    GroupPrinter(env, options, measures=False, quiet=True).run(asked, None if options["send"] else options["wait"])
    return 0


def ping(env: Environment, options: dict[str, Any], endpoint: Endpoint) -> int:
    """`ping GROUP`, by ICMP, or with -u by UDP's echo; until Ctrl-C without -c."""
    refuse_others(endpoint, "ping")
    how = how_of(options)
    wait_s = 1.0 if options["wait"] is None else options["wait"]
    source = options["source"]
    if source and not echowire.is_address(source):
        how["interface"], source = source, ""
    size = 56 if options["size"] is None else options["size"]
    asked = echowire.call_group(
        endpoint,
        size=size,
        count=options["count"] or (1 if options["as_json"] else None),
        seconds=options["deadline"],
        interval_s=1.0 if options["interval"] is None else options["interval"],
        wait_s=wait_s,
        source=source,
        probe="udp" if options["udp"] else "icmp",
        **how,
    )
    report = GroupPrinter(env, options, measures=True, quiet=options["quiet"]).run(asked, wait_s)
    return 0 if all(not one.lost(report.sent) for one in report.senders) else 1


def _piped(env: Environment) -> Iterator[bytes]:
    """Each read of standard input is a datagram, as of a relay."""
    descriptor = env.stdin.fileno()
    while data := os.read(descriptor, MOST_DATAGRAM_BYTES):
        yield data


def _prompt(env: Environment, options: dict[str, Any], endpoint: Endpoint, how: dict[str, Any]) -> int:
    """A line at a time, each with all its answers."""
    asked, answered = 0, 0
    printer = GroupPrinter(env, options, measures=False, as_hex=options["as_hex"], quiet=False)
    try:
        while True:
            env.write(b"Enter a message: ")
            env.flush()
            line = env.stdin.readline()
            if not line:
                break
            report = echowire.call_group(endpoint, [line.rstrip(b"\r\n")], **how).run(printer.answered)
            asked, answered = asked + 1, answered + bool(report.senders)
            for finding in () if report.senders else report.findings[:1]:
                env.say(f"nobody answered: {finding}")
    except KeyboardInterrupt:
        env.say("")
    return 1 if asked and not answered else 0


class GroupPrinter:
    """Prints answers as they come, then who answered how well: lines for people, JSON, or a line of JSON each."""

    def __init__(
        self, env: Environment, options: Mapping[str, Any], *, measures: bool, as_hex: bool = False, quiet: bool = False
    ) -> None:
        self._env, self._measures, self._as_hex, self._quiet = env, measures, as_hex, quiet
        self._as_json, self._jsonl = options["as_json"], options["jsonl"]

    def run(self, asked: echowire.GroupCall, wait_s: float | None) -> GroupReport:
        """Send and print. Raises `NoReplyError` where nobody answered within `wait_s`; None: nobody was to."""
        env = self._env
        try:
            asked.run(None if self._quiet and not self._jsonl else self.answered)
        except KeyboardInterrupt:
            if asked.report is None:
                raise
        report = asked.report
        assert report is not None
        error = None
        if wait_s is not None and report.sent and not report.senders:
            error = nobody(report, wait_s)
        document = {**report.document(), "error": None if error is None else str(error)}
        if self._as_json:
            env.answer_json(document, indent=2)
        elif self._jsonl:
            env.answer_json({"event": "summary", **document})
        elif self._measures or self._quiet:
            self._table(report, hears=wait_s is not None)
        if error is not None:
            raise error
        if not report.kept_pace and not (self._as_json or self._jsonl):
            rate = report.sent / max(report.seconds, 1e-9)
            env.say(f"echowire: this host sent {rate:,.0f} a second, and not the {report.asked_per_s:,.0f} asked for")
        if report.dropped_here and not (self._as_json or self._jsonl):
            env.say(
                f"echowire: {report.dropped_here:,} answers were thrown away here, for want of receive buffer: they are"
                " counted as lost; a smaller --rate, or a larger net.core.rmem_max, keeps them"
            )
        return report

    def answered(self, answer: GroupAnswer) -> None:
        """An answer came."""
        env = self._env
        if self._jsonl:
            env.answer_json(answer.document())
        elif self._as_json:
            return
        elif self._measures:
            took = "" if answer.rtt_s is None else f" time={format_duration(answer.rtt_s)}"
            number = "" if answer.number is None else f" seq={answer.number + 1}"
            notes = ["(DUP!)"] if answer.again else []
            if answer.number is None:
                notes.append("unexpected")
            elif not answer.verdict.ok:
                notes.append(str(answer.verdict))
            tail = f" {' '.join(notes)}" if notes else ""
            env.answer(f"{len(answer.data)} bytes from {answer.sender}:{number}{took}{tail}")
        else:
            env.answer(f"{answer.sender}: {as_text(answer.data, as_hex=self._as_hex)}")

    def _table(self, report: GroupReport, *, hears: bool) -> None:
        env = self._env
        where = f" from {report.source}" if report.source else ""
        ttl = "" if report.how.broadcast else f", TTL {report.how.ttl}"
        rate = f" in {format_duration(report.seconds)}"
        many = f"{len(report.senders)} answered" if hears else "answers were not waited for"
        env.answer(f"{report.target}{where}{ttl}: {report.sent:,} sent{rate}, {many}")
        if not report.senders:
            return
        table: list[tuple[str, ...]] = [
            ("sender", "answered", "lost", "loss", "duplicated", "reordered", "wrong", "min / mean / max")
        ]
        for one in report.senders:
            lost = one.lost(report.sent)
            trips = " / ".join(format_duration(trip) for trip in (one.least_s, one.mean_s, one.most_s))
            counts = (one.answered, lost, f"{100 * lost / report.sent:.3g}%", one.duplicated, one.reordered)
            table.append((one.address, *map(str, counts), str(one.answered - one.intact), trips))
        write_columns(env, table)
        if report.unexpected or report.others:
            env.answer(f"{report.unexpected:,} unexpected, {report.others:,} from further senders")


def nobody(report: GroupReport, wait_s: float) -> NoReplyError:
    """The one line for a group that stayed silent."""
    why = str(report.findings[0]) if report.findings else ""
    said = f"recv {report.target}: nobody answered within {format_duration(wait_s)} (our timer)."
    return NoReplyError(f"{said} {why}".rstrip())
