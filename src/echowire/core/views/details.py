"""One packet in full: its line of the list, its tree, its bytes; what `-V`, `-x` and `--packet` print of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from echowire.core.packets.layers import Layer
from echowire.core.packets.packet_list import packet_list
from echowire.core.views.tree import Node, Trees, hex_dump

INDENT = "    "
RANGE_COLUMN = 72
"""Where the byte ranges of lines begin, if the line is no longer."""


@dataclass(frozen=True, slots=True, eq=False)
class Details:
    """A packet: `details["ip.src"]` is a field's value, `str(details)` the tree as text."""

    number: int
    """Of the packet in its file, from 1."""
    summary: str
    """Its line in the packet list, without number and time."""
    tree: Sequence[Node]
    """A node a layer."""
    data: bytes
    """All bytes that were captured."""

    def __getitem__(self, name: str) -> Any:
        """The first value of a field, as in its column. Raises `KeyError` where the packet has none."""
        for value in self.values(name):
            return value
        raise KeyError(name)

    def __contains__(self, name: str) -> bool:
        return next(self.values(name), None) is not None

    def values(self, name: str) -> Iterator[Any]:
        """All values of a field, in the order of the tree."""
        for top in self.tree:
            for _, node in top.walk():
                if node.field is not None and node.field.name == name:
                    yield node.value

    def tree_lines(self, *, ranges: bool = False) -> Iterator[str]:
        """The tree as text; with `ranges`, the bytes that a line was read from behind it: `14-17`, from 0."""
        for top in self.tree:
            for level, node in top.walk():
                text = INDENT * level + node.text
                if ranges and node.at is not None and node.size:
                    last = node.at + node.size - 1
                    text = (
                        f"{text:<{RANGE_COLUMN}}  {node.at}-{last}"
                        if node.size > 1
                        else f"{text:<{RANGE_COLUMN}}  {node.at}"
                    )
                yield text

    def hex_lines(self) -> Iterator[str]:
        """The bytes in hexadecimal and as text."""
        yield from hex_dump(self.data)

    def __str__(self) -> str:
        return "\n".join(self.tree_lines())

    def _repr_html_(self) -> str:
        """The tree with parts that open and close, in a notebook."""
        body = "".join(_html(node) for node in self.tree)
        dump = escape("\n".join(self.hex_lines()))
        return f"<div><code>{self.number} {escape(self.summary)}</code>{body}<pre>{dump}</pre></div>"


def _html(node: Node) -> str:
    text = f"<code>{escape(node.text)}</code>"
    if not node.children:
        return f'<div style="margin-left:1em">{text}</div>'
    inner = "".join(_html(child) for child in node.children)
    return f'<details style="margin-left:1em"><summary>{text}</summary>{inner}</details>'


def details_of(layers: Sequence[Layer], rows: Sequence[int]) -> Iterator[Details]:
    """The packets `rows` of a chunk, given all its layers, which must have been dissected with all fields wanted."""
    trees, records = Trees(layers), layers[0].records
    listed = packet_list(layers)
    for row in rows:
        line = (listed.source[row], "→", listed.destination[row], listed.protocol[row], listed.length[row])
        summary = " ".join(map(str, (*line, listed.info[row])))
        yield Details(int(records.first + row), summary, trees.of(row), records.packet(row))
