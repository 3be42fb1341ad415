"""The general loop for messages and their echoes: closed or open, one in flight or many, any transport.

In an open loop a message is due at its time whether or not the ones before have been answered, and its latency is
counted from then. Otherwise a server that stops for a second delays a thousand messages and is charged with one
(Tene's "coordinated omission"). A message that was due while every connection was full is sent as soon as one is
free; that waiting is the server's, and so is in the latency and not in the sender's lateness.
"""

from __future__ import annotations

import random
import select
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count, cycle

from echowire.engines.load.lanes import MessageLane, size_drawer
from echowire.engines.load.plan import Generator, Plan, Records
from echowire.kernel.connections.poller import READ, WRITE, new_poller


def due_times(plan: Plan, start: float, draw: random.Random) -> Iterator[float]:
    """When each message is due: evenly, or as a Poisson process has it."""
    assert plan.rate is not None
    at = start + plan.rate_offset_s
    if not plan.poisson:
        yield from (at + number / plan.rate for number in count())
    while True:
        at += draw.expovariate(plan.rate)
        yield at


class MessageLoop(Generator):
    """Messages on lanes."""

    def __init__(self, plan: Plan, lanes: Sequence[MessageLane], records: Records) -> None:
        super().__init__(plan, lanes, records)
        self._by_fd = {lane.fd: lane for lane in lanes}
        self._masks = dict.fromkeys(self._by_fd, READ)
        self._poller = new_poller()
        draw = random.Random(plan.seed)
        self._draw = draw
        self._sizes = cycle(size_drawer(plan, draw))
        self._left = plan.count
        self._due: Iterator[float] | None = None
        self._next_due = 0.0
        self._free: deque[MessageLane] = deque(lanes)
        """Open loop: lanes that may take one more message, the longest free first."""
        self._is_free = dict.fromkeys(self._by_fd, True)
        self._freed_at = 0.0
        """When, after all lanes were full, one became free."""
        for fd in self._by_fd:
            self._poller.register(fd, READ)

    @property
    def in_flight(self) -> int:
        """Messages begun and neither completed nor given up."""
        return sum(lane.in_flight for lane in self._by_fd.values())

    @property
    def is_over(self) -> bool:
        """Every lane failed, or all is sent and answered."""
        return not self._by_fd or ((self._left == 0 or not self.issuing) and not self.in_flight)

    def begin(self, now: float) -> None:
        """Start the schedule, or fill the lanes."""
        if self.plan.rate is not None:
            self._due = due_times(self.plan, now, self._draw)
            self._next_due = next(self._due)
        self._fill_all()

    def run(self, until: float) -> None:
        """Work until `until`."""
        clock, by_fd, is_open = time.perf_counter, self._by_fd, self._due is not None
        for lane in list(by_fd.values()):
            lane.expire(clock())
            self._settle(lane)
        self._fill_all()
        while (now := clock()) < until and by_fd:
            for fd, mask in self._wait(until, now):
                lane = by_fd[fd]
                if mask & WRITE:
                    lane.send()
                if mask & ~WRITE:
                    lane.receive(clock())
                if not is_open:
                    self._fill(lane)
                self._settle(lane)
            if is_open:
                self._send_due()
            if (self._left == 0 or not self.issuing) and not self.in_flight:
                return

    def finish(self) -> None:
        """Count what is still in flight: a part that is not as it was sent will never be an echo, whatever follows."""
        super().finish()
        outcomes = self.records.outcomes
        for lane in self._by_fd.values():
            if lane.in_flight and lane.part is not None:
                outcomes.unanswered -= not lane.part
                outcomes.corrupted += not lane.part
                outcomes.partial += lane.part

    def close(self) -> None:
        """Release the poller."""
        self._poller.close()

    def _wait(self, until: float, now: float) -> list[tuple[int, int]]:
        if self._due is None or not self.issuing or not self._free or self._left == 0:
            return self._poller.poll(until - now)
        # epoll's timeout is whole milliseconds, and messages may be due every few microseconds. select's has no such
        # grain, and takes the epoll itself as its only descriptor.
        ready = self._poller.poll(0)
        left = min(until, self._next_due) - now
        if ready or left <= 0:
            return ready
        if not (hasattr(select, "epoll") and isinstance(self._poller, select.epoll)):
            return self._poller.poll(left)
        select.select([self._poller], [], [], left)
        return self._poller.poll(0)

    def _send_due(self) -> None:
        """An open loop: begin what is due, as long as a lane is free."""
        assert self._due is not None
        clock, late, pipeline = time.perf_counter, self.records.lateness.append, self.plan.pipeline
        while self._free and self.issuing and self._left != 0 and (now := clock()) >= self._next_due:
            lane = self._free.popleft()
            late(now - max(self._next_due, self._freed_at))
            self._begin(lane, self._next_due, now)
            self._next_due = next(self._due)
            if lane.in_flight < pipeline and lane.failure is None:
                self._free.append(lane)
            else:
                self._is_free[lane.fd] = False
            self._settle(lane)

    def _fill_all(self) -> None:
        if self._due is not None:
            self._send_due()
            return
        for lane in list(self._by_fd.values()):
            self._fill(lane)
            self._settle(lane)

    def _fill(self, lane: MessageLane) -> None:
        """A closed loop: as many messages as the lane may have in flight."""
        while lane.in_flight < self.plan.pipeline and self.issuing and self._left != 0 and lane.failure is None:
            now = time.perf_counter()
            self._begin(lane, now, now)

    def _begin(self, lane: MessageLane, due: float, now: float) -> None:
        if self._left is not None:
            self._left -= 1
        lane.begin(next(self._sizes), due, now)

    def _settle(self, lane: MessageLane) -> None:
        """After something happened on a lane: what to watch it for, whether it became free, whether it is lost."""
        fd = lane.fd
        if lane.failure is not None:
            if self._by_fd.pop(fd, None) is not None:
                self._poller.unregister(fd)
                self._free = deque(each for each in self._free if each is not lane)
            return
        mask = READ | WRITE if lane.wants_write else READ
        if mask != self._masks[fd]:
            self._masks[fd] = mask
            self._poller.modify(fd, mask)
        if not self._is_free[fd] and lane.in_flight < self.plan.pipeline:
            self._is_free[fd] = True
            if not self._free:
                self._freed_at = time.perf_counter()
            self._free.append(lane)
