"""ping: is it there, how far, how steady, and who says no.

    report = echowire.ping("192.0.2.1", "example.org", count=5)
    for target in report.targets:
        print(target.name, target.loss, target.round_trips.percentile(50))

One loop (`engines/probing/run.py`) sends to all targets and matches what comes back; `core/probing/statistics.py`
makes figures of the answers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Unpack

from echowire.core.probing.answers import Answer
from echowire.core.probing.options import Fragments, Probing, ProbingOptions
from echowire.core.probing.statistics import PingReport, TargetStatistics
from echowire.core.probing.targets import (
    MOST_TARGETS,
    TargetLike,
    TargetName,
    count_targets,
    expand_targets,
    in_zone,
    target_text,
)
from echowire.engines.probing.flight import Flight, Target
from echowire.engines.probing.icmp import IcmpProber
from echowire.engines.probing.paced import ADAPTIVE_LEAST_NS, FLOOD_IDLE_NS, PacedRounds
from echowire.engines.probing.prober import Prober
from echowire.engines.probing.run import Run
from echowire.engines.probing.schedule import Rounds
from echowire.engines.probing.tcp import TcpProber
from echowire.engines.probing.udp import UdpProber
from echowire.errors import NameResolutionError, UsageError
from echowire.kernel.clock import clock_error
from echowire.kernel.connections.probes import ProbeOptions, open_icmp, open_tcp, open_udp
from echowire.kernel.connections.resolve import first_addresses
from echowire.kernel.key_file import read_key
from echowire.model import Family, is_address
from echowire.verbs.explained import explained, explaining

CONFIRMED_TARGETS = 1024
"""More targets than that must be asked for in so many words: a slip of a digit in a prefix length is a scan."""

DEFAULT_RATE = 1000.0
"""Probes a second to all targets together, unless the interval asks for more: what no link notices."""


class Pinged(PingReport):
    """What `ping` returns: `echowire.core.probing.statistics.PingReport`, under its public name."""

    __slots__ = ()


def ping(
    *targets: TargetLike,
    probing: Probing | None = None,
    stamp_key: str | os.PathLike[str] | None = None,
    most_targets: int = CONFIRMED_TARGETS,
    fail_if: Sequence[str] = (),
    on_begin: Callable[[Sequence[TargetStatistics], Mapping[str, Any]], object] | None = None,
    on_answer: Callable[[Answer], object] | None = None,
    on_idle: Callable[[], object] | None = None,
    **options: Unpack[ProbingOptions],
) -> Pinged:
    """Probe every target and return what came of it.

    A target is a name, an address, or a range of addresses such as `10.0.0.0/24`, all of which are probed; with
    `probe` other than `icmp` it may be `host:port`, an `Endpoint` or `(host, port)`. How they are probed is said by
    keyword, each a field of `Probing`, or by a `probing` of which the keywords change some: `probe`, `port`, `count`,
    `interval_s`, `wait_s` and the others. `stamp_key` is a file whose bytes are the key of STAMP's authenticated mode.
    `fail_if` are conditions such as `loss>1% or p99>50ms`, true of any target, that make the report not `ok`.
    `on_begin` is told of the targets, `on_answer` of each answer as it comes, and `on_idle` is called a few times a
    second, in the calling thread.

    What the targets and the path do is in the report, a name that is unknown as well. Raises `UsageError`, and
    `OperationError` where this host lets no probe be sent at all.
    """
    conditions = _conditions(fail_if)
    asked = replace(probing or Probing(), **options)
    texts = [target_text(target) for target in targets]
    probed, statistics = find_targets(_names_of(texts, asked, most_targets), asked.to_port, asked.family)
    start = time.monotonic_ns()
    rounds = _rounds(probed, asked, start)
    report = _teller(statistics, rounds, on_answer)
    flight = Flight(len(statistics), round(asked.wait_s * 1e9), report)
    opened, facts = open_probers(asked, flight, probed, stamp_key)
    times = {"interval_s": rounds.round_ns / 1e9, "apart_s": rounds.apart_ns / 1e9}
    effective = {**facts, "targets": len(statistics), **times, "size": asked.data_bytes}
    deadline = None if asked.deadline_s is None else start + round(asked.deadline_s * 1e9)
    run = Run(flight, opened, rounds, deadline_ns=deadline, on_idle=on_idle)
    started_ns = time.time_ns()
    if on_begin is not None:
        on_begin(statistics, effective)
    _tell_unknown(statistics, report)
    with interruptible(run) as interrupted, explaining():
        ended = run.run()
    for target, sent in zip(statistics, flight.sent, strict=True):
        target.sent = sent
    return Pinged(
        statistics,
        {"targets": texts, **asked.document()},
        effective,
        started_ns,
        (time.monotonic_ns() - start) / 1e9,
        "interrupted" if interrupted() else ended,
        flight.ghosts,
        conditions(statistics),
    )


def _names_of(targets: Sequence[str], asked: Probing, most: int) -> list[TargetName]:
    """The targets that are meant, each by itself. Raises `UsageError` for none and for too many."""
    if not targets:
        raise UsageError("nobody to ping; give a name, an address or a range such as 10.0.0.0/24")
    number, most = count_targets(targets), min(most, MOST_TARGETS)
    if number > most:
        raise UsageError(f"{number:,} targets are more than the {most:,} that are allowed")
    return in_zone(expand_targets(targets, ports=asked.probe != "icmp"), interface_of(asked.source))


def _rounds(targets: Sequence[Target], asked: Probing, start: int) -> Rounds | PacedRounds:
    if asked.pace != "steady":
        is_flood = asked.pace == "flood"
        least = round(1e9 / asked.rate) if asked.rate else 0 if is_flood else ADAPTIVE_LEAST_NS
        idle = FLOOD_IDLE_NS if is_flood else round(asked.interval_s * 1e9)
        return PacedRounds(targets, asked.data_bytes, asked.count, asked.preload, least, max(idle, least))
    apart = _apart_ns(asked.rate, asked.interval_s, len(targets))
    return Rounds(targets, asked.data_bytes, asked.count, round(asked.interval_s * 1e9), apart, start)


def probe_options(source: str, ttl: int | None, tos: int | None, fragments: Fragments | None) -> ProbeOptions:
    """The options of the probes' sockets; `source` is an address, or else an interface."""
    interface = interface_of(source)
    return ProbeOptions("" if interface else source, interface, ttl, fragments, tos)


def interface_of(source: str) -> str:
    """The interface that `source` is; empty where it is an address, or nothing."""
    return "" if not source or is_address(source) else source


def find_targets(
    names: Sequence[TargetName], port: int, family: Family | None, *, raising: bool = False
) -> tuple[tuple[Target, ...], tuple[TargetStatistics, ...]]:
    """Look up every target: those that have an address, and the statistics of all.

    One whose name is unknown has a `problem` and is not probed, or with `raising` raises.
    """
    import socket

    wanted = [(name.host, name.port or port) for name in names]
    addresses = first_addresses(wanted, family, socket.SOCK_DGRAM)
    targets, statistics = [], []
    for index, (name, address) in enumerate(zip(names, addresses, strict=True)):
        shown = name.host if name.port is None else f"{name.host}:{name.port}"
        if raising and isinstance(address, NameResolutionError | UsageError):
            raise explained(address) if isinstance(address, NameResolutionError) else address
        if isinstance(address, NameResolutionError):
            statistics.append(TargetStatistics(shown, "", str(explained(address))))
        elif isinstance(address, UsageError):
            statistics.append(TargetStatistics(shown, "", str(address)))
        else:
            version: Family = 6 if address[0] == socket.AF_INET6 else 4
            text = str(address[1][0])
            statistics.append(TargetStatistics(shown, text))
            targets.append(Target(index, shown, version, text, address[1]))
    return tuple(targets), tuple(statistics)


def open_probers(
    asked: Probing,
    flight: Flight,
    targets: Sequence[Target],
    stamp_key: str | os.PathLike[str] | None,
) -> tuple[dict[Family, Prober], dict[str, Any]]:
    """A prober for each family that the targets have, and what is in effect. Raises `OperationError`."""
    run, probe = random_bits(64), asked.probe
    options = replace(
        probe_options(asked.source, asked.first_ttl, asked.tos, asked.fragments),
        dont_route=asked.dont_route,
        mark=asked.mark,
    )
    probers: dict[Family, Prober] = {}
    facts: dict[str, Any] = {"probe": probe}
    try:
        for family in sorted({target.family for target in targets}):
            if probe == "icmp":
                with explaining():
                    opened = open_icmp(family, options, random_bits(16))
                facts["socket"] = "raw" if opened.is_raw else "datagram"
                facts["identifier"] = opened.identifier
                probers[family] = IcmpProber(flight, opened, run, pattern=asked.pattern_bytes)
            elif probe == "udp":
                probers[family] = UdpProber(flight, open_udp(family, options), family, run, asked.pattern_bytes)
            elif probe == "tcp":
                probers[family] = TcpProber(flight, lambda version: open_tcp(version, options))
            else:
                # Imported for those who need it: it brings OpenSSL along.
                from echowire.engines.probing.stamp import StampProber

                key = None if stamp_key is None else read_key(stamp_key)
                error = clock_error()
                facts["authenticated"] = key is not None
                facts["synchronised"] = error.synchronised
                facts["clock_error_us"] = error.seconds * 1e6
                probers[family] = StampProber(flight, open_udp(family, options), family, error, key)
    except BaseException:
        for prober in probers.values():
            prober.close()
        raise
    return probers, facts


def random_bits(count: int) -> int:
    """A number that nobody can guess."""
    return int.from_bytes(os.urandom(count // 8), "big")


@contextmanager
def interruptible(run: Run) -> Iterator[Callable[[], bool]]:
    """Have Ctrl-C end `run` in order, a second one at once; gives a function that says whether it did.

    Only where Python's own handler is in place: another one is its owner's, and what is ignored stays so.
    """
    pressed = False
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return

    def on_signal(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True
        run.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _conditions(texts: Sequence[str]) -> Callable[[Sequence[TargetStatistics]], dict[str, bool | None]]:
    if not texts:
        return lambda targets: {}
    # Imported when there is one: with them comes numpy, which takes longer than a few pings.
    from echowire.core.probing.criteria import holds_for_any, parse_ping_condition

    parsed = [parse_ping_condition(text) for text in texts]
    return lambda targets: {str(condition): holds_for_any(condition, targets) for condition in parsed}


def _apart_ns(rate: float | None, interval_s: float, count: int) -> int:
    """The least between two probes: what the rate allows; without one the interval may ask for more than usual."""
    if rate is None:
        rate = max(DEFAULT_RATE, count / interval_s if interval_s else 0.0) if interval_s != 1.0 else DEFAULT_RATE
    return round(1e9 / rate)


def _teller(
    statistics: Sequence[TargetStatistics],
    rounds: Rounds | PacedRounds,
    on_answer: Callable[[Answer], object] | None,
) -> Callable[[Answer], object]:
    paced = rounds if isinstance(rounds, PacedRounds) else None
    if on_answer is None and paced is None:
        return lambda answer: statistics[answer.target].take(answer)

    def tell(answer: Answer) -> None:
        statistics[answer.target].take(answer)
        if paced is not None:
            paced.told(answer)
        if on_answer is not None:
            on_answer(answer)

    return tell


def _tell_unknown(statistics: Sequence[TargetStatistics], report: Callable[[Answer], object]) -> None:
    for index, target in enumerate(statistics):
        if target.problem:
            report(Answer(index, 0, "name unknown", time.time_ns()))
