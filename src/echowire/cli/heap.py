"""The C library's memory: to keep what was freed, for a command that asks for the same megabytes again and again.

glibc gives memory back to the system when much of it is free, as it is after each chunk of a capture, and the next
chunk is then paid for anew, page fault by page fault: an eighth of the time in which a capture is read. A library must
not choose that for the program it is in, so a command does.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""

KEPT_BYTES = 256 * 1024 * 1024
"""Free memory that is kept, far more than a reading has at a time."""
LARGEST_BYTES = 32 * 1024 * 1024
"""Blocks below this come from the heap: the most that mallopt takes."""


def keep_what_is_freed() -> None:
    """Keep it, where the C library is glibc; others are left as they are."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES)
