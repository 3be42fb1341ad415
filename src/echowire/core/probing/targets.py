"""Whom to ping, as people write it: names, addresses, and ranges of addresses such as `10.0.0.0/24`. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from echowire.errors import UsageError
from echowire.model import Endpoint, parse_port

TargetLike: TypeAlias = str | Endpoint | tuple[str, int]
"""What is taken for a target."""

MOST_TARGETS = 65_536
"""Targets of one run: what an IPv4 /16 has. Each takes about 1 kB, and a round of them a minute at 1,000 a second."""


@dataclass(frozen=True, slots=True)
class TargetName:
    """One target: its host, and its port where one was written."""

    host: str
    port: int | None = None


def target_text(given: TargetLike) -> str:
    """A target as text; an endpoint, or an address as sockets have it, is `host:port`. Raises `UsageError`."""
    if isinstance(given, str):
        return given
    if given is None or isinstance(given, int) or (endpoint := Endpoint.of(given)).is_unix:
        raise UsageError(
            f"{given!r} is no target; give a name, an address, a range such as 10.0.0.0/24, host:port, an Endpoint, or "
            "(host, port)"
        )
    return endpoint.address


def count_targets(texts: Iterable[str]) -> int:
    """How many targets `texts` stand for. Raises `UsageError`."""
    return sum(1 if (network := _network(text)) is None else network.num_addresses for text in texts)


def has_range(texts: Iterable[str]) -> bool:
    """Whether one of them is a range of addresses."""
    return any(_network(text) is not None for text in texts)


def expand_targets(texts: Iterable[str], *, ports: bool) -> Iterator[TargetName]:
    """Each target that `texts` stand for, all addresses of a range included. `host:port` only with `ports`."""
    for text in texts:
        network = _network(text)
        if network is None:
            yield _split(text, ports=ports)
        else:
            yield from (TargetName(str(address)) for address in network)


LINK_LOCAL = ("fe80:", "ff01:", "ff02:")
"""How addresses begin that mean something on one link only (RFC 4291, sections 2.5.6 and 2.7)."""


def in_zone(names: Iterable[TargetName], interface: str) -> list[TargetName]:
    """The targets, of which link-local addresses that name no interface get this one; `-I eth0 fe80::1` says it so."""
    return [
        TargetName(f"{name.host}%{interface}", name.port)
        if interface and "%" not in name.host and name.host.lower().startswith(LINK_LOCAL)
        else name
        for name in names
    ]


def read_target_file(text: str) -> list[str]:
    """The targets in a file's `text`: the first word of each line; empty lines and `#` comments are none."""
    words = (line.partition("#")[0].split() for line in text.splitlines())
    return [word[0] for word in words if word]


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if "/" not in text:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"'{text}' is no range of addresses ({error}); write 10.0.0.0/24") from error


def _split(text: str, *, ports: bool) -> TargetName:
    host, port = text, None
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UsageError(f"'{text}': an IPv6 address in brackets is written [::1]:443")
        port = parse_port(rest[1:]) if rest else None
    elif text.count(":") == 1:
        host, _, digits = text.partition(":")
        port = parse_port(digits)
    if not host or any(c in " /" or not c.isprintable() for c in host):
        raise UsageError(f"{text!r} is not a host name")
    if port is not None and not ports:
        raise UsageError(f"'{text}': ICMP has no ports; -T (TCP), -u (UDP) and --stamp do")
    return TargetName(host, port)
