"""Servers of the tests' own, as plain as can be: a thread a connection, and a function that says how it behaves.

They share no code with what they are there to test.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Behaviour = Callable[[socket.socket], object]
Answers = Callable[[bytes], Iterable[bytes]]

STOP = b"stop, please: this is the end of the test"


def echo(sock: socket.socket) -> None:
    """Every byte back, and after the peer's end the end."""
    while data := sock.recv(65_536):
        sock.sendall(data)


def echo_by_bytes(sock: socket.socket) -> None:
    """The same, a byte a write."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := sock.recv(65_536):
        for byte in data:
            sock.sendall(bytes([byte]))


def reset(sock: socket.socket) -> None:
    """Read once, and cut the connection."""
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def serving(
    behave: Behaviour, *, family: int = socket.AF_INET, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """The port of a TCP server on loopback that treats each connection with `behave` and then closes it."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
        with _accepting(listener, behave, tls):
            yield listener.getsockname()[1]


@contextmanager
def serving_unix(behave: Behaviour, path: Path) -> Iterator[Path]:
    """The same on a Unix stream socket at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        with _accepting(listener, behave, None):
            yield path


@contextmanager
def _accepting(listener: socket.socket, behave: Behaviour, tls: ssl.SSLContext | None) -> Iterator[None]:
    listener.listen()
    threads: list[threading.Thread] = []

    def serve(accepted: socket.socket) -> None:
        with suppress(OSError), accepted:
            if tls is None:
                behave(accepted)
                return
            with tls.wrap_socket(accepted, server_side=True) as wrapped:
                behave(wrapped)

    def accept() -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(accepted,)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        for thread in threads:
            thread.join()


@contextmanager
def answering(answers: Answers, *, family: int = socket.AF_INET, port: int = 0) -> Iterator[int]:
    """The port of a UDP server on loopback that sends, for each datagram, what `answers` gives for it."""
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family, socket.SOCK_DGRAM) as sock, socket.socket(family, socket.SOCK_DGRAM) as stopper:
        sock.bind((host, port))

        def serve() -> None:
            while True:
                data, peer = sock.recvfrom(65_536)
                if data == STOP:
                    return
                for answer in answers(data):
                    sock.sendto(answer, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            stopper.sendto(STOP, sock.getsockname())
            thread.join()


@contextmanager
def silent_listener(family: int, port: int = 0) -> Iterator[int]:
    """The port of a listener whose queue is full: a further SYN is dropped, and its connect hears nothing (row 23)."""
    address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        where = listener.getsockname()[:2]
        with socket.create_connection(where):
            yield where[1]


def free_port() -> int:
    """A port that nobody used a moment ago, in either family."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        return int(sock.getsockname()[1])
