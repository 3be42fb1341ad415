"""A connection of the engine of threads: a blocking socket, plain or under TLS, and how much has passed through it."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from echowire.core.services import Flow, Service
from echowire.engines.serving.connection import LINGER_S, source_chunk
from echowire.engines.serving.handshakes import HANDSHAKE_S, UnderWay
from echowire.engines.serving.read_on import STANDSTILL_S, Standstills, read_on
from echowire.kernel.connections.channel import SEQPACKET_MAX
from echowire.kernel.connections.window_retraction import Account, account_of
from echowire.model import Direction

READ_BYTES = 64 * 1024
"""Bytes read at a time: at most what one connection's thread holds, but for `read_on.py`. It is the default pipe and
TLS-friendly size, past which larger reads gain little."""


class UnheardError(Exception):
    """The connection is to be reset, for the reason that is its text."""


class Conversation:
    """A connected blocking socket, a service on it, and what it carried."""

    def __init__(self, sock: socket.socket, service: Service, standstills: Standstills, idle_s: float | None) -> None:
        self.sock, self.service = sock, service
        self.received = 0
        self.sent = 0
        self.show: Callable[[Direction, bytes | memoryview], None] | None = None
        """Told of what passes, in the clear."""
        self._standstills, self._idle_s = standstills, idle_s
        # A message that is longer than the read of it would lose its rest.
        self._buffer = bytearray(SEQPACKET_MAX if sock.type == socket.SOCK_SEQPACKET else READ_BYTES)
        self._view = memoryview(self._buffer)
        self._rest = self._view[:0]
        """What waits to be sent, while the socket takes nothing."""
        self._still_s = 0.0
        # The kernel ends a call in which no byte moves: a setting each, and no wait before each call.
        self._send_wait_s = STANDSTILL_S if idle_s is None else min(idle_s, STANDSTILL_S)
        set_time(sock, socket.SO_SNDTIMEO, self._send_wait_s)
        set_time(sock, socket.SO_RCVTIMEO, idle_s or 0.0)

    def converse(self) -> str:
        """Do the service; why it ended. Raises `OSError`, `ssl.SSLError` and `UnheardError`."""
        flow = self.service.flow
        if flow is Flow.ONCE:
            self.put(self.service.message(time.time()))
            self.say_goodbye()
            linger(self.sock)
            return "served"
        while flow is Flow.SOURCE:
            # Nothing is read: what the peer sends fills its window, and nothing of it is wanted.
            self.put(source_chunk(self.service))
        self.echo()
        self.say_goodbye()
        return "end of input"

    def echo(self) -> None:
        """Answer whatever comes, until the peer has said all."""
        view, answers = self._view, self.service.flow is Flow.ECHO
        while size := self.sock.recv_into(self._buffer):
            self.received += size
            if self.show is not None:
                self.show("received", view[:size])
            if answers:
                self.put(view[:size])

    def put(self, data: bytes | memoryview) -> None:
        """Send all of `data`, counting what went also when the rest could not."""
        rest = memoryview(data)
        while rest:
            try:
                sent = self.sock.send(rest)
            except BlockingIOError:
                rest = self._stand_still(rest)
                continue
            self.count_sent(rest[:sent])
            rest = rest[sent:]
        if self._rest:
            self._rest, self._still_s = rest, 0.0
            self._standstills.leave(self)

    def count_sent(self, data: memoryview) -> None:
        """`data` has gone to the socket."""
        self.sent += len(data)
        if self.show is not None:
            self.show("sent", data)

    def say_goodbye(self) -> None:
        """Nothing: closing says it."""

    # What is asked of it while it waits to write (`read_on.Held`).

    @property
    def mark(self) -> tuple[int, int] | None:
        """How far it is."""
        return self.received, len(self._rest)

    @property
    def account(self) -> Account | None:
        """Of its socket."""
        return account_of(self.sock)

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent."""
        return len(self._rest)

    def read_on(self, limit: int) -> None:
        """Read until the window opens again, or `limit` bytes wait; what is not to be sent back is thrown away."""
        if self.service.flow is Flow.ECHO:
            before = len(self._rest)
            self._rest = read_on(self.sock, self._rest, limit)
            self.received += len(self._rest) - before
        else:
            self.received += len(read_on(self.sock, self._rest[:0], limit))

    def reset(self, reason: str) -> None:
        """Have it reset, by whoever closes it."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
        raise UnheardError(reason)

    def _stand_still(self, rest: memoryview) -> memoryview:
        """The socket took nothing of `rest` for a while; what is to be sent now. Raises `TimeoutError` if idle."""
        self._still_s = self._still_s + self._send_wait_s if len(rest) == len(self._rest) else self._send_wait_s
        if self._idle_s is not None and self._still_s >= self._idle_s:
            raise TimeoutError
        self._rest = rest
        self._standstills.look(self)
        return self._rest


class TlsConversation(Conversation):
    """The same under TLS. Byte counts are of clear bytes.

    OpenSSL gives and takes bytes, and never sees the socket: `ssl.SSLSocket` cannot read while it waits to write.
    """

    def __init__(
        self,
        sock: socket.socket,
        service: Service,
        standstills: Standstills,
        idle_s: float | None,
        context: ssl.SSLContext,
        under_way: UnderWay,
    ) -> None:
        super().__init__(sock, service, standstills, idle_s)
        self._context, self._under_way = context, under_way
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    def converse(self) -> str:
        """Shake hands, and do the service."""
        until = time.monotonic() + HANDSHAKE_S
        self._wait_for_records(until)  # who says nothing has no memory of OpenSSL's either
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._under_way.begin(self, partial(shut_down, self.sock, socket.SHUT_RDWR))
        try:
            self._shake_hands(until)
        finally:
            self._under_way.end(self)
        set_time(self.sock, socket.SO_RCVTIMEO, self._idle_s or 0.0)
        self._flush()
        return super().converse()

    def _shake_hands(self, until: float) -> None:
        while True:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError:
                with suppress(OSError):  # who has gone is told nothing
                    self._flush()  # the alert
                raise
            self._wait_for_records(until)

    def _wait_for_records(self, until: float) -> None:
        """Wait for records of the handshake. Raises `TimeoutError` where they come too late."""
        left = min(until - time.monotonic(), self._idle_s or HANDSHAKE_S)
        if left <= 0:
            raise TimeoutError
        set_time(self.sock, socket.SO_RCVTIMEO, left)
        self._take_in()

    def echo(self) -> None:
        """Answer whatever comes, until the peer has said all."""
        while True:
            data = self._decrypted()
            if data:
                self.received += len(data)
                if self.show is not None:
                    self.show("received", data)
                self.put(self.service.answer(data))
            elif data is None:
                self._flush()
                self._take_in()
            else:
                return

    def put(self, data: bytes | memoryview) -> None:
        """Encrypt and send all of `data`."""
        if data:
            self._tls.write(data)
            self.sent += len(data)
            if self.show is not None:
                self.show("sent", data)
            self._flush()

    def count_sent(self, data: memoryview) -> None:
        """Records are not counted; `put` has counted what is in them."""

    def say_goodbye(self) -> None:
        """Send `close_notify` (RFC 8446 section 6.1) without waiting for the peer's."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the peer's own has not come yet, or will never come
        self._flush()

    def read_on(self, limit: int) -> None:
        """Read, decrypt and answer until the window opens again, or about `limit` bytes wait."""
        self._incoming.write(read_on(self.sock, self._rest[:0], limit - len(self._rest)))
        while clear := self._decrypted():
            self.received += len(clear)
            answer = self.service.answer(clear)
            if answer:
                self._tls.write(answer)
                self.sent += len(answer)
        self._rest = memoryview(bytes(self._rest) + self._outgoing.read())

    def _flush(self) -> None:
        if self._outgoing.pending:
            super().put(self._outgoing.read())

    def _take_in(self) -> None:
        """Wait for records, or their end."""
        if size := self.sock.recv_into(self._buffer):
            self._incoming.write(self._view[:size])
        else:
            self._incoming.write_eof()

    def _decrypted(self) -> bytes | None:
        """What has come and could be decrypted: None if that is nothing, no bytes if it has ended."""
        try:
            return self._tls.read(READ_BYTES)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""  # with close_notify or without: many clients just close


def linger(sock: socket.socket) -> None:
    """Half-close, and read what the peer still sends: closing with unread data would reset the connection."""
    if isinstance(sock, ssl.SSLSocket):
        _unwrap(sock)
    shut_down(sock, socket.SHUT_WR)
    until = time.monotonic() + LINGER_S
    try:
        sock.settimeout(LINGER_S)
        while time.monotonic() < until and sock.recv(READ_BYTES):
            pass
    except OSError:
        pass  # it was closed or reset by the handler or the peer: there is nothing to wait for


def shut_down(sock: socket.socket, how: int) -> None:
    """Shut a connection down, if it is not yet."""
    try:
        sock.shutdown(how)
    except OSError:
        pass  # the peer was faster


def _unwrap(sock: ssl.SSLSocket) -> None:
    """Send `close_notify` without waiting long for the peer's."""
    try:
        sock.settimeout(LINGER_S)
        sock.unwrap()
    except (OSError, ValueError):
        pass


def set_time(sock: socket.socket, option: int, seconds: float) -> None:
    """Have the kernel end calls of a kind in which no byte moves for so long; 0 is for ever."""
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6)))
