"""Datagrams from a server: small ones ask, and what answers is measured. RFC 864's chargen, and its like.

Nobody sends datagrams unasked, so there is no stream of them to receive: a datagram is answered by one of 0 to 512
characters. No answer says what it answers, or that it came before. So how many were asked for and how many came is
known, and from that the loss; which one was lost, came twice or out of order is not, and is not made up.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Sequence

from echowire.engines.load.plan import Generator, Lane, Plan, Records
from echowire.errors import EchowireError, ProtocolError
from echowire.kernel.channel import Channel
from echowire.wire.probe import make_probe
from echowire.wire.source_pattern import WINDOW, is_of_pattern

OUTSTANDING = 64
"""Asks of a lane that may wait for their answers: 64 of 512 bytes fit into a receive buffer of Linux's default size
(net.core.rmem_default) three times, with what the kernel counts for each."""

RECEIVES_A_ROUND = 256
"""Answers taken from a lane before the others have their turn."""


class AskLane(Lane):
    """A datagram socket that asks."""

    def __init__(self, number: int, channel: Channel, run: int) -> None:
        super().__init__(number, channel)
        self.run, self.next = run, 0
        self.asked: deque[float] = deque()
        """When each ask that waits was sent; an answer is taken to be the oldest's."""
        self.compares = False
        """Whether an answer has been a piece of the pattern, so that one that is none is wrong."""


class Asks(Generator):
    """Asks on lanes: some outstanding on each, or at a rate."""

    lanes: list[AskLane]  # type: ignore[assignment]

    def __init__(self, plan: Plan, lanes: Sequence[AskLane], records: Records) -> None:
        super().__init__(plan, lanes, records)
        self._left = plan.count
        self._rate = plan.rate and plan.rate / len(lanes)
        self._began = 0.0
        self._answers = 0
        self._poll = select.poll()
        for lane in lanes:
            self._poll.register(lane.fd, select.POLLIN)

    @property
    def in_flight(self) -> int:
        """Asks that have neither been answered nor given up."""
        return sum(len(lane.asked) for lane in self._live)

    @property
    def is_over(self) -> bool:
        """Every lane failed, or all is asked and answered or given up."""
        return not self._live or ((self._left == 0 or not self.issuing) and not self.in_flight)

    def begin(self, now: float) -> None:
        """Note when it began, for the rate."""
        self._began = now

    def restart(self) -> None:
        """Begin to count."""
        super().restart()
        self._answers = 0

    def run(self, until: float) -> None:
        """Ask and receive by turns until `until`."""
        while (now := time.perf_counter()) < until and not self.is_over:
            for lane in self._live:
                try:
                    self._expire(lane, now)
                    self._ask(lane, now)
                    self._receive(lane)
                except EchowireError as error:
                    lane.failure = error
                    self._poll.unregister(lane.fd)
            if self.in_flight or self._rate is not None:
                # A tick of the rate, or of giving up; an answer ends the wait.
                self._poll.poll(1)

    def finish(self) -> None:
        """What has not been answered by now is lost; of more answers than asks some came twice."""
        outcomes = self.records.outcomes
        outcomes.lost = max(0, outcomes.sent - self._answers)
        outcomes.unexpected = max(0, self._answers - outcomes.sent)

    def close(self) -> None:
        """Nothing: it has only the lanes."""

    @property
    def _live(self) -> list[AskLane]:
        return [lane for lane in self.lanes if lane.failure is None]

    def _expire(self, lane: AskLane, now: float) -> None:
        while lane.asked and now - lane.asked[0] >= self.plan.wait_s:
            lane.asked.popleft()

    def _ask(self, lane: AskLane, now: float) -> None:
        due = OUTSTANDING - len(lane.asked)
        if self._rate is not None:
            due = int((now - self._began) * self._rate) - lane.next
        if self._left is not None:
            due = min(due, self._left)
        outcomes, size = self.records.outcomes, self.plan.most_size
        for _ in range(due if self.issuing else 0):
            taken = lane.channel.send(make_probe(lane.run, lane.next, size))
            if taken is None:
                return
            lane.next += 1
            lane.asked.append(now)
            outcomes.sent += 1
            outcomes.sent_bytes += taken
            if self._left is not None:
                self._left -= 1

    def _receive(self, lane: AskLane) -> None:
        outcomes = self.records.outcomes
        for _ in range(RECEIVES_A_ROUND):
            data = lane.channel.receive(0)
            if data is None:
                return
            if len(data) == self.plan.most_size and data.startswith(lane.run.to_bytes(4, "big")):
                raise ProtocolError(f"recv {lane.channel.endpoint}: what was sent came back: an echo, and no source")
            self._answers += 1
            outcomes.received_bytes += len(data)
            if lane.asked:
                lane.asked.popleft()
            if is_of_pattern(data):
                outcomes.compared_bytes += len(data)
                lane.compares |= len(data) >= WINDOW
            elif lane.compares:
                outcomes.compared_bytes += len(data)
                outcomes.corrupted += 1
