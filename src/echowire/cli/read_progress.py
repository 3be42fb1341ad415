"""A bar on standard error while a large file is read, for a person who waits at a terminal, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from echowire import Reading
from echowire.cli.common import Environment, printable

MIN_BYTES = 64 * 1024 * 1024
"""Smaller files are read before a bar could be looked at."""


@contextmanager
def progress(env: Environment, reading: Reading) -> Iterator[None]:
    """Show how far `reading` is, within the block; nothing, where standard error is no terminal or output is."""
    size = reading.size
    variables = env.variables
    if not env.stderr.isatty() or env.stdout.isatty() or variables.get("TERM") == "dumb" or (size or 0) < MIN_BYTES:
        yield
        return
    from rich.console import Console  # a tenth of a second, which only those wait for who see it
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=env.stderr, no_color=bool(variables.get("NO_COLOR")))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Reading", total=size)
        reading.on_chunk = lambda: bar.update(task, completed=reading.position)
        yield


def conclude(env: Environment, reading: Reading) -> int:
    """Say of a file that was not read to its end where and why; the exit status."""
    if reading.problem is None:
        return 0
    env.say(f"echowire: {printable(reading.name)}: {printable(str(reading.problem))}")
    return 1
