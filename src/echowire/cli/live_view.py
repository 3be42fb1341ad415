"""A table on a screen that stays readable while it changes: which rows, in which order, which columns, what is marked.

Pure: rows and keys in, lines out; who draws them is `cli/live_screen.py`. Whatever the size, no column is cut while
there is one that matters less: whole columns go, the least important first. Rows are ordered, and keep their place
until they go; what changed since the look before is marked.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Line = list[tuple[str, str]]

GAP = 2
"""Blanks between columns."""

AROUND = 4
"""Lines that are not rows: the summary, the heading, what is folded, and the keys."""

KEYS = "q quit  / filter  s sort  space freeze  ↑↓ PgUp PgDn Home End scroll  ? less"
FEW_KEYS = "q quit  ? keys"


class Column(NamedTuple):
    """A column: its heading, its rank (0 is the last to go), and whether it is of numbers."""

    name: str
    rank: int
    is_right: bool = False


class Row(NamedTuple):
    """A row: what it is known by, its cells as text, what it is ordered by under each order, and its style."""

    key: object
    cells: tuple[str, ...]
    orders: tuple[object, ...]
    style: str = ""


def fitting(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """Which columns fit into `room` together, in their order: the most important; those of a rank go together."""
    kept: list[int] = []
    used = -GAP
    for rank in sorted({column.rank for column in columns}):
        group = [at for at, column in enumerate(columns) if column.rank == rank]
        used += sum(GAP + widths[at] for at in group)
        if kept and used > room:
            break
        kept += group
    return sorted(kept)


def shortened(text: str, width: int) -> str:
    """The text, or both its ends: an address is known by its beginning, a port by its end."""
    if len(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    left = (width - 1) // 2
    return text[:left] + "…" + text[len(text) - (width - 1 - left) :]


class View:
    """What is on the screen. `sorts` are the orders by name, the first of which is that at the beginning."""

    def __init__(self, columns: Sequence[Column], sorts: Sequence[str]) -> None:
        self.columns, self.sorts = tuple(columns), tuple(sorts)
        self.sort = self.top = 0
        self.is_frozen = self.has_help = self.is_over = False
        self.typed: str | None = None
        """What is typed as a filter by now; None while nothing is."""
        self.filter, self.trouble = "", ""
        """The filter that was typed, and what is wrong with it."""
        self._rows: list[Row] = []
        self._before: dict[object, tuple[str, ...]] = {}
        self._changed: dict[object, frozenset[int]] = {}
        self._summary: tuple[str, ...] = ()
        self._folded = ""
        self._room = 1

    def update(self, rows: Sequence[Row], summary: Sequence[str], folded: str = "") -> None:
        """Another look: its rows in any order, the summary's parts by importance, and what was folded into a line."""
        if self.is_frozen:
            return
        before = self._before
        self._changed = {
            row.key: frozenset(
                at for at, (new, old) in enumerate(zip(row.cells, before[row.key], strict=True)) if new != old
            )
            for row in rows
            if row.key in before
        }
        self._before = {row.key: row.cells for row in rows}
        self._rows, self._summary, self._folded = list(rows), tuple(summary), folded
        self._order()

    def _order(self) -> None:
        self._rows.sort(key=lambda row: row.orders[self.sort])  # type: ignore[arg-type,return-value]

    def press(self, key: str) -> None:
        """A key: a character, or `up`, `down`, `pageup`, `pagedown`, `home`, `end`, `enter`, `escape`, `backspace`."""
        if self.typed is not None:
            self._type(key)
            return
        self.trouble = ""
        if key == "q":
            self.is_over = True
        elif key == "/":
            self.typed = self.filter
        elif key == "s":
            self.sort = (self.sort + 1) % len(self.sorts)
            self._order()
        elif key == " ":
            self.is_frozen = not self.is_frozen
        elif key == "?":
            self.has_help = not self.has_help
        else:
            page = max(1, self._room - 1)
            steps = {"up": -1, "down": 1, "pageup": -page, "pagedown": page, "home": -self.top, "end": len(self._rows)}
            self.top += steps.get(key, 0)

    def _type(self, key: str) -> None:
        assert self.typed is not None
        if key == "enter":
            self.filter, self.typed = self.typed.strip(), None
            self.top = 0
        elif key == "escape":
            self.typed = None
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif len(key) == 1 and key.isprintable():
            self.typed += key

    def lines(self, width: int, height: int) -> list[Line]:
        """The screen: at most `height` lines of at most `width` columns, each of texts and their styles."""
        self._room = max(1, height - AROUND)
        self.top = max(0, min(self.top, len(self._rows) - self._room))
        shown = self._rows[self.top : self.top + self._room]
        # The widths are those of all rows, not of those in sight: columns do not jump while one scrolls.
        widths = [
            max(len(column.name), *(len(row.cells[at]) for row in self._rows), 0)
            for at, column in enumerate(self.columns)
        ]
        kept = fitting(self.columns, widths, width)
        if len(kept) < 3 <= len(self.columns):  # even the most important are too wide together: shorten them
            kept = sorted(sorted(range(len(self.columns)), key=lambda at: self.columns[at].rank)[:3])
            widths = _squeezed(widths, kept, width)
        lines = [[(_joined(self._head(), width), "")], self._heading(kept, widths)]
        lines += [self._line(row, kept, widths) for row in shown]
        lines += [[] for _ in range(self._room - len(shown))]
        lines += [[(shortened(self._folded, width), "dim")], [(self._foot(width, len(shown)), "dim")]]
        return lines[:height]

    def _head(self) -> list[str]:
        parts = [*self._summary, f"order: {self.sorts[self.sort]}"]
        if self.is_frozen:
            parts.insert(0, "FROZEN")
        return [*parts, f"filter: {self.filter}"] if self.filter else parts

    def _heading(self, kept: Sequence[int], widths: Sequence[int]) -> Line:
        names = [_set(shortened(self.columns[at].name, widths[at]), widths[at], self.columns[at]) for at in kept]
        return [((" " * GAP).join(names).rstrip(), "bold")]

    def _line(self, row: Row, kept: Sequence[int], widths: Sequence[int]) -> Line:
        line: Line = []
        changed = self._changed.get(row.key, frozenset())
        for number, at in enumerate(kept):
            text = _set(shortened(row.cells[at], widths[at]), widths[at], self.columns[at])
            if number:
                line.append((" " * GAP, row.style))
            marked = row.cells[at] and at in changed
            line.append((text, f"{row.style} bold".strip() if marked else row.style))
        return line

    def _foot(self, width: int, shown: int) -> str:
        if self.typed is not None:
            text = f"/{self.typed}▏  Enter filters, Esc does not"
            return text if len(text) <= width else shortened(f"/{self.typed}▏", width)
        if self.trouble:
            return shortened(self.trouble, width)
        where = f"rows {self.top + 1}-{self.top + shown} of {len(self._rows)}" if self._rows else "no rows"
        keys = KEYS if self.has_help else FEW_KEYS
        return _joined([where, keys], width) if not self.has_help else _joined([keys, where], width)


def _set(text: str, width: int, column: Column) -> str:
    return text.rjust(width) if column.is_right else text.ljust(width)


def _joined(parts: Sequence[str], width: int) -> str:
    """As many of the parts as fit, whole; of the first what fits."""
    text = shortened(parts[0], width) if parts else ""
    for part in parts[1:]:
        if part and len(text) + 3 + len(part) <= width:
            text += " · " + part
    return text


def _squeezed(widths: Sequence[int], kept: Sequence[int], room: int) -> list[int]:
    """Widths of the `kept` that fit `room` together: the widest give, down to what all have."""
    found = list(widths)
    while sum(found[at] for at in kept) + GAP * (len(kept) - 1) > room:
        widest = max(kept, key=lambda at: found[at])
        if found[widest] <= 1:
            break
        found[widest] -= 1
    return found
