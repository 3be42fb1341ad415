"""Chosen fields of packets as lines, as `tshark -T fields` prints them, with what its option -E says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from echowire.core.packets.cells import lines, strings
from echowire.core.packets.chosen import Chosen
from echowire.core.packets.columns import objects
from echowire.core.packets.dissect import first_of_each
from echowire.core.packets.layers import Field, Values
from echowire.core.packets.registry import registry

Occurrence: TypeAlias = Literal["first", "last", "all"]

BOM = "\ufeff".encode()


@dataclass(frozen=True, slots=True)
class LineFormat:
    """How lines of fields are written."""

    separator: str = "\t"
    occurrence: Occurrence = "first"
    """Which of several values of a field in one packet."""
    aggregator: str = ","
    """What stands between several values of one field."""
    quote: str = ""
    """Stands before and behind each cell that is not empty."""
    header: bool = False
    """A first line with the names of the fields, without quotes."""
    bom: bool = False
    """A byte-order mark before all, as some spreadsheets want of UTF-8."""
    escape: bool = True
    """Control characters within text as C writes them, so that a line is a packet."""


class FieldLines:
    """Chunks of packets in, lines out, one a packet."""

    def __init__(self, names: Sequence[str], form: LineFormat) -> None:
        self._names, self._form = names, form
        self._fields = [registry().described(name)[0][1] for name in names]

    def begin(self) -> bytes:
        """What stands before the first packet."""
        form = self._form
        text = form.separator.join(self._names)
        return (BOM if form.bom else b"") + (f"{text}\n".encode() if form.header else b"")

    def lines(self, chosen: Chosen) -> bytes:
        """The lines of a chunk."""
        form = self._form
        columns = [self._column(field, chosen.values(field.name)) for field in self._fields]
        return lines(
            columns,
            len(chosen),
            separator=form.separator.encode(),
            quote=form.quote.encode(),
            escape=form.escape,
        )

    def _column(self, field: Field, values: Values) -> tuple[Field | None, Values]:
        """One value a row at most."""
        if self._form.occurrence == "first":
            return field, first_of_each(values)
        if self._form.occurrence == "last":
            return field, last_of_each(values)
        if first_of_each(values) is values:
            return field, values
        return None, joined(field, values, self._form.aggregator, escape=self._form.escape)


def last_of_each(values: Values) -> Values:
    """The last occurrence in each packet."""
    rows = values.rows
    if len(rows) < 2:
        return values
    keep = np.append(rows[1:] != rows[:-1], True)
    return Values(rows[keep], values.values[keep])


def joined(field: Field, values: Values, aggregator: str, *, escape: bool = True) -> Values:
    """All occurrences in each packet, as one text."""
    texts = strings(field, values.values, escape=escape).tolist()
    begin = np.flatnonzero(np.diff(values.rows, prepend=-1))
    ends = [*begin[1:].tolist(), len(texts)]
    each = [aggregator.join(texts[at:end]) for at, end in zip(begin.tolist(), ends, strict=True)]
    return Values(values.rows[begin], objects(each))


def field_texts(chosen: Chosen, name: str) -> tuple[list[int], list[str]]:
    """All values of a field as texts, and the row of each."""
    values = chosen.values(name)
    return values.rows.tolist(), strings(registry().described(name)[0][1], values.values, escape=False).tolist()
