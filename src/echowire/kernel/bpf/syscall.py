"""bpf(2) by ctypes: maps, programs and their attachment, as much of it as a program of our own needs.

There is no libbpf here and nothing is pinned: a map or program lives as long as a descriptor, an attachment or a
socket holds it, so whatever ends this process ends them. Layouts are `union bpf_attr`'s (linux/bpf.h), whose unused
rest must be zero. Errors are `OperationError`s of `bpf MAP_CREATE` and the like; a program that the verifier refuses
carries the end of its log.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import sys

from echowire.errors import OperationError
from echowire.kernel.boundary import operation_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from echowire.core.bpf.btf import Image

SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280}
"""`__NR_bpf` (asm/unistd_64.h; asm-generic/unistd.h for all later machines)."""

# enum bpf_cmd
BPF_MAP_CREATE, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM = 0, 1, 2, 3
BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID = 5, 8, 11, 12
BPF_RAW_TRACEPOINT_OPEN, BPF_LINK_CREATE, BPF_ITER_CREATE = 17, 28, 33
COMMAND_NAMES = {
    BPF_MAP_CREATE: "MAP_CREATE",
    BPF_MAP_LOOKUP_ELEM: "MAP_LOOKUP_ELEM",
    BPF_MAP_UPDATE_ELEM: "MAP_UPDATE_ELEM",
    BPF_MAP_DELETE_ELEM: "MAP_DELETE_ELEM",
    BPF_PROG_LOAD: "PROG_LOAD",
    BPF_PROG_ATTACH: "PROG_ATTACH",
    BPF_PROG_GET_NEXT_ID: "PROG_GET_NEXT_ID",
    BPF_MAP_GET_NEXT_ID: "MAP_GET_NEXT_ID",
    BPF_RAW_TRACEPOINT_OPEN: "RAW_TRACEPOINT_OPEN",
    BPF_LINK_CREATE: "LINK_CREATE",
    BPF_ITER_CREATE: "ITER_CREATE",
}

# enum bpf_map_type, bpf_prog_type, bpf_attach_type
BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_SOCKHASH, BPF_MAP_TYPE_RINGBUF = 1, 2, 18, 27
BPF_MAP_TYPE_LRU_HASH = 9
BPF_NOEXIST = 1  # update only where there is none yet
BPF_F_NO_PREALLOC = 1  # take memory for an element when it comes
BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SK_SKB = 1, 14
BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_TRACING = 17, 26
BPF_SK_SKB_STREAM_VERDICT, BPF_TRACE_ITER = 5, 28
# enum bpf_func_id: numbers of the helpers
BPF_FUNC_MAP_LOOKUP_ELEM, BPF_FUNC_MAP_UPDATE_ELEM, BPF_FUNC_SKB_LOAD_BYTES = 1, 2, 26
BPF_FUNC_GET_SOCKET_COOKIE, BPF_FUNC_SK_REDIRECT_HASH = 46, 72
BPF_FUNC_KTIME_GET_NS, BPF_FUNC_GET_CURRENT_PID_TGID, BPF_FUNC_GET_CURRENT_COMM = 5, 14, 16
BPF_FUNC_GET_CURRENT_UID_GID, BPF_FUNC_GET_CURRENT_CGROUP_ID = 15, 80
BPF_FUNC_PROBE_READ_KERNEL, BPF_FUNC_SEQ_WRITE = 113, 127
BPF_FUNC_SKB_ADJUST_ROOM, BPF_FUNC_RINGBUF_OUTPUT, BPF_FUNC_SKC_TO_TCP_SOCK = 50, 130, 137

MAP_CREATE = struct.Struct("<7I16s")  # map_type, key_size, value_size, max_entries, flags, inner_map_fd, node, name
MAP_ELEM = struct.Struct("<I4xQQQ")  # map_fd, key, value, flags
MAP_ELEM_KEY_BYTES = 16  # up to the key, which is where MAP_DELETE_ELEM ends: what follows would have to be zero
MAP_ELEM_FLAGS_AT = 24
PROG_LOAD = struct.Struct("<IIQQIIQII16sIIIIQIIQII")
"""prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags, prog_name,
prog_ifindex, expected_attach_type, seven of debugging, attach_btf_id."""
LINK_CREATE = struct.Struct("<4I")  # prog_fd, target_fd, attach_type, flags
ITER_CREATE = struct.Struct("<II")  # link_fd, flags
RAW_TRACEPOINT_OPEN = struct.Struct("<QI4x")  # name, prog_fd
PROG_ATTACH = struct.Struct("<4I")  # target_fd, attach_bpf_fd, attach_type, attach_flags
GET_NEXT_ID = struct.Struct("<III")  # start_id, next_id, open_flags

LOG_BYTES = 1 << 18
"""Room for the verifier's log; a program of some dozen instructions fills a few kilobytes."""

ITERATOR_BYTES = 1 << 16
"""Room for what an iterator gives at once: the kernel's buffer has eight pages, 32 KiB where they have 4 KiB."""

MACHINE = os.uname().machine if hasattr(os, "uname") else ""
"""As `platform` has it, whose import takes longer than all that is done with it here."""

BTF = "/sys/kernel/btf/vmlinux"

LICENSE = b"GPL"
"""What the program says of itself to the kernel: helpers such as bpf_skc_to_tcp_sock are for these alone."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def type_information() -> Image:
    """This kernel's BTF (`echowire.core.bpf.btf`); from Linux 6.16 on it is mapped, and so costs no copy of megabytes.

    Raises `OSError`.
    """
    with open(BTF, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib is not loaded for it
        try:
            return mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        except OSError:
            return file.read()


def why_not_here() -> str | None:
    """Why this machine has no bpf(2) that this module knows; None if it has."""
    if not sys.platform.startswith("linux"):
        return "BPF is Linux's"
    if MACHINE not in SYSCALL_NUMBERS or sys.byteorder != "little":
        return f"not supported on this machine ({MACHINE})"
    return None


def bpf(command: int, attributes: Any, size: int, what: str) -> int:
    """bpf(2): `attributes` is a ctypes buffer of `size` bytes. Raises `OperationError` on `what`."""
    number = SYSCALL_NUMBERS.get(MACHINE)
    if number is None:
        raise operation_error(f"bpf {COMMAND_NAMES[command]}", what, OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)))
    # Each a full register: ctypes would pass plain numbers as C ints.
    answer: int = _libc.syscall(
        ctypes.c_long(number), ctypes.c_long(command), ctypes.byref(attributes), ctypes.c_long(size)
    )
    if answer < 0:
        failed = ctypes.get_errno()
        raise operation_error(f"bpf {COMMAND_NAMES[command]}", what, OSError(failed, os.strerror(failed)))
    return answer


def _call(command: int, attributes: bytes, what: str) -> int:
    return bpf(command, ctypes.create_string_buffer(attributes, len(attributes)), len(attributes), what)


class Map:
    """A BPF map. Keys and values are bytes of the map's sizes; not to be used by two threads at once."""

    def __init__(self, kind: int, key_size: int, value_size: int, entries: int, name: str, flags: int = 0) -> None:
        self.name = name
        attributes = MAP_CREATE.pack(kind, key_size, value_size, entries, flags, 0, 0, name.encode()[:15])
        self.fd = _call(BPF_MAP_CREATE, attributes, name)
        # Made once, since they are used for each connection.
        self._key = ctypes.create_string_buffer(max(key_size, 1))
        self._value = ctypes.create_string_buffer(max(value_size, 1))
        element = MAP_ELEM.pack(self.fd, ctypes.addressof(self._key), ctypes.addressof(self._value), 0)
        self._element = ctypes.create_string_buffer(element, MAP_ELEM.size)

    def update(self, key: bytes, value: bytes) -> None:
        """Set the element; for a map of sockets the value is a descriptor. Raises `OperationError`."""
        self._key.raw, self._value.raw = key, value
        bpf(BPF_MAP_UPDATE_ELEM, self._element, MAP_ELEM.size, self.name)

    def add(self, key: bytes, value: bytes) -> bool:
        """Set the element if there is none; whether there was none. Raises `OperationError`."""
        self._key.raw, self._value.raw = key, value
        struct.pack_into("<Q", self._element, MAP_ELEM_FLAGS_AT, BPF_NOEXIST)
        try:
            bpf(BPF_MAP_UPDATE_ELEM, self._element, MAP_ELEM.size, self.name)
        except OperationError as error:
            if error.number != errno.EEXIST:
                raise
            return False
        finally:
            struct.pack_into("<Q", self._element, MAP_ELEM_FLAGS_AT, 0)
        return True

    def lookup(self, key: bytes) -> bytes | None:
        """The element's value; None where there is none."""
        self._key.raw = key
        return self._value.raw if self._found(BPF_MAP_LOOKUP_ELEM, MAP_ELEM.size) else None

    def delete(self, key: bytes) -> bool:
        """Remove the element; whether it was there."""
        self._key.raw = key
        return self._found(BPF_MAP_DELETE_ELEM, MAP_ELEM_KEY_BYTES)

    def close(self) -> None:
        """Close the descriptor; once."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _found(self, command: int, size: int) -> bool:
        try:
            bpf(command, self._element, size, self.name)
        except OperationError as error:
            if error.number == errno.ENOENT:
                return False
            raise
        return True


class Ring:
    """A ring buffer map (BPF_MAP_TYPE_RINGBUF): what programs say, in order. Its `fd` is readable when it has some.

    It is shared memory: the consumer's position, ours to move, is the first page; then comes the producer's, and
    then the data twice in a row, so that no record is ever split (Documentation/bpf/ringbuf.rst).
    """

    BUSY, DISCARD = 1 << 31, 1 << 30  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT
    HEADER_BYTES = 8  # BPF_RINGBUF_HDR_SZ

    def __init__(self, size: int, name: str) -> None:
        """`size` bytes of data, rounded up to a power of two of at least a page."""
        self._size = max(mmap.PAGESIZE, 1 << (size - 1).bit_length())
        self._map = Map(BPF_MAP_TYPE_RINGBUF, 0, 0, self._size, name)
        self.fd = self._map.fd
        page = mmap.PAGESIZE
        self._ours = mmap.mmap(self.fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._theirs = mmap.mmap(self.fd, page + 2 * self._size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)

    def read(self) -> list[bytes]:
        """All records that are complete."""
        records = []
        (at,) = struct.unpack_from("<Q", self._ours)
        (end,) = struct.unpack_from("<Q", self._theirs)
        while at < end:
            place = mmap.PAGESIZE + at % self._size
            (length,) = struct.unpack_from("<I", self._theirs, place)
            if length & self.BUSY:
                break
            size = length & ~self.DISCARD
            if not length & self.DISCARD:
                records.append(self._theirs[place + self.HEADER_BYTES : place + self.HEADER_BYTES + size])
            at += (size + self.HEADER_BYTES + 7) & ~7
        struct.pack_into("<Q", self._ours, 0, at)
        return records

    def close(self) -> None:
        """Unmap it and close the descriptor; once."""
        self._ours.close()
        self._theirs.close()
        self._map.close()


def load_program(kind: int, instructions: bytes, name: str, *, attach_type: int = 0, function: int = 0) -> int:
    """Have the kernel check and compile `instructions`; the program's descriptor.

    A tracing program is for the kernel's `function`, by its number in BTF, and is attached as `attach_type`.
    Raises `OperationError`, whose meaning is the end of the verifier's log where it has one.
    """
    try:
        return _load(kind, instructions, name, None, attach_type, function)
    except OperationError as error:
        if error.number not in (errno.EINVAL, errno.EACCES, errno.E2BIG):
            raise
    log = ctypes.create_string_buffer(LOG_BYTES)
    try:
        return _load(kind, instructions, name, log, attach_type, function)
    except OperationError as error:
        lines = [line for line in log.value.decode("utf-8", "replace").splitlines() if line]
        said = [line for line in lines if not line.startswith("processed ")]
        error.meaning = f"the verifier says: {said[-1]}" if said else ""
        error.add_note("\n".join(lines))
        raise


def _load(kind: int, instructions: bytes, name: str, log: Any | None, attach_type: int, function: int) -> int:
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(LICENSE)
    attributes = PROG_LOAD.pack(
        kind,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license_text),
        1 if log else 0,
        LOG_BYTES if log else 0,
        ctypes.addressof(log) if log else 0,
        0,
        0,
        name.encode()[:15],
        0,
        attach_type,
        *(0, 0, 0, 0, 0, 0, 0),
        function,
    )
    return _call(BPF_PROG_LOAD, attributes, name)


def attach(program: int, target: int, attach_type: int, name: str) -> None:
    """Attach `program` to `target`, both descriptors; for a map of sockets, to each socket that joins from now on."""
    _call(BPF_PROG_ATTACH, PROG_ATTACH.pack(target, program, attach_type, 0), name)


def open_raw_tracepoint(name: str, program: int) -> int:
    """Have `program` run whenever the kernel passes its tracepoint `name`; until the descriptor given is closed."""
    text = ctypes.create_string_buffer(name.encode())
    return _call(BPF_RAW_TRACEPOINT_OPEN, RAW_TRACEPOINT_OPEN.pack(ctypes.addressof(text), program), name)


def iterate(program: int, name: str) -> bytes:
    """What an iterator's `program` writes of everything that it is called for (Documentation/bpf/bpf_iterators.rst)."""
    link = _call(BPF_LINK_CREATE, LINK_CREATE.pack(program, 0, BPF_TRACE_ITER, 0), name)
    try:
        descriptor = _call(BPF_ITER_CREATE, ITER_CREATE.pack(link, 0), name)
        try:
            parts: list[bytes] = []
            while True:
                try:
                    part = os.read(descriptor, ITERATOR_BYTES)
                except BlockingIOError:
                    continue  # the kernel paused: a million things in a row, and the program wrote of none
                if not part:
                    return b"".join(parts)
                parts.append(part)
        finally:
            os.close(descriptor)
    finally:
        os.close(link)


def program_ids() -> Iterator[int]:
    """The number of every program that this kernel has loaded. Needs CAP_SYS_ADMIN."""
    return _ids(BPF_PROG_GET_NEXT_ID)


def map_ids() -> Iterator[int]:
    """The number of every map that this kernel has. Needs CAP_SYS_ADMIN."""
    return _ids(BPF_MAP_GET_NEXT_ID)


def _ids(command: int) -> Iterator[int]:
    number = 0
    while True:
        buffer = ctypes.create_string_buffer(GET_NEXT_ID.pack(number, 0, 0), GET_NEXT_ID.size)
        try:
            bpf(command, buffer, GET_NEXT_ID.size, "")
        except OperationError as error:
            if error.number == errno.ENOENT:
                return
            raise
        number = GET_NEXT_ID.unpack(buffer.raw)[1]
        yield number
