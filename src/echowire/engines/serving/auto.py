"""The engine that `auto` takes where the kernel can echo: the kernel's hands or this process's, as the load says.

A connection begins in this process, which costs nothing while it says nothing. Those that are active are looked at
some fifty times a second (twice or three times where nothing moves), and `policy.py` decides who is to have them: all
that are active then join the map, or leave it. Who has joined and says nothing any more leaves too, so that a look
costs the same however many are connected.

Messages beyond `BULK_BYTES` are the process's: there the kernel's worker, which sends what came segment by segment,
took twice as long for a message of a mebibyte. The program tells of such a connection as it does of a peer that is far
behind, and it stays in the process for a while that doubles each time.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial

from echowire.core.services import Flow
from echowire.engines.serving.base import Job, Report
from echowire.engines.serving.connection import EchoConnection, serve_ready
from echowire.engines.serving.in_kernel import Kernel, KernelConnection, has_caught_up, is_plain_tcp
from echowire.engines.serving.policy import LOOK_S, MEASURED_MAX, Hands, LoadPolicy
from echowire.engines.serving.serving import MakeConnection
from echowire.engines.serving.tally import Ticket
from echowire.kernel.bpf.echo_map import BY_HAND_BUFFER_BYTES, detach_filter, give_room, leave_room_to_grow
from echowire.kernel.bpf.echo_program import FAR_BEHIND
from echowire.kernel.connections.listen import Listener
from echowire.kernel.connections.poller import READ

BULK_BYTES = 512 * 1024
"""Bytes on the way back beyond which the process has a connection: the kernel is the faster with messages of 256 KiB,
the process with those of a mebibyte."""

STAY_S = 0.25
STAY_MAX_S = 64.0
"""How long a connection that was far behind stays in the process, and after doubling at most."""

SEEN_ROUNDS = 16
"""Rounds of the loop, after a look, in which it is noted who is ready: enough to meet all who take turns, and nothing
to speak of for the thousands of rounds until the next look."""

JOIN_TRIES = 8
"""Of a client that answers at once, its next message has often come before one has looked for it."""

QUIET_LOOKS = 50
"""A connection that has joined, and moved nothing in so many looks, leaves."""


class Auto(Kernel):
    """Readiness and kernel in one: connections go from one hand to the other."""

    name = "auto"
    ahead_bytes = BULK_BYTES
    caught_up_bytes = BULK_BYTES // 2

    def __init__(self, job: Job, report: Report) -> None:
        super().__init__(job, report)
        self._policy = LoadPolicy()
        self._held: dict[int, ByHand | Joined] = {}
        """By descriptor, who may be in either hand."""
        self._received: dict[int, int] = {}
        """Bytes that each of those who are looked at had received at the last look."""
        self._seen: set[int] = set()
        self._seen_rounds = SEEN_ROUNDS
        self._looked = time.monotonic()
        self._next_look = 0.0
        self._look_after(LOOK_S)

    def prepare(self, listener: Listener) -> None:
        """Leave it as it is: a connection gets the kernel's buffers when it joins, and gives them back."""

    def connection_maker(self, listener: Listener) -> MakeConnection:
        """Plain TCP may be in either hand; all else is as in every loop."""
        if self.service.flow is Flow.ECHO and is_plain_tcp(listener):
            return partial(ByHand, self)
        return super().connection_maker(listener)

    def rounds(self) -> Iterator[list[tuple[int, int]]]:
        """The loop's, with a note of who is ready in the first ones after a look, where anybody is."""
        for ready in super().rounds():
            if self._seen_rounds and (seen := [fd for fd, _ in ready if fd in self._held]):
                self._seen_rounds -= 1
                self._seen.update(seen)
                self._look_soon()
            yield ready

    def hold(self, connection: ByHand | Joined) -> None:
        """`connection` begins in one of the two hands."""
        self._held[connection.fd] = connection

    def let_go(self, fd: int) -> None:
        """The connection at `fd` ends."""
        self._held.pop(fd, None)

    def take_over(self, connection: KernelConnection) -> None:
        """`connection` has left the map, with nothing under way: its socket is this process's."""
        assert isinstance(connection, Joined)
        self._replace(connection, ByHand(self, connection.sock, connection.ticket, connection))

    def _join(self, connection: ByHand) -> None:
        """Leave `connection` to the kernel, unless something of it is under way each time that it is tried."""
        for _ in range(JOIN_TRIES):
            serve_ready(self, [[(connection.fd, READ)]] if connection.fd in self.echoes else [])
            if connection.fd < 0:
                return
            if has_caught_up(connection, self.caught_up_bytes):
                break
        else:
            return
        give_room(connection.sock)
        joining = Joined(self, connection)
        if joining.join():
            self.echoes.pop(connection.fd)
            self._replace(connection, joining)

    def _look_soon(self) -> None:
        """Somebody moves: look no later than one looks where bytes move."""
        if self._next_look > time.monotonic() + LOOK_S:
            self._look_after(LOOK_S)

    def _look_after(self, seconds: float) -> None:
        self._next_look = at = time.monotonic() + seconds
        self.loop.after(seconds, lambda: self._look() if at == self._next_look else None)

    def _look(self) -> None:
        """See what has moved, decide, and move who is in the wrong hand."""
        now = time.monotonic()
        active, moved = self._census()
        delay = self._policy.look(now, now - self._looked, active, moved)
        for fd in tuple(self._received):
            self._assign(self._held.get(fd), now)
        self._seen.clear()
        self._seen_rounds = SEEN_ROUNDS
        self._looked = time.monotonic()
        self._look_after(delay)

    def _census(self) -> tuple[int, int]:
        """How many connections were active since the last look, and the bytes that they moved."""
        before, self._received = self._received, {}
        active = moved = 0
        joined = [connection.fd for connection in self.joined.values()]
        for fd in dict.fromkeys((*joined, *before, *self._seen)):
            connection = self._held.get(fd)
            if connection is None or len(self._received) >= MEASURED_MAX:
                continue
            received = connection.count_received()
            more = max(0, received - before.get(fd, received))
            moved += more
            is_active = more > 0 or fd in self._seen
            active += is_active
            connection.note(is_active)
            if is_active or isinstance(connection, Joined):
                self._received[fd] = received
        return active, moved

    def _assign(self, connection: ByHand | Joined | None, now: float) -> None:
        if isinstance(connection, Joined):
            if self._policy.hands is Hands.PROCESS or connection.quiet_looks >= QUIET_LOOKS:
                connection.leave()
        elif connection is not None and self._policy.hands is Hands.KERNEL and now >= connection.stays_until:
            self._join(connection)


class ByHand(EchoConnection):
    """A connection that this process echoes; `before` is what it was while it was the kernel's."""

    __slots__ = ("_engine", "_is_new", "stay_s", "stays_until")

    def __init__(self, engine: Auto, sock: socket.socket, ticket: Ticket, before: Joined | None = None) -> None:
        super().__init__(engine, sock, ticket)
        self._engine = engine
        self._is_new = before is None
        self.stay_s = STAY_S
        self.stays_until = 0.0
        if before is not None:
            self.received = before.sent
            self.stay_s = before.stay_s
            if before.is_bulk:
                self.stays_until = time.monotonic() + self.stay_s
                self.stay_s = min(2 * self.stay_s, STAY_MAX_S)

    def begin(self) -> None:
        """Wait for the next bytes."""
        if not self._is_new:
            detach_filter(self.sock)
            give_room(self.sock, BY_HAND_BUFFER_BYTES)
            leave_room_to_grow(self.sock)
        super().begin()
        self._engine.hold(self)

    def count_received(self) -> int:
        """Bytes that have come."""
        return self.received

    def note(self, is_active: bool) -> None:
        """Whether it has moved anything is of no interest here."""

    def close(self, reason: str, *, ok: bool = True) -> None:
        """Close the socket and account for it; once."""
        self._engine.let_go(self.fd)
        super().close(reason, ok=ok)


class Joined(KernelConnection):
    """A connection that the kernel echoes."""

    __slots__ = ("_auto", "_is_leaving", "is_bulk", "quiet_looks", "stay_s")

    def __init__(self, engine: Auto, before: ByHand) -> None:
        super().__init__(engine, before.sock, before.ticket, before.received)
        self._auto = engine
        self._is_leaving = False
        self.is_bulk = False
        """The program has told that it is far behind."""
        self.quiet_looks = 0
        self.stay_s = before.stay_s

    def begin(self) -> None:
        """It has joined. The rest is told by the map's ring."""
        self._auto.hold(self)

    def on_told(self, what: int) -> None:
        """The map's programs have something to say of this connection."""
        if what == FAR_BEHIND:
            self.is_bulk = True
            self.leave()
        else:
            super().on_told(what)

    def leave(self) -> None:
        """Be the process's again, once nothing is under way."""
        if not self._is_leaving:
            self._is_leaving = True
            self.overtake()

    def count_received(self) -> int:
        """Bytes that have come, by the program's own count."""
        return self.before + self._auto.echo_map.taken(self.key)

    def note(self, is_active: bool) -> None:
        """Whether it has moved anything since the last look."""
        self.quiet_looks = 0 if is_active else self.quiet_looks + 1

    def close(self, reason: str, *, ok: bool = True) -> None:
        """Close the socket, which takes it out of the map, and account for it; once."""
        self._auto.let_go(self.fd)
        super().close(reason, ok=ok)
