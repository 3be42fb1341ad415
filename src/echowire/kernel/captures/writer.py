"""Files that captures are written to: pcap or pcapng, compressed if their name says so, `-` standard output.

Nothing is written over the file that is being read, under whatever name: what is not read yet would be lost.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import secrets
import stat
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.pcapng_writer import PcapngWriter
from echowire.core.captures.records import Records, Rows
from echowire.errors import EchowireError, UsageError
from echowire.kernel.boundary import operation
from echowire.kernel.captures.files import ZSTD_MODULE
from echowire.kernel.output_files import is_replaceable, open_to_write, refuse_foreign_links

PCAP_SUFFIXES = frozenset({".pcap", ".cap", ".dmp"})
"""Names that mean pcap; all others mean pcapng, which keeps everything."""

GZIP_LEVEL = 6


class Compressor(Protocol):
    """What zlib and zstd agree on."""

    def compress(self, data: Any, /) -> bytes:
        """What is ready to be written after `data`."""
        ...

    def flush(self) -> bytes:
        """The rest."""
        ...


class Lz4:
    """lz4's frame compressor, whose beginning is a call of its own."""

    def __init__(self, compressor: Any) -> None:
        self._lz4, self._begun = compressor, False

    def compress(self, data: Any, /) -> bytes:
        """What is ready to be written after `data`."""
        begin = b"" if self._begun else self._lz4.begin()
        self._begun = True
        return bytes(begin + self._lz4.compress(bytes(data)))

    def flush(self) -> bytes:
        """The rest."""
        return bytes(self.compress(b"") + self._lz4.flush())


def compressor_for(suffix: str) -> Compressor | None:
    """What compresses a file whose name ends so; None of others."""
    try:
        if suffix == ".gz":
            return zlib.compressobj(GZIP_LEVEL, wbits=31)
        if suffix == ".zst":
            found: Compressor = importlib.import_module(ZSTD_MODULE).ZstdCompressor()
            return found
        if suffix == ".lz4":
            return Lz4(importlib.import_module("lz4.frame").LZ4FrameCompressor())
    except ImportError as error:
        raise UsageError(f"a file that ends in {suffix} needs the package {error.name}") from None
    return None


class OutputFile:
    """A file that is written anew, in a `with` block; `path` may be `-`. `source` is what must not be written over.

    It is written beside its place and gets its name when all of it is there: after an error, or Ctrl-C, there is what
    was there before. A device or a pipe is written to as it is, and so is a file whose folder takes no other.
    """

    def __init__(self, path: str | Path, source: object = None) -> None:
        self.name = "standard output" if str(path) == "-" else str(path)
        self._owned = str(path) != "-"
        self._part: Path | None = None
        if self._owned and isinstance(source, str | Path) and _is_same(path, source):
            raise UsageError(f"{path} is the file that is read; write to another")
        with operation("open", self.name):
            self.stream: BinaryIO = open(self._opened(path), "wb", buffering=0) if self._owned else sys.stdout.buffer  # noqa: PTH123 - a descriptor

    def write(self, data: bytes | bytearray) -> None:
        """Write all of it."""
        with operation("write", self.name):
            view = memoryview(data)
            while view:
                view = view[self.stream.write(view) :]

    def _opened(self, path: str | Path) -> int:
        """A descriptor of the file beside it, or of itself."""
        refuse_foreign_links(path)
        self._target = Path(os.path.realpath(path))
        if is_replaceable(path):
            try:
                before = self._target.stat()
            except FileNotFoundError:
                before = None
            if before and not os.access(self._target, os.W_OK, effective_ids=True):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            part = self._target.with_name(f".echowire-{os.getpid()}-{secrets.token_hex(4)}.part")
            try:
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            except PermissionError:
                if before is None:
                    raise
            else:
                self._part = part
                if before:  # whose it is, and who may read it, stays as it was
                    with suppress(OSError):
                        os.fchown(descriptor, before.st_uid, before.st_gid)
                    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
                return descriptor
        return open_to_write(path, 0o666)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with operation("write", self.name):
            try:
                if self._owned:
                    self.stream.close()
                else:
                    self.stream.flush()
                if self._part and error is None:
                    self._part.replace(self._target)
                    self._part = None
            finally:
                if self._part:
                    with suppress(OSError):
                        self._part.unlink()


class ExportStream(io.RawIOBase):
    """An `OutputFile` for a library that writes to it, and that says of an error less than the system did: `error`."""

    def __init__(self, file: OutputFile) -> None:
        super().__init__()
        self._file = file
        self.error: EchowireError | None = None

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Write all of it."""
        try:
            self._file.write(data)
        except EchowireError as error:
            self.error = self.error or error
            raise
        return len(data)


class CaptureWriter:
    """`Records` to a capture file, of the format and compression that its name says."""

    def __init__(self, path: str | Path, source: object = None) -> None:
        suffixes = Path(path).suffixes
        self._compressor = compressor_for(suffixes[-1].lower()) if suffixes else None
        suffix = (suffixes[-2:-1] if self._compressor else suffixes[-1:]) or [""]
        self._format = PcapWriter() if suffix[0].lower() in PCAP_SUFFIXES else PcapngWriter()
        self._file = OutputFile(path, source)
        self._begun = False

    def write(self, records: Records, rows: Rows | None = None) -> None:
        """Write a chunk's packets, or some of them."""
        self._begun = True
        data: bytes | bytearray = self._format.write(records, rows)
        self._file.write(self._compressor.compress(data) if self._compressor else data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._file.__exit__(kind, error, at)
            return
        with self._file:
            if not self._begun:
                self.write(Records.of([], []))  # a file of no packet is one all the same
            if self._compressor:
                self._file.write(self._compressor.flush())


def _is_same(path: str | Path, source: str | Path) -> bool:
    try:
        return Path(path).samefile(source)
    except OSError:
        return False
