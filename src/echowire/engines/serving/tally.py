"""What all engines count and report alike: connections admitted and closed, datagrams, refusals."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from echowire.engines.serving.base import Job, Report
from echowire.kernel.connections.listen import Listener
from echowire.model import Accepted, Closed, Notice, Refused, Stopped, Summary


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
        self.summary = Summary()
        self.active = 0
        self._limit = job.limits.connections
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

    def release(self, ticket: Ticket, received: int, sent: int, reason: str, *, ok: bool = True) -> None:
        """Count a connection out, with what it carried."""
        seconds = time.monotonic() - ticket.since
        with self._lock:
            self.active -= 1
            summary = self.summary
            summary.received_bytes += received
            summary.sent_bytes += sent
            summary.failed += not ok
            summary.longest_s = max(summary.longest_s, seconds)
        self._report(
            Closed(
                time_ns=time.time_ns(),
                connection=ticket.number,
                endpoint=ticket.listener.endpoint,
                peer=ticket.peer,
                received_bytes=received,
                sent_bytes=sent,
                seconds=seconds,
                reason=reason,
                ok=ok,
            )
        )

    def datagrams(self, received: int, received_bytes: int, sent: int, sent_bytes: int) -> None:
        """Count a batch of datagrams."""
        with self._lock:
            summary = self.summary
            summary.datagrams_received += received
            summary.received_bytes += received_bytes
            summary.datagrams_sent += sent
            summary.sent_bytes += sent_bytes

    def refuse(self, listener: Listener, peer: str, reason: str, *, count: int = 1, quietly: bool = False) -> None:
        """Count `count` refusals; `quietly` where this peer's were reported before."""
        with self._lock:
            self.summary.refused += count
        if not quietly:
            self._report(Refused(time_ns=time.time_ns(), endpoint=listener.endpoint, peer=peer, reason=reason))

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
