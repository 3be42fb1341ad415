"""Sockets that the kernel echoes by itself: a map of sockets, and the program that turns each segment around.

A socket joins a BPF_MAP_TYPE_SOCKHASH under its cookie. From then on the map's stream-verdict program runs for each
segment that TCP has put in order, in the kernel's own receive path, and redirects it to the socket it came from; a
kernel worker sends it (net/core/skmsg.c, net/core/sock_map.c). No process is woken.

What the kernel does not do is hold a peer back. A redirected segment is taken out of the receive buffer's account at
once (tcp_read_skb orphans it, tcp_eat_skb opens the window again), and while the send buffer is full it waits in a
queue that has no limit and is charged to nobody: a peer that sent and did not read made this kernel hold 1 GiB within
a second. To take the socket out of the map does not help: the queue is thrown away then, and the program may vanish
in the middle of a batch, whose rest is dropped (sk_psock_verdict_recv). Nor does SO_RCVLOWAT: a window that is nearly
full counts as readable all the same (tcp_epollin_ready), and the program then takes everything at once. Nor does the
verdict SK_PASS, which leaves a segment to the process: behind redirected ones it waits in the same queue, from which
the worker charges it without the socket's lock (sk_psock_skb_ingress_self), and the kernel's count of TCP's memory
drifts (the "mem" of /proc/net/sockstat; a warning of inet_sock_destruct).

So the program looks at how far the peer is behind, which is bytes received less bytes acknowledged, both the
kernel's own counts, and there are two limits:

- Beyond `AHEAD_MAX_BYTES` it tells the process, once, by a ring buffer (epoll would wake the process for every segment
  if it watched for input), and goes on.
- Beyond `HOLD_TIMES` as much, should the process be slow to come, it enters the socket in the map of those who are
  held. A second program, a filter on each socket, looks there before TCP sees a packet, and drops what brings data or
  the end for a held one. To the peer it is a packet lost on the way: it sends it again, and slows down.

The process takes the socket over in steps. By SO_RCVLOWAT it has what comes left in the receive queue, as far as there
is room; it waits until the worker has sent all that was redirected, for which the send buffer (`SEND_BUFFER_BYTES`) has
room; it has the socket held, for microseconds; and if then still all is sent, it takes the socket out of the map of
sockets and releases it. Nothing is lost, as no queue has anything and nothing can come. What remains is a plain TCP
socket, which the process serves as in the readiness engine until the peer has caught up. Then the socket joins again.

Nor does the kernel hand over each byte once. A segment that repeats what TCP has already, and goes on with something
new, is queued whole, and whoever reads has to leave out what he had; tcp_recvmsg does, tcp_read_skb does not ("reads
entire skbs so there is no need to handle the 'offset!=0' case"). Such segments come whenever a sender has merged what
it repeats, after a loss or when a receive buffer was full: here one transfer of a gigabyte in eight came back with
some 65,483-byte segments doubled. A segment's sequence number lies where the program may look, at the beginning of
the control block (TCP_SKB_CB over sk_skb_cb.data, `__sk_buff.cb`), so it cuts off itself what is not new; that also
keeps right what tcp_eat_skb adds to copied_seq, without which the last bytes of a message would not be seen.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from echowire.errors import OperationError
from echowire.kernel import bpf
from echowire.kernel.boundary import operation
from echowire.wire import bpf_assembler as asm
from echowire.wire.bpf_assembler import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10
from echowire.wire.btf import member_offsets

AHEAD_MAX_BYTES = 1280 * 1024
"""Bytes received and not yet acknowledged up to which the kernel goes on by itself: more than the largest message of
our measurements, and 100 Mbit/s over a path of 100 ms. Beyond, the process echoes, as fast as the readiness engine."""

AHEAD_MAX_SEGMENTS = 1024
"""The same in segments, for those who send bytes one by one: each takes over a kilobyte of the kernel's memory."""

HOLD_TIMES = 4
"""At so many times these limits the peer is held without waiting for the process. A fast one needs a millisecond for
that; one held too early loses a few to repeat what was dropped."""

SEND_BUFFER_BYTES = 6 * 1024 * 1024
"""Set as SO_SNDBUF, which the kernel doubles (socket(7)): 12 MiB hold `HOLD_TIMES` times `AHEAD_MAX_BYTES`, and the
overhead of so many times `AHEAD_MAX_SEGMENTS` buffers of about 1,300 bytes. It is a limit: memory is taken as it fills,
which the limits above end before."""

RECEIVE_BUFFER_BYTES = 2 * 1024 * 1024
"""Set as SO_RCVBUF, which is doubled too, and then no longer grows by itself. To the kernel we are a peer that reads at
once, for whom it would make the window as large as it may (tcp_rmem, tcp(7); 32 MiB here), and all of that may come
while the process takes over."""

BY_HAND_BUFFER_BYTES = 2 * 1024 * 1024
"""The send buffer while the process serves; doubled it is what TCP gives a socket by itself at most (tcp_wmem)."""

BTF_PATH = Path("/sys/kernel/btf/vmlinux")

SO_COOKIE = 57  # asm-generic/socket.h
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # net.core.[rw]mem_max do not cap these; they need CAP_NET_ADMIN
SO_ATTACH_BPF = 50

SK_DROP = 0  # enum sk_action
CONTEXT_LEN, CONTEXT_CB, CONTEXT_SK = 0, 48, 168  # struct __sk_buff
ENTRY = struct.Struct("<6Q")
"""What the program keeps of a socket since it joined: bytes taken from it and redirected; for the count of segments,
the bytes that will have been received when the next count begins, the segments of this count, and those of the one
before; the sequence number that comes next, with a bit above it that says that it is known; and whether the process
has been told that the peer is far behind."""
TAKEN, COUNT_ENDS, COUNT, COUNT_BEFORE, NEXT, TOLD = range(0, 48, 8)
KNOWN_SHIFT = 32

TCP_DATA_OFFSET, TCP_FIN = 12, 0x01  # of the TCP header (RFC 9293 section 3.1): where it says its length, and a flag
WHOLE, NOTHING = -1, 0  # what a filter answers: how many bytes of the packet to keep

CUT_BYTES = 4095  # what bpf_skb_adjust_room takes away at a time (sk_skb_adjust_room, net/core/filter.c)
CUT_MAX_BYTES = 64 * CUT_BYTES
"""What is cut off a segment at most, so that the verifier sees the end of the loop. A segment has at most 64 KiB,
unless the interface was told to make larger ones."""
COOKIE = struct.Struct("<Q")


class EchoMap:
    """The map of sockets, its program, and what goes with them. Nothing outlives the process: nothing is pinned."""

    def __init__(self, sockets: int) -> None:
        """With room for so many sockets. Raises `OperationError`."""
        self._opened: list[bpf.Map | bpf.Ring] = []
        self._filter = -1
        try:
            self._entries = self._keep(_hash(ENTRY.size, sockets, "echowire_entry"))
            self._held = self._keep(_hash(COOKIE.size, sockets, "echowire_held"))
            self._sockets = self._keep(bpf.Map(bpf.BPF_MAP_TYPE_SOCKHASH, 8, 8, sockets, "echowire_socks"))
            # Two records a socket may wait at a time: that its peer is far behind, and that it is broken.
            self._ring = bpf.Ring(2 * sockets * (bpf.Ring.HEADER_BYTES + 2 * COOKIE.size), "echowire_ring")
            self._opened.append(self._ring)
            maps = (self._sockets.fd, self._entries.fd, self._held.fd, self._ring.fd)
            code = program(*maps, tcp_sock_offsets())
            loaded = bpf.load_program(bpf.BPF_PROG_TYPE_SK_SKB, code, "echowire_echo")
            try:
                bpf.attach(loaded, self._sockets.fd, bpf.BPF_SK_SKB_STREAM_VERDICT, "echowire_echo")
            finally:
                os.close(loaded)  # the map holds it now
            code = filter_program(self._held.fd)
            self._filter = bpf.load_program(bpf.BPF_PROG_TYPE_SOCKET_FILTER, code, "echowire_hold")
        except BaseException:
            self.close()
            raise

    @property
    def fd(self) -> int:
        """Readable when `overtaken` has something to tell."""
        return self._ring.fd

    def join(self, sock: socket.socket) -> bytes:
        """Have the kernel echo `sock` from now on, beginning with what has already come; its key.

        Raises `OperationError`: EOPNOTSUPP where the peer has already ended the connection. The socket is then as
        it was before.
        """
        with operation("getsockopt SO_COOKIE", "an accepted socket"):
            key = sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)
        self._entries.update(key, bytes(ENTRY.size))
        try:
            with operation("setsockopt SO_ATTACH_BPF", "an accepted socket"):
                sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, self._filter)
            self._sockets.update(key, COOKIE.pack(sock.fileno()))
            # What came before it joined lies in its receive queue, and the program is not run for that until more
            # comes, which may be never.
            take_at_once(sock)
        except OperationError:
            self._entries.delete(key)
            raise
        return key

    def leave(self, key: bytes) -> None:
        """Forget a socket that was taken out, or closed, which takes it out too; it is held no more."""
        self._entries.delete(key)
        self._held.delete(key)

    def overtaken(self) -> list[tuple[bytes, bool]]:
        """The keys of the sockets that the process must take over, and whether it must end them."""
        return [(record[-COOKIE.size :], len(record) > COOKIE.size) for record in self._ring.read()]

    def hold(self, key: bytes) -> None:
        """Have what comes for a socket dropped, for its peer to repeat."""
        self._held.update(key, key)

    def taken(self, key: bytes) -> int:
        """Bytes that the program has redirected, for the kernel's worker to send, since the socket joined."""
        entry = self._entries.lookup(key)
        return 0 if entry is None else int(ENTRY.unpack(entry)[0])

    def take_out(self, key: bytes) -> None:
        """Have a held socket, for which the worker has nothing in hand, be a plain one; `leave` then lets data in."""
        self._sockets.delete(key)

    def close(self) -> None:
        """Close all of it; sockets that have joined are no longer echoed."""
        for opened in self._opened:
            opened.close()
        self._opened.clear()
        if self._filter >= 0:
            os.close(self._filter)
            self._filter = -1

    def _keep(self, opened: bpf.Map) -> bpf.Map:
        self._opened.append(opened)
        return opened


def give_room(sock: socket.socket, sending: int = SEND_BUFFER_BYTES) -> None:
    """Give `sock`, or all that a listening `sock` will accept, the buffers that the program relies on."""
    with operation("setsockopt SO_SNDBUFFORCE", "a TCP socket"):
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, sending)
    with operation("setsockopt SO_RCVBUFFORCE", "a TCP socket"):
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)


def leave_in_queue(sock: socket.socket) -> None:
    """Have the program, or whoever reads `sock`, not be told of what comes as long as there is room for more."""
    _set_low_water(sock, RECEIVE_BUFFER_BYTES)


def take_at_once(sock: socket.socket) -> None:
    """Have the program, or whoever reads `sock`, be told of what is in its receive queue, and of all that comes."""
    _set_low_water(sock, 1)


def _set_low_water(sock: socket.socket, size: int) -> None:
    """Setting it looks at the queue at once (tcp_set_rcvlowat)."""
    with operation("setsockopt SO_RCVLOWAT", "a TCP socket"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)


@cache
def tcp_sock_offsets() -> Mapping[str, int]:
    """Where this kernel's `struct tcp_sock` has what the program reads. Raises `OperationError`."""
    with operation("read", BTF_PATH):
        btf = BTF_PATH.read_bytes()
    return member_offsets(btf, "tcp_sock", ("bytes_received", "bytes_acked", "copied_seq"))


def program(sockets: int, entries: int, held: int, ring: int, tcp_sock: Mapping[str, int]) -> bytes:
    """The verdict program over the four maps' descriptors; `tcp_sock` as above.

    R6 the context, R7 the segment's bytes (or those still to be cut off), R8 the entry, R9 bytes received and later
    how far the peer is behind; on the stack the cookie and, before it, the bytes acknowledged.
    """
    cookie, acked = -8, -16
    return asm.assemble(
        asm.mov64_reg(R6, R1),
        # A FIN may come as a segment without bytes. To redirect nothing would be taken for a broken pipe.
        asm.ldx_mem(asm.BPF_W, R7, R6, CONTEXT_LEN),
        asm.jmp_imm(asm.BPF_JEQ, R7, 0, "drop"),
        asm.emit_call(bpf.BPF_FUNC_GET_SOCKET_COOKIE),
        asm.stx_mem(asm.BPF_DW, R10, R0, cookie),
        *_lookup(entries, cookie),
        asm.jmp_imm(asm.BPF_JEQ, R0, 0, "drop"),  # cannot be: an entry is there as long as its socket is
        asm.mov64_reg(R8, R0),
        asm.ldx_mem(asm.BPF_DW, R1, R6, CONTEXT_SK),
        asm.jmp_imm(asm.BPF_JEQ, R1, 0, "drop"),  # cannot be, but the verifier wants it asked; the next one too
        asm.emit_call(bpf.BPF_FUNC_SKC_TO_TCP_SOCK),
        asm.jmp_imm(asm.BPF_JEQ, R0, 0, "drop"),
        asm.ldx_mem(asm.BPF_DW, R9, R0, tcp_sock["bytes_received"]),
        asm.ldx_mem(asm.BPF_DW, R1, R0, tcp_sock["bytes_acked"]),
        asm.stx_mem(asm.BPF_DW, R10, R1, acked),
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
        asm.Label("all is new"),
        asm.ldx_mem(asm.BPF_DW, R1, R8, TAKEN),
        asm.alu64_reg(asm.BPF_ADD, R1, R7),
        asm.stx_mem(asm.BPF_DW, R8, R1, TAKEN),
        asm.ldx_mem(asm.BPF_DW, R1, R10, acked),
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
        asm.jmp_imm(asm.BPF_JGT, R9, AHEAD_MAX_BYTES, "far"),
        asm.jmp_imm(asm.BPF_JGT, R4, AHEAD_MAX_SEGMENTS, "far"),
        asm.Label("redirect"),
        asm.mov64_reg(R1, R6),
        asm.ld_map_fd(R2, sockets),
        asm.mov64_reg(R3, R10),
        asm.alu64_imm(asm.BPF_ADD, R3, cookie),
        asm.mov64_imm(R4, 0),  # flags: not BPF_F_INGRESS, so out
        asm.emit_call(bpf.BPF_FUNC_SK_REDIRECT_HASH),
        asm.exit_insn(),
        asm.Label("far"),
        asm.jmp_imm(asm.BPF_JGT, R9, HOLD_TIMES * AHEAD_MAX_BYTES, "hold"),
        asm.jmp_imm(asm.BPF_JGT, R4, HOLD_TIMES * AHEAD_MAX_SEGMENTS, "hold"),
        asm.Label("tell"),
        asm.ldx_mem(asm.BPF_DW, R1, R8, TOLD),
        asm.jmp_imm(asm.BPF_JNE, R1, 0, "redirect"),
        asm.mov64_imm(R1, 1),
        asm.stx_mem(asm.BPF_DW, R8, R1, TOLD),
        asm.ld_map_fd(R1, ring),
        asm.mov64_reg(R2, R10),
        asm.alu64_imm(asm.BPF_ADD, R2, cookie),
        asm.mov64_imm(R3, COOKIE.size),
        asm.mov64_imm(R4, 0),
        asm.emit_call(bpf.BPF_FUNC_RINGBUF_OUTPUT),
        asm.jmp_a("redirect"),
        asm.Label("hold"),
        asm.ld_map_fd(R1, held),
        asm.mov64_reg(R2, R10),
        asm.alu64_imm(asm.BPF_ADD, R2, cookie),
        asm.mov64_reg(R3, R2),
        asm.mov64_imm(R4, 0),
        asm.emit_call(bpf.BPF_FUNC_MAP_UPDATE_ELEM),
        asm.jmp_a("tell"),
        asm.Label("cut"),
        # As said above: R2 bytes at its beginning are not new, and R1 comes next. Unless a kernel has learnt to cut
        # them off: then fewer are there than the sequence numbers say, of which a FIN takes one.
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
        asm.Label("broken"),
        # No memory to cut it: better no echo than a wrong one. A longer record says so, whose end is the cookie.
        asm.ld_map_fd(R1, ring),
        asm.mov64_reg(R2, R10),
        asm.alu64_imm(asm.BPF_ADD, R2, acked),
        asm.mov64_imm(R3, 2 * COOKIE.size),
        asm.mov64_imm(R4, 0),
        asm.emit_call(bpf.BPF_FUNC_RINGBUF_OUTPUT),
        asm.Label("drop"),
        asm.mov64_imm(R0, SK_DROP),
        asm.exit_insn(),
    )


def filter_program(held: int) -> bytes:
    """The filter on each socket: drops what brings data or a FIN for one that is held. R6 the context."""
    cookie, header = -8, -16
    return asm.assemble(
        asm.mov64_reg(R6, R1),
        asm.emit_call(bpf.BPF_FUNC_GET_SOCKET_COOKIE),
        asm.stx_mem(asm.BPF_DW, R10, R0, cookie),
        *_lookup(held, cookie),
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


def _hash(value_size: int, entries: int, name: str) -> bpf.Map:
    """A map by cookie that takes little memory as long as few are in it."""
    return bpf.Map(bpf.BPF_MAP_TYPE_HASH, COOKIE.size, value_size, entries, name, bpf.BPF_F_NO_PREALLOC)


def _adjust_room() -> tuple[asm.Part, ...]:
    """Add R2 bytes, or take -R2 away, at the beginning of the segment."""
    return (
        asm.mov64_reg(R1, R6),
        asm.mov64_imm(R3, 0),  # mode
        asm.mov64_imm(R4, 0),  # flags
        asm.emit_call(bpf.BPF_FUNC_SKB_ADJUST_ROOM),
    )


def _lookup(table: int, key: int) -> tuple[asm.Part, ...]:
    """R0 = the value in `table` under the key on the stack, or 0."""
    return (
        asm.ld_map_fd(R1, table),
        asm.mov64_reg(R2, R10),
        asm.alu64_imm(asm.BPF_ADD, R2, key),
        asm.emit_call(bpf.BPF_FUNC_MAP_LOOKUP_ELEM),
    )
