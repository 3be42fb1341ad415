"""`echowire bench` beside iperf3 and sockperf: the same server, in turn, in one run.

    bytes       bench --send to a sink that reads as `iperf3 -s` does, and iperf3 to that one; what a second carries
    ping-pong   bench and sockperf --full-rtt, 64 bytes, TCP and UDP, to the one reflector; the median round trip

Sink and reflector are `reflector.c`. A machine that others use is never the same for two runs, so the two programs take
turns and the median of the paired ratios is told: ours to theirs. Exits 1 where it is not within what is promised. Run
it as `python bench/peers.py`; it needs gcc, iperf3 and sockperf.
"""

from __future__ import annotations

import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

PAIRS = 5
SECONDS = 1
TRIES = 5
LEAST_BYTES = 0.95
MOST_DELAY = 1.10
MESSAGE_BYTES = 64
BESIDE = Path(__file__).parent


def run(*command: str) -> str:
    """What a program prints; it must end well."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def bench(*options: str) -> dict[str, object]:
    """The document of our own."""
    document = json.loads(run(sys.executable, "-m", "echowire", "bench", *options, "-t", str(SECONDS), "--json"))
    assert isinstance(document, dict)
    return document


def our_bytes(port: int) -> float:
    """Bits a second that we send to a sink."""
    return float(str(bench("--send", "127.0.0.1", str(port))["sent_bits_per_s"]))


def their_bytes(port: int) -> float:
    """The same of iperf3; what it has sent."""
    for _ in range(TRIES):
        command = ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(SECONDS), "-J"]
        document = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout)
        if "error" not in document:  # its server takes one at a time, and may not have done with the last
            return float(document["end"]["sum_sent"]["bits_per_second"])
    raise RuntimeError(document["error"])


def our_delay(port: int, transport: str) -> float:
    """The median round trip, in microseconds."""
    flags = ["-u"] if transport == "udp" else []
    latency = bench("127.0.0.1", str(port), "-s", str(MESSAGE_BYTES), *flags)["latency_us"]
    assert isinstance(latency, dict)
    return float(latency["p50"])


def their_delay(port: int, transport: str) -> float:
    """The same of sockperf."""
    flags = ["--tcp"] if transport == "tcp" else []
    size = ["-m", str(MESSAGE_BYTES), "-t", str(SECONDS), "--full-rtt"]
    told = run("sockperf", "ping-pong", "-i", "127.0.0.1", "-p", str(port), *size, *flags)
    found = re.search(r"percentile 50\.000 =\s*([\d.]+)", told)
    assert found, told
    return float(found[1])


@contextmanager
def serving(*command: str, port: int) -> Iterator[int]:
    """A server, once it listens."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            yield port
        finally:
            server.kill()


def wait_for(port: int) -> None:
    """Wait until something takes connections on `port`."""
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise


def free_port() -> int:
    """A port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def compare(what: str, unit: str, ours: Callable[[], float], theirs: Callable[[], float]) -> float:
    """Let the two take turns, and print and return the median of the ratios."""
    pairs = []
    for number in range(PAIRS):
        # Who is first is not always the same: what the first leaves behind is the second's.
        pairs.append((ours(), theirs()) if number % 2 else tuple(reversed((theirs(), ours()))))
    ratios = [mine / other for mine, other in pairs]
    middle = [statistics.median(side) for side in zip(*pairs, strict=True)]
    ratio = statistics.median(ratios)
    print(f"{what:20} ours {middle[0]:10.2f} {unit}  theirs {middle[1]:10.2f} {unit}  ratio {ratio:.3f}", end="  ")
    print(f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    return ratio


def main() -> int:
    """Compare, print, and judge."""
    with tempfile.TemporaryDirectory() as folder:
        reflector = str(Path(folder) / "reflector")
        run("gcc", "-O2", "-pthread", "-o", reflector, str(BESIDE / "reflector.c"))
        sink, port, iperf_port = free_port(), free_port(), free_port()
        kept = True
        with (
            serving("iperf3", "-s", "-p", str(iperf_port), port=iperf_port),
            serving(reflector, str(port), str(sink), port=port),
        ):
            ratio = compare("bytes, TCP", "bit/s", lambda: our_bytes(sink), lambda: their_bytes(iperf_port))
            kept &= ratio >= LEAST_BYTES
            for transport in ("tcp", "udp"):
                ours, theirs = partial(our_delay, port, transport), partial(their_delay, port, transport)
                kept &= compare(f"ping-pong, {transport.upper()}", "µs", ours, theirs) <= MOST_DELAY
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
