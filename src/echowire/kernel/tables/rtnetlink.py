"""The tables of links, routes and bridges' groups of this thread's network namespace (rtnetlink(7)).

They are asked by netlink and not read in /sys/class/net, which shows the namespace in which it was mounted, nor in
/proc/net/route, which knows one table, IPv4's, and no route with two gateways.
"""

from __future__ import annotations

import ipaddress
from struct import pack

from echowire.core.sockets import rtnetlink as messages
from echowire.core.sockets.netlink import attribute
from echowire.core.sockets.rtnetlink import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    LINK_REQUEST,
    MDB_REQUEST,
    ROUTE_REQUEST,
    RTM_GETLINK,
    RTM_GETMDB,
    RTM_GETROUTE,
)
from echowire.kernel.boundary import operation
from echowire.kernel.tables.netlink import NETLINK_ROUTE, NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from echowire.core.sockets.rtnetlink import BridgeMember, Link, Route

RTA_DST, RTA_SRC, RTA_OIF = 1, 2, 4
NDA_ADDRESS_BITS = {4: 32, 6: 128}


def links() -> list[Link]:
    """All interfaces, in the kernel's order. Raises `OperationError`."""
    with operation("list interfaces of", "this host"), NetlinkSocket(NETLINK_ROUTE) as netlink:
        return list(messages.links(netlink.dump(RTM_GETLINK, pack(LINK_REQUEST, 0, 0, 0, 0, 0))))


def routes(family: int | None = None) -> list[Route]:
    """The routes of all tables, IPv4's before IPv6's. Raises `OperationError`."""
    families = {None: (AF_INET, AF_INET6), 4: (AF_INET,), 6: (AF_INET6,)}[family]
    found: list[Route] = []
    with operation("list routes of", "this host"), NetlinkSocket(NETLINK_ROUTE) as netlink:
        for one in families:
            found += messages.routes(netlink.dump(RTM_GETROUTE, pack(ROUTE_REQUEST, one, *[0] * 8)))
    return found


def route_to(address: str, *, interface: int = 0, source: str = "") -> Route:
    """The route that the kernel takes to `address`, by `interface` if one is given. Raises `OSError`: ENETUNREACH."""
    target = ipaddress.ip_address(address)
    body = pack(ROUTE_REQUEST, AF_INET if target.version == 4 else AF_INET6, NDA_ADDRESS_BITS[target.version], *[0] * 7)
    body += attribute(RTA_DST, target.packed)
    if interface:
        body += attribute(RTA_OIF, pack("=I", interface))
    if source:
        body += attribute(RTA_SRC, ipaddress.ip_address(source).packed)
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        found = list(messages.routes(iter([netlink.request(RTM_GETROUTE, body)])))
    return found[0]


def is_broadcast(host: str) -> bool:
    """Whether `host` is the broadcast address of one of this host's links, by its routes; False for a name."""
    try:
        return route_to(host).type == "broadcast"
    except (OSError, ValueError, IndexError):
        return host == "255.255.255.255"


def bridge_members() -> list[BridgeMember]:
    """The groups that the bridges of this host have learnt, port by port; none where there is no bridge.

    Raises `OperationError`.
    """
    with operation("list the groups of bridges of", "this host"), NetlinkSocket(NETLINK_ROUTE) as netlink:
        return list(messages.bridge_members(netlink.dump(RTM_GETMDB, pack(MDB_REQUEST, AF_BRIDGE, 0))))
