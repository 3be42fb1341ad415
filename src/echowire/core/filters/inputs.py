"""What a test of a display filter looks at: the values of some fields in a chunk, as the columns of one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl

from echowire.core.captures.records import Rows
from echowire.core.filters.occurrences import Form, Occurrences, occurrences
from echowire.core.filters.tree import FieldValues
from echowire.core.packets.dissect import Packets

Source: TypeAlias = Callable[[Packets], Occurrences]


class Table(NamedTuple):
    """A row each combination of a packet's values: the packet's row in the chunk, and the values as columns."""

    rows: Rows
    frame: pl.DataFrame


@dataclass(slots=True)
class Inputs:
    """The columns of a test's table, called `0`, `1`, …"""

    sources: list[Source] = field(default_factory=list)

    def add(self, wanted: FieldValues, form: Form) -> pl.Expr:
        """A column of a field's values."""
        return self.add_source(lambda packets: occurrences(packets, wanted, form))

    def add_source(self, source: Source) -> pl.Expr:
        """A column of what `source` gives."""
        self.sources.append(source)
        return pl.col(str(len(self.sources) - 1))

    def rows(self, packets: Packets) -> Rows:
        """The packets that have the one field that there is."""
        return self.sources[0](packets).rows

    def table(self, packets: Packets) -> Table:
        """The table of a chunk."""
        columns = [source(packets) for source in self.sources]
        first = columns[0].rows
        if all(one.rows is first or np.array_equal(one.rows, first) for one in columns[1:]) and (
            len(columns) == 1 or _ascend(first)
        ):
            return Table(first, pl.DataFrame({str(number): one.values for number, one in enumerate(columns)}))
        joined: pl.DataFrame | None = None
        for number, one in enumerate(columns):
            frame = pl.DataFrame({"row": one.rows, str(number): one.values})
            joined = frame if joined is None else joined.join(frame, on="row", how="inner")
        assert joined is not None
        return Table(joined["row"].to_numpy(), joined.drop("row"))


def _ascend(rows: Rows) -> bool:
    """Whether each packet comes once."""
    return bool((rows[1:] > rows[:-1]).all())
