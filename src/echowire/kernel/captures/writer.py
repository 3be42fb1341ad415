"""Files that captures are written to: pcap or pcapng, compressed if their name says so, `-` standard output.

Nothing is written over the file that is being read, under whatever name: what is not read yet would be lost.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.pcapng_writer import PcapngWriter
from echowire.core.captures.records import Records, Rows
from echowire.errors import UsageError
from echowire.kernel.boundary import operation
from echowire.kernel.captures.files import ZSTD_MODULE

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
    """A file that is written anew, in a `with` block; `path` may be `-`. `source` is what must not be written over."""

    def __init__(self, path: str | Path, source: object = None) -> None:
        self.name = "standard output" if str(path) == "-" else str(path)
        self._owned = str(path) != "-"
        if self._owned and isinstance(source, str | Path) and _is_same(path, source):
            raise UsageError(f"{path} is the file that is read; write to another")
        with operation("open", self.name):
            self.stream: BinaryIO = Path(path).open("wb", buffering=0) if self._owned else sys.stdout.buffer

    def write(self, data: bytes | bytearray) -> None:
        """Write all of it."""
        with operation("write", self.name):
            view = memoryview(data)
            while view:
                view = view[self.stream.write(view) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with operation("write", self.name):
            if self._owned:
                self.stream.close()
            else:
                self.stream.flush()


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
        try:
            if error is None and not self._begun:
                self.write(Records.of([], []))  # a file of no packet is one all the same
            if error is None and self._compressor:
                self._file.write(self._compressor.flush())
        finally:
            self._file.__exit__(kind, error, at)


def _is_same(path: str | Path, source: str | Path) -> bool:
    try:
        return Path(path).samefile(source)
    except OSError:
        return False
