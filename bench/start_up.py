"""Measures start-up: `echowire --version` beside a bare interpreter. Exits 1 where it is beyond the allowance."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PAIRS = 20
ALLOWED_FACTOR = 1.5
ALLOWED_EXTRA_S = 0.030


def seconds(command: Sequence[str]) -> float:
    """How long `command` takes, in seconds, from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Measure in interleaved pairs, so that what else the machine does falls on both alike."""
    bare = (sys.executable, "-c", "pass")
    ours = (str(Path(sys.executable).with_name("echowire")), "--version")
    seconds(bare), seconds(ours)  # the first of each reads the files from disk
    pairs = [(seconds(bare), seconds(ours)) for _ in range(PAIRS)]
    python_s, echowire_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    allowed_s = ALLOWED_FACTOR * python_s + ALLOWED_EXTRA_S
    print(f"start-up, median of {PAIRS} interleaved pairs")
    print(f"  python -c pass      {python_s * 1e3:6.1f} ms")
    print(f"  echowire --version  {echowire_s * 1e3:6.1f} ms")
    rule = f"{ALLOWED_FACTOR} x python + {ALLOWED_EXTRA_S * 1e3:.0f} ms"
    print(f"  allowed             {allowed_s * 1e3:6.1f} ms  ({rule})")
    return 0 if echowire_s <= allowed_s else 1


if __name__ == "__main__":
    sys.exit(main())
