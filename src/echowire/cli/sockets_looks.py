"""Look after look at the sockets, for `--watch`, and the words that its lines, its screen and `--events` share."""

from __future__ import annotations

import signal
import time
from datetime import datetime
from functools import lru_cache

from echowire import SocketChange, SocketInquiry, SocketTracker, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from echowire import SocketRow

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a look that goes on: nothing of it is left behind, whichever it is."""


def looks(
    options: dict[str, Any], inquiry: SocketInquiry, tracker: SocketTracker
) -> Iterator[tuple[int, float, list[SocketChange]]]:
    """Each look: its number from 1, when the next is due, and what was seen; as many as were asked for."""
    look, began = 0, time.monotonic()
    while look != options["count"]:
        if look and inquiry.names.holders is not None:
            inquiry.look_for_processes()
        changes = tracker.update(inquiry.blocks(), time.monotonic())
        look += 1
        present = (change.row for change in changes if change.kind != "closed")
        inquiry.hidden_sockets = sum(is_unseen(row, inquiry) for row in present)
        is_last = look == options["count"]
        yield look, 0.0 if is_last else began + look * options["watch"], changes


def is_unseen(row: SocketRow, inquiry: SocketInquiry) -> bool:
    """Whether somebody holds the socket who was looked for and may not be seen."""
    names = inquiry.names
    return not (names.holders is None or names.sees_all) and bool(row["inode"]) and row["processes"] is None


def rate_text(value: float, name: str) -> str:
    """Bytes a second in bits, as everywhere; retransmissions as they are."""
    if name == "retransmitted":
        return f"{value:.3g}/s"
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value * 8 >= factor:
            return f"{value * 8 / factor:.3g}{unit}bps"
    return f"{value * 8:.0f}bps"


def end_text(address: str | None, port: int | None) -> str:
    """One end of a connection."""
    host = "*" if address is None else f"[{address}]" if ":" in address else address
    return f"{host}:{port or '*'}"


def clock(time_ns: int) -> str:
    """The time of day, to the microsecond."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1000:06d}"


@lru_cache(64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S")


def who_text(row: SocketRow, inquiry: SocketInquiry) -> str:
    """Who holds a socket, behind a blank; a question mark for whom one may not see."""
    if is_unseen(row, inquiry):
        return " ?"
    found = row["processes"]
    return f" {printable(found[0]['name'])}[{found[0]['pid']}]" if found else ""
