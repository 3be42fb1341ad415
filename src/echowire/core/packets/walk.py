"""A walk over one packet's part of one protocol, for what has a variable shape: names, lists, text.

A protocol's `walk` is given a `Walk`, reads from it and adds what it finds; columns, the details tree and the next
layers are made of that. Reading past the end ends the walk there: what was added stands, as a person would read a
packet that was cut. So a walk checks no bounds, only what its protocol says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from echowire.core.captures.records import PAD
from echowire.core.packets.layers import Field, Item, Layer, Memory, Next, Walked

MAX_ITEMS = 20_000
"""Things that one walk may find. No packet of a sane protocol has a tenth; one made to repeat itself ends here."""


class MalformedError(Exception):
    """Raised by a walk whose bytes cannot be what the protocol says; what it found before stands."""


class _EndError(Exception):
    """Reading went past the end."""


class Walk:
    """The bytes of one entry of a layer, and what is found in them. Offsets count from the layer's start."""

    __slots__ = ("_base", "_entry", "_nexts", "data", "is_passed_on", "items", "layer", "level", "size", "wire_size")

    def __init__(self, layer: Layer, entry: int, data: bytes, wire_size: int, nexts: list[_Following]) -> None:
        self.layer = layer
        self.data = data
        """The captured bytes."""
        self.size = len(data)
        self.wire_size = wire_size
        """Bytes that there were on the wire: more than `size` where the packet is cut."""
        self.items: list[Item] = []
        self.level = 0
        self.is_passed_on = False
        """To be set where all of it is another protocol's, and nothing is to be said of this one."""
        self._base = 0
        self._entry = entry
        self._nexts = nexts

    @property
    def entry(self) -> int:
        """Its number in the layer."""
        return self._entry

    @property
    def memory(self) -> Memory:
        """What is remembered from packet to packet."""
        return self.layer.memory

    def u8(self, at: int) -> int:
        """One byte."""
        if not 0 <= at < self.size:
            raise _EndError
        return self.data[at]

    def uint(self, at: int, size: int) -> int:
        """A number of `size` bytes, the most significant first."""
        if at < 0 or at + size > self.size:
            raise _EndError
        return int.from_bytes(self.data[at : at + size], "big")

    def u16(self, at: int) -> int:
        """A number of two bytes."""
        return self.uint(at, 2)

    def u32(self, at: int) -> int:
        """A number of four bytes."""
        return self.uint(at, 4)

    def little(self, at: int, size: int) -> int:
        """A number of `size` bytes, the least significant first."""
        if at < 0 or at + size > self.size:
            raise _EndError
        return int.from_bytes(self.data[at : at + size], "little")

    def take(self, at: int, size: int) -> bytes:
        """`size` bytes."""
        if at < 0 or size < 0 or at + size > self.size:
            raise _EndError
        return self.data[at : at + size]

    def need(self, at: int, size: int) -> None:
        """End the walk here unless there are `size` bytes at `at`."""
        if at < 0 or size < 0 or at + size > self.size:
            raise _EndError

    def add(self, field: Field, value: Any, at: int, size: int, text: str | None = None) -> None:
        """Note a field. Values are as in the columns of its type; `bytes` of 16 for an IPv6 address."""
        self._note(Item(field, value, self._base + at, size, self.level, text))

    def add_text(self, text: str, at: int, size: int) -> None:
        """Note a line of the tree that is no field."""
        self._note(Item(None, None, self._base + at, size, self.level, text))

    def _note(self, item: Item) -> None:
        if len(self.items) >= MAX_ITEMS:
            raise MalformedError(f"more than {MAX_ITEMS} items")
        self.items.append(item)

    def add_uint(self, field: Field, at: int) -> int:
        """Note a field that is a number of its own width, and give it. `mask` and `scale` are the field's."""
        raw = self.little(at, field.width) if field.little else self.uint(at, field.width)
        value = field.of_raw(raw)
        self.add(field, value, at, field.width)
        return int(value)

    @contextmanager
    def subtree(self, text: str | None = None, at: int = 0, size: int = 0) -> Iterator[None]:
        """What is added within stands a level deeper, beneath the line `text`, or beneath what was added last."""
        if text is not None:
            self.add_text(text, at, size)
        self.level += 1
        try:
            yield
        finally:
            self.level -= 1

    def within(self, at: int, size: int, parse: Callable[[Walk], None]) -> bool:
        """Walk a part by itself, its offsets from its own start. Reading past its end ends that walk alone: False."""
        return self._inner(self.take(at, size), self._base + at, parse)

    def within_bytes(self, data: bytes, at: int, parse: Callable[[Walk], None]) -> bool:
        """The same for bytes that do not stand in the packet as such; the tree shows them from `at` on."""
        return self._inner(data, self._base + at, parse)

    def _inner(self, data: bytes, base: int, parse: Callable[[Walk], None]) -> bool:
        part = Walk(self.layer, self._entry, data, len(data), self._nexts)
        part.items, part.level, part._base = self.items, self.level, base
        try:
            parse(part)
        except _EndError:
            return False
        return True

    def hand_on(self, table: str, key: int, at: int, size: int, *, otherwise: str = "data") -> None:
        """What stands at `at` is another protocol's: the one of `table` under `key`."""
        self._nexts.append((table, key, otherwise, self._entry, self._base + at, size, None))

    def hand_on_bytes(self, table: str, key: int, data: bytes, *, otherwise: str = "data") -> None:
        """The same for bytes that do not stand in the packet as such: decrypted, unpacked, joined."""
        self._nexts.append((table, key, otherwise, self._entry, 0, len(data), data))


_Following = tuple[str, int, str, int, int, int, bytes | None]


def walk_layer(layer: Layer) -> Walked:
    """Walk all entries of a layer whose protocol has a walk."""
    walk_one = layer.protocol.walk
    assert walk_one is not None
    found = Walked([], {}, [], [], [])
    nexts: list[_Following] = []
    begin, end, wire_end = layer.start.tolist(), layer.end.tolist(), layer.wire_end.tolist()
    data = memoryview(layer.data)  # type: ignore[arg-type]
    for entry in range(len(layer)):
        a = begin[entry]
        walk = Walk(layer, entry, data[a : max(end[entry], a)].tobytes(), wire_end[entry] - a, nexts)
        try:
            walk_one(walk)
        except _EndError:
            (found.short if walk.size < walk.wire_size else found.malformed).append(entry)
        except MalformedError:
            found.malformed.append(entry)
        if walk.is_passed_on:
            found.passed_on.append(entry)
        found.items.append(walk.items)
        for item in walk.items:
            if item.field is not None:
                of_field = found.by_field.get(item.field)
                if of_field is None:
                    of_field = found.by_field[item.field] = ([], [])
                of_field[0].append(entry)
                of_field[1].append(item.value)
    found.nexts = _grouped(layer, nexts)
    return found


def _grouped(layer: Layer, nexts: list[_Following]) -> list[Next]:
    """What the walks handed on, as few `Next` as can be: one for each table, key and kind."""
    groups: dict[tuple[str, int, str, bool], list[_Following]] = {}
    for one in nexts:
        groups.setdefault((*one[:3], one[6] is None), []).append(one)
    found = []
    for (table, key, otherwise, in_packet), group in groups.items():
        index = np.array([one[3] for one in group], np.int64)
        size = np.array([one[5] for one in group], np.int64)
        if in_packet:
            start, data = layer.start[index] + np.array([one[4] for one in group], np.int64), None
        else:
            start = np.cumsum(size) - size
            data = np.frombuffer(b"".join([*(one[6] or b"" for one in group), bytes(PAD)]), np.uint8)
        found.append(Next(table, (key,), index, start, start + size, otherwise, data))
    return found
