"""Waiting for a channel in asyncio's loop: the one place that watches its descriptor."""

from __future__ import annotations

import asyncio
import errno
import time
from contextlib import suppress

from echowire.errors import OperationError, UsageError
from echowire.kernel.connections.channel import Channel


class Waiter:
    """Waits for one channel. One task may wait to read while another waits to write."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waits: dict[str, asyncio.Future[None]] = {}

    async def ready(self, *, read: bool, write: bool, deadline: float | None) -> bool:
        """Wait until it can be read or written, or has failed; False at `deadline`, of `time.perf_counter`.

        Raises `UsageError` where another task waits for the same already, `OperationError` once it is closed.
        """
        loop, descriptor = asyncio.get_running_loop(), self._channel.fileno()
        wanted = ["read"] * read + ["write"] * write
        if any(name in self._waits for name in wanted):
            raise UsageError(f"{self._channel.endpoint}: another task waits for it already; give each task its own")
        future = loop.create_future()
        for name in wanted:
            self._waits[name] = future
            (loop.add_reader if name == "read" else loop.add_writer)(descriptor, _wake, future)
        try:
            left = None if deadline is None else max(0.0, deadline - time.perf_counter())
            async with asyncio.timeout(left):
                await future
        except TimeoutError:
            return False
        finally:
            for name in wanted:
                # Whoever closed it has stopped the watching too, and the number may be another's by now.
                if self._waits.pop(name, None) is not None:
                    (loop.remove_reader if name == "read" else loop.remove_writer)(descriptor)
        return True

    def close(self) -> None:
        """The channel is about to be closed: whoever waits is told."""
        waits, self._waits = self._waits, {}
        with suppress(OperationError, RuntimeError):
            loop, descriptor = asyncio.get_running_loop(), self._channel.fileno()
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)
        for future in waits.values():
            if not future.done():
                future.set_exception(OperationError("use", str(self._channel.endpoint), errno.EBADF, "it is closed"))


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
