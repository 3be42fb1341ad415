"""How soon `echowire capture` captures: from its start to the word `Capturing`, beside a bare interpreter's whole run.

The word stands for packets that are kept from then on (`tests/cli/test_capture_start.py` sends one at that moment).
`tcpdump` is beside it where it is installed, up to its own word, `listening`. Exits 1 where the median is beyond
`ALLOWED_FACTOR` times that of the interpreter.

Run it as root: `python bench/capture_start.py`.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PAIRS = 20
ALLOWED_FACTOR = 3.0

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""What is installed has been compiled, and that is what is measured."""


def seconds_to_end(command: Sequence[str]) -> float:
    """How long `command` takes, in seconds, from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, env=ENVIRONMENT)
    return time.perf_counter() - start


def seconds_to_word(command: Sequence[str], word: bytes) -> float:
    """How long, in seconds, until `command` says a line with `word` on standard error; it is ended then."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stderr is not None
        while word not in (line := process.stderr.readline()):
            if not line:
                sys.exit(f"{' '.join(command)} ended without a word")
        taken = time.perf_counter() - start
        process.terminate()
        process.stderr.read()
    return taken


def main() -> int:
    """Measure in turn, so that what else the machine does falls on all alike."""
    with tempfile.TemporaryDirectory() as name:
        path = str(Path(name) / "a.pcapng")
        ours = (sys.executable, "-m", "echowire", "capture", "-i", "lo")
        bare = (sys.executable, "-c", "pass")
        words = {
            "echowire capture -w FILE": ((*ours, "-w", path), b"Capturing"),
            "echowire capture": (ours, b"Capturing"),
            "echowire capture -w FILE udp port 9": ((*ours, "-w", path, "udp", "port", "9"), b"Capturing"),
            "tcpdump -w FILE": (("tcpdump", "-i", "lo", "-w", path), b"listening"),
        }
        words = {name: said for name, said in words.items() if shutil.which(said[0][0])}
        runs: dict[str, list[float]] = {name: [] for name in ("python -c pass", *words)}
        for number in range(PAIRS + 1):  # the first of each reads the files from disk
            taken = {"python -c pass": seconds_to_end(bare)}
            taken |= {name: seconds_to_word(*said) for name, said in words.items()}
            for name in taken if number else ():
                runs[name].append(taken[name])
    medians = {name: statistics.median(times) for name, times in runs.items()}
    base = medians["python -c pass"]
    print(f"to the word, median of {PAIRS} runs in turn")
    for name, median in medians.items():
        print(f"  {name:<38} {median * 1e3:6.1f} ms  {median / base:4.1f}")
    return 0 if medians["echowire capture -w FILE"] <= ALLOWED_FACTOR * base else 1


if __name__ == "__main__":
    sys.exit(main())
