"""Why each packet of a TCP conversation came no sooner: the time before it has one cause, and so has all the time.

Between two packets nothing was seen to move, and what it waited for is told by what was outstanding before, by what
came then, and by who spoke next. The rules are tried in this order:

1. Until the handshake is done, it is that. A SYN sent again had no answer in time: a timeout.
2. From the first sign of a loss (a duplicate or selective acknowledgment, a hole, or the silence before a segment was
   sent again) until all that was sent then is acknowledged: recovery, fast if acknowledgments told of the loss.
3. An end that goes on sending once the window was opened again was held by the receiver's window.
4. An end that goes on sending once an acknowledgment came was held by what it may have in flight: by a delayed
   acknowledgment, if that came late for a small segment; by the path, if the round trip was longer than it need be,
   as a queue was then full; else by its congestion window.
5. Full segments that follow one without PSH, or each other at a steady pace: the path's bandwidth.
6. An end that speaks after all it waited for is there was thinking; for no longer than a round trip, it may be the way.
7. Before an end of the connection or a keep-alive: idle. After the first FIN: closing.
8. Where the capture lost segments, longer waits are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from echowire.core.packets.tcp.header import ACK, FIN, PSH, RST, SYN
from echowire.core.reports.tcp.bulk import Bulk, round_trip
from echowire.core.reports.tcp.record import Segment

HANDSHAKE, CLIENT, SERVER = "handshake", "client thinking", "server thinking"
WINDOW, CONGESTION, BANDWIDTH = "receiver's window", "congestion window", "bandwidth"
TIMEOUT, FAST = "timeout", "fast recovery"
DELAYED_ACK, ROUND_TRIP = "delayed acknowledgment", "round trip"
IDLE, CLOSING, UNKNOWN = "idle", "closing", "unknown"
CAUSES = (
    HANDSHAKE, CLIENT, SERVER, WINDOW, CONGESTION, BANDWIDTH, FAST, TIMEOUT, DELAYED_ACK, ROUND_TRIP, IDLE, CLOSING,
    UNKNOWN,
)  # fmt: skip

ON_THE_WAY = (CONGESTION, BANDWIDTH, ROUND_TRIP)

MS = 1_000_000
MIN_TIMEOUT_NS = 180 * MS
"""Linux's shortest retransmission timeout is 200 ms (TCP_RTO_MIN), less what a capture's clock may be off."""

MIN_DELAYED_ACK_NS = 30 * MS
"""Linux delays an acknowledgment by 40 ms at least (TCP_DELACK_MIN), others by up to 500 (RFC 9293, 3.8.6.3)."""

PROMPT_NS = 5 * MS
"""Within which a sender that had more to send does so, once it may."""

MIN_LONG_NS = MS
"""A round trip from which its pauses show beside what a host's scheduler does."""

REORDERED_NS = 3 * MS
"""What fills a hole within this was overtaken, not lost (as Wireshark has it)."""

USUAL_MSS = 1460
"""Of Ethernet, where the handshake was not seen."""

FULL_SHARE = 0.9
BULK_BYTES = 1300
"""A segment of nine tenths of this, or of the longest there is, is taken for a full one."""

STEADY_GAPS = 8
"""Full segments follow each other steadily if no pause is longer than so many usual ones."""

MIN_UNPUSHED_SHARE = 0.3
"""Of full segments that must lack PSH for a steady pace to be the path's: who sets PSH on each had no more to send
just then (RFC 9293, section 3.9.1.2), and paces itself."""


class Wait(NamedTuple):
    """The time before a segment, and why it came no sooner."""

    start_ns: int
    end_ns: int
    cause: str
    first_frame: int
    """The segment before."""
    frame: int
    end: int
    """Whom it held up: the end that spoke, or whose bytes were on the way."""


@dataclass(slots=True)
class Side:
    """One direction, as far as was seen."""

    next: int = 0
    """The sequence number after the last that was sent."""
    acked: int = 0
    edge: int | None = None
    """The first sequence number that the receiver's window does not take; None before it was told."""
    full: int = 0
    """Bytes of the longest segment; of several, if the network card cuts them."""
    most: int = USUAL_MSS
    """Bytes that a segment may have on the way."""
    duplicates: int = 0
    since: int | None = None
    """Index of the first sign of the present loss."""
    recovery: str = ""
    until: int = 0
    """What must be acknowledged for the recovery to end."""
    began: int = 0
    hole_ns: int | None = None
    holes: list[tuple[int, int, int]] = field(default_factory=list)
    """First number and the one after the last of what was passed over, and not acknowledged; index of the segment that
    showed it."""
    sent_again: int = 0
    for_nothing: int = 0
    """Segments that were sent again, by a probe of the tail (RFC 8985, section 7), and had come."""
    probes: set[int] = field(default_factory=set)
    """Where the segments end that the present or the last recovery sent again untold and early, as probes are."""
    recovered: tuple[int, int] = (0, 0)
    """Indexes of the last recovery's first segment, and the one after its last."""
    recovered_by: str = ""
    unseen: int = 0
    """Bytes that were acknowledged and never seen: the capture lost them."""
    has_fin: bool = False
    usual_gap_ns: float = 0
    """Of full segments in bulk; 0 where there are too few."""
    had_more: bool = False
    """The last segment with data was sent without PSH: there was more to send."""

    @property
    def bulk(self) -> float:
        """Bytes from which a segment is taken for a full one."""
        return FULL_SHARE * min(self.full, BULK_BYTES)

    @property
    def segment(self) -> int:
        """Bytes of a full segment on the way."""
        return min(self.full, self.most)

    @property
    def outstanding(self) -> int:
        """Bytes that were seen and not acknowledged."""
        return self.next - self.acked


class Waits:
    """All waits of a conversation; `waits` has one a segment but for the first."""

    def __init__(self, segments: Sequence[Segment], mss: Sequence[int] = (0, 0)) -> None:
        """`mss`: what each end said that it takes; 0 where that is not known."""
        self._segments = segments
        self.sides = (Side(), Side())
        """Of the client's bytes, and the server's."""
        self.round_trip_ns = _least_round_trip(segments)
        self._speaker = _next_speakers(segments)
        self._done = not any(one.flags & SYN for one in segments[:3])
        """The handshake was done, or was not seen."""
        self._sent: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._recovering: dict[int, str] = {}
        self._blind: set[int] = set()
        """Indexes of segments before which the capture lost others."""
        for side, end in zip(self.sides, (0, 1), strict=True):
            mine = [one for one in segments if one.end == end and one.length]
            side.full = max((one.length for one in mine), default=0)
            side.most = mss[1 - end] or USUAL_MSS
            full = [one for one in mine if one.length >= side.bulk]
            gaps = [later.time_ns - earlier.time_ns for earlier, later in pairwise(full)]
            unpushed = sum(not one.flags & PSH for one in full)
            if len(gaps) >= STEADY_GAPS and unpushed >= MIN_UNPUSHED_SHARE * len(full):
                side.usual_gap_ns = median(gaps)
        self.waits = self._overlaid(self._in_bulk([*self._walked()]))

    def _walked(self) -> Iterator[Wait]:
        before: Segment | None = None
        for index, one in enumerate(self._segments):
            if before is not None:
                cause, end = self._cause(index, one)
                yield Wait(before.time_ns, max(one.time_ns, before.time_ns), cause, before.frame, one.frame, end)
            self._take(index, one)
            before = one
        for side in self.sides:
            if side.recovery:
                self._recovered(side, len(self._segments) - 1)

    def _in_bulk(self, waits: list[Wait]) -> list[Wait]:
        """With what held a sender in bulk, where the path is long enough for it to show."""
        trip = round_trip(self._segments)
        if trip.whole < MIN_LONG_NS:
            return waits
        for end, side in enumerate(self.sides):
            for at, fills, is_full in Bulk(self._segments, end, side.bulk, side.segment, trip).held():
                if waits[at - 1].cause in ON_THE_WAY:
                    cause = WINDOW if fills else BANDWIDTH if is_full else CONGESTION
                    waits[at - 1] = waits[at - 1]._replace(cause=cause, end=end)
        return waits

    def _overlaid(self, waits: list[Wait]) -> list[Wait]:
        """With what is known only later: the recoveries, and where the capture lost what may have come meanwhile."""
        out = []
        for at, one in enumerate(waits, 1):
            cause = self._recovering.get(at, one.cause)
            if at in self._blind and at not in self._recovering and one.end_ns - one.start_ns > PROMPT_NS:
                cause = UNKNOWN
            out.append(one._replace(cause=cause) if cause != one.cause else one)
        return out

    def _cause(self, index: int, one: Segment) -> tuple[str, int]:
        """Why nothing came before this segment, and whom that held up."""
        if not self._done:
            again = one.flags & SYN and one.stop <= self.sides[one.end].next
            return (TIMEOUT if again else HANDSHAKE), one.end
        speaker = self._speaker[index]
        if speaker is None:
            return (CLOSING if any(side.has_fin for side in self.sides) else IDLE), one.end
        spoken = self._segments[speaker]
        end = spoken.end
        side = self.sides[end]
        waited = one.time_ns - self._segments[index - 1].time_ns
        if side.edge is not None and self._is_closed(side):
            return WINDOW, end
        if side.outstanding > 0 and one.end != end and self._is_prompt(index, speaker):
            return self._held(one, side, waited), end
        if one.end == end and one.length and self._is_steady(side, one, waited):
            return BANDWIDTH, end
        if waited <= PROMPT_NS and side.outstanding > 0 and one.end != end and self._goes_on(speaker):
            return self._held(one, side, waited), end
        if not spoken.length:
            return (CLOSING if any(one.has_fin for one in self.sides) else IDLE), end
        if self.round_trip_ns and waited <= 1.5 * self.round_trip_ns and self.round_trip_ns >= PROMPT_NS:
            return ROUND_TRIP, end
        return (CLIENT, SERVER)[end], end

    def _is_closed(self, side: Side) -> bool:
        """The window takes no full segment more, of which there are more than it takes."""
        assert side.edge is not None
        return side.edge - side.next < side.segment and (side.outstanding > 0 or side.edge <= side.next)

    def _is_prompt(self, index: int, speaker: int) -> bool:
        """The sender went on as soon as this segment, an acknowledgment, had come."""
        return self._segments[speaker].time_ns - self._segments[index].time_ns <= max(
            PROMPT_NS, self.round_trip_ns // 4
        )

    def _goes_on(self, speaker: int) -> bool:
        spoken = self._segments[speaker]
        return spoken.length >= self.sides[spoken.end].bulk

    def _is_steady(self, side: Side, one: Segment, waited: int) -> bool:
        is_full = one.length >= side.bulk and side.usual_gap_ns > 0
        gaps = max(STEADY_GAPS, 2 * one.length // max(side.segment, 1))  # what a network card cuts or joins is several
        return side.had_more or waited <= PROMPT_NS // 5 or (is_full and waited <= gaps * side.usual_gap_ns)

    def _held(self, one: Segment, side: Side, waited: int) -> str:
        """What held a sender that had bytes in flight and went on when they were acknowledged."""
        sent = self._sent[1 - one.end].get(one.ack)
        took = one.time_ns - sent if sent is not None else waited
        small = side.outstanding <= max(side.segment, 536)
        if took >= max(MIN_DELAYED_ACK_NS, self.round_trip_ns + MIN_DELAYED_ACK_NS) and small:
            return DELAYED_ACK
        if took > 2 * self.round_trip_ns + 2 * MS or self.round_trip_ns < MS:
            return BANDWIDTH
        return CONGESTION

    def _take(self, index: int, one: Segment) -> None:
        mine, other = self.sides[one.end], self.sides[1 - one.end]
        says_more = bool(one.flags & ACK) and one.ack > other.acked
        if one.flags & ACK:
            self._acknowledge(index, one, other)
        if one.flags & SYN:
            if one.flags & ACK or mine.next == 0:
                mine.next = max(mine.next, one.stop)
            return
        if one.end == 0 and one.flags & ACK:
            self._done = True
        if one.flags & RST:
            return
        if not mine.next and one.length:
            mine.next = one.seq
        if not (mine.has_fin and says_more and not one.length):  # both close at once: the FIN is said again, with ACK
            self._send(index, one, mine)
        mine.has_fin |= bool(one.flags & FIN)

    def _send(self, index: int, one: Segment, mine: Side) -> None:
        """Bytes that go out: new ones, or again."""
        if one.stop <= one.seq:
            return
        is_probe = one.length <= 1 and mine.edge is not None and one.seq >= mine.edge - 1
        if one.seq < mine.next and not is_probe and not (one.length <= 1 and one.stop <= mine.acked):
            mine.holes = [*_without(mine.holes, one.seq, one.stop)]
            overtaken = mine.hole_ns is not None and one.time_ns - mine.hole_ns <= REORDERED_NS
            if not overtaken:
                self._repeat(index, one, mine)
        elif one.seq > mine.next and mine.next:
            mine.hole_ns = one.time_ns
            mine.holes.append((mine.next, one.seq, index))
            mine.since = index if mine.since is None else mine.since
        mine.next = max(mine.next, one.stop)
        self._sent[one.end].setdefault(one.stop, one.time_ns)
        if one.length:
            mine.had_more = one.length >= mine.bulk and not one.flags & PSH

    def _repeat(self, index: int, one: Segment, mine: Side) -> None:
        """A segment is sent again."""
        mine.sent_again += 1
        waited = one.time_ns - self._segments[index - 1].time_ns
        told = mine.duplicates > 0 or mine.since is not None
        kind = FAST if told and waited < MIN_TIMEOUT_NS else TIMEOUT
        if not mine.recovery:
            mine.probes.clear()
        if kind == TIMEOUT and waited < MIN_TIMEOUT_NS:
            mine.probes.add(one.stop)
        if mine.recovery and kind != mine.recovery and kind == TIMEOUT:
            self._recovered(mine, index - 1)
        if not mine.recovery:
            mine.recovery = kind
            mine.began = index if kind == TIMEOUT or mine.since is None else min(mine.since, index)
            mine.until = max(mine.next, one.stop)
        self._sent[one.end][one.stop] = one.time_ns

    def _acknowledge(self, index: int, one: Segment, side: Side) -> None:
        """What the other end says of the bytes that it received."""
        if one.ack > side.next:
            if side.next:
                side.unseen += one.ack - side.next
                self._blind.add(index)
            side.next = one.ack
        while side.holes and side.holes[0][1] <= one.ack:
            begin, end, shown = side.holes.pop(0)
            side.unseen += end - begin
            self._blind.add(shown)
        window = one.window
        if one.told_twice in side.probes:
            self._sent_for_nothing(one.told_twice, side)
        elif side.probes and side.acked < one.ack <= min(side.probes) - side.segment and not one.has_sack:
            for stop in sorted(side.probes):  # what was sent before is acknowledged only now: all was late
                self._sent_for_nothing(stop, side)
        if one.ack > side.acked:
            side.acked, side.duplicates = one.ack, 0
            if not side.recovery:
                side.since, side.hole_ns = None, None
            elif side.acked >= side.until:
                self._recovered(side, index)
        elif one.ack == side.acked and side.outstanding > 0 and not one.length and not one.flags & (SYN | FIN | RST):
            same_window = side.edge is not None and one.ack + window == side.edge
            if one.has_sack or same_window:
                side.duplicates += 1
                side.since = index if side.since is None else side.since
        if not one.flags & RST:
            side.edge = max(side.edge or 0, one.ack + window)

    def _sent_for_nothing(self, stop: int, side: Side) -> None:
        """What a probe sent again had come, and its acknowledgment been late: nothing was lost."""
        side.probes.discard(stop)
        side.sent_again -= 1
        side.for_nothing += 1
        if side.probes or (side.recovery or side.recovered_by) != TIMEOUT:
            return
        begin, end = (side.began, side.began) if side.recovery else side.recovered
        for at in range(begin, end):
            self._recovering.pop(at, None)
        side.recovery, side.since, side.hole_ns, side.duplicates = "", None, None, 0

    def _recovered(self, side: Side, index: int) -> None:
        """A recovery ends with the segment `index`."""
        for at in range(side.began, index + 1):
            if self._recovering.get(at) != TIMEOUT:
                self._recovering[at] = side.recovery
        side.recovered, side.recovered_by = (side.began, index + 1), side.recovery
        side.recovery, side.since, side.hole_ns, side.duplicates = "", None, None, 0


def _without(holes: Sequence[tuple[int, int, int]], begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """What the bytes from `begin` to `end` leave of the holes."""
    for first, last, shown in holes:
        parts = ((first, min(last, begin), shown), (max(first, end), last, shown))
        yield from (part for part in parts if part[0] < part[1])


def _next_speakers(segments: Sequence[Segment]) -> list[int | None]:
    """For each segment the first from it on that says something new: data, or an end; None where none comes."""
    out: list[int | None] = [None] * len(segments)
    highest = [0, 0]
    says = []
    for one in segments:
        says.append(
            (one.stop > highest[one.end] and (one.length > 0 or bool(one.flags & FIN))) or bool(one.flags & RST)
        )
        highest[one.end] = max(highest[one.end], one.stop)
    following: int | None = None
    for at in range(len(segments) - 1, -1, -1):
        following = at if says[at] else following
        out[at] = following
    return out


def _least_round_trip(segments: Sequence[Segment]) -> int:
    """Nanoseconds of the shortest way there and back that was seen: of the handshake, else of an acknowledgment."""
    syn: dict[int, int] = {}
    best = 0
    pending: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for one in segments:
        if one.flags & SYN and not one.flags & ACK:
            syn.setdefault(one.end, one.time_ns)
        elif one.end in syn and one.flags & ACK:
            return max(1, one.time_ns - syn[one.end])
        if one.flags & ACK:
            sent = pending[1 - one.end].pop(one.ack, None)
            if sent is not None and one.time_ns > sent:
                best = min(best or one.time_ns - sent, one.time_ns - sent)
        if one.length:
            pending[one.end].setdefault(one.stop, one.time_ns)
    return best
