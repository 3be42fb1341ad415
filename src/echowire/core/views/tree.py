"""The details of one packet as a tree, with the bytes that each line was read from: what `-V` and `--packet` show.

Made of the same tables as the columns: a protocol's fields in their order, bits with the pattern in front, names of
values behind, parts and what a walk found beneath. So a field that can be asked for can be seen, and the other way
round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from echowire.core.captures.records import Rows
from echowire.core.packets.cells import date_text, seconds_text, text_of
from echowire.core.packets.columns import INTS, OBJECTS, SIZES, UINTS, Column, Type, shift_of
from echowire.core.packets.layers import Field, Item, Layer
from echowire.core.text import printable

MAX_VALUE_CHARACTERS = 240
"""Of a value's text that a line shows, as in Wireshark (ITEM_LABEL_LENGTH)."""


class Node:
    """One line of the tree."""

    __slots__ = ("_shown", "_text", "_within", "at", "children", "field", "name", "size", "value")

    def __init__(
        self,
        text: str | None,
        field: Field | None = None,
        value: Any = None,
        at: int | None = None,
        size: int = 0,
        *,
        name: str = "",
        within: int = 0,
        shown: str | None = None,
    ) -> None:
        """Without a `text`, it is made of the others when it is asked for: who wants values alone saves half the time.
        `within` and `shown` are what `line` takes."""
        self._text, self._within, self._shown = text, within, shown
        self.field = field
        """What it shows; None of a protocol's line and of one that only groups others."""
        self.value = value
        """The field's value, as in its column."""
        self.at = at
        """Offset of its bytes in the packet; None where it has none there."""
        self.size = size
        self.children: list[Node] = []
        """The lines beneath."""
        self.name = name
        """Of a protocol's line, the protocol's."""

    @property
    def text(self) -> str:
        """The line, as it may be shown: what a walk said of a packet is the packet's own text."""
        if self._text is None:
            self._text = "" if self.field is None else line(self.field, self.value, self._within, self._shown)
        return printable(self._text)

    def walk(self, level: int = 0) -> Iterator[tuple[int, Node]]:
        """This node and all beneath, with their depth, in the order of the lines."""
        yield level, self
        for child in self.children:
            yield from child.walk(level + 1)


class Trees:
    """The trees of a chunk's packets, made when asked for."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._views = [_View(layer) for layer in layers]
        self._of_layer = {id(view.layer): view for view in self._views}

    def of(self, row: int) -> list[Node]:
        """The tree of one packet: a node each layer."""
        found: list[Node] = []
        nodes: dict[tuple[int, int], Node] = {}
        for view in self._views:
            layer = view.layer
            for entry in view.entries(row):
                if not view.is_shown[entry]:
                    continue
                node = view.node(entry)
                nodes[id(layer), entry] = node
                outer = nodes.get((id(layer.parent), int(layer.index[entry]))) if layer.protocol.is_part else None
                if outer is None:
                    found.append(node)
                else:
                    _place(outer, layer.protocol.under).children.append(node)
        return found


def _place(outer: Node, under: str) -> Node:
    """The node of the field `under` within `outer`, or `outer` itself."""
    if not under:
        return outer
    return next((one for _, one in outer.walk() if one.field and one.field.name == under), outer)


class _Column(NamedTuple):
    """A field over a whole layer, as its lines need it."""

    field: Field
    entries: Rows
    """Those that have it, ascending."""
    values: Column
    shown: Sequence[str] | None
    """What the tree says of it, an entry of the layer each, if the field says that itself."""
    within: int
    """The bits in which its own are shown: those of the field that it is a part of."""


class _View:
    """A layer, with what its lines need, computed for all packets of the chunk when the first is shown."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self._in_packet = layer.data is layer.records.data
        self.is_shown = np.isin(layer.every, layer.shown)

    @cached_property
    def _columns(self) -> list[_Column]:
        """The fields that are shown and that the layer has anywhere, but for those that only a walk finds."""
        shown = [one for one in self.layer.protocol.fields if not (one.either or one.hidden)]
        by_name = {one.name: one for one in reversed(shown)}
        found = []
        for one in shown:
            if one.at is None and one.make is None:
                continue
            picked = self.layer.pick(one)
            if len(picked.index):
                says = None if one.show is None else one.show(self.layer)
                found.append(_Column(one, picked.index, picked.values, says, _bits(by_name.get(one.under), one)))
        return found

    def entries(self, row: int) -> range:
        """The layer's entries of one packet."""
        rows = self.layer.rows
        return range(int(np.searchsorted(rows, row)), int(np.searchsorted(rows, row, "right")))

    def node(self, entry: int) -> Node:
        """The protocol's line, and all beneath."""
        layer, protocol = self.layer, self.layer.protocol
        rest = layer.once("tree label", lambda: None if protocol.label is None else list(protocol.label(layer)))
        at, end = int(layer.start[entry]), int(layer.end[entry])
        size = protocol.size(layer)[entry] if callable(protocol.size) else protocol.size
        size = min(end - at, int(size)) if size is not None else end - at
        begin = at - int(layer.records.start[layer.rows[entry]]) if self._in_packet else None
        top = Node(protocol.title + (rest[entry] if rest else ""), at=begin, size=max(size, 0), name=protocol.name)
        by_name: dict[str, Node] = {}
        for one, entries, values, shown, within in self._columns:
            place = entry if entries is layer.every else int(entries.searchsorted(entry))
            while place < len(entries) and entries[place] == entry:
                where = None if one.at is None or begin is None else begin + one.at
                says = None if shown is None else shown[entry]
                taken = 0 if one.at is None else one.width
                node = Node(None, one, values[place], where, taken, within=within, shown=says)
                by_name.setdefault(one.name, node)
                by_name.get(one.under, top).children.append(node)
                place += 1
        if layer.walked:
            self._add_items(top, by_name, layer.walked.items[entry], begin)
        return top

    @staticmethod
    def _add_items(top: Node, by_name: Mapping[str, Node], items: list[Item], begin: int | None) -> None:
        """What the walk found, each at its depth; `begin` is the layer's offset in the packet."""
        path = [top]
        for item in items:
            one = item.field
            if one is not None and one.hidden:
                continue
            where = begin + item.at if item.size and begin is not None else None
            node = Node(item.text, one, item.value, where, item.size)
            del path[item.level + 1 :]
            outer = path[-1]
            if one is not None and one.under and outer is top:
                outer = by_name.get(one.under, outer)
            outer.children.append(node)
            path.append(node)


def _bits(over: Field | None, one: Field) -> int:
    """The bits of the field that `one` is a part of, if both are in the same bytes; 0 else."""
    if over is not None and over.at == one.at and over.width == one.width and over.mask:
        return (1 << over.mask.bit_length()) - 1
    return 0


def line(one: Field, value: Any, within: int = 0, shown: str | None = None) -> str:
    """A field's line: its bits, its label, its value and what that is called."""
    text = f"{one.label}: {value_text(one, value) if shown is None else shown}"
    if one.type in (Type.PROTOCOL, Type.NONE):
        text = one.label
    if one.mask and one.type is not Type.PROTOCOL:
        text = f"{bit_pattern(one, value, within)} = {text}"
    return f"[{text}]" if one.generated else text


def bit_pattern(one: Field, value: Any, within: int = 0) -> str:
    """`.... ..1.`: the bits of a field, those around it as dots."""
    width = within.bit_length() if within else 8 * one.width
    raw = (int(value) // one.scale) << shift_of(one.mask)
    bits = [str(raw >> place & 1) if one.mask >> place & 1 else "." for place in reversed(range(width))]
    first = width % 4
    groups = ["".join(bits[:first])] if first else []
    return " ".join(groups + ["".join(bits[at : at + 4]) for at in range(first, width, 4)])


def value_text(one: Field, value: Any) -> str:
    """A field's value in the tree: `TCP (6)`, `0x0800`, `Set`."""
    kind = one.type
    if kind is Type.BOOLEAN:
        named = None if one.names is None else one.names.get(int(value))
        return named or (("Set" if value else "Not set") if one.mask else str(bool(value)))
    if kind in UINTS or kind in INTS:
        number = _number(one, int(value))
        if one.names is None:
            return number
        return f"{one.names.get(int(value), 'Unknown')} ({number})"
    if kind is Type.ABSOLUTE_TIME:
        return f"{seconds_text(int(value))} seconds" if one.base == "epoch" else date_text(int(value))
    if kind is Type.RELATIVE_TIME:
        return f"{seconds_text(int(value))} seconds"
    if kind in OBJECTS:
        text = printable(text_of(one, value))
        return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}…"
    return text_of(one, bytes(value) if kind is Type.IPV6 and isinstance(value, bytes) else value)


def _number(one: Field, value: int) -> str:
    digits = 2 * (one.width or SIZES.get(one.type, 1))
    if one.mask and one.base != "dec":
        digits = -(-(one.mask.bit_length() - shift_of(one.mask)) // 4)
    in_hex = f"0x{value:0{digits}x}"
    if one.base == "hex":
        return in_hex
    if one.base == "oct":
        return f"0{value:o}"
    if one.base in ("dec_hex", "hex_dec"):
        return f"{value} ({in_hex})" if one.base == "dec_hex" else f"{in_hex} ({value})"
    return str(value)


def hex_dump(data: bytes) -> Iterator[str]:
    """Bytes in hexadecimal and as text, sixteen a line."""
    for at in range(0, len(data), 16):
        some = data[at : at + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in some)
        yield f"{at:04x}  {some.hex(' '):<47}  {text}"
