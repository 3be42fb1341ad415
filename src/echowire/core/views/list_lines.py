"""The packet list as lines of text, chunk after chunk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo

from echowire.core.packets.chosen import Chosen
from echowire.core.packets.packet_list import Clock, Lines, TimeForm, packet_list


class ListLines:
    """Chunks of packets in, lines out, as tshark prints them without options. All layers must have been dissected."""

    def __init__(self, form: TimeForm = "r", zone: tzinfo = UTC) -> None:
        self._clock = Clock(form, zone)

    def lines(self, chosen: Chosen, before_info: Sequence[str] | None = None) -> list[str]:
        """A line each of the chosen packets; with one more column before the last, if it is given."""
        rows = chosen.numbers
        times = self._clock.texts(chosen.packets.records, rows)
        return self.columns(chosen).texts(times, rows, before_info) if len(rows) else []

    @staticmethod
    def columns(chosen: Chosen) -> Lines:
        """The columns of all packets of the chunk."""
        return packet_list(chosen.packets.layers)
