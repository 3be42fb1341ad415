"""What protocols of lines of text share: which side speaks, and its lines."""

from __future__ import annotations

from collections.abc import Container, Iterator

from echowire.core.packets.layers import Layer
from echowire.core.packets.walk import Walk
from echowire.core.text import printable_ascii

MAX_LINES = 1000
"""Of one segment that are looked into."""


def requests(layer: Layer, ports: Container[int]) -> list[bool]:
    """Which entries were sent to one of the server's ports."""

    def find() -> list[bool]:
        outer = layer.parent
        if outer is None or outer.protocol.name != "tcp":
            return [False] * len(layer)
        return [port in ports for port in outer.uint(2, 2)[layer.index].tolist()]

    return layer.once("requests", find)


def lines(walk: Walk, at: int = 0) -> Iterator[tuple[int, int, str]]:
    """The lines of a segment: where each begins and ends, its line ending included, and its text without that."""
    for _ in range(MAX_LINES):
        if at >= walk.size:
            return
        found = walk.data.find(b"\n", at)
        end = found + 1 if found >= 0 else walk.size
        yield at, end, shown(walk.data[at:end])
        at = end


def shown(raw: bytes) -> str:
    """A line as text, without its ending."""
    return raw.rstrip(b"\r\n").decode("utf-8", "replace")


def told(layer: Layer) -> dict[int, str]:
    """What the packet list says of each entry, as its walk noted it."""
    return layer.once("told", dict[int, str])


def said(layer: Layer) -> list[str | None]:
    """The same for all entries, for `Protocol.info`; what cannot be shown stands as C writes it."""
    found = told(layer)
    return [printable_ascii(found[entry].encode()) if entry in found else None for entry in range(len(layer))]
