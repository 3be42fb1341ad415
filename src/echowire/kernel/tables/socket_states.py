"""Every change of state of the TCP sockets of one network, by a BPF program at `inet_sock_set_state` (Linux 4.16).

The kernel's tracer has the same event, and does not say in which network namespace it was; the program looks, and
leaves the others out. Which changes are told is its choice too, so that one that nobody wants costs next to nothing.
What did not fit into the ring is counted. All of it hangs on descriptors, and ends with this process.
"""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack

from echowire.core.bpf.assembler import (
    BPF_DW,
    BPF_JEQ,
    BPF_JNE,
    BPF_W,
    R0,
    R1,
    R2,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    Part,
    assemble,
    atomic_add,
    emit_call,
    exit_insn,
    jmp_a,
    jmp_imm,
    jmp_reg,
    ldx_mem,
    mov64_imm,
    st_mem,
    stx_mem,
)
from echowire.core.owners.events import COMMON_BYTES, LOCAL_PORT_AT, NET_AT
from echowire.core.sockets import fields
from echowire.core.sockets.sock_diag import IPPROTO_TCP, swapped
from echowire.kernel.bpf import syscall as bpf
from echowire.kernel.bpf.helpers import look_up, read_kernel, tell
from echowire.kernel.bpf.socket_offsets import socket_offsets

RING_BYTES = 16 << 20
"""Of changes: 130,000, a second of a host that has 10,000 connections in it."""

RECORD = struct.Struct("=QQQII4s4s4xHHH38x16s16s")
"""Time, the socket's address in the kernel, process and thread, the states before and after; of `struct sock_common`
(net/sock.h) the peer's and our address and port, in the order of the network, the family, and IPv6's addresses."""

TIME, SOCKET, PROCESS, OLD, NEW, COMMON = (at - RECORD.size for at in (0, 8, 16, 24, 28, 32))
NAMESPACE, WANTED, KEY = -RECORD.size - 8, -RECORD.size - 12, -RECORD.size - 16
"""Where things are on the stack, from its end."""

assert RECORD.size == 32 + COMMON_BYTES

Change = tuple[int, int, int, int, int, int, int, bytes, bytes, bytes, bytes]
"""Family, our port, the peer's, the states before and after, the socket's address in the kernel, the process, our and
the peer's address of IPv4, and of IPv6."""


class SocketStates:
    """The changes from now on, in the network namespace whose inode is `namespace`; without `all_changes` those by
    which a connection begins or is over. Raises `OperationError` where the kernel says no.
    """

    def __init__(self, namespace: int, *, all_changes: bool) -> None:
        self._stack = ExitStack()
        self._missed = 0
        try:
            offsets = socket_offsets()
            self._ring = bpf.Ring(RING_BYTES, "ew_states")
            self._stack.callback(self._ring.close)
            self._lost = bpf.Map(bpf.BPF_MAP_TYPE_ARRAY, 4, 8, 1, "ew_lost")
            self._stack.callback(self._lost.close)
            instructions = _program(self._ring.fd, self._lost.fd, offsets, namespace, all_changes)
            program = bpf.load_program(bpf.BPF_PROG_TYPE_RAW_TRACEPOINT, instructions, "ew_changes")
            try:
                self._stack.callback(os.close, bpf.open_raw_tracepoint("inet_sock_set_state", program))
            finally:
                os.close(program)
        except BaseException:
            self._stack.close()
            raise

    def fileno(self) -> int:
        """The descriptor that is readable when there are changes."""
        return self._ring.fd

    def read(self) -> list[tuple[int, Change]]:
        """Monotonic time in nanoseconds, and what changed."""
        found = []
        unpack = RECORD.unpack
        for raw in self._ring.read():
            now, socket, both, old, new, peer, own, dport, sport, family, peer_v6, own_v6 = unpack(raw)
            ends = (swapped(sport), swapped(dport))
            found.append((now, (family, *ends, old, new, socket, both >> 32, own, peer, own_v6, peer_v6)))
        return found

    def missed(self) -> int:
        """How many were lost since this was last asked."""
        value = self._lost.lookup(bytes(4)) or bytes(8)
        (total,) = struct.unpack("=Q", value)
        missed, self._missed = total - self._missed, total
        return int(missed)

    def close(self) -> None:
        """End the program."""
        self._stack.close()


def _program(ring: int, lost: int, offsets: dict[str, int], namespace: int, all_changes: bool) -> bytes:
    """(socket, old state, new state)"""
    # To SYN_RECV a connection comes in, from CLOSE one goes out or a listener begins; CLOSE is the end of each.
    chosen: tuple[Part, ...] = (
        jmp_imm(BPF_JEQ, R9, fields.CLOSE, "chosen"),
        jmp_imm(BPF_JEQ, R8, fields.CLOSE, "chosen"),
        jmp_imm(BPF_JNE, R8, fields.SYN_RECV, "end"),
    )
    return assemble(
        ldx_mem(BPF_DW, R7, R1, 0),
        ldx_mem(BPF_DW, R9, R1, 8),
        ldx_mem(BPF_DW, R8, R1, 16),
        *(() if all_changes else chosen),
        Label("chosen"),
        # The verifier wants all of what is given away to be written.
        *(st_mem(BPF_DW, R10, COMMON + at, 0) for at in range(0, COMMON_BYTES, 8)),
        st_mem(BPF_DW, R10, NAMESPACE, 0),
        *read_kernel(NAMESPACE, 2, R7, offsets["protocol"]),
        ldx_mem(BPF_W, R1, R10, NAMESPACE),
        jmp_imm(BPF_JNE, R1, IPPROTO_TCP, "end"),
        *read_kernel(COMMON, COMMON_BYTES, R7, 0),
        ldx_mem(BPF_DW, R6, R10, COMMON + NET_AT),
        *read_kernel(NAMESPACE, 4, R6, offsets["namespace"]),
        st_mem(BPF_W, R10, WANTED, namespace if namespace < 1 << 31 else namespace - (1 << 32)),
        ldx_mem(BPF_W, R1, R10, NAMESPACE),
        ldx_mem(BPF_W, R2, R10, WANTED),
        jmp_reg(BPF_JNE, R1, R2, "end"),
        # sock_common's port is given back by the time of CLOSE, and is not there yet at SYN_RECV.
        *read_kernel(COMMON + LOCAL_PORT_AT, 2, R7, offsets["port"]),
        emit_call(bpf.BPF_FUNC_KTIME_GET_NS),
        stx_mem(BPF_DW, R10, R0, TIME),
        stx_mem(BPF_DW, R10, R7, SOCKET),
        emit_call(bpf.BPF_FUNC_GET_CURRENT_PID_TGID),
        stx_mem(BPF_DW, R10, R0, PROCESS),
        stx_mem(BPF_W, R10, R9, OLD),
        stx_mem(BPF_W, R10, R8, NEW),
        *tell(ring, TIME, RECORD.size),
        jmp_imm(BPF_JEQ, R0, 0, "end"),
        st_mem(BPF_W, R10, KEY, 0),
        *look_up(lost, KEY),
        jmp_imm(BPF_JEQ, R0, 0, "end"),
        mov64_imm(R1, 1),
        atomic_add(R0, R1, 0),
        jmp_a("end"),
        Label("end"),
        mov64_imm(R0, 0),
        exit_insn(),
    )
