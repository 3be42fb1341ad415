"""DTLS over UDP (RFC 6347, 9147): records, and the handshake's messages, which may come in fragments."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Memory, Protocol
from echowire.core.packets.protocols.tls import names
from echowire.core.packets.protocols.tls.fields import DTLS
from echowire.core.packets.protocols.tls.handshake import HELLO_VERIFY, SERVER_HELLO, Message, Reader
from echowire.core.packets.summary import call, columns, infos, say
from echowire.core.packets.waiting import keep_waiting
from echowire.core.packets.walk import Walk

PORTS = (853, 2221, 5684, 5868)
"""UDP ports on which DTLS is expected."""

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = range(20, 24)
HEADER_BYTES = 13
MESSAGE_BYTES = 12

VERSIONS = (0x0100, 0xFEFF, 0xFEFD, 0xFEFC)

MAX_MESSAGE_BYTES = 0xFFFF
"""Of a message that is put together from fragments."""

MAX_MESSAGES = 4
"""Messages of one connection that wait for fragments at a time: a handshake sends one after the other."""

MAX_CONNECTIONS = 65_536
"""Connections of which something is remembered; the oldest is forgotten first."""

RECORD = Field("dtls.record", "Record Layer", Type.NONE)
CONTENT_TYPE = Field("dtls.record.content_type", "Content Type", Type.UINT8, names=names.CONTENT_TYPES)
VERSION = Field("dtls.record.version", "Version", Type.UINT16, base="hex", names=names.VERSIONS)
EPOCH = Field("dtls.record.epoch", "Epoch", Type.UINT16)
SEQUENCE = Field("dtls.record.sequence_number", "Sequence Number", Type.UINT64)
LENGTH = Field("dtls.record.length", "Length", Type.UINT16)
CCS_MESSAGE = Field("dtls.change_cipher_spec", "Change Cipher Spec Message", Type.NONE)
ALERT_MESSAGE = Field("dtls.alert_message", "Alert Message", Type.NONE)
ALERT_LEVEL = Field("dtls.alert_message.level", "Level", Type.UINT8, names=names.ALERT_LEVELS)
ALERT_DESCRIPTION = Field("dtls.alert_message.desc", "Description", Type.UINT8, names=names.ALERTS)
APP_DATA = Field("dtls.app_data", "Encrypted Application Data", Type.BYTES)
MESSAGE_SEQUENCE = Field("dtls.handshake.message_seq", "Message Sequence", Type.UINT16)
FRAGMENT_OFFSET = Field("dtls.handshake.fragment_offset", "Fragment Offset", Type.UINT24)
FRAGMENT_LENGTH = Field("dtls.handshake.fragment_length", "Fragment Length", Type.UINT24)

_READER = Reader(DTLS, "d")


@dataclass(slots=True)
class Session:
    """What is remembered of a connection."""

    version: int = 0
    pieces: dict[tuple[int, int], dict[int, bytes]] = field(default_factory=dict)
    """Fragments by their offset, of each message: its number and its length."""


def _session_of(memory: Memory, number: int) -> Session:
    return memory.of_each("dtls", number, Session, MAX_CONNECTIONS)


def _looks_like(layer: Layer) -> NDArray[np.bool_]:
    """A record's header that holds, and a record no longer than the datagram."""
    kind, version, size = layer.uint(0, 1), layer.uint(1, 2), layer.uint(11, 2).astype(np.int64)
    alike: NDArray[np.bool_] = layer.has(HEADER_BYTES) & (kind >= CHANGE_CIPHER_SPEC) & (kind <= APPLICATION_DATA)
    alike &= np.isin(version, VERSIONS) & (layer.start + HEADER_BYTES + size <= layer.wire_end)
    return alike


def _walk(w: Walk) -> None:
    streams = w.layer.once("conversations", w.layer.conversations)
    session = Session() if streams is None else _session_of(w.memory, int(streams[w.entry]))
    call(w, names.COLUMNS.get(session.version, "DTLS"))
    at = 0
    while at + HEADER_BYTES <= w.size:
        size = w.u16(at + 11)
        if not CHANGE_CIPHER_SPEC <= w.u8(at) <= 25 or w.u16(at + 1) not in VERSIONS:
            say(w, "Continuation Data")
            return
        _record(w, session, at, size)
        at += HEADER_BYTES + size


def _record(w: Walk, session: Session, at: int, size: int) -> None:
    kind, epoch, body = w.data[at], w.u16(at + 3), at + HEADER_BYTES
    if kind != HANDSHAKE:
        session.version = session.version or w.u16(at + 1)
        call(w, names.COLUMNS.get(session.version, "DTLS"))
    w.add(RECORD, True, at, HEADER_BYTES + size)
    with w.subtree():
        w.add_uint(CONTENT_TYPE, at)
        w.add_uint(VERSION, at + 1)
        w.add(EPOCH, epoch, at + 3, 2)
        w.add(SEQUENCE, w.uint(at + 5, 6), at + 5, 6)
        w.add(LENGTH, size, at + 11, 2)
        if kind == HANDSHAKE:
            if epoch:
                say(w, "Encrypted Handshake Message")
                w.add(DTLS.handshake, True, body, size, "Handshake Protocol: Encrypted Handshake Message")
            else:
                w.within(body, size, lambda part: _messages(part, session))
        elif kind == CHANGE_CIPHER_SPEC:
            say(w, "Change Cipher Spec")
            w.add(CCS_MESSAGE, True, body, size)
        elif kind == ALERT:
            _alert(w, body, size, epoch > 0)
        elif kind == APPLICATION_DATA:
            say(w, "Application Data")
            w.add(APP_DATA, w.take(body, size), body, size)


def _alert(w: Walk, at: int, size: int, is_encrypted: bool) -> None:
    if size != 2 or is_encrypted:
        say(w, "Encrypted Alert")
        w.add(ALERT_MESSAGE, True, at, size)
        return
    level = names.ALERT_LEVELS.get(w.u8(at), "Unknown")
    say(w, f"Alert (Level: {level}, Description: {names.ALERTS.get(w.u8(at + 1), 'Unknown')})")
    w.add(ALERT_MESSAGE, True, at, size)
    with w.subtree():
        w.add_uint(ALERT_LEVEL, at)
        w.add_uint(ALERT_DESCRIPTION, at + 1)


def _messages(w: Walk, session: Session) -> None:
    at = 0
    while at + MESSAGE_BYTES <= w.size:
        at = _message(w, session, at)


def _message(w: Walk, session: Session, at: int) -> int:
    """A message or a fragment of one (RFC 6347, section 4.2.2)."""
    kind, size, number = w.data[at], w.uint(at + 1, 3), w.u16(at + 4)
    offset, length = w.uint(at + 6, 3), w.uint(at + 9, 3)
    name, body = names.HANDSHAKE_TYPES.get(kind, "Unknown"), at + MESSAGE_BYTES
    message = Message(kind)
    w.add(DTLS.handshake, True, at, MESSAGE_BYTES + length, f"Handshake Protocol: {name}")
    with w.subtree():
        w.add_uint(DTLS.type, at)
        w.add_uint(DTLS.length, at + 1)
        w.add_uint(MESSAGE_SEQUENCE, at + 4)
        w.add_uint(FRAGMENT_OFFSET, at + 6)
        w.add_uint(FRAGMENT_LENGTH, at + 9)
        data = w.take(body, length)
        if length == size:
            say(w, name)
            w.within(body, size, lambda part: _READER.body(part, message))
        else:
            keep_waiting(w.memory, session.pieces)
            whole = _joined(session, number, size, offset, data)
            say(w, f"{name} ({'Fragment' if whole is None else 'Reassembled'})")
            if whole is not None:
                w.within_bytes(whole, body, lambda part: _READER.body(part, message))
    if kind in (SERVER_HELLO, HELLO_VERIFY):
        if message.version in VERSIONS:
            session.version = message.version
        call(w, names.COLUMNS.get(session.version, "DTLS"))
    return body + length


def _joined(session: Session, number: int, size: int, offset: int, data: bytes) -> bytes | None:
    """The whole message, if this fragment was the last that was missing."""
    if size > MAX_MESSAGE_BYTES or offset + len(data) > size:
        return None
    pieces = session.pieces.setdefault((number, size), {})
    if len(session.pieces) > MAX_MESSAGES:
        session.pieces.clear()
        session.pieces[number, size] = pieces
    pieces[offset] = data
    joined = b""
    for at in sorted(pieces):
        if at > len(joined):
            return None
        joined += pieces[at][len(joined) - at :]
    if len(joined) < size:
        return None
    session.pieces.pop((number, size), None)
    return joined


PROTOCOLS = (
    Protocol(
        "dtls",
        "Datagram Transport Layer Security",
        columns,
        fields=(
            RECORD,
            CONTENT_TYPE,
            VERSION,
            EPOCH,
            SEQUENCE,
            LENGTH,
            CCS_MESSAGE,
            ALERT_MESSAGE,
            ALERT_LEVEL,
            ALERT_DESCRIPTION,
            APP_DATA,
            MESSAGE_SEQUENCE,
            FRAGMENT_OFFSET,
            FRAGMENT_LENGTH,
            *DTLS.every,
        ),
        keys=tuple(("udp.port", port) for port in PORTS),
        accepts=_looks_like,
        guess=_looks_like,
        guess_in=("udp.port",),
        walk=_walk,
        info=infos(", "),
    ),
)
