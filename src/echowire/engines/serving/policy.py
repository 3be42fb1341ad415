"""Whose hands are the faster for a load, the kernel's or this process's: what `auto` decides by. Pure.

The kernel echoes without waking anybody, which is most of what an echo costs while few are connected: with one or two
clients it has a third of the process's round trip. But it does so on the processor that the segment came in on, one
connection after the other, where a client and this process keep two processors busy: from the third client on, the
process was faster on each machine of two processors that was measured. Where there are many processors, and segments
come in on all of them, the turning point lies elsewhere; so it is a prior, and what was measured under the load itself
overrules it:

now and then, while a load is steady, the other hands have the active connections for some hundredths of a second
(a *trial*), between two measurements of those that had them before, and whoever moved more bytes by a clear margin has
that load from then on. Trials take at most a fiftieth of the time, less with each that confirms the one before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

FEW = 2
"""Active connections up to which the kernel is expected to be the faster."""

LOOK_S = 0.02
"""From one look to the next while bytes move: some hundred echoes, and nobody waits for a decision for long."""
QUIET_LOOK_MAX_S = 0.32
"""The same when nothing moves, after doubling: what a server that nobody uses may cost."""

TRIAL_S = 0.02
"""How long each of the three parts of a trial is measured; two settle for `SETTLE_S` before."""
SETTLE_S = 0.005

TRIAL_SHARE = 50
"""Of the time under a load at most one part in so many is spent on trials."""
TRIAL_PAUSE_MAX_S = 60.0

MARGIN = 1.05
"""By how much the other must be faster, than before and after it, to be taken: below it noise decides."""

STEADY = 1.5
"""Two rates whose ratio is beyond this are those of two loads."""

MEASURED_MAX = 256
"""Connections that are looked at. Where as many are active no trial is made: it would not be of the whole load."""

LEVEL_LOOKS = 5
"""The load's level is the most connections that were active at once in this many looks: few at a time do not show
how many take turns."""


class Hands(Enum):
    """Who echoes."""

    KERNEL = "kernel"
    PROCESS = "process"

    @property
    def other(self) -> Hands:
        """The other one."""
        return Hands.PROCESS if self is Hands.KERNEL else Hands.KERNEL


@dataclass(slots=True)
class _Trial:
    """The other hands have the load: first `before` was measured, then `during` is, then what comes after."""

    bucket: int
    before: float
    during: float | None = None
    is_settling: bool = True


@dataclass(slots=True)
class _Learned:
    """What trials said of loads of one size."""

    best: Hands
    confirmed: int = 0
    next_trial: float = 0.0


class LoadPolicy:
    """Decides, from look to look, who is to echo the active connections."""

    def __init__(self) -> None:
        self.hands = Hands.KERNEL
        """Who has them now."""
        self._levels: deque[int] = deque(maxlen=LEVEL_LOOKS)
        self._rates: deque[float] = deque(maxlen=LEVEL_LOOKS)
        self._learned: dict[int, _Learned] = {}
        self._trial: _Trial | None = None
        self._quiet_s = LOOK_S

    @property
    def is_trying(self) -> bool:
        """Whether a trial is under way: until it ends the same connections must be measured."""
        return self._trial is not None

    def look(self, now: float, seconds: float, active: int, moved: int) -> float:
        """Decide, `seconds` after the last look, in which `active` connections moved `moved` bytes; the seconds
        until the next look. `hands` is who is to echo from now on.
        """
        if self._trial is not None:
            return self._go_on(self._trial, now, moved / seconds)
        if not active:
            self._rates.clear()
            self._quiet_s = min(2 * self._quiet_s, QUIET_LOOK_MAX_S)
            return self._quiet_s
        self._quiet_s = LOOK_S
        self._levels.append(active)
        bucket = self._bucket()
        learned = self._learned.setdefault(bucket, _Learned(expected(max(self._levels))))
        if learned.best is not self.hands:
            self.hands = learned.best
            self._rates.clear()
            return LOOK_S
        if moved:  # else they are seen for the first time
            self._rates.append(moved / seconds)
        if learned.next_trial == 0.0:
            learned.next_trial = now + TRIAL_SHARE * trial_s(active)
        if now >= learned.next_trial and active < MEASURED_MAX and self._is_steady():
            self._trial = _Trial(bucket, sum(self._rates) / len(self._rates))
            self.hands = self.hands.other
            return SETTLE_S
        return LOOK_S

    def _go_on(self, trial: _Trial, now: float, rate: float) -> float:
        """The next part of a trial, or its end."""
        if trial.is_settling:
            trial.is_settling = False
            return TRIAL_S
        if trial.during is None:
            trial.during = rate
            trial.is_settling = True
            self.hands = self.hands.other
            return SETTLE_S
        self._trial = None
        self._rates.clear()
        self._learn(trial, trial.during, rate, now)
        return LOOK_S

    def _learn(self, trial: _Trial, during: float, after: float, now: float) -> None:
        learned = self._learned[trial.bucket]
        pause = TRIAL_SHARE * trial_s(max(self._levels))
        is_one_load = max(trial.before, after) <= STEADY * max(1.0, min(trial.before, after))
        if is_one_load and during > MARGIN * max(trial.before, after):
            learned.best = learned.best.other
            learned.confirmed = 0
        elif is_one_load:
            learned.confirmed += 1
        learned.next_trial = now + min(pause * 2**learned.confirmed, TRIAL_PAUSE_MAX_S)

    def _bucket(self) -> int:
        """Loads of about as many connections are one: 1, 2, 3 to 4, 5 to 8, …"""
        return (max(self._levels) - 1).bit_length()

    def _is_steady(self) -> bool:
        rates = self._rates
        return len(rates) == LEVEL_LOOKS and max(rates) <= STEADY * min(rates)


def expected(active: int) -> Hands:
    """Who is the faster for so many active connections, as long as no trial has said otherwise."""
    return Hands.KERNEL if active <= FEW else Hands.PROCESS


def trial_s(active: int) -> float:
    """About how long a trial with so many connections takes, with moving them there and back."""
    return TRIAL_S + 2 * SETTLE_S + active * 0.0005
