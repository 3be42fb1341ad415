"""`echowire sockets` as a command: how its line is read, what it prints where, and its exit status."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.cli.environment import Environment
from echowire.cli.main import run
from echowire.cli.sockets import command as click_command
from echowire.cli.sockets_switches import SWITCHES, plain
from tests.commands import run_command

COMMAND = (sys.executable, "-m", "echowire", "sockets")

LETTERS = [f"-{letter}" for letter, _ in SWITCHES.values() if letter]
LINES = st.lists(
    st.sampled_from([*LETTERS, *(f"--{name}" for name in SWITCHES), "-tan", "-tlnp", "-46H"]), max_size=5
).flatmap(
    lambda switches: st.lists(st.sampled_from(["dport", "=", ":443", "(", ")", "state"]), max_size=4).map(
        switches.__add__
    )
)


@given(LINES)
def test_the_quick_reading_of_the_line_is_click_s(line: list[str]) -> None:
    with click_command.make_context("sockets", list(line)) as context:
        expected = dict(context.params)
    assert plain(line) == expected


@pytest.mark.parametrize("line", [["--by", "state"], ["-f", "inet"], ["-tq"], ["--help"], ["-t", "dport", "-n"], ["-"]])
def test_the_quick_reading_leaves_the_rest_to_click(line: list[str]) -> None:
    assert plain(line) is None or line == ["-"]


def told(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    ran = run_command("sockets", *arguments, stdin=stdin)
    return ran.status, ran.out, ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rtt", ">", "fast"), "echowire: 'fast' is not a time; write 100ms\n    rtt > fast\n          ^\n"),
        (("-K", "--watch"), "--kill and --watch are two answers"),
        (("--json", "--jsonl"), "give one of them"),
        (("--events", "--json"), "--events has no one document"),
        (("-A", "tcp,carrier-pigeon"), "no sockets are called 'carrier-pigeon'"),
        (("-f", "ipx"), "no family is called 'ipx'"),
        (("--events", "-x"), "--events tells of TCP and UDP sockets"),
        (("-y",), "--yes answers what only -K asks"),
        (("--watch", "0"), "would never end looking"),
        (("-K", "--yes", " "), "-K closes what a filter chooses"),
        (("-F", "/nowhere"), "-F /nowhere: no such file or directory (errno 2)"),
        (("-F", "/dev/zero"), "-F /dev/zero: a filter has at most 64 KiB"),
        (("-N", "nowhere"), "enter /run/netns/nowhere: no such file or directory (ENOENT 2). Name one that"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: tuple[str, ...], said: str) -> None:
    status, out, err = told(*arguments)
    assert (status, out) == (2, "") and said in err


def test_no_socket_is_no_error() -> None:
    assert told("-Hta", "sport", "=", "1", "and", "sport", "=", "2") == (0, "", "")


def test_a_listener_is_told_with_its_process_and_what_is_wrong_with_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        status, out, err = told("-Htlnp", f"sport = {port}")
        assert (status, err) == (0, "")
        assert out.split()[:5] == ["LISTEN", "0", "128", f"127.0.0.1:{port}", "0.0.0.0:*"] or out.startswith("LISTEN")
        assert f"pid={os.getpid()},fd={listener.fileno()},user=" in out
        assert "! loopback only ! IPv4 only" in out
        _, plain_out, _ = told("-Htln", "--no-marks", f"sport = {port}")
        assert "!" not in plain_out


def test_jsonl_is_a_line_a_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        _, out, _ = told("--jsonl", "-tl", f"sport = {port}")
        (row,) = map(json.loads, out.splitlines())
        assert (row["local_port"], row["accept_queue"], row["unread"]) == (port, 0, None)
        assert {mark["mark"] for mark in row["marks"]} == {"loopback only", "IPv4 only"}


def test_kinds_that_the_kernel_cannot_list_are_told_if_they_were_asked_for() -> None:
    status, _, err = told("-a", "--vsock")
    assert status == 0
    assert err == "" or "cannot list vsock sockets" in err
    assert told("-a", "-f", "vsock")[2] == told("-a", "-A", "vsock")[2] == err
    assert told("-a")[2] == ""


def test_a_filter_is_read_from_a_file_and_the_line_adds_to_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("::1", 0), family=10) as other:
        ports = [one.getsockname()[1] for one in (listener, other)]
        (tmp_path / "filter").write_text(f"( sport = {ports[0]}\n  or sport = {ports[1]} )\n")
        _, both, _ = told("-Htln", "-F", str(tmp_path / "filter"))
        assert len(both.splitlines()) == 2
        status, one, err = told("-Htln", "--filter", "-", "src", "[::1]", stdin=(tmp_path / "filter").read_bytes())
        assert (status, err) == (0, "") and len(one.splitlines()) == 1 and f"[::1]:{ports[1]}" in one
    (tmp_path / "filter").write_text("sport = = 1")
    status, _, err = told("-t", "-F", str(tmp_path / "filter"))
    assert status == 2 and err.endswith("sport = = 1\n            ^\n")


def test_closing_asks_and_no_is_no() -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        out, err = io.BytesIO(), io.StringIO()
        environment = Environment(Terminal(b"n\n"), out, err, {})
        assert run(["sockets", "-tK", "-l", f"sport = {port}"], environment) == 1
        assert f":{port}" in out.getvalue().decode() and "Close this socket? [y/N]" in err.getvalue()
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_watching_a_pipe_tells_what_opened_and_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with subprocess.Popen(
            [*COMMAND, "--watch", "20ms", "--jsonl", "-ta", f"sport = {port}"], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["event"] == "same", "what there is at first"
            with socket.create_connection(("127.0.0.1", port)) as client, listener.accept()[0] as accepted:
                opened = json.loads(process.stdout.readline())
                assert (opened["event"], opened["state"]) == ("opened", "ESTAB")
                client.sendall(b"x" * 5000)
                busy = json.loads(process.stdout.readline())
                assert busy["event"] == "same" and busy["received_bytes_per_s"] > 0
                accepted.recv(5000)
                client.shutdown(socket.SHUT_WR)
                changed = wait_for(process, "state")
                assert (changed["was"], changed["state"]) == ("ESTAB", "CLOSE-WAIT")
            assert wait_for(process, "closed")["peer_port"] == client_port(opened)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


def wait_for(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert process.stdout is not None
    while (found := json.loads(process.stdout.readline()))["event"] != event:
        pass
    assert isinstance(found, dict)
    return found


def client_port(row: dict[str, Any]) -> int:
    return int(row["peer_port"])


def test_watching_on_a_terminal_draws_and_gives_it_back() -> None:
    ours, theirs = pty.openpty()
    try:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "20"}
        environment.pop("NO_COLOR", None)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            process = subprocess.Popen(
                [*COMMAND, "--watch", "10ms", "-c", "3", "-tl", f"sport = {port}"], stdout=theirs, env=environment
            )
            os.close(theirs)
            drawn = b""
            while True:
                try:
                    part = os.read(ours, 65536)
                except OSError:  # EIO: the other end is closed
                    break
                if not part:
                    break
                drawn += part
            assert process.wait(20) == 0
    finally:
        os.close(ours)
    assert f"127.0.0.1:{port}".encode() in drawn and b"LISTEN" in drawn
    assert drawn.count(b"\x1b[?1049h") == drawn.count(b"\x1b[?1049l") == 1


def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(f"{' '.join(COMMAND)} -a | head -n 1", shell=True, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_tells_examples() -> None:
    with pytest.raises(SystemExit), click.Context(click_command):
        click_command(["--help"])


def test_what_linux_does_not_close_is_said() -> None:
    one, other = socket.socketpair()
    with one, other:
        status, _, err = told("-xK", "--yes", "state", "established")
    assert status == 2 and "not supported (ENOTSUP 95). Name TCP, UDP or raw ones: Linux closes no others." in err
