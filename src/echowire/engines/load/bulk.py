"""Bytes as fast as they go: to a sink, from a source, or through an echo and compared.

A stream is sent from the probe cycle, a chunk a system call, and what an echo returns is compared with it at its
own offset. Datagrams go in bursts: UDP_SEGMENT hands the kernel up to 64 KiB of equal datagrams at once, UDP_GRO
takes as many, and each is still a datagram on the wire (udp(7), and linux/udp.h).
"""

from __future__ import annotations

import errno
import math
import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

from echowire.engines.load.pace import Bucket, kernel_rate
from echowire.engines.load.plan import Generator, Lane, Plan, Records, closed_by_peer
from echowire.errors import EchowireError, ProtocolError
from echowire.kernel.boundary import operation_error
from echowire.kernel.channel import Channel
from echowire.kernel.poller import READ, WRITE, new_poller
from echowire.kernel.socket_options import pace
from echowire.wire.probe import CHUNK_BYTES, PERIOD, Bursts, State, Window, count_damage, cycle, read_probe
from echowire.wire.source_pattern import PatternCheck

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104  # linux/udp.h

BURST_DATAGRAMS = 64
"""UDP_MAX_SEGMENTS of the kernels that have UDP_SEGMENT (linux/udp.h; 128 since 6.9)."""

BURST_BYTES = 65_000
"""A burst is one IP packet to the kernel until it is cut up: 65,535 less the largest headers."""

ROOM_BYTES = 65_536

RECEIVES_A_ROUND = 256
"""Datagrams taken before the next burst is sent: several times as many, so that what comes back never waits here
until its socket's buffer is full. Beyond that the load would be measuring its own losses."""


class BulkLane(Lane):
    """A stream with no messages in it."""

    def __init__(self, number: int, channel: Channel, plan: Plan) -> None:
        super().__init__(number, channel)
        self.sent = self.received = 0
        self.has_ended = False
        """Whether a sink has ended its own direction; it may well read on."""
        self.check = PatternCheck() if plan.direction == "receive" else None
        self.bucket = Bucket(plan.bits_per_s / 8) if plan.bits_per_s is not None else None
        self.paced_by: str | None = None
        """What keeps the rate: `kernel`, under a token bucket; `bucket` alone; or `reading` at that rate."""
        if self.bucket is not None:
            by_kernel = (
                plan.direction != "receive"
                and channel.endpoint.transport in ("tcp", "tls")
                and pace(channel.socket, kernel_rate(self.bucket, plan.most_size))
            )
            self.paced_by = "reading" if plan.direction == "receive" else "kernel" if by_kernel else "bucket"

    @property
    def rests(self) -> bool:
        """Whether the lane waits for its rate, as of the last `fill`."""
        return self.bucket is not None and self.bucket.is_low


class BulkStreams(Generator):
    """Streams, in one direction or both."""

    lanes: list[BulkLane]  # type: ignore[assignment]

    def __init__(self, plan: Plan, lanes: Sequence[BulkLane], records: Records) -> None:
        super().__init__(plan, lanes, records)
        self._sends = plan.direction in ("send", "both")
        self._receives = plan.direction in ("receive", "both")
        self._quota = None if plan.count is None else plan.count * plan.most_size
        """Bytes, of all lanes together."""
        self._chunk = min(plan.most_size, CHUNK_BYTES)
        self._cycle = cycle()
        self._view = memoryview(self._cycle)
        self._poller = new_poller()
        self._by_fd = {lane.fd: lane for lane in lanes}
        self._masks = dict.fromkeys(self._by_fd, 0)
        self._is_paced = plan.bits_per_s is not None

    @property
    def in_flight(self) -> int:
        """Nothing: bytes in flight are no messages."""
        return 0

    @property
    def is_idle(self) -> bool:
        """Whether every lane waits for its rate, and for no echo."""
        both = self.plan.direction == "both"
        return self._is_paced and all(
            lane.rests and not (both and lane.received < lane.sent) for lane in self._by_fd.values()
        )

    @property
    def is_over(self) -> bool:
        """Every lane failed, or the quota is through."""
        if not self._by_fd:
            return True
        if self._quota is None:
            return False
        return self._moved() >= self._quota

    def begin(self, now: float) -> None:
        """Watch every lane, and let time count for its rate."""
        for fd, lane in self._by_fd.items():
            if lane.bucket is not None:
                lane.bucket.fill(now)
            self._masks[fd] = self._wanted(lane)
            self._poller.register(fd, self._masks[fd])

    def run(self, until: float) -> None:
        """Work until `until`."""
        while (now := time.perf_counter()) < until and not self.is_over:
            wait_s = until - now
            if self._is_paced:
                wait_s = min(wait_s, self._wake_rested(now))
            for fd, mask in self._poller.poll(wait_s):
                if fd in self._by_fd:
                    self._work(fd, mask)

    def _wake_rested(self, now: float) -> float:
        """Work on the lanes that may go on at `now`; in how many seconds the next one may."""
        least = math.inf
        for fd, lane in list(self._by_fd.items()):
            if lane.bucket is None or not lane.bucket.is_low:
                continue
            if lane.bucket.fill(now) >= lane.bucket.piece:
                # Straight away: a socket that is ready, as most are, needs no change of what is watched for.
                self._work(fd, WRITE if self._sends else READ)
            least = min(least, lane.bucket.wait_s or math.inf)
        return least

    def _work(self, fd: int, mask: int) -> None:
        lane = self._by_fd[fd]
        try:
            if mask & WRITE:
                self._send(lane)
            if mask & ~WRITE:
                # An end is reported whatever is watched for: what had come before it is small, and read at once.
                self._receive(lane, at_once=bool(mask & ~(READ | WRITE)))
        except EchowireError as error:
            lane.failure = error
            self._poller.unregister(fd)
            del self._by_fd[fd]
            return
        if (wanted := self._wanted(lane)) != self._masks[fd]:
            self._masks[fd] = wanted
            self._poller.modify(fd, wanted)

    def close(self) -> None:
        """Release the poller."""
        self._poller.close()

    def _moved(self) -> int:
        return sum(lane.received if self._receives else lane.sent for lane in self.lanes)

    def _unsent(self) -> int:
        """Bytes of the quota that no lane has sent yet; a chunk where there is no quota."""
        if not self._sends or not self.issuing:
            return 0
        if self._quota is None:
            return self._chunk
        return max(0, self._quota - sum(lane.sent for lane in self.lanes))

    def _wanted(self, lane: BulkLane) -> int:
        # Read also where nothing is to come: the peer's end is seen there, and an echo where a sink was expected.
        read = 0 if lane.has_ended or (lane.rests and not self._sends) else READ
        wants_write = lane.channel.has_unsent or (self._unsent() and not lane.rests)
        return read | (WRITE if wants_write else 0)

    def _send(self, lane: BulkLane) -> None:
        lane.channel.flush()
        allowed = self._chunk if lane.bucket is None else _allowance(lane.bucket)
        while size := min(self._chunk, allowed, self._unsent()):
            start = lane.sent % PERIOD
            taken = lane.channel.send(self._view[start : start + size]) or 0
            lane.sent += taken
            self.records.outcomes.sent_bytes += taken
            if lane.bucket is not None:
                lane.bucket.take(taken)
            if taken < size:
                return
            allowed -= taken

    def _receive(self, lane: BulkLane, *, at_once: bool) -> None:
        bucket = None if self._sends else lane.bucket
        while size := CHUNK_BYTES if bucket is None or at_once else min(CHUNK_BYTES, _allowance(bucket)):
            data = lane.channel.receive(size)
            if data is None:
                return
            if not data and self.plan.direction == "send" and not at_once:
                lane.has_ended = True
                return
            if not data:
                raise self._closed(lane)
            if bucket is not None:
                bucket.take(len(data))
            self._note(lane, data)
            if not lane.channel.has_more:
                return

    def _closed(self, lane: BulkLane) -> EchowireError:
        if self.plan.direction == "both":
            return closed_by_peer(lane, 0, lane.sent - lane.received)
        moved = f"{lane.sent} bytes were sent" if self._sends else f"{lane.received} bytes had come"
        return ProtocolError(f"recv {lane.channel.endpoint}: the peer closed the connection after {moved}")

    def _note(self, lane: BulkLane, data: bytes) -> None:
        outcomes, first = self.records.outcomes, lane.received
        lane.received += len(data)
        outcomes.received_bytes += len(data)
        if lane.check is not None:
            before = lane.check.compared_bytes
            outcomes.corrupted += lane.check.feed(data)
            outcomes.compared_bytes += lane.check.compared_bytes - before
        if self.plan.direction != "both":
            return
        if lane.received > lane.sent:
            outcomes.unexpected += 1
            raise ProtocolError(f"recv {lane.channel.endpoint}: more bytes came back than were sent; this is no echo")
        if not self._cycle.startswith(data, first % PERIOD):
            outcomes.corrupted += 1
            raise ProtocolError(
                f"recv {lane.channel.endpoint}: a wrong byte came back, from offset {first} of the stream on"
            )


def _allowance(bucket: Bucket) -> int:
    """Bytes that may go now: a piece at least, or none."""
    allowed = bucket.fill(time.perf_counter())
    return 0 if bucket.is_low else allowed


class FloodLane(Lane):
    """A UDP socket with its bursts, and what it remembers of them."""

    def __init__(self, number: int, channel: Channel, plan: Plan, run: int) -> None:
        super().__init__(number, channel)
        size = plan.most_size
        self.most = max(1, min(BURST_DATAGRAMS, BURST_BYTES // size))
        self.bursts = Bursts(run, size, self.most)
        self.window = Window()
        self.next = 0
        self.transit: float | None = None
        self.segments = self.gathers = False
        if channel.endpoint.transport == "udp":
            self.segments = _has_segments(channel.socket, size)
            with suppress(OSError):
                channel.socket.setsockopt(SOL_UDP, UDP_GRO, 1)
                self.gathers = True


class Flood(Generator):
    """Datagrams as fast as the socket takes them, or at a rate; each that comes back is accounted for."""

    lanes: list[FloodLane]  # type: ignore[assignment]

    def __init__(self, plan: Plan, lanes: Sequence[FloodLane], records: Records) -> None:
        super().__init__(plan, lanes, records)
        self._left = plan.count
        self._receives = plan.direction == "both"
        self._room = bytearray(ROOM_BYTES)
        self._view = memoryview(self._room)
        self._poll = select.poll()
        self._began = 0.0
        self._rate = plan.rate and plan.rate / len(lanes)
        """Datagrams a second of each lane."""
        if plan.bits_per_s is not None:
            self._rate = plan.bits_per_s / 8 / plan.most_size
        for lane in lanes:
            self._poll.register(lane.fd, select.POLLIN)

    @property
    def in_flight(self) -> int:
        """Datagrams that have neither come back nor been forgotten."""
        return sum(lane.window.outstanding for lane in self._live) if self._receives else 0

    @property
    def is_over(self) -> bool:
        """Every lane failed, or all is sent and has come back."""
        return not self._live or ((self._left == 0 or not self.issuing) and not self.in_flight)

    def begin(self, now: float) -> None:
        """Note when it began, for the rate."""
        self._began = now

    def restart(self) -> None:
        """Begin to count."""
        super().restart()
        for lane in self.lanes:
            lane.window.forgotten = 0

    def run(self, until: float) -> None:
        """Send and receive by turns until `until`."""
        while (now := time.perf_counter()) < until and not self.is_over:
            moved = False
            for lane in self._live:
                try:
                    moved |= self._send_burst(lane, now)
                    if self._receives:
                        moved |= self._receive_all(lane)
                except OSError as error:
                    lane.failure = operation_error("send or recv", lane.channel.endpoint, error)
                    self._poll.unregister(lane.fd)
            if not moved:
                self._poll.poll(1 if self.issuing and self._left != 0 else min(1.0, until - now) * 1000)

    def finish(self) -> None:
        """What has not come back by now is lost: the time to wait for it is over."""
        outcomes = self.records.outcomes
        if self._receives:
            # A datagram whose sequence number was damaged has come, and which it was is not known.
            come = outcomes.echoed + outcomes.corrupted + outcomes.truncated
            outcomes.lost = max(0, outcomes.sent - come)

    def close(self) -> None:
        """Nothing: it has only the lanes."""

    @property
    def _live(self) -> list[FloodLane]:
        return [lane for lane in self.lanes if lane.failure is None]

    def _send_burst(self, lane: FloodLane, now: float) -> bool:
        count = self._allowed(lane, now)
        if count <= 0:
            return False
        size = self.plan.most_size
        sent = _send_burst(lane, lane.bursts.make(lane.next, count), size)
        if sent:
            lane.next += sent
            lane.window.sent(sent, time.perf_counter())
            outcomes = self.records.outcomes
            outcomes.sent += sent
            outcomes.sent_bytes += sent * size
            if self._left is not None:
                self._left -= sent
        return sent > 0

    def _allowed(self, lane: FloodLane, now: float) -> int:
        """How many datagrams may be sent now."""
        count = lane.most if self.issuing else 0
        if self._left is not None:
            count = min(count, self._left)
        if self._rate is not None:
            count = min(count, int((now - self._began) * self._rate) - lane.next)
        return count

    def _receive_all(self, lane: FloodLane) -> bool:
        """Take what has come, up to a round's worth, and then account for it at once."""
        sock, outcomes, clock = lane.channel.socket, self.records.outcomes, time.perf_counter
        sequences: list[int] = []
        times: list[float] = []
        damaged = 0
        with suppress(BlockingIOError):
            while len(sequences) < RECEIVES_A_ROUND:
                length, ancillary, _, _ = sock.recvmsg_into([self._room], 64)
                outcomes.received_bytes += length
                data = self._view[:length]
                if ancillary and (segment := _segment(ancillary)):
                    named, states = lane.bursts.read(data, segment)
                    damaged += len(named) - states[State.INTACT]
                    for state, count in states.items():
                        count_damage(outcomes, state, count)
                    sequences += named
                    times += [clock()] * len(named)
                    continue
                sequence, state = read_probe(lane.bursts.run, data)
                count_damage(outcomes, state, 1)
                if sequence is not None:
                    damaged += state is not State.INTACT
                    sequences.append(sequence)
                    times.append(clock())
        trips = lane.window.arrived(sequences, times, outcomes)
        outcomes.echoed += max(0, len(trips) - damaged)
        self.records.latency.extend(trips)
        for trip in trips:
            self._note_transit(lane, trip)
        return bool(sequences)

    def _note_transit(self, lane: FloodLane, transit: float) -> None:
        """RFC 3550 section 6.4.1."""
        if lane.transit is not None:
            jitter = lane.jitter_s or 0.0
            lane.jitter_s = jitter + (abs(transit - lane.transit) - jitter) / 16
        lane.transit = transit


def _send_burst(lane: FloodLane, burst: memoryview, size: int) -> int:
    """Send as many datagrams of `burst` as the socket takes; how many. Raises `OSError`."""
    sock, sent = lane.channel.socket, 0
    with suppress(BlockingIOError):
        if lane.segments:
            try:
                sock.send(burst)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # A datagram does not fit into a packet of the path. One at a time, the kernel fragments it.
                sock.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
                lane.segments = False
            else:
                return len(burst) // size
        for at in range(0, len(burst), size):
            sock.send(burst[at : at + size])
            sent += 1
    return sent


def _has_segments(sock: socket.socket, size: int) -> bool:
    """Have the kernel cut what is sent into datagrams of `size` bytes; False where it cannot."""
    try:
        sock.setsockopt(SOL_UDP, UDP_SEGMENT, size)
    except OSError:
        return False
    return True


def _segment(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The size of the datagrams in a burst, where there are several (`int`, UDP_GRO's control message)."""
    for level, kind, data in ancillary:
        if level == SOL_UDP and kind == UDP_GRO:
            return int(struct.unpack_from("=i", data)[0])
    return None
