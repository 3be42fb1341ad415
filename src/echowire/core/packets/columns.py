"""The types that a field can have, after Wireshark's field reference, and the numpy columns that hold their values."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Bytes, Rows

Column: TypeAlias = NDArray[Any]
"""Values of one field, one each occurrence; which array holds which type is told at `Type`."""


class Type(Enum):
    """What a value is, with the words of Wireshark's field reference, and the numpy column that holds it."""

    PROTOCOL = "Protocol"  # uint8, of no meaning: that it is there is all
    NONE = "Label"  # the same
    BOOLEAN = "Boolean"  # bool
    UINT8 = "Unsigned integer (8 bits)"  # unsigned integers, wide enough
    UINT16 = "Unsigned integer (16 bits)"
    UINT24 = "Unsigned integer (24 bits)"
    UINT32 = "Unsigned integer (32 bits)"
    UINT40 = "Unsigned integer (40 bits)"
    UINT48 = "Unsigned integer (48 bits)"
    UINT64 = "Unsigned integer (64 bits)"
    INT8 = "Signed integer (8 bits)"  # signed integers, wide enough
    INT16 = "Signed integer (16 bits)"
    INT32 = "Signed integer (32 bits)"
    INT64 = "Signed integer (64 bits)"
    FRAME_NUMBER = "Frame number"  # uint32
    FLOAT = "Floating point (single-precision)"  # float64
    DOUBLE = "Floating point (double-precision)"  # float64
    ETHER = "Ethernet or other MAC address"  # uint64, the first byte on top of 48 bits
    EUI64 = "EUI64 address"  # uint64
    IPV4 = "IPv4 address"  # uint32, the first byte on top
    IPV6 = "IPv6 address"  # uint8[n, 16]
    ABSOLUTE_TIME = "Date and time"  # int64, nanoseconds since 1970, UTC
    RELATIVE_TIME = "Time offset"  # int64, nanoseconds
    STRING = "Character string"  # object: str
    BYTES = "Byte sequence"  # object: bytes
    GUID = "Globally Unique Identifier"  # object: str
    OID = "ASN.1 object identifier"  # object: str


UINTS = frozenset(
    {Type.UINT8, Type.UINT16, Type.UINT24, Type.UINT32, Type.UINT40, Type.UINT48, Type.UINT64, Type.FRAME_NUMBER}
)
INTS = frozenset({Type.INT8, Type.INT16, Type.INT32, Type.INT64})
NUMBERS = UINTS | INTS | {Type.BOOLEAN, Type.ETHER, Type.EUI64, Type.IPV4, Type.ABSOLUTE_TIME, Type.RELATIVE_TIME}
"""Types whose columns are made of the number that stands in the packet."""

OBJECTS = frozenset({Type.STRING, Type.BYTES, Type.GUID, Type.OID})
"""Types whose columns are arrays of Python objects."""

SIZES: Mapping[Type, int] = {
    Type.BOOLEAN: 1,
    Type.UINT8: 1,
    Type.UINT16: 2,
    Type.UINT24: 3,
    Type.UINT32: 4,
    Type.UINT40: 5,
    Type.UINT48: 6,
    Type.UINT64: 8,
    Type.INT8: 1,
    Type.INT16: 2,
    Type.INT32: 4,
    Type.INT64: 8,
    Type.FRAME_NUMBER: 4,
    Type.FLOAT: 4,
    Type.DOUBLE: 8,
    Type.ETHER: 6,
    Type.EUI64: 8,
    Type.IPV4: 4,
    Type.IPV6: 16,
}
"""Bytes of the types that have a size of their own."""

DTYPES: Mapping[Type, Any] = {
    Type.PROTOCOL: np.uint8,
    Type.NONE: np.uint8,
    Type.BOOLEAN: np.bool_,
    Type.UINT8: np.uint8,
    Type.UINT16: np.uint16,
    Type.UINT24: np.uint32,
    Type.UINT32: np.uint32,
    Type.UINT40: np.uint64,
    Type.UINT48: np.uint64,
    Type.UINT64: np.uint64,
    Type.INT8: np.int8,
    Type.INT16: np.int16,
    Type.INT32: np.int32,
    Type.INT64: np.int64,
    Type.FRAME_NUMBER: np.uint32,
    Type.FLOAT: np.float64,
    Type.DOUBLE: np.float64,
    Type.ETHER: np.uint64,
    Type.EUI64: np.uint64,
    Type.IPV4: np.uint32,
    Type.IPV6: np.uint8,
    Type.ABSOLUTE_TIME: np.int64,
    Type.RELATIVE_TIME: np.int64,
    Type.STRING: np.object_,
    Type.BYTES: np.object_,
    Type.GUID: np.object_,
    Type.OID: np.object_,
}
"""What a column of each type is made of; `IPV6` has 16 of them a value."""


def gather_uint(data: Bytes, at: Rows, size: int, *, little: bool = False) -> NDArray[np.unsignedinteger[Any]]:
    """The unsigned integer of `size` bytes (1 to 8) at each offset of `at`, which need not be aligned.

    The offsets lie within `data` without its padding; where a number runs beyond it, it has zeros or what follows.
    """
    if size == 1:
        return data[at]
    wide = 2 if size == 2 else 4 if size <= 4 else 8
    # A window of `wide` bytes slides over the data by one byte, so that a single gather takes all.
    window = np.ndarray((len(data) - wide + 1,), f"{'<' if little else '>'}u{wide}", data, strides=(1,))
    found: NDArray[Any] = window[at].astype(f"=u{wide}")
    if size < wide:
        spare = 8 * (wide - size)
        found = found & ((1 << 8 * size) - 1) if little else found >> spare
    return found


def gather_bytes(data: Bytes, at: Rows, size: int) -> NDArray[np.uint8]:
    """`size` bytes from each offset of `at`: uint8[len(at), size]."""
    window: NDArray[np.void] = np.ndarray((len(data) - size + 1,), f"V{size}", data, strides=(1,))
    return window[at].view(np.uint8).reshape(-1, size)


def objects(values: list[Any]) -> NDArray[np.object_]:
    """A column of Python objects, which numpy must not look into."""
    out = np.empty(len(values), np.object_)
    out[:] = values
    return out


def column_of(kind: Type, values: list[Any]) -> Column:
    """The column of a type from Python values: what a walk found."""
    if kind in OBJECTS:
        return objects(values)
    if kind is Type.IPV6:
        return np.frombuffer(b"".join(values), np.uint8).reshape(-1, 16)
    try:
        return np.array(values, DTYPES[kind])
    except OverflowError:  # a number of variable length that its sender made longer than can be
        wide = 8 * np.dtype(DTYPES[kind]).itemsize
        return np.array([value & ((1 << wide) - 1) for value in values], f"u{wide // 8}").astype(DTYPES[kind])


def column_of_bytes(kind: Type, data: Bytes, at: Rows, size: int, *, little: bool = False) -> Column:
    """The column of a type that is none of `NUMBERS`, and of a size that is known, from the bytes at each offset."""
    if kind in (Type.PROTOCOL, Type.NONE):
        return np.ones(len(at), np.uint8)
    raw = gather_bytes(data, at, size)
    if kind is Type.IPV6:
        return raw
    if kind in (Type.FLOAT, Type.DOUBLE):
        return raw.view(f"{'<' if little else '>'}f{size}").ravel().astype(np.float64)
    return objects([value.tobytes() for value in raw])


def column_of_numbers(kind: Type, raw: NDArray[Any], size: int, *, mask: int = 0, scale: int = 1) -> Column:
    """The column of one of the types `NUMBERS`, from the numbers that its `size` bytes are; `mask` and `scale` are
    those of `echowire.core.packets.layers.Field`."""
    if mask:
        raw = (raw & mask) >> shift_of(mask)
    if kind is Type.BOOLEAN:
        return raw.astype(np.bool_)
    if kind in INTS:
        raw = signed(raw, mask.bit_length() - shift_of(mask) if mask else 8 * size)
    if scale != 1:
        raw = raw.astype(np.int64) * scale
    return raw.astype(DTYPES[kind], copy=False)


def empty_column(kind: Type) -> Column:
    """A column of no values."""
    return np.zeros((0, 16) if kind is Type.IPV6 else 0, DTYPES[kind])


def shift_of(mask: int) -> int:
    """How far a field's bits are above the lowest."""
    return (mask & -mask).bit_length() - 1


def signed(values: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Two's complement of `bits` bits."""
    spare = np.int64(64 - bits)
    return (values.astype(np.int64) << spare) >> spare
