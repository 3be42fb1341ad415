"""Floods of datagrams: as fast as the socket takes them, or at a rate, and what became of each.

They go in bursts: UDP_SEGMENT hands the kernel up to 64 KiB of equal datagrams at once, UDP_GRO takes as many, and
each is still a datagram on the wire (udp(7), and linux/udp.h).
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

from echowire.engines.load.plan import Generator, Lane, Plan, Records
from echowire.kernel.boundary import operation_error
from echowire.kernel.channel import Channel
from echowire.wire.probe import Bursts, State, Window, count_damage, read_probe

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104  # linux/udp.h

BURST_DATAGRAMS = 64
"""UDP_MAX_SEGMENTS of the kernels that have UDP_SEGMENT (linux/udp.h; 128 since 6.9)."""

BURST_BYTES = 65_000
"""A burst is one IP packet to the kernel until it is cut up: 65,535 less the largest headers."""

ROOM_BYTES = 65_536

RECEIVES_A_ROUND = 256
"""Datagrams taken before the next burst is sent: several times as many, so that what comes back never waits here
until its socket's buffer is full. Beyond that the load would be measuring its own losses."""


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
