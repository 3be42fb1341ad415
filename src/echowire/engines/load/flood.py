"""Floods of datagrams: as fast as the socket takes them, or at a rate, and what became of each.

They go in bursts: UDP_SEGMENT hands the kernel up to 64 KiB of equal datagrams at once, UDP_GRO takes as many, and
each is still a datagram on the wire (udp(7), and linux/udp.h).
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

from echowire.core.load.payloads import Bursts, State, Window, count_damage, read_probe
from echowire.engines.load.datagrams import RECEIVES_A_ROUND, Datagrams, NumberedLane
from echowire.engines.load.plan import Plan, Records
from echowire.kernel.boundary import operation_error
from echowire.kernel.connections.channel import Channel

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104  # linux/udp.h

BURST_DATAGRAMS = 64
"""UDP_MAX_SEGMENTS of the kernels that have UDP_SEGMENT (linux/udp.h; 128 since 6.9)."""

BURST_BYTES = 65_000
"""A burst is one IP packet to the kernel until it is cut up: 65,535 less the largest headers."""

ROOM_BYTES = 65_536


class FloodLane(NumberedLane):
    """A UDP socket with its bursts, and what it remembers of them."""

    def __init__(self, number: int, channel: Channel, plan: Plan, run: int) -> None:
        super().__init__(number, channel)
        size = plan.most_size
        self.most = max(1, min(BURST_DATAGRAMS, BURST_BYTES // size))
        self.bursts = Bursts(run, size, self.most)
        self.window = Window()
        self.segments = self.gathers = False
        if channel.endpoint.transport == "udp":
            self.segments = _has_segments(channel.socket, size)
            with suppress(OSError):
                channel.socket.setsockopt(SOL_UDP, UDP_GRO, 1)
                self.gathers = True


class Flood(Datagrams[FloodLane]):
    """Datagrams as fast as the socket takes them, or at a rate; each that comes back is accounted for."""

    def __init__(self, plan: Plan, lanes: Sequence[FloodLane], records: Records) -> None:
        super().__init__(plan, lanes, records)
        self._receives = plan.direction == "both"
        self._room = bytearray(ROOM_BYTES)
        self._view = memoryview(self._room)

    @property
    def in_flight(self) -> int:
        """Datagrams that have neither come back nor been forgotten."""
        return sum(lane.window.outstanding for lane in self.live_lanes) if self._receives else 0

    def restart(self) -> None:
        """Begin to count."""
        super().restart()
        for lane in self.lanes:
            lane.window.forgotten = 0

    def run(self, until: float) -> None:
        """Send and receive by turns until `until`."""
        while (now := time.perf_counter()) < until and not self.is_over:
            moved = False
            for lane in self.live_lanes:
                try:
                    moved |= self._send_burst(lane, now)
                    if self._receives:
                        moved |= self._receive_all(lane)
                except OSError as error:
                    self.fail(lane, operation_error("send or recv", lane.channel.endpoint, error))
            if not moved:
                self.poll.poll(1 if self.issuing and self.left != 0 else min(1.0, until - now) * 1000)

    def finish(self) -> None:
        """What has not come back by now is lost: the time to wait for it is over."""
        outcomes = self.records.outcomes
        if self._receives:
            # A datagram whose sequence number was damaged has come, and which it was is not known.
            come = outcomes.echoed + outcomes.corrupted + outcomes.truncated
            outcomes.lost = max(0, outcomes.sent - come)

    def _send_burst(self, lane: FloodLane, now: float) -> bool:
        count = self.allowed(lane, now, lane.most)
        if count <= 0:
            return False
        size = self.plan.most_size
        sent = _send_burst(lane, lane.bursts.make(lane.next, count), size)
        if sent:
            self.count_sent(lane, sent, size)
            lane.window.sent(sent, time.perf_counter())
        return sent > 0

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
            lane.note_transit(trip)
        return bool(sequences)


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
