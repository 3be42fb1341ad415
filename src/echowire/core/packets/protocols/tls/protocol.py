"""TLS and SSL over TCP (RFC 8446, 5246, 6101): records, and the handshake's messages within.

Each segment is read by itself, so a record that goes on in the next segment is not shown, as a person who looks at one
segment cannot check it; what begins in the middle of one is an unknown record. A handshake message that several
records hold is put together. What is remembered of a connection is the version that was agreed upon, the pieces of an
unfinished message, and after which packet each side encrypts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.layers import Layer, Memory, Protocol
from echowire.core.packets.protocols.tls import fields as f
from echowire.core.packets.protocols.tls import names
from echowire.core.packets.protocols.tls.fields import TLS
from echowire.core.packets.protocols.tls.handshake import CLIENT_HELLO, SERVER_HELLO, Message, Reader
from echowire.core.packets.protocols.tls.ssl2 import is_ssl2_hello, ssl2_record
from echowire.core.packets.summary import call, columns, has_said, infos, say
from echowire.core.packets.waiting import keep_waiting
from echowire.core.packets.walk import MalformedError, Walk

PORTS = (
    *(324, 443, 465, 636, 802, 853, 993, 995, 1300, 2221, 2443, 3249, 3250, 3251, 3252, 3496, 5061, 5671, 5684),
    *(5868, 8883, 11207, 19999, 27017),
)
"""TCP ports on which TLS is expected: Wireshark's, as people who read its output know them."""

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT, CONNECTION_ID = range(20, 26)

HEADER_BYTES = 5

VERSIONS = frozenset((0x0101, 0x0300, 0x0301, 0x0302, 0x0303))
"""What a record's header may say (RFC 8446, section 5.1); 0x0101 is GM/T 0024."""

TLS13 = frozenset((0x0304, *range(0x7F0E, 0x7F1D), 0xFB17, 0xFB1A))

MAX_GUESSED_BYTES = 0x4000 + 2047
"""A record may have 2^14 + 2048 bytes at most (RFC 5246, section 6.2.3); what says more is not taken for TLS."""

MIN_ENCRYPTED_BYTES = 16
"""No encrypted message is shorter: there is a checksum of 16 bytes, or one of 8 and as much of a nonce."""

MAX_MESSAGE_BYTES = 0xFFFF
"""Of a handshake message. What seems longer is encrypted; certificates of 64 KiB are not met."""

MAX_CONNECTIONS = 65_536
"""Connections of which something is remembered; the oldest is forgotten first."""

APPLICATIONS = {
    443: "Hypertext Transfer Protocol",
    465: "Simple Mail Transfer Protocol",
    636: "Lightweight Directory Access Protocol",
    853: "Domain Name System",
    993: "Internet Message Access Protocol",
    995: "Post Office Protocol",
    5061: "Session Initiation Protocol",
    8883: "MQ Telemetry Transport Protocol",
}
"""What is expected within, by port."""

BY_ALPN = {"h2": "HyperText Transfer Protocol 2", "http/1.1": "Hypertext Transfer Protocol"}
"""What was agreed upon."""

_READER, _QUIC_READER = Reader(TLS, "t"), Reader(TLS, "q")


@dataclass(slots=True)
class Session:
    """What is remembered of a connection. A direction is the port that it comes from."""

    version: int = 0
    alpn: str = ""
    pending: dict[int, bytes] = field(default_factory=dict)
    """The beginning of a message that is not whole yet, in each direction."""
    encrypted_after: dict[int, int] = field(default_factory=dict)
    """Number of the packet with the change of cipher, in each direction."""


def session_of(memory: Memory, number: int) -> Session:
    """What is remembered of a connection."""
    return memory.of_each("tls", number, Session, MAX_CONNECTIONS)


def _is_text(data: bytes) -> bool:
    """Whether it begins as something that a person may read: then it is no TLS."""
    return len(data) >= HEADER_BYTES and all(0x20 <= byte < 0x7F for byte in data[:4])


def _accepts(layer: Layer) -> NDArray[np.bool_]:
    if layer.parent is not None and layer.parent.protocol.name == "quic":
        return np.ones(len(layer), np.bool_)
    text: NDArray[np.bool_] = layer.has(HEADER_BYTES)
    for at in range(4):
        byte = layer.uint(at, 1)
        text &= (byte >= 0x20) & (byte < 0x7F)
    return ~text


def _guess(layer: Layer) -> NDArray[np.bool_]:
    """A record's header that holds: of a handshake or of data, as a connection may be met at any time."""
    kind, version, size = layer.uint(0, 1), layer.uint(1, 2), layer.uint(3, 2)
    alike: NDArray[np.bool_] = layer.has(HEADER_BYTES) & ((kind == HANDSHAKE) | (kind == APPLICATION_DATA))
    alike &= np.isin(version, sorted(VERSIONS)) & (size > 0) & (size <= MAX_GUESSED_BYTES)
    return alike


def _ports(layer: Layer, at: int) -> Rows:
    """The source's port (`at` 0) or the destination's (`at` 2) of each entry."""
    for name in ("tcp", "udp"):
        outer = layer.outer(name)
        if outer is not None:
            return outer[0].uint(at, 2)[outer[1]].astype(np.int64)
    return np.zeros(len(layer), np.int64)


@dataclass(slots=True)
class Segment:
    """What a walk needs to know of the segment that it is over."""

    session: Session
    number: int
    """The packet's, in the file."""
    source: int
    destination: int
    column: int = 0
    """The version that the packet list shows."""


def _walk(w: Walk) -> None:
    if w.layer.parent is not None and w.layer.parent.protocol.name == "quic":
        _messages(w, w.data)
        return
    streams = w.layer.once("conversations", w.layer.conversations)
    session = Session() if streams is None else session_of(w.memory, int(streams[w.entry]))
    ports = w.layer.once("source", lambda: _ports(w.layer, 0)), w.layer.once("target", lambda: _ports(w.layer, 2))
    number = int(w.layer.records.number[w.layer.rows[w.entry]])
    here = Segment(session, number, int(ports[0][w.entry]), int(ports[1][w.entry]))
    at = 0
    if _is_text(w.data):
        return
    while w.size - at >= HEADER_BYTES:
        _name(w, here, 0)
        at = _next(w, here, at)
    _name(w, here, 0)
    if not has_said(w):
        say(w, "")  # there is nothing to show of it, but it is not TCP's to tell


def _name(w: Walk, here: Segment, version: int) -> None:
    """Set the column Protocol: the version agreed upon, or else the record's."""
    here.column = here.session.version or version or here.column
    call(w, names.COLUMNS.get(0x0304 if here.column in TLS13 else here.column, "SSL"))


def _next(w: Walk, here: Segment, at: int) -> int:
    """One record, or what is none. Gives the offset behind it."""
    session, kind, version = here.session, w.data[at], w.u16(at + 1)
    if session.version == 2 or (not session.version and is_ssl2_hello(w.data, at)):
        call(w, "SSLv2")
        here.column = 2
        return _ssl2(w, here, at)
    is_record = CHANGE_CIPHER_SPEC <= kind <= CONNECTION_ID and version in VERSIONS
    if not session.version or session.version in TLS13:
        if not is_record:
            say(w, "Continuation Data")
            return w.wire_size
    elif not CHANGE_CIPHER_SPEC <= kind <= CONNECTION_ID:
        say(w, "Ignored Unknown Record")
        w.add_text("Ignored Unknown Record", at, w.size - at)
        return w.wire_size
    size = w.u16(at + 3)
    if at + HEADER_BYTES + size > w.wire_size:
        return w.wire_size  # it goes on in the next segment
    return _record(w, here, at, size)


def _ssl2(w: Walk, here: Segment, at: int) -> int:
    after, is_server_hello = ssl2_record(w, at)
    if is_server_hello:
        here.session.version = 2
    return after


def _record(w: Walk, here: Segment, at: int, size: int) -> int:
    kind, version, body = w.data[at], w.u16(at + 1), at + HEADER_BYTES
    is_opaque = here.session.version in TLS13 and kind == APPLICATION_DATA
    title = names.VERSIONS.get(here.session.version or version, "TLS")
    name = names.CONTENT_TYPES.get(kind, "Unknown")
    w.add(f.RECORD, True, at, HEADER_BYTES + size, f"{title} Record Layer: {name} Protocol")
    with w.subtree():
        w.add(f.OPAQUE_TYPE if is_opaque else f.CONTENT_TYPE, kind, at, 1)
        w.add(f.RECORD_VERSION, version, at + 1, 2)
        w.add(f.RECORD_LENGTH, size, at + 3, 2)
        _name(w, here, version)
        w.need(body, min(size, 1) or 1)
        begun = here.session.pending.get(here.source, b"")[:1] or w.data[body : body + 1]
        if kind != HANDSHAKE or begun[0] != CLIENT_HELLO:
            here.session.version = here.session.version or version
        if kind == HANDSHAKE:
            _handshake(w, here, body, size)
        elif kind == CHANGE_CIPHER_SPEC:
            say(w, "Change Cipher Spec")
            w.add(f.CCS_MESSAGE, True, body, size)
            here.session.encrypted_after.setdefault(here.source, here.number)
        elif kind == ALERT:
            _alert(w, body, size)
        elif kind == HEARTBEAT:
            _heartbeat(w, body, size)
        elif kind == APPLICATION_DATA:
            _application_data(w, here, body, size)
    return body + size


def _alert(w: Walk, at: int, size: int) -> None:
    """RFC 8446, section 6."""
    if size != 2:
        say(w, "Encrypted Alert")
        w.add(f.ALERT_MESSAGE, True, at, size, "Alert Message: Encrypted Alert")
        return
    level = names.ALERT_LEVELS.get(w.u8(at), "Unknown")
    description = names.ALERTS.get(w.u8(at + 1), "Unknown")
    say(w, f"Alert (Level: {level}, Description: {description})")
    w.add(f.ALERT_MESSAGE, True, at, size)
    with w.subtree():
        w.add_uint(f.ALERT_LEVEL, at)
        w.add_uint(f.ALERT_DESCRIPTION, at + 1)


def _heartbeat(w: Walk, at: int, size: int) -> None:
    """RFC 6520. A length that the record cannot hold is an attack, or the message is encrypted."""
    kind = w.u8(at)
    if kind not in (1, 2):
        say(w, "Encrypted Heartbeat")
        return
    say(w, f"Heartbeat {'Request' if kind == 1 else 'Response'}")
    w.add_uint(f.HEARTBEAT_TYPE, at)
    w.add_uint(f.HEARTBEAT_LENGTH, at + 1)


def _application_data(w: Walk, here: Segment, at: int, size: int) -> None:
    say(w, "Application Data")
    w.add(f.APP_DATA, w.data[at : at + size], at, size)
    name = BY_ALPN.get(here.session.alpn)
    name = name or APPLICATIONS.get(here.source) or APPLICATIONS.get(here.destination)
    if name:
        w.add(f.APP_PROTOCOL, name, at, size)


def _is_encrypted(data: bytes, here: Segment) -> bool:
    """Whether a handshake record cannot be read; its type alone does not tell."""
    if len(data) < MIN_ENCRYPTED_BYTES:
        return False
    if here.number > here.session.encrypted_after.get(here.source, here.number) or not any(data[:5]):
        return True  # five zeros begin the nonce of AES-GCM, and no message
    return data[0] not in names.HANDSHAKE_TYPES or int.from_bytes(data[1:4], "big") > MAX_MESSAGE_BYTES


def _handshake(w: Walk, here: Segment, at: int, size: int) -> None:
    """The messages of one record: whole ones, the end of one, the beginning of another."""
    pending = here.session.pending.pop(here.source, b"")
    data = w.data[at : at + size]
    if not pending and _is_encrypted(data, here):
        say(w, "Encrypted Handshake Message")
        w.add(TLS.handshake, True, at, size, "Handshake Protocol: Encrypted Handshake Message")
        return
    if pending:
        joined = pending + data
        if len(joined) >= 4 and len(joined) < 4 + int.from_bytes(joined[1:4], "big"):
            here.session.pending[here.source] = joined
            keep_waiting(w.memory, here.session.pending)
            return
        is_whole = w.within_bytes(joined, at, lambda part: _split(part, here))
    else:
        is_whole = w.within(at, min(size, w.size - at), lambda part: _split(part, here))
    w.need(at, size)
    if not is_whole:
        raise MalformedError("a message that runs past its end")


def _split(w: Walk, here: Segment) -> None:
    """A record's messages; `w` is over these alone."""
    at = 0
    while at < w.size:
        size = 4 + int.from_bytes(w.data[at + 1 : at + 4], "big")
        if at + 4 > w.size or at + size > w.size:
            rest = w.data[at:]
            if size <= 4 + MAX_MESSAGE_BYTES:
                here.session.pending[here.source] = rest
                keep_waiting(w.memory, here.session.pending)
            name = names.HANDSHAKE_TYPES.get(rest[0], "Encrypted Handshake Message")
            if not at:
                say(w, f"[{name} Fragment]")
            w.add_text(f"Handshake Protocol: {name} (fragment)", at, len(rest))
            return
        message = _message(w, _READER, at, size)
        if message is None:
            say(w, "Encrypted Handshake Message")
            return
        if message.type == SERVER_HELLO or message.is_retry:
            if message.version in VERSIONS or message.version in TLS13:
                here.session.version = message.version
            here.session.alpn = message.alpn or here.session.alpn
            _name(w, here, 0)
        at += size


def _messages(w: Walk, data: bytes) -> None:
    """Messages without records: QUIC's (RFC 9001, section 4.1.3)."""
    at = 0
    while at + 4 <= len(data):
        size = 4 + int.from_bytes(data[at + 1 : at + 4], "big")
        _message(w, _QUIC_READER, at, min(size, len(data) - at))
        at += size


def _message(w: Walk, reader: Reader, at: int, size: int) -> Message | None:
    """One message with its header; None if its type is none."""
    kind = w.data[at]
    if kind not in names.HANDSHAKE_TYPES:
        return None
    message = Message(kind)
    said = names.HANDSHAKE_TYPES[kind]
    w.add(TLS.handshake, True, at, size, f"Handshake Protocol: {said}")
    with w.subtree():
        w.add_uint(TLS.type, at)
        w.add_uint(TLS.length, at + 1)
        is_whole = w.within(at + 4, size - 4, lambda part: reader.body(part, message))
    if reader is _READER:
        say(w, message.name)  # of QUIC's, QUIC says what there is
    w.need(at, size if is_whole else w.size + 1)
    return message


PROTOCOLS = (
    Protocol(
        "tls",
        "Transport Layer Security",
        columns,
        fields=(*f.RECORDS, *TLS.every),
        keys=(*(("tcp.port", port) for port in PORTS), ("quic.crypto", 1)),
        accepts=_accepts,
        guess=_guess,
        guess_in=("tcp.port",),
        walk=_walk,
        info=infos(", "),
    ),
)
