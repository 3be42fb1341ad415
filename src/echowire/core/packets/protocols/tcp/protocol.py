"""TCP (RFC 9293): its header, what the stream tells of a segment, and what it carries.

Options are in `options.py` and `../mptcp.py`, streams in `core/packets/tcp/segments.py`. As in Wireshark, numbers are
relative, a window is scaled by what the handshake said, and checksums are computed only when they are asked for
(`tcp.checksum_calculated`), as a sending host's network card fills them in after the capture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from echowire.core.captures.records import Rows
from echowire.core.packets.checksums import CHECKSUM_STATES, UNVERIFIED, transport_checksums
from echowire.core.packets.columns import Column, Type, objects
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol
from echowire.core.packets.protocols.tcp.notes import FIELDS as ANALYSIS_FIELDS
from echowire.core.packets.protocols.tcp.notes import marks
from echowire.core.packets.protocols.tcp.option_texts import option_texts
from echowire.core.packets.streams import Mask, conversation_numbers, stream_field, time_fields
from echowire.core.packets.tcp.analysis import analysis
from echowire.core.packets.tcp.header import ACK, FIN, MIN_HEADER_BYTES, RST, SYN, URG
from echowire.core.packets.tcp.options import FIRST, MSS, has_option, places
from echowire.core.packets.tcp.segments import KNOWN_BYTES, NO_SCALE, Segments, header_bytes, segment_bytes, segments
from echowire.core.packets.tcp.walk import KEEP_ALIVE, OUT_OF_ORDER, RETRANSMISSION

SET = {0: "Not set", 1: "Set"}

FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE", "Reserved", "Reserved", "Reserved")
"""From the lowest bit."""
FLAG_LETTERS = "FSRPAUECARRR"


@cache
def _flag_texts() -> list[str]:
    """`SYN, ACK` for each of the 4096 combinations; the three reserved bits have one name."""
    texts = []
    for value in range(1 << 12):
        names = [name for bit, name in enumerate(FLAG_NAMES) if value >> bit & 1]
        texts.append(", ".join(dict.fromkeys(names)) or "<None>")
    return texts


@cache
def _flag_letters() -> Column:
    """`·······A··S·` for each combination."""
    return objects(
        [
            "".join(letter if value >> bit & 1 else "·" for bit, letter in reversed([*enumerate(FLAG_LETTERS)]))
            for value in range(1 << 12)
        ]
    )


def _flags(layer: Layer) -> Rows:
    return layer.uint(12, 2).astype(np.int64) & 0xFFF


def _flags_shown(layer: Layer) -> list[str]:
    names = _flag_texts()
    return [f"0x{flags:03x} ({names[flags]})" for flags in _flags(layer).tolist()]


def _header_bytes_shown(layer: Layer) -> list[str]:
    return [f"{size} bytes ({size // 4})" for size in header_bytes(layer).tolist()]


def _is_whole(layer: Layer) -> Mask:
    """Whether its header's length can be: Wireshark dissects no further where not."""
    found: Mask = header_bytes(layer) >= MIN_HEADER_BYTES
    return found & layer.has(KNOWN_BYTES)


def _is_known(layer: Layer) -> Mask:
    return layer.has(KNOWN_BYTES)


def _of(
    column: Callable[[Segments], Column], where: Callable[[Segments], Mask] | None = None
) -> Callable[[Layer], Picked]:
    """A field that the chunk's segments tell."""

    def make(layer: Layer) -> Picked:
        stream = segments(layer)
        return stream.joined.picked(layer, column(stream), None if where is None else where(stream))

    return make


def _marked(where: Callable[[Layer], Mask]) -> Callable[[Layer], Picked]:
    """A field of no value, where something holds."""

    def make(layer: Layer) -> Picked:
        index = np.flatnonzero(where(layer) & _is_whole(layer))
        return Picked(index, np.ones(len(index), np.uint8))

    return make


def _has_flags(mask: int, value: int) -> Callable[[Layer], Mask]:
    def holds(layer: Layer) -> Mask:
        found: Mask = (_flags(layer) & mask) == value
        return found

    return holds


# Numbers.


def _quoted_by_icmp(layer: Layer) -> bool:
    """Whether it stands in an IPv4 packet that an ICMP error quotes: then its number is shown as it stands there."""
    ip = layer.parent
    return ip is not None and ip.protocol.name == "ip" and ip.parent is not None and ip.parent.protocol.name == "icmp"


def _seq(layer: Layer) -> Picked:
    if _quoted_by_icmp(layer):
        index = np.flatnonzero(layer.has(8))
        return Picked(index, layer.uint(4, 4)[index])
    return _of(lambda stream: stream.relative_seq.astype(np.uint32))(layer)


def _next_seq(stream: Segments) -> Column:
    counts = ((stream.flags & (SYN | FIN)) != 0).astype(np.int64)
    following: Column = (stream.relative_seq + stream.length + counts).astype(np.uint32)
    return following


def _scale_factor(stream: Segments) -> Column:
    shift = stream.scales[0]
    return np.where(shift < 0, shift, 1 << np.maximum(shift, 0)).astype(np.int32)


def _length(layer: Layer) -> Picked:
    size = segment_bytes(layer)
    index = np.flatnonzero((size >= 0) & _is_known(layer))
    return Picked(index, size[index].astype(np.uint32))


# Bytes.


def _options(layer: Layer) -> Picked:
    header = header_bytes(layer)
    index = np.flatnonzero(_is_whole(layer) & (header > FIRST) & layer.has(FIRST + 1))
    sizes = header[index].tolist()
    return Picked(
        index, objects([layer.payload(one)[FIRST:end] for one, end in zip(index.tolist(), sizes, strict=True)])
    )


def _payload_entries(layer: Layer, is_reset: bool) -> Rows:
    reset = (_flags(layer) & RST) != 0
    return np.flatnonzero((layer.end > layer.start + header_bytes(layer)) & _is_whole(layer) & (reset == is_reset))


def _payload(layer: Layer) -> Picked:
    index, header = _payload_entries(layer, is_reset=False), header_bytes(layer).tolist()
    return Picked(index, objects([layer.payload(one)[header[one] :] for one in index.tolist()]))


def _reset_cause(layer: Layer) -> Picked:
    index, header = _payload_entries(layer, is_reset=True), header_bytes(layer).tolist()
    texts = [layer.payload(one)[header[one] :].partition(b"\0")[0].decode("ascii", "replace") for one in index.tolist()]
    return Picked(index, objects(texts))


# Checksums.

PROTOCOL = 6


def _checksum(layer: Layer) -> tuple[Rows, Column, Column]:
    return layer.once("checksum", lambda: transport_checksums(layer, PROTOCOL, layer.wire_end - layer.start, 16))


def _calculated(layer: Layer) -> Picked:
    index, _, should = _checksum(layer)
    return Picked(index, should)


def _is_bad(layer: Layer) -> Picked:
    index, said, should = _checksum(layer)
    bad = index[said != should]
    return Picked(bad, np.ones(len(bad), np.uint8))


def _status(layer: Layer) -> Picked:
    index = np.flatnonzero(_is_whole(layer) & layer.has(18))
    return Picked(index, np.full(len(index), UNVERIFIED, np.uint8))


# What follows.


def _next(layer: Layer) -> Iterator[Next]:
    if layer.leads_to("tcp.option"):
        for place in places(layer):
            start = layer.start[place.entry] + place.at
            yield Next(
                "tcp.option",
                (place.kind,),
                place.entry,
                start,
                start + place.size,
                otherwise="tcp.options.unknown",
            )
    if not layer.leads_to("tcp.port"):
        return
    start = layer.start + header_bytes(layer)
    # Data in a reset is text for people (RFC 9293, section 3.5.2).
    carries = (layer.end > start) & _is_whole(layer) & ((_flags(layer) & RST) == 0)
    which = np.flatnonzero(carries)
    again, alive = _repeated(layer)  # in every chunk, as what it knows of a stream goes on from chunk to chunk
    kept_alive = which[alive[which]]
    yield Next("data", (), kept_alive, start[kept_alive], layer.wire_end[kept_alive])
    which = which[~(again | alive)[which]]
    source, destination = layer.uint(0, 2)[which], layer.uint(2, 2)[which]
    ports = np.minimum(source, destination), np.maximum(source, destination)
    yield Next(
        "tcp.port",
        ports,
        which,
        start[which],
        layer.wire_end[which],
        streams=lambda: conversation_numbers(layer, which),
    )


def _repeated(layer: Layer) -> tuple[Mask, Mask]:
    """Which entries only repeat what came before or come out of order, and which only keep the connection alive.

    What the former carry is no message of its own: it was seen, or will be where it belongs. As in Wireshark, what a
    fast or a spurious retransmission carries is looked at: whether the first was captured is not known.
    """
    stream = segments(layer)
    picked = stream.joined.picked(layer, analysis(layer).flags)
    flags = np.zeros(len(layer), np.int64)
    flags[picked.index] = picked.values
    return (flags & (RETRANSMISSION | OUT_OF_ORDER)) != 0, (flags & KEEP_ALIVE) != 0


# Lines.


def _label(layer: Layer) -> Sequence[str]:
    source, destination = layer.uint(0, 2).tolist(), layer.uint(2, 2).tolist()
    ends = [f", Src Port: {one}, Dst Port: {other}" for one, other in zip(source, destination, strict=True)]
    stream = segments(layer)
    seq = stream.joined.picked(layer, stream.relative_seq)
    ack = stream.joined.picked(layer, stream.relative_ack).values
    columns = (seq.index, seq.values, ack, _flags(layer)[seq.index], segment_bytes(layer)[seq.index])
    for entry, number, acked, flags, size in zip(*(one.tolist() for one in columns), strict=True):
        ends[entry] += f", Seq: {number}"
        if flags & ACK:
            ends[entry] += f", Ack: {acked}"
        if size >= 0:
            ends[entry] += f", Len: {size}"
    return ends


def _info(layer: Layer) -> Sequence[str]:
    """`443 → 54447 [ACK] Seq=1 Ack=1 Win=65535 Len=0 TSval=…`, behind what the analysis notes."""
    source, destination = layer.uint(0, 2).tolist(), layer.uint(2, 2).tolist()
    texts = [f"{one} → {other}" for one, other in zip(source, destination, strict=True)]
    stream = segments(layer)
    values = [stream.relative_seq, stream.relative_ack, stream.scaled_window, stream.flags, stream.length]
    picked = [stream.joined.picked(layer, one) for one in values]
    if not picked[0].index.size:
        return texts
    index = picked[0].index
    columns = [index, *(one.values for one in picked), header_bytes(layer)[index], layer.uint(18, 2)[index]]
    names = _flag_texts()
    for entry, seq, ack, window, flags, size, header, urgent in zip(*(one.tolist() for one in columns), strict=True):
        acked = f" Ack={ack}" if flags & ACK else ""
        text = f"{texts[entry]} [{names[flags]}] Seq={seq}{acked} Win={window}"
        if header < MIN_HEADER_BYTES:
            text += f", bogus TCP header length ({header}, must be at least {MIN_HEADER_BYTES})"
        else:
            if flags & URG:
                text += f" Urg={urgent}"
            if size >= 0:
                text += f" Len={size}"
        texts[entry] = text
    for entry, said in option_texts(layer):
        texts[entry] += said
    for entry, mark in marks(layer):
        texts[entry] = mark + texts[entry]
    return texts


def _own_bytes(layer: Layer) -> Rows:
    """The header; of one that says a length that cannot be, all that there is."""
    size = header_bytes(layer)
    return np.where(size < MIN_HEADER_BYTES, layer.end - layer.start, size)


PROTOCOLS = (
    Protocol(
        "tcp",
        "Transmission Control Protocol",
        "TCP",
        fields=(
            Field("tcp.srcport", "Source Port", Type.UINT16, 0),
            Field("tcp.dstport", "Destination Port", Type.UINT16, 2),
            Field("tcp.port", "Source or Destination Port", Type.UINT16, either=("tcp.srcport", "tcp.dstport")),
            stream_field("tcp", _of(lambda stream: stream.stream.astype(np.uint32))),
            Field(
                "tcp.completeness",
                "Conversation completeness",
                Type.UINT8,
                make=_of(lambda stream: stream.completeness),
                generated=True,
                remembered=True,
            ),
            Field("tcp.len", "TCP Segment Len", Type.UINT32, make=_length, generated=True),
            Field("tcp.seq", "Sequence Number", Type.UINT32, 4, make=_seq, remembered=True),
            Field(
                "tcp.seq_raw",
                "Sequence Number (raw)",
                Type.UINT32,
                4,
                when=lambda layer: _is_known(layer) & (not _quoted_by_icmp(layer)),
            ),
            Field(
                "tcp.nxtseq",
                "Next Sequence Number",
                Type.UINT32,
                make=_of(_next_seq, lambda stream: stream.measured & stream.whole),
                generated=True,
                remembered=True,
            ),
            Field(
                "tcp.ack",
                "Acknowledgment Number",
                Type.UINT32,
                8,
                make=_of(lambda stream: stream.relative_ack.astype(np.uint32), lambda stream: stream.whole),
                remembered=True,
            ),
            Field("tcp.ack_raw", "Acknowledgment number (raw)", Type.UINT32, 8, when=_is_whole),
            Field(
                "tcp.hdr_len",
                "Header Length",
                Type.UINT8,
                12,
                mask=0xF0,
                scale=4,
                when=_is_known,
                show=_header_bytes_shown,
            ),
            Field("tcp.flags", "Flags", Type.UINT16, 12, mask=0x0FFF, base="hex", when=_is_whole, show=_flags_shown),
            *(
                Field(
                    f"tcp.flags.{name}",
                    label,
                    Type.BOOLEAN,
                    12,
                    2,
                    mask=mask,
                    names=SET,
                    when=_is_whole,
                    under="tcp.flags",
                )
                for name, label, mask in (
                    ("res", "Reserved", 0xE00),
                    ("ae", "Accurate ECN", 0x100),
                    ("cwr", "Congestion Window Reduced", 0x080),
                    ("ece", "ECN-Echo", 0x040),
                    ("urg", "Urgent", 0x020),
                    ("ack", "Acknowledgment", 0x010),
                    ("push", "Push", 0x008),
                    ("reset", "Reset", 0x004),
                    ("syn", "Syn", 0x002),
                    ("fin", "Fin", 0x001),
                )
            ),
            Field(
                "tcp.flags.str",
                "TCP Flags",
                Type.STRING,
                make=lambda layer: _flag_letters()[_flags(layer)],
                when=_is_whole,
                under="tcp.flags",
                generated=True,
            ),
            Field("tcp.window_size_value", "Window", Type.UINT16, 14, when=_is_whole),
            Field(
                "tcp.window_size",
                "Calculated window size",
                Type.UINT32,
                make=_of(lambda stream: stream.scaled_window.astype(np.uint32), lambda stream: stream.whole),
                generated=True,
                remembered=True,
            ),
            Field(
                "tcp.window_size_scalefactor",
                "Window size scaling factor",
                Type.INT32,
                make=_of(_scale_factor, lambda stream: stream.whole & ((stream.flags & SYN) == 0)),
                names={-1: "unknown", NO_SCALE: "no window scaling used"},
                generated=True,
                remembered=True,
            ),
            Field("tcp.checksum", "Checksum", Type.UINT16, 16, base="hex", when=_is_whole),
            Field(
                "tcp.checksum.status",
                "Checksum Status",
                Type.UINT8,
                make=_status,
                names=CHECKSUM_STATES,
                generated=True,
            ),
            Field(
                "tcp.checksum_calculated",
                "Calculated Checksum",
                Type.UINT16,
                make=_calculated,
                base="hex",
                generated=True,
                hidden=True,
            ),
            Field("tcp.checksum_bad.expert", "Bad checksum", Type.NONE, make=_is_bad, generated=True, hidden=True),
            Field("tcp.urgent_pointer", "Urgent Pointer", Type.UINT16, 18, when=_is_whole),
            Field("tcp.options", "TCP Options", Type.BYTES, make=_options),
            *time_fields(
                "tcp",
                " in this TCP stream",
                _of(lambda stream: stream.times[0], lambda stream: stream.complete),
                _of(lambda stream: stream.times[1], lambda stream: stream.complete),
            ),
            *ANALYSIS_FIELDS,
            Field("tcp.payload", "TCP payload", Type.BYTES, make=_payload),
            Field("tcp.reset_cause", "Reset cause", Type.STRING, make=_reset_cause),
            *(
                Field(f"tcp.{name}", label, Type.NONE, make=_marked(where), generated=True, hidden=True)
                for name, label, where in (
                    ("connection.syn", "Connection establish request (SYN)", _has_flags(SYN | ACK, SYN)),
                    (
                        "connection.synack",
                        "Connection establish acknowledge (SYN+ACK)",
                        _has_flags(SYN | ACK, SYN | ACK),
                    ),
                    ("connection.fin", "Connection finish (FIN)", _has_flags(FIN, FIN)),
                    ("connection.rst", "Connection reset (RST)", _has_flags(RST, RST)),
                    (
                        "ack.nonzero",
                        "The acknowledgment number field is nonzero while the ACK flag is not set",
                        lambda layer: ((_flags(layer) & ACK) == 0) & (layer.uint(8, 4) != 0),
                    ),
                    (
                        "urgent_pointer.non_zero",
                        "The urgent pointer field is nonzero while the URG flag is not set",
                        lambda layer: ((_flags(layer) & URG) == 0) & (layer.uint(18, 2) != 0) & layer.has(20),
                    ),
                    (
                        "options.mss.present",
                        "The non-SYN packet does contain a MSS option",
                        lambda layer: ((_flags(layer) & SYN) == 0) & has_option(layer, MSS),
                    ),
                )
            ),
        ),
        keys=(("ip.proto", 6),),
        follow=_next,
        follows_last=True,
        tables=("tcp.option", "tcp.port"),
        size=_own_bytes,
        label=_label,
        info=_info,
        least=4,
    ),
)
