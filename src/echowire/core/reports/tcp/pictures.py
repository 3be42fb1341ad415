"""The pictures of a TCP conversation as SVG: the ladder, sequence numbers over time, and round trips over time.

Plain SVG 1.1, without scripts or fonts of its own. What is drawn is bounded (`MAX_MARKS`), as a browser must show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from echowire.core.packets.tcp.header import ACK, SYN
from echowire.core.reports.base import SECOND_NS
from echowire.core.reports.tcp.ladder import Arrow
from echowire.core.reports.tcp.record import Segment

MAX_MARKS = 20_000
"""Arrows or points that are drawn: some megabytes, more than a screen has room for. Of more, every so many-th is."""

WIDTH, HEIGHT = 960, 540
MARGIN = 70
ROW = 34
"""Height of an arrow of the ladder."""

LEFT, RIGHT = 300, 660
"""Where client and server stand in the ladder."""

COLOURS = ("#b3261e", "#1a5fb4")
"""Of the client and the server, as Wireshark follows them: red and blue."""

TICKS = 5


def ladder_svg(arrows: Sequence[Arrow], title: str) -> Iterator[str]:
    """The ladder, an arrow a row."""
    shown = arrows[:MAX_MARKS]
    height = MARGIN + ROW * (len(shown) + 1)
    yield from _begin(title, height)
    yield _line(LEFT, MARGIN, LEFT, height - ROW // 2, "#888")
    yield _line(RIGHT, MARGIN, RIGHT, height - ROW // 2, "#888")
    yield _text(LEFT, MARGIN - 10, "client", "middle")
    yield _text(RIGHT, MARGIN - 10, "server", "middle")
    begin = shown[0].time_ns if shown else 0
    before = ("", "")
    for row, one in enumerate(shown, 1):
        y = MARGIN + ROW * row
        start, stop = (LEFT, RIGHT) if one.end == 0 else (RIGHT, LEFT)
        tip = stop - 8 if one.end == 0 else stop + 8
        colour = COLOURS[one.end]
        dashes = ' stroke-dasharray="6 4"' if one.mark == "sent again" else ""
        yield _line(start, y, stop, y, colour, dashes)
        yield f'<path d="M{stop} {y} L{tip} {y - 4} L{tip} {y + 4} Z" fill="{colour}"/>'
        count = f" x{one.count}" if one.count > 1 else ""
        size = f" {one.length} bytes" if one.length else ""
        numbers = f" seq {one.seq}" + (f" ack {one.ack}" if one.flags & ACK else "")
        mark = f" [{one.mark}]" if one.mark else ""
        yield _text((LEFT + RIGHT) // 2, y - 5, f"{one.flag_names}{count}{size}{numbers}{mark}", "middle")
        yield _text(8, y, f"{(one.time_ns - begin) / SECOND_NS:.6f}", "start")
        for end, (x, anchor) in enumerate(((LEFT - 10, "end"), (RIGHT + 10, "start"))):
            state = one.states[end] if one.states[end] != before[end] else ""
            yield _text(x, y - 3, ", ".join(one.calls[end]), anchor)
            yield _text(x, y + 11, state, anchor, ' font-style="italic"')
        before = one.states
    if len(arrows) > len(shown):
        yield _text(LEFT, height - 4, f"{len(arrows) - len(shown)} arrows more are not drawn", "start")
    yield "</svg>"


def sequence_svg(segments: Sequence[Segment], title: str) -> Iterator[str]:
    """Sequence numbers over time, of both ends; what is sent again is a cross."""
    highest = [0, 0]
    points: list[tuple[int, float, int, bool]] = []
    for one in segments:
        if one.length:
            points.append((one.time_ns, one.stop, one.end, one.seq < highest[one.end]))
        highest[one.end] = max(highest[one.end], one.stop)
    yield from _plot(points, f"{title}: sequence numbers (bytes)", "")


def round_trip_svg(segments: Sequence[Segment], title: str) -> Iterator[str]:
    """How long each acknowledgment took, over time, by the end whose bytes were acknowledged."""
    yield from _plot([*_round_trips(segments)], f"{title}: round trips", " ms")


def _round_trips(segments: Sequence[Segment]) -> Iterator[tuple[int, float, int, bool]]:
    """Times and milliseconds. A segment that was sent again tells none (Karn's algorithm, RFC 6298, section 3)."""
    sent: tuple[dict[int, int], dict[int, int]] = ({}, {})
    highest = [0, 0]
    for one in segments:
        if one.flags & ACK:
            waiting = sent[1 - one.end]
            at = waiting.pop(one.ack, None)
            if at is not None:
                yield one.time_ns, (one.time_ns - at) / 1_000_000, 1 - one.end, False
        if one.length or one.flags & SYN:
            if one.seq < highest[one.end]:
                sent[one.end].pop(one.stop, None)
            else:
                sent[one.end][one.stop] = one.time_ns
            highest[one.end] = max(highest[one.end], one.stop)


def _plot(points: Sequence[tuple[int, float, int, bool]], title: str, unit: str) -> Iterator[str]:
    """Points of time, value, end, and whether they are crosses."""
    step = -(-len(points) // MAX_MARKS) or 1
    shown = points[::step]
    yield from _begin(title + (f", every {step}th" if step > 1 else ""), HEIGHT)
    first = min((at for at, *_ in shown), default=0)
    span = max((at for at, *_ in shown), default=0) - first or 1
    top = max((value for _, value, *_ in shown), default=0) or 1
    right, bottom = WIDTH - MARGIN // 2, HEIGHT - MARGIN
    yield _line(MARGIN, bottom, right, bottom, "#888")
    yield _line(MARGIN, MARGIN, MARGIN, bottom, "#888")
    for tick in range(TICKS + 1):
        x = MARGIN + (right - MARGIN) * tick // TICKS
        y = bottom - (bottom - MARGIN) * tick // TICKS
        yield _text(x, bottom + 18, f"{span * tick / TICKS / SECOND_NS:.3g} s", "middle")
        yield _text(MARGIN - 6, y + 4, f"{top * tick / TICKS:.4g}{unit}", "end")
    for at, value, end, is_cross in shown:
        x = MARGIN + round((right - MARGIN) * (at - first) / span)
        y = bottom - round((bottom - MARGIN) * value / top)
        if is_cross:
            yield f'<path d="M{x - 4} {y - 4} l8 8 m0 -8 l-8 8" stroke="{COLOURS[end]}" stroke-width="2"/>'
        else:
            yield f'<circle cx="{x}" cy="{y}" r="2" fill="{COLOURS[end]}"/>'
    for end, who in enumerate(("client", "server")):
        yield f'<text x="{MARGIN + 80 * end}" y="{HEIGHT - 12}" fill="{COLOURS[end]}">{who}</text>'
    yield "</svg>"


def _begin(title: str, height: int) -> Iterator[str]:
    box = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="11">'
    yield f"<title>{escape(title)}</title>"
    yield f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    yield _text(MARGIN, 24, title, "start", ' font-size="14"')


def _line(x1: int, y1: int, x2: int, y2: int, colour: str, more: str = "") -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{more}/>'


def _text(x: int, y: int, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{more}>{escape(text)}</text>' if text else ""
