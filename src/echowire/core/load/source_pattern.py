"""Whether a source sends RFC 864's pattern, and whether all of it is right: from any offset on, and fast. Pure.

What is right costs one memcmp a chunk, as in `payloads.py`; columns are made only of a chunk that is not. Which
source it is is seen in its first bytes. One that sends something else is not compared, and nothing is said of it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from echowire.core.load.payloads import CHUNK_BYTES
from echowire.core.services import CHARGEN_PATTERN

PERIOD = len(CHARGEN_PATTERN)
LINE = 74
"""72 characters and CR LF."""

WINDOW = 2 * LINE
"""So many bytes are found in the pattern once or not at all: every two lines of it differ from any others."""

DECIDE_BYTES = 4096
"""If no window of the first so many bytes is in the pattern, the source sends something else."""

SHIFTS = 16
"""In one chunk; a source that loses its place more often has the rest of it counted in lines."""


@cache
def pattern_ring() -> bytes:
    """The pattern, as often as a chunk and what was held before it need, from any offset."""
    return CHARGEN_PATTERN * (2 + (CHUNK_BYTES + DECIDE_BYTES) // PERIOD)


def is_of_pattern(data: bytes) -> bool:
    """Whether `data`, of at most a period, is a piece of the pattern, as a chargen's datagram may be."""
    return pattern_ring().find(data, 0, PERIOD + len(data)) >= 0


class PatternCheck:
    """Fed one connection's bytes in order, in chunks of up to `CHUNK_BYTES`."""

    __slots__ = ("_held", "_is_other", "_last_wrong", "_offset", "compared_bytes")

    def __init__(self) -> None:
        self.compared_bytes = 0
        self._held = b""
        self._is_other = False
        self._offset: int | None = None
        """Of the next byte; it grows, and counts from the start of the period that the first byte lay in."""
        self._last_wrong = -1

    def feed(self, data: bytes) -> int:
        """How many lines of `data`, and of what was held back before it, have a wrong byte."""
        if self._is_other:
            return 0
        if self._offset is None:
            data = self._held + data
            found = _find(data[:DECIDE_BYTES])
            if found is None:
                self._is_other = len(data) >= DECIDE_BYTES
                self._held = b"" if self._is_other else data
                return 0
            at, position = found
            self._held, self._offset = b"", (position - at) % PERIOD
        self.compared_bytes += len(data)
        if pattern_ring().startswith(data, self._offset % PERIOD):
            self._offset += len(data)
            return 0
        return self._count_wrong(data, self._offset)

    def _count_wrong(self, data: bytes, offset: int) -> int:
        """Lines with a wrong byte. Where bytes are missing, or too many, that is one, and the pattern goes on after."""
        count = 0
        for _ in range(SHIFTS):
            shift = _shift(data, offset)
            if shift is None:
                break
            at, offset = shift
            data = data[at:]
            self._last_wrong = -1
            count += 1
        self._offset = offset + len(data)
        wrong = _wrong(data, offset)
        if not len(wrong):
            return count
        lines = np.unique((offset + wrong) // LINE)
        repeated = int(lines[0]) == self._last_wrong  # the chunk before ended within this line
        self._last_wrong = int(lines[-1])
        return count + len(lines) - repeated


def _wrong(data: bytes, offset: int) -> NDArray[np.intp]:
    """Where `data` is not the pattern from `offset` on."""
    expected = np.frombuffer(pattern_ring(), np.uint8, len(data), offset % PERIOD)
    return np.flatnonzero(np.frombuffer(data, np.uint8) != expected)


def _shift(data: bytes, offset: int) -> tuple[int, int] | None:
    """Where in `data` the pattern goes on at another offset, and at which; None where it only has wrong bytes."""
    wrong = _wrong(data, offset)
    if not len(wrong) or 2 * len(wrong) < len(data) - (first := int(wrong[0])):
        return None
    found = _find(data[first : first + DECIDE_BYTES])
    return None if found is None else (first + found[0], found[1])


def _find(data: bytes) -> tuple[int, int] | None:
    """Where in `data` a window of the pattern begins, and where in the pattern that is."""
    for at in range(0, len(data) - WINDOW + 1, WINDOW):
        position = pattern_ring().find(data[at : at + WINDOW], 0, PERIOD + WINDOW)
        if position >= 0:
            return at, position
    return None
