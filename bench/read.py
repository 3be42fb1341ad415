"""Reads a capture of many packets beside tshark, scapy and dpkt, in interleaved pairs, and prints the ratios.

    python bench/read.py [FILE] [PAIRS=3]

Without FILE it writes one of 200,000 packets of its own. Both the wall time and the processor's time of each command
are compared: on a machine that does other things, the second tells more. scapy and dpkt are asked for the same six
fields of the first 20,000 packets, where they are installed.
"""

from __future__ import annotations

import importlib.util
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.records import Records

FIELDS = ("ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.flags")
FILTER = "ip.addr == 10.0.0.0/8 && tcp.flags.push == 1 && tcp.len > 100"
PACKETS = 200_000
PARSED_BY_OTHERS = 20_000

SCAPY = """
import sys
from scapy.all import IP, TCP, PcapReader
for number, packet in enumerate(PcapReader(sys.argv[1])):
    if number == int(sys.argv[2]): break
    if TCP in packet:
        ip, tcp = packet[IP], packet[TCP]
        ip.src, ip.dst, tcp.sport, tcp.dport, tcp.seq, tcp.flags
"""
DPKT = """
import sys, dpkt
for number, (time, data) in enumerate(dpkt.pcap.Reader(open(sys.argv[1], "rb"))):
    if number == int(sys.argv[2]): break
    ip = dpkt.ethernet.Ethernet(data).data
    if isinstance(ip, dpkt.ip.IP) and isinstance(ip.data, dpkt.tcp.TCP):
        tcp = ip.data
        ip.src, ip.dst, tcp.sport, tcp.dport, tcp.seq, tcp.flags
"""


class Cost(NamedTuple):
    """What a command took, in seconds."""

    wall: float
    processor: float


def cost(command: Sequence[str]) -> Cost:
    """Run it to its end."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def compare(name: str, ours: Sequence[str], theirs: Sequence[str], pairs: int, share: float = 1) -> None:
    """Print the medians of interleaved pairs; `share` is how much more of the file ours read."""
    runs = [(cost(ours), cost(theirs)) for _ in range(pairs)]
    mine, other = ([Cost(*map(statistics.median, zip(*side, strict=True)))] for side in zip(*runs, strict=True))
    wall, processor = (b / a * share for a, b in zip(mine[0], other[0], strict=True))
    times = f"wall {wall:7.1f} times, processor {processor:7.1f} times"
    print(f"{name:42} {mine[0].wall:8.2f} s {other[0].wall:8.2f} s   {times}", flush=True)


def write_capture(path: Path, count: int) -> None:
    """TCP packets of several sizes between some hosts."""
    rng = np.random.default_rng(4)
    writer, packets, payload = PcapWriter(), [], bytes(1400)
    for number in range(count):
        size = int(rng.integers(0, 1400))
        address = bytes([10, 0, *rng.integers(0, 255, 2).tolist(), 192, 168, 1, number & 0xFF])
        head = bytes(12) + b"\x08\0" + b"\x45\0" + (40 + size).to_bytes(2, "big") + bytes(4) + b"\x40\x06\0\0" + address
        tcp = (1024 + number % 50_000).to_bytes(2, "big") + b"\x01\xbb" + number.to_bytes(4, "big") + bytes(4)
        packets.append(head + tcp + b"\x50\x18\x02\0\0\0\0\0" + payload[:size])
    path.write_bytes(writer.write(Records.of(packets, range(0, count * 1000, 1000))))


def main(file: Path, pairs: int) -> None:
    """Measure."""
    echowire = str(Path(sys.executable).with_name("echowire"))
    names = [word for one in FIELDS for word in ("-e", one)]
    cost([echowire, "read", str(file), "-q", "-T", "fields", *names])  # so that the file is in memory for both
    print(f"{'':42} {'echowire':>10} {'the other':>10}")
    if shutil.which("tshark"):
        tshark = ["tshark", "-n", "-r", str(file)]
        fields = ["-T", "fields", *names]
        compare("six fields, tshark", [echowire, "read", str(file), *fields], [*tshark, *fields], pairs)
        chosen = ["-Y", FILTER, "-T", "fields", "-e", "frame.number"]
        compare("display filter, tshark", [echowire, "read", str(file), *chosen], [*tshark, *chosen], pairs)
        noted = ["-Y", "tcp.analysis.flags", "-T", "fields", "-e", "frame.number"]
        compare("tcp.analysis.flags, tshark", [echowire, "read", str(file), *noted], [*tshark, *noted], pairs)
        for report in ("conv,tcp", "endpoints,ip"):
            asked = ["-q", "-z", report]
            compare(f"-z {report}, tshark", [echowire, "read", str(file), *asked], [*tshark, *asked], pairs)
        first = ["-c", "10", *fields]
        compare("the first ten packets, tshark", [echowire, "read", str(file), *first], [*tshark, *first], pairs)
    import echowire as library

    share = len(library.read(file)) / PARSED_BY_OTHERS
    for name, code in (("scapy", SCAPY), ("dpkt", DPKT)):
        if importlib.util.find_spec(name):
            ours = [echowire, "read", str(file), "-T", "fields", *names]
            other = [sys.executable, "-c", code, str(file), str(PARSED_BY_OTHERS)]
            compare(f"six fields, a packet, {name}", ours, other, pairs, share)
        else:
            print(f"{name} is not installed")


if __name__ == "__main__":
    count_of_pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), count_of_pairs)
    else:
        with tempfile.TemporaryDirectory() as room:
            made = Path(room) / "many.pcap"
            write_capture(made, PACKETS)
            main(made, count_of_pairs)
