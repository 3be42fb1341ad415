"""SCTP: header, chunks and what they carry, of packets made by hand, and tshark's answers."""

from __future__ import annotations

import struct
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets.dissect import Dissector
from echowire.core.packets.registry import registry
from tests.core.packets.tcp.traffic import CLIENT, SERVER, differences, ipv4, records, said, tshark_says

SCTP = 132
FIELDS = [one.name for one in registry().protocols["sctp"].fields if not one.either]


def chunk(kind: int, flags: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, flags, 4 + len(value)) + value + bytes(-len(value) % 4)


def packet(*chunks: bytes, up: bool = True) -> bytes:
    ports = (4000, 5000) if up else (5000, 4000)
    ends = (CLIENT, SERVER) if up else (SERVER, CLIENT)
    return ipv4(SCTP, struct.pack(">HHII", *ports, 0x11223344, 0x55667788) + b"".join(chunks), *ends)


def data(tsn: int, payload: bytes, flags: int = 3) -> bytes:
    return chunk(0, flags, struct.pack(">IHHI", tsn, 1, 2, 0) + payload)


PACKETS = [
    packet(chunk(1, 0, struct.pack(">IIHHI", 7, 65535, 10, 11, 1000))),
    packet(chunk(2, 0, struct.pack(">IIHHI", 8, 4096, 12, 13, 9000)), up=False),
    packet(chunk(10, 0, b"cookie")),
    packet(chunk(11, 0, b""), up=False),
    packet(data(1000, b"hello"), data(1001, b"part", 2)),
    packet(chunk(3, 0, struct.pack(">IIHHHHI", 1000, 4096, 1, 1, 2, 3, 1000)), up=False),
    packet(chunk(7, 0, struct.pack(">I", 9000))),
    packet(chunk(8, 0, b""), up=False),
    packet(chunk(14, 0, b"")),
]


def test_all_is_tsharks(tmp_path: Path) -> None:
    theirs = tshark_says(tmp_path / "a.pcap", PACKETS, FIELDS)
    assert differences(PACKETS, FIELDS, said(PACKETS, FIELDS), theirs) == []
    assert said(PACKETS, ["_ws.col.info"])[0] == ["INIT "]
    assert said(PACKETS, ["_ws.col.info"])[5] == ["SACK (Ack=0, Arwnd=4096) "]


def test_only_whole_messages_are_handed_on() -> None:
    assert said(PACKETS[4:5], ["data.data", "data.len"]) == [[b"hello".hex(), "5"]]


def test_every_cut_keeps_what_was_there() -> None:
    for size in range(20, len(PACKETS[5])):
        found = Dissector(FIELDS).dissect(records([PACKETS[5][:size]]))
        assert len(found.values("sctp.srcport").rows) == (size >= 32)  # Wireshark shows no header that is cut


@given(st.binary(max_size=60))
@settings(max_examples=40)
def test_chunks_of_any_bytes_bring_nothing_down(chunks: bytes) -> None:
    found = Dissector(FIELDS).dissect(records([packet(chunks)]))
    assert found.values("sctp.srcport").values.tolist() == [4000]
