"""Feed the capture readers with mutated files until told to stop, or a million times.

    python -m fuzz.capture_files [RUNS=1000000] [SEED=0]

Each run takes one of a dozen small captures of all kinds, damages it in one to four places, and reads it whole and in
pieces: both must give the same packets and the same outcome, no column may point out of its chunk, and what was read
must be written and read back equal. Now and then the damaged thing is a compressed file. Any exception is a finding, as
is ten seconds without progress; the run's number and seed make it again. The tests run a few thousand of the same.
"""

from __future__ import annotations

import faulthandler
import gzip
import io
import random
import struct
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np

from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.pcapng_writer import PcapngWriter
from echowire.core.captures.reader import CaptureReader
from echowire.core.captures.records import FRONT, PAD, Option, Problem, Records
from echowire.core.captures.ticks import LAST_S, NO_TIME
from echowire.errors import UsageError
from echowire.kernel.captures.files import CaptureFile

HANG_S = 10
INTERESTING = (0, 1, 3, 4, 7, 8, 11, 12, 16, 28, 32, 36, 0xFF, 0xFFFF, 0x40000, 0x40001, 0x7FFFFFFF, 0xFFFFFFFF)
"""Numbers at which lengths and counts break."""

Packet: TypeAlias = tuple[int, int, int, int, int, bytes, tuple[Option, ...]]


def pcap(order: str = "<", *, magic: int = 0xA1B2C3D4, network: int = 1, more: int = 0, count: int = 4) -> bytes:
    """A pcap file of `count` packets, each header with `more` bytes at its end."""
    file = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, network)
    for number in range(count):
        packet = bytes(at % 256 for at in range(number, number + 20 + number))
        head = (1_700_000_000 + number, 123_456 + number, len(packet), len(packet) + 10 * number)
        file += struct.pack(f"{order}IIII", *head) + bytes(more) + packet
    return file


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """One pcapng block."""
    body += bytes(-len(body) % 4)
    size = 12 + len(body)
    return struct.pack(f"{order}II", kind, size) + body + struct.pack(f"{order}I", size)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """One pcapng option."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<", options: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A section header block."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, *version, -1) + options, order)


def interface(order: str = "<", link_type: int = 1, snap_len: int = 0, options: bytes = b"") -> bytes:
    """An interface description block."""
    return block(1, struct.pack(f"{order}HHI", link_type, 0, snap_len) + options, order)


def enhanced(packet: bytes, ticks: int, order: str = "<", number: int = 0, options: bytes = b"") -> bytes:
    """An enhanced packet block."""
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet) + 1)
    return block(6, head + packet + bytes(-len(packet) % 4) + options, order)


def old(packet: bytes, ticks: int, order: str = "<", number: int = 0, options: bytes = b"") -> bytes:
    """A packet block of old."""
    head = struct.pack(f"{order}HHIIII", number, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
    return block(2, head + packet + bytes(-len(packet) % 4) + options, order)


def simple(packet: bytes, order: str = "<", length: int | None = None) -> bytes:
    """A simple packet block."""
    return block(3, struct.pack(f"{order}I", len(packet) if length is None else length) + packet, order)


def pcapng(order: str = "<") -> bytes:
    """A section with all kinds of blocks: two interfaces, comments, names, statistics, what nobody knows."""
    end, now = bytes(4), 1_700_000_000
    nanoseconds = option(2, b"eth0", order) + option(9, b"\x09", order) + option(11, b"\0ip6", order) + end
    shifted = option(9, b"\x8a", order) + option(14, struct.pack(f"{order}q", now), order) + option(1, b"two", order)
    comment = option(1, b"a comment", order) + option(2, struct.pack(f"{order}I", 1), order) + end
    return b"".join(
        [
            section(order, option(4, b"fuzz", order) + end),
            interface(order, options=nanoseconds),
            enhanced(b"abcdefgh", now * 10**9 + 1, order),
            block(4, struct.pack(f"{order}HH", 1, 6) + b"\x7f\0\0\1a\0" + bytes(6), order),
            interface(order, 101, 12, shifted + end),
            enhanced(b"hello", 3 * 1024 + 512, order, 1, comment),
            old(b"old packet", now * 10**9 + 2, order, 0, option(1, b"old", order) + end),
            simple(b"simple packet", order),
            block(0x0BAD, struct.pack(f"{order}I", 32473) + b"custom", order),
            block(0x4000_0BAD, struct.pack(f"{order}I", 32473) + b"custom too", order),
            enhanced(b"", now * 10**9 + 3, order),
            block(0x7777, b"unknown", order),
            block(5, struct.pack(f"{order}III", 0, 1, 2), order),
        ]
    )


def samples() -> dict[str, bytes]:
    """Small captures of every kind, by name."""
    return {
        "pcap": pcap(),
        "pcap, big-endian": pcap(">"),
        "pcap, nanoseconds": pcap(magic=0xA1B23C4D, network=0x2400_0071),
        "pcap, Kuznetzov": pcap(magic=0xA1B2CD34, more=8),
        "pcap, no packet": pcap(count=0),
        "pcapng": pcapng(),
        "pcapng, big-endian": pcapng(">"),
        "pcapng, sections": pcapng(">") + pcapng() + section() + section(">") + interface(">") + simple(b"x", ">"),
        "pcapng, snapshot": section() + interface(snap_len=8) + simple(b"12345678", length=100) * 3,
        "pcapng, resolutions": _resolutions(),
    }


def _resolutions() -> bytes:
    found, codes = section(), (0, 3, 6, 9, 10, 12, 18, 19, 30, 127, 0x80, 0x8A, 0x9E, 0xA2, 0xA3, 0xBF, 0xFF)
    for number, code in enumerate(codes):
        found += interface(options=option(9, bytes([code])) + option(14, struct.pack("<q", number * 1000)))
        found += b"".join(enhanced(b"x", ticks, number=number) for ticks in (0, 12345, 1 << 52, (1 << 64) - 1))
    return found


def compressed(data: bytes) -> dict[str, bytes]:
    """`data` in each compression whose package is there."""
    found = {"gzip": gzip.compress(data, mtime=0)}
    for name, module in (("zstd", "backports.zstd"), ("zstd", "compression.zstd"), ("lz4", "lz4.frame")):
        try:
            found[name] = import_module(module).compress(data)
        except ImportError:
            continue
    return found


def mutated(rng: random.Random, data: bytes) -> bytes:
    """`data`, damaged in one to four places."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                at -= at % 4
                out[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(INTERESTING))
            case 2:
                del out[at:]
            case 3:
                del out[at : at + rng.randint(1, 40)]
            case 4:
                out[at:at] = out[rng.randrange(len(out) + 1) :][: rng.randint(1, 80)]
            case _:
                out[at : at + 4] = rng.randbytes(4)
    return bytes(out)


def read(pieces: Iterable[bytes]) -> tuple[list[Records], Problem | None]:
    """What a reader makes of a file that comes in these pieces, every other one in a buffer that it takes over."""
    reader, found = CaptureReader(), []
    for number, piece in enumerate(pieces):
        records = reader.take_over(bytearray(FRONT) + piece) if number % 2 else reader.feed(piece)
        if records is not None:
            found.append(records)
    return found, reader.finish()


def packets(chunks: Sequence[Records]) -> list[Packet]:
    """All packets as plain values, and that no column points out of its chunk."""
    found: list[Packet] = []
    for one in chunks:
        if len(one):
            assert one.start.min() >= 0
            assert one.cap_len.min() >= 0
            assert (one.start + one.cap_len).max() <= len(one.data) - PAD
            assert (np.diff(one.start) > 0).all()
            assert one.interface.max() < len(one.interfaces)
        columns = (one.cap_len, one.length, one.time_ns, one.link_type, one.interface)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        found += [(*row, one.packet(number), one.options(number)) for number, row in enumerate(rows)]
    return found


def check(data: bytes, rng: random.Random) -> Problem | None:
    """Read `data` whole and in pieces, write it and read that. Gives what the reader said of it."""
    whole, problem = read([data])
    cuts = [0, *sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(8))), len(data)]
    pieces, same = read([data[a:b] for a, b in pairwise(cuts)])
    found = packets(whole)
    assert (packets(pieces), same) == (found, problem)
    if whole:
        check_written(whole, found)
    return problem


def check_written(chunks: Sequence[Records], found: list[Packet]) -> None:
    """Write the packets as both formats, and read them back."""
    writer = PcapngWriter()
    back, problem = read([b"".join(writer.write(one) for one in chunks)])
    assert problem is None or problem.kind == "foreign", problem
    # ticks finer than a nanosecond, or shifted by a billion years, have none to spare for "no time"
    every = enumerate(chunks[-1].interfaces)
    odd = {number for number, one in every if one.ticks_per_s > 10**9 or abs(one.offset_s) > LAST_S}
    assert _comparable(packets(back), odd) == _comparable(found, odd)
    assert _blocks(back) == _blocks(chunks)
    plain = PcapWriter()
    try:
        again, problem = read([b"".join(plain.write(one) for one in chunks)])
    except UsageError:  # several link types, or times that pcap has no room for
        return
    assert problem is None or problem.kind == "foreign", problem
    assert [one[5] for one in packets(again)] == [one[5] for one in found if one[4] >= 0]


def _comparable(found: list[Packet], odd: set[int]) -> list[Packet]:
    return [(*one[:2], NO_TIME, *one[3:]) if one[4] in odd else one for one in found]


def _blocks(chunks: Sequence[Records]) -> list[tuple[int, int, int, bytes]]:
    pad = [(b, bytes(-len(b.body) % 4)) for one in chunks for b in one.blocks]
    rows = [one.first + b.row for one in chunks for b in one.blocks]
    return [(row, b.section, b.type, b.body + zeros) for row, (b, zeros) in zip(rows, pad, strict=True)]


def check_compressed(data: bytes) -> None:
    """Read `data` as a file that may be compressed and damaged."""
    try:
        packets(list(CaptureFile(io.BytesIO(data), chunk_bytes=64)))
    except UsageError:
        pass


def run(runs: int, seed: int, *, show: bool = False) -> dict[str, int]:
    """Do `runs` of it. Gives how many ended in which outcome."""
    plain, outcomes = list(samples().values()), dict.fromkeys(("whole", "cut", "malformed", "foreign"), 0)
    packed = [one for data in plain for one in compressed(data).values()]
    for number in range(runs):
        rng = random.Random(f"{seed} {number}")
        if show and number % 1000 == 0:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            print(f"\r{number:,} of {runs:,}: {outcomes} ", end="", file=sys.stderr)
        try:
            if number % 10 == 0:
                check_compressed(mutated(rng, rng.choice(packed)))
                continue
            problem = check(mutated(rng, rng.choice(plain)), rng)
        except Exception as error:
            error.add_note(f"run {number} of seed {seed}")
            raise
        outcomes[problem.kind if problem else "whole"] += 1
    faulthandler.cancel_dump_traceback_later()
    return outcomes


if __name__ == "__main__":
    if not all(one.isdigit() for one in sys.argv[1:3]):
        sys.exit(f"usage: {Path(sys.argv[0]).name} [RUNS] [SEED]")
    arguments = [int(one) for one in sys.argv[1:3]] + [1_000_000, 0][len(sys.argv[1:3]) :]
    print(run(arguments[0], arguments[1], show=True))
