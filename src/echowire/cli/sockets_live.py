"""`echowire sockets --watch`: look after look, as lines; on a terminal they are a table (`cli/sockets_screen.py`)."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from threading import Event

from echowire import SocketChange, SocketInquiry, SocketTracker, printable
from echowire.cli.signals import heard
from echowire.cli.sockets_looks import ENDING, clock, end_text, looks, rate_text, who_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from echowire.cli.environment import Environment

SIGNS = {"opened": "+", "state": "~", "closed": "-", "same": " "}


def watch(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """Look every so often, until Ctrl-C or so many times."""
    for number in heard(ENDING):
        signal.signal(number, signal.default_int_handler)
    if env.has_colour and not options["jsonl"]:
        from echowire.cli.sockets_screen import watch_screen

        return watch_screen(env, options, inquiry)
    pause = Event()
    with suppress(KeyboardInterrupt):
        for look, due, changes in looks(options, inquiry, SocketTracker(inquiry.reader)):
            _write_changes(env, options, inquiry, changes, is_first=look == 1)
            # Each look is due at its time, however long the last one took.
            pause.wait(max(0.0, due - time.monotonic()))
    return 0


def _write_changes(
    env: Environment,
    options: dict[str, Any],
    inquiry: SocketInquiry,
    changes: Iterable[SocketChange],
    *,
    is_first: bool,
) -> None:
    """The changes of one look as lines; of the first, what there is."""
    now = time.time_ns()
    for change in changes:
        if change.kind == "same" and not is_first and not change.activity and not change.rates.get("retransmitted"):
            continue
        if options["jsonl"]:
            env.answer_json({"time_ns": now, **change.document()})
            continue
        row = change.row
        was = f" (was {change.was})" if change.was else ""
        rates = "".join(f" {name}:{rate_text(value, name)}" for name, value in change.rates.items() if value)
        where = f"{end_text(row['local_address'], row['local_port'])} {end_text(row['peer_address'], row['peer_port'])}"
        if row["netid"] in _BY_PATH:
            where = printable(row["path"] or "*")
        what = f"{SIGNS[change.kind]} {row['netid']} {row['state']}{was} {where}{rates}{who_text(row, inquiry)}"
        env.answer(f"{clock(now)} {what}")


_BY_PATH = ("u_str", "u_dgr", "u_seq")
