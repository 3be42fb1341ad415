"""The rings of several interfaces as one stream of blocks, until it is told to stop; then what is left in them."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from errno import ENODEV
from typing import NamedTuple, Self

from echowire.core.captures.in_place import InterfaceStatistics
from echowire.core.captures.ring import Frames
from echowire.errors import OperationError
from echowire.kernel.boundary import operation_error
from echowire.kernel.captures.ring import PacketRing
from echowire.kernel.captures.ring_socket import RingSocket

TICK_S = 0.25
"""How often, at least, whoever consumes the stream gets its turn though nothing comes: to redraw, count, turn files."""

TURN_BLOCKS = 4
"""That one ring gives before the others, and a request to stop, are looked at again."""

DRAIN_PERIODS = 3
"""Of the time in which a block is handed over: a timer that is due, one more, and its being late."""

GRACE_S = 0.02
"""After an end, for packets that were on their way into a ring when its filter was changed."""


class Batch(NamedTuple):
    """Some packets of one interface, in a block that goes back to the kernel when the next batch is asked for."""

    interface: int
    """Index of its ring."""
    frames: Frames


class PacketSession:
    """Used as a context manager, which closes the rings. `stop` may be called by any thread and any signal handler."""

    def __init__(self, opened: Sequence[RingSocket]) -> None:
        """Takes the sockets over: they are closed with it."""
        self._stack = ExitStack()
        self.problem: OperationError | None = None
        """Why it ended by itself: the last of the interfaces is gone."""
        self.on_notice: Callable[[OperationError], None] | None = None
        """Told of an interface that went down, or that is gone while there are others."""
        for ring_socket in opened:
            self._stack.callback(ring_socket.close)
        try:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._stack.callback(os.close, self._wake)
            self._poller = select.poll()
            self._poller.register(self._wake, select.POLLIN)
            self.rings = [self._stack.enter_context(PacketRing(ring_socket)) for ring_socket in opened]
            for ring in self.rings:
                self._poller.register(ring, select.POLLIN)
        except BaseException:
            self._stack.close()
            raise
        self._live = set(self.rings)
        self._down: dict[PacketRing, OperationError] = {}
        """That went down, and may be gone."""
        self._untold: set[PacketRing] = set()
        """Whose going down nobody was told of yet."""
        self._stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the rings."""
        self._stopping = True
        self._stack.close()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping

    def stop(self) -> None:
        """Take no more packets; `batches` gives what there is and ends."""
        if not self._stopping:
            self._stopping = True
            os.eventfd_write(self._wake, 1)

    def batches(self, until: float | None = None) -> Generator[Batch | None]:
        """The packets as they come; None where it is time for something else. Ends at `until`, by the monotonic clock,
        or after `stop`, with all that came before.
        """
        tick = time.monotonic() + TICK_S
        while not self._stopping and self._live:
            now = time.monotonic()
            if until is not None and now >= until:
                break
            self._poller.poll(1000 * max(0.0, min(tick, until or tick) - now))
            for index, ring in enumerate(self.rings):
                for frames in ring.blocks(TURN_BLOCKS):
                    yield Batch(index, frames)
                if error := ring.error():
                    self._down[ring] = error
                    self._untold.add(ring)
            if time.monotonic() >= tick:
                self._look_for_gone()
                yield None
                tick = time.monotonic() + TICK_S
        yield from self._rest()

    def _rest(self) -> Generator[Batch | None]:
        """What was taken before the end; the block that is being filled is handed over by a timer."""
        self._stopping = True
        for ring in self._live:
            ring.stop()
        end = time.monotonic() + DRAIN_PERIODS * max((ring.retire_ms for ring in self._live), default=0) / 1000
        poller = select.poll()
        for ring in self._live:
            poller.register(ring, select.POLLIN)
        while True:
            left = end - time.monotonic()
            ready = poller.poll(1000 * max(0.0, min(left, GRACE_S)))
            for index, ring in enumerate(self.rings):
                for frames in ring.blocks(TURN_BLOCKS):
                    yield Batch(index, frames)
            if not ready and (left <= 0 or all(ring.is_empty for ring in self._live)):
                return

    def _look_for_gone(self) -> None:
        """The kernel tells that an interface goes down, then removes it, and says nothing of that. So what went down is
        told of a moment later: as gone, or as down, which may come up again.
        """
        for ring, error in [*self._down.items()]:
            if ring.is_gone:
                del self._down[ring]
                self._untold.discard(ring)
                self._live.discard(ring)
                self._poller.unregister(ring)
                error = operation_error("capture on", ring.name, OSError(ENODEV, os.strerror(ENODEV)))
                error.meaning = "The interface is gone"
                if self._live:
                    self._notice(error)
                else:
                    self.problem = error
            elif ring in self._untold:
                self._untold.discard(ring)
                self._notice(error)

    def _notice(self, error: OperationError) -> None:
        if self.on_notice:
            self.on_notice(error)

    @property
    def backlog(self) -> float:
        """How full the fullest ring is, 0 to 1."""
        return max(ring.backlog for ring in self.rings)

    def counters(self) -> list[InterfaceStatistics]:
        """What came of the packets so far, interface by interface."""
        return [ring.counters() for ring in self.rings]
