"""`echowire sockets --by process --watch`: who uses the network, as a table on a terminal and as lines elsewhere."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from threading import Event

from echowire import SocketInquiry, SocketUsage, UsageGroup, printable
from echowire.cli.signals import heard
from echowire.cli.sockets_looks import ENDING, clock, rate_text
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from echowire.cli.environment import Environment
    from echowire.cli.live_view import View

LEARN_S = 0.25
"""How often what the kernel tells is taken, between two looks."""

SORTS = ("rate", "total", "name", "sockets")
LOST_STATUS = 1
"""Exit status when ends of sockets came too fast to be counted."""


def usage(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """Look every so often, until Ctrl-C or so many times."""
    if options["by"] not in SocketUsage.GROUPS:
        raise UsageError(f"--by {options['by']} is not counted in bytes; one of {', '.join(SocketUsage.GROUPS)}")
    for number in heard(ENDING):
        signal.signal(number, signal.default_int_handler)
    with SocketUsage(inquiry, options["by"]) as source:
        for note in source.notes:
            env.say(f"echowire: {note}")
        with suppress(KeyboardInterrupt):
            if env.has_colour and not options["jsonl"]:
                _on_screen(env, options, source)
            else:
                _as_lines(env, options, source)
    if source.lost:
        env.say("echowire: ends of sockets came faster than they were read; their last bytes are not counted")
    return LOST_STATUS if source.lost else 0


def _looks(options: dict[str, Any], source: SocketUsage) -> Iterator[tuple[float, list[UsageGroup]]]:
    """When the next is due, and each look; the first, which nothing can be counted of, is not given."""
    source.look()
    began, look = time.monotonic(), 0
    yield began + options["watch"], []
    while look != options["count"]:
        look += 1
        is_last = look == options["count"]
        yield 0.0 if is_last else began + (look + 1) * options["watch"], source.look()


def _as_lines(env: Environment, options: dict[str, Any], source: SocketUsage) -> None:
    pause = Event()
    for due, groups in _looks(options, source):
        now = time.time_ns()
        for group in sorted(groups, key=lambda one: -(one.sent + one.received)):
            if not (group.sent or group.received or group.ended):
                continue
            if options["jsonl"]:
                env.answer_json({"event": "usage", "time_ns": now, "by": options["by"], **group.document()})
                continue
            ended = f", {group.ended} ended" if group.ended else ""
            rates = f"sent {_rate(group.sent_per_s)}  received {_rate(group.received_per_s)}"
            env.answer(f"{clock(now)} {group.key}  {rates}  {group.sockets} sockets{ended}")
        while (left := due - time.monotonic()) > 0:
            pause.wait(min(left, LEARN_S))
            source.learn()


def _rate(value: float) -> str:
    return rate_text(value, "")


def _on_screen(env: Environment, options: dict[str, Any], source: SocketUsage) -> None:
    from echowire.cli.live_screen import follow
    from echowire.cli.live_view import Column, View

    columns = (
        Column(options["by"].capitalize(), 0),
        Column("Sent", 1, is_right=True),
        Column("Received", 1, is_right=True),
        Column("Sockets", 2, is_right=True),
        Column("Ended", 3, is_right=True),
        Column("Sent in all", 4, is_right=True),
        Column("Received in all", 4, is_right=True),
    )
    follow(env, View(columns, SORTS), _Rows(source), _looks(options, source))


class _Rows:
    """Makes rows of the groups of each look."""

    def __init__(self, source: SocketUsage) -> None:
        self._source = source
        self._groups: list[UsageGroup] = []
        self._pattern = ""

    def learn(self) -> None:
        """Between two looks."""
        self._source.learn()

    def look(self, groups: list[UsageGroup]) -> None:
        """Another look."""
        self._groups = groups

    def filter(self, text: str) -> None:
        """Only the groups whose name has the text."""
        self._pattern = text

    def show(self, view: View) -> None:
        """Give the view what is there by now."""
        from echowire.cli.live_view import Row

        rows = []
        for group in self._groups:
            if self._pattern not in group.key:
                continue
            cells = (
                printable(group.key),
                *(_rate(value) if value else "" for value in (group.sent_per_s, group.received_per_s)),
                *(str(group.sockets), str(group.ended or "")),
                *(f"{total:,}" if total else "" for total in (group.total_sent, group.total_received)),
            )
            both, total = group.sent_per_s + group.received_per_s, group.total_sent + group.total_received
            name = group.key
            rows.append(Row(name, cells, ((-both, -total, name), (-total, name), (name,), (-group.sockets, name))))
        sent, received = (sum(getattr(one, name) for one in self._groups) for name in ("sent_per_s", "received_per_s"))
        summary = [f"sent {_rate(sent)}", f"received {_rate(received)}", time.strftime("%H:%M:%S")]
        view.update(rows, summary)
