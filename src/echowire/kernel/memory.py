"""Memory that begins where the processor copies best, and memory given back once whoever needed it has gone.

A socket's bytes lie in whole pages, and the kernel copies them with one instruction (`rep movsb`), which on some
processors takes half as long again, or more, where the one side begins some bytes into a page and the other does not.
What C's malloc gives begins 16 bytes into one where it is large, and anywhere where it is not: an echo of a mebibyte
cost 1.5 to 1.7 times the processor time with such a buffer, on the one machine, and nothing more on another.

What is freed in small pieces glibc keeps for the next who asks: its arenas shrink at their upper end alone, where
nearly always something small is still in use. After a thousand TLS connections that is a hundred megabytes.
malloc_trim(3) returns whole pages from the middle, too, in all arenas; it takes a millisecond or a few.
"""

from __future__ import annotations

import ctypes
import mmap
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


def whole_pages(size: int) -> memoryview:
    """Room for `size` bytes that begins with a page. It goes back to the system when it is let go."""
    return memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))[:size]
