"""One load process of `bench`: takes its order on standard input, makes the load, and tells what it measured.

In, a line of JSON each: the order; then `{"start": T}`, T of `time.perf_counter`, which all processes of a host
share; then perhaps `{"stop": true}`. The end of the input ends it too: a parent that dies leaves no load behind.
Out: `ready`, an `interval` each second, `done`; or an `error`.

It is a fresh interpreter so that nothing disturbs the loop: the thread that listens for `stop` sleeps in a read,
the garbage collector is off, and values are counted between slices of a tenth of a second.
"""

from __future__ import annotations

import gc
import json
import math
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TextIO

from echowire.core.figures.histogram import Histogram
from echowire.core.load.payloads import Outcomes
from echowire.core.tls_options import ClientTls
from echowire.core.units import format_duration
from echowire.engines.load.plan import Plan
from echowire.engines.load.run import RunningLoad
from echowire.errors import EchowireError, NoReplyError
from echowire.kernel.connections.socket_options import SocketOptions
from echowire.kernel.tables.cpu import wake_punctually
from echowire.model import Endpoint

SLICE_S = 0.1
"""How long the load runs before it is looked at: what `stop` may have to wait, and one or two thousandths of the
time spent on counting."""

MARGIN_S = 0.25
"""Beyond the time that a reply may take, how long the last ones are waited for: our own lateness."""

LEAST_INTERVAL_S = 0.01
"""A last interval shorter than this is told of only if something happened in it."""


class Worker:
    """One order carried out."""

    def __init__(self, order: dict[str, Any], out: TextIO) -> None:
        self._out = out
        self._load = RunningLoad(plan_from_json(order["plan"]))
        self._seconds = order["seconds"] if order["seconds"] is not None else math.inf
        self._omit_s, self._interval_s, self._stall_s = order["omit_s"], order["interval_s"], order["stall_s"]
        self._stop = threading.Event()
        self._start = threading.Event()
        self._start_at = 0.0
        self._latency, self._uncorrected, self._lateness = Histogram(), Histogram(), Histogram()
        self._before = Outcomes()
        self._moved = -1
        self._moved_at = 0.0

    def listen(self, lines: TextIO) -> None:
        """Hear what the parent says, in a thread of its own, until it is gone."""
        with suppress(ValueError, KeyError):
            for line in lines:
                said = json.loads(line)
                if "start" in said:
                    self._start_at = said["start"]
                    self._start.set()
                else:
                    break
        self._stop.set()
        self._start.set()

    def run(self) -> None:
        """Connect, wait for the start, measure, and say what came of it."""
        load = self._load
        try:
            load.connect()
            self._say("ready", load.effective())
            self._start.wait()
            if not self._stop.is_set():
                threading.Event().wait(max(0.0, self._start_at - time.perf_counter()))
                self._measure()
        except EchowireError as error:
            self._say("error", error_document(error))
        finally:
            load.close()

    def _measure(self) -> None:
        load, generator, clock = self._load, self._load.generator, time.perf_counter
        gc.collect()
        gc.freeze()
        gc.disable()
        start = self._moved_at = clock()
        measured_from, omitting = start + self._omit_s, self._omit_s > 0
        end = measured_from + self._seconds
        interval_from, cpu_from = start, time.process_time()
        cpu_measured_from = cpu_from
        ended = "time"
        generator.begin(start)
        while True:
            now = clock()
            limits = (now + min(SLICE_S, load.plan.wait_s / 4), interval_from + self._interval_s, end)
            generator.run(min(*limits, measured_from) if omitting else min(limits))
            self._count()
            now, cpu = clock(), time.process_time()
            warm = omitting and now >= measured_from
            if warm or now >= interval_from + self._interval_s:
                self._tell(start, interval_from, now, cpu - cpu_from, omitted=omitting)
                interval_from, cpu_from = now, cpu
            if warm:
                generator.restart()
                omitting, self._before = False, load.records.outcomes.copy()
                measured_from, cpu_measured_from, end = now, cpu, now + self._seconds
            if self._stop.is_set():
                ended = "interrupted"
            elif generator.is_over:
                ended = "failed" if load.failures else "count"
            elif now < end:
                if (stalled := self._stalled(now)) is None:
                    continue
                ended = "failed"
                self._say("failure", error_document(stalled))
            break
        cpu_s, seconds = time.process_time() - cpu_measured_from, clock() - measured_from
        self._drain(ended)
        # What came since the last interval; of one that has only just begun there is nothing to tell.
        if now - interval_from > LEAST_INTERVAL_S or load.records.outcomes != self._before:
            self._tell(start, interval_from, clock(), cpu - cpu_from, omitted=omitting)
        self._say(
            "done",
            {
                # Ended within the warm-up, it has measured nothing.
                "outcomes": asdict(Outcomes() if omitting else load.records.outcomes),
                "seconds": 0.0 if omitting else seconds,
                "cpu_s": cpu_s,
                "jitter_s": load.jitter_s,
                "ended": ended,
                "failures": [error_document(failure) for failure in load.failures],
                "tcp_info": load.tcp_info(),
            },
        )

    def _drain(self, ended: str) -> None:
        """Wait for the last replies to datagrams, which otherwise would count as lost; then count the rest."""
        load, generator = self._load, self._load.generator
        generator.issuing = False
        if not load.plan.endpoint.is_stream and ended != "failed":
            until = time.perf_counter() + load.plan.wait_s + MARGIN_S
            while (now := time.perf_counter()) < until and not generator.is_over and not self._stop.is_set():
                generator.run(min(now + SLICE_S, until))
        generator.finish()
        self._count()

    def _stalled(self, now: float) -> NoReplyError | None:
        """The error where nothing has moved for too long although something should."""
        load, outcomes = self._load, self._load.records.outcomes
        moved = outcomes.received_bytes
        if load.plan.direction == "send":
            moved = outcomes.sent_bytes
        # A datagram that is lost is no stall of the load, but a server that answers none is one.
        if moved != self._moved or load.generator.is_idle:
            self._moved, self._moved_at = moved, now
        if self._stall_s is None or now - self._moved_at < self._stall_s:
            return None
        what = "the peer has read nothing" if load.plan.direction == "send" else "nothing came back"
        limit = format_duration(self._stall_s)
        return NoReplyError(f"bench {load.plan.endpoint}: {what} for {limit} (our timer)")

    def _count(self) -> None:
        records = self._load.records
        self._latency.record_seconds(records.latency)
        self._uncorrected.record_seconds(records.uncorrected)
        self._lateness.record_seconds(records.lateness)
        records.clear()

    def _tell(self, start: float, since: float, now: float, cpu_s: float, *, omitted: bool) -> None:
        outcomes = self._load.records.outcomes
        self._say(
            "interval",
            {
                "start_s": since - start,
                "seconds": now - since,
                "omitted": omitted,
                "outcomes": asdict(outcomes.since(self._before)),
                "cpu_s": cpu_s,
                "latency": self._latency.document(),
                "uncorrected": self._uncorrected.document(),
                "lateness": self._lateness.document(),
            },
        )
        self._before = outcomes.copy()
        self._latency, self._uncorrected, self._lateness = Histogram(), Histogram(), Histogram()

    def _say(self, kind: str, value: Any) -> None:
        with suppress(BrokenPipeError):  # the parent is gone, and the end of the input says so
            self._out.write(json.dumps({kind: value}) + "\n")
            self._out.flush()


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """`plan` as the order carries it."""
    return {**asdict(plan), "endpoint": plan.endpoint.url}


def plan_from_json(document: dict[str, Any]) -> Plan:
    """The plan that `plan_to_json` wrote."""
    endpoint, options = Endpoint.parse(document["endpoint"]), SocketOptions(**document["options"])
    return Plan(**{**document, "endpoint": endpoint, "options": options, "tls": ClientTls(**document["tls"])})


def error_document(error: EchowireError) -> dict[str, Any]:
    """What `error_from_document` needs to make it again."""
    return {"kind": type(error).__name__, "arguments": list(error.made_of)}


def main() -> None:
    """Carry out the order on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C, and says what is to be done
    wake_punctually()
    with suppress(ValueError, OSError):  # as many connections as this user may have open
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    worker = Worker(json.loads(sys.stdin.readline()), sys.stdout)
    threading.Thread(target=worker.listen, args=(sys.stdin,), daemon=True).start()
    worker.run()
