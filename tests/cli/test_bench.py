"""`echowire bench` as it is typed: its answer for people and as JSON, its exit status, and its live line on a pty."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echowire.cli.bench import LoadRate, parse_load_rate, parse_sizes
from echowire.core.services import CHARGEN_PATTERN
from tests.commands import Ran, run_command
from tests.plain_servers import answering, echo, free_port, serving, serving_unix

COMMAND = [sys.executable, "-m", "echowire", "bench"]


def bench(*arguments: object, **variables: str) -> Ran:
    """Run `echowire bench` in this process."""
    return run_command("bench", *arguments, variables=variables)


@pytest.fixture
def port() -> Iterator[int]:
    with serving(echo) as number:
        yield number


@pytest.mark.parametrize("where", [["127.0.0.1", "{}"], ["127.0.0.1:{}"], ["tcp://127.0.0.1:{}"], ["{}"], [":{}"]])
def test_the_ways_to_say_where(where: list[str], port: int) -> None:
    ran = bench(*(part.format(port) for part in where), "-n", 20, "--json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.document["counts"]["echoed"] == 20


def test_unix_and_udp(tmp_path: Path) -> None:
    with serving_unix(echo, tmp_path / "s") as path:
        assert bench("-U", path, "-n", 10, "--json").document["counts"]["echoed"] == 10
    with answering(lambda data: [data]) as udp:
        for where in (["-u", udp], [f"udp://127.0.0.1:{udp}"]):
            assert bench(*where, "-n", 10, "-W", "300ms", "--json").document["counts"]["echoed"] == 10


def test_the_answer_for_people(port: int) -> None:
    ran = bench(port, "-n", 300, "-c", 3, "-s", "1K")
    assert ran.status == 0
    assert ran.err == ""
    assert f"tcp://127.0.0.1:{port}: 3 connections, 1 KiB, closed loop, 1 in flight on each" in ran.out
    assert "300 sent, 300 echoed, 0 corrupted, 0 lost, 0 unanswered, 300 KiB out, 300 KiB in" in ran.out
    assert re.search(r"min .* p50 .* p90 .* p99 .* p99\.9 .* p99\.99 .* max ", ran.out)
    assert "█" in ran.out
    assert "Limit: " in ran.out
    assert "\x1b" not in ran.out


def test_an_open_loop_shows_both_latencies(port: int) -> None:
    ran = bench(port, "-n", 100, "--rate", "2k/s", "--poisson", "-c", 2)
    assert "open loop, 2000 messages/s (Poisson)" in ran.out
    for title in ("from when it was due:", "from when it was sent:", "Lateness of the sender:"):
        assert title in ran.out


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("5000/s", LoadRate(5e3, is_bits=False)),
        ("5k/s", LoadRate(5e3, is_bits=False)),
        ("10M", LoadRate(1e7, is_bits=True)),
        ("10 Mbit/s", LoadRate(1e7, is_bits=True)),
        ("10Mbps", LoadRate(1e7, is_bits=True)),
        ("8bit", LoadRate(8, is_bits=True)),
        ("5000", LoadRate(5e3, is_bits=None)),
        (".5", LoadRate(0.5, is_bits=None)),
    ],
)
def test_a_rate_of_messages_or_of_bits(text: str, rate: LoadRate) -> None:
    assert parse_load_rate(text) == rate


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rate", "10M"], "for bytes that flow (-R, --send, --bidir)"),
        (["--send", "--rate", "5000/s"], "give bits a second: 10M"),
        (["--bidir", "--rate", "fast"], "'fast' is not a rate"),
    ],
)
def test_a_rate_of_the_other_kind_is_one_line(arguments: list[str], said: str, port: int) -> None:
    ran = bench(port, *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_bytes_at_a_rate(port: int) -> None:
    ran = bench(port, "--bidir", "--rate", "1M", "-n", 4, "-s", "10K")
    assert ran.status == 0
    assert "both ways at 1 Mbit/s on each, spaced by the kernel" in ran.out
    assert "of the rate asked for" in ran.out
    document = bench(port, "--bidir", "--rate", 1_000_000, "-n", 1, "-s", 100, "--json").document
    assert (document["supplied"]["bits_per_s"], document["supplied"]["rate"]) == (1e6, None)


def test_datagrams_take_a_rate_of_either_kind() -> None:
    with answering(lambda data: [data]) as udp:
        for rate, kept in (("1000", "rate"), ("1000/s", "rate"), ("1M", "bits_per_s")):
            document = bench("-u", udp, "--bidir", "--rate", rate, "-n", 20, "-s", 100, "--json").document
            assert document["counts"]["echoed"] == 20
            assert document["supplied"][kept]


def test_a_source_says_whether_it_was_compared() -> None:
    with serving(lambda sock: sock.sendall(CHARGEN_PATTERN)) as source:
        assert f"0 corrupted, {len(CHARGEN_PATTERN) / 1024:.2f} KiB in, each byte compared" in bench("-R", source).out
    with serving(lambda sock: sock.sendall(bytes(5000))) as source:
        ran = bench("-R", source)
    assert "not compared: it is not the pattern of RFC 864" in ran.out
    assert "corrupted" not in ran.out
    assert "the peer closed the connection after 5000 bytes had come" in ran.err


def test_a_source_of_datagrams_is_asked() -> None:
    with answering(lambda data: [CHARGEN_PATTERN[:200]] if data[11] % 4 else []) as udp:
        ran = bench("-u", "-R", udp, "-n", 40, "-W", "100ms", "--rate", "2000/s")
        document = bench("-u", "-R", udp, "-n", 40, "-W", "100ms", "--json").document
    assert ran.status == 0
    assert "asking for datagrams, 2000 a second" in ran.out
    assert "40 sent, 0 corrupted, 10 lost, 25.000% loss, 800 bytes out, 5.86 KiB in, each byte compared" in ran.out
    assert (document["loss"], document["counts"]["compared_bytes"]) == (0.25, 6000)
    assert {document["counts"][name] for name in ("echoed", "duplicated", "reordered")} == {None}


def test_a_sink_that_answers_is_told_of(port: int) -> None:
    assert "came back: this is no sink" in bench(port, "--send", "-t", "300ms").out


@pytest.mark.parametrize(
    ("text", "said"),
    [("[" * 100_000, "nested too deeply"), ("{}", "no document"), ("{", "not JSON"), ("\xff", "not JSON")],
)
def test_an_earlier_run_that_is_none_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    ran = bench("--against", tmp_path / "a.json", "-n", 1)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert said in ran.err


def test_an_earlier_run_without_end_is_not_read_to_it() -> None:
    assert "at most 64 MiB" in bench("--against", "/dev/zero", "-n", 1).err


def test_a_dumb_terminal_gets_plain_letters(port: int) -> None:
    ran = bench(port, "-n", 100, TERM="dumb")
    assert "#" in ran.out
    assert "█" not in ran.out


def test_json_is_one_document(port: int) -> None:
    document = bench(port, "-n", 50, "-s", "20-30", "--json").document
    assert (document["schema"], document["version"], document["error"]) == ("echowire.bench", 1, None)
    assert (document["supplied"]["least_size"], document["supplied"]["most_size"]) == (20, 30)
    assert sum(count for _, count in document["histogram"]["buckets"]) == 50
    assert document["intervals"]
    assert document["tcp_info"][0]["tcpi_rtt"] >= 0


def test_jsonl_is_a_line_an_interval(port: int) -> None:
    *intervals, summary = bench(port, "-t", "300ms", "-i", "100ms", "--jsonl").lines
    assert summary["error"] is None
    assert {line["event"] for line in intervals} == {"interval"}
    assert summary["event"] == "summary"
    assert sum(line["echoed"] for line in intervals) == summary["counts"]["echoed"]


def test_two_runs_side_by_side(port: int, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(bench(port, "-n", 50, "--json").out)
    ran = bench(port, "-n", 60, "--against", tmp_path / "a.json")
    assert ran.status == 0
    assert "now/before" in ran.out
    assert "asked differently: count: 50 before, 60 now" in ran.out
    document = bench(port, "-n", 50, "--against", tmp_path / "a.json", "--json").document
    assert document["comparison"]["figures"]["echoes_per_s"]["ratio"] > 0


@pytest.mark.parametrize(
    ("condition", "status"), [("p99>1h", 0), ("p50>0", 1), ("loss>1%", 1), ("rate<1k or min>0", 1)]
)
def test_a_condition_decides_the_exit_status(port: int, condition: str, status: int) -> None:
    ran = bench(port, "-n", 50, "--fail-if", condition, "--json")
    assert ran.status == status
    assert ran.document["ok"] is (status == 0)
    assert ("--fail-if" in ran.err) is (status == 1)


def test_no_reply_is_said_and_is_null() -> None:
    def swallow(sock: Any) -> None:
        while sock.recv(4096):
            pass

    with serving(swallow) as port:
        ran = bench(port, "-t", 30, "--stall", "200ms")
        document = bench(port, "-t", 30, "--stall", "200ms", "--json").document
    assert ran.status == 1
    assert "no reply" in ran.out
    assert "nothing came back for 200 ms (our timer)" in ran.err
    assert document["no_reply"] is True
    assert document["latency_us"]["p99"] is None


def test_nobody_there(tmp_path: Path) -> None:
    port = free_port()
    ran = bench(port, "-n", 1, "--json")
    assert ran.status == 1
    assert "connection refused (ECONNREFUSED 111)" in ran.document["error"]
    assert ran.err.count("\n") == 1
    (failed,) = bench(port, "-n", 1, "--jsonl").lines
    assert failed["event"] == "failed"
    assert bench("-U", tmp_path / "nothing", "-n", 1).status == 2


@pytest.mark.parametrize(
    ("where", "status", "message"),
    [("nosuch.invalid:1", 2, "resolve nosuch.invalid"), ("127.0.0.1:{}", 1, "ECONNREFUSED 111")],
)
def test_a_run_that_fails_has_its_document(where: str, status: int, message: str) -> None:
    where = where.format(free_port())
    ran = bench(where, "-n", 1, "--json")
    document = ran.document
    assert ran.status == status and message in document["error"]
    assert document == {
        "schema": "echowire.bench", "version": 1, "endpoint": f"tcp://{where}", "ok": False, "error": document["error"],
    }  # fmt: skip
    (failed,) = bench(where, "-n", 1, "--jsonl").lines
    assert failed == {"event": "failed", **document}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "b", "c"], "one endpoint at a time"),
        (["-U"], "needs the path"),
        (["-u", "--tls"], "TLS is spoken over TCP"),
        (["-u", "tcp://:1"], "the options say udp"),
        (["-R", "--send"], "give one of them"),
        (["--json", "--jsonl"], "give one of them"),
        (["-s", "5-x"], "number of bytes"),
        (["-t", "soon"], "not a duration"),
        (["--rate", "fast"], "not a rate"),
        (["-S", "999"], "no TOS byte"),
        (["-S", "184", "--dscp", "ef"], "give one of them"),
        (["--dscp", "efx"], "no DSCP"),
        (["--fail-if", "p99>5mss"], "at the ^ in 'p99>^5mss'"),
        (["--against", "/nowhere/a.json"], "no such file"),
        (["--against", "/dev/null"], "not JSON"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str) -> None:
    ran = bench(*arguments)
    assert ran.status == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err


def test_sizes_are_read() -> None:
    assert parse_sizes("64") == (64, 64)
    assert parse_sizes("64-1K") == (64, 1024)


def test_the_type_of_service_is_the_code_point_and_two_bits_more(port: int) -> None:
    document = bench(port, "-n", 1, "-S", "0xb8", "--json").document
    assert document["effective"]["dscp"] == 46


def test_ctrl_c_ends_it_with_the_summary(port: int) -> None:
    command = [*COMMAND, str(port), "-t", "60", "-i", "100ms", "--jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["event"] == "interval"
        process.send_signal(signal.SIGINT)
        lines = [json.loads(line) for line in process.stdout]
        assert process.wait() == 0
        assert process.stderr.read() == ""
    assert lines[-1]["event"] == "summary"
    assert lines[-1]["ended"] == "interrupted"
    assert lines[-1]["counts"]["echoed"] > 0


def test_whoever_reads_the_answer_may_leave(port: int) -> None:
    command = [*COMMAND, str(port), "-t", "60", "-i", "50ms", "--jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr.read() == ""


def live_line(port: int, **variables: str) -> tuple[str, bytes]:
    """What is drawn on a terminal's standard error, and what goes to a pipe on standard output."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, str(port), "-t", "400ms", "-i", "100ms"]
    environment = {**os.environ, "TERM": "xterm"} | variables
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        drawn = bytearray()
        try:
            while data := os.read(ours, 4096):
                drawn += data
        except OSError:
            pass  # the last one has closed the terminal (EIO, pty(7))
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait() == 0
    os.close(ours)
    return drawn.decode(), out


def test_a_terminal_sees_it_run(port: int) -> None:
    drawn, out = live_line(port)
    assert re.search(r"\r\x1b\[K0\.\d s   [\d,]+ echoes/s   p50 .*   p99 .*   0 errors", drawn)
    assert drawn.endswith("\r\x1b[K")
    assert b"\x1b" not in out


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_redraw_where_none_is_wanted(port: int, variables: dict[str, str]) -> None:
    drawn, out = live_line(port, **variables)
    assert drawn == ""
    assert b"echoes/s" in out


def test_the_help_has_examples() -> None:
    ran = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert "echowire bench -c 50 -s 1K" in ran.stdout


def test_what_is_no_echo_is_said() -> None:
    def greet(sock: Any) -> None:
        sock.sendall(b"220 hello there\r\n")
        while sock.recv(4096):
            pass

    with serving(greet) as port:
        ran = bench(port, "-t", "200ms")
    assert ran.status == 1
    assert "1 sent, 0 echoed, 1 corrupted, 0 lost, 0 unanswered, 64 bytes out, 17 bytes in" in ran.out
    assert "no echo: 17 bytes came back, which are not what was sent" in ran.err
