"""The sockets that probes leave by: ICMP as datagrams or raw, UDP, TCP.

ICMP echo needs a right. A datagram socket of ICMP (icmp(7), `net.ipv4.ping_group_range`) may be opened by the
groups that the administrator named, often all and often none, not even root's; the kernel then gives each socket an
identifier of its own and hands it only its own replies. A raw socket needs CAP_NET_RAW and hears every ICMP message
of the host. The first that can be had is taken.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from echowire.core.probing.icmp import ECHO_REPLY, ERRORS, PROTOCOL
from echowire.core.probing.options import Fragments
from echowire.errors import UsageError
from echowire.kernel.boundary import operation, operation_error
from echowire.kernel.connections import icmp_errors
from echowire.model import Family

# linux/in.h and linux/in6.h; the socket module has names for some of them only.
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23
IP_MTU, IPV6_MTU = 14, 24
IP_RECVTTL = 12
IPV6_DONTFRAG = 62
IPV6_TCLASS = 67
SOL_RAW, ICMP_FILTER = 255, 1  # linux/icmp.h
ICMP6_FILTER = 1  # linux/icmpv6.h

_DISCOVER: dict[Fragments, int] = {"dont": 0, "want": 1, "do": 2, "probe": 3}

RECEIVE_BUFFER_BYTES = 1024 * 1024
"""Asked for; the kernel's net.core.rmem_max cuts it. A sweep's replies wait here while probes are sent."""

_INT = struct.Struct("=i")
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """How probes leave. None leaves the system's own."""

    source: str = ""
    """An address of this host."""
    interface: str = ""
    ttl: int | None = None
    fragments: Fragments | None = None
    tos: int | None = None
    dont_route: bool = False
    mark: int | None = None


@dataclass(slots=True)
class IcmpSocket:
    """A non-blocking socket of ICMP echo. `identifier` is the kernel's for a datagram socket, ours for a raw one."""

    sock: socket.socket
    family: Family
    is_raw: bool
    identifier: int


def open_icmp(family: Family, options: ProbeOptions, identifier: int) -> IcmpSocket:
    """A socket for echo requests, a datagram one if it may be had, else a raw one.

    Raises `OperationError` for the one that this process came nearest to, which says what it would take.
    """
    af = _address_family(family)
    protocol = PROTOCOL[family]
    try:
        sock = socket.socket(af, socket.SOCK_DGRAM, protocol)
    except OSError as refused:
        try:
            sock = socket.socket(af, socket.SOCK_RAW, protocol)
        except OSError as error:
            # The datagram socket's refusal names the sysctl that would let everyone in, and the capability besides.
            first = refused if refused.errno == errno.EACCES else error
            raise operation_error("socket", "ICMPv6" if family == 6 else "ICMP", first) from first
        return _ready(sock, family, options, lambda: _raw(sock, family, identifier))
    return _ready(sock, family, options, lambda: _datagram(sock, family))


def open_udp(family: Family, options: ProbeOptions) -> socket.socket:
    """A non-blocking UDP socket, bound, that hears of ICMP errors."""
    sock = socket.socket(_address_family(family), socket.SOCK_DGRAM)

    def bound() -> socket.socket:
        icmp_errors.enable(sock)
        if not options.source:
            sock.bind(("", 0))
        receive_hops(sock)
        return sock

    return _ready(sock, family, options, bound)


def open_tcp(family: Family, options: ProbeOptions) -> socket.socket:
    """A non-blocking TCP socket that hears of ICMP errors."""
    sock = socket.socket(_address_family(family), socket.SOCK_STREAM)

    def heard() -> socket.socket:
        icmp_errors.enable(sock)
        return sock

    return _ready(sock, family, options, heard)


def open_raw_tcp(family: Family, options: ProbeOptions) -> socket.socket:
    """A raw socket of TCP, for SYNs whose ports are the caller's. Raises `OperationError`."""
    with operation("socket", "raw TCP"):
        sock = socket.socket(_address_family(family), socket.SOCK_RAW, socket.IPPROTO_TCP)
    return _ready(sock, family, options, lambda: sock)


def open_raw_icmp(family: Family) -> socket.socket:
    """A raw socket that hears ICMP errors alone, with what they quote. Raises `OperationError`."""
    with operation("socket", "raw ICMP"):
        sock = socket.socket(_address_family(family), socket.SOCK_RAW, PROTOCOL[family])
    sock.setblocking(False)
    _let_in(sock, family, ERRORS[family])
    return sock


def hops_control(family: Family, hops: int) -> list[tuple[int, int, bytes]]:
    """The ancillary data that gives one packet its own time to live (ip(7) IP_TTL, RFC 3542 section 6.3)."""
    if family == 6:
        return [(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, _INT.pack(hops))]
    return [(socket.IPPROTO_IP, socket.IP_TTL, _INT.pack(hops))]


def received_hops(control: list[tuple[int, int, bytes]]) -> int | None:
    """The time to live of a packet, from what came with it."""
    for level, kind, data in control:
        if (level, kind) in _HOPS and data:
            # IPv4's is an int too (ip_cmsg_recv_ttl), whatever older manuals say.
            return int(_INT.unpack_from(data)[0]) if len(data) >= _INT.size else data[0]
    return None


_HOPS = {(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}


def known_path_mtu(family: Family, address: tuple[object, ...]) -> int | None:
    """Bytes that a packet to `address` may have, as far as this host knows; None where it does not."""
    with suppress(OSError), socket.socket(_address_family(family), socket.SOCK_DGRAM) as sock:
        sock.connect((address[0], 9, *address[2:]))
        level, option = (socket.IPPROTO_IPV6, IPV6_MTU) if family == 6 else (socket.IPPROTO_IP, IP_MTU)
        return sock.getsockopt(level, option)
    return None


def source_of(family: Family, address: tuple[object, ...], options: ProbeOptions) -> str:
    """The address of this host that a packet to `address` leaves with. Raises `OperationError`."""
    with operation("connect", address[0]), socket.socket(_address_family(family), socket.SOCK_DGRAM) as sock:
        _configure(sock, family, options)
        sock.connect((address[0], 9, *address[2:]))
        return str(sock.getsockname()[0])


def _ready(sock: socket.socket, family: Family, options: ProbeOptions, finish: Callable[[], _Made]) -> _Made:
    try:
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        _configure(sock, family, options)
        with operation("open", "a probe's socket"):
            return finish()
    except BaseException:
        sock.close()
        raise


def _configure(sock: socket.socket, family: Family, options: ProbeOptions) -> None:
    level = socket.IPPROTO_IPV6 if family == 6 else socket.IPPROTO_IP
    if options.interface:
        with operation("bind to interface", options.interface):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options.interface.encode() + b"\0")
    if options.source and (":" in options.source) == (family == 6):
        with operation("bind", options.source):
            sock.bind((options.source, 0))
    elif options.source:
        raise UsageError(f"source {options.source} is of the other IP version than the target")
    if options.ttl is not None:
        sock.setsockopt(level, socket.IPV6_UNICAST_HOPS if family == 6 else socket.IP_TTL, options.ttl)
    if options.tos is not None:
        sock.setsockopt(level, IPV6_TCLASS if family == 6 else socket.IP_TOS, options.tos)
    if options.dont_route:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
    if options.mark is not None:
        with operation("mark with", options.mark):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, options.mark)
    if options.fragments is not None:
        sock.setsockopt(level, IPV6_MTU_DISCOVER if family == 6 else IP_MTU_DISCOVER, _DISCOVER[options.fragments])
        if family == 6 and options.fragments in ("do", "probe"):
            sock.setsockopt(level, IPV6_DONTFRAG, 1)


def _datagram(sock: socket.socket, family: Family) -> IcmpSocket:
    icmp_errors.enable(sock)
    receive_hops(sock)
    name = sock.getsockname()
    if not name[1]:
        sock.bind(("", 0))
    return IcmpSocket(sock, family, False, sock.getsockname()[1])


def _raw(sock: socket.socket, family: Family, identifier: int) -> IcmpSocket:
    _let_in(sock, family, {ECHO_REPLY[family], *ERRORS[family]})
    if family == 6:
        receive_hops(sock)
    return IcmpSocket(sock, family, True, identifier)


def _let_in(sock: socket.socket, family: Family, types: frozenset[int] | set[int]) -> None:
    """Have the kernel keep back all types of messages but these; a set bit keeps back (linux/icmp.h, icmpv6.h)."""
    if family == 6:
        mask = (1 << 256) - 1
        for kind in types:
            mask &= ~(1 << kind)
        words = [(mask >> (32 * at)) & 0xFFFFFFFF for at in range(8)]
        sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *words))
    else:
        mask = 0xFFFFFFFF
        for kind in types:
            mask &= ~(1 << kind)
        sock.setsockopt(SOL_RAW, ICMP_FILTER, mask.to_bytes(4, sys.byteorder))


def receive_hops(sock: socket.socket) -> None:
    """Have the time to live of each packet come with it."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)


def _address_family(family: Family) -> socket.AddressFamily:
    return socket.AF_INET6 if family == 6 else socket.AF_INET
