"""bench: put a load on any echo or sink, and say what came of it, and how far to believe it.

    report = echowire.bench("tcp://127.0.0.1:12345", connections=50, size=1024, seconds=5)
    print(report.echoes_per_s, report.latency.percentile(99), report.limit.by)

The load is made by worker processes (`verbs/bench_worker.py`), one unless more are asked for: this process only
waits for what they say each second, so that neither a live line nor the program around it disturbs a measurement.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Unpack

from echowire import errors
from echowire.core.figures.criteria import parse_condition
from echowire.core.figures.histogram import Histogram
from echowire.core.load.comparison import check_document
from echowire.core.load.measurement import (
    Cpu,
    Interval,
    Report,
    Share,
    merge_intervals,
    merge_shares,
)
from echowire.core.load.options import Load, LoadOptions
from echowire.core.load.payloads import Outcomes
from echowire.core.units import micro
from echowire.engines.load.plan import Plan, plan_of
from echowire.errors import EchowireError, NameResolutionError, OperationError
from echowire.kernel.boundary import operation
from echowire.kernel.interpreter import fresh_interpreter
from echowire.kernel.tables.cpu import HostCpu, process_cpu_s, read_host_cpu, serving_pids
from echowire.model import DEFAULT_PORT, Endpoint, EndpointLike
from echowire.verbs.explained import explained

START_DELAY_S = 0.05
"""From the word to start to the start: all workers have heard it by then."""

KILL_AFTER_S = 5.0
"""How long after it was told to stop, and the time for last replies, a worker may take to do so."""


class Measurement(Report):
    """What `bench` returns: `echowire.core.load.measurement.Report`, under its public name."""

    __slots__ = ()


def bench(
    endpoint: EndpointLike = f"127.0.0.1:{DEFAULT_PORT}",
    *,
    load: Load | None = None,
    fail_if: Sequence[str] = (),
    against: Mapping[str, Any] | None = None,
    on_interval: Callable[[Interval], object] | None = None,
    **options: Unpack[LoadOptions],
) -> Measurement:
    """Load `endpoint`, given as to `call`, and return the report; it blocks for as long as the measurement takes.

    What is asked for is said by keyword, each a field of `Load`, or by a `load` of which the keywords change some:
    `connections`, `size`, `seconds`, `count`, `rate`, `direction` and the others. Without any it is one connection
    and a closed loop of messages of 64 bytes for 10 seconds, each compared with its echo. What a source sends is held
    against RFC 864's pattern where it begins like it: `outcomes.compared_bytes`.

    `fail_if` are conditions such as `p99>5ms` that make the report not `ok`; `against` is an earlier run's
    `document`, to compare with. `on_interval` is called each `interval_s` in the calling thread. Ctrl-C ends the
    load and returns the report.

    What the peer does is in the report. Raises for what cannot be begun: `UsageError`, `OperationError`,
    `NoReplyError`, `NameResolutionError`, and `ProtocolError` of TLS.
    """
    target = Endpoint.of(endpoint, port=DEFAULT_PORT)
    asked = replace(load or Load(), **options).at(target)
    conditions = [parse_condition(text) for text in fail_if]
    if against is not None:
        check_document(against)
    plan = plan_of(target, asked)
    supplied = {**asked.document(), "dscp": plan.options.dscp}
    with _Run(plan, asked, on_interval) as run, _hearing_interrupts(run.interrupt):
        measured = run.measure(supplied)
    return replace(
        measured, conditions={condition.text: condition.holds(measured) for condition in conditions}, against=against
    )


@dataclass(slots=True, eq=False)
class _Worker:
    number: int
    process: subprocess.Popen[str]
    thread: threading.Thread
    histograms: dict[str, Histogram]
    done: dict[str, Any] | None = None
    has_ended: bool = False
    intervals: list[tuple[Interval, Histogram]] = field(default_factory=list)


class _Run:
    """The workers of one measurement, from their start to their end."""

    def __init__(self, plan: Plan, load: Load, on_interval: Callable[[Interval], object] | None) -> None:
        self._plan, self._on_interval = plan, on_interval
        self._said: queue.SimpleQueue[tuple[int, str, Any]] = queue.SimpleQueue()
        self._intervals: list[Interval] = []
        self._failures: list[EchowireError] = []
        self._interrupted = False
        self._workers: list[_Worker] = []
        order = {name: getattr(load, name) for name in ("seconds", "omit_s", "interval_s", "stall_s")}
        try:
            for number in range(load.workers):
                self._workers.append(self._begin(number, {**order, "plan": _share_of(plan, number, load.workers)}))
        except BaseException:
            self.__exit__()
            raise

    def measure(self, supplied: Mapping[str, Any]) -> Measurement:
        """Wait for all to be connected, start them at one time, and gather what they say."""
        effective = self._gather_ready()
        target = Endpoint.parse(effective["remote"])
        serving = serving_pids(target)
        started_ns, start = time.time_ns(), time.perf_counter() + START_DELAY_S
        before, server_before, began = read_host_cpu(), process_cpu_s(serving), time.perf_counter()
        self._tell_all({"start": start})
        self._gather()
        elapsed = time.perf_counter() - began
        server_after = process_cpu_s(serving)
        shares = [_share(worker) for worker in self._workers]
        whole = merge_shares(shares)
        server = None
        if serving and server_before is not None and server_after is not None:
            server = round((server_after - server_before) / elapsed, 3)
        client = round(whole.cpu_s / whole.seconds, 3) if whole.seconds else None
        cpu = _cpu(before, read_host_cpu(), client, server)
        return Measurement(
            endpoint=self._plan.endpoint.url,
            supplied=supplied,
            effective=effective,
            started_ns=started_ns,
            seconds=whole.seconds,
            ended=self._ended(),
            failures=self._explain_failures(target),
            outcomes=whole.outcomes,
            latency=whole.latency,
            uncorrected=whole.uncorrected,
            lateness=whole.lateness,
            jitter_s=whole.jitter_s,
            cpu=cpu,
            intervals=tuple(self._intervals),
            tcp_info=tuple(info for worker in self._workers for info in (worker.done or {}).get("tcp_info", ())),
        )

    def interrupt(self) -> None:
        """End the load, and report what was measured; once more, at once. May be called from a signal handler."""
        self._said.put((-1, "interrupt", None))  # reentrant, as SimpleQueue promises

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *exception: object) -> None:
        """End what still runs, and wait for it."""
        for worker in self._workers:
            worker.process.kill()  # it has said all, or is not asked any more
            worker.thread.join()

    def _begin(self, number: int, order: dict[str, Any]) -> _Worker:
        with operation("start a load process for", self._plan.endpoint):  # as many as `ulimit -u` allows
            process = subprocess.Popen(
                fresh_interpreter("echowire.verbs.bench_worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                process_group=0,  # a terminal's Ctrl-C is this process's to hear
            )
        thread = threading.Thread(target=self._listen, args=(number, process), name=f"echowire bench {number}")
        thread.start()
        _tell(process, order)
        empty = {name: Histogram() for name in ("latency", "uncorrected", "lateness")}
        return _Worker(number, process, thread, empty)

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        """In a thread: pass on what a worker says, and in the end how it ended."""
        assert process.stdout is not None and process.stdin is not None
        for line in process.stdout:
            with suppress(ValueError):  # cut short by a kill
                for kind, value in json.loads(line).items():
                    self._said.put((number, kind, value))
        status = process.wait()
        process.stdout.close()
        with suppress(OSError):
            process.stdin.close()
        self._said.put((number, "ended", status))

    def _gather_ready(self) -> dict[str, Any]:
        """What is in effect on the first worker, once all are connected. Raises what kept one from it."""
        effective: dict[int, dict[str, Any]] = {}
        while len(effective) < len(self._workers):
            number, kind, value = self._said.get()
            if kind == "ready":
                effective[number] = value
            elif kind == "interrupt":
                raise KeyboardInterrupt
            elif kind == "error":
                error = error_from_document(value)
                if isinstance(error, OperationError | NameResolutionError):
                    explained(error, self._plan.endpoint)
                raise error
            elif kind == "ended":
                raise EchowireError(
                    f"bench {self._plan.endpoint}: a load process ended ({_how(value)}) before it began"
                )
        return effective[0]

    def _gather(self) -> None:
        """Take what the workers say until all have ended; Ctrl-C tells them to end, a second one makes them."""
        deadline: float | None = None
        while not all(worker.has_ended for worker in self._workers):
            try:
                left = None if deadline is None else max(0.0, deadline - time.perf_counter())
                number, kind, value = self._said.get(timeout=left)
            except queue.Empty:
                self._kill_all()
                deadline = None
                continue
            if kind != "interrupt":
                self._take(self._workers[number], kind, value)
            elif self._interrupted:
                self._kill_all()
            else:
                self._interrupted, deadline = True, time.perf_counter() + self._plan.wait_s + KILL_AFTER_S
                self._tell_all({"stop": True})

    def _take(self, worker: _Worker, kind: str, value: Any) -> None:
        if kind == "interval":
            self._take_interval(worker, value)
        elif kind == "done":
            worker.done = value
            self._failures += [error_from_document(failure) for failure in value["failures"]]
        elif kind in ("failure", "error"):
            self._failures.append(error_from_document(value))
        elif kind == "ended":
            worker.has_ended = True
            if worker.done is None and not self._interrupted:
                said = f"load process {worker.number} ended ({_how(value)}); what it counted last is lost"
                self._failures.append(EchowireError(said))
            self._pass_on_intervals()

    def _take_interval(self, worker: _Worker, value: dict[str, Any]) -> None:
        latency = Histogram.from_document(value["latency"])
        if not value["omitted"]:
            worker.histograms["latency"].add(latency)
            for name in ("uncorrected", "lateness"):
                worker.histograms[name].add(Histogram.from_document(value[name]))
        seconds = value["seconds"]
        interval = Interval(
            start_s=round(value["start_s"], 6),
            seconds=round(seconds, 6),
            omitted=value["omitted"],
            outcomes=Outcomes.from_document(value["outcomes"]),
            p50_us=micro(latency.percentile(50)),
            p99_us=micro(latency.percentile(99)),
            max_us=micro(latency.max_ns),
            client_cpu=round(value["cpu_s"] / seconds, 3) if seconds > 0 else None,
            direction=self._plan.direction,
            is_stream=self._plan.endpoint.is_stream,
        )
        worker.intervals.append((interval, latency))
        self._pass_on_intervals()

    def _pass_on_intervals(self) -> None:
        """Merge and pass on each interval that all who still run have told of."""
        while True:
            index = len(self._intervals)
            if any(len(worker.intervals) <= index and not worker.has_ended for worker in self._workers):
                return
            parts = [worker.intervals[index] for worker in self._workers if len(worker.intervals) > index]
            if not parts:
                return
            merged = merge_intervals(parts)
            self._intervals.append(merged)
            if self._on_interval is not None:
                self._on_interval(merged)

    def _ended(self) -> str:
        ends = [worker.done["ended"] if worker.done else "failed" for worker in self._workers]
        if self._interrupted:
            return "interrupted"
        return "failed" if "failed" in ends else ends[0]

    def _explain_failures(self, target: Endpoint) -> dict[str, int]:
        """What went wrong, alike ones counted together; each kind is explained once, while its cause can be seen."""
        counted = Counter((type(error), error.made_of) for error in self._failures)
        said = {}
        for error in self._failures:
            number = counted.pop((type(error), error.made_of), 0)
            if number:
                if isinstance(error, OperationError | NameResolutionError):
                    explained(error, target)
                said[str(error)] = number
        return said

    def _tell_all(self, said: dict[str, Any]) -> None:
        for worker in self._workers:
            _tell(worker.process, said)

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.process.kill()


@contextmanager
def _hearing_interrupts(interrupt: Callable[[], None]) -> Iterator[None]:
    """Have Ctrl-C call `interrupt`, which loses nothing, and not raise KeyboardInterrupt in the middle of something.

    Only where Python's own handler is in place, and in the main thread: another one is its owner's.
    """
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: interrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def error_from_document(document: Mapping[str, Any]) -> EchowireError:
    """The error that a worker met."""
    kind = getattr(errors, document["kind"], EchowireError)
    error = kind(*document["arguments"])
    assert isinstance(error, EchowireError)
    return error


def _how(status: int) -> str:
    return f"by signal {-status}" if status < 0 else f"status {status}"


def _tell(process: subprocess.Popen[str], said: dict[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(OSError, ValueError):  # it has ended, and its thread says so
        process.stdin.write(json.dumps(said) + "\n")
        process.stdin.flush()


def _share_of(plan: Plan, number: int, count: int) -> dict[str, Any]:
    """Worker `number`'s part of `plan`: connections, rate and messages are shared out, and take turns."""
    share = replace(
        plan,
        connections=_part(plan.connections, number, count),
        count=None if plan.count is None else _part(plan.count, number, count),
        rate=None if plan.rate is None else plan.rate / count,
        rate_offset_s=0.0 if plan.rate is None else number / plan.rate,
        seed=plan.seed + number,
    )
    return {**asdict(share), "endpoint": plan.endpoint.url}


def _part(whole: int, number: int, count: int) -> int:
    return whole // count + (number < whole % count)


def _share(worker: _Worker) -> Share:
    """What a worker measured; of one that died, what it had told of."""
    done = worker.done
    if done is not None:
        outcomes, seconds, cpu_s = Outcomes.from_document(done["outcomes"]), done["seconds"], done["cpu_s"]
    else:
        outcomes, seconds, cpu_s = Outcomes(), 0.0, 0.0
        for interval, _ in worker.intervals:
            if not interval.omitted:
                outcomes.add(interval.outcomes)
                seconds += interval.seconds
    return Share(
        outcomes=outcomes, seconds=seconds, cpu_s=cpu_s, jitter_s=(done or {}).get("jitter_s"), **worker.histograms
    )


def _cpu(before: HostCpu | None, after: HostCpu | None, client: float | None, server: float | None) -> Cpu:
    shares = after.shares_since(before) if before and after else []
    if not shares:
        return Cpu(client, server)
    return Cpu(client, server, round(sum(shares) / len(shares), 3), round(max(shares), 3))
