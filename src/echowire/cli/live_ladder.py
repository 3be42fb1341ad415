"""The ladder that grows on a terminal while `echowire capture` looks at one TCP port."""

from __future__ import annotations

import re
import shutil
from typing import Any

from echowire import LiveCapture, LiveLadder
from echowire.cli.capture_report import LiveList
from echowire.cli.common import Environment

ARROWS_PER_REFRESH = 10
"""That are drawn of one block of packets: two lines each, as many as the packet list has rows."""

CLEAR_BELOW = "\r\x1b[J"


class GrowingLadder(LiveList):
    """The arrows as they come; beneath them the last one, which may get longer, and the line of rates and drops."""

    fields = LiveLadder.fields

    def __init__(self, env: Environment, live: LiveCapture) -> None:
        super().__init__(env, live, "r")
        self._ladder = LiveLadder()
        self._skipped = 0
        self._beneath: list[str] = []

    def show(self, chosen: Any) -> None:
        """What these packets add."""
        if self.live.skipped != self._skipped:
            self._ladder.skip(self.live.skipped - self._skipped)
            self._skipped = self.live.skipped
        self._ladder.feed(chosen.packets)
        self._draw()

    def tick(self) -> None:
        """The rates, and the terminal's width."""
        if self._is_due():
            self._draw()

    def end(self) -> None:
        """Leave the whole ladder, and nothing beneath it."""
        self._ladder.end()
        width = shutil.get_terminal_size().columns
        self._write(self._up(width) + _lines(self._ladder.lines(width, ARROWS_PER_REFRESH)))

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns
        text = self._up(width) + _lines(self._ladder.lines(width, ARROWS_PER_REFRESH))
        self._passed_over = self._ladder.passed_over
        self._beneath = [*self._ladder.growing(width), self._said()[: width - 1]]
        *growing, said = self._beneath
        self._write(f"{text}{_lines(growing)}\x1b[7m{said}\x1b[m")

    def _up(self, width: int) -> str:
        """To the first of the lines beneath, and rid of them: of more rows than lines, if the terminal was narrowed."""
        rows = sum(max(1, -(-len(line) // width)) for line in self._beneath)
        return (f"\x1b[{rows - 1}A" if rows > 1 else "") + CLEAR_BELOW

    def _write(self, text: str) -> None:
        self.env.write(text.encode("utf-8", "replace"))
        self.env.flush()


def pins_tcp_port(expression: str) -> bool:
    """Whether a capture filter (pcap-filter(7)) takes the segments of one TCP port only."""
    words = re.findall(r"[\w.:/-]+|\S", expression.lower())
    alternatives = {"or", "|", "not", "!", "portrange", "udp", "icmp"}
    return "tcp" in words and words.count("port") == 1 and words[-1] != "port" and not alternatives.intersection(words)


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
