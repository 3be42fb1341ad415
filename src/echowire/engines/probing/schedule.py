"""Which probe is due when. A schedule is asked by the run, and told nothing but the time.

`Rounds` is ping's: every target once a round. Probes are a little apart within a round, so that a hundred targets
are not a burst, and a round takes no less than the interval.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from echowire.core.probing.answers import UP, Answer
from echowire.engines.probing.flight import Probe, Target

APART_NS = 10_000_000
"""The most that two targets' probes are apart within a round, 10 ms: fping's default. A few targets are then asked
together, and their answers can be compared."""


MANY = 64
GROUP = 10
GROUP_NS = 10_000_000
"""Many targets are asked in groups, all of a group when its first is due: as many as the rate allows in 10 ms, and ten
at most, which is what any TCP connection sends at once (RFC 6928). To wake up costs a process several times what a
probe does."""


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
        self._group = min(max(GROUP_NS // max(self.apart_ns, 1), 1), GROUP) if len(targets) >= MANY else 1

    @property
    def finished(self) -> bool:
        """Whether all have been taken."""
        return not self._targets or (self._total is not None and self._next >= self._total)

    def due_ns(self) -> int | None:
        """When the next one is due."""
        if self.finished:
            return None
        number, place = divmod(self._next, len(self._targets))
        return self._start_ns + number * self.round_ns + (place - place % self._group) * self.apart_ns

    def take(self) -> Probe:
        """The next one."""
        number, place = divmod(self._next, len(self._targets))
        self._next += 1
        return Probe(self._next, self._targets[place], number + 1, self._size)


class HopRounds:
    """A path's: every time to live in turn, `count` times (None: without end), up to where the target answers.

    Nobody is waited for within a round; `reached` is set by who hears the target answer, and cuts what is left.
    """

    def __init__(
        self, target: Target, size: int, count: int | None, hops: tuple[int, int], flows: int, interval_ns: int,
        start_ns: int,
    ) -> None:  # fmt: skip
        self._target = target
        self._size = size
        self._count = count
        self._first, self._last = hops
        self._flows = flows
        self._number = 0
        self._round = 0
        self._round_ns = start_ns
        self._hops = self._first
        self._interval_ns = interval_ns
        self.reached: int | None = None

    @property
    def finished(self) -> bool:
        """Whether all have been taken."""
        self._turn()
        return self._count is not None and self._round >= self._count

    def due_ns(self) -> int | None:
        """When the next one is due."""
        if self.finished:
            return None
        return self._round_ns + (self._hops - self._first) * HOPS_APART_NS

    def take(self) -> Probe:
        """The next one."""
        self._number += 1
        flow = self._round % self._flows
        probe = Probe(self._number, self._target, self._round + 1, self._size, self._hops, flow)
        self._hops += 1
        return probe

    def _turn(self) -> None:
        """Begin the next round where this one is through."""
        last = self._last if self.reached is None else min(self.reached, self._last)
        if self._hops > last:
            length = (self._hops - self._first) * HOPS_APART_NS
            self._round += 1
            self._round_ns += max(self._interval_ns, length)
            self._hops = self._first


HOPS_APART_NS = 5_000_000
"""Between the probes of a round, 5 ms: on a short path the target has answered before many are sent beyond it."""


class SizeSearch:
    """Which is the largest packet that comes back: many sizes at a time, and narrower each time.

    A size is given up only after `tries` of its packets are gone without a word: one may be lost by chance. What a
    router says of the size that would pass is believed when it has been tried.
    """

    def __init__(self, target: Target, overhead: int, least: int, most: int, tries: int) -> None:
        self._target = target
        self._overhead = overhead
        self._tries = tries
        self._number = 0
        self._queue: list[int] = []
        self._open: dict[int, int] = {}
        """Packets that nothing is known of yet, by their size."""
        self._sizes: dict[int, int] = {}
        self._hints: set[int] = set()
        self._next_ns = 0
        self._least, self._most = least, most
        self.largest: int | None = None
        """The largest size that came back."""
        self._lost = {most + 1}
        self.finished = False
        usual = (576, 1280, 1400, 1420, 1450, 1480, 1492, 1500, 9000)
        self._first_sizes = {least, most, *(size for size in usual if least < size < most)}
        self._is_second = False
        self._ask(self._first_sizes)

    @property
    def smallest_lost(self) -> int:
        """The smallest size that did not come back, of those above the largest that did."""
        # One that was lost by chance, of a size less than what passed, says nothing.
        return min(size for size in self._lost if size > (self.largest or 0))

    def due_ns(self) -> int | None:
        """When the next one is due."""
        return self._next_ns if self._queue else None

    def take(self) -> Probe:
        """The next one."""
        size = self._queue.pop(0)
        self._number += 1
        self._sizes[self._number] = size
        self._next_ns += SIZES_APART_NS
        return Probe(self._number, self._target, self._number, size - self._overhead)

    def told(self, answer: Answer) -> None:
        """What became of one of them."""
        if answer.duplicate or answer.late:
            return
        size = self._sizes[answer.sequence]
        if size not in self._open:
            return
        if answer.word in UP and not answer.corrupted:
            self._settle(size)
            self.largest = max(self.largest or 0, size)
        elif answer.word == "no reply":
            self._open[size] -= 1
            if not self._open[size]:
                self._settle(size)
                self._lost.add(size)
        else:
            self._settle(size)
            self._lost.add(size)
            if answer.mtu is not None and self._least <= answer.mtu < size:
                self._hints.add(answer.mtu)
        if not self._open:
            self._go_on()

    def _settle(self, size: int) -> None:
        """Nothing more needs to be known of `size`."""
        del self._open[size]
        self._queue = [each for each in self._queue if each != size]

    def _go_on(self) -> None:
        low = self.largest
        if low is None:
            # Not even the smallest. Once more, all of it: the first packets to a host that was asleep, or whose
            # neighbour has yet to be found, are often lost.
            self.finished = self._is_second
            if not self._is_second:
                self._is_second = True
                self._lost = {self._most + 1}
                self._ask(self._first_sizes)
            return
        high = self.smallest_lost
        if high == low + 1:
            self.finished = True
            return
        hinted = {size for hint in self._hints for size in (hint, hint + 1) if low < size < high}
        self._hints.clear()
        step = max((high - low) // (SIZES_AT_ONCE + 1), 1)
        self._ask(hinted or set(range(low + step, high, step)))

    def _ask(self, sizes: set[int]) -> None:
        self._open = dict.fromkeys(sizes, self._tries)
        # Each once, then each again: what takes one by chance is then less likely to take all.
        self._queue = sorted(sizes) * self._tries
        self._next_ns = time.monotonic_ns()


SIZES_AT_ONCE = 16
SIZES_APART_NS = 2_000_000
"""Between two packets of a search, 2 ms."""
