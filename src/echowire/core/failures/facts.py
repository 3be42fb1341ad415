"""What this host's own tables said when something failed: the facts from which a failure is explained.

Each is None where it was not looked up, or is not to be known.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from echowire.model import Endpoint

if TYPE_CHECKING:
    from echowire.core.sockets.memberships import Membership
    from echowire.core.sockets.rtnetlink import BridgeMember, Link


@dataclass(frozen=True, slots=True)
class Process:
    """A process; `name` is its `comm`, of at most 15 bytes (proc_pid_comm(5))."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketEntry:
    """One line of `/proc/net/{tcp,tcp6,udp,udp6,unix}` (proc_pid_net(5)).

    `peer` is None where there is none. `state` bears ss's name. `inode` is 0 where no process holds the socket
    any more (TIME-WAIT); `holder` is None where that, or where it may not be seen or was not looked up.
    """

    local: Endpoint
    peer: Endpoint | None
    state: str
    inode: int
    uid: int | None = None
    receive_queue: int = 0
    """Bytes not yet read; on a TCP listener, connections that wait to be accepted."""
    send_queue: int = 0
    """Bytes sent and not yet acknowledged."""
    holder: Process | None = None


@dataclass(frozen=True, slots=True)
class IcmpReport:
    """An ICMP error that came back for what a socket sent (RFC 792, RFC 4443; linux/errqueue.h).

    `offender` is the address that sent it, a router's or the target's own; empty where it is not known. `mtu`
    is the bytes that still pass, where the report is about size.
    """

    type: int
    code: int
    offender: str
    version: Literal[4, 6] = 4
    mtu: int | None = None

    def __str__(self) -> str:
        return f"{'ICMPv6' if self.version == 6 else 'ICMP'} {self.type}/{self.code}"


Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What this host's own tables said when an operation failed. None: not looked up, or not to be known."""

    sockets: tuple[SocketEntry, ...] | None = None
    """Sockets of the failed endpoint's transport on its local port (or path), listeners first."""
    sees_all_processes: bool | None = None
    """Whether this process may see the descriptors of all others."""
    local_addresses: tuple[Network, ...] | None = None
    """What this host takes for its own: addresses as networks of one, and 127.0.0.0/8."""
    ipv6_disabled: str | None = None
    """The sysctl that switches IPv6 off; empty where none does."""
    ephemeral_ports: tuple[int, int] | None = None
    """First and last of `net.ipv4.ip_local_port_range`."""
    connections: int | None = None
    """TCP sockets of this host whose peer is the target."""
    unprivileged_port_start: int | None = None
    ping_group_range: tuple[int, int] | None = None
    route_number: int | None = None
    """The error number that routing to the target gives; 0: there is a route."""
    path_mtu: int | None = None
    """Bytes that a packet to the target may have, headers included, as far as the kernel knows."""
    next_hop: str | None = None
    """The target, or the gateway to it."""
    next_hop_answers: bool | None = None
    """False where the neighbour table says that nobody answered for `next_hop`."""
    conntrack: tuple[int, int] | None = None
    """Connections tracked, and how many may be."""
    file_kind: str | None = None
    """Of a Unix socket's path: socket, directory, file, missing, or 'no directory'."""
    file_limit: int | None = None
    """Descriptors that may be open: of this process for EMFILE, of the system for ENFILE."""
    nameservers: tuple[str, ...] | None = None
    """The servers of /etc/resolv.conf."""
    nameserver_route_number: int | None = None
    """As `route_number`, to the first of them."""
    icmp: IcmpReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """What this host's tables say of a multicast group, to one who sent to it or joined it and heard nothing.

    `interface` is the name of that by which it was sent, or on which it was joined; empty where it is not known.
    """

    group: str
    interface: str
    source: str = ""
    """The address from which it is sent: this host's own, or that of the one sender that is wanted."""
    links: tuple[Link, ...] = ()
    memberships: tuple[Membership, ...] = ()
    """This host's own, of this group."""
    bridge_members: tuple[BridgeMember, ...] = ()
    """What this host's bridges know of this group."""
    bound: int | None = None
    """UDP sockets of this host on the port, and at the group's address or any."""
    reverse_path: int | None = None
    """`rp_filter` in effect there: 0 off, 1 strict, 2 loose (Documentation/networking/ip-sysctl.rst)."""
    source_interface: str | None = None
    """By which interface this host would answer `source`; empty where it has no route to it."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """How much these have risen meanwhile, by the kernel's names."""

    def link(self, name: str) -> Link | None:
        """The interface of that name."""
        return next((link for link in self.links if link.name == name), None)

    def name_of(self, index: int) -> str:
        """The name of the interface of that number."""
        return next((link.name for link in self.links if link.index == index), f"if{index}")
