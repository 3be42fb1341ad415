"""serve: bind endpoints and serve them, in a thread of this process or in several processes, until stopped.

    with echowire.serve("tcp://127.0.0.1:0") as server:
        print(server.endpoint)

`serve` returns when every socket is bound and listening: a client may connect at once.

What a handler raises is told once, to whoever asks for it: `on_event` gets it as `Closed.error`; without that, `wait`
and leaving the `with` block raise it as `HandlerError`, whose cause it is. A server ends with its program: where nobody
stopped it or waits for it, a `RuntimeWarning` says so, and names the line that began to serve.
"""

from __future__ import annotations

import atexit
import os
import ssl
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, Unpack

from echowire.core.services import Flow, Service
from echowire.engines.serving.base import Engine, Handler, Job
from echowire.engines.serving.choose import choose
from echowire.engines.serving.handlers import check_handler
from echowire.errors import HandlerError, UsageError
from echowire.kernel.connections.inherit import adopt, inherited_descriptors
from echowire.kernel.connections.listen import Listener, close_all, open_listeners
from echowire.kernel.tables.reached import reached_at
from echowire.model import (
    BEYOND_LOOPBACK_IDLE_S,
    Closed,
    Endpoint,
    EndpointLike,
    Event,
    Limits,
    Listening,
    Stopped,
    Summary,
)
from echowire.verbs.explained import explaining
from echowire.verbs.serving import (
    Serving,
    ServingOptions,
    endpoint_groups,
    in_groups,
    load_handler,
    path_or_none,
    service_of,
)
from echowire.verbs.workers import Order, WorkerGroup

EXIT_DRAIN_S = 0.5
"""How long leaving a `with` block waits for connections to end: those just closed by their clients need a moment."""

MOST_ERRORS = 16
"""Of what handlers raised is kept until somebody asks: all are counted, and the first tell what is wrong."""

AT_EXIT_S = 5.0
"""How long the end of the program waits for a server's at most: a worker may have just begun to start."""

OnEvent = Callable[[Event], None]


class Running(Protocol):
    """What serves: one engine in a thread, or a group of worker processes."""

    @property
    def has_ended(self) -> bool:
        """Whether it serves no more."""

    def stop(self, drain_s: float) -> None:
        """Begin to stop."""

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end; whether it has come. Raises what ended it otherwise than in order."""


class Server:
    """A server that runs. Stop it by `stop` and `wait`, or by leaving its `with` block."""

    def __init__(self, endpoints: Sequence[Endpoint], engine: str, why: str, running: Running, heard: Heard) -> None:
        self.endpoints = tuple(endpoints)
        """What is bound, with the real port where 0 was asked for."""
        self.engine = engine
        self.why = why
        """Why this engine: what `auto` found against the faster ones."""
        self.summary = heard.done
        """What was done; complete when the server has ended."""
        self._running = running
        self._heard = heard
        self._is_looked_after = False
        """Whether somebody has stopped it or waited for it."""

    @property
    def endpoint(self) -> Endpoint:
        """The first endpoint."""
        return self.endpoints[0]

    def reached_at(self, endpoint: Endpoint) -> list[str] | None:
        """The addresses of this host, with the port, at which an endpoint of every interface is reached.

        None for one that is bound to an address of its own. Raises `OperationError`.
        """
        return reached_at(endpoint)

    def stop(self, drain_s: float = 0.0) -> None:
        """Stop accepting at once, and end when all connections have, or in `drain_s` seconds. Does not wait.

        May be called from any thread and from a signal handler, and again to end sooner.
        """
        self._is_looked_after = True
        self._running.stop(drain_s)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has ended, for at most `timeout` seconds; whether it has.

        Once it has, this raises what ended it otherwise than in order, and `HandlerError` where a handler raised.
        """
        self._is_looked_after = True
        has_ended = self._running.wait(timeout)
        if has_ended:
            self.raise_errors()
        return has_ended

    def raise_errors(self) -> None:
        """Raise `HandlerError` if a handler has raised and nobody was told of it yet."""
        if (error := self._heard.take()) is not None:
            raise error

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: object = None, error: BaseException | None = None, at: object = None) -> None:
        self.stop(EXIT_DRAIN_S)
        if error is None:
            self.wait()
            return
        # What went wrong in the block goes on; what the handler raised is likely why, and is told beside it.
        self._running.wait(None)
        self.note_errors(error)

    def note_errors(self, error: BaseException) -> None:
        """Tell of what `raise_errors` would raise in a note of another error, which is likely to have come of it."""
        if (raised := self._heard.take()) is not None:
            import traceback  # which is slow to start, and hardly ever needed

            error.add_note("".join(traceback.format_exception(raised)))


class Heard:
    """What is kept of a server's events: its summary, and what its handlers raised."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self.done = Summary()
        self._on_event = on_event
        self._errors: list[HandlerError] = []
        self._count = 0

    def report(self, event: Event) -> None:
        """Take one event, in the server's own threads."""
        if isinstance(event, Stopped) and event.worker is None:
            self.done.add(event.summary)
        if self._on_event is not None:
            self._on_event(event)
        elif isinstance(event, Closed) and event.error is not None:
            self._count += 1
            if len(self._errors) < MOST_ERRORS:
                self._errors.append(event.error)

    def take(self) -> HandlerError | None:
        """The first error since the last call, with a note of how many there were."""
        errors, count, self._errors, self._count = self._errors, self._count, [], 0
        if count > 1:
            others = {str(error) for error in errors[1:]} - {str(errors[0])}
            errors[0].add_note(
                "\n".join([f"It was one of {count} connections in which a handler raised.", *sorted(others)])
            )
        return errors[0] if errors else None


def serve(
    *endpoints: EndpointLike,
    serving: Serving | None = None,
    inherited: Mapping[str, str] | None = None,
    on_event: OnEvent | None = None,
    background: bool = True,
    **options: Unpack[ServingOptions],
) -> Server:
    """Serve `endpoints` (`127.0.0.1:12345`, TCP and UDP, if none are given) and return the running server.

    Each is what `Endpoint.of` takes: a text, an `Endpoint`, `(host, port)`, the `Path` of a Unix socket, a port of
    127.0.0.1. One that names no transport is TCP and UDP on one port; with `tls` it is TLS, with `handler` TCP alone.
    What is served, and how, is said by keyword, each a field of `Serving`, or by a `serving` of which the keywords
    change some: `service`, `handler`, `engine`, `workers`, `limits`, `tls` and the others. `inherited` is the
    environment in which LISTEN_FDS may hand over sockets. `on_event` is called in the server's own threads. Without
    `background` nothing is served until `wait` is called, and then in the thread that calls it: a process of one
    thread is a little faster. Raises `UsageError`, `OperationError` and `NameResolutionError`; nothing is left open
    then.
    """
    asked = replace(serving or Serving(), **options)
    service = service_of(asked.service, asked.stamp_key, stateless=asked.stamp_stateless)
    handler = load_handler(asked.handler) if isinstance(asked.handler, str) else asked.handler
    if handler is not None:
        check_handler(handler)
    context = asked.context()
    listeners = _adopt_all(inherited, context) if inherited is not None and not endpoints else []
    try:
        if not listeners:
            is_tls, has_handler = context is not None, handler is not None
            for group in endpoint_groups(endpoints, tls=is_tls, streams_only=has_handler, service=service):
                listeners += _opened(in_groups(group, asked), asked, context)
        job = _job(listeners, service, handler, asked)
        kind, why = choose(asked.engine, job)
        heard = Heard(on_event)
        for listener in listeners:
            at = listener.endpoint
            heard.report(Listening(time_ns=time.time_ns(), endpoint=at, engine=kind.name, service=job.service_name))
        bound = [listener.endpoint for listener in listeners]
        running: Running
        if asked.workers > 1:
            order = _order(asked, kind.name, job.limits)
            running = WorkerGroup(order, listeners, asked.family, asked.workers, heard.report)
        else:
            running = _OneEngine(kind(job, heard.report), background=background)
    except BaseException:
        close_all(listeners)
        raise
    server = Server(bound, kind.name, why, running, heard)
    if background:
        caller = sys._getframe(1)
        _remember(_Begun(server, os.getpid(), caller.f_code.co_filename, caller.f_lineno))
    return server


@dataclass(frozen=True, slots=True)
class _Begun:
    """A server that serves in the background, the process that it is in, and the line that began it."""

    server: Server
    pid: int
    file: str
    line: int


_begun: list[_Begun] = []
_begun_lock = threading.Lock()


def _remember(begun: _Begun) -> None:
    with _begun_lock:
        _begun[:] = [earlier for earlier in _begun if not earlier.server._running.has_ended]
        _begun.append(begun)


@atexit.register
def _end_forgotten() -> None:
    """At the end of the program: end what still serves, and tell of what nobody looked after."""
    for begun in _begun:
        server = begun.server
        if begun.pid != os.getpid() or server._running.has_ended:  # a forked child has its parent's list, and no thread
            continue
        if not server._is_looked_after:
            where = ", ".join(map(str, server.endpoints))
            message = f"the server on {where} ends with the program, which neither stopped it nor waits for it"
            warnings.warn_explicit(message, RuntimeWarning, begun.file, begun.line)
            server.stop()
        with suppress(Exception):  # nobody is left to tell
            server._running.wait(AT_EXIT_S)


def _opened(group: list[Endpoint], asked: Serving, tls: ssl.SSLContext | None) -> list[Listener]:
    """The sockets of what one argument stands for."""
    with explaining(group[0]):
        return open_listeners(
            [group], family=asked.family, tls=tls, reuse_port=asked.workers > 1, backlog=asked.backlog
        )


def _job(listeners: list[Listener], service: Service, handler: Handler | None, asked: Serving) -> Job:
    """What an engine is to do. Raises `UsageError` where the endpoints are not what is served on."""
    if handler is not None and not all(listener.endpoint.is_stream for listener in listeners):
        raise UsageError("a handler serves connections, and datagrams have none; give TCP, TLS or Unix endpoints")
    if service.flow is Flow.REFLECT and not all(listener.endpoint.transport == "udp" for listener in listeners):
        raise UsageError("STAMP is spoken over UDP; give a UDP endpoint, as in udp://:862")
    limits = asked.limits
    if not isinstance(limits, Limits):
        exposed = any(listener.reachable for listener in listeners)
        limits = Limits(**{"idle_s": BEYOND_LOOPBACK_IDLE_S if exposed else None, **(limits or {})})
    if asked.amplify:
        limits = replace(limits, amplify=True)
    return Job(listeners, service, handler, limits, show=asked.show)


def _order(asked: Serving, engine: str, limits: Limits) -> Order:
    """What a worker process is told."""
    return Order(
        engine=engine,
        service=asked.service,
        handler=asked.handler if isinstance(asked.handler, str) else None,
        limits=limits,
        tls=(os.fspath(asked.tls[0]), os.fspath(asked.tls[1])) if isinstance(asked.tls, tuple) else None,
        tls_choices=asked.tls_choices(),
        stamp_key=path_or_none(asked.stamp_key),
        stamp_stateless=asked.stamp_stateless,
        show=asked.show,
        backlog=asked.backlog,
    )


class _OneEngine:
    """One engine of this process: in a thread of its own, or in the thread that waits for it."""

    def __init__(self, engine: Engine, *, background: bool) -> None:
        self._engine = engine
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="echowire serve", daemon=True) if background else None
        if self._thread is not None:
            self._thread.start()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    def stop(self, drain_s: float) -> None:
        self._engine.stop(drain_s)

    def wait(self, timeout: float | None) -> bool:
        if self._thread is not None:
            # Not by join: one that Ctrl-C interrupts takes the thread for ended from then on (CPython up to 3.12).
            if self._ended.wait(timeout):
                self._thread.join()
        elif not self._ended.is_set():
            self._run()
        if self._error is not None:
            raise self._error
        return self._ended.is_set()

    def _run(self) -> None:
        try:
            self._engine.run()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()


def _adopt_all(variables: Mapping[str, str], tls: ssl.SSLContext | None) -> list[Listener]:
    listeners: list[Listener] = []
    try:
        for descriptor in inherited_descriptors(variables, os.getpid()):
            listeners.append(adopt(descriptor, tls))
    except UsageError:
        close_all(listeners)
        raise
    return listeners
