"""`echowire read` and `echowire fields` as they are typed: their answers, exit statuses, and what tshark prints."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.captures import PACKETS, needs_tshark, write_capture
from tests.commands import run_command as echowire


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "a.pcap")


FIELDS = ("-e", "frame.number", "-e", "ip.src", "-e", "tcp.port", "-e", "http.host")


@needs_tshark
@pytest.mark.parametrize(
    "settings",
    [
        ["occurrence=f"],
        ["occurrence=l"],
        ["occurrence=a"],
        ["occurrence=a", "aggregator=/s"],
        ["occurrence=a", "aggregator=;", "separator=,", "quote=d"],
        ["occurrence=f", "header=y", "quote=s"],
        ["occurrence=f", "bom=y", "separator=/s"],
    ],
)
def test_lines_are_tsharks(file: Path, settings: list[str]) -> None:
    options = [word for one in settings for word in ("-E", one)]
    names = [one for one in FIELDS if one not in ("http.host",)][:-1]
    theirs = subprocess.run(
        ["tshark", "-n", "-r", file, "-T", "fields", *options, *names], capture_output=True, check=True
    )
    ours = echowire("read", file, "-T", "fields", *options, *names)
    assert ours.out == theirs.stdout.decode()
    assert (ours.status, ours.err) == (0, "")


def test_the_default_is_the_first_value_tab_separated(file: Path) -> None:
    ran = echowire("read", "-r", file, "-n", "-T", "fields", "-e", "frame.number", "-e", "ip.src", "-Y", "ip#2")
    assert ran.out == "4\t1.1.1.1\n"


def test_a_separator_of_any_characters(file: Path) -> None:
    for separator in ("\x01", "\x01\x02", "::", "é"):
        settings = ["-E", f"separator={separator}", "-Y", "http || frame.number == 1"]
        ran = echowire("read", file, "-T", "fields", *settings, "-e", "frame.number", "-e", "frame.protocols", "-c", 1)
        assert ran.out.startswith(f"1{separator}eth")


def test_count_is_of_the_packets_read(file: Path) -> None:
    ran = echowire("read", file, "-c", 3, "-Y", "frame.number > 1", "-T", "fields", "-e", "frame.number")
    assert ran.out == "2\n3\n"


def test_a_compressed_file_and_standard_input(file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "a.pcap.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    plain = echowire("read", file, "-T", "fields", *FIELDS[:4])
    assert echowire("read", packed, "-T", "fields", *FIELDS[:4]) == plain
    command = [sys.executable, "-m", "echowire", "read", "-", "-T", "fields", *FIELDS[:4]]
    done = subprocess.run(command, input=packed.read_bytes(), capture_output=True, check=True)
    assert done.stdout.decode() == plain.out


def test_a_cut_file_gives_all_whole_packets_and_says_where(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    ran = echowire("read", file, "-T", "fields", "-e", "frame.number")
    assert ran.out == "1\n2\n3\n4\n5\n"
    assert ran.status == 1
    assert ran.err.startswith(f"echowire: {file}: the file is cut")
    assert f"at byte {len(data) - len(PACKETS[-1]) - 16}" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-T", "fields", "-e", "ip.srrc"], "there is no field 'ip.srrc'; did you mean ip.src?"),
        (["-T", "fields"], "needs fields"),
        (["-T", "fields", "-e", "ip.src", "-E", "quote=x"], "-E quote=x"),
        (["-e", "ip.src"], "-T fields"),
        (["-w", "x", "--export", "y"], "give one of them"),
        (["another"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(file: Path, arguments: list[str], said: str) -> None:
    ran = echowire("read", file, *arguments)
    assert ran.status == 2
    assert ran.out == ""
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_a_wrong_filter_is_pointed_at(file: Path) -> None:
    ran = echowire("read", file, "-Y", "tcp && tcp.prot == 80", "-T", "fields", "-e", "ip.src")
    assert ran.status == 2
    assert ran.err.splitlines() == [
        "echowire: 'tcp.prot' is neither a field nor a protocol; did you mean tcp.port?",
        "    tcp && tcp.prot == 80",
        "           ^~~~~~~~",
    ]


@needs_tshark
def test_json_is_tsharks(file: Path) -> None:
    arguments = ["-T", "json", "-e", "frame.number", "-e", "ip.src", "-e", "tcp.port"]
    theirs = subprocess.run(["tshark", "-n", "-r", file, *arguments], capture_output=True, check=True)
    ours = echowire("read", file, *arguments)
    assert json.loads(ours.out) == json.loads(theirs.stdout)


def test_json_of_nothing_is_an_empty_list(file: Path) -> None:
    ran = echowire("read", file, "-Y", "frame.number > 9", "-T", "json", "-e", "ip.src")
    assert json.loads(ran.out) == []


def test_bulk_json_is_two_lines_a_packet(file: Path) -> None:
    lines = [json.loads(line) for line in echowire("read", file, "-T", "ek", "-e", "ip.src").out.splitlines()]
    assert len(lines) == 2 * len(PACKETS)
    assert lines[0] == {"index": {"_index": "packets-2020-09-13"}}
    assert lines[7] == {"timestamp": "1600000003123", "layers": {"ip_src": ["1.1.1.1", "10.0.0.1"]}}


def test_packets_are_written(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.pcapng"
    ran = echowire("read", file, "-Y", "udp", "-w", target)
    assert (ran.status, ran.out, ran.err) == (0, "", f"1 packets written to {target}\n")
    assert echowire("read", target, "-T", "fields", "-e", "udp.srcport").out == "5000\n"


def test_fields_are_exported(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.csv"
    assert echowire("read", file, "-q", "--export", target, "-e", "frame.number", "-e", "ip.ttl").err == ""
    assert target.read_text().splitlines()[:3] == ["frame.number,ip.ttl", "1,64", "2,60"]


def test_the_reference_of_fields() -> None:
    ran = echowire("fields", "ip.ttl")
    assert ran.out.split() == ["ip.ttl", "Unsigned", "integer", "(8", "bits)", "Time", "to", "Live"]
    document = json.loads(echowire("fields", "ip.addr", "--json").out)
    assert document["fields"][0]["other_names_of"] == ["ip.src", "ip.dst"]
    assert echowire("fields", "nosuchword").status == 0


def test_start_up_imports_no_more_than_is_needed(file: Path) -> None:
    code = (
        "import sys; from echowire.cli import main\n"
        f"sys.argv = ['echowire', 'read', {str(file)!r}, '-q', '-T', 'fields', '-e', 'ip.src']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([one for one in ('polars', 'rich', 'asyncio') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
