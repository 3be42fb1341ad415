"""A long capture with rotation: nothing may be lost between two files, and the memory must stay flat.

Numbered datagrams are sent over loopback at a steady rate, `echowire capture` writes them with a new file every 50 MB
and the newest four kept, and each file is read once the next has begun: every packet is compared with what was sent.
Once a minute, and at the end, a line says how far it is and what the capture holds in memory. Exits 1 where a packet
is missing.

Run it as `python bench/capture_soak.py [SECONDS [PACKETS_PER_SECOND]]`; an hour at 20,000 is the default.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from capture import HERE, SIZE, cpu_s, numbers_of

from echowire.kernel.captures.files import read_records

PORT = 34_573
FILE_KB, FILES = 50_000, 4
POLL_S, REPORT_S = 1.0, 60.0


class Reader:
    """Reads the files in the order they were begun, and follows the numbers in them."""

    def __init__(self, folder: Path) -> None:
        self.packets = 0
        self.files = 0
        self.gaps = 0
        self._folder = folder
        self._last = -1
        self._seen: set[str] = set()

    def catch_up(self, *, to_the_end: bool = False) -> None:
        """Read those that are finished: all but the newest, or, at the end, that too."""
        paths = sorted(self._folder.glob("soak*"), key=lambda path: path.name)
        for path in paths if to_the_end else paths[:-1]:
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._read(path)

    def _read(self, path: Path) -> None:
        self.files += 1
        for records in read_records(path):
            if not len(records):
                continue
            numbers = numbers_of(records, path)
            self.gaps += int((np.diff(numbers, prepend=self._last) != 1).sum())
            self.packets += len(records)
            self._last = int(numbers[-1])


def resident_mb(pid: int) -> float:
    """What a process holds in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def main(seconds: float, rate: int) -> int:
    """Capture for so long; 1 where something is missing."""
    offered, pause = int(seconds * rate), threading.Event()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load = str(folder / "load")
        subprocess.run(("cc", "-O2", "-o", load, str(HERE / "packet_load.c")), check=True)
        ours = (sys.executable, "-m", "echowire", "capture", "-i", "lo", "-f", f"udp dst port {PORT}", "--no-processes")
        rotation = ("-w", str(folder / "soak.pcapng"), "-b", f"filesize:{FILE_KB}", "-b", f"files:{FILES}")
        capture = subprocess.Popen((*ours, *rotation), stderr=subprocess.PIPE, text=True)
        while not list(folder.glob("soak*")):
            pause.wait(POLL_S)
        pause.wait(POLL_S)
        reader, begin = Reader(folder), time.monotonic()
        sender = subprocess.Popen((load, str(PORT), str(offered), str(rate), str(SIZE)), stdout=subprocess.DEVNULL)
        reported = begin
        while sender.poll() is None:
            pause.wait(POLL_S)
            reader.catch_up()
            if time.monotonic() - reported >= REPORT_S:
                reported += REPORT_S
                print(
                    f"{reported - begin:6.0f} s  {reader.packets:>12,} packets in {reader.files} files read, "
                    f"{reader.gaps} gaps, {resident_mb(capture.pid):.1f} MB",
                    flush=True,
                )
        pause.wait(POLL_S)
        memory, spent = resident_mb(capture.pid), cpu_s(capture.pid)
        capture.send_signal(signal.SIGINT)
        print((capture.communicate()[1] or "").strip())
        reader.catch_up(to_the_end=True)
    print(
        f"{offered:,} offered, {reader.packets:,} in {reader.files} files, {reader.gaps} gaps; {memory:.1f} MB at the "
        f"end; {spent / max(reader.packets, 1) * 1e6:.2f} µs of processor a packet"
    )
    return 1 if reader.packets != offered or reader.gaps else 0


if __name__ == "__main__":
    words = [float(word) for word in sys.argv[1:]]
    sys.exit(main(words[0] if words else 3600.0, int(words[1]) if len(words) > 1 else 20_000))
