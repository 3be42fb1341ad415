"""Lines and messages out of a peer: cut anywhere, with what comes after them left, within limits and times."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import echowire
from echowire import NoReplyError, OperationError, ProtocolError, UsageError
from tests.plain_servers import answering, serving, serving_unix


def saying(*parts: bytes) -> Callable[[socket.socket], None]:
    """A server that sends these, each as a segment of its own, and closes."""

    def behave(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            sock.sendall(part)

    return behave


@contextmanager
def peer_of(*parts: bytes, timeout: float = 10.0) -> Iterator[echowire.Peer]:
    with serving(saying(*parts)) as port, echowire.call(("127.0.0.1", port), timeout=timeout) as peer:
        yield peer


def test_a_line_and_what_comes_after_it_is_left() -> None:
    with peer_of(b"one\ntwo\nrest") as peer:
        assert peer.readline() == b"one\n"
        assert peer.has_more
        assert peer.recv_exactly(2) == b"tw"
        assert peer.readline() == b"o\n"
        assert peer.recv_exactly(4) == b"rest"
        assert peer.readline() == b"" == peer.readline()


def test_the_last_line_may_have_no_end() -> None:
    with peer_of(b"a\n\nb") as peer:
        assert list(peer) == [b"a\n", b"\n", b"b"]


def test_a_separator_that_is_cut_anywhere() -> None:
    text = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n"
    for at in range(len(text)):
        with peer_of(text[:at], text[at:]) as peer:
            assert peer.recv_until(b"\r\n\r\n") == text[:25]
            assert peer.recv_until(b"\r\n\r\n") == b"body\r\n\r\n"
            with pytest.raises(ProtocolError, match="and sent none, before"):
                peer.recv_until(b"\r\n\r\n")


def test_many_lines_are_those_that_were_sent() -> None:
    draw = random.Random(7)
    lines = [draw.randbytes(draw.randrange(2000)).replace(b"\n", b"") + b"\n" for _ in range(400)]
    whole = b"".join(lines)
    parts = [whole[at : at + 999] for at in range(0, len(whole), 999)]
    with peer_of(*parts) as peer:
        assert list(peer) == lines


def test_an_end_before_the_separator_leaves_what_had_come() -> None:
    with peer_of(b"no end") as peer:
        with pytest.raises(ProtocolError, match=r"closed the connection after 6 bytes, before b'\\n'"):
            peer.recv_until()
        assert peer.recv() == b"no end"
        assert peer.recv() == b""


def test_a_line_that_is_too_long_leaves_what_had_come() -> None:
    with peer_of(b"x" * 100 + b"\n") as peer:
        with pytest.raises(ProtocolError, match="within 100 bytes"):
            peer.readline(limit=100)
        assert peer.readline(limit=101) == b"x" * 100 + b"\n"


def test_a_silence_leaves_what_had_come() -> None:
    release = threading.Event()

    def behave(sock: socket.socket) -> None:
        sock.sendall(b"half")
        release.wait(20)
        sock.sendall(b" a line\n")

    with serving(behave) as port, echowire.call(("127.0.0.1", port)) as peer:
        with pytest.raises(NoReplyError, match=r"within 50\.0 ms \(our timer\)"):
            peer.readline(timeout=0.05)
        release.set()
        assert peer.readline() == b"half a line\n"


def test_an_echo_after_a_line_that_brought_more() -> None:
    """What was read with the line is the peer's, and is not lost to the ways to receive that do not read lines."""
    with peer_of(b"greeting\nmore") as peer:
        assert peer.readline() == b"greeting\n"
        assert peer.recv_exactly(4) == b"more"


def test_under_tls() -> None:
    authority = trustme.CA()
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with (
        authority.cert_pem.tempfile() as path,
        serving(saying(b"one\ntwo\n"), tls=context) as port,
        echowire.call(f"tls://localhost:{port}", tls_authorities=path) as peer,
    ):
        assert list(peer) == [b"one\n", b"two\n"]


def test_datagrams_are_messages_and_have_no_lines() -> None:
    with answering(lambda data: [data, b"", data.upper()]) as port:
        with echowire.call(f"udp://127.0.0.1:{port}", timeout=0.2) as peer:
            peer.send(b"a\nb")
            messages = iter(peer)
            assert [next(messages) for _ in range(3)] == [b"a\nb", b"", b"A\nB"]
            with pytest.raises(NoReplyError):
                next(messages)
            with pytest.raises(UsageError, match="a datagram is whole"):
                peer.readline()


def test_messages_of_a_unix_socket_that_keeps_them(tmp_path: Path) -> None:
    with echowire.serve(f"unixseqpacket:{tmp_path}/s"), echowire.call(f"unixseqpacket:{tmp_path}/s") as peer:
        peer.send(b"one\ntwo")
        peer.send(b"x" * 100_000)
        messages = iter(peer)
        assert next(messages) == b"one\ntwo"
        assert next(messages) == b"x" * 100_000
        peer.half_close()
        assert list(messages) == []


def test_a_message_that_is_read_in_parts_is_whole(tmp_path: Path) -> None:
    with echowire.serve(f"unixseqpacket:{tmp_path}/s"), echowire.call(f"unixseqpacket:{tmp_path}/s") as peer:
        peer.send(b"abcdef")
        peer.send(b"ghi")
        assert [peer.recv(4), peer.recv(4), peer.recv(4)] == [b"abcd", b"ef", b"ghi"]
        assert peer.echo(b"a long message" * 1000) == b"a long message" * 1000


def test_the_descriptor_is_the_sockets(tmp_path: Path) -> None:
    with serving_unix(saying(b"x"), tmp_path / "s") as path:
        peer = echowire.call(path)
        assert peer.fileno() == peer.channel.socket.fileno()
        peer.close()
        with pytest.raises(OperationError):
            peer.fileno()


def test_an_empty_separator_is_refused() -> None:
    with peer_of(b"x") as peer, pytest.raises(UsageError, match="at least one byte"):
        peer.recv_until(b"")
