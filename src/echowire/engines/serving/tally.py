"""What all engines count and report alike: connections admitted and closed, datagrams, refusals."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from echowire.engines.serving.base import Job, Report
from echowire.errors import HandlerError
from echowire.kernel.connections.listen import Listener
from echowire.model import Accepted, Closed, Direction, Notice, Passed, Refused, Stopped, Summary


@dataclass(slots=True, eq=False)
class Ticket:
    """One admitted connection: its number, where it came in, who it is, and when."""

    number: int
    listener: Listener
    peer: str
    since: float


class Tally:
    """The counts of one engine, and the only one who makes its events. Safe to call from any thread."""

    def __init__(self, job: Job, report: Report) -> None:
        self._counts_bytes = job.handler is None
        self.summary = Summary() if self._counts_bytes else Summary(received_bytes=None, sent_bytes=None)
        self.active = 0
        self._limit = job.limits.connections
        self.shows = job.show
        """Whether to be told what passes."""
        self._report = report
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def admit(self, listener: Listener, peer: str) -> Ticket | None:
        """Count a connection in; None when the limit refuses it, which is counted and reported too."""
        with self._lock:
            refused = self._limit is not None and self.active >= self._limit
            if not refused:
                self.active += 1
                self.summary.connections += 1
                number = self.summary.connections
        if refused:
            self.refuse(listener, peer, f"the limit of {self._limit} connections is reached")
            return None
        self._report(Accepted(time_ns=time.time_ns(), connection=number, endpoint=listener.endpoint, peer=peer))
        return Ticket(number, listener, peer, time.monotonic())

    def release(
        self,
        ticket: Ticket,
        received: int,
        sent: int,
        reason: str,
        *,
        ok: bool = True,
        error: HandlerError | None = None,
    ) -> None:
        """Count a connection out, with what it carried, which is not known where a handler served it."""
        seconds = time.monotonic() - ticket.since
        with self._lock:
            self.active -= 1
            summary = self.summary
            self._add_bytes(received, sent)
            summary.failed += not ok
            summary.longest_s = max(summary.longest_s, seconds)
        self._report(
            Closed(
                time_ns=time.time_ns(),
                connection=ticket.number,
                endpoint=ticket.listener.endpoint,
                peer=ticket.peer,
                received_bytes=received if self._counts_bytes else None,
                sent_bytes=sent if self._counts_bytes else None,
                seconds=seconds,
                reason=reason,
                ok=ok,
                error=error,
            )
        )

    def _add_bytes(self, received: int, sent: int) -> None:
        summary = self.summary
        if summary.received_bytes is not None and summary.sent_bytes is not None:
            summary.received_bytes += received
            summary.sent_bytes += sent

    def datagrams(self, received: int, received_bytes: int, sent: int, sent_bytes: int) -> None:
        """Count a batch of datagrams."""
        with self._lock:
            summary = self.summary
            summary.datagrams_received += received
            summary.datagrams_sent += sent
            self._add_bytes(received_bytes, sent_bytes)

    def refuse(self, listener: Listener, peer: str, reason: str, *, count: int = 1, quietly: bool = False) -> None:
        """Count `count` refusals; `quietly` where this peer's were reported before."""
        with self._lock:
            self.summary.refused += count
        if not quietly:
            self._report(Refused(time_ns=time.time_ns(), endpoint=listener.endpoint, peer=peer, reason=reason))

    def passed(self, ticket: Ticket, direction: Direction, data: bytes | memoryview) -> None:
        """Report what a connection carried, where that `shows`."""
        if self.shows and data:
            self._show(ticket.number, ticket.listener, ticket.peer, direction, data)

    def datagrams_passed(
        self, listener: Listener, peer: str, direction: Direction, data: bytes | memoryview, segment: int
    ) -> None:
        """Report datagrams of `segment` bytes, of which the last may be shorter, where that `shows`."""
        for start in range(0, len(data), segment) if len(data) > segment else (0,):
            self._show(None, listener, peer, direction, data[start : start + segment])

    def _show(
        self, connection: int | None, listener: Listener, peer: str, direction: Direction, data: bytes | memoryview
    ) -> None:
        self._report(
            Passed(
                time_ns=time.time_ns(),
                connection=connection,
                endpoint=listener.endpoint,
                peer=peer,
                direction=direction,
                data=bytes(data),
            )
        )

    def notice_once(self, message: str) -> None:
        """Tell the operator `message`, the first time only."""
        with self._lock:
            if message in self._told:
                return
            self._told.add(message)
        self._report(Notice(time_ns=time.time_ns(), message=message))

    def stopped(self) -> None:
        """Report the end, with the summary."""
        self._report(Stopped(time_ns=time.time_ns(), summary=self.summary))
