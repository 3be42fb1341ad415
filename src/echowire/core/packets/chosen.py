"""Packets of a chunk that were chosen, by a filter or a limit: what is listed, printed, exported and written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.dissect import Packets
from echowire.core.packets.layers import Values


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Some rows of a dissected chunk, ascending. Its own rows count from 0: row `i` is packet `rows[i]`."""

    packets: Packets
    rows: Rows | None = None
    """None is all."""

    def __len__(self) -> int:
        return len(self.packets) if self.rows is None else len(self.rows)

    @property
    def numbers(self) -> Rows:
        """The rows of the chunk that were chosen, ascending."""
        return np.arange(len(self.packets), dtype=np.int64) if self.rows is None else self.rows

    def time_ns(self) -> Rows:
        """When each was captured; see `Records.time_ns`."""
        time_ns = self.packets.records.time_ns
        return time_ns if self.rows is None else time_ns[self.rows]

    def head(self, count: int) -> Chosen:
        """The first `count` of them."""
        if count >= len(self):
            return self
        return Chosen(self.packets, np.arange(count) if self.rows is None else self.rows[:count])

    def only(self, mask: NDArray[np.bool_]) -> Chosen:
        """Those of them for which `mask`, of all packets of the chunk, holds."""
        return Chosen(self.packets, np.flatnonzero(mask) if self.rows is None else self.rows[mask[self.rows]])

    def values(self, name: str) -> Values:
        """All occurrences of a field in the chosen packets."""
        values = self.packets.values(name)
        if self.rows is None:
            return values
        place = np.full(len(self.packets), -1, np.int64)
        place[self.rows] = np.arange(len(self.rows))
        mine = place[values.rows]
        keep = mine >= 0
        return Values(mine[keep], values.values[keep])
