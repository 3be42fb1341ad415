"""The TCP segments of a chunk as columns, and what the stream that each belongs to tells of it.

Streams are Wireshark's: a pair of endpoints is one, until a SYN comes whose initial sequence number is another than
the one known for that direction: that begins a new stream. Sequence numbers are relative to the first that was seen of
a direction: to the SYN's, or to one less than that of any other segment, so that data always begins at 1; where the
other direction was seen first, its acknowledgment number minus 1 stands for it.

Each answer (numbers, times, window scales, completeness) is computed for itself, when first asked for, and keeps a few
columns from chunk to chunk, a row for each pair of endpoints. All of it is columns but for two loops: one over the
segments of pairs on which a stream is renewed, one over SYNs and window scale options.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import Column
from echowire.core.packets.layers import Layer
from echowire.core.packets.streams import (
    Growing,
    Joined,
    Mask,
    Numbers,
    Slots,
    Times,
    conversation,
    firsts,
    fragments,
)
from echowire.core.packets.tcp.header import ACK, FIN, MIN_HEADER_BYTES, RST, SYN, WORD
from echowire.core.packets.tcp.options import WINDOW_SCALE, option_values, sacked_bytes

KNOWN_BYTES = 16
"""What must be captured for a segment to count for its stream: all up to the window."""

SYN_SENT, SYN_ACKED, ACKED, DATA_SENT, FINISHED, WAS_RESET = 1, 2, 4, 8, 16, 32
"""Bits of tcp.completeness."""

UNKNOWN_SCALE = -1
NO_SCALE = -2
"""Wireshark's tcp.window_size_scalefactor where no handshake was seen, and where it agreed on none."""

MAX_SHIFT = 14
"""RFC 7323, section 2.3."""

UNSET = -1

RENEWS, REPEATS = 1, 2
"""What a SYN can do to a stream that it is not the first segment of."""


def header_bytes(layer: Layer) -> Rows:
    """The header's length as it says itself."""
    return layer.once("header", lambda: (layer.uint(12, 1) >> 4).astype(np.int64) * 4)


def segment_bytes(layer: Layer) -> Rows:
    """Bytes of payload on the wire; -1 where that cannot be told: in fragments, quotes, and cut headers."""
    return layer.once("segment", lambda: _segment_bytes(layer))


def _segment_bytes(layer: Layer) -> Rows:
    if layer.is_quoted:
        return np.full(len(layer), -1, np.int64)
    size: Rows = np.maximum(layer.wire_end - layer.start - header_bytes(layer), -1)
    size[fragments(layer)] = -1
    return size


@dataclass(slots=True)
class Memory:
    """What is kept of all pairs of endpoints from chunk to chunk."""

    pairs: Numbers = field(default_factory=Numbers)
    streams: int = 0
    """Streams so far."""
    scratch: Growing = field(default_factory=lambda: Growing(np.int64, 0))
    current: Growing = field(default_factory=lambda: Growing(np.int64, -1))
    """The stream that a pair is on."""
    base: Growing = field(default_factory=lambda: Growing(np.int64, UNSET))
    """The sequence number that counts as 0, two a pair: of segments from the lower endpoint, and from the higher."""
    scale: Growing = field(default_factory=lambda: Growing(np.int8, UNKNOWN_SCALE))
    """Shift of the window, two a pair."""
    completeness: Growing = field(default_factory=lambda: Growing(np.uint8, 0))
    times: Times = field(default_factory=Times)


def segments(layer: Layer) -> Segments:
    """All TCP segments of the chunk that a TCP layer is of."""
    return layer.chunk[0].once("tcp segments", lambda: _segments(layer))


def _segments(layer: Layer) -> Segments:
    layers = [one for one in layer.chunk if one.protocol is layer.protocol]
    return Segments(Joined(layers, lambda one: one.has(KNOWN_BYTES)), layer.memory.of("tcp", Memory))


class Segments:
    """The columns, an entry a segment; and by `slot` those that have a row for each stream of the chunk."""

    def __init__(self, joined: Joined, memory: Memory) -> None:
        self.joined = joined
        self.memory = memory
        self.seq: Rows = joined.column(lambda layer: layer.uint(4, 4)).astype(np.int64)
        self.ack: Rows = joined.column(lambda layer: layer.uint(8, 4)).astype(np.int64)
        self.flags: Rows = joined.column(lambda layer: layer.uint(12, 2)).astype(np.int64) & 0xFFF
        self.length: Rows = joined.column(segment_bytes)
        """Bytes of payload, -1 where that is not known; what has no length does not count in any analysis."""
        self.higher: Mask = joined.column(lambda layer: conversation(layer)[1])
        """Whether it goes from the higher endpoint to the lower."""
        self._number_streams(memory.pairs.of(joined.column(lambda layer: conversation(layer)[0])))

    def __len__(self) -> int:
        return len(self.seq)

    @cached_property
    def window(self) -> Rows:
        """The window, as it stands there."""
        return self.joined.column(lambda layer: layer.uint(14, 2)).astype(np.int64)

    @cached_property
    def whole(self) -> Mask:
        """Which have a header of a length that can be."""
        return self.joined.column(lambda layer: header_bytes(layer) >= MIN_HEADER_BYTES)

    @cached_property
    def time_ns(self) -> Rows:
        """When each came."""
        return self.joined.column(lambda layer: layer.records.time_ns[layer.rows])

    @cached_property
    def frame(self) -> Rows:
        """Number of each one's packet."""
        return self.joined.column(lambda layer: layer.rows + layer.records.first)

    @cached_property
    def complete(self) -> Mask:
        """Which have their fixed header captured, of a length that can be."""
        return self.whole & self.joined.column(lambda layer: layer.has(MIN_HEADER_BYTES))

    @cached_property
    def shown(self) -> Mask:
        """Which have their whole header captured, without which Wireshark shows nothing of its analysis."""
        return self.complete & self.joined.column(lambda layer: layer.has(header_bytes(layer)))

    @property
    def measured(self) -> Mask:
        """Which have a length."""
        found: Mask = self.length >= 0
        return found

    # Numbers.

    def _number_streams(self, pair: Rows) -> None:
        known = len(self.memory.pairs)
        current, base = self.memory.current.of(known), self.memory.base.of(2 * known)
        slots = Slots(pair, self.memory.scratch.of(known))
        self.slot: Rows = slots.slot
        self.pair: Rows = slots.number
        """The pair of each slot."""
        self.is_last = np.ones(len(slots), np.bool_)
        """Of the slots: whether its pair is on no later stream at the end of the chunk."""
        self.is_new: Mask = current[slots.number] < 0
        """Of the slots: whether its stream begins in the chunk."""
        self.first: Rows = slots.first
        """Of the slots: the first segment."""
        self.renewed: NDArray[np.uint8] = np.zeros(len(self), np.uint8)
        """`RENEWS` where a SYN has another number than its direction's, `REPEATS` where it came before."""
        start = np.stack([base[2 * slots.number], base[2 * slots.number + 1]], 1).ravel()
        basis = self._base(start)
        self.base_own: Rows = basis[self.flow]
        self.base_other: Rows = basis[self.flow ^ 1]
        doubtful = self._doubtful(start, basis)
        if len(doubtful):
            self._walk_renewals(doubtful, start, basis)
        self._keep_numbers(current, base, basis)

    def slot_of(self, pair: Rows) -> Rows:
        """The slot in which a pair is present in this chunk, -1 where it is not; to be asked before the next chunk."""
        slot = self.memory.scratch.of(0)[pair]
        slot = np.where((slot >= 0) & (slot < len(self.pair)), slot, 0)
        found: Rows = np.where(self.pair[slot] == pair, slot, -1) if len(self.pair) else np.full(len(pair), -1)
        return found

    @property
    def flow(self) -> Rows:
        """Number of each one's slot and direction: 2 * slot, or one more from the higher endpoint."""
        return 2 * self.slot + self.higher

    def _base(self, start: Rows) -> Rows:
        """The base of each flow at the end of the chunk, if no stream is renewed in it."""
        flow, count, measured = self.flow, len(start), self.measured
        own = firsts(flow, count, measured)
        other = firsts(flow ^ 1, count, measured & ((self.flags & ACK) != 0))
        basis = start.copy()
        by_own = np.flatnonzero((basis < 0) & (own < len(flow)) & (own < other))
        first = own[by_own]
        basis[by_own] = (self.seq[first] - ((self.flags[first] & SYN) == 0)) & WORD
        by_other = np.flatnonzero((basis < 0) & (other < len(flow)))
        basis[by_other] = (self.ack[other[by_other]] - 1) & WORD
        return basis

    def _doubtful(self, start: Rows, basis: Rows) -> Rows:
        """Slots with a SYN after which their stream may be renewed, or that repeats its first."""
        syn = np.flatnonzero(self.flags & SYN)
        if not len(syn):
            return syn
        flow, measured = self.flow, self.measured
        # A base is known before a segment if it was at the start, or a measured segment set it before.
        own = firsts(flow, len(start), measured)
        other = firsts(flow ^ 1, len(start), measured & ((self.flags & ACK) != 0))
        of_syn = flow[syn]
        was_known = (start[of_syn] >= 0) | (np.minimum(own, other)[of_syn] < syn)
        differs = self.seq[syn] != basis[of_syn]
        return np.unique(self.slot[syn[was_known & (differs | ((self.flags[syn] & ACK) == 0))]])

    def _walk_renewals(self, doubtful: Rows, start: Rows, basis: Rows) -> None:
        """Find where streams are renewed, one segment after another. `basis` becomes what the pairs have at the end."""
        chosen = np.zeros(len(self.pair), np.bool_)
        chosen[doubtful] = True
        which = np.flatnonzero(chosen[self.slot])
        bases = {slot: start[2 * slot : 2 * slot + 2].tolist() for slot in doubtful.tolist()}
        now = {slot: slot for slot in bases}
        slots, firsts_, of_pair, is_new, is_last = (
            self.slot[which].tolist(),
            self.first.tolist(),
            self.pair.tolist(),
            self.is_new.tolist(),
            self.is_last.tolist(),
        )
        columns = (self.higher, self.seq, self.ack, self.flags, self.length)
        for at, (index, first_slot, side, seq, ack, flags, length) in enumerate(
            zip(which.tolist(), list(slots), *(one[which].tolist() for one in columns), strict=True)
        ):
            known = bases[first_slot]
            if flags & SYN and known[side] != UNSET:
                if not flags & ACK:
                    self.renewed[index] = REPEATS if seq == known[side] else RENEWS
                    if seq != known[side]:
                        known[:] = [UNSET, UNSET]
                        is_last[now[first_slot]] = False
                        now[first_slot] = len(of_pair)
                        of_pair.append(of_pair[first_slot])
                        firsts_.append(index)
                        is_new.append(True)
                        is_last.append(True)
                elif seq != known[side]:
                    self.renewed[index] = RENEWS
                    known[side] = seq
            if length >= 0:
                if known[side] == UNSET:
                    known[side] = seq if flags & SYN else (seq - 1) & WORD
                if known[1 - side] == UNSET and flags & ACK:
                    known[1 - side] = (ack - 1) & WORD
            slots[at] = now[first_slot]
            self.base_own[index], self.base_other[index] = known[side], known[1 - side]
        self.slot[which] = slots
        self.first, self.pair = np.array(firsts_, np.int64), np.array(of_pair, np.int64)
        self.is_new, self.is_last = np.array(is_new), np.array(is_last)
        for slot, known in bases.items():
            basis[2 * slot : 2 * slot + 2] = known  # the pair's, to be kept

    def _keep_numbers(self, current: Rows, base: Rows, basis: Rows) -> None:
        new = np.flatnonzero(self.is_new)
        number = np.empty(len(new), np.int64)
        number[np.argsort(self.first[new])] = np.arange(self.memory.streams, self.memory.streams + len(new))
        stream = current[self.pair]
        stream[new] = number
        self.memory.streams += len(new)
        self.stream_of_slot: Rows = stream
        self.was_renewed = np.zeros(len(self.pair), np.bool_)
        """Of the slots: whether it follows another stream of the same pair."""
        self.was_renewed[new] = self.renewed[self.first[new]] == RENEWS
        last = np.flatnonzero(self.is_last)
        current[self.pair[last]] = stream[last]
        originals = len(basis) // 2
        base[2 * self.pair[:originals]] = basis[::2]
        base[2 * self.pair[:originals] + 1] = basis[1::2]

    @property
    def stream(self) -> Rows:
        """tcp.stream."""
        return self.stream_of_slot[self.slot]

    @property
    def relative_seq(self) -> Rows:
        """tcp.seq: as it stands there, where the segment's length is not known."""
        return np.where(self.measured, (self.seq - self.base_own) & WORD, self.seq)

    @property
    def relative_ack(self) -> Rows:
        """tcp.ack: as it stands there, where the segment acknowledges nothing."""
        counts = self.measured & ((self.flags & ACK) != 0)
        return np.where(counts, (self.ack - self.base_other) & WORD, self.ack)

    # Times.

    @cached_property
    def times(self) -> tuple[Rows, Rows]:
        """Nanoseconds since the stream's first segment, and since the one before."""
        of_slots = self.slot, self.pair, self.first, self.is_new, self.is_last
        return self.memory.times.of(*of_slots, len(self.memory.pairs), self.time_ns)

    # Window scales.

    @cached_property
    def scales(self) -> tuple[Rows, Rows]:
        """The shift of a window of this segment's direction, and of the other one; or why there is none."""
        state = self.memory.scale.of(2 * len(self.memory.pairs))
        start = np.full(2 * len(self.pair), UNKNOWN_SCALE, np.int64)
        old = np.flatnonzero(~self.is_new)
        start[2 * old], start[2 * old + 1] = state[2 * self.pair[old]], state[2 * self.pair[old] + 1]
        at, after = self._scale_changes(start)
        end = start.copy()
        # an index that ascends with the flow, and in it with the segment
        size, flow = len(self) + 1, self.flow
        flows = at // size
        end[flows] = after  # the last of each is written last
        own = _latest(at, after, start, flow, size)
        other = _latest(at, after, start, flow ^ 1, size)
        last = np.flatnonzero(self.is_last)
        state[2 * self.pair[last]], state[2 * self.pair[last] + 1] = end[2 * last], end[2 * last + 1]
        return own, other

    def _scale_changes(self, start: Rows) -> tuple[Rows, Rows]:
        """Where shifts change: flow * (segments + 1) + segment, ascending, and what they are from there on."""
        offered = self.joined.column(lambda layer: option_values(layer, WINDOW_SCALE, 3, 1))
        syn = ((self.flags & SYN) != 0) & self.shown
        which = np.flatnonzero((offered >= 0) | syn)
        shift = {}
        found: dict[int, int] = {}
        size, flow = len(self) + 1, self.flow
        columns = (flow, offered, syn, self.flags)
        for index, own, offer, is_syn, flags in zip(
            which.tolist(), *(one[which].tolist() for one in columns), strict=True
        ):
            other = own ^ 1
            if own not in shift:
                shift[own], shift[other] = int(start[own]), int(start[other])
            if offer >= 0:
                found[own * size + index] = shift[own] = min(offer, MAX_SHIFT)
            if not is_syn:
                continue
            if shift[own] == UNKNOWN_SCALE:
                found[own * size + index] = found[other * size + index] = shift[own] = shift[other] = NO_SCALE
            elif flags & ACK and shift[other] == NO_SCALE:
                found[own * size + index] = shift[own] = NO_SCALE
        at = np.array(sorted(found), np.int64)
        return at, np.array([found[one] for one in at.tolist()], np.int64)

    @property
    def scaled_window(self) -> Rows:
        """tcp.window_size: windows of SYNs are never scaled (RFC 7323, section 2.2)."""
        shift = np.where(self.measured & ((self.flags & SYN) == 0), np.maximum(self.scales[0], 0), 0)
        return self.window << shift

    @cached_property
    def sacked(self) -> Rows:
        """Bytes that the SACK option acknowledges, of its first three blocks, as many as Wireshark counts."""
        return self.joined.column(sacked_bytes)

    # Completeness.

    @cached_property
    def completeness(self) -> Column:
        """tcp.completeness: what of a conversation was seen before this segment."""
        state = self.memory.completeness.of(len(self.memory.pairs))
        start = np.where(self.is_new, np.where(self.was_renewed, SYN_SENT, 0), state[self.pair]).astype(np.uint8)
        bits = self._completeness_bits()
        found, index = start[self.slot], np.arange(len(self))
        end = start.copy()
        for bit in (SYN_SENT, SYN_ACKED, ACKED, DATA_SENT, FINISHED, WAS_RESET):
            first = firsts(self.slot, len(start), (bits & bit) != 0)
            found |= np.where(first[self.slot] < index, bit, 0).astype(np.uint8)
            end |= np.where(first < len(self), bit, 0).astype(np.uint8)
        last = np.flatnonzero(self.is_last)
        state[self.pair[last]] = end[last]
        return found

    def _completeness_bits(self) -> NDArray[np.uint8]:
        """What each segment adds. A stream's first counts for nothing but its SYN."""
        flags, has_data = self.flags, self.length > 0
        handshake = flags & (SYN | ACK)
        bits = np.where(handshake == SYN | ACK, SYN_ACKED, 0)
        bits |= np.where(handshake == ACK, np.where(has_data, DATA_SENT, ACKED), 0)
        bits |= np.where(flags & (FIN | ACK) == FIN | ACK, FINISHED, 0)
        bits |= np.where(flags & RST, WAS_RESET, 0)
        begins = self.first[self.is_new & ~self.was_renewed]
        is_syn = handshake[begins] == SYN
        bits[begins] = np.where(is_syn, SYN_SENT | np.where(has_data[begins], DATA_SENT, 0), 0)
        bits[~self.whole] = 0
        found: NDArray[np.uint8] = bits.astype(np.uint8)
        return found


def _latest(at: Rows, after: Rows, start: Rows, flow: Rows, size: int) -> Rows:
    """For each segment, in order, what `flow` was changed to last before it."""
    if not len(at):
        return start[flow]
    which = np.searchsorted(at, flow * size + np.arange(len(flow))) - 1
    held = (which >= 0) & (at[which] // size == flow)
    return np.where(held, after[which], start[flow])
