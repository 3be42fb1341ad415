"""`echowire sockets`, as it is run: options to an inquiry, and its answer as lines, groups or JSON."""

from __future__ import annotations

import echowire
from echowire import SocketInquiry, SocketJson, SocketLines, SocketShow, json_text, printable
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from echowire.cli.environment import Environment

FAMILIES = {
    "inet": (("tcp", "udp", "udplite", "mptcp", "raw"), 4),
    "inet6": (("tcp", "udp", "udplite", "mptcp", "raw"), 6),
    "unix": (("unix",), None),
    "link": (("packet",), None),
    "netlink": (("netlink",), None),
    "vsock": (("vsock",), None),
}
"""The arguments of -f, as in ss."""

HOST_FAMILIES = {"unix": "unix", "packet": "link", "netlink": "netlink", "vsock": "vsock"}
"""Where only such sockets are asked for, a host of the filter is one of them, as in ss."""

UNKNOWN = {
    "sctp": "SCTP sockets are not listed here; ss -S does, and /proc/net/sctp/assocs",
    "dccp": "DCCP is gone from Linux 6.16 on; before it, ss -d lists its sockets",
    "tipc": "TIPC sockets are not listed here; ss --tipc does, and tipc socket list",
    "xdp": "XDP sockets are not listed here; ss --xdp does",
}
"""Kinds that ss has and this command has not, and what to use for them."""

FILTER_FILE_MAX_BYTES = 64 * 1024
"""Of the file that -F names: more than a filter may have (`wire.socket_filter.MAX_CHARACTERS`), and not a disk."""

BY_DEFAULT = SocketInquiry.KINDS
"""Without a kind: all."""

QUERIES = {"all": BY_DEFAULT, "inet": ("tcp", "udp", "udplite", "mptcp", "raw")}
"""Of -A: what ss has besides the names of the kinds and their parts."""


def run(env: Environment, options: dict[str, Any]) -> int:
    """Do what was asked, and return the exit status."""
    if options["groups"] or options["counters"] or options["interfaces"] or options["routes"]:
        from echowire.cli import sockets_tables

        return sockets_tables.run(env, options)
    _check(options)
    text = filter_of(env, options)
    kinds, family = kinds_of(options)
    states = states_of(options)
    if states is None and not is_named(options):
        states = SocketInquiry.CONNECTED  # of all kinds, those that have no states are left out
    wants_all = options["json"] or options["jsonl"] or options["by"] or options["watch"] is not None
    inquiry = SocketInquiry(
        text,
        kinds=kinds,
        states=states,
        family=family,
        memory=bool(options["memory"] or wants_all),
        info=bool(options["info"] or wants_all),
        tos=bool(options["tos"] or wants_all),
        host_family=HOST_FAMILIES.get(kinds[0].partition("_")[0], "") if len(kinds) == 1 else "",
        with_processes=bool(options["processes"] or options["by"] == "process"),
        namespace=options["net"],
    )
    if options["watch"] is not None or options["events"]:
        if options["by"]:
            from echowire.cli.sockets_usage import usage as follow
        elif options["events"]:
            from echowire.cli.sockets_events import events as follow
        else:
            from echowire.cli.sockets_live import watch as follow
        status = follow(env, options, inquiry)
        tell(env, options, inquiry, inquiry.hidden_sockets)
        return status
    if options["kill"]:
        return kill(env, options, inquiry, kinds)
    if options["summary"]:
        return summary(env, options, inquiry)
    if options["by"]:
        status = groups(env, options, inquiry)
        tell(env, options, inquiry, inquiry.hidden_sockets)
        return status
    if options["json"] or options["jsonl"]:
        return as_json(env, options, inquiry)
    return listing(env, options, inquiry, kinds)


def _check(options: dict[str, Any]) -> None:
    """Raises `UsageError` where options contradict each other."""
    if options["json"] and options["jsonl"]:
        raise UsageError("--json is one document, --jsonl a line a socket; give one of them")
    modes = [name for name in ("kill", "summary", "by", "watch", "events") if options[name] not in (None, False)]
    if len(modes) > 1 and modes != ["by", "watch"]:
        raise UsageError(f"--{modes[0]} and --{modes[1]} are two answers; give one of them")
    if options["json"] and modes and modes[-1] in ("watch", "events", "kill"):
        raise UsageError(f"--{modes[-1]} has no one document; --jsonl gives a line each")
    if options["watch"] == 0:
        raise UsageError("--watch 0 would never end looking; give 1s, or 100ms")
    if options["yes"] and not options["kill"]:
        raise UsageError("--yes answers what only -K asks")


def filter_of(env: Environment, options: dict[str, Any]) -> str:
    """The filter: the file's words, if one is given, and then those of the command line."""
    name = options["filter_file"]
    if name is None:
        return " ".join(options["filter"])
    try:
        if name == "-":
            data = env.stdin.read(FILTER_FILE_MAX_BYTES + 1)
        else:
            with open(name, "rb") as file:  # noqa: PTH123 - pathlib is not loaded for it
                data = file.read(FILTER_FILE_MAX_BYTES + 1)
        if len(data) > FILTER_FILE_MAX_BYTES:
            raise UsageError(f"-F {name}: a filter has at most {FILTER_FILE_MAX_BYTES // 1024} KiB")
        return " ".join([*data.decode().split(), *options["filter"]])
    except OSError as error:
        raise UsageError(f"-F {name}: {(error.strerror or str(error)).lower()} (errno {error.errno})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"-F {name}: it is not text ({error.reason} at byte {error.start})") from error


def kinds_of(options: dict[str, Any]) -> tuple[list[str], int | None]:
    """The kinds of sockets that are asked for, and the version of IP if one."""
    kinds = [kind for kind in SocketInquiry.KINDS if options[kind]]
    family = None if options["ipv4"] == options["ipv6"] else 4 if options["ipv4"] else 6
    if options["query"]:
        kinds += _of_query(options["query"])
    if options["family"]:
        if options["family"] in UNKNOWN:
            raise UsageError(f"-f {options['family']}: {UNKNOWN[options['family']]}")
        if options["family"] not in FAMILIES:
            raise UsageError(f"-f: no family is called '{options['family']}'; one of {', '.join(FAMILIES)}")
        of_family, family = FAMILIES[options["family"]]
        kinds = [kind for kind in kinds or of_family if kind in of_family]
    if options["kill"] and not kinds:
        kinds = ["tcp"]  # sock_diag closes no others but UDP's and raw ones, which are named then
    if not kinds and family is not None:
        kinds = [kind for kind in BY_DEFAULT if kind in FAMILIES["inet"][0]]
    return kinds or list(BY_DEFAULT), family


def _of_query(query: str) -> list[str]:
    """The kinds, and parts of kinds, that -A names; what has an exclamation mark is left out of them."""
    kinds: list[str] = []
    known = (*SocketInquiry.KINDS, *SocketInquiry.PARTS)
    for word in query.split(","):
        name = word.removeprefix("!")
        if name in UNKNOWN:
            raise UsageError(f"-A {name}: {UNKNOWN[name]}")
        found = QUERIES.get(name, (name,))
        if unknown := [kind for kind in found if kind not in known]:
            raise UsageError(f"-A: no sockets are called '{unknown[0]}'; one of {', '.join((*QUERIES, *known))}")
        kinds = [kind for kind in kinds if kind not in found] if word != name else [*kinds, *found]
    if not kinds:
        raise UsageError(f"-A '{query}' leaves no sockets; name some first, as in 'all,!tcp'")
    return kinds


def is_named(options: dict[str, Any]) -> bool:
    """Whether a kind of sockets was named."""
    return bool(options["query"] or options["family"] or any(options[kind] for kind in SocketInquiry.KINDS))


def states_of(options: dict[str, Any]) -> int | None:
    """The states that -a and -l mean; None: what is connected."""
    if options["all"] or (options["summary"] and not options["listening"]):
        return SocketInquiry.ALL_STATES
    return SocketInquiry.LISTENING if options["listening"] else None


def listing(env: Environment, options: dict[str, Any], inquiry: SocketInquiry, kinds: list[str]) -> int:
    """The table as lines, printed while it is read."""
    maker = SocketLines(inquiry.reader, show_of(options, kinds, inquiry.state_bits))
    if not options["no_header"]:
        env.answer(maker.heading())
    for block in inquiry.blocks(ahead=True):
        env.answer_lines("\n".join(maker.lines(block)), flush=False)
    env.flush()
    tell(env, options, inquiry, maker.hidden)
    return 0


def show_of(options: dict[str, Any], kinds: list[str], states: int = 0) -> SocketShow:
    """What a line shows. As in ss there is no column for what is the same in each: one kind, or one of `states`."""
    return SocketShow(
        netid=len(set(kinds)) > 1 or kinds[0] in ("unix", "packet", "vsock"),
        state=not states or states & (states - 1) != 0,
        timers=options["options"],
        extended=options["extended"],
        memory=options["memory"],
        info=options["info"],
        processes=options["processes"],
        tos=options["tos"],
        cgroup=options["cgroup"],
        options=options["inet_sockopt"],
        marks=not options["no_marks"],
        is_numeric=options["numeric"],
        below="" if options["oneline"] else "\n\t",
        service=None if options["numeric"] else SocketInquiry.service_name,
        host=SocketInquiry.host_name if options["resolve"] else None,
        owner=SocketInquiry.process_name,
    )


def tell(env: Environment, options: dict[str, Any], inquiry: SocketInquiry, hidden: int) -> None:
    """Say what could not be seen, and what it would take; of kinds that the kernel cannot list, if they were named."""
    asked = {kind for kind in SocketInquiry.KINDS if options[kind]} | {options["family"]}
    asked.update(word.partition("_")[0] for word in (options["query"] or "").split(","))
    for note in inquiry.notes:
        if any(f" {kind} sockets" in note for kind in asked):
            env.say(f"echowire: {note}")
    if hidden:
        what = "1 socket belongs to a process" if hidden == 1 else f"{hidden} sockets belong to processes"
        env.say(f"echowire: {what} that you may not see; root, or CAP_SYS_PTRACE, sees which")


def as_json(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """Every socket with all of its columns; written as they come, so that a million need no memory."""
    maker = SocketJson(inquiry.reader)
    blocks = maker.joined(inquiry.blocks(ahead=True))
    if options["jsonl"]:
        for block in blocks:
            env.answer_lines("\n".join(maker.lines(block)), flush=False)
        env.flush()
        return 0
    first = next(blocks, None)  # with it, the time is known
    head = {**echowire.document_head("sockets"), "time_ns": inquiry.time_ns}
    env.answer_lines(json_text(head)[:-1] + ', "sockets": [', flush=False)
    if first is not None:
        env.answer_lines(",\n".join(maker.lines(first)), flush=False)
    for block in blocks:
        env.answer_lines("," + ",\n".join(maker.lines(block)), flush=False)
    hidden = None if inquiry.names.holders is None else inquiry.hidden
    env.answer_lines(f'], "notes": {json_text(inquiry.notes)}, "hidden_processes": {json_text(hidden)}}}')
    return 0


def groups(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """The groups of --by."""
    found = inquiry.groups(options["by"])
    shown = found[: options["group_limit"]]
    if options["json"] or options["jsonl"]:
        if options["jsonl"]:
            for group in shown:
                env.answer_json(group.document())
        else:
            document = {**echowire.document_head("sockets.groups"), "by": options["by"], "groups": len(found)}
            env.answer_json({**document, "found": [group.document() for group in shown], "notes": inquiry.notes})
        return 0
    totals = list(found[0].totals) if found else []
    table = [(options["by"], "sockets", *totals, "states")]
    for group in shown:
        states = " ".join(f"{state}:{count}" for state, count in sorted(group.states.items(), key=lambda one: -one[1]))
        table.append((group.key, str(group.count), *map(_known, group.totals.values()), states))
    sums = [str(sum(group.totals[name] or 0 for group in found)) for name in totals]
    table.append((f"all {len(found)}", str(sum(group.count for group in found)), *sums, ""))
    write_columns(env, table)
    return 0


def _known(number: int | None) -> str:
    return "-" if number is None else str(number)


def summary(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """The counts of -s."""
    found = inquiry.summary()
    if options["json"] or options["jsonl"]:
        env.answer_json({**echowire.document_head("sockets.summary"), **found.document(), "notes": inquiry.notes})
        return 0
    states = sorted({state for counts in found.by_kind.values() for state in counts})
    table = [("kind", "all", "ipv4", "ipv6", *states)]
    for kind, counts in found.by_kind.items():
        families = found.by_family.get(kind, {})
        cells = [str(families.get(family, "")) for family in ("ipv4", "ipv6")]
        table.append((kind, str(sum(counts.values())), *cells, *(str(counts.get(state, "")) for state in states)))
    table.append(("all", str(found.total), *[""] * (len(table[0]) - 2)))
    write_columns(env, table)
    if found.orphans:
        env.answer(f"{found.orphans} TCP sockets are held by no process any more (orphans)")
    return 0


def write_columns(env: Environment, table: Sequence[tuple[str, ...]]) -> None:
    """A table with its columns aligned: the first and the last to the left, the numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    last = len(widths) - 1
    for row in table:
        cells = [
            printable(cell).ljust(width) if at in (0, last) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        env.answer("  ".join(cells).rstrip(), flush=False)
    env.flush()


def kill(env: Environment, options: dict[str, Any], inquiry: SocketInquiry, kinds: list[str]) -> int:
    """Close what was chosen, once it was listed and agreed to."""
    if inquiry.parsed is None or (inquiry.parsed.expression is None and inquiry.parsed.states is None):
        raise UsageError("-K closes what a filter chooses; give one, such as dst 10.0.0.1 or state close-wait")
    blocks = list(inquiry.blocks())
    count = sum(block.count for block in blocks)
    maker = SocketLines(inquiry.reader, show_of(options, kinds))
    if not options["no_header"] and count:
        env.answer(maker.heading(), flush=False)
    for block in blocks:
        env.answer_lines("\n".join(maker.lines(block)), flush=False)
    env.flush()
    if not count:
        return 0
    if not options["yes"]:
        if not env.is_terminal:
            raise UsageError("-K asks before it closes, and nobody is there to answer; give --yes")
        env.say(f"Close {'this socket' if count == 1 else f'these {count} sockets'}? [y/N] ")
        if env.stdin.readline().strip().lower() not in (b"y", b"yes"):
            return 1
    closed, gone = inquiry.close(blocks)
    env.say(f"{closed} closed" + (f", {gone} had gone" if gone else ""))
    return 0
