"""Which process has which socket: those there are, from /proc, and those to come, from the kernel's own tracepoints.

A socket that lives for milliseconds is gone before /proc could be asked, so the kernel is asked to tell: two small BPF
programs run where a TCP socket changes its state (`inet_sock_set_state`, in the process for connect and close) and
where a process sends or receives (`sock_send_length`, `sock_recv_length`, Linux 6.3), and write who it is into a ring.
The second is for what connect does not tell, accepted connections and UDP, and speaks once for each socket and
process. All of it hangs on descriptors: it ends with this process, however that ends, and goes on when root is given
up. Without CAP_BPF and CAP_PERFMON there is /proc alone, looked at when a packet is not known.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self, TypeAlias

from echowire.core.bpf.assembler import (
    BPF_ADD,
    BPF_DW,
    BPF_JEQ,
    BPF_JNE,
    BPF_RSH,
    BPF_W,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    Part,
    alu64_imm,
    assemble,
    emit_call,
    exit_insn,
    jmp_a,
    jmp_imm,
    jmp_reg,
    ld_map_fd,
    ldx_mem,
    mov64_imm,
    mov64_reg,
    st_mem,
    stx_mem,
)
from echowire.core.owners.events import (
    ACCEPTED,
    ANY_ADDRESS,
    CLOSED,
    COMMON_BYTES,
    CONNECTING,
    ESTABLISHED,
    FIN_WAIT_1,
    INPUT_OUTPUT,
    LAST_ACK,
    LOCAL_PORT_AT,
    NET_AT,
    RECORD,
    OwnerEvent,
    mapped,
    normal,
    parse_event,
)
from echowire.core.packets.processes import Owner
from echowire.core.sockets.fields import HOLDER
from echowire.kernel.bpf import syscall as bpf
from echowire.kernel.bpf.helpers import look_up, read_kernel, tell
from echowire.kernel.bpf.socket_offsets import socket_offsets
from echowire.kernel.tables import control_groups, processes, procfs
from echowire.kernel.tables.interfaces import host_addresses

RING_BYTES = 4 << 20
"""Of events: 26,000, some seconds' connections of a busy host."""

SEEN_SOCKETS = 65_536
"""Sockets whose process was told already; the one unused for longest is told again."""

SYN_SENT, SYN_RECV = 2, 3
TIME, SOCKET, PROCESS, NAME, KIND, NAMESPACE, PROTOCOL, USER, GROUP, COMMON = (
    at - RECORD.size for at in (0, 8, 16, 24, 40, 44, 48, 52, 56, 64)
)
"""Where the parts of a record are on the stack, from its end."""
SEEN_KEY, SEEN_VALUE = -RECORD.size - 16, -RECORD.size - 8
KNOWN_OWNERS = 4096
"""Processes whose name, user and unit are remembered."""


Key: TypeAlias = tuple[int, bytes, int, bytes, int]
"""Protocol, own address and port, the peer's (`ANY_ADDRESS` and 0 where there is none)."""


class SocketOwners:
    """Events of sockets, from now on. Used as a context manager. Raises `OperationError` where the kernel says no."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        try:
            offsets = socket_offsets()
            self._ring = bpf.Ring(RING_BYTES, "ew_owners")
            self._stack.callback(self._ring.close)
            seen = bpf.Map(bpf.BPF_MAP_TYPE_LRU_HASH, 8, 8, SEEN_SOCKETS, "ew_seen")
            self._stack.callback(seen.close)
            states = _state_program(self._ring.fd, offsets)
            uses = _use_program(self._ring.fd, seen.fd, offsets)
            self._attach("inet_sock_set_state", states, "ew_states")
            for name in ("sock_send_length", "sock_recv_length"):
                self._attach(name, uses, "ew_uses")
        except BaseException:
            self._stack.close()
            raise

    def _attach(self, tracepoint: str, instructions: bytes, name: str) -> None:
        program = bpf.load_program(bpf.BPF_PROG_TYPE_RAW_TRACEPOINT, instructions, name)
        try:
            self._stack.callback(os.close, bpf.open_raw_tracepoint(tracepoint, program))
        finally:
            os.close(program)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the programs."""
        self._stack.close()

    def events(self) -> Iterator[OwnerEvent]:
        """What has happened since the last look."""
        for raw in self._ring.read():
            event = parse_event(raw)
            if event is not None:
                yield event


def existing(kinds: Sequence[Literal["tcp", "udp"]] = ("tcp", "udp")) -> Iterator[tuple[Key, Owner | None]]:
    """The TCP and UDP sockets of this namespace whose holders may be seen; None where they are several."""
    entries = [({"tcp": 6, "udp": 17}[kind], one) for kind in kinds for one in procfs.sockets(kind)]
    holders, _ = processes.socket_holders()
    found: dict[Key, set[int]] = {}
    for protocol, one in entries:
        if one.state != "LISTEN" and one.inode in holders:
            peer = (_packed(one.peer.host), one.peer.port) if one.peer else (ANY_ADDRESS, 0)
            key = (protocol, _packed(one.local.host), one.local.port, *peer)
            found.setdefault(key, set()).update(pid for pid, _ in HOLDER.iter_unpack(holders[one.inode]))
    for key, pids in found.items():
        yield key, owner_of(pids.pop(), "?", 0) if len(pids) == 1 else None


def own_addresses() -> frozenset[bytes]:
    """The addresses of this namespace's interfaces. Raises `OperationError`."""
    return frozenset(_packed(host) for host in host_addresses())


def _packed(host: str) -> bytes:
    return normal(socket.inet_pton(socket.AF_INET6, host) if ":" in host else mapped(socket.inet_aton(host)))


@lru_cache(KNOWN_OWNERS)
def owner_of(pid: int, name: str, thread: int, user: int | None = None, group: int = 0) -> Owner:
    """A process with its user, and its container or unit. Of one that is gone, what the kernel told of it must do:
    `name`, `user` and the number of its control group.
    """
    uid = processes.user_of(pid)
    if uid is not None:
        own = processes.name_of(pid)
        name = name if own == "?" else own
        unit = processes.unit_of(pid)
    else:
        uid, unit = user, processes.unit_in(f"0::{control_groups.path_of(group)}") if group else ""
    of = ["" if uid is None else processes.user_name(uid), unit]
    return Owner(pid, name, ", ".join(one for one in of if one), thread)


def lives(pid: int) -> bool:
    """Whether there is a process `pid`."""
    return processes.user_of(pid) is not None


def network_namespace() -> int:
    """The number of this thread's; 0 where it cannot be told."""
    with suppress(OSError):
        return Path("/proc/thread-self/ns/net").stat().st_ino
    return 0


def _state_program(ring: int, offsets: dict[str, int]) -> bytes:
    """(socket, old state, new state): told are connect, its success or failure, what comes in, and close."""
    return assemble(
        ldx_mem(BPF_DW, R7, R1, 0),
        ldx_mem(BPF_DW, R9, R1, 8),
        ldx_mem(BPF_DW, R8, R1, 16),
        *(jmp_imm(BPF_JEQ, R8, state, "tell") for state in (CONNECTING, FIN_WAIT_1, LAST_ACK)),
        jmp_imm(BPF_JEQ, R8, CLOSED, "closed"),
        jmp_imm(BPF_JNE, R8, ESTABLISHED, "end"),
        jmp_imm(BPF_JEQ, R9, SYN_SENT, "tell"),
        mov64_imm(R8, ACCEPTED),
        jmp_a("tell"),
        Label("closed"),
        jmp_imm(BPF_JNE, R9, SYN_SENT, "end"),
        *_tell(ring, offsets),
    )


def _use_program(ring: int, seen: int, offsets: dict[str, int]) -> bytes:
    """(socket, result, flags): told once of each socket, process, and pair of ports."""
    return assemble(
        ldx_mem(BPF_DW, R7, R1, 0),
        mov64_imm(R8, INPUT_OUTPUT),
        stx_mem(BPF_DW, R10, R7, SEEN_KEY),
        emit_call(bpf.BPF_FUNC_GET_CURRENT_PID_TGID),
        alu64_imm(BPF_RSH, R0, 32),
        st_mem(BPF_DW, R10, SEEN_VALUE, 0),
        stx_mem(BPF_W, R10, R0, SEEN_VALUE),
        *read_kernel(SEEN_VALUE + 4, 4, R7, 12),
        *look_up(seen, SEEN_KEY),
        jmp_imm(BPF_JEQ, R0, 0, "new"),
        ldx_mem(BPF_DW, R1, R0, 0),
        ldx_mem(BPF_DW, R2, R10, SEEN_VALUE),
        jmp_reg(BPF_JEQ, R1, R2, "end"),
        Label("new"),
        ld_map_fd(R1, seen),
        mov64_reg(R2, R10),
        alu64_imm(BPF_ADD, R2, SEEN_KEY),
        mov64_reg(R3, R10),
        alu64_imm(BPF_ADD, R3, SEEN_VALUE),
        mov64_imm(R4, 0),
        emit_call(bpf.BPF_FUNC_MAP_UPDATE_ELEM),
        jmp_a("tell"),
        *_tell(ring, offsets),
    )


def _tell(ring: int, offsets: dict[str, int]) -> tuple[Part, ...]:
    """Write a record of the socket R7 and the kind R8, and end."""
    return (
        Label("tell"),
        emit_call(bpf.BPF_FUNC_KTIME_GET_NS),
        stx_mem(BPF_DW, R10, R0, TIME),
        stx_mem(BPF_DW, R10, R7, SOCKET),
        emit_call(bpf.BPF_FUNC_GET_CURRENT_PID_TGID),
        stx_mem(BPF_DW, R10, R0, PROCESS),
        mov64_reg(R1, R10),
        alu64_imm(BPF_ADD, R1, NAME),
        mov64_imm(R2, 16),
        emit_call(bpf.BPF_FUNC_GET_CURRENT_COMM),
        stx_mem(BPF_W, R10, R8, KIND),
        st_mem(BPF_W, R10, NAMESPACE, 0),
        st_mem(BPF_DW, R10, PROTOCOL, 0),
        emit_call(bpf.BPF_FUNC_GET_CURRENT_UID_GID),
        stx_mem(BPF_W, R10, R0, USER),
        emit_call(bpf.BPF_FUNC_GET_CURRENT_CGROUP_ID),
        stx_mem(BPF_DW, R10, R0, GROUP),
        *read_kernel(COMMON, COMMON_BYTES, R7, 0),
        jmp_imm(BPF_JNE, R8, CLOSED, "bound"),  # the port was given back by now, but is still to be read
        *read_kernel(COMMON + LOCAL_PORT_AT, 2, R7, offsets["port"]),
        Label("bound"),
        *read_kernel(PROTOCOL, 2, R7, offsets["protocol"]),
        ldx_mem(BPF_DW, R6, R10, COMMON + NET_AT),
        *read_kernel(NAMESPACE, 4, R6, offsets["namespace"]),
        *tell(ring, TIME, RECORD.size),
        Label("end"),
        mov64_imm(R0, 0),
        exit_insn(),
    )
