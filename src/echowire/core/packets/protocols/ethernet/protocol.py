"""Ethernet II and IEEE 802.3 (IEEE 802.3-2022, clause 3), and what stands behind a packet that is too short for it.

A frame says in its type field what follows, or how long it is, and then LLC says it. Cisco's Inter-Switch Link and
FabricPath wrap a whole frame and are told by its addresses or its type; such a frame is theirs, and Ethernet begins
again inside. What remains behind the packet is padding up to 60 bytes, then a trailer, and at its end perhaps the
frame check sequence, which nobody says to be there: it is guessed as Wireshark guesses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.assigned import ETHERTYPES
from echowire.core.packets.cells import strings
from echowire.core.packets.columns import Type, objects
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol

HEADER_BYTES = 14
MIN_TYPE = 0x0600
"""A number from here up is a type, not the length of an 802.3 frame (IEEE 802.3-2022, 3.2.6)."""

MAX_LENGTH = 1500
"""A number up to this is a length; what lies between is neither."""

MIN_FRAME_BYTES = 60
"""Shorter frames are padded to this, without the frame check sequence."""

FCS_BYTES = 4
FABRIC_PATH = 0x8903
RAW_802_3 = 0xFFFF
"""In place of LLC's two service access points: Novell's IPX follows an 802.3 header at once."""

ISL = (0x01000C0000, 0x03000C0000)
"""The first five bytes of a destination by which Inter-Switch Link is known."""

IPV4, IPV6, ARP, RARP, VLAN = 0x0800, 0x86DD, 0x0806, 0x8035, 0x8100
MIN_IPV4_BYTES, IPV6_BYTES, TAG_BYTES = 20, 40, 4

LOCAL = {
    0: "Globally unique address (factory default)",
    1: "Locally administered address (this is NOT the factory default)",
}
GROUP = {0: "Individual address (unicast)", 1: "Group address (multicast/broadcast)"}


def after_type(layer: Layer, kind: NDArray[Any], index: Rows, start: Rows, wire_end: Rows) -> Iterator[Next]:
    """What follows a number that is an Ethernet type or a length, in entries `index` from `start` to `wire_end`.

    Table "802.3" has LLC under 0 and Novell's raw IPX under 1; under 2 is what a number stands before that is neither
    type nor length.
    """
    is_type = kind >= MIN_TYPE
    if is_type.all():
        yield Next("ethertype", (kind,), index, start, wire_end)
        return
    yield Next("ethertype", (kind[is_type],), index[is_type], start[is_type], wire_end[is_type])
    rest = np.flatnonzero(~is_type)
    index, start, wire_end, kind = index[rest], start[rest], wire_end[rest], kind[rest]
    is_length = kind <= MAX_LENGTH
    wire_end = np.where(is_length, np.minimum(start + kind, wire_end), wire_end)
    raw = (layer.number(start, 2) == RAW_802_3) & (start + 2 <= layer.end[index])
    yield Next("802.3", (np.where(is_length, raw, 2).astype(np.uint8),), index, start, wire_end)


def payload_bytes(layer: Layer, kind: NDArray[Any], start: Rows) -> Rows:
    """Bytes of the packets that stand at `start`, as they say themselves; -1 where that is not known."""
    has = start + MIN_IPV4_BYTES <= layer.end
    size = np.where(kind <= MAX_LENGTH, kind.astype(np.int64), -1)
    total = layer.number(start + 2, 2).astype(np.int64)
    size = np.where((kind == IPV4) & has & (total >= MIN_IPV4_BYTES), total, size)
    total = layer.number(start + 4, 2).astype(np.int64)
    is_jumbo = (total == 0) & (layer.number(start + 6, 1) == 0)
    size = np.where((kind == IPV6) & has & ~is_jumbo, IPV6_BYTES + total, size)
    total = 8 + 2 * (layer.number(start + 4, 1).astype(np.int64) + layer.number(start + 5, 1))
    return np.where(np.isin(kind, (ARP, RARP)) & has, total, size)


def _wraps(layer: Layer) -> NDArray[np.uint8]:
    """What a frame wraps, by the key of table "eth.wrap": 0 nothing, 1 ISL, 2 FabricPath."""

    def made() -> NDArray[np.uint8]:
        kind = layer.uint(12, 2)
        found: NDArray[np.uint8] = 2 * (kind == FABRIC_PATH).astype(np.uint8)
        if (kind <= MAX_LENGTH).any():
            address = layer.uint(0, 8) >> np.uint64(24)
            found[(kind <= MAX_LENGTH) & np.isin(address, ISL)] = 1
        return found

    return layer.once("wraps", made)


def is_plain(layer: Layer) -> NDArray[np.bool_]:
    """Frames whose header is there whole, and is Ethernet's."""
    return layer.once("plain", lambda: layer.has(HEADER_BYTES) & (_wraps(layer) == 0))


def _next(layer: Layer) -> Iterator[Next]:
    plain = is_plain(layer)
    if plain.all():
        yield from after_type(layer, layer.uint(12, 2), layer.every, layer.start + HEADER_BYTES, layer.wire_end)
        return
    index = np.flatnonzero(plain)
    start = layer.start[index] + HEADER_BYTES
    yield from after_type(layer, layer.number(start - 2, 2), index, start, layer.wire_end[index])
    wrapped = np.flatnonzero(layer.has(HEADER_BYTES) & ~plain)
    yield Next("eth.wrap", (_wraps(layer)[wrapped],), wrapped, layer.start[wrapped], layer.wire_end[wrapped])


class _Rest:
    """What stands behind the packet in each frame: padding, trailer, frame check sequence."""

    def __init__(self, layer: Layer) -> None:
        kind, start = layer.uint(12, 2), layer.start + HEADER_BYTES
        tagged = (kind == VLAN) & layer.has(HEADER_BYTES + TAG_BYTES)
        kind, start = np.where(tagged, layer.uint(16, 2), kind), np.where(tagged, start + TAG_BYTES, start)
        size = payload_bytes(layer, kind, start)
        begin = start + size
        behind = layer.wire_end - begin
        frame = layer.records.length[layer.rows]
        missing = np.where(frame >= MIN_FRAME_BYTES, MIN_FRAME_BYTES - (frame - behind), 0)
        self.entries = np.flatnonzero(is_plain(layer) & (size >= 0) & (begin < layer.end))
        self.begin, self.end = begin[self.entries], layer.end[self.entries]
        padding = np.clip(missing, 0, behind)[self.entries].tolist()
        pairs = zip(self.begin.tolist(), padding, strict=True)
        # Padding is of zeros: other bytes are somebody's trailer.
        zeros = [count if not layer.data[at : at + count].any() else 0 for at, count in pairs]
        self.trailer = np.minimum(self.begin + np.array(zeros, np.int64), self.end)
        # Four bytes behind a frame that needs no padding are taken for its check sequence. Behind a tag is the tag's.
        wire_end = layer.wire_end[self.entries]
        long = wire_end - layer.start[self.entries] >= MIN_FRAME_BYTES + FCS_BYTES
        outer = ~tagged[self.entries] & (layer.depth == 1)
        counted = outer & long & (wire_end - self.trailer >= FCS_BYTES)
        self.fcs = counted & (self.end == wire_end)
        last = np.where(counted, np.minimum(wire_end - FCS_BYTES, self.end), self.end)
        self.trailer_end = np.where(tagged[self.entries], self.trailer, last)


def _rest(layer: Layer) -> _Rest:
    return layer.once("rest", lambda: _Rest(layer))


def _pieces(layer: Layer, index: Rows, begin: Rows, end: Rows) -> Picked:
    some = end > begin
    pieces = zip(begin[some].tolist(), end[some].tolist(), strict=True)
    return Picked(index[some], objects([layer.data[a:b].tobytes() for a, b in pieces]))


def _padding(layer: Layer) -> Picked:
    rest = _rest(layer)
    return _pieces(layer, rest.entries, rest.begin, rest.trailer)


def _trailer(layer: Layer) -> Picked:
    rest = _rest(layer)
    return _pieces(layer, rest.entries, rest.trailer, rest.trailer_end)


def _fcs(layer: Layer) -> Picked:
    rest = _rest(layer)
    return Picked(rest.entries[rest.fcs], layer.number(rest.end[rest.fcs] - FCS_BYTES, 4))


def _label(layer: Layer) -> list[str]:
    source, target = layer.uint(6, 8) >> np.uint64(16), layer.uint(0, 8) >> np.uint64(16)
    texts = zip(strings(_SOURCE, source).tolist(), strings(_DESTINATION, target).tolist(), strict=True)
    return [f", Src: {a}, Dst: {b}" for a, b in texts]


def type_column(kinds: NDArray[Any], otherwise: str) -> list[str]:
    """What the list's column Protocol has where nothing more is known: the type, or `otherwise` where there is none."""
    different, which = np.unique(kinds, return_inverse=True)
    texts = [f"0x{kind:04x}" if kind >= MIN_TYPE else otherwise for kind in different.tolist()]
    return [texts[number] for number in which.tolist()]


def _info(layer: Layer) -> list[str | None]:
    kinds = zip(is_plain(layer).tolist(), layer.uint(12, 2).tolist(), strict=True)
    return [ETHERTYPES.get(kind, "Ethernet II") if plain and kind >= MIN_TYPE else None for plain, kind in kinds]


def _address(name: str, label: str, at: int) -> tuple[Field, ...]:
    """An address and what it is made of."""
    whole = f"eth.{name}"
    return (
        Field(whole, label, Type.ETHER, at, when=is_plain),
        Field(f"{whole}.oui", f"{label} OUI", Type.UINT24, at, when=is_plain, under=whole, hidden=True),
        Field(f"{whole}.lg", "LG bit", Type.BOOLEAN, at, 3, mask=0x020000, under=whole, when=is_plain, names=LOCAL),
        Field(f"{whole}.ig", "IG bit", Type.BOOLEAN, at, 3, mask=0x010000, under=whole, when=is_plain, names=GROUP),
    )


_DESTINATION, *_OF_DESTINATION = _address("dst", "Destination", 0)
_SOURCE, *_OF_SOURCE = _address("src", "Source", 6)

PROTOCOLS = (
    Protocol(
        "eth",
        "Ethernet II",
        lambda layer: type_column(np.where(is_plain(layer), layer.uint(12, 2), 0), "Ethernet"),
        fields=(
            _DESTINATION,
            *_OF_DESTINATION,
            _SOURCE,
            *_OF_SOURCE,
            Field("eth.addr", "Address", Type.ETHER, either=("eth.dst", "eth.src")),
            Field("eth.addr.oui", "Address OUI", Type.UINT24, either=("eth.dst.oui", "eth.src.oui")),
            Field("eth.lg", "LG bit", Type.BOOLEAN, either=("eth.dst.lg", "eth.src.lg")),
            Field("eth.ig", "IG bit", Type.BOOLEAN, either=("eth.dst.ig", "eth.src.ig")),
            Field(
                "eth.type",
                "Type",
                Type.UINT16,
                12,
                base="hex",
                names=ETHERTYPES,
                when=lambda layer: is_plain(layer) & (layer.uint(12, 2) >= MIN_TYPE),
            ),
            Field(
                "eth.len",
                "Length",
                Type.UINT16,
                12,
                when=lambda layer: is_plain(layer) & (layer.uint(12, 2) <= MAX_LENGTH),
            ),
            Field(
                "eth.invalid_lentype",
                "Invalid length/type",
                Type.UINT16,
                12,
                base="hex",
                when=lambda layer: is_plain(layer) & (layer.uint(12, 2) > MAX_LENGTH) & (layer.uint(12, 2) < MIN_TYPE),
            ),
            Field("eth.padding", "Padding", Type.BYTES, make=_padding),
            Field("eth.trailer", "Trailer", Type.BYTES, make=_trailer),
            Field("eth.fcs", "Frame check sequence", Type.UINT32, base="hex", make=_fcs),
        ),
        keys=(
            ("link_type", 1),
            ("ethertype", 0x6558),
            ("eth.inner", 0),
            ("ip.proto", 143),
            ("gre.proto", 0x6558),
            ("sll.ltype", 3),
            ("chdlc.protocol", 0x6558),
            ("llc.bridged_pid", 7),
        ),
        follow=_next,
        tables=("ethertype", "802.3", "eth.wrap"),
        addresses=("eth.src", "eth.dst"),
        size=HEADER_BYTES,
        label=_label,
        info=_info,
        least=14,
    ),
)
