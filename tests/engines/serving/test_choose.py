"""Which engine serves what, and what is said of it."""

from __future__ import annotations

import pytest

from echowire.engines.serving.base import Job
from echowire.engines.serving.choose import ENGINES, choose
from echowire.errors import UsageError


def test_each_name_is_its_engine_s() -> None:
    assert all(engine.name == name for name, engine in ENGINES.items())


def test_auto_takes_threads_for_a_handler_and_says_why_not_the_others() -> None:
    engine, why = choose("auto", Job([], handler=lambda sock: None))
    assert engine.name == "threads" and "not readiness: a blocking handler" in why


def test_what_was_asked_for() -> None:
    assert choose("threads", Job([]))[0].name == "threads"
    with pytest.raises(UsageError, match="no engine is called 'steam'; one of auto, "):
        choose("steam", Job([]))
    with pytest.raises(UsageError, match="'readiness' cannot do this: a blocking handler"):
        choose("readiness", Job([], handler=lambda sock: None))
