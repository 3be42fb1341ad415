"""`echowire ping` beside ping and fping: round trips in the same seconds, and a sweep of 4,096 addresses.

    python bench/ping.py [ROUNDS]

Everything is measured in pairs, round by round, so that what else the machine does falls on both; medians are
printed. Round trips: over loopback, and over a veth pair between two network namespaces (which needs root). The
sweep: 127.0.0.0/20, one probe each, at a probe a millisecond for both; and fping with its own pace.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.netns import link, namespaces, why_not

COUNT = 300
SWEEP = "127.0.0.0/20"
ECHOWIRE = (sys.executable, "-m", "echowire", "ping")


def spent(command: Sequence[str]) -> tuple[str, float, float]:
    """What `command` printed, and the processor time and the time that it took."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout + done.stderr, cpu, ended - began


def medians(target: str, prefix: Sequence[str] = ()) -> tuple[float, float]:
    """ping's median round trip and ours, in microseconds; both programs run at the same time."""
    ping = subprocess.Popen(
        [*prefix, "ping", "-c", str(COUNT), "-i", "0.002", target], stdout=subprocess.PIPE, text=True
    )
    ours = subprocess.run(
        [*prefix, *ECHOWIRE, "--json", "-c", str(COUNT), "-i", "2ms", target], capture_output=True, text=True
    )
    out, _ = ping.communicate()
    times = [float(found) * 1000 for found in re.findall(r"time=([\d.]+) ms", out)]
    return statistics.median(times), json.loads(ours.stdout)["targets"][0]["rtt_us"]["p50"]


def compare_round_trips(name: str, target: str, rounds: int, prefix: Sequence[str] = ()) -> None:
    """Print both medians, and the largest difference of a round."""
    pairs = [medians(target, prefix) for _ in range(rounds)]
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    apart = max(abs(one - other) for one, other in pairs)
    print(f"{name:<10} ping {theirs:6.1f} µs   echowire {ours:6.1f} µs   at most {apart:.1f} µs apart")


def sweep(rounds: int) -> None:
    """Print how long a sweep takes, and what it costs."""
    ours, theirs = [], []
    for _ in range(rounds):
        out, cpu, seconds = spent([*ECHOWIRE, "--yes", "-c", "1", "--rate", "1000", SWEEP])
        assert "4096 targets, 4096 up" in out, out[-200:]
        ours.append((cpu, seconds))
        _, cpu, seconds = spent(["fping", "-q", "-c", "1", "-i", "1", "-g", SWEEP])
        theirs.append((cpu, seconds))
    ratio = statistics.median(one[0] / other[0] for one, other in zip(ours, theirs, strict=True))
    for name, rows in (("echowire", ours), ("fping -i 1", theirs)):
        cpu, seconds = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"sweep      {name:<10}  {seconds:6.2f} s   {cpu:5.3f} s of processor time")
    print(f"sweep      ratio of processor time {ratio:.2f}")
    _, cpu, seconds = spent(["fping", "-q", "-g", SWEEP])
    print(f"sweep      fping, its own pace  {seconds:6.2f} s   {cpu:5.3f} s of processor time")


def main() -> None:
    """Measure what can be."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    compare_round_trips("loopback", "127.0.0.1", rounds)
    if reason := why_not():
        print(f"veth       not measured: {reason}")
    else:
        with namespaces(2) as (client, server):
            link(client, server, "10.0.0.1/24", "10.0.0.2/24")
            compare_round_trips("veth", "10.0.0.2", rounds, ("ip", "netns", "exec", client.name))
    if shutil.which("fping"):
        sweep(rounds)
    else:
        print("sweep      not measured: fping is not installed")


if __name__ == "__main__":
    main()
