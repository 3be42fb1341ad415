"""The known name that a mistyped one is nearest to."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The nearest of `known`, or None where none is near. `tcp.sport` is near to `tcp.srcport`."""
    candidates = list(known)
    within = [one for one in candidates if one.partition(".")[0] == name.partition(".")[0]]
    return next(iter(get_close_matches(name, within, 1) or get_close_matches(name, candidates, 1)), None)
