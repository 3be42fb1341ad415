"""serve over several processes: each worker has its own sockets on the same port, and the kernel shares out.

A worker is `verbs/worker.py` in a fresh interpreter: nothing is forked, so threads and locks of a host program are
safe. It is handed its listening sockets as descriptors and its order as JSON on standard input, writes its events
as JSON lines, and ends when told to or when its standard input does: a parent that dies takes its workers along.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from echowire.errors import EchowireError
from echowire.kernel.connections.listen import Listener, close_all, open_listeners
from echowire.kernel.interpreter import fresh_interpreter
from echowire.model import Event, Family, Limits, Notice, Stopped, Summary, event_from_document

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
    stamp_key: str | None = None
    stamp_stateless: bool = False


@dataclass(slots=True)
class _Worker:
    number: int
    process: subprocess.Popen[str]
    since: float
    thread: threading.Thread


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
        self._stopping = False
        self._workers: dict[int, _Worker] = {}
        self._ended = threading.Event()
        self._died = ""
        # A socket that can be bound again each worker binds for itself. Unix sockets, and those handed to us, cannot:
        # all workers share them, and we hold them for those to come.
        self._shared = [listener for listener in listeners if not _is_own(listener)]
        self._endpoints = [listener.endpoint for listener in listeners if _is_own(listener)]
        own = [listener for listener in listeners if _is_own(listener)]
        try:
            for number in range(count):
                self._start(number, own if number == 0 else self._open_own())
        except BaseException:
            self.stop(0.0)
            raise

    def stop(self, drain_s: float) -> None:
        """Tell every worker to stop."""
        self._stopping = True
        for worker in list(self._workers.values()):
            with suppress(OSError, ValueError):  # it has ended already
                assert worker.process.stdin is not None
                worker.process.stdin.write(json.dumps({"stop": drain_s}) + "\n")
                worker.process.stdin.flush()

    def wait(self, timeout: float | None) -> bool:
        """Wait until every worker has ended."""
        ended = self._ended.wait(timeout)
        if ended and self._died:
            raise EchowireError(self._died)
        return ended

    def _open_own(self) -> list[Listener]:
        return open_listeners([[endpoint] for endpoint in self._endpoints], family=self._family, reuse_port=True)

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
        thread = threading.Thread(target=self._listen, args=(number,), name=f"echowire worker {number}")
        with self._lock:
            self._workers[number] = _Worker(number, process, time.monotonic(), thread)
        thread.start()

    def _listen(self, number: int) -> None:
        """Pass on a worker's events until it ends; replace it if it was not to end."""
        worker = self._workers[number]
        process = worker.process
        assert process.stdin is not None and process.stdout is not None
        for line in process.stdout:
            with suppress(ValueError, KeyError, TypeError):  # a handler printed: it is not an event
                event = event_from_document(json.loads(line))
                with self._lock:
                    if isinstance(event, Stopped):
                        self._total.add(event.summary)
                    self._report(replace(event, worker=number))
        status = process.wait()
        process.stdout.close()
        with suppress(OSError):
            process.stdin.close()
        with self._lock:
            self._replace(worker, status)

    def _replace(self, worker: _Worker, status: int) -> None:
        del self._workers[worker.number]
        if not self._stopping:
            how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
            message = f"worker {worker.number} {how}; its connections are lost and its counts with them"
            young = time.monotonic() - worker.since < AT_BIRTH_S
            self._tell(f"{message}; {'it is not replaced, it had just begun' if young else 'another takes its place'}")
            if not young:
                try:
                    self._start(worker.number, self._open_own())
                except (EchowireError, OSError) as error:
                    self._tell(f"worker {worker.number} could not be replaced: {error}")
        if not self._workers:
            if not self._stopping:
                self._died = "every worker has died; see the notices before this"
            close_all(self._shared)
            self._report(Stopped(time_ns=time.time_ns(), summary=self._total))
            self._ended.set()

    def _tell(self, message: str) -> None:
        self._report(Notice(time_ns=time.time_ns(), message=message))


def _is_own(listener: Listener) -> bool:
    return not listener.endpoint.is_unix and not listener.inherited
