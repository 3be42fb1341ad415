"""Capturing small datagrams on loopback: `echowire capture -w` beside `dumpcap -q -w` and `tcpdump -w`.

At each of several offered rates the three capture the same load in turn, round by round. Compared are the packets that
each lost and the processor time of its process for a packet, from when it captures until it is told to end. Every
packet that Echowire wrote is compared with what was sent. The sender runs on the last processor, the capture on the
first. Exits 1 where Echowire lost more than dumpcap, took more time than dumpcap, or more than 3 times tcpdump's.

Run it as `python bench/capture.py`, with rates (packets a second) if others are wanted.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Records
from echowire.kernel.captures.files import read_records

HERE = Path(__file__).parent
RATES = (20_000, 50_000, 100_000, 200_000, 0)
"""Packets a second; 0 is as many as the sender can."""

SECONDS = 2.0
"""That a load lasts, unless it is as fast as it goes; then `MOST` packets."""
MOST = 500_000
ROUNDS = 3
OURS = ("echowire", "with processes")
PORT, SIZE = 34_571, 64
ALLOWED_OF_TCPDUMP = 3.0
POLL_S = 0.05
STARTED_S = 20.0
HEADERS_BYTES = 42
"""Ethernet, IPv4 and UDP before the datagram's number."""


@dataclass(frozen=True, slots=True)
class Captured:
    """One run: packets offered, packets in the file, processor seconds of the capturing process."""

    offered: int
    written: int
    cpu_s: float


def commands(path: str) -> dict[str, Sequence[str]]:
    """How each is started."""
    expression = f"udp dst port {PORT}"
    ours = (sys.executable, "-m", "echowire", "capture", "-i", "lo", "-f", expression, "-w", path)
    known: dict[str, Sequence[str]] = {
        "echowire": (*ours, "--no-processes"),
        "with processes": (*ours, "--processes"),
        "dumpcap": ("dumpcap", "-q", "-i", "lo", "-f", expression, "-w", path),
        "tcpdump": ("tcpdump", "-i", "lo", "-w", path, *expression.split()),
    }
    return {name: command for name, command in known.items() if shutil.which(command[0])}


def measure(name: str, load: str, packets: int, rate: int, folder: Path) -> Captured:
    """Start it, offer the load once it writes, end it, and count."""
    path = folder / f"{name}.capture"
    path.unlink(missing_ok=True)
    path.touch(mode=0o666)  # tcpdump writes as another user
    path.chmod(0o666)
    processors = sorted(os.sched_getaffinity(0))
    process = subprocess.Popen(
        commands(str(path))[name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {processors[0]}),
    )
    pause, until = threading.Event(), time.monotonic() + STARTED_S
    while not _captures(process.pid) and time.monotonic() < until:
        pause.wait(POLL_S)
    pause.wait(10 * POLL_S)
    before = cpu_s(process.pid)
    words = (load, str(PORT), str(packets), str(rate), str(SIZE))
    subprocess.run(words, stdout=subprocess.DEVNULL, preexec_fn=_on_the_last, check=True)
    pause.wait(1.0)  # dumpcap and tcpdump hand over what is left after so long
    spent = cpu_s(process.pid) - before
    process.send_signal(signal.SIGINT)
    process.wait()
    return Captured(packets, _written(path, compare=name in OURS), spent)


def cpu_s(pid: int) -> float:
    """Processor seconds of a process, all its threads (Documentation/scheduler/sched-stats.rst)."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _on_the_last() -> None:
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})


def _captures(pid: int) -> bool:
    """Whether a process has a packet socket with a ring."""
    try:
        return any("socket:[" in line for line in Path(f"/proc/{pid}/maps").read_text().splitlines())
    except OSError:
        return False


def _written(path: Path, *, compare: bool) -> int:
    """Packets in a file; with `compare`, each is looked at: rising numbers, and the bytes that were sent."""
    count, last = 0, -1
    for records in read_records(path):
        if not len(records):
            continue
        count += len(records)
        if compare:
            numbers = numbers_of(records, path)
            if (np.diff(numbers, prepend=last) < 1).any():
                sys.exit(f"{path}: the packets are not in order")
            last = int(numbers[-1])
    return count


def numbers_of(records: Records, path: Path) -> NDArray[np.int64]:
    """The numbers that `packet_load.c` gave some packets; ends the run where one is not as it was sent."""
    if not (records.cap_len == HEADERS_BYTES + SIZE).all():
        sys.exit(f"{path}: a packet is not as long as it was sent")
    whole = np.stack([records.data[at : at + HEADERS_BYTES + SIZE] for at in records.start])
    if not (whole[:, HEADERS_BYTES + 8 :] == ord("e")).all():
        sys.exit(f"{path}: a packet is not the one that was sent")
    return whole[:, HEADERS_BYTES : HEADERS_BYTES + 8].copy().view("<i8").ravel()


def main(rates: Sequence[int]) -> int:
    """Measure, and print a table; 1 where a promise is broken."""
    broken = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        load = str(folder / "load")
        subprocess.run(("cc", "-O2", "-o", load, str(HERE / "packet_load.c")), check=True)
        kinds = list(commands(""))
        print("| offered/s |", " | ".join(f"{kind} lost | {kind} µs/packet" for kind in kinds), "|")
        print("|---:|" + "---:|" * 2 * len(kinds))
        for rate in rates:
            packets = int(rate * SECONDS) or MOST
            runs: dict[str, list[Captured]] = {kind: [] for kind in kinds}
            for _ in range(ROUNDS):
                for kind in kinds:
                    runs[kind].append(measure(kind, load, packets, rate, folder))
            lost = {kind: sum(one.offered - one.written for one in runs[kind]) for kind in kinds}
            cost = {
                kind: statistics.median(one.cpu_s / max(one.written, 1) * 1e6 for one in runs[kind]) for kind in kinds
            }
            cells = " | ".join(f"{lost[kind]:,} | {cost[kind]:.2f}" for kind in kinds)
            print(f"| {rate or 'all it can':,} | {cells} |" if rate else f"| all it can | {cells} |", flush=True)
            broken += _broken(rate, lost, cost)
    for one in broken:
        print(one)
    return 1 if broken else 0


def _broken(rate: int, lost: dict[str, int], cost: dict[str, float]) -> list[str]:
    """What is not as it was promised."""
    found = []
    for ours in OURS:
        at = f"{ours} at {rate or 'full'} rate"
        if "dumpcap" in lost and lost[ours] > lost["dumpcap"]:
            found.append(f"{at}: {lost[ours]} lost, and {lost['dumpcap']} by dumpcap")
        if "dumpcap" in cost and cost[ours] > cost["dumpcap"]:
            found.append(f"{at}: {cost[ours]:.2f} µs, and {cost['dumpcap']:.2f} by dumpcap")
        if "tcpdump" in cost and cost[ours] > ALLOWED_OF_TCPDUMP * cost["tcpdump"]:
            found.append(f"{at}: {cost[ours]:.2f} µs, and {cost['tcpdump']:.2f} by tcpdump")
    return found


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]] or RATES))
