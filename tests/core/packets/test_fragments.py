"""IP fragments joined: in any order, twice, overlapping, incomplete, across chunks, and never more than is allowed."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest
from fuzz.packets import check, ipv4, ipv6, udp
from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets import fragments
from echowire.core.packets.dissect import Dissector
from echowire.core.packets.fragments import MAX_PENDING, _Pending
from tests.core.packets.frames import capture, records_of, tshark

RAW = 101
DATA = bytes(range(40))
DATAGRAM = udp(9999, DATA)


def parts(datagram: bytes = DATAGRAM, *, size: int = 16, ident: int = 7) -> list[bytes]:
    """A datagram in fragments of IPv4."""
    found = []
    for at in range(0, len(datagram), size):
        packet = bytearray(ipv4(17, datagram[at : at + size]))
        packet[4:8] = struct.pack(">HH", ident, at // 8 | (0x2000 if at + size < len(datagram) else 0))
        found.append(bytes(packet))
    return found


def parts_6(datagram: bytes = DATAGRAM, *, size: int = 16) -> list[bytes]:
    """The same of IPv6."""
    return [
        ipv6(44, struct.pack(">BBHI", 17, 0, at | (at + size < len(datagram)), 99) + datagram[at : at + size])
        for at in range(0, len(datagram), size)
    ]


def joined(*chunks: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """The payload of each datagram, and the packet that it was found in, from 1."""
    dissector, found, first = Dissector(["data.data", "udp.srcport"], defragment=True), [], 1
    for chunk in chunks:
        records = records_of(RAW, chunk)
        values = dissector.dissect(records).values("data.data")
        found += [
            (first + row, data)
            for row, data in zip(values.rows.tolist(), values.values.tolist(), strict=True)
            if data == DATA or data == DATA[::-1]
        ]
        first += len(chunk)
    return found


@pytest.mark.parametrize("some", [parts(), parts_6()], ids=["IPv4", "IPv6"])
def test_fragments_in_any_order(some: list[bytes]) -> None:
    assert len(some) == 3
    for order in permutations(some):
        assert joined(order) == [(3, DATA)]
        assert joined(order[:1], order[1:]) == [(3, DATA)]


def test_two_datagrams_at_once_are_told_apart() -> None:
    one, other = parts(ident=1), parts(udp(9999, DATA[::-1]), ident=2)
    mixed = [packet for pair in zip(one, other, strict=True) for packet in pair]
    assert joined(mixed) == [(5, DATA), (6, DATA[::-1])]


def test_a_fragment_that_comes_twice_is_one() -> None:
    first, second, third = parts()
    assert joined([first, second, first, second, third]) == [(5, DATA)]


def test_an_incomplete_datagram_is_none() -> None:
    first, second, third = parts()
    assert joined([first, third]) == []
    assert joined([first, second]) == []
    assert joined([first, second, first]) == []


def test_overlapping_fragments_are_not_joined() -> None:
    first, second, third = parts()
    forged = bytearray(second)
    forged[-1] ^= 0xFF
    assert joined([first, bytes(forged), second, third]) == []
    wide = bytearray(ipv4(17, DATAGRAM[8:32]))
    wide[4:8] = struct.pack(">HH", 7, 1 | 0x2000)
    assert joined([first, bytes(wide), third]) == []


def test_what_was_not_captured_whole_is_not_joined() -> None:
    first, second, third = parts()
    dissector = Dissector(["udp.srcport"], defragment=True)
    records = records_of(RAW, [first, second[:-4], third], [len(first), len(second), len(third)])
    assert dissector.dissect(records).values("udp.srcport").values.tolist() == []


def test_without_asking_the_first_fragment_tells() -> None:
    found = Dissector(["udp.srcport"]).dissect(records_of(RAW, parts()))
    assert found.values("udp.srcport").rows.tolist() == [0]


def test_what_completes_a_datagram_tells_of_its_fragments() -> None:
    names = ("ip.fragment", "ip.fragment.count", "ip.reassembled.length")
    found = Dissector(names, defragment=True).dissect(records_of(RAW, parts()))
    assert [found.values(name).values.tolist() for name in names] == [[1, 2, 3], [3], [48]]
    assert found.values("ip.fragment").rows.tolist() == [2, 2, 2]


def test_beyond_the_limits_the_oldest_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pending = _Pending()
    for number in range(MAX_PENDING + 10):
        assert pending.add(b"%d" % number, 0, (0, True, b"x" * 8, number)) is None
    assert len(pending.datagrams) == MAX_PENDING
    assert b"9" not in pending.datagrams
    assert pending.held == 8 * MAX_PENDING
    monkeypatch.setattr(fragments, "MAX_PENDING_BYTES", 100)
    assert pending.add(b"last", 0, (0, True, b"x" * 8, 1)) is None
    assert pending.held <= 100


def test_an_identification_that_returns_later_is_another_datagram() -> None:
    pending = _Pending()
    assert pending.add(b"key", 0, (0, True, b"old-----", 1)) is None
    assert pending.add(b"key", 61 * 1_000_000_000, (8, False, b"new", 2)) is None
    assert pending.add(b"key", 62 * 1_000_000_000, (0, True, b"new-----", 3)) == (b"new-----new", [2, 3])


def test_nothing_reaches_beyond_the_largest_datagram() -> None:
    pending = _Pending()
    assert pending.add(b"key", 0, (65_528, False, bytes(100), 1)) is None
    assert pending.held == 0


def test_as_tshark(tmp_path: Path) -> None:
    packets = [*reversed(parts()), *parts_6()]
    assert tshark(tmp_path, RAW, packets, ("udp.srcport",))[2] == ["9999"]
    file = tmp_path / "joined.pcap"
    file.write_bytes(capture(RAW, packets))
    words = ["tshark", "-n", "-r", str(file), "-T", "fields", "-e", "udp.srcport", "-e", "data.len"]
    theirs = subprocess.run(words, capture_output=True, check=True).stdout.decode().split("\n")[:-1]
    found = Dissector(["udp.srcport", "data.len"], defragment=True).dissect(records_of(RAW, packets))
    ours = [["", ""] for _ in packets]
    ports, sizes = found.values("udp.srcport"), found.values("data.len")
    for row, port in zip(ports.rows.tolist(), ports.values.tolist(), strict=True):
        ours[row][0] = str(port)
        ours[row][1] = str(dict(zip(sizes.rows.tolist(), sizes.values.tolist(), strict=True))[row])
    assert [row[0] for row in ours] == [line.split("\t")[0] for line in theirs]
    assert [row[1] for row in ours if row[0]] == [line.split("\t")[1] for line in theirs if line.split("\t")[0]]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60), st.integers(0, 255)), max_size=8))
def test_damaged(places: list[tuple[int, int, int]]) -> None:
    packets = [bytearray(one) for one in (*parts(), *parts_6())]
    for number, place, value in places:
        packets[number][place % len(packets[number])] = value
    check(Dissector(None, defragment=True).dissect(records_of(RAW, [bytes(one) for one in packets])))
