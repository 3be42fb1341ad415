"""Gathers of numbers and bytes from anywhere in a chunk, held against Python's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.captures.records import PAD
from echowire.core.packets.columns import (
    DTYPES,
    SIZES,
    Type,
    column_of,
    empty_column,
    gather_bytes,
    gather_uint,
    objects,
    shift_of,
    signed,
)

DATA = bytes(range(1, 101))


def padded(data: bytes) -> np.ndarray:
    return np.frombuffer(data + bytes(PAD), np.uint8)


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("little", [False, True])
def test_a_number_of_every_size_is_gathered_from_every_offset(size: int, little: bool) -> None:
    at = np.arange(len(DATA) - size)
    found = gather_uint(padded(DATA), at, size, little=little)
    whole = [DATA[a : a + size][:: -1 if little else 1] for a in at.tolist()]
    assert found.tolist() == [int.from_bytes(one, "big") for one in whole]


def test_a_number_that_runs_past_the_data_has_zeros_there() -> None:
    assert gather_uint(padded(b"\xab"), np.array([0]), 4).tolist() == [0xAB000000]


def test_no_offsets_give_no_numbers() -> None:
    assert gather_uint(padded(DATA), np.zeros(0, np.int64), 4).tolist() == []


def test_bytes_are_gathered_a_row_each() -> None:
    found = gather_bytes(padded(DATA), np.array([3, 0]), 5)
    assert [row.tobytes() for row in found] == [DATA[3:8], DATA[:5]]


@given(st.integers(1, 64), st.data())
def test_twos_complement_of_any_width(bits: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1))
    raw = np.array([number % (1 << bits)], np.uint64)
    assert signed(raw, bits).tolist() == [number]


def test_a_mask_is_shifted_to_its_lowest_bit() -> None:
    assert [shift_of(mask) for mask in (1, 0xF0, 0x8000, 0x0FFF)] == [0, 4, 15, 0]


def test_objects_are_not_looked_into() -> None:
    assert objects([[1, 2], [3, 4]]).shape == (2,)


@pytest.mark.parametrize("kind", Type)
def test_every_type_has_a_column(kind: Type) -> None:
    empty = empty_column(kind)
    assert len(empty) == 0
    assert empty.dtype == np.dtype(DTYPES[kind])
    if SIZES.get(kind) and kind.value.startswith("Unsigned"):
        assert empty.dtype.itemsize >= SIZES[kind]


def test_a_column_of_python_values() -> None:
    assert column_of(Type.UINT16, [1, 65535]).tolist() == [1, 65535]
    assert column_of(Type.IPV6, [bytes(15) + b"\1"]).shape == (1, 16)
    assert column_of(Type.STRING, ["a"]).tolist() == ["a"]


def test_a_number_that_is_too_large_for_its_type_keeps_its_lower_bits() -> None:
    assert column_of(Type.UINT32, [1, (1 << 62) + 5]).tolist() == [1, 5]
    assert column_of(Type.INT16, [70000, -2]).tolist() == [70000 - 65536, -2]
