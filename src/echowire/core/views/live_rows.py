"""The packet list as it scrolls by on a terminal: the newest packets, with the processes at their ends, in colours.

The lines are those of `read`, with a column before the last that says whose the packets are; it is there from the first
packet on of which that is known, and as wide as the widest so far, up to a fifth of the line. Where a line is too short
for all of it, whole columns go, the least telling first, until Info has room: what a packet says is what one looks for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo

from echowire.core.packets.chosen import Chosen
from echowire.core.packets.packet_list import ADDRESS_WIDTH, Clock, TimeForm, packet_list
from echowire.core.packets.processes import OwnerPair, owners_of
from echowire.core.text import printable
from echowire.core.views.colour_rules import painted, rules_of

OF_A_LINE = 5
"""The processes have one part in so many of it at most."""

INFO_LEAST = 24
"""Cells that Info has before any other column has its own: `48220 → 443 [SYN] Seq=0`."""

SHORT_ADDRESS = 15
"""Cells of an address that had to be shortened: any of IPv4 is whole."""

NANOSECONDS, MICROSECONDS = 9, 6
"""Decimals of a time, and of one that had to be shortened."""


class LiveRows:
    """Chunks of packets in, lines for a terminal out. All layers must have been dissected."""

    def __init__(self, form: TimeForm = "r", zone: tzinfo = UTC) -> None:
        self._clock = Clock(form, zone)
        self._processes = 0
        """Width of that column; 0 is that there is none."""
        self._widest: dict[str, int] = {}
        """Of each other column so far: so that what was left out stays out."""

    def lines(self, chosen: Chosen, width: int, most: int, fit: Callable[[str, int], str]) -> list[str]:
        """The last `most` of the packets in lines of `width` cells, to which `fit` cuts a text."""
        rows = chosen.numbers
        shown = Chosen(chosen.packets, rows[max(0, len(rows) - most) :])
        if not len(shown.numbers):
            return []
        lines = self._texts(shown, width, fit)
        rules = rules_of(shown.packets, shown.numbers)
        return [painted(fit(line, width), rule) for line, rule in zip(lines, rules, strict=True)]

    def _texts(self, shown: Chosen, width: int, fit: Callable[[str, int], str]) -> list[str]:
        """The lines, of the columns that there is room for."""
        rows, every = shown.numbers, packet_list(shown.packets.layers)
        cells = {
            "number": [f"{number:>5}" for number in every.number[rows].tolist()],
            "time": self._clock.texts(shown.packets.records, rows),
            "source": [f"{source:>{ADDRESS_WIDTH}}" for source in every.source[rows].tolist()],
            "destination": [f"{to:<{ADDRESS_WIDTH}}" for to in every.destination[rows].tolist()],
            "protocol": every.protocol[rows].tolist(),
            "length": [str(length) for length in every.length[rows].tolist()],
            "processes": self._column(shown, width // OF_A_LINE, fit),
        }
        for name, texts in cells.items():
            self._widest[name] = max(self._widest.get(name, 0), *map(len, texts))
        self._make_room(cells, width)
        before = [name for name in ("number", "time", "source") if name in cells]
        after = [name for name in ("destination", "protocol", "length", "processes") if name in cells]
        infos = every.info[rows].tolist()
        return [
            f"{' '.join(cells[name][row] for name in before)} → {' '.join(cells[name][row] for name in after)} {info}"
            for row, info in enumerate(infos)
        ]

    def _make_room(self, cells: dict[str, list[str]], width: int) -> None:
        """Shorten columns, or leave them out, until Info has its room."""
        widest = self._widest
        sizes = {name: widest[name] for name in cells if name != "processes" or self._processes}
        if not self._processes:
            del cells["processes"]

        def is_narrow() -> bool:
            return width - sum(sizes.values()) - len(sizes) - 2 < INFO_LEAST

        if is_narrow():
            cells["time"] = [_microseconds(text) for text in cells["time"]]
            sizes["time"] -= NANOSECONDS - MICROSECONDS
        for name in ("length", "processes"):
            if name in sizes and is_narrow():
                del cells[name], sizes[name]
        if is_narrow():
            for name in ("source", "destination"):
                cells[name] = [_shortened(text) for text in cells[name]]
                sizes[name] = min(sizes[name], SHORT_ADDRESS)
        for name in ("number", "time"):
            if is_narrow():
                del cells[name], sizes[name]

    def _column(self, shown: Chosen, room: int, fit: Callable[[str, int], str]) -> list[str]:
        every = owners_of(shown.packets.layers[0])
        said = [_said(every.get(row), room) for row in shown.numbers.tolist()]
        self._processes = min(room, max([self._processes, *map(len, said)]))
        return [f"{fit(one, self._processes):<{self._processes}}" for one in said]


def _microseconds(text: str) -> str:
    whole, point, decimals = text.rpartition(".")
    return whole + point + decimals[:MICROSECONDS]


def _shortened(address: str) -> str:
    """Its beginning and its end, which tell more than its middle."""
    bare = address.strip()
    if len(bare) <= SHORT_ADDRESS:
        return address
    head = (SHORT_ADDRESS - 1) // 2
    return f"{bare[:head]}…{bare[head + 1 - SHORT_ADDRESS :]}"


def _said(ends: OwnerPair | None, room: int) -> str:
    """`curl[812]→nginx[99]`, or one end, or a process that talks to itself; names alone, where that is too long."""
    if ends is None:
        return ""
    sender, receiver = ends
    both = [one for one in (sender, receiver) if one is not None]
    if sender and receiver and sender.pid == receiver.pid:
        both = [sender]
    whole, names = "→".join(f"{one.name}[{one.pid}]" for one in both), "→".join(one.name for one in both)
    text = whole if len(whole) <= room else names
    return printable(text)
