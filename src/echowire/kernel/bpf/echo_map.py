"""Sockets that the kernel echoes by itself: a map of sockets, and the program that turns each segment around.

A socket joins a BPF_MAP_TYPE_SOCKHASH under its cookie. From then on the map's stream-verdict program runs for each
segment that TCP has put in order, in the kernel's own receive path, and redirects it to the socket it came from; a
kernel worker sends it (net/core/skmsg.c, net/core/sock_map.c). No process is woken. The programs are in
`echowire.kernel.bpf.echo_program`.

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

- Beyond `AHEAD_MAX_BYTES` it tells the process, once, by a ring buffer, and goes on.
- Beyond `HOLD_TIMES` as much, should the process be slow to come, it enters the socket in the map of those who are
  held. A second program, a filter on each socket, looks there before TCP sees a packet, and drops what brings data or
  the end for a held one. To the peer it is a packet lost on the way: it sends it again, and slows down. (With nobody
  held, as nearly always, the filter sees just that from two counts: a look-up a packet was 4 % of all at 50
  connections.)

The process takes the socket over in steps. By SO_RCVLOWAT it has what comes left in the receive queue, as far as there
is room; it waits until the worker has sent all that was redirected, for which the send buffer (`SEND_BUFFER_BYTES`) has
room; it has the socket held, for microseconds; and if then still all is sent, it takes the socket out of the map of
sockets and releases it. Nothing is lost, as no queue has anything and nothing can come. What remains is a plain TCP
socket, which the process serves as in the readiness engine until the peer has caught up. Then the socket joins again.

That a connection has ended comes by the ring too, from a third program at the tracepoint of TCP's changes of state. No
epoll watches a socket that has joined: told to report the end alone, it would wake nobody for data, and yet be asked
with every segment, which was 2.3 % of an echo.
"""

from __future__ import annotations

import os
import socket

from echowire.errors import OperationError
from echowire.kernel.boundary import operation
from echowire.kernel.bpf import echo_program
from echowire.kernel.bpf import syscall as bpf
from echowire.kernel.bpf.echo_program import COOKIE, COUNT_OF_HELD, ENTRY, INDEX, RECORD, RELEASED, STATE_CHANGE

SEND_BUFFER_BYTES = 6 * 1024 * 1024
"""Set as SO_SNDBUF, which the kernel doubles (socket(7)): 12 MiB hold `HOLD_TIMES` times `AHEAD_MAX_BYTES`, and the
overhead of so many times `AHEAD_MAX_SEGMENTS` buffers of about 1,300 bytes. It is a limit: memory is taken as it fills,
which the limits above end before."""

RECEIVE_BUFFER_BYTES = 2 * 1024 * 1024
"""Set as SO_RCVBUF, which is doubled too, and then no longer grows by itself. To the kernel we are a peer that reads at
once, for whom it would make the window as large as it may (tcp_rmem, tcp(7); 32 MiB here), and all of that may come
while the process takes over. That it does not grow when it overruns either has a price, which is paid while the process
serves (`window_retraction`)."""

BY_HAND_BUFFER_BYTES = 2 * 1024 * 1024
"""The send buffer while the process serves; doubled it is what TCP gives a socket by itself at most (tcp_wmem)."""

SO_COOKIE = 57  # asm-generic/socket.h
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # net.core.[rw]mem_max do not cap these; they need CAP_NET_ADMIN
SO_ATTACH_BPF = 50
SO_DETACH_FILTER = 27
SO_BUF_LOCK = 72


class EchoMap:
    """The map of sockets, its programs, and what goes with them. Nothing outlives the process: nothing is pinned."""

    def __init__(self, sockets: int, ahead_bytes: int = echo_program.AHEAD_MAX_BYTES) -> None:
        """With room for so many sockets, each of which may be so far ahead. Raises `OperationError`."""
        self._opened: list[bpf.Map | bpf.Ring] = []
        self._filter = -1
        self._ends: list[int] = []
        self._released = 0
        try:
            self._entries = self._keep(_hash(ENTRY.size, sockets, "echowire_entry"))
            self._held = self._keep(_hash(COOKIE.size, sockets, "echowire_held"))
            counts = bpf.Map(bpf.BPF_MAP_TYPE_ARRAY, INDEX.size, COUNT_OF_HELD.size, 2, "echowire_counts")
            self._counts = self._keep(counts)
            self._sockets = self._keep(bpf.Map(bpf.BPF_MAP_TYPE_SOCKHASH, 8, 8, sockets, "echowire_socks"))
            # Of a socket each of four things is told once.
            self._ring = bpf.Ring(4 * sockets * (bpf.Ring.HEADER_BYTES + RECORD.size), "echowire_ring")
            self._opened.append(self._ring)
            maps = (self._sockets.fd, self._entries.fd, self._held.fd, self._counts.fd, self._ring.fd)
            code = echo_program.program(*maps, echo_program.tcp_sock_offsets(), ahead_bytes)
            loaded = bpf.load_program(bpf.BPF_PROG_TYPE_SK_SKB, code, "echowire_echo")
            try:
                bpf.attach(loaded, self._sockets.fd, bpf.BPF_SK_SKB_STREAM_VERDICT, "echowire_echo")
            finally:
                os.close(loaded)  # the map holds it now
            code = echo_program.filter_program(self._held.fd, self._counts.fd)
            self._filter = bpf.load_program(bpf.BPF_PROG_TYPE_SOCKET_FILTER, code, "echowire_hold")
            code = echo_program.end_program(self._entries.fd, self._ring.fd, echo_program.cookie_offset())
            for _ in range(2):  # one for what comes while the other runs
                loaded = bpf.load_program(bpf.BPF_PROG_TYPE_RAW_TRACEPOINT, code, "echowire_ends")
                try:
                    self._ends.append(bpf.open_raw_tracepoint(STATE_CHANGE, loaded))
                finally:
                    os.close(loaded)
        except BaseException:
            self.close()
            raise

    @property
    def fd(self) -> int:
        """Readable when `told` has something to say."""
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
        if self._held.delete(key):
            self._count_released(1)

    def told(self) -> list[tuple[int, bytes]]:
        """What has become of sockets that the process must act on, in order: FAR_BEHIND, BROKEN, PEER_ENDED or
        CONNECTION_CLOSED, and the socket's key.

        It may have left since.
        """
        return [RECORD.unpack(record) for record in self._ring.read()]

    def hold(self, key: bytes) -> None:
        """Have what comes for a socket dropped, for its peer to repeat."""
        if self._held.add(key, key):
            self._count_released(-1)

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
        while self._ends:
            os.close(self._ends.pop())
        if self._filter >= 0:
            os.close(self._filter)
            self._filter = -1

    def _count_released(self, more: int) -> None:
        self._released += more
        self._counts.update(INDEX.pack(RELEASED), COUNT_OF_HELD.pack(self._released % 2**64))

    def _keep(self, opened: bpf.Map) -> bpf.Map:
        self._opened.append(opened)
        return opened


def give_room(sock: socket.socket, sending: int = SEND_BUFFER_BYTES) -> None:
    """Give `sock`, or all that a listening `sock` will accept, the buffers that the program relies on."""
    with operation("setsockopt SO_SNDBUFFORCE", "a TCP socket"):
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, sending)
    with operation("setsockopt SO_RCVBUFFORCE", "a TCP socket"):
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)


def detach_filter(sock: socket.socket) -> None:
    """Have the filter of a `sock` that has left not be run for each of its segments any more."""
    with operation("setsockopt SO_DETACH_FILTER", "a TCP socket"):
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def leave_room_to_grow(sock: socket.socket) -> None:
    """Have the kernel size the buffers of `sock` by itself again, from what they have now."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_BUF_LOCK, 0)
    except OSError:
        pass  # before Linux 5.14, which has no such option: they stay as they are


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


def _hash(value_size: int, entries: int, name: str) -> bpf.Map:
    """A map by cookie that takes little memory as long as few are in it."""
    return bpf.Map(bpf.BPF_MAP_TYPE_HASH, COOKIE.size, value_size, entries, name, bpf.BPF_F_NO_PREALLOC)
