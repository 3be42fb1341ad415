"""A clock moved by hand, and a connection in memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from echowire.engines.serving.base import Handler
from echowire.testing.peers import PATIENCE_S


class ManualClock:
    """A clock that is moved by hand, for code that takes `now` as an argument."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> float:
        """Move on, and return the new time."""
        self.now += seconds
        return self.now


@contextmanager
def memory_connection(handler: Handler) -> Iterator[socket.socket]:
    """A socket whose other end is served by `handler` in a thread: no address, no port, nothing to clean up.

    Leaving the block closes this end, waits for the handler, and raises what the handler raised.
    """
    here, there = socket.socketpair()
    raised: list[BaseException] = []

    def serve() -> None:
        try:
            handler(there)
        except BaseException as error:
            raised.append(error)
        finally:
            there.close()

    thread = threading.Thread(target=serve, name="echowire memory connection")
    thread.start()
    here.settimeout(PATIENCE_S)
    try:
        yield here
    finally:
        here.close()
        thread.join(PATIENCE_S)
    if raised:
        raise raised[0]
