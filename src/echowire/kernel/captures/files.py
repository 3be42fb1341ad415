"""Capture files from a path or standard input, plain or compressed, a chunk at a time.

A file is read in pieces of a few megabytes and never whole, so that memory stays flat for a file of any length, and
what numpy then reads is still in the processor's cache. Compression is told by the first bytes, as names lie: gzip
(RFC 1952), zstd (RFC 8878) and lz4 frames (LZ4 Frame Format 1.6), each also as several members one after another, as
`cat` and parallel compressors make them. Damage ends the reading and is told in one line; what came before it counts.
"""

from __future__ import annotations

import importlib
import os
import sys
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from echowire.core.captures.reader import CaptureReader
from echowire.core.captures.records import FRONT, PAD, Problem, Records
from echowire.errors import UsageError
from echowire.kernel.boundary import operation

CHUNK_BYTES = 4 * 1024 * 1024
"""Read at once, of the file or of what it decompresses to: a few thousand packets, so that the cost of a chunk is
spread, and little enough to stay in a processor's cache with the columns that are made of it."""

USUAL_BYTES = 512
MAX_GROWTH = 2
"""Where packets are larger than `USUAL_BYTES`, chunks grow, to so many times their size at most, to have as many
packets as of those: what columns cost a chunk is then shared by as many, and of large packets only headers are read."""

PIECE_BYTES = 64 * 1024
"""Decompressed data asked for at once, and compressed data given at once. It is what may be lost before a fault, as a
decompressor that fails keeps what it had made in that call; a bomb grows no buffer, either."""


class Decompressor(Protocol):
    """What the standard library's bz2, lzma and compression.zstd agree on, and lz4 too."""

    @property
    def eof(self) -> bool:
        """Whether the end of a member was met."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether more can only come of more input."""
        ...

    @property
    def unused_data(self) -> bytes | None:
        """What was given beyond the member's end."""
        ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take `data`, and give at most `max_length` bytes."""
        ...


class Gunzip:
    """zlib as a `Decompressor`, that gives all it can before a fault: also where only the checksum is wrong."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)  # 31: with gzip's header and trailer
        self._held = b""
        self._fault: zlib.error | None = None

    @property
    def eof(self) -> bool:
        """Whether the end of a member was met."""
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        """Whether more can only come of more input."""
        return not (self._held or self.eof or self._fault)

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the member's end."""
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take `data`, and give at most `max_length` bytes. Raises `zlib.error` once nothing is left to give."""
        if self._fault:
            raise self._fault
        data, spare = self._held + data, self._zlib.copy()
        try:
            out = self._zlib.decompress(data, max_length)
        except zlib.error as error:
            self._fault = error
            return _up_to_fault(spare, data)
        self._held = self._zlib.unconsumed_tail
        return out


def _up_to_fault(inflate: zlib._Decompress, data: bytes) -> bytes:
    """What comes before the byte of `data` at which zlib fails, and drops all that this call made."""
    found = bytearray()
    for at in range(len(data)):
        try:
            found += inflate.decompress(data[at : at + 1])
        except zlib.error:
            break
    return bytes(found)


@dataclass(frozen=True, slots=True)
class Compression:
    """A format that a file may be compressed with. Its module is imported when such a file is opened."""

    name: str
    magic: bytes
    module: str = ""
    package: str = ""
    decompressor: str = ""

    def open(self) -> Decompressor:
        """A decompressor for one member. Raises `UsageError` where the package for it is not installed."""
        if not self.module:
            return Gunzip()
        try:
            made: Decompressor = getattr(importlib.import_module(self.module), self.decompressor)()
        except ImportError:
            raise UsageError(f"a file compressed with {self.name} needs the package {self.package}") from None
        return made

    def begins(self, begin: bytes) -> bool:
        """Whether a member of this format begins so, or a frame to be skipped, which zstd and lz4 share."""
        return begin.startswith(self.magic) or (bool(self.module) and _is_skippable(begin))


def _is_skippable(begin: bytes) -> bool:
    return begin[1:4] == b"\x2a\x4d\x18" and begin[0] >> 4 == 5


ZSTD_MODULE = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"

MAGIC_BYTES = 4
"""The longest magic number of a compression."""

COMPRESSIONS = (
    Compression("gzip", b"\x1f\x8b"),
    Compression("zstd", b"\x28\xb5\x2f\xfd", ZSTD_MODULE, "backports.zstd", "ZstdDecompressor"),
    Compression("lz4", b"\x04\x22\x4d\x18", "lz4.frame", "lz4", "LZ4FrameDecompressor"),
)
"""zstd stands before lz4, as pzstd begins a file with a frame to be skipped and no lz4 tool does."""


class CaptureFile(Iterator[Records]):
    """An open capture file: iterate for its `Records`, and look at `problem` when they have ended.

    `path` is a file's, `-` for standard input, or an open binary stream, which is not closed. Raises `OperationError`
    where the system refuses (`open FILE`, `read FILE`), and `UsageError` for what is no capture file.
    """

    def __init__(self, path: str | Path | BinaryIO, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.problem: Problem | None = None
        """Why the file was not read to its end; None as long as all is well."""
        self.position = 0
        """Bytes taken of the file, compressed if it is: with `size`, how far the reading is."""
        self.size: int | None = None
        """Bytes that the file had when it was opened; None for a pipe."""
        self.compression: str | None = None
        """`gzip`, `zstd` or `lz4`; None of a plain file, and before the first records."""
        self._least_bytes = self._chunk_bytes = chunk_bytes
        self._reader = CaptureReader()
        self._owned = isinstance(path, str | Path) and str(path) != "-"
        if isinstance(path, str | Path):
            self.name = "standard input" if str(path) == "-" else str(path)
            with operation("open", self.name):
                self._stream = Path(path).open("rb", buffering=0) if self._owned else sys.stdin.buffer
        else:
            self.name, self._stream = str(getattr(path, "name", "stream")), path
        if self._owned:
            self.size = os.fstat(self._stream.fileno()).st_size or None
        self._chunks = self._chunked()

    def __next__(self) -> Records:
        try:
            records = self._next()
        except BaseException:
            self.close()
            raise
        if records is None:
            self.close()
            raise StopIteration
        return records

    def _next(self) -> Records | None:
        """The next records, None after the last; `problem` is then set, if there is one."""
        while self.problem is None:
            chunk = next(self._chunks, None)
            records = None if chunk is None else self._reader.take_over(chunk)
            self.problem = self.problem or (self._reader.finish() if chunk is None else self._reader.problem)
            if self.problem and self.problem.kind == "foreign":
                raise UsageError(f"{self.name} is no capture file: {self.problem.message}")
            if records is not None:
                self._fit(records)
            if records is not None or chunk is None:
                return records
        return None

    def _fit(self, records: Records) -> None:
        """Choose how much is read at once by how large packets are."""
        if len(records) and self._owned:
            mean = (len(records.data) - PAD) / len(records)
            self._chunk_bytes = int(self._least_bytes * min(max(mean / USUAL_BYTES, 1), MAX_GROWTH))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it was opened here. Reading it ends."""
        self._chunks.close()
        if self._owned:
            self._stream.close()

    def _read(self, size: int) -> bytes:
        """At most `size` bytes, what a pipe has at once; empty at the end."""
        read = getattr(self._stream, "read1", self._stream.read)
        with operation("read", self.name):
            data: bytes = read(size) or b""
        self.position += len(data)
        return data

    def _chunked(self) -> Generator[bytearray]:
        """The capture's bytes, in chunks with `FRONT` bytes of room before each. Sets `problem` where what they come
        from is damaged."""
        begin = self._read_at_least(MAGIC_BYTES, b"")
        found = next((one for one in COMPRESSIONS if one.begins(begin)), None)
        if found is None:
            yield from self._plain(begin)
            return
        self.compression = found.name
        ready = bytearray(FRONT)
        for piece in self._pieces(found, begin):
            ready += piece
            if len(ready) >= FRONT + self._chunk_bytes:
                yield ready
                ready = bytearray(FRONT)
        if len(ready) > FRONT:
            held, self.problem = self.problem, None  # what was made before the damage comes first
            yield ready
            self.problem = held

    def _plain(self, begin: bytes) -> Generator[bytearray]:
        """The bytes of a file that is not compressed; `begin` was read."""
        if begin:
            yield bytearray(FRONT) + begin
        if isinstance(self._stream, RawIOBase):
            yield from self._in_place(self._stream)
            return
        while data := self._read(self._chunk_bytes):
            yield bytearray(FRONT) + data

    def _in_place(self, stream: RawIOBase) -> Generator[bytearray]:
        """The rest of a file, read to where it stays: copies of it would cost as much as the reading."""
        while True:
            buffer = bytearray(FRONT + self._chunk_bytes + PAD)
            with operation("read", self.name), memoryview(buffer) as whole:
                size = stream.readinto(whole[FRONT : FRONT + self._chunk_bytes])
            if not size:
                return
            self.position += size
            del buffer[FRONT + size :]
            yield buffer

    def _pieces(self, compression: Compression, waiting: bytes) -> Generator[bytes]:
        """What the members make, `PIECE_BYTES` or less at a time; `waiting` was read and is not yet decompressed."""
        name, member = compression.name, compression.open()
        while True:
            if member.eof:
                waiting = self._read_at_least(MAGIC_BYTES, (member.unused_data or b"") + waiting)
                if not waiting.strip(b"\0"):
                    return  # padding, as tape blocks have and gzip ignores
                if not compression.begins(waiting):
                    self._damaged(f"what follows the {name} data is no {name}", len(waiting))
                    return
                member = compression.open()
            given = b""
            if member.needs_input:
                waiting = waiting or self._read(self._chunk_bytes)
                if not waiting:
                    self._damaged(f"the {name} data is cut", 0)
                    return
                given, waiting = waiting[:PIECE_BYTES], waiting[PIECE_BYTES:]
            try:
                piece = member.decompress(given, PIECE_BYTES)
            except Exception as error:  # each library has its own; whatever it is, the data made it
                self._damaged(f"the {name} data is damaged ({error})", len(waiting) + len(given))
                return
            yield piece

    def _damaged(self, message: str, behind: int) -> None:
        """Note that the compressed data goes no further, `behind` bytes before what was read."""
        self.problem = Problem("compression", self.position - behind, message)

    def _read_at_least(self, size: int, have: bytes) -> bytes:
        """`have` and as much as makes it `size` bytes or more, unless the file ends."""
        while len(have) < size and (more := self._read(self._chunk_bytes)):
            have += more
        return have


def read_records(path: str | Path | BinaryIO, *, chunk_bytes: int = CHUNK_BYTES) -> CaptureFile:
    """The packets of a capture file as `Records`, chunk by chunk; see `CaptureFile`."""
    return CaptureFile(path, chunk_bytes=chunk_bytes)
