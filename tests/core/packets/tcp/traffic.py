"""TCP traffic made by hand and at random, what we say of it, and what tshark says."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from echowire.core.captures.records import Interface, Records
from echowire.core.packets.cells import lines
from echowire.core.packets.dissect import Dissector, first_of_each
from echowire.core.packets.registry import registry

RAW_IP = 101
START_NS = 1_700_000_000_000_000_000
CLIENT, SERVER = b"\x0a\0\0\1", b"\x0a\0\0\2"

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

TSHARK = [
    *("tshark", "-n", "-o", "ip.defragment:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE"),
    *("-T", "fields", "-E", "occurrence=f"),
]


class Step(NamedTuple):
    """A segment: from which end, its numbers, and when."""

    up: bool
    seq: int
    ack: int
    flags: int
    size: int = 0
    window: int = 1000
    options: bytes = b""
    time_us: int = 0
    port: int = 1000


def ipv4(protocol: int, transport: bytes, source: bytes = CLIENT, destination: bytes = SERVER) -> bytes:
    """A packet of raw IP."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 1, 0, 64, protocol, 0)
    return head + source + destination + transport


def ipv6(protocol: int, transport: bytes) -> bytes:
    """The same of IPv6."""
    return (
        struct.pack(">IHBB", 6 << 28, len(transport), protocol, 64) + bytes(15) + b"\1" + bytes(15) + b"\2" + transport
    )


def tcp(
    source: int,
    destination: int,
    seq: int = 1,
    ack: int = 1,
    flags: int = ACK,
    *,
    window: int = 1000,
    options: bytes = b"",
    payload: bytes = b"",
    urgent: int = 0,
) -> bytes:
    """A segment; its options are padded with the end of the list."""
    options += bytes(-len(options) % 4)
    offset = (20 + len(options)) // 4 << 12
    head = struct.pack(">HHIIHHHH", source, destination, seq, ack, offset | flags, window, 0, urgent)
    return head + options + payload


def packet(step: Step) -> bytes:
    """A step as a packet of raw IP; the server's port is 5000, of no known protocol."""
    ends = (CLIENT, SERVER) if step.up else (SERVER, CLIENT)
    ports = (step.port, 5000) if step.up else (5000, step.port)
    numbers = step.seq & 0xFFFFFFFF, step.ack & 0xFFFFFFFF
    payload = b"x" * step.size
    segment = tcp(*ports, *numbers, step.flags, window=step.window, options=step.options, payload=payload)
    return ipv4(6, segment, *ends)


def records(packets: Sequence[bytes], time_us: Sequence[int] | None = None, first: int = 1) -> Records:
    """A chunk of packets, a millisecond apart if no times are given."""
    times = range(1000 * (first - 1), 1000 * (first - 1 + len(packets)), 1000) if time_us is None else time_us
    interfaces = (Interface(link_type=RAW_IP, resolution=6),)
    return Records.of(packets, [START_NS + 1000 * one for one in times], interfaces=interfaces, first=first)


def said(
    packets: Sequence[bytes], fields: Sequence[str], time_us: Sequence[int] | None = None, *, chunk: int = 0
) -> list[list[str]]:
    """The first value of each field as text, a row a packet; read in chunks of so many packets, 0 for one."""
    dissector, out = Dissector(fields), []
    size = chunk or max(len(packets), 1)
    for at in range(0, len(packets), size):
        part = records(packets[at : at + size], None if time_us is None else time_us[at : at + size], at + 1)
        found = dissector.dissect(part)
        columns = [(registry().fields[name][0][1], first_of_each(found.values(name))) for name in fields]
        out += [line.split("\t") for line in lines(columns, len(part)).decode().split("\n")[:-1]]
    return out


def write_pcap(path: Path, packets: Sequence[bytes], time_us: Sequence[int] | None = None) -> None:
    """The same packets as a file."""
    part = records(packets, time_us)
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, RAW_IP)]
    for one, time_ns in zip(packets, part.time_ns.tolist(), strict=True):
        out += [struct.pack("<IIII", *divmod(time_ns // 1000, 1_000_000), len(one), len(one)), one]
    path.write_bytes(b"".join(out))


def tshark_says(
    path: Path, packets: Sequence[bytes], fields: Sequence[str], time_us: Sequence[int] | None = None
) -> list[list[str]]:
    """What tshark says of them."""
    if shutil.which("tshark") is None:
        pytest.skip("no tshark here")
    write_pcap(path, packets, time_us)
    command = [*TSHARK, "-r", str(path), *(word for name in fields for word in ("-e", name))]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return [line.split("\t") for line in done.stdout.split("\n")[:-1]]


def differences(
    packets: Sequence[bytes], fields: Sequence[str], ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]
) -> list[tuple[int, str, str, str]]:
    """Frame, field, ours, tshark's, where they differ; of a field that only is there or not, that alone counts."""
    assert len(ours) == len(theirs) == len(packets)
    return [
        (frame, name, one, other)
        for frame, (mine, its) in enumerate(zip(ours, theirs, strict=True), 1)
        for name, one, other in zip(fields, mine, its, strict=True)
        if one != other and not (one and other and (one == "1" or _number(one) == _number(other) is not None))
    ]


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def timestamps(value: int) -> bytes:
    """The option, with two NOPs before it."""
    return b"\1\1\x08\x0a" + struct.pack(">II", value, value)


def sack(*blocks: tuple[int, int]) -> bytes:
    """The option, with two NOPs before it."""
    edges = b"".join(struct.pack(">II", low & 0xFFFFFFFF, high & 0xFFFFFFFF) for low, high in blocks)
    return b"\1\1\5" + bytes([2 + len(edges)]) + edges


def handshake(rng: random.Random, client: int, server: int, port: int) -> Iterator[Step]:
    """Three segments, with or without window scaling."""
    scale = rng.choice([b"", b"\1\3\3" + bytes([rng.randrange(9)])])
    reply = scale if rng.random() < 0.8 else b""
    yield Step(True, client, 0, SYN, window=rng.choice([1000, 64240]), options=b"\2\4\5\xb4" + scale, port=port)
    yield Step(False, server, client + 1, SYN | ACK, window=2000, options=b"\2\4\5\xb4" + reply, port=port)
    yield Step(True, client + 1, server + 1, ACK, port=port)


def talk(rng: random.Random, port: int, disorder: float) -> Iterator[Step]:
    """One conversation: data both ways, and with the probability `disorder` something that is not in order."""
    client, server = rng.getrandbits(32) or 1, rng.choice([rng.getrandbits(32), 0xFFFFFFFF - rng.randrange(3000)])
    if rng.random() < 0.8:
        yield from handshake(rng, client, server, port)
    sent = {True: client + 1, False: server + 1}
    acked = dict(sent)
    windows = {True: 1000, False: 1000}
    history: list[Step] = []
    for _ in range(rng.randrange(2, 40)):
        up = rng.random() < 0.6
        size = rng.choice([0, 0, 1, 10, 100, 1000])
        flags = ACK | (PSH if size and rng.random() < 0.3 else 0)
        options = timestamps(7) if rng.random() < 0.3 else b""
        if rng.random() < 0.3:
            windows[up] = rng.choice([0, 10, 500, 1000, 2000]) if rng.random() < disorder else rng.randrange(500, 2000)
        if rng.random() < 0.8:
            acked[up] = sent[not up]
        seq, ack = sent[up], acked[up]
        if rng.random() < disorder:
            kind = rng.randrange(9)
            if kind == 0:
                sent[up] = seq = seq + rng.randrange(2000)  # lost
            elif kind == 1 and history:
                seq, size = history[-1].seq, history[-1].size  # again, perhaps of the other side
            elif kind == 2 and history:
                old = rng.choice(history)
                up, seq, size, ack = old.up, old.seq, old.size, old.ack
            elif kind == 3:
                seq, size = seq - 1, rng.choice([0, 1])  # keep-alive
            elif kind == 4:
                ack += rng.randrange(3000)  # of what was not seen
            elif kind == 5:
                flags |= rng.choice([FIN, RST, SYN, RST | FIN])
            elif kind == 6:
                flags &= ~ACK
                ack = rng.choice([0, ack])
            elif kind == 7:
                low = sent[not up] - rng.randrange(3000)
                options = sack((low, low + rng.randrange(2000)), (low + 5000, low + 6000))
            else:
                seq, size = seq - rng.randrange(1500), rng.randrange(1500)
        step = Step(up, seq, ack, flags, size, windows[up], options, port=port)
        yield step
        history.append(step)
        following = seq + size + bool(flags & (SYN | FIN))
        if (following - sent[up]) & 0xFFFFFFFF < 1 << 31:
            sent[up] = following
    if rng.random() < 0.5:
        yield Step(True, sent[True], sent[False], FIN | ACK, port=port)
        yield Step(False, sent[False], sent[True] + 1, FIN | ACK, port=port)
        yield Step(True, sent[True] + 1, sent[False] + 1, ACK, port=port)


def traffic(seed: int, talks: int, disorder: float) -> list[Step]:
    """Conversations side by side, some on the ports of one before, each step with its time."""
    rng = random.Random(seed)
    queues = [list(talk(rng, rng.choice([1000 + number, 1000 + number // 3]), disorder)) for number in range(talks)]
    steps, now = [], 0
    while any(queues):
        queue = rng.choice([one for one in queues[:6] if one] or [one for one in queues if one])
        for _ in range(rng.randrange(1, 5)):
            if queue:
                now += rng.choice([1, 50, 800, 2500, 30_000])
                steps.append(queue.pop(0)._replace(time_us=now))
        queues = [one for one in queues if one]
    return steps
