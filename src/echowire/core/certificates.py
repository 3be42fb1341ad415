"""A certificate of X.509 (RFC 5280), read so far that a person can be told whose it is, by whom, and until when.

Python tells that only of a certificate that it has accepted, and what has to be told is why one was not. Nothing is
decided by what is read here: OpenSSL alone judges, and these are the words about it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

SEQUENCE, SET, OID, OCTETS, BOOLEAN = 0x30, 0x31, 0x06, 0x04, 0x01  # X.690, section 8
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
VERSION, EXTENSIONS = 0xA0, 0xA3  # RFC 5280 section 4.1: [0] and [3], explicit
DNS_NAME, IP_ADDRESS = 0x82, 0x87  # section 4.2.1.6: [2] and [7], implicit

SUBJECT_ALT_NAME, BASIC_CONSTRAINTS = b"\x55\x1d\x11", b"\x55\x1d\x13"  # 2.5.29.17, 2.5.29.19

ATTRIBUTES = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
}
"""The attributes of a name that are written (RFC 4514, section 3); others tell nobody who it is."""

ENCODINGS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
"""Of the string types (X.690, section 8.23)."""

HANDSHAKE_RECORD, CERTIFICATE_MESSAGE, CERTIFICATE_REQUEST = 22, 11, 13  # RFC 5246, sections 6.2.1 and 7.4


@dataclass(frozen=True, slots=True)
class Certificate:
    """Whose a certificate is, who signed it, the names and addresses that it is for, and its time (UTC)."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """Of subjectAltName; where there are none the subject's CN, which no client accepts any more (RFC 9110, 4.3.4)."""
    not_before: datetime
    not_after: datetime
    is_authority: bool

    @property
    def is_self_signed(self) -> bool:
        """Whether it is its own issuer, as far as the names tell."""
        return self.subject == self.issuer

    def days_left(self, now: datetime) -> int:
        """Whole days from `now` to its end; negative once that has been."""
        return (self.not_after - now).days


def read_certificate(der: bytes) -> Certificate:
    """The certificate that `der` is. Raises `ValueError` where it is none."""
    try:
        return _certificate(der)
    except (IndexError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"no certificate: {error}") from error


def sent_chain(heard: bytes | bytearray) -> list[bytes]:
    """The certificates (DER) in what a server sent first, its own one first; [] where they are not there in the clear.

    Up to TLS 1.2 they are (RFC 5246, section 7.4.2), from TLS 1.3 on they are encrypted.
    """
    listed = next((body for kind, body in _messages(heard) if kind == CERTIFICATE_MESSAGE), b"")
    return _listed(listed[3:])


def asks_for_certificate(heard: bytes | bytearray) -> bool:
    """Whether a server asks for a client's certificate, as far as that went in the clear (RFC 5246, section 7.4.4)."""
    return any(kind == CERTIFICATE_REQUEST for kind, _ in _messages(heard))


def _messages(heard: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    """The type and the body of each message of the handshake that is there in the clear."""
    messages, at = bytearray(), 0
    while at + 5 <= len(heard) and heard[at] == HANDSHAKE_RECORD:
        size = int.from_bytes(heard[at + 3 : at + 5], "big")
        messages += heard[at + 5 : at + 5 + size]
        at += 5 + size
    at = 0
    while at + 4 <= len(messages):
        size = int.from_bytes(messages[at + 1 : at + 4], "big")
        yield messages[at], bytes(messages[at + 4 : at + 4 + size])
        at += 4 + size


def _listed(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 3 <= len(data):
        size = int.from_bytes(data[at : at + 3], "big")
        found.append(data[at + 3 : at + 3 + size])
        at += 3 + size
    return found


def _certificate(der: bytes) -> Certificate:
    body = _one(der, SEQUENCE)
    parts = list(_elements(_one(body, SEQUENCE)))
    if parts[0][0] == VERSION:
        del parts[0]
    _serial, _algorithm, issuer, validity, subject = (content for _, content in parts[:5])
    extensions = dict(_extensions(parts[5:]))
    begin, end = (_time(tag, content) for tag, content in list(_elements(validity))[:2])
    named = list(_attributes(subject))
    names = tuple(_names(extensions.get(SUBJECT_ALT_NAME)))
    return Certificate(
        subject=_written(named),
        issuer=_written(list(_attributes(issuer))),
        names=names or tuple(value for kind, value in named if kind == "CN"),
        not_before=begin,
        not_after=end,
        is_authority=_is_authority(extensions.get(BASIC_CONSTRAINTS)),
    )


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the content of each element of `data` (X.690, section 8.1)."""
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + size > len(data):
            raise ValueError("no certificate: an element ends behind what holds it")
        yield tag, data[at : at + size]
        at += size


def _one(data: bytes, wanted: int) -> bytes:
    """The content of the first element, which must be a `wanted`."""
    tag, content = next(_elements(data), (0, b""))
    if tag != wanted:
        raise ValueError(f"no certificate: element {tag:#04x} where {wanted:#04x} must be")
    return content


def _attributes(name: bytes) -> Iterator[tuple[str, str]]:
    for _, relative in _elements(name):
        for _, attribute in _elements(relative):
            (_, kind), (encoding, value) = list(_elements(attribute))[:2]
            if kind in ATTRIBUTES:
                yield ATTRIBUTES[kind], value.decode(ENCODINGS.get(encoding, "latin-1"), "replace")


def _written(attributes: Sequence[tuple[str, str]]) -> str:
    """As RFC 4514 has it, which begins with what is most specific."""
    return ", ".join(f"{kind}={value}" for kind, value in reversed(attributes))


def _time(tag: int, content: bytes) -> datetime:
    """RFC 5280, section 4.1.2.5: of two digits for the year, those from 50 on are of the last century."""
    text = content.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError(f"no certificate: element {tag:#04x} where a time must be")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _extensions(parts: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for tag, content in parts:
        if tag == EXTENSIONS:
            for _, extension in _elements(_one(content, SEQUENCE)):
                fields = list(_elements(extension))
                yield fields[0][1], fields[-1][1]


def _names(extension: bytes | None) -> Iterator[str]:
    for tag, content in _elements(_one(extension, SEQUENCE)) if extension is not None else ():
        if tag == DNS_NAME:
            yield content.decode("ascii", "replace")
        elif tag == IP_ADDRESS and len(content) in (4, 16):
            yield str(ipaddress.ip_address(content))


def _is_authority(extension: bytes | None) -> bool:
    return extension is not None and any(
        tag == BOOLEAN and any(content) for tag, content in _elements(_one(extension, SEQUENCE))
    )
