"""Text that comes from elsewhere steers no terminal, breaks no line and is valid UTF-8, in every view of every verb.

What is hostile: escape sequences, BEL, NUL, CR, DEL, the C1 controls (as UTF-8 and as a bare byte), the bidirectional
overrides, the line separator, bytes that are no UTF-8, a surrogate on its own, and what hides (U+200B, U+E0001).
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import pty
import re
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.capture_files import block, enhanced, interface, option, section
from fuzz.packets import captured, ethernet, ipv4, made_here, tcp, udp

import echowire
from echowire.cli.environment import Environment
from echowire.cli.main import run
from echowire.core.text import json_text, printable
from tests.core.packets.packets import answer, answered, datagram, segment
from tests.core.packets.protocols.test_against_tshark import packets as conversations
from tests.peers import needs_root
from tests.processes import COMMAND, PATIENCE_S, serving

HOSTILE = (
    b"\x1b[31mred\x1b]0;title\x07bell\0nul\x7fdel\x9bc1"
    + "\x9bcsi\u202eoverride\u2066isolate\u2028line\u200bhidden\U000e0001tag\ufeff".encode()
    + b"\xff\xfe\xed\xb3\xbfbytes"
)
HOSTILE_TEXT = HOSTILE.decode("utf-8", "surrogateescape")
LINES = HOSTILE + b"\x0bvt\x0cff"

EVERY = 20
"""One in so many of the packets of ECHOWIRE_CAPTURES is taken, if that is set: some hundreds, of all protocols."""

TEXT = re.compile(rb"[ -~]{5,}")


def harmful(data: bytes, allowed: str = "\n") -> list[str]:
    """The characters that a terminal, or a reader of UTF-8, should not have been given."""
    text = data.decode()  # strictly
    return sorted({repr(char) for char in text if not char.isprintable() and char not in allowed})


def ran(*words: object, allowed: str = "\n", stdin: bytes = b"") -> str:
    """What the command answers, in this process; neither that nor what it says besides may be harmful."""
    out, err = io.BytesIO(), io.StringIO()
    run([*map(str, words)], Environment(io.BytesIO(stdin), out, err, {}))
    assert harmful(out.getvalue(), allowed) == []
    assert harmful(err.getvalue().encode("utf-8", "surrogatepass")) == []
    return out.getvalue().decode()


class Terminal(io.BytesIO):
    """Standard input or output of somebody who sits at a terminal."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(*words: object) -> str:
    """The same for somebody who sits at a terminal, who gets tabs and the line ends of what was said in a stream."""
    out, err = Terminal(), io.StringIO()
    run([*map(str, words)], Environment(io.BytesIO(), out, err, {"TERM": "dumb"}))
    assert harmful(out.getvalue().replace(b"\r\n", b"\n"), "\n\t") == []
    return out.getvalue().decode()


def messages() -> list[bytes]:
    """Frames of protocols whose messages are text, with hostile text at each place that a person reads."""
    h = LINES.replace(b"\0", b"")
    to = {
        21: [b"USER " + LINES + b"\r\n", b"PORT 1,2,3,4,5," + h + b"\r\n", LINES + b"\r\n"],
        25: [b"HELO " + LINES + b"\r\nMAIL FROM:<" + h + b">\r\n", LINES + b" " + LINES + b"\r\n"],
        110: [b"USER " + LINES + b"\r\nPASS " + h + b"\r\n"],
        143: [b"a1 LOGIN " + LINES + b" " + h + b"\r\n", h + b" " + h + b" " + h + b"\r\n"],
        6667: [b":" + h + b" PRIVMSG #" + h + b" :" + h + b"\r\n", b"NICK " + LINES + b"\r\n"],
        23: [b"\xff\xfb\x01login: " + LINES],
        80: [
            b"GET /"
            + h
            + b"?"
            + h
            + b" HTTP/1.1\r\nHost: "
            + h
            + b"\r\nUser-Agent: "
            + LINES
            + b"\r\n"
            + h
            + b": x\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n\r\n" + h,
        ],
        22: [b"SSH-2.0-" + h + b"\r\n"],
        554: [b"DESCRIBE rtsp://" + h + b" RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: " + h + b"\r\n\r\n"],
        6379: [b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(h), h), b"+" + h + b"\r\n"],
    }
    back = {
        21: [b"220 " + LINES + b"\r\n", b"220-" + h + b"\r\n" + h + b"\r\n"],
        25: [b"250 " + LINES + b"\r\n", LINES],
        110: [b"+OK " + LINES + b"\r\n", b"-ERR " + h + b"\r\n"],
        143: [b"* OK " + LINES + b"\r\n", b"a1 NO " + h + b"\r\n"],
        80: [b"HTTP/1.1 200 " + h + b"\r\nServer: " + LINES + b"\r\nSet-Cookie: " + h + b"\r\n\r\nbody"],
        554: [b"RTSP/1.0 200 " + h + b"\r\nServer: " + h + b"\r\n\r\n"],
    }
    label = h[:60]
    name = bytes([len(label)]) + label + b"\3org\0"
    query = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1)
    texts = bytes([60]) + HOSTILE[:60]
    reply = struct.pack(">6H", 7, 0x8180, 1, 1, 0, 0) + name + struct.pack(">2H", 16, 1)
    reply += b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, 60, len(texts)) + texts
    datagrams = {
        53: [query],
        69: [b"\0\1" + h + b"\0netascii\0", b"\0\5\0\1" + h + b"\0"],
        514: [b"<13>" + LINES, b"<34>1 2003-10-11T22:14:15.003Z " + h + b" " + h + b" - ID47 - " + LINES, LINES],
        5060: [b"INVITE sip:" + h + b" SIP/2.0\r\nVia: " + h + b"\r\nFrom: <sip:" + h + b">;tag=" + h + b"\r\n\r\n"],
        1900: [b"NOTIFY * HTTP/1.1\r\nHOST: " + h + b"\r\nST: " + h + b"\r\n\r\n"],
        161: [b"\x30" + bytes([len(h[:40]) + 5]) + b"\2\1\0\4" + bytes([len(h[:40])]) + h[:40]],
        13: [b""],
    }
    found = [segment(data, port) for port, several in to.items() for data in several]
    found += [answered(data, port) for port, several in back.items() for data in several]
    found += [datagram(data, port) for port, several in datagrams.items() for data in several]
    return [*found, answer(reply, 53), answer(h, 13), answer(b"HTTP/1.1 200 " + h + b"\r\n\r\n", 1900)]


def spoiled(packet: bytes) -> bytes:
    """The packet with hostile text instead of its own, of the same length: all but the first byte of each text."""

    def replaced(match: re.Match[bytes]) -> bytes:
        own = match[0]
        return own[:1] + (HOSTILE * (len(own) // len(HOSTILE) + 1))[: len(own) - 1]

    return TEXT.sub(replaced, packet)


def every_packet() -> list[tuple[int, bytes]]:
    """Link types and packets: the hostile ones, and what there is of others, spoiled."""
    frames = [(1, packet) for packet in [*messages(), *map(spoiled, conversations())]]
    frames += [(1, ethernet(0x0800, ipv4(6, tcp(port, HOSTILE)))) for port in (443, 1883, 5060, 9999)]
    frames += [(1, ethernet(0x0800, ipv4(17, udp(port, HOSTILE)))) for port in (53, 67, 123, 137, 546, 9999)]
    others = [(link, spoiled(packet)) for link, packet in made_here() + captured()[::EVERY] if link >= 0]
    return frames + others


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them as a pcapng file, whose own texts are hostile too."""
    packets = every_packet()
    links = sorted({link for link, _ in packets})
    about = b"".join(option(code, HOSTILE) for code in (1, 2, 3, 4)) + option(0, b"")
    ports = b"".join(option(code, HOSTILE) for code in (1, 2, 3, 12, 15)) + option(11, b"\0" + HOSTILE) + option(0, b"")
    owner = b"process: " + HOSTILE[:30] + b"[12] (" + HOSTILE[:20] + b") \xe2\x86\x92 " + HOSTILE[:20] + b"[13]"
    noted = (option(1, HOSTILE) + option(0, b""), option(1, owner) + option(0, b""), b"")
    parts = [section(options=about), *(interface(link_type=link, options=ports) for link in links)]
    parts.append(block(0xBAD, struct.pack("<I", 32473) + HOSTILE + bytes(-len(HOSTILE) % 4)))
    for number, (link, packet) in enumerate(packets):
        parts.append(enhanced(packet, number, number=links.index(link), options=noted[number % 3]))
    path = tmp_path_factory.mktemp("hostile") / "hostile.pcapng"
    path.write_bytes(b"".join(parts))
    return path


def test_the_capture_is_hostile_and_read_to_its_end(capture: Path) -> None:
    data = capture.read_bytes()
    assert b"\x1b" in data and b"\xff" in data
    assert len(ran("read", capture).splitlines()) == len(every_packet()) + 1
    for protocol in ("ftp", "smtp", "syslog", "dns", "http", "sip", "ssh", "tftp", "imap", "pop", "irc"):
        assert ran("read", capture, "-Y", protocol), protocol


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-t", "ad"],
        ["-V"],
        ["-x"],
        ["-V", "-x"],
        ["--packet", "1"],
        ["--packet", "2"],
        ["-T", "json"],
        ["-T", "ek"],
        ["-q", "-z", "conv,ip", "-z", "conv,tcp", "-z", "endpoints,ip", "-z", "endpoints,udp"],
        ["-q", "-z", "io,stat,1", "-z", "expert", "-z", "expert,note", "-z", "flow,any", "-z", "flow,tcp,network"],
        ["-q", "-z", "verdict", "-z", "ladder"],
        ["-q", "-z", "ladder,0,svg"],
        ["-q", "-z", "sequence", "-z", "rtt"],
        ["-q", "-z", "expert", "-z", "flow,any", "-z", "verdict", "-z", "ladder", "--json"],
    ],
    ids=lambda words: " ".join(words) or "the list",
)
def test_no_view_of_a_capture_shows_it(capture: Path, words: list[str]) -> None:
    text = ran("read", capture, *words)
    assert text
    if "json" in words or "--json" in words:
        json.loads(text)


@pytest.mark.parametrize("mode", ["ascii", "hex", "raw", "yaml"])
def test_no_followed_stream_shows_it(capture: Path, mode: str) -> None:
    for stream in range(12):
        for protocol in ("tcp", "udp"):
            words = ("read", capture, "-q", "-z", f"follow,{protocol},{mode},{stream}")
            ran(*words, allowed="\n\t\r")  # a carriage return as tshark has it; a terminal gets none but of a line end
            assert "\r" not in on_a_terminal(*words).replace("\r\n", "")
    ran("read", capture, "-q", "-z", f"follow,tcp,{mode},1", "--json")


def text_fields() -> list[str]:
    return [one.name for one in echowire.fields() if one.type == "Character string"]


@pytest.mark.parametrize(
    "form", [["fields"], ["fields", "-E", "occurrence=l"], ["fields", "-E", "occurrence=a"], ["json"], ["ek"]]
)
def test_no_chosen_field_shows_it(capture: Path, form: list[str]) -> None:
    words = [word for name in text_fields() for word in ("-e", name)]
    text = ran("read", capture, "-T", *form, *words, allowed="\n\t")
    assert "\\" in text
    assert form[0] != "fields" or on_a_terminal("read", capture, "-T", *form, *words, "-E", "escape=n")
    assert len(text.splitlines()) >= len(every_packet())


def test_no_name_of_an_export_shows_it(capture: Path, tmp_path: Path) -> None:
    ran("read", capture, "--export-objects", f"http,{tmp_path / 'objects'}", "--json")
    ran("read", capture, "--export-streams", tmp_path / "streams", "--json")
    hostile = tmp_path / f"to{HOSTILE_TEXT.replace(chr(0), '')}"
    ran("read", capture, "--export-objects", f"http,{hostile}")
    ran("read", capture, "-c", "3", "-w", f"{hostile}.pcap")
    ran("read", capture, "-c", "3", "-e", "frame.number", "--export", f"{hostile}.csv")
    names = [path.name for path in tmp_path.rglob("*") if path.parent.name in ("objects", "streams")]
    assert names
    assert [name for name in names if not name.isprintable()] == []


def test_no_error_shows_it(tmp_path: Path) -> None:
    hostile = HOSTILE_TEXT.replace("\0", "")
    for words in (
        ["read", tmp_path / hostile],
        ["read", tmp_path / "none", "-Y", f"tcp.port == {hostile}"],
        ["read", tmp_path / "none", "-Y", f'frame matches "({hostile}"'],
        ["read", tmp_path / "none", "-z", hostile],
        ["read", tmp_path / "none", "-T", "json", "-e", hostile],
        ["fields", hostile],
        ["call", hostile],
        ["call", f"unix:{tmp_path}/{hostile}", "-m", "x"],
        ["call", f"unix:{tmp_path}/{hostile}", "-m", "x", "--json"],
        ["call", f"unix:{tmp_path}/{hostile}", "-m", "x", "--jsonl"],
        ["ping", hostile],
        ["ping", "-c", "1", f"{hostile}.invalid", "127.0.0.1", "--json"],
        ["bench", f"unix:{tmp_path}/{hostile}", "-n", "1"],
        ["bench", f"unix:{tmp_path}/{hostile}", "-n", "1", "--json"],
        ["bench", "--fail-if", hostile],
        ["serve", f"unix:{tmp_path}/no/{hostile}"],
        ["serve", "--handler", hostile],
        ["serve", "--handler", f"{hostile}:{hostile}"],
        ["serve", "--handler", f"os:{hostile}"],
        ["serve", f"tls://{hostile}"],
        ["sockets", hostile],
        ["sockets", "-N", hostile],
        ["sockets", "-F", hostile],
        ["capture", "-i", hostile],
        ["capture", "-i", "lo", "-f", hostile],
        ["capture", "-i", "lo", "-Y", hostile],
        [hostile],
        [f"--{hostile}"],
    ):
        ran(*words)


@pytest.fixture
def hostile_sockets(tmp_path: Path) -> Iterator[Path]:
    """Unix sockets of hostile names, abstract and not, held by a process and a thread of a hostile name."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = ctypes.create_string_buffer(16)
    libc.prctl(16, own)  # PR_GET_NAME
    libc.prctl(15, HOSTILE[:15].replace(b"\0", b"-"))  # PR_SET_NAME
    folder = os.fsencode(tmp_path)
    names = [
        b"\0" + HOSTILE[:60],
        b"\0" + HOSTILE[60:],
        folder + b"/" + HOSTILE[:30].replace(b"\0", b"-"),
        folder + b"/\xff",
    ]
    sockets = [socket.socket(socket.AF_UNIX) for _ in names]
    try:
        for sock, name in zip(sockets, names, strict=True):
            sock.bind(name)
            sock.listen()
        yield tmp_path
    finally:
        for sock in sockets:
            sock.close()
        libc.prctl(15, own)


@pytest.mark.parametrize(
    "words",
    [
        ["-xlp"],
        ["-xlpn", "-e", "-m", "-i", "-o"],
        ["-xlp", "--json"],
        ["-xlp", "--jsonl"],
        ["-xl", "--by", "peer"],
        ["-xl", "--by", "process"],
        ["-xl", "--by", "process", "--json"],
        ["-xl", "--watch", "--count", "1"],
        ["-xlp", "--watch", "--count", "1"],
        ["-xlp", "--watch", "--count", "1", "--jsonl"],
    ],
    ids=" ".join,
)
def test_no_view_of_sockets_shows_it(hostile_sockets: Path, words: list[str]) -> None:
    done = subprocess.run([*COMMAND, "sockets", *words], capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert harmful(done.stdout, "\n\t") == []
    assert harmful(done.stderr) == []
    if "--by" not in words:
        assert b"title" in done.stdout
    if "--json" in words:
        document = json.loads(done.stdout)
        if "sockets" in document:
            paths = {row["path"] for row in document["sockets"]}
            assert os.fsencode(hostile_sockets).decode() + "/\udcff" in paths  # the same name to whoever parses it


@pytest.fixture
def hostile_server() -> Iterator[str]:
    """Where every connection is answered with hostile text, and closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer = listener.accept()[0]
                except OSError:
                    return
                with peer:
                    peer.recv(1000)
                    peer.sendall(HOSTILE + b"\r\n\tafter a line\n" + "é".encode()[:1])

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_what_a_peer_says_is_shown_and_does_nothing(hostile_server: str) -> None:
    for stdin, words in (
        (Terminal(b"hello\n"), []),
        (io.BytesIO(b"hello\n"), []),
        (io.BytesIO(), ["-m", "hello"]),
        (io.BytesIO(), ["-m", "hello", "--verify"]),
        (io.BytesIO(), ["-m", "hello", "--json"]),
        (io.BytesIO(), ["-m", "hello", "--jsonl", "--verify"]),
    ):
        out, err = Terminal(), io.StringIO()
        run(["call", hostile_server, *words], Environment(stdin, out, err, {}))
        text = out.getvalue().decode()
        assert harmful(text.replace("\r\n", "\n").encode(), "\n\t") == [], words
        assert harmful(err.getvalue().encode("utf-8", "surrogatepass")) == [], words
        assert words or "\\x1b[31mred" in text


def test_a_pipe_gets_every_byte_of_a_peer(hostile_server: str) -> None:
    done = subprocess.run([*COMMAND, "call", hostile_server], input=b"x", capture_output=True, timeout=PATIENCE_S)
    assert done.stdout == HOSTILE + b"\r\n\tafter a line\n" + "é".encode()[:1]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """One whose name leaves room in a socket's address, of 108 bytes (unix(7))."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_no_event_of_a_server_shows_it(short_folder: Path) -> None:
    (short_folder / "bad.py").write_text(f"def serve(sock):\n    raise ValueError({HOSTILE_TEXT!r})\n")
    hostile = os.fsdecode(b"/" + HOSTILE[:40].replace(b"\0", b"-"))
    for words in (["--jsonl"], ["-v"], ["-v", "--json"]):
        command = [*COMMAND, "serve", *words, "--handler", "bad:serve", f"unix:{short_folder}{hostile}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=short_folder) as server:
            assert server.stdout is not None and server.stderr is not None
            first = b"" if "--json" in words else server.stdout.readline()
            if "--json" in words:
                server.stderr.readline()  # the engine: it listens
            with socket.socket(socket.AF_UNIX) as peer:
                peer.bind(f"\0{HOSTILE_TEXT[:20]}".encode("utf-8", "surrogateescape"))
                peer.connect(os.fsencode(short_folder) + os.fsencode(hostile))
                peer.recv(10)
            server.terminate()
            out, err = server.communicate(timeout=PATIENCE_S)
        assert server.returncode == 0, err
        assert harmful(first + out) == []
        assert harmful(err) == []
        assert b"it raised" in err or b"raised" in err


def test_no_report_of_a_load_shows_it(hostile_server: str, tmp_path: Path) -> None:
    for words in (["-n", "2"], ["-n", "2", "--json"], ["-n", "2", "--jsonl"]):
        ran("bench", hostile_server, *words)
    name = HOSTILE_TEXT[:30].replace("\0", "-")
    with serving(f"unix:{tmp_path}/{name}", sockets=1):
        for words in (["-n", "2"], ["-n", "2", "--json"], ["-n", "2", "--jsonl"]):
            ran("bench", f"unix:{tmp_path}/{name}", *words)


@needs_root
@pytest.mark.parametrize(
    "words",
    [[], ["-T", "fields", "-e", "ftp.request.arg", "-e", "syslog.msg"], ["--jsonl"], ["-Y", "syslog"]],
    ids=" ".join,
)
def test_no_packet_that_comes_by_shows_it(words: list[str]) -> None:
    command = [*COMMAND, "capture", "-i", "lo", "-f", "udp port 514", "-c", "3", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        process.stderr.readline()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for _ in range(3):
                peer.sendto(b"<13>" + HOSTILE, ("127.0.0.1", 514))
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert b"title" in out
    assert harmful(out, "\n\t") == []
    assert harmful(err) == []


@needs_root
def test_no_packet_on_a_terminal_shows_it(hostile_sockets: Path) -> None:
    main, other = pty.openpty()
    command = [*COMMAND, "capture", "-i", "lo", "-f", "udp port 514", "-c", "3"]
    with subprocess.Popen(command, stdout=other, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        os.close(other)
        assert process.stderr is not None
        process.stderr.readline()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for _ in range(3):
                peer.sendto(b"<13>" + HOSTILE, ("127.0.0.1", 514))
        shown = b""
        try:
            while data := os.read(main, 10_000):
                shown += data
        except OSError:
            pass  # the other side has closed it
        os.close(main)
        process.communicate(timeout=PATIENCE_S)
    ours = re.sub(rb"\r\x1b\[K|\x1b\[[0-9;]*m|\r\n", b"\n", shown)
    assert b"\\x1b[31mred" in ours
    assert harmful(ours) == []


@pytest.mark.parametrize(
    ("text", "one_line"),
    [
        ("plain é 漢字 😀", "plain é 漢字 😀"),
        ("\x1b[31m\a\0\r\n\t\v\f\b\x7f", "\\x1b[31m\\a\\x00\\r\\n\\t\\v\\f\\b\\x7f"),
        ("\x9b\u202e\u2028\udcff\U000e0001", "\\x9b\\u202e\\u2028\\udcff\\U000e0001"),
    ],
)
def test_a_text_on_one_line(text: str, one_line: str) -> None:
    assert printable(text) == one_line


@pytest.mark.parametrize("indent", [None, 2])
def test_json_says_the_same_and_can_be_printed(indent: int | None) -> None:
    document = {HOSTILE_TEXT: [HOSTILE_TEXT, "é", None, {"\x9b": 1.5, "\U000e0001": "\udc80"}]}
    text = json_text(document, indent=indent)
    assert json.loads(text) == document
    assert harmful(text.encode()) == []
    assert "é" in text
