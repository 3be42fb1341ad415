"""From records to layers, and from layers to fields: a chunk of packets dissected, all packets at once.

A `Dissector` lives as long as one reading of one file, as some answers need what came before. It is told which fields
will be asked for and finds no more layers than these need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Records, Rows
from echowire.core.packets.columns import empty_column
from echowire.core.packets.layers import Field, Layer, Layers, Memory, Next, Picked, Protocol, Values
from echowire.core.packets.registry import ROOT, Registry, registry
from echowire.core.packets.walk import walk_layer

MAX_DEPTH = 100
"""Layers within each other that are followed. No sane packet has twenty; one of nothing but VLAN tags ends here."""

MAX_TABLE = 1 << 16
"""Keys of a table below this are looked up by index: ports, Ethernet types, protocol numbers."""


class Dissector:
    """Dissects the chunks of one capture, in their order, as far as `wanted` asks: names of fields, None for all.

    With `defragment` the fragments of IP datagrams are joined, as far as `fragments.py` holds them, and
    what is in a datagram is found in the packet that completes it; without it, in the first fragment.

    Raises `UsageError` for a field that is not known.
    """

    def __init__(self, wanted: Iterable[str] | None = None, *, defragment: bool = False) -> None:
        self._registry = registry()
        names = list(self._registry.fields if wanted is None else wanted)
        self._needed = self._registry.needed(names)
        fields = [one for name in self._registry.resolved(names) for one in self._registry.fields[name]]
        self._remembering = {protocol.name for protocol, field in fields if field.remembered}
        self._remembered = [name for name in names if any(one.remembered for _, one in self._registry.fields[name])]
        self._tables: dict[str, _Table] = {}
        self._memory = Memory(tables=self._registry.tables_of(self._needed), defragment=defragment)
        self._leading: dict[str, bool] = {}

    def dissect(self, records: Records) -> Packets:
        """The layers of a chunk."""
        every = np.arange(len(records), dtype=np.int64)
        end = records.start + records.cap_len
        wire_end = np.maximum(records.start + records.length, end)
        layers, protocol = Layers(), self._registry.protocols[ROOT]
        start = records.start + records.header
        root = Layer(protocol, records, self._memory, every, start, wire_end, end=end, chunk=layers)
        layers.append(root)
        queue, last = deque([root]), deque[Layer]()
        while queue or last:
            layer = queue.popleft() if queue else last.popleft()
            for child in self._inner(layer):
                layers.append(child)
                (last if child.protocol.follows_last else queue).append(child)
        packets = Packets(records, layers, self._registry)
        for name in self._remembered:
            packets.values(name)
        return packets

    def _inner(self, layer: Layer) -> Iterator[Layer]:
        """The layers directly within one."""
        protocol = layer.protocol
        if protocol.name in self._remembering and protocol.remember:
            protocol.remember(layer)
        if protocol.walk is not None:
            layer.walked = walk_layer(layer)
        if layer.depth >= MAX_DEPTH:
            return
        nexts = protocol.follow(layer) if protocol.follow else ()
        for found in (*nexts, *(layer.walked.nexts if layer.walked else ())):
            yield from self._dispatched(layer, found)

    def _dispatched(self, layer: Layer, found: Next) -> Iterator[Layer]:
        """The layers that one `Next` becomes: one for each protocol that its keys lead to."""
        if not self._leads(found):
            return
        table = self._table(found.table)
        left = np.arange(len(found.index), dtype=np.int64)
        if found.streams is not None:
            for protocol, which in self._conversations(found.table).known(found.streams):
                if protocol.name in self._needed:
                    yield layer.child(protocol, found, which)
                left = _without(left, [which])
        for key in found.keys:
            if not len(left):
                return
            taken = []
            for protocol, which in table.split(key, left):
                child, which = _accepted(layer, protocol, found, which)
                taken.append(which)
                if len(child) and protocol.name in self._needed:
                    yield child
            left = _without(left, taken)
        if len(left):
            for protocol, which in self._guessed(layer, found, left):
                yield layer.child(protocol, found, which)
                left = _without(left, [which])
        if len(left) and found.otherwise in self._needed:
            yield layer.child(self._registry.protocols[found.otherwise], found, left)

    def _leads(self, found: Next) -> bool:
        """Whether anything that was asked for can come of it; if not, nothing needs to be looked up."""
        if found.table not in self._leading:
            inner = (*self._registry.tables.get(found.table, {}).values(), *self._registry.guesses.get(found.table, ()))
            self._leading[found.table] = any(one.name in self._needed for one in inner)
        return self._leading[found.table] or found.otherwise in self._needed

    def _guessed(self, layer: Layer, found: Next, left: Rows) -> Iterator[tuple[Protocol, Rows]]:
        """Protocols that the entries `left` look like, and with them the rest of their conversations."""
        for protocol in self._registry.guesses.get(found.table, ()):
            if not len(left):
                return
            if protocol.guess_holds and found.streams is None:
                continue
            assert protocol.guess is not None
            which = left[protocol.guess(layer.child(protocol, found, left))]
            if not len(which):
                continue
            if protocol.guess_holds:
                which = self._rest_of(protocol, found, left, which)
            left = _without(left, [which])
            if protocol.name in self._needed:
                yield protocol, which

    def _rest_of(self, protocol: Protocol, found: Next, left: Rows, alike: Rows) -> Rows:
        """Those of `left` in the conversations of `alike`, from the first there that was taken for the protocol."""
        assert found.streams is not None
        numbers = found.streams()
        streams, first = np.unique(numbers[alike], return_index=True)
        self._conversations(found.table).learn(protocol, streams)
        at = np.minimum(np.searchsorted(streams, numbers[left]), len(streams) - 1)
        which: Rows = left[(streams[at] == numbers[left]) & (left >= alike[first][at])]
        return which

    def _table(self, name: str) -> _Table:
        if name not in self._tables:
            self._tables[name] = _Table(self._registry.tables.get(name, {}))
        return self._tables[name]

    def _conversations(self, table: str) -> Conversations:
        return self._memory.of(f"conversations of {table}", Conversations)


class Conversations:
    """What conversations were found to carry, by number."""

    def __init__(self) -> None:
        self._streams: dict[Protocol, NDArray[np.int64]] = {}

    def learn(self, protocol: Protocol, streams: Rows) -> None:
        """From now on these carry `protocol`."""
        before = self._streams.get(protocol, np.zeros(0, np.int64))
        self._streams[protocol] = np.union1d(before, streams)

    def known(self, streams: Callable[[], Rows]) -> Iterator[tuple[Protocol, Rows]]:
        """Each protocol, and which of `streams` carry it."""
        for protocol, numbers in self._streams.items():
            which = np.flatnonzero(np.isin(streams(), numbers))
            if len(which):
                yield protocol, which


class _Table:
    """A table of protocols by number, in the form in which a whole column is looked up."""

    def __init__(self, entries: Mapping[int, Protocol]) -> None:
        self._entries = entries
        self._protocols = list(dict.fromkeys(entries.values()))
        small = [key for key in entries if key < MAX_TABLE]
        self._is_small = len(small) == len(entries)
        self._index = np.full(max(small, default=-1) + 2, len(self._protocols), np.int16)  # the last: not known
        for key in small:
            self._index[key] = self._protocols.index(entries[key])

    def split(self, key: NDArray[np.unsignedinteger] | int, left: Rows) -> Iterator[tuple[Protocol, Rows]]:
        """Each protocol that some of the entries `left` lead to, and which."""
        if isinstance(key, int):
            if key in self._entries:
                yield self._entries[key], left
            return
        mine = key if len(left) == len(key) else key[left]
        if not self._is_small:
            for one in np.unique(mine).tolist():
                if one in self._entries:
                    yield self._entries[one], left[mine == one]
            return
        which = self._index[np.minimum(mine.astype(np.int64), len(self._index) - 1)]
        present = np.bincount(which, minlength=len(self._protocols) + 1)
        for number in np.flatnonzero(present[:-1]).tolist():
            all_of_them = present[number] == len(left)
            yield self._protocols[number], left if all_of_them else left[which == number]


def _accepted(layer: Layer, protocol: Protocol, found: Next, which: Rows) -> tuple[Layer, Rows]:
    """The layer of those entries that the protocol accepts, and which they are."""
    child = layer.child(protocol, found, which)
    if protocol.accepts is None:
        return child, which
    mask = protocol.accepts(child)
    if mask.all():
        return child, which
    which = which[mask]
    return layer.child(protocol, found, which), which


def _without(left: Rows, taken: list[Rows]) -> Rows:
    """`left`, which ascends, but for what was taken of it."""
    gone = sum(len(one) for one in taken)
    if gone in (0, len(left)):
        return left if gone == 0 else left[:0]
    keep = np.ones(left[-1] + 1, np.bool_)
    keep[np.concatenate(taken)] = False
    return left[keep[left]]


class Packets:
    """A chunk of packets, dissected: ask for fields by name."""

    def __init__(self, records: Records, layers: list[Layer], known: Registry) -> None:
        self.records = records
        self.layers = layers
        """The outer before the inner."""
        self._registry = known
        self._values: dict[str, Values] = {}

    def __len__(self) -> int:
        return len(self.records)

    def layers_of(self, name: str) -> list[Layer]:
        """The layers of one protocol, the outer first."""
        return [one for one in self.layers if one.protocol.name == name]

    def values(self, name: str) -> Values:
        """All occurrences of a field, by packet and in their order there."""
        if name not in self._values:
            self._values[name] = self._found(name)
        return self._values[name]

    def pieces(self, name: str) -> list[tuple[Layer, Picked]]:
        """All occurrences of a field, as they are found: layer by layer, the outer first."""
        places = [
            place
            for protocol, field in self._registry.described(name)
            for place in ([(protocol, field)] if not field.either else self._either(field.either))
        ]
        found: list[tuple[Layer, Picked]] = []
        for layer in self.layers:
            for protocol, field in places:
                if protocol is layer.protocol:
                    picked = layer.pick(field)
                    if len(picked.index):
                        found.append((layer, picked))
        return found

    def _found(self, name: str) -> Values:
        pieces = self.pieces(name)
        if not pieces:
            kind = self._registry.described(name)[0][1].type
            return Values(np.zeros(0, np.int64), empty_column(kind))
        rows = [layer.rows if p.index is layer.every else layer.rows[p.index] for layer, p in pieces]
        if len(pieces) == 1:
            return Values(rows[0], pieces[0][1].values)
        every = np.concatenate(rows)
        order = np.argsort(every, kind="stable")
        return Values(every[order], np.concatenate([p.values for _, p in pieces])[order])

    def _either(self, names: Iterable[str]) -> list[tuple[Protocol, Field]]:
        return [place for name in names for place in self._registry.described(name)]


def first_of_each(values: Values) -> Values:
    """The first occurrence in each packet."""
    rows = values.rows
    if len(rows) < 2:
        return values
    keep = np.ones(len(rows), np.bool_)
    np.not_equal(rows[1:], rows[:-1], out=keep[1:])
    return values if keep.all() else Values(rows[keep], values.values[keep])
