"""Waiting until sockets are ready: epoll, or the standard library's selectors where there is no epoll.

Both have epoll's four methods and its two level-triggered masks, so that whoever waits need not know which it is.
"""

from __future__ import annotations

import select
import selectors
from typing import Protocol

READ = 0x001  # EPOLLIN
WRITE = 0x004  # EPOLLOUT


class Poller(Protocol):
    """What is waited with. Masks are `READ`, `WRITE` or both; what else `poll` reports means: try, and see."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Begin to watch `fd`."""

    def modify(self, fd: int, eventmask: int, /) -> None:
        """Watch `fd` for something else; 0 for nothing but its end."""

    def unregister(self, fd: int, /) -> None:
        """Stop watching `fd`; done before it is closed."""

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Wait for at most `timeout` seconds (None: for ever), and return (fd, mask) of each that is ready."""

    def close(self) -> None:
        """Release it."""


class SelectorsPoller:
    """The standard library's best selector (kqueue, poll, select) with epoll's face."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, eventmask: int, /) -> None:
        """Begin to watch `fd`. A selector cannot watch for nothing: such an `fd` is simply left out."""
        if eventmask:
            self._selector.register(fd, _events(eventmask))

    def modify(self, fd: int, eventmask: int, /) -> None:
        """Watch `fd` for something else."""
        if fd not in self._selector.get_map():
            self.register(fd, eventmask)
        elif eventmask:
            self._selector.modify(fd, _events(eventmask))
        else:
            self._selector.unregister(fd)

    def unregister(self, fd: int, /) -> None:
        """Stop watching `fd`."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Wait, and return (fd, mask) of each that is ready."""
        return [
            (key.fd, (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0))
            for key, events in self._selector.select(timeout)
        ]

    def close(self) -> None:
        """Release it."""
        self._selector.close()


def _events(mask: int) -> int:
    return (selectors.EVENT_READ if mask & READ else 0) | (selectors.EVENT_WRITE if mask & WRITE else 0)


def new_poller() -> Poller:
    """The best poller of this system."""
    return select.epoll() if hasattr(select, "epoll") else SelectorsPoller()
