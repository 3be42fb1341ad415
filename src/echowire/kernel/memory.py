"""Giving memory back to the system once whoever needed it has gone.

What is freed in small pieces glibc keeps for the next who asks: its arenas shrink at their upper end alone, where
nearly always something small is still in use. After a thousand TLS connections that is a hundred megabytes.
malloc_trim(3) returns whole pages from the middle, too, in all arenas; it takes a millisecond or a few."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


@cache
def _trim() -> Callable[[int], int] | None:
    """glibc's function; None where the C library is another."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> bool:
    """Have the C library return what is free to the system; whether it can."""
    trim = _trim()
    if trim is None:
        return False
    trim(0)
    return True
