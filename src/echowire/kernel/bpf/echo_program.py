"""The three BPF programs of the kernel's echo: one turns each segment around, one holds back who is too far ahead, one
tells of ends.

`echowire.kernel.bpf.echo_map` loads them, and says how they and the process work together. This is about what the first
must see to beyond that.

The kernel does not hand over each byte once. A segment that repeats what TCP has already, and goes on with something
new, is queued whole, and whoever reads has to leave out what he had; tcp_recvmsg does, tcp_read_skb does not ("reads
entire skbs so there is no need to handle the 'offset!=0' case"). Such segments come whenever a sender has merged what
it repeats, after a loss or when a receive buffer was full: here one transfer of a gigabyte in eight came back with
some 65,483-byte segments doubled. A segment's sequence number lies where the program may look, at the beginning of
the control block (TCP_SKB_CB over sk_skb_cb.data, `__sk_buff.cb`), so it cuts off itself what is not new; that also
keeps right what tcp_eat_skb adds to copied_seq, without which the last bytes of a message would not be seen.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache

from echowire.core.bpf import assembler as asm
from echowire.core.bpf.assembler import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10
from echowire.core.bpf.btf import member_offsets
from echowire.kernel.boundary import operation
from echowire.kernel.bpf import syscall as bpf
from echowire.kernel.bpf.helpers import look_up, read_kernel, tell

AHEAD_MAX_BYTES = 1280 * 1024
"""Bytes received and not yet acknowledged up to which the kernel goes on by itself: more than the largest message of
our measurements, and 100 Mbit/s over a path of 100 ms. Beyond, the process echoes, as fast as the readiness engine."""

AHEAD_MAX_SEGMENTS = 1024
"""The same in segments, for those who send bytes one by one: each takes over a kilobyte of the kernel's memory."""

HOLD_TIMES = 4
"""At so many times these limits the peer is held without waiting for the process. A fast one needs a millisecond for
that; one held too early loses a few to repeat what was dropped."""

SK_DROP = 0  # enum sk_action
CONTEXT_LEN, CONTEXT_CB, CONTEXT_SK = 0, 48, 168  # struct __sk_buff
ENTRY = struct.Struct("<7Q")
"""What the programs keep of a socket since it joined: bytes taken from it and redirected; for the count of segments,
the bytes that will have been received when the next count begins, the segments of this count, and those of the one
before; the sequence number that comes next, with a bit above it that says that it is known; whether the process has
been told that the peer is far behind; and what it was last told of the end."""
TAKEN, COUNT_ENDS, COUNT, COUNT_BEFORE, NEXT, TOLD, END_TOLD = range(0, 56, 8)
KNOWN_SHIFT = 32

TCP_DATA_OFFSET, TCP_FIN = 12, 0x01  # of the TCP header (RFC 9293 section 3.1): where it says its length, and a flag
WHOLE, NOTHING = -1, 0  # what a filter answers: how many bytes of the packet to keep

INDEX, COUNT_OF_HELD = struct.Struct("<I"), struct.Struct("<Q")
HELD, RELEASED = 0, 1
"""How many sockets the program has held; and how many were released, less those that the process has held. Each is
written by one side alone, and they are equal when nobody is held."""

CUT_BYTES = 4095  # what bpf_skb_adjust_room takes away at a time (sk_skb_adjust_room, net/core/filter.c)
CUT_MAX_BYTES = 64 * CUT_BYTES
"""What is cut off a segment at most, so that the verifier sees the end of the loop. A segment has at most 64 KiB,
unless the interface was told to make larger ones."""
COOKIE = struct.Struct("<Q")

RECORD = struct.Struct(f"<Q{COOKIE.size}s")
"""What the programs tell: one of the following, and the key of the socket that it is about, which is its cookie."""
FAR_BEHIND, BROKEN, PEER_ENDED, CONNECTION_CLOSED = range(1, 5)
"""Its peer does not keep up; bytes of it are lost; FIN received; it was reset, or TCP gave it up."""

COOKIE_AT, ACKED_AT, TOLD_AT = -8, -16, -16
"""Where the verdict program has on its stack the cookie, and before it the bytes acknowledged or what it tells, which
are never needed at once."""

STATE_CHANGE = "inet_sock_set_state"
STATE_SOCK, STATE_OLD, STATE_NEW = 0, 8, 16
"""That tracepoint (trace/events/sock.h), and where its arguments are."""
TCP_ESTABLISHED, TCP_CLOSE, TCP_CLOSE_WAIT = 1, 7, 8  # net/tcp_states.h


@cache
def cookie_offset() -> int:
    """Where this kernel's `struct sock` has its cookie. Raises `OperationError`."""
    return _offsets("sock_common", ("skc_cookie",))["skc_cookie"]


@cache
def tcp_sock_offsets() -> Mapping[str, int]:
    """Where this kernel's `struct tcp_sock` has what the program reads. Raises `OperationError`."""
    return _offsets("tcp_sock", ("bytes_received", "bytes_acked", "copied_seq"))


def program(
    sockets: int,
    entries: int,
    held: int,
    counts: int,
    ring: int,
    tcp_sock: Mapping[str, int],
    ahead_bytes: int = AHEAD_MAX_BYTES,
) -> bytes:
    """The verdict program over the five maps' descriptors; `tcp_sock` as above, `ahead_bytes` as `AHEAD_MAX_BYTES`.

    R6 the context, R7 the segment's bytes (or those still to be cut off), R8 the entry, R9 bytes received and later
    how far the peer is behind; on the stack what is at `COOKIE_AT` and `ACKED_AT`, or what is told.
    """
    return asm.assemble(
        *_look_at_socket(entries, tcp_sock),
        *_look_at_sequence(tcp_sock),
        asm.Label("all is new"),
        *_count(ahead_bytes),
        asm.Label("redirect"),
        *_redirect(sockets),
        asm.Label("far"),
        *_hold_or_tell(held, counts, ring, ahead_bytes),
        asm.Label("cut"),
        *_cut(),
        asm.Label("broken"),
        # No memory to cut it: better no echo than a wrong one.
        asm.st_mem(asm.BPF_DW, R10, TOLD_AT, BROKEN),
        *tell(ring, TOLD_AT, RECORD.size),
        asm.Label("drop"),
        asm.mov64_imm(R0, SK_DROP),
        asm.exit_insn(),
    )


def _look_at_socket(entries: int, tcp_sock: Mapping[str, int]) -> tuple[asm.Part, ...]:
    """Find the entry of the segment's socket, and what TCP has received and acknowledged; R0 is then the socket."""
    return (
        asm.mov64_reg(R6, R1),
        # A FIN may come as a segment without bytes. To redirect nothing would be taken for a broken pipe.
        asm.ldx_mem(asm.BPF_W, R7, R6, CONTEXT_LEN),
        asm.jmp_imm(asm.BPF_JEQ, R7, 0, "drop"),
        asm.emit_call(bpf.BPF_FUNC_GET_SOCKET_COOKIE),
        asm.stx_mem(asm.BPF_DW, R10, R0, COOKIE_AT),
        *look_up(entries, COOKIE_AT),
        asm.jmp_imm(asm.BPF_JEQ, R0, 0, "drop"),  # cannot be: an entry is there as long as its socket is
        asm.mov64_reg(R8, R0),
        asm.ldx_mem(asm.BPF_DW, R1, R6, CONTEXT_SK),
        asm.jmp_imm(asm.BPF_JEQ, R1, 0, "drop"),  # cannot be, but the verifier wants it asked; the next one too
        asm.emit_call(bpf.BPF_FUNC_SKC_TO_TCP_SOCK),
        asm.jmp_imm(asm.BPF_JEQ, R0, 0, "drop"),
        asm.ldx_mem(asm.BPF_DW, R9, R0, tcp_sock["bytes_received"]),
        asm.ldx_mem(asm.BPF_DW, R1, R0, tcp_sock["bytes_acked"]),
        asm.stx_mem(asm.BPF_DW, R10, R1, ACKED_AT),
    )


def _look_at_sequence(tcp_sock: Mapping[str, int]) -> tuple[asm.Part, ...]:
    """Tell how many bytes at the segment's beginning are not new (R2, for "cut"), and which one comes after it (R1)."""
    return (
        # R1 the segment's sequence number, R2 the one that comes next: before the first segment, what TCP says.
        asm.ldx_mem(asm.BPF_W, R1, R6, CONTEXT_CB),
        asm.ldx_mem(asm.BPF_DW, R2, R8, NEXT),
        asm.jmp_imm(asm.BPF_JNE, R2, 0, "next is known"),
        asm.ldx_mem(asm.BPF_W, R2, R0, tcp_sock["copied_seq"]),
        asm.Label("next is known"),
        asm.alu64_reg(asm.BPF_SUB, R2, R1),
        # Sequence numbers are 32 bits and wrap: their difference, with its sign (RFC 9293 section 3.4).
        asm.alu64_imm(asm.BPF_LSH, R2, 32),
        asm.alu64_imm(asm.BPF_ARSH, R2, 32),
        asm.alu64_reg(asm.BPF_ADD, R1, R7),
        asm.alu64_imm(asm.BPF_LSH, R1, 32),
        asm.alu64_imm(asm.BPF_RSH, R1, 32),
        asm.mov64_imm(R3, 1),
        asm.alu64_imm(asm.BPF_LSH, R3, KNOWN_SHIFT),
        asm.alu64_reg(asm.BPF_OR, R1, R3),
        asm.jmp_imm(asm.BPF_JSGT, R2, 0, "cut"),
        asm.stx_mem(asm.BPF_DW, R8, R1, NEXT),
    )


def _count(ahead_bytes: int) -> tuple[asm.Part, ...]:
    """Count bytes and segments, and tell by them whether the peer is far behind: R9 bytes, R4 segments."""
    return (
        asm.ldx_mem(asm.BPF_DW, R1, R8, TAKEN),
        asm.alu64_reg(asm.BPF_ADD, R1, R7),
        asm.stx_mem(asm.BPF_DW, R8, R1, TAKEN),
        asm.ldx_mem(asm.BPF_DW, R1, R10, ACKED_AT),
        # Segments since a moment from which not all has been acknowledged yet: never fewer than are under way.
        asm.ldx_mem(asm.BPF_DW, R3, R8, COUNT_ENDS),
        asm.ldx_mem(asm.BPF_DW, R4, R8, COUNT),
        asm.ldx_mem(asm.BPF_DW, R5, R8, COUNT_BEFORE),
        asm.jmp_reg(asm.BPF_JGT, R3, R1, "same count"),
        asm.mov64_reg(R5, R4),
        asm.stx_mem(asm.BPF_DW, R8, R5, COUNT_BEFORE),
        asm.stx_mem(asm.BPF_DW, R8, R9, COUNT_ENDS),
        asm.mov64_imm(R4, 0),
        asm.Label("same count"),
        asm.alu64_imm(asm.BPF_ADD, R4, 1),
        asm.stx_mem(asm.BPF_DW, R8, R4, COUNT),
        asm.alu64_reg(asm.BPF_ADD, R4, R5),
        asm.alu64_reg(asm.BPF_SUB, R9, R1),
        asm.jmp_imm(asm.BPF_JGT, R9, ahead_bytes, "far"),
        asm.jmp_imm(asm.BPF_JGT, R4, AHEAD_MAX_SEGMENTS, "far"),
    )


def _redirect(sockets: int) -> tuple[asm.Part, ...]:
    """Send the segment out by the socket that it came in by."""
    return (
        asm.mov64_reg(R1, R6),
        asm.ld_map_fd(R2, sockets),
        asm.mov64_reg(R3, R10),
        asm.alu64_imm(asm.BPF_ADD, R3, COOKIE_AT),
        asm.mov64_imm(R4, 0),  # flags: not BPF_F_INGRESS, so out
        asm.emit_call(bpf.BPF_FUNC_SK_REDIRECT_HASH),
        asm.exit_insn(),
    )


def _hold_or_tell(held: int, counts: int, ring: int, ahead_bytes: int) -> tuple[asm.Part, ...]:
    """Tell the process, once, of a peer that is far behind; hold one that is still further behind at once."""
    return (
        asm.jmp_imm(asm.BPF_JGT, R9, HOLD_TIMES * ahead_bytes, "hold"),
        asm.jmp_imm(asm.BPF_JGT, R4, HOLD_TIMES * AHEAD_MAX_SEGMENTS, "hold"),
        asm.Label("tell"),
        asm.ldx_mem(asm.BPF_DW, R1, R8, TOLD),
        asm.jmp_imm(asm.BPF_JNE, R1, 0, "redirect"),
        asm.mov64_imm(R1, 1),
        asm.stx_mem(asm.BPF_DW, R8, R1, TOLD),
        asm.st_mem(asm.BPF_DW, R10, TOLD_AT, FAR_BEHIND),
        *tell(ring, TOLD_AT, RECORD.size),
        asm.jmp_a("redirect"),
        asm.Label("hold"),
        asm.ld_map_fd(R1, held),
        asm.mov64_reg(R2, R10),
        asm.alu64_imm(asm.BPF_ADD, R2, COOKIE_AT),
        asm.mov64_reg(R3, R2),
        asm.mov64_imm(R4, bpf.BPF_NOEXIST),
        asm.emit_call(bpf.BPF_FUNC_MAP_UPDATE_ELEM),
        asm.jmp_imm(asm.BPF_JNE, R0, 0, "tell"),  # it is held already
        asm.st_mem(asm.BPF_W, R10, ACKED_AT, HELD),
        *look_up(counts, ACKED_AT),
        asm.jmp_imm(asm.BPF_JEQ, R0, 0, "tell"),
        asm.mov64_imm(R1, 1),
        asm.atomic_add(R0, R1, 0),
        asm.jmp_a("tell"),
    )


def _cut() -> tuple[asm.Part, ...]:
    """Cut off what is not new: as said above, R2 bytes at the beginning are not, and R1 comes next.

    Unless a kernel has learnt to cut them off: then fewer are there than the sequence numbers say, of which a FIN
    takes one.
    """
    return (
        asm.ldx_mem(asm.BPF_W, R3, R6, CONTEXT_CB + 4),
        asm.ldx_mem(asm.BPF_W, R4, R6, CONTEXT_CB),
        asm.alu64_reg(asm.BPF_SUB, R3, R4),
        asm.alu64_imm(asm.BPF_LSH, R3, 32),
        asm.alu64_imm(asm.BPF_RSH, R3, 32),
        asm.alu64_imm(asm.BPF_SUB, R3, 1),
        asm.jmp_reg(asm.BPF_JGT, R3, R7, "cut already"),
        asm.jmp_reg(asm.BPF_JGE, R2, R7, "nothing is new"),
        asm.stx_mem(asm.BPF_DW, R8, R1, NEXT),
        asm.mov64_reg(R7, R2),
        asm.Label("nothing is new"),
        asm.jmp_imm(asm.BPF_JGT, R7, CUT_MAX_BYTES, "broken"),
        asm.Label("cut on"),
        asm.jmp_imm(asm.BPF_JLE, R7, CUT_BYTES, "last cut"),
        asm.mov64_imm(R2, -CUT_BYTES),
        *_adjust_room(),
        asm.jmp_imm(asm.BPF_JNE, R0, 0, "broken"),
        asm.alu64_imm(asm.BPF_SUB, R7, CUT_BYTES),
        asm.jmp_a("cut on"),
        asm.Label("last cut"),
        asm.mov64_imm(R2, 0),
        asm.alu64_reg(asm.BPF_SUB, R2, R7),
        *_adjust_room(),
        asm.jmp_imm(asm.BPF_JNE, R0, 0, "broken"),
        asm.ldx_mem(asm.BPF_W, R7, R6, CONTEXT_LEN),
        asm.jmp_imm(asm.BPF_JEQ, R7, 0, "drop"),
        asm.jmp_a("all is new"),
        asm.Label("cut already"),
        asm.alu64_reg(asm.BPF_ADD, R1, R2),
        asm.stx_mem(asm.BPF_DW, R8, R1, NEXT),
        asm.jmp_a("all is new"),
    )


def filter_program(held: int, counts: int) -> bytes:
    """The filter on each socket: drops what brings data or a FIN for one that is held. R6 the context."""
    cookie, header, index = -8, -16, -24
    return asm.assemble(
        asm.mov64_reg(R6, R1),
        asm.st_mem(asm.BPF_W, R10, index, HELD),
        *look_up(counts, index),
        asm.jmp_imm(asm.BPF_JEQ, R0, 0, "keep"),
        asm.ldx_mem(asm.BPF_DW, R7, R0, 0),
        asm.st_mem(asm.BPF_W, R10, index, RELEASED),
        *look_up(counts, index),
        asm.jmp_imm(asm.BPF_JEQ, R0, 0, "keep"),
        asm.ldx_mem(asm.BPF_DW, R1, R0, 0),
        asm.jmp_reg(asm.BPF_JEQ, R1, R7, "keep"),
        asm.mov64_reg(R1, R6),
        asm.emit_call(bpf.BPF_FUNC_GET_SOCKET_COOKIE),
        asm.stx_mem(asm.BPF_DW, R10, R0, cookie),
        *look_up(held, cookie),
        asm.jmp_imm(asm.BPF_JEQ, R0, 0, "keep"),
        asm.mov64_reg(R1, R6),
        asm.mov64_imm(R2, TCP_DATA_OFFSET),
        asm.mov64_reg(R3, R10),
        asm.alu64_imm(asm.BPF_ADD, R3, header),
        asm.mov64_imm(R4, 2),
        asm.emit_call(bpf.BPF_FUNC_SKB_LOAD_BYTES),
        asm.jmp_imm(asm.BPF_JNE, R0, 0, "keep"),
        asm.ldx_mem(asm.BPF_B, R1, R10, header + 1),
        asm.alu64_imm(asm.BPF_AND, R1, TCP_FIN),
        asm.jmp_imm(asm.BPF_JNE, R1, 0, "drop"),
        # The header's length in words of four bytes is in the upper four bits.
        asm.ldx_mem(asm.BPF_B, R1, R10, header),
        asm.alu64_imm(asm.BPF_RSH, R1, 4),
        asm.alu64_imm(asm.BPF_LSH, R1, 2),
        asm.ldx_mem(asm.BPF_W, R2, R6, CONTEXT_LEN),
        asm.jmp_reg(asm.BPF_JGT, R2, R1, "drop"),
        asm.Label("keep"),
        asm.mov64_imm(R0, WHOLE),
        asm.exit_insn(),
        asm.Label("drop"),
        asm.mov64_imm(R0, NOTHING),
        asm.exit_insn(),
    )


def end_program(entries: int, ring: int, cookie_at: int) -> bytes:
    """The program at `STATE_CHANGE`: tells, once, of a socket with an entry that its peer has ended it, or that it is
    closed, unless the process has ended it before. R6 the socket, R7 what it tells; `cookie_at` as above.

    It runs just before the socket has its new state (inet_sk_state_store): whoever is told must believe it, and not
    ask the socket. And it does not run within itself (`active` of struct bpf_prog, kernel/trace/bpf_trace.c): where a
    process closes a socket, and a packet that ends another one comes in on that processor while the program runs, the
    kernel passes over it. So it is loaded and attached twice: then the other one runs, as packets do not come in
    within packets.
    """
    cookie, what = -8, -16
    return asm.assemble(
        asm.mov64_imm(R7, PEER_ENDED),
        asm.ldx_mem(asm.BPF_DW, R2, R1, STATE_NEW),
        asm.jmp_imm(asm.BPF_JEQ, R2, TCP_CLOSE_WAIT, "ended"),
        asm.jmp_imm(asm.BPF_JNE, R2, TCP_CLOSE, "others"),
        asm.mov64_imm(R7, CONNECTION_CLOSED),
        asm.ldx_mem(asm.BPF_DW, R2, R1, STATE_OLD),
        asm.jmp_imm(asm.BPF_JEQ, R2, TCP_ESTABLISHED, "ended"),
        asm.jmp_imm(asm.BPF_JNE, R2, TCP_CLOSE_WAIT, "others"),
        asm.Label("ended"),
        asm.ldx_mem(asm.BPF_DW, R6, R1, STATE_SOCK),
        *read_kernel(cookie, COOKIE.size, R6, cookie_at),
        *look_up(entries, cookie),
        asm.jmp_imm(asm.BPF_JEQ, R0, 0, "others"),
        asm.ldx_mem(asm.BPF_DW, R1, R0, END_TOLD),
        asm.jmp_reg(asm.BPF_JGE, R1, R7, "others"),
        asm.stx_mem(asm.BPF_DW, R0, R7, END_TOLD),
        asm.stx_mem(asm.BPF_DW, R10, R7, what),
        *tell(ring, what, RECORD.size),
        asm.Label("others"),
        asm.mov64_imm(R0, 0),
        asm.exit_insn(),
    )


def _offsets(structure: str, members: Sequence[str]) -> Mapping[str, int]:
    with operation("read", bpf.BTF):
        btf = bpf.type_information()
    return member_offsets(btf, structure, members)


def _adjust_room() -> tuple[asm.Part, ...]:
    """Add R2 bytes, or take -R2 away, at the beginning of the segment."""
    return (
        asm.mov64_reg(R1, R6),
        asm.mov64_imm(R3, 0),  # mode
        asm.mov64_imm(R4, 0),  # flags
        asm.emit_call(bpf.BPF_FUNC_SKB_ADJUST_ROOM),
    )
