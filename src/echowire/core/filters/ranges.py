"""What stands in brackets behind a field in a display filter: parts of its bytes, or which layers are meant."""

from __future__ import annotations

import re

from echowire.core.filters.tree import Range

_PART = re.compile(r"\s*(-?\w+)?\s*(?:([:\-])\s*(-?\w+)?)?\s*")


class RangeError(ValueError):
    """It cannot be; says why."""


def slice_ranges(text: str) -> tuple[Range, ...]:
    """`[from:count]`, `[from-to]`, `[:count]`, `[from:]`, `[one]`, and several of them with commas; from 0."""
    return tuple(_part(part, counts=True) for part in text.split(","))


def layer_ranges(text: str) -> tuple[Range, ...]:
    """`#2`, `#[1-2]`, `#[-1]`, `#[1,3]`; from 1."""
    found = tuple(_part(part, counts=True) for part in text.split(","))
    if any(0 in (one.first, one.last) for one in found):
        raise RangeError("layers are counted from 1")
    return found


def _part(text: str, *, counts: bool) -> Range:
    match = _PART.fullmatch(text)
    if match is None or not text.strip():
        raise RangeError(f"'{text}' is no range: one of [from:count], [from-to], [:count], [from:], [one]")
    begin, sign, end = match.groups()
    first = _number(begin) if begin is not None else 0
    if sign is None:
        return Range(first, first)
    if end is None:
        return Range(first, None)
    if sign == "-":
        last = _number(end)
        if (first < 0) == (last < 0) and last < first:
            raise RangeError(f"'{text}' ends before it begins")
        return Range(first, last)
    count = _number(end)
    if count <= 0:
        raise RangeError(f"'{text}' has a length of {count}, and it must be positive")
    last = first + count - 1
    return Range(first, None if first < 0 <= last else last)


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise RangeError(f"'{text}' is no number") from None
