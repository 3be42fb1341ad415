"""Names to addresses: which addresses an endpoint has, in the order to try them, and where to call from."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, TypeAlias

from echowire.errors import NameResolutionError, UsageError
from echowire.model import Endpoint, Family

IPV6_LINK_LOCAL = "fe80:"

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
Address: TypeAlias = tuple[int, SocketAddress]
"""An address family and an address of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """What to call from: an address of this host (empty: the route's choice) and a port (0: any free one)."""

    host: str = ""
    port: int = 0

    def __bool__(self) -> bool:
        return bool(self.host or self.port)


def socket_kind(endpoint: Endpoint) -> socket.SocketKind:
    """The type of socket that `endpoint` is spoken to by (socket(2))."""
    if endpoint.transport == "unixseqpacket":
        return socket.SOCK_SEQPACKET
    return socket.SOCK_STREAM if endpoint.is_stream else socket.SOCK_DGRAM


def resolve(endpoint: Endpoint, family: Family | None) -> list[Address]:
    """The addresses of `endpoint`, in the order to try them: RFC 6724's, the families in turn (RFC 8305, 4)."""
    if endpoint.port == 0:
        raise UsageError(f"{endpoint}: port 0 means any free port to a server; a call needs the server's own")
    return interleaved(look_up(endpoint.host, endpoint.port, family, socket_kind(endpoint)))


def look_up(host: str, port: int, family: Family | None, kind: int, flags: int = 0) -> list[Address]:
    """Each address of `host` once, in getaddrinfo's order; of no host: loopback, or any with AI_PASSIVE.

    Raises `NameResolutionError`, and `UsageError` for a link-local address without its interface.
    """
    check_zone(host)
    af = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}[family]
    try:
        answers = socket.getaddrinfo(host or None, port, af, kind, 0, flags)
    except socket.gaierror as error:
        said = f"resolve {host}: {(error.strerror or str(error)).lower()}"
        raise NameResolutionError(host, said, error.errno) from error
    except UnicodeError as error:
        raise NameResolutionError(host, f"resolve {host!r}: this cannot be a host name") from error
    found = list(dict.fromkeys(_addresses(answers)))
    if not found:
        raise NameResolutionError(host, f"resolve {host}: no address")
    return found


def interleaved(addresses: list[Address]) -> list[Address]:
    """The first family's first address, then the other's first, and so on (First Address Family Count of 1)."""
    first = [each for each in addresses if each[0] == addresses[0][0]]
    second = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, second)) if each is not None]


def check_zone(host: str) -> None:
    """Say plainly what getaddrinfo calls "Name or service not known": a zone without an interface, or none."""
    address, percent, zone = host.partition("%")
    has_zone = percent and ":" in address and not zone.isdigit()
    lacks_zone = not percent and host.lower().startswith(IPV6_LINK_LOCAL)
    if not has_zone and not lacks_zone:
        return
    names = [name for _, name in socket.if_nameindex()]
    if has_zone and zone not in names:
        raise NameResolutionError(host, f"resolve {host}: no interface '{zone}' here; there are {', '.join(names)}")
    if lacks_zone:
        raise UsageError(f"{host} is a link-local address and needs the interface it is on: {host}%{names[-1]}")


def source_addresses(source: Source, addresses: list[Address]) -> dict[int, SocketAddress]:
    """The address to bind to, by family: of all that `addresses` have, or of those that the source's host has."""
    if not source.host:
        any_host = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - the route chooses the address
        return {family: (any_host[socket.AddressFamily(family)], source.port) for family, _ in addresses}
    # Reversed, so that the first of each family stays.
    return dict(reversed(look_up(source.host, source.port, None, socket.SOCK_STREAM)))


def _addresses(answers: Iterable[tuple[Any, ...]]) -> Iterator[Address]:
    """The IPv4 and IPv6 addresses of what getaddrinfo gave."""
    for family, _, _, _, address in answers:
        if family in (socket.AF_INET, socket.AF_INET6):
            yield int(family), address


LOOK_UPS_AT_ONCE = 16
"""Names asked for at the same time, so that one server that stalls does not hold up all the others for long."""


def first_addresses(
    hosts: list[tuple[str, int]], family: Family | None, kind: int
) -> list[Address | NameResolutionError | UsageError]:
    """Of each host and port the address to try first, or why there is none."""

    def one(at: tuple[str, int]) -> Address | NameResolutionError | UsageError:
        host, port = at
        if (numeric := _numeric(host, port, family)) is not None:
            return numeric
        try:
            return look_up(host, port, family, kind)[0]
        except (NameResolutionError, UsageError) as error:
            return error

    if len(hosts) == 1 or all(_numeric(host, port, family) for host, port in hosts):
        return [one(at) for at in hosts]
    # Imported for those who need it: it brings logging along.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(LOOK_UPS_AT_ONCE, "echowire resolve") as pool:
        return list(pool.map(one, hosts))


def _numeric(host: str, port: int, family: Family | None) -> Address | None:
    """The address that `host` itself is; None for a name, and for one that needs getaddrinfo's care."""
    if "%" in host or host.lower().startswith(IPV6_LINK_LOCAL):
        return None
    version = 6 if ":" in host else 4
    if family not in (None, version):
        return None
    try:
        socket.inet_pton(socket.AF_INET6 if version == 6 else socket.AF_INET, host)
    except OSError:
        return None
    if version == 6:
        return int(socket.AF_INET6), (host, port, 0, 0)
    return int(socket.AF_INET), (host, port)
