"""The live table of `echowire ping`: a line a target, with a sparkline of its last round trips, redrawn in place."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from echowire.cli.common import Environment
from echowire.cli.ping_rows import COLUMNS, target_row

REDRAWN_EACH_S = 0.25
BARS = "▁▂▃▄▅▆▇█"
SPARKS = 30
"""Round trips of the sparkline: what fits a terminal of 120 columns beside the figures."""


class LiveTable:
    """Redrawn when it is asked to, and not more often than four times a second."""

    def __init__(self, env: Environment, targets: Sequence[Any]) -> None:
        self._targets = targets
        self._next = 0.0
        stream = io.TextIOWrapper(env.stdout, encoding="utf-8", write_through=True)
        self._stream = stream
        self._console = Console(file=stream, force_terminal=True)
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
        table = Table(box=None, padding=(0, 1), header_style="bold")
        for name in COLUMNS:
            table.add_column(name, justify="left" if name in ("Target", "Answer") else "right", no_wrap=True)
        table.add_column("Last", no_wrap=True)
        room = max(self._console.size.height - 3, 1)
        # What does not answer is what one looks for: where not all fit, those come first.
        shown = self._targets
        if len(shown) > room:
            shown = sorted(shown, key=lambda target: -(target.loss or 0.0))[:room]
        for target in shown:
            style = "red" if target.answers and not target.is_up else "yellow" if target.loss else ""
            sent = target.received + target.lost + target.corrupted
            name, _, *rest = target_row(target)
            table.add_row(name, str(sent), *rest, sparkline(target.recent[-SPARKS:]), style=style)
        if len(self._targets) > room:
            table.add_row(f"… and {len(self._targets) - room} more")
        return table


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
