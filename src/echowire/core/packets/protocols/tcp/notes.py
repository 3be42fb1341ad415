"""What the analysis of a stream notes of a TCP segment: tcp.analysis.*, and the marks in the packet list's Info."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from echowire.core.packets.columns import Column, Type
from echowire.core.packets.layers import Field, Layer, Picked
from echowire.core.packets.streams import Mask
from echowire.core.packets.tcp.analysis import Analysis, analysis
from echowire.core.packets.tcp.segments import segments
from echowire.core.packets.tcp.walk import (
    ACK_LOST_SEGMENT,
    DUPLICATE_ACK,
    FAST_RETRANSMISSION,
    KEEP_ALIVE,
    KEEP_ALIVE_ACK,
    LOST_SEGMENT,
    OUT_OF_ORDER,
    RETRANSMISSION,
    REUSED_PORTS,
    SPURIOUS_RETRANSMISSION,
    WINDOW_FULL,
    WINDOW_UPDATE,
    ZERO_WINDOW,
    ZERO_WINDOW_PROBE,
    ZERO_WINDOW_PROBE_ACK,
)

NOTES = (
    (
        "reused_ports",
        REUSED_PORTS,
        "A new tcp session is started with the same ports as an earlier session in this trace",
    ),
    (
        "retransmission",
        RETRANSMISSION | FAST_RETRANSMISSION | SPURIOUS_RETRANSMISSION,
        "This frame is a (suspected) retransmission",
    ),
    ("fast_retransmission", FAST_RETRANSMISSION, "This frame is a (suspected) fast retransmission"),
    ("spurious_retransmission", SPURIOUS_RETRANSMISSION, "This frame is a (suspected) spurious retransmission"),
    ("out_of_order", OUT_OF_ORDER, "This frame is a (suspected) out-of-order segment"),
    ("lost_segment", LOST_SEGMENT, "Previous segment(s) not captured (common at capture start)"),
    ("ack_lost_segment", ACK_LOST_SEGMENT, "ACKed segment that wasn't captured (common at capture start)"),
    ("window_update", WINDOW_UPDATE, "TCP window update"),
    ("window_full", WINDOW_FULL, "TCP window specified by the receiver is now completely full"),
    ("keep_alive", KEEP_ALIVE, "TCP keep-alive segment"),
    ("keep_alive_ack", KEEP_ALIVE_ACK, "ACK to a TCP keep-alive segment"),
    ("duplicate_ack", DUPLICATE_ACK, "This is a TCP duplicate ack"),
    ("zero_window_probe", ZERO_WINDOW_PROBE, "TCP Zero Window Probe"),
    ("zero_window", ZERO_WINDOW, "TCP Zero Window segment"),
    ("zero_window_probe_ack", ZERO_WINDOW_PROBE_ACK, "ACK to a TCP Zero Window Probe"),
)
"""Fields that say that something is noted. Fast and spurious retransmissions are retransmissions, too."""

MARKS = (
    (ZERO_WINDOW_PROBE_ACK, "[TCP ZeroWindowProbeAck] "),
    (ZERO_WINDOW, "[TCP ZeroWindow] "),
    (ZERO_WINDOW_PROBE, "[TCP ZeroWindowProbe] "),
    (DUPLICATE_ACK, "[TCP Dup ACK {frame}#{number}] "),
    (KEEP_ALIVE_ACK, "[TCP Keep-Alive ACK] "),
    (KEEP_ALIVE, "[TCP Keep-Alive] "),
    (WINDOW_FULL, "[TCP Window Full] "),
    (WINDOW_UPDATE, "[TCP Window Update] "),
    (ACK_LOST_SEGMENT, "[TCP ACKed unseen segment] "),
    (LOST_SEGMENT, "[TCP Previous segment not captured] "),
    (OUT_OF_ORDER, "[TCP Out-Of-Order] "),
    (SPURIOUS_RETRANSMISSION, "[TCP Spurious Retransmission] "),
    (FAST_RETRANSMISSION, "[TCP Fast Retransmission] "),
    (RETRANSMISSION, "[TCP Retransmission] "),
    (REUSED_PORTS, "[TCP Port numbers reused] "),
)
"""What Info begins with, in the order in which it stands there."""


def _marked(where: Callable[[Analysis], Mask]) -> Callable[[Layer], Picked]:
    """A field without a value."""

    def make(layer: Layer) -> Picked:
        stream, found = segments(layer), analysis(layer)
        chosen = where(found) & stream.shown
        return stream.joined.picked(layer, np.ones(len(stream), np.uint8), chosen)

    return make


def _where(column: Callable[[Analysis], Column], where: Callable[[Analysis], Mask]) -> Callable[[Layer], Picked]:
    """A field whose value is shown where `where` holds."""

    def make(layer: Layer) -> Picked:
        stream, found = segments(layer), analysis(layer)
        return stream.joined.picked(layer, column(found), stream.shown & where(found))

    return make


def _valued(
    column: Callable[[Analysis], Column], where: Callable[[Analysis], Mask] | None = None
) -> Callable[[Layer], Picked]:
    """A field whose value is shown where it is not 0, and where `where` holds."""

    def counts(found: Analysis) -> Mask:
        there: Mask = column(found) != 0
        return there if where is None else there & where(found)

    return _where(column, counts)


def _has(bits: int) -> Callable[[Analysis], Mask]:
    def holds(found: Analysis) -> Mask:
        mask: Mask = (found.flags & bits) != 0
        return mask

    return holds


def _field(name: str, label: str, kind: Type, make: Callable[[Layer], Picked], under: str = "tcp.analysis") -> Field:
    return Field(f"tcp.{name}", label, kind, make=make, under=under, generated=True, remembered=True)


FIELDS = (
    _field("analysis", "SEQ/ACK analysis", Type.NONE, _marked(lambda found: found.is_noted), ""),
    _field(
        "analysis.acks_frame",
        "This is an ACK to the segment in frame",
        Type.FRAME_NUMBER,
        _valued(lambda found: found.acked_frame.astype(np.uint32)),
    ),
    _field(
        "analysis.ack_rtt",
        "The RTT to ACK the segment was",
        Type.RELATIVE_TIME,
        _valued(lambda found: found.rtt_ns, lambda found: found.acked_frame != 0),
    ),
    _field(
        "analysis.initial_rtt",
        "iRTT",
        Type.RELATIVE_TIME,
        _valued(lambda found: found.handshake_ns, lambda found: found.is_noted),
    ),
    _field(
        "analysis.bytes_in_flight",
        "Bytes in flight",
        Type.UINT32,
        _valued(lambda found: found.in_flight.astype(np.uint32)),
    ),
    _field(
        "analysis.push_bytes_sent",
        "Bytes sent since last PSH flag",
        Type.UINT32,
        _valued(lambda found: found.pushed.astype(np.uint32), lambda found: found.in_flight != 0),
    ),
    _field("analysis.flags", "TCP Analysis Flags", Type.NONE, _marked(lambda found: found.flags != 0)),
    *(
        _field(f"analysis.{name}", label, Type.NONE, _marked(_has(bits)), "tcp.analysis.flags")
        for name, bits, label in NOTES
    ),
    _field(
        "analysis.rto",
        "The RTO for this segment was",
        Type.RELATIVE_TIME,
        _valued(lambda found: found.rto_ns),
        "tcp.analysis.flags",
    ),
    _field(
        "analysis.rto_frame",
        "RTO based on delta from frame",
        Type.FRAME_NUMBER,
        _valued(lambda found: found.rto_frame.astype(np.uint32), lambda found: found.rto_ns != 0),
        "tcp.analysis.flags",
    ),
    _field(
        "analysis.duplicate_ack_num",
        "Duplicate ACK #",
        Type.UINT32,
        _valued(lambda found: found.duplicate.astype(np.uint32)),
    ),
    _field(
        "analysis.duplicate_ack_frame",
        "Duplicate to the ACK in frame",
        Type.FRAME_NUMBER,
        _where(lambda found: found.duplicate_of.astype(np.uint32), lambda found: found.duplicate != 0),
    ),
)


def marks(layer: Layer) -> Iterator[tuple[int, str]]:
    """What Info begins with, of the entries of which anything is noted."""
    stream, found = segments(layer), analysis(layer)
    picked = stream.joined.picked(layer, np.flatnonzero(np.ones(len(stream))), (found.flags != 0) & stream.shown)
    at = picked.values
    columns = (picked.index, found.flags[at], found.duplicate[at], found.duplicate_of[at])
    for entry, flags, number, frame in zip(*(one.tolist() for one in columns), strict=True):
        text = "".join(mark for bit, mark in MARKS if flags & bit)
        yield entry, text.format(frame=frame, number=number) if flags & DUPLICATE_ACK else text
