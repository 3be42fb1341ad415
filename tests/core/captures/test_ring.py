"""Blocks of the packet ring: found packets, tags and headers put back, and the files made of them in place."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.captures.in_place import (
    InterfaceStatistics,
    Notes,
    Pieces,
    pcap_pieces,
    pcapng_pieces,
    statistics_block,
)
from echowire.core.captures.pcap import PcapReader, PcapWriter
from echowire.core.captures.pcapng import PcapngReader
from echowire.core.captures.pcapng_writer import PcapngWriter
from echowire.core.captures.records import Interface, Option, Records, Section
from echowire.core.captures.ring import OUTGOING, Frames, cook, read_block, restore_vlan
from tests.core.captures.ring_blocks import SECOND, Packet, block_of

INTERFACES = (Interface(1, 0, 9),)
NS = 10**9


def packets_in(frames: Frames) -> list[bytes]:
    return [frames.block[a : a + n].tobytes() for a, n in zip(frames.start, frames.cap_len, strict=True)]


def written(pieces: Pieces) -> bytes:
    size = pieces.size.copy()
    size[-1] -= len(pieces.tail)
    parts = [pieces.block[a : a + n].tobytes() for a, n in zip(pieces.start, size, strict=True)]
    return b"".join(parts) + pieces.tail


def pcapng_of(pieces: Pieces) -> Records:
    reader = PcapngReader()
    begin = PcapngWriter().write(Records.of([], [], interfaces=INTERFACES, sections=(Section(is_pcapng=True),)))
    records = reader.feed(bytes(begin) + written(pieces))
    assert reader.finish() is None
    assert records is not None
    return records


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=90), st.integers(0, 3 * NS)), min_size=1, max_size=40),
    st.booleans(),
)
def test_packets_are_found_and_written_as_they_are(made: list[tuple[bytes, int]], with_flags: bool) -> None:
    packets = [Packet(data, SECOND * NS + ahead) for data, ahead in made]
    frames = read_block(block_of(packets))
    assert packets_in(frames) == [data for data, _ in made]
    assert frames.time_ns.tolist() == [packet.time_ns for packet in packets]
    records = pcapng_of(pcapng_pieces(frames, 0, with_flags=with_flags))
    assert [records.packet(row) for row in range(len(records))] == [data for data, _ in made]
    assert records.time_ns.tolist() == [packet.time_ns for packet in packets]
    assert bool(records.options(0)) is with_flags


def test_a_packet_that_looks_like_a_header_is_none() -> None:
    alike = struct.pack("<I", SECOND) * 20
    packets = [Packet(alike), Packet(b"x" * 60), Packet(alike[:50])]
    assert packets_in(read_block(block_of(packets))) == [packet.data for packet in packets]


def test_a_clock_that_was_set_back_within_a_block() -> None:
    packets = [Packet(b"a" * 60, SECOND * NS), Packet(b"b" * 60, (SECOND - 50) * NS)]
    assert packets_in(read_block(block_of(packets))) == [b"a" * 60, b"b" * 60]


def test_an_empty_block() -> None:
    assert len(read_block(block_of([]))) == 0


def test_the_last_packet_may_end_with_the_block() -> None:
    packets = [Packet(b"a" * 61), Packet(b"b" * 55)]
    size = 48 + 144 + 82 + 55 + 3 & -4
    frames = read_block(block_of(packets, size=size + 4))
    records = pcapng_of(pcapng_pieces(frames, 0, with_flags=True))
    assert [records.packet(0), records.packet(1)] == [b"a" * 61, b"b" * 55]


def test_what_follows_a_block_is_not_touched() -> None:
    frames = read_block(block_of([Packet(b"a" * 61)]))
    end = int(frames.start[-1] + frames.cap_len[-1])
    before = frames.block[end:].copy()
    pcapng_pieces(frames, 0, with_flags=True)
    assert (frames.block[end:] == before).all()


def test_vlan_tags_are_put_back_where_they_were() -> None:
    addresses, rest = bytes(range(12)), b"\x08\x00" + b"p" * 50
    packets = [Packet(addresses + rest, vlan=(0x88A8, 0x6005)), Packet(addresses + rest)]
    frames = restore_vlan(read_block(block_of(packets)), cooked=False)
    assert packets_in(frames) == [addresses + b"\x88\xa8\x60\x05" + rest, addresses + rest]
    assert frames.length.tolist() == [68, 64]
    assert [pcapng_of(pcapng_pieces(frames, 0, with_flags=True)).packet(row) for row in (0, 1)] == packets_in(frames)


def test_cooked_packets_get_their_header_and_the_tag_behind_it() -> None:
    packets = [Packet(b"p" * 30, packet_type=OUTGOING), Packet(b"q" * 30, vlan=(0x8100, 7), protocol=0x86DD)]
    frames = cook(restore_vlan(read_block(block_of(packets, cooked=True)), cooked=True))
    plain, tagged = packets_in(frames)
    assert plain == bytes.fromhex("0800 0000 00000003 0001 04 06 0200000000010000") + b"p" * 30
    assert tagged == bytes.fromhex("8100 0000 00000003 0001 00 06 0200000000010000 0007 86dd") + b"q" * 30


def test_packets_sorted_out_are_not_written() -> None:
    frames = read_block(block_of([Packet(b"a" * 60), Packet(b"b" * 60, packet_type=OUTGOING), Packet(b"c" * 60)]))
    records = pcapng_of(pcapng_pieces(frames.only(frames.packet_type != OUTGOING), 0, with_flags=False))
    assert [records.packet(0)[:1], records.packet(1)[:1]] == [b"a", b"c"]


def test_notes_are_options_of_their_packets_alone() -> None:
    packets = [Packet(b"a" * 61), Packet(b"b" * 62), Packet(b"c" * 63), Packet(b"d" * 64)]
    options = [struct.pack("<HH", 1, 8) + b"comment1", struct.pack("<HH", 1, 3) + b"two\0"]
    for which in ([0, -1, 1, 1], [-1, 0, 1, -1]):
        frames = read_block(block_of(packets, room=160))
        records = pcapng_of(pcapng_pieces(frames, 0, with_flags=False, notes=Notes(np.array(which), options)))
        said = [records.comments(row) for row in range(4)]
        assert said == [() if one < 0 else (("comment1",), ("two",))[one] for one in which]
        assert [records.packet(row) for row in range(4)] == [packet.data for packet in packets]


def test_flags_and_notes_together() -> None:
    frames = read_block(block_of([Packet(b"a" * 61, packet_type=OUTGOING), Packet(b"b" * 61)], room=160))
    note = struct.pack("<HH", 1, 4) + b"note"
    pieces = pcapng_pieces(frames, 0, with_flags=True, notes=Notes(np.array([0, 0]), [note]))
    records = pcapng_of(pieces)
    assert records.options(0) == (Option(2, b"\2\0\0\0"), Option(1, b"note"))
    assert records.options(1) == (Option(2, b"\5\0\0\0"), Option(1, b"note"))
    live = frames.records(
        0, INTERFACES, (Section(is_pcapng=True),), 1, option_size=pieces.option_size, tail=pieces.tail
    )
    assert [live.options(row) for row in (0, 1)] == [records.options(row) for row in (0, 1)]
    assert [live.packet(row) for row in (0, 1)] == [b"a" * 61, b"b" * 61]


def test_a_pcap_file_of_them() -> None:
    packets = [Packet(b"a" * 61, SECOND * NS + 5, length=900), Packet(b"b" * 20, SECOND * NS + 6)]
    begin = PcapWriter(nanoseconds=True).write(Records.of([], [], interfaces=INTERFACES))
    reader = PcapReader()
    records = reader.feed(bytes(begin) + written(pcap_pieces(read_block(block_of(packets)))))
    assert records is not None and reader.finish() is None
    assert [records.packet(0), records.packet(1)] == [b"a" * 61, b"b" * 20]
    assert records.length.tolist() == [900, 20]
    assert records.time_ns.tolist() == [SECOND * NS + 5, SECOND * NS + 6]


def test_statistics_say_what_was_dropped_and_by_whom() -> None:
    block = statistics_block(1, 5 << 32 | 7, 3 << 32, InterfaceStatistics(10, 2, 3))
    assert struct.unpack_from("<IIIII", block) == (5, len(block), 1, 5, 7)
    values = {struct.unpack_from("<H", block, at)[0]: struct.unpack_from("<Q", block, at + 4)[0] for at in (44, 56, 68)}
    assert values == {4: 10, 5: 5, 7: 2}


@pytest.mark.parametrize("count", [1, 2, 400])
def test_records_are_a_copy(count: int) -> None:
    frames = read_block(block_of([Packet(b"%04d" % number * 10) for number in range(count)]))
    records = frames.records(0, INTERFACES, (Section(),), 1)
    pcapng_pieces(frames, 0, with_flags=True)
    assert [records.packet(row) for row in range(count)] == [b"%04d" % number * 10 for number in range(count)]
