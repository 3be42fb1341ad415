"""The packet list as it scrolls by on a terminal: the newest packets, with the processes at their ends, in colours.

The lines are those of `read`, with a column before the last that says whose the packets are; it is there from the first
packet on of which that is known, and as wide as the widest so far, up to a fifth of the line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo

from echowire.core.packets.chosen import Chosen
from echowire.core.packets.packet_list import TimeForm
from echowire.core.packets.processes import OwnerPair, owners_of
from echowire.core.text import printable
from echowire.core.views.colour_rules import painted, rules_of
from echowire.core.views.list_lines import ListLines

OF_A_LINE = 5
"""The processes have one part in so many of it at most."""


class LiveRows:
    """Chunks of packets in, lines for a terminal out. All layers must have been dissected."""

    def __init__(self, form: TimeForm = "r", zone: tzinfo = UTC) -> None:
        self._lines = ListLines(form, zone)
        self._processes = 0
        """Width of that column; 0 is that there is none."""

    def lines(self, chosen: Chosen, width: int, most: int, fit: Callable[[str, int], str]) -> list[str]:
        """The last `most` of the packets in lines of `width` cells, to which `fit` cuts a text."""
        rows = chosen.numbers
        shown = Chosen(chosen.packets, rows[max(0, len(rows) - most) :])
        lines = self._lines.lines(shown, self._column(shown, width // OF_A_LINE, fit))
        rules = rules_of(shown.packets, shown.numbers)
        return [painted(fit(line, width), rule) for line, rule in zip(lines, rules, strict=True)]

    def _column(self, shown: Chosen, room: int, fit: Callable[[str, int], str]) -> Sequence[str] | None:
        every = owners_of(shown.packets.layers[0])
        said = [_said(every.get(row), room) for row in shown.numbers.tolist()]
        self._processes = min(room, max([self._processes, *map(len, said)]))
        if not self._processes:
            return None
        return [f"{fit(one, self._processes):<{self._processes}}" for one in said]


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
