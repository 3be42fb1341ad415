"""How much came when: packets, bytes and figures of a field for each interval, as `tshark -z io,stat,N` has them.

Each column is a display filter, or COUNT, SUM, MIN, MAX or AVG of a field among the packets of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import INTS, UINTS, Type
from echowire.core.packets.dissect import Packets
from echowire.core.packets.registry import registry
from echowire.core.reports.base import SECOND_NS, Sieve, Span
from echowire.errors import UsageError

MAX_INTERVALS = 1 << 20
"""Rows at most, as many as a million seconds; a microsecond's interval over a day is refused, not made."""

MICROSECOND_NS = 1000
FIGURE = re.compile(r"(COUNT|SUM|MIN|MAX|AVG)\(\s*([\w.-]+)\s*\)(.*)", re.DOTALL)
MIN_FRAMES, MIN_BYTES = 6, 5
"""Least widths of the columns of frames and bytes."""

MIN_TIME_WIDTH = 12
MAX_FILTER_WIDTH = 102


@dataclass(slots=True)
class _Column:
    """One column: what is counted among the packets that pass."""

    text: str
    sieve: Sieve
    figure: str = ""
    """"" counts frames and bytes, else COUNT, SUM, MIN, MAX or AVG of the field `name`."""
    name: str = ""
    is_time: bool = False
    widest: int = 0
    """The largest that a least value was at any time: tshark makes room for it."""
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Packets of each interval; of a figure, its field's occurrences."""
    values: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Bytes of each interval; of a figure, the sum, the least or the greatest value."""

    def grow(self, size: int) -> None:
        if size > len(self.counts):
            more = max(size, 2 * len(self.counts)) - len(self.counts)
            self.counts = np.concatenate([self.counts, np.zeros(more, np.int64)])
            self.values = np.concatenate([self.values, np.zeros(more, np.int64)])

    def add(self, packets: Packets, interval: NDArray[np.int64]) -> None:
        chosen = self.sieve.rows(packets)
        if not self.figure:
            mine = interval if chosen is None else interval[chosen]
            length = packets.records.length if chosen is None else packets.records.length[chosen]
            np.add.at(self.counts, mine, 1)
            np.add.at(self.values, mine, length)
            return
        rows, values = packets.values(self.name)
        if chosen is not None:
            keep = np.isin(rows, chosen)
            rows, values = rows[keep], values[keep]
        mine = interval[rows]
        if self.figure in ("SUM", "AVG"):
            np.add.at(self.values, mine, values.astype(np.int64))
        elif self.figure in ("MIN", "MAX"):
            self._extreme(mine, values.astype(np.int64))
        np.add.at(self.counts, mine, 1)

    def _extreme(self, mine: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        """Take the least or the greatest; the first value of an interval is taken whatever it is."""
        fresh = self.counts[mine] == 0
        first = mine[fresh][::-1]
        self.values[first] = values[fresh][::-1]
        self.widest = max(self.widest, int(self.values[first].max(initial=0)))
        (np.minimum if self.figure == "MIN" else np.maximum).at(self.values, mine, values)

    def figures(self) -> NDArray[np.int64]:
        """What is shown of each interval."""
        if self.figure == "COUNT":
            return self.counts
        if self.figure == "AVG":
            return self.values // np.maximum(self.counts, 1)
        return self.values

    def known(self, row: int) -> int | None:
        """The figure of an interval; None where it is of values, and there were none."""
        if self.figure in ("MIN", "MAX", "AVG") and not self.counts[row]:
            return None
        return int(self.figures()[row])


class IoStat:
    """The report. `interval` is seconds as text, 0 for one interval over all."""

    def __init__(self, interval: str, columns: Sequence[str] = ()) -> None:
        try:
            given = Decimal(interval)
            self._interval_ns = int(given * SECOND_NS)
        except (InvalidOperation, ValueError, OverflowError):
            raise UsageError(f"io,stat,{interval}: the interval is a number of seconds") from None
        if not 0 <= self._interval_ns < 1 << 62 or 0 < self._interval_ns < MICROSECOND_NS:
            raise UsageError(f"io,stat,{interval}: the interval is 0, or from 0.000001 seconds up")
        exponent = given.normalize().as_tuple().exponent
        self._decimals = max(0, -exponent) if isinstance(exponent, int) else 0
        self._columns = [_column(text) for text in columns or [""]]
        self._span = Span()
        self._rows = 0

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs."""
        asked = [name for column in self._columns for name in (*column.sieve.fields, column.name) if name]
        return asked or ["frame.number"]

    def add(self, packets: Packets) -> None:
        """Count a chunk."""
        self._span.add(packets)
        if not len(packets):
            return
        since = np.maximum(packets.records.time_ns - (self._span.first_ns or 0), 0)
        interval = since // self._interval_ns if self._interval_ns else np.zeros(len(since), np.int64)
        needed = int(interval.max()) + 1
        if needed > MAX_INTERVALS:
            raise UsageError(f"io,stat: more than {MAX_INTERVALS} intervals; take longer ones")
        self._rows = max(self._rows, needed)
        for column in self._columns:
            column.grow(self._rows)
            column.add(packets, interval)

    def document(self) -> dict[str, Any]:
        """As data: for each interval the frames and bytes, or the figure, of each column."""
        duration = self._span.duration_ns
        step = self._interval_ns or duration
        intervals = []
        for row in range(self._rows):
            shown: list[dict[str, int | str | None]] = []
            for column in self._columns:
                if column.figure:
                    shown.append({"figure": column.figure, "value": column.known(row)})
                else:
                    shown.append({"frames": int(column.counts[row]), "bytes": int(column.values[row])})
            stop = min((row + 1) * step, max(duration, row * step))
            intervals.append({"start_ns": row * step, "end_ns": stop, "columns": shown})
        names = [column.text or None for column in self._columns]
        return {"report": "io,stat", "duration_ns": duration, "columns": names, "intervals": intervals}

    def text(self, width: int) -> Iterator[str]:
        """The table."""
        yield from _Table(self._columns, self._span.duration_ns, self._interval_ns, self._decimals, self._rows).lines()


class _Table:
    """tshark's layout: a frame of equal signs and bars, times right, and each column as wide as its widest number."""

    def __init__(
        self, columns: Sequence[_Column], duration_ns: int, interval_ns: int, decimals: int, rows: int
    ) -> None:
        self.columns, self.rows = columns, rows
        duration = (duration_ns + 500) // 1000
        whole = not interval_ns or interval_ns // 1000 > duration
        self.interval = duration if whole else interval_ns // 1000
        magnitude = len(str(duration // 10**6))
        self.decimals = decimals if not whole else 1 if magnitude >= 2 else 3
        unit = 10 ** (6 - self.decimals)
        self.exact = duration
        self.duration = duration + 5 * (unit // 10)
        if whole:
            self.interval, self.rows = self.duration, min(rows, 1)
        if not duration:
            self.rows = 0  # as in tshark, which divides the time that there is
        self.seconds = len(str(self.duration // 10**6))
        """Digits of seconds."""
        natural = 2 * self.seconds + (2 * self.decimals + 10 if self.decimals else 8)
        self.time_width = max(MIN_TIME_WIDTH, natural)
        self.indent = " " * ((self.time_width - natural) // 2)
        self.widths = [self._widths(column) for column in columns]
        self.table = self.time_width + sum(sum(one) + 3 * len(one) for one in self.widths)
        fraction = self.decimals + 1 if self.decimals else 0
        border = 30 + magnitude + fraction if whole else 24 + len(str(self.interval // 10**6)) + fraction
        border = max(border, self.table)
        filters = max(len(column.text) + 11 if column.text else 26 for column in columns)
        if border < filters and border < MAX_FILTER_WIDTH:
            border = min(filters, MAX_FILTER_WIDTH)
        self.border = border + 1 if border - self.table == 1 else border

    def _widths(self, column: _Column) -> list[int]:
        counts, values = column.counts[: self.rows], column.figures()[: self.rows]
        digits = len(str(max(int(values.max(initial=0)), column.widest)))
        if column.figure:
            seconds = len(str(int(values.max(initial=0)) // SECOND_NS)) + 7
            return [seconds if column.is_time and column.figure != "COUNT" else max(digits, len(column.figure))]
        return [max(MIN_FRAMES, len(str(int(counts.max(initial=0))))), max(MIN_BYTES, digits)]

    def lines(self) -> Iterator[str]:
        """All lines, the first empty."""
        rule = "=" * self.border
        yield ""
        yield rule
        yield from map(self._boxed, ("IO Statistics", ""))
        whole = f"{self.exact // 10**6}.{self.exact % 10**6:06}" if not self.decimals else self._time(self.duration)
        yield self._boxed(f"Duration: {whole} secs")
        yield self._boxed(f"Interval: {self._time(self.interval)} secs")
        yield self._boxed("")
        for number, column in enumerate(self.columns, 1):
            yield from map(self._boxed, self._named(number, column))
        yield f"|{'-' * (self.border - 2)}|"
        heads: list[Callable[[_Column, list[int], int], str]] = [self._number, self._name]
        for first, head in zip(("", "Interval"), heads, strict=True):
            cells = "".join(head(column, size, at) for at, (column, size) in enumerate(self._sized(), 1))
            yield self._filled(f"| {first}".ljust(self.time_width - 1) + "|" + cells)
        yield f"|{'-' * (self.table - 2)}|" + ("" if self.table == self.border else self._tail())
        for row in range(self.rows):
            yield self._filled(self._interval(row) + "".join(self._cell(one, size, row) for one, size in self._sized()))
        yield rule

    def _sized(self) -> Iterator[tuple[_Column, list[int]]]:
        return zip(self.columns, self.widths, strict=True)

    def _named(self, number: int, column: _Column) -> Iterator[str]:
        """The column's filter, on several lines where it is longer than the table."""
        text, room = column.text or "Frames and bytes", self.border - 11
        head = f"Col {number}: " if number == 1 else f"{number:>5}: "
        while len(text) > room > 0:
            at = text.rfind(" ", 0, room + 1)
            at = at if at > 0 else room
            yield head + text[:at]
            text, head = text[at:].lstrip(), " " * len(head)
        yield head + text

    def _boxed(self, text: str) -> str:
        return f"| {text}".ljust(self.border - 1) + "|"

    def _tail(self) -> str:
        return " " * (self.border - self.table - 1) + "|"

    def _filled(self, line: str) -> str:
        return line if self.table == self.border else line + self._tail()

    def _time(self, microseconds: int) -> str:
        text = f"{microseconds // 10**6:{self.seconds}}"
        if not self.decimals:
            return text
        return f"{text}.{microseconds % 10**6 // 10 ** (6 - self.decimals):0{self.decimals}}"

    def _interval(self, row: int) -> str:
        begin, end = row * self.interval, (row + 1) * self.interval
        if end > self.exact and not self.decimals:
            last = f"|{self.indent} {self._time(begin)} <> " + "Dur".ljust(self.seconds)
            return last.ljust(self.time_width - 1) + "|"
        end = min(end, self.duration)
        return f"|{self.indent} {self._time(begin)} <> {self._time(end)} ".ljust(self.time_width - 1) + "|"

    def _number(self, column: _Column, size: list[int], number: int) -> str:
        return str(number).ljust(sum(size) + 3 * len(size) - 1) + "|"

    def _name(self, column: _Column, size: list[int], number: int) -> str:
        names = [column.figure] if column.figure else ["Frames", "Bytes"]
        return "".join(_centred(name, width) for name, width in zip(names, size, strict=True))

    def _cell(self, column: _Column, size: list[int], row: int) -> str:
        value = int(column.figures()[row])
        if column.figure:
            if column.is_time and column.figure != "COUNT":
                text = f"{value // SECOND_NS}.{value % SECOND_NS // 1000:06}"
                return f" {text:>{size[0]}} |"
            return f" {value:>{size[0]}} |"
        return f" {int(column.counts[row]):>{size[0]}} | {value:>{size[1]}} |"


def _centred(text: str, width: int) -> str:
    left = (width - len(text) + 1) // 2
    return f" {' ' * left}{text}{' ' * (width - len(text) - left)} |"


def _column(text: str) -> _Column:
    """One column as tshark has it: a filter, or `SUM(field)filter`. Raises `UsageError`."""
    found = FIGURE.fullmatch(text)
    if not found:
        return _Column(text, Sieve(text))
    figure, name, rest = found[1], found[2], found[3].strip()
    known = registry().fields.get(name)
    if known is None:
        raise UsageError(f"io,stat: {name}: no such field; `echowire fields` lists them")
    kind = known[0][1].type
    is_time = kind is Type.RELATIVE_TIME
    if figure != "COUNT" and not (is_time or kind in UINTS or kind in INTS):
        raise UsageError(f"io,stat: {figure} is of numbers and times, and {name} is none")
    if rest and name not in rest:
        rest = f"{name} && ({rest})"
    return _Column(text, Sieve(rest), figure, name, is_time)
