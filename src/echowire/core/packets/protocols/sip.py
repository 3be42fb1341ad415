"""SIP (RFC 3261): the start line, the headers that everybody asks for, and a body's kind (SDP, RFC 8866, by name)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.summary import call, columns, infos, say
from echowire.core.packets.walk import Walk
from echowire.core.text import shown

PORT = 5060

METHODS = frozenset(
    b"""ACK BYE CANCEL DO INFO INVITE MESSAGE NOTIFY OPTIONS PRACK QAUTH REFER REGISTER SPRACK SUBSCRIBE UPDATE
    PUBLISH""".split()
)

SDP = 1
"""The key of the table `sip.body`."""

MAX_MESSAGES = 100
"""Messages that one segment may hold."""

REQUEST_LINE = Field("sip.Request-Line", "Request-Line", Type.STRING)
METHOD = Field("sip.Method", "Method", Type.STRING)
URI = Field("sip.r-uri", "Request-URI", Type.STRING)
URI_USER = Field("sip.r-uri.user", "Request-URI User Part", Type.STRING)
URI_HOST = Field("sip.r-uri.host", "Request-URI Host Part", Type.STRING)
URI_PORT = Field("sip.r-uri.port", "Request-URI Host Port", Type.STRING)
STATUS_LINE = Field("sip.Status-Line", "Status-Line", Type.STRING)
STATUS = Field("sip.Status-Code", "Status-Code", Type.UINT32)
HEADER = Field("sip.msg_hdr", "Message Header", Type.STRING)
CSEQ_NUMBER = Field("sip.CSeq.seq", "Sequence Number", Type.UINT32)
CSEQ_METHOD = Field("sip.CSeq.method", "Method", Type.STRING)
BODY = Field("sip.msg_body", "Message Body", Type.NONE)


def _address(side: str, of: str) -> tuple[Field, Field, Field, Field]:
    return (
        Field(f"sip.{side}.addr", f"SIP {side} address", Type.STRING),
        Field(f"sip.{side}.user", f"SIP {side} address User Part", Type.STRING),
        Field(f"sip.{side}.host", f"SIP {side} address Host Part", Type.STRING),
        Field(f"sip.{side}.tag", f"SIP {of} tag", Type.STRING),
    )


FROM, TO = _address("from", "from"), _address("to", "to")

_TEXTS = """Accept Allow Authorization Call-ID Contact Content-Encoding Content-Type CSeq Date Event Expires From
    Record-Route Reason Require Route Server Session-Expires Subject Supported To User-Agent Via Warning
    WWW-Authenticate"""

_NUMBERS = ("Content-Length", "Max-Forwards")

HEADERS = {
    **{name.lower(): Field(f"sip.{name}", name, Type.STRING) for name in _TEXTS.split()},
    **{name.lower(): Field(f"sip.{name}", name, Type.UINT32) for name in _NUMBERS},
}

SHORT_NAMES = {
    "i": "call-id",
    "m": "contact",
    "e": "content-encoding",
    "l": "content-length",
    "c": "content-type",
    "f": "from",
    "s": "subject",
    "k": "supported",
    "t": "to",
    "v": "via",
    "o": "event",
}
"""RFC 3261, section 7.3.3."""

_URI = re.compile(r"(?:sips?|tel):(?:([^@;>?]*)@)?(\[[^\]]*\]|[^:;>?\s]*)(?::(\d+))?")
_ADDRESS = re.compile(r"[^<]*<([^>]*)>|\s*([^;\s]+)")
_TAG = re.compile(r";\s*tag=([^;\s]*)")


def is_start(line: bytes) -> bool:
    """Whether a message begins with this line."""
    if line.startswith(b"SIP/2.0 "):
        return True
    return line.partition(b" ")[0] in METHODS and line.rstrip().endswith(b"SIP/2.0")


def _alike(layer: Layer) -> NDArray[np.bool_]:
    found = np.zeros(len(layer), np.bool_)
    first = layer.uint(0, 1)
    for entry in np.flatnonzero(layer.has(12) & (first >= ord("A")) & (first <= ord("Z"))).tolist():
        found[entry] = is_start(layer.payload(entry).partition(b"\r\n")[0])
    return found


def _walk(w: Walk) -> None:
    at = 0
    for _ in range(MAX_MESSAGES):
        at += len(w.data[at:]) - len(w.data[at:].lstrip(b"\r\n"))
        if at >= w.size:
            return
        if not is_start(w.data[at:].partition(b"\r\n")[0]):
            return
        at = _message(w, at)


def _message(w: Walk, at: int) -> int:
    call(w, "SIP")
    end = w.data.find(b"\r\n", at)
    end = w.size if end < 0 else end
    line = w.data[at:end]
    headers: dict[str, str] = {}
    said = _start_line(w, at, line)
    at = _headers(w, end + 2, headers)
    method = headers.get("cseq", "").partition(" ")[2].strip()
    if line.startswith(b"SIP/2.0 200") and method:
        said += f" ({method})"
    say(w, f"{said} | ")
    length = headers.get("content-length", "")
    size = int(length) if length.isdecimal() and len(length) < 9 else w.size - at
    size = min(size, w.wire_size - at)
    if size > 0:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        w.add(BODY, True, at, size)
        if kind == "application/sdp":
            call(w, "SIP/SDP")
            w.hand_on("sip.body", SDP, at, size)
        else:
            w.hand_on("sip.body", 0, at, size)
    return at + max(size, 0)


def _start_line(w: Walk, at: int, line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    parts = text.split(" ", 2)
    if line.startswith(b"SIP/2.0"):
        w.add(STATUS_LINE, text, at, len(line))
        with w.subtree():
            if parts[1].isdecimal() and len(parts[1]) < 6:
                w.add(STATUS, int(parts[1]), at + 8, len(parts[1]))
        return f"Status: {shown(line[8:])}"
    w.add(REQUEST_LINE, text, at, len(line))
    with w.subtree():
        w.add(METHOD, parts[0], at, len(parts[0]))
        w.add(URI, parts[1], at + len(parts[0]) + 1, len(parts[1]))
        with w.subtree():
            _parts(w, parts[1], (URI_USER, URI_HOST, URI_PORT), at)
    return f"Request: {parts[0]} {parts[1]}"


def _parts(w: Walk, uri: str, fields: Sequence[Field], at: int) -> None:
    found = _URI.match(uri)
    for field, part in zip(fields, found.groups() if found else (), strict=False):
        if part:
            w.add(field, part, at, 0)


def _headers(w: Walk, at: int, headers: dict[str, str]) -> int:
    """The headers and the empty line; gives the offset behind it."""
    end = w.data.find(b"\r\n\r\n", at)
    rest = w.data[at : w.size if end < 0 else end + 2]
    if rest:
        w.add(HEADER, rest.decode("utf-8", "replace"), at, len(rest))
    with w.subtree():
        for line in re.split(rb"\r\n(?![ \t])", rest):
            _header(w, at, line, headers)
            at += len(line) + 2
    return w.size if end < 0 else end + 4


def _header(w: Walk, at: int, line: bytes, headers: dict[str, str]) -> None:
    name, colon, raw = line.partition(b":")
    if not colon:
        return
    key = name.strip().lower().decode("ascii", "replace")
    key, value = SHORT_NAMES.get(key, key), raw.strip().decode("utf-8", "replace")
    headers.setdefault(key, value)
    field = HEADERS.get(key)
    if field is None:
        w.add_text(shown(line), at, len(line))
        return
    if field.type is Type.UINT32:
        if value.isdecimal() and len(value) < 9:
            w.add(field, int(value), at, len(line))
        return
    w.add(field, value, at, len(line), shown(line))
    with w.subtree():
        if key in ("from", "to"):
            _party(w, value, FROM if key == "from" else TO, at)
        elif key == "cseq":
            number, _, method = value.partition(" ")
            if number.isdecimal() and int(number) < 1 << 32:
                w.add(CSEQ_NUMBER, int(number), at, len(line))
                w.add(CSEQ_METHOD, method.strip(), at, len(line))


def _party(w: Walk, value: str, fields: tuple[Field, Field, Field, Field], at: int) -> None:
    found, tag = _ADDRESS.match(value), _TAG.search(value.rpartition(">")[2])
    if found:
        address = found[1] or found[2] or ""
        w.add(fields[0], address, at, 0)
        _parts(w, address, fields[1:3], at)
    if tag:
        w.add(fields[3], tag[1], at, 0)


PROTOCOLS = (
    Protocol(
        "sip",
        "Session Initiation Protocol",
        columns,
        fields=(
            *(REQUEST_LINE, METHOD, URI, URI_USER, URI_HOST, URI_PORT, STATUS_LINE, STATUS, HEADER),
            *HEADERS.values(),
            *(CSEQ_NUMBER, CSEQ_METHOD, BODY, *FROM, *TO),
        ),
        keys=(("tcp.port", PORT), ("udp.port", PORT)),
        tables=("sip.body",),
        accepts=_alike,
        guess=_alike,
        guess_in=("tcp.port", "udp.port"),
        walk=_walk,
        info=infos(),
    ),
    Protocol("sdp", "Session Description Protocol", keys=(("sip.body", SDP),)),
)
