"""Hosts on one bridge, as on a switch that looks at who joins: for groups, which a chain of routers does not carry.

    with bridged(3) as (hub, first, second, third): ...

`hub` has the bridge `br0` with 10.66.0.254/24 and a port `port1` … to each host; host n is 10.66.0.n and fd66::n, on
its `veth0`. There are no routes but those of the links, and nothing leads out of the namespaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.netns import Namespace, namespaces

BRIDGE = "br0"


@contextmanager
def bridged(count: int, *, snooping: bool = True, querier: bool = False) -> Iterator[tuple[Namespace, ...]]:
    """The hub and `count` hosts."""
    with namespaces(count + 1) as made:
        hub, *hosts = made
        hub.ip(f"link add {BRIDGE} type bridge mcast_snooping {int(snooping)} mcast_querier {int(querier)}")
        hub.ip(f"address add 10.66.0.254/24 dev {BRIDGE}")
        hub.ip(f"address add fd66::fe/64 dev {BRIDGE} nodad")
        hub.ip(f"link set {BRIDGE} up")
        for number, host in enumerate(hosts, 1):
            add_port(hub, host, f"port{number}")
            host.ip(f"address add 10.66.0.{number}/24 dev veth0")
            host.ip(f"address add fd66::{number}/64 dev veth0 nodad")
            host.ip("link set veth0 up")
            host.ip("link show dev veth0")
            host.devices.append("veth0")
            host.addresses += [f"10.66.0.{number}", f"fd66::{number}"]
        yield made


def add_port(hub: Namespace, host: Namespace, port: str, device: str = "veth0") -> None:
    """A cable from the bridge's `port` to the host's `device`, switched on at the bridge."""
    hub.ip(f"link add {port} type veth peer name {device} netns {host.name}")
    hub.ip(f"link set {port} master {BRIDGE} up")
