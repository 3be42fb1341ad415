"""Member offsets, from BTF made here and from this kernel's."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from echowire.wire.btf import HEADER, MAGIC, member_offsets

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
