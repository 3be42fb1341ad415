"""serve: bind endpoints and serve them, in a thread of this process or in several processes, until stopped.

    with echowire.serve("tcp://127.0.0.1:0") as server:
        print(server.endpoint)

`serve` returns when every socket is bound and listening: a client may connect at once.
"""

from __future__ import annotations

import importlib
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from echowire.core.probing.stamp import ErrorEstimate
from echowire.core.probing.stamp_reflector import Reflector
from echowire.core.services import ECHO, Flow, Service, service_named
from echowire.engines.serving.base import Engine, Handler, Job
from echowire.engines.serving.choose import choose
from echowire.errors import UsageError
from echowire.kernel.clock import clock_error
from echowire.kernel.connections.inherit import adopt, inherited_descriptors
from echowire.kernel.connections.listen import Listener, close_all, open_listeners
from echowire.kernel.connections.tls import server_context
from echowire.kernel.key_file import read_key
from echowire.model import (
    BEYOND_LOOPBACK_IDLE_S,
    DEFAULT_PORT,
    Endpoint,
    Event,
    Family,
    Limits,
    Listening,
    Stopped,
    Summary,
    Transport,
    split_scheme,
)
from echowire.verbs.explained import explaining
from echowire.verbs.workers import Order, WorkerGroup

EXIT_DRAIN_S = 0.5
"""How long leaving a `with` block waits for connections to end: those just closed by their clients need a moment."""

OnEvent = Callable[[Event], None]


class Running(Protocol):
    """What serves: one engine in a thread, or a group of worker processes."""

    def stop(self, drain_s: float) -> None:
        """Begin to stop."""

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end; whether it has come. Raises what ended it otherwise than in order."""


class Server:
    """A server that runs. Stop it by `stop` and `wait`, or by leaving its `with` block."""

    def __init__(self, endpoints: Sequence[Endpoint], engine: str, why: str, running: Running, done: Summary) -> None:
        self.endpoints = tuple(endpoints)
        """What is bound, with the real port where 0 was asked for."""
        self.engine = engine
        self.why = why
        """Why this engine: what `auto` found against the faster ones."""
        self.summary = done
        """What was done; complete when the server has ended."""
        self._running = running

    @property
    def endpoint(self) -> Endpoint:
        """The first endpoint."""
        return self.endpoints[0]

    def stop(self, drain_s: float = 0.0) -> None:
        """Stop accepting at once, and end when all connections have, or in `drain_s` seconds. Does not wait.

        May be called from any thread and from a signal handler, and again to end sooner.
        """
        self._running.stop(drain_s)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has ended, for at most `timeout` seconds; whether it has."""
        return self._running.wait(timeout)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop(EXIT_DRAIN_S)
        self.wait()


def serve(
    *endpoints: str | Endpoint,
    service: str = "echo",
    handler: Handler | str | None = None,
    engine: str = "auto",
    workers: int = 1,
    limits: Limits | Mapping[str, Any] | None = None,
    tls: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
    family: Family | None = None,
    inherited: Mapping[str, str] | None = None,
    stamp_key: str | os.PathLike[str] | None = None,
    stamp_stateless: bool = False,
    on_event: OnEvent | None = None,
    background: bool = True,
) -> Server:
    """Serve `endpoints` (`127.0.0.1:12345`, TCP and UDP, if none are given) and return the running server.

    An endpoint without a scheme is TCP and UDP on one port; with `tls` it is TLS, with `handler` TCP alone.
    `handler` is a blocking function of a connected socket, or `module:function`, which `workers` above 1 need.
    `limits` may be a mapping of those that differ from the defaults, which are stricter beyond loopback.
    `tls` is a certificate's and a key's PEM file. `inherited` is the environment in which LISTEN_FDS may hand
    over sockets. `stamp_key` is a file whose bytes are the key of the service `stamp`'s authenticated mode;
    `stamp_stateless` has it keep no count of sessions. `on_event` is called in the server's own threads. Without
    `background` nothing is served until `wait` is called, and then in the thread that calls it: a process of one
    thread is a little faster. Raises `UsageError`, `OperationError` and `NameResolutionError`; nothing is left
    open then.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers cannot serve; give 1 or more")
    bare_service = service_of(service, stamp_key, stateless=stamp_stateless)
    function = load_handler(handler) if isinstance(handler, str) else handler
    if workers > 1 and function is not None and not isinstance(handler, str):
        raise UsageError("workers are other processes: name the handler as 'module:function'")
    context = server_context(*tls) if tls else None
    listeners = _adopt_all(inherited, context) if inherited is not None and not endpoints else []
    try:
        if not listeners:
            for group in endpoint_groups(
                endpoints, tls=context is not None, streams_only=function is not None, service=bare_service
            ):
                with explaining(group[0]):
                    listeners += open_listeners([group], family=family, tls=context, reuse_port=workers > 1)
        if function is not None and not all(listener.endpoint.is_stream for listener in listeners):
            raise UsageError("a handler serves connections, and datagrams have none; give TCP, TLS or Unix endpoints")
        if bare_service.flow is Flow.REFLECT and not all(at.endpoint.transport == "udp" for at in listeners):
            raise UsageError("STAMP is spoken over UDP; give a UDP endpoint, as in udp://:862")
        if not isinstance(limits, Limits):
            exposed = any(listener.reachable for listener in listeners)
            limits = Limits(**{"idle_s": BEYOND_LOOPBACK_IDLE_S if exposed else None, **(limits or {})})
        job = Job(listeners, bare_service, function, limits)
        kind, why = choose(engine, job)
        done = Summary()
        report = _reporter(on_event, done)
        for listener in listeners:
            report(
                Listening(
                    time_ns=time.time_ns(), endpoint=listener.endpoint, engine=kind.name, service=job.service_name
                )
            )
        bound = [listener.endpoint for listener in listeners]
        running: Running
        if workers > 1:
            order = Order(
                engine=kind.name,
                service=service,
                handler=handler if isinstance(handler, str) else None,
                limits=limits,
                tls=(os.fspath(tls[0]), os.fspath(tls[1])) if tls else None,
                stamp_key=os.fspath(stamp_key) if stamp_key is not None else None,
                stamp_stateless=stamp_stateless,
            )
            running = WorkerGroup(order, listeners, family, workers, report)
        else:
            running = _OneEngine(kind(job, report), background=background)
    except BaseException:
        close_all(listeners)
        raise
    return Server(bound, kind.name, why, running, done)


class _OneEngine:
    """One engine of this process: in a thread of its own, or in the thread that waits for it."""

    def __init__(self, engine: Engine, *, background: bool) -> None:
        self._engine = engine
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="echowire serve") if background else None
        if self._thread is not None:
            self._thread.start()

    def stop(self, drain_s: float) -> None:
        self._engine.stop(drain_s)

    def wait(self, timeout: float | None) -> bool:
        if self._thread is not None:
            self._thread.join(timeout)
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


def _reporter(on_event: OnEvent | None, done: Summary) -> OnEvent:
    def report(event: Event) -> None:
        if isinstance(event, Stopped) and event.worker is None:
            done.add(event.summary)
        if on_event is not None:
            on_event(event)

    return report


def endpoint_groups(
    endpoints: Sequence[str | Endpoint], *, tls: bool = False, streams_only: bool = False, service: Service = ECHO
) -> list[list[Endpoint]]:
    """What each argument stands for: an endpoint with a scheme for itself, another for TCP and UDP on one port.

    STAMP has a port of its own, and no TCP.
    """
    reflects = service.flow is Flow.REFLECT
    first: Transport = "udp" if reflects else "tls" if tls else "tcp"
    port = service.port if reflects else DEFAULT_PORT
    groups: list[list[Endpoint]] = []
    for given in endpoints or (f"127.0.0.1:{port}",):
        if isinstance(given, Endpoint):
            groups.append([given])
            continue
        endpoint = Endpoint.parse(given, transport=first, port=port)
        both = split_scheme(given)[0] is None and not (tls or streams_only or reflects)
        groups.append([endpoint, replace(endpoint, transport="udp")] if both else [endpoint])
    return groups


def service_of(name: str, stamp_key: str | os.PathLike[str] | None, *, stateless: bool) -> Service:
    """The service of that name; STAMP's with this host's clock, and the key that is in a file."""
    service = service_named(name)
    if service.flow is not Flow.REFLECT:
        if stamp_key is not None or stateless:
            raise UsageError(f"a key and no state are for the service stamp, and not for {name}")
        return service
    key = None if stamp_key is None else read_key(stamp_key)
    make = partial(Reflector, lambda: ErrorEstimate(*clock_error()), key=key, stateful=not stateless)
    return replace(service, reflector=make)


def load_handler(name: str) -> Handler:
    """The function that `module:function` names, looked for in the working directory too, after all other places."""
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise UsageError(f"'{name}' is no handler; write module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except ModuleNotFoundError as error:
        raise UsageError(f"the handler's module '{module_name}' is not found ({error})") from error
    except AttributeError as error:
        raise UsageError(f"the module '{module_name}' has no '{function_name}'") from error
    except Exception as error:
        raise UsageError(f"the handler's module '{module_name}' raised {type(error).__name__}: {error}") from error
    if not callable(function):
        raise UsageError(f"'{name}' is not a function")
    return function  # type: ignore[no-any-return]


def _adopt_all(variables: Mapping[str, str], tls: ssl.SSLContext | None) -> list[Listener]:
    listeners: list[Listener] = []
    try:
        for descriptor in inherited_descriptors(variables, os.getpid()):
            listeners.append(adopt(descriptor, tls))
    except UsageError:
        close_all(listeners)
        raise
    return listeners
