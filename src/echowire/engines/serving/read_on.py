"""To read on, although something waits to be sent: what keeps a connection alive whose window TCP has taken back.

The reason, an essay, is in `echowire.kernel.connections.window_retraction`. Whoever waits to write is looked at twice a
second; of one that has not moved a byte meanwhile, and whose socket looks cut off from its peer, so much is read that
the window opens again. That is more than a peer is otherwise read from, so it has limits of its own.

At its limit a connection that surely is cut off is reset, and the reason is told: the peer wrote four receive buffers
beyond what it took, and nothing that it might say now can be heard. To enlarge the buffer instead would need a
privilege (SO_RCVBUFFORCE), and only move the limit. One of which it is not sure is held on to: it may be a peer that
just does not read.
"""

from __future__ import annotations

import mmap
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from echowire.engines.serving.loop import Loop
from echowire.kernel.connections.window_retraction import Account, CutOff, account_of, is_relieved

STANDSTILL_S = 0.5
"""Seconds without a byte after which a connection that waits to write is looked at more closely: more than TCP's first
retransmission needs (200 ms), and little for a person."""

READ_ON_TIMES = {CutOff.NO: 0, CutOff.LIKELY: 1, CutOff.SURELY: 4}
"""How much may wait in this process to be sent to such a peer, in sizes of its receive buffer: no more than the kernel
holds for it anyway; and some times as much where it would be lost without. An eighth of the buffer opens the window, so
the first is two looks a second for four seconds, and the second 24 questions of TCP in vain, half an hour and more."""

READ_ON_ALL_BYTES = 64 * 1024 * 1024
"""How much of that all connections together may hold: sixteen of 4 MiB, the kernel engine's buffer, and of hundreds of
connections that were written to and not read from for seconds some five needed one."""

GIVE_UP_S = 10.0
"""Seconds in which nothing could be sent, after which one that surely is cut off, and must not be read on, is reset."""

UNHEARD = "the kernel took back its receive window, and more would have to wait for the peer than may"
"""The reason that is told then."""

STEP_BYTES = 256 * 1024
"""Read at a time; then it is looked whether that was enough."""


def read_on(sock: socket.socket, rest: memoryview, limit: int) -> memoryview:
    """`rest`, and after it what is read of `sock` until its window opens again, `limit` bytes in all at most.

    An end of input stays where it is, to be seen when all has been sent. The memory is a mapping of its own: it goes
    back to the system when it is let go, where a heap would keep it. Raises `OSError`.
    """
    if len(rest) >= limit:
        return rest
    suffices = is_enough_after(sock)
    room, size = memoryview(mmap.mmap(-1, limit)), len(rest)
    room[:size] = rest
    try:
        while more := sock.recv_into(room[size : size + STEP_BYTES], 0, socket.MSG_DONTWAIT):
            size += more
            if size == limit or suffices():
                break
    except BlockingIOError:
        pass
    return room[:size]


def is_enough_after(sock: socket.socket) -> Callable[[], bool]:
    """What says, from now on, whether enough was read of a connection that is cut off."""
    account = account_of(sock)
    return partial(is_relieved, sock, account.relieved_at if account is not None else None)


class Held(Protocol):
    """What is asked of a connection that waits to write."""

    @property
    def mark(self) -> tuple[int, int] | None:
        """Something that differs whenever a byte has been sent; None if it does not wait to write any more."""

    @property
    def account(self) -> Account | None:
        """Of its socket."""

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent."""

    def read_on(self, limit: int) -> None:
        """Read until it `is_enough_after` this, or `limit` bytes wait to be sent."""

    def reset(self, reason: str) -> None:
        """End it without order."""


class Standstill:
    """What was seen of a connection when it was last looked at: how far it was, since when, and its account."""

    __slots__ = ("account", "is_read_on", "mark", "since")

    def __init__(self) -> None:
        self.mark: tuple[int, int] | None = None
        self.since = 0.0
        self.account: Account | None = None
        self.is_read_on = False


class Standstills:
    """The connections that were found waiting to write. Each may be looked at by a thread of its own."""

    def __init__(self) -> None:
        self._seen: dict[Held, Standstill] = {}

    def look(self, held: Held) -> None:
        """Look at a connection that waits to write: the second time that it has not moved, more closely."""
        now = time.monotonic()
        seen = self._seen.setdefault(held, Standstill())
        if seen.mark == held.mark:
            self._look_closely(held, seen, now)
        else:
            seen.mark, seen.since, seen.account = held.mark, now, held.account

    def leave(self, held: Held) -> None:
        """It waits no more."""
        self._seen.pop(held, None)

    @property
    def read_on_bytes(self) -> int:
        """How much waits of those that were read on."""
        return sum(held.waiting_bytes for held, seen in tuple(self._seen.items()) if seen.is_read_on)

    def _look_closely(self, held: Held, seen: Standstill, now: float) -> None:
        account, before = held.account, seen.account
        if account is None or before is None:
            return
        certainty = account.cut_off(before)
        seen.account = account
        left = READ_ON_ALL_BYTES - self.read_on_bytes
        limit = min(READ_ON_TIMES[certainty] * account.buffer, held.waiting_bytes + left)
        if held.waiting_bytes < limit:
            seen.is_read_on = True
            held.read_on(limit)
            # To have read is not to have moved: what it has not heard by the next look is still unheard.
            seen.mark = held.mark
        elif certainty is CutOff.SURELY and now - seen.since >= GIVE_UP_S:
            held.reset(UNHEARD)


class Watch:
    """Looks, from time to time, at the connections of a loop that wait to write. As long as none does it costs nothing,
    and else no connection a system call but twice a second.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._standstills = Standstills()
        self._waiting: set[Held] = set()

    def add(self, held: Held) -> None:
        """`held` waits to write from now on. Whether it still does is found out when it is looked at."""
        if not self._waiting:
            self._loop.after(STANDSTILL_S, self._look)
        self._waiting.add(held)

    def _look(self) -> None:
        for held in tuple(self._waiting):
            if held.mark is None:
                self._waiting.discard(held)
                self._standstills.leave(held)
            else:
                self._standstills.look(held)
        if self._waiting:
            self._loop.after(STANDSTILL_S, self._look)
