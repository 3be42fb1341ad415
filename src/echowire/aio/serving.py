"""`echowire.aio.serve`: the engine of one thread and one loop, in asyncio's loop; and handlers that are coroutines.

What the engine promises (`engines/serving/base.py`) holds here too, since it is the same one: what differs is who tells
that a descriptor is ready.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias, cast

from echowire.aio.connecting import shake
from echowire.aio.opening import Opening
from echowire.aio.peer import Peer
from echowire.engines.serving import handshakes
from echowire.engines.serving.base import Job
from echowire.engines.serving.connection import LINGER_S, Connection, serve_ready
from echowire.engines.serving.loop import Loop
from echowire.engines.serving.serving import MakeConnection, Serving
from echowire.engines.serving.tally import Ticket
from echowire.errors import EchowireError, HandlerError, OperationError
from echowire.kernel.connections.channel import Channel, StreamChannel
from echowire.kernel.connections.listen import Listener, close_all, open_listeners
from echowire.kernel.connections.poller import READ, WRITE
from echowire.kernel.connections.tls_channel import TlsChannel
from echowire.model import BEYOND_LOOPBACK_IDLE_S, Endpoint, EndpointLike, Family, Limits, Listening, Summary
from echowire.verbs.explained import explained
from echowire.verbs.serve import EXIT_DRAIN_S, Heard, OnEvent
from echowire.verbs.serving import Serving as Asked
from echowire.verbs.serving import TlsFiles, endpoint_groups, in_groups

Handler: TypeAlias = Callable[[Peer], Awaitable[object]]
"""A coroutine function of a connected `Peer`. When it returns, the connection is closed in order."""


class AsyncioLoop(Loop):
    """The engine's loop, as asyncio's: what is ready and what is due are told by that one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, finished: Callable[[], object]) -> None:
        # Nothing of Loop's own: it has a poller, and a thread to itself.
        self._loop = loop
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}
        self._timers_of: set[asyncio.TimerHandle] = set()
        self._on_finished = finished
        self.serve: Callable[[list[tuple[int, int]]], None] = lambda ready: None
        """Told of what is ready: `serve_ready` of the engine."""

    def watch(self, fd: int, mask: int, on_ready: Callable[[int], None]) -> None:
        """Call `on_ready(mask)` whenever `fd` is ready for `mask`, or has failed."""
        self._handlers[fd] = on_ready
        self._masks[fd] = 0
        self.rewatch(fd, mask)

    def rewatch(self, fd: int, mask: int) -> None:
        """Watch `fd` for another mask from now on."""
        before, self._masks[fd] = self._masks[fd], mask
        loop = self._loop
        if mask & READ and not before & READ:
            loop.add_reader(fd, self._ready, fd, READ)
        elif before & READ and not mask & READ:
            loop.remove_reader(fd)
        if mask & WRITE and not before & WRITE:
            loop.add_writer(fd, self._ready, fd, WRITE)
        elif before & WRITE and not mask & WRITE:
            loop.remove_writer(fd)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`, if it is watched; to be done before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self.rewatch(fd, 0)
            del self._masks[fd]

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call` once, `seconds` from now, unless it is closed before."""

        def due() -> None:
            self._timers_of.discard(handle)
            call()

        handle = self._loop.call_later(max(0.0, seconds), due)
        self._timers_of.add(handle)

    def call_from_anywhere(self, call: Callable[[], None]) -> None:
        """Have the loop call `call`; from any thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call)

    def finish(self) -> None:
        """All is served that is to be."""
        self._on_finished()

    def close(self) -> None:
        """Forget what is due and what is watched."""
        for handle in self._timers_of:
            handle.cancel()
        self._timers_of.clear()
        for fd in list(self._handlers):
            self.unwatch(fd)

    def _ready(self, fd: int, mask: int) -> None:
        self.serve([(fd, mask)])


class AsyncioServing(Serving):
    """The engine in asyncio's loop."""

    name = "asyncio"

    def __init__(self, job: Job, report: Callable[[Any], None], handler: Handler | None) -> None:
        asyncio_loop = asyncio.get_running_loop()
        self.ended = asyncio_loop.create_future()
        self.handler = handler
        loop = AsyncioLoop(asyncio_loop, self._finish)
        super().__init__(job, report, loop=loop)
        loop.serve = lambda ready: serve_ready(self, (ready,))

    @classmethod
    def why_not(cls, job: Job) -> str | None:
        """It is not chosen among the others: it runs where a program has a loop of asyncio."""
        return "it is for programs that run in asyncio"

    def connection_maker(self, listener: Listener) -> MakeConnection:
        """A task of the handler's for each connection, if there is one."""
        return super().connection_maker(listener) if self.handler is None else partial(HandledConnection, self)

    def end_connections(self) -> None:
        """Accept no more, and end those that are left."""
        self._stop_accepting()
        for connection in tuple(self.connections):
            connection.cut("the server stopped")

    def end(self) -> None:
        """Tell of the end, once all are closed."""
        self.loop.close()
        self.tally.stopped()

    def _finish(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class HandledConnection(Connection):
    """A connection that a coroutine serves, in a task of its own."""

    __slots__ = ("_error", "_peer", "_reason", "task")

    host: AsyncioServing

    def __init__(self, host: AsyncioServing, sock: socket.socket, ticket: Ticket) -> None:
        super().__init__(host, sock, ticket)
        self._peer: Peer | None = None
        self._reason = "handled"
        self._error: HandlerError | None = None

    @property
    def sent(self) -> int:
        """Bytes that have gone to the peer."""
        return 0 if self._peer is None else self._peer.sent_bytes

    def begin(self) -> None:
        """Start the task."""
        self.task = asyncio.get_running_loop().create_task(self._serve(), name=f"echowire {self.ticket.peer}")
        # One that is cancelled before its first step never comes to its own end.
        self.task.add_done_callback(lambda _: self._close(ok=False))

    def is_idle(self, rounds: int) -> bool:
        """Whether no byte has moved in this many calls."""
        self.received = 0 if self._peer is None else self._peer.received_bytes
        return super().is_idle(rounds)

    def cut(self, reason: str) -> None:
        """Cancel the handler, whose task then ends the connection."""
        self._reason = reason
        self.task.cancel()

    async def _serve(self) -> None:
        ok = False
        try:
            channel = await self._open()
            self._peer = Peer(channel, None)
            handler = self.host.handler
            assert handler is not None
            await handler(self._peer)
            ok = True
            await self._end(self._peer)
        except asyncio.CancelledError:
            if self._reason == "handled":
                self._reason = "cancelled"
        except EchowireError as error:
            if self._peer is None:
                self._reason = f"TLS failed: {error}"
            elif _is_peers_end(error):
                self._reason = "reset by the peer"
            elif not ok:
                self._fail(error)
        except Exception as error:
            self._fail(error)
        finally:
            self._close(ok=ok)

    async def _open(self) -> Channel:
        listener = self.ticket.listener
        if listener.tls is None:
            return StreamChannel(self.sock, listener.endpoint)
        channel = TlsChannel(self.sock, listener.endpoint, listener.tls)
        await shake(channel, time.perf_counter() + handshakes.HANDSHAKE_S)
        return channel

    async def _end(self, peer: Peer) -> None:
        """Say goodbye, and read to the peer's: closing with unread data would reset what is on its way (RFC 1122)."""
        with suppress(EchowireError):
            async with asyncio.timeout(LINGER_S):
                await peer.half_close()
                while await peer.recv():
                    pass

    def _fail(self, error: Exception) -> None:
        self._reason = f"the handler raised {type(error).__name__}: {error}"
        self._error = HandlerError(f"{self.ticket.peer}: {self._reason}")
        self._error.__cause__ = error

    def _close(self, *, ok: bool) -> None:
        if self.fd < 0:
            return
        self.fd = -1
        if self._peer is not None:
            self._peer.close_now()
            self.received = self._peer.received_bytes
        self.sock.close()
        self.host.tally.release(self.ticket, self.received, self.sent, self._reason, ok=ok, error=self._error)
        self.host.forget(self)


def _is_peers_end(error: EchowireError) -> bool:
    """Whether what a handler raised only says that its connection has ended."""
    if isinstance(error, OperationError):
        return error.number in (errno.ECONNRESET, errno.EPIPE)
    return isinstance(error.__cause__, ssl.SSLError)


class Server:
    """A server that runs in this loop. Close it, or use it in an `async with` block."""

    def __init__(self, endpoints: Sequence[Endpoint], engine: AsyncioServing, heard: Heard) -> None:
        self.endpoints = tuple(endpoints)
        """What is bound, with the real port where 0 was asked for."""
        self.summary: Summary = heard.done
        """What was done; complete when it is closed."""
        self._engine, self._heard, self._is_closed = engine, heard, False

    @property
    def endpoint(self) -> Endpoint:
        """The first endpoint."""
        return self.endpoints[0]

    async def close(self, drain_s: float = EXIT_DRAIN_S) -> None:
        """Stop accepting at once, give connections `drain_s` seconds to end, and end them. May be called again.

        Raises `HandlerError` where a handler raised and no `on_event` was there to be told.
        """
        engine = self._engine
        if not self._is_closed:
            self._is_closed = True
            tasks = [connection.task for connection in engine.connections if isinstance(connection, HandledConnection)]
            try:
                engine.stop(drain_s)
                await engine.ended
            finally:
                tasks += [each.task for each in engine.connections if isinstance(each, HandledConnection)]
                engine.end_connections()
                # A task that is cancelled closes its connection, which is counted before the end is told.
                await asyncio.gather(*tasks, return_exceptions=True)
                engine.end()
        if (error := self._heard.take()) is not None:
            raise error

    async def wait(self) -> None:
        """Wait until it is closed, by another task; cancelled, it goes on serving."""
        await asyncio.shield(self._engine.ended)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, kind: object = None, error: BaseException | None = None, at: object = None) -> None:
        if error is None:
            await self.close()
            return
        # What went wrong in the block goes on; what the handler raised is likely why, and is told beside it.
        try:
            await self.close()
        except HandlerError as raised:
            error.add_note("".join(traceback.format_exception(raised)))


def serve(
    *endpoints: EndpointLike,
    handler: Handler | None = None,
    limits: Limits | Mapping[str, Any] | None = None,
    tls: Any | TlsFiles | None = None,
    tls_client_authorities: str | None = None,
    tls_alpn: Sequence[str] = (),
    tls_min: str | None = None,
    tls_max: str | None = None,
    family: Family | None = None,
    on_event: OnEvent | None = None,
) -> Opening[Server]:
    """Serve `endpoints` as `echowire.serve` has them; await it, or enter it by `async with`.

    Without `handler` it is an echo, of streams and of datagrams. `handler` is a coroutine function of a `Peer`, and is
    run in a task of its own for each connection. Keywords mean what they mean to `echowire.serve`. Raises as that.
    """
    asked = Asked(
        limits=limits,
        tls=tls,
        tls_client_authorities=tls_client_authorities,
        tls_alpn=tls_alpn,
        tls_min=tls_min,
        tls_max=tls_max,
        family=family,
    )
    return Opening(_serve(endpoints, asked, handler, on_event))


async def _serve(
    endpoints: Sequence[EndpointLike], asked: Asked, handler: Handler | None, on_event: OnEvent | None
) -> Server:
    context = asked.context()
    listeners: list[Listener] = []
    try:
        for group in endpoint_groups(endpoints, tls=context is not None, streams_only=handler is not None):
            try:
                listeners += await asyncio.to_thread(
                    open_listeners, [in_groups(group, asked)], family=asked.family, tls=context
                )
            except EchowireError as error:
                if hasattr(error, "meaning"):
                    await asyncio.to_thread(explained, cast("Any", error), group[0])
                raise
        exposed = any(listener.reachable for listener in listeners)
        allowed = asked.limits
        if not isinstance(allowed, Limits):
            allowed = Limits(**{"idle_s": BEYOND_LOOPBACK_IDLE_S if exposed else None, **(allowed or {})})
        heard = Heard(on_event)
        job = Job(listeners, limits=allowed)
        engine = AsyncioServing(job, heard.report, handler)
    except BaseException:
        close_all(listeners)
        raise
    for listener in listeners:
        at = listener.endpoint
        heard.report(
            Listening(time_ns=time.time_ns(), endpoint=at, engine="asyncio", service="handler" if handler else "echo")
        )
    return Server([listener.endpoint for listener in listeners], engine, heard)
