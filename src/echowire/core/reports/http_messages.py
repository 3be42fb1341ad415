"""HTTP/1 messages out of the two byte streams of a connection: heads, and bodies as they come (RFC 9112).

Bytes in, parts of messages out; no more is kept than a head or a line that is not whole yet. Where bytes are missing or
make no sense, reading goes on at the next piece that begins as a message does, as senders begin their messages with a
segment.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

from echowire.core.packets.protocols.http.protocol import METHODS, start_of

MAX_HEAD_BYTES = 256 * 1024
"""Of a head: a start line and its headers. Servers take 8 KB (Apache, nginx), Node 16 KB, browsers 256 KB."""

MAX_LINE_BYTES = 16 * 1024
"""Of the line before a chunk, extensions included, as in h11 and curl."""

MAX_DIGITS = 15
"""Of a length: a petabyte."""

MAX_REQUESTS = 1000
"""Requests that wait for an answer. Nobody pipelines so many; the oldest are then forgotten."""

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_FOLDED = re.compile(rb"\r?\n[ \t]+")
_VERSIONED = re.compile(rb"^[^ ]+ [^ ]+ +HTTP/\d|^HTTP/\d|^ICY ")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(;.*)?\r?\n")

Problem = Literal["", "bytes missing", "cut off", "malformed chunk"]
"""Why a body is not whole."""


@dataclass(slots=True, eq=False)
class Message:
    """A request or a response, without its body."""

    is_request: bool
    method: str
    """Of a response that of its request, if that was seen; else ""."""
    uri: str | None
    """The same of its target; None where it is not known."""
    host: str | None
    code: int
    """Of a response; 0 of a request."""
    headers: dict[str, str]
    """By lower-case name; where one comes several times, the last."""

    @property
    def content_type(self) -> str | None:
        """In lower case, without parameters."""
        found = self.headers.get("content-type")
        return None if found is None else re.split(r"[;\s]", found.strip(), maxsplit=1)[0].lower()

    @property
    def is_chunked(self) -> bool:
        """Whether its last transfer coding is chunked."""
        return self.headers.get("transfer-encoding", "").lower().split(",")[-1].strip() == "chunked"

    @property
    def length(self) -> int | None:
        """What Content-Length says; None if it says nothing that is a number."""
        text = self.headers.get("content-length", "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


class Part(NamedTuple):
    """Some of a message's body, or its end. One that has a body has a part before its end, if only an empty one."""

    message: Message
    data: bytes = b""
    missing: int = 0
    """Bytes of the body that are missing here."""
    is_end: bool = False
    problem: Problem = ""
    """Of an end: why the body is not whole."""


class _State(Enum):
    START = 0
    """A message begins, or bytes that are none."""
    LENGTH = 1
    CHUNK = 2
    """The line before a chunk."""
    CHUNK_DATA = 3
    CHUNK_END = 4
    TRAILER = 5
    UNTIL_CLOSE = 6


@dataclass(slots=True)
class _Direction:
    """What one end says."""

    state: _State = _State.START
    buffer: bytearray = field(default_factory=bytearray)
    """What is not whole yet: a head, or a line."""
    message: Message | None = None
    left: int = 0
    """Bytes of the body, or of the chunk, that are to come."""
    missed: bool = False
    """Some of the body were missing."""


class Connection:
    """Both directions of one connection. Requests may come from either end: the one that begins is not always known."""

    def __init__(self) -> None:
        self._directions = (_Direction(), _Direction())
        self._asked: tuple[deque[Message], deque[Message]] = (deque(maxlen=MAX_REQUESTS), deque(maxlen=MAX_REQUESTS))
        """Requests of each end that are not answered yet."""

    def feed(self, end: int, data: bytes) -> Iterator[Part]:
        """Take what an end said, a segment's bytes."""
        mine = self._directions[end]
        if mine.state is _State.START and not mine.buffer and not _may_begin(data.lstrip(b"\r\n")):
            return
        mine.buffer += data
        before = None
        while mine.buffer and before != (mine.state, len(mine.buffer)):
            before = mine.state, len(mine.buffer)
            yield from _STEPS[mine.state](self, end, mine)

    def miss(self, end: int, count: int) -> Iterator[Part]:
        """Bytes of an end are missing."""
        mine = self._directions[end]
        mine.buffer.clear()
        if mine.state is _State.START or mine.message is None:
            return
        mine.missed = True
        if mine.state is _State.UNTIL_CLOSE:
            yield Part(mine.message, missing=count)
        elif mine.state in (_State.LENGTH, _State.CHUNK_DATA) and count <= mine.left:
            mine.left -= count
            yield Part(mine.message, missing=count)
            yield from self._after_data(mine)
        else:
            yield from _ended(mine, "bytes missing")

    def close(self, end: int, *, is_cut: bool = False) -> Iterator[Part]:
        """Nothing more comes from an end; `is_cut` where it was about to say more, for all that is known."""
        mine = self._directions[end]
        if mine.message is not None:
            whole = mine.state is _State.UNTIL_CLOSE and not is_cut
            yield from _ended(mine, "" if whole else "cut off")
        mine.buffer.clear()
        mine.state = _State.START

    def _start(self, end: int, mine: _Direction) -> Iterator[Part]:
        """A head, once it is whole."""
        del mine.buffer[: len(mine.buffer) - len(mine.buffer.lstrip(b"\r\n"))]  # RFC 9112, section 2.2
        line, newline, _ = bytes(mine.buffer[:MAX_HEAD_BYTES]).partition(b"\n")
        if not _may_begin(line) or (newline and not _VERSIONED.match(line)) or len(mine.buffer) > MAX_HEAD_BYTES:
            mine.buffer.clear()
            return
        whole = _END_OF_HEAD.search(mine.buffer)
        if whole is None:
            return
        head, size = bytes(mine.buffer[: whole.start()]), whole.end()
        whole = None  # it holds the buffer, which could not shrink
        del mine.buffer[:size]
        message = _message(head)
        asked = self._asked[1 - end]
        if message.is_request:
            self._asked[end].append(message)
        elif asked:
            request = asked[0] if message.code // 100 == 1 and message.code != 101 else asked.popleft()
            message.method, message.uri, message.host = request.method, request.uri, request.host
        mine.message, mine.missed = message, False
        yield from self._framed(end, mine, message)

    def _framed(self, end: int, mine: _Direction, message: Message) -> Iterator[Part]:
        """How its body ends (RFC 9112, section 6.3)."""
        mine.left = 0
        if _has_no_body(message):
            yield from self._no_body(mine, message)
        elif message.is_chunked:
            mine.state = _State.CHUNK
        elif message.length is not None:
            mine.state, mine.left = _State.LENGTH, message.length
            yield from self._after_data(mine)
        elif message.is_request:
            yield from self._no_body(mine, message)
        else:
            mine.state = _State.UNTIL_CLOSE

    def _no_body(self, mine: _Direction, message: Message) -> Iterator[Part]:
        if message.code == 101 or _is_tunnel(message):
            mine.buffer.clear()  # what follows is another protocol's, in which HTTP may begin anew
        yield from _ended(mine, "")

    def _data(self, end: int, mine: _Direction) -> Iterator[Part]:
        """Bytes of a body whose length is known, or of a chunk."""
        assert mine.message is not None
        some = bytes(mine.buffer[: mine.left])
        del mine.buffer[: mine.left]
        mine.left -= len(some)
        yield Part(mine.message, some)
        yield from self._after_data(mine)

    def _after_data(self, mine: _Direction) -> Iterator[Part]:
        if mine.left:
            return
        if mine.state is _State.LENGTH:
            yield from _ended(mine, "")
        else:
            mine.state = _State.CHUNK_END

    def _until_close(self, end: int, mine: _Direction) -> Iterator[Part]:
        assert mine.message is not None
        some = bytes(mine.buffer)
        mine.buffer.clear()
        yield Part(mine.message, some)

    def _chunk(self, end: int, mine: _Direction) -> Iterator[Part]:
        """The line that says how long a chunk is (RFC 9112, section 7.1)."""
        found = _CHUNK_SIZE.match(bytes(mine.buffer[:MAX_LINE_BYTES]))
        if found is None:
            if b"\n" in mine.buffer or len(mine.buffer) > MAX_LINE_BYTES:
                mine.buffer.clear()
                yield from _ended(mine, "malformed chunk")
            return
        mine.left = int(found[1], 16)
        del mine.buffer[: found.end()]
        mine.state = _State.CHUNK_DATA if mine.left else _State.TRAILER
        assert mine.message is not None
        yield Part(mine.message)

    def _chunk_end(self, end: int, mine: _Direction) -> Iterator[Part]:
        if mine.buffer[:2] == b"\r\n" or mine.buffer[:1] == b"\n":
            del mine.buffer[: 2 if mine.buffer[:1] == b"\r" else 1]
            mine.state = _State.CHUNK
        elif mine.buffer != b"\r":
            mine.buffer.clear()
            yield from _ended(mine, "malformed chunk")

    def _trailer(self, end: int, mine: _Direction) -> Iterator[Part]:
        """What follows the last chunk, up to an empty line."""
        line, newline, _ = bytes(mine.buffer[:MAX_LINE_BYTES]).partition(b"\n")
        if newline:
            del mine.buffer[: len(line) + 1]
            if not line.strip(b"\r"):
                yield from _ended(mine, "")
        elif len(mine.buffer) > MAX_LINE_BYTES:
            mine.buffer.clear()
            yield from _ended(mine, "")


_STEPS: dict[_State, Callable[[Connection, int, _Direction], Iterator[Part]]] = {
    _State.START: Connection._start,
    _State.LENGTH: Connection._data,
    _State.CHUNK: Connection._chunk,
    _State.CHUNK_DATA: Connection._data,
    _State.CHUNK_END: Connection._chunk_end,
    _State.TRAILER: Connection._trailer,
    _State.UNTIL_CLOSE: Connection._until_close,
}


def _ended(mine: _Direction, problem: Problem) -> Iterator[Part]:
    """The end of a message; what comes next is another."""
    assert mine.message is not None
    yield Part(mine.message, is_end=True, problem=problem or ("bytes missing" if mine.missed else ""))
    mine.message, mine.state = None, _State.START


def _has_no_body(message: Message) -> bool:
    """Whether it is a response that never has a body, whatever its headers say."""
    if message.is_request:
        return False
    kind = message.code // 100
    return kind == 1 or message.code in (204, 304) or message.method == "HEAD" or _is_tunnel(message)


def _is_tunnel(message: Message) -> bool:
    return message.method == "CONNECT" and not message.is_request and message.code // 100 == 2


def _may_begin(data: bytes) -> bool:
    """Whether bytes begin as a message does, or are a part of such a beginning."""
    return bool(start_of(data[:64])) or any(one.startswith(data) for one in (*METHODS, b"HTTP/", b"ICY"))


def _message(head: bytes) -> Message:
    """A message, by its start line and headers."""
    line, _, rest = _FOLDED.sub(b" ", head).partition(b"\n")
    headers = {}
    for one in rest.split(b"\n"):
        name, colon, value = one.decode("ascii", "replace").partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    first, second, *_ = (*line.decode("ascii", "replace").rstrip("\r").split(" ", 2), "", "")
    if start_of(line) == "response":
        code = int(second[:3]) if second[:3].isascii() and second[:3].isdigit() else 0
        return Message(False, "", None, None, code, headers)
    return Message(True, first, second, headers.get("host"), 0, headers)
