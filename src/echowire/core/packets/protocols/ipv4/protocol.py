"""IPv4 (RFC 791).

What is not as it must be ends the dissection where tshark's ends: a version that is not 4 shows the version alone, a
header shorter than 20 bytes its length too, a total length shorter than the header all up to that. A total length of 0
is a segment that the network card was to cut into packets (TCP segmentation offload).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Bytes, Rows
from echowire.core.packets.assigned import IP_PROTOCOLS
from echowire.core.packets.cells import strings
from echowire.core.packets.checksums import CHECKSUM_STATES, unverified
from echowire.core.packets.columns import Type, gather_bytes
from echowire.core.packets.fragments import Fragments, Joined, join, joined_fields
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol

MIN_HEADER_BYTES = 20

FLAG_NAMES = {4: "Reserved bit", 2: "Don't fragment", 1: "More fragments"}
MAX_HEADER_BYTES = 60

END_OF_OPTIONS, NO_OPERATION, SOURCE_ROUTES = 0, 1, (131, 137)

DSCP = {
    0: "Default",
    1: "Lower Effort",
    8: "Class Selector 1",
    10: "Assured Forwarding 11",
    12: "Assured Forwarding 12",
    14: "Assured Forwarding 13",
    16: "Class Selector 2",
    18: "Assured Forwarding 21",
    20: "Assured Forwarding 22",
    22: "Assured Forwarding 23",
    24: "Class Selector 3",
    26: "Assured Forwarding 31",
    28: "Assured Forwarding 32",
    30: "Assured Forwarding 33",
    32: "Class Selector 4",
    34: "Assured Forwarding 41",
    36: "Assured Forwarding 42",
    38: "Assured Forwarding 43",
    40: "Class Selector 5",
    44: "Voice Admit",
    46: "Expedited Forwarding",
    48: "Class Selector 6",
    56: "Class Selector 7",
}
ECN = {
    0: "Not ECN-Capable Transport",
    1: "ECN-Capable Transport codepoint '01'",
    2: "ECN-Capable Transport codepoint '10'",
    3: "Congestion Experienced",
}


def header_bytes(layer: Layer) -> Rows:
    """The header's length as it says itself."""
    return layer.once("header", lambda: (layer.uint(0, 1) & 0xF).astype(np.int64) * 4)


def _is_v4(layer: Layer) -> NDArray[np.bool_]:
    return layer.once("v4", lambda: (layer.uint(0, 1) >> 4 == 4) & layer.has(1))


def _has_length(layer: Layer) -> NDArray[np.bool_]:
    """Those whose header is long enough to be one."""
    return layer.once("has length", lambda: _is_v4(layer) & (header_bytes(layer) >= MIN_HEADER_BYTES))


def is_sound(layer: Layer) -> NDArray[np.bool_]:
    """Those whose lengths can be."""

    def made() -> NDArray[np.bool_]:
        total = layer.uint(2, 2)
        found: NDArray[np.bool_] = _has_length(layer) & ((total >= header_bytes(layer)) | (total == 0))
        return found

    return layer.once("sound", made)


def ends(layer: Layer) -> Rows:
    """Offset behind each packet: where it says, or where the outer layer does if that is sooner."""
    total = layer.uint(2, 2)
    return np.where(total == 0, layer.wire_end, np.minimum(layer.start + total, layer.wire_end))


def _total(layer: Layer) -> Picked:
    """The total length; of a segment that says 0, what there is."""
    index = np.flatnonzero(layer.has(4))
    total = layer.uint(2, 2)[index]
    if total.all():
        return Picked(index, total)
    left = (layer.wire_end - layer.start)[index]
    return Picked(index, np.where(total == 0, left, total).astype(np.uint32))


def is_fragment(layer: Layer) -> NDArray[np.bool_]:
    """Those that are a part of a datagram."""
    found: NDArray[np.bool_] = (layer.uint(6, 2) & 0x3FFF) != 0
    return found


def _next(layer: Layer) -> Iterator[Next]:
    header, sound = header_bytes(layer), is_sound(layer) & layer.has(MIN_HEADER_BYTES)
    with_options = np.flatnonzero(sound & (header > MIN_HEADER_BYTES))
    if len(with_options):
        start = (layer.start + MIN_HEADER_BYTES)[with_options]
        end = np.minimum(layer.start + header, layer.wire_end)[with_options]
        yield Next("ip.options", (0,), with_options, start, end, otherwise="")
    first = (layer.uint(6, 2) & 0x1FFF) == 0
    end = ends(layer)
    if layer.memory.defragment:
        # A first fragment that was cut completes nothing: what there is of it is read, as in Wireshark.
        first &= ~(is_fragment(layer) & layer.has(np.maximum(layer.uint(2, 2), end - layer.start)))
    which = sound & first & ((layer.start + header) < end)
    index = layer.every if which.all() else np.flatnonzero(which)
    yield Next("ip.proto", (layer.uint(9, 1)[index],), index, (layer.start + header)[index], end[index])
    later = np.flatnonzero(sound & ~first & (layer.start + header < end))
    if len(later) and layer.memory.defragment:
        joined = _joined(layer, later)
        yield Next(
            "ip.proto", (layer.uint(9, 1)[joined.index],), joined.index, joined.start, joined.end, data=joined.data
        )
        later = np.setdiff1d(later, joined.index)
    if len(later):
        yield Next("", (), later, (layer.start + header)[later], end[later])


def _joined(layer: Layer, index: Rows) -> Joined:
    """The datagrams that the fragments at `index` complete. They are told apart by addresses, protocol, number."""

    def made() -> Joined:
        flags = layer.uint(6, 2)[index].astype(np.int64)
        keys = [one[12:20].tobytes() + one[9:10].tobytes() + one[4:6].tobytes() for one in _fixed(layer, index)]
        start = (layer.start + header_bytes(layer))[index]
        return join(layer, Fragments(index, keys, (flags & 0x1FFF) * 8, flags & 0x2000, start, ends(layer)[index]))

    return layer.once("joined", made)


def _fixed(layer: Layer, index: Rows) -> Bytes:
    return gather_bytes(layer.data, layer.start[index], MIN_HEADER_BYTES)


def checksum_sums(layer: Layer) -> NDArray[np.uint32]:
    """The one's complement sum over each header, folded; 0xFFFF is a header whose checksum is right."""

    def made() -> NDArray[np.uint32]:
        block = gather_bytes(layer.data, np.minimum(layer.start, len(layer.data) - MAX_HEADER_BYTES), MAX_HEADER_BYTES)
        words = np.ascontiguousarray(block).view(">u2").astype(np.uint32)
        words[np.arange(MAX_HEADER_BYTES // 2) * 2 >= header_bytes(layer)[:, None]] = 0
        total = words.sum(axis=1, dtype=np.uint32)
        total = (total & 0xFFFF) + (total >> 16)
        folded: NDArray[np.uint32] = (total & 0xFFFF) + (total >> 16)
        return folded

    return layer.once("checksum", made)


def _calculated(layer: Layer) -> Picked:
    """What the checksum should be."""
    index = np.flatnonzero(is_sound(layer) & layer.has(header_bytes(layer)))
    rest = checksum_sums(layer)[index] + (0xFFFF - layer.uint(10, 2)[index].astype(np.uint32))
    rest = (rest & 0xFFFF) + (rest >> 16)
    return Picked(index, (0xFFFF - rest).astype(np.uint16))


def _destination(layer: Layer) -> Picked:
    """Where a packet is to go in the end: with a source route that is the route's last address (RFC 791, 3.1)."""
    whole = layer.has(MIN_HEADER_BYTES)
    index = layer.every if whole.all() else np.flatnonzero(whole)
    found = layer.number(layer.start[index] + 16, 4)
    for place in np.flatnonzero(header_bytes(layer)[index] > MIN_HEADER_BYTES).tolist():
        begin = int(layer.start[index[place]])
        size = min(int(header_bytes(layer)[index[place]]), int(layer.end[index[place]]) - begin)
        last = _route_end(layer.data[begin + MIN_HEADER_BYTES : begin + size].tobytes())
        if last is not None:
            found[place] = last
    return Picked(index, found)


def _route_end(options: bytes) -> int | None:
    """The last address of a source route that is not at its end; None if there is none."""
    at = 0
    while at + 1 < len(options) and options[at] != END_OF_OPTIONS:
        if options[at] == NO_OPERATION:
            at += 1
            continue
        size = options[at + 1]
        if size < 2 or at + size > len(options):
            return None
        if options[at] in SOURCE_ROUTES:
            pointer = options[at + 2] if size > 2 else size
            is_open = size >= 7 and 4 <= pointer < size and pointer % 4 == 0
            return int.from_bytes(options[at + size - 4 : at + size], "big") if is_open else None
        at += size
    return None


def _flags_shown(layer: Layer) -> list[str]:
    names = [", ".join(name for bit, name in FLAG_NAMES.items() if value & bit) for value in range(8)]
    return [f"0x{flags:x}{names[flags] and ', '}{names[flags]}" for flags in (layer.uint(6, 1) >> 5).tolist()]


def _label(layer: Layer) -> list[str]:
    source, target = layer.uint(12, 4), layer.uint(16, 4)
    texts = zip(strings(_SOURCE, source).tolist(), strings(_DESTINATION, target).tolist(), strict=True)
    has = layer.has(MIN_HEADER_BYTES) & is_sound(layer)
    return [f", Src: {a}, Dst: {b}" if whole else "" for whole, (a, b) in zip(has.tolist(), texts, strict=True)]


def _info(layer: Layer) -> list[str | None]:
    columns = (layer.uint(9, 1), layer.uint(6, 2), layer.uint(4, 2), header_bytes(layer), layer.uint(2, 2))
    checks = (_is_v4(layer), _has_length(layer), is_sound(layer))
    told = (is_fragment(layer) | ~is_sound(layer)) & layer.has(1)
    found: list[str | None] = [_CARRIED[protocol] for protocol in layer.uint(9, 1).tolist()]
    for entry in np.flatnonzero(is_sound(layer) & (layer.start + header_bytes(layer) >= ends(layer))).tolist():
        found[entry] = ""  # nothing is carried
    for entry in np.flatnonzero(told).tolist():
        protocol, flags, ident, header, total = (int(column[entry]) for column in columns)
        if not checks[0][entry]:
            version = int(layer.uint(0, 1)[entry]) >> 4
            found[entry] = f"Bogus IPv4 version ({version}, must be 4)"
        elif not checks[1][entry]:
            found[entry] = f"Bogus IP header length ({header}, must be at least {MIN_HEADER_BYTES})"
        elif not checks[2][entry]:
            found[entry] = f"Bogus IP length ({total}, less than header length {header})"
        else:
            name = IP_PROTOCOLS.get(protocol, "Unknown")
            found[entry] = (
                f"Fragmented IP protocol (proto={name} {protocol}, off={(flags & 0x1FFF) * 8}, ID={ident:04x})"
            )
    return found


_CARRIED = [f"{IP_PROTOCOLS.get(protocol, 'Unassigned')} ({protocol})" for protocol in range(256)]

_SOURCE = Field("ip.src", "Source Address", Type.IPV4, 12, when=is_sound)
_DESTINATION = Field("ip.dst", "Destination Address", Type.IPV4, 16, make=_destination, when=is_sound)

PROTOCOLS = (
    Protocol(
        "ip",
        "Internet Protocol Version 4",
        "IPv4",
        fields=(
            Field("ip.version", "Version", Type.UINT8, 0, mask=0xF0),
            Field(
                "ip.hdr_len",
                "Header Length",
                Type.UINT8,
                0,
                mask=0x0F,
                scale=4,
                when=_is_v4,
                show=lambda layer: [f"{size} bytes ({size // 4})" for size in header_bytes(layer).tolist()],
            ),
            Field("ip.dsfield", "Differentiated Services Field", Type.UINT8, 1, base="hex", when=_has_length),
            Field(
                "ip.dsfield.dscp",
                "Differentiated Services Codepoint",
                Type.UINT8,
                1,
                mask=0xFC,
                names=DSCP,
                under="ip.dsfield",
                when=_has_length,
            ),
            Field(
                "ip.dsfield.ecn",
                "Explicit Congestion Notification",
                Type.UINT8,
                1,
                mask=0x03,
                names=ECN,
                under="ip.dsfield",
                when=_has_length,
            ),
            Field("ip.len", "Total Length", Type.UINT16, 2, make=_total, when=_has_length),
            Field("ip.id", "Identification", Type.UINT16, 4, base="hex_dec", when=is_sound),
            Field("ip.flags", "Flags", Type.UINT8, 6, mask=0xE0, base="hex", when=is_sound, show=_flags_shown),
            Field("ip.flags.rb", "Reserved bit", Type.BOOLEAN, 6, mask=0x80, under="ip.flags", when=is_sound),
            Field("ip.flags.df", "Don't fragment", Type.BOOLEAN, 6, mask=0x40, under="ip.flags", when=is_sound),
            Field("ip.flags.mf", "More fragments", Type.BOOLEAN, 6, mask=0x20, under="ip.flags", when=is_sound),
            Field(
                "ip.frag_offset",
                "Fragment Offset",
                Type.UINT16,
                6,
                mask=0x1FFF,
                when=is_sound,
                show=lambda layer: [str((flags & 0x1FFF) * 8) for flags in layer.uint(6, 2).tolist()],
            ),
            Field("ip.ttl", "Time to Live", Type.UINT8, 8, when=is_sound),
            Field("ip.proto", "Protocol", Type.UINT8, 9, names=IP_PROTOCOLS, when=is_sound),
            Field("ip.checksum", "Header Checksum", Type.UINT16, 10, base="hex", when=is_sound),
            Field(
                "ip.checksum.status",
                "Header checksum status",
                Type.UINT8,
                make=unverified,
                names=CHECKSUM_STATES,
                when=lambda layer: is_sound(layer) & layer.has(12),
                generated=True,
            ),
            Field(
                "ip.checksum_calculated",
                "Calculated Checksum",
                Type.UINT16,
                base="hex",
                make=_calculated,
                generated=True,
                hidden=True,
            ),
            _SOURCE,
            _DESTINATION,
            *joined_fields("ip", "IPv4"),
            Field("ip.addr", "Source or Destination Address", Type.IPV4, either=("ip.src", "ip.dst")),
        ),
        keys=(
            ("ethertype", 0x0800),
            ("ip.proto", 4),
            ("link_type", 228),
            ("raw", 4),
            ("null.family", 2),
            ("ppp.protocol", 0x0021),
            ("chdlc.protocol", 0x0800),
            ("gre.proto", 0x0800),
            ("llc.dsap", 0x06),
            ("mpls.nibble", 4),
            ("quoted", 4),
            ("arcnet.protocol_id", 0xF0),
            ("arcnet.protocol_id", 0xD4),
            ("fr.nlpid", 0xCC),
        ),
        follow=_next,
        addresses=("ip.src", "ip.dst"),
        tables=("ip.proto", "ip.options"),
        size=header_bytes,
        label=_label,
        info=_info,
        least=1,
    ),
)
