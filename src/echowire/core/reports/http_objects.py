"""What was carried by HTTP in a capture: the bodies of its messages, decoded, each with a name for a file.

Names, and which encodings are decoded, are as with tshark's `--export-objects http,DIR`. Where tshark gives nothing or
half (bytes are missing, the capture ends in the midst, an encoding is broken), what there is is given, and that it is
not whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from echowire.core.packets.dissect import Packets
from echowire.core.reports.all_streams import AllStreams, Said, Stream
from echowire.core.reports.http_messages import Connection, Message, Part

MAX_DECODED_BYTES = 1 << 30
"""Of one object: a kilobyte can be a megabyte of zeros (zlib packs 1 to 1032), and many such a full disk."""

DECODE_STEP = 1 << 20
"""Bytes decoded at a time."""

MAX_TRIED_BYTES = 4096
"""Of a body that are kept until its first byte is decoded: for a second try without the header of zlib, which some
servers leave out, and to give them as they came where no try succeeds."""

GZIP_OR_ZLIB, BARE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
DECODED = frozenset({"gzip", "x-gzip", "deflate", "x-deflate"})


@dataclass(slots=True, eq=False)
class HttpObject:
    """A body: what is known of it, once it is over."""

    stream: int
    """`tcp.stream`."""
    is_request: bool
    """It was sent by a client (POST, PUT)."""
    method: str
    """Of the request; "" where that was not seen."""
    host: str | None
    uri: str | None
    """The request's target."""
    code: int
    """The response's status; 0 of a request."""
    content_type: str | None
    """In lower case, without parameters."""
    frame: int = 0
    """Number of the packet that completed it, or of the last that it came in."""
    size: int = 0
    """Bytes, decoded."""
    missing: int = 0
    """Bytes that the capture has not, of what was said to come."""
    problems: list[str] = field(default_factory=list)
    """Why it is not what was sent; empty where it is whole."""
    data: bytes = b""
    """The bytes, where they were asked for and not written to a file."""

    @property
    def name(self) -> str:
        """The last part of the URI, or the frame and type where that is not known, as tshark has it. It is what others
        sent: to make a file's name of it, see `echowire.core.reports.export_names`."""
        if self.uri is None:
            return f"object{self.frame}" + (f".{self.content_type}" if self.content_type else "")
        stripped = self.uri.rstrip("/")
        return stripped.rpartition("/")[2] if stripped else "/" if self.uri else "."


class ObjectPart(NamedTuple):
    """Some bytes of an object, or its end."""

    object: HttpObject
    data: bytes = b""
    is_end: bool = False


class HttpObjects:
    """Feed it the chunks of a capture in their order, and then `finish` it."""

    def __init__(self) -> None:
        self._streams = AllStreams(("tcp",))
        self._connections: dict[int, Connection] = {}
        self._open: dict[Message, _Open] = {}
        self.fields = self._streams.fields
        """The fields that a reading needs."""

    def feed(self, packets: Packets) -> Iterator[ObjectPart]:
        """The parts of objects that a chunk has."""
        for said in self._streams.feed(packets):
            yield from self._feed_one(said)

    def finish(self) -> Iterator[ObjectPart]:
        """The ends of objects that the capture has not."""
        for said in self._streams.finish():
            yield from self._feed_one(said)

    def _feed_one(self, said: Said) -> Iterator[ObjectPart]:
        stream, piece = said.stream, said.piece
        connection = self._connections.get(stream.number)
        if connection is None:
            if said.is_end:
                return
            connection = self._connections[stream.number] = Connection()
        if said.is_end:
            parts = connection.close(piece.end, is_cut=said.is_cut)
        elif piece.missing:
            parts = connection.miss(piece.end, piece.missing)
        else:
            parts = connection.feed(piece.end, piece.data)
        for part in parts:
            yield from self._part(stream, part, said.frame or piece.frame)
        if said.is_end and all(stream.closed):
            self._connections.pop(stream.number, None)

    def _part(self, stream: Stream, part: Part, frame: int) -> Iterator[ObjectPart]:
        message = part.message
        opened = self._open.get(message)
        if opened is None:
            if part.is_end:
                return  # a message without a body
            opened = self._open[message] = _Open(_object(stream, message), message.headers.get("content-encoding", ""))
        found = opened.object
        found.missing += part.missing
        if part.data:
            found.frame = frame or found.frame
            yield from opened.feed(part.data)
        if part.is_end:
            del self._open[message]
            if not part.problem:
                found.frame = frame or found.frame
            if part.problem:
                found.problems.append(part.problem)
            yield from opened.finish()


def _object(stream: Stream, message: Message) -> HttpObject:
    return HttpObject(
        stream.number, message.is_request, message.method, message.host, message.uri, message.code, message.content_type
    )


class _Open:
    """An object whose end has not come."""

    def __init__(self, found: HttpObject, encoding: str) -> None:
        self.object = found
        self._encoding = encoding.strip().lower()
        self._decoder = zlib.decompressobj(GZIP_OR_ZLIB) if self._encoding in DECODED else None
        self._tried: bytearray | None = bytearray()
        """What was read while nothing was decoded yet."""
        self._is_done = False

    def feed(self, data: bytes) -> Iterator[ObjectPart]:
        """Bytes of the body."""
        if self._decoder is None:
            yield self._given(data)
            return
        if self._is_done:
            return
        if self._tried is not None:
            self._tried += data
        try:
            yield from self._decoded(data)
        except zlib.error:
            yield from self._second_try()

    def _decoded(self, data: bytes) -> Iterator[ObjectPart]:
        assert self._decoder is not None
        while data and not self._is_done:
            before = self._decoder.copy()
            try:
                some = self._decoder.decompress(data, DECODE_STEP)
            except zlib.error:
                yield from self._salvaged(before, data)
                raise
            if some:
                self._tried = None
                yield self._given(some)
            if self.object.size >= MAX_DECODED_BYTES:
                self._stop(f"more than {MAX_DECODED_BYTES} bytes when decoded: the rest is left out")
                return
            data = self._decoder.unconsumed_tail
            if self._decoder.eof:
                data = self._decoder.unused_data
                if data[:2] != b"\x1f\x8b":
                    return
                self._decoder = zlib.decompressobj(GZIP_OR_ZLIB)  # another member (RFC 1952, section 2.2)

    def _salvaged(self, decoder: zlib._Decompress, data: bytes) -> Iterator[ObjectPart]:
        """What can be decoded up to the byte that is wrong: zlib gives nothing of a call that fails."""
        found = bytearray()
        with suppress(zlib.error):
            for at in range(len(data)):
                found += decoder.decompress(data[at : at + 1])
        if found:
            self._tried = None
            yield self._given(bytes(found))

    def _second_try(self) -> Iterator[ObjectPart]:
        """What is no gzip and no zlib may be deflate without a header; else it is given as it came."""
        tried, self._tried = self._tried, None
        if tried is None or len(tried) > MAX_TRIED_BYTES + DECODE_STEP:
            self._stop(f"its {self._encoding} is broken")
            return
        try:
            self._decoder = zlib.decompressobj(BARE)
            yield from self._decoded(bytes(tried))
        except zlib.error:
            self._decoder = None
            self.object.problems.append(f"its {self._encoding} is none: not decoded")
            yield self._given(bytes(tried))

    def _stop(self, why: str) -> None:
        self._is_done = True
        self.object.problems.append(why)

    def finish(self) -> Iterator[ObjectPart]:
        """Its end."""
        decoder = self._decoder
        if decoder is not None and not decoder.eof and not self.object.problems:
            self.object.problems.append(f"its {self._encoding} is cut off")
        yield ObjectPart(self.object, is_end=True)

    def _given(self, data: bytes) -> ObjectPart:
        self.object.size += len(data)
        return ObjectPart(self.object, data)
