"""ARP: addresses of any size, and what a packet is for."""

from __future__ import annotations

from pathlib import Path

from fuzz.packets import ethernet
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.packets.frames import ETHERNET, damaged, dissect, survives, texts, tree, tshark

MINE, THEIRS, NOBODY = bytes.fromhex("0a0b0c0d0e0f"), bytes.fromhex("0a0b0c0d0e01"), bytes(6)


def arp(operation: int, *addresses: bytes, hardware: int = 1, protocol: int = 0x0800, kind: int = 0x0806) -> bytes:
    """A frame with the packet: sender's and target's addresses, each of hardware and protocol."""
    head = hardware.to_bytes(2, "big") + protocol.to_bytes(2, "big") + bytes([len(addresses[0]), len(addresses[1])])
    return ethernet(kind, head + operation.to_bytes(2, "big") + b"".join(addresses) + bytes(18))


ONE, TWO = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
ASKS = arp(1, MINE, ONE, NOBODY, TWO)
ANSWERS = arp(2, THEIRS, TWO, MINE, ONE)
PACKETS = (
    ASKS,
    ANSWERS,
    arp(1, MINE, ONE, NOBODY, ONE),
    arp(1, MINE, ONE, THEIRS, ONE),
    arp(2, MINE, ONE, THEIRS, ONE),
    arp(1, MINE, bytes(4), NOBODY, TWO),
    arp(3, MINE, bytes(4), MINE, bytes(4), kind=0x8035),
    arp(4, THEIRS, TWO, MINE, ONE, kind=0x8035),
    arp(8, MINE, ONE, THEIRS, bytes(4), hardware=15),
    arp(9, MINE, ONE, THEIRS, TWO),
    arp(77, MINE, ONE, THEIRS, TWO),
)
ODD = (arp(1, b"\1\2\3\4", b"\5\6", b"\1\2\3\5", b"\5\7", hardware=7, protocol=0x0801), arp(1, b"", b"", b"", b""))
FIELDS = (
    "arp.hw.type",
    "arp.proto.type",
    "arp.hw.size",
    "arp.proto.size",
    "arp.opcode",
    "arp.isgratuitous",
    "arp.isprobe",
    "arp.isannouncement",
    "arp.src.hw_mac",
    "arp.src.hw",
    "arp.src.proto_ipv4",
    "arp.src.proto",
    "arp.dst.hw_mac",
    "arp.dst.proto_ipv4",
    "arp.dst.proto",
    "eth.padding",
)


def test_as_tshark(tmp_path: Path) -> None:
    every = (*PACKETS, *ODD)
    assert texts(ETHERNET, every, FIELDS) == tshark(tmp_path, ETHERNET, every, FIELDS)


def test_columns_as_tshark(tmp_path: Path) -> None:
    columns = ("_ws.col.Protocol", "_ws.col.Info")
    some = (*PACKETS[:8], PACKETS[10])
    ours, theirs = texts(ETHERNET, some, columns), tshark(tmp_path, ETHERNET, some, columns)
    # tshark also remembers who had an address before.
    assert ours == [[protocol, info.split(" (duplicate use")[0]] for protocol, info in theirs]


def test_addresses_of_other_sizes() -> None:
    found = dissect(ETHERNET, ODD, ("arp.src.hw", "arp.src.proto", "arp.src.hw_mac", "arp.src.proto_ipv4"))
    assert found["arp.src.hw"] == [[b"\1\2\3\4"], []]
    assert found["arp.src.proto"] == [[b"\5\6"], []]
    assert found["arp.src.hw_mac"] == found["arp.src.proto_ipv4"] == [[], []]


def test_tree() -> None:
    lines = tree(ETHERNET, ASKS)
    assert "Address Resolution Protocol (request)" in lines
    assert "    Opcode: request (1)" in lines
    assert "    Sender IP address: 10.0.0.1" in lines


def test_cut_anywhere() -> None:
    survives(ETHERNET, ASKS[:42])


@settings(max_examples=15)
@given(st.sampled_from(PACKETS), st.lists(st.tuples(st.integers(12, 41), st.integers(0, 255)), max_size=4))
def test_damaged(packet: bytes, places: list[tuple[int, int]]) -> None:
    damaged(ETHERNET, packet, places)
