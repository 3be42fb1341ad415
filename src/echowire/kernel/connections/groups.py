"""A multicast group joined, and datagrams sent to one: the options that a socket needs for it.

Which interface is always said by its number, never left to an address: an interface may have several or none. A socket
is joined to a group on one interface, and hears no other's (IP_MULTICAST_ALL, IPV6_MULTICAST_ALL): left alone, Linux
delivers what any socket of the host has joined, on whatever interface (ip(7)).
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

from echowire.errors import UsageError
from echowire.kernel.boundary import operation
from echowire.model import Endpoint, group_address

# linux/in.h and linux/in6.h
IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_ADD_MEMBERSHIP, IP_MULTICAST_ALL = 32, 33, 34, 35, 49
IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP, IPV6_JOIN_GROUP, IPV6_MULTICAST_ALL = 17, 18, 19, 20, 29
MCAST_JOIN_SOURCE_GROUP = 46

IP_MREQN = struct.Struct("=4s4si")
IPV6_MREQ = struct.Struct("=16sI")
SOCKADDR_BYTES = 128  # struct sockaddr_storage (linux/socket.h)


@dataclass(frozen=True, slots=True)
class Sending:
    """How datagrams go to many: `ttl` is the routers they may pass and one (RFC 1112: 1 is the link alone), `loop`
    whether members on this host get them too, `interface` the number of that by which they leave, 0 for the route's.
    """

    ttl: int = 1
    loop: bool = True
    interface: int = 0
    broadcast: bool = False


def join(sock: socket.socket, endpoint: Endpoint) -> None:
    """Have `sock` hear the group of `endpoint`, on the interface that is its zone, from its source alone if it has one.

    Raises `OperationError`: ENODEV where there is no such interface, or none is named and no route tells one;
    ENOBUFS where `net.ipv4.igmp_max_memberships` are joined.
    """
    group = group_address(endpoint.host)
    assert group is not None
    index = interface_number(endpoint)
    with operation("join", endpoint):
        if endpoint.source:
            _join_source(sock, group.packed, ipaddress.ip_address(endpoint.source).packed, index)
        elif group.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, IP_ADD_MEMBERSHIP, IP_MREQN.pack(group.packed, bytes(4), index))
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_JOIN_GROUP, IPV6_MREQ.pack(group.packed, index))
    with suppress(OSError):  # IPv6's is there from Linux 4.20
        if group.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)


def _join_source(sock: socket.socket, group: bytes, source: bytes, index: int) -> None:
    """`struct group_source_req` (RFC 3678 section 5.1.2); the kernel aligns the addresses to eight bytes."""
    if len(group) != len(source):
        raise UsageError("the source and the group are of two families; both are IPv4, or both IPv6")
    request = struct.pack("=I4x", index) + _sockaddr(group) + _sockaddr(source)
    level = socket.IPPROTO_IP if len(group) == 4 else socket.IPPROTO_IPV6
    sock.setsockopt(level, MCAST_JOIN_SOURCE_GROUP, request)


def _sockaddr(packed: bytes) -> bytes:
    """`struct sockaddr_storage` of an address, without a port."""
    if len(packed) == 4:
        body = struct.pack("=H2x4s", socket.AF_INET, packed)
    else:
        body = struct.pack("=H2x4x16s4x", socket.AF_INET6, packed)
    return body + bytes(SOCKADDR_BYTES - len(body))


def prepare_sending(sock: socket.socket, how: Sending) -> None:
    """Set what a socket needs to send to a group, or with `broadcast` to all on a link. Raises `OSError`."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_HOPS, how.ttl)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_LOOP, int(how.loop))
        if how.interface:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_IF, how.interface)
        return
    sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_TTL, how.ttl)
    sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_LOOP, int(how.loop))
    if how.interface:
        sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_IF, IP_MREQN.pack(bytes(4), bytes(4), how.interface))
    if how.broadcast:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if how.interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _name(how.interface).encode() + b"\0")


def _name(index: int) -> str:
    return socket.if_indextoname(index)


def interface_number(endpoint: Endpoint) -> int:
    """The number of the interface that is the zone of `endpoint`, 0 where it has none. Raises `UsageError`."""
    zone = endpoint.host.partition("%")[2]
    if not zone:
        return 0
    names = socket.if_nameindex()
    for index, name in names:
        if zone in (name, str(index)):
            return index
    raise UsageError(f"{endpoint}: no interface '{zone}' here; there are {', '.join(name for _, name in names)}")
