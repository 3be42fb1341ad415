"""The loop of a single-threaded engine: what is ready, what is due, and a word from another thread."""

from __future__ import annotations

import heapq
import itertools
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator

from echowire.kernel.connections.alarm import Alarm
from echowire.kernel.connections.poller import READ, Poller, new_poller


class Loop:
    """Waits for descriptors and for time, in one thread. Only `call_from_anywhere` may be used from another."""

    def __init__(self, poller: Callable[[], Poller] = new_poller) -> None:
        self._poller = poller()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_number = itertools.count()
        self._alarm = _alarm()
        self._calls: deque[Callable[[], None]] = deque()
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._finished = False
        self.watch(self._wake_out.fileno(), READ, self._on_wake)
        if self._alarm is not None:
            self.watch(self._alarm.fd, READ, self._on_alarm)

    def watch(self, fd: int, mask: int, on_ready: Callable[[int], None]) -> None:
        """Call `on_ready(mask)` whenever `fd` is ready for `mask`, or has failed."""
        self._poller.register(fd, mask)
        self._handlers[fd] = on_ready

    def rewatch(self, fd: int, mask: int) -> None:
        """Watch `fd` for another mask from now on."""
        self._poller.modify(fd, mask)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`, if it is watched; to be done before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call` once, `seconds` from now. A timer is not cancelled: `call` looks if it is still wanted."""
        timer = (time.monotonic() + seconds, next(self._timer_number), call)
        heapq.heappush(self._timers, timer)
        if self._alarm is not None and self._timers[0] is timer:
            self._alarm.set(timer[0])

    def call_from_anywhere(self, call: Callable[[], None]) -> None:
        """Have the loop call `call`; from any thread or a signal handler, also when the loop has ended."""
        self._calls.append(call)
        try:
            self._wake_in.send(b"!")
        except OSError:
            pass  # the loop has ended, or so many calls wait that it will wake anyway

    def finish(self) -> None:
        """Let `run` return when this round is over."""
        self._finished = True

    def call(self, fd: int, mask: int) -> None:
        """Tell whoever watches `fd` that it is ready.

        A handler earlier in this batch may have closed it. If its number was given to a newcomer since, the newcomer
        is told that it is ready when it is not: whoever is told so tries, and sees.
        """
        on_ready = self._handlers.get(fd)
        if on_ready is not None:
            on_ready(mask)

    def run(self) -> None:
        """Serve until `finish`."""
        for ready in self.rounds():
            for fd, mask in ready:
                self.call(fd, mask)

    def rounds(self) -> Iterator[list[tuple[int, int]]]:
        """Wait until something is ready, and give it as (fd, mask), round by round until `finish`. Whoever takes them
        passes to `call` what it does not serve itself; so what is due is done too.
        """
        poll, timers, has_alarm = self._poller.poll, self._timers, self._alarm is not None
        while not self._finished:
            if has_alarm or not timers:
                yield poll()
            else:
                yield poll(max(0.0, timers[0][0] - time.monotonic()))
                self._run_due()

    def close(self) -> None:
        """Release the poller and the wake-up. Whatever is still watched is forgotten, not closed."""
        self._handlers.clear()
        self._timers.clear()
        if self._alarm is not None:
            self._alarm.close()
        self._wake_in.close()
        self._wake_out.close()
        self._poller.close()

    def _run_due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _on_alarm(self, mask: int) -> None:
        assert self._alarm is not None
        self._run_due()
        self._alarm.set(self._timers[0][0] if self._timers else None)

    def _on_wake(self, mask: int) -> None:
        try:
            self._wake_out.recv(4096)
        except BlockingIOError:
            return
        while self._calls:
            self._calls.popleft()()


def _alarm() -> Alarm | None:
    """What wakes the loop in time; None where there is no such thing, or no descriptor left for it."""
    try:
        return Alarm()
    except OSError:
        return None
