"""`echowire sockets --watch` and `--events`: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import signal
import time
from datetime import datetime
from threading import Event

from echowire import SocketChange, SocketEvent, SocketEvents, SocketInquiry, SocketTracker, printable
from echowire.cli.signals import heard
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from rich.table import Table

    from echowire import SocketRow
    from echowire.cli.environment import Environment

SIGNS = {"opened": "+", "state": "~", "closed": "-", "same": " "}
COLOURS = {"opened": "green", "state": "yellow", "closed": "red", "same": ""}
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the stream of events: nothing of it is left behind, whichever it is."""
LOST_STATUS = 1
"""Exit status when something could not be told because it came too fast."""


def watch(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """Look every so often, until Ctrl-C or so many times."""
    tracker, looks = SocketTracker(inquiry.reader), 0
    is_live = env.has_colour and not options["jsonl"]
    screen = _Screen(inquiry) if is_live else None
    pause = Event()
    began = time.monotonic()
    try:
        while True:
            if looks and options["processes"]:
                inquiry.look_for_processes()
            changes = tracker.update(inquiry.blocks(), time.monotonic())
            looks += 1
            present = (change.row for change in changes if change.kind != "closed")
            inquiry.hidden_sockets = sum(is_unseen(row, inquiry) for row in present)
            if screen:
                screen.show(changes)
            else:
                _write_changes(env, options, inquiry, changes, is_first=looks == 1)
            if looks == options["count"]:
                return 0
            # Each look is due at its time, however long the last one took.
            pause.wait(max(0.0, began + looks * options["watch"] - time.monotonic()))
    except KeyboardInterrupt:
        return 0
    finally:
        if screen:
            screen.close()


def is_unseen(row: SocketRow, inquiry: SocketInquiry) -> bool:
    """Whether somebody holds the socket who was looked for and may not be seen."""
    names = inquiry.names
    return not (names.holders is None or names.sees_all) and bool(row["inode"]) and row["processes"] is None


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
        rates = "".join(f" {name}:{_rate(value, name)}" for name, value in change.rates.items() if value)
        where = f"{_end(row['local_address'], row['local_port'])} {_end(row['peer_address'], row['peer_port'])}"
        if row["netid"] in _BY_PATH:
            where = printable(row["path"] or "*")
        what = f"{SIGNS[change.kind]} {row['netid']} {row['state']}{was} {where}{rates}{_who(row, inquiry)}"
        env.answer(f"{_clock(now)} {what}")


_BY_PATH = ("u_str", "u_dgr", "u_seq")


def _rate(value: float, name: str) -> str:
    """Bytes a second in bits, as everywhere; retransmissions as they are."""
    if name == "retransmitted":
        return f"{value:.3g}/s"
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value * 8 >= factor:
            return f"{value * 8 / factor:.3g}{unit}bps"
    return f"{value * 8:.0f}bps"


def _end(address: str | None, port: int | None) -> str:
    host = "*" if address is None else f"[{address}]" if ":" in address else address
    return f"{host}:{port or '*'}"


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9).astimezone().strftime("%H:%M:%S.%f")


def _who(row: SocketRow, inquiry: SocketInquiry) -> str:
    if is_unseen(row, inquiry):
        return " ?"
    found = row["processes"]
    return f" {printable(found[0]['name'])}[{found[0]['pid']}]" if found else ""


class _Screen:
    """The live table: what changed first, then the busiest, as many as the terminal has lines."""

    HOLD = 3
    """Looks for which what has closed stays to be seen."""

    def __init__(self, inquiry: SocketInquiry) -> None:
        from rich.console import Console
        from rich.live import Live

        self._inquiry = inquiry
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, screen=True)
        self._live.start()
        self._recent: dict[int, tuple[int, SocketChange]] = {}
        self._look = 0

    def show(self, changes: Sequence[SocketChange]) -> None:
        """Draw one look."""
        self._look += 1
        present = {change.row["cookie"]: change for change in changes if change.kind != "closed"}
        for change in changes:
            if change.kind != "same":
                self._recent[change.row["cookie"]] = (self._look, change)
        self._recent = {
            cookie: (look, change) for cookie, (look, change) in self._recent.items() if self._look - look < self.HOLD
        }
        recent = [(change, present.get(cookie, change)) for cookie, (_, change) in self._recent.items()]
        rest = [(change, change) for cookie, change in present.items() if cookie not in self._recent]
        rest.sort(key=lambda pair: -pair[0].activity)
        room = max(1, self._console.size.height - 5)
        table = self._table([*recent[-room:], *rest][:room])
        table.caption = f"{len(present)} sockets; Ctrl-C ends"
        self._live.update(table, refresh=True)

    def _table(self, pairs: Iterable[tuple[SocketChange, SocketChange]]) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=True)
        # Terminals are narrow: no column for what is the same everywhere.
        names = ("", "Netid", "State", "Recv-Q", "Send-Q", "Local", "Peer", "Sent", "Received", "Retrans", "Process")
        left_out = {"Netid"} if self._inquiry.kinds in (["tcp"], ["udp"]) else set()
        left_out |= {"Process"} if self._inquiry.names.holders is None else set()
        shown = [at for at, name in enumerate(names) if name not in left_out]
        for name in (names[at] for at in shown):
            table.add_column(name, justify="right" if name in _RIGHT else "left", no_wrap=True)
        for mark, change in pairs:
            row, rates = change.row, change.rates
            state = f"{mark.was} → {row['state']}" if mark.was else row["state"]
            queues = (
                [row["accept_queue"], row["accept_limit"]]
                if row["state"] == "LISTEN"
                else [row["unread"], row["unacked"]]
            )
            here = row["path"] or _end(row["local_address"], row["local_port"])
            cells = [SIGNS[mark.kind], row["netid"], state, *(str(queue or 0) for queue in queues), printable(here)]
            cells.append(_end(row["peer_address"], row["peer_port"]))
            cells += [
                _rate(rates[name], name) if rates.get(name) else "" for name in ("sent", "received", "retransmitted")
            ]
            cells.append(_who(row, self._inquiry).strip())
            table.add_row(*(Text(cells[at]) for at in shown), style=COLOURS[mark.kind])
        return table

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()


_RIGHT = ("Recv-Q", "Send-Q", "Sent", "Received", "Retrans")


def events(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """Print what happens, until Ctrl-C or so many events."""
    if not {"tcp", "udp"} & set(inquiry.kinds):
        raise UsageError("--events tells of TCP and UDP sockets; name one of them, or neither")
    for number in heard(ENDING):
        signal.signal(number, signal.default_int_handler)
    told, status = 0, 0
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # not while it is half set up
    try:
        with SocketEvents(inquiry) as stream:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            for note in stream.notes:
                env.say(f"echowire: {note}")
            for event in stream:
                status = LOST_STATUS if event.kind == "lost" else status
                if options["jsonl"]:
                    env.answer_json(event.document())
                else:
                    env.answer(_event_line(event))
                told += 1
                if told == options["count"]:
                    break
    except KeyboardInterrupt:
        pass
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    return status


def _event_line(event: SocketEvent) -> str:
    values = event.values
    head = f"{_clock(event.time_ns)} {event.kind:<10}"
    if event.kind == "lost":
        return f"{head} {values['what']}"
    where = f"{_end(values['local_address'], values['local_port'])} {_end(values['peer_address'], values['peer_port'])}"
    text = f"{head} {values['netid'] or '?'} {where}"
    if event.kind in ("opened", "state"):
        was = f"{values['was']} → " if values.get("was") else ""
        who = f" by {printable(values['comm'])}[{values['pid']}]" if values.get("pid") else ""
        return f"{text} {was}{values['state']}{who}"
    if event.kind != "closed":
        return text + "".join(
            f" {name}:{values[name]}" for name in ("direction", "state", "reason") if values.get(name)
        )
    rtt = f" rtt:{values['rtt_us'] / 1000:g}ms" if values["rtt_us"] else ""
    lifetime = f" lived:{values['lifetime_ns'] / 1e6:.3f}ms" if values["lifetime_ns"] is not None else ""
    names = ("bytes_sent", "bytes_received", "bytes_retransmitted", "retransmitted")
    counters = "".join(f" {name}:{values[name]}" for name in names if values[name])
    reset = f" reset {values['reset']}" if values["reset"] else ""
    return f"{text}{counters}{rtt}{lifetime}{reset}"
