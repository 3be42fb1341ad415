"""What is asked to be served: endpoints, the service or the handler, as values. A part of `serve` and its workers."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from echowire.core.probing.stamp import ErrorEstimate
from echowire.core.probing.stamp_reflector import Reflector
from echowire.core.services import ECHO, Flow, Service, service_named
from echowire.engines.serving.base import Handler
from echowire.errors import UsageError
from echowire.kernel.clock import clock_error
from echowire.kernel.key_file import read_key
from echowire.model import DEFAULT_PORT, Endpoint, EndpointLike, Transport, split_scheme


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


def placed_group(group: list[Endpoint], interface: str, workers: int) -> list[Endpoint]:
    """The endpoints of one argument, with the interface on which a multicast group is joined. Raises `UsageError`."""
    if not group[0].is_group:
        if interface:
            raise UsageError(f"{group[0]}: an interface is named for multicast groups; serve an address of it instead")
        return group
    if workers > 1:
        raise UsageError(f"{group[0]}: each of {workers} workers would get, and answer, what comes to a group")
    from echowire.kernel.tables.group_facts import placed  # the tables are loaded for those who need them

    return [placed(endpoint, interface) for endpoint in group]


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
