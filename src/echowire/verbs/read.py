"""The verb read: a capture file as a table of packets, lazily.

`read` opens nothing: a `Capture` is a path, filters and a limit, and each question to it is a pass over the file in
chunks of some megabytes, that dissects no more than the question needs. So a file of any length takes the same memory,
and the first answer comes at once; for that, too, what only some questions need is loaded when they are asked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal, Self, TypeVar, cast, overload

from echowire.core.captures.records import Problem
from echowire.core.packets.chosen import Chosen
from echowire.core.packets.dissect import Dissector
from echowire.core.packets.registry import registry
from echowire.core.views.field_lines import FieldLines, LineFormat, Occurrence
from echowire.errors import UsageError
from echowire.kernel.boundary import operation
from echowire.kernel.captures.files import CaptureFile

if TYPE_CHECKING:
    from echowire.core.filters.packet_filter import PacketFilter
    from echowire.core.filters.parse import DisplayFilter
    from echowire.core.reports.base import Fed, Report
    from echowire.core.reports.http_objects import HttpObject
    from echowire.core.views.details import Details
    from echowire.core.views.field_json import FieldJson
    from echowire.core.views.frame import Frame
    from echowire.core.views.view import ViewForm
    from echowire.verbs.exports import ObjectExport, StreamExport

E = TypeVar("E", "ObjectExport", "StreamExport")

DEFAULT_COLUMNS = (
    "frame.number", "frame.time", "frame.len", "eth.src", "eth.dst", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst",
    "ip.proto", "tcp.srcport", "tcp.dstport", "tcp.flags", "udp.srcport", "udp.dstport",
)  # fmt: skip
"""What a frame or an export has where no fields were named."""

EXPORTS: dict[str, Literal["parquet", "csv", "arrow"]] = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}

SHOWN_PACKETS = 20
"""Rows that a notebook shows of a capture."""


class CaptureWarning(UserWarning):
    """A file was not read to its end; what came before was given."""


class Reading(Iterator[Chosen]):
    """One pass over a capture, in a `with` block: its chosen packets, chunk by chunk, or all that is made of them."""

    def __init__(self, capture: Capture, names: Sequence[str], reports: Sequence[Fed] = ()) -> None:
        self.fields = tuple(names)
        self._reports = reports
        self._source = capture.path
        self._filter = _compiled(capture.filters)
        asked = self._filter.fields if self._filter else frozenset()
        told = [name for one in reports for name in one.fields]
        # First, as it refuses a field that is not known. What is counted and followed is datagrams, not fragments.
        self._dissector = Dissector([*names, *asked, *told], defragment=capture.defragment or bool(reports))
        self._file = CaptureFile(capture.path)
        self._left = capture.limit
        self.packets = 0
        """Packets given so far."""
        self.on_chunk: Callable[[], None] | None = None
        """Called after each chunk: for who shows how far it is."""

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
        records = next(self._file)
        if self._reports and self._left is not None:
            records = records.head(self._left)  # reports are of no more, either
        chosen = Chosen(self._dissector.dissect(records))
        for report in self._reports:
            report.add(chosen.packets)
        if self._left is not None:
            chosen = chosen.head(self._left)
            self._left -= len(chosen)
        if self._filter is not None:
            chosen = chosen.only(self._filter.mask(chosen.packets))
        self.packets += len(chosen)
        if self.on_chunk:
            self.on_chunk()
        return chosen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._file.close()

    def warn(self) -> None:
        """Warn, where the file was not read to its end; of whoever called what calls this."""
        if self.problem:
            warnings.warn(f"{self.name}: {self.problem}", CaptureWarning, stacklevel=3)

    def _begun(self) -> Iterator[Chosen]:
        """The chunks, the first already read: what is no capture is told before another file is written over."""
        first = [*islice(self, 1)]
        return chain(first, self)

    def lines(self, form: LineFormat | None = None) -> Iterator[bytes]:
        """A line a packet with its fields, as `tshark -T fields` prints them, in blocks."""
        made = FieldLines(self.fields, form or LineFormat())
        yield made.begin()
        yield from map(made.lines, self)

    def view(self, form: ViewForm) -> Iterator[str]:
        """The packets as people look at them, in lines; the reading must have the fields of `form`."""
        from echowire.core.views.view import PacketView

        view = PacketView(form)
        return chain.from_iterable(map(view.lines, self))

    def json(self, *, bulk: bool = False, tree: bool = False) -> Iterator[bytes]:
        """The packets' fields as one JSON array, in pieces; `bulk` for lines as Elasticsearch takes them.

        With `tree` it is all that is known of each packet, layer by layer; the reading must have the fields of
        `ViewForm(tree=True)`.
        """
        made: FieldJson
        if tree:
            from echowire.core.views.tree_json import TreeJson, TreeLinesJson

            made = TreeLinesJson() if bulk else TreeJson()
        else:
            from echowire.core.views.field_json import FieldJson, FieldLinesJson

            made = FieldLinesJson(self.fields) if bulk else FieldJson(self.fields)
        yield made.begin()
        yield from map(made.packets, self)
        yield made.end()

    def write(self, path: str | Path) -> int:
        """Write the packets to a capture file; see `Capture.write`."""
        from echowire.kernel.captures.writer import CaptureWriter

        chunks = self._begun()
        with CaptureWriter(path, self._source) as writer:
            for chosen in chunks:
                writer.write(chosen.packets.records, chosen.rows)
        return self.packets

    def export(self, path: str | Path, *, occurrences: Occurrence = "first") -> int:
        """Write the packets' fields to a table; see `Capture.export`."""
        from echowire.core.views import frame as packet_frame
        from echowire.kernel.captures.writer import ExportStream, OutputFile

        kind = EXPORTS.get(Path(path).suffix.lower())
        if kind is None:
            raise UsageError(f"{path}: a table is exported to a name that ends in {', '.join(EXPORTS)}")
        chunks = self._begun()
        with OutputFile(path, self._source) as file, operation("write", file.name):
            stream = ExportStream(file)
            try:
                packet_frame.export(chunks, self.fields, occurrences, kind, cast("IO[bytes]", stream))
            except Exception:
                if stream.error is not None:  # what the system said; of Polars' own errors not all tell it
                    raise stream.error from None
                raise
        return self.packets


@dataclass(frozen=True, slots=True)
class Capture:
    """The packets of a capture file that pass, to be asked for what one wants to know of them."""

    path: str | Path | BinaryIO
    filters: tuple[DisplayFilter, ...] = ()
    """Display filters, all of which must hold."""
    limit: int | None = None
    """Packets of the file that are looked at, at most."""
    defragment: bool = False
    """IP fragments are joined: what a datagram carries is found in the packet that completes it, as tshark has it."""

    def filter(self, text: str) -> Capture:
        """Those packets only for which a display filter holds, in Wireshark's language: `tcp.port == 443`.

        Raises `FilterError`, which says where the filter is wrong.
        """
        from echowire.core.filters.parse import DisplayFilter  # its start-up is only theirs who filter

        return replace(self, filters=(*self.filters, DisplayFilter.of(text)))

    def head(self, count: int) -> Capture:
        """Of the first `count` packets of the file only, whether they pass or not."""
        return replace(self, limit=count if self.limit is None else min(count, self.limit))

    def http_objects(self) -> Iterator[HttpObject]:
        """The bodies of HTTP messages, as they come to their ends: `one.name`, `.host`, `.content_type`, `.frame`,
        `.data`, and `.problems` where one is not whole. Of all packets, whatever filters let pass.
        """
        from echowire.verbs.exports import ObjectsAsBytes  # its start-up is only theirs who export

        objects = ObjectsAsBytes()
        with self.chunks(reports=(objects,)) as reading:
            for _ in reading:
                yield from objects.taken()
            objects.finish()
            yield from objects.taken()
            reading.warn()

    def export_objects(self, directory: str | Path, protocol: str = "http") -> ObjectExport:
        """Write the bodies of HTTP messages to files; what was written. Of all packets, whatever filters let pass.

        Raises `UsageError` for another protocol, `OperationError` where the system refuses.
        """
        from echowire.verbs.exports import ObjectExport  # its start-up is only theirs who export

        return self._fed(ObjectExport(directory, protocol))

    def export_streams(self, directory: str | Path) -> StreamExport:
        """Write what each end of each TCP and UDP stream said to files; what was written. Of all packets, whatever
        filters let pass. Raises as `export_objects` does."""
        from echowire.verbs.exports import StreamExport  # its start-up is only theirs who export

        return self._fed(StreamExport(directory))

    def _fed(self, export: E) -> E:
        with export, self.chunks(reports=(export,)) as reading:
            for _ in reading:
                pass
            export.finish()
            reading.warn()
        return export

    def chunks(self, *names: str, reports: Sequence[Fed] = ()) -> Reading:
        """The packets chunk by chunk, to be asked for the fields `names`. Raises `UsageError` for one not known.

        `reports` are fed meanwhile, with all packets that are read, also those that no filter lets pass.
        """
        return Reading(self, names, reports)

    def report(self, *texts: str) -> list[Report]:
        """What `tshark -z` says of the capture: `conv,tcp`, `io,stat,1`, `follow,tcp,ascii,0`; several in one pass.

        Each is of all packets up to `head`, unless its text has a filter of its own, as with tshark. They are asked
        for their `document()`, or their `text(width)`. Raises `UsageError` for a report that is not known.
        """
        made = self.reports(*texts)
        with Reading(self, (), made) as reading:
            for _ in reading:
                pass
            reading.warn()
        return made

    @staticmethod
    def reports(*texts: str) -> list[Report]:
        """The same reports, not fed yet: for `chunks(..., reports=...)`."""
        from echowire.core.reports.choose import report  # its start-up is only theirs who ask for reports

        return [report(text) for text in texts]

    @property
    def packets(self) -> PacketDetails:
        """The packets one by one, with their details: `capture.packets[41]` is the 42nd that passes."""
        return PacketDetails(self)

    def frame(self, *names: str, occurrences: Occurrence = "first") -> Frame:
        """The fields `names` of all packets as a Polars frame, with a row a packet; `DEFAULT_COLUMNS` without names.

        Addresses are texts, times `Datetime` in nanoseconds, UTC. Of several values that a packet has of a field, the
        column holds the first, the last, or with `occurrences="all"` a list.
        """
        from echowire.core.views import frame as packet_frame

        with self.chunks(*(names or default_columns())) as reading:
            found = packet_frame.joined(reading, reading.fields, occurrences)
            reading.warn()
        return found

    def frames(self, *names: str, occurrences: Occurrence = "first") -> Iterator[Frame]:
        """The same chunk by chunk, for files that are longer than memory."""
        from echowire.core.views import frame as packet_frame

        with self.chunks(*(names or default_columns())) as reading:
            yield from packet_frame.frames(reading, reading.fields, occurrences)
            reading.warn()

    def write(self, path: str | Path) -> int:
        """Write the packets to a file, and give how many: pcap if its name ends in .pcap or .cap, else pcapng, which
        keeps comments, interfaces and all other blocks; compressed, if it ends in .gz, .zst or .lz4 after that.

        Raises `UsageError` for the file that is read, `OperationError` where the system refuses.
        """
        with self.chunks() as reading:
            count = reading.write(path)
            reading.warn()
        return count

    def export(self, path: str | Path, *names: str, occurrences: Occurrence = "first") -> int:
        """Write the frame's columns to a .parquet, .csv or .arrow file, as they are read, and give how many packets."""
        with self.chunks(*(names or default_columns())) as reading:
            count = reading.export(path, occurrences=occurrences)
            reading.warn()
        return count

    def __len__(self) -> int:
        with self.chunks() as reading:
            count = sum(map(len, reading))
            reading.warn()
        return count

    def __bool__(self) -> bool:
        return True  # else Python would count the packets to know

    def _repr_html_(self) -> str:
        """What a notebook shows: the first packets."""
        with self.chunks(*default_columns()) as reading:
            shown = next((chosen.head(SHOWN_PACKETS) for chosen in reading if len(chosen)), None)
        from echowire.core.views import frame as packet_frame

        some: Any = packet_frame.joined([shown] if shown else [], reading.fields)
        filters = "".join(f" where <code>{_html(test.text)}</code>" for test in self.filters)
        return f"<p>The first packets of <b>{_html(reading.name)}</b>{filters}</p>{some._repr_html_()}"


class PacketDetails(Sequence["Details"]):
    """The packets of a capture in full. Each question is a pass over the file, as far as it must go."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def __len__(self) -> int:
        return len(self._capture)

    def __iter__(self) -> Iterator[Details]:
        from echowire.core.views.details import details_of

        with self._capture.chunks(*registry().fields) as reading:
            for chosen in reading:
                yield from details_of(chosen.packets.layers, chosen.numbers.tolist())
            reading.warn()

    @overload
    def __getitem__(self, index: int) -> Details: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Details]: ...

    def __getitem__(self, index: int | slice) -> Details | Sequence[Details]:
        if isinstance(index, slice):
            places = range(*index.indices(len(self)))
            found = self._at(places)
            return [found[place] for place in places]
        place = index if index >= 0 else len(self) + index
        for one in self._at([place]).values():
            return one
        raise IndexError(f"the capture has no packet {index}")

    def _at(self, places: Sequence[int]) -> dict[int, Details]:
        """The packets at these places, as far as there are any, in one pass that ends with the last of them."""
        from echowire.core.views.details import details_of

        found: dict[int, Details] = {}
        if not places:
            return found
        first, last = 0, max(places)
        with self._capture.chunks(*registry().fields) as reading:
            for chosen in reading:
                here = sorted(place for place in places if first <= place < first + len(chosen))
                rows = chosen.numbers[[place - first for place in here]].tolist() if here else []
                found |= zip(here, details_of(chosen.packets.layers, rows), strict=True)
                first += len(chosen)
                if first > last:
                    break
        return found


def default_columns() -> tuple[str, ...]:
    """Those of `DEFAULT_COLUMNS` that there are."""
    return tuple(name for name in DEFAULT_COLUMNS if name in registry().fields)


def read(path: str | Path | BinaryIO, *, defragment: bool = False) -> Capture:
    """The capture in the file `path`: pcap or pcapng, plain or compressed; `-` is standard input.

    With `defragment` IP fragments are joined, and what a datagram carries is found in the packet that completes it;
    without, what its first fragment has is found there.
    """
    return Capture(path, defragment=defragment)


def _compiled(filters: Sequence[DisplayFilter]) -> PacketFilter | None:
    """What says of packets whether they pass."""
    if not filters:
        return None
    from echowire.core.filters.packet_filter import PacketFilter  # which only they need who filter

    return PacketFilter.of_all(tuple(test.tree for test in filters))


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
