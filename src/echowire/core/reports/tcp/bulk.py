"""What holds a sender that has more to send, on a path whose round trip can be told from other waits.

Segments that leave in trains, with pauses between them in which acknowledgments do not come either, are sent by an end
that waits for a round trip: it has in flight what it may. If that is what the receiver's window takes, the window is
the limit, else the congestion window. Where data or acknowledgments come at an even pace, the path is full; but a
sender may pace itself too (BBR does), so that this must go on for some round trips without getting faster.

A capture may be taken anywhere on the path. What the sender knew when it sent is told by the handshake: what the time
from an acknowledgment to the segment that it let go is there, without either end waiting.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from echowire.core.packets.tcp.header import ACK, RST, SYN
from echowire.core.reports.tcp.record import Segment

PAUSE_SHARE = 0.25
"""Of a round trip that a pause between trains takes at least."""

UNLIKE = 8
"""A pause is so many times as long as the usual gap of a train; the gaps at a path's pace are alike."""

ALONE = (0.9, 1.5)
"""Round trips between segments that each wait for the one before: these gaps are alike too."""

FULL_ROUNDS = 4
"""Round trips in which a path carries at least `FULL_ROUND_SHARE` of the most that it carries in any: a sender that
still doubles what it sends has but two or three of them."""

FULL_ROUND_SHARE = 0.5

QUEUED_ROUNDS = 2
"""A window of more than what the path carries in so many round trips fills a queue, and is not the limit."""

UNUSED_SHARE = 8
"""The part of a window that a sender may leave unused as it would rather send a large segment (RFC 9293, section
3.8.6.2.1) is not told from a full one."""


class RoundTrip(NamedTuple):
    """Nanoseconds of the shortest way from the capture to each end and back; 0 where that was not seen."""

    client: int
    server: int

    @property
    def whole(self) -> int:
        """From end to end and back."""
        return self.client + self.server


def round_trip(segments: Sequence[Segment]) -> RoundTrip:
    """What the handshake shows."""
    asked: int | None = None
    answered: int | None = None
    for one in segments:
        if one.flags & SYN:
            if one.end == 0:
                asked = one.time_ns
            elif asked is not None:
                answered = one.time_ns
        elif one.end == 0 and answered is not None and asked is not None:
            return RoundTrip(one.time_ns - answered, answered - asked)
    return RoundTrip(0, 0)


class Bulk:
    """One direction of a conversation: the segments with data of `end`, and the acknowledgments of the other."""

    def __init__(self, segments: Sequence[Segment], end: int, full: float, most: int, trip: RoundTrip) -> None:
        """`full`: bytes from which a segment is a full one; `most`: those of a full one on the way."""
        self._segments, self._full, self._most, self._trip = segments, full, most, trip
        self._to_sender = trip[end]
        self._data = [at for at, one in enumerate(segments) if one.end == end and one.length]
        self._others = [at for at, one in enumerate(segments) if one.end != end and one.length]
        acks = [one for one in segments if one.end != end and one.flags & ACK and not one.flags & RST]
        self._ack_times = [one.time_ns for one in acks]
        self._acked = [*accumulate((one.ack for one in acks), max)]
        self._edges = [*accumulate((one.ack + one.window for one in acks), max)]
        self._data_gap = _usual_gap([segments[at].time_ns for at in self._data])
        self._ack_gap = _usual_gap(self._ack_times)
        self._rounds = Counter[int]()
        for at in self._data:
            self._rounds[self._round(segments[at])] += segments[at].length
        self._most_a_round = max(self._rounds.values(), default=0)
        full = sum(carried >= FULL_ROUND_SHARE * self._most_a_round for carried in self._rounds.values())
        self._was_full = full >= FULL_ROUNDS

    def held(self) -> Iterator[tuple[int, bool, bool]]:
        """Index of each segment, up to which the sender had more to send; whether what is in flight then fills the
        receiver's window; and whether the path is full.
        """
        for before, after in pairwise(self._data):
            one, other = self._segments[before], self._segments[after]
            if max(one.length, other.length) < self._full or self._is_answered(before, after):
                continue
            fills = self._fills(one)
            paused = self._is_pause(other.time_ns - one.time_ns, self._data_gap)
            is_fast = self._rounds[self._round(other)] >= FULL_ROUND_SHARE * self._most_a_round
            for at in range(before + 1, after + 1):
                pause = paused and self._is_pause(self._ack_pause(at), self._ack_gap)
                yield at, fills, self._was_full and is_fast and not pause

    def _round(self, one: Segment) -> int:
        """In which round trip since the beginning a segment came."""
        return (one.time_ns - self._segments[0].time_ns) // max(self._trip.whole, 1)

    def _is_answered(self, before: int, after: int) -> bool:
        """Whether the other end said something between two segments."""
        return bisect_left(self._others, before) != bisect_left(self._others, after)

    def _ack_pause(self, at: int) -> int:
        """Nanoseconds from the last acknowledgment before a wait to the first at its end or after it."""
        begin, end = self._segments[at - 1].time_ns, self._segments[at].time_ns
        earlier = bisect_right(self._ack_times, begin) - 1
        later = bisect_left(self._ack_times, end)
        return (self._ack_times[later] if later < len(self._ack_times) else end) - (
            self._ack_times[earlier] if earlier >= 0 else begin
        )

    def _is_pause(self, gap: int, usual: int) -> bool:
        whole = self._trip.whole
        alone = ALONE[0] * whole <= gap <= ALONE[1] * whole
        return gap >= PAUSE_SHARE * whole and (gap >= UNLIKE * usual or alone)

    def _fills(self, one: Segment) -> bool:
        """Whether no full segment more fitted the window that the sender knew when it sent this one."""
        known = bisect_right(self._ack_times, one.time_ns - self._to_sender + self._to_sender // 8) - 1
        if known < 0:
            return False
        edge, window = self._edges[known], self._edges[known] - self._acked[known]
        is_queued = window > QUEUED_ROUNDS * self._most_a_round
        return not is_queued and edge - one.stop < max(self._most, window // UNUSED_SHARE)


def _usual_gap(times: Sequence[int]) -> int:
    """The gap than which a quarter is shorter."""
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    return gaps[len(gaps) // 4] if gaps else 0
