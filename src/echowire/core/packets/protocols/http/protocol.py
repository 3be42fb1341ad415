"""HTTP/1 (RFC 9112), and SSDP, which has its form over UDP.

Each segment is read by itself, as it was captured. What goes before in the conversation is remembered as far as it says
how to read what comes: that there was a request, the tunnel that CONNECT made, the protocol that was agreed upon by
Upgrade. What is no message is a continuation, in a conversation that has had a request; in another it is not HTTP.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.layers import Layer, Memory, Protocol
from echowire.core.packets.protocols.http import fields as f
from echowire.core.packets.protocols.http.media import kind_of, remark
from echowire.core.packets.summary import column_where_said, infos, say
from echowire.core.packets.walk import Walk
from echowire.core.text import ascii_text, shown

PORTS = (80, 631, 1900, 2710, 2869, 3128, 3132, 3689, 5985, 8080, 8088, 11371)
"""TCP ports on which HTTP is expected: Wireshark's, as people who read its output know them."""

TLS_PORT = 443
"""The key under which TLS is found, for what a tunnel carries."""

UPGRADES = {"websocket": 1}
"""Protocols that Upgrade may agree upon: the keys of the table `http.upgrade`."""

UNKNOWN_UPGRADE = 0

MAX_CONVERSATIONS = 65_536
"""Conversations of which something is remembered; the oldest is forgotten first. A capture of a busy proxy has some
thousands open at a time, and each takes about 500 bytes here."""

MAX_MESSAGES = 1_000
"""Messages that one segment may hold. The largest segment is 64 KiB, and a message of less than 60 bytes is rare."""

MAX_DIGITS = 18
"""Digits of a length that are believed."""

MAX_UNPACKED_BYTES = 1 << 20
"""What a compressed body may become. A segment of 64 KiB of zeros becomes 64 MiB, which nobody wants to see."""

GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
"""Takes either header."""

METHODS = frozenset(
    b"""GET PUT COPY HEAD LOCK MOVE POLL POST BCOPY BMOVE MKCOL TRACE PATCH LABEL MERGE DELETE SEARCH UNLOCK REPORT
    UPDATE BDELETE OPTIONS CHECKIN PROPFIND CHECKOUT CCM_POST PROPPATCH BPROPFIND BPROPPATCH UNCHECKOUT MKACTIVITY
    CONNECT MKWORKSPACE RPC_CONNECT RPC_IN_DATA RPC_OUT_DATA VERSION-CONTROL
    BASELINE-CONTROL SSTP_DUPLEX_POST""".split()
)
"""RFC 9110 and 5789, WebDAV and its extensions (RFC 4918, 3253, 5323), and what Microsoft's servers take."""

NOTIFICATIONS = frozenset((b"NOTIFY", b"SUBSCRIBE", b"UNSUBSCRIBE"))
"""GENA's, which UPnP uses (draft-cohen-gena-client-01)."""

_END_OF_LINE = re.compile(rb"\r\n?|\n")
_NAME = re.compile(rb"[!#-'*+\-.0-9A-Z^_`a-z|~]*:")
"""A header's name (RFC 9110, section 5.6.2: a token) and the colon behind it."""


@dataclass(slots=True)
class Conversation:
    """What is remembered of a TCP connection."""

    requests: int = 0
    number: int = 0
    """Of the last exchange, which is a request or an answer or both."""
    is_answered: bool = True
    method: bytes = b""
    uri: str = ""
    """The last request's, with its host."""
    frame: int = 0
    tunnel: str = ""
    """Where CONNECT leads to, once it was answered: `host:port`."""
    upgrade: int | None = None
    """What was agreed upon by Upgrade: a key of `http.upgrade`, or UNKNOWN_UPGRADE."""


@dataclass(slots=True)
class Message:
    """What a message's lines said."""

    kind: str = ""
    """`request`, `notification`, `response`, or nothing where its start was not seen."""
    method: bytes = b""
    uri: str = ""
    host: str | None = None
    code: int = 0
    content_type: str | None = None
    content_length: int | None = None
    is_chunked: bool = False
    is_compressed: bool = False
    upgrade: str = ""
    is_whole: bool = False
    """The empty line behind the headers was there."""


def conversation_of(memory: Memory, number: int) -> Conversation:
    """What is remembered of a conversation."""
    return memory.of_each("http", number, Conversation, MAX_CONVERSATIONS)


def start_of(line: bytes) -> str:
    """Which kind of message a line begins: `request`, `notification`, `response`; "" for none."""
    if line.startswith(b"HTTP/"):
        return "response"
    method = line.partition(b" ")[0].removeprefix(b"M-")
    if method in METHODS:
        return "request"
    if method in NOTIFICATIONS:
        return "notification"
    return "response" if method == b"ICY" else ""


def _line(data: bytes, at: int) -> tuple[bytes, int, bool]:
    """The line at `at`, the offset behind its end, and whether its end was there."""
    end = _END_OF_LINE.search(data, at)
    return (data[at : end.start()], end.end(), True) if end else (data[at:], len(data), False)


def _accepts(layer: Layer) -> NDArray[np.bool_]:
    """What is HTTP on a port of HTTP: what has its form, and all that comes after a request."""
    streams = layer.conversations()
    numbers = np.full(len(layer), -1) if streams is None else streams
    asked = layer.memory.of("http requests", dict[int, None])
    found = np.zeros(len(layer), np.bool_)
    for entry, number in enumerate(numbers.tolist()):
        line = _line(layer.payload(entry), 0)[0]
        start = start_of(line)
        if start == "request" and number >= 0:
            asked[number] = None
            if len(asked) > MAX_CONVERSATIONS:
                del asked[next(iter(asked))]
        found[entry] = bool(start) or number in asked or not line or _NAME.match(line) is not None
    return found


def _guess(layer: Layer) -> NDArray[np.bool_]:
    """What begins or ends its first line with HTTP's version."""
    found = np.zeros(len(layer), np.bool_)
    # No method has less than three letters: few packets of other protocols begin so.
    likely: NDArray[np.bool_] = layer.has(8)
    for at in range(3):
        letter = layer.uint(at, 1) | 0x20
        likely &= (letter >= ord("a")) & (letter <= ord("z"))
    for entry in np.flatnonzero(likely).tolist():
        line, _, ended = _line(layer.payload(entry), 0)
        if ended and len(line) >= 8:
            found[entry] = line[:7].upper() == b"HTTP/1." or line[-8:-1].upper() == b"HTTP/1."
    return found


def _walk(w: Walk) -> None:
    streams = w.layer.once("conversations", w.layer.conversations)
    known = Conversation() if streams is None else conversation_of(w.memory, int(streams[w.entry]))
    at = 0
    for _ in range(MAX_MESSAGES):
        if at >= w.wire_size or _inner(w, known, at):
            return
        w.need(at, 1)
        at = _message(w, known, at)


def _inner(w: Walk, known: Conversation, at: int) -> bool:
    """Hand on what is not HTTP any more: what a tunnel or an agreed protocol carries."""
    if known.upgrade is not None:
        w.is_passed_on = at == 0
        w.hand_on("http.upgrade", known.upgrade, at, w.wire_size - at)
    elif known.tunnel:
        host, _, port = known.tunnel.rpartition(":")
        number = int(port) if port.isdecimal() and len(port) < 6 else 0
        w.add(f.PROXY_HOST, host, at, 0)
        w.add(f.PROXY_PORT, number & 0xFFFF, at, 0)
        is_tls = w.data[at : at + 2] == b"\x16\x03"
        # What goes to a port of HTTP by a tunnel of HTTP would go round in a ring.
        w.hand_on("tcp.port", TLS_PORT if is_tls else 0 if number in PORTS else number, at, w.wire_size - at)
    else:
        return False
    return True


def _message(w: Walk, known: Conversation, begin: int) -> int:
    """One message, or a continuation. Gives the offset behind it."""
    said = Message()
    at = _lines(w, said, begin)
    if said.kind and _END_OF_LINE.search(w.data, begin):
        say(w, shown(_line(w.data, begin)[0]) + " ")
    elif known.requests:
        say(w, "Continuation")
    is_cut = at < w.size and not said.is_whole and not _END_OF_LINE.search(w.data, at)
    if said.kind:
        _remember(w, said, known)
        if not is_cut:
            _conclude(w, said, known, begin)
    if at > begin and not said.is_whole:
        # The headers go on in the next segment, unless there is a line that is none.
        return w.wire_size if is_cut else at
    if known.tunnel or known.upgrade is not None:
        return at
    if said.is_chunked:
        return _chunks(w, said, at)
    size = w.wire_size - at
    if said.content_length is not None:
        size = min(said.content_length, size)
    elif said.kind == "request" or _has_no_body(said.code):
        size = 0
    if size:
        _body(w, said, at, size, w.data[at : at + size])
    return at + size


def _lines(w: Walk, said: Message, at: int) -> int:
    """The start line, the headers and the empty line. Gives the offset behind what has their form."""
    while at < w.size:
        line, after, _ = _line(w.data, at)
        start = start_of(line)
        if start:
            said.kind = start
            _start_line(w, said, at, line, after - at)
        elif not line:
            said.is_whole = True
            w.add_text(shown(w.data[at:after]), at, after - at)
            return after
        elif (name := _NAME.match(line)) is not None:
            _header(w, said, at, name.end() - 1, line, after - at)
        else:
            return at
        at = after
    return at


def _start_line(w: Walk, said: Message, at: int, line: bytes, size: int) -> None:
    """`GET /path HTTP/1.1`, or `HTTP/1.1 200 OK`: three parts with one space between them."""
    parts = line.split(b" ", 2)
    places = [at, at + len(parts[0]) + 1, at + len(b" ".join(parts[:2])) + 1]
    first, second, third = (ascii_text(part) for part in (*parts, b"", b"")[:3])
    with w.subtree(shown(w.data[at : at + size]), at, size):
        if said.kind == "response":
            w.add(f.RESPONSE_VERSION, first, at, len(parts[0]))
            if len(second) >= 3:
                said.code = int(second[:3]) if second[:3].isdecimal() else 0
                w.add(f.CODE, said.code, places[1], 3)
                if said.code in f.STATUS:
                    w.add(f.CODE_NAME, f.STATUS[said.code], places[1], 3)
                if third:
                    w.add(f.PHRASE, third, places[2], len(parts[2]))
            return
        said.method, said.uri = parts[0], second
        w.add(f.METHOD, first, at, len(parts[0]))
        if len(parts) > 1:
            w.add(f.URI, second, places[1], len(parts[1]))
            _query(w, parts[1], places[1])
        if third:
            w.add(f.REQUEST_VERSION, third, places[2], len(parts[2]))


def _query(w: Walk, uri: bytes, at: int) -> None:
    """The parts of a URI that has a query."""
    path, mark, query = uri.partition(b"?")
    if not mark:
        return
    with w.subtree():
        w.add(f.URI_PATH, ascii_text(path), at, len(path))
        at += len(path) + 1
        w.add(f.URI_QUERY, ascii_text(query), at, len(query))
        with w.subtree():
            for parameter in query.split(b"&"):
                w.add(f.URI_PARAMETER, ascii_text(parameter), at, len(parameter))
                at += len(parameter) + 1


def _header(w: Walk, said: Message, at: int, colon: int, line: bytes, size: int) -> None:
    value = line[colon + 1 :].lstrip(b" \t")
    name, text, whole = line[:colon].lower(), ascii_text(value), w.data[at : at + size]
    known = f.HEADERS.get(name)
    if known:
        w.add(known, text, at, size, shown(whole))
    else:
        w.add_text(shown(whole), at, size)
    line_field = {"request": f.REQUEST_LINE, "response": f.RESPONSE_LINE}.get(said.kind)
    if line_field:
        w.add(line_field, ascii_text(whole), at, size)
    if name == b"host":
        said.host = text
    elif name == b"content-type":
        said.content_type = text
    elif name == b"transfer-encoding":
        said.is_chunked = value.lower().startswith(b"chunked")
    elif name == b"content-encoding":
        said.is_compressed = value.strip().lower() in (b"gzip", b"x-gzip", b"deflate", b"x-deflate")
    elif name == b"upgrade":
        said.upgrade = text.lower()
    elif name == b"content-length" and (number := value.strip()).isdigit() and len(number) < MAX_DIGITS:
        said.content_length = int(number)
        with w.subtree():
            w.add(f.CONTENT_LENGTH, said.content_length, at, size)
    elif name == b"cookie":
        with w.subtree():
            for pair in text.split(";"):
                w.add(f.COOKIE_PAIR, pair.strip(" "), at, size)


def _remember(w: Walk, said: Message, known: Conversation) -> None:
    """What the messages after this one depend on."""
    if said.kind == "request":
        known.requests += 1
        known.number += 1
        known.is_answered = False
        known.method, known.uri = said.method, said.uri
        known.frame = int(w.layer.records.number[w.layer.rows[w.entry]])
    elif said.kind == "response":
        known.number += known.is_answered
        known.is_answered = True
        if known.method == b"CONNECT" and 200 <= said.code < 300:
            known.tunnel = known.uri
        elif said.code == 101 and said.upgrade:
            known.upgrade = UPGRADES.get(said.upgrade.split(",")[0].strip(), UNKNOWN_UPGRADE)


def _conclude(w: Walk, said: Message, known: Conversation, at: int) -> None:
    """What a message says as a whole."""
    if said.kind == "response":
        w.add(f.RESPONSE_FLAG, True, at, 0)
        w.add(f.RESPONSE_NUMBER, known.number, at, 0)
        if known.frame:
            w.add(f.REQUEST_IN, known.frame, at, 0)
        if known.uri:
            w.add(f.RESPONSE_FOR, known.uri, at, 0)
        return
    if said.uri.lower().startswith(("http://", "https://")) or said.method == b"CONNECT":
        w.add(f.FULL_URI, said.uri, at, 0)
    elif said.host is not None:
        w.add(f.FULL_URI, f"http://{said.host}{said.uri}", at, 0)
        if said.kind == "request":
            known.uri = f"http://{said.host}{said.uri}"
    w.add(f.REQUEST_FLAG if said.kind == "request" else f.NOTIFICATION_FLAG, True, at, 0)
    if said.kind == "request":
        w.add(f.REQUEST_NUMBER, known.number, at, 0)


def _has_no_body(code: int) -> bool:
    """RFC 9112, section 6.3."""
    return 100 <= code < 200 or code in (204, 304)


def _chunks(w: Walk, said: Message, at: int) -> int:
    """A body in chunks (RFC 9112, section 7.1). Gives the offset behind it."""
    begin, body = at, []
    with w.subtree("HTTP chunked response", at, w.size - at):
        while at < w.size:
            line, after, ended = _line(w.data, at)
            digits = line.partition(b";")[0].strip()
            if not ended or not digits or len(digits) > MAX_DIGITS or digits.strip(b"0123456789abcdefABCDEF"):
                at = w.wire_size
                break
            size = min(int(digits, 16), w.wire_size - after)
            w.add(f.CHUNK_SIZE, size, at, after - at)
            if not size:
                at = _trailers(w, after)
                break
            body.append(w.data[after : after + size])
            at = after + size
            if w.data[at : at + 2] == b"\r\n":
                w.add(f.CHUNK_BOUNDARY, b"\r\n", at, 2)
                at += 2
    if body:
        _body(w, said, begin, at - begin, b"".join(body))
    return at


def _trailers(w: Walk, at: int) -> int:
    """What follows the last chunk, up to an empty line."""
    while at < w.size:
        line, at, _ = _line(w.data, at)
        if not line:
            break
    return at


def _body(w: Walk, said: Message, at: int, size: int, body: bytes) -> None:
    """Hand on what a message carries; `body` is what of `size` bytes was captured, out of its chunks."""
    stands_there = len(body) == min(size, w.size - at)
    if said.is_compressed:
        unpacked = _unpacked(body)
        stands_there, body = stands_there and unpacked is None, body if unpacked is None else unpacked
    if not body:
        return
    w.add(f.FILE_DATA, ascii_text(body), at, size)
    kind = 0 if said.content_type is None else kind_of(said.content_type)
    if said.content_type is not None:
        say(w, remark(kind, said.content_type, body))
    if stands_there:
        w.hand_on("media_type", kind, at, size)
    else:
        w.hand_on_bytes("media_type", kind, body)


def _unpacked(body: bytes) -> bytes | None:
    """What was compressed by gzip or deflate (RFC 1952, 1950), as far as there is of it; None where it was not."""
    try:
        return zlib.decompressobj(GZIP_OR_ZLIB).decompress(body, MAX_UNPACKED_BYTES)
    except zlib.error:
        return None


PROTOCOLS = (
    Protocol(
        "http",
        "Hypertext Transfer Protocol",
        column_where_said("HTTP"),
        fields=f.FIELDS,
        keys=tuple(("tcp.port", port) for port in PORTS),
        tables=("media_type", "http.upgrade", "tcp.port"),
        accepts=_accepts,
        guess=_guess,
        guess_in=("tcp.port",),
        walk=_walk,
        info=infos(),
    ),
    Protocol(
        "ssdp",
        "Simple Service Discovery Protocol",
        column_where_said("SSDP"),
        fields=f.FIELDS,
        keys=(("udp.port", 1900),),
        tables=("media_type",),
        walk=_walk,
        info=infos(),
    ),
)
