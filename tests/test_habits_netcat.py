"""What people type from habit at nc, ncat and socat, typed at Echowire: the real program and ours are both run, and
what matters to whoever typed it is compared.

Each test is one habit, named in its first line as it is typed. `nc` is OpenBSD's.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.peers import needs
from tests.plain_servers import answering, echo, free_port, serving, serving_unix
from tests.processes import COMMAND, PATIENCE_S
from tests.processes import run as ours

CALL = [*COMMAND, "call"]
SERVE = [*COMMAND, "serve"]


def _openbsd_nc() -> str:
    """OpenBSD's netcat, empty where there is none: on some hosts `nc` is ncat."""
    for name in ("nc.openbsd", "nc"):
        if (path := shutil.which(name)) is not None:
            said = subprocess.run([path, "-h"], capture_output=True, check=False)
            if b"OpenBSD" in said.stdout + said.stderr:
                return path
    return ""


NC = _openbsd_nc()
needs_nc = pytest.mark.skipif(not NC, reason="not installed: OpenBSD's nc")


def theirs(*words: object, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Another program, to its end. Without `stdin` it has none."""
    given: dict[str, object] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run([*map(str, words)], capture_output=True, timeout=PATIENCE_S, check=False, **given)  # type: ignore[call-overload, no-any-return]


@contextmanager
def running(
    *words: object, stdin: int | None = subprocess.DEVNULL, stdout: int | BinaryIO = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that goes on meanwhile; ended at the end if it has not."""
    process = subprocess.Popen(
        [*map(str, words)], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def wait_until_listening(port: int, kind: str = "tcp") -> None:
    """Wait until a socket of this host is bound to the port; nobody is connected to for it."""
    pause = threading.Event()
    wanted = re.compile(rf"^ *\d+: [0-9A-F]+:{port:04X} ", re.MULTILINE)
    for _ in range(int(PATIENCE_S / 0.02)):
        if any(wanted.search(Path(f"/proc/net/{kind}{six}").read_text()) for six in ("", "6")):
            return
        pause.wait(0.02)
    raise AssertionError(f"nobody listens on port {port}")


def closed_ports() -> int:
    """The first of three ports in a row, of which none is open."""
    while True:
        first = free_port()
        try:
            for port in (first, first + 1, first + 2):
                socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError):
            continue
        return first


def once(answer: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    """A server that answers what the client sent until its end."""

    def behave(sock: socket.socket) -> None:
        said = b""
        while data := sock.recv(65536):
            said += data
        sock.sendall(answer(said))

    return behave


# Is it open?


@needs_nc
def test_one_port_is_probed() -> None:
    """nc -z HOST PORT"""
    with serving(echo) as port:
        assert theirs(NC, "-z", "127.0.0.1", port).returncode == 0
        done = ours("call", "-z", "127.0.0.1", str(port))
    assert done.returncode == 0
    assert re.fullmatch(rf"127\.0\.0\.1:{port}/tcp is open, connected in .*\n", done.stdout.decode())
    assert theirs(NC, "-z", "127.0.0.1", port).returncode == 1
    done = ours("call", "-z", "127.0.0.1", str(port))
    assert done.returncode == 1 and b"ECONNREFUSED" in done.stderr


@needs_nc
def test_a_range_of_ports_has_a_line_each() -> None:
    """nc -zv HOST 20-25"""
    first = closed_ports()
    with socket.create_server(("127.0.0.1", first + 1)):
        their = theirs(NC, "-z", "-v", "127.0.0.1", f"{first}-{first + 2}")
        our = ours("call", "-z", "-v", "127.0.0.1", f"{first}-{first + 2}")
    said = {int(number): "succeeded" in line for line in their.stderr.decode().splitlines() for number in _port(line)}
    lines = [*our.stdout.decode().splitlines(), *our.stderr.decode().splitlines()]
    assert said == {first: False, first + 1: True, first + 2: False}
    assert {int(number): "open" in line for line in lines for number in _port(line)} == said
    assert len(lines) == 3 and their.returncode == our.returncode == 0


def _port(line: str) -> list[str]:
    return re.findall(r"\b(\d{4,5})\b", line)[:1]


# Files


@needs_nc
@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_a_file_is_sent_by_nc_and_taken_by_us(tmp_path: Path, size: int) -> None:
    """nc -l PORT > file, and nc -N HOST PORT < file: we listen"""
    data, port, file = os.urandom(size), free_port(), tmp_path / "file"
    with file.open("wb") as to, running(*SERVE, "--raw", port, stdout=to) as listening:
        wait_until_listening(port)
        assert theirs(NC, "-N", "127.0.0.1", port, stdin=data).returncode == 0
        _, said = listening.communicate(timeout=PATIENCE_S)
    assert (file.read_bytes(), listening.returncode) == (data, 0)
    assert said.decode() == f"Listening on 127.0.0.1:{port}/tcp\n"


@needs_nc
@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_a_file_is_sent_by_us_and_taken_by_nc(tmp_path: Path, size: int) -> None:
    """nc -l PORT > file, and nc -N HOST PORT < file: we call"""
    data, port, file = os.urandom(size), free_port(), tmp_path / "file"
    with file.open("wb") as to, running(NC, "-l", "127.0.0.1", port, stdout=to) as listening:
        wait_until_listening(port)
        done = ours("call", "127.0.0.1", str(port), stdin=data)
        listening.wait(PATIENCE_S)
    assert (file.read_bytes(), done.returncode, done.stdout, done.stderr) == (data, 0, b"", b"")


@needs_nc
def test_a_file_is_offered_to_whoever_calls() -> None:
    """nc -lN PORT < file, and nc HOST PORT > file"""
    data = os.urandom(300_000)
    for listener in ([NC, "-l", "-N"], [*SERVE, "--raw"]):
        for caller in ([NC, "-d"], CALL):
            port = free_port()
            with running(*listener, "127.0.0.1", port, stdin=subprocess.PIPE) as listening:
                assert listening.stdin is not None
                wait_until_listening(port)
                # At a terminal its input would be open as well: whoever ends it at once is taken for gone.
                with running(*caller, "127.0.0.1", port, stdin=subprocess.PIPE) as calling:
                    listening.stdin.write(data)
                    listening.stdin.close()
                    listening.stdin = None
                    assert calling.stdout is not None
                    assert calling.stdout.read() == data, (listener, caller)


# Listening


@needs_nc
def test_a_conversation_with_a_listener() -> None:
    """nc -l PORT: lines both ways, and whoever listened is gone afterwards"""
    port = free_port()
    with running(*SERVE, "--raw", "127.0.0.1", port, stdin=subprocess.PIPE) as listening:
        wait_until_listening(port)
        with running(NC, "127.0.0.1", port, stdin=subprocess.PIPE) as calling:
            for sender, reader in ((calling, listening), (listening, calling)):
                assert sender.stdin is not None and reader.stdout is not None
                sender.stdin.write(b"hello\n")
                sender.stdin.flush()
                assert reader.stdout.readline() == b"hello\n"
            assert theirs(NC, "-z", "127.0.0.1", port).returncode == 1  # one connection, and no other
        assert listening.wait(PATIENCE_S) == 0


@needs_nc
def test_one_connection_after_the_other() -> None:
    """nc -lk PORT"""
    for listener in ([NC, "-l", "-k"], [*SERVE, "--raw", "-k"]):
        port = free_port()
        with running(*listener, "127.0.0.1", port) as listening:
            wait_until_listening(port)
            assert listening.stdout is not None
            for line in (b"first\n", b"second\n"):
                assert theirs(NC, "-N", "127.0.0.1", port, stdin=line).returncode == 0
                assert listening.stdout.readline() == line


@needs_nc
def test_datagrams_that_come_in() -> None:
    """nc -lu PORT"""
    for listener in ([NC, "-l", "-u"], [*SERVE, "--raw", "-u"]):
        port = free_port()
        with running(*listener, "127.0.0.1", port, stdin=subprocess.PIPE) as listening:
            wait_until_listening(port, "udp")
            assert listening.stdin is not None and listening.stdout is not None
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(PATIENCE_S)
                sock.connect(("127.0.0.1", port))
                sock.send(b"ping\n")
                assert listening.stdout.readline() == b"ping\n"
                listening.stdin.write(b"pong\n")
                listening.stdin.flush()
                assert sock.recv(100) == b"pong\n"


def test_call_names_what_listens() -> None:
    """nc -l, typed at call"""
    done = ours("call", "-l", "9000")
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and b"echowire serve --raw PORT" in done.stderr


# Datagrams and Unix sockets


@needs_nc
def test_one_datagram_and_its_answer() -> None:
    """printf hi | nc -u -w 1 HOST PORT"""
    with answering(lambda data: [data.upper()]) as port:
        assert theirs(NC, "-u", "-w", "1", "127.0.0.1", port, stdin=b"hi").stdout == b"HI"
        done = ours("call", "-u", "-w", "1", "127.0.0.1", str(port), stdin=b"hi")
    assert (done.stdout, done.returncode) == (b"HI", 0)


@needs_nc
def test_a_unix_socket(tmp_path: Path) -> None:
    """nc -U PATH"""
    with serving_unix(echo, tmp_path / "s") as path:
        assert theirs(NC, "-N", "-U", path, stdin=b"hello").stdout == b"hello"
        assert ours("call", "-U", str(path), stdin=b"hello").stdout == b"hello"
    with running(*SERVE, "--raw", "-U", tmp_path / "raw") as listening:
        while not (tmp_path / "raw").exists():
            threading.Event().wait(0.02)
        assert theirs(NC, "-N", "-U", tmp_path / "raw", stdin=b"hello").returncode == 0
        assert listening.communicate(timeout=PATIENCE_S)[0] == b"hello"


@needs("socat")
def test_a_unix_socket_that_keeps_messages(tmp_path: Path) -> None:
    """socat STDIO UNIX-CONNECT:PATH,type=5 (SOCK_SEQPACKET)"""
    message = os.urandom(60_000)
    path = tmp_path / "s"
    with running(*SERVE, f"unixseqpacket:{path}") as server:
        assert server.stdout is not None
        assert server.stdout.readline().decode() == f"Server listening on unixseqpacket:{path}\n"
        got = theirs("socat", "-b65536", "-t2", "STDIO", f"UNIX-CONNECT:{path},type=5", stdin=message).stdout
        assert got == message
        done = ours("call", f"unixseqpacket:{path}", "-s", "60000", "-c", "2", "--verify")
        assert done.returncode == 0 and b"2 sent, 2 intact" in done.stdout


# Lines


@needs_nc
def test_line_ends_of_the_internet() -> None:
    """printf 'a\\nb\\r\\n' | nc -C -N HOST PORT"""
    with serving(once(lambda said: said.hex().encode())) as port:
        their = theirs(NC, "-C", "-N", "127.0.0.1", port, stdin=b"a\nb\r\nc\n")
        our = ours("call", "-C", "127.0.0.1", str(port), stdin=b"a\nb\r\nc\n")
    assert their.stdout == our.stdout == b"a\r\nb\r\nc\r\n".hex().encode()


@needs_nc
def test_a_request_of_http_by_hand() -> None:
    """printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc HOST 80"""

    def http(sock: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1000)
        sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    request = b"GET / HTTP/1.0\r\n\r\n"
    with serving(http) as port:
        their = theirs(NC, "127.0.0.1", port, stdin=request)
        our = ours("call", "127.0.0.1", str(port), stdin=request)
        by_lines = ours("call", "-C", "127.0.0.1", str(port), stdin=b"GET / HTTP/1.0\n\n")
    assert their.stdout == our.stdout == by_lines.stdout == b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    assert our.returncode == their.returncode == 0


@needs_nc
def test_a_server_that_speaks_first() -> None:
    """nc mail.example.org 25, QUIT"""

    def smtp(sock: socket.socket) -> None:
        sock.sendall(b"220 mail.example.org\r\n")
        with sock.makefile("rb") as lines:
            for line in lines:
                if line.strip() == b"QUIT":
                    sock.sendall(b"221 bye\r\n")
                    return
                sock.sendall(b"250 " + line)

    with serving(smtp) as port:
        for caller in ([NC], CALL):
            with running(*caller, "127.0.0.1", port, stdin=subprocess.PIPE) as calling:
                assert calling.stdin is not None and calling.stdout is not None
                assert calling.stdout.readline() == b"220 mail.example.org\r\n"  # before a word was said
                calling.stdin.write(b"HELO me\r\n")
                calling.stdin.flush()
                assert calling.stdout.readline() == b"250 HELO me\r\n"
                calling.stdin.write(b"QUIT\r\n")
                calling.stdin.flush()
                assert calling.stdout.readline() == b"221 bye\r\n"
                calling.stdin.close()
                calling.stdin = None
                assert calling.wait(PATIENCE_S) == 0


# Times


@needs_nc
def test_a_server_that_says_nothing_is_left() -> None:
    """nc -w 1 HOST PORT"""
    release = threading.Event()
    with serving(lambda sock: release.wait(PATIENCE_S)) as port:
        for caller in ([NC], CALL):
            with running(*caller, "-w", "1", "127.0.0.1", port, stdin=subprocess.PIPE) as calling:
                calling.wait(PATIENCE_S)  # and it has ended by itself, with its input open
        release.set()


# Proxies


def one_line(sock: socket.socket) -> None:
    """A line, and its answer. No end of the input is waited for: many a proxy hands on none."""
    with sock.makefile("rwb") as lines:
        lines.write(lines.readline().upper())


@contextmanager
def proxy(*words: object) -> Iterator[int]:
    """The port of a proxy on loopback, which is run by `words`; `{}` is where the port goes."""
    port = free_port()
    with running(*(str(word).format(port) for word in words)):
        wait_until_listening(port)
        yield port


@needs_nc
@needs("microsocks")
def test_through_a_socks_proxy() -> None:
    """nc -x PROXY HOST PORT"""
    with serving(one_line) as port, proxy("microsocks", "-i", "127.0.0.1", "-p", "{}") as through:
        at = f"127.0.0.1:{through}"
        assert theirs(NC, "-x", at, "127.0.0.1", port, stdin=b"hello\n").stdout == b"HELLO\n"
        for host in ("127.0.0.1", "localhost"):
            assert ours("call", "-x", at, host, str(port), stdin=b"hello\n").stdout == b"HELLO\n"
        closed = free_port()
        done = ours("call", "-x", at, "127.0.0.1", str(closed), stdin=b"hello")
    assert done.returncode == 1
    said = f"echowire: connect 127.0.0.1:{closed}/tcp through {at}: the proxy says: connection refused"
    assert done.stderr.decode().startswith(said)


@needs_nc
@needs("ncat")
def test_through_a_proxy_of_http() -> None:
    """nc -X connect -x PROXY HOST PORT"""
    with serving(one_line) as port, proxy("ncat", "-l", "--proxy-type", "http", "127.0.0.1", "{}") as through:
        at = f"127.0.0.1:{through}"
        assert theirs(NC, "-X", "connect", "-x", at, "127.0.0.1", port, stdin=b"hello\n").stdout == b"HELLO\n"
        assert ours("call", "-X", "connect", "-x", at, "127.0.0.1", str(port), stdin=b"hello\n").stdout == b"HELLO\n"
        assert ours("call", "-x", f"http://{at}", "127.0.0.1", str(port), "-m", "hi\n").stdout == b"HI\n\n"


# Programs


@needs("ncat")
def test_a_program_for_each_connection() -> None:
    """ncat -lk -e 'PROGRAM' PORT"""
    port, other = free_port(), free_port()
    with (
        running("ncat", "-l", "-k", "-e", f"{shutil.which('sed')} -u s/h/H/", "127.0.0.1", port),
        running(*SERVE, "--exec", "sed -u s/h/H/", "127.0.0.1", other),
    ):
        for number in (port, other):
            wait_until_listening(number)
            for _ in range(2):
                with running("ncat", "127.0.0.1", number, stdin=subprocess.PIPE) as calling:
                    assert calling.stdin is not None and calling.stdout is not None
                    calling.stdin.write(b"hello\n")
                    calling.stdin.flush()
                    assert calling.stdout.readline() == b"Hello\n"


@needs("socat")
def test_a_program_as_socat_runs_it() -> None:
    """socat TCP-LISTEN:PORT,fork EXEC:PROGRAM"""
    port, other = free_port(), free_port()
    with (
        running("socat", f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr", "EXEC:sort"),
        running(*SERVE, "--exec", "sort", other),
    ):
        for number in (port, other):
            wait_until_listening(number)
            assert theirs("socat", "-t5", "STDIO", f"TCP:127.0.0.1:{number}", stdin=b"b\na\n").stdout == b"a\nb\n"


# socat and ncat as callers


@needs("socat")
def test_standard_input_and_output_to_tcp() -> None:
    """socat STDIO TCP:HOST:PORT"""
    data = os.urandom(1_000_000)
    with serving(echo) as port:
        assert theirs("socat", "-t5", "STDIO", f"TCP:127.0.0.1:{port}", stdin=data).stdout == data
        assert ours("call", f"tcp://127.0.0.1:{port}", stdin=data).stdout == data


@needs("socat")
def test_what_passes_is_seen() -> None:
    """socat -v TCP-LISTEN:PORT … : > and <, with the time"""
    port = free_port()
    with running(*SERVE, "-t", "--show", "text", port, stdin=None) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"Server listening on 127.0.0.1:{port} (tcp)\n".encode()
        assert theirs("socat", "-t5", "STDIO", f"TCP:127.0.0.1:{port}", stdin=b"Hello\x1b\n").stdout == b"Hello\x1b\n"
        lines = [server.stdout.readline().decode() for _ in range(4)]
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} 127\.0\.0\.1:\d+ > 7 bytes:\n", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} 127\.0\.0\.1:\d+ < 7 bytes:\n", lines[2])
    assert lines[1] == lines[3] == "  Hello\\x1b\\n\n"


# What we have not, by name


HINTS: Sequence[tuple[list[str], str]] = [
    (["call", "--send-only", "host", "9"], "-q 0"),
    (["call", "--recv-only", "host", "9"], "< /dev/null"),
    (["call", "--ssl", "host", "9"], "--tls"),
    (["call", "-T", "lowdelay", "host", "9"], "--dscp"),
    (["call", "-P", "me", "-x", "proxy", "host", "9"], "--proxy-auth"),
    (["call", "-e", "/bin/sh", "host", "9"], "serve --exec"),
    (["call", "-k", "9"], "serve --raw"),
    (["call", "-d", "host", "9"], "< /dev/null"),
    (["call", "-X", "4", "-x", "proxy", "host", "9"], "-X 5"),
    (["call", "host", "20-25"], "-z"),
    (["call", "-z", "-u", "host", "53"], "send something instead"),
    (["serve", "-l", "9"], "--raw"),
    (["serve", "-w", "5", "9"], "--idle"),
    (["serve", "-c", "date", "9"], "--exec 'sh -c COMMAND'"),
    (["serve", "-i", "5", "9"], "--idle"),
    (["serve", "--ssl", "9"], "--tls-cert"),
    (["serve", "--allow", "10.0.0.1", "9"], "firewall"),
    (["serve", "--broker", "9"], "ncat --broker"),
]


@pytest.mark.parametrize(("words", "hint"), HINTS, ids=[" ".join(words) for words, _ in HINTS])
def test_an_option_that_we_have_not_names_what_does_it(words: list[str], hint: str) -> None:
    done = ours(*words)
    assert done.returncode == 2 and done.stdout == b""
    assert done.stderr.count(b"\n") == 1 and hint in done.stderr.decode()
