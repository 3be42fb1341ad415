"""The options by which `call`, `bench`, `serve` and `ping` are told where: families and endpoints."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import click

import echowire
from echowire import Endpoint, UsageError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def together(*decorators: Decorator) -> Decorator:
    """Several decorators as one, in the order in which `--help` shows their options."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


family_options = together(
    click.option("-4", "ipv4", is_flag=True, help="IPv4 only."),
    click.option("-6", "ipv6", is_flag=True, help="IPv6 only."),
)
"""`-4` and `-6`, of which `cli/contradictions.py` allows one."""

called_endpoint = together(
    click.argument("endpoint", nargs=-1, metavar="[ENDPOINT]"),
    family_options,
    click.option("-u", "--udp", is_flag=True, help="Datagrams: UDP, or with -U a Unix datagram socket."),
    click.option("-U", "--unix", is_flag=True, help="ENDPOINT is the path of a Unix socket."),
)
"""The one endpoint that is called."""

served_endpoints = together(
    click.argument("endpoints", nargs=-1, metavar="[ENDPOINT]..."),
    family_options,
    click.option("-u", "--udp", is_flag=True, help="Datagrams only (with -U, Unix datagrams)."),
    click.option("-t", "--tcp", is_flag=True, help="TCP only."),
    click.option("-U", "--unix", is_flag=True, help="The endpoints are paths of Unix sockets."),
)
"""The endpoints that are served, which may be both transports on one port."""


def refuse_other_scheme(text: str, transport: str) -> None:
    """Raise `UsageError` where an endpoint's own scheme is another than the options' transport; TCP is said by none."""
    scheme, _ = echowire.split_scheme(text)
    if scheme is not None and transport not in ("tcp", scheme):
        raise UsageError(f"{text} is {scheme}, and the options say {transport}")


def refuse_name(endpoint: Endpoint) -> None:
    """Raise `UsageError` where -n was given and `endpoint` has a name."""
    if endpoint.is_unix or not endpoint.host:
        return
    try:
        ipaddress.ip_address(endpoint.host)
    except ValueError:
        raise UsageError(f"'{endpoint.host}' is a name, and -n has none looked up; give its address") from None
