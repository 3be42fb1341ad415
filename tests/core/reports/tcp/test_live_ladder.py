"""The ladder as it grows: the same as that of the whole conversation, however it comes in pieces."""

from __future__ import annotations

from struct import pack

import pytest

from echowire.core.captures.records import Interface, Records
from echowire.core.packets.dissect import Dissector
from echowire.core.packets.tcp.header import ACK, FIN, PSH, SYN
from echowire.core.reports.tcp.ladder import Ladder, lines
from echowire.core.reports.tcp.live_ladder import MAX_CONVERSATIONS, MAX_WAITING, LiveLadder
from echowire.core.reports.tcp.record import TcpRecord
from tests.core.packets.packets import CLIENT, EPOCH_NS, SERVER, _frame

ALL = 1 << 20
SERVED = 80


def frame(end: int, flags: int, seq: int, ack: int, length: int = 0, *, port: int = 40000, window: int = 500) -> bytes:
    ports, hosts = ((port, SERVED), (CLIENT, SERVER)) if end == 0 else ((SERVED, port), (SERVER, CLIENT))
    head = pack(">HHIIBBHHH", *ports, 1000 + seq, (5000 if end == 0 else 1000) + ack, 0x50, flags, window, 0, 0)
    return _frame(6, (head if end == 0 else head[:4] + pack(">I", 5000 + seq) + head[8:]) + bytes(length), *hosts)


def conversation(port: int = 40000) -> list[bytes]:
    """With runs of data, something sent again, a gap, a closed window, and an end."""
    shake = [frame(0, SYN, 0, 0, port=port), frame(1, SYN | ACK, 0, 1, port=port), frame(0, ACK, 1, 1, port=port)]
    data = [frame(0, ACK | PSH, 1 + 100 * at, 1, 100, port=port) for at in range(6)]
    odd = [frame(0, ACK, 501, 1, 100, port=port), frame(0, ACK, 701, 1, 100, port=port)]
    answers = [frame(1, ACK, 1, 801, window=0, port=port), frame(1, ACK, 1, 801, 50, port=port)]
    end = [frame(1, FIN | ACK, 51, 801, port=port), frame(0, FIN | ACK, 801, 52, port=port)]
    return [*shake, *data, *odd, *answers, *end, frame(1, ACK, 52, 802, port=port)]


def fed(frames: list[bytes], size: int) -> LiveLadder:
    """A ladder that was given the frames in chunks."""
    ladder, dissector = LiveLadder(), Dissector(LiveLadder.fields)
    for first in range(0, len(frames), size):
        part = frames[first : first + size]
        times = [EPOCH_NS + (first + at) * 1_000_000 for at in range(len(part))]
        records = Records.of(part, times, interfaces=[Interface(1, resolution=9)])
        ladder.feed(dissector.dissect(records))
    return ladder


def whole(frames: list[bytes]) -> list[str]:
    """What `-z ladder,0` draws of them."""
    times = [EPOCH_NS + at * 1_000_000 for at in range(len(frames))]
    record = TcpRecord(0)
    records = Records.of(frames, times, interfaces=[Interface(1, resolution=9)])
    record.add(Dissector(record.fields).dissect(records))
    return [*lines(Ladder(record.segments()).arrows, 100)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_in_pieces_it_is_the_ladder_of_the_whole(size: int) -> None:
    frames = conversation()
    ladder = fed(frames, size)
    ladder.end()
    title, *drawn = ladder.lines(100, ALL)
    assert title == f"tcp.stream 0: client {CLIENT}:40000, server {SERVER}:{SERVED}"
    assert drawn == whole(frames)
    assert "x6 600 bytes" in "\n".join(drawn)
    assert (ladder.growing(100), ladder.lines(100, ALL), ladder.passed_over) == ([], [], 0)


def test_the_last_arrow_grows_until_another_comes() -> None:
    frames = conversation()
    ladder = fed(frames[:6], 1)
    first = ladder.growing(100)
    assert first == ladder.growing(100)
    assert "x3 300 bytes" in first[-2]
    assert not any("x3" in line for line in ladder.lines(100, ALL))


def test_who_speaks_is_said_each_time_that_it_changes() -> None:
    mixed = [one for pair in zip(conversation(), conversation(40001), strict=True) for one in pair]
    ladder = fed(mixed, 5)
    ladder.end()
    drawn = ladder.lines(100, ALL)
    assert sum(line.startswith("tcp.stream") for line in drawn) == len(mixed)
    assert drawn.count("") == len(mixed) - 1


def test_what_comes_too_fast_is_passed_over_and_counted() -> None:
    shake, end = conversation()[:3], conversation()[-3:]
    chatter = [
        one for at in range(200) for one in (frame(0, ACK | PSH, 1 + at * 10, 1, 10), frame(1, ACK, 1, 11 + at * 10))
    ]
    again = frame(0, ACK | PSH, 901, 1, 10)
    ladder = fed([*shake, *chatter[:200], again, *chatter[200:], *end], 1000)
    ladder.end()
    drawn = ladder.lines(100, 10)
    text = "\n".join(drawn)
    assert "SYN seq 0" in text and "sent again" in text and "FIN, ACK" in text
    hidden = sum(int(line[1:].split()[0]) for line in drawn if line.startswith("["))
    assert hidden == ladder.passed_over > 300
    assert sum(line.endswith(("> LISTEN", "-", ">")) or "<" in line or ">" in line for line in drawn) == 10


def test_what_was_not_looked_at_is_no_gap() -> None:
    frames = conversation()
    ladder, dissector = fed(frames[:5], 5), Dissector(LiveLadder.fields)
    ladder.skip(3)
    records = Records.of(frames[8:9], [EPOCH_NS], interfaces=[Interface(1, resolution=9)])
    ladder.feed(dissector.dissect(records))
    assert "[3 packets not looked at]" in ladder.lines(100, ALL)
    assert "gap" not in "\n".join(ladder.growing(100))


def test_its_memory_has_limits() -> None:
    ladder = fed([frame(0, SYN, 0, 0, port=1000 + at) for at in range(3 * MAX_CONVERSATIONS)], 50)
    assert len(ladder._known) == MAX_CONVERSATIONS
    marked = [frame(end, ACK, 1, 1, window=at % 2) for at in range(MAX_WAITING) for end in (0, 1)]
    ladder = fed(marked, 4000)
    assert len(ladder._waiting) == MAX_WAITING
    assert ladder.passed_over > 0


@pytest.mark.parametrize("width", [1, 20, 79, 80, 120])
def test_it_fits_its_terminal(width: int) -> None:
    ladder = fed(conversation(), 4)
    assert max(map(len, [*ladder.lines(width, 3), *ladder.growing(width)])) <= width
