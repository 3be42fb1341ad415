"""Sockets handed over: which descriptors are ours, and which of them a server can use."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from echowire.errors import UsageError
from echowire.kernel.connections.inherit import adopt, inherited_descriptors


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "42"}, [3, 4]),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "43"}, []),
        ({"LISTEN_FDS": "0", "LISTEN_PID": "42"}, []),
        ({"LISTEN_FDS": "-1", "LISTEN_PID": "42"}, []),
        ({"LISTEN_FDS": "two", "LISTEN_PID": "42"}, []),
        ({"LISTEN_FDS": "2"}, []),
    ],
)
def test_which_descriptors(variables: dict[str, str], expected: list[int]) -> None:
    assert inherited_descriptors(variables, 42) == expected


def test_a_listening_socket_is_adopted() -> None:
    listener = adopt(socket.create_server(("127.0.0.1", 0)).detach())
    assert listener.endpoint.transport == "tcp" and listener.endpoint.host == "127.0.0.1" and listener.inherited
    assert not listener.socket.getblocking() and not listener.wildcard and not listener.socket.get_inheritable()
    listener.close()


def test_a_datagram_socket_and_every_interface() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 0))
    listener = adopt(sock.detach())
    assert listener.endpoint.transport == "udp" and listener.endpoint.host == "" and listener.wildcard
    listener.close()


def test_a_unix_socket_keeps_its_file(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    listener = adopt(sock.detach())
    assert listener.endpoint.url == f"unix:{tmp_path}/s"
    listener.close()
    assert (tmp_path / "s").exists(), "who made the file removes it"


def test_what_no_server_can_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        with pytest.raises(UsageError, match="a connection, not a listening socket"):
            adopt(peer.fileno())
        server.accept()[0].close()
    read, write = os.pipe()
    with pytest.raises(UsageError, match="is no socket"):
        adopt(read)
    os.close(read)
    os.close(write)
    with pytest.raises(UsageError, match="is no socket"):
        adopt(read)
