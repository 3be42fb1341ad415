"""Tables that are redrawn in place, for `echowire ping`: of targets with sparklines, and of the hops of a path."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from echowire.cli.columns import fitted
from echowire.cli.common import Environment
from echowire.cli.ping_rows import COLUMNS, HOP_COLUMNS, HOPS_LEAVING, LEAVING, WORDS, hop_rows, target_row

REDRAWN_EACH_S = 0.25
HIDE_CURSOR, SHOW_CURSOR, CLEAR_SCREEN = "\x1b[?25l", "\x1b[?25h", "\x1b[H\x1b[2J"
BARS = "▁▂▃▄▅▆▇█"
SPARKS, SPARKS_LEAST = 30, 10
"""Round trips of the sparkline, at most and at least."""

FIGURES_CELLS = 90
"""That the figures of a target take, more or less."""


class Redrawn:
    """A table that `build` makes for so many lines and cells; drawn when asked to, and at most four times a second.

    Terminals wrap what they show anew when they are made narrower, some of them: so no line's place is known then, and
    the screen is begun anew.
    """

    def __init__(self, env: Environment, build: Callable[[int, int], Table]) -> None:
        self._env = env
        self._build = build
        self._next = 0.0
        self._lines = 0
        """That are on the screen."""
        self._console = Console(file=io.StringIO(), force_terminal=True)
        self._width = self._console.size.width
        self._draw(HIDE_CURSOR)

    def redraw(self) -> None:
        """Draw what there is by now."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REDRAWN_EACH_S
            self._draw()

    def close(self) -> None:
        """Take the table away; the summary follows."""
        self._write(self._back() + SHOW_CURSOR)

    def _draw(self, before: str = "") -> None:
        size = self._console.size
        start = self._back() if size.width == self._width else CLEAR_SCREEN
        self._width = size.width
        with self._console.capture() as drawn:
            self._console.print(self._build(max(size.height - 3, 1), size.width))
        text = drawn.get()
        self._lines = text.count("\n")
        self._write(before + start + text)

    def _back(self) -> str:
        """To where the table begins, and rid of it."""
        return (f"\x1b[{self._lines}A" if self._lines else "") + "\r\x1b[J"

    def _write(self, text: str) -> None:
        self._env.write(text.encode("utf-8", "replace"))
        self._env.flush()


def ping_table(targets: Sequence[Any]) -> Callable[[int, int], Table]:
    """Builds a line a target; where not all fit, those that do not answer come first: they are what one looks for."""

    def build(room: int, width: int) -> Table:
        shown = targets
        if len(shown) > room:
            shown = sorted(shown, key=lambda target: -(target.loss or 0.0))[:room]
        sparks = [sparkline(target.recent[-_sparks(width) :]) for target in shown]
        rows = [[*COLUMNS, "Last"]]
        for target, spark in zip(shown, sparks, strict=True):
            known = target.received + target.lost + target.corrupted
            name, _, *rest = target_row(target)
            rows.append([name, str(known), *rest, spark.plain])
        names, *cells = fitted(rows, width, LEAVING, WORDS)
        table = _empty(names)
        for target, spark, row in zip(shown, sparks, cells, strict=True):
            style = "red" if target.answers and not target.is_up else "yellow" if target.loss else ""
            # No markup: a name may have brackets.
            texts = [spark if name == "Last" else Text(cell) for name, cell in zip(names, row, strict=True)]
            table.add_row(*texts, style=style)
        if len(targets) > room:
            table.add_row(f"… and {len(targets) - room} more")
        return table

    return build


def _sparks(width: int) -> int:
    """Round trips of the sparkline: as many as the line has room for beside the figures."""
    return max(SPARKS_LEAST, min(SPARKS, width - FIGURES_CELLS))


def path_table(path: Any) -> Callable[[int, int], Table]:
    """Builds a line a hop, and one for each further address of it."""

    def build(room: int, width: int) -> Table:
        names, *rows = fitted([HOP_COLUMNS, *hop_rows(path)], width, HOPS_LEAVING, WORDS)
        table = _empty(names)
        for row in rows[:room]:
            table.add_row(*map(Text, row))
        return table

    return build


def sparkline(values: Sequence[float | None]) -> Text:
    """A bar for each round trip, from the least to the largest of them; a red cross for one that was lost."""
    known = [value for value in values if value is not None]
    least, most = min(known, default=0.0), max(known, default=0.0)
    step = (most - least) / (len(BARS) - 1) or 1.0
    text = Text()
    for value in values:
        if value is None:
            text.append("×", "red")
        else:
            text.append(BARS[round((value - least) / step)])
    return text


def _empty(columns: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name in (*WORDS, "Last") else "right", no_wrap=True)
    return table
