"""What a report of a whole capture is (`-z` of tshark): fed chunk by chunk, then asked for its text or its data.

Several are fed in one pass over the file. A report says which fields it needs; one that was given a display filter sees
only the packets that pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from echowire.core.captures.records import Rows
from echowire.core.captures.ticks import NO_TIME
from echowire.core.packets.dissect import Packets

if TYPE_CHECKING:
    from echowire.core.filters.packet_filter import PacketFilter

SECOND_NS = 1_000_000_000


class Fed(Protocol):
    """What is given all packets of a reading."""

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs for it."""

    def add(self, packets: Packets) -> None:
        """Take a chunk, in the order of the file."""


class Report(Fed, Protocol):
    """One report."""

    def text(self, width: int) -> Iterator[str]:
        """Its lines for people, on a terminal of so many columns."""

    def document(self) -> dict[str, Any]:
        """The same as data, for JSON."""


class Sieve:
    """The packets of a chunk that a report's own display filter lets pass."""

    def __init__(self, text: str) -> None:
        self.text = text
        """The filter; "" for none."""
        self._filter = _compiled(text) if text else None

    @property
    def fields(self) -> Sequence[str]:
        """The fields that the filter needs."""
        return sorted(self._filter.fields) if self._filter else ()

    def rows(self, packets: Packets) -> Rows | None:
        """The rows that pass; None for all."""
        return None if self._filter is None else np.flatnonzero(self._filter.mask(packets))


def _compiled(text: str) -> PacketFilter:
    from echowire.core.filters.packet_filter import PacketFilter  # Polars, which only they need who filter

    return PacketFilter.of([text])


def known_times(time_ns: Rows) -> Rows:
    """Times to be compared: where none is known 1970, as tshark has it."""
    unknown = time_ns == NO_TIME
    return np.where(unknown, 0, time_ns) if unknown.any() else time_ns


class Span:
    """When the first packet of a capture came, and the latest so far."""

    def __init__(self) -> None:
        self.first_ns: int | None = None
        self.last_ns = 0

    def add(self, packets: Packets) -> None:
        """Take a chunk."""
        if not len(packets):
            return
        time_ns = known_times(packets.records.time_ns)
        if self.first_ns is None:
            self.first_ns = self.last_ns = int(time_ns[0])
        self.last_ns = max(self.last_ns, int(time_ns.max()))

    def since(self, time_ns: int) -> float:
        """Seconds from the first packet to a time, to the digit as tshark adds them up."""
        passed = abs(time_ns - (self.first_ns or 0))
        seconds = passed // SECOND_NS + (passed % SECOND_NS) / SECOND_NS
        return seconds if time_ns >= (self.first_ns or 0) else -seconds

    @property
    def duration_ns(self) -> int:
        """From the first packet to the last."""
        return 0 if self.first_ns is None else self.last_ns - self.first_ns
