"""QUIC (RFC 9000, 9369): the long header, and what Initial packets carry: the client's hello with the server's name.

Initial packets can be opened by anybody (`keys.py`). Handshake and application packets are protected under the
connection's own secrets, and only their headers are shown; the tree says so. What is remembered of a conversation is
the client's first connection id, from which the keys come, how long each side's ids are, as a short header does not
say it, and the pieces of a hello that several packets carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Memory, Protocol
from echowire.core.packets.protocols.quic.frames import FRAME_FIELDS, FrameReader
from echowire.core.packets.protocols.quic.keys import SALTS, VERSION_2, Opened, initial_keys, open_header, open_initial
from echowire.core.packets.summary import column_where_said, infos, say
from echowire.core.packets.waiting import keep_waiting
from echowire.core.packets.walk import MalformedError, Walk

INITIAL, ZERO_RTT, HANDSHAKE, RETRY = range(4)

MAX_ID_BYTES = 20
"""Of a connection id (RFC 9000, section 17.2)."""

MAX_PACKETS = 64
"""QUIC packets that a datagram may hold. The largest has 64 KiB, and a handshake needs three."""

MAX_CONVERSATIONS = 65_536
"""Conversations of which something is remembered; the oldest is forgotten first."""

MAX_CRYPTO_BYTES = 65_536
"""Of a hello that is put together from pieces. The largest that post-quantum keys make has a few thousand."""

RETRY_TAG_BYTES = 16

VERSIONS: Mapping[int, str] = {
    0x00000000: "Version Negotiation",
    0x00000001: "1",
    0x6B3343CF: "2",
    0xFACEB000: "Facebook mvfst",
    0xFACEB001: "Facebook mvfst draft-22",
    0xFACEB002: "Facebook mvfst draft-27",
    0x51303436: "Google Q046",
    0x51303530: "Google Q050",
    0x54303530: "Google T050",
    0x54303531: "Google T051",
    **{0xFF000000 + draft: f"draft-{draft:02}" for draft in range(1, 35)},
}

PACKET_TYPES = {INITIAL: "Initial", ZERO_RTT: "0-RTT", HANDSHAKE: "Handshake", RETRY: "Retry"}

_TYPES_2 = {INITIAL: 1, ZERO_RTT: 2, HANDSHAKE: 3, RETRY: 0}
"""Version 2's numbers for the same (RFC 9369, section 3.2)."""

PACKET_LENGTH = Field("quic.packet_length", "Packet Length", Type.UINT32, generated=True)
FORM = Field("quic.header_form", "Header Form", Type.UINT8, mask=0x80, names={0: "Short Header", 1: "Long Header"})
FIXED = Field("quic.fixed_bit", "Fixed Bit", Type.BOOLEAN, mask=0x40)
SPIN = Field("quic.spin_bit", "Spin Bit", Type.BOOLEAN, mask=0x20)
LONG_TYPE = Field("quic.long.packet_type", "Packet Type", Type.UINT8, mask=0x30, names=PACKET_TYPES)
LONG_TYPE_2 = Field(
    "quic.long.packet_type_v2",
    "Packet Type",
    Type.UINT8,
    mask=0x30,
    names={_TYPES_2[kind]: name for kind, name in PACKET_TYPES.items()},
)
RESERVED = Field("quic.long.reserved", "Reserved", Type.UINT8, mask=0x0C)
NUMBER_LENGTH = Field("quic.packet_number_length", "Packet Number Length", Type.UINT8, mask=0x03)
VERSION = Field("quic.version", "Version", Type.UINT32, base="hex", names=VERSIONS)
SUPPORTED_VERSION = Field("quic.supported_version", "Supported Version", Type.UINT32, base="hex", names=VERSIONS)
UNUSED = Field("quic.vn.unused", "Unused", Type.UINT8, mask=0x7F, base="hex")
DCIL = Field("quic.dcil", "Destination Connection ID Length", Type.UINT8)
DCID = Field("quic.dcid", "Destination Connection ID", Type.BYTES)
SCIL = Field("quic.scil", "Source Connection ID Length", Type.UINT8)
SCID = Field("quic.scid", "Source Connection ID", Type.BYTES)
TOKEN_LENGTH = Field("quic.token_length", "Token Length", Type.UINT64)
TOKEN = Field("quic.token", "Token", Type.BYTES)
LENGTH = Field("quic.length", "Length", Type.UINT64)
NUMBER = Field("quic.packet_number", "Packet Number", Type.UINT64)
PAYLOAD = Field("quic.payload", "Payload", Type.BYTES)
REMAINING = Field("quic.remaining_payload", "Remaining Payload", Type.BYTES)
RETRY_TOKEN = Field("quic.retry_token", "Retry Token", Type.BYTES)
RETRY_TAG = Field("quic.retry_integrity_tag", "Retry Integrity Tag", Type.BYTES)
SHORT = Field("quic.short", "QUIC Short Header", Type.NONE)


@dataclass(slots=True)
class Connection:
    """What is remembered of a conversation. A side is the port that it sends from."""

    first_id: bytes = b""
    """The connection id that the client first sent to, of which the keys are made."""
    client: int = -1
    id_sizes: dict[int, int] = field(default_factory=dict)
    """Bytes of the connection ids that each side is sent to under."""
    pieces: dict[int, dict[int, bytes]] = field(default_factory=dict)
    """Of each side's handshake, by offset, what was not read yet."""
    read: dict[int, int] = field(default_factory=dict)
    """Bytes of each side's handshake that were read."""


def connection_of(memory: Memory, number: int) -> Connection:
    """What is remembered of a conversation."""
    return memory.of_each("quic", number, Connection, MAX_CONVERSATIONS)


def is_version(version: int) -> bool:
    """Whether it is a version that is known, or one that is sent to see how a peer takes it (RFC 9000, section 15)."""
    return version in VERSIONS or version & 0x0F0F0F0F == 0x0A0A0A0A


def _guess(layer: Layer) -> NDArray[np.bool_]:
    """A long header of a known version, with connection ids as long as they may be."""
    version, size = layer.uint(1, 4), layer.uint(5, 1)
    alike: NDArray[np.bool_] = layer.has(13) & (layer.uint(0, 1) & 0xC0 == 0xC0) & (size <= MAX_ID_BYTES)
    known = np.isin(version, list(VERSIONS)) | (version & 0x0F0F0F0F == 0x0A0A0A0A)
    second = layer.uint(np.minimum(6 + size.astype(np.int64), 6 + MAX_ID_BYTES), 1)
    alike &= known
    alike &= second <= MAX_ID_BYTES
    return alike


@dataclass(slots=True)
class Datagram:
    """What a walk needs to know of the datagram that it is over."""

    connection: Connection
    source: int
    destination: int
    said: list[str] = field(default_factory=list)
    """What the packet list says of the last packet."""


def _ports(layer: Layer, at: int) -> Rows:
    outer = layer.outer("udp")
    return np.zeros(len(layer), np.int64) if outer is None else outer[0].uint(at, 2)[outer[1]].astype(np.int64)


def _walk(w: Walk) -> None:
    streams = w.layer.once("conversations", w.layer.conversations)
    known = Connection() if streams is None else connection_of(w.memory, int(streams[w.entry]))
    source = w.layer.once("source", lambda: _ports(w.layer, 0))
    target = w.layer.once("target", lambda: _ports(w.layer, 2))
    here = Datagram(known, int(source[w.entry]), int(target[w.entry]))
    at, before = 0, list[str]()
    try:
        for _ in range(MAX_PACKETS):
            if at >= w.wire_size:
                break
            before, here.said = here.said, []
            at = _packet(w, here, at)
    finally:
        for text in here.said or before:
            say(w, text)


def _packet(w: Walk, here: Datagram, at: int) -> int:
    first = w.u8(at)
    if not first & 0x80:
        return _short(w, here, at)
    version = w.u32(at + 1)
    head = LongHeader(first, version, at, _type(first, version))
    head.read(w, here)
    if not version:
        return _negotiation(w, here, head)
    if head.type == RETRY:
        return _retry(w, head)
    if head.type == INITIAL:
        size, width = _varint(w, head.end)
        head.add(TOKEN_LENGTH, size, head.end, width)
        if size:
            head.add(TOKEN, w.take(head.end + width, size), head.end + width, size)
        head.end += width + size
    size, width = _varint(w, head.end)
    head.add(LENGTH, size, head.end, width)
    number_at = head.end + width
    end = number_at + size
    opened = _opened(w, here, head, number_at, end) if head.type == INITIAL else None
    head.note(w, end - at, opened)
    if opened is None:
        with w.subtree():
            w.add(REMAINING, w.data[number_at:end], number_at, min(end, w.size) - number_at)
            w.add_text(f"[Not decrypted: {_why_not(head)}]", number_at, 0)
    else:
        _initial(w, here, opened, number_at, end)
    if end > w.wire_size:
        raise MalformedError("a packet longer than its datagram")
    return end


def _initial(w: Walk, here: Datagram, opened: Opened, number_at: int, end: int) -> None:
    """What stands in an Initial packet; only its number, where not all of it was captured."""
    here.said[0] += f", PKN: {opened.number}"
    payload_at = number_at + opened.number_size
    with w.subtree():
        w.add(NUMBER, opened.number, number_at, opened.number_size)
        w.add(PAYLOAD, w.data[payload_at:end], payload_at, min(end, w.size) - payload_at)
        if opened.payload is None:
            w.add_text("[Not decrypted: the packet was cut when it was captured]", payload_at, 0)
            return
        reader = FrameReader(here.said)
        w.within_bytes(opened.payload, payload_at, reader.read)
    _hand_on(w, here, reader.crypto)


def _type(first: int, version: int) -> int:
    number = first >> 4 & 3
    return {value: kind for kind, value in _TYPES_2.items()}[number] if version == VERSION_2 else number


def _why_not(head: LongHeader) -> str:
    if head.type != INITIAL:
        return "only the two ends know its keys"
    if head.version not in SALTS:
        return "how this version makes its keys is not known"
    return "the keys are not those of this conversation's first packet"


def _varint(w: Walk, at: int) -> tuple[int, int]:
    """A number of variable length (RFC 9000, section 16), and its bytes."""
    size = 1 << (w.u8(at) >> 6)
    return w.uint(at, size) & ((1 << 8 * size - 2) - 1), size


@dataclass(slots=True)
class LongHeader:
    """A long header (RFC 9000, section 17.2), whose first byte can only be shown once it is known to be opened."""

    first: int
    version: int
    at: int
    type: int
    target: bytes = b""
    source: bytes = b""
    end: int = 0
    _found: list[tuple[Field, int | bytes, int, int]] = field(default_factory=list)

    def read(self, w: Walk, here: Datagram) -> None:
        """Version and connection ids."""
        at = self.at + 5
        size = w.u8(at)
        self.target = w.take(at + 1, size)
        self.add(DCIL, size, at, 1)
        if size:
            self.add(DCID, self.target, at + 1, size)
        at += 1 + size
        size = w.u8(at)
        self.source = w.take(at + 1, size)
        self.add(SCIL, size, at, 1)
        if size:
            self.add(SCID, self.source, at + 1, size)
        self.end = at + 1 + size
        here.connection.id_sizes[here.source] = size
        name = PACKET_TYPES[self.type] if self.version else "Version Negotiation"
        here.said.append(name)
        if self.target:
            here.said[0] += f", DCID={self.target.hex()}"
        if self.source:
            here.said[0] += f", SCID={self.source.hex()}"

    def add(self, field: Field, value: int | bytes, at: int, size: int) -> None:
        """Note a field, to be shown by `note`."""
        self._found.append((field, value, at, size))

    def note(self, w: Walk, size: int, opened: Opened | None) -> None:
        """Show the header, with the bits of the first byte that are protected if it was opened."""
        first = opened.first if opened else self.first
        shown = [FORM]
        if self.version:
            shown += [FIXED, LONG_TYPE_2 if self.version == VERSION_2 else LONG_TYPE]
        else:
            shown += [UNUSED]
        w.add_text("QUIC packet", self.at, size)
        with w.subtree():
            w.add(PACKET_LENGTH, size, self.at, size)
            for one in (*shown, *((RESERVED, NUMBER_LENGTH) if opened else ())):
                w.add(one, one.of_raw(first), self.at, 1)
            w.add(VERSION, self.version, self.at + 1, 4)
            for found in self._found:
                w.add(*found)


def _negotiation(w: Walk, here: Datagram, head: LongHeader) -> int:
    """The versions that a server speaks (RFC 9000, section 17.2.1)."""
    head.note(w, w.wire_size - head.at, None)
    with w.subtree():
        for at in range(head.end, w.size - 3, 4):
            w.add_uint(SUPPORTED_VERSION, at)
    return w.wire_size


def _retry(w: Walk, head: LongHeader) -> int:
    """A token to come back with (RFC 9000, section 17.2.5)."""
    head.note(w, w.wire_size - head.at, None)
    size = w.wire_size - head.end - RETRY_TAG_BYTES
    if size > 0:
        with w.subtree():
            w.add(RETRY_TOKEN, w.take(head.end, size), head.end, size)
            w.add(RETRY_TAG, w.take(head.end + size, RETRY_TAG_BYTES), head.end + size, RETRY_TAG_BYTES)
    return w.wire_size


def _short(w: Walk, here: Datagram, at: int) -> int:
    """A short header (RFC 9000, section 17.3), whose connection id is as long as the receiver once said."""
    size = here.connection.id_sizes.get(here.destination, 0)
    w.add(SHORT, True, at, w.wire_size - at)
    target = w.data[at + 1 : at + 1 + size]
    here.said = ["Protected Payload (KP0)" + (f", DCID={target.hex()}" if target else "")]
    with w.subtree():
        w.add(PACKET_LENGTH, w.wire_size - at, at, w.wire_size - at)
        for one in (FORM, FIXED, SPIN):
            w.add(one, one.of_raw(w.data[at]), at, 1)
        if target:
            w.add(DCID, target, at + 1, size)
        rest = at + 1 + size
        w.add(REMAINING, w.data[rest:], rest, w.wire_size - rest)
    return w.wire_size


def _opened(w: Walk, here: Datagram, head: LongHeader, number_at: int, end: int) -> Opened | None:
    """An Initial packet without its protection, if its keys are known."""
    known = here.connection
    if head.version not in SALTS:
        return None
    packet, number_at = w.data[head.at : end], number_at - head.at
    if end > w.size:
        if not known.first_id:
            known.first_id, known.client = head.target, here.source
        return open_header(packet, number_at, initial_keys(head.version, known.first_id, here.source == known.client))
    if known.first_id:
        found = open_initial(packet, number_at, initial_keys(head.version, known.first_id, here.source == known.client))
        if found is not None:
            return found
    found = open_initial(packet, number_at, initial_keys(head.version, head.target, True))
    if found is not None:  # a connection begins, or begins again after a Retry
        known.first_id, known.client = head.target, here.source
        known.pieces, known.read = {}, {}
    return found


def _hand_on(w: Walk, here: Datagram, crypto: list[tuple[int, bytes]]) -> None:
    """The handshake's messages that are whole now go to TLS."""
    known = here.connection
    pieces = known.pieces.setdefault(here.source, {})
    read = known.read.get(here.source, 0)
    for offset, data in crypto:
        is_new = offset + len(data) > read and len(data) > len(pieces.get(offset, b""))
        if is_new and offset < read + MAX_CRYPTO_BYTES:
            pieces[offset] = data
            keep_waiting(w.memory, pieces)
    joined = b""
    for offset in sorted(pieces):
        skip = read + len(joined) - offset
        if skip < 0:
            break
        joined += pieces[offset][skip:]
    size = _whole_messages(joined)
    if size:
        known.read[here.source] = read + size
        known.pieces[here.source] = {o: d for o, d in pieces.items() if o + len(d) > read + size}
        w.hand_on_bytes("quic.crypto", 1, joined[:size])


def _whole_messages(data: bytes) -> int:
    at = 0
    while at + 4 <= len(data):
        size = 4 + int.from_bytes(data[at + 1 : at + 4], "big")
        if at + size > len(data):
            break
        at += size
    return at


PROTOCOLS = (
    Protocol(
        "quic",
        "QUIC IETF",
        column_where_said("QUIC"),
        fields=(
            PACKET_LENGTH,
            FORM,
            FIXED,
            SPIN,
            LONG_TYPE,
            LONG_TYPE_2,
            RESERVED,
            NUMBER_LENGTH,
            VERSION,
            SUPPORTED_VERSION,
            UNUSED,
            DCIL,
            DCID,
            SCIL,
            SCID,
            TOKEN_LENGTH,
            TOKEN,
            LENGTH,
            NUMBER,
            PAYLOAD,
            REMAINING,
            RETRY_TOKEN,
            RETRY_TAG,
            SHORT,
            *FRAME_FIELDS,
        ),
        tables=("quic.crypto",),
        guess=_guess,
        guess_in=("udp.port",),
        walk=_walk,
        info=infos(", "),
    ),
)
