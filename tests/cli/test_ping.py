"""`echowire ping` as it is typed: lines, summary, JSON, exit status, a live table on a pty, Ctrl-C, a scan."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import echowire
from tests.commands import Ran, run_command
from tests.plain_servers import free_port

COMMAND = [sys.executable, "-m", "echowire", "ping"]


def ping(*arguments: object, stdin: bytes = b"", **variables: str) -> Ran:
    """Run `echowire ping` in this process."""
    return run_command("ping", *arguments, stdin=stdin, variables=variables)


@pytest.fixture
def echo() -> Iterator[int]:
    """A UDP echo's port: no right is needed to ask it."""
    with echowire.serve("udp://127.0.0.1:0") as server:
        yield server.endpoint.port


def test_a_line_a_reply_and_a_summary(echo: int) -> None:
    ran = ping("-u", "-P", echo, "-c", 3, "-i", "10ms", "127.0.0.1")
    lines = ran.out.splitlines()
    assert (ran.status, ran.err) == (0, "")
    assert lines[0] == "Ping 127.0.0.1: UDP echo, 56 bytes of data"
    for number in (1, 2, 3):
        assert re.fullmatch(rf"56 bytes from 127\.0\.0\.1: seq={number} ttl=64 time=[\d.]+ [µm]s", lines[number])
    assert re.fullmatch(r"127\.0\.0\.1: 3 sent, 3 received, 0 lost \(0%\), [\d.]+ ms", lines[5])
    assert lines[6].startswith("  Round trip: min ")
    assert lines[7].startswith("  Jitter: ")
    assert lines[8] == "  Clock: kernel (3)"


def test_quiet_and_timestamps(echo: int) -> None:
    assert ping("-q", "-u", "-P", echo, "-c", 1, "127.0.0.1").out.startswith("\n127.0.0.1: 1 sent, 1 received")
    ran = ping("-D", "-u", "-P", echo, "-c", 1, "127.0.0.1")
    assert re.match(r"\[\d{10}\.\d{6}\] 56 bytes from", ran.out.splitlines()[1])


def test_several_targets_are_a_table(echo: int) -> None:
    ran = ping("-u", "-P", echo, "-c", 2, "-i", "10ms", "127.0.0.1", f"127.0.0.1:{free_port()}", "nosuch.invalid")
    assert ran.status == 2
    assert ran.err.startswith("echowire: ping nosuch.invalid: resolve nosuch.invalid: ")
    table = ran.out.splitlines()
    header = next(at for at, line in enumerate(table) if line.startswith("Target"))
    assert table[header].split() == ["Target", "Sent", "Recv", "Loss", "Min", "Mean", "p99", "Max", "StdDev", "Answer"]
    assert table[header + 1].split()[:4] == ["127.0.0.1", "2", "2", "0%"]
    assert table[header + 1].endswith("reply")
    assert table[header + 2].endswith("unreachable (port) by 127.0.0.1")
    assert table[header + 3].endswith("name unknown")
    assert table[-1].startswith("3 targets, 1 up, ")


def test_json(echo: int) -> None:
    ran = ping("--json", "-u", "-P", echo, "-c", 2, "-i", "10ms", "127.0.0.1", "--fail-if", "loss>1%")
    document = ran.document
    assert (ran.status, ran.err) == (0, "")
    assert (document["schema"], document["version"], document["ok"], document["error"]) == (
        "echowire.ping", 1, True, None,
    )  # fmt: skip
    assert (document["ended"], document["conditions"]) == ("count", {"loss>1%": False})
    assert (document["supplied"]["count"], document["effective"]["size"]) == (2, 56)
    (target,) = document["targets"]
    assert (target["sent"], target["received"], target["up"], target["loss"]) == (2, 2, True, 0)
    assert target["answers"] == [{"word": "reply", "what": None, "by": "127.0.0.1", "count": 2}]
    assert target["rtt_us"]["min"] <= target["rtt_us"]["p50"] <= target["rtt_us"]["max"]


def test_jsonl(echo: int) -> None:
    lines = ping("--jsonl", "-u", "-P", echo, "-c", 2, "-i", "10ms", "127.0.0.1").lines
    assert [line["event"] for line in lines] == ["answer", "answer", "summary"]
    assert [(line["word"], line["sequence"], line["target"]) for line in lines[:2]] == [
        ("reply", 1, "127.0.0.1"),
        ("reply", 2, "127.0.0.1"),
    ]
    assert lines[0]["rtt_us"] > 0
    assert lines[2]["targets"][0]["received"] == 2


def test_a_condition_that_holds(echo: int) -> None:
    ran = ping("-q", "-u", "-P", echo, "-c", 1, "127.0.0.1", "--fail-if", "max>1ns or loss>1%")
    assert ran.status == 1
    assert ran.err == "echowire: --fail-if max>1ns or loss>1%: it holds\n"


def test_no_reply_is_one() -> None:
    port = free_port()
    ran = ping("-T", "-P", port, "-c", 1, "127.0.0.1")
    assert ran.status == 0
    assert ran.out.splitlines()[1].startswith("refused from 127.0.0.1: seq=1 time=")
    ran = ping("-u", "-P", port, "-c", 1, "127.0.0.1")
    assert ran.status == 1
    assert ran.out.splitlines()[1].startswith("seq=1 unreachable (port) by 127.0.0.1")


def test_stamp_both_ways(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k")
    with echowire.serve("udp://127.0.0.1:0", service="stamp", stamp_key=key) as server:
        ran = ping("--stamp", "--key", key, "-P", server.endpoint.port, "-c", 3, "-i", "10ms", "127.0.0.1")
    assert ran.status == 0
    assert "  Lost on the way there: 0, on the way back: 0" in ran.out.splitlines()
    assert re.search(r"^  There: ", ran.out, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-c", 0, "127.0.0.1"],
        ["-T", "-u", "127.0.0.1"],
        ["--json", "--jsonl", "127.0.0.1"],
        ["127.0.0.1:80"],
        ["-P", 80, "127.0.0.1"],
        ["-s", 70000, "127.0.0.1"],
        ["-u", "-s", 4, "127.0.0.1"],
        ["-T", "-s", 4, "127.0.0.1"],
        ["10.0.0.0/99"],
        ["--fail-if", "nothing>1", "127.0.0.1"],
        ["-f", "/nonexistent", "127.0.0.1"],
        ["-f", "/dev/zero"],
        ["--stamp", "--key", "/nonexistent", "127.0.0.1"],
        ["--path", "--mtu", "127.0.0.1"],
        ["--path", "127.0.0.1", "127.0.0.2"],
        ["--mtu", "-T", "127.0.0.1"],
        ["--path", "--stamp", "127.0.0.1"],
        ["-I", "nosuch0", "-u", "127.0.0.1"],
        ["-I", "::1", "-u", "127.0.0.1"],
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[object]) -> None:
    ran = ping(*arguments)
    assert ran.status == 2
    assert ran.out == ""
    assert ran.err.startswith("echowire: ")
    assert ran.err.count("\n") == 1
    assert "internal error" not in ran.err


UNKNOWN_NAME = ("nosuch.invalid", "resolve nosuch.invalid")
REFUSED_BY_THE_SYSTEM = ("-I", "nosuch0", "127.0.0.1", "no such device")


@pytest.mark.parametrize(
    ("verb", "schema", "wrong"),
    [
        ([], "echowire.ping", REFUSED_BY_THE_SYSTEM),
        (["--path"], "echowire.path", UNKNOWN_NAME),
        (["--path"], "echowire.path", REFUSED_BY_THE_SYSTEM),
        (["--mtu"], "echowire.path_mtu", UNKNOWN_NAME),
        (["--mtu"], "echowire.path_mtu", REFUSED_BY_THE_SYSTEM),
    ],
)
def test_a_run_that_fails_has_its_document(verb: list[str], schema: str, wrong: tuple[str, ...]) -> None:
    *arguments, message = wrong
    ran = ping(*verb, "-u", *arguments, "--json")
    assert ran.status == 2
    document = ran.document
    assert message in document["error"] and document["error"] in ran.err
    assert document == {"schema": schema, "version": 1, "ok": False, "error": document["error"]}
    ran = ping(*verb, "-u", *arguments, "--jsonl")
    assert (ran.status, ran.lines) == (2, [{"event": "failed", **document}])


def test_targets_from_a_file_and_from_a_pipe(echo: int, tmp_path: Path) -> None:
    file = tmp_path / "targets"
    file.write_text("# two\n127.0.0.1\n\n127.0.0.1 # again\n")
    ran = ping("--json", "-u", "-P", echo, "-f", file, "-f", "-", "-c", 1, stdin=b"127.0.0.1\n")
    assert [target["received"] for target in ran.document["targets"]] == [1, 1, 1]


def test_a_scan_is_asked_about() -> None:
    ran = ping("127.0.0.0/20")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == "echowire: 4,096 targets are more than 1,024; add --yes if they are what you mean\n"
    ran = ping("127.0.0.0/8", "--yes")
    assert ran.status == 2
    assert "65,536" in ran.err


def test_a_range_is_asked_once_each(echo: int) -> None:
    ran = ping("-u", "-P", echo, "127.0.0.1/32", "--json")
    assert ran.document["targets"][0]["sent"] == 1


def test_a_trace(echo: int) -> None:
    ran = ping("--path", "-u", "-P", echo, "-c", 2, "-i", "10ms", "127.0.0.1")
    lines = ran.out.splitlines()
    assert ran.status == 0
    assert lines[0] == f"Path to 127.0.0.1: UDP port {echo}, flow constant"
    assert lines[1].split() == ["Hop", "Address", "Loss", "Sent", "Last", "Mean", "Best", "Worst", "StdDev", "Note"]
    assert re.fullmatch(r"  1  127\.0\.0\.1 +0% +2 .* reply", lines[2])
    document = ping("--path", "-u", "-P", echo, "-c", 1, "127.0.0.1", "--json").document
    assert (document["schema"], document["reached"], document["hops"][0]["addresses"]) == (
        "echowire.path", True, ["127.0.0.1"],
    )  # fmt: skip


def test_an_mtu(echo: int) -> None:
    ran = ping("--mtu", "-u", "-P", echo, "127.0.0.1")
    assert ran.status == 0
    assert ran.out.startswith("The path to 127.0.0.1 takes packets of 65,535 bytes")
    assert ping("--mtu", "-u", "-P", echo, "127.0.0.1", "--json").document["mtu"] == 65_535
    assert ping("--mtu", "-u", "-P", free_port(), "-W", "50ms", "127.0.0.1").status == 1


def on_a_terminal(*arguments: object, until: str, number: int = signal.SIGINT) -> tuple[int, str]:
    """Run the command on a pty until `until` shows, then signal it; its exit status and all that it drew."""
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "30"}
    environment.pop("NO_COLOR", None)
    drawn = b""
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=side, stdout=side, stderr=side, env=environment
    ) as process:
        os.close(side)
        signalled = False
        with suppress(OSError):  # EIO: the other side has gone
            while chunk := os.read(main, 65536):
                drawn += chunk
                if not signalled and re.search(until, drawn.decode(errors="replace")):
                    signalled = True
                    process.send_signal(number)
        os.close(main)
        return process.wait(30), drawn.decode()


def test_several_targets_are_redrawn_in_place(echo: int) -> None:
    status, drawn = on_a_terminal("-u", "-P", echo, "-i", "20ms", "127.0.0.1", "localhost", until="[▁▂▃▄▅▆▇█]{5}")
    assert status == 0
    assert "Traceback" not in drawn
    assert "\x1b[" in drawn
    assert re.search(r"2 targets, 2 up", drawn)


def test_ctrl_c_ends_with_the_summary(echo: int) -> None:
    status, drawn = on_a_terminal("-u", "-P", echo, "-i", "20ms", "127.0.0.1", until="seq=5")
    assert status == 0
    assert re.search(r"127\.0\.0\.1: \d+ sent, \d+ received, 0 lost", drawn)
    assert "Traceback" not in drawn
    status, drawn = on_a_terminal("-u", "-P", free_port(), "-i", "20ms", "127.0.0.1", until="seq=5")
    assert status == 1


def test_a_live_trace(echo: int) -> None:
    status, drawn = on_a_terminal(
        "--path", "--live", "-u", "-P", echo, "-i", "20ms", "127.0.0.1", until=r"127\.0\.0\.1 +0% +\d\d"
    )
    assert status == 0
    assert "Traceback" not in drawn


def test_a_reader_that_leaves(echo: int) -> None:
    command = f"{' '.join(COMMAND)} -u -P {echo} -i 1ms 127.0.0.1 | head -n 2"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert done.stdout.count("\n") == 2
    assert "Traceback" not in done.stderr


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from echowire.cli.main import run;"
        "run(['ping', '-T', '-P', '1', '-c', '1', '127.0.0.1']);"
        "print([name for name in ('numpy', 'rich', 'polars', 'ssl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
