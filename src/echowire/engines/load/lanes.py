"""Lanes for any message: of a range of sizes, several in flight, over any transport.

A stream lane knows at which offset each message ends; its echo is whole when that much has come back. A datagram
lane knows each datagram by its sequence number, and so what became of every one of them.
"""

from __future__ import annotations

import random
from collections import deque

from echowire.core.load.payloads import CHUNK_BYTES, PERIOD, State, count_damage, cycle, make_probe, read_probe
from echowire.engines.load.plan import Lane, Plan, Records, closed_by_peer
from echowire.errors import EchowireError, ProtocolError
from echowire.kernel.connections.channel import Channel

GIVEN_UP = 4096
"""Datagrams given up that are remembered, so that a late reply is told from a second one."""


class MessageLane(Lane):
    """A lane that messages begin on and echoes complete on. Neither call waits."""

    def __init__(self, number: int, channel: Channel, plan: Plan, records: Records) -> None:
        super().__init__(number, channel)
        self.plan, self.records = plan, records
        self.wants_write = False
        """Whether something waits for the socket to take it."""

    @property
    def in_flight(self) -> int:
        """Messages begun and neither completed nor given up."""
        raise NotImplementedError

    @property
    def part(self) -> bool | None:
        """Whether the part that has come of the oldest message in flight is right; None where there is no part."""
        return None

    def begin(self, size: int, due: float, now: float) -> None:
        """Begin a message of `size` bytes that was due at `due`."""
        raise NotImplementedError

    def receive(self, now: float) -> None:
        """Take what has come, and record what is complete."""
        raise NotImplementedError

    def send(self) -> None:
        """Send what waits."""
        raise NotImplementedError

    def expire(self, now: float) -> None:
        """Give up what has waited too long; of a stream nothing, for it comes or the connection fails."""

    def fail(self, error: EchowireError) -> None:
        """The lane is lost, and what was in flight on it."""
        if self.failure is None:
            self.failure = error
            self.records.outcomes.lost += self.in_flight
            self.forget()

    def forget(self) -> None:
        """Nothing is in flight any more."""
        raise NotImplementedError

    def complete(self, due: float, began: float, now: float) -> None:
        """Record an echo that came whole and right."""
        records = self.records
        records.outcomes.echoed += 1
        records.latency.append(now - due)
        if self.plan.rate is not None:
            records.uncorrected.append(now - began)


class StreamLane(MessageLane):
    """TCP, Unix or TLS: the probe cycle, and where in it each message ends."""

    def __init__(self, number: int, channel: Channel, plan: Plan, records: Records) -> None:
        super().__init__(number, channel, plan, records)
        self._cycle = cycle()
        self._view = memoryview(self._cycle)
        self._sent = self._to_send = self._received = 0
        self._ends: deque[tuple[int, float, float]] = deque()
        """Of each message in flight: the offset of its end, when it was due, when it began."""
        self._is_wrong = False
        self._done = 0
        """The offset at which the last message that is complete ended."""

    @property
    def in_flight(self) -> int:
        """Messages whose last byte has not come back."""
        return len(self._ends)

    @property
    def part(self) -> bool | None:
        """Whether the part that has come of the oldest message in flight is right; None where there is no part."""
        return not self._is_wrong if self._ends and self._received > self._done else None

    def begin(self, size: int, due: float, now: float) -> None:
        """Append a message to the stream."""
        self._to_send += size
        self._ends.append((self._to_send, due, now))
        self.records.outcomes.sent += 1
        if not self.wants_write:
            self.send()

    def send(self) -> None:
        """Send until the socket takes no more."""
        channel = self.channel
        try:
            channel.flush()
            while self._sent < self._to_send:
                start = self._sent % PERIOD
                taken = channel.send(self._view[start : start + min(self._to_send - self._sent, CHUNK_BYTES)])
                if taken is None:
                    break
                self._sent += taken
                self.records.outcomes.sent_bytes += taken
        except EchowireError as error:
            self.fail(error)
        self.wants_write = self.failure is None and (self._sent < self._to_send or channel.has_unsent)

    def receive(self, now: float) -> None:
        """Take a chunk, compare it, and complete the messages that end in it."""
        while self.failure is None:
            try:
                data = self.channel.receive(CHUNK_BYTES)
            except EchowireError as error:
                self.fail(error)
                return
            if data is None:
                return
            if not data:
                begun = self._ends[0][0] if self._ends else self._to_send
                self.fail(closed_by_peer(self, 0, begun - self._received))
                return
            self._take(data, now)
            if not self.channel.has_more:
                return

    def forget(self) -> None:
        """Nothing is in flight any more."""
        self._ends.clear()

    def _take(self, data: bytes, now: float) -> None:
        outcomes, ends, first = self.records.outcomes, self._ends, self._received
        outcomes.received_bytes += len(data)
        self._received += len(data)
        if self._received > self._sent:
            outcomes.unexpected += 1
            self.fail(ProtocolError(f"recv {self.channel.endpoint}: more bytes came back than were sent"))
            return
        is_right = self._cycle.startswith(data, first % PERIOD)
        while ends and ends[0][0] <= self._received:
            end, due, began = ends.popleft()
            self._done = end
            if not is_right:
                self._is_wrong |= not self._is_as_sent(data, first, end)
            if self._is_wrong:
                outcomes.corrupted += 1
                self._is_wrong = False
            else:
                self.complete(due, began, now)
            if not is_right:
                data, first = data[end - first :], end
        if not is_right and data:
            self._is_wrong |= not self._is_as_sent(data, first, self._received)

    def _is_as_sent(self, data: bytes, first: int, end: int) -> bool:
        return self._cycle.startswith(data[: end - first], first % PERIOD)


class DatagramLane(MessageLane):
    """UDP, or Unix datagrams: each says which one it is."""

    def __init__(self, number: int, channel: Channel, plan: Plan, records: Records, run: int) -> None:
        super().__init__(number, channel, plan, records)
        self._run = run
        self._next = self._next_expected = 0
        self._outstanding: dict[int, tuple[float, float]] = {}
        """When each datagram in flight was due, and began; oldest first."""
        self._given_up: dict[int, None] = {}
        self._waiting: deque[bytes] = deque()

    @property
    def in_flight(self) -> int:
        """Datagrams neither answered nor given up."""
        return len(self._outstanding)

    def begin(self, size: int, due: float, now: float) -> None:
        """Send the next datagram."""
        self._outstanding[self._next] = (due, now)
        self._waiting.append(make_probe(self._run, self._next, size))
        self._next += 1
        self.records.outcomes.sent += 1
        self.send()

    def send(self) -> None:
        """Send those that the socket had no room for."""
        waiting, outcomes = self._waiting, self.records.outcomes
        try:
            while waiting:
                if self.channel.send(waiting[0]) is None:
                    break
                outcomes.sent_bytes += len(waiting.popleft())
        except EchowireError as error:
            self.fail(error)
        self.wants_write = bool(waiting)

    def receive(self, now: float) -> None:
        """Take one datagram, and note what it answers. epoll tells again of a second."""
        try:
            data = self.channel.receive(0)
        except EchowireError as error:
            self.fail(error)
            return
        if data is None:
            return
        outcomes = self.records.outcomes
        outcomes.received_bytes += len(data)
        sequence, state = read_probe(self._run, data)
        if sequence is None:
            count_damage(outcomes, state)
            return
        begun = self._outstanding.pop(sequence, None)
        if begun is None:
            self._count_stray(sequence)
            return
        if sequence < self._next_expected:
            outcomes.reordered += 1
        self._next_expected = max(self._next_expected, sequence + 1)
        if state is not State.INTACT:
            count_damage(outcomes, state)
            return
        due, began = begun
        self.note_transit(now - began)
        self.complete(due, began, now)

    def expire(self, now: float) -> None:
        """Give up the datagrams that have waited for longer than a reply may take."""
        while self._outstanding:
            sequence, (_, began) = next(iter(self._outstanding.items()))
            if now - began < self.plan.wait_s:
                return
            del self._outstanding[sequence]
            self.records.outcomes.lost += 1
            self._given_up[sequence] = None
            if len(self._given_up) > GIVEN_UP:
                del self._given_up[next(iter(self._given_up))]

    def forget(self) -> None:
        """Nothing is in flight any more."""
        self._outstanding.clear()
        self._waiting.clear()

    def _count_stray(self, sequence: int) -> None:
        """A datagram that is ours and that nothing waits for: late, a second copy, or one that we never sent."""
        outcomes = self.records.outcomes
        if sequence in self._given_up:
            del self._given_up[sequence]
            outcomes.late += 1
        elif sequence < self._next:
            outcomes.duplicated += 1
        else:
            outcomes.unexpected += 1


def size_drawer(plan: Plan, draw: random.Random) -> tuple[int, ...]:
    """Sizes to take in turn: the one size, or as many drawn evenly from the range as make no pattern."""
    if plan.least_size == plan.most_size:
        return (plan.most_size,)
    return tuple(draw.randint(plan.least_size, plan.most_size) for _ in range(4096))
