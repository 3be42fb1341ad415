"""What Wireshark notes of TCP segments (tcp.analysis.*), told one segment after another.

The definitions are those of the Wireshark User's Guide, section 7.5, "TCP Analysis", in their order: a segment is held
against what was last seen of its own direction and of the other one. Wireshark is followed where it is odd, too: an
acknowledgment number counts in a segment without the ACK flag, and 0 stands for "not yet seen".

This is the slow way, for streams that are disordered in some way; `analysis.py` finds them, and answers
for all others by columns. State is a row of plain integers for each direction, so that it is a column between chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from echowire.core.packets.tcp.header import ACK, FIN, HALF, PSH, RST, SYN, WORD
from echowire.core.packets.tcp.segments import RENEWS, REPEATS

RETRANSMISSION = 0x0001
FAST_RETRANSMISSION = 0x0002
SPURIOUS_RETRANSMISSION = 0x0004
OUT_OF_ORDER = 0x0008
LOST_SEGMENT = 0x0010
ACK_LOST_SEGMENT = 0x0020
DUPLICATE_ACK = 0x0040
WINDOW_UPDATE = 0x0080
WINDOW_FULL = 0x0100
ZERO_WINDOW = 0x0200
ZERO_WINDOW_PROBE = 0x0400
ZERO_WINDOW_PROBE_ACK = 0x0800
KEEP_ALIVE = 0x1000
KEEP_ALIVE_ACK = 0x2000
REUSED_PORTS = 0x4000
"""Bits of what is noted; each is a field of tcp.analysis."""

ENDS = SYN | FIN | RST

FAST_NS = 20_000_000
"""A fast retransmission comes within this time of the last duplicate ACK."""

DISORDER_NS = 3_000_000
"""A segment out of order comes within this time, where no round-trip time is known."""

MAX_UNACKED = 10_000
"""Segments of a direction that are remembered until they are acknowledged, as in Wireshark (TCP_MAX_UNACKED_SEGMENTS):
where the acknowledgments were not captured there would be no end to them."""

MAX_IN_FLIGHT = 2_000_000_000

NOT_AGAIN = WORD
"""Instead of a number of duplicate ACKs: the other side acknowledged what was not seen, which is noted once. It is
Wireshark's -1 without a sign, and so passes for many duplicates when a fast retransmission is looked for."""

# The row of a direction. Sequence numbers that were not yet seen are 0.
NEXT, NEXT_TIME, NEXT_FRAME, MAX_ACKABLE, LAST_ACK, LAST_ACK_TIME, DUPLICATES, FRESH, WINDOW, PUSHED, SACKED, BITS = (
    range(12)
)
"""The highest sequence number seen and when and where; the highest that may be acknowledged; the last acknowledgment
number and when; how often it came again, and where it came first; the last window; bytes since the last PSH; bytes that
the last segment acknowledged selectively; and bits."""

COLUMNS = 12

VALID, PUSH_WAS_LAST, WAS_SYN, WAS_KEEP_ALIVE, WAS_PROBE, MIXED = 1, 2, 4, 8, 16, 32
"""Bits: bytes in flight can be told; the last data had PSH; the last segment was a SYN, a keep-alive, a zero window
probe; the segments that wait for their ACK do not stand in order."""

FRESH_ROW = (0, 0, 0, 0, 0, 0, 0, 0, WORD, 0, 0, VALID)
"""Before the first segment."""

Row: TypeAlias = list[int]

Waiting: TypeAlias = list[list[int]]
"""Segments of a direction that wait for their acknowledgment, in the order in which they came: of each its frame, its
sequence number (or the first that is not acknowledged), the one after its end, and its time."""

FRAME, SEQ, END, TIME = range(4)


class SegmentColumns(NamedTuple):
    """What the walk is told of segments: an entry each, those of a stream in order."""

    entry: list[int]
    """The number by which the caller knows it."""
    direction: list[int]
    """Number of its direction; that of the other one differs in the lowest bit."""
    seq: list[int]
    ack: list[int]
    length: list[int]
    """Bytes of data."""
    flags: list[int]
    window: list[int]
    time_ns: list[int]
    frame: list[int]
    shift: list[int]
    """Of the other direction's window; -1 where it is not known."""
    base: list[int]
    """The sequence number that counts as 0."""
    rtt_ns: list[int]
    """The handshake's round-trip time, as far as it was known before; 0 where it was not."""
    sacked: list[int]
    """Bytes that its SACK option acknowledges."""
    renewed: list[int]
    """`RENEWS` or `REPEATS` for a SYN that does, else 0."""
    whole: list[int]
    """Whether its header's length can be."""


Noted: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int]
"""What is noted of a segment: its entry, flags, the frame that it acknowledges, after how long, bytes in flight, bytes
since PSH, the number of a duplicate ACK and the frame of the first, the time before a retransmission and its frame. 0
is nothing; times are nanoseconds."""


def walk(segments: SegmentColumns, rows: Sequence[Row], waiting: Sequence[Waiting]) -> list[Noted]:
    """Note what there is to be noted of `segments`.

    `rows` and `waiting` have an entry a direction and are brought up to date. A segment's numbers are locals of the
    loop, and the functions below are called with those that they need: as attributes of an object, even of one that
    all segments share, they made the walk take half as long again.
    """
    noted = []
    for (
        entry, flow, seq, ack, length, flags, window, time_ns, frame, shift, base, rtt_ns, sacked, renewed, whole,
    ) in zip(*segments, strict=True):  # fmt: skip
        own, other, queue = rows[flow], rows[flow ^ 1], waiting[flow]
        acked_frame = acked_ns = in_flight = pushed = duplicate = duplicate_of = rto_ns = rto_frame = 0
        notes = _renew(own, renewed) if renewed else 0
        is_noticed = renewed != 0
        if flags & ACK:
            other[BITS] |= VALID
        notes |= _compare(own, other, seq, ack, length, flags, window, shift)
        if notes & DUPLICATE_ACK:
            duplicate, duplicate_of = own[DUPLICATES], own[FRESH]
        if ack != own[LAST_ACK]:
            own[FRESH], own[DUPLICATES] = frame, 0
        if flags & ACK and other[MAX_ACKABLE] and (other[MAX_ACKABLE] - ack) & WORD >= HALF:
            is_noticed = True
            notes |= _acknowledge_unseen(other)
        following = (seq + length) & WORD
        if length or flags & (SYN | FIN):
            end = (following + 1) & WORD if flags & (SYN | FIN) else following
            if not notes & KEEP_ALIVE:
                notes |= _repeat(own, other, seq, length, end, time_ns, rtt_ns)
                if notes & RETRANSMISSION:
                    rto_ns, rto_frame = _since_first(own, queue, time_ns)
            if len(queue) < MAX_UNACKED:
                following = end
                if not queue:
                    own[BITS] &= ~MIXED
                elif queue[-1][END] != seq:
                    own[BITS] |= MIXED
                queue.append([frame, seq, end, time_ns])
        if not notes & ZERO_WINDOW_PROBE:
            if not own[NEXT] or (own[NEXT] - following) & WORD >= HALF:
                own[NEXT], own[NEXT_TIME], own[NEXT_FRAME] = following, time_ns, frame
            if seq == own[MAX_ACKABLE] or not own[MAX_ACKABLE]:
                own[MAX_ACKABLE] = own[NEXT]
        own[WINDOW], own[LAST_ACK], own[LAST_ACK_TIME] = window, ack, time_ns
        if waiting[flow ^ 1]:
            acked_frame, acked_ns = _acknowledge(waiting[flow ^ 1], ack, other)
        if length and queue and own[BITS] & VALID:
            in_flight = _in_flight(queue, base, own[BITS] & MIXED) - other[SACKED]
            in_flight = in_flight - (flags & (SYN | FIN) != 0) if 0 < in_flight < MAX_IN_FLIGHT else 0
            own[PUSHED] = pushed = length if own[BITS] & PUSH_WAS_LAST else own[PUSHED] + length
            own[BITS] = own[BITS] | PUSH_WAS_LAST if flags & PSH else own[BITS] & ~PUSH_WAS_LAST
        own[SACKED] = sacked if whole else 0
        own[BITS] = _bits_after(own[BITS], flags, notes, whole)
        if notes or acked_frame or pushed or is_noticed:
            took_ns = time_ns - acked_ns if acked_frame else 0
            noted.append(
                (entry, notes, acked_frame, took_ns, in_flight, pushed, duplicate, duplicate_of, rto_ns, rto_frame)
            )
    return noted


def _renew(own: Row, renewed: int) -> int:
    """A SYN after the stream began: one that repeats the first, or begins another stream of the same ports."""
    if renewed & REPEATS:
        own[NEXT] = own[MAX_ACKABLE]  # a reset may have had any number
    return REUSED_PORTS if renewed & RENEWS else 0


def _compare(own: Row, other: Row, seq: int, ack: int, length: int, flags: int, window: int, shift: int) -> int:
    """Hold a segment against the last ones of its own direction, and the window of the other one. Gives flags."""
    expected = own[NEXT]
    if length == 1 and seq == expected and other[WINDOW] == 0:
        return ZERO_WINDOW_PROBE
    notes = 0
    if expected and (expected - seq) & WORD >= HALF and not flags & RST:
        notes = LOST_SEGMENT
        own[BITS] &= ~VALID
    if flags & ENDS:
        return notes
    if window == 0:
        notes |= ZERO_WINDOW
    if length <= 1 and seq == (expected - 1) & WORD:
        notes |= KEEP_ALIVE
    if not length:
        return notes | _compare_empty(own, other, window) if seq == expected and ack == own[LAST_ACK] else notes
    if shift != -1:
        scale = 0 if other[BITS] & WAS_SYN or shift < 0 else shift
        if (seq + length - other[LAST_ACK] - (other[WINDOW] << scale)) & WORD == 0:
            notes |= WINDOW_FULL
    return notes


def _compare_empty(own: Row, other: Row, window: int) -> int:
    """What a segment without data is that acknowledges what the one before it did. Gives flags."""
    if window != own[WINDOW]:
        return WINDOW_UPDATE if window else 0
    if window and other[BITS] & WAS_KEEP_ALIVE:
        return KEEP_ALIVE_ACK
    if not window:
        return ZERO_WINDOW_PROBE_ACK if other[BITS] & WAS_PROBE else 0
    own[DUPLICATES] = 1 if own[DUPLICATES] == NOT_AGAIN else own[DUPLICATES] + 1
    return DUPLICATE_ACK


def _acknowledge_unseen(sender: Row) -> int:
    """More was acknowledged than was seen of `sender`. Gives flags; what was noted of it once is not noted again."""
    if (sender[MAX_ACKABLE] - sender[NEXT]) & WORD >= HALF:
        sender[MAX_ACKABLE] = sender[NEXT]
        return ACK_LOST_SEGMENT
    flags = 0 if sender[DUPLICATES] else ACK_LOST_SEGMENT
    sender[DUPLICATES] = NOT_AGAIN
    return flags


def _repeat(own: Row, other: Row, seq: int, length: int, end: int, time_ns: int, rtt_ns: int) -> int:
    """Whether a segment repeats what came before, or should have come before that. Gives flags."""
    passed = (seq + length - other[LAST_ACK]) & WORD
    if length and other[LAST_ACK] and (passed == 0 or passed >= HALF):
        return SPURIOUS_RETRANSMISSION
    expected = own[NEXT]
    if not expected or (seq - expected) & WORD < HALF:
        return 0
    if length > 1 and (expected - 1) & WORD == seq:
        return 0  # what a probe of a zero window carried, and more
    if other[DUPLICATES] >= 2 and other[LAST_ACK] == seq and 0 <= time_ns - other[LAST_ACK_TIME] < FAST_NS:
        return FAST_RETRANSMISSION
    if 0 <= time_ns - own[NEXT_TIME] < (rtt_ns or DISORDER_NS) and expected != end:
        return OUT_OF_ORDER
    return RETRANSMISSION


def _since_first(sender: Row, queue: Waiting, time_ns: int) -> tuple[int, int]:
    """The time since the first was sent that waits for its acknowledgment, or else the last; and its frame."""
    if queue:
        return time_ns - queue[0][TIME], queue[0][FRAME]
    return time_ns - sender[NEXT_TIME], sender[NEXT_FRAME]


def _bits_after(bits: int, flags: int, notes: int, whole: int) -> int:
    """The bits of a direction after a segment; `bits` are those before."""
    kept = bits & (VALID | PUSH_WAS_LAST | MIXED)
    if whole and (flags & SYN or (bits & WAS_SYN and not flags & ACK)):
        kept |= WAS_SYN
    if notes & KEEP_ALIVE:
        kept |= WAS_KEEP_ALIVE
    if notes & ZERO_WINDOW_PROBE:
        kept |= WAS_PROBE
    return kept


def _acknowledge(queue: Waiting, ack: int, row: Row) -> tuple[int, int]:
    """Take from `queue` what `ack` acknowledges. Gives frame and time of the segment that it is the end of, or 0."""
    if not row[BITS] & MIXED:
        return _acknowledge_first(queue, ack)
    frame = time_ns = 0
    left = []
    for segment in queue:
        if segment[END] == ack:
            if not frame:
                frame, time_ns = segment[FRAME], segment[TIME]
        elif (ack - segment[END]) & WORD >= HALF:
            if (segment[SEQ] - ack) & WORD >= HALF:
                segment[SEQ] = ack
            left.append(segment)
    queue[:] = left
    if not left:
        row[BITS] &= ~MIXED
    return frame, time_ns


def _acknowledge_first(queue: Waiting, ack: int) -> tuple[int, int]:
    """The same where the segments stand in order, each where the one before it ends."""
    done = frame = time_ns = 0
    for segment in queue:
        ahead = (ack - segment[END]) & WORD
        if ahead >= HALF:
            if (segment[SEQ] - ack) & WORD >= HALF:
                segment[SEQ] = ack
            break
        if not ahead:
            frame, time_ns = segment[FRAME], segment[TIME]
        done += 1
    if done:
        del queue[:done]
    return frame, time_ns


def _in_flight(queue: Waiting, base: int, mixed: int) -> int:
    """Bytes from the first that waits for its acknowledgment to the last."""
    first, last = (queue[0][SEQ] - base) & WORD, (queue[-1][END] - base) & WORD
    if first <= last and not mixed:
        return last - first
    first = min((segment[SEQ] - base) & WORD for segment in queue)
    return (max((segment[END] - base) & WORD for segment in queue) - first) & WORD
