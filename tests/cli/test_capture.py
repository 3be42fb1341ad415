"""`echowire capture` as its users start it: files beside dumpcap's, signals, full disks, privileges, lines."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import echowire
from echowire.cli.live_ladder import pins_tcp_port
from tests.peers import needs, needs_root
from tests.processes import COMMAND, PATIENCE_S

NOBODY = 65534
pytestmark = needs_root


def send(port: int, count: int, size: int = 40) -> list[bytes]:
    """Send numbered datagrams to a port of this host."""
    sent = [number.to_bytes(4, "big") * (size // 4) for number in range(count)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for data in sent:
            peer.sendto(data, ("127.0.0.1", port))
    return sent


@contextmanager
def a_port() -> Iterator[int]:
    """A UDP port that somebody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        yield sink.getsockname()[1]


@contextmanager
def capturing(*words: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """The command on lo, once it captures and all is loaded, so that processes are known too."""
    command = [*COMMAND, "capture", "-i", "lo", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **(pipes | options)) as process:  # type: ignore[call-overload]
        try:
            assert process.stderr.readline().startswith(b"Capturing on lo")
            wait_loaded(process)
            yield process
        finally:
            process.kill()


def wait_loaded(process: subprocess.Popen[bytes]) -> None:
    """Wait until it has the ring in its memory: it looks at packets then, and has asked whose the sockets are."""
    until = time.monotonic() + PATIENCE_S
    while "socket:[" not in Path(f"/proc/{process.pid}/maps").read_text() and process.poll() is None:
        assert time.monotonic() < until
        threading.Event().wait(0.02)


def ended(process: subprocess.Popen[bytes], number: int = signal.SIGINT) -> tuple[str, str]:
    process.send_signal(number)
    out, said = process.communicate(timeout=PATIENCE_S)
    return out.decode(), said.decode()


def payloads(path: Path) -> list[bytes]:
    with echowire.read(path).chunks("udp.srcport") as reading:
        return [
            chunk.packets.records.packet(row)[42:] for chunk in reading for row in range(len(chunk.packets.records))
        ]


def run_once(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "capture", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, **options)  # type: ignore[call-overload, no-any-return]


def tshark(path: Path, *words: str) -> tuple[list[str], str]:
    done = subprocess.run(["tshark", "-n", "-r", str(path), *words], capture_output=True, text=True, timeout=PATIENCE_S)
    return done.stdout.splitlines(), done.stderr.replace(
        'Running as user "root" and group "root". This could be dangerous.\n', ""
    )


@needs("dumpcap", "tshark")
@pytest.mark.parametrize("words", [(), ("-F", "pcap"), ("--processes",), ("-s", "50")])
def test_what_is_written_is_what_dumpcap_writes(tmp_path: Path, words: Sequence[str]) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.touch()
    theirs.chmod(0o666)
    tmp_path.chmod(0o755)
    fields = (
        "-T",
        "fields",
        "-e",
        "frame.len",
        "-e",
        "frame.cap_len",
        "-e",
        "eth.type",
        "-e",
        "udp.payload",
        "-e",
        "ip.id",
    )
    with a_port() as port:
        snapped = words if words[:1] == ("-s",) else ()
        dumpcap = ["dumpcap", "-i", "lo", "-f", f"udp port {port}", "-w", str(theirs), *snapped]
        with (
            subprocess.Popen(dumpcap, stderr=subprocess.PIPE, bufsize=0) as peer,
            capturing("-w", str(ours), *words, "udp", "port", str(port)) as process,
        ):
            assert peer.stderr is not None
            while not peer.stderr.readline().startswith(b"File:"):
                pass
            send(port, 500, 39)
            send(port, 3, 9000)
            ended(process)
            said = b""
            while b"Packets: 503" not in said:  # it does not look once more into its buffer when it is ended
                said = said[-100:] + os.read(peer.stderr.fileno(), 1000)
            peer.send_signal(signal.SIGINT)
            peer.communicate(timeout=PATIENCE_S)
    lines, complaint = tshark(ours, *fields)
    assert complaint == ""
    assert lines == tshark(theirs, *fields)[0]
    assert len(lines) == 503


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_all_packets_and_a_summary(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.pcapng"
    with a_port() as port, capturing("-w", str(path), f"udp port {port}") as process:
        sent = send(port, 1000)
        out, said = ended(process, number)
        assert process.returncode == 0
    assert payloads(path) == sent
    assert out == ""
    assert said.startswith("1000 packets captured, 0 dropped by the ring")


def test_after_kill_9_the_file_has_what_was_flushed(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with a_port() as port, capturing("-w", str(path), "-P", "--jsonl", f"udp port {port}") as process:
        sent = send(port, 100)
        assert process.stdout is not None
        for _ in sent:
            process.stdout.readline()
        process.kill()
        process.wait()
    assert payloads(path) == sent


def test_files_in_turn_lose_nothing(tmp_path: Path) -> None:
    with (
        a_port() as port,
        capturing("-w", str(tmp_path / "a.pcapng"), "-b", "filesize:10", f"udp port {port}") as process,
    ):
        sent = send(port, 1000)
        _, said = ended(process)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 5
    assert f"in {len(files)} files" in said
    assert [one for path in files for one in payloads(path)] == sent
    assert all(path.stat().st_size < 10_200 for path in files)


def test_the_newest_files_are_kept(tmp_path: Path) -> None:
    words = ("-b", "packets:100", "-b", "files:3", "-w", str(tmp_path / "a.pcap"))
    with a_port() as port, capturing(*words, f"udp port {port}") as process:
        sent = send(port, 950)
        ended(process)
    files = sorted(tmp_path.iterdir())
    assert [path.name[:7] for path in files] == ["a_00008", "a_00009", "a_00010"]
    assert [one for path in files for one in payloads(path)] == sent[700:]


def test_it_stops_at_the_last_file(tmp_path: Path) -> None:
    words = ("-b", "packets:100", "-a", "files:3", "-w", str(tmp_path / "a.pcapng"))
    with a_port() as port, capturing(*words, f"udp port {port}") as process:
        sent = send(port, 950)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert [one for path in sorted(tmp_path.iterdir()) for one in payloads(path)] == sent[:300]
    assert said.startswith(b"300 packets captured in 3 files")


def test_a_disk_that_is_full_is_one_line_and_leaves_whole_packets(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    with a_port() as port, capturing("-w", str(path), f"udp port {port}", preexec_fn=limit) as process:
        sent = send(port, 1000)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert said.decode().splitlines() == [f"echowire: write {path}: file too large (EFBIG 27)."]
    assert process.returncode == 2
    found = payloads(path)
    assert 100 < len(found) < 200
    assert found == sent[: len(found)]


@needs("tshark")
def test_standard_output_feeds_tshark() -> None:
    with a_port() as port, capturing("-w", "-", "-c", "5", f"udp port {port}") as process:
        send(port, 9)
        out, _ = process.communicate(timeout=PATIENCE_S)
    words = ["tshark", "-n", "-r", "-", "-T", "fields", "-e", "udp.length"]
    done = subprocess.run(words, input=out, capture_output=True, timeout=PATIENCE_S)
    assert done.stdout.split() == [b"48"] * 5


def test_fields_and_a_display_filter_live() -> None:
    words = ("-T", "fields", "-e", "frame.number", "-e", "udp.length", "-Y", "udp.length == 28", "-c", "6")
    with a_port() as port, capturing(*words, f"udp port {port}") as process:
        for size in (40, 20, 40, 20, 40, 20):
            send(port, 1, size)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert out == b"2\t28\n4\t28\n6\t28\n"


def test_packets_and_the_summary_as_json() -> None:
    with a_port() as port, capturing("--jsonl", "-c", "2", f"udp port {port}") as process:
        send(port, 2)
        out, _ = process.communicate(timeout=PATIENCE_S)
    one, two, summary = map(json.loads, out.splitlines())
    assert (one["number"], two["number"], one["protocol"], one["interface"]) == (1, 2, "UDP", "lo")
    assert one["sender"]["pid"] == one["receiver"]["pid"] == os.getpid()
    assert summary["event"] == "summary"
    assert (summary["captured"], summary["dropped"]) == (2, 0)


def test_on_a_terminal_rows_have_their_processes_and_colours(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    path, environment = tmp_path / "a.pcapng", os.environ | {"TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    words = ("-w", str(path), "-c", "50")
    with a_port() as port, capturing(*words, f"udp port {port}", stdout=theirs, env=environment) as process:
        os.close(theirs)
        sent = send(port, 50)
        drawn = bytearray()
        try:
            while data := os.read(ours, 65536):
                drawn += data
        except OSError:
            pass  # the last one has closed the terminal (EIO, pty(7))
        said = process.communicate(timeout=PATIENCE_S)[1].decode()
    os.close(ours)
    rows = [line for line in drawn.decode().split("\n") if " UDP 82 " in line]
    name = Path("/proc/self/comm").read_text().strip()
    assert all(f"UDP 82 {name}[{os.getpid()}]" in row for row in rows)
    assert all("\x1b[48;2;218;238;255m" in row for row in rows)
    assert all(len(re.sub(r"\x1b\[[0-9;]*[mK]|\r", "", row)) <= 100 for row in rows)
    assert 20 <= len(rows) <= 50
    assert ("passed over" in drawn.decode()) == (len(rows) < 50)
    assert payloads(path) == sent
    assert "50 packets captured" in said


def test_whose_packets_they_are() -> None:
    words = ("-T", "fields", "-e", "proc.srcpid", "-e", "proc.dstname", "-c", "3")
    name = Path("/proc/self/comm").read_text().strip()
    with a_port() as port, capturing(*words, f"udp port {port}") as process:
        send(port, 3)
        out, said = process.communicate(timeout=PATIENCE_S)
    assert out.decode().splitlines() == [f"{os.getpid()}\t{name}"] * 3
    assert b"0 of unknown processes" in said


@needs("setpriv")
def test_with_the_capability_alone_processes_are_looked_up(tmp_path: Path) -> None:
    plain = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    allowed = (*plain, "--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw")
    sender = (
        "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('127.0.0.1', int(sys.argv[1])))\n"
    )
    sender += "for line in sys.stdin: s.send(b'x')"
    words = ("capture", "-i", "lo", "-T", "fields", "-e", "proc.srcpid", "-c", "5")
    with a_port() as port:
        here = [*plain, COMMAND[0], "-c", sender, str(port)]
        there = [*allowed, *COMMAND, *words, f"udp port {port}"]
        with (
            subprocess.Popen(here, stdin=subprocess.PIPE, text=True) as peer,
            subprocess.Popen(there, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        ):
            assert process.stderr is not None and process.stdout is not None and peer.stdin is not None
            if not process.stderr.readline().startswith("Capturing"):
                pytest.skip("another user may not run this interpreter")
            found: list[str] = []
            while process.poll() is None and len(found) < 5:
                peer.stdin.write("\n")
                peer.stdin.flush()
                found.append(process.stdout.readline())
            process.communicate(timeout=PATIENCE_S)
            peer.stdin.close()
    assert found[-1] == f"{peer.pid}\n"


def status_with(process: subprocess.Popen[bytes], *wanted: str) -> str:
    """What the kernel says of a process once it says all of that."""
    until = time.monotonic() + PATIENCE_S
    while True:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if all(text in status for text in wanted):
            return status
        assert time.monotonic() < until, status
        threading.Event().wait(0.02)


def test_started_through_sudo_it_gives_up_root(shared_folder: Path) -> None:
    path = shared_folder / "a.pcapng"
    environment = os.environ | {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}
    with a_port() as port, capturing("-w", str(path), f"udp port {port}", env=environment) as process:
        sent = send(port, 10)  # it captures, and gives root up once all is loaded
        status = status_with(
            process, f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\nGid:\t{NOBODY}\t{NOBODY}", "NoNewPrivs:\t1"
        )
        assert "CapEff:\t0000000000000000\n" in status
        assert "CapBnd:\t0000000000000000\n" in status and "NoNewPrivs:\t1\n" in status
        ended(process)
    assert path.stat().st_uid == NOBODY
    assert payloads(path) == sent


OUT_OF_REACH = """
import os, sys

class OutOfReach:
    def find_spec(self, name, path=None, target=None):
        if os.geteuid():
            raise ModuleNotFoundError(f"{name} was imported after root had been given up", name=name)

from echowire.cli import main
sys.meta_path.insert(0, OutOfReach())
sys.exit(main())
"""
"""The command, whose program files only root can read (a clone in /root): what it imports as another user fails."""


FORMS: tuple[tuple[str, ...], ...] = (
    ("-w", "a.pcapng"),
    ("-w", "a.pcap", "-P"),
    (),
    ("-T", "fields", "-e", "frame.time", "-e", "udp.payload", "-e", "proc.name"),
    ("--jsonl",),
    ("--jsonl", "-e", "ip.src"),
    ("-Y", 'udp.length > 8 && frame contains 00 && !(ip.dst == 10.0.0.0/8) && udp.payload matches "."'),
)


@pytest.mark.parametrize(
    ("words", "on_terminal"),
    [*((words, on_terminal) for words in FORMS for on_terminal in (False, True)), (("--ladder",), True)],
)
def test_nothing_is_imported_once_root_is_given_up(
    words: Sequence[str], on_terminal: bool, shared_folder: Path
) -> None:
    environment = os.environ | {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [COMMAND[0], "-c", OUT_OF_REACH, "capture", "-i", "lo", "-c", "60", *words]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 200, 0, 0))
    output = theirs if on_terminal else subprocess.PIPE
    with socket.create_server(("127.0.0.1", 0)) as listener, a_port() as port:
        tcp_port = listener.getsockname()[1]
        chosen = f"tcp port {tcp_port}" if "--ladder" in words else f"udp port {port} or tcp port {tcp_port}"
        with subprocess.Popen(
            [*command, chosen], cwd=shared_folder, env=environment, stdout=output, stderr=subprocess.PIPE
        ) as process:
            os.close(theirs)
            assert process.stderr is not None
            begun = process.stderr.readline()
            assert begun.startswith(b"Capturing on lo"), begun
            shown = threading.Thread(target=read_all, args=(ours,))
            shown.start()
            while process.poll() is None:
                send(port, 3)
                with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as accepted:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    accepted.recv(100)
            said = process.communicate(timeout=PATIENCE_S)[1]
            shown.join()
    os.close(ours)
    assert process.returncode == 0, said.decode()
    assert "--jsonl" in words or b"60 packets captured" in said, said.decode()


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """One that everybody may enter and write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def read_all(descriptor: int) -> bytes:
    """What a terminal shows until the last one has closed it (EIO, pty(7))."""
    drawn = bytearray()
    with suppress(OSError):
        while data := os.read(descriptor, 65536):
            drawn += data
    return bytes(drawn)


def test_without_the_capability_it_says_what_to_do() -> None:
    script = (
        "import os, sys; from echowire.cli.main import run; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "sys.argv = ['echowire', 'capture', '-i', 'lo']; sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [COMMAND[0], "-c", "import shlex, shutil, echowire.verbs.capture, echowire.cli.capture;" + script],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("echowire: capture on lo: operation not permitted (EPERM 1). ")
    assert "sudo " in line and "sudo setcap cap_net_raw+ep " in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-i", "lo", "tcp", "prot", "3"), "capture filter 'tcp prot 3': can't parse filter expression: syntax error"),
        (("-i", "nope0"), "capture on nope0: no such device (ENODEV 19). There is no interface nope0; list them with"),
        (("-i", "lo", "-Y", "tcp.prot == 1"), "tcp.prot"),
        (("-i", "lo", "-e", "ip.src"), "-e names fields of -T fields or --jsonl"),
        (("-i", "lo", "-a", "time:3"), "-a time:3: one of duration:N"),
        (("-i", "lo", "-b", "files:3"), "-b makes files in turn"),
        (("-i", "lo", "--ladder"), "--ladder needs a terminal; `echowire read FILE -q -z ladder,0`"),
        (("-i", "lo", "--ladder", "-Y", "tcp"), "--ladder draws all segments on a terminal"),
        (("-i", "lo", "-w", "-", "-P"), "standard output has the packets already"),
        (("-i", "lo", "-w", "/nowhere/a.pcapng"), "write /nowhere/a.pcapng: no such file or directory (ENOENT 2)."),
    ],
)
def test_what_cannot_be_is_one_line(words: Sequence[str], said: str) -> None:
    done = run_once(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("echowire: ") and said in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def on_a_terminal(*words: str) -> Iterator[Callable[[str], str]]:
    """The command on a terminal, and a function that waits until it shows something, and gives all up to there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 200, 0, 0))  # wide enough for all of a row
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        [*COMMAND, "capture", "-i", "lo", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        seen = ""

        def until(text: str) -> str:
            nonlocal seen
            while text not in seen:
                ready, _, _ = select.select([ours], [], [], PATIENCE_S)
                assert ready, f"{text!r} was not shown, but: {seen!r}"
                seen += os.read(ours, 1 << 16).decode()
            shown, _, seen = seen.partition(text)
            return shown

        try:
            until(" packets")  # the line beneath is drawn, so packets are taken
            yield until
            process.send_signal(signal.SIGINT)
            until("packets captured")
        finally:
            process.kill()
            os.close(ours)


def talk(listener: socket.socket) -> None:
    """A connection in which each end says something."""
    with socket.create_connection(listener.getsockname()) as caller:
        called, _ = listener.accept()
        with called:
            caller.sendall(b"question")
            called.recv(100)
            called.sendall(b"answer")
            caller.recv(100)


def test_on_a_terminal_one_port_is_a_ladder_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with on_a_terminal("-w", str(path), f"tcp port {port}") as until:
            for stream in range(2):
                talk(listener)
                shown = until("TIME-WAIT") + until("CLOSED")
                assert f"tcp.stream {stream}: client 127.0.0.1:" in shown
                assert f"server 127.0.0.1:{port}" in shown
                assert "connect returns" in shown and "ESTAB" in shown and "8 bytes seq 1" in shown
    with echowire.read(path).chunks("tcp.stream") as reading:
        assert sum(map(len, reading)) >= 2 * 8


@pytest.mark.parametrize("words", [("--no-ladder", "tcp port {}"), ("tcp port {} or udp port 9",)])
def test_else_it_is_the_packet_list(words: Sequence[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with on_a_terminal(*(word.format(listener.getsockname()[1]) for word in words)) as until:
            talk(listener)
            assert "Seq=0" in until("[FIN, ACK]")


@pytest.mark.parametrize(
    ("expression", "pins"),
    [
        ("tcp port 12345", True),
        ("TCP dst port http and host 10.0.0.1", True),
        ("host ::1 and (tcp port 80)", True),
        ("tcp port 80 or tcp port 81", False),
        ("tcp port 80 || icmp", False),
        ("not tcp port 80", False),
        ("tcp and !port 80", False),
        ("udp port 53", False),
        ("port 12345", False),
        ("tcp portrange 1-5", False),
        ("tcp", False),
        ("", False),
    ],
)
def test_which_filters_look_at_one_port(expression: str, pins: bool) -> None:
    assert pins_tcp_port(expression) == pins


def test_an_interface_by_its_number() -> None:
    (line,) = [line for line in run_once("-D").stdout.splitlines() if " lo " in line]
    done = run_once("-i", line.partition(".")[0], "-a", "duration:0.1", "-q")
    assert done.stderr.startswith("Capturing on lo\n")
    assert done.returncode == 0


def test_the_interfaces() -> None:
    done = run_once("-D")
    lines = done.stdout.splitlines()
    (loopback,) = [line for line in lines if " lo " in line]
    assert "loopback" in loopback and "127.0.0.1/8" in loopback
    assert " any " in lines[-1]
    assert done.returncode == 0


def test_the_interfaces_as_one_document() -> None:
    done = run_once("-D", "--json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["version"]) == ("echowire.interfaces", 1)
    assert [one["number"] for one in document["interfaces"]] == list(range(1, len(document["interfaces"]) + 1))
    *named, every = document["interfaces"]
    assert every["name"] == "any" and every["addresses"] == []
    assert {one["name"] for one in named} == {name for _, name in socket.if_nameindex()}
    (loopback,) = [one for one in named if one["is_loopback"]]
    assert (loopback["name"], loopback["is_up"], loopback["bits_per_s"]) == ("lo", True, None)
    assert "127.0.0.1/8" in loopback["addresses"]
    assert done.returncode == 0


def test_json_is_of_the_interfaces() -> None:
    done = run_once("--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--json is of -D; --jsonl prints packets as they come" in done.stderr


def test_what_is_only_written_has_its_processes(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with a_port() as port, capturing("-w", str(path), f"udp port {port}") as process:
        send(port, 3)
        _, said = ended(process)
    assert "0 of unknown processes" in said
    with echowire.read(path).chunks("proc.srcpid") as reading:
        assert [pid for chunk in reading for pid in chunk.values("proc.srcpid").values.tolist()] == [os.getpid()] * 3
