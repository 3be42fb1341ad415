"""`echowire sockets`, as it is run: options to an inquiry, and its answer as lines, groups or JSON."""

from __future__ import annotations

from echowire import SocketInquiry, SocketLines, SocketShow
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
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

QUERIES = {
    "all": "",
    "inet": "tcp,udp,udplite,mptcp,raw",
    "unix_stream": "unix",
    "unix_dgram": "unix",
    "unix_seqpacket": "unix",
    "packet_raw": "packet",
    "packet_dgram": "packet",
    "vsock_stream": "vsock",
    "vsock_dgram": "vsock",
}
"""Of -A: what ss has besides the kinds' own names. A kind's parts are listed together."""

BY_DEFAULT = ("netlink", "packet", "unix", "raw", "udp", "udplite", "tcp", "vsock")
"""Without a kind: all, but not the connections of MPTCP beside the subflows that they are made of, as in ss."""


def run(env: Environment, options: dict[str, Any]) -> int:
    """Do what was asked, and return the exit status."""
    if options["json"] and options["jsonl"]:
        raise UsageError("--json is one document, --jsonl a line a socket; give one of them")
    text = " ".join(options["filter"])
    kinds, family = kinds_of(options)
    wants_all = options["json"] or options["jsonl"] or options["by"] or options["summary"]
    inquiry = SocketInquiry(
        text,
        kinds=kinds,
        states=states_of(options),
        family=family,
        memory=bool(options["memory"] or wants_all),
        info=bool(options["info"] or wants_all),
        with_processes=bool(options["processes"] or options["by"] == "process"),
        namespace=options["net"],
    )
    return listing(env, options, inquiry, kinds)


def kinds_of(options: dict[str, Any]) -> tuple[list[str], int | None]:
    """The kinds of sockets that are asked for, and the version of IP if one."""
    kinds = [kind for kind in SocketInquiry.KINDS if options[kind]]
    family = None if options["ipv4"] == options["ipv6"] else 4 if options["ipv4"] else 6
    if options["query"]:
        for word in options["query"].split(","):
            found = [kind for kind in QUERIES.get(word, word).split(",") if kind] or list(BY_DEFAULT)
            if unknown := [kind for kind in found if kind not in SocketInquiry.KINDS]:
                raise UsageError(f"-A: no sockets are called '{unknown[0]}'; one of {', '.join(SocketInquiry.KINDS)}")
            kinds += found
    if options["family"]:
        if options["family"] not in FAMILIES:
            raise UsageError(f"-f: no family is called '{options['family']}'; one of {', '.join(FAMILIES)}")
        found, family = FAMILIES[options["family"]]
        kinds = [kind for kind in kinds or found if kind in found]
    if not kinds and family is not None:
        kinds = [kind for kind in BY_DEFAULT if kind in FAMILIES["inet"][0]]
    return kinds or list(BY_DEFAULT), family


def states_of(options: dict[str, Any]) -> int | None:
    """The states that -a and -l mean; None: what is connected."""
    if options["all"]:
        return SocketInquiry.ALL_STATES
    return SocketInquiry.LISTENING if options["listening"] else None


def listing(env: Environment, options: dict[str, Any], inquiry: SocketInquiry, kinds: list[str]) -> int:
    """The table as lines, printed while it is read."""
    maker = SocketLines(inquiry.reader, show_of(options, kinds))
    if not options["no_header"]:
        env.answer(maker.heading())
    for block in inquiry.blocks(ahead=True):
        env.answer("\n".join(maker.lines(block)), flush=False)
    env.flush()
    tell(env, options, inquiry, maker.hidden)
    return 0


def show_of(options: dict[str, Any], kinds: list[str]) -> SocketShow:
    """What a line shows."""
    return SocketShow(
        netid=len(kinds) > 1 or kinds[0] in ("unix", "packet", "vsock"),
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
        below=" " if options["oneline"] else "\n\t",
        service=None if options["numeric"] else SocketInquiry.service_name,
        host=SocketInquiry.host_name if options["resolve"] else None,
    )


def tell(env: Environment, options: dict[str, Any], inquiry: SocketInquiry, hidden: int) -> None:
    """Say what could not be seen, and what it would take; of kinds that the kernel cannot list, if they were named."""
    for note in inquiry.notes:
        if any(options[kind] and f" {kind} sockets" in note for kind in SocketInquiry.KINDS):
            env.say(f"echowire: {note}")
    if hidden:
        what = "1 socket belongs to a process" if hidden == 1 else f"{hidden} sockets belong to processes"
        env.say(f"echowire: {what} that you may not see; root, or CAP_SYS_PTRACE, sees which")
