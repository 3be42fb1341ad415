"""A connected socket as one thing, whatever is under it: plain stream, datagrams, or TLS (`tls_channel`).

A channel never blocks: `receive` and `send` do what can be done now and say when that is nothing. Whoever waits
does it with `wait`, so that one loop can wait for two directions and for other descriptors besides. Errors are
`OperationError` with the channel's endpoint; for datagrams `icmp` then says who refused.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from echowire.core.failures.facts import IcmpReport
from echowire.errors import OperationError, ProtocolError
from echowire.kernel.boundary import operation, operation_error
from echowire.kernel.connections import icmp_errors
from echowire.kernel.connections.window_retraction import Account, account_of, is_relieved
from echowire.model import Endpoint, Transport

CHUNK_BYTES = 256 * 1024
"""One read or write of a stream: fewer system calls than with less, and still within a CPU's second cache."""

DATAGRAM_MAX = 65_535
"""No datagram is larger: the length fields of UDP (RFC 768) and of IPv4 have 16 bits."""

SEQPACKET_MAX = 1024 * 1024
"""No message of a Unix socket is larger unless somebody has raised `net.core.wmem_max`, which is some 200 KiB."""

STANDSTILL_S = 0.5
"""Seconds after which a channel that only sends, and whose peer takes nothing, is looked at more closely."""

SET_ASIDE_BYTES = 8 * 1024 * 1024
"""What such a channel may set aside, for whoever receives from it later: the largest receive buffer that Linux gives by
itself where nobody has set another (tcp_rmem, 6 MiB), and what of it may be on its way."""

HELD_DATAGRAMS = 16
"""Datagrams kept to be sent again to a name's next address, if the first one refuses before it ever answered."""


class Channel(ABC):
    """A connected non-blocking socket. One thread may send while another receives."""

    is_stream = True
    has_more = False
    """Whether `receive` has something although the socket itself has nothing to read."""
    has_unsent = False
    """Whether bytes that `send` took still wait for the socket: then wait to write, and `flush`."""
    ended_in_order = True
    """False once a TLS peer has closed without saying so: what it sent may have been cut short."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint) -> None:
        self.socket = sock
        self.endpoint = endpoint
        self.icmp: IcmpReport | None = None
        self._aside = bytearray()
        self._account: Account | None = None
        self._learn_names()

    def _learn_names(self) -> None:
        self.local = endpoint_of(self.socket.getsockname(), self.endpoint.transport)
        try:
            self.remote = endpoint_of(self.socket.getpeername(), self.endpoint.transport)
        except OSError:
            self.remote = self.endpoint  # the peer has reset the connection already; the first use will say so

    def fileno(self) -> int:
        """The descriptor, for poll."""
        number = self.socket.fileno()
        if number < 0:
            raise OperationError("use", str(self.endpoint), errno.EBADF, "it is closed")
        return number

    @abstractmethod
    def receive(self, size: int) -> bytes | None:
        """Up to `size` bytes, or one datagram; empty at a stream's end; None if there is nothing yet."""

    @abstractmethod
    def send(self, data: bytes | memoryview) -> int | None:
        """Send what can be sent of `data`, all or nothing of a datagram; how many bytes, or None if not now."""

    @abstractmethod
    def flush(self) -> None:
        """Send what `send` took and the socket did not."""

    def put_back(self, data: bytes) -> None:
        """Have `receive` give `data`, which it gave before, once more, in front of all else."""
        self._aside[:0] = data
        self.has_more = bool(self._aside)

    def read_on(self) -> None:
        """To be called now and then by who only sends, while the peer takes nothing.

        Where the kernel has taken back our receive window, we do not hear that the peer has room again
        (`window_retraction`): then what has come is set aside, to be received later.
        """
        before, self._account = self._account, account_of(self.socket)
        if self._account is None or before is None or not self._account.cut_off(before):
            return
        while len(self._aside) < SET_ASIDE_BYTES and self._set_aside() and not is_relieved(self.socket):
            pass

    def _set_aside(self) -> bool:
        """Add a read to `_aside`; whether there was one."""
        return False

    @abstractmethod
    def half_close(self) -> None:
        """Say that no more will be sent."""

    def close(self) -> None:
        """Close it; a thread that waits for it wakes up."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was not connected any more
        self.socket.close()


class StreamChannel(Channel):
    """A TCP or Unix stream."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint) -> None:
        super().__init__(sock, endpoint)
        self._lock = threading.Lock()  # a sender that reads on, and a receiver, must not pass each other

    def receive(self, size: int) -> bytes | None:
        """Up to `size` bytes; empty at the end; None if there is nothing yet."""
        with self._lock:
            if self._aside:
                data = bytes(self._aside[:size])
                del self._aside[:size]
                self.has_more = bool(self._aside)
                return data
            try:
                return self.socket.recv(size)
            except BlockingIOError:
                return None
            except OSError as error:
                raise operation_error("recv", self.endpoint, error) from error

    def send(self, data: bytes | memoryview) -> int | None:
        """Send what the socket takes; None if nothing."""
        try:
            return self.socket.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return None
        except OSError as error:
            raise operation_error("send", self.endpoint, error) from error

    def _set_aside(self) -> bool:
        with self._lock:
            try:
                data = self.socket.recv(CHUNK_BYTES)
            except OSError:
                return False  # nothing more; an error will be told by whoever sends or receives next
            self._aside += data
            self.has_more = bool(self._aside)
            return bool(data)

    def flush(self) -> None:
        """Nothing: what the socket does not take, `send` does not either."""

    def half_close(self) -> None:
        """Send a FIN. A connection that is gone already needs none."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise operation_error("shutdown", self.endpoint, error) from error


class SeqpacketChannel(StreamChannel):
    """A Unix connection that keeps the bounds of messages (SOCK_SEQPACKET, unix(7)): each `send` is one.

    What is received is handed out as a stream's bytes are, no more than one message at a time. An empty message
    cannot be told from the end.
    """

    def receive(self, size: int) -> bytes | None:
        """Up to `size` bytes of a message, the rest of it next time; empty at the end; None if there is nothing yet."""
        if not self._aside:
            # A read that is shorter than the message would lose its rest.
            data = super().receive(SEQPACKET_MAX)
            if not data or len(data) <= size:
                return data
            self.put_back(data)
        return super().receive(size)


class DatagramChannel(Channel):
    """A connected datagram socket, UDP or Unix.

    A UDP connect asks nobody, so a name whose first address has no server there shows it only when a datagram is
    refused. Until anything was heard, a refusal moves on to the next address (`open_next` gives its socket, None
    when there are no more) and sends again what the first one cannot have read.
    """

    is_stream = False

    def __init__(
        self, sock: socket.socket, endpoint: Endpoint, open_next: Callable[[], socket.socket | None] | None = None
    ) -> None:
        super().__init__(sock, endpoint)
        self._open_next = open_next
        self._held: deque[bytes] = deque(maxlen=HELD_DATAGRAMS)

    def receive(self, size: int) -> bytes | None:
        """One datagram whole, whatever `size` is: a part would lose the rest (row 39)."""
        try:
            data = self.socket.recv(DATAGRAM_MAX)
        except BlockingIOError:
            return None
        except OSError as error:
            if self._moves_on(error, None):
                return None
            raise self._refusal("recv", error) from error
        self._open_next = None
        self._held.clear()
        return data

    def send(self, data: bytes | memoryview) -> int | None:
        """Send one datagram; None if the socket has no room."""
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            return None
        except OSError as error:
            if self._moves_on(error, bytes(data)):
                return len(data)
            raise self._refusal("send", error) from error
        if self._open_next is not None:
            self._held.append(bytes(data))
        return sent

    def flush(self) -> None:
        """Nothing: what the socket does not take, `send` does not either."""

    def half_close(self) -> None:
        """Nothing: datagrams have no end."""

    def _refusal(self, name: str, error: OSError) -> OperationError:
        self.icmp = self._take_reports()
        return operation_error(name, self.endpoint, error)

    def _take_reports(self) -> IcmpReport | None:
        """The newest ICMP report. All are taken: one that is left makes every poll return at once."""
        newest = None
        while (report := icmp_errors.take(self.socket)) is not None:
            newest = report
        return newest

    def _moves_on(self, error: OSError, unsent: bytes | None) -> bool:
        """Whether the next address could take over after `error`."""
        if self._open_next is None or error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
            return False
        following = self._open_next()
        if following is None:
            self._open_next = None
            return False
        # The same descriptor number goes on, so that whoever polls it need not know.
        number = self.socket.fileno()
        os.dup2(following.fileno(), number, inheritable=False)
        following.close()
        self._learn_names()
        again = [*self._held] if unsent is None else [*self._held, unsent]
        self._held.clear()
        for data in again:
            with operation("send", self.endpoint):
                self.socket.send(data)
            self._held.append(data)
        return True


def endpoint_of(address: object, transport: Transport) -> Endpoint:
    """The `Endpoint` of what `getsockname` or `getpeername` gave; an unnamed Unix socket has an empty path."""
    if isinstance(address, tuple):
        host = str(address[0])
        # The zone of a link-local address comes as the interface's number.
        if len(address) == 4 and address[3] and "%" not in host:
            try:
                host = f"{host}%{socket.if_indextoname(address[3])}"
            except OSError:
                host = f"{host}%{address[3]}"
        return Endpoint(transport, host, int(address[1]))
    path = address if isinstance(address, str) else bytes(address).decode("utf-8", "surrogateescape")  # type: ignore[call-overload]
    return Endpoint(transport, path="@" + path[1:] if path.startswith("\0") else path)


def seconds_left(deadline: float | None, *, in_ms: bool = False) -> float | None:
    """Seconds from now to `deadline` (of `time.perf_counter`), at least 0; None for no deadline. Or milliseconds."""
    if deadline is None:
        return None
    left = max(0.0, deadline - time.perf_counter())
    return left * 1000 if in_ms else left


def wait(channel: Channel, *, read: bool, write: bool, deadline: float | None) -> bool:
    """Wait until `channel` can be read or written, or fails, or the deadline has come: then False."""
    poll = select.poll()
    poll.register(channel, (select.POLLIN if read else 0) | (select.POLLOUT if write or channel.has_unsent else 0))
    with operation("poll", channel.endpoint):
        return bool(poll.poll(seconds_left(deadline, in_ms=True)))


@dataclass(slots=True)
class Transferred:
    """What `transfer` received, and what cut it short: the peer's end of its side, our timer, or an error."""

    received: bytes = b""
    ended: bool = False
    timed_out: bool = False
    error: OperationError | ProtocolError | None = None


def transfer(channel: Channel, data: bytes, want: int, idle_s: float | None) -> Transferred:
    """Send all of `data` on a stream, and meanwhile receive until `want` bytes have come.

    Gives up when nothing moved for `idle_s` seconds. Both directions at once, because the buffers between here
    and an echo are full long before 64 MiB are sent. After an error in sending, what the peer said before it
    left is still received.
    """
    out, missing, chunks, done = memoryview(data), want, list[bytes](), Transferred()
    deadline = None if idle_s is None else time.perf_counter() + idle_s
    while out or channel.has_unsent or missing:
        moved = False
        if (out or channel.has_unsent) and done.error is None:
            try:
                channel.flush()
                sent = (channel.send(out[:CHUNK_BYTES]) or 0) if out else 0
                out, moved = out[sent:], sent > 0
            except (OperationError, ProtocolError) as error:
                done.error, out = error, out[:0]
        if done.error is not None and not missing:
            break
        if missing:
            try:
                got = channel.receive(min(missing, CHUNK_BYTES))
            except (OperationError, ProtocolError) as error:
                done.error = done.error or error
                break
            if got == b"":
                done.ended = True
                break
            if got:
                chunks.append(got)
                missing -= len(got)
                moved = True
        if moved:
            deadline = None if idle_s is None else time.perf_counter() + idle_s
        elif not _wait_or_read_on(channel, reads=bool(missing), writes=bool(out), deadline=deadline):
            done.timed_out = True
            break
    done.received = b"".join(chunks)
    return done


def _wait_or_read_on(channel: Channel, *, reads: bool, writes: bool, deadline: float | None) -> bool:
    """As `wait`. Who waits only to write is looked at from time to time, and may have to read all the same."""
    while not reads:
        left = seconds_left(deadline)
        if left is not None and left <= STANDSTILL_S:
            break
        if wait(channel, read=False, write=writes, deadline=time.perf_counter() + STANDSTILL_S):
            return True
        channel.read_on()
    return wait(channel, read=reads, write=writes, deadline=deadline)
