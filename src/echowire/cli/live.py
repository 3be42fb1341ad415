"""Tables that are redrawn in place, for `echowire ping`: of targets with sparklines, and of the hops of a path."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from echowire.cli.common import Environment
from echowire.cli.ping_rows import COLUMNS, HOP_COLUMNS, hop_rows, target_row

REDRAWN_EACH_S = 0.25
BARS = "▁▂▃▄▅▆▇█"
SPARKS = 30
"""Round trips of the sparkline: what fits a terminal of 120 columns beside the figures."""

LEFT = ("Target", "Answer", "Address", "Note")
"""Columns of words; those of numbers are set to the right."""


class Redrawn:
    """A table that `build` makes for so many lines; drawn when asked to, and at most four times a second."""

    def __init__(self, env: Environment, build: Callable[[int], Table]) -> None:
        self._build = build
        self._next = 0.0
        self._stream = io.TextIOWrapper(env.stdout, encoding="utf-8", write_through=True)
        self._console = Console(file=self._stream, force_terminal=True)
        self._live = Live(self._table(), console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def redraw(self) -> None:
        """Draw what there is by now."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REDRAWN_EACH_S
            self._live.update(self._table(), refresh=True)

    def close(self) -> None:
        """Take the table away; the summary follows."""
        self._live.stop()
        # The stream is the environment's, and goes on.
        self._stream.detach()

    def _table(self) -> Table:
        return self._build(max(self._console.size.height - 3, 1))


def ping_table(targets: Sequence[Any]) -> Callable[[int], Table]:
    """Builds a line a target; where not all fit, those that do not answer come first: they are what one looks for."""

    def build(room: int) -> Table:
        table = _empty((*COLUMNS, "Last"))
        shown = targets
        if len(shown) > room:
            shown = sorted(shown, key=lambda target: -(target.loss or 0.0))[:room]
        for target in shown:
            style = "red" if target.answers and not target.is_up else "yellow" if target.loss else ""
            known = target.received + target.lost + target.corrupted
            name, _, *rest = target_row(target)
            cells = map(Text, (name, str(known), *rest))  # no markup: a name may have brackets
            table.add_row(*cells, sparkline(target.recent[-SPARKS:]), style=style)
        if len(targets) > room:
            table.add_row(f"… and {len(targets) - room} more")
        return table

    return build


def path_table(path: Any) -> Callable[[int], Table]:
    """Builds a line a hop, and one for each further address of it."""

    def build(room: int) -> Table:
        table = _empty(HOP_COLUMNS)
        for row in hop_rows(path)[:room]:
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
        table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True)
    return table
