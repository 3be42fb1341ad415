"""Member offsets and numbers of functions, from BTF made here and from this kernel's."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.bpf.btf import (
    BYTES_EACH,
    FIXED_BYTES,
    HEADER,
    MAGIC,
    MAX_STEPS,
    TYPE,
    function_number,
    member_offsets,
)

VMLINUX = Path("/sys/kernel/btf/vmlinux")


def btf(*, bit_fields: bool) -> bytes:
    """`struct decoy { int sock; }` as often as may confuse, then `struct sock { int a; long b : 64; }`."""
    strings = b"\0decoy\0sock\0a\0b\0"
    at = {name: strings.index(b"\0" + name.encode() + b"\0") + 1 for name in ("decoy", "sock", "a", "b")}
    structure = 4 << 24
    # A member of the name that is looked for, followed by numbers that are not a structure's.
    decoy = struct.pack("<III", at["decoy"], structure | 1, 4) + struct.pack("<III", at["sock"], 1, 0)
    # A structure of the same name that lacks what is wanted: the first of two versions of it.
    other = struct.pack("<III", at["sock"], structure | 1, 4) + struct.pack("<III", at["a"], 1, 0)
    width = 64 << 24 if bit_fields else 0
    wanted = struct.pack("<III", at["sock"], structure | bit_fields << 31 | 2, 16)
    wanted += struct.pack("<III", at["a"], 1, 0) + struct.pack("<III", at["b"], 1, width | 64)
    types = decoy + other + wanted
    return HEADER.pack(MAGIC, 1, 0, HEADER.size, 0, len(types), len(types), len(strings)) + types + strings


@pytest.mark.parametrize("bit_fields", [False, True])
def test_offsets_are_bytes(bit_fields: bool) -> None:
    assert member_offsets(btf(bit_fields=bit_fields), "sock", ("b", "a")) == {"a": 0, "b": 8}


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="no name 'nobody'"):
        member_offsets(btf(bit_fields=False), "nobody", ("a",))
    with pytest.raises(ValueError, match="no struct decoy with b"):
        member_offsets(btf(bit_fields=False), "decoy", ("b",))
    for broken in (b"", b"\x7fELF" + bytes(100), btf(bit_fields=False)[:30]):
        with pytest.raises(ValueError, match="BTF"):
            member_offsets(broken, "sock", ("a",))


@pytest.mark.parametrize("size", range(0, 120, 7))
def test_truncated(size: int) -> None:
    """Never anything but a ValueError, or the offsets if these were still there."""
    try:
        assert member_offsets(btf(bit_fields=False)[:size], "sock", ("a",)) == {"a": 0}
    except ValueError:
        pass


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")
def test_of_this_kernel() -> None:
    data = VMLINUX.read_bytes()
    found = member_offsets(data, "tcp_sock", ("bytes_received", "bytes_acked"))
    assert all(offset % 8 == 0 and offset > 0 for offset in found.values())
    # A layout that never changes: struct list_head { next, prev }.
    assert member_offsets(data, "list_head", ("next", "prev")) == {"next": 0, "prev": 8}


PARAMETERS = ("meta", "task", "fd", "file")
STRINGS = b"\0decoy\0walk\0meta\0task\0fd\0file\0"
INT, POINTER, ENUM, FUNC, FUNC_PROTO, UNKNOWN = 1, 2, 6, 12, 13, 31


def record(kind: int, name: str = "", last: int = 0, rest: bytes = b"", count: int = 0) -> bytes:
    at = STRINGS.index(b"\0" + name.encode() + b"\0") + 1 if name else 0
    return struct.pack("<III", at, kind << 24 | count, last) + rest


def prototype(*names: str) -> bytes:
    """`int (*)(names)`."""
    places = (STRINGS.index(b"\0" + name.encode() + b"\0") + 1 for name in names)
    return record(FUNC_PROTO, last=1, rest=b"".join(struct.pack("<II", at, 1) for at in places), count=len(names))


def image(*records: bytes) -> bytes:
    types = b"".join(records)
    return HEADER.pack(MAGIC, 1, 0, HEADER.size, 0, len(types), len(types), len(STRINGS)) + types + STRINGS


NUMBER = record(INT, "decoy", 4, bytes(4))
CHOICE = record(ENUM, "decoy", 4, bytes(24), 3)
WANTED = prototype(*PARAMETERS)
OTHERS = prototype("meta"), prototype("meta", "task", "file", "fd")


@pytest.mark.parametrize(
    ("records", "number"),
    [
        ([WANTED, record(FUNC, "walk", 1)], 2),
        ([NUMBER, CHOICE, WANTED, record(FUNC, "walk", 3, count=1)], 4),
        ([NUMBER, WANTED, CHOICE, NUMBER, record(POINTER, last=2), record(FUNC, "walk", 2)], 6),
        ([NUMBER, record(FUNC, "walk", 4), CHOICE, WANTED, NUMBER], 2),
        # What looks like it: the name of other things, a prototype of fewer or other parameters.
        ([record(INT, "walk", 4, bytes(4)), *OTHERS, WANTED, record(FUNC, "decoy", 4), record(FUNC, "walk", 4)], 6),
    ],
)
def test_a_function_s_number_is_its_place(records: list[bytes], number: int) -> None:
    assert function_number(image(*records), "walk", PARAMETERS) == number


@pytest.mark.parametrize(
    "records",
    [
        [NUMBER],
        [WANTED],
        [record(FUNC, "walk", 1)],
        [prototype("meta", "task"), record(FUNC, "walk", 1)],
        [WANTED, record(UNKNOWN, "decoy"), record(FUNC, "walk", 1)],
        [WANTED, record(ENUM, "decoy", 4, bytes(24), 60_000), record(FUNC, "walk", 1)],
        [WANTED, *[record(POINTER)] * MAX_STEPS, record(FUNC, "walk", 1)],
    ],
)
def test_what_does_not_lead_to_the_function_is_said(records: list[bytes]) -> None:
    with pytest.raises(ValueError, match="BTF"):
        function_number(image(*records), "walk", PARAMETERS)


@given(st.data())
def test_mutated_and_cut(data: st.DataObject) -> None:
    """Never anything but a ValueError, or a number."""
    whole = bytearray(image(NUMBER, WANTED, CHOICE, record(FUNC, "walk", 2)))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(2, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        function_number(bytes(whole[: data.draw(st.integers(0, len(whole)))]), "walk", PARAMETERS)
    except ValueError:
        pass


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")
def test_of_this_kernel_s_functions() -> None:
    """Held against a count from the first type."""
    data = VMLINUX.read_bytes()
    _, _, _, size, at, length, strings, _ = HEADER.unpack_from(data)
    name = data.index(b"\0bpf_iter_task_file\0") + 1 - size - strings
    place, end, number = size + at, size + at + length, 1
    while place < end:
        found, info, _ = TYPE.unpack_from(data, place)
        if found == name and info >> 24 == FUNC:
            break
        kind = info >> 24 & 0x1F
        place += TYPE.size + FIXED_BYTES.get(kind, 0) + BYTES_EACH.get(kind, 0) * (info & 0xFFFF)
        number += 1
    assert function_number(data, "bpf_iter_task_file", PARAMETERS) == number
