"""The pictures as SVG: well-formed, bounded, and with a mark for each segment that carried data."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from echowire.core.packets.tcp.header import ACK, SYN
from echowire.core.reports.tcp.ladder import Ladder
from echowire.core.reports.tcp.pictures import MAX_MARKS, ladder_svg, round_trip_svg, sequence_svg
from echowire.core.reports.tcp.record import Segment

SVG = "{http://www.w3.org/2000/svg}"
TITLE = '<client> & "server"'


def talk(count: int) -> list[Segment]:
    """A handshake, so many segments of 10 bytes, each acknowledged, and the last of them again."""
    made = [(0, SYN, 0, 0, 0), (1, SYN | ACK, 0, 1, 0), (0, ACK, 1, 1, 0)]
    for at in range(count):
        made += [(0, ACK, 1 + 10 * at, 1, 10), (1, ACK, 1, 11 + 10 * at, 0)]
    made.append((0, ACK, 1 + 10 * (count - 1), 1, 10))
    return [
        Segment(end, frame, frame * 1_000_000, seq, ack, flags, length, 1000, False)
        for frame, (end, flags, seq, ack, length) in enumerate(made, 1)
    ]


def parsed(lines: Iterable[str]) -> ElementTree.Element:
    return ElementTree.fromstring("\n".join(lines))


def test_each_arrow_is_drawn_and_the_title_is_escaped() -> None:
    arrows = Ladder(talk(5)).arrows
    root = parsed(ladder_svg(arrows, TITLE))
    assert root.findtext(f"{SVG}title") == TITLE
    assert len(root.findall(f"{SVG}path")) == len(arrows)
    assert sum("stroke-dasharray" in line.attrib for line in root.findall(f"{SVG}line")) == 1


def test_each_segment_is_a_point_and_what_is_sent_again_a_cross() -> None:
    root = parsed(sequence_svg(talk(5), TITLE))
    assert (len(root.findall(f"{SVG}circle")), len(root.findall(f"{SVG}path"))) == (5, 1)


def test_each_acknowledgment_is_a_round_trip() -> None:
    assert len(parsed(round_trip_svg(talk(5), TITLE)).findall(f"{SVG}circle")) == 7  # two of the handshake


def test_nothing_is_drawn_of_nothing_and_not_too_much_of_much() -> None:
    for draw in (sequence_svg, round_trip_svg):
        assert not parsed(draw([], TITLE)).findall(f"{SVG}circle")
    assert not parsed(ladder_svg([], TITLE)).findall(f"{SVG}path")
    assert len(parsed(sequence_svg(talk(MAX_MARKS + 10), TITLE)).findall(f"{SVG}circle")) <= MAX_MARKS
