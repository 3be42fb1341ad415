"""`echowire read` without -T: the packet list, details and bytes, paged and in colours on a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

import echowire
from echowire import UsageError
from echowire.cli.common import Environment, printable
from echowire.cli.read_progress import conclude, progress
from echowire.cli.write_behind import WriteBehind

TIMES = ("r", "d", "dd", "e", "a", "ad", "u", "ud")

LINES_AT_ONCE = 1000
"""Lines that are written together."""

LESS = "FRX"
"""How less is asked to page, as git asks it: not what fits on the screen, with colours, and leaving what it showed."""


def view(env: Environment, capture: echowire.Capture, options: dict[str, Any]) -> int:
    """Show the packets; the exit status."""
    number = options["packet"]
    is_in_full = options["details"] or options["hexadecimal"]
    form = echowire.ViewForm(
        list=number is not None or not options["details"],
        tree=options["details"] or number is not None,
        hex=options["hexadecimal"] or number is not None,
        ranges=number is not None,
        times=options["times"],
        zone=datetime.now().astimezone().tzinfo or UTC,
        is_coloured=env.has_colour and not is_in_full and number is None,
    )
    if number is not None:
        capture = capture.head(number).filter(f"frame.number == {number}")
    with capture.chunks(*form.fields) as reading, progress(env, reading):
        lines = iter(()) if options["quiet"] else reading.view(form)
        if env.stdout.isatty() and env.variables.get("TERM") != "dumb":
            _page(lines)
        else:
            _write(env, lines)
        for _ in reading:
            pass  # what nobody wanted to see: the file's end tells whether it is whole
    if number is not None and not reading.packets:
        raise UsageError(f"{printable(reading.name)} has no packet {number}")
    return conclude(env, reading)


def _write(env: Environment, lines: Iterator[str]) -> None:
    with WriteBehind(env) as output:
        while block := list(islice(lines, LINES_AT_ONCE)):
            output.write(("\n".join(block) + "\n").encode("utf-8", "replace"))


def _page(lines: Iterator[str]) -> None:
    """Through the user's pager, line by line: what nobody scrolls to is not read."""
    os.environ.setdefault("LESS", LESS)
    click.echo_via_pager((f"{line}\n" for line in lines), color=True)
