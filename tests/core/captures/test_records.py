"""Records: columns made of packets at hand, options, the gathers and copies, and times exact to the nanosecond."""

from __future__ import annotations

import sys
from types import FrameType

import numpy as np
import pytest
from fuzz.capture_files import pcap, pcapng
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.pcapng_writer import PcapngWriter
from echowire.core.captures.reader import CaptureReader
from echowire.core.captures.records import (
    COMMENT,
    FRONT,
    PAD,
    Interface,
    Option,
    Problem,
    Records,
    Section,
    chosen,
    copy_ranges,
    gather_words,
    pack_options,
    parse_options,
    scatter_words,
)
from echowire.core.captures.ticks import LAST_S, NO_TIME, SECOND_NS, ticks_per_second, to_ns, to_ticks

RESOLUTIONS = (0, 1, 3, 6, 9, 10, 12, 18, 19, 25, 0x80, 0x8A, 0x9D, 0x9E, 0xA2, 0xA3, 0xC0)
ticks = st.integers(0, (1 << 64) - 1)
offsets = st.one_of(st.just(0), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-(10**10), 10**10))


def test_records_of_packets_at_hand() -> None:
    packets = [b"one", b"", b"three"]
    records = Records.of(packets, [1, 2, 3], length=[10, 0, 5], comments={2: ["a", "b"], 0: ["c"]}, first=7)
    assert len(records) == 3
    assert [records.packet(row) for row in range(3)] == packets
    assert [records.comments(row) for row in range(3)] == [("c",), (), ("a", "b")]
    assert records.number.tolist() == [7, 8, 9]
    assert records.length.tolist() == [10, 0, 5]
    assert records.link_type.tolist() == [1, 1, 1]
    assert not records.data[-PAD:].any()


def test_records_of_several_interfaces() -> None:
    interfaces = [Interface(1), Interface(101)]
    records = Records.of([b"a", b"b"], [0, 0], interface=[1, 0], interfaces=interfaces)
    assert records.link_type.tolist() == [101, 1]


def test_no_packets_are_records_too() -> None:
    assert len(Records.of([], [])) == 0


@pytest.mark.parametrize("big_endian", [False, True])
@given(st.lists(st.builds(Option, st.integers(1, 65535), st.binary(max_size=20))))
def test_options_come_back(big_endian: bool, options: list[Option]) -> None:
    raw = pack_options(options, big_endian)
    assert len(raw) % 4 == 0
    assert parse_options(raw, big_endian) == tuple(options)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_options_as_far_as_they_go(raw: bytes) -> None:
    assert sum(4 + len(one.value) for one in parse_options(raw, False)) <= len(raw)


def test_descriptions_are_read_from_options() -> None:
    options = (Option(COMMENT, b"n\xffo\0"), Option(2, b"eth0"), Option(3, b"desc"), Option(11, b"\0tcp"))
    interface = Interface(options=(*options, Option(12, b"Linux"), Option(15, b"card")))
    assert interface.comments == ("n\ufffdo",)
    assert (interface.name, interface.description, interface.filter) == ("eth0", "desc", "tcp")
    assert (interface.os, interface.hardware, interface.ticks_per_s) == ("Linux", "card", 10**6)
    assert Interface(options=(Option(11, b"\1bpf"),)).filter is None
    assert Interface(resolution=0x8A).ticks_per_s == 1024
    section = Section(options=(Option(2, b"h"), Option(3, b"o"), Option(4, b"a"), Option(1, b"c")))
    assert (section.hardware, section.os, section.application, section.comments) == ("h", "o", "a", ("c",))
    assert Section().hardware is None


def test_a_problem_says_where() -> None:
    assert str(Problem("cut", 24, "the file is cut")) == "the file is cut, at byte 24"


def test_words_are_gathered_and_scattered_unaligned() -> None:
    data = np.arange(40, dtype=np.uint8)
    at = np.array([1, 14, 27])
    words = gather_words(data, at, 3)
    assert words[1].tobytes() == bytes(range(14, 26))
    out = np.zeros(40, np.uint8)
    scatter_words(out, at, words)
    assert out[1:13].tobytes() == bytes(range(1, 13))
    assert out[0] == out[13] == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 2))))
def test_ranges_are_copied_as_one_by_one(ranges: list[tuple[int, int, int]]) -> None:
    size = np.array([one[0] for one in ranges], np.int64)
    start = np.cumsum([0, *(a + b for a, b, _ in ranges)])[:-1].astype(np.int64)
    to = np.cumsum([0, *(a + c for a, _, c in ranges)])[:-1].astype(np.int64)
    data = np.arange(1, 301, dtype=np.uint16).astype(np.uint8)[: int(sum(a + b for a, b, _ in ranges)) + 1]
    out = np.zeros(int(sum(a + c for a, _, c in ranges)) + 1, np.uint8)
    copy_ranges(out, to, data, start, size)
    for a, b, n in zip(start, to, size, strict=True):
        assert (out[b : b + n] == data[a : a + n]).all()


def test_rows_are_chosen_by_index_and_by_mask() -> None:
    records = Records.of([b"a", b"b", b"c"], [0, 0, 0])
    assert chosen(records, None).tolist() == [0, 1, 2]
    assert chosen(records, np.array([True, False, True])).tolist() == [0, 2]
    assert chosen(records, np.array([1])).tolist() == [1]


def exact_ns(tick: int, resolution: int, offset_s: int) -> int:
    per_second = ticks_per_second(resolution)
    if per_second <= SECOND_NS and tick >= 1 << 63:
        tick -= 1 << 64
    ns = tick * SECOND_NS // per_second + offset_s * SECOND_NS
    return ns if abs(ns // SECOND_NS) <= LAST_S else NO_TIME


@given(st.sampled_from(RESOLUTIONS), st.lists(st.tuples(ticks, offsets), min_size=1))
def test_times_are_exact_and_come_back(resolution: int, pairs: list[tuple[int, int]]) -> None:
    count, offset = np.array([one[0] for one in pairs], np.uint64), np.array([one[1] for one in pairs], np.int64)
    ns = to_ns(count, resolution, offset)
    assert ns.tolist() == [exact_ns(tick, resolution, by) for tick, by in pairs]
    again = to_ns(to_ticks(ns, resolution, offset), resolution, offset)
    known = ns != NO_TIME
    assert (again[known] == ns[known]).all()


@given(st.integers(-LAST_S * SECOND_NS, LAST_S * SECOND_NS))
def test_nanoseconds_are_kept_by_nine_digits(ns: int) -> None:
    one = np.array([ns], np.int64)
    assert to_ns(to_ticks(one, 9, np.zeros(1, np.int64)), 9, np.zeros(1, np.int64)).tolist() == [ns]


def test_no_time_is_written_so_that_it_reads_back_as_none() -> None:
    none, offset = np.array([NO_TIME] * 3, np.int64), np.array([0, 3000, -3000], np.int64)
    for resolution in (0, 6, 9, 0x8A, 0x9D):
        assert to_ns(to_ticks(none, resolution, offset), resolution, offset).tolist() == [NO_TIME] * 3


@pytest.mark.parametrize("data", [pcap(), pcap(">"), pcap(magic=0xA1B23C4D), pcapng(), pcapng(">")])
def test_the_format_is_told_by_its_first_bytes(data: bytes) -> None:
    reader = CaptureReader()
    assert [reader.feed(data[:3]), reader.problem] == [None, None]
    records = reader.feed(data[3:])
    assert records is not None
    assert reader.finish() is None
    assert reader.packets == len(records) > 3


@pytest.mark.parametrize("size", [1, 7, 16, 100_000, 1_000_000])
@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_a_buffer_that_is_taken_over_gives_what_its_bytes_give(form: str, size: int) -> None:
    lengths = [60] * 50 if size < 100 else [60, FRONT + 5, 200_000, 0, 1500] * 3
    writer = PcapWriter() if form == "pcap" else PcapngWriter()
    data = bytes(writer.write(Records.of([bytes([length % 251]) * length for length in lengths], range(len(lengths)))))
    reader, found = CaptureReader(), []
    for at in range(0, len(data), size):
        buffer = bytearray(FRONT) + data[at : at + size]
        records = reader.take_over(buffer)
        if records is not None:
            assert (records.data[len(records.data) - PAD :] == 0).all()
            found += [records.data[a : a + n].tobytes() for a, n in zip(records.start, records.cap_len, strict=True)]
    assert reader.finish() is None
    assert found == [bytes([length % 251]) * length for length in lengths]


@pytest.mark.parametrize("size", [100_000, 1_000_000, 10_000_000])
@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_a_profiler_may_hold_the_frames_of_a_reader(form: str, size: int) -> None:
    packets = [bytes([number % 251]) * 1400 for number in range(2000)]
    writer = PcapWriter() if form == "pcap" else PcapngWriter()
    data = bytes(writer.write(Records.of(packets, range(len(packets)))))
    held: list[dict[str, object]] = []

    def profile(frame: FrameType, event: str, arg: object) -> None:
        if event == "return":
            held.append(dict(frame.f_locals))  # as they are for whoever has the frame itself

    reader, found = CaptureReader(), []
    before = sys.getprofile()
    for at in range(0, len(data), size):
        buffer = bytearray(FRONT) + data[at : at + size]
        sys.setprofile(profile)
        try:
            records = reader.take_over(buffer) if size > 100_000 else reader.feed(buffer[FRONT:])
        finally:
            sys.setprofile(before)
        if records is not None:
            found += [records.packet(row) for row in range(len(records))]
    assert reader.finish() is None
    assert found == packets
    assert any(isinstance(value, np.ndarray) for names in held for value in names.values())


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "there is nothing"), (b"\n\r", "only 2 bytes"), (b"GIF89a", "begins with 47494638")],
)
def test_what_is_no_capture_is_foreign(data: bytes, said: str) -> None:
    reader = CaptureReader()
    assert reader.feed(data) is None
    problem = reader.finish()
    assert problem is not None
    assert problem.kind == "foreign"
    assert said in str(problem)
    assert reader.feed(pcap()) is None, "it goes no further"
