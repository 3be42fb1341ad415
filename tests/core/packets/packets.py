"""Packets made by hand for the tests of protocols, what we say of them, and what tshark does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from struct import pack

import pytest
from fuzz.packets import check, run

from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.records import Interface, Records
from echowire.core.packets.cells import strings
from echowire.core.packets.dissect import Dissector
from echowire.core.packets.registry import registry
from echowire.core.views.tree import Trees

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
EPOCH_NS = 1_600_000_000_000_000_000
"""When the first packet was captured; each other comes a second later."""

Texts = dict[str, list[list[str]]]
"""Of each field, for each packet, the text of all its occurrences."""


def _frame(protocol: int, transport: bytes, source: str, destination: str) -> bytes:
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    head = pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 1, 0, 64, protocol, 0) + addresses
    return bytes(6) + b"\2\0\0\0\0\1" + b"\x08\0" + head + transport


def datagram(payload: bytes, destination: int, source: int = 40000, *, host: str = CLIENT, to: str = SERVER) -> bytes:
    """An Ethernet frame with a UDP datagram, from the client to the server if nothing else is said."""
    return _frame(17, pack(">HHHH", source, destination, 8 + len(payload), 0) + payload, host, to)


def answer(payload: bytes, source: int, destination: int = 40000) -> bytes:
    """A UDP datagram from the server to the client."""
    return datagram(payload, destination, source, host=SERVER, to=CLIENT)


def _tcp(source: int, destination: int, sequence: int, acknowledged: int, payload: bytes) -> bytes:
    return pack(">HHIIBBHHH", source, destination, sequence, acknowledged, 0x50, 0x18, 500, 0, 0) + payload


def segment(
    payload: bytes, destination: int, source: int = 40000, *, sequence: int = 1, acknowledged: int = 1
) -> bytes:
    """An Ethernet frame with a TCP segment, from the client to the server."""
    return _frame(6, _tcp(source, destination, sequence, acknowledged, payload), CLIENT, SERVER)


def answered(
    payload: bytes, source: int, destination: int = 40000, *, sequence: int = 1, acknowledged: int = 1
) -> bytes:
    """A TCP segment from the server to the client."""
    return _frame(6, _tcp(source, destination, sequence, acknowledged, payload), SERVER, CLIENT)


def in_order(segments: Sequence[bytes]) -> list[bytes]:
    """Segments of a conversation with sequence numbers that go on, so that none repeats another."""
    following: dict[bytes, int] = {}
    numbered = []
    for one in segments:
        end, size = one[34:36], len(one) - 54
        sequence = following.get(end, 1)
        following[end] = sequence + size
        numbered.append(one[:38] + pack(">I", sequence) + one[42:])
    return numbered


def records_of(packets: Sequence[bytes], *, kept: Sequence[int] | None = None, first: int = 1) -> Records:
    """Packets as a chunk of Ethernet, a second apart; of each `kept` bytes were captured, None for all."""
    sizes = kept or [len(one) for one in packets]
    return Records.of(
        [one[:size] for one, size in zip(packets, sizes, strict=True)],
        [EPOCH_NS + (first - 1 + number) * 1_000_000_000 for number in range(len(packets))],
        length=[len(one) for one in packets],
        interfaces=[Interface(1, resolution=9)],
        first=first,
    )


def fields_of(*prefixes: str) -> list[str]:
    """All fields under these names, but for the parts that are protocols of their own here."""
    known, under = registry(), tuple(f"{one}." for one in prefixes)
    return [name for name in known.fields if name.startswith(under) and name not in known.protocols]


def dissect(packets: Sequence[bytes], fields: Sequence[str], *, chunk: int = 1000) -> Texts:
    """What we say of packets, read in chunks."""
    found: Texts = {name: [[] for _ in packets] for name in fields}
    dissector = Dissector(fields)
    for at in range(0, len(packets), chunk):
        chunk_found = dissector.dissect(records_of(packets[at : at + chunk], first=at + 1))
        for name in fields:
            values = chunk_found.values(name)
            texts = strings(registry().fields[name][0][1], values.values)
            for row, text in zip(values.rows.tolist(), texts.tolist(), strict=True):
                found[name][at + row].append(text)
    return found


def tree_of(packet: bytes) -> list[str]:
    """The lines of a packet's tree, indented by their depth."""
    found = Dissector(None).dissect(records_of([packet]))
    return [f"{'  ' * level}{node.text}" for top in Trees(found.layers).of(0) for level, node in top.walk()]


def by_tshark(folder: Path, packets: Sequence[bytes], fields: Sequence[str]) -> Texts:
    """What tshark says of the same packets. Skips where there is no tshark."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    file = folder / "packets.pcap"
    file.write_bytes(PcapWriter().write(records_of(packets)))
    command = [
        tshark,
        "-n",
        "-r",
        str(file),
        "-T",
        "fields",
        "-E",
        "aggregator=~",
        "-o",
        "tcp.desegment_tcp_streams:FALSE",
    ]
    wanted = [part for name in fields for part in ("-e", name)]
    done = subprocess.run([*command, *wanted], capture_output=True, check=True, timeout=60)
    found: Texts = {name: [] for name in fields}
    for row in done.stdout.decode().split("\n")[:-1]:
        for name, cell in zip(fields, row.split("\t"), strict=True):
            found[name].append([{"True": "1", "False": "0"}.get(one, one) for one in cell.split("~")] if cell else [])
    return found


def differences(ours: Texts, theirs: Texts) -> list[str]:
    """Where two disagree, other than in how a number is written."""
    return [
        f"packet {number + 1} {name}: {mine} here, {other} by tshark"
        for name in ours
        for number, (mine, other) in enumerate(zip(ours[name], theirs[name], strict=True))
        if _plain_texts(mine) != _plain_texts(other)
    ]


def _plain_texts(texts: list[str]) -> list[str]:
    """Texts without those of nothing, which tshark prints in several ways."""
    plain = [_plain(one) for one in texts]
    return [one for one in plain if one not in ("", "<MISSING>", "NULL", "Jan  1, 1970 00:00:00.000000000 UTC")]


def _plain(text: str) -> str:
    try:
        return str(int(text, 0))
    except ValueError:
        pass
    try:
        return f"{float(text):.6f}"
    except ValueError:
        return text


def assert_as_tshark(
    folder: Path, packets: Sequence[bytes], *prefixes: str, but: Collection[str] = (), list_too: bool = True
) -> None:
    """All fields under `prefixes`, and the packet list's columns Protocol and Info, are as tshark has them."""
    fields = [name for name in fields_of(*prefixes) if name not in but]
    fields += ["_ws.col.Protocol", "_ws.col.Info"] if list_too else []
    wrong = differences(dissect(packets, fields), by_tshark(folder, packets, fields))
    assert not wrong, "\n".join(wrong)


def assert_bounded(*packets: bytes) -> None:
    """Cut at every byte and damaged in many ways, packets are still read, listed and shown."""
    for packet in packets:
        kept = range(34, len(packet))
        check(Dissector(None).dissect(records_of([packet] * len(kept), kept=kept)))
    run(50, 1, seeds=[(1, packet) for packet in packets])
