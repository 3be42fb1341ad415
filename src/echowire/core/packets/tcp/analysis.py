"""TCP analysis of a chunk (tcp.analysis.*): by columns where a stream is clean, by a walk where it is not.

A stream is clean in a chunk if each of its segments begins where the one before it ended and acknowledges no more than
was seen; no window is closed, nothing is acknowledged twice or selectively, and the handshake is not repeated. Of such
segments there is little to note (that a window was updated or filled), and all numbers follow from the segment before
in the same direction and in the other one. What remains goes to `echowire.core.packets.tcp.walk`, stream by stream.

That this stands among the packets, and not among the reports, is for the registry: a field of a packet is found there.
What is made of many packets (conversations, follow, expert) is a report.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.layers import Layer
from echowire.core.packets.streams import Growing, Mask
from echowire.core.packets.tcp.header import ACK, FIN, HALF, PSH, SYN, WORD
from echowire.core.packets.tcp.segments import RENEWS, Segments, segments
from echowire.core.packets.tcp.walk import (
    BITS,
    COLUMNS,
    DUPLICATES,
    END,
    ENDS,
    FRESH,
    FRESH_ROW,
    LAST_ACK,
    LAST_ACK_TIME,
    MAX_ACKABLE,
    MAX_UNACKED,
    NEXT,
    NEXT_FRAME,
    NEXT_TIME,
    PUSH_WAS_LAST,
    PUSHED,
    REUSED_PORTS,
    SACKED,
    SEQ,
    VALID,
    WAS_SYN,
    WINDOW,
    WINDOW_FULL,
    WINDOW_UPDATE,
    SegmentColumns,
    Waiting,
    walk,
)

MAX_ADVANCE = 1 << 30
"""Bytes that a direction may advance within a chunk for its numbers to be told by columns: beyond, they would be
compared across more than half of the numbers there are."""


WAITING_COLUMNS = 5
FLOW = 0
"""The first of these columns."""

UNTOUCHED, CLEAN, DISORDERED = 0, 1, 2
"""What a stream of the chunk is: it has nothing that can be analysed, or is clean, or is not."""


@dataclass(slots=True)
class Memory:
    """What is kept of all pairs of endpoints from chunk to chunk."""

    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, COLUMNS), np.int64))
    """State of each direction, two a pair: the rows of `echowire.core.packets.tcp.walk`."""
    waiting: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, WAITING_COLUMNS), np.int64))
    """Segments that wait for their acknowledgment: direction, frame, sequence number, the one after its end, and time;
    those of a direction in order."""
    syn_ns: Growing = field(default_factory=lambda: Growing(np.int64, 0))
    """When a pair's last SYN came; 0 before any."""
    rtt_ns: Growing = field(default_factory=lambda: Growing(np.int64, 0))
    """The handshake's round-trip time; 0 where it is not known."""

    def grow(self, pairs: int) -> None:
        """Have rows for so many pairs."""
        missing = 2 * pairs - len(self.rows)
        if missing > 0:
            more = np.empty((max(missing, len(self.rows), 128), COLUMNS), np.int64)
            more[:] = FRESH_ROW
            self.rows = np.concatenate([self.rows, more])


def analysis(layer: Layer) -> Analysis:
    """What is noted of the chunk that a TCP layer is of."""
    memory = layer.memory.of("tcp analysis", Memory)
    return layer.chunk[0].once("tcp analysis", lambda: Analysis(segments(layer), memory))


class Analysis:
    """What is noted of each segment of a chunk; 0 is nothing."""

    def __init__(self, stream: Segments, memory: Memory) -> None:
        size = len(stream)
        memory.grow(len(stream.memory.pairs))
        self.flags: Rows = np.where(stream.renewed == RENEWS, REUSED_PORTS, 0)
        self.acked_frame: Rows = np.zeros(size, np.int64)
        self.rtt_ns: Rows = np.zeros(size, np.int64)
        self.in_flight: Rows = np.zeros(size, np.int64)
        self.pushed: Rows = np.zeros(size, np.int64)
        self.duplicate: Rows = np.zeros(size, np.int64)
        self.duplicate_of: Rows = np.zeros(size, np.int64)
        self.rto_ns: Rows = np.zeros(size, np.int64)
        self.rto_frame: Rows = np.zeros(size, np.int64)
        self.is_noted: Mask = stream.renewed != 0
        """Whether there is anything: tcp.analysis."""
        self.handshake_ns: Rows = np.zeros(size, np.int64)
        """The round-trip time of the handshake, as known with each segment."""
        if size:
            self.handshake_ns, before_ns = _handshakes(stream, memory)
            self._run(stream, memory, before_ns)

    def _run(self, stream: Segments, memory: Memory, before_ns: Rows) -> None:
        flows = np.repeat(2 * stream.pair, 2)
        flows[1::2] += 1
        rows = memory.rows[flows]
        rows[np.repeat(stream.is_new, 2)] = FRESH_ROW
        held, elsewhere = _present(stream, memory.waiting)
        some = _Sorted(stream, rows)
        calm = _was_calm(rows) & some.fits(held, rows)
        kind = np.full(len(stream.pair), UNTOUCHED)
        kind[some.slot] = CLEAN
        kind[some.slot[~some.is_clean | ~calm[some.flow] | ~calm[some.flow ^ 1]]] = DISORDERED
        kind_of = kind[held[:, FLOW] >> 1]
        left = [held[kind_of == UNTOUCHED]]
        chosen = kind[some.slot] == CLEAN
        if chosen.any():
            left.append(_Clean(some.only(chosen), rows, held[kind_of == CLEAN], self).run())
        if not chosen.all():
            left.append(self._walk(stream, some.only(~chosen), rows, held[kind_of == DISORDERED], before_ns))
        # of a pair that began a new stream, only the last one's state is kept
        kept = np.repeat(stream.is_last, 2)
        memory.rows[flows[kept]] = rows[kept]
        now = np.concatenate(left)
        now = now[kept[now[:, FLOW]]]
        now[:, FLOW] = flows[now[:, FLOW]]
        memory.waiting = np.concatenate([elsewhere, now])

    def _walk(
        self, stream: Segments, some: _Sorted, rows: NDArray[np.int64], held: NDArray[np.int64], before_ns: Rows
    ) -> NDArray[np.int64]:
        flows, local = np.unique(np.concatenate([some.flow, some.flow ^ 1]), return_inverse=True)
        at = some.index
        columns = SegmentColumns(
            entry=at.tolist(),
            direction=local[: len(at)].tolist(),
            seq=some.seq.tolist(),
            ack=some.ack.tolist(),
            length=some.length.tolist(),
            flags=some.flags.tolist(),
            window=some.window.tolist(),
            time_ns=some.time_ns.tolist(),
            frame=some.frame.tolist(),
            shift=some.shift.tolist(),
            base=stream.base_own[at].tolist(),
            rtt_ns=before_ns[at].tolist(),
            sacked=some.sacked.tolist(),
            renewed=stream.renewed[at].tolist(),
            whole=stream.whole[at].tolist(),
        )
        state = rows[flows].tolist()
        queues: list[Waiting] = [[] for _ in state]
        for flow, *segment in zip(np.searchsorted(flows, held[:, FLOW]).tolist(), *held.T[1:].tolist(), strict=True):
            queues[flow].append(segment)
        noted = walk(columns, state, queues)
        rows[flows] = np.array(state, np.int64).reshape(-1, COLUMNS)
        if noted:
            table = np.array(noted, np.int64)
            index = table[:, 0]
            into = (
                *(self.flags, self.acked_frame, self.rtt_ns, self.in_flight, self.pushed),
                *(self.duplicate, self.duplicate_of, self.rto_ns, self.rto_frame),
            )
            for column, values in zip(into, table.T[1:], strict=True):
                column[index] = values
            self.is_noted[index] = True
        left = [(flow, *segment) for flow, queue in zip(flows.tolist(), queues, strict=True) for segment in queue]
        return np.array(left, np.int64).reshape(-1, WAITING_COLUMNS)


def _present(stream: Segments, waiting: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What waits in directions that are in the chunk, numbered as there; and the rest."""
    pair = waiting[:, FLOW] >> 1
    slot = stream.slot_of(pair)
    here = slot >= 0
    held = waiting[here]
    held[:, FLOW] = 2 * slot[here] + (held[:, FLOW] & 1)
    return held, waiting[~here]


def _handshakes(stream: Segments, memory: Memory) -> tuple[Rows, Rows]:
    """The time from the last SYN to the first ACK after it, as known with each segment, and before it."""
    pairs = len(stream.memory.pairs)
    all_syns, all_rtts = memory.syn_ns.of(pairs), memory.rtt_ns.of(pairs)
    start_syn = np.where(stream.is_new, 0, all_syns[stream.pair])
    start_rtt = np.where(stream.is_new, 0, all_rtts[stream.pair])
    if not (stream.flags & SYN).any() and not ((start_syn != 0) & (start_rtt == 0)).any():
        kept = stream.is_last
        all_rtts[stream.pair[kept]], all_syns[stream.pair[kept]] = start_rtt[kept], start_syn[kept]
        return start_rtt[stream.slot], start_rtt[stream.slot]
    order = np.argsort(stream.slot, kind="stable")
    slot, flags, time_ns = stream.slot[order], stream.flags[order], stream.time_ns[order]
    place = np.arange(len(order))
    begin = np.searchsorted(slot, np.arange(len(stream.pair)))
    whole = stream.whole[order]
    is_syn = whole & ((flags & (SYN | ACK)) == SYN)
    last = np.maximum.accumulate(np.where(is_syn, place, -1)) if len(place) else place
    here = last >= begin[slot]
    syn_ns = np.where(here, time_ns[last], start_syn[slot])
    candidate = whole & ((flags & (SYN | ACK)) == ACK) & (syn_ns != 0) & (syn_ns != time_ns)
    candidate &= start_rtt[slot] == 0
    first = np.full(len(stream.pair), len(order))
    hits = np.flatnonzero(candidate)
    first[slot[hits][::-1]] = hits[::-1]
    known = np.append(time_ns - syn_ns, 0)[first]
    end_rtt = np.where(first < len(order), known, start_rtt)
    after, before = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
    after[order] = np.where(place >= first[slot], end_rtt[slot], start_rtt[slot])
    before[order] = np.where(place > first[slot], end_rtt[slot], start_rtt[slot])
    kept = stream.is_last
    all_rtts[stream.pair[kept]] = end_rtt[kept]
    finish = np.append(begin[1:], len(order)) - 1
    all_syns[stream.pair[kept]] = np.where(finish >= begin, syn_ns[np.maximum(finish, 0)], start_syn)[kept]
    return after, before


def _was_calm(rows: NDArray[np.int64]) -> Mask:
    """Which directions were in order, with nothing left to be remembered."""
    found: Mask = (rows[:, MAX_ACKABLE] == rows[:, NEXT]) & (rows[:, SACKED] == 0) & (rows[:, WINDOW] != 0)
    found &= (rows[:, BITS] & ~(PUSH_WAS_LAST | WAS_SYN)) == VALID
    return found


class _Sorted:
    """The measured segments by stream, those of one in order, with what was last before them in both directions."""

    def __init__(self, stream: Segments, rows: NDArray[np.int64]) -> None:
        which = np.flatnonzero(stream.measured)
        slot = stream.slot[which]
        small = slot.astype(np.uint16) if len(stream.pair) < 1 << 16 else slot  # for which numpy has a radix sort
        self.index: Rows = which[np.argsort(small, kind="stable")]
        at = self.index
        self.slot: Rows = stream.slot[at]
        self.flow: Rows = 2 * self.slot + stream.higher[at]
        self.seq, self.ack, self.length = stream.seq[at], stream.ack[at], stream.length[at]
        self.flags, self.window = stream.flags[at], stream.window[at]
        self.time_ns, self.frame = stream.time_ns[at], stream.frame[at]
        self.shift: Rows = stream.scales[1][at]
        self.sacked: Rows = stream.sacked[at]
        self.base: Rows = stream.base_own[at]
        self.counts: Rows = ((self.flags & (SYN | FIN)) != 0).astype(np.int64)
        self.end: Rows = (self.seq + self.length + self.counts) & WORD
        self._look_back(rows)
        self._judge(stream)

    def _look_back(self, rows: NDArray[np.int64]) -> None:
        place, side = np.arange(len(self.flow)), self.flow & 1
        changes = np.append(True, self.slot[1:] != self.slot[:-1])[: len(place)]
        begin = np.maximum.accumulate(np.where(changes, place, 0)) if len(place) else place
        latest = [np.maximum.accumulate(np.where(side == one, place, -1)) if len(place) else place for one in (0, 1)]
        shifted = [np.append(-1, one[:-1]) for one in latest]
        before = np.where(side == 0, *shifted)
        across = np.where(side == 0, shifted[1], shifted[0])
        self.before: Rows = np.where(before >= begin, before, -1)
        """Place of the segment before in the same direction, -1 if there is none in the chunk."""
        self.across: Rows = np.where(across >= begin, across, -1)
        """Place of the last one in the other direction."""

        def last(place: Rows, before_chunk: Rows, flow: Rows, column: Rows, state: int) -> Rows:
            found = column[place]
            found[before_chunk] = rows[flow, state]
            return found

        first, first_across = np.flatnonzero(self.before < 0), np.flatnonzero(self.across < 0)
        own = self.before, first, self.flow[first]
        other = self.across, first_across, self.flow[first_across] ^ 1
        self.expected = last(*own, self.end, NEXT)
        self.ack_before = last(*own, self.ack, LAST_ACK)
        self.window_before = last(*own, self.window, WINDOW)
        self.end_across = last(*other, self.end, NEXT)
        self.ack_across = last(*other, self.ack, LAST_ACK)
        self.window_across = last(*other, self.window, WINDOW)
        syn = np.where(self.flags & SYN, WAS_SYN, 0)
        self.syn_across: Rows = last(*other, syn, BITS) & WAS_SYN

    def _judge(self, stream: Segments) -> None:
        flags, length, window, ack = self.flags, self.length, self.window, self.ack
        is_first = self.expected == 0
        acks, plain, passive = (flags & ACK) != 0, (flags & ENDS) == 0, length == 0
        same_ack = ack == self.ack_before
        wrong = np.where(is_first, (self.seq == 0) | (self.seq == WORD), self.seq != self.expected)
        wrong |= (self.end == 0) | ~stream.whole[self.index] | (stream.renewed[self.index] != 0)
        wrong |= ((flags & SYN) != 0) & ~is_first
        wrong |= ~acks & ((flags & SYN == 0) | (ack != 0))
        wrong |= (window == 0) & plain
        wrong |= (length == 1) & (self.window_across == 0)
        wrong |= passive & plain & same_ack & (window == self.window_before) & ~is_first
        wrong |= (self.end_across != 0) & (((self.end_across - ack) & WORD) >= HALF) & acks
        ahead = (self.end - self.ack_across) & WORD
        wrong |= (length > 0) & (self.ack_across != 0) & ((ahead == 0) | (ahead >= HALF))
        wrong |= self.sacked != 0
        wrong |= ((self.seq - self.base) & WORD) > ((self.end - self.base) & WORD)
        self.is_clean: Mask = ~wrong
        scale = np.where((self.shift < 0) | (self.syn_across != 0), 0, self.shift)
        edge = (self.ack_across + (self.window_across << scale)) & WORD
        full = (length > 0) & (self.shift != -1) & plain & (((self.seq + length) & WORD) == edge)
        updated = passive & plain & same_ack & (window != self.window_before) & (window != 0) & ~is_first
        self.noted: Rows = WINDOW_FULL * full.astype(np.int64) + WINDOW_UPDATE * updated.astype(np.int64)

    def fits(self, held: NDArray[np.int64], rows: NDArray[np.int64]) -> Mask:
        """Which directions advance and wait so little that columns can tell of them, and go on where what waits ends.

        Wireshark takes bytes in flight from relative numbers, so that those about the number that counts as 0 are odd.
        """
        waiting, flows = held[:, FLOW], len(rows)
        moves = (self.length > 0) | (self.counts > 0)
        count = np.bincount(np.append(self.flow[moves], waiting), minlength=flows)
        advance = np.bincount(self.flow, self.length, flows)
        fitting: Mask = (count <= MAX_UNACKED) & (advance < MAX_ADVANCE)
        base = np.full(flows, -1)
        base[self.flow] = self.base
        near, far = ((held[:, column] - base[waiting]) & WORD for column in (1 + SEQ, 1 + END))
        fitting[waiting[(base[waiting] >= 0) & (near > far)]] = False
        end = rows[:, NEXT].copy()
        end[waiting] = held[:, 1 + END]  # the last of each is written last
        fitting &= end == rows[:, NEXT]
        return fitting

    def only(self, chosen: Mask) -> _Sorted:
        """Those of some streams, whole."""
        if chosen.all():
            return self
        out = object.__new__(_Sorted)
        move = np.append(np.cumsum(chosen) - 1, -1)
        for name, column in vars(self).items():
            setattr(out, name, column[chosen])
        out.before, out.across = move[out.before], move[out.across]
        return out


class _Clean:
    """The segments of clean streams: what is noted of them, and the state after them, by columns."""

    def __init__(self, some: _Sorted, rows: NDArray[np.int64], held: NDArray[np.int64], analysis: Analysis) -> None:
        self.some, self.rows, self.held, self.analysis = some, rows, held, analysis

    def run(self) -> NDArray[np.int64]:
        """Note all, and bring `rows` up to date. Gives what waits at the end."""
        some, analysis = self.some, self.analysis
        analysis.flags[some.index] = some.noted
        self._rank()
        self._acknowledgments()
        self._data()
        is_noted = (some.noted != 0) | (some.length > 0) | (analysis.acked_frame[some.index] != 0)
        analysis.is_noted[some.index] = is_noted
        self._keep()
        return self._left()

    def _rank(self) -> None:
        """Sort what counts in the sequence by direction, what waited from before in front; number it without wrap."""
        some, old = self.some, self.held
        moves = np.flatnonzero((some.length > 0) | (some.counts > 0))
        flow = np.concatenate([old[:, FLOW], some.flow[moves]])
        order = np.argsort(flow, kind="stable")
        self.flow: Rows = flow[order]
        self.place: Rows = np.concatenate([np.full(len(old), -1), moves])[order]
        """Place among the segments, -1 for those that waited."""
        self.sent_frame: Rows = np.concatenate([old[:, 1], some.frame[moves]])[order]
        self.start: Rows = np.concatenate([old[:, 2], some.seq[moves]])[order]
        end = np.concatenate([old[:, 3], some.end[moves]])[order]
        self.sent_ns: Rows = np.concatenate([old[:, 4], some.time_ns[moves]])[order]
        # Distances from the first of each direction, which are less than half of all numbers.
        self.flows, first = np.unique(self.flow, return_index=True)
        self.origin: Rows = np.zeros(len(self.rows), np.int64)
        self.origin[self.flows] = self.start[first]
        self.far: Rows = (end - self.origin[self.flow]) & WORD
        self.near: Rows = (self.start - self.origin[self.flow]) & WORD
        self.has = np.zeros(len(self.rows), np.bool_)
        self.has[self.flows] = True

    def _acknowledgments(self) -> None:
        """Find for each acknowledgment the segment whose end it is, if it is the first to reach that."""
        some, other = self.some, self.some.flow ^ 1
        known = self.has[other] & (some.end_across != 0) & ((some.flags & ACK) != 0)
        distance = (some.ack - self.origin[other]) & WORD
        distance = np.where(known & (distance < HALF), distance, 0)
        # The highest so far of each direction, itself not counted.
        order = np.argsort(some.flow, kind="stable")
        lifted = distance[order] + some.flow[order] * HALF
        highest = np.maximum.accumulate(lifted) if len(lifted) else lifted
        previous = np.append(-1, highest[:-1])
        begins = np.append(True, some.flow[order][1:] != some.flow[order][:-1])
        previous = np.where(begins, some.flow[order] * HALF, previous)
        advances = np.zeros(len(order), np.bool_)
        advances[order] = lifted > previous
        self.reached: Rows = np.zeros(len(order), np.int64)
        self.reached[order] = highest - some.flow[order] * HALF
        """How far a direction has acknowledged with each segment."""
        keys = self.flow * HALF + self.far
        new = np.flatnonzero(advances & known)
        if not len(keys) or not len(new):
            return
        wanted = other[new] * HALF + distance[new]
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hit = keys[at] == wanted
        index, at = some.index[new[hit]], at[hit]
        self.analysis.acked_frame[index] = self.sent_frame[at]
        self.analysis.rtt_ns[index] = some.time_ns[new[hit]] - self.sent_ns[at]

    def _data(self) -> None:
        """Bytes in flight, and since the last PSH."""
        some = self.some
        with_place = self.place >= 0
        data = np.flatnonzero(with_place & (some.length[self.place] > 0))
        place, flow = self.place[data], self.flow[data]
        acked = np.where(some.across[place] >= 0, self.reached[some.across[place]], 0)
        flight = self.far[data] - np.minimum(acked, self.near[data])
        flight -= some.counts[place]
        index = some.index[place]
        self.analysis.in_flight[index] = np.maximum(flight, 0)
        length, pushes = some.length[place], (some.flags[place] & PSH) != 0
        begins = np.append(True, flow[1:] != flow[:-1]) if len(flow) else np.zeros(0, np.bool_)
        restarts = begins | np.append(True, pushes[:-1]) if len(flow) else begins
        total = np.cumsum(length)
        since = np.maximum.accumulate(np.where(restarts, np.arange(len(flow)), 0)) if len(flow) else total
        pushed = total - (total - length)[since]
        state = self.rows[flow]
        carried = np.where(state[:, BITS] & PUSH_WAS_LAST, 0, state[:, PUSHED])
        pushed += np.where(begins[since], carried, 0)
        self.analysis.pushed[index] = pushed
        ends = np.append(flow[1:] != flow[:-1], True) if len(flow) else begins
        self.rows[flow[ends], PUSHED] = pushed[ends]
        bits = self.rows[flow[ends], BITS]
        self.rows[flow[ends], BITS] = np.where(pushes[ends], bits | PUSH_WAS_LAST, bits & ~PUSH_WAS_LAST)

    def _keep(self) -> None:
        some, rows = self.some, self.rows
        last = np.full(len(rows), -1)
        last[some.flow] = np.arange(len(some.flow))
        flows = np.flatnonzero(last >= 0)
        last = last[flows]
        rows[flows, NEXT] = rows[flows, MAX_ACKABLE] = some.end[last]
        rows[flows, LAST_ACK], rows[flows, LAST_ACK_TIME] = some.ack[last], some.time_ns[last]
        rows[flows, WINDOW] = some.window[last]
        for which, frame, time in (
            ((some.length > 0) | (some.counts > 0) | (some.expected == 0), NEXT_FRAME, NEXT_TIME),
            (some.ack != some.ack_before, FRESH, None),
        ):
            latest = np.full(len(rows), -1)
            latest[some.flow[which]] = np.flatnonzero(which)
            changed = np.flatnonzero(latest >= 0)
            rows[changed, frame] = some.frame[latest[changed]]
            if time is None:
                rows[changed, DUPLICATES] = 0
            else:
                rows[changed, time] = some.time_ns[latest[changed]]
        syn = np.where(some.flags[last] & SYN, WAS_SYN, 0)
        rows[flows, BITS] = VALID | (rows[flows, BITS] & PUSH_WAS_LAST) | syn

    def _left(self) -> NDArray[np.int64]:
        """What is not acknowledged at the end."""
        some = self.some
        final = np.zeros(len(self.rows), np.int64)
        final[some.flow] = self.reached  # the last of each is written last
        acked = final[self.flow ^ 1]
        left = np.flatnonzero(self.far > acked)
        flow = self.flow[left]
        seq = (self.origin[flow] + np.maximum(self.near[left], acked[left])) & WORD
        end = (self.origin[flow] + self.far[left]) & WORD
        return np.stack([flow, self.sent_frame[left], seq, end, self.sent_ns[left]], 1)
