"""The one loop over all targets: send what is due, take in what has come, give up what has waited long enough."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeAlias

from echowire.engines.probing.flight import Flight
from echowire.engines.probing.prober import Handlers, Prober
from echowire.engines.probing.schedule import Schedule
from echowire.kernel.connections.poller import READ, Poller, new_poller
from echowire.model import Family

Ended: TypeAlias = Literal["count", "deadline", "stopped"]

BURST = 32
"""Probes sent, when the loop has fallen behind, before it looks at what has come."""

SELECT_MAX = 1024
"""Descriptors that select(2) can watch; FD_SETSIZE."""

FEW = 2
"""Descriptors that select(2) watches at no more cost than an epoll would be."""

CHECK_S = 0.2
"""How long the loop waits at most: it then sees that it was stopped, or that a deadline has passed."""


class Run:
    """One run of probes. `run` blocks until the schedule and all waiting have ended, or `stop`."""

    def __init__(
        self,
        flight: Flight,
        probers: Mapping[Family, Prober],
        schedule: Schedule,
        *,
        deadline_ns: int | None = None,
        on_idle: Callable[[], object] | None = None,
    ) -> None:
        self._flight = flight
        self._probers = probers
        self._schedule = schedule
        self._deadline_ns = deadline_ns
        self._on_idle = on_idle
        self._stopped = False

    def stop(self) -> None:
        """End soon; from any thread or a signal handler."""
        self._stopped = True

    def run(self) -> Ended:
        """Probe; why it ended: `count`, `deadline` or `stopped`. Closes the probers."""
        poller = new_poller()
        handlers: Handlers = {}
        try:
            for prober in {id(prober): prober for prober in self._probers.values()}.values():
                prober.watch(poller, handlers)
            reads_only = all(prober.reads_only for prober in self._probers.values())
            return self._loop(_Waiting(poller, handlers if reads_only else None), handlers)
        finally:
            for prober in self._probers.values():
                prober.close()
            poller.close()

    def _loop(self, waiting: _Waiting, handlers: Handlers) -> Ended:
        schedule, flight = self._schedule, self._flight
        while True:
            now = time.monotonic_ns()
            if self._stopped:
                return "stopped"
            if self._deadline_ns is not None and now >= self._deadline_ns:
                return "deadline"
            for probe in flight.expire(now):
                self._probers[probe.target.family].expired(probe)
            due = self._send_due(now)
            if due is None and schedule.finished and not flight.in_flight:
                return "count"
            until = [at for at in (due, flight.next_expiry_ns(), self._deadline_ns) if at is not None]
            wait = (min(until) - time.monotonic_ns()) / 1e9 if until else CHECK_S
            for fd, mask in waiting.ready(min(max(wait, 0.0), CHECK_S)):
                handler = handlers.get(fd)
                if handler is not None:
                    handler(mask)
            if self._on_idle is not None:
                self._on_idle()

    def _send_due(self, now: int) -> int | None:
        """Send what is due; when the next one is."""
        schedule, flight = self._schedule, self._flight
        for _ in range(BURST):
            due = schedule.due_ns()
            if due is None or due > now:
                return due
            probe = schedule.take()
            flight.begin(probe)
            self._probers[probe.target.family].send(probe)
        return schedule.due_ns()


class _Waiting:
    """Waits to the microsecond, where epoll(7) would round up to the next millisecond.

    A few sockets are watched by select(2) itself; more, as TCP's, by an epoll, which is ready when one of them is.
    """

    def __init__(self, poller: Poller, readers: Collection[int] | None) -> None:
        self._readers = readers if readers and len(readers) <= FEW and max(readers) < SELECT_MAX else None
        self._poller = poller
        fileno = getattr(poller, "fileno", None)
        # A descriptor that select can watch: of an epoll, which is itself ready when what it watches is.
        self._fd = fileno() if fileno is not None and fileno() < SELECT_MAX else None

    def ready(self, seconds: float) -> list[tuple[int, int]]:
        """The descriptors that are ready within `seconds`, each with its mask."""
        if self._readers is not None:
            return [(fd, READ) for fd in select.select(self._readers, (), (), seconds)[0]]
        if self._fd is None:
            return self._poller.poll(seconds)
        if seconds and not select.select([self._fd], [], [], seconds)[0]:
            return []
        return self._poller.poll(0)
