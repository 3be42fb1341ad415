"""The lean loops: connections with one small message of a fixed size in flight each, and nothing else.

This is the measurement that is made most, and where the client can be the limit: a C server echoes a message in
two to three microseconds. So an echo here is one `recv`, one comparison, one reading of the clock, one `send` and
an append to an array; what happens seldom (a short read, a wrong byte, an end) is found by that one comparison
having failed, and is dealt with elsewhere. Nothing is changed in epoll after the start.

One connection alone needs no epoll: it waits in `recv` itself, one system call less on the way to each echo.
SO_RCVTIMEO ends the waiting when the slice ends, without the `poll` that Python's own timeouts put before `recv`.

Messages are pieces of the probe cycle, and no two in a row are the same: an echo that comes twice, or late, is a
wrong one.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence

from echowire.core.load.payloads import PERIOD, cycle
from echowire.engines.load.plan import Generator, Lane, Plan, Records, closed_by_peer
from echowire.errors import EchowireError, NoReplyError
from echowire.kernel.boundary import operation_error
from echowire.kernel.connections.poller import READ, new_poller

LARGEST = 16 * 1024
"""Messages up to this size: Linux's first send buffer (net.ipv4.tcp_wmem) takes them whole when it is empty."""

VARIANTS = 64
"""Different messages, in turn. A power of two, so that the turn is one `and`."""

RECEIVE_WAIT_S = 0.05
"""How long `recv` blocks at most before the slice's end is looked at."""

SEND_STALL_S = 5.0
"""How long the rest of a message that the socket took in part may wait to be taken."""


class LaneState:
    """What a lane is doing: it `waits` for the echo of message number `variant`, sent at `since`.

    `expected` is that message, and None where a read has to be looked at more closely: because none is in flight,
    or because `part` of it has come already.
    """

    __slots__ = ("expected", "lane", "part", "receive", "send", "since", "variant", "waits")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.receive = lane.channel.socket.recv
        self.send = lane.channel.socket.send
        self.since = 0.0
        self.variant = lane.number % VARIANTS
        self.expected: bytes | None = None
        self.waits = False
        self.part = b""


class ClosedLoop(Generator):
    """What the two loops share: the messages, and whatever is not simply the right echo."""

    def __init__(self, plan: Plan, lanes: Sequence[Lane], records: Records) -> None:
        super().__init__(plan, lanes, records)
        self.size = plan.most_size
        starts = [number * self.size % PERIOD for number in range(VARIANTS)]
        self.messages = [cycle()[start : start + self.size] for start in starts]
        self.states = {lane.fd: LaneState(lane) for lane in self.lanes}
        self.left = plan.count
        """Messages still to be sent; None is no end of them."""

    @property
    def in_flight(self) -> int:
        """Lanes that wait for their echo."""
        return sum(state.waits for state in self.states.values())

    @property
    def is_over(self) -> bool:
        """Every lane failed, or all is sent and answered."""
        return not self.live_lanes or ((self.left == 0 or not self.issuing) and not self.in_flight)

    @property
    def is_endless(self) -> bool:
        """Whether each echo is followed by another message, without looking."""
        return self.left is None and self.issuing

    def begin(self, now: float) -> None:
        """One message on each lane."""
        for state in self.states.values():
            self.send_next(state)

    def account(self, echoes: int, sent: int) -> None:
        """Count what the lean part of a slice did."""
        outcomes = self.records.outcomes
        outcomes.echoed += echoes
        outcomes.received_bytes += echoes * self.size
        outcomes.sent += sent
        outcomes.sent_bytes += sent * self.size

    def send_next(self, state: LaneState) -> None:
        """Send the lane's next message, if there is one to send."""
        state.waits, state.expected = False, None
        if not self.issuing or self.left == 0 or state.lane.failure is not None:
            return
        if self.left is not None:
            self.left -= 1
        self.account(0, 1)
        state.variant = (state.variant + 1) % VARIANTS
        state.waits, state.expected = True, self.messages[state.variant]
        state.since = time.perf_counter()
        self.send_rest(state, 0)

    def send_rest(self, state: LaneState, sent: int) -> None:
        """Send what is left of the message. Where it has to wait, the other lanes wait with it: that is seldom."""
        endpoint = state.lane.channel.endpoint
        rest = memoryview(self.messages[state.variant])[sent:]
        while rest:
            try:
                rest = rest[state.send(rest) :]
            except BlockingIOError:
                if not _wait_to_send(state.lane.fd):
                    said = f"send {endpoint}: the peer has read nothing for {SEND_STALL_S:g} s (our timer)"
                    self.fail(state, NoReplyError(said))
                    return
            except OSError as error:
                self.fail(state, operation_error("send", endpoint, error))
                return

    def take_odd(self, state: LaneState, data: bytes) -> None:
        """Deal with a read that is not just the echo: a part, the rest, wrong bytes, the end."""
        outcomes = self.records.outcomes
        if not data:
            self.fail(state, closed_by_peer(state.lane, len(state.part), self.size))
            return
        outcomes.received_bytes += len(data)
        if not state.waits:
            outcomes.unexpected += 1
            return
        echo = state.part + data
        if len(echo) < self.size:
            state.part, state.expected = echo, None
            return
        outcomes.unexpected += len(echo) > self.size
        state.part = b""
        if echo[: self.size] == self.messages[state.variant]:
            self.records.latency.append(time.perf_counter() - state.since)
            outcomes.echoed += 1
        else:
            outcomes.corrupted += 1
        self.send_next(state)

    def fail(self, state: LaneState, error: EchowireError) -> None:
        """The lane is lost, and its message will not be answered."""
        if state.lane.failure is None:
            state.lane.failure = error
            self.records.outcomes.lost += state.waits
            state.waits, state.expected = False, None
            self.forget(state)

    def forget(self, state: LaneState) -> None:
        """The lane has failed: wait for it no more."""

    def finish(self) -> None:
        """Count what is still in flight: a part that is not as it was sent will never be an echo, whatever follows."""
        super().finish()
        outcomes = self.records.outcomes
        for state in self.states.values():
            if not (state.waits and state.part):
                continue
            if self.messages[state.variant].startswith(state.part):
                outcomes.partial += 1
            else:
                outcomes.unanswered -= 1
                outcomes.corrupted += 1


class OneLane(ClosedLoop):
    """One connection, which blocks."""

    def begin(self, now: float) -> None:
        """Make the socket block, and send the first message."""
        sock = self.lanes[0].channel.socket
        sock.setblocking(True)
        for option, seconds in ((socket.SO_RCVTIMEO, RECEIVE_WAIT_S), (socket.SO_SNDTIMEO, SEND_STALL_S)):
            micros = divmod(round(seconds * 1e6), 1_000_000)
            sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", *micros))
        super().begin(now)

    def run(self, until: float) -> None:
        """Echo until `until`."""
        (state,) = self.states.values()
        messages, size, receive, send = self.messages, self.size, state.receive, state.send
        clock, record, is_endless = time.perf_counter, self.records.latency.append, self.is_endless
        echoes = sent = 0
        now = clock()
        try:
            while now < until and not (self.is_over if not is_endless else state.lane.failure):
                try:
                    data = receive(size)
                    while data == state.expected:
                        now = clock()
                        record(now - state.since)
                        echoes += 1
                        if now >= until or not is_endless:
                            self.send_next(state)
                            break
                        state.since = now
                        state.variant = variant = (state.variant + 1) & 63
                        state.expected = message = messages[variant]
                        sent += 1
                        if (taken := send(message)) != size:
                            self.send_rest(state, taken)
                        data = receive(size)
                    else:
                        self.take_odd(state, data)
                except BlockingIOError:
                    pass
                now = clock()
        except OSError as error:
            self.fail(state, operation_error("recv", state.lane.channel.endpoint, error))
        self.account(echoes, sent)

    def close(self) -> None:
        """Nothing: it has only the lane."""


class ManyLanes(ClosedLoop):
    """Any number of connections, in one epoll."""

    def begin(self, now: float) -> None:
        """Watch all, and send the first messages."""
        self._poller, self._watched = new_poller(), len(self.states)
        for fd in self.states:
            self._poller.register(fd, READ)
        super().begin(now)

    def run(self, until: float) -> None:
        """Echo until `until`."""
        states, messages, size = self.states, self.messages, self.size
        poll, clock, record = self._poller.poll, time.perf_counter, self.records.latency.append
        is_endless = self.is_endless
        echoes = sent = 0
        now = clock()
        while now < until and not (self.is_over if not is_endless else not self._watched):
            for fd, _mask in poll(until - now):
                state = states[fd]
                try:
                    data = state.receive(size)
                except BlockingIOError:
                    continue
                except OSError as error:
                    self.fail(state, operation_error("recv", state.lane.channel.endpoint, error))
                    continue
                if data != state.expected:
                    self.take_odd(state, data)
                    continue
                now = clock()
                record(now - state.since)
                echoes += 1
                if not is_endless:
                    self.send_next(state)
                    continue
                state.since = now
                state.variant = variant = (state.variant + 1) & 63
                state.expected = message = messages[variant]
                sent += 1
                try:
                    taken = state.send(message)
                except OSError:
                    taken = 0
                if taken != size:
                    self.send_rest(state, taken)
            now = clock()
        self.account(echoes, sent)

    def forget(self, state: LaneState) -> None:
        """Stop to watch it."""
        self._poller.unregister(state.lane.fd)
        self._watched -= 1

    def close(self) -> None:
        """Release the poller."""
        self._poller.close()


def _wait_to_send(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(SEND_STALL_S * 1000))
