"""Connections that come in, one by one, as peers: with plain sockets that call."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import echowire
from echowire import NoReplyError, OperationError, UsageError


def test_a_connection_is_a_peer() -> None:
    with echowire.listen("127.0.0.1:0") as listener:
        assert listener.endpoint.port != 0
        with socket.create_connection(("127.0.0.1", listener.endpoint.port)) as caller:
            with listener.accept(10, peer_timeout=10) as peer:
                assert peer.remote.port == caller.getsockname()[1]
                caller.sendall(b"a line\nand more")
                assert peer.readline() == b"a line\n"
                peer.send(b"answer")
                peer.half_close()
                assert caller.recv(100, socket.MSG_WAITALL) == b"answer"
                caller.shutdown(socket.SHUT_WR)
                assert peer.readline() == b"and more"


def test_nobody_comes() -> None:
    with echowire.listen("127.0.0.1:0") as listener:
        with pytest.raises(NoReplyError, match=r"accept 127\.0\.0\.1:\d+/tcp: nobody came within 20\.0 ms"):
            listener.accept(0.02)


def test_a_name_is_heard_on_both_families() -> None:
    with echowire.listen("localhost:0") as listener:
        for endpoint in listener.endpoints:
            with socket.create_connection((endpoint.host, endpoint.port)) as caller, listener.accept(10) as peer:
                caller.sendall(b"x")
                assert peer.recv(1) == b"x"


def test_a_sender_of_datagrams_is_a_peer_until_the_next() -> None:
    with echowire.listen("udp://127.0.0.1:0") as listener:
        at = ("127.0.0.1", listener.endpoint.port)
        for message in (b"first", b"second"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
                caller.settimeout(10)
                caller.connect(at)
                caller.send(message)
                with listener.accept(10, peer_timeout=10) as peer:
                    assert peer.recv() == message
                    peer.send(message.upper())
                    assert caller.recv(100) == message.upper()


@pytest.mark.parametrize("transport", ["unix", "unixseqpacket"])
def test_unix_sockets(tmp_path: Path, transport: str) -> None:
    kind = socket.SOCK_STREAM if transport == "unix" else socket.SOCK_SEQPACKET
    with echowire.listen(f"{transport}:{tmp_path}/s") as listener, socket.socket(socket.AF_UNIX, kind) as caller:
        caller.connect(f"{tmp_path}/s")
        with listener.accept(10, peer_timeout=10) as peer:
            caller.sendall(b"x")
            assert peer.recv() == b"x"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_listened_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OperationError, match="EADDRINUSE"):
            echowire.listen(taken.getsockname())
    with pytest.raises(UsageError, match="TLS needs a certificate"):
        echowire.listen("tls://127.0.0.1:0")
