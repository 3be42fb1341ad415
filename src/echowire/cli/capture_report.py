"""How `echowire capture` shows packets: a live list on a terminal, lines for a pipe, lines of JSON."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from typing import Any

import echowire
from echowire import CaptureCounters, FieldLines, LineFormat, ListLines, LiveCapture, LiveRows
from echowire.cli.common import Environment, printable

ROWS_PER_REFRESH = 20
"""That the live list prints of one block of packets, the newest: nobody reads more of what scrolls by."""

STATUS_S = 0.25
"""Between two redraws of the line beneath."""


OWNER_FIELDS = ("proc.srcpid", "proc.srcname", "proc.dstpid", "proc.dstname")


class Report:
    """Shows nothing; what all kinds of report share."""

    shows = False
    may_skip = False
    fields: Sequence[str] = ()
    """That it needs of the packets; none is all."""

    def __init__(self, env: Environment, live: LiveCapture) -> None:
        self.env, self.live = env, live

    def show(self, chosen: Any) -> None:
        """Show packets."""

    def tick(self) -> None:
        """Called several times a second."""

    def end(self) -> None:
        """The last that is shown."""


class PlainList(Report):
    """The packet list as lines."""

    shows = True

    def __init__(self, env: Environment, live: LiveCapture, time_form: Any) -> None:
        super().__init__(env, live)
        self._lines = ListLines(time_form)

    def show(self, chosen: Any) -> None:
        """A line each."""
        if lines := self._lines.lines(chosen):
            self.env.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))
            self.env.flush()


class PlainFields(Report):
    """Fields as lines, as `-T fields` has them."""

    shows = True

    def __init__(self, env: Environment, live: LiveCapture, fields: Sequence[str], form: LineFormat) -> None:
        super().__init__(env, live)
        self._lines = FieldLines(fields, form)
        env.write(self._lines.begin())

    def show(self, chosen: Any) -> None:
        """A line each."""
        self.env.write(self._lines.lines(chosen))
        self.env.flush()


class JsonLines(Report):
    """An object a packet, and one each time that more packets were dropped."""

    shows = True

    def __init__(self, env: Environment, live: LiveCapture, fields: Sequence[str]) -> None:
        super().__init__(env, live)
        self._fields = fields
        self._dropped = (0, 0)

    def show(self, chosen: Any) -> None:
        """An object each: the list's columns, or the fields asked for."""
        objects = field_objects(chosen, self._fields) if self._fields else list_objects(chosen, self.live)
        for one in objects:
            self.env.answer_json({"event": "packet", **one})

    def tick(self) -> None:
        """The drops, where there are more."""
        counters = self.live.counters()
        dropped = (counters.dropped, counters.interface_dropped)
        if dropped != self._dropped:
            self._dropped = dropped
            self.env.answer_json({"event": "drops", **counts(counters)})


class LiveList(Report):
    """The packet list on a terminal, with a line of rates and drops beneath. It passes rows over, never packets."""

    shows = True
    may_skip = True

    def __init__(self, env: Environment, live: LiveCapture, time_form: Any) -> None:
        super().__init__(env, live)
        from rich.cells import cell_len, set_cell_size  # which takes its time to import

        self._lines = LiveRows(time_form)
        self._fit = lambda text, width: text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
        self._passed_over = 0
        self._last: tuple[float, int] = (time.monotonic(), 0)
        self._rate = 0.0
        self._drawn = 0.0

    def show(self, chosen: Any) -> None:
        """The newest rows of these."""
        self._passed_over += max(0, len(chosen) - ROWS_PER_REFRESH)
        lines = self._lines.lines(chosen, shutil.get_terminal_size().columns, ROWS_PER_REFRESH, self._fit)
        rows = "".join(f"\r\x1b[K{line}\n" for line in lines)
        self.env.write(rows.encode("utf-8", "replace"))
        self._draw_status()

    def tick(self) -> None:
        """The line beneath."""
        self._draw_status()

    def end(self) -> None:
        """Leave the list as it is."""
        self.env.write(b"\r\x1b[K")
        self.env.flush()

    def _draw_status(self) -> None:
        if self._is_due():
            said = self._said()[: shutil.get_terminal_size().columns - 1]
            self.env.write(f"\r\x1b[K\x1b[7m{said}\x1b[m".encode())
        self.env.flush()

    def _is_due(self) -> bool:
        """Whether the line beneath is to be drawn again."""
        now = time.monotonic()
        due = now - self._drawn >= STATUS_S
        self._drawn = now if due else self._drawn
        return due

    def _said(self) -> str:
        """The line beneath."""
        now, counters, (before, captured) = time.monotonic(), self.live.counters(), self._last
        if now - before >= 1:
            self._rate, self._last = (counters.captured - captured) / (now - before), (now, counters.captured)
        hidden = self._passed_over + self.live.skipped
        return (
            f"{printable(', '.join(self.live.names))}: {counters.captured:,} packets, {self._rate:,.0f}/s, "
            f"{counters.dropped:,} dropped by the ring, {counters.interface_dropped:,} by the interface"
            + (f", {hidden:,} rows passed over" if hidden else "")
        )


def rehearse(fields: Sequence[str], *, display_filter: str, on_terminal: bool) -> None:
    """Show a packet that never was to nobody: all that reports load when they first need it is there then."""
    import json  # noqa: F401 - which answers are written with

    echowire.document_head("capture")  # which the summary begins with
    chosen = LiveCapture.rehearsal(display_filter=display_filter)
    ListLines("r").lines(chosen)
    FieldLines(fields or OWNER_FIELDS, LineFormat()).lines(chosen)
    field_objects(chosen, fields or OWNER_FIELDS)
    if on_terminal:
        from rich.cells import cell_len, set_cell_size

        LiveRows("r").lines(chosen, 80, 1, lambda text, width: set_cell_size(text, width))
        cell_len("→")  # what is not ASCII has tables of its own
        ladder = echowire.LiveLadder()
        ladder.feed(chosen.packets)
        ladder.end()
        ladder.lines(80, 1)


def list_objects(chosen: Any, live: LiveCapture) -> Iterator[dict[str, Any]]:
    """The packet list as objects."""
    records, lines = chosen.packets.records, ListLines.columns(chosen)
    for row, owners in zip(chosen.numbers.tolist(), field_objects(chosen, OWNER_FIELDS), strict=True):
        yield {
            "number": int(lines.number[row]),
            "time_ns": int(records.time_ns[row]),
            "interface": live.names[int(records.interface[row])],
            "source": lines.source[row],
            "destination": lines.destination[row],
            "protocol": lines.protocol[row],
            "length": int(lines.length[row]),
            "info": lines.info[row],
            "sender": owner_object(owners, "src"),
            "receiver": owner_object(owners, "dst"),
        }


def field_objects(chosen: Any, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The fields of each packet as texts: all values of each, in a list; absent where a packet has none."""
    found: list[dict[str, Any]] = [{} for _ in range(len(chosen))]
    for name in fields:
        for row, text in zip(*echowire.field_texts(chosen, name), strict=True):
            found[row].setdefault(name, []).append(text)
    return found


def owner_object(owners: dict[str, list[str]], end: str) -> dict[str, Any] | None:
    """The process at one end of a packet; None where it is not known, or not of this host."""
    if f"proc.{end}pid" not in owners:
        return None
    return {"pid": int(owners[f"proc.{end}pid"][0]), "name": owners[f"proc.{end}name"][0]}


def counts(counters: CaptureCounters) -> dict[str, int]:
    """The counters by name."""
    return {
        "captured": counters.captured,
        "received": counters.received,
        "dropped": counters.dropped,
        "interface_dropped": counters.interface_dropped,
    }


def summary(live: LiveCapture, counters: CaptureCounters) -> dict[str, Any]:
    """What a capture came to."""
    return {
        **echowire.document_head("capture"),
        "interfaces": list(live.names),
        **counts(counters),
        "files": live.files,
        "skipped": live.skipped,
        "of_known_processes": live.owners[0] if live.owners else None,
        "of_unknown_processes": live.owners[1] if live.owners else None,
    }
