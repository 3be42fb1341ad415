"""The functions of display filters: what they take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echowire.core.filters.tree import Kind


@dataclass(frozen=True, slots=True)
class Function:
    """One function."""

    takes: frozenset[Kind] = frozenset()
    """Kinds of its arguments; none is any."""
    gives: Kind | None = None
    """None is what it takes."""
    takes_many: bool = False


_COUNTED: frozenset[Kind] = frozenset({"number", "float", "time", "duration"})

FUNCTIONS: Mapping[str, Function] = {
    "len": Function(gives="number"),
    "count": Function(gives="number"),
    "upper": Function(frozenset({"text"})),
    "lower": Function(frozenset({"text"})),
    "string": Function(frozenset({"number", "float", "ipv4", "ipv6", "ether", "bytes", "text"}), "text"),
    "max": Function(_COUNTED | {"ipv4"}, takes_many=True),
    "min": Function(_COUNTED | {"ipv4"}, takes_many=True),
    "abs": Function(_COUNTED),
}

TOGETHER = frozenset({"count", "max", "min"})
"""Those that take all values of a packet and give one."""
