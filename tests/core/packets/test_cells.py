"""Text of columns, held against Python's own way of writing the same, and lines of cells."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echowire.core.packets.cells import (
    Cells,
    cells,
    colon_cells,
    decimal_cells,
    hex_cells,
    ipv4_cells,
    ipv6_cells,
    ipv6_text,
    lines,
    seconds_cells,
    strings,
    text_of,
)
from echowire.core.packets.columns import Type, column_of, objects
from echowire.core.packets.layers import Field, Values
from echowire.core.text import printable


def texts(matrix: Cells) -> list[str]:
    return [row.tobytes().replace(b"\0", b"").decode() for row in matrix]


def values(rows: Sequence[int], column: Any) -> Values:
    return Values(np.array(rows, np.int64), column)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_decimal_numbers_of_every_length(dtype: Any) -> None:
    top = int(np.iinfo(dtype).max)
    numbers = sorted({n for p in range(21) for n in (10**p - 1, 10**p, 10**p + 7, top) if n <= top} | {0})
    assert texts(decimal_cells(np.array(numbers, dtype), len(str(top)))) == [str(n) for n in numbers]


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_decimal_numbers(numbers: list[int]) -> None:
    assert texts(decimal_cells(np.array(numbers, np.uint64))) == [str(n) for n in numbers]


@pytest.mark.parametrize("size", range(1, 9))
def test_hexadecimal_numbers_have_all_their_digits(size: int) -> None:
    numbers = [0, 1, 0xAB, (1 << 8 * size) - 1]
    assert texts(hex_cells(np.array(numbers, np.uint64), size)) == [f"0x{n:0{2 * size}x}" for n in numbers]


def test_ipv4_addresses() -> None:
    every = ["0.0.0.0", "1.2.3.4", "10.20.255.100", "255.255.255.255"]
    numbers = np.array([int(ipaddress.IPv4Address(one)) for one in every], np.uint32)
    assert texts(ipv4_cells(numbers)) == every


@given(st.lists(st.binary(min_size=16, max_size=16).map(lambda raw: bytes(b & 3 for b in raw)), max_size=4))
@example([bytes(16), bytes(15) + b"\1", bytes(10) + b"\xff\xff\1\2\3\4", bytes.fromhex("20010db8" + "0" * 23 + "1")])
def test_ipv6_addresses(raw: list[bytes]) -> None:
    found = texts(ipv6_cells(column_of(Type.IPV6, raw) if raw else np.zeros((0, 16), np.uint8)))
    assert found == [socket.inet_ntop(socket.AF_INET6, one) for one in raw]


def test_an_embedded_ipv4_address_is_written_as_inet_ntop_does() -> None:
    assert ipv6_text(bytes(10) + b"\xff\xff\x0a\0\0\1") == "::ffff:10.0.0.1"
    assert ipv6_text(bytes(12) + b"\x0a\0\0\1") == "::10.0.0.1"
    assert ipv6_text(bytes(15) + b"\1") == "::1"
    assert ipv6_text(bytes.fromhex("fe800000000000000000000000000000")) == "fe80::"
    assert ipv6_text(bytes.fromhex("20010db8000100020003000400050000")) == "2001:db8:1:2:3:4:5:0"


def test_mac_addresses() -> None:
    assert texts(colon_cells(np.array([0x0001FF_ABCDEF], np.uint64), 6)) == ["00:01:ff:ab:cd:ef"]


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_times_have_nine_digits(times: list[int]) -> None:
    assert texts(seconds_cells(np.array(times, np.int64))) == [f"{t // 10**9}.{t % 10**9:09d}" for t in times]


def test_a_time_before_1970_is_negative() -> None:
    assert texts(seconds_cells(np.array([-1, -1_500_000_000], np.int64))) == ["-0.000000001", "-1.500000000"]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Type.BOOLEAN, True, "1"),
        (Type.BOOLEAN, False, "0"),
        (Type.INT32, -5, "-5"),
        (Type.DOUBLE, 0.25, "0.25"),
        (Type.BYTES, b"\0\xff", "00ff"),
        (Type.STRING, "tab\there", "tab\\there"),
        (Type.ETHER, 1, "00:00:00:00:00:01"),
        (Type.UINT64, 2**64 - 1, "18446744073709551615"),
    ],
)
def test_each_type_as_text(kind: Type, value: Any, text: str) -> None:
    field = Field("x.y", "Y", kind)
    assert strings(field, column_of(kind, [value])).tolist() == [text]
    assert printable(text_of(field, column_of(kind, [value])[0])) == text


def test_lines_leave_a_cell_empty_where_a_row_has_no_value() -> None:
    number, name = Field("a", "A", Type.UINT8), Field("b", "B", Type.STRING)
    found = lines(
        [(number, values([0, 2], np.array([7, 9], np.uint8))), (name, values([1, 2], objects(["x", "y\n"])))], 4
    )
    assert found == b"7\t\n\tx\n9\ty\\n\n\t\n"


def test_lines_of_several_strings_keep_their_order() -> None:
    fields = [Field(f"f{n}", "", Type.STRING) for n in range(3)]
    columns = [(one, values([0, 1], objects([f"{one.name}r0", f"{one.name}r1"]))) for one in fields]
    assert lines(columns, 2, separator=b", ") == b"f0r0, f1r0, f2r0\nf0r1, f1r1, f2r1\n"


KINDS = {
    Type.UINT8: st.integers(0, 255),
    Type.UINT32: st.integers(0, 2**32 - 1),
    Type.UINT64: st.integers(0, 2**64 - 1),
    Type.INT64: st.integers(-(2**63), 2**63 - 1),
    Type.IPV4: st.integers(0, 2**32 - 1),
    Type.ETHER: st.integers(0, 2**48 - 1),
    Type.ABSOLUTE_TIME: st.integers(0, 2**62),
    Type.STRING: st.text(st.characters(codec="ascii", categories=["L", "N"])),
}


@given(
    st.lists(st.tuples(st.sampled_from(list(KINDS)), st.data(), st.sets(st.integers(0, 4))), max_size=6),
    st.sampled_from([b"\t", b", ", b"-" * 9, b"|" * 8]),
    st.sampled_from([b"", b'"']),
)
def test_lines_are_their_cells_side_by_side(
    wanted: list[tuple[Type, st.DataObject, set[int]]], separator: bytes, quote: bytes
) -> None:
    columns, each = [], [[""] * len(wanted) for _ in range(5)]
    for number, (kind, data, rows) in enumerate(wanted):
        field = Field(f"f{number}", "", kind)
        column = column_of(kind, [data.draw(KINDS[kind]) for _ in rows])
        columns.append((field, values(sorted(rows), column)))
        for row, text in zip(sorted(rows), strings(field, column), strict=True):
            each[row][number] = f"{quote.decode()}{text}{quote.decode()}"
    found = lines(columns, 5, separator=separator, quote=quote)
    assert found.decode() == "".join(f"{separator.decode().join(one)}\n" for one in each)


def test_lines_of_nothing() -> None:
    assert lines([], 2) == b"\n\n"
    assert lines([(Field("a", "A", Type.UINT8), values([], np.zeros(0, np.uint8)))], 0) == b""


def test_cells_of_no_values() -> None:
    for kind in (Type.UINT32, Type.IPV4, Type.ETHER, Type.ABSOLUTE_TIME, Type.BOOLEAN):
        assert len(cells(Field("a", "A", kind), column_of(kind, []))) == 0
