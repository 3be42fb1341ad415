"""SSL 2's records and hellos (RFC 6101, appendix E), which old clients send to find out what a server speaks."""

from __future__ import annotations

from echowire.core.packets.protocols.tls import fields as f
from echowire.core.packets.protocols.tls import names
from echowire.core.packets.protocols.tls.fields import TLS
from echowire.core.packets.summary import say
from echowire.core.packets.walk import Walk

CLIENT_HELLO, SERVER_HELLO = 1, 4

HELLO_VERSIONS = frozenset((0x0002, 0x0300, 0x0301, 0x0302, 0x0303))
"""What such a client hello may ask for."""


def is_ssl2_hello(data: bytes, at: int) -> bool:
    """Whether a record of SSL 2 with a hello begins here."""
    if len(data) - at < 7 or not data[at] & 0x80:
        return False
    if data[at + 2] == SERVER_HELLO:
        return data[at + 5 : at + 7] == b"\0\2"
    return data[at + 2] == CLIENT_HELLO and int.from_bytes(data[at + 3 : at + 5], "big") in HELLO_VERSIONS


def ssl2_record(w: Walk, at: int) -> tuple[int, bool]:
    """A record. Gives the offset behind it, and whether it is a server's hello."""
    is_short = w.u8(at) & 0x80
    size = w.u16(at) & (0x7FFF if is_short else 0x3FFF)
    body = at + (2 if is_short else 3)
    padding = 0 if is_short else w.u8(at + 2)
    if body + size > w.wire_size:
        return w.wire_size, False  # it goes on in the next segment
    kind = w.u8(body)
    w.add(f.RECORD, True, at, body + size - at, "SSLv2 Record Layer")
    with w.subtree():
        w.add(f.RECORD_VERSION, 0x0002, at, body - at)
        if kind not in names.SSL2_TYPES or padding or not is_short:
            say(w, "Encrypted Data")
            return body + size, False
        w.add(f.RECORD_LENGTH, size, at, 2)
        w.add(TLS.type, kind, body, 1, f"Handshake Message Type: {names.SSL2_TYPES[kind]} ({kind})")
        say(w, names.SSL2_TYPES[kind])
        if kind == CLIENT_HELLO:
            w.within(body + 1, size - 1, _client_hello)
        elif kind == SERVER_HELLO:
            w.within(body + 1, size - 1, _server_hello)
    return body + size, kind == SERVER_HELLO


def _client_hello(w: Walk) -> None:
    w.add_uint(TLS.version, 0)
    suites, session, challenge = w.u16(2), w.u16(4), w.u16(6)
    w.add(f.CIPHER_SPEC_LENGTH, suites, 2, 2)
    w.add(TLS.session_id_length, session, 4, 2)
    w.add(f.CHALLENGE_LENGTH, challenge, 6, 2)
    for at in range(8, 8 + suites - suites % 3, 3):
        w.add_uint(f.CIPHER_SPEC, at)
    at = 8 + suites
    if session:
        w.add(TLS.session_id, w.take(at, session), at, session)
    w.add(f.CHALLENGE, True, at + session, challenge)


def _server_hello(w: Walk) -> None:
    w.add(f.SESSION_ID_HIT, w.u8(0) != 0, 0, 1)
    w.add_uint(TLS.certificate_type, 1)
    w.add_uint(TLS.version, 2)
    w.add(TLS.certificate_length, w.u16(4), 4, 2)
    w.add(f.CIPHER_SPEC_LENGTH, w.u16(6), 6, 2)
    w.add(f.CONNECTION_ID_LENGTH, w.u16(8), 8, 2)
