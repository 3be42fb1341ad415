"""The options of `echowire ping` that people know from ping and fping, and what becomes of those that it has not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from echowire import UsageError
from echowire.cli.common import refused

LIST_COUNT = 3
"""Probes to each target of `--alive` and `--unreachable`: one that is lost by chance makes nobody unreachable."""

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("-A", "--adaptive", is_flag=True, help="Send the next as soon as one is answered; -i is the longest."),
    click.option("--flood", is_flag=True, help="Likewise without a pause, and 100 a second where nobody answers."),
    click.option(
        "-l", "--preload", type=click.IntRange(1, 65_536), metavar="N", help="With -A and --flood: so many at a time."
    ),
    click.option("-p", "--pattern", default="", metavar="HEX", help="Fill the data with these bytes, 16 at most."),
    click.option("-r", "--dont-route", is_flag=True, help="Only to hosts on a link of this one, whatever routes say."),
    click.option("-m", "--mark", type=click.IntRange(0, 2**32 - 1), help="Mark the packets for rules (SO_MARK)."),
    click.option("-a", "--audible", is_flag=True, help="Ring the bell at each reply."),
    click.option("-O", "--outstanding", is_flag=True, help="Say which were not answered; it is the default."),
    click.option("-v", "--verbose", is_flag=True, help="Say which socket is used, and its identifier."),
    click.option("--alive", is_flag=True, help="Print only the targets that answer, as fping -a does."),
    click.option("--unreachable", is_flag=True, help="Print only those that do not, as fping -u does."),
    refused(
        "-R",
        "--record-route",
        why="routers drop packets that record their route, and nine would fit; the way of packets is found by --path",
    ),
)


def habit_options(function: Any) -> Any:
    """Give a command all of them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def is_list(options: Mapping[str, Any]) -> bool:
    """Whether only names of targets are asked for."""
    return bool(options["alive"] or options["unreachable"])


def check_habits(options: Mapping[str, Any]) -> None:
    """Raise `UsageError` for options that do not go together."""
    if options["alive"] and options["unreachable"]:
        raise UsageError("--alive lists those that answer, --unreachable those that do not; give one of them")
    if options["adaptive"] and options["flood"]:
        raise UsageError("-A and --flood are two paces; give one of them")
    if options["preload"] and not (options["adaptive"] or options["flood"]):
        raise UsageError("-l sends ahead of the answers, which -A and --flood follow; give one of them")
    if is_list(options) and (options["path"] or options["mtu"] or options["as_json"] or options["jsonl"]):
        raise UsageError(
            "--alive and --unreachable print names of targets; leave out --path, --mtu, --json and --jsonl"
        )
    if (options["path"] or options["mtu"]) and _named(options):
        raise UsageError(f"{_named(options)} is of pings, not of paths; leave it out")


def _named(options: Mapping[str, Any]) -> str:
    """The first of the options that a path has not."""
    flags = {"adaptive": "-A", "flood": "--flood", "pattern": "-p", "dont_route": "-r", "audible": "-a"}
    given = (flag for name, flag in flags.items() if options[name])
    return next(given, "" if options["mark"] is None else "-m")


def habits_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What they mean to `echowire.ping`, as keywords."""
    return {
        "pace": "flood" if options["flood"] else "adaptive" if options["adaptive"] else "steady",
        "preload": options["preload"] or 1,
        "pattern": options["pattern"],
        "dont_route": options["dont_route"],
        "mark": options["mark"],
    }
