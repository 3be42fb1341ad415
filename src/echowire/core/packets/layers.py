"""Protocols as tables of fields, and layers: all packets of a chunk that have one protocol at one place, as columns.

A field is described once, and columns, the details tree, filters and the reference manual are made of that. Names,
labels and types are Wireshark's, as people know them by heart and search for them. A field that stands at a fixed place
needs no code: `at`, `size` and `mask` are a gather over all packets that have the layer. One that moves has a function
(`make`) over all of a layer at once, or is found by its protocol's walk (`echowire.core.packets.walk`).

A layer is to a protocol what a table's rows are to its columns: where it begins and ends in each packet. Dissecting is
making layers from layers, for all packets at once: a protocol says which table the next one is looked up in, under
which key, and where that begins (`Next`); `echowire.core.packets.dissect` does the rest. No packet is ever an object.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import PAD, Bytes, Records, Rows
from echowire.core.packets.columns import (
    INTS,
    NUMBERS,
    SIZES,
    Column,
    Type,
    column_of,
    column_of_bytes,
    column_of_numbers,
    empty_column,
    gather_bytes,
    gather_uint,
    shift_of,
)

T = TypeVar("T")

HEAD_BYTES = 40
"""Of each entry that are gathered at once when the first number at a fixed place is asked for: all of most headers.
That costs no more than to gather one number, and from then on numbers are columns of a table. A multiple of eight, so
that these are aligned."""

Base: TypeAlias = Literal["dec", "hex", "oct", "dec_hex", "hex_dec", "epoch"]


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """A field's values in one layer: which of the layer's entries have it, ascending, and what it is there."""

    index: Rows
    values: Column


class Values(NamedTuple):
    """A field's values in a chunk of packets: a row each occurrence, ascending, those of a packet in its order."""

    rows: Rows
    values: Column


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field. What is not given does not hold: no `at` and no `make` means that the protocol's walk finds it."""

    name: str
    """Wireshark's, as in display filters: `tcp.srcport`."""
    label: str
    """Its line in the details tree: `Source Port`."""
    type: Type
    at: int | None = None
    """Bytes from the layer's beginning."""
    size: int = 0
    """Bytes it takes; 0 is its type's size."""
    mask: int = 0
    """The bits of these bytes that it is, shifted down to the lowest; 0 is all."""
    base: Base = "dec"
    names: Mapping[int, str] | None = None
    """What its values are called."""
    scale: int = 1
    """The value is this many times the number that stands there: 4 for a header length in words."""
    little: bool = False
    """Least significant byte first."""
    make: Callable[[Layer], Column | Picked] | None = None
    """Its values over a whole layer: a column as long as the layer, or `Picked` where some have none. With `at` and
    `size` the tree knows which bytes to show for it."""
    when: Callable[[Layer], NDArray[np.bool_]] | None = None
    """Which of the layer's entries have it, beyond having the bytes."""
    either: tuple[str, ...] = ()
    """It is another name for all occurrences of these: `ip.addr` of `ip.src` and `ip.dst`. Not shown in the tree."""
    under: str = ""
    """The field that it is a part of in the tree, such as `tcp.flags`."""
    show: Callable[[Layer], Sequence[str]] | None = None
    """What the tree says of it behind the label, one each entry of the layer, where its value and that value's name are
    not enough: `0x018 (PSH, ACK)`."""
    generated: bool = False
    """It does not stand in the packet: shown in square brackets."""
    hidden: bool = False
    """It can be asked for and is not shown in the tree."""
    whole: bool = False
    """It is told by all layers of a packet, so that all must be found: `frame.protocols`."""
    remembered: bool = False
    """It is told by what came before in the file, too: `tcp.stream`. Where it is wanted, it is picked in every chunk,
    once all layers are known."""

    @property
    def width(self) -> int:
        """Bytes it takes in the packet; 0 where that is not fixed."""
        return self.size or SIZES.get(self.type, 0)

    def of_raw(self, raw: int) -> int | bool:
        """The value that the number `raw`, which stands in the packet, is."""
        value = (raw & self.mask) >> shift_of(self.mask) if self.mask else raw
        if self.type is Type.BOOLEAN:
            return value != 0
        if self.type in INTS:
            bits = self.mask.bit_length() - shift_of(self.mask) if self.mask else 8 * self.width
            value -= (value >> (bits - 1)) << bits
        return value * self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Next:
    """What follows in some of a layer's packets: where, and in which table its protocol is looked up.

    `keys` are tried in order (the lower port first, then the higher), each a number for all or one an entry. Entries
    for which no key is known are `data`, unless `otherwise` says something else, or nothing ("").
    """

    table: str
    keys: tuple[NDArray[Any] | int, ...]
    index: Rows
    """Entries of the layer that it follows in."""
    start: Rows
    """Offset of its first byte in the layer's data, for each of `index`."""
    wire_end: Rows
    """Offset behind its last byte, as far as the outer layers tell; more than were captured, where a packet is cut."""
    otherwise: str = "data"
    data: Bytes | None = None
    """The bytes, where they do not stand in the packet as such (decrypted, joined); padded as `Records.data`."""
    streams: Callable[[], Rows] | None = None
    """Makes the number of the conversation of each of `index`: what it was once found to carry, it carries. Given where
    any protocol that may follow has a `guess`."""


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """One protocol, or a part of one that is laid out by itself, as a TCP option is."""

    name: str
    """As in display filters: `tcp`."""
    title: str
    """Its line in the details tree: `Transmission Control Protocol`."""
    column: str | Callable[[Layer], Sequence[str | None]] = ""
    """What the packet list shows in its column Protocol, an entry each where it depends on the packet (`TLSv1.2`); ""
    and None leave what the layer beneath has."""
    fields: tuple[Field, ...] = ()
    keys: tuple[tuple[str, int], ...] = ()
    """Tables in which it stands, and under which key: ("ip.proto", 6). The names are Wireshark's."""
    follow: Callable[[Layer], Iterable[Next]] | None = None
    """What comes after it."""
    follows_last: bool = False
    """`follow` is asked once all layers of the chunk are known that do not come of such a protocol: as it must know all
    layers of its kind."""
    tables: tuple[str, ...] = ()
    """The tables that `follow` and `walk` name: so it is known without looking whether a protocol can come."""
    accepts: Callable[[Layer], NDArray[np.bool_]] | None = None
    """Which entries are this protocol indeed, where a key alone does not tell; the others go to the next key."""
    guess: Callable[[Layer], NDArray[np.bool_]] | None = None
    """Which entries look so much like this protocol that they are taken for it, and the rest of their conversation
    too, where no key says what they are. Asked of what stands in the tables of `guess_in`."""
    guess_in: tuple[str, ...] = ()
    guess_holds: bool = True
    """What was taken for it once makes the rest of its conversation this protocol; else each packet is looked at for
    itself."""
    walk: Callable[[Any], None] | None = None
    """Finds what has a variable shape, packet by packet; it is given an `echowire.core.packets.walk.Walk`."""
    size: Callable[[Layer], Rows] | int | None = None
    """Bytes of the layer that are its own, not the next one's; None is all."""
    label: Callable[[Layer], Sequence[str]] | None = None
    """The rest of its line in the details tree, an entry each: `, Src Port: 80, Dst Port: 54321`."""
    info: Callable[[Layer], Sequence[str | None]] | None = None
    """What the packet list's column Info says of it, an entry each; None leaves what the layer beneath said."""
    remember: Callable[[Layer], None] | None = None
    """Called once with each layer, in the order of the file, where a field that is `remembered` is wanted."""
    addresses: tuple[str, str] | None = None
    """Its fields that the packet list shows as Source and Destination."""
    is_part: bool = False
    """It is a part of the protocol beneath and does not stand in frame.protocols."""
    under: str = ""
    """Of a part: the field of the protocol beneath that it stands under in the tree, such as `tcp.options`."""
    least: int = 0
    """Bytes without which there is no line of it and no field, as in Wireshark: it is then in frame.protocols alone."""
    is_quoting: bool = False
    """What lies in it is a packet that it quotes (an ICMP error) and changes nothing in the packet list's line."""

    def field(self, name: str) -> Field:
        """One of its fields. Raises `KeyError` for one that it has not."""
        for one in self.fields:
            if one.name == name:
                return one
        raise KeyError(name)


@dataclass(slots=True)
class Memory:
    """What is remembered from chunk to chunk of one reading: conversations, names, keys; a value a protocol."""

    by_key: dict[str, Any] = field(default_factory=dict)
    tables: frozenset[str] | None = None
    """The tables in which a protocol stands that is needed; None for all."""
    defragment: bool = False
    """IP fragments are joined."""

    def of(self, key: str, make: Callable[[], T]) -> T:
        """What is remembered under `key`; `make` gives what there is at first."""
        if key not in self.by_key:
            self.by_key[key] = make()
        found: T = self.by_key[key]
        return found

    def of_each(self, name: str, key: Hashable, make: Callable[[], T], most: int) -> T:
        """What is remembered of one of many, such as a conversation by its number; `make` gives what there is at first.
        Of more than `most` under a `name` the one that came first is forgotten."""
        known = self.of(name, dict[Hashable, T])
        if key not in known:
            if len(known) >= most:
                del known[next(iter(known))]
            known[key] = make()
        return known[key]


class Item(NamedTuple):
    """One thing that a walk found: a field with its value, or a line of the tree that is no field."""

    field: Field | None
    value: Any
    at: int
    """Bytes from the layer's beginning."""
    size: int
    level: int
    """Depth in the tree beneath the protocol's line, from 0."""
    text: str | None = None
    """Its whole line in the tree, where that is not the field's usual one."""


@dataclass(slots=True)
class Walked:
    """What a walk over a layer found."""

    items: list[list[Item]]
    by_field: dict[Field, tuple[list[int], list[Any]]]
    """Of each field the entries that have it, and its values there."""
    nexts: list[Next]
    short: list[int]
    """Entries of which too little was captured."""
    malformed: list[int]
    """Entries whose bytes are not as the protocol says."""
    passed_on: list[int] = field(default_factory=list)
    """Entries that are all another protocol's: there is no line of them, they are in frame.protocols alone."""


class Layers(list["Layer"]):
    """All layers of a chunk, the outer before the inner. Each of them refers to it weakly: a chunk that is done with
    is then gone at once, with its megabytes, not when Python next looks for cycles."""


class Layer:
    """The packets of a chunk that have one protocol at one place. All columns have one entry a packet."""

    def __init__(
        self,
        protocol: Protocol,
        records: Records,
        memory: Memory,
        rows: Rows,
        start: Rows,
        wire_end: Rows,
        *,
        data: Bytes | None = None,
        end: Rows | None = None,
        parent: Layer | None = None,
        index: Rows | None = None,
        chunk: Layers | None = None,
        streams: Callable[[], Rows] | None = None,
        table: str = "",
    ) -> None:
        self.protocol = protocol
        self.records = records
        self.memory = memory
        self.data = records.data if data is None else data
        self.rows = rows
        """Rows of `records`, ascending; one may come twice where a packet has several of it side by side."""
        self.start = start
        """Offset of the first byte in `data`."""
        self.wire_end = wire_end
        """Offset behind the last byte that belongs to it on the wire."""
        self.end = wire_end if end is None else end
        """Offset behind the last that was captured: `wire_end` or less."""
        self.parent = parent
        self.index = rows if index is None else index
        """Entry of `parent` that it follows."""
        self._streams = streams
        self.table = table
        """The table in which its protocol was looked up."""
        self.depth: int = parent.depth + 1 if parent else 0
        self._chunk: ref[Layers] | None = ref(chunk) if chunk is not None else parent._chunk if parent else None
        self.is_quoted: bool = parent is not None and (parent.is_quoted or parent.protocol.is_quoting)
        """It lies in a packet that an outer layer quotes."""
        self.walked: Walked | None = None
        """What the protocol's walk found, if it has one."""
        self._memo: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<{self.protocol.name}: {len(self)} at depth {self.depth}>"

    @property
    def chunk(self) -> Sequence[Layer]:
        """All layers of the chunk, the outer before the inner."""
        return (self._chunk and self._chunk()) or (self,)

    @property
    def shown(self) -> Rows:
        """Entries that have a line in the details tree: those that a filter by the protocol's name chooses."""

        def made() -> Rows:
            kept = self.has(self.protocol.least)
            if self.walked and self.walked.passed_on:
                kept[self.walked.passed_on] = False
            return self.every if kept.all() else np.flatnonzero(kept)

        return self.every if not (self.protocol.least or self.walked) else self.once("shown", made)

    @property
    def every(self) -> Rows:
        """The number of each entry."""
        return self.once("every", lambda: np.arange(len(self), dtype=np.int64))

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What several fields need, computed when first asked for."""
        if key not in self._memo:
            self._memo[key] = make()
        found: T = self._memo[key]
        return found

    def has(self, size: int | Rows) -> NDArray[np.bool_]:
        """Which entries have so many bytes captured."""
        return self.start + size <= self.end

    def uint(self, at: int | Rows, size: int, *, little: bool = False) -> NDArray[np.unsignedinteger[Any]]:
        """The number at `at`, an offset from the start, in every entry; of no meaning where `has` says no.

        What stands at a fixed place is gathered once, however many ask for it.
        """
        if isinstance(at, int):
            return self.once(f"uint {at} {size} {little}", lambda: self._fixed(at, size, little))
        return self.number(self.start + at, size, little=little)

    def _fixed(self, at: int, size: int, little: bool) -> NDArray[np.unsignedinteger[Any]]:
        if 0 <= at <= HEAD_BYTES - size and size in (1, 2, 4, 8):
            # A column of them costs a sixth of a gather.
            kind, head = f"{'<' if little else '>'}u{size}", self.once("head", self._head)
            found = head[:, at : at + size].view(kind)[:, 0].astype(f"=u{size}")
        else:
            where = self.start + at
            if at + size > PAD // 2:  # the other half is for a start behind the end of what was captured
                where = np.minimum(where, len(self.data) - 8)
            found = gather_uint(self.data, where, size, little=little)
        found.flags.writeable = False  # others have the same
        return found

    def _head(self) -> NDArray[np.uint8]:
        """The first bytes of each entry: uint8[n, HEAD_BYTES]."""
        return gather_bytes(self.data, self.start, HEAD_BYTES)

    def number(self, where: Rows, size: int, *, little: bool = False) -> NDArray[np.unsignedinteger[Any]]:
        """The number at each offset of `data`, for entries that the caller knows to have it. A lying length may point
        anywhere: then it has no meaning."""
        return gather_uint(self.data, np.minimum(where, len(self.data) - 8), size, little=little)

    def child(self, protocol: Protocol, found: Next, which: Rows) -> Layer:
        """The layer that `found` becomes, once its protocol is known; `which` of its entries."""
        index, start, wire_end = found.index, found.start, found.wire_end
        if len(which) < len(index):
            index, start, wire_end = index[which], start[which], wire_end[which]
        known = wire_end if found.data is not None else self.end if index is self.every else self.end[index]
        return Layer(
            protocol,
            self.records,
            self.memory,
            self.rows if index is self.every else self.rows[index],
            start,
            wire_end,
            data=self.data if found.data is None else found.data,
            end=np.minimum(wire_end, known),
            parent=self,
            index=index,
            streams=found.streams and partial(_some, found.streams, which),
            table=found.table,
        )

    def leads_to(self, table: str) -> bool:
        """Whether a protocol of `table` is needed: what it costs to find out where that begins can be saved if not."""
        return self.memory.tables is None or table in self.memory.tables

    def payload(self, entry: int) -> bytes:
        """All captured bytes of one entry."""
        return self.data[self.start[entry] : self.end[entry]].tobytes()

    def outer(self, name: str) -> tuple[Layer, Rows] | None:
        """The nearest layer of a protocol that this one lies in, and the entry of it for each entry here."""
        layer, index = self.parent, self.index
        while layer is not None and layer.protocol.name != name:
            index, layer = layer.index[index], layer.parent
        return None if layer is None else (layer, index)

    def conversations(self) -> Rows | None:
        """Number of the conversation that each entry is of: what the nearest layer beneath that has them says."""
        layer: Layer | None = self
        index = self.every
        while layer is not None and layer._streams is None:
            index, layer = layer.index[index], layer.parent
        return None if layer is None or layer._streams is None else layer.once("streams", layer._streams)[index]

    def pick(self, field: Field) -> Picked:
        """The values of one of the protocol's fields, in those entries that have it."""
        found = self._picked(field)
        if self.shown is self.every or not len(found.index):
            return found
        keep = np.isin(found.index, self.shown)
        return Picked(found.index[keep], found.values[keep])

    def _picked(self, field: Field) -> Picked:
        if field.make is not None:
            made = field.make(self)
            picked = made if isinstance(made, Picked) else Picked(self.every, made)
            return self._only_when(field, picked)
        if field.at is None:
            return self._walked(field)
        mask = self.has(field.at + field.width)
        if field.when is not None:
            mask &= field.when(self)
        index = self.every if mask.all() else np.flatnonzero(mask)
        if field.type in NUMBERS:
            raw = self.uint(field.at, field.width, little=field.little)
            raw = raw if index is self.every else raw[index]
            return Picked(index, column_of_numbers(field.type, raw, field.width, mask=field.mask, scale=field.scale))
        where = self.start[index] + field.at
        return Picked(index, column_of_bytes(field.type, self.data, where, field.width, little=field.little))

    def _only_when(self, field: Field, picked: Picked) -> Picked:
        if field.when is None:
            return picked
        keep = field.when(self)
        if keep.all():
            return picked
        keep = keep[picked.index]
        return Picked(picked.index[keep], picked.values[keep])

    def _walked(self, field: Field) -> Picked:
        """A field that the walk found."""
        found = self.walked.by_field.get(field) if self.walked else None
        if not found:
            return Picked(np.zeros(0, np.int64), empty_column(field.type))
        return Picked(np.array(found[0], np.int64), column_of(field.type, found[1]))


def _some(column: Callable[[], Rows], which: Rows) -> Rows:
    return column()[which]


def begins_with(*values: int) -> Callable[[Layer], NDArray[np.bool_]]:
    """Which entries' first byte is one of `values`: a `when`, for protocols that begin with a type or a version."""
    return lambda layer: np.isin(layer.uint(0, 1), values)


def present(layer: Layer) -> Picked:
    """The values of a field that says no more than that the layer is there."""
    index = layer.shown
    return Picked(index, np.ones(len(index), np.uint8))
