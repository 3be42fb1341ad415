"""The beginning of `echowire capture`: what its first word promises, and that its line is read as click reads it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

import echowire
from echowire.cli.capture import command
from echowire.cli.capture_options import plain
from tests.netns import Namespace, namespaces
from tests.peers import needs_root
from tests.processes import COMMAND, PATIENCE_S

BATCHES, RUNS = 4, 25
"""A hundred starts, in parts that each end within a test's time on a slow machine."""
AT_ONCE = 4
PORT = 9


@needs_root
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_packet_sent_at_the_word_is_caught(batch: int, tmp_path: Path) -> None:
    """Each time, though the capture is told to end as soon as the packet is sent."""
    caught, ending = 0, list[tuple[subprocess.Popen[bytes], Path, bytes]]()
    with namespaces() as (host,), host.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number in range(RUNS):
            path, data = tmp_path / f"{number}.pcapng", b"packet %d.%d" % (batch, number)
            ending.append((_sent_at_the_word(host, out, path, data), path, data))
            if len(ending) == AT_ONCE:
                caught += _has_caught(*ending.pop(0))
        caught += sum(_has_caught(*run) for run in ending)
    assert caught == RUNS


def _sent_at_the_word(host: Namespace, out: socket.socket, path: Path, data: bytes) -> subprocess.Popen[bytes]:
    words = (*COMMAND, "capture", "-i", "lo", "-w", str(path), f"udp port {PORT}")
    process = host.start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"Capturing on lo")
    out.sendto(data, ("127.0.0.1", PORT))
    process.send_signal(signal.SIGINT)
    return process


def _has_caught(process: subprocess.Popen[bytes], path: Path, data: bytes) -> bool:
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0, said.decode()
    with echowire.read(str(path)).chunks("udp.srcport") as reading:
        records = [chunk.packets.records for chunk in reading]
    return any(data in each.packet(row) for each in records for row in range(len(each)))


@needs_root
def test_nothing_heavy_is_loaded_before_the_word() -> None:
    words = [sys.executable, "-X", "importtime", "-m", "echowire", "capture", "-i", "lo", "-c", "1", "udp", "port", "9"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        loaded = set[str]()
        for line in process.stderr:
            if line.startswith("Capturing"):
                break
            loaded.add(line.rpartition("|")[2].strip())
        process.kill()
        process.stderr.read()
    assert "echowire.kernel.captures.ring_socket" in loaded
    assert not loaded & {"numpy", "polars", "click", "rich", "dataclasses", "typing", "pathlib", "socket"}


LINES = (
    (),
    ("-i", "lo"),
    ("-ilo", "-i", "eth0,eth1", "--interface=any"),
    ("-nqw", "a.pcapng", "tcp", "port", "80"),
    ("tcp", "port", "80", "-c3", "-w", "-"),
    ("--count=5", "--no-processes", "--ladder", "--no-ladder"),
    ("-T", "fields", "-e", "ip.src", "-eip.dst", "-E", "header=y", "-t", "ad"),
    ("-a", "duration:3", "-b", "files:2", "--ring-buffer", "filesize:100", "-F", "pcap"),
    ("-s", "0", "-B", "8", "-p", "-P", "-Y", "tcp.port == 80", "--jsonl"),
    ("-D", "--json"),
    ("-i", "lo", "--", "-x", "udp"),
    ("-f", "-w"),
)


@pytest.mark.parametrize("line", LINES)
def test_the_line_is_read_as_click_reads_it(line: Sequence[str]) -> None:
    with command.make_context("capture", list(line)) as context:
        assert plain(line) == context.params


@pytest.mark.parametrize(
    "line",
    [("-c",), ("-c", "0"), ("-c", "x"), ("-B", "1"), ("-F", "cap"), ("--nothing",), ("-z",), ("--json=1",), ("-T", "")],
)
def test_what_is_wrong_is_left_to_click(line: Sequence[str]) -> None:
    assert plain(line) is None
    with pytest.raises(click.UsageError):
        command.make_context("capture", list(line))


def test_help_is_left_to_click() -> None:
    assert plain(["--help"]) is None
