"""Sockets that listen: bound, with the options a server needs, ready for an engine.

`open_listeners` takes groups of endpoints. A group is what one argument of the user named (`localhost:7` is TCP
and UDP on two families), and shares one port number even when that is 0.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echowire.errors import OperationError, UsageError
from echowire.kernel.boundary import operation
from echowire.kernel.connections.groups import interface_number, join
from echowire.kernel.connections.name_lock import locked_name
from echowire.kernel.connections.resolve import SocketAddress, look_up, socket_kind
from echowire.model import Endpoint, Family, group_address, is_loopback

BACKLOG = 4096
"""Connections that may wait to be accepted: Linux's default `net.core.somaxconn` since 5.4, which caps it."""

DATAGRAM_BUFFER_BYTES = 4 * 1024 * 1024
"""Receive and send buffer asked for on datagram sockets; `net.core.rmem_max` caps it unless we may exceed that.
Four megabytes hold a burst of a few thousand full datagrams while the server is busy elsewhere."""

SHARED_PORT_ATTEMPTS = 32
"""Tries to find one free port for all of a group; a second try is rare, this many fail only when ports run out."""

IP_PKTINFO: int = getattr(socket, "IP_PKTINFO", 8)  # linux/in.h; the module has it from 3.14


@dataclass(slots=True, eq=False)
class Listener:
    """A bound socket and where it is. A stream socket listens already; all are non-blocking.

    `wildcard` says that it hears every local address, so that answers to datagrams must name theirs. `made`
    is the device and inode of the socket file that we made, removed by `close`. `inherited` sockets were bound by
    someone else, and cannot be bound again by us.
    """

    socket: socket.socket
    endpoint: Endpoint
    tls: ssl.SSLContext | None = None
    wildcard: bool = False
    made: tuple[int, int] | None = None
    inherited: bool = False

    @property
    def reachable(self) -> bool:
        """Whether a peer on another machine can reach it."""
        if self.endpoint.is_unix:
            return False
        name = self.socket.getsockname()[0]
        return not is_loopback(name)

    def is_own(self, address: Any) -> bool:
        """Whether a datagram from `address`, as recvfrom gives it, claims to come from this very socket."""
        name = self.socket.getsockname()
        if self.endpoint.is_unix:
            return bool(address == name)
        host, port = address[:2]
        if port != name[1]:
            return False
        return _plain(host) == _plain(name[0]) or (self.wildcard and is_loopback(host))

    def close(self) -> None:
        """Close the socket, and remove the Unix socket's file if it is still the one we made."""
        self.socket.close()
        if self.made:
            with contextlib.suppress(OSError):
                found = Path(self.endpoint.path).lstat()
                if (found.st_dev, found.st_ino) == self.made:
                    Path(self.endpoint.path).unlink()
            self.made = None


def open_listeners(
    groups: Iterable[Sequence[Endpoint]],
    *,
    family: Family | None = None,
    tls: ssl.SSLContext | None = None,
    reuse_port: bool = False,
    backlog: int = BACKLOG,
) -> list[Listener]:
    """Bind every endpoint of every group, or none: on an error those already open are closed.

    `backlog` is how many connections may wait to be accepted. With `reuse_port` several processes may bind the same
    port, and the kernel shares connections among them (SO_REUSEPORT, socket(7)). Raises `OperationError`,
    `NameResolutionError`, `UsageError`.
    """
    options = _Options(family, tls, reuse_port, backlog)
    listeners: list[Listener] = []
    try:
        for group in groups:
            listeners += _open_group(group, options)
    except BaseException:
        close_all(listeners)
        raise
    return listeners


def close_all(listeners: Iterable[Listener]) -> None:
    """Close every listener."""
    for listener in listeners:
        listener.close()


@dataclass(frozen=True, slots=True)
class _Options:
    family: Family | None
    tls: ssl.SSLContext | None
    reuse_port: bool
    backlog: int


def _open_group(group: Sequence[Endpoint], options: _Options) -> list[Listener]:
    wanted = [at for endpoint in group for at in _addresses(endpoint, options.family)]
    for attempt in range(SHARED_PORT_ATTEMPTS):
        opened: list[Listener] = []
        try:
            for endpoint, numeric, af in wanted:
                if opened and endpoint.port == 0 and not endpoint.is_unix:
                    endpoint = replace(endpoint, port=opened[0].endpoint.port)
                opened.append(_open(endpoint, numeric, af, options))
        except OperationError as error:
            close_all(opened)
            # Port 0 gave the first socket a port that another of the group finds taken: draw again.
            shares = opened and error.number == errno.EADDRINUSE and not group[0].port and not group[0].is_unix
            if not shares or attempt == SHARED_PORT_ATTEMPTS - 1:
                raise
        except BaseException:
            close_all(opened)
            raise
        else:
            return opened
    raise AssertionError("unreachable")


def _addresses(endpoint: Endpoint, family: Family | None) -> list[tuple[Endpoint, str, int]]:
    """(endpoint, numeric host with its zone, address family) of each socket that `endpoint` stands for."""
    if endpoint.is_unix:
        return [(endpoint, "", socket.AF_UNIX)]
    if not endpoint.host:
        if family == 4 or (family is None and not socket.has_dualstack_ipv6()):
            return [(endpoint, "0.0.0.0", socket.AF_INET)]  # noqa: S104 - it was asked for
        return [(endpoint, "::", socket.AF_INET6)]
    if (group := group_address(endpoint.host)) is not None:
        return [_group_address(endpoint, group.version, family)]
    found = look_up(endpoint.host, endpoint.port, family, socket_kind(endpoint), socket.AI_PASSIVE)
    hosts = [(_host_of(address), af) for af, address in found]
    return [(replace(endpoint, host=host), host, af) for host, af in hosts]


def _host_of(address: SocketAddress) -> str:
    """The host of a socket address. Of a link-local one with its interface, without which it cannot be bound."""
    if len(address) == 4 and address[3] and "%" not in address[0]:
        return f"{address[0]}%{socket.if_indextoname(address[3])}"
    return address[0]


def _group_address(endpoint: Endpoint, version: int, family: Family | None) -> tuple[Endpoint, str, int]:
    """What `_addresses` gives of a group: an IPv6 one is bound with its interface, which no IPv4 address names."""
    if endpoint.is_stream:
        raise UsageError(f"{endpoint}: a connection has one peer; a group is heard by udp://")
    if family not in (None, version):
        raise UsageError(f"{endpoint} is no IPv{family} group")
    group, _, _ = endpoint.host.partition("%")
    if version == 4:
        return endpoint, group, socket.AF_INET
    index = interface_number(endpoint)
    return endpoint, f"{group}%{index}" if index else group, socket.AF_INET6


def _open(endpoint: Endpoint, host: str, af: int, options: _Options) -> Listener:
    if endpoint.transport == "tls" and options.tls is None:
        raise UsageError(f"{endpoint}: TLS needs a certificate and its key; give --tls-cert and --tls-key")
    with operation("socket", endpoint):
        sock = socket.socket(af, socket_kind(endpoint) | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if af == socket.AF_UNIX:
            made = open_unix(sock, endpoint, options.backlog)
            listener = Listener(sock, endpoint, made=made)
        else:
            listener = _bind_inet(sock, endpoint, host, options)
            _listen(sock, listener.endpoint, options.backlog)
    except BaseException:
        sock.close()
        raise
    listener.tls = options.tls if endpoint.transport == "tls" else None
    return listener


def _bind_inet(sock: socket.socket, endpoint: Endpoint, host: str, options: _Options) -> Listener:
    wildcard = not endpoint.host or host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    with operation("bind", endpoint):
        if sock.family == socket.AF_INET6:
            both = not endpoint.host and options.family is None
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
        if endpoint.is_stream:
            # A restart need not wait for the TIME-WAIT of the last run's connections (FAILURES row 2).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif endpoint.is_group:
            # Each program of this host that asks for it gets what comes to a group: others may have its port, too.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        address = socket.getaddrinfo(host, endpoint.port, sock.family, 0, 0, socket.AI_NUMERICHOST)[0][4]
        sock.bind(address)
    if endpoint.is_group:
        join(sock, endpoint)
    prepare(sock, endpoint, wildcard)
    bound = replace(endpoint, port=sock.getsockname()[1])
    return Listener(sock, bound, wildcard=wildcard)


def prepare(sock: socket.socket, endpoint: Endpoint, wildcard: bool) -> None:
    """Set what a served socket needs, whoever bound it: it does not block, sends at once, and names its address."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    if endpoint.is_stream:
        # Accepted sockets inherit it, so it costs no system call a connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, DATAGRAM_BUFFER_BYTES)
    if wildcard:
        # The answer must come from the address that was asked, which only these tell (ip(7), RFC 3542 section 6).
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def _listen(sock: socket.socket, endpoint: Endpoint, backlog: int) -> None:
    """Let connections come in, where there are any."""
    if endpoint.is_stream:
        with operation("listen", endpoint):
            sock.listen(backlog)


def open_unix(sock: socket.socket, endpoint: Endpoint, backlog: int = BACKLOG) -> tuple[int, int] | None:
    """Bind to a path, replacing a socket file on which nobody listens, and listen. Returns the file's device and inode.

    Two servers that start at once could each take the other's fresh file for a stale one: see `name_lock.py`. A stream
    socket that is bound and does not listen yet refuses connections as a stale one does.
    """
    path = endpoint.path
    if path.startswith("@"):
        with operation("bind", endpoint):
            sock.bind("\0" + path[1:])
        _listen(sock, endpoint, backlog)
        return None
    with locked_name(Path(path)):
        with operation("bind", endpoint):
            if _is_stale(path, endpoint, sock.type):
                Path(path).unlink()
            sock.bind(path)
            found = Path(path).lstat()
        _listen(sock, endpoint, backlog)
        return found.st_dev, found.st_ino


def _is_stale(path: str, endpoint: Endpoint, kind: int) -> bool:
    """Whether `path` is a socket that nobody listens on. Raises when it is something else or in use."""
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"bind {endpoint}: {path} is a {_kind_of_file(mode)}, not a socket; choose another path")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError as error:
            if error.errno not in (
                errno.EAGAIN,
                errno.EPROTOTYPE,
            ):  # a full backlog; the other type of socket
                raise
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _plain(host: str) -> str:
    """An IPv4-mapped address as IPv4."""
    return host.removeprefix("::ffff:")


def _kind_of_file(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "directory"), (stat.S_ISLNK, "symbolic link"), (stat.S_ISFIFO, "pipe"))
    return next((name for test, name in kinds if test(mode)), "file")
