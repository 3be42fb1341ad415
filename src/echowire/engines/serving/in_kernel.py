"""The kernel echoes TCP by itself; this process accepts, counts and closes, and is not woken for a byte.

How the kernel is made to do it, and the one thing that it cannot do alone (serve a peer that does not read), is in
`echowire.kernel.bpf.echo_map`. Everything else that is served (TLS, Unix sockets, datagrams) goes through the same loop
as in the readiness engine, and so does a connection that the kernel refuses: one whose peer has already ended it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import ClassVar

from echowire.core.services import Flow
from echowire.engines.serving.base import Job, Report
from echowire.engines.serving.connection import Connection, EchoConnection, serve_ready
from echowire.engines.serving.serving import MakeConnection, Serving
from echowire.engines.serving.tally import Ticket
from echowire.errors import EchowireError, OperationError
from echowire.kernel.bpf import syscall as bpf
from echowire.kernel.bpf.echo_map import BY_HAND_BUFFER_BYTES, EchoMap, give_room, leave_in_queue, take_at_once
from echowire.kernel.bpf.echo_program import AHEAD_MAX_BYTES, BROKEN, FAR_BEHIND, PEER_ENDED
from echowire.kernel.connections.listen import Listener, open_listeners
from echowire.kernel.connections.poller import READ
from echowire.kernel.connections.tcp_info import TCP_INFO
from echowire.model import Endpoint, Limits

SOCKETS_MAX = 65_536
"""Sockets that the maps have room for where no limit of connections is set; later ones are served by hand."""

LOOK_S = 0.001
LOOK_MAX_S = 0.05
"""How soon it is looked again, and after doubling at most, whether the kernel has sent all that it has in hand:
before the process takes over, and after the peer's half-close. No event tells, as the socket is writable all along."""

GIVE_BACK_LOOK_S = 0.005
GIVE_BACK_LOOK_MAX_S = 1.0
"""The same, for whether a peer that was taken over has caught up. Few are looked at often, and thousands that have
stopped to read cost little."""

FIN_RECEIVED = frozenset({8, 9, 11, 6})  # TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_CLOSING, TCP_TIME_WAIT (tcp_states.h)
TCP_INFO_BYTES = 136
BYTES_ACKED_AT, BYTES_RECEIVED_AT = 120, 128  # struct tcp_info; a test holds them against `core.sockets.tcp_info`
SIOCINQ, SIOCOUTQ = 0x541B, 0x5411
"""linux/sockios.h: bytes in the receive queue, and in the send queue, also those sent and not acknowledged."""

CAPABILITIES = {"CAP_BPF": 39, "CAP_PERFMON": 38, "CAP_NET_ADMIN": 12}
"""For the maps and the program, for reading TCP's counts in it, and for attaching it (capabilities(7))."""
CAP_SYS_ADMIN = 21

PROOF_BYTES = AHEAD_MAX_BYTES + 1024 * 1024
"""What the proof sends before it reads: so much that the process must take over, and give back."""
PROOF_S = 5.0
"""Seconds within which the proof must be through; it takes some hundredths."""


class Kernel(Serving):
    """A sockhash with a stream-verdict program; this process waits for the ends of connections."""

    name = "kernel"
    ahead_bytes: ClassVar[int] = AHEAD_MAX_BYTES
    """Bytes not yet acknowledged beyond which the program tells that a peer is far behind."""
    caught_up_bytes: ClassVar[int] = AHEAD_MAX_BYTES // 2
    """Of what the process sends, as much may be on its way when it gives back: so much less than what makes it take
    over that the two do not take turns."""

    @classmethod
    def why_not(cls, job: Job) -> str | None:
        """It echoes plain TCP, where the kernel and our privileges allow it and an echo has just proved it."""
        if job.handler is not None:
            return "a handler runs in a process, and it serves in the kernel"
        if job.service.flow is not Flow.ECHO:
            return f"the kernel can echo, and not serve {job.service.name}"
        if job.show:
            return "what passes is to be shown, and the kernel would not tell"
        if not any(map(is_plain_tcp, job.listeners)):
            return "the kernel echoes plain TCP alone, and none of this is"
        return prove()

    def __init__(self, job: Job, report: Report) -> None:
        limit = job.limits.connections
        self.echo_map = EchoMap(SOCKETS_MAX if limit is None else max(1, min(limit, SOCKETS_MAX)), self.ahead_bytes)
        self.joined: dict[bytes, KernelConnection] = {}
        try:
            for listener in job.listeners:
                if is_plain_tcp(listener):
                    self.prepare(listener)
            super().__init__(job, report)
        except BaseException:
            self.echo_map.close()
            raise
        self.loop.watch(self.echo_map.fd, READ, self._on_told)

    def prepare(self, listener: Listener) -> None:
        """Give all that `listener` will accept the buffers that the program relies on."""
        give_room(listener.socket)

    def connection_maker(self, listener: Listener) -> MakeConnection:
        """Plain TCP joins the map to be echoed; all else is as in every loop."""
        if self.service.flow is Flow.ECHO and is_plain_tcp(listener):
            return partial(KernelConnection, self)
        return super().connection_maker(listener)

    def run(self) -> None:
        """Serve until stopped."""
        try:
            super().run()
        finally:
            self.echo_map.close()

    def serve_by_hand(self, connection: KernelConnection) -> None:
        """`connection` cannot join: its socket is served as in the readiness engine."""
        self._replace(connection, EchoConnection(self, connection.sock, connection.ticket))

    def take_over(self, connection: KernelConnection) -> None:
        """`connection` has left the map, with nothing under way: serve its socket until its peer has caught up."""
        self._replace(connection, OvertakenConnection(self, connection))

    def give_back(self, connection: OvertakenConnection) -> None:
        """Its peer has caught up: leave its socket to the kernel again, unless it has ended."""
        joining = KernelConnection(self, connection.sock, connection.ticket, connection.received)
        if joining.join():
            self.echoes.pop(connection.fd, None)
            self._replace(connection, joining)

    def _replace(self, old: Connection, new: Connection) -> None:
        """The socket of `old` is now that of `new`."""
        self.loop.unwatch(old.fd)
        old.fd = -1
        self.connections.discard(old)
        self.connections.add(new)
        new.begin()

    def _on_told(self, mask: int) -> None:
        for what, key in self.echo_map.told():
            connection = self.joined.get(key)
            if connection is not None:
                connection.on_told(what)


class KernelConnection(Connection):
    """A connection that the kernel echoes. `received` and `sent` are its counts of when it was last asked."""

    __slots__ = ("_ended", "_engine", "_look_s", "_sent", "before", "key")

    def __init__(self, engine: Kernel, sock: socket.socket, ticket: Ticket, before: int = 0) -> None:
        """`before`: bytes that have come, and gone back, before it joined."""
        super().__init__(engine, sock, ticket)
        self._engine = engine
        self.key = b""
        self.before = before
        self._sent = before
        self._ended = False
        self._look_s = LOOK_S

    @property
    def sent(self) -> int:
        """Bytes that have been given to TCP to send."""
        return self._sent

    def join(self) -> bool:
        """Join the map; whether it could."""
        try:
            self.key = self._engine.echo_map.join(self.sock)
        except OperationError:
            return False
        self._engine.joined[self.key] = self
        return True

    def begin(self) -> None:
        """Join the map, if it has not. The rest is told by the map's ring."""
        if not self.key and not self.join():
            self._engine.serve_by_hand(self)

    def on_told(self, what: int) -> None:
        """The map's programs have something to say of this connection."""
        if what == FAR_BEHIND:
            self.overtake()
        elif what == BROKEN:
            self.abort()
        elif what == PEER_ENDED:
            self._ended = True
            self._look_s = LOOK_S
            self._finish()
        else:
            number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
            # TCP says EPIPE for a reset that comes after the peer's half-close (tcp_reset).
            self._ended = self._ended or number == errno.EPIPE
            self.lose(_os_error(number))

    def overtake(self) -> None:
        """The peer is far behind: take over, once the kernel has sent what it has in hand.

        `Kernel.take_over` goes on. Of a peer that has ended nothing more comes that could be held back.
        """
        if self.fd < 0:
            return
        if self._ended:
            take_at_once(self.sock)
            return
        leave_in_queue(self.sock)
        if not self._is_all_sent() or not self._is_held_with_all_sent():
            self._look_again(self.overtake)
            return
        self._engine.echo_map.take_out(self.key)
        # Looked at once more: a processor that was stopped just between the filter and the socket, by whoever runs
        # this machine, may have let something in since. What it lets in now is not lost, and found the next time.
        if not any(self._is_nothing_lost() for _ in range(3)):
            self.abort()
            return
        self._leave()
        take_at_once(self.sock)
        self._engine.take_over(self)

    def abort(self) -> None:
        """The kernel has lost bytes of this connection: reset it, so that nobody takes what came for all."""
        error = _os_error(errno.ENOMEM)
        self.reset(f"{error.strerror} (ENOMEM {error.errno})")

    def is_idle(self, rounds: int) -> bool:
        """By the kernel's counts."""
        self._count()
        return super().is_idle(rounds)

    def cut(self, reason: str) -> None:
        """End it now. In order only if all that came in has gone back."""
        self._count()
        self.close(reason, ok=self.sent >= self.received)

    def close(self, reason: str, *, ok: bool = True) -> None:
        """Close the socket, which takes it out of the map, and account for it; once."""
        if self.fd < 0:
            return
        self._count()
        super().close(reason, ok=ok)
        self._leave()

    def _leave(self) -> None:
        self._engine.joined.pop(self.key, None)
        self._engine.echo_map.leave(self.key)

    def _is_held_with_all_sent(self) -> bool:
        """Hold it, and ask again. If something came in between it stays held, and is through soon."""
        self._engine.echo_map.hold(self.key)
        return self._is_all_sent()

    def _is_nothing_lost(self) -> bool:
        """Whether, out of the map, all that came is sent or in the receive queue."""
        return self._is_all_sent() and self.received - self._sent == bytes_in(self.fd, SIOCINQ)

    def _is_all_sent(self) -> bool:
        """Whether all that the program took was given to TCP to send. The rest of what came is in the receive queue."""
        self._count()
        return self._sent >= self.before + self._engine.echo_map.taken(self.key)

    def _count(self) -> None:
        """Ask the kernel what came in and what was given to TCP to send.

        The peer's FIN is counted as a byte received. Of what is sent the acknowledged comes first: an
        acknowledgement between the two questions makes the sum too small, never too large.
        """
        try:
            info = self.sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES)
            waiting = bytes_in(self.fd, SIOCOUTQ)
        except OSError:
            return
        acked, received = struct.unpack_from("<QQ", info, BYTES_ACKED_AT)
        self.received = received - (self._ended or info[0] in FIN_RECEIVED)
        self._sent = max(self._sent, acked + waiting)

    def _finish(self) -> None:
        """The peer has said all: close when all of it has been sent, else look again."""
        if self.fd < 0:
            return
        self._count()
        if self.sent >= self.received:
            self.close("end of input")
        else:
            self._look_again(self._finish)

    def _look_again(self, look: Callable[[], None]) -> None:
        self.host.loop.after(self._look_s, look)
        self._look_s = min(2 * self._look_s, LOOK_MAX_S)


class OvertakenConnection(EchoConnection):
    """A connection that the process serves until its peer has caught up."""

    __slots__ = ("_engine", "_look_s")

    def __init__(self, engine: Kernel, before: KernelConnection) -> None:
        super().__init__(engine, before.sock, before.ticket)
        self._engine = engine
        self._look_s = GIVE_BACK_LOOK_S
        self.received = before.sent

    def begin(self) -> None:
        """Echo, and look now and then how far the peer is behind."""
        give_room(self.sock, BY_HAND_BUFFER_BYTES)
        super().begin()
        self.host.loop.after(self._look_s, self._look)

    def _look(self) -> None:
        serve_ready(self.host, [[(self.fd, READ)]] if self.fd in self.host.echoes else [])
        if self.fd < 0:
            return
        if has_caught_up(self, self._engine.caught_up_bytes):
            give_room(self.sock)
            self._engine.give_back(self)
            return
        self._look_s = min(2 * self._look_s, GIVE_BACK_LOOK_MAX_S)
        self.host.loop.after(self._look_s, self._look)


def has_caught_up(connection: EchoConnection, most: int) -> bool:
    """Whether a connection that the process serves may join the map: with `most` bytes on their way back.

    Nothing must be left unread. What has waited has grown together to segments larger than any that comes in; of one
    that was read in part, the program would have to cut off more than it can.
    """
    fd = connection.fd
    return connection.queue is None and not bytes_in(fd, SIOCINQ) and bytes_in(fd, SIOCOUTQ) <= most


def bytes_in(fd: int, queue: int) -> int:
    """Bytes in a queue of the socket, SIOCINQ or SIOCOUTQ."""
    return int.from_bytes(fcntl.ioctl(fd, queue, bytes(4)), sys.byteorder)


def is_plain_tcp(listener: Listener) -> bool:
    """Whether the kernel can echo what comes in at `listener`."""
    return listener.socket.type == socket.SOCK_STREAM and not listener.endpoint.is_unix and listener.tls is None


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


# The proof.


@cache
def prove() -> str | None:
    """Echo through a connection of our own; why it cannot be, or None. Done once a process."""
    reason = bpf.why_not_here() or _missing_capabilities()
    if reason is not None:
        return reason
    try:
        [listener] = open_listeners([[Endpoint("tcp", "127.0.0.1", 0)]])
        try:
            engine = Kernel(Job([listener], limits=Limits(connections=4)), lambda event: None)
        except BaseException:
            listener.close()
            raise
    except EchowireError as error:
        return str(error).removesuffix(".")
    except ValueError as error:
        return f"this kernel is not as expected: {error}"
    failures: list[str] = []

    def run() -> None:
        try:
            engine.run()
        except Exception as error:
            failures.append(f"its own echo failed: {error}")

    thread = threading.Thread(target=run, name="echowire kernel proof")
    thread.start()
    try:
        reason = _disproof(listener.endpoint.port)
    except OSError as error:
        reason = f"its own echo failed: {error.strerror or error}"
    finally:
        engine.stop(0.0)
        thread.join()
    return failures[0] if failures else reason


def _missing_capabilities() -> str | None:
    """Which capabilities this process lacks, in a line."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    if effective >> CAP_SYS_ADMIN & 1:  # has stood for the first two since before they were split from it
        lacking = [name for name, bit in CAPABILITIES.items() if name == "CAP_NET_ADMIN" and not effective >> bit & 1]
    else:
        lacking = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    return f"it needs {', '.join(lacking)}, which root has" if lacking else None


def _disproof(port: int) -> str | None:
    """What is wrong with the echo at `port`, if anything is. Raises `OSError`."""
    pattern = bytes(range(251)) * (PROOF_BYTES // 251 + 1)
    until = time.monotonic() + PROOF_S
    with socket.create_connection(("127.0.0.1", port), PROOF_S) as sock:
        for size in (1, PROOF_BYTES, 1000):
            if _echoed(sock, memoryview(pattern)[:size], until) != pattern[:size]:
                return f"its own echo of {size} bytes did not come back as it was sent"
        sock.shutdown(socket.SHUT_WR)
        return "its own echo came back with more than was sent" if sock.recv(1) else None


def _echoed(sock: socket.socket, data: memoryview, until: float) -> bytes:
    """Send all of `data`, reading only once no more is taken; what came back by then."""
    received = bytearray()
    sock.setblocking(False)
    rest = data
    while len(received) < len(data) and (left := until - time.monotonic()) > 0:
        try:
            rest = rest[sock.send(rest) :] if rest else rest
            continue_writing = bool(rest)
        except BlockingIOError:
            continue_writing = False
        if continue_writing:
            continue
        select.select([sock], [sock] if rest else [], [], left)
        try:
            received += sock.recv(1 << 20)
        except BlockingIOError:
            pass
    sock.settimeout(PROOF_S)
    return bytes(received)
