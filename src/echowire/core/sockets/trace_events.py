"""What the kernel's tracer writes: pages of its ring buffer to events, and an event's bytes to fields.

The pages are those of `per_cpu/cpuN/trace_pipe_raw`, the fields those of an event's `format` file
(Documentation/trace/events.rst; include/linux/ring_buffer.h). The text of `trace_pipe` would hide the addresses of
sockets in the kernel, by which alone a packet's drop is joined to its connection.
"""

from __future__ import annotations

import re
from operator import itemgetter
from struct import Struct, unpack_from
from struct import error as StructError  # noqa: N812

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

PAGE_HEADER_BYTES = 16
"""Time of the first event, and how much of the page is filled."""
_FILLED, _MISSED = 0xFFFFF, 1 << 31
"""Bits of the second word: bytes, and that events before this page were lost."""

_LARGE, _PADDING, _EXTEND, _STAMP = 0, 29, 30, 31
"""Kinds of entry that are not a small event: its length comes first; nothing; more of the time; all of it."""
_DELTA_BITS = 27


def read_page(page: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """Time in nanoseconds and content of each event of a page; and whether some were lost before it."""
    if len(page) < PAGE_HEADER_BYTES:
        return [], False
    now, commit = unpack_from("=QQ", page)
    try:
        return list(_events(page, now, min(len(page), PAGE_HEADER_BYTES + (commit & _FILLED)))), bool(commit & _MISSED)
    except StructError:  # it was cut
        return [], True


def _events(page: bytes, now: int, end: int) -> Iterator[tuple[int, bytes]]:
    at = PAGE_HEADER_BYTES
    while at + 4 <= end:
        (head,) = unpack_from("=I", page, at)
        kind, delta = head & 31, head >> 5
        at += 4
        if kind == _EXTEND:
            now += delta + (unpack_from("=I", page, at)[0] << _DELTA_BITS)
            at += 4
            continue
        if kind == _STAMP:
            # It has 59 bits; the rest is that of the time before.
            low = delta + (unpack_from("=I", page, at)[0] << _DELTA_BITS)
            now = now >> 59 << 59 | low
            at += 4
            continue
        if kind == _PADDING:
            if delta == 0:
                return
            at += unpack_from("=I", page, at)[0]
            continue
        now += delta
        if kind == _LARGE:
            size = unpack_from("=I", page, at)[0] - 4
            at += 4
        else:
            size = 4 * kind
        if size < 0 or at + size > end:
            return
        yield now, page[at : at + size]
        at += size + (-size & 3)


_FIELD = re.compile(r"field:(.+?)\s*(\w+)(\[\d*\])?;\s*offset:(\d+);\s*size:(\d+);\s*signed:(\d);")
_SYMBOLS = re.compile(r"__print_symbolic\(REC->(\w+),((?:\s*\{[^}]*\},?)*)\)")
_SYMBOL = re.compile(r"\{\s*(\w+),\s*\"([^\"]*)\"\s*\}")


class EventFormat:
    """The layout of one event: its number, where each field is, and the names that numbers of a field have."""

    def __init__(self, text: str) -> None:
        number = re.search(r"^ID:\s*(\d+)", text, re.MULTILINE)
        self.number = int(number[1]) if number else -1
        self.fields = {found[2]: (int(found[4]), int(found[5]), found[6] == "1") for found in _FIELD.finditer(text)}
        self.arrays = {found[2] for found in _FIELD.finditer(text) if found[3]}
        self.names: Mapping[str, Mapping[int, str]] = {
            found[1]: {int(key): name for key, name in _SYMBOL.findall(found[2]) if key.isdigit()}
            for found in _SYMBOLS.finditer(text)
        }

    def reader(self, names: Sequence[str]) -> Callable[[bytes], tuple[Any, ...]]:
        """A function that reads these fields of an event in one go: a number of one, two, four or eight bytes, else
        the bytes. Raises `KeyError` where the event has no such field.
        """
        parts, at, order = ["="], 0, sorted(names, key=lambda name: self.fields[name][0])
        for name in order:
            offset, size, is_signed = self.fields[name]
            letter = {1: "b", 2: "h", 4: "i", 8: "q"}.get(size)
            text = f"{size}s" if letter is None or name in self.arrays else letter if is_signed else letter.upper()
            parts.append(f"{offset - at}x{text}" if offset > at else text)
            at = offset + size
        unpack, pick = Struct("".join(parts)).unpack_from, itemgetter(*(order.index(name) for name in names))
        return lambda event: pick(unpack(event))

    def integer(self, event: bytes, name: str) -> int:
        """The number in a field, 0 if the event has no such field."""
        at, size, is_signed = self.fields.get(name, (0, 0, False))
        letter = {1: "b", 2: "h", 4: "i", 8: "q"}.get(size)
        if letter is None or at + size > len(event):
            return 0
        return int(unpack_from("=" + (letter if is_signed else letter.upper()), event, at)[0])

    def data(self, event: bytes, name: str) -> bytes:
        """The bytes of a field, empty if the event has no such field."""
        at, size, _ = self.fields.get(name, (0, 0, False))
        return event[at : at + size]

    def name(self, event: bytes, field: str) -> str:
        """What the number in a field is called, the number itself if it has no name."""
        number = self.integer(event, field)
        return self.names.get(field, {}).get(number) or str(number)
