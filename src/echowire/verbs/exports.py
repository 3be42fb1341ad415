"""What a capture carried, as files: the bodies of HTTP messages, and all that was said in streams.

Both are fed as reports are (`echowire.core.reports.base.Fed`), write meanwhile, and say at the end what they wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from echowire.core.packets.dissect import Packets
from echowire.core.reports.all_streams import AllStreams, Said, Stream
from echowire.core.reports.export_names import Names
from echowire.core.reports.http_objects import HttpObject, HttpObjects, ObjectPart
from echowire.errors import UsageError
from echowire.kernel.captures.export_directory import ExportDirectory

MAX_FILES = 100_000
"""Files that are written into one directory: beyond it tools and file systems become slow, and whoever made the capture
could fill a file system with files of one byte. What is more is counted."""

MAX_GAPS = 1000
"""Gaps of one direction whose place is told; all are counted."""

MAX_KEPT_BYTES = 1 << 30
"""Of objects that are given as bytes, of those together that are not over."""

CLIENT, SERVER = "client", "server"


@dataclass(slots=True, eq=False)
class WrittenObject:
    """An object, and the file that it is in; `file` is "" where it was left out."""

    object: HttpObject
    file: str


class ObjectExport:
    """Writes the bodies of HTTP messages to `directory`, in a `with` block, as tshark's --export-objects http,DIR."""

    def __init__(self, directory: str | Path, protocol: str = "http") -> None:
        """Raises `UsageError` for another protocol than HTTP, `OperationError` where it cannot be written."""
        if protocol != "http":
            raise UsageError(f"--export-objects {protocol}: objects of http are exported: http,DIRECTORY")
        self._directory = ExportDirectory(directory)
        self._objects = HttpObjects()
        self._names = Names()
        self._keys: dict[HttpObject, int] = {}
        self._begun = 0
        self.written: list[WrittenObject] = []
        """In the order of their ends."""
        self.left_out = 0
        """Objects beyond `MAX_FILES`."""
        self.fields = self._objects.fields
        """The fields that a reading needs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self._directory.__exit__(*about)

    @property
    def incomplete(self) -> list[WrittenObject]:
        """Those that are not what was sent."""
        return [one for one in self.written if one.object.problems]

    def add(self, packets: Packets) -> None:
        """Write what a chunk has of objects."""
        self._take(self._objects.feed(packets))

    def finish(self) -> None:
        """Write what is left at the end of the capture."""
        self._take(self._objects.finish())
        self._directory.flush()

    def _take(self, parts: Iterator[ObjectPart]) -> None:
        for part in parts:
            found = part.object
            if found not in self._keys:
                self._begun += 1
                self._keys[found] = self._begun
            key = self._keys[found]
            if key > MAX_FILES:
                self.left_out += part.is_end
            elif part.is_end:
                name = self._directory.finish(key, partial(self._names.following, found.name))
                self.written.append(WrittenObject(found, name))
            else:
                self._directory.append_unfinished(key, part.data)
            if part.is_end:
                del self._keys[found]

    def document(self) -> dict[str, Any]:
        """What was written as data, for JSON."""
        return {
            "directory": str(self._directory.path),
            "objects": [_described(one) for one in self.written],
            "incomplete": len(self.incomplete),
            "left_out": self.left_out,
        }


def _described(one: WrittenObject) -> dict[str, Any]:
    found = one.object
    return {
        "name": one.file,
        "frame": found.frame,
        "stream": found.stream,
        "is_request": found.is_request,
        "method": found.method or None,
        "host": found.host,
        "uri": found.uri,
        "code": found.code or None,
        "content_type": found.content_type,
        "size": found.size,
        "missing_bytes": found.missing,
        "problems": found.problems,
    }


class ObjectsAsBytes:
    """The same objects one by one, with their bytes."""

    def __init__(self) -> None:
        self._objects = HttpObjects()
        self._data: dict[HttpObject, bytearray] = {}
        self._kept = 0
        self._whole: list[HttpObject] = []
        self.fields = self._objects.fields
        """The fields that a reading needs."""

    def add(self, packets: Packets) -> None:
        """Take a chunk."""
        self._whole += self._over(self._objects.feed(packets))

    def finish(self) -> None:
        """The capture is over."""
        self._whole += self._over(self._objects.finish())

    def taken(self) -> list[HttpObject]:
        """The objects that are over and were not taken yet."""
        whole, self._whole = self._whole, []
        return whole

    def _over(self, parts: Iterator[ObjectPart]) -> Iterator[HttpObject]:
        for part in parts:
            found = part.object
            data = self._data.setdefault(found, bytearray())
            if self._kept + len(part.data) <= MAX_KEPT_BYTES:
                data += part.data
                self._kept += len(part.data)
            if part.is_end:
                del self._data[found]
                self._kept -= len(data)
                if len(data) < found.size:
                    found.problems.append(f"more than {MAX_KEPT_BYTES} bytes are not kept in memory")
                found.data = bytes(data)
                yield found


@dataclass(slots=True)
class WrittenStream:
    """One stream: what each end said, and where that is. The client's first."""

    protocol: str
    number: int
    client: tuple[str, int]
    """Address and port of the end that began: that sent the SYN, or the first packet, where no SYN was seen."""
    server: tuple[str, int]
    files: list[str] = field(default_factory=lambda: ["", ""])
    """"" of an end that said nothing."""
    size: list[int] = field(default_factory=lambda: [0, 0])
    missing: list[int] = field(default_factory=lambda: [0, 0])
    """Bytes that the capture has not."""
    gaps: list[list[tuple[int, int]]] = field(default_factory=lambda: [[], []])
    """Where bytes are missing: an offset in the file, and how many."""

    @property
    def base(self) -> str:
        """What the names of both files begin with: `tcp-0000-192.0.2.1.1234-198.51.100.2.80`."""
        ends = "-".join(f"{host.replace(':', '_')}.{port}" for host, port in (self.client, self.server))
        return f"{self.protocol}-{self.number:04}-{ends}"


class StreamExport:
    """Writes what each end of each TCP and UDP stream said to a file of its own, in a `with` block, as tcpflow does.

    A file has the bytes of one direction in their order, each once; what is missing is left out, and told.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = ExportDirectory(directory)
        self._streams = AllStreams()
        self._written: dict[tuple[str, int], WrittenStream] = {}
        self._files = 0
        self.left_out = 0
        """Files beyond `MAX_FILES`, and so all that their ends said."""
        self.fields = self._streams.fields
        """The fields that a reading needs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self._directory.__exit__(*about)

    @property
    def written(self) -> list[WrittenStream]:
        """In the order in which they first said something."""
        return list(self._written.values())

    @property
    def incomplete(self) -> list[WrittenStream]:
        """Those of which bytes are missing."""
        return [one for one in self._written.values() if any(one.missing)]

    def add(self, packets: Packets) -> None:
        """Write what a chunk says."""
        for said in self._streams.feed(packets):
            self._take(said)

    def finish(self) -> None:
        """Write what is left at the end of the capture."""
        for said in self._streams.finish():
            self._take(said)
        self._directory.flush()

    def _take(self, said: Said) -> None:
        if said.is_end:
            return
        stream, piece = said.stream, said.piece
        one = self._written.get((stream.protocol, stream.number))
        if one is None:
            if len(self._written) >= MAX_FILES:
                self.left_out += 1
                return
            one = self._written[stream.protocol, stream.number] = _written(stream)
        side = piece.end ^ stream.is_answer_first
        if piece.missing:
            one.missing[side] += piece.missing
            if len(one.gaps[side]) < MAX_GAPS:
                one.gaps[side].append((one.size[side], piece.missing))
            return
        if not one.files[side]:
            one.files[side] = f"{one.base}.{SERVER if side else CLIENT}.bin"
        self._directory.append(one.files[side], piece.data)
        one.size[side] += len(piece.data)

    def document(self) -> dict[str, Any]:
        """What was written as data, for JSON."""
        return {
            "directory": str(self._directory.path),
            "streams": [
                {"protocol": one.protocol, "stream": one.number, CLIENT: _side(one, 0), SERVER: _side(one, 1)}
                for one in self._written.values()
            ],
            "incomplete": len(self.incomplete),
            "left_out": self.left_out,
        }


def _written(stream: Stream) -> WrittenStream:
    client, server = stream.ends[:: -1 if stream.is_answer_first else 1]
    return WrittenStream(stream.protocol, stream.number, client, server)


def _side(one: WrittenStream, side: int) -> dict[str, Any]:
    host, port = (one.client, one.server)[side]
    return {
        "host": host,
        "port": port,
        "name": one.files[side] or None,
        "size": one.size[side],
        "missing_bytes": one.missing[side],
        "gaps": [{"at": at, "missing_bytes": missing} for at, missing in one.gaps[side]],
    }
