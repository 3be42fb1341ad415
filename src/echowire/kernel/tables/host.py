"""What this host's tables say about one failed operation: only what that error can need, never an error of its own.

Nothing is sent. The routing question is asked with a UDP socket's connect, which looks the route up and no more
(udp(7)).
"""

from __future__ import annotations

import errno
import ipaddress
import resource
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from echowire.core.failures.facts import HostFacts, SocketEntry
from echowire.errors import NameResolutionError, OperationError
from echowire.kernel.tables import processes, procfs
from echowire.kernel.tables.bound_sockets import bound_sockets
from echowire.model import Endpoint, is_address

DISCARD_PORT = 9
"""Where the route is asked for when no port is known (RFC 863); nothing is sent there."""

# linux/in.h and linux/in6.h
IP_MTU, IPV6_MTU = 14, 24


def gather(error: OperationError | NameResolutionError, target: Endpoint | None) -> HostFacts:
    """Look up what can explain `error`; `target` is the endpoint it is about, with a numeric address if known.

    Takes milliseconds, and up to a second where this host holds 100,000 sockets. Never raises; what could not be
    read is None. The ICMP report, which only the socket has, is the caller's to add.
    """
    if isinstance(error, NameResolutionError):
        names: tuple[str, ...] = ("nameservers", "nameserver_route_number")
    else:
        names = NEEDS.get(error.number, ())
    inquiry = _Inquiry(target, getattr(error, "operation", "resolve"), error.number)
    for name in names:
        # A table may be in a form that this was not written for: its fact is then not known.
        with suppress(OSError, ValueError, IndexError, OverflowError):
            inquiry.found[name] = LOOKUPS[name](inquiry)
    return HostFacts(**inquiry.found)


NEEDS: Mapping[int, tuple[str, ...]] = {
    errno.EACCES: ("unprivileged_port_start", "ping_group_range", "route_number", "file_kind"),
    errno.EADDRINUSE: ("sockets", "sees_all_processes", "ephemeral_ports", "file_kind"),
    errno.EADDRNOTAVAIL: ("local_addresses", "ipv6_disabled", "ephemeral_ports", "connections"),
    errno.EAGAIN: ("sockets", "sees_all_processes"),
    errno.EPROTOTYPE: ("sockets",),
    errno.ECONNREFUSED: ("local_addresses", "sockets", "sees_all_processes", "file_kind"),
    errno.EHOSTUNREACH: ("local_addresses", "route_number", "next_hop", "next_hop_answers"),
    errno.EINVAL: ("route_number",),
    errno.EMFILE: ("file_limit",),
    errno.EMSGSIZE: ("path_mtu",),
    errno.ENETUNREACH: ("route_number",),
    errno.ENFILE: ("file_limit",),
    errno.ENOENT: ("file_kind",),
    errno.EPERM: ("conntrack",),
    errno.ETIMEDOUT: ("local_addresses", "sockets", "sees_all_processes"),
}
"""The facts that each error number can need, in the order in which they are looked up."""


@dataclass(slots=True)
class _Inquiry:
    target: Endpoint | None
    operation: str
    number: int | None
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str | None:
        """The target's numeric address without its zone; None where it is a name, a path or every interface."""
        host = self.target.host.partition("%")[0] if self.target and not self.target.is_unix else ""
        return host if is_address(host) else None

    @property
    def is_here(self) -> bool:
        """Whether the target is one of this host's own addresses."""
        if self.target is None or self.target.is_unix or self.target.host in ("", "localhost"):
            return self.target is not None
        if self.address is None:
            return False
        address = ipaddress.ip_address(self.address)
        own = self.found.get("local_addresses") or ()
        return address.is_unspecified or any(address in network for network in own)


def _sockets(inquiry: _Inquiry) -> tuple[SocketEntry, ...] | None:
    target = inquiry.target
    if target is None or (not inquiry.is_here and inquiry.operation not in ("bind", "listen")):
        return None
    if target.is_unix:
        entries = list(procfs.unix_sockets(target.path))
    else:
        entries = list(procfs.sockets(target.transport, local_port=target.port))
        if target.transport != "udp" and inquiry.number == errno.EADDRINUSE:
            entries += bound_sockets(target.port)
    entries.sort(key=lambda entry: entry.state != "LISTEN")
    listeners = [entry for entry in entries if entry.state == "LISTEN"]
    held = procfs.holders(entry.inode for entry in listeners or entries)
    return tuple(replace(entry, holder=held[entry.inode]) if entry.inode in held else entry for entry in entries)


def _connections(inquiry: _Inquiry) -> int | None:
    if inquiry.target is None or inquiry.operation != "connect" or inquiry.address is None:
        return None
    address, port = ipaddress.ip_address(inquiry.address), inquiry.target.port
    entries = procfs.sockets(inquiry.target.transport, peer_port=port)
    return sum(1 for entry in entries if entry.peer and ipaddress.ip_address(entry.peer.host) == address)


def _ipv6_disabled(inquiry: _Inquiry) -> str | None:
    if inquiry.address is None or ":" not in inquiry.address:
        return None
    for interface in ("all", "lo") if inquiry.address == "::1" else ("all",):
        name = f"net.ipv6.conf.{interface}.disable_ipv6"
        if procfs.sysctl(name) == (1,):
            return name
    return ""


def _route_socket(address: str, port: int) -> tuple[int, int | None]:
    """The error number of routing to `address` (0: none), and the bytes a packet there may have."""
    v6 = ":" in address
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # Without it a broadcast address would look like a prohibited route.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        number = sock.connect_ex((address, port or DISCARD_PORT))
        if number:
            return number, None
        level, option = (socket.IPPROTO_IPV6, IPV6_MTU) if v6 else (socket.IPPROTO_IP, IP_MTU)
        return 0, sock.getsockopt(level, option)


def _route(inquiry: _Inquiry) -> tuple[int | None, int | None]:
    if inquiry.address is None or inquiry.target is None:
        return None, None
    # The zone, which a link-local address needs, is part of `host`.
    return _route_socket(inquiry.target.host, inquiry.target.port)


def _next_hop(inquiry: _Inquiry) -> str | None:
    if inquiry.address is None or ":" in inquiry.address:
        return None
    return procfs.next_hop(inquiry.address, procfs.routes())


def _file_kind(inquiry: _Inquiry) -> str | None:
    if inquiry.target is None or not inquiry.target.is_unix or inquiry.target.path.startswith("@"):
        return None
    path = Path(inquiry.target.path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "missing" if path.parent.is_dir() else "no directory"
    return "socket" if stat.S_ISSOCK(mode) else "directory" if stat.S_ISDIR(mode) else "file"


def _conntrack(_: _Inquiry) -> tuple[int, int] | None:
    count = procfs.sysctl("net.netfilter.nf_conntrack_count")
    most = procfs.sysctl("net.netfilter.nf_conntrack_max")
    return (count[0], most[0]) if count and most else None


def _file_limit(inquiry: _Inquiry) -> int | None:
    return _number("fs.file-max") if inquiry.number == errno.ENFILE else resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _nameserver_route(inquiry: _Inquiry) -> int | None:
    servers = inquiry.found.get("nameservers")
    return _route_socket(servers[0], 53)[0] if servers and is_address(servers[0]) else None


def _pair(name: str) -> tuple[int, int] | None:
    values = procfs.sysctl(name)
    return (values[0], values[1]) if values and len(values) == 2 else None


def _number(name: str) -> int | None:
    values = procfs.sysctl(name)
    return values[0] if values else None


LOOKUPS: Mapping[str, Callable[[_Inquiry], Any]] = {
    "connections": _connections,
    "conntrack": _conntrack,
    "ephemeral_ports": lambda _: _pair("net.ipv4.ip_local_port_range"),
    "file_kind": _file_kind,
    "file_limit": _file_limit,
    "ipv6_disabled": _ipv6_disabled,
    "local_addresses": lambda _: procfs.local_addresses(),
    "nameserver_route_number": _nameserver_route,
    "nameservers": lambda _: procfs.nameservers(),
    "next_hop": _next_hop,
    "next_hop_answers": lambda inquiry: procfs.neighbours().get(inquiry.found.get("next_hop") or ""),
    "path_mtu": lambda inquiry: _route(inquiry)[1],
    "ping_group_range": lambda _: _pair("net.ipv4.ping_group_range"),
    "route_number": lambda inquiry: _route(inquiry)[0],
    "sees_all_processes": lambda _: processes.sees_all_processes(),
    "sockets": _sockets,
    "unprivileged_port_start": lambda _: _number("net.ipv4.ip_unprivileged_port_start"),
}
"""How each fact is looked up."""
