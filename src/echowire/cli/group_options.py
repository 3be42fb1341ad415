"""The options of `call`, `bench` and `ping` for an endpoint that is many (`cli/groups.py`), and whether it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from echowire import Endpoint, UsageError, is_broadcast

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

FEW = 64
"""Targets that somebody has typed: each is looked up, whether it is a broadcast address. Of many, each tells itself."""

PING_PORT = 7
"""The echo's (RFC 862), as of `ping -u`."""

FOR_MANY = ("loop", "interface", "broadcast")


def group_options(*, with_ttl: bool = True, with_b: bool = True) -> Decorator:
    """The options of what is sent to many; `ping` has a `--ttl` of its own and letters that people know, and iperf's
    `-b` is no broadcast.
    """
    ttl = click.option("--ttl", type=click.IntRange(0, 255), help="To a group: routers that may pass it on, and one.")
    interface = click.option("--interface", default="", metavar="NAME", help="To a group: the interface it leaves by.")
    loop = click.option(
        *(["--loop/--no-loop"] if with_ttl else ["--loop/--no-loop", " /-L"]),
        default=None,
        help="To a group: this host's own members hear it, or not.",
    )
    broadcast = click.option(
        *(["-b", "--broadcast"] if with_b else ["--broadcast"]),
        is_flag=True,
        help="Send to a broadcast address: all hosts of a link.",
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function = loop(broadcast(function))
        return ttl(interface(function)) if with_ttl else function

    return decorate


def is_many(endpoint: Endpoint, options: Mapping[str, Any], *, with_ttl: bool = True) -> bool:
    """Whether `endpoint` is many. Raises `UsageError` where it is one, and an option is for many."""
    if endpoint.is_group or (options["broadcast"] and not endpoint.is_stream and not endpoint.is_unix):
        return True
    for name in (*FOR_MANY, "ttl") if with_ttl else FOR_MANY:
        if options.get(name) not in (None, "", False):
            raise UsageError(f"--{name} is for multicast groups and broadcast; {endpoint} is neither")
    return False


def group_of_targets(targets: Sequence[str], options: Mapping[str, Any]) -> Endpoint | None:
    """The group, or broadcast address, that the targets of a ping are; None where they are none."""
    port = options["port"] or PING_PORT
    found = []
    for text in targets:
        try:
            endpoint = Endpoint.parse(text, transport="udp", port=port)
        except UsageError:
            continue  # a range, or what the other way tells better
        if is_many(endpoint, options, with_ttl=False):
            found.append(endpoint)
        elif len(targets) <= FEW and is_broadcast(endpoint.host):
            raise UsageError(
                f"ping {endpoint.host}: permission denied (EACCES 13). It is a broadcast address: all hosts of a link;"
                " ask them with -b (--broadcast)"
            )
    if found and len(targets) > 1:
        raise UsageError(f"{found[0].host} is many hosts, and is asked by itself; {len(targets)} targets were given")
    return found[0] if found else None
