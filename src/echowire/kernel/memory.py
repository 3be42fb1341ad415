"""Memory that begins where the processor copies best, and memory given back once whoever needed it has gone.

A socket's bytes lie in whole pages, and are copied by the kernel from there to here and from here to there. Where one
side begins a few bytes further into its page than the other, a processor that compares only the lower twelve bits of
addresses takes each load for one of what was stored just before, and waits (4K aliasing; Intel's optimization manual,
"memory disambiguation"; AMD's do it too). What C's malloc gives begins 16 bytes into a page where it is large: an echo
of a mebibyte cost 1.5 to 1.7 times the processor time with such a buffer, 1.2 times at 48 bytes, and nothing more at
1,000.

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
