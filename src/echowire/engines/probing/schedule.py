"""Which probe is due when. A schedule is asked by the run, and told nothing but the time.

`Rounds` is ping's: every target once a round. Probes are a little apart within a round, so that a hundred targets
are not a burst, and a round takes no less than the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from echowire.engines.probing.flight import Probe, Target

APART_NS = 10_000_000
"""The most that two targets' probes are apart within a round, 10 ms: fping's default. A few targets are then asked
together, and their answers can be compared."""


class Schedule(Protocol):
    """Probes in the order in which they are due."""

    def due_ns(self) -> int | None:
        """When the next one is due, by the monotonic clock; None while there is none."""

    def take(self) -> Probe:
        """The next one; called when it is due."""

    @property
    def finished(self) -> bool:
        """Whether there will be no more, whatever is answered."""


class Rounds:
    """Each target in turn, `count` times (None: without end), a round each `interval_ns`, no faster than `apart_ns`."""

    def __init__(
        self, targets: Sequence[Target], size: int, count: int | None, interval_ns: int, apart_ns: int, start_ns: int
    ) -> None:
        self._targets = targets
        self._size = size
        self._total = None if count is None else count * len(targets)
        self._next = 0
        self._start_ns = start_ns
        self.apart_ns = max(apart_ns, min(interval_ns // max(len(targets), 1), APART_NS))
        """Between two probes of a round, in effect."""
        self.round_ns = max(interval_ns, self.apart_ns * len(targets))
        """Between two probes of one target, in effect."""

    @property
    def finished(self) -> bool:
        """Whether all have been taken."""
        return not self._targets or (self._total is not None and self._next >= self._total)

    def due_ns(self) -> int | None:
        """When the next one is due."""
        if self.finished:
            return None
        number, place = divmod(self._next, len(self._targets))
        return self._start_ns + number * self.round_ns + place * self.apart_ns

    def take(self) -> Probe:
        """The next one."""
        number, place = divmod(self._next, len(self._targets))
        self._next += 1
        return Probe(self._next, self._targets[place], number + 1, self._size)
