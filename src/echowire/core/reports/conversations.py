"""Who talked to whom, and how much: the conversations and the endpoints of a capture, by columns.

Counted as Wireshark counts: a frame's whole length, once for each header of the kind that it has (a tunnel has two of
IP). Each conversation has a number, that of its stream where there is one, so that what is to be added up of a packet
is that number, a direction, a length and a time; who its ends are is read once, in its first packet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.dissect import MAX_DEPTH, Packets
from echowire.core.packets.streams import Growing, Numbers
from echowire.core.reports.base import known_times
from echowire.core.reports.ends import EXTENSIONS, Counted, Ends, address_texts, counted, ends_of

GATHERED_ROWS = 1 << 16
"""Rows that are gathered before they are added up, or twice as many as there are conversations if that is more: so a
table of a million is not gone through for each few thousand packets."""

DEPTHS = MAX_DEPTH + 2
"""More than any layer's depth."""

EVER = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True)
class Kind:
    """What counts as one conversation."""

    name: str
    """As after `-z conv,`."""
    title: str
    protocol: str
    """The protocol whose header is counted."""
    needs: tuple[str, ...] = ()
    """What a reading must have besides."""
    has_ports: bool = False
    stream: str = ""
    """The field that tells conversations of the same ends apart."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that a reading needs."""
        return (self.protocol, *self.needs, *([self.stream] if self.stream else []))


INTERNET = ("ip.src", "ipv6.src")

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("eth", "Ethernet", "eth"),
        Kind("ip", "IPv4", "ip"),
        Kind("ipv6", "IPv6", "ipv6", EXTENSIONS),
        Kind("tcp", "TCP", "tcp", INTERNET, True, "tcp.stream"),
        Kind("udp", "UDP", "udp", INTERNET, True, "udp.stream"),
        Kind("sctp", "SCTP", "sctp", INTERNET, True),
    )
}


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    """Conversations that began in some packets, the first of each."""

    number: Rows
    ends: Ends
    forward: NDArray[np.bool_]
    first: Rows
    """Orders them as they began: by packet, and in a packet the outer before the inner."""


class Conversations:
    """Conversations of one kind, counted chunk by chunk."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._numbers = Numbers()
        self._count = 0
        """Every number is below this; some may be of streams that had nothing to count."""
        self._order = Growing(np.int64, EVER.max)
        """Of each conversation when it began; see `_Begun.first`."""
        self._begun: list[_Begun] = []
        self._gathered: list[tuple[Rows, Rows, Rows]] = []
        """Of each packet twice its conversation's number, one more for backward; its length; its time."""
        self._rows = 0
        self._frames, self._bytes = Growing(np.int64, 0), Growing(np.int64, 0)
        """Rows as in the first of `_gathered`."""
        self._start, self._stop = Growing(np.int64, EVER.max), Growing(np.int64, EVER.min)

    def add(self, packets: Packets, rows: Rows | None = None) -> None:
        """Count a chunk, or those of its packets that are in `rows`."""
        chosen = None if rows is None else np.isin(np.arange(len(packets)), rows)
        for found in counted(packets, self.kind.protocol):
            mine = found if chosen is None else found.only(chosen[found.layer.rows[found.entries]])
            if len(mine.entries):
                self._take(mine)
        if self._rows > max(GATHERED_ROWS, 2 * self._count):
            self._settle()

    def _take(self, mine: Counted) -> None:
        """Gather the packets of one layer."""
        number = mine.key.view(np.int64) if self.kind.stream else self._numbers.of(mine.key.view(np.uint64))
        records, layer = mine.layer.records, mine.layer
        at = layer.rows if mine.entries is layer.every else layer.rows[mine.entries]
        self._gathered.append((2 * number + ~mine.forward, records.length[at], known_times(records.time_ns)[at]))
        self._rows += len(at)
        self._count = max(self._count, int(number.max()) + 1)
        order = self._order.of(self._count)
        first = (records.first + at) * DEPTHS + layer.depth
        # An inner header may have begun a conversation that an outer one of the same chunk goes on with.
        new = np.flatnonzero(first < order[number])
        if len(new):
            number, index = np.unique(number[new], return_index=True)
            new = new[index]
            order[number] = first[new]
            self._begun.append(_Begun(number, ends_of(layer, mine.entries[new]), mine.forward[new], first[new]))

    def _settle(self) -> None:
        """Add up what was gathered."""
        if not self._gathered:
            return
        way, length, time_ns = (np.concatenate(column) for column in zip(*self._gathered, strict=True))
        self._gathered, self._rows = [], 0
        size = 2 * self._count
        self._frames.of(size)[:size] += np.bincount(way, minlength=size)
        # The sums are floats, which are exact up to 8 petabytes at a time.
        self._bytes.of(size)[:size] += np.bincount(way, length, size).astype(np.int64)
        number = way >> 1
        np.minimum.at(self._start.of(self._count), number, time_ns)
        np.maximum.at(self._stop.of(self._count), number, time_ns)

    def _table(self) -> _Table | None:
        """What is known of each conversation, in the order of their numbers; None where there are none."""
        self._settle()
        if not self._begun:
            return None
        number = np.concatenate([one.number for one in self._begun])
        last = np.full(self._count, -1, np.int64)
        last[number] = np.arange(len(number))  # of several first packets the last that was found is the first there was
        known = np.flatnonzero(last >= 0)
        which = last[known]
        forward = np.concatenate([one.forward for one in self._begun])[which]
        ends = (
            np.concatenate([getattr(one.ends, name) for one in self._begun])[which]
            for name in ("family", "source", "destination", "ports")
        )
        ways = 2 * known + ~forward  # as the first packet went
        frames, sizes = self._frames.of(2 * self._count), self._bytes.of(2 * self._count)
        return _Table(
            Ends(*ends),
            number=known,
            order=self._order.of(self._count)[known],
            frames=np.stack([frames[ways], frames[ways ^ 1]], 1),
            bytes=np.stack([sizes[ways], sizes[ways ^ 1]], 1),
            start=self._start.of(self._count)[known],
            stop=self._stop.of(self._count)[known],
        )

    def conversations(self) -> list[dict[str, Any]]:
        """A row each, the most frames first: `a`, which sent the first, and `b`, their ports, frames and bytes of each
        direction, the time of the first in nanoseconds since 1970, and how long it lasted, in nanoseconds."""
        table = self._table()
        if table is None:
            return []
        order = np.lexsort((table.order, -table.frames.sum(1)))
        sides = (table.ends.source, table.ends.destination)
        columns: dict[str, Sequence[Any]] = {}
        for side, end in enumerate("ab"):
            columns[end] = address_texts(table.ends.family[order], sides[side][order])
            columns[f"{end}_port"] = table.ends.ports[order, side].tolist()
        columns["stream"] = table.number[order].tolist()
        for side, way in enumerate(("a_to_b", "b_to_a")):
            columns[f"frames_{way}"] = table.frames[order, side].tolist()
            columns[f"bytes_{way}"] = table.bytes[order, side].tolist()
        columns["frames"] = table.frames.sum(1)[order].tolist()
        columns["bytes"] = table.bytes.sum(1)[order].tolist()
        columns["start_ns"] = table.start[order].tolist()
        columns["duration_ns"] = (table.stop - table.start)[order].tolist()
        return _rows(columns)

    def endpoints(self) -> list[dict[str, Any]]:
        """A row for each end of a conversation, the most frames first, with what it sent and received."""
        table = self._table()
        if table is None:
            return []
        family = np.tile(table.ends.family, 2)
        address = np.concatenate([table.ends.source, table.ends.destination])
        port = table.ends.ports.T.ravel()
        by_end = np.lexsort((port, address[:, 1], address[:, 0], family))
        ends = np.column_stack([address[by_end], family[by_end], port[by_end]])
        begin = np.flatnonzero(np.append(True, (ends[1:] != ends[:-1]).any(1)))

        def sums(column: Rows) -> Rows:
            return np.add.reduceat(column[by_end], begin)

        frames, sizes = sums(np.tile(table.frames.sum(1), 2)), sums(np.tile(table.bytes.sum(1), 2))
        sent, sent_bytes = sums(table.frames.T.ravel()), sums(table.bytes.T.ravel())
        first = np.concatenate([2 * table.order, 2 * table.order + 1])
        order = np.lexsort((np.minimum.reduceat(first[by_end], begin), -frames))
        at = by_end[begin][order]
        return _rows(
            {
                "address": address_texts(family[at], address[at]),
                "port": port[at].tolist(),
                "frames": frames[order].tolist(),
                "bytes": sizes[order].tolist(),
                "frames_sent": sent[order].tolist(),
                "bytes_sent": sent_bytes[order].tolist(),
                "frames_received": (frames - sent)[order].tolist(),
                "bytes_received": (sizes - sent_bytes)[order].tolist(),
            }
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """What is known of conversations, a row each."""

    ends: Ends
    number: Rows
    order: Rows
    """See `_Begun.first`."""
    frames: Rows
    """As the first packet went, and back: int64[n, 2]"""
    bytes: Rows
    start: Rows
    stop: Rows


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
