"""Tests of a network program with the fixtures that Echowire brings: python -m pytest examples/test_my_client.py."""

from __future__ import annotations

import socket
from collections.abc import Callable

import echowire


def fetch(port: int, message: bytes) -> bytes:
    """The program under test: ask a server of this host, and read its answer to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_all_comes_back(echo_server: echowire.Server) -> None:
    """A message that takes many segments is read to its end."""
    message = bytes(range(256)) * 4096
    assert fetch(echo_server.endpoint.port, message) == message


def test_a_server_that_says_nothing(serve: Callable[..., echowire.Server]) -> None:
    """A peer that closes without an answer is no error."""
    assert fetch(serve("tcp://127.0.0.1:0", service="discard").endpoint.port, b"hello") == b""


def _say_in_pieces(connection: socket.socket) -> None:
    connection.makefile("rb").read()
    for byte in b"an answer":
        connection.sendall(bytes([byte]))


def test_an_answer_in_pieces(serve: Callable[..., echowire.Server]) -> None:
    """One `recv` is not one message."""
    assert fetch(serve("tcp://127.0.0.1:0", handler=_say_in_pieces).endpoint.port, b"hello") == b"an answer"
