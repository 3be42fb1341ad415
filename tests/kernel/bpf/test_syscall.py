"""bpf(2): its layouts against ctypes, and maps, rings and programs against this kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from contextlib import closing

import pytest

from echowire.core.bpf import assembler as asm
from echowire.errors import OperationError
from echowire.kernel.bpf import syscall as bpf

U32, U64 = ctypes.c_uint32, ctypes.c_uint64


class MapCreate(ctypes.LittleEndianStructure):
    """The first members of union bpf_attr for BPF_MAP_CREATE (linux/bpf.h)."""

    _fields_ = (
        *((name, U32) for name in ("map_type", "key_size", "value_size", "max_entries", "map_flags")),
        *((name, U32) for name in ("inner_map_fd", "numa_node")),
        ("map_name", ctypes.c_char * 16),
    )


class MapElement(ctypes.LittleEndianStructure):
    """For BPF_MAP_*_ELEM: the three 64-bit members are __aligned_u64."""

    _fields_ = (("map_fd", U32), ("key", U64), ("value", U64), ("flags", U64))


class ProgLoad(ctypes.LittleEndianStructure):
    """For BPF_PROG_LOAD, up to the function that a tracing program is for."""

    _fields_ = (
        *(("prog_type", U32), ("insn_cnt", U32), ("insns", U64), ("license", U64)),
        *(("log_level", U32), ("log_size", U32), ("log_buf", U64), ("kern_version", U32), ("prog_flags", U32)),
        *(("prog_name", ctypes.c_char * 16), ("prog_ifindex", U32), ("expected_attach_type", U32)),
        *(("prog_btf_fd", U32), ("func_info_rec_size", U32), ("func_info", U64), ("func_info_cnt", U32)),
        *(("line_info_rec_size", U32), ("line_info", U64), ("line_info_cnt", U32), ("attach_btf_id", U32)),
    )


class ProgAttach(ctypes.LittleEndianStructure):
    """For BPF_PROG_ATTACH."""

    _fields_ = (("target_fd", U32), ("attach_bpf_fd", U32), ("attach_type", U32), ("attach_flags", U32))


class GetNextId(ctypes.LittleEndianStructure):
    """For BPF_*_GET_NEXT_ID."""

    _fields_ = (("start_id", U32), ("next_id", U32), ("open_flags", U32))


@pytest.mark.parametrize(
    ("packed", "layout"),
    [
        (bpf.MAP_CREATE, MapCreate),
        (bpf.MAP_ELEM, MapElement),
        (bpf.PROG_LOAD, ProgLoad),
        (bpf.PROG_ATTACH, ProgAttach),
        (bpf.GET_NEXT_ID, GetNextId),
    ],
)
def test_layouts_are_those_of_c(packed: struct.Struct, layout: type[ctypes.LittleEndianStructure]) -> None:
    names = [field[0] for field in layout._fields_]
    values: list[object] = list(range(1, len(names) + 1))
    for number, field in enumerate(layout._fields_):
        if field[1] is ctypes.c_char * 16:
            values[number] = b"name"
    there = layout.from_buffer_copy(packed.pack(*values).ljust(ctypes.sizeof(layout), b"\0"))
    assert [getattr(there, name) for name in names] == values
    # The kernel refuses what it does not know, so not a byte too many.
    last = layout._fields_[-1]
    assert packed.size == getattr(layout, last[0]).offset + ctypes.sizeof(last[1])


def test_where_the_flags_are() -> None:
    assert MapElement.flags.offset == bpf.MAP_ELEM_FLAGS_AT


def test_where_the_key_ends() -> None:
    assert MapElement.value.offset == bpf.MAP_ELEM_KEY_BYTES


def test_an_unknown_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "MACHINE", "pdp11")
    assert bpf.why_not_here() == "not supported on this machine (pdp11)"
    with pytest.raises(OperationError, match="bpf MAP_CREATE it: function not implemented"):
        bpf.Map(bpf.BPF_MAP_TYPE_HASH, 8, 8, 1, "it")


@pytest.fixture
def may_bpf(needs_root: None) -> None:
    """Skips where bpf(2) is not allowed to root either, as in most containers."""
    if reason := bpf.why_not_here():
        pytest.skip(reason)
    try:
        bpf.Map(bpf.BPF_MAP_TYPE_HASH, 8, 8, 1, "echowire_test").close()
    except OperationError as error:
        pytest.skip(str(error))


def a_map(kind: int, key: int, value: int, entries: int) -> closing[bpf.Map]:
    return closing(bpf.Map(kind, key, value, entries, "echowire_test"))


@pytest.mark.usefixtures("may_bpf")
class TestHere:
    def test_a_hash_keeps_what_it_is_told(self) -> None:
        with a_map(bpf.BPF_MAP_TYPE_HASH, 8, 16, 2) as table:
            one, two, three = (bytes([number]) * 8 for number in (1, 2, 3))
            assert table.lookup(one) is None and not table.delete(one)
            table.update(one, b"a" * 16)
            table.update(one, b"b" * 16)
            table.update(two, b"c" * 16)
            assert (table.lookup(one), table.lookup(two)) == (b"b" * 16, b"c" * 16)
            with pytest.raises(OperationError, match="bpf MAP_UPDATE_ELEM echowire_test") as caught:
                table.update(three, bytes(16))
            assert caught.value.number == errno.E2BIG
            assert table.delete(one) and table.lookup(one) is None
            table.update(three, bytes(16))

    def test_what_is_there_is_not_added(self) -> None:
        with closing(bpf.Map(bpf.BPF_MAP_TYPE_HASH, 4, 4, 1, "echowire_test", bpf.BPF_F_NO_PREALLOC)) as table:
            assert table.add(b"key1", b"one1") and not table.add(b"key1", b"two2")
            assert table.lookup(b"key1") == b"one1"
            with pytest.raises(OperationError) as caught:
                table.add(b"key2", b"full")
            assert caught.value.number == errno.E2BIG
            table.update(b"key1", b"two2")
            assert table.lookup(b"key1") == b"two2"

    def test_errors_name_the_command_and_the_map(self) -> None:
        with pytest.raises(OperationError, match=r"bpf MAP_CREATE echowire_none: invalid argument \(EINVAL 22\)"):
            bpf.Map(bpf.BPF_MAP_TYPE_HASH, 8, 8, 0, "echowire_none")
        with a_map(bpf.BPF_MAP_TYPE_SOCKHASH, 8, 8, 1) as sockets, open(os.devnull) as file:  # noqa: PTH123
            with pytest.raises(OperationError) as caught:
                sockets.update(bytes(8), struct.pack("<Q", file.fileno()))
        assert caught.value.number == errno.ENOTSOCK

    def test_the_verifier_is_quoted(self) -> None:
        reads_what_was_never_written = asm.mov64_reg(asm.R0, asm.R3) + asm.exit_insn()
        with pytest.raises(OperationError, match=r"bpf PROG_LOAD wrong: .*the verifier says: .*R3 !read_ok"):
            bpf.load_program(bpf.BPF_PROG_TYPE_SK_SKB, reads_what_was_never_written, "wrong")

    def test_a_program_loads_and_is_listed_until_it_is_closed(self) -> None:
        program = bpf.load_program(bpf.BPF_PROG_TYPE_SK_SKB, asm.mov64_imm(asm.R0, 1) + asm.exit_insn(), "fine")
        try:
            [number] = [int(line.split()[1]) for line in fdinfo(program) if line.startswith("prog_id")]
            assert number in set(bpf.program_ids())
        finally:
            os.close(program)

    def test_maps_are_listed(self) -> None:
        with a_map(bpf.BPF_MAP_TYPE_HASH, 8, 8, 1) as table:
            [number] = [int(line.split()[1]) for line in fdinfo(table.fd) if line.startswith("map_id")]
            assert number in set(bpf.map_ids())

    def test_a_ring_is_empty_and_not_readable_at_first(self) -> None:
        with closing(bpf.Ring(100, "echowire_test")) as ring:
            assert ring.read() == []
            assert not select.select([ring.fd], [], [], 0)[0]


class TestRing:
    """The consumer's side, over memory as the kernel writes it."""

    @pytest.fixture
    def ring(self) -> bpf.Ring:
        ring = bpf.Ring.__new__(bpf.Ring)
        ring._size = 4096
        ring._ours = bytearray(4096)  # type: ignore[assignment]
        ring._theirs = bytearray(4096 + 2 * 4096)  # type: ignore[assignment]
        return ring

    def put(self, ring: bpf.Ring, record: bytes, flags: int = 0) -> None:
        (end,) = struct.unpack_from("<Q", ring._theirs)
        # The data is mapped twice in a row.
        for place in (4096 + end % 4096, 4096 + 4096 + end % 4096):
            whole = struct.pack("<II", len(record) | flags, 0) + record
            fits = whole[: max(0, 3 * 4096 - place)]
            ring._theirs[place : place + len(fits)] = fits
        struct.pack_into("<Q", ring._theirs, 0, end + (len(record) + 15) // 8 * 8)

    def test_records_come_in_order_and_once(self, ring: bpf.Ring) -> None:
        for record in (b"first...", b"2", b"third record"):
            self.put(ring, record)
        assert ring.read() == [b"first...", b"2", b"third record"]
        assert ring.read() == []

    def test_the_end_of_the_ring_splits_no_record(self, ring: bpf.Ring) -> None:
        for number in range(2000):
            record = bytes([number % 251]) * (number % 40)
            self.put(ring, record)
            assert ring.read() == [record]

    def test_busy_is_waited_for_and_discarded_is_skipped(self, ring: bpf.Ring) -> None:
        self.put(ring, b"not this", bpf.Ring.DISCARD)
        self.put(ring, b"complete")
        self.put(ring, b"not yet ", bpf.Ring.BUSY)
        assert ring.read() == [b"complete"]
        assert ring.read() == []


def fdinfo(descriptor: int) -> list[str]:
    with open(f"/proc/self/fdinfo/{descriptor}") as info:  # noqa: PTH123
        return info.read().splitlines()
