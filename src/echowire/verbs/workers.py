"""serve over several processes: each worker has its own sockets on the same port, and the kernel shares out.

A worker is `verbs/worker.py` in a fresh interpreter: nothing is forked, so threads and locks of a host program are
safe. It is handed its listening sockets as descriptors and its order as JSON on standard input, writes its events
as JSON lines, and ends when told to or when its standard input does: a parent that dies takes its workers along.

A worker that is stopped (SIGSTOP, SIGTSTP) goes on having its sockets, and the kernel goes on giving it its share of
the connections, which nobody then serves. The kernel tells a parent of it, at once and exactly (waitid(2), WSTOPPED),
where a heartbeat would have to guess from silence, and take a busy host's worker for a stopped one. It does not tell of
a worker that a debugger holds, which is as well. Ctrl-Z stops the whole group, and with it the parent; `fg` continues
all of them, so what counts is who is still stopped a moment later. That one is ended and replaced: nothing else takes
its sockets away from it, since the parent keeps none of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from echowire.errors import EchowireError, HandlerError
from echowire.kernel.connections.listen import BACKLOG, Listener, close_all, open_listeners
from echowire.kernel.interpreter import fresh_interpreter
from echowire.model import Closed, Event, Family, Limits, Notice, Stopped, Summary, event_from_document

STOPPED_S = 0.5
"""How long a worker may be stopped before it is ended."""

AT_BIRTH_S = 1.0
"""A worker that dies sooner than this would only die again, and is not replaced."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to serve, besides the sockets."""

    engine: str
    service: str
    handler: str | None
    limits: Limits
    tls: tuple[str, str] | None
    tls_choices: dict[str, Any]
    """Keywords of `server_context`."""
    stamp_key: str | None = None
    stamp_stateless: bool = False
    show: bool = False
    backlog: int = BACKLOG


@dataclass(slots=True)
class _Worker:
    number: int
    process: subprocess.Popen[str]
    since: float
    thread: threading.Thread
    stops: threading.Thread
    was_stopped: bool = False


class WorkerGroup:
    """Some worker processes that serve the same endpoints."""

    def __init__(
        self,
        order: Order,
        listeners: Sequence[Listener],
        family: Family | None,
        count: int,
        report: Callable[[Event], None],
    ) -> None:
        self._order = order
        self._family = family
        self._report = report
        self._total = Summary()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._workers: dict[int, _Worker] = {}
        self._ended = threading.Event()
        self._died = ""
        # A socket that can be bound again each worker binds for itself. Unix sockets, and those handed to us, cannot:
        # all workers share them, and we hold them for those to come.
        self._shared = [listener for listener in listeners if not _is_own(listener)]
        self._tls = next((listener.tls for listener in listeners if listener.tls is not None), None)
        self._endpoints = [listener.endpoint for listener in listeners if _is_own(listener)]
        own = [listener for listener in listeners if _is_own(listener)]
        try:
            for number in range(count):
                self._start(number, own if number == 0 else self._open_own())
        except BaseException:
            self.stop(0.0)
            raise

    def stop(self, drain_s: float) -> None:
        """Tell every worker to stop; one that is stopped by a signal cannot hear it, and is ended."""
        self._stopping.set()
        for worker in list(self._workers.values()):
            with suppress(OSError, ValueError):  # it has ended already
                assert worker.process.stdin is not None
                worker.process.stdin.write(json.dumps({"stop": drain_s}) + "\n")
                worker.process.stdin.flush()

    @property
    def has_ended(self) -> bool:
        """Whether every worker has ended."""
        return self._ended.is_set()

    def wait(self, timeout: float | None) -> bool:
        """Wait until every worker has ended."""
        ended = self._ended.wait(timeout)
        if ended and self._died:
            raise EchowireError(self._died)
        return ended

    def _open_own(self) -> list[Listener]:
        return open_listeners(
            [[endpoint] for endpoint in self._endpoints],
            family=self._family,
            tls=self._tls,
            reuse_port=True,
            backlog=self._order.backlog,
        )

    def _start(self, number: int, own: list[Listener]) -> None:
        listeners = [*own, *self._shared]
        descriptors = [listener.socket.fileno() for listener in listeners]
        try:
            process = subprocess.Popen(
                fresh_interpreter("echowire.verbs.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=descriptors,
                text=True,
            )
        finally:
            # The worker's copies are the only ones: when it dies, the kernel closes them and whoever waits on them
            # is told so, instead of hanging on a socket that nobody serves (FAILURES row 43).
            close_all(own)
        order: dict[str, Any] = {**asdict(self._order), "listeners": []}
        for listener, descriptor in zip(listeners, descriptors, strict=True):
            at = {"descriptor": descriptor, "endpoint": listener.endpoint.url, "wildcard": listener.wildcard}
            order["listeners"].append(at)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died at birth; the thread finds out
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        name = f"echowire worker {number}"
        thread = threading.Thread(target=self._listen, args=(number,), name=name, daemon=True)
        stops = threading.Thread(target=self._watch_for_stops, args=(number,), name=f"{name} stops", daemon=True)
        with self._lock:
            self._workers[number] = _Worker(number, process, time.monotonic(), thread, stops)
        stops.start()
        thread.start()

    def _listen(self, number: int) -> None:
        """Pass on a worker's events until it ends; replace it if it was not to end."""
        worker = self._workers[number]
        process = worker.process
        assert process.stdin is not None and process.stdout is not None
        for line in process.stdout:
            with suppress(ValueError, KeyError, TypeError):  # a handler printed: it is not an event
                event = _event_of(json.loads(line))
                with self._lock:
                    if isinstance(event, Stopped):
                        self._total.add(event.summary)
                    self._report(replace(event, worker=number))
        worker.stops.join()
        status = process.wait()
        process.stdout.close()
        with suppress(OSError):
            process.stdin.close()
        with self._lock:
            self._replace(worker, status)

    def _watch_for_stops(self, number: int) -> None:
        """End a worker that is stopped, and return when it has ended. Its end is left for `_listen` to see."""
        worker = self._workers[number]
        process = worker.process
        while _wait_until_stopped(process.pid):
            self._stopping.wait(STOPPED_S)
            if _has_continued(process.pid):
                continue
            worker.was_stopped = True
            if not self._stopping.is_set():
                with self._lock:
                    self._tell(f"worker {number} is stopped by a signal and serves nobody; it is ended")
            process.kill()

    def _replace(self, worker: _Worker, status: int) -> None:
        del self._workers[worker.number]
        if not self._stopping.is_set():
            how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
            message = f"worker {worker.number} {how}; its connections are lost and its counts with them"
            young = time.monotonic() - worker.since < AT_BIRTH_S and not worker.was_stopped
            self._tell(f"{message}; {'it is not replaced, it had just begun' if young else 'another takes its place'}")
            if not young:
                try:
                    self._start(worker.number, self._open_own())
                except (EchowireError, OSError) as error:
                    self._tell(f"worker {worker.number} could not be replaced: {error}")
        if not self._workers:
            if not self._stopping.is_set():
                self._died = "every worker has died; see the notices before this"
            close_all(self._shared)
            self._report(Stopped(time_ns=time.time_ns(), summary=self._total))
            self._ended.set()

    def _tell(self, message: str) -> None:
        self._report(Notice(time_ns=time.time_ns(), message=message))


def _event_of(document: dict[str, Any]) -> Event:
    """A worker's event; what its handler raised comes with the traceback as text."""
    text = document.pop("traceback", None)
    event = event_from_document(document)
    if isinstance(event, Closed) and text is not None:
        error = HandlerError(event.reason)
        error.add_note(text)
        event = replace(event, error=error)
    return event


def _wait_until_stopped(pid: int) -> bool:
    """Wait until a child is stopped, or has ended: then False, and it is not yet reaped."""
    if not hasattr(os, "waitid"):
        return False
    try:
        state = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        if state is None or state.si_code != os.CLD_STOPPED:
            return False
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG)  # or it would be told again at once
        return True
    except ChildProcessError:
        return False


def _has_continued(pid: int) -> bool:
    """Whether a child that was stopped goes on, or has ended."""
    try:
        return os.waitid(os.P_PID, pid, os.WCONTINUED | os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def _is_own(listener: Listener) -> bool:
    return not listener.endpoint.is_unix and not listener.inherited
