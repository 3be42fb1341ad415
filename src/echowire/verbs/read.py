"""The verb read: a capture file as a table of packets, lazily.

`read` opens nothing: a `Capture` is a path, a filter and a limit, and each question to it is a pass over the file in
chunks of some megabytes, that dissects no more than the question needs. So a file of any length takes the same memory,
and the first answer comes at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

from echowire.kernel.capture_files import CHUNK_BYTES, CaptureFile
from echowire.wire.chosen import Chosen
from echowire.wire.dissect import Dissector
from echowire.wire.field_lines import FieldLines, LineFormat
from echowire.wire.records import Problem


class Reading(Iterator[Chosen]):
    """One pass over a capture: its chosen packets, chunk by chunk, with the fields that were asked for."""

    def __init__(self, capture: Capture, names: Sequence[str], *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._dissector = Dissector(names)  # first, as it refuses a field that is not known
        self._file = CaptureFile(capture.path, chunk_bytes=chunk_bytes)
        self._left = capture.limit

    @property
    def problem(self) -> Problem | None:
        """Why the file was not read to its end; None where it was, or is still."""
        return self._file.problem

    @property
    def name(self) -> str:
        """The file's, for people."""
        return self._file.name

    @property
    def position(self) -> int:
        """Bytes of the file that were read."""
        return self._file.position

    @property
    def size(self) -> int | None:
        """Bytes that the file has, where that is known."""
        return self._file.size

    def __next__(self) -> Chosen:
        if self._left == 0:
            self.close()
            raise StopIteration
        chosen = Chosen(self._dissector.dissect(next(self._file)))
        if self._left is not None:
            chosen = chosen.head(self._left)
            self._left -= len(chosen)
        return chosen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class Capture:
    """The packets of a capture file that pass, to be asked for what one wants to know of them."""

    path: str | Path | BinaryIO
    limit: int | None = None
    """Packets of the file that are looked at, at most."""

    def head(self, count: int) -> Capture:
        """Of the first `count` packets of the file only."""
        return replace(self, limit=count if self.limit is None else min(count, self.limit))

    def chunks(self, *names: str) -> Reading:
        """The chosen packets, chunk by chunk, to be asked for the fields `names`."""
        return Reading(self, names)

    def lines(self, *names: str, form: LineFormat | None = None) -> Iterator[bytes]:
        """A line a packet with its fields, in blocks, as `tshark -T fields` prints them."""
        made = FieldLines(names, form or LineFormat())
        with closing(self.chunks(*names)) as reading:
            yield made.begin()
            for chosen in reading:
                yield made.lines(chosen)


def read(path: str | Path | BinaryIO) -> Capture:
    """The capture in the file `path`: pcap or pcapng, plain or compressed; `-` is standard input."""
    return Capture(path)
