"""What floods and asks share: datagrams sent on lanes as fast as may be, or at a rate, until a count is through.

What a lane sends is numbered from 0, and so its rate needs no bucket: at any time as many are due as the rate has
brought since the beginning, less those that were sent.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Generic, TypeVar

from echowire.engines.load.plan import Generator, Lane, Plan, Records
from echowire.errors import EchowireError

RECEIVES_A_ROUND = 256
"""Datagrams taken from a lane before it sends again, and the others have their turn: several times as many as a burst,
so that what comes never waits here until its socket's buffer is full. Beyond that the load would be measuring its own
losses."""


class NumberedLane(Lane):
    """A datagram socket of which each datagram has a number."""

    next = 0
    """Of the next that is sent."""


L = TypeVar("L", bound=NumberedLane)


class Datagrams(Generator, Generic[L]):
    """Datagrams on lanes."""

    lanes: list[L]  # type: ignore[assignment]

    def __init__(self, plan: Plan, lanes: Sequence[L], records: Records) -> None:
        super().__init__(plan, lanes, records)
        self.left = plan.count
        """Datagrams still to be sent; None is no end of them."""
        self.rate = plan.rate and plan.rate / len(lanes)
        """Datagrams a second of each lane; None is as fast as may be."""
        if plan.bits_per_s is not None:
            self.rate = plan.bits_per_s / 8 / plan.most_size
        self.began = 0.0
        self.poll = select.poll()
        for lane in lanes:
            self.poll.register(lane.fd, select.POLLIN)

    @property
    def live_lanes(self) -> list[L]:  # type: ignore[override]
        """Those that have not failed."""
        return [lane for lane in self.lanes if lane.failure is None]

    @property
    def is_over(self) -> bool:
        """Every lane failed, or all is sent and nothing is waited for."""
        return not self.live_lanes or ((self.left == 0 or not self.issuing) and not self.in_flight)

    def begin(self, now: float) -> None:
        """Note when it began, for the rate."""
        self.began = now

    def allowed(self, lane: L, now: float, most: int) -> int:
        """How many datagrams of `most` a lane may send at `now`; below 1 is none."""
        if not self.issuing:
            return 0
        if self.left is not None:
            most = min(most, self.left)
        if self.rate is not None:
            most = min(most, int((now - self.began) * self.rate) - lane.next)
        return most

    def count_sent(self, lane: L, datagrams: int, size: int) -> None:
        """Count datagrams of `size` bytes each as sent."""
        outcomes = self.records.outcomes
        lane.next += datagrams
        outcomes.sent += datagrams
        outcomes.sent_bytes += datagrams * size
        if self.left is not None:
            self.left -= datagrams

    def fail(self, lane: L, error: EchowireError) -> None:
        """The lane is lost."""
        lane.failure = error
        self.poll.unregister(lane.fd)

    def close(self) -> None:
        """Nothing: it has only the lanes."""
