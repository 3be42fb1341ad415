"""What is to be served, and how, as values: what `serve` is asked for, checked before anything is opened."""

from __future__ import annotations

import importlib
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from echowire.core.probing.stamp import ErrorEstimate
from echowire.core.probing.stamp_reflector import Reflector
from echowire.core.services import ECHO, Flow, Service, service_named
from echowire.engines.serving.base import Handler
from echowire.errors import UsageError
from echowire.kernel.clock import clock_error
from echowire.kernel.connections.listen import BACKLOG
from echowire.kernel.connections.tls import server_context
from echowire.kernel.key_file import read_key
from echowire.model import DEFAULT_PORT, Endpoint, EndpointLike, Family, Limits, Transport, split_scheme

TlsFiles: TypeAlias = tuple[str | os.PathLike[str], str | os.PathLike[str]]
"""A certificate's and a key's PEM file; they may be one."""


class ServingOptions(TypedDict, total=False):
    """The fields of `Serving`, as keywords."""

    service: str
    handler: Handler | str | None
    engine: str
    workers: int
    limits: Limits | Mapping[str, Any] | None
    tls: ssl.SSLContext | TlsFiles | None
    tls_client_authorities: str | os.PathLike[str] | None
    tls_alpn: Sequence[str]
    tls_min: str | None
    tls_max: str | None
    family: Family | None
    stamp_key: str | os.PathLike[str] | None
    stamp_stateless: bool
    amplify: bool
    backlog: int
    show: bool
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What is to be served, and how. Making one raises `UsageError` for what cannot be."""

    service: str = "echo"
    handler: Handler | str | None = None
    """A blocking function of a connected socket, instead of the service; or `module:function`, which `workers` above
    1 need."""
    engine: str = "auto"
    workers: int = 1
    """Processes that share the port."""
    limits: Limits | Mapping[str, Any] | None = None
    """A mapping has those that differ from the defaults, which are stricter beyond loopback."""
    tls: ssl.SSLContext | TlsFiles | None = None
    """A server's context, or a certificate's and a key's PEM file, which `workers` above 1 need."""
    tls_client_authorities: str | os.PathLike[str] | None = None
    """A PEM file: each client must have a certificate that one of these has signed."""
    tls_alpn: Sequence[str] = ()
    """The protocols served (ALPN), the preferred one first."""
    tls_min: str | None = None
    """The lowest version of TLS, such as `1.3`; None is 1.2."""
    tls_max: str | None = None
    family: Family | None = None
    stamp_key: str | os.PathLike[str] | None = None
    """A file whose bytes are the key of the service `stamp`'s authenticated mode."""
    stamp_stateless: bool = False
    """Have the service `stamp` keep no count of sessions."""
    amplify: bool = False
    """Let a datagram from beyond loopback have an answer that is larger than it is, which makes an amplifier of the
    server (`Limits.amplify`)."""
    backlog: int = BACKLOG
    """Connections that may wait to be accepted (listen(2)); `net.core.somaxconn` caps it."""
    show: bool = False
    """Have `on_event` told of all that passes, as `Passed`."""
    interface: str = ""
    """On which interface multicast groups are joined that name none themselves, as `239.1.2.3%eth0` does; without one
    on that of the route to them."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"{self.workers} workers cannot serve; give 1 or more")
        if self.backlog < 0:
            raise UsageError(f"a backlog of {self.backlog} connections is none; give 0 or more")
        if self.handler is not None and self.service != "echo":
            raise UsageError(f"a handler serves by itself, and so does {self.service}; give one of them")
        if self.handler is not None and self.show:
            raise UsageError("what passes through a handler's socket is its own, and cannot be shown; capture it")
        if self.workers > 1 and not isinstance(self.handler, str | None):
            raise UsageError("workers are other processes: name the handler as 'module:function'")
        self._check_tls()

    def _check_tls(self) -> None:
        given = self.tls
        if isinstance(given, ssl.SSLContext):
            if self.workers > 1:
                raise UsageError(
                    "workers are other processes: give the certificate's and key's file, not an SSLContext"
                )
            if given.protocol == ssl.PROTOCOL_TLS_CLIENT:
                raise UsageError("the SSLContext is a client's; make one with ssl.PROTOCOL_TLS_SERVER")
        elif given is not None and not (isinstance(given, tuple) and len(given) == 2):
            raise UsageError("tls is an ssl.SSLContext, or a pair: the certificate's PEM file, and the key's")
        chosen = (self.tls_client_authorities, *self.tls_alpn, self.tls_min, self.tls_max)
        if any(chosen) and not isinstance(given, tuple):
            raise UsageError("how TLS is served is said beside a certificate and its key, and not beside an SSLContext")

    def context(self) -> ssl.SSLContext | None:
        """The context to serve TLS with, None for none. Raises `UsageError` for files that cannot be used."""
        if not isinstance(self.tls, tuple):
            return self.tls
        return server_context(*self.tls, **self.tls_choices())

    def tls_choices(self) -> dict[str, Any]:
        """What is said of TLS beside its files, as keywords of `server_context`."""
        return {
            "client_authorities": path_or_none(self.tls_client_authorities),
            "alpn": list(self.tls_alpn),
            "lowest": self.tls_min,
            "highest": self.tls_max,
        }


def endpoint_groups(
    endpoints: Sequence[EndpointLike], *, tls: bool = False, streams_only: bool = False, service: Service = ECHO
) -> list[list[Endpoint]]:
    """What each argument stands for: one that names its transport for itself, another for TCP and UDP on one port.

    STAMP has a port of its own, and no TCP.
    """
    reflects = service.flow is Flow.REFLECT
    first: Transport = "udp" if reflects else "tls" if tls else "tcp"
    port = service.port if reflects else DEFAULT_PORT
    groups: list[list[Endpoint]] = []
    taken: set[Endpoint] = set()
    for given in endpoints or (f"127.0.0.1:{port}",):
        endpoint = Endpoint.of(given, transport=first, port=port)
        is_bare = not isinstance(given, Endpoint) and not endpoint.is_unix
        if isinstance(given, str):
            is_bare = split_scheme(given)[0] is None
        both = is_bare and not (tls or streams_only or reflects)
        group = [endpoint, replace(endpoint, transport="udp")] if both else [endpoint]
        if both and endpoint.is_group:
            group = group[1:]  # a connection has one peer
        for each in group:
            if each in taken and (each.port or each.is_unix):
                raise UsageError(f"{each} is given twice; once is enough")
        taken.update(group)
        groups.append(group)
    return groups


def in_groups(group: list[Endpoint], asked: Serving) -> list[Endpoint]:
    """The endpoints of one argument, with the interface on which a multicast group is joined."""
    if not group[0].is_group:
        if asked.interface:
            raise UsageError(f"{group[0]}: an interface is named for multicast groups; serve an address of it instead")
        return group
    if asked.workers > 1:
        raise UsageError(f"{group[0]}: each of {asked.workers} workers would get, and answer, what comes to a group")
    from echowire.kernel.tables.group_facts import placed  # the tables are loaded for those who need them

    return [placed(endpoint, asked.interface) for endpoint in group]


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


def path_or_none(path: str | os.PathLike[str] | None) -> str | None:
    """A path as text, as another process is told of it."""
    return None if path is None else os.fspath(path)
