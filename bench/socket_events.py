"""`echowire sockets --events` beside `ss -E` while connections come and go: processor time, and whether all are told.

    python bench/socket_events.py [--connections 10000] [--rate 10000] [--rounds 5]

In each round every command listens alone, in a network namespace of its own, to the same load (`connect_load.c`, built
here), and is ended by SIGINT as soon as the load is over: what it has not told by then it must tell yet, or count. Each
connection has two ends. A ratio is the median of those within the rounds; times are whole commands, start included.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
ECHOWIRE = (sys.executable, "-m", "echowire", "sockets")
CASES: tuple[tuple[str, Sequence[str], str], ...] = (
    ("ss -E", ("ss", "-EHtn"), "127.0.0."),
    ("--events", (*ECHOWIRE, "--events", "-tn"), " closed "),
    ("--events --jsonl", (*ECHOWIRE, "--events", "--jsonl", "-tn"), '"event": "closed"'),
    ("ss -Ei", ("ss", "-EHtin"), "127.0.0."),
    ("--events -a", (*ECHOWIRE, "--events", "-tna"), " closed "),
)
"""Name, command, and what a line has that tells an end."""

READY_S = 2.0
"""For a command to be listening: none of them says so."""


@contextlib.contextmanager
def namespace() -> Iterator[tuple[str, ...]]:
    """A network of one's own, as the words by which a command is run in it."""
    name = f"echowire-bench-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield ("nsenter", f"--net=/run/netns/{name}")
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def listen(command: Sequence[str], load: Sequence[str], mark: str) -> tuple[float, int, str]:
    """Seconds of processor time, ends that were told, and what was said besides."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        threading.Event().wait(READY_S)
        subprocess.run(load, check=True, stdout=subprocess.DEVNULL)
        process.send_signal(signal.SIGINT)
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
        out.seek(0)
        err.seek(0)
        told = sum(mark.encode() in line for line in out)
        return used.ru_utime + used.ru_stime, told, err.read().decode().strip().replace("\n", "; ")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, int, str]]] = {name: [] for name, _, _ in CASES}
    with namespace() as inside, tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/connect_load"
        subprocess.run(["cc", "-O2", "-o", program, str(HERE / "connect_load.c")], check=True)
        load = (*inside, program, str(options.rate), str(options.connections / options.rate))
        for _ in range(options.rounds):
            for name, command, mark in CASES:
                found[name].append(listen((*inside, *command), load, mark))
    print(f"{options.connections} connections, {2 * options.connections} ends, at {options.rate} a second at most")
    print(f"{'':18}{'CPU s':>8}{'× ss -E':>9}{'ends told':>11}  said")
    for name, runs in found.items():
        ratio = statistics.median(mine[0] / base[0] for mine, base in zip(runs, found["ss -E"], strict=True))
        cpu, told = statistics.median(run[0] for run in runs), min(run[1] for run in runs)
        print(f"{name:18}{cpu:8.2f}{ratio:9.2f}{told:11}  {runs[-1][2][:90]}")


if __name__ == "__main__":
    main()
