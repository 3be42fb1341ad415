"""Tables that fit a terminal: whole columns go, the least telling first, and words are shortened; no figure is cut."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from echowire.cli.common import Environment

GAP = 2
"""Cells between two columns."""

WORDS_LEAST = 16
"""Cells that a column of words has before another column goes for its sake: an IPv4 address, `unreachable (net)`."""


def width_of(env: Environment) -> int | None:
    """Cells that a line of the answer has; None where it is no terminal, and so has no end."""
    return shutil.get_terminal_size().columns if env.stdout.isatty() else None


def fitted(
    rows: Sequence[Sequence[str]], width: int | None, leaving: Sequence[str], words: Sequence[str]
) -> list[list[str]]:
    """`rows`, of which the first are the names, without the columns for which `width` has no room.

    Columns go in the order of `leaving`, those that are not in it never; of `words` what is too long is shortened.
    """
    names = list(rows[0])
    sizes = {name: max(len(row[at]) for row in rows) for at, name in enumerate(names)}
    if width is None:
        return [list(row) for row in rows]
    least = {name: min(size, WORDS_LEAST) if name in words else size for name, size in sizes.items()}
    for name in leaving:
        if sum(least.values()) + GAP * len(least) > width:
            least.pop(name, None)
    spare = width - sum(least.values()) - GAP * len(least)
    for name in [name for name in least if name in words]:
        more = max(0, min(spare, sizes[name] - least[name]))
        least[name] += more
        spare -= more
    kept = [(at, least[name]) for at, name in enumerate(names) if name in least]
    return [[_cut(row[at], size) for at, size in kept] for row in rows]


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 1]}…"
