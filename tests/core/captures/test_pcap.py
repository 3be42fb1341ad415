"""pcap, read from files made by hand with struct, and written."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from fuzz.capture_files import packets, pcap, pcapng, read, run, samples

from echowire.core.captures.pcap import PcapReader, PcapWriter
from echowire.core.captures.records import NO_INTERFACE, Interface, Records
from echowire.core.captures.ticks import NO_TIME
from echowire.errors import UsageError

FIRST_S = 1_700_000_000
FILES = {name: data for name, data in samples().items() if name.startswith("pcap,") or name == "pcap"}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1), (0xA1B2CD34, 1000)])
def test_what_is_read(order: str, magic: int, unit_ns: int) -> None:
    reader = PcapReader()
    records = reader.feed(pcap(order, magic=magic, more=8 if magic == 0xA1B2CD34 else 0))
    assert records is not None
    assert reader.finish() is None
    assert records.cap_len.tolist() == [20, 21, 22, 23]
    assert records.length.tolist() == [20, 31, 42, 53]
    assert records.time_ns.tolist() == [(FIRST_S + n) * 10**9 + (123_456 + n) * unit_ns for n in range(4)]
    assert [records.packet(n) for n in range(4)] == [bytes(range(n, 20 + 2 * n)) for n in range(4)]
    assert records.first == 1
    assert records.sections[0].big_endian == (order == ">")
    assert records.interfaces == (Interface(1, 262144, 6 if unit_ns == 1000 else 9),)


@pytest.mark.parametrize(
    ("network", "link_type", "fcs_len"), [(1, 1, None), (0x2400_0071, 113, 4), (0x3000_0001, 1, None)]
)
def test_the_link_type_and_its_upper_bits(network: int, link_type: int, fcs_len: int | None) -> None:
    chunks, problem = read([pcap(network=network)])
    assert problem is None
    assert chunks[0].link_type.tolist() == [link_type] * 4
    assert chunks[0].interfaces[0].fcs_len == fcs_len


def test_a_file_without_packets_still_says_its_link_type() -> None:
    chunks, problem = read([pcap(count=0)])
    assert problem is None
    assert [len(one) for one in chunks] == [0]
    assert chunks[0].interfaces[0].link_type == 1


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_byte_by_byte_is_as_whole(data: bytes) -> None:
    pieces, problem = read([data[at : at + 1] for at in range(len(data))])
    whole, same = read([data])
    assert (packets(pieces), problem) == (packets(whole), same)
    assert [one.first for one in pieces if len(one)] == list(range(1, 1 + len(packets(whole))))


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_a_cut_at_every_offset_gives_all_whole_packets(data: bytes) -> None:
    whole = packets(read([data])[0])
    for end in range(4, len(data)):
        chunks, problem = read([data[:end]])
        found = packets(chunks)
        assert found == whole[: len(found)]
        ends = len(chunks[-1].data) if chunks else 0
        if problem is not None:
            assert problem.kind == "cut"
            assert 0 <= problem.offset < end
        else:
            assert ends >= end, "a whole number of packets"


def test_a_cut_names_the_record_and_what_it_lacks() -> None:
    data = pcap()
    _, problem = read([data[:-1]])
    assert problem is not None
    assert str(problem) == f"the file is cut: a record of at least 39 bytes has only 38, at byte {len(data) - 39}"


def test_trailing_bytes_are_a_cut_record() -> None:
    chunks, problem = read([pcap() + b"abc"])
    assert len(packets(chunks)) == 4
    assert problem is not None
    assert (problem.kind, problem.offset) == ("cut", len(pcap()))


@pytest.mark.parametrize("size", [262_145, 0x7FFF_FFFF, 0xFFFF_FFFF])
@pytest.mark.parametrize("behind", [b"", pcap()[24:] * 3, bytes(300_000)], ids=["nothing", "packets", "zeros"])
def test_a_packet_too_long_ends_the_file_where_it_stands(size: int, behind: bytes) -> None:
    data = pcap() + struct.pack("<IIII", 0, 0, size, size) + behind
    for pieces in ([data], [data[at : at + 1000] for at in range(0, len(data), 1000)]):
        chunks, problem = read(pieces)
        assert len(packets(chunks)) == 4
        assert problem is not None
        assert (problem.kind, problem.offset) == ("malformed", len(pcap()))
        assert f"{size} bytes" in problem.message


def test_the_longest_packet_is_read_and_of_usb_a_longer_one() -> None:
    for link_type, size in ((1, 262_144), (249, 1 << 20)):
        data = pcap(network=link_type, count=0) + struct.pack("<IIII", 1, 2, size, size) + bytes(size)
        chunks, problem = read([data])
        assert problem is None
        assert chunks[-1].cap_len.tolist() == [size]


def test_a_packet_longer_than_its_snapshot_and_than_its_length_is_read() -> None:
    data = pcap(count=0)[:16] + struct.pack("<II", 4, 1) + struct.pack("<IIII", 0, 0, 8, 2) + bytes(8)
    chunks, problem = read([data])
    assert problem is None
    assert (chunks[0].cap_len.tolist(), chunks[0].length.tolist()) == ([8], [2])


def test_what_waits_is_held_once() -> None:
    reader, size = PcapReader(), 200_000
    data = pcap(count=0) + struct.pack("<IIII", 0, 0, size, size) + bytes(size)
    found = [reader.feed(data[at : at + 10]) for at in range(0, len(data), 10)]
    assert [len(one) for one in found if one is not None] == [0, 1]


def test_what_is_written_is_what_was_read() -> None:
    for magic in (0xA1B2C3D4, 0xA1B23C4D):
        data = pcap(magic=magic)
        writer = PcapWriter()
        assert b"".join(writer.write(one) for one in read([data])[0]) == data


def test_rows_are_chosen() -> None:
    (records,), _ = read([pcap()])
    for rows in (np.array([1, 3]), np.array([False, True, False, True])):
        back = packets(read([bytes(PcapWriter().write(records, rows))])[0])
        assert back == [packets([records])[n] for n in (1, 3)]
    assert read([bytes(PcapWriter().write(records, np.array([], np.int64)))])[1] is None


def test_single_packets_and_the_nanoseconds_that_were_asked_for() -> None:
    for nanoseconds, kept in ((None, 123_456_789), (True, 123_456_789), (False, 123_456_000)):
        writer = PcapWriter(nanoseconds=nanoseconds)
        data = writer.packet(b"abc", 123_456_789, length=9) + writer.packet(b"", 10**9)
        chunks, problem = read([bytes(data)])
        assert problem is None
        assert chunks[0].time_ns.tolist() == [kept, 10**9]
        assert chunks[0].length.tolist() == [9, 0]


def test_what_pcap_has_no_room_for() -> None:
    (records,), _ = read([pcapng()])
    with pytest.raises(UsageError, match="one link type"):
        PcapWriter().write(records)
    for time_ns in (-1, 2**32 * 10**9):
        with pytest.raises(UsageError, match="1970 to 2106"):
            PcapWriter().packet(b"", time_ns)


def test_what_is_no_packet_is_left_out_and_no_time_is_zero() -> None:
    (records,), _ = read([pcapng()])
    some = np.flatnonzero((records.interface == NO_INTERFACE) | (records.time_ns == NO_TIME))
    chunks, _ = read([bytes(PcapWriter().write(records, some))])
    assert [one[5] for one in packets(chunks)] == [b"simple packet"]
    assert chunks[0].time_ns.tolist() == [0]


def test_the_snapshot_length_and_fcs_are_told() -> None:
    records = Records.of([b"ab"], [0], interfaces=[Interface(113, 96, 9, fcs_len=4)])
    (back,), _ = read([bytes(PcapWriter().write(records))])
    assert back.interfaces == records.interfaces


def test_mutated_files_are_read_or_refused_and_nothing_else() -> None:
    outcomes = run(4000, seed=20)
    assert all(outcomes.values()), outcomes
