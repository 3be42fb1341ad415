"""Pages of the kernel's tracer, made by hand and damaged, and the formats of its events."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from echowire.core.sockets.trace_events import EventFormat, read_page

FORMAT = """name: inet_sock_set_state
ID: 2287
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;
\tfield:int oldstate;\toffset:16;\tsize:4;\tsigned:1;
\tfield:__u8 saddr[4];\toffset:20;\tsize:4;\tsigned:0;

print fmt: "old=%s", __print_symbolic(REC->oldstate, { 1, "TCP_ESTABLISHED" }, { 7, "TCP_CLOSE" })
"""


def page(entries: bytes, *, now: int = 1000, missed: bool = False) -> bytes:
    return struct.pack("=QQ", now, len(entries) | missed << 31) + entries


def entry(data: bytes, delta: int) -> bytes:
    return struct.pack("=I", len(data) // 4 | delta << 5) + data


def test_small_and_large_events_and_times() -> None:
    large = bytes(200)
    entries = entry(b"abcd", 5)
    entries += struct.pack("=II", 0 | 7 << 5, 204) + large
    entries += struct.pack("=II", 30 | 1 << 5, 2)  # 1 + 2 << 27 later
    entries += entry(b"efghijkl", 1)
    entries += struct.pack("=II", 31 | 9 << 5, 8)  # the time is 9 + 8 << 27
    entries += entry(b"mnop", 1)
    entries += struct.pack("=I", 29)  # the page ends
    found, lost = read_page(page(entries) + bytes(300))
    assert not lost
    assert [(now, data) for now, data in found] == [
        (1005, b"abcd"),
        (1012, large),
        (1014 + (2 << 27), b"efghijkl"),
        (10 + (8 << 27), b"mnop"),
    ]


def test_padding_in_between_is_passed_over() -> None:
    entries = struct.pack("=II", 29 | 1 << 5, 12) + bytes(8) + entry(b"abcd", 2)
    assert read_page(page(entries)) == ([(1002, b"abcd")], False)


def test_lost_events_are_told() -> None:
    assert read_page(page(entry(b"abcd", 0), missed=True)) == ([(1000, b"abcd")], True)


@given(st.binary(max_size=300))
def test_any_page_is_read(data: bytes) -> None:
    found, _ = read_page(data)
    assert sum(len(event) for _, event in found) <= len(data)


@given(st.data())
def test_damaged_pages_are_read(data: st.DataObject) -> None:
    whole = bytearray(page(b"".join(entry(bytes(8), number) for number in range(20))))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    read_page(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


def test_a_format_gives_fields_and_names() -> None:
    layout = EventFormat(FORMAT)
    event = struct.pack("=HHiQi4s", layout.number, 0, -3, 2**63 + 1, 7, b"\x0a\0\0\1")
    assert layout.number == 2287
    assert (layout.integer(event, "common_pid"), layout.integer(event, "skaddr")) == (-3, 2**63 + 1)
    assert (layout.name(event, "oldstate"), layout.data(event, "saddr")) == ("TCP_CLOSE", b"\x0a\0\0\1")
    assert (layout.integer(event, "absent"), layout.data(event, "absent")) == (0, b"")
    assert layout.integer(event[:10], "skaddr") == 0
    assert EventFormat("").number == -1
