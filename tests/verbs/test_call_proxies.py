"""Calls through proxies that others wrote: microsocks (SOCKS 5), tinyproxy and ncat (HTTP's CONNECT)."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import echowire
from echowire import NoReplyError, OperationError, ProtocolError, UsageError
from tests.peers import needs
from tests.plain_servers import echo, free_port, serving
from tests.processes import PATIENCE_S


@contextmanager
def running(port: int, *words: object) -> Iterator[str]:
    """A proxy that `words` start, once it listens at `port`; where it is."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*map(str, words)], **quiet) as process:  # type: ignore[call-overload]
        try:
            for _ in range(int(PATIENCE_S / 0.02)):
                try:
                    socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
                    break
                except ConnectionRefusedError:
                    threading.Event().wait(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def microsocks(*words: str) -> Iterator[str]:
    port = free_port()
    with running(port, "microsocks", "-i", "127.0.0.1", "-p", port, *words) as at:
        yield at


@contextmanager
def tinyproxy(folder: Path, *lines: str) -> Iterator[str]:
    port, settings = free_port(), folder / "tinyproxy.conf"
    own = ["Listen 127.0.0.1", f"Port {port}", "Timeout 30", "Allow 127.0.0.1", "LogLevel Critical"]
    settings.write_text("\n".join([*own, *lines, ""]))
    with running(port, "tinyproxy", "-d", "-c", settings) as at:
        yield at


@pytest.fixture
def port() -> Iterator[int]:
    with serving(echo) as number:
        yield number


@needs("microsocks")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_socks(port: int, host: str) -> None:
    with microsocks() as at, echowire.call((host, port), proxy=at) as peer:
        assert peer.echo(b"hello") == b"hello"
        assert f"{peer.remote.address}" == at and peer.proxy is not None and peer.proxy.kind == "socks5"
        message = bytes(range(256)) * 1000
        assert peer.echo(message) == message


@needs("microsocks")
def test_socks_with_a_user(port: int) -> None:
    with microsocks("-u", "joe", "-P", "secret") as at:
        with echowire.call(("127.0.0.1", port), proxy=f"socks5://joe:secret@{at}") as peer:
            assert peer.echo(b"hello") == b"hello"
        with pytest.raises(ProtocolError, match="--proxy-auth USER:PASSWORD"):
            echowire.call(("127.0.0.1", port), proxy=at)
        with pytest.raises(ProtocolError, match="does not accept this user"):
            echowire.call(("127.0.0.1", port), proxy=f"socks5://joe:wrong@{at}")


@needs("microsocks")
def test_a_refusal_behind_the_proxy() -> None:
    nobody = free_port()
    with microsocks() as at, pytest.raises(ProtocolError) as caught:
        echowire.call(("127.0.0.1", nobody), proxy=at)
    said = f"connect 127.0.0.1:{nobody}/tcp through {at}: the proxy says: connection refused (SOCKS 5 reply 5)"
    assert str(caught.value) == said and caught.value.exit_status == 1


@needs("tinyproxy")
def test_http(port: int, tmp_path: Path) -> None:
    with tinyproxy(tmp_path) as at, echowire.call(("127.0.0.1", port), proxy=f"http://{at}") as peer:
        assert peer.echo(b"hello" * 10_000) == b"hello" * 10_000


@needs("tinyproxy")
def test_http_with_a_user(port: int, tmp_path: Path) -> None:
    with tinyproxy(tmp_path, "BasicAuth joe secret") as at:
        with echowire.call(("127.0.0.1", port), proxy=f"http://joe:secret@{at}") as peer:
            assert peer.echo(b"hello") == b"hello"
        with pytest.raises(ProtocolError, match="--proxy-auth USER:PASSWORD"):
            echowire.call(("127.0.0.1", port), proxy=f"http://{at}")


@needs("tinyproxy")
def test_http_that_does_not_allow_the_port(port: int, tmp_path: Path) -> None:
    with tinyproxy(tmp_path, "ConnectPort 443") as at, pytest.raises(ProtocolError, match="the proxy says: 403 "):
        echowire.call(("127.0.0.1", port), proxy=f"http://{at}")


@needs("ncat")
def test_ncat(port: int) -> None:
    number = free_port()
    words = ("ncat", "-l", "-k", "--proxy-type", "http", "127.0.0.1", number)
    with running(number, *words) as at, echowire.call(("127.0.0.1", port), proxy=f"http://{at}") as peer:
        assert peer.echo(b"hello") == b"hello"


@needs("microsocks")
def test_tls_goes_through_to_who_was_called() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with authority.cert_pem.tempfile() as path, serving(echo, tls=context) as port, microsocks() as at:
        with echowire.call(f"tls://localhost:{port}", tls_authorities=path, proxy=at) as peer:
            assert peer.echo(b"hello") == b"hello"
            assert peer.tls is not None


def test_a_server_that_speaks_first_loses_nothing_to_the_answer_of_the_proxy() -> None:
    """The proxy's answer and the first words behind it, in one segment."""

    def proxy(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n220 ready\r\n")
        sock.recv(1)

    with serving(proxy) as at, echowire.call("h:25", proxy=f"http://127.0.0.1:{at}") as peer:
        assert peer.readline() == b"220 ready\r\n"


@pytest.mark.parametrize("pieces", [1, 7])
def test_an_answer_that_comes_in_pieces(pieces: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n220 ready\r\n"

    def proxy(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.recv(1000)
        for at in range(0, len(answer), pieces):
            sock.sendall(answer[at : at + pieces])
            threading.Event().wait(0.002)
        sock.recv(1)

    with serving(proxy) as at, echowire.call("h:25", proxy=f"http://127.0.0.1:{at}") as peer:
        assert peer.readline() == b"220 ready\r\n"


@pytest.mark.parametrize("kind", ["socks5", "http"])
def test_a_proxy_that_is_none(kind: str, port: int) -> None:
    with pytest.raises(ProtocolError, match=f"through 127.0.0.1:{port}: the proxy does not speak"):
        echowire.call("h:25", proxy=f"{kind}://127.0.0.1:{port}", timeout=5)


def test_a_proxy_that_says_nothing_and_one_that_leaves() -> None:
    release = threading.Event()
    with serving(lambda sock: release.wait(PATIENCE_S)) as at:
        with pytest.raises(NoReplyError, match="the proxy does not answer in time"):
            echowire.call("h:25", proxy=f"127.0.0.1:{at}", timeout=0.1)
        release.set()
    with serving(lambda sock: sock.recv(1000)) as at, pytest.raises(ProtocolError, match="the proxy closed"):
        echowire.call("h:25", proxy=f"127.0.0.1:{at}")


def test_no_proxy_there() -> None:
    with pytest.raises(OperationError, match="ECONNREFUSED"):
        echowire.call("h:25", proxy=f"127.0.0.1:{free_port()}")


@pytest.mark.parametrize("endpoint", ["udp://h:9", "unix:/tmp/s", "unixgram:/tmp/s"])
def test_what_no_proxy_carries(endpoint: str) -> None:
    with pytest.raises(UsageError, match="a proxy connects over TCP"):
        echowire.call(endpoint, proxy="127.0.0.1:1080")
