"""`echowire sockets --groups`, `--counters`, `--interfaces`, `--routes`: what netstat, nstat and ip show."""

from __future__ import annotations

import fnmatch
import time
from threading import Event

import echowire
from echowire import CounterLook, InterfaceLook, format_duration, printable
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    from echowire.cli.environment import Environment

    Look = TypeVar("Look", CounterLook, InterfaceLook)

TABLES = ("groups", "counters", "interfaces", "routes")
WATCHED = ("counters", "interfaces")

TAKEN = frozenset({*TABLES, "net", "all", "numeric", "json", "jsonl", "watch", "count", "ipv4", "ipv6", "filter"})
"""The options that mean something here; any other is about sockets."""

DIGITS = 3


def run(env: Environment, options: dict[str, Any]) -> int:
    """Print the table that was asked for; the exit status."""
    [table, *others] = [name for name in TABLES if options[name]]
    _check(options, table, others)
    return {"groups": _groups, "counters": _counters, "interfaces": _interfaces, "routes": _routes}[table](env, options)


def _check(options: dict[str, Any], table: str, others: list[str]) -> None:
    """Raises `UsageError` where options contradict each other."""
    if others:
        raise UsageError(f"--{table} and --{others[0]} are two tables; give one of them")
    for name, value in options.items():
        if name not in TAKEN and value not in (None, False, ()):
            shown = name.replace("_", "-")
            raise UsageError(f"--{shown} is about sockets, and --{table} is another table")
    if options["watch"] is not None and table not in WATCHED:
        raise UsageError(f"--watch is for --counters and --interfaces; --{table} has nothing that counts")
    if options["watch"] == 0:
        raise UsageError("--watch 0 would never end looking; give 1s, or 100ms")
    if options["count"] is not None and options["watch"] is None:
        raise UsageError("--count ends --watch; give both")
    if options["json"] and options["jsonl"]:
        raise UsageError("--json is one document, --jsonl a line a look; give one of them")
    if options["jsonl"] and options["watch"] is None:
        raise UsageError(f"--jsonl gives a line a look, with --watch; --{table} is one document: --json")
    if options["json"] and options["watch"] is not None:
        raise UsageError("--watch has no one document; --jsonl gives a line each look")
    if options["filter"] and table == "routes":
        raise UsageError("--routes takes no filter; -4 and -6 choose a family, -a shows every table")


def _family(options: dict[str, Any]) -> int | None:
    return None if options["ipv4"] == options["ipv6"] else 4 if options["ipv4"] else 6


def _chosen(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is one of those that were asked for: `Tcp*`, in whatever case; none is all."""
    return not patterns or any(fnmatch.fnmatch(name.lower(), pattern.lower()) for pattern in patterns)


# --- groups ----------------------------------------------------------------------------------------------------------


def _groups(env: Environment, options: dict[str, Any]) -> int:
    family = _family(options)
    table = echowire.memberships(options["net"], link_layer=bool(options["all"] or options["json"]))
    if options["json"]:
        env.answer_json(table.document(), indent=2)
        return 0
    shown = [one for one in table.found if family in (None, one.family) and _chosen(one.interface, options["filter"])]
    rows = [("Interface", "Group", "Users", "Sources", "Process", "For")]
    for one in shown:
        sources = [f"+{source.address}" for source in one.sources if source.included]
        sources += [f"-{source.address}" for source in one.sources if source.excluded]
        who = [f"{member.process}[{member.pid}] {member.local}" for member in one.members]
        rows.append(
            (one.interface, one.group, str(one.users), _joined(sources), _joined(who), one.purpose or one.version or "")
        )
    _write(env, rows, right={2})
    for one in shown:
        for trouble in one.troubles:
            env.answer(f"! {one.group} on {one.interface}: {trouble}")
    if not table.sees_all:
        env.say(
            "echowire: who has joined is told of the processes that you may trace; root, or CAP_SYS_PTRACE, sees all"
        )
    return 0


def _joined(words: list[str]) -> str:
    return ", ".join(words) or "-"


# --- counters --------------------------------------------------------------------------------------------------------


def _counters(env: Environment, options: dict[str, Any]) -> int:
    if options["watch"] is not None:
        return _watched(
            env, options, lambda since: echowire.counters(options["net"], since=since, keep=False), _counter_block
        )
    look = echowire.counters(options["net"])
    if options["json"]:
        env.answer_json(look.document(), indent=2)
    else:
        _counter_block(env, options, look)
    return 0


def _counter_block(env: Environment, options: dict[str, Any], look: CounterLook) -> None:
    """The counters that moved, or with -a all; watched, how much a second."""
    per_s = look.since_s if options["watch"] is not None else None
    shown = [one for one in look.counters if _chosen(one.name, options["filter"])]
    if not options["all"]:
        shown = [one for one in shown if one.has_moved and not one.is_gauge]
    if options["jsonl"]:
        line = {"time_ns": time.time_ns(), "since_s": look.since_s, "counters": [one.document() for one in shown]}
        env.answer_json(line)
        return
    since = "since start" if look.since_s is None else f"in {format_duration(look.since_s)}"
    rows = [("", "Counter", "Total", "a second" if per_s else since, "")]
    for one in shown:
        change = one.value if one.change is None else one.change
        risen = "" if one.is_gauge else f"+{change}" if not per_s else f"{change / per_s:.{DIGITS}g}"
        meaning = "; ".join(part for part in (one.meaning, one.trouble) if part)
        rows.append(("!" if one.trouble else "", one.name, str(one.value), risen, meaning))
    _write(env, rows, right={2, 3})
    if not shown:
        env.say("nothing has moved; -a shows all")


# --- interfaces ------------------------------------------------------------------------------------------------------

COLUMNS = (
    ("RX-bytes", "rx_bytes"), ("RX-pkts", "rx_packets"), ("RX-err", "rx_errors"), ("RX-drop", "rx_dropped"),
    ("RX-miss", "rx_missed_errors"), ("TX-bytes", "tx_bytes"), ("TX-pkts", "tx_packets"), ("TX-err", "tx_errors"),
    ("TX-drop", "tx_dropped"),
)  # fmt: skip


def _interfaces(env: Environment, options: dict[str, Any]) -> int:
    if options["watch"] is not None:
        return _watched(env, options, lambda since: echowire.link_counters(options["net"], since=since), _link_block)
    look = echowire.link_counters(options["net"])
    if options["json"]:
        env.answer_json(look.document(), indent=2)
    else:
        _link_block(env, options, look)
    return 0


def _link_block(env: Environment, options: dict[str, Any], look: InterfaceLook) -> None:
    """A line an interface that is up, or with -a any: its totals, or watched its rates."""
    shown = [link for link in look.links if _chosen(link.name, options["filter"]) and (options["all"] or link.is_up)]
    if options["jsonl"]:
        names = {link.name for link in shown}
        rows = [row for row in look.rows() if row["name"] in names]
        env.answer_json({"time_ns": time.time_ns(), "since_s": look.since_s, "interfaces": rows})
        return
    unit = "" if look.since_s is None else "/s"
    table = [("Interface", "State", "MTU", *(f"{title}{unit}" for title, _ in COLUMNS), "Flags")]
    for link in shown:
        rates = look.rates(link)
        figures = [str(link.counters.get(name, 0)) if rates is None else f"{rates[name]:.0f}" for _, name in COLUMNS]
        table.append((link.name, link.state, str(link.mtu), *figures, ",".join(link.flags)))
    _write(env, table, right=set(range(2, 3 + len(COLUMNS))))


# --- routes ----------------------------------------------------------------------------------------------------------


def _routes(env: Environment, options: dict[str, Any]) -> int:
    table = echowire.routes(options["net"], family=_family(options), every_table=bool(options["all"]))
    if options["json"]:
        env.answer_json(table.document(), indent=2)
        return 0
    rows = [("Destination", "Gateway", "Interface", "Source", "Metric", "Protocol", "Scope", "Table")]
    for row, route in zip(table.rows(), table.routes, strict=True):
        target = "default" if route.destination in ("0.0.0.0/0", "::/0") else route.destination
        target = target if route.type == "unicast" else f"{route.type} {target}"
        if route.family == 6 and target == "default":
            target = "default (IPv6)"
        hops = row["hops"] or [{"gateway": None, "interface": None, "flags": []}]
        for number, hop in enumerate(hops):
            gateway = " ".join([hop["gateway"] or "-", *hop["flags"]])
            ends = (route.source or "-", str(route.metric), route.protocol, route.scope, row["table"])
            rows.append((target if not number else "", gateway, hop["interface"] or "-", *ends))
    _write(env, rows, right={4})
    return 0


# --- what they share -------------------------------------------------------------------------------------------------


def _watched(
    env: Environment,
    options: dict[str, Any],
    look: Callable[[Look | None], Look],
    show: Callable[[Environment, dict[str, Any], Look], None],
) -> int:
    """Look every so often, until Ctrl-C or so many times; each block is about the time since the one before."""
    pause, began, looks = Event(), time.monotonic(), 0
    try:
        last = look(None)
        while True:
            looks += 1
            # Each look is due at its time, however long the last one took.
            pause.wait(max(0.0, began + looks * options["watch"] - time.monotonic()))
            last = look(last)
            if looks > 1 and not options["jsonl"]:
                env.answer("")
            show(env, options, last)
            if looks == options["count"]:
                return 0
    except KeyboardInterrupt:
        return 0


def _write(env: Environment, table: Iterable[tuple[str, ...]], *, right: set[int]) -> None:
    """A table with its columns aligned, those of `right` to the right."""
    rows = [tuple(map(printable, row)) for row in table]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        env.answer("  ".join(cells).rstrip(), flush=False)
    env.flush()
