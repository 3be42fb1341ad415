"""Datagrams from a server: small ones ask, and what answers is measured. RFC 864's chargen, and its like.

Nobody sends datagrams unasked, so there is no stream of them to receive: a datagram is answered by one of 0 to 512
characters. No answer says what it answers, or that it came before. So how many were asked for and how many came is
known, and from that the loss; which one was lost, came twice or out of order is not, and is not made up.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence

from echowire.core.load.payloads import make_probe
from echowire.core.load.source_pattern import WINDOW, is_of_pattern
from echowire.engines.load.datagrams import RECEIVES_A_ROUND, Datagrams, NumberedLane
from echowire.engines.load.plan import Plan, Records
from echowire.errors import EchowireError, ProtocolError
from echowire.kernel.connections.channel import Channel

OUTSTANDING = 64
"""Asks of a lane that may wait for their answers: 64 of 512 bytes fit into a receive buffer of Linux's default size
(net.core.rmem_default) three times, with what the kernel counts for each."""


class AskLane(NumberedLane):
    """A datagram socket that asks."""

    def __init__(self, number: int, channel: Channel, run: int) -> None:
        super().__init__(number, channel)
        self.run = run
        self.asked: deque[float] = deque()
        """When each ask that waits was sent; an answer is taken to be the oldest's."""
        self.compares = False
        """Whether an answer has been a piece of the pattern, so that one that is none is wrong."""


class Asks(Datagrams[AskLane]):
    """Asks on lanes: some outstanding on each, or at a rate."""

    def __init__(self, plan: Plan, lanes: Sequence[AskLane], records: Records) -> None:
        super().__init__(plan, lanes, records)
        self._answers = 0

    @property
    def in_flight(self) -> int:
        """Asks that have neither been answered nor given up."""
        return sum(len(lane.asked) for lane in self.live_lanes)

    def restart(self) -> None:
        """Begin to count."""
        super().restart()
        self._answers = 0

    def run(self, until: float) -> None:
        """Ask and receive by turns until `until`."""
        while (now := time.perf_counter()) < until and not self.is_over:
            for lane in self.live_lanes:
                try:
                    self._expire(lane, now)
                    self._ask(lane, now)
                    self._receive(lane)
                except EchowireError as error:
                    self.fail(lane, error)
            if self.in_flight or self.rate is not None:
                # A tick of the rate, or of giving up; an answer ends the wait.
                self.poll.poll(1)

    def finish(self) -> None:
        """What has not been answered by now is lost; of more answers than asks some came twice."""
        outcomes = self.records.outcomes
        outcomes.lost = max(0, outcomes.sent - self._answers)
        outcomes.unexpected = max(0, self._answers - outcomes.sent)

    def _expire(self, lane: AskLane, now: float) -> None:
        while lane.asked and now - lane.asked[0] >= self.plan.wait_s:
            lane.asked.popleft()

    def _ask(self, lane: AskLane, now: float) -> None:
        waiting_room = OUTSTANDING - len(lane.asked) if self.rate is None else sys.maxsize
        size = self.plan.most_size
        for _ in range(self.allowed(lane, now, waiting_room)):
            if lane.channel.send(make_probe(lane.run, lane.next, size)) is None:
                return
            lane.asked.append(now)
            self.count_sent(lane, 1, size)

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
