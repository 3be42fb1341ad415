"""What every engine of one thread and one loop does alike: accepting, idle time and stopping.

The loop is in `loop.py`; connections are in `connection.py` and `tls.py`, datagram sockets in `datagram.py`. An
engine is a subclass that says what becomes of an accepted socket.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from echowire.core.services import Flow
from echowire.engines.serving.base import Engine, Job, Report
from echowire.engines.serving.connection import Connection, Echo, EchoConnection, ServiceConnection, serve_ready
from echowire.engines.serving.datagram import DatagramPort
from echowire.engines.serving.handshakes import Handshakes
from echowire.engines.serving.loop import Loop
from echowire.engines.serving.read_on import Watch
from echowire.engines.serving.tally import Tally, Ticket
from echowire.engines.serving.tls import TlsConnection
from echowire.kernel.connections.accept import GONE, NO_ROOM, RETRY_S, keep_urgent_bytes, pause_notice, peer_text
from echowire.kernel.connections.channel import SEQPACKET_MAX
from echowire.kernel.connections.listen import BACKLOG, Listener
from echowire.kernel.connections.poller import READ, Poller, new_poller
from echowire.kernel.memory import whole_pages

ACCEPT_BATCH = 128
"""Connections accepted before the loop looks at the others again: a storm of newcomers must not starve those
who are connected."""

IDLE_SWEEPS = 4
"""An idle connection is found by sweeps, this many within the idle time, so that no event has to read the clock.
It ends between one and 1.25 times the limit."""


MakeConnection: TypeAlias = Callable[[socket.socket, Ticket], Connection]
"""Makes the connection of an accepted socket."""


class Serving(Engine):
    """The sockets of a job in one loop, level-triggered; one round serves every socket that is ready."""

    def __init__(
        self, job: Job, report: Report, poller: Callable[[], Poller] = new_poller, loop: Loop | None = None
    ) -> None:
        self.job = job
        self.service = job.service
        self.tally = Tally(job, report)
        self.loop = loop or Loop(poller)
        # A message that is longer than the read of it would lose its rest.
        has_messages = any(listener.endpoint.transport == "unixseqpacket" for listener in job.listeners)
        self.buffer = whole_pages(max(job.limits.queue_bytes, SEQPACKET_MAX if has_messages else 0))
        self.echoes: dict[int, Echo] = {}
        self.waiting = Watch(self.loop)
        self.connections: set[Connection] = set()
        self._acceptors = [Acceptor(self, at) for at in job.listeners if at.endpoint.is_stream]
        self._ports = [DatagramPort(self, at, job.limits) for at in job.listeners if not at.endpoint.is_stream]
        self._stopping = False
        if job.limits.idle_s is not None:
            self.loop.after(job.limits.idle_s / IDLE_SWEEPS, self._sweep)

    def connection_maker(self, listener: Listener) -> MakeConnection:
        """What makes the connections that come in at `listener`."""
        if listener.tls is not None:
            return partial(TlsConnection, self, Handshakes(self.loop))
        is_plain = self.service.flow is Flow.ECHO and not self.job.show
        return partial(EchoConnection if is_plain else ServiceConnection, self)

    def run(self) -> None:
        """Serve until stopped."""
        try:
            serve_ready(self, self.rounds())
        finally:
            self._stop_accepting()
            for connection in tuple(self.connections):
                connection.cut("the server stopped")
            self.loop.close()
            self.tally.stopped()

    def rounds(self) -> Iterator[list[tuple[int, int]]]:
        """What is ready, round by round."""
        return self.loop.rounds()

    def stop(self, drain_s: float) -> None:
        """Begin to stop; returns at once. A later call can only bring the end nearer."""
        at = time.monotonic() + drain_s
        self.loop.call_from_anywhere(lambda: self._begin_to_stop(at))

    def forget(self, connection: Connection) -> None:
        """`connection` has closed its socket; its descriptor may be what accepting waits for."""
        self.connections.discard(connection)
        for acceptor in self._acceptors:
            acceptor.resume()
        if self._stopping and not self.connections:
            self.loop.finish()

    def pause_accepting(self, why: str) -> None:
        """No descriptor or memory is free: leave newcomers in the kernel's queue until one may be."""
        self.tally.notice_once(pause_notice(why))
        for acceptor in self._acceptors:
            acceptor.pause()

    def _begin_to_stop(self, at: float) -> None:
        self._stopping = True
        self._stop_accepting()
        self.loop.after(at - time.monotonic(), self.loop.finish)
        if not self.connections:
            self.loop.finish()

    def _stop_accepting(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        for port in self._ports:
            port.close()
        self._acceptors.clear()
        self._ports.clear()

    def _sweep(self) -> None:
        idle = self.job.limits.idle_s
        assert idle is not None
        for connection in tuple(self.connections):
            if connection.is_idle(IDLE_SWEEPS):
                connection.cut(f"idle for {idle:g} s")
        self.loop.after(idle / IDLE_SWEEPS, self._sweep)


class Acceptor:
    """A listening stream socket in the loop."""

    def __init__(self, engine: Serving, listener: Listener) -> None:
        self._engine = engine
        self._listener = listener
        self._fd = listener.socket.fileno()
        self._paused = False
        self._make = engine.connection_maker(listener)
        self._is_unix = listener.endpoint.is_unix
        keep_urgent_bytes(listener.socket)
        engine.loop.watch(self._fd, READ, self.on_ready)

    def on_ready(self, mask: int) -> None:
        """Accept those who wait, up to a batch."""
        for _ in range(ACCEPT_BATCH):
            if not self._accept():
                return

    def pause(self) -> None:
        """Watch for newcomers no more, for now."""
        if not self._paused:
            self._paused = True
            self._engine.loop.unwatch(self._fd)
            self._engine.loop.after(RETRY_S, self.resume)

    def resume(self) -> None:
        """Watch for newcomers again."""
        if self._paused and self._fd >= 0:
            self._paused = False
            self._engine.loop.watch(self._fd, READ, self.on_ready)

    def close(self) -> None:
        """Accept those whom the kernel has already told that they are connected, and close."""
        for _ in range(BACKLOG):
            if self._paused or not self._accept():
                break
        self._engine.loop.unwatch(self._fd)
        self._fd = -1
        self._listener.close()

    def _accept(self) -> bool:
        """Accept one; False where none waits or none can be taken in."""
        engine = self._engine
        try:
            sock, address = self._listener.socket.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            assert error.errno is not None
            if error.errno in NO_ROOM:
                engine.pause_accepting(os.strerror(error.errno))
                return False
            if error.errno in GONE:
                return True
            raise
        ticket = engine.tally.admit(self._listener, peer_text(sock, address))
        if ticket is None:
            sock.close()
            return True
        sock.setblocking(False)
        if self._is_unix:
            keep_urgent_bytes(sock)
        connection = self._make(sock, ticket)
        engine.connections.add(connection)
        connection.begin()
        return True
