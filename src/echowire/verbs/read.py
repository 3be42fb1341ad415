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
from typing import TYPE_CHECKING, BinaryIO, Self

from echowire.kernel.capture_files import CHUNK_BYTES, CaptureFile
from echowire.wire.chosen import Chosen
from echowire.wire.display_filter import parse_filter
from echowire.wire.dissect import Dissector
from echowire.wire.field_lines import FieldLines, LineFormat
from echowire.wire.filter_tree import Both
from echowire.wire.records import Problem

if TYPE_CHECKING:
    from echowire.analysis.packet_filter import PacketFilter


class Reading(Iterator[Chosen]):
    """One pass over a capture: its chosen packets, chunk by chunk, with the fields that were asked for."""

    def __init__(self, capture: Capture, names: Sequence[str]) -> None:
        self._filter = _compiled(capture.filters)
        fields = self._filter.fields if self._filter else frozenset()
        self._dissector = Dissector([*names, *fields])  # first, as it refuses a field that is not known
        # An expression costs as much for a few thousand values as for some more.
        self._file = CaptureFile(capture.path, chunk_bytes=2 * CHUNK_BYTES if self._filter else CHUNK_BYTES)
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
        return chosen if self._filter is None else chosen.only(self._filter.mask(chosen.packets))

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
    filters: tuple[str, ...] = ()
    """Display filters, all of which must hold."""
    limit: int | None = None
    """Packets of the file that are looked at, at most."""

    def filter(self, text: str) -> Capture:
        """Those packets only for which a display filter holds, in Wireshark's language: `tcp.port == 443`.

        Raises `FilterError`, which says where the filter is wrong.
        """
        parse_filter(text)
        return replace(self, filters=(*self.filters, text))

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


def _compiled(filters: Sequence[str]) -> PacketFilter | None:
    """What says of packets whether they pass."""
    if not filters:
        return None
    from echowire.analysis.packet_filter import PacketFilter  # Polars, which only they need who filter

    tree, *others = map(parse_filter, filters)
    for one in others:
        tree = Both("&&", tree, one)
    return PacketFilter(tree)


def read(path: str | Path | BinaryIO) -> Capture:
    """The capture in the file `path`: pcap or pcapng, plain or compressed; `-` is standard input."""
    return Capture(path)
