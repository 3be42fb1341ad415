"""Packets as a Polars frame: a row a packet, a column a field, with Wireshark's names.

Integers are integers, addresses their text, times `Datetime` and `Duration` in nanoseconds (UTC), bytes `Binary`; a
protocol's own name tells whether the packet has it. A packet without a field has null there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Literal, TypeAlias

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from echowire.core.filters.occurrences import dtype_of, text_series
from echowire.core.packets.cells import strings
from echowire.core.packets.chosen import Chosen
from echowire.core.packets.columns import DTYPES, OBJECTS, Column, Type
from echowire.core.packets.dissect import first_of_each
from echowire.core.packets.layers import Field, Values
from echowire.core.packets.registry import registry
from echowire.core.views.field_lines import Occurrence, last_of_each

ADDRESSES = frozenset({Type.IPV4, Type.IPV6, Type.ETHER, Type.EUI64})

Frame: TypeAlias = pl.DataFrame
"""Polars' own, for who speaks of frames and does not import Polars."""

ExportKind: TypeAlias = Literal["parquet", "csv", "arrow"]


def schema(names: Sequence[str], occurrences: Occurrence = "first") -> dict[str, Any]:
    """The types of the columns."""
    found = {name: _dtype(registry().described(name)[0][1]) for name in names}
    return {name: pl.List(dtype) for name, dtype in found.items()} if occurrences == "all" else found


def frame(chosen: Chosen, names: Sequence[str], occurrences: Occurrence = "first") -> pl.DataFrame:
    """The chosen packets of a chunk."""
    columns = {}
    for name in dict.fromkeys(names):
        field, values = registry().described(name)[0][1], chosen.values(name)
        if occurrences == "all":
            columns[name] = _lists(field, values, len(chosen))
        else:
            one = first_of_each(values) if occurrences == "first" else last_of_each(values)
            columns[name] = _spread(_series(field, one.values), one.rows, len(chosen))
    return pl.DataFrame(columns, schema=schema(list(columns), occurrences))


def frames(chunks: Iterable[Chosen], names: Sequence[str], occurrences: Occurrence = "first") -> Iterator[pl.DataFrame]:
    """All chunks, one by one."""
    return (frame(chosen, names, occurrences) for chosen in chunks)


def joined(chunks: Iterable[Chosen], names: Sequence[str], occurrences: Occurrence = "first") -> pl.DataFrame:
    """All chunks in one frame."""
    empty = pl.DataFrame(schema=schema(list(dict.fromkeys(names)), occurrences))
    return pl.concat([empty, *frames(chunks, names, occurrences)])


def export(
    chunks: Iterable[Chosen], names: Sequence[str], occurrences: Occurrence, kind: ExportKind, to: IO[bytes]
) -> None:
    """Write all chunks to a stream as they come, in memory no more than some. Raises what the stream does, or Polars'
    own error in its place."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch: int | None
    ) -> Iterator[pl.DataFrame]:
        for chosen in chunks:
            found = _flat(frame(chosen, names, occurrences)) if kind == "csv" else frame(chosen, names, occurrences)
            yield found.select(columns) if columns else found

    plain = schema(list(dict.fromkeys(names)), occurrences)
    table = register_io_source(source, schema=_flat_schema(plain) if kind == "csv" else plain)
    if kind == "csv":
        table.sink_csv(to)
    elif kind == "arrow":
        table.sink_ipc(to)
    else:
        table.sink_parquet(to)


def _flat(packets: pl.DataFrame) -> pl.DataFrame:
    """What CSV has no form for as text: bytes in hexadecimal, several values with commas between them."""

    def text(name: str, dtype: Any) -> pl.Expr:
        if isinstance(dtype, pl.List):
            inner = pl.element().bin.encode("hex") if dtype.inner == pl.Binary else pl.element().cast(pl.String)
            return pl.col(name).list.eval(inner).list.join(",")
        return pl.col(name).bin.encode("hex") if dtype == pl.Binary else pl.col(name).dt.total_nanoseconds()

    special = {name: text(name, dtype) for name, dtype in packets.schema.items() if _is_special(dtype)}
    return packets.with_columns(**special)


def _flat_schema(plain: dict[str, Any]) -> dict[str, Any]:
    return {
        name: dtype if not _is_special(dtype) else pl.Int64 if dtype == pl.Duration else pl.String
        for name, dtype in plain.items()
    }


def _is_special(dtype: Any) -> bool:
    return isinstance(dtype, pl.List | pl.Duration) or dtype == pl.Binary


def _dtype(field: Field) -> Any:
    kind = field.type
    if kind in ADDRESSES:
        return pl.String
    if kind in (Type.PROTOCOL, Type.NONE, Type.BOOLEAN):
        return pl.Boolean
    if kind is Type.ABSOLUTE_TIME:
        return pl.Datetime("ns", "UTC")
    return pl.Duration("ns") if kind is Type.RELATIVE_TIME else dtype_of(field, "native")


def _series(field: Field, values: Column) -> pl.Series:
    kind, dtype = field.type, _dtype(field)
    if kind in ADDRESSES:
        return _addresses(field, values)
    if kind is Type.BYTES:
        return pl.Series(values.tolist(), dtype=pl.Binary)
    if kind in OBJECTS:
        return text_series(values.tolist())
    if kind in (Type.PROTOCOL, Type.NONE, Type.BOOLEAN):
        return pl.Series(values.astype(np.bool_))
    if dtype in (pl.Datetime, pl.Duration):
        return pl.Series(values.astype(np.int64)).cast(dtype)
    return pl.Series(values.astype(DTYPES[kind], copy=False))


def _addresses(field: Field, values: Column) -> pl.Series:
    """Addresses as text, each different one once made."""
    keys = np.ascontiguousarray(values).view("V16").ravel() if field.type is Type.IPV6 else values
    different, first, which = np.unique(keys, return_index=True, return_inverse=True)
    texts = pl.Series(strings(field, values[first]).tolist(), dtype=pl.String)
    return texts.gather(which) if len(different) else texts


def _spread(values: pl.Series, rows: Any, count: int) -> pl.Series:
    """A value a row; null in those that have none."""
    if len(rows) == count:
        return values
    place = np.full(count, -1, np.int64)
    place[rows] = np.arange(len(rows))
    index = pl.Series(place)
    return values.gather(index.set(index < 0, None))


def _lists(field: Field, values: Values, count: int) -> pl.Series:
    """A list a row, of all values; null in rows that have none."""
    each = pl.DataFrame({"row": values.rows, "value": _series(field, values.values)})
    grouped = each.group_by("row", maintain_order=True).agg(pl.col("value"))
    return _spread(grouped["value"], grouped["row"].to_numpy(), count)
