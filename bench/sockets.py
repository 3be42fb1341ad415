"""`echowire sockets` beside ss and psutil on a host of many sockets: whole commands, in pairs within one run.

    python bench/sockets.py [--pairs 20000] [--rounds 7]

Makes PAIRS connections over loopback in several processes, in a network namespace of its own if it may, and holds them
meanwhile. Each round runs every command once; a ratio is the median of those within the rounds. Memory is the largest
that the command had. The library call is measured within a process that has both libraries loaded.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

EACH = 8000
"""Connections that one process holds: a limit of open files is often 20,000."""

HOLD = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
held = [listener]
for _ in range(int(sys.argv[1])):
    held += [socket.create_connection(listener.getsockname()), listener.accept()[0]]
print("ready", flush=True)
sys.stdin.read()
"""

COMMAND = str(Path(sys.executable).with_name("echowire"))
CASES = (
    ("-tan", (COMMAND, "sockets", "-tan"), ("ss", "-tan")),
    ("-tane", (COMMAND, "sockets", "-tane"), ("ss", "-tane")),
    ("-tanemi", (COMMAND, "sockets", "-tanemi"), ("ss", "-tanemi")),
    ("-tanp", (COMMAND, "sockets", "-tanp"), ("ss", "-tanp")),
)
LIBRARY = """
import sys, time, psutil, echowire
echowire.sockets(kinds=["tcp"], states=0)
def timed(call):
    began = time.perf_counter()
    count = len(call())
    return time.perf_counter() - began, count
for _ in range(int(sys.argv[1])):
    ours, theirs = timed(lambda: echowire.sockets(kinds=["tcp"])), timed(lambda: psutil.net_connections("tcp"))
    joined = timed(lambda: echowire.sockets(kinds=["tcp"], with_processes=True).column("processes"))
    print(ours[0], theirs[0], joined[0], ours[1])
"""


@contextmanager
def connections(pairs: int) -> Iterator[None]:
    """That many connections, held while the block runs."""
    sizes = [min(EACH, pairs - start) for start in range(0, pairs, EACH)]
    held = [
        subprocess.Popen([sys.executable, "-c", HOLD, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for size in sizes
    ]
    try:
        for process in held:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield
    finally:
        for process in held:
            process.kill()
            process.communicate()


def run(command: Sequence[str]) -> tuple[float, float, int]:
    """Seconds by the wall, seconds of processor time, and KiB at most of one run to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    passed = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return passed, used.ru_utime + used.ru_stime, used.ru_maxrss


def measure(rounds: int) -> None:
    """Print the table."""
    print("| | echowire ms | ss ms | ratio | of processor time | MiB |\n|---|---:|---:|---:|---:|---:|")
    for name, ours, theirs in CASES:
        run(ours)
        pairs = [(run(ours), run(theirs)) for _ in range(rounds)]
        wall, spent = ([one[at] / other[at] for one, other in pairs] for at in (0, 1))
        mine, its = (statistics.median(pair[at][0] for pair in pairs) * 1000 for at in (0, 1))
        memory = max(one[2] for one, _ in pairs) / 1024
        ratios = " | ".join(f"{statistics.median(ratio):.2f}" for ratio in (wall, spent))
        print(f"| {name} | {mine:.0f} | {its:.0f} | {ratios} | {memory:.0f} |")
    if not importlib.util.find_spec("psutil"):
        return
    done = subprocess.run([sys.executable, "-c", LIBRARY, str(rounds)], stdout=subprocess.PIPE, text=True, check=True)
    rows = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    ours_s, theirs_s, joined_s = (statistics.median(row[at] for row in rows) for at in range(3))
    ratio = statistics.median(row[1] / row[0] for row in rows)
    joined = statistics.median(row[1] / row[2] for row in rows)
    print(f"\nechowire.sockets {ours_s * 1000:.0f} ms, with processes {joined_s * 1000:.0f} ms; ", end="")
    print(f"psutil.net_connections {theirs_s * 1000:.0f} ms: {ratio:.1f} and {joined:.1f} times as long")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if os.geteuid() == 0 and "ECHOWIRE_BENCH_INSIDE" not in os.environ:
        # Its own network namespace: no other sockets, and nobody else's TIME-WAIT.
        os.environ["ECHOWIRE_BENCH_INSIDE"] = "1"
        inside = f"ip link set lo up && exec {sys.executable} {' '.join(sys.argv)}"
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", inside])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with connections(options.pairs):
        print(f"{2 * options.pairs} TCP sockets, {os.cpu_count()} processors, {options.rounds} rounds\n")
        measure(options.rounds)


if __name__ == "__main__":
    main()
