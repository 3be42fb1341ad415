"""The values of a field in a chunk of packets as a Polars series, one each occurrence, with the packet of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.filters.presence import pieces
from echowire.core.filters.tree import FieldValues
from echowire.core.packets.cells import strings
from echowire.core.packets.columns import DTYPES, OBJECTS, SIZES, Column, Type
from echowire.core.packets.dissect import Packets
from echowire.core.packets.layers import Field, Layer

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
    for layer, index, column in pieces(packets, wanted):
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
    return _DTYPES[_numbers(field)]


def _numbers(field: Field) -> np.dtype[Any]:
    """The type of a field's numbers. What is reckoned may be more than the field's own bits could say, as the length
    of a packet that the sender had not cut yet."""
    found = np.dtype(np.uint8 if field.type is Type.BOOLEAN else DTYPES[field.type])
    is_reckoned = field.make is not None and field.type in (Type.UINT8, Type.UINT16, Type.UINT24)
    return np.dtype(np.uint32) if is_reckoned else found


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
    return pl.Series(values.astype(_numbers(field), copy=False))


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
