"""What Wireshark notes of TCP segments (tcp.analysis.*), told one segment after another.

The definitions are those of the Wireshark User's Guide, section 7.5, "TCP Analysis", in their order: a segment is held
against what was last seen of its own direction and of the other one. Wireshark is followed where it is odd, too: an
acknowledgment number counts in a segment without the ACK flag, and 0 stands for "not yet seen".

This is the slow way, for streams that are disordered in some way; `analysis.py` finds them, and answers
for all others by columns. State is a row of plain integers for each direction, so that it is a column between chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

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

Segment: TypeAlias = tuple[int, ...]
"""What the walk is told of a segment; its direction's number differs from the other one's in the lowest bit.

index, direction, sequence number, acknowledgment number, bytes, flags, window, time, frame; the shift of the other
direction's window, -1 where it is not known; the sequence number that counts as 0; the handshake's round-trip time, as
far as it was known before; bytes that its SACK option acknowledges; `RENEWS` or `REPEATS` for a SYN that does; whether
its header's length can be.
"""

Noted: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int]
"""What is noted of a segment: its index, flags, the frame that it acknowledges, after how long, bytes in flight, bytes
since PSH, the number of a duplicate ACK and the frame of the first, the time before a retransmission and its frame. 0
is nothing; times are nanoseconds."""

FRAME, SEQ, END, TIME = range(4)


def walk(segments: Iterable[Segment], rows: Sequence[Row], waiting: Sequence[Waiting]) -> list[Noted]:
    """Note what there is to be noted of `segments`, which come in order within each stream.

    `rows` and `waiting` have an entry a direction and are brought up to date.
    """
    noted = []
    for (
        index,
        flow,
        seq,
        ack,
        length,
        flags,
        window,
        time_ns,
        frame,
        shift,
        base,
        rtt,
        sacked,
        renewed,
        whole,
    ) in segments:
        own, other = rows[flow], rows[flow ^ 1]
        following = (seq + length + (1 if flags & (SYN | FIN) else 0)) & WORD
        found = REUSED_PORTS if renewed & RENEWS else 0
        if renewed & REPEATS:
            own[NEXT] = own[MAX_ACKABLE]  # a reset may have had any number
        expected = own[NEXT]
        if flags & ACK:
            other[BITS] |= VALID
        duplicate = duplicate_of = rto = rto_frame = 0
        noticed = renewed != 0

        if length == 1 and seq == expected and other[WINDOW] == 0:
            found |= ZERO_WINDOW_PROBE
        else:
            if window == 0 and not flags & ENDS:
                found |= ZERO_WINDOW
            if expected and (expected - seq) & WORD >= HALF and not flags & RST:
                found |= LOST_SEGMENT
                own[BITS] &= ~VALID
            if not flags & ENDS:
                if length <= 1 and seq == (expected - 1) & WORD:
                    found |= KEEP_ALIVE
                if length:
                    if shift != -1:
                        scale = 0 if other[BITS] & WAS_SYN or shift < 0 else shift
                        if (seq + length - other[LAST_ACK] - (other[WINDOW] << scale)) & WORD == 0:
                            found |= WINDOW_FULL
                elif seq == expected and ack == own[LAST_ACK]:
                    if window != own[WINDOW]:
                        if window:
                            found |= WINDOW_UPDATE
                    elif window and other[BITS] & WAS_KEEP_ALIVE:
                        found |= KEEP_ALIVE_ACK
                    elif not window and other[BITS] & WAS_PROBE:
                        found |= ZERO_WINDOW_PROBE_ACK
                    elif window:
                        own[DUPLICATES] = duplicate = 1 if own[DUPLICATES] == NOT_AGAIN else own[DUPLICATES] + 1
                        duplicate_of = own[FRESH]
                        found |= DUPLICATE_ACK
        if ack != own[LAST_ACK]:
            own[FRESH] = frame
            own[DUPLICATES] = 0

        if flags & ACK and other[MAX_ACKABLE] and (other[MAX_ACKABLE] - ack) & WORD >= HALF:
            noticed = True
            if (other[MAX_ACKABLE] - other[NEXT]) & WORD >= HALF:
                other[MAX_ACKABLE] = other[NEXT]
                found |= ACK_LOST_SEGMENT
            else:
                if other[DUPLICATES] == 0:
                    found |= ACK_LOST_SEGMENT
                other[DUPLICATES] = NOT_AGAIN

        queue = waiting[flow]
        if (length or flags & (SYN | FIN)) and not found & KEEP_ALIVE:
            behind = expected != 0 and (seq - expected) & WORD >= HALF
            if length > 1 and (expected - 1) & WORD == seq:
                behind = False  # what a probe of a zero window carried, and more
            passed = (seq + length - other[LAST_ACK]) & WORD
            if length and other[LAST_ACK] and (passed == 0 or passed >= HALF):
                found |= SPURIOUS_RETRANSMISSION
            elif behind:
                if other[DUPLICATES] >= 2 and other[LAST_ACK] == seq and 0 <= time_ns - other[LAST_ACK_TIME] < FAST_NS:
                    found |= FAST_RETRANSMISSION
                elif 0 <= time_ns - own[NEXT_TIME] < (rtt or DISORDER_NS) and expected != following:
                    found |= OUT_OF_ORDER
                else:
                    found |= RETRANSMISSION
                    rto = time_ns - (queue[0][TIME] if queue else own[NEXT_TIME])
                    rto_frame = queue[0][FRAME] if queue else own[NEXT_FRAME]

        if (length or flags & (SYN | FIN)) and len(queue) < MAX_UNACKED:
            if not queue:
                own[BITS] &= ~MIXED
            elif queue[-1][END] != seq:
                own[BITS] |= MIXED
            queue.append([frame, seq, following, time_ns])
        else:
            following = (seq + length) & WORD
        if not found & ZERO_WINDOW_PROBE:
            if not expected or (expected - following) & WORD >= HALF:
                own[NEXT], own[NEXT_TIME], own[NEXT_FRAME] = following, time_ns, frame
            if seq == own[MAX_ACKABLE] or not own[MAX_ACKABLE]:
                own[MAX_ACKABLE] = own[NEXT]
        own[WINDOW], own[LAST_ACK], own[LAST_ACK_TIME] = window, ack, time_ns

        acked_frame = acked_time = 0
        if waiting[flow ^ 1]:
            acked_frame, acked_time = _acknowledge(waiting[flow ^ 1], ack, other)
        in_flight = pushed = 0
        if length and queue and own[BITS] & VALID:
            in_flight = _in_flight(queue, base, own[BITS] & MIXED) - other[SACKED]
            if not 0 < in_flight < MAX_IN_FLIGHT:
                in_flight = 0
            elif flags & (SYN | FIN):
                in_flight -= 1
            own[PUSHED] = pushed = length if own[BITS] & PUSH_WAS_LAST else own[PUSHED] + length
            own[BITS] = own[BITS] | PUSH_WAS_LAST if flags & PSH else own[BITS] & ~PUSH_WAS_LAST

        bits = own[BITS] & (VALID | PUSH_WAS_LAST | MIXED)
        if whole:
            bits |= WAS_SYN if flags & SYN or (own[BITS] & WAS_SYN and not flags & ACK) else 0
        own[SACKED] = sacked if whole else 0
        bits |= (WAS_KEEP_ALIVE if found & KEEP_ALIVE else 0) | (WAS_PROBE if found & ZERO_WINDOW_PROBE else 0)
        own[BITS] = bits
        if found or acked_frame or pushed or noticed:
            took = time_ns - acked_time if acked_frame else 0
            noted.append((index, found, acked_frame, took, in_flight, pushed, duplicate, duplicate_of, rto, rto_frame))
    return noted


def _acknowledge(queue: Waiting, ack: int, row: Row) -> tuple[int, int]:
    """Take from `queue` what `ack` acknowledges. Gives frame and time of the segment that it is the end of, or 0."""
    if not row[BITS] & MIXED:
        return _acknowledge_first(queue, ack)
    frame = time_ns = 0
    left = []
    for one in queue:
        if one[END] == ack:
            if not frame:
                frame, time_ns = one[FRAME], one[TIME]
        elif (ack - one[END]) & WORD >= HALF:
            if (one[SEQ] - ack) & WORD >= HALF:
                one[SEQ] = ack
            left.append(one)
    queue[:] = left
    if not left:
        row[BITS] &= ~MIXED
    return frame, time_ns


def _acknowledge_first(queue: Waiting, ack: int) -> tuple[int, int]:
    """The same where the segments stand in order, each where the one before it ends."""
    done = frame = time_ns = 0
    for one in queue:
        ahead = (ack - one[END]) & WORD
        if ahead >= HALF:
            if (one[SEQ] - ack) & WORD >= HALF:
                one[SEQ] = ack
            break
        if not ahead:
            frame, time_ns = one[FRAME], one[TIME]
        done += 1
    if done:
        del queue[:done]
    return frame, time_ns


def _in_flight(queue: Waiting, base: int, mixed: int) -> int:
    """Bytes from the first that waits for its acknowledgment to the last."""
    first, last = (queue[0][SEQ] - base) & WORD, (queue[-1][END] - base) & WORD
    if first <= last and not mixed:
        return last - first
    first = min((one[SEQ] - base) & WORD for one in queue)
    return (max((one[END] - base) & WORD for one in queue) - first) & WORD
