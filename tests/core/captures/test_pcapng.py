"""pcapng, read from files made by hand with struct, and written."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from fuzz.capture_files import (
    block,
    check_written,
    enhanced,
    interface,
    old,
    option,
    packets,
    pcap,
    pcapng,
    read,
    samples,
    section,
    simple,
)

from echowire.core.captures.pcapng import MAX_BLOCK_BYTES, MAX_DESCRIPTIONS, PcapngReader
from echowire.core.captures.pcapng_writer import PcapngWriter
from echowire.core.captures.records import NO_INTERFACE, NO_LINK_TYPE, Interface, Option, Records
from echowire.core.captures.ticks import NO_TIME

NOW_NS = 1_700_000_000 * 10**9
BEGIN = section() + interface()
GOOD = enhanced(b"good", 1)
FILES = {name: data for name, data in samples().items() if name.startswith("pcapng")}


def head(kind: int, size: int) -> bytes:
    return struct.pack("<II", kind, size)


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_is_read(order: str) -> None:
    (records,), problem = read([pcapng(order)])
    assert problem is None
    custom = struct.pack(f"{order}I", 32473)
    assert [records.packet(row) for row in range(len(records))] == [
        *(b"abcdefgh", b"hello", b"old packet", b"simple packet", b"custom\0\0", b"custom too\0\0", b"")
    ]
    assert records.interface.tolist() == [0, 1, 0, 0, NO_INTERFACE, NO_INTERFACE, 0]
    assert records.link_type.tolist() == [1, 101, 1, 1, NO_LINK_TYPE, NO_LINK_TYPE, 1]
    assert records.length.tolist() == [9, 6, 10, 13, 8, 12, 1]
    known = [NOW_NS + 1, NOW_NS + 3_500_000_000, NOW_NS + 2, NO_TIME, NO_TIME, NO_TIME, NOW_NS + 3]
    assert records.time_ns.tolist() == known
    assert [records.comments(row) for row in range(4)] == [(), ("a comment",), ("old",), ()]
    assert records.options(1)[1] == Option(2, struct.pack(f"{order}I", 1))
    assert [(one.row, one.type, one.is_row) for one in records.blocks] == [
        *((1, 4, False), (4, 0xBAD, True), (5, 0x4000_0BAD, True), (7, 0x7777, False), (7, 5, False))
    ]
    assert records.blocks[1].body == custom + b"custom\0\0"
    assert (records.sections[0].big_endian, records.sections[0].application) == (order == ">", "fuzz")
    first, second = records.interfaces
    assert (first.name, first.filter, first.resolution, first.snap_len) == ("eth0", "ip6", 9, 0)
    assert (second.ticks_per_s, second.offset_s, second.link_type, second.snap_len) == (1024, 1_700_000_000, 101, 12)
    assert second.comments == ("two",)


def test_sections_number_their_interfaces_anew() -> None:
    data = BEGIN + interface(link_type=2) + GOOD + section(">") + interface(">", 3) + enhanced(b"x", 5, ">")
    (records,), problem = read([data])
    assert problem is None
    assert records.interface.tolist() == [0, 2]
    assert records.link_type.tolist() == [1, 3]
    assert records.time_ns.tolist() == [1000, 5000]
    assert [(one.section, one.first_of_section) for one in records.interfaces] == [(0, 0), (0, 0), (1, 2)]


@pytest.mark.parametrize(("snap_len", "cap_len"), [(0, 8), (100, 8), (5, 5)])
def test_a_simple_packet_is_cut_to_the_snapshot_length(snap_len: int, cap_len: int) -> None:
    (records,), problem = read([section() + interface(snap_len=snap_len) + simple(b"12345678")])
    assert problem is None
    assert (records.cap_len.tolist(), records.length.tolist()) == ([cap_len], [8])


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_byte_by_byte_is_as_whole(data: bytes) -> None:
    pieces, problem = read([data[at : at + 1] for at in range(len(data))])
    whole, same = read([data])
    assert (packets(pieces), problem) == (packets(whole), same)
    assert [one.first + b.row for one in pieces for b in one.blocks] == [1 + b.row for b in whole[0].blocks]
    assert (pieces[-1].sections, pieces[-1].interfaces) == (whole[-1].sections, whole[-1].interfaces)


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_a_cut_at_every_offset_gives_all_whole_packets(data: bytes) -> None:
    whole = packets(read([data])[0])
    for end in range(4, len(data)):
        chunks, problem = read([data[:end]])
        found = packets(chunks)
        assert found == whole[: len(found)]
        assert problem is None or (problem.kind == "cut" and problem.offset < end)


WRONG = {
    "a block of 8 bytes": head(0x7777, 8) + bytes(8),
    "a block of no bytes": head(6, 0) + bytes(60),
    "a packet block of 28 bytes": block(6, bytes(16)),
    "an interface of 16 bytes": block(1, bytes(4)),
    "a block beyond all limits": head(0x7777, MAX_BLOCK_BYTES + 1) + bytes(40),
    "a packet block beyond all limits": head(6, 0xFFFF_FFFC) + bytes(40),
    "lengths that differ": head(0x7777, 16) + bytes(4) + struct.pack("<I", 20),
    "lengths of a packet that differ": GOOD[:-4] + struct.pack("<I", 36 + 4),
    "a length that is no multiple of four": head(0x7777, 17) + bytes(5) + struct.pack("<I", 17),
    "an interface that is not there": enhanced(b"x", 0, number=1),
    "a packet longer than its block": block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99) + bytes(8)),
    "a simple packet longer than its block": simple(b"12345678", length=12),
    "an old packet longer than its block": block(2, struct.pack("<HHIIII", 0, 0, 0, 0, 99, 99) + bytes(8)),
    "a packet longer than packets can be": enhanced(bytes(262_145), 0),
    "a byte-order magic that is none": block(0x0A0D0D0A, b"abcd" + bytes(12)),
    "a section of another version": section(version=(1, 1)),
    "a custom block without a number": block(0xBAD, b""),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("piece", [1 << 20, 7])
def test_what_cannot_be_ends_the_file_where_it_stands(wrong: bytes, piece: int) -> None:
    data = BEGIN + GOOD * 2 + wrong + interface() + GOOD * 3
    chunks, problem = read([data[at : at + piece] for at in range(0, len(data), piece)])
    assert [one[5] for one in packets(chunks)] == [b"good"] * 2
    assert problem is not None
    assert (problem.kind, problem.offset) == ("malformed", len(BEGIN + GOOD * 2)), problem
    assert len(chunks[-1].interfaces) == 1, "what stands behind it counts for nothing"


def test_a_length_that_is_padded_though_it_does_not_say_so_is_read() -> None:
    padded = head(0x7777, 17) + b"12345" + bytes(3) + struct.pack("<I", 17)
    chunks, problem = read([BEGIN + padded + GOOD])
    assert problem is None
    assert len(packets(chunks)) == 1


def test_options_that_run_past_their_block_end_there() -> None:
    data = BEGIN + enhanced(b"x", 0, options=option(1, b"said") + struct.pack("<HH", 1, 400) + b"abcd") + GOOD
    (records,), problem = read([data])
    assert problem is None
    assert records.comments(0) == ("said",)
    assert len(records) == 2


def test_another_format_is_foreign() -> None:
    reader = PcapngReader()
    assert reader.feed(pcap()) is None
    assert reader.problem is not None
    assert reader.problem.kind == "foreign"


def test_there_is_an_end_of_descriptions() -> None:
    chunks, problem = read([BEGIN + GOOD + interface() * MAX_DESCRIPTIONS + GOOD])
    assert problem is not None
    assert problem.kind == "malformed"
    assert "interfaces" in problem.message
    assert len(packets(chunks)) == 1


@pytest.mark.parametrize("data", samples().values(), ids=samples())
def test_what_is_written_reads_back_equal(data: bytes) -> None:
    chunks, _ = read([data])
    check_written(chunks, packets(chunks))
    writer = PcapngWriter()
    back, problem = read([b"".join(writer.write(one) for one in chunks)])
    assert problem is None
    if data.startswith(b"\n\r\r\n"):
        assert (back[-1].sections, back[-1].interfaces) == (chunks[-1].sections, chunks[-1].interfaces)


def test_a_file_of_enhanced_packets_is_written_as_it_was() -> None:
    comment = option(1, b"hello") + option(0, b"")
    data = BEGIN + GOOD + block(0x7777, b"abcd") + enhanced(b"12345", 1 << 40, options=comment) + interface() + GOOD
    writer = PcapngWriter()
    assert b"".join(writer.write(one) for one in read([data])[0]).replace(interface(), b"") == data.replace(
        interface(), b""
    )


def test_written_in_pieces_it_is_the_same_to_a_reader() -> None:
    data = FILES["pcapng, sections"]
    chunks, _ = read([data[at : at + 50] for at in range(0, len(data), 50)])
    writer = PcapngWriter()
    back, problem = read([b"".join(writer.write(one) for one in chunks)])
    assert problem is None
    assert packets(back) == packets(chunks)


def test_rows_are_chosen_and_their_blocks_go_with_them() -> None:
    (records,), _ = read([pcapng()])
    whole = packets([records])
    for keep in ([1, 4, 6], [0], [], [5], [2, 3]):
        (back,), problem = read([bytes(PcapngWriter().write(records, np.array(keep, np.int64)))])
        assert problem is None
        # a custom block that asks not to be copied is not, once a file is changed
        assert packets([back]) == [whole[row] for row in keep if row != 5]
        assert [one.type for one in back.blocks] == [4, *([0xBAD] if 4 in keep else []), 0x7777, 5]


def test_packets_at_hand_with_comments_and_interfaces() -> None:
    interfaces = [Interface(1, 0, 9, fcs_len=4), Interface(101, 96, 6, offset_s=-5)]
    times = [NOW_NS + 123, NOW_NS + 456_000, -(10**9)]
    records = Records.of(
        [b"a", b"bcd", b""], times, interface=[0, 1, 0], interfaces=interfaces, comments={1: ["so"], 2: ["x", "y"]}
    )
    (back,), problem = read([bytes(PcapngWriter().write(records))])
    assert problem is None
    assert packets([back]) == packets([records])
    described = [(one.link_type, one.snap_len, one.resolution, one.offset_s, one.fcs_len) for one in back.interfaces]
    assert described == [(1, 0, 9, 0, 4), (101, 96, 6, -5, None)]


def test_single_packets() -> None:
    writer = PcapngWriter()
    chunks, problem = read([bytes(writer.packet(b"abc", NOW_NS + 1, length=9) + writer.packet(b"", NOW_NS))])
    assert problem is None
    assert (chunks[0].time_ns.tolist(), chunks[0].length.tolist()) == ([NOW_NS + 1, NOW_NS], [9, 0])


def test_an_old_packet_becomes_an_enhanced_one() -> None:
    (records,), _ = read([BEGIN + interface() + old(b"x", 7, number=1)])
    written = bytes(PcapngWriter().write(records))
    assert struct.pack("<I", 6) in written
    assert packets(read([written])[0]) == packets([records])
