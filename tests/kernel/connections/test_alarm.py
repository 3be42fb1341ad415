"""A descriptor that is ready at a moment."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator

import pytest

from echowire.kernel.connections.alarm import Alarm
from echowire.testing import PATIENCE_S


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    made = Alarm()
    yield made
    made.close()


def is_ready(alarm: Alarm, wait_s: float = 0.0) -> bool:
    return bool(select.select([alarm.fd], [], [], wait_s)[0])


def test_it_is_not_ready_before_a_moment_is_set(alarm: Alarm) -> None:
    assert not is_ready(alarm)


def test_it_is_ready_when_the_moment_has_come_and_not_before(alarm: Alarm) -> None:
    moment = time.monotonic() + 0.05
    alarm.set(moment)
    assert is_ready(alarm, PATIENCE_S)
    assert time.monotonic() >= moment


@pytest.mark.parametrize("moment", [0.0, -1.0, 1e-12, 1.0])
def test_a_moment_that_has_passed_is_now(moment: float, alarm: Alarm) -> None:
    alarm.set(moment)
    assert is_ready(alarm, PATIENCE_S)
    assert is_ready(alarm)  # until another is set


def test_another_takes_its_place_and_none_is_never(alarm: Alarm) -> None:
    alarm.set(0.0)
    assert is_ready(alarm, PATIENCE_S)
    alarm.set(time.monotonic() + 3600)
    assert not is_ready(alarm)
    alarm.set(0.0)
    alarm.set(None)
    assert not is_ready(alarm)


def test_it_is_given_back_and_no_child_has_it() -> None:
    alarm = Alarm()
    assert not os.get_inheritable(alarm.fd)
    alarm.close()
    with pytest.raises(OSError):
        os.fstat(alarm.fd)
