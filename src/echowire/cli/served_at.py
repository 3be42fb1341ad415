"""What `echowire serve` says first: where it listens, and from where it can be reached."""

from __future__ import annotations

from collections.abc import Sequence

from echowire import Endpoint, Server


def listening_lines(server: Server, service: str) -> list[str]:
    """A line for each address: transports that share one are named in it unless they are TCP and UDP both.

    One that is every interface is told by its port alone, and then the addresses at which it is reached.
    """
    transports: dict[str, list[Endpoint]] = {}
    for endpoint in server.endpoints:
        address = f"{endpoint.transport}:{endpoint.path}" if endpoint.is_unix else endpoint.address
        transports.setdefault(address, []).append(endpoint)
    return [line for address, endpoints in transports.items() for line in _lines(server, service, address, endpoints)]


def _lines(server: Server, service: str, address: str, endpoints: Sequence[Endpoint]) -> list[str]:
    kinds = [endpoint.transport for endpoint in endpoints]
    is_plain = kinds == ["tcp", "udp"] or kinds[0].startswith("unix")
    named = "" if is_plain else f" ({', '.join(kinds)})"
    reached = server.reached_at(endpoints[0])
    if reached is None:
        return [f"Server listening on {address}{named}"]
    name = f"{service[:1].upper()}{service[1:]}"
    return [f"{name} server listening on: {endpoints[0].port}{named}", *(f"  reached at {each}" for each in reached)]
