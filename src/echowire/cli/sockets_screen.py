"""`echowire sockets --watch` on a terminal: what lasts as rows that keep their place, what only passes as numbers."""

from __future__ import annotations

import time

from echowire import SocketChange, SocketInquiry, SocketTracker, printable
from echowire.cli.live_screen import follow
from echowire.cli.live_view import Column, Row, View
from echowire.cli.sockets_looks import end_text, looks, rate_text, who_text
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from echowire import SocketRow
    from echowire.cli.environment import Environment

PASSING = {
    3: "SYN-RECV",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    9: "LAST-ACK",
    11: "CLOSING",
    12: "SYN-RECV",
}
"""States that a connection is in on its way in or out: on a busy host most sockets, and nobody's concern one by one."""

HOLD = 3
"""Looks for which what has closed stays to be seen."""

LASTING = 2
"""Looks at which it must have been seen for that: of what comes and goes there is the number."""

COLUMNS = (
    Column("", 7),
    Column("Netid", 6),
    Column("State", 0),
    Column("Recv-Q", 4, is_right=True),
    Column("Send-Q", 4, is_right=True),
    Column("Local", 1),
    Column("Peer", 2),
    Column("Sent", 5, is_right=True),
    Column("Received", 5, is_right=True),
    Column("Retrans", 8, is_right=True),
    Column("Process", 3),
)
SORTS = ("place", "rate", "queue", "state", "process")
STYLES = {"opened": "green", "state": "yellow", "closed": "red", "same": ""}
SIGNS = {"opened": "+", "state": "~", "closed": "-", "same": ""}


class SocketRows:
    """Makes rows of the changes of each look. `is_shown` is a filter that was typed."""

    def __init__(self, inquiry: SocketInquiry) -> None:
        self._inquiry = inquiry
        left_out = {"Netid"} if len(inquiry.kinds) == 1 and inquiry.kinds[0] in ("tcp", "udp") else set()
        left_out |= {"Process"} if inquiry.names.holders is None else set()
        self._shown = [at for at, column in enumerate(COLUMNS) if column.name not in left_out]
        # Who names a state wants to see what is in it.
        has_states = inquiry.parsed is not None and inquiry.parsed.states is not None
        self.tracker = SocketTracker(inquiry.reader, () if has_states else PASSING)
        self._seen: dict[int, int] = {}
        self._closed: dict[int, tuple[int, SocketChange]] = {}
        self._look = 0
        self._changes: list[SocketChange] = []
        self.is_shown: Callable[[SocketRow], bool] | None = None
        self.pattern = ""

    @property
    def columns(self) -> list[Column]:
        """The columns that these rows have."""
        return [COLUMNS[at] for at in self._shown]

    def learn(self) -> None:
        """Between two looks there is nothing to learn."""

    def look(self, changes: list[SocketChange]) -> None:
        """Another look."""
        self._look += 1
        self._changes = changes
        seen: dict[int, int] = {}
        for change in changes:
            cookie = change.row["cookie"]
            if change.kind != "closed":
                seen[cookie] = self._seen.get(cookie, 0) + 1
            elif self._seen.get(cookie, 0) >= LASTING:
                self._closed[cookie] = (self._look, change)
        self._seen = seen
        self._closed = {
            cookie: (look, change) for cookie, (look, change) in self._closed.items() if self._look - look < HOLD
        }

    def show(self, view: View) -> None:
        """Give the view what is there by now."""
        kept = [change for change in self._changes if change.kind != "closed"]
        opened = sum(change.kind == "opened" for change in kept)
        closed = len(self._changes) - len(kept)
        held = [change for _, change in self._closed.values()]
        rows = [row for change in [*kept, *held] if (row := self._row(change)) is not None]
        total = len(kept) + sum(self.tracker.passed.values())
        folded: dict[str, int] = {}
        for state, count in self.tracker.passed.items():
            folded[PASSING[state]] = folded.get(PASSING[state], 0) + count
        passing = "  ".join(f"{count} {state}" for state, count in sorted(folded.items(), key=lambda one: -one[1]))
        summary = [f"{total} sockets", f"+{opened} -{closed} a look", time.strftime("%H:%M:%S")]
        view.update(rows, summary, f"passing: {passing}" if passing else "")

    def _row(self, change: SocketChange) -> Row | None:
        row, rates = change.row, change.rates
        if self.is_shown is not None and not self.is_shown(row):
            return None
        queues = ("accept_queue", "accept_limit") if row["state"] == "LISTEN" else ("unread", "unacked")
        local = end_text(row["local_address"], row["local_port"])
        if row["path"] or row["netid"][:2] == "u_":
            local = printable(row["path"] or f"* {row['inode'] or 0}")
        cells = (
            SIGNS[change.kind],
            row["netid"],
            f"{change.was} → {row['state']}" if change.was else row["state"],
            *(str(row[name] or 0) for name in queues),
            *(local, end_text(row["peer_address"], row["peer_port"])),
            *(
                rate_text(rates[name], name) if rates.get(name) else ""
                for name in ("sent", "received", "retransmitted")
            ),
            who_text(row, self._inquiry).strip(),
        )
        if self.pattern and not any(self.pattern in cell for cell in cells):
            return None
        place = (
            *(row["state"] != "LISTEN", row["netid"], row["local_port"] or 0, row["local_address"] or local),
            *(row["peer_address"] or "", row["peer_port"] or 0, row["cookie"]),
        )
        orders = (
            place,
            (-change.activity, place),
            (-sum(row[name] or 0 for name in queues), place),
            (row["state"], place),
            (cells[-1], place),
        )
        return Row(row["cookie"], tuple(cells[at] for at in self._shown), orders, STYLES[change.kind])

    def filter(self, text: str) -> None:
        """Show what a filter of ss's language chooses, or, of a single word that is none, the rows that have it.

        Raises `UsageError`.
        """
        self.is_shown, self.pattern = None, ""
        if not text:
            return
        try:
            self.is_shown = self._inquiry.row_filter(text)
        except UsageError:
            if not text.replace(".", "").replace("-", "").replace("_", "").replace("/", "").isalnum():
                raise
            self.pattern = text


def watch_screen(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """The live table, until it is left by q or a signal, or has looked so many times."""
    rows = SocketRows(inquiry)
    view = View(rows.columns, SORTS)
    found = looks(options, inquiry, rows.tracker)
    follow(env, view, rows, ((due, changes) for _, due, changes in found))
    return 0
