"""The loop: what is ready, what is due, a word from elsewhere; over epoll and over selectors."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

import echowire.engines.serving.loop as loop_module
from echowire.engines.serving.loop import Loop
from echowire.kernel.connections.alarm import Alarm
from echowire.kernel.connections.poller import READ, WRITE, Poller, SelectorsPoller, new_poller


@pytest.fixture(params=[(new_poller, True), (new_poller, False), (SelectorsPoller, True), (SelectorsPoller, False)])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    poller: Callable[[], Poller]
    poller, has_alarm = request.param
    if not has_alarm:
        monkeypatch.setattr(loop_module, "Alarm", no_alarm)
    made = Loop(poller)
    yield made
    made.close()


def no_alarm() -> Alarm:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def last_word(word: str, seen: list[str], loop: Loop) -> None:
    seen.append(word)
    loop.finish()


def test_timers_run_in_order_of_their_time(loop: Loop) -> None:
    seen: list[str] = []
    loop.after(0.02, lambda: last_word("late", seen, loop))
    loop.after(0.0, lambda: seen.append("soon"))
    loop.after(0.0, lambda: seen.append("soon too"))
    loop.run()
    assert seen == ["soon", "soon too", "late"]


def test_what_is_ready_is_called_and_what_is_unwatched_is_not(loop: Loop) -> None:
    here, there = socket.socketpair()
    with here, there:
        seen: list[int] = []

        def on_ready(mask: int) -> None:
            seen.append(mask)
            if len(seen) == 1:
                loop.rewatch(here.fileno(), WRITE)
            elif len(seen) == 2:
                loop.rewatch(here.fileno(), 0)
                loop.after(0.0, lambda: loop.rewatch(here.fileno(), READ))
            else:
                loop.unwatch(here.fileno())
                loop.unwatch(here.fileno())
                loop.after(0.0, loop.finish)

        loop.watch(here.fileno(), READ, on_ready)
        there.send(b"x")
        loop.run()
        assert [bool(mask & READ) for mask in seen] == [True, False, True]


def test_one_that_closes_another_of_the_same_batch(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    seen: list[int] = []

    def on_ready(index: int) -> None:
        seen.append(index)
        for here, _ in pairs:
            loop.unwatch(here.fileno())
        loop.finish()

    for index, (here, there) in enumerate(pairs):
        loop.watch(here.fileno(), READ, lambda mask, index=index: on_ready(index))  # type: ignore[misc]
        there.send(b"x")
    loop.run()
    assert len(seen) == 1
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_a_word_from_another_thread_and_from_a_signal(loop: Loop) -> None:
    seen: list[str] = []
    runner = threading.Thread(target=loop.run)
    runner.start()
    previous = signal.signal(
        signal.SIGUSR1, lambda *_: loop.call_from_anywhere(lambda: last_word("signal", seen, loop))
    )
    try:
        loop.call_from_anywhere(lambda: seen.append("thread"))
        signal.raise_signal(signal.SIGUSR1)
        runner.join(10)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert seen == ["thread", "signal"] and not runner.is_alive()


def test_a_word_after_the_end_is_lost_and_harmless() -> None:
    loop = Loop()
    loop.finish()
    loop.run()
    loop.close()
    for _ in range(1000):
        loop.call_from_anywhere(lambda: None)
