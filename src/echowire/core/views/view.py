"""Packets as people look at them: a list, details, bytes; the lines that `echowire read` prints of each chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from echowire.core.captures.records import Rows
from echowire.core.packets.chosen import Chosen
from echowire.core.packets.packet_list import COLUMN_FIELDS, TimeForm
from echowire.core.packets.registry import registry
from echowire.core.views.details import details_of
from echowire.core.views.list_lines import ListLines
from echowire.core.views.tree import hex_dump


@dataclass(frozen=True, slots=True)
class ViewForm:
    """What is shown of each packet: its line of the list, the tree of its details, its bytes; any of them."""

    list: bool = True
    tree: bool = False
    hex: bool = False
    ranges: bool = False
    """Behind each line of the tree the bytes that it was read from."""
    times: TimeForm = "r"
    zone: tzinfo = UTC
    """Of times of day."""
    is_coloured: bool = False
    """Lines of the list in the colours of `colour_rules`, as ANSI codes."""

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs for it."""
        if self.tree:
            return tuple(registry().fields)
        if self.is_coloured:
            from echowire.core.views.colour_rules import colour_fields  # Polars, which only a terminal needs

            return (COLUMN_FIELDS[0].name, *sorted(colour_fields()))
        return (COLUMN_FIELDS[0].name,)


@dataclass(slots=True)
class PacketView:
    """Turns the chunks of one reading into lines, in their order."""

    form: ViewForm
    _list: ListLines = field(init=False)

    def __post_init__(self) -> None:
        self._list = ListLines(self.form.times, self.form.zone)

    def lines(self, chosen: Chosen) -> Iterator[str]:
        """The lines of the chosen packets, without line ends."""
        packets, rows = chosen.packets, chosen.numbers
        listed = self._listed(chosen, rows) if self.form.list else [""] * len(rows)
        if not (self.form.tree or self.form.hex):
            yield from listed
            return
        details = details_of(packets.layers, rows.tolist()) if self.form.tree else iter(())
        for line, row in zip(listed, rows.tolist(), strict=True):
            if self.form.list:
                yield line
            if self.form.tree:
                yield from next(details).tree_lines(ranges=self.form.ranges)
                yield ""
            if self.form.hex:
                yield from hex_dump(packets.records.packet(row))
                yield ""

    def _listed(self, chosen: Chosen, rows: Rows) -> list[str]:
        listed = self._list.lines(chosen)
        if not self.form.is_coloured:
            return listed
        from echowire.core.views.colour_rules import painted, rules_of  # Polars, which only a terminal needs

        return [painted(text, rule) for text, rule in zip(listed, rules_of(chosen.packets, rows), strict=True)]
