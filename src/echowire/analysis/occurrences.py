"""The values of a field in a chunk of packets as a Polars series, one each occurrence, with the packet of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from echowire.wire.cells import strings
from echowire.wire.columns import DTYPES, OBJECTS, SIZES, Column, Type
from echowire.wire.dissect import Packets
from echowire.wire.filter_tree import FieldValues, Range
from echowire.wire.layers import Field, Layer
from echowire.wire.records import Rows

Form: TypeAlias = Literal["native", "bytes", "text", "whole", "none"]
"""How values are wanted: as what they are; as the bytes that they are made of; as text; `whole` is a protocol's bytes
with all that follows in it; `none` that only the packets are wanted."""


class Occurrences(NamedTuple):
    """Values, and the row in the chunk of the packet that each is of, in no order."""

    rows: Rows
    values: pl.Series


def occurrences(packets: Packets, wanted: FieldValues, form: Form) -> Occurrences:
    """All occurrences of a field in a chunk."""
    rows, values = [], []
    numbers = _layer_numbers(packets, wanted) if wanted.layers else {}
    for layer, picked in packets.pieces(wanted.name):
        index, column = picked.index, picked.values
        if wanted.layers:
            number, count = numbers[id(layer)]
            keep = _within(number[index], count[index], wanted.layers)
            index, column = index[keep], column[keep]
        rows.append(layer.rows[index])
        if form != "none":
            values.append(_series(layer, index, wanted.field, column, form))
    if not rows:
        return Occurrences(np.zeros(0, np.int64), pl.Series([], dtype=dtype_of(wanted.field, form)))
    every = rows[0] if len(rows) == 1 else np.concatenate(rows)
    if form == "none":
        return Occurrences(every, pl.Series([], dtype=pl.Null))
    return Occurrences(every, values[0] if len(values) == 1 else pl.concat(values))


def dtype_of(field: Field, form: Form) -> Any:
    """The Polars type of a field's values in a form."""
    if form == "text" or field.type in (Type.STRING, Type.GUID, Type.OID):
        return pl.String
    if form in ("bytes", "whole") or field.type in (Type.IPV6, Type.BYTES):
        return pl.Binary
    return _DTYPES[np.dtype(np.uint8 if field.type is Type.BOOLEAN else DTYPES[field.type])]


_DTYPES = {
    np.dtype(np.uint8): pl.UInt8,
    np.dtype(np.uint16): pl.UInt16,
    np.dtype(np.uint32): pl.UInt32,
    np.dtype(np.uint64): pl.UInt64,
    np.dtype(np.int8): pl.Int8,
    np.dtype(np.int16): pl.Int16,
    np.dtype(np.int32): pl.Int32,
    np.dtype(np.int64): pl.Int64,
    np.dtype(np.float64): pl.Float64,
}


def _series(layer: Layer, index: Rows, field: Field, values: Column, form: Form) -> pl.Series:
    kind = field.type
    if form == "text":
        return pl.Series(strings(field, values).tolist(), dtype=pl.String)
    if kind in (Type.PROTOCOL, Type.NONE):
        return pl.Series(_protocol_bytes(layer, index, whole=form == "whole"), dtype=pl.Binary)
    if kind is Type.IPV6:
        return pl.Series(np.ascontiguousarray(values).view("V16").ravel().tolist(), dtype=pl.Binary)
    if kind is Type.BYTES:
        return pl.Series(values.tolist(), dtype=pl.Binary)
    if kind in OBJECTS:
        return text_series(values.tolist())
    if form == "bytes":
        return pl.Series(_as_bytes(values, SIZES[kind]), dtype=pl.Binary)
    if values.dtype != DTYPES[kind] or kind is Type.BOOLEAN:
        values = values.astype(np.uint8 if kind is Type.BOOLEAN else DTYPES[kind])
    return pl.Series(values)


def text_series(texts: Sequence[str]) -> pl.Series:
    """Texts, of which some may hold what is no Unicode."""
    try:
        return pl.Series(texts, dtype=pl.String)
    except UnicodeEncodeError:
        clean = [one.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for one in texts]
        return pl.Series(clean, dtype=pl.String)


def _as_bytes(values: NDArray[Any], size: int) -> list[bytes]:
    """Numbers as `size` bytes each, the first on top."""
    raw = values.astype(">u8").view(np.uint8).reshape(len(values), 8)[:, 8 - size :]
    found: list[bytes] = np.ascontiguousarray(raw).view(f"V{size}").ravel().tolist()
    return found


def _protocol_bytes(layer: Layer, index: Rows, *, whole: bool) -> list[bytes]:
    """The bytes of a layer: its own, without those of the next one, unless the whole is wanted."""
    start, end = layer.start[index], layer.end[index]
    size = layer.protocol.size
    if size is not None and not whole:
        own = size if isinstance(size, int) else size(layer)[index]
        end = np.minimum(start + own, end)
    data = memoryview(layer.data)  # type: ignore[arg-type]
    return [bytes(data[a:b]) for a, b in zip(start.tolist(), end.tolist(), strict=True)]


def _layer_numbers(packets: Packets, wanted: FieldValues) -> dict[int, tuple[Rows, Rows]]:
    """For each layer that has the field: of its protocol's layers in the packet, which each entry is, of how many."""
    found = {}
    for name in {layer.protocol.name for layer, _ in packets.pieces(wanted.name)}:
        layers = packets.layers_of(name)
        rows = np.concatenate([one.rows for one in layers])
        order = np.argsort(rows, kind="stable")
        sorted_rows = rows[order]
        first = np.searchsorted(sorted_rows, sorted_rows)
        number, count = np.empty_like(rows), np.bincount(rows, minlength=len(packets))[rows]
        number[order] = np.arange(len(rows)) - first + 1
        at = 0
        for one in layers:
            found[id(one)] = number[at : at + len(one)], count[at : at + len(one)]
            at += len(one)
    return found


def _within(number: Rows, count: Rows, ranges: Sequence[Range]) -> NDArray[np.bool_]:
    keep = np.zeros(len(number), np.bool_)
    for one in ranges:
        first = one.first if one.first > 0 else count + 1 + one.first
        last = count if one.last is None else one.last if one.last > 0 else count + 1 + one.last
        keep |= (number >= first) & (number <= last)
    return keep
