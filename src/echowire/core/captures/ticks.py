"""Times of capture files, in ticks of any resolution, to nanoseconds since 1970 and back, exactly.

pcapng counts 64-bit ticks of 10^-n or 2^-n seconds (draft-ietf-opsawg-pcapng, section 4.2, if_tsresol), plus an offset
in seconds (if_tsoffset). Floats would lose nanoseconds, and a 64-bit product overflows for resolutions that nobody
uses: those few go through Python's integers, all others through columns. A tick that does not begin on a nanosecond
is the nanosecond that it lies in; back again, it is the first tick within it, so that what is written reads back equal.

The draft's ticks have no sign, and real files have times before 1970 all the same, as two's complement (a clock that
had not been set). Of ticks of a nanosecond or more, those with the top bit set would be beyond the year 2262 and fit
no column: they are read as negative. Finer ticks need all 64 bits to reach from 1970 to now, and keep them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEFAULT_RESOLUTION = 6
"""Microseconds, where a file does not say."""

NO_TIME = int(np.iinfo(np.int64).min)
"""Stands for "no time is known" in a column of nanoseconds."""

SECOND_NS = 1_000_000_000
LAST_S = int(np.iinfo(np.int64).max) // SECOND_NS - 1
"""The last second, before or after 1970, of which all nanoseconds fit 64 bits: in the years 1677 and 2262."""

COLUMN_BITS = 34
"""2^-34 s is the finest power of two whose ticks within a second, times 10^9, fit 64 bits."""

Ticks = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def ticks_per_second(resolution: int) -> int:
    """Ticks in a second, for a value of if_tsresol."""
    return 1 << (resolution & 0x7F) if resolution & 0x80 else int(10**resolution)


def to_ns(ticks: Ticks, resolution: int, offset_s: Numbers) -> Numbers:
    """Nanoseconds since 1970 of each tick, rounded down; `NO_TIME` where 64 bits do not hold them. All arrays [n]."""
    per_second = ticks_per_second(resolution)
    if per_second <= SECOND_NS:
        seconds, part = np.divmod(ticks.view(np.int64), per_second)
        part = part * SECOND_NS // per_second
    elif _fits_columns(resolution):
        whole, within = np.divmod(ticks, np.uint64(per_second))
        if resolution & 0x80:
            within = within * np.uint64(SECOND_NS) >> np.uint64(resolution & 0x7F)
        else:
            within //= np.uint64(per_second // SECOND_NS)
        seconds, part = whole.astype(np.int64), within.astype(np.int64)
    else:
        ns = [tick * SECOND_NS // per_second for tick in ticks.tolist()]
        seconds, part = np.divmod(np.array(ns, np.int64), SECOND_NS)
    # so far out that no offset could bring them back, and not so far that the sum would wrap
    seconds = np.clip(seconds, -(1 << 62), 1 << 62) + np.clip(offset_s, -(1 << 61), 1 << 61)
    fits = np.abs(seconds) <= LAST_S
    return np.where(fits, np.where(fits, seconds, 0) * SECOND_NS + part, NO_TIME)


def to_ticks(time_ns: Numbers, resolution: int, offset_s: Numbers) -> Ticks:
    """The ticks that `to_ns` gives these times for; the nearest that there are, where 64 bits do not reach so far.

    Where a tick is longer than a nanosecond, a time between two is the earlier one's.
    """
    per_second = ticks_per_second(resolution)
    seconds, part = np.divmod(time_ns, SECOND_NS)
    seconds -= np.clip(offset_s, -(1 << 61), 1 << 61)
    if per_second <= SECOND_NS:
        within = part * per_second
        within = -(-within // SECOND_NS) if resolution & 0x80 else within // SECOND_NS
        # the lowest product may wrap, and the sum then wraps back
        seconds = np.clip(seconds, -(1 << 63) // per_second, ((1 << 63) - 1) // per_second)
        ticks = (seconds * per_second + within).view(np.uint64)
    elif _fits_columns(resolution):
        whole, inside = np.clip(seconds, 0, None).astype(np.uint64), part.astype(np.uint64)
        if resolution & 0x80:
            inside = ((inside << np.uint64(resolution & 0x7F)) + np.uint64(SECOND_NS - 1)) // np.uint64(SECOND_NS)
        else:
            inside *= np.uint64(per_second // SECOND_NS)
        ticks = np.minimum(whole, np.uint64(((1 << 64) - 1) // per_second)) * np.uint64(per_second) + inside
    else:
        pairs = zip(np.clip(seconds, 0, None).tolist(), part.tolist(), strict=True)
        each = (-(-(s * SECOND_NS + ns) * per_second // SECOND_NS) for s, ns in pairs)
        ticks = np.array([min(tick, (1 << 64) - 1) for tick in each], np.uint64)
    return np.where(time_ns == NO_TIME, _no_ticks(per_second, offset_s), ticks)


def _no_ticks(per_second: int, offset_s: Numbers) -> Ticks:
    """What is written for `NO_TIME`: the tick farthest out, which no column of nanoseconds holds, so that it reads
    back as none. Of ticks finer than 2^-30 s the last is not so far, and reads back as a time.
    """
    early, late, last = np.uint64(1 << 63), np.uint64((1 << 63) - 1), np.uint64((1 << 64) - 1)
    return np.where(offset_s > 0, late, early) if per_second <= SECOND_NS else np.full(len(offset_s), last)


def _fits_columns(resolution: int) -> bool:
    return resolution & 0x7F <= (COLUMN_BITS if resolution & 0x80 else 18)
