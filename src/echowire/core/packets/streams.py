"""Conversations between two endpoints: known by addresses and ports, numbered in the order of their first packets.

The two endpoints of a packet are put in order, so that both directions have one key, and mixed to 64 bits: of a
million conversations two have the same with a probability of one in 37 million. Keys that were met are held in an open
table of two arrays, 16 bytes a slot, into which a whole column is looked up at once: a million conversations take
32 MB, and a chunk costs the same however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import Column, Type
from echowire.core.packets.layers import Field, Layer, Picked
from echowire.core.packets.routes import destinations, reroute

Keys = NDArray[np.uint64]
Mask = NDArray[np.bool_]

PORT_BYTES = 4
"""Source and destination port, as TCP, UDP and SCTP have them."""

MIN_SLOTS = 1 << 10
"""Slots of an empty table; at most half of them are taken."""

INTERNET = ("ip", "ipv6")


def outer_layers(layer: Layer) -> Iterator[tuple[Layer, Rows]]:
    """The layers that this one lies in, the nearest first, and the entry of each for every entry here."""
    outer, index = layer.parent, layer.index
    while outer is not None:
        yield outer, index
        index, outer = outer.index[index], outer.parent


def internet_layer(layer: Layer) -> tuple[Layer, Rows] | None:
    """The nearest IPv4 or IPv6 layer around."""

    def look() -> tuple[Layer, Rows] | None:
        return next((one for one in outer_layers(layer) if one[0].protocol.name in INTERNET), None)

    return layer.once("internet", look)


def fragments(layer: Layer) -> Mask:
    """Which entries are but the first fragment of a datagram, so that what they say of its length is not all there."""
    found = np.zeros(len(layer), np.bool_)
    for outer, index in outer_layers(layer):
        if outer.data is not layer.data:
            break  # its fragments were joined
        if outer.protocol.name == "ip":
            found |= (outer.uint(6, 2)[index] & 0x3FFF) != 0
            break
        if outer.protocol.name == "ipv6.fraghdr":
            found |= (outer.uint(2, 2)[index] & 0xFFF9) != 0
        elif outer.protocol.name == "ipv6":
            break
    return found


def _mixed(value: Keys) -> Keys:
    """A bijection after which every bit depends on all bits (the finalizer of MurmurHash3, 64 bits)."""
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


def conversation(layer: Layer) -> tuple[Keys, Mask]:
    """The key of each entry's conversation, and whether it goes from the higher endpoint to the lower.

    Endpoints are ordered by address, then by port. To be asked of entries that have their ports.
    """
    return layer.once("conversation", lambda: _conversation(layer))


def conversation_numbers(layer: Layer, which: Rows) -> Rows:
    """The key as a number that is not negative, of some entries: for `echowire.core.packets.layers.Next.streams`."""
    return (conversation(layer)[0][which] >> np.uint64(1)).view(np.int64)


def _conversation(layer: Layer) -> tuple[Keys, Mask]:
    around = internet_layer(layer)
    ports = layer.uint(0, 2).astype(np.uint64), layer.uint(2, 2).astype(np.uint64)
    if around is None:
        ends = [(port,) for port in ports]
    elif around[0].protocol.name == "ip":
        ip, index = around
        sides = [side[index].astype(np.uint64) << np.uint64(16) for side in (ip.uint(12, 4), destinations(ip))]
        ends = [(side | port,) for side, port in zip(sides, ports, strict=True)]
    else:
        ip, index = around
        halves = [ip.uint(at, 8)[index] for at in (8, 16, 24, 32)]
        if layer.parent is not ip:
            routed = np.stack(halves, 1).reshape(-1, 2, 2).swapaxes(0, 1)
            reroute(outer_layers(layer), layer.every, routed)
            halves = [routed[side, :, half] for side in range(2) for half in range(2)]
        return key_of_ends((halves[0], halves[1], ports[0]), (halves[2], halves[3], ports[1]))
    return key_of_ends(ends[0], ends[1])


def key_of_ends(source: tuple[Keys, ...], destination: tuple[Keys, ...]) -> tuple[Keys, Mask]:
    """The key of what goes between two ends, equal for both directions, and whether it goes from the higher to the
    lower. An end is some numbers, the most significant first."""
    higher = source[-1] > destination[-1]
    for here, there in zip(source[-2::-1], destination[-2::-1], strict=True):
        higher = (here > there) | ((here == there) & higher)
    key = np.full(1, len(source), np.uint64)
    for low, high in ((destination, source), (source, destination)):
        # first all words of the lower end, then all of the higher
        for ours, theirs in zip(low, high, strict=True):
            key = _mixed(key + np.where(higher, ours, theirs)) + np.uint64(0x9E3779B97F4A7C15)
    return key, higher


class Numbers:
    """Numbers for keys, from 0 in the order in which they are first met."""

    def __init__(self) -> None:
        self._keys = np.zeros(MIN_SLOTS, np.uint64)
        self._values = np.zeros(MIN_SLOTS, np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, keys: Keys) -> Rows:
        """The number of each key; those that were not met before are from now on."""
        keys = np.where(keys == 0, np.uint64(1), keys)  # 0 marks a free slot
        found = self._lookup(keys)
        unknown = np.flatnonzero(found < 0)
        if len(unknown):
            new, first, which = np.unique(keys[unknown], return_index=True, return_inverse=True)
            rank = np.empty(len(new), np.int64)
            rank[np.argsort(first)] = np.arange(self._count, self._count + len(new))
            found[unknown] = rank[which]
            self._add(new, rank)
        return found

    def _lookup(self, keys: Keys) -> Rows:
        found, slot, mask = np.full(len(keys), -1, np.int64), self._slots(keys), len(self._keys) - 1
        left = np.arange(len(keys))
        while len(left):
            held = self._keys[slot]
            hit = held == keys[left]
            found[left[hit]] = self._values[slot[hit]]
            go_on = ~hit & (held != 0)
            left, slot = left[go_on], (slot[go_on] + 1) & mask
        return found

    def _slots(self, keys: Keys) -> Rows:
        return (keys & np.uint64(len(self._keys) - 1)).astype(np.int64)

    def _add(self, keys: Keys, values: Rows) -> None:
        """Take keys that are different and not there."""
        self._count += len(keys)
        if 2 * self._count > len(self._keys):
            taken = self._keys != 0
            keys, values = np.append(keys, self._keys[taken]), np.append(values, self._values[taken])
            size = 1 << (4 * self._count - 1).bit_length()
            self._keys, self._values = np.zeros(size, np.uint64), np.zeros(size, np.int64)
        slot, mask = self._slots(keys), len(self._keys) - 1
        while len(keys):
            free = self._keys[slot] == 0
            self._keys[slot[free]] = keys[free]  # of several that want a slot, the last gets it
            mine = self._keys[slot] == keys
            self._values[slot[mine]] = values[mine]
            keys, values, slot = keys[~mine], values[~mine], (slot[~mine] + 1) & mask


class Growing:
    """A column with a row for each of a growing number of things."""

    def __init__(self, dtype: Any, fill: Any) -> None:
        self._data = np.full(0, fill, dtype)
        self._fill = fill

    def of(self, count: int) -> NDArray[Any]:
        """The rows, `count` at least."""
        if count > len(self._data):
            more = np.full(max(count, 2 * len(self._data), 64) - len(self._data), self._fill, self._data.dtype)
            self._data = np.concatenate([self._data, more])
        return self._data


class Joined:
    """The layers that one protocol has in a chunk, as one: packets in the file's order, the outer before the inner.

    Only the entries that `counts` says are in it.
    """

    def __init__(self, layers: list[Layer], counts: Callable[[Layer], Mask]) -> None:
        # Weakly, as what is kept of a chunk in one of its layers must not keep the chunk.
        self._layers = [ref(one) for one in layers]
        self._entries = [np.flatnonzero(counts(one)) for one in layers]
        rows = [one.rows[entries] for one, entries in zip(layers, self._entries, strict=True)]
        self.rows: Rows = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        self._order: Rows | None = None
        if len(layers) > 1:
            self._order = np.argsort(self.rows, kind="stable")
            self.rows = self.rows[self._order]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, of: Callable[[Layer], Column]) -> Column:
        """What `of` gives for each entry of a layer, joined."""
        layers = [one for one in (weak() for weak in self._layers) if one is not None]
        parts = [
            made if len(made := of(one)) == len(entries) else made[entries]
            for one, entries in zip(layers, self._entries, strict=True)
        ]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return joined if self._order is None else joined[self._order]

    def picked(self, layer: Layer, values: Column, where: Mask | None = None) -> Picked:
        """A layer's part of a joined column, of the entries for which `where` holds."""
        at, place = 0, None
        for weak, entries in zip(self._layers, self._entries, strict=True):
            if weak() is layer:
                place = slice(at, at + len(entries))
                index = entries
            at += len(entries)
        assert place is not None, "the layer is not of this chunk"
        if self._order is None:
            mine: Column = values
            chosen = where
        else:
            back = np.empty(len(self.rows), np.int64)
            back[self._order] = np.arange(len(self.rows))
            mine = values[back[place]]
            chosen = None if where is None else where[back[place]]
        return Picked(index, mine) if chosen is None else Picked(index[chosen], mine[chosen])


class Slots:
    """The conversations that are present in a chunk, numbered from 0, for columns that have a row for each of them."""

    def __init__(self, number: Rows, scratch: NDArray[np.int64]) -> None:
        """`scratch` has a row for each conversation that ever was; what is in it does not matter."""
        every = np.arange(len(number))
        scratch[number[::-1]] = every[::-1]  # the first of each is written last
        first = np.flatnonzero(scratch[number] == every)
        self.first: Rows = first
        self.number: Rows = number[first]
        scratch[self.number] = np.arange(len(first))
        self.slot: Rows = scratch[number]

    def __len__(self) -> int:
        return len(self.number)


def firsts(slot: Rows, count: int, where: Mask | None = None) -> Rows:
    """The first index at which each of `count` slots stands in `slot`, `len(slot)` where it does not."""
    out = np.full(count, len(slot), np.int64)
    index = np.arange(len(slot)) if where is None else np.flatnonzero(where)
    out[slot[index][::-1]] = index[::-1]
    return out


def lasts(slot: Rows, count: int, where: Mask | None = None) -> Rows:
    """The last index at which each of `count` slots stands in `slot`, -1 where it does not."""
    out = np.full(count, -1, np.int64)
    index = np.arange(len(slot)) if where is None else np.flatnonzero(where)
    out[slot[index]] = index
    return out


def befores(slot: Rows) -> Rows:
    """For each index the one before it that has the same slot, -1 where there is none."""
    out = np.full(len(slot), -1, np.int64)
    small = slot.astype(np.uint16) if len(slot) and slot.max() < 1 << 16 else slot  # for which numpy has a radix sort
    order = np.argsort(small, kind="stable")
    same = slot[order[1:]] == slot[order[:-1]]
    out[order[1:][same]] = order[:-1][same]
    return out


class Times:
    """When the first and the last packet of each conversation came."""

    def __init__(self) -> None:
        self._first = Growing(np.int64, 0)
        self._last = Growing(np.int64, 0)

    def of(
        self, slot: Rows, number: Rows, begin: Rows, new: Mask, lasting: Mask, known: int, time_ns: Rows
    ) -> tuple[Rows, Rows]:
        """For each packet of a chunk the nanoseconds since the first of its conversation, and since the one before.

        `slot` is of each packet; of each slot `number` is the row in which its times are kept (of `known`), `begin` its
        first packet, `new` whether that is the first of all, and `lasting` whether its times are to be kept.
        """
        first, last = self._first.of(known), self._last.of(known)
        start = np.where(new, time_ns[begin], first[number])
        before = befores(slot)
        previous = np.where(before < 0, np.where(new, start, last[number])[slot], time_ns[before])
        kept = number[lasting]
        first[kept], last[kept] = start[lasting], time_ns[lasts(slot, len(number))[lasting]]
        return time_ns - start[slot], time_ns - previous


def stream_field(protocol: str, number: Callable[[Layer], Picked]) -> Field:
    """The number of the conversation that a packet of `protocol` is of."""
    name = f"{protocol}.stream"
    return Field(name, "Stream index", Type.UINT32, make=number, generated=True, remembered=True)


def time_fields(
    protocol: str,
    where: str,
    since_first: Callable[[Layer], Picked],
    since_previous: Callable[[Layer], Picked],
    when: Callable[[Layer], Mask] | None = None,
) -> tuple[Field, Field]:
    """Two fields of a packet of `protocol`: the time since the first of its conversation, and since the one before.

    `where` is what Wireshark adds to both lines.
    """
    relative = Field(
        f"{protocol}.time_relative",
        f"Time since first frame{where}",
        Type.RELATIVE_TIME,
        make=since_first,
        when=when,
        generated=True,
        remembered=True,
    )
    return relative, replace(
        relative,
        name=f"{protocol}.time_delta",
        label=f"Time since previous frame{where}",
        make=since_previous,
    )


def stream_numbers(layer: Layer, name: str) -> Rows:
    """The number of each entry's stream; -1 where it has none."""
    out = np.full(len(layer), -1, np.int64)
    field = layer.protocol.field(name)
    picked = layer.pick(field)
    out[picked.index] = picked.values
    return out
