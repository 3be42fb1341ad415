"""The peers of the conformance suite: plain blocking sockets, which share no code with the engines."""

from __future__ import annotations

import hashlib
import random
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

PATIENCE_S = 20.0
"""How long a peer waits for what must come. It is only ever waited for in full by a test that fails."""

SETTLED_S = 0.5
"""How long nothing must happen before a peer that can write no more is taken to be held back."""

HELD_MAX = 32 * 1024 * 1024
"""What may be on its way when a peer does not read: both sockets' buffers (tcp_wmem and tcp_rmem allow 4 and 6 MiB
a direction by default) and one read of the server. Far below what the peer tries to send."""


class TlsPeer:
    """A connected socket under TLS that one thread may read while another writes.

    `ssl.SSLSocket` must not be used so before Python 3.13. Here OpenSSL is only ever entered by one thread at a
    time, and never while the socket blocks.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._lock = threading.Lock()
        self._unsent = b""
        self._clear = b""
        while not self._shake():
            self._take_in()

    def __enter__(self) -> TlsPeer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def settimeout(self, seconds: float | None) -> None:
        """As a socket's."""
        self._sock.settimeout(seconds)

    def setblocking(self, flag: bool) -> None:
        """As a socket's."""
        self._sock.setblocking(flag)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """As a socket's."""
        self._sock.setsockopt(level, option, value)

    def sendall(self, data: bytes) -> None:
        """Encrypt and send all of `data`."""
        view = memoryview(data)
        for start in range(0, len(view), FILL_CHUNK):
            with self._lock:
                self._tls.write(view[start : start + FILL_CHUNK])
                records = self._outgoing.read()
            self._sock.sendall(records)

    def send(self, data: bytes | memoryview) -> int:
        """Encrypt and send `data`, all or nothing: after `BlockingIOError`, call again with the same."""
        if not self._unsent:
            self._tls.write(data)
            self._unsent = self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        return len(data)

    def recv(self, size: int) -> bytes:
        """At most `size` clear bytes; b"" after close_notify."""
        while True:
            with self._lock:
                if self._clear:
                    data, self._clear = self._clear[:size], self._clear[size:]
                    return data
                try:
                    return self._tls.read(size)
                except ssl.SSLZeroReturnError:
                    return b""
                except ssl.SSLWantReadError:
                    pass
            self._take_in()

    def shutdown(self, how: int) -> None:
        """Send close_notify; what comes in may still be read.

        `unwrap` goes on to read, and takes data for a fault (SSL_shutdown(3)): so first all that has come is read.
        """
        with self._lock:
            try:
                while data := self._tls.read(FILL_CHUNK):
                    self._clear += data
            except ssl.SSLError:
                pass
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass
            records = self._outgoing.read()
        self._sock.sendall(records)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._sock.sendall(self._outgoing.read())
        return True

    def _take_in(self) -> None:
        data = self._sock.recv(65_536)
        with self._lock:
            self._incoming.write(data) if data else self._incoming.write_eof()


Peer: TypeAlias = socket.socket | TlsPeer


def exchange(peer: Peer, message: bytes) -> bytes:
    """Send `message` while receiving as many bytes."""
    with running_thread(lambda: peer.sendall(message)):
        return receive_exactly(peer, len(message))


def echo_to_the_end(peer: Peer, message: bytes) -> bytes:
    """Send `message` and the half-close, and receive until the end."""

    def write() -> None:
        peer.sendall(message)
        half_close(peer)

    received = bytearray()
    with running_thread(write):
        while data := peer.recv(1 << 20):
            received += data
    return bytes(received)


def receive_exactly(peer: Peer, size: int) -> bytes:
    """Receive `size` bytes; fewer only if the peer ends."""
    received = bytearray()
    while len(received) < size and (data := peer.recv(min(size - len(received), 1 << 20))):
        received += data
    return bytes(received)


def half_close(peer: Peer) -> None:
    """Say that no more will be sent."""
    peer.shutdown(socket.SHUT_WR)


def reset(peer: Peer) -> None:
    """Close with a reset instead of an orderly end (SO_LINGER 0, socket(7))."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
    peer.close()


def ends(peer: Peer) -> bool:
    """Whether the connection ends, by end of file or reset, with no byte before."""
    try:
        return peer.recv(1) == b""
    except (ConnectionError, ssl.SSLError):
        return True


FILL_CHUNK = 65_536


def fill(peer: Peer) -> int:
    """Write without reading until no more is taken; how many bytes went."""
    peer.setblocking(False)
    sent = 0
    chunk = noise(FILL_CHUNK)
    while sent < 2 * HELD_MAX:
        try:
            sent += peer.send(memoryview(chunk)[sent % FILL_CHUNK :])
        except BlockingIOError:
            if not select.select([], [peer], [], SETTLED_S)[1]:
                break
    return sent


def digest_of_fill(size: int) -> bytes:
    """The digest of what `fill` has sent."""
    chunk = noise(FILL_CHUNK)
    return hashlib.sha256((chunk * (size // FILL_CHUNK + 1))[:size]).digest()


def receive_digest(peer: Peer, size: int) -> bytes:
    """The digest of the next `size` bytes."""
    return hashlib.sha256(receive_exactly(peer, size)).digest()


def wait_until_blocked(peer: Peer) -> None:
    """Wait until the writer of `peer` can write no more."""
    while select.select([], [peer], [], SETTLED_S)[1]:
        threading.Event().wait(0.01)


@contextmanager
def running_thread(target: Callable[[], None]) -> Iterator[None]:
    """Run `target` beside the block; what it raises is raised at the block's end, if the block itself did not."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            target()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="echowire test peer")
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE_S)
    if raised:
        raise raised[0]


def noise(size: int) -> bytes:
    """`size` bytes that look random and are the same each time."""
    return random.Random(size).randbytes(size)
