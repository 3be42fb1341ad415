"""`echowire read` as a person looks at packets: the list beside tshark's, one packet in full, colours on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fuzz.packets import ethernet, ipv4, made_here, records_of, tcp

import echowire
from echowire.core.packets.dissect import Dissector
from echowire.core.views.colour_rules import RULES, colour_fields, rules_of
from tests.captures import PACKETS, needs_tshark, write_capture
from tests.commands import run_command as run
from tests.processes import COMMAND


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "a.pcap")


@needs_tshark
@pytest.mark.parametrize("times", ["r", "d", "e", "u", "ud"])
def test_the_list_is_tsharks(file: Path, times: str) -> None:
    ours = run("read", file, "-t", times)
    theirs = subprocess.run(["tshark", "-n", "-r", str(file), "-t", times], capture_output=True, text=True, check=True)
    assert ours.status == 0
    assert [line.split() for line in ours.out.splitlines()] == [line.split() for line in theirs.stdout.splitlines()]


def test_a_filter_chooses_lines(file: Path) -> None:
    listed = run("read", file, "-Y", "frame.number in {2, 3}").out.splitlines()
    assert [line.split()[0] for line in listed] == ["2", "3"]


def test_one_packet_in_full(file: Path) -> None:
    shown = run("read", file, "--packet", 2)
    lines = shown.out.splitlines()
    assert shown.status == 0
    assert lines[0].split()[0] == "2"
    assert lines[1].startswith("Frame 2: ")
    assert any(line.startswith("Ethernet II, Src: ") and line.endswith("  0-13") for line in lines)
    assert any(line.startswith("0000  ") for line in lines)


def test_details_and_bytes_of_every_packet(file: Path) -> None:
    details = run("read", file, "-V").out
    assert details.count("Frame Number: ") == len(PACKETS)
    assert run("read", file, "-x").out.count("\n0000  ") == len(PACKETS)
    assert run("read", file, "-V", "-x", "-c", 1).out.count("\n0000  ") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--packet", 99999], 2, "has no packet 99999"),
        (["--packet", 0], 2, "0 is not in the range"),
        (["-V", "-T", "fields", "-e", "ip.src"], 2, "show packets as text"),
        (["-t", "x"], 2, "'x' is not one of"),
    ],
)
def test_wrong_usage_is_one_line(file: Path, arguments: list[object], status: int, said: str) -> None:
    done = run("read", file, *arguments)
    assert (done.status, done.out) == (status, "")
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_cut_file_is_listed_as_far_as_it_is_whole(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])
    done = run("read", file)
    assert done.status == 1
    assert len(done.out.splitlines()) == len(PACKETS) - 1
    assert "the file is cut" in done.err
    assert run("read", file, "-q").status == 1


def test_the_library_has_the_same_packet(file: Path) -> None:
    packets = echowire.read(file).packets
    assert len(packets) == len(PACKETS)
    assert packets[1].number == 2
    assert packets[-1].number == len(PACKETS)
    assert [one.number for one in packets[1:3]] == [2, 3]
    assert [one.number for one in packets] == [*range(1, len(PACKETS) + 1)]
    assert echowire.read(file).filter("frame.number == 3").packets[0].number == 3
    with pytest.raises(IndexError, match="no packet 99999"):
        packets[99999]


def test_every_rule_of_colours_is_known_and_the_first_that_holds_counts() -> None:
    packets = [*made_here(), (1, ethernet(0x0800, ipv4(6, tcp(81, b"", flags=4))))]
    dissected = Dissector(["_ws.col.info", *colour_fields()]).dissect(records_of(packets))
    names = [rule.name if rule else None for rule in rules_of(dissected, np.arange(len(packets)))]
    assert names[-1] == "TCP RST"
    assert {"UDP", "HTTP", "ARP", "ICMP errors"} <= set(names)
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_a_terminal_has_colours_and_a_pager(file: Path) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "PAGER": "cat", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen([*COMMAND, "read", str(file)], stdout=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # EIO: the other end has closed
                break
            if not piece:
                break
            shown += piece
        assert process.wait(30) == 0
    os.close(leader)
    assert shown.count(b"\x1b[0m") >= len(PACKETS) - 2
    assert b"\x1b[38;2;" in shown
