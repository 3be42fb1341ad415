"""Whose hands a load is given to, in simulated time: loads whose rates are known, and what is decided of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from echowire.engines.serving.policy import (
    FEW,
    LOOK_S,
    MEASURED_MAX,
    QUIET_LOOK_MAX_S,
    TRIAL_PAUSE_MAX_S,
    TRIAL_SHARE,
    Hands,
    LoadPolicy,
)

KERNEL, PROCESS = Hands.KERNEL, Hands.PROCESS


@dataclass(slots=True)
class Load:
    """A load under a policy: `active` connections, which move `rate(hands, now)` bytes a second."""

    active: int
    rate: Callable[[Hands, float], float]
    policy: LoadPolicy = field(default_factory=LoadPolicy)
    now: float = 100.0
    pause: float = LOOK_S
    seconds: dict[Hands, float] = field(default_factory=lambda: {KERNEL: 0.0, PROCESS: 0.0})

    def go_on(self, seconds: float) -> Load:
        """Look, as often as it is asked for."""
        until = self.now + seconds
        while self.now < until:
            hands = self.policy.hands
            self.seconds[hands] += self.pause
            self.now += self.pause
            moved = round(self.rate(hands, self.now) * self.pause)
            self.pause = self.policy.look(self.now, self.pause, self.active, moved)
        return self


def steady(kernel: float, process: float) -> Callable[[Hands, float], float]:
    return lambda hands, now: kernel if hands is KERNEL else process


@pytest.mark.parametrize(("active", "hands"), [(1, KERNEL), (FEW, KERNEL), (FEW + 1, PROCESS), (1000, PROCESS)])
def test_before_anything_is_known_the_number_decides_at_once(active: int, hands: Hands) -> None:
    policy = LoadPolicy()
    policy.look(100.0, LOOK_S, active, 1000)
    assert policy.hands is hands


def test_where_nothing_moves_it_is_looked_ever_less() -> None:
    policy, pauses = LoadPolicy(), []
    for _ in range(8):
        pauses.append(policy.look(100.0, LOOK_S, 0, 0))
    assert pauses == sorted(pauses) and pauses[0] == 2 * LOOK_S and pauses[-1] == QUIET_LOOK_MAX_S
    assert policy.look(100.0, LOOK_S, 1, 10) == LOOK_S


@pytest.mark.parametrize("active", [1, 2, 3, 16, 200])
@pytest.mark.parametrize("best", list(Hands))
def test_who_is_faster_has_the_load_in_the_end(active: int, best: Hands) -> None:
    load = Load(active, steady(*((2e6, 1e6) if best is KERNEL else (1e6, 2e6)))).go_on(20.0)
    load.seconds = {KERNEL: 0.0, PROCESS: 0.0}
    load.go_on(100.0)
    assert load.seconds[best.other] < 100.0 / TRIAL_SHARE


@pytest.mark.parametrize("active", [1, 3, 50])
def test_trials_take_a_fiftieth_of_the_time_at_most_and_less_with_each(active: int) -> None:
    load = Load(active, steady(1e6, 1e6)).go_on(1.0)
    used = load.policy.hands
    shares = []
    for _ in range(3):
        load.seconds = {KERNEL: 0.0, PROCESS: 0.0}
        load.go_on(60.0)
        shares.append(load.seconds[used.other] / 60.0)
    assert 0 < shares[0] < 1 / TRIAL_SHARE and shares[2] <= shares[0] / 4


def test_a_small_difference_moves_nobody() -> None:
    load = Load(3, steady(1.04e6, 1e6)).go_on(120.0)
    assert load.policy.hands is PROCESS and load.seconds[KERNEL] < 3.0


def test_a_load_that_changes_while_it_is_tried_says_nothing() -> None:
    # It grows fourfold just when the other has it, and stays so.
    seen: list[float] = []

    def rate(hands: Hands, now: float) -> float:
        if hands is KERNEL and now > 100.2:
            seen.append(now)
        return 4e6 if seen else 1e6

    load = Load(3, rate).go_on(10.0)
    assert seen and load.policy.hands is PROCESS


def test_an_unsteady_load_is_not_tried() -> None:
    turns = iter(range(10**6))
    load = Load(3, lambda hands, now: 1e6 * (1 + next(turns) % 3)).go_on(60.0)
    assert load.seconds[KERNEL] <= LOOK_S


def test_more_than_are_measured_are_not_tried() -> None:
    load = Load(MEASURED_MAX, steady(9e6, 1e6)).go_on(200.0)
    assert load.seconds[KERNEL] <= LOOK_S


def test_what_was_learned_is_found_out_again_when_it_changes() -> None:
    load = Load(3, lambda hands, now: 1e6 if (hands is PROCESS) == (now < 400.0) else 0.4e6)
    load.go_on(300.0)
    assert load.policy.hands is PROCESS
    load.go_on(2 * TRIAL_PAUSE_MAX_S)
    assert load.policy.hands is KERNEL


def test_few_at_a_time_do_not_hide_how_many_take_turns() -> None:
    policy = LoadPolicy()
    for active in (8, 1, 1, 8, 1, 1):
        policy.look(100.0, LOOK_S, active, 1000)
        assert policy.hands is PROCESS
