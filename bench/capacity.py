"""What the default server holds, and whom it keeps waiting.

1. 9,000 connections at once, three rounds of a verified echo: resident memory a connection, over idle (at most 16 KiB).
2. A healthy client's round trips, without and with 100 peers that send and never read: the p99's ratio (at most 3).

Run it as `python bench/capacity.py`; it exits 1 beyond either allowance.
"""

from __future__ import annotations

import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONNECTIONS = 9000
ROUNDS = 3
ALLOWED_BYTES_EACH = 16 * 1024
SLOW_READERS = 100
ECHOES = 20_000
PAIRS = 5
ALLOWED_P99_RATIO = 3.0


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its pid and port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "echowire", "serve", "tcp://127.0.0.1:0", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline().rpartition(":")[2].split()[0])
    finally:
        process.terminate()
        process.wait()


def resident(pid: int) -> int:
    """Resident bytes of a process (proc(5), statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def hold_many(engine: str) -> float:
    """Bytes resident a connection."""
    with serving("--engine", engine) as (pid, port):
        idle = resident(pid)
        peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        try:
            for number in range(ROUNDS):
                for index, peer in enumerate(peers):
                    peer.sendall(b"%d/%d" % (number, index))
                for index, peer in enumerate(peers):
                    expected = b"%d/%d" % (number, index)
                    if peer.recv(100) != expected:
                        raise SystemExit(f"connection {index} got something else back")
            return (resident(pid) - idle) / CONNECTIONS
        finally:
            for peer in peers:
                peer.close()


def p99_us(port: int) -> float:
    """The 99th percentile of a healthy client's round trips, in microseconds."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken = []
        for _ in range(ECHOES):
            start = time.perf_counter()
            peer.sendall(b"x" * 64)
            if peer.recv(64) != b"x" * 64:
                raise SystemExit("the healthy client got something else back")
            taken.append(time.perf_counter() - start)
    return 1e6 * statistics.quantiles(taken, n=100)[98]


def pin_slow_readers(port: int) -> list[socket.socket]:
    """Peers that have sent until nothing more was taken, and do not read."""
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(SLOW_READERS)]
    still = list(peers)
    for peer in peers:
        peer.setblocking(False)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 1.0:
        for peer in still:
            try:
                if peer.send(b"s" * 65_536):
                    quiet_since = time.monotonic()
            except BlockingIOError:
                pass
    return peers


def hinder(engine: str) -> tuple[float, float, float]:
    """The median p99 without and with slow readers, and the median of the paired ratios."""
    without, beside = [], []
    for _ in range(PAIRS):
        with serving("--engine", engine) as (_pid, port):
            without.append(p99_us(port))
            slow = pin_slow_readers(port)
            beside.append(p99_us(port))
            for peer in slow:
                peer.close()
    ratio = statistics.median(b / a for a, b in zip(without, beside, strict=True))
    return statistics.median(without), statistics.median(beside), ratio


def main() -> int:
    """Measure, print, and judge."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    engines = sys.argv[1:] or ["auto"]
    failed = False
    for engine in engines:
        each = hold_many(engine)
        before, after, ratio = hinder(engine)
        failed |= each > ALLOWED_BYTES_EACH or ratio > ALLOWED_P99_RATIO
        print(f"{engine}: {CONNECTIONS} connections: {each:.0f} bytes resident each (allowed {ALLOWED_BYTES_EACH})")
        print(
            f"{engine}: p99 of a healthy client {before:.0f} µs alone, {after:.0f} µs beside {SLOW_READERS} slow "
            f"readers: ratio {ratio:.2f} (allowed {ALLOWED_P99_RATIO:g})"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
