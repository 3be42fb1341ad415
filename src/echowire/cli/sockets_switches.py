"""The switches of `echowire sockets`, and a reading of the command line for when there is nothing else on it.

Most often the command is some letters, as `ss` has them, and perhaps a filter. Such a line is read here; for any other
`plain` gives None, and click reads it, from the same table (`cli/sockets.py`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

KINDS = {
    "tcp": "TCP.",
    "udp": "UDP.",
    "unix": "Unix sockets.",
    "raw": "Raw sockets.",
    "packet": "Packet sockets.",
    "mptcp": "Multipath TCP.",
    "udplite": "UDP-Lite.",
    "netlink": "Netlink sockets.",
    "vsock": "Sockets between a virtual machine and its host.",
}
"""The kinds of sockets; none named is all."""

SWITCHES: dict[str, tuple[str, str]] = {
    "tcp": ("t", KINDS["tcp"]),
    "udp": ("u", KINDS["udp"]),
    "unix": ("x", KINDS["unix"]),
    "raw": ("w", KINDS["raw"]),
    "packet": ("0", KINDS["packet"]),
    "mptcp": ("M", KINDS["mptcp"]),
    "udplite": ("", KINDS["udplite"]),
    "netlink": ("", KINDS["netlink"]),
    "vsock": ("", KINDS["vsock"]),
    "ipv4": ("4", "IPv4 only."),
    "ipv6": ("6", "IPv6 only."),
    "all": ("a", "All states; else only what is connected."),
    "listening": ("l", "What listens, or only receives."),
    "numeric": ("n", "Ports and rates as numbers."),
    "resolve": ("r", "Names of hosts. (netstat -r: --routes)"),
    "processes": ("p", "Who holds each socket: pid, name, user, unit or container."),
    "options": ("o", "Timers."),
    "extended": ("e", "User, inode, cookie, mark, control group; timers too."),
    "memory": ("m", "Memory, with drops."),
    "info": ("i", "TCP_INFO, congestion control, MPTCP, TLS. (netstat -i: --interfaces)"),
    "tos": ("", "TOS, traffic class, priority class."),
    "cgroup": ("", "The control group."),
    "inet-sockopt": ("", "Options that are set on the socket."),
    "no-header": ("H", "No heading."),
    "oneline": ("O", "Everything of a socket on its line."),
    "no-marks": ("", "Do not mark listeners that cannot be reached, or are full."),
    "summary": ("s", "Counts by kind and state. (netstat -s: --counters)"),
    "kill": ("K", "Close what the filter chooses; lists it and asks first."),
    "yes": ("y", "With -K: do not ask."),
    "events": ("E", "What is opened, changes its state and is closed, as it happens."),
    "groups": ("g", "Multicast groups: who has joined which, on which interface."),
    "counters": ("", "The kernel's counters that moved since the last look, and what they mean; -a: all."),
    "interfaces": ("", "The interfaces: bytes, packets, errors, drops; --watch: a second."),
    "routes": ("", "The routes of both families; -a: of every table."),
    "json": ("", "One JSON document."),
    "jsonl": ("", "One socket, or event, a line, as JSON."),
}
"""Each switch by its long name: its letter, if any, and its help."""

VALUES = ("family", "filter_file", "query", "net", "by", "watch", "count", "group_limit")
"""The options that have a value; without click all are None."""


def key_of(name: str) -> str:
    """The switch's name among the options."""
    return name.replace("-", "_")


def plain(arguments: Sequence[str]) -> dict[str, Any] | None:
    """The options of a line that is switches and then a filter; None if it is anything else."""
    by_letter = {letter: name for name, (letter, _) in SWITCHES.items() if letter}
    options: dict[str, Any] = {key_of(name): False for name in SWITCHES}
    options.update(dict.fromkeys(VALUES))
    at = 0
    for at, argument in enumerate([*arguments, ""]):  # noqa: B007
        if argument[:2] == "--" and argument[2:] in SWITCHES:
            options[key_of(argument[2:])] = True
        elif argument[:1] == "-" and len(argument) > 1 and all(letter in by_letter for letter in argument[1:]):
            for letter in argument[1:]:
                options[key_of(by_letter[letter])] = True
        else:
            break
    words = list(arguments[at:])
    if any(word.startswith("-") for word in words):
        return None
    options["filter"] = tuple(words)
    return options
