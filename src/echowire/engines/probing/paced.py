"""Probes that follow their answers: ping's `-A` and its flood, which send the next one as soon as one has come back.

So many are unanswered at a time as were sent ahead (`-l`), and a target that falls silent is asked again after a while.
The rate is then the path's own: a flood of a host that answers in 50 µs is 20,000 a second, and of one that does not
answer a hundred.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from echowire.core.probing.answers import Answer
from echowire.engines.probing.flight import Probe, Target

FLOOD_IDLE_NS = 10_000_000
"""After so long without an answer a flood sends all the same: a hundred a second, as ping's does."""

ADAPTIVE_LEAST_NS = 2_000_000
"""Between two probes that adapt, 2 ms: ping's least for whom it does not trust with a flood."""


class PacedRounds:
    """Each target in turn, `count` times (None: without end): one probe more for each that is answered, no faster than
    `apart_ns`; after `idle_ns` without any answer one more in any case.
    """

    def __init__(
        self, targets: Sequence[Target], size: int, count: int | None, ahead: int, apart_ns: int, idle_ns: int
    ) -> None:
        self._targets = targets
        self._size = size
        self._total = None if count is None else count * len(targets)
        self._window = ahead * max(len(targets), 1)
        self._next = 0
        self._answered = 0
        self._next_ns = time.monotonic_ns()
        self._idle_ns = idle_ns
        self.apart_ns = apart_ns
        """The least between two probes."""
        self.round_ns = idle_ns
        """The most between two."""

    @property
    def finished(self) -> bool:
        """Whether all have been taken."""
        return not self._targets or (self._total is not None and self._next >= self._total)

    def due_ns(self) -> int | None:
        """When the next one is due."""
        if self.finished:
            return None
        if self._next - self._answered < self._window:
            return self._next_ns
        return self._next_ns - self.apart_ns + self._idle_ns

    def take(self) -> Probe:
        """The next one."""
        number, place = divmod(self._next, len(self._targets))
        if self._next - self._answered >= self._window:
            self._answered = self._next + 1 - self._window  # those that are silent are waited for no longer
        self._next += 1
        self._next_ns = time.monotonic_ns() + self.apart_ns
        return Probe(self._next, self._targets[place], number + 1, self._size)

    def told(self, answer: Answer) -> None:
        """What became of one of them."""
        if not answer.duplicate and not answer.late and answer.word != "no reply":
            self._answered = min(self._answered + 1, self._next)
