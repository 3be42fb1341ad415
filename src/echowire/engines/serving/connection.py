"""A connection in the loop: bytes in, bytes out, and never more held than one read.

The rule that keeps memory bounded and everyone served: while something waits to be sent, nothing is read. What a
peer does not take therefore stays in the kernel's buffers, and then in the peer's own. There is one exception to it,
without which connections would stand still for ever (`read_on.py`).
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Protocol, TypeAlias

from echowire.core.services import Flow, Service
from echowire.engines.serving.loop import Loop
from echowire.engines.serving.read_on import Watch, is_enough_after, read_on
from echowire.engines.serving.tally import Tally, Ticket
from echowire.kernel.connections.poller import READ, WRITE
from echowire.kernel.connections.window_retraction import Account, account_of

LINGER_S = 2.0
"""How long a connection that we ended is still read from. Closing with unread data makes the kernel send a reset,
which can destroy the last bytes on their way to the peer (RFC 1122 section 4.2.2.13; FAILURES row 27)."""

SOURCE_CHUNK_BYTES = 64 * 1024
"""About how much of an endless service is handed to the kernel at a time."""


class Host(Protocol):
    """What a connection needs of its engine."""

    loop: Loop
    tally: Tally
    service: Service
    buffer: memoryview
    """Shared by all connections: each read is sent, or copied, before the next."""
    echoes: dict[int, Echo]
    """By descriptor, the connections whose bytes just go back."""
    waiting: Watch
    """Those that wait to write and read nothing meanwhile."""

    def forget(self, connection: Connection) -> None:
        """The connection's socket is closed."""


class Connection:
    """What every kind of connection has: a socket, what waits to be sent, what it carried, and its end."""

    __slots__ = ("_idle_rounds", "_moved", "fd", "host", "queue", "received", "sock", "ticket")

    def __init__(self, host: Host, sock: socket.socket, ticket: Ticket) -> None:
        self.host = host
        self.sock = sock
        self.fd = sock.fileno()
        self.ticket = ticket
        self.queue: memoryview | None = None
        self.received = 0
        self._moved = 0
        self._idle_rounds = 0

    @property
    def sent(self) -> int:
        """Bytes that have gone to the peer."""
        raise NotImplementedError

    def begin(self) -> None:
        """Start: watch the socket, and send what the service says first."""
        raise NotImplementedError

    def on_ready(self, mask: int) -> None:
        """The socket is ready for what we wait for, or has failed."""
        raise NotImplementedError

    @property
    def mark(self) -> tuple[int, int] | None:
        """How far it is, to be compared; None if it does not wait to write, or is closed."""
        return None if self.queue is None else (self.received, len(self.queue))

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent."""
        return 0 if self.queue is None else len(self.queue)

    @property
    def account(self) -> Account | None:
        """What the kernel holds of what it receives."""
        return account_of(self.sock)

    def read_on(self, limit: int) -> None:
        """Read until the window of the socket opens again, or `limit` bytes wait to be sent."""
        raise NotImplementedError

    def reset(self, reason: str) -> None:
        """End it with a reset, so that the peer does not take what came for all."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
        self.close(reason, ok=False)

    def is_idle(self, rounds: int) -> bool:
        """Whether no byte has moved in this many calls."""
        moved = self.received + self.sent
        if moved != self._moved:
            self._moved, self._idle_rounds = moved, 0
            return False
        self._idle_rounds += 1
        return self._idle_rounds >= rounds

    def close(self, reason: str, *, ok: bool = True) -> None:
        """Close the socket and account for it; once."""
        host = self.host
        if self.fd < 0:
            return
        host.loop.unwatch(self.fd)
        self.fd = -1
        self.sock.close()
        host.tally.release(self.ticket, self.received, self.sent, reason, ok=ok)
        self.queue = None
        host.forget(self)

    def cut(self, reason: str) -> None:
        """End it now. In order only if nothing that came in still waited to go back."""
        self.close(reason, ok=self.queue is None or self.host.service.flow is not Flow.ECHO)

    def lose(self, error: OSError) -> None:
        """The peer or the path has ended it."""
        reset = isinstance(error, (ConnectionResetError, BrokenPipeError))
        name = errno.errorcode.get(error.errno or 0, "error")
        self.close("reset by the peer" if reset else f"{error.strerror} ({name} {error.errno})", ok=False)


class EchoConnection(Connection):
    """Echo over a plain socket. Its bytes go through `serve_ready`; what a slow peer does not take waits here."""

    __slots__ = ()

    @property
    def sent(self) -> int:
        """Bytes that have gone back: what was received, less what waits. Nothing is counted twice on the hot path."""
        return self.received - (len(self.queue) if self.queue is not None else 0)

    def begin(self) -> None:
        """Wait for the first bytes."""
        self.host.loop.watch(self.fd, READ, self.on_ready)
        self.host.echoes[self.fd] = (self.sock.recv_into, self.sock.send, self)

    def close(self, reason: str, *, ok: bool = True) -> None:
        """Close the socket and account for it; once."""
        self.host.echoes.pop(self.fd, None)
        super().close(reason, ok=ok)

    def hold(self, rest: memoryview) -> None:
        """Keep what the peer does not take now, and read nothing until it has."""
        self.queue = memoryview(bytes(rest))
        del self.host.echoes[self.fd]
        self.host.loop.rewatch(self.fd, WRITE)
        self.host.waiting.add(self)

    def read_on(self, limit: int) -> None:
        """Read until the window opens again."""
        assert self.queue is not None
        before = len(self.queue)
        try:
            self.queue = read_on(self.sock, self.queue, limit)
        except OSError as error:
            self.lose(error)
            return
        self.received += len(self.queue) - before

    def on_ready(self, mask: int) -> None:
        """The peer takes more of what waits."""
        assert self.queue is not None
        try:
            sent = self.sock.send(self.queue)
        except BlockingIOError:
            return
        except OSError as error:
            self.lose(error)
            return
        if sent < len(self.queue):
            self.queue = self.queue[sent:]
            return
        self.queue = None
        self.host.loop.rewatch(self.fd, READ)
        self.host.echoes[self.fd] = (self.sock.recv_into, self.sock.send, self)


Echo: TypeAlias = tuple[Callable[[memoryview], int], Callable[[memoryview], int], EchoConnection]
"""What the hot path needs of a connection, at hand: how to read, how to write, and whose it is."""


def serve_ready(host: Host, rounds: Iterable[list[tuple[int, int]]]) -> None:
    """Serve what is ready, round by round. This is the hot path of the whole server: one loop over all that
    `epoll_wait` gave.

    An echo costs one recv_into, one send, one addition, one look-up, and no allocation but the slice that says how
    much, unless it is as long as the last; a call of a method each would cost a third more. Whoever is no echo, or
    waits to write, is called.
    """
    echoes, buffer, call = host.echoes, host.buffer, host.loop.call
    length, part = 0, buffer[:0]
    for ready in rounds:
        for fd, mask in ready:
            echo = echoes.get(fd)
            if echo is None:
                call(fd, mask)
                continue
            recv_into, send, connection = echo
            try:
                size = recv_into(buffer)
            except BlockingIOError:
                continue  # woken for nothing
            except OSError as error:
                connection.lose(error)
                continue
            if not size:
                connection.close("end of input")
                continue
            connection.received += size
            if size != length:
                length, part = size, buffer[:size]
            try:
                sent = send(part)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                connection.queue = part
                connection.lose(error)
                continue
            if sent != size:
                connection.hold(buffer[sent:size])


class ServiceConnection(Connection):
    """Any service over a plain socket. `TlsConnection` puts TLS between this and the socket.

    A connection has said all (`_ended`), or heard all (`_heard_end`), or both; once nothing waits to be sent it
    says goodbye (a half-close), and when it has also heard all it closes.
    """

    __slots__ = ("_ended", "_heard_end", "_interest", "_reason", "_said_goodbye", "_sent")

    @property
    def sent(self) -> int:
        """Bytes that have gone to the peer."""
        return self._sent

    def begin(self) -> None:
        """Watch the socket, and send what the service says first."""
        self._sent = 0
        self._ended = False
        self._heard_end = False
        self._said_goodbye = False
        self._reason = "end of input"
        self._interest = READ
        self.host.loop.watch(self.fd, READ, self.on_ready)
        self._step(self.open_service)

    def on_ready(self, mask: int) -> None:
        """Read, if we may; send, if something waits."""
        may_read = self._interest & READ and mask & ~WRITE
        self._step(self.take_in if may_read else None)

    def _step(self, do: Callable[[], None] | None) -> None:
        try:
            if do is not None:
                do()
            if self.fd >= 0:
                self._flush()
                self._settle()
        except BlockingIOError:
            pass
        except OSError as error:
            self.lose(error)

    def open_service(self) -> None:
        """Say what the service says before anything is asked."""
        service = self.host.service
        if service.flow is Flow.ONCE:
            self.put(service.message(time.time()))
            self._ended = True
            self._reason = "served"
            self.host.loop.after(LINGER_S, lambda: self.close("served"))

    def take_in(self) -> None:
        """Read once, and answer it."""
        size = self.sock.recv_into(self.host.buffer)
        if not size:
            self.hear_end()
            return
        self.received += size
        self.host.tally.passed(self.ticket, "received", self.host.buffer[:size])
        if self.host.service.flow is Flow.ECHO:
            self.put(bytes(self.host.buffer[:size]))

    def read_on(self, limit: int) -> None:
        """Read, and answer, until the window opens again."""
        suffices = is_enough_after(self.sock)

        def read() -> None:
            while self.fd >= 0 and not self._heard_end and self.waiting_bytes < limit:
                self.take_in()
                if suffices():
                    return

        self._step(read)

    def put(self, data: bytes) -> None:
        """Have `data` sent, after whatever waits."""
        if data:
            self.queue = memoryview(data if self.queue is None else bytes(self.queue) + data)

    def hear_end(self) -> None:
        """The peer sends no more. An endless service goes on until the peer closes; for all others that was all."""
        self._heard_end = True
        if self.host.service.flow is not Flow.SOURCE:
            self._ended = True

    def say_goodbye(self) -> None:
        """Tell the peer that no more will come."""
        self.sock.shutdown(socket.SHUT_WR)

    def count_sent(self, data: memoryview) -> None:
        """`data` has gone to the socket."""
        self._sent += len(data)
        self.host.tally.passed(self.ticket, "sent", data)

    def _flush(self) -> None:
        """One send: a source that never ends must not keep the loop from the others."""
        if self.queue is None:
            return
        try:
            sent = self.sock.send(self.queue)
        except BlockingIOError:
            return
        self.count_sent(self.queue[:sent])
        self.queue = self.queue[sent:] if sent < len(self.queue) else None

    def _settle(self) -> None:
        """Decide what comes next, and watch for just that."""
        flow = self.host.service.flow
        if self.queue is None and self._ended and not self._said_goodbye:
            self._said_goodbye = True
            self.say_goodbye()
            self._flush()
        if self.queue is None and self._ended and self._heard_end:
            self.close(self._reason)
            return
        if self.queue is None and flow is Flow.SOURCE and self.may_send:
            self.put(source_chunk(self.host.service))
        wanted = WRITE if self.queue is not None else 0
        if not self._heard_end and (self.queue is None or flow is not Flow.ECHO):
            wanted |= READ
        if wanted != self._interest:
            self._interest = wanted
            self.host.loop.rewatch(self.fd, wanted)
            if not wanted & READ and not self._heard_end:
                self.host.waiting.add(self)

    @property
    def may_send(self) -> bool:
        """Whether the service may speak yet."""
        return True


@cache
def source_chunk(service: Service) -> bytes:
    """A whole number of the service's patterns, worth a system call."""
    return service.pattern * max(1, SOURCE_CHUNK_BYTES // len(service.pattern))
