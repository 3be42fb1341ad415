"""The packet list of a terminal: its column of processes, its colours, its width."""

from __future__ import annotations

import struct

import pytest

from echowire.core.captures.records import Records
from echowire.core.packets.chosen import Chosen
from echowire.core.packets.dissect import Dissector
from echowire.core.views.live_rows import LiveRows

UDP_BLUE = "\x1b[38;2;18;39;46m\x1b[48;2;218;238;255m"


def udp(source: int) -> bytes:
    header = b"\x45\0" + struct.pack(">H", 28) + bytes(4) + b"\x40\x11\0\0" + b"\x7f\0\0\1\x7f\0\0\1"
    return bytes(12) + b"\x08\0" + header + struct.pack(">HHHH", source, 9, 8, 0)


def chunk(*comments: str) -> Chosen:
    records = Records.of(
        [udp(1000 + row) for row in range(len(comments))],
        [0] * len(comments),
        comments={row: [one] for row, one in enumerate(comments) if one},
    )
    return Chosen(Dissector(None).dissect(records))


def cut(text: str, width: int) -> str:
    return text[:width]


def lines(made: LiveRows, chosen: Chosen, width: int = 200, most: int = 9) -> list[str]:
    found = made.lines(chosen, width, most, cut)
    assert all(line.startswith(UDP_BLUE) and line.endswith("\x1b[0m") for line in found)
    return [line.removeprefix(UDP_BLUE).removesuffix("\x1b[0m") for line in found]


@pytest.mark.parametrize(
    ("comment", "width", "said"),
    [
        ("process: curl[812] (me) → nginx[99] (root, nginx.service)", 200, "curl[812]→nginx[99]"),
        ("process: curl[812] (me) → nginx[99]", 90, "curl→nginx"),
        ("process: curl[812] →", 110, "curl[812]"),
        ("process: → nginx[99]", 110, "nginx[99]"),
        ("process: me[7] → me[7]", 110, "me[7]"),
        ("process: a-long-program[1234567] → and-another[2]", 110, "a-long-program→and-ano"),
        ("process: \x1b[31mred[7] →", 110, "\\x1b[31mred[7]"),
    ],
)
def test_whose_a_packet_is(comment: str, width: int, said: str) -> None:
    (line,) = lines(LiveRows(), chunk(comment), width)
    assert line[:width] == f"    1 0.000000000    127.0.0.1 → 127.0.0.1    UDP 42 {said} 1000 → 9 Len=0"[:width]


def test_the_column_is_there_from_the_first_process_on() -> None:
    made = LiveRows()
    assert "UDP 42 1000 → 9 Len=0" in lines(made, chunk(""))[0]
    known, unknown = lines(made, chunk("process: curl[812] →", ""))
    assert ("UDP 42 curl[812] 1000" in known, "UDP 42           1001" in unknown) == (True, True)
    assert "UDP 42           1000" in lines(made, chunk(""))[0]


def test_the_newest_are_shown_and_no_line_is_longer_than_the_terminal() -> None:
    shown = lines(LiveRows(), chunk(*[""] * 30), 72, 20)
    assert [line.split()[0] for line in shown] == [str(number) for number in range(11, 31)]
    assert max(map(len, lines(LiveRows(), chunk(""), 40))) == 40


def test_info_has_room_where_the_terminal_is_narrow() -> None:
    """Whole columns give way: decimals, the length, the processes; then the number and the time."""
    said = "process: curl[812] → nginx[99]"
    at_80 = "    1 0.000000    127.0.0.1 → 127.0.0.1    UDP 1000 → 9 Len=0"
    assert lines(LiveRows(), chunk(said), 80) == [at_80]
    assert lines(LiveRows(), chunk(said), 60) == ["   127.0.0.1 → 127.0.0.1    UDP 1000 → 9 Len=0"]


def test_long_addresses_give_way_too() -> None:
    far = bytes.fromhex("fd00000000000000123456789abc0001"), bytes.fromhex("fd0000000000000012345678ffff0002")
    header = b"\x60\0\0\0" + struct.pack(">HBB", 8, 17, 64) + far[0] + far[1]
    packet = bytes(12) + b"\x86\xdd" + header + struct.pack(">HHHH", 1000, 9, 8, 0)
    chosen = Chosen(Dissector(None).dissect(Records.of([packet], [0])))
    (line,) = lines(LiveRows(), chosen, 80)
    assert line == "    1 0.000000 fd00::1…:9abc:1 → fd00::1…:ffff:2 UDP 1000 → 9 Len=0"


def test_nothing_is_no_line() -> None:
    assert lines(LiveRows(), chunk("")) and not LiveRows().lines(
        Chosen(chunk("").packets, chunk("").numbers[:0]), 80, 9, cut
    )
