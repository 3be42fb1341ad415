"""What a probe carries: known again whole, and known to be damaged at any byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.probing.echo_data import (
    BALANCED_MIN,
    DATA_MAX,
    Seen,
    fill_of,
    may_be_damaged,
    pack_balanced,
    pack_data,
    read_data,
)
from echowire.core.probing.icmp import checksum, pack_echo

numbers = st.integers(0, 2**64 - 1)


@given(numbers, numbers, st.integers(0, 2000))
def test_it_is_known_again(run: int, number: int, size: int) -> None:
    data = pack_data(run, number, size)
    assert len(data) == size
    assert read_data(run, size, data) == (Seen(number, True) if size >= 16 else None)
    assert read_data(run ^ 1, size, data) is None


def test_a_pattern_fills_it() -> None:
    fill = fill_of(b"\xff\0")
    data = pack_data(1, 2, 21, fill)
    assert data[16:] == b"\xff\0\xff\0\xff"
    assert read_data(1, 21, data, fill=fill) == Seen(2, True)
    assert read_data(1, 21, data) == Seen(2, False)


def test_the_largest() -> None:
    assert read_data(1, DATA_MAX, pack_data(1, 2, DATA_MAX)) == Seen(2, True)


@pytest.mark.parametrize("at", range(16, 56))
def test_a_byte_that_was_changed(at: int) -> None:
    data = bytearray(pack_data(5, 6, 56))
    data[at] ^= 0x10
    assert read_data(5, 56, bytes(data)) == Seen(6, False)
    assert read_data(5, 56, bytes(data[:at])) == Seen(6, False)


@given(numbers, numbers, st.integers(BALANCED_MIN, 200), st.integers(0, 65535))
def test_balanced_data_keep_the_checksum(run: int, number: int, size: int, sequence: int) -> None:
    data = pack_balanced(run, number, size, sequence)
    assert len(data) == size
    assert read_data(run, size, data, balanced=True) == Seen(number, True)
    same = pack_echo(4, 77, 1, pack_balanced(run, 1, size, 1))
    other = pack_echo(4, 77, sequence, data)
    assert checksum(other) == 0
    # Zero has two forms in one's complement.
    assert int.from_bytes(other[2:4], "big") % 0xFFFF == int.from_bytes(same[2:4], "big") % 0xFFFF


def test_damage_is_told_from_another_run() -> None:
    run = 0x0123456789ABCDEF
    data = bytearray(pack_data(run, 6, 56))
    data[2:4] = b"\xff\x00"
    assert read_data(run, 56, bytes(data)) is None
    assert may_be_damaged(run, bytes(data))
    assert may_be_damaged(run, b"cut")
    assert not may_be_damaged(run, pack_data(0xFEDCBA9876543210, 6, 56))
