"""Whether this host's clock is synchronised, and how far it may be wrong: adjtimex(2)."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

UNSYNCHRONISED = 0x0040  # STA_UNSYNC, linux/timex.h
TIME_ERROR = 5
UNKNOWN_S = 16.0
"""What is said of a clock of which nothing is known: RFC 5905's MAXDISP, beyond which a server is unfit."""

_TIMEX_BYTES = 256
"""Room for `struct timex`, of 208 bytes on 64-bit machines."""


class ClockError(NamedTuple):
    """Whether something keeps the clock right, and the most that it may be wrong by, in seconds."""

    synchronised: bool
    seconds: float


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * (_TIMEX_BYTES - 48)),
    )


def clock_error() -> ClockError:
    """Of the real-time clock, as the kernel was told by whoever steers it."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return ClockError(False, UNKNOWN_S)
    if state < 0:
        return ClockError(False, UNKNOWN_S)
    synchronised = state != TIME_ERROR and not timex.status & UNSYNCHRONISED
    return ClockError(synchronised, min(timex.maxerror / 1e6, UNKNOWN_S))
