"""Feed the dissection with mutated packets until told to stop, or a million of them.

    python -m fuzz.packets [RUNS=1000000] [SEED=0]

Packets come from the captures of ECHOWIRE_CAPTURES, where that is set, and from a handful made here. Each is damaged
in one to four places, or cut; a few hundred at a time become a chunk, of which every field, some trees, the packet list
and lines of cells are made. Any exception is a finding, as are a value without a packet, and a minute without
progress; the seed and the chunk's number make it again. The tests run a few hundred of the same.
"""

from __future__ import annotations

import faulthandler
import os
import random
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from echowire.core.captures.records import Interface, Records
from echowire.core.packets.cells import lines
from echowire.core.packets.dissect import Dissector, Packets, first_of_each
from echowire.core.packets.packet_list import packet_list
from echowire.core.packets.registry import registry
from echowire.core.views.tree import Trees
from echowire.kernel.captures.files import read_records
from fuzz.capture_files import mutated

HANG_S = 60
CHUNK = 500
"""Packets that are dissected at once."""

TREES = 5
"""One packet of so many is shown as a tree, which takes longest."""

MAX_SEED_BYTES = 2000
"""Of a packet that is damaged: what goes wrong goes wrong at the beginning."""

PER_FILE = 40
"""Packets taken of each capture."""

MAX_SEED_FILE_BYTES = 200_000

Packet = tuple[int, bytes]
"""A link type, and the bytes."""


def ipv4(protocol: int, payload: bytes, options: bytes = b"") -> bytes:
    """An IPv4 packet."""
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, 4 * words + len(payload), 1, 0x4000, 64, protocol, 0)
    return head + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + options + payload


def ipv6(next_header: int, payload: bytes) -> bytes:
    """An IPv6 packet."""
    return (
        struct.pack(">IHBB", 6 << 28, len(payload), next_header, 64) + bytes(15) + b"\1" + bytes(15) + b"\2" + payload
    )


def udp(port: int, payload: bytes) -> bytes:
    """A UDP datagram from `port`."""
    return struct.pack(">HHHH", port, 40000, 8 + len(payload), 0) + payload


def tcp(port: int, payload: bytes, flags: int = 0x18, options: bytes = b"") -> bytes:
    """A TCP segment to `port`."""
    offset = (5 + len(options) // 4) << 4
    return struct.pack(">HHIIBBHHH", 40000, port, 1000, 2000, offset, flags, 500, 0, 0) + options + payload


def ethernet(kind: int, payload: bytes) -> bytes:
    """An Ethernet frame."""
    return bytes(range(12)) + struct.pack(">H", kind) + payload


def made_here() -> list[Packet]:
    """A packet of each kind that matters, so that the fuzzer needs no captures."""
    dns = (
        bytes.fromhex("2d6d81800001000100000000")
        + b"\3www\7example\0\0\1\0\1"
        + bytes.fromhex("c00c000100010000003c00047f000001")
    )
    options = bytes.fromhex("020405b4 0402080a0000000100000002 01 030307".replace(" ", ""))
    request = b"GET /index.html HTTP/1.1\r\nHost: example.org\r\nUser-Agent: x\r\n\r\n"
    quoted = ipv4(17, udp(53, dns))
    over_ip = [
        ipv4(17, udp(53, dns)),
        ipv4(6, tcp(80, request)),
        ipv4(6, tcp(80, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", options=options)),
        ipv4(6, tcp(443, b"", flags=2, options=options)),
        ipv4(1, bytes.fromhex("0800f7ff00010001") + b"abcdefgh"),
        ipv4(1, bytes.fromhex("0301000000000000") + quoted),
        ipv4(2, bytes.fromhex("1164ee9be0000001")),
        ipv4(4, ipv4(47, bytes.fromhex("00000800") + quoted)),
        ipv4(17, udp(4789, bytes.fromhex("0800000000000100") + ethernet(0x0800, quoted))),
        ipv4(17, udp(123, bytes.fromhex("240200e8") + bytes(44))),
        ipv4(17, udp(520, bytes.fromhex("02020000000200000a000000ff0000000000000000000001"))),
        ipv4(17, udp(67, bytes.fromhex("01010600") + bytes(232) + bytes.fromhex("638253633501010c0161ff"))),
        ipv4(
            132,
            bytes.fromhex("0050138800000001000000000300001000000001000000640000000000030007000000010000000061626300"),
        ),
        ipv4(17, udp(7, b"echo"), options=bytes.fromhex("94040000")),
    ]
    over_ip += [
        ipv6(0, bytes.fromhex("3a00050200000000") + bytes.fromhex("8700000000000000") + bytes(16) + b"\1\1abcdef"),
        ipv6(17, udp(5353, dns)),
        ipv6(44, bytes.fromhex("1100000000000001") + udp(69, b"\0\1file\0octet\0")),
    ]
    frames = [ethernet(0x86DD if one[0] >> 4 == 6 else 0x0800, one) for one in over_ip]
    frames += [
        ethernet(0x8100, bytes.fromhex("00058847") + bytes.fromhex("000641ff") + quoted),
        ethernet(0x0806, bytes.fromhex("0001080006040001") + bytes(20)),
        ethernet(0x8864, bytes.fromhex("11000001") + struct.pack(">HH", len(quoted) + 2, 0x21) + quoted),
        ethernet(38, bytes.fromhex("424203") + bytes(35)),
    ]
    return [
        *((1, one) for one in frames),
        *((101, one) for one in over_ip),
        (113, bytes.fromhex("00000001000600010203040500000800") + quoted),
        (276, bytes.fromhex("0800000000000001000100060001020304050000") + quoted),
        (0, bytes.fromhex("02000000") + quoted),
        (9, bytes.fromhex("ff030021") + quoted),
        (105, bytes.fromhex("08000000") + bytes(18) + bytes.fromhex("0000aaaa030000000800") + quoted),
        (127, bytes.fromhex("0000080000000000") + bytes.fromhex("80000000") + bytes(32) + b"\0\3abc"),
    ]


def captured() -> list[Packet]:
    """Some packets of each capture of ECHOWIRE_CAPTURES."""
    folder = os.environ.get("ECHOWIRE_CAPTURES")
    found: list[Packet] = []
    for path in sorted(Path(folder, "dev").rglob("*")) if folder else ():
        if path.is_file() and path.suffix != ".md" and path.stat().st_size <= MAX_SEED_FILE_BYTES:
            file = read_records(path)
            for records in file:
                some = range(0, len(records), max(1, len(records) // PER_FILE))
                found += [(int(records.link_type[row]), records.packet(row)[:MAX_SEED_BYTES]) for row in some]
            file.close()
    return found


def records_of(packets: Sequence[Packet], first: int = 1) -> Records:
    """A chunk of packets of several link types."""
    links = sorted({link for link, _ in packets})
    return Records.of(
        [data for _, data in packets],
        [1_700_000_000_000_000_000 + number for number in range(len(packets))],
        length=[len(data) + (len(data) % 3 == 0) * 10 for _, data in packets],
        interface=[links.index(link) for link, _ in packets],
        interfaces=[Interface(link_type=link, resolution=9) for link in links],
        first=first,
    )


def check(packets: Packets) -> None:
    """Ask for all that can be asked of a chunk."""
    known = registry().fields
    columns = []
    for name in known:
        values = packets.values(name)
        assert len(values.rows) == len(values.values)
        if len(values.rows):
            assert values.rows.min() >= 0
            assert values.rows.max() < len(packets)
            assert (values.rows[1:] >= values.rows[:-1]).all()
        columns.append((known[name][0][1], first_of_each(values)))
    text = lines(columns, len(packets))
    assert text.count(b"\n") == len(packets)
    assert len(packet_list(packets.layers).texts([""] * len(packets))) == len(packets)
    trees = Trees(packets.layers)
    for row in range(0, len(packets), TREES):
        for node in trees.of(row):
            for _, line in node.walk():
                if line.at is not None:
                    assert line.at >= 0, line
                    assert line.size >= 0, line


def run(runs: int, seed: int, *, seeds: Sequence[Packet] | None = None, show: bool = False) -> int:
    """Dissect `runs` damaged packets. Gives how many layers were found."""
    whole = [*made_here(), *captured()] if seeds is None else seeds
    layers = 0
    for chunk in range(-(-runs // CHUNK)):
        rng = random.Random(f"{seed} {chunk}")
        if show:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            if chunk % 2 == 0:
                print(f"\r{chunk * CHUNK:,} of {runs:,}: {layers:,} layers ", end="", file=sys.stderr)
        packets = []
        for _ in range(CHUNK):
            link, data = rng.choice(whole)
            packets.append((link, mutated(rng, data) if rng.random() < 0.9 else data[: rng.randrange(len(data) + 1)]))
        try:
            found = Dissector(None).dissect(records_of(packets))
            check(found)
            layers += len(found.layers)
        except Exception as error:
            error.add_note(f"chunk {chunk} of seed {seed}")
            raise
    faulthandler.cancel_dump_traceback_later()
    return layers


if __name__ == "__main__":
    if not all(one.isdigit() for one in sys.argv[1:3]):
        sys.exit(f"usage: {Path(sys.argv[0]).name} [RUNS] [SEED]")
    arguments = [int(one) for one in sys.argv[1:3]] + [1_000_000, 0][len(sys.argv[1:3]) :]
    print(run(arguments[0], arguments[1], show=True))
