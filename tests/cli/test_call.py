"""`echowire call` as it is typed: in process where streams do not matter, else as a process, on pipes and on a pty."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Ran, run_command
from tests.peers import needs
from tests.plain_servers import answering, echo, free_port, reset, serving, serving_unix

COMMAND = [sys.executable, "-m", "echowire", "call"]


def call(*arguments: object, given: bytes = b"") -> Ran:
    """Run `echowire call` in this process, with input that is not a terminal."""
    return run_command("call", *arguments, stdin=given)


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.fixture
def port() -> Iterator[int]:
    with serving(echo) as number:
        yield number


@pytest.fixture
def udp_port() -> Iterator[int]:
    with answering(lambda data: [data]) as number:
        yield number


# Messages


@pytest.mark.parametrize("where", [["127.0.0.1", "{}"], ["127.0.0.1:{}"], ["tcp://127.0.0.1:{}"], ["{}"], [":{}"]])
def test_the_ways_to_say_where(where: list[str], port: int) -> None:
    ran = call(*(part.format(port) for part in where), "-m", "Hello")
    assert (ran.status, ran.raw, ran.err) == (0, b"Hello\n", "")


def test_unix(tmp_path: Path) -> None:
    with serving_unix(echo, tmp_path / "s") as path:
        assert call("-U", path, "-m", "Hello").raw == b"Hello\n"
        assert call(f"unix:{path}", "-m", "Hello").raw == b"Hello\n"


def test_several_messages_and_hex(port: int, udp_port: int) -> None:
    assert call(port, "-m", "one", "-m", "two").raw == b"one\ntwo\n"
    assert call(port, "--hex", "-m", "00 ff 0a").raw == b"00ff0a\n"
    assert call("-u", udp_port, "-m", "").raw == b"\n"
    assert call("-u", f"127.0.0.1:{udp_port}", "-m", "naïve").raw == "naïve\n".encode()


def test_a_peer_that_is_no_echo_is_shown_as_it_is() -> None:
    with serving(lambda sock: sock.sendall(b"bye" if sock.recv(100) else b"")) as port:
        ran = call(port, "-m", "Hello")
    assert (ran.status, ran.raw) == (0, b"bye\n")


def test_measured(port: int, udp_port: int) -> None:
    ran = call("-u", f"127.0.0.1:{udp_port}", "-c", 3, "-s", 100, "-i", "1ms", "--verify")
    lines = ran.raw.decode().splitlines()
    assert ran.status == 0 and len(lines) == 5
    assert lines[0].startswith(f"100 bytes from 127.0.0.1:{udp_port}/udp: seq=1 time=")
    assert lines[3].startswith("Verified: 3 sent, 3 intact, 0 lost, 0 corrupted, 0 truncated, 0 duplicated, 0 reord")
    assert lines[4].startswith("Round trip: min ")
    assert call(port, "-c", 2).raw.decode().splitlines()[2] == "2 sent, 2 answered, 0 lost"


def test_verify_finds_what_is_wrong() -> None:
    with answering(lambda data: [data[:-1], data]) as port:
        ran = call("-u", f"127.0.0.1:{port}", "--verify", "-c", 1)
    assert ran.status == 1
    assert b"truncated, 1 byte missing" in ran.raw and b"1 truncated, 1 duplicated" in ran.raw
    with serving(lambda sock: sock.sendall(sock.recv(5).swapcase())) as port:
        ran = call(port, "--verify", "-m", "Hello")
        assert ran.status == 1 and b"corrupted at byte 0" in ran.raw


def test_no_reply() -> None:
    with answering(lambda data: []) as port:
        ran = call("-u", f"127.0.0.1:{port}", "-m", "x", "-W", "50ms")
        assert (ran.status, ran.raw) == (1, b"")
        assert ran.err == f"echowire: recv 127.0.0.1:{port}/udp: no reply within 50.0 ms (our timer)\n"
        ran = call("-u", f"127.0.0.1:{port}", "-c", 2, "-W", "50ms")
        assert ran.status == 1 and b"2 sent, 0 answered, 2 lost\n" in ran.raw


# JSON


def test_json(port: int) -> None:
    ran = call(f":{port}", "-c", 2, "-s", "1K", "--verify", "--json")
    document = ran.document
    assert ran.status == 0 and ran.err == ""
    assert (document["schema"], document["version"]) == ("echowire.call", 1)
    assert document["supplied"]["endpoint"] == f"tcp://:{port}" and document["supplied"]["size"] == 1024
    assert document["supplied"]["wait_s"] is None and document["effective"]["wait_s"] == 10
    assert [each["outcome"] for each in document["attempts"]] == ["refused", "connected"]
    assert document["effective"]["remote"] == f"tcp://127.0.0.1:{port}"
    assert [each["verdict"] for each in document["exchanges"]] == ["intact", "intact"]
    assert all(each["rtt_us"] > 0 for each in document["exchanges"])
    summary = document["summary"]
    assert (summary["sent"], summary["intact"], summary["duplicated"], summary["ok"]) == (2, 2, None, True)
    assert summary["rtt_min_us"] <= summary["rtt_p50_us"] <= summary["rtt_max_us"]
    assert document["error"] is None


def test_json_of_a_failure() -> None:
    number = free_port()
    ran = call(f"127.0.0.1:{number}", "-m", "x", "--json")
    assert ran.status == 1 and "ECONNREFUSED" in ran.err
    assert ran.document["error"] in ran.err and ran.document["effective"] is None
    assert ran.document["attempts"][0] == {
        **ran.document["attempts"][0],
        "address": f"127.0.0.1:{number}",
        "outcome": "refused",
        "errno": 111,
        "icmp": None,
    }


def test_json_of_no_reply_has_no_round_trip() -> None:
    with answering(lambda data: []) as port:
        document = call("-u", f"127.0.0.1:{port}", "-c", 1, "-W", 0.05, "--json").document
    assert document["exchanges"][0]["rtt_us"] is None and document["exchanges"][0]["received_bytes"] is None
    assert document["summary"]["rtt_p99_us"] is None and document["summary"]["lost"] == 1
    assert "no reply" in document["error"]


def test_jsonl(port: int) -> None:
    ran = call(port, "-c", 2, "--jsonl")
    events = [json.loads(line) for line in ran.raw.splitlines()]
    assert [event["event"] for event in events] == ["connected", "exchange", "exchange", "summary"]


def test_json_of_a_relay(port: int) -> None:
    document = call(port, "--json", "--verify", given=b"hello").document
    assert document["summary"] == {
        "sent_bytes": 5,
        "received_bytes": 5,
        "ended": "peer closed",
        "verdict": {"outcome": "intact", "wrong_at": None, "missing": 0, "surplus": 0},
        "tally": None,
        "ok": True,
    }


# Scans


def test_scan(port: int) -> None:
    ran = call("-z", "127.0.0.1", port)
    assert ran.status == 0 and ran.raw.startswith(f"127.0.0.1:{port}/tcp is open, connected in ".encode())
    closed = call("-z", "127.0.0.1", free_port())
    assert (closed.status, closed.raw) == (1, b"") and "ECONNREFUSED" in closed.err
    assert call("-z", "127.0.0.1", f"{port}-{port}").status == 0
    document = call("-z", port, "--json").document
    assert [each["open"] for each in document["scanned"]] == [True]


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["host:99999"], "'99999' is not a port"),
        (["host", "http"], "'http' is not a port"),
        (["a", "b", "c"], "one endpoint at a time"),
        (["127.0.0.1:0"], "port 0"),
        (["no-such-name.invalid:7"], "resolve no-such-name.invalid"),
        (["[fe80::1%nope0]:7"], "no interface 'nope0'"),
        (["-u", "tcp://:7"], "is tcp, and the options say udp"),
        (["-u", "--tls"], "exclude each other"),
        (["-U"], "needs the path"),
        (["-U", "--tls", "/x"], "exclude each other"),
        (["-U", "/" + "x" * 200], "at most 107"),
        (["-m", "xyz", "--hex"], "is not hex"),
        (["-m", "x", "-s", "3"], "give one of them"),
        (["-m", ""], "no empty messages"),
        (["-s", "0"], "no empty messages"),
        (["-s", "many"], "not a number of bytes"),
        (["-w", "soon"], "not a duration"),
        (["-p", "70000"], "not a port"),
        (["--json", "--jsonl"], "give one of them"),
        (["-z", "-u", "7"], "asks nobody"),
        (["-z", "h", "30-20"], "no range of ports"),
        (["--hex"], "sent as it is"),
        (["--tls-ca", "/nowhere.pem", ":7"], "No such file"),
        (["--source", "192.0.2.77", ":7"], "EADDRNOTAVAIL"),
        (["-U", "/no/such/socket"], "ENOENT 2"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: list[str], said: str) -> None:
    ran = call(*arguments)
    assert (ran.status, ran.raw) == (2, b"")
    assert said in ran.err and ran.err.startswith("echowire: ") and ran.err.count("\n") == 1


def test_refused_is_exit_1() -> None:
    ran = call("127.0.0.1", number := free_port())
    assert ran.status == 1
    assert ran.err.startswith(f"echowire: connect 127.0.0.1:{number}/tcp: connection refused (ECONNREFUSED 111).")


# Pipes


def test_piped_input_comes_back(port: int) -> None:
    data = noise(5_000_000)
    done = subprocess.run([*COMMAND, str(port)], input=data, capture_output=True, check=True)
    assert done.stdout == data and done.stderr == b""


@needs("ncat")
def test_the_same_as_ncat_in_bytes_and_exit(port: int) -> None:
    for data in (b"", b"hi", noise(300_000)):
        ours = subprocess.run([*COMMAND, "127.0.0.1", str(port)], input=data, capture_output=True, check=False)
        theirs = subprocess.run(["ncat", "127.0.0.1", str(port)], input=data, capture_output=True, check=False)
        assert (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode) == (data, 0)
    nobody = str(free_port())
    for command in ([*COMMAND, "127.0.0.1", nobody], ["ncat", "127.0.0.1", nobody]):
        assert subprocess.run(command, input=b"hi", capture_output=True, check=False).returncode == 1


def test_udp_from_a_pipe_ends(udp_port: int) -> None:
    command = [*COMMAND, "-u", "127.0.0.1", str(udp_port), "-W", "100ms"]
    assert subprocess.run(command, input=b"hi", capture_output=True, check=True).stdout == b"hi"


def test_a_reader_that_leaves_ends_it_quietly(port: int) -> None:
    script = f"yes | {' '.join(COMMAND)} {port} | head -c 1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"y", b"")


def test_a_full_disk_is_one_line(port: int) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, str(port)], input=b"x", stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr == b"echowire: write output: no space left on device (ENOSPC 28).\n"


def test_a_reset_is_one_line() -> None:
    with serving(reset) as port:
        done = subprocess.run([*COMMAND, str(port)], input=b"x" * 100, capture_output=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith(b"echowire: ") and done.stderr.count(b"\n") == 1


def test_the_half_close_can_be_left_out() -> None:
    told, heard = threading.Event(), []

    def behave(sock: socket.socket) -> None:
        sock.settimeout(0.2)
        heard.append(sock.recv(100))
        try:
            heard.append(sock.recv(100))
        except TimeoutError:
            told.set()

    with serving(behave) as port:
        subprocess.run([*COMMAND, str(port), "--no-half-close"], input=b"x", capture_output=True, check=True)
        assert told.is_set() and heard == [b"x"]
        heard.clear()
        subprocess.run([*COMMAND, str(port), "-N"], input=b"x", capture_output=True, check=True)
        assert heard == [b"x", b""]


def test_ctrl_c_ends_a_measurement_with_its_summary(port: int) -> None:
    command = [*COMMAND, str(port), "-c", "0", "-i", "10ms"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"seq=1" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 0 and err == b""
    assert b"0 lost\nRound trip: min" in out
