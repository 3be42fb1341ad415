"""Dissecting packets at hand in tests: what was found, what tshark finds, and that damage brings nothing down."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fuzz.packets import check

from echowire.core.captures.records import Interface, Records
from echowire.core.packets.cells import strings
from echowire.core.packets.dissect import Dissector, Packets, first_of_each
from echowire.core.packets.registry import registry
from echowire.core.views.tree import Trees

ETHERNET = 1
START_NS = 1_700_000_000_000_000_000
"""When the first packet came; each comes a millisecond after the one before."""


def records_of(link_type: int, packets: Sequence[bytes], length: Sequence[int] | None = None) -> Records:
    """A chunk of packets of one link type."""
    times = [START_NS + 1_000_000 * number for number in range(len(packets))]
    return Records.of(packets, times, length=length, interfaces=(Interface(link_type=link_type, resolution=9),))


def dissect(
    link_type: int, packets: Sequence[bytes], fields: Sequence[str], length: Sequence[int] | None = None
) -> dict[str, list[list[Any]]]:
    """For each field a list a packet: all its values there, addresses and times as numbers."""
    found = Dissector(fields).dissect(records_of(link_type, packets, length))
    return {name: _by_packet(found, name) for name in fields}


def _by_packet(packets: Packets, name: str) -> list[list[Any]]:
    out: list[list[Any]] = [[] for _ in range(len(packets))]
    values = packets.values(name)
    column: list[Any] = [row.tobytes() for row in values.values] if values.values.ndim > 1 else values.values.tolist()
    for row, value in zip(values.rows.tolist(), column, strict=True):
        out[row].append(value)
    return out


def texts(link_type: int, packets: Sequence[bytes], fields: Sequence[str]) -> list[list[str]]:
    """A row a packet: the first value of each field as text, empty where there is none."""
    found = Dissector(fields).dissect(records_of(link_type, packets))
    out = [[""] * len(fields) for _ in packets]
    for number, name in enumerate(fields):
        values = first_of_each(found.values(name))
        field = registry().fields[name][0][1]
        for row, text in zip(values.rows.tolist(), strings(field, values.values).tolist(), strict=True):
            out[row][number] = text
    return out


def tree(link_type: int, packet: bytes) -> list[str]:
    """The lines of a packet's details, four spaces a level."""
    found = Dissector(None).dissect(records_of(link_type, [packet]))
    trees = Trees(found.layers)
    return ["    " * level + node.text for top in trees.of(0) for level, node in top.walk()]


def capture(link_type: int, packets: Sequence[bytes], length: Sequence[int] | None = None) -> bytes:
    """A pcap file of the packets, with times in nanoseconds."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, link_type)]
    for number, packet in enumerate(packets):
        seconds, rest = divmod(START_NS + 1_000_000 * number, 1_000_000_000)
        wire = len(packet) if length is None else length[number]
        out += [struct.pack("<IIII", seconds, rest, len(packet), wire), packet]
    return b"".join(out)


def tshark(path: Path, link_type: int, packets: Sequence[bytes], fields: Sequence[str]) -> list[list[str]]:
    """What tshark says, in the form of `texts`. Skips without it."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    file = path / f"{link_type}.pcap"
    file.write_bytes(capture(link_type, packets))
    options = ("ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE")
    command = ["tshark", "-n", "-r", str(file), *(word for one in options for word in ("-o", one)), "-T", "fields"]
    command += ["-E", "occurrence=f", *(word for name in fields for word in ("-e", name))]
    answer = subprocess.run(command, capture_output=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"})
    return [line.split("\t") for line in answer.stdout.decode().split("\n")[:-1]]


def survives(link_type: int, *packets: bytes) -> None:
    """Cut each packet at every byte, as a capture does and as a liar does, and ask for all that can be asked."""
    for packet in packets:
        cut = [packet[:size] for size in range(len(packet) + 1)]
        for length in ([len(packet)] * len(cut), None):
            check(Dissector(None).dissect(records_of(link_type, cut, length)))


def damaged(link_type: int, packet: bytes, places: Sequence[tuple[int, int]]) -> None:
    """Write bytes over a packet, each at its place, and ask for all that can be asked."""
    changed = bytearray(packet)
    for place, value in places:
        changed[place % len(changed)] = value
    check(Dissector(None).dissect(records_of(link_type, [bytes(changed)])))
