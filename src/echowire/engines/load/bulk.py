"""Bytes as fast as they go, or at a rate: to a sink, from a source, or through an echo and compared.

A stream is sent from the probe cycle, a chunk a system call, and what an echo returns is compared with it at its
own offset; what a source sends with RFC 864's pattern. Datagrams are in `flood.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from echowire.core.load.payloads import CHUNK_BYTES, PERIOD, cycle
from echowire.core.load.source_pattern import PatternCheck
from echowire.engines.load.pace import Bucket, kernel_rate
from echowire.engines.load.plan import Generator, Lane, Plan, Records, closed_by_peer
from echowire.errors import EchowireError, ProtocolError
from echowire.kernel.connections.channel import Channel
from echowire.kernel.connections.poller import READ, WRITE, new_poller
from echowire.kernel.connections.socket_options import pace


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
