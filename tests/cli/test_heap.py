"""That a reading does not pay for the same memory again and again."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.records import Records

CHUNKS = 24
PAGE = resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_chunks_after_the_first_take_memory_that_was_freed(tmp_path: Path) -> None:
    packets = [bytes(12) + b"\x08\0" + bytes(1486)] * 1400  # 2 MiB and more
    path = tmp_path / "many.pcap"
    writer = PcapWriter()
    with path.open("wb") as file:
        for _ in range(CHUNKS):
            file.write(writer.write(Records.of(packets, range(len(packets)))))
    few, many = (_faults(path, count) for count in (4 * len(packets), CHUNKS * len(packets)))
    assert (many - few) * PAGE < path.stat().st_size / 4, "each chunk is faulted in anew"


def _faults(path: Path, count: int) -> int:
    """Page faults of a command that reads so many packets."""
    code = (
        "import resource, sys\n"
        "from echowire.cli import main\n"
        "main()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, "read", str(path), "-c", str(count), "-T", "fields", "-e", "frame.len"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    return int(done.stderr.split()[-1])
