"""Options that do not go together: whoever gives both is told so, before anything is done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import click
from click.core import ParameterSource

from echowire import UsageError

Contradiction: TypeAlias = tuple[tuple[str, ...], tuple[str, ...], str]
"""Options of which one of the first and one of the second do not go together, and why, in a sentence."""


def is_given(name: str) -> bool:
    """Whether the option, or the argument, was given to the command that runs; of `--a/--no-a`, either."""
    context = click.get_current_context()
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE and context.params[name] != ()


def refuse_together(rows: Iterable[Contradiction]) -> None:
    """Raise `UsageError` for the first of `rows` that was given."""
    for some, others, why in rows:
        if any(map(is_given, some)) and any(map(is_given, others)):
            raise UsageError(why)


FAMILIES: tuple[Contradiction, ...] = (
    (("ipv4",), ("ipv6",), "-4 is IPv4 alone and -6 IPv6 alone; give one of them, or none for both"),
    (("unix",), ("ipv4", "ipv6"), "a Unix socket has no version of IP; -U excludes -4 and -6"),
)
"""What holds of every verb that is told where."""
