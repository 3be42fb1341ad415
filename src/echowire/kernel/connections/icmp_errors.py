"""The error queue of a socket: which ICMP error came back for what it sent, and from whom.

Any user may read it (IP_RECVERR in ip(7), IPV6_RECVERR in ipv6(7)). Enable it before connect and disable it once
connected: on an established connection it turns errors that TCP would outlive, such as a router's passing
`host unreachable`, into errors of the next call.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

from echowire.core.failures.facts import IcmpReport

# linux/in.h and linux/in6.h; the socket module has no names for them.
IP_RECVERR = 11
IPV6_RECVERR = 25

# linux/errqueue.h
EXTENDED_ERROR = struct.Struct("=IBBBxII")
"""`struct sock_extended_err`: errno, origin, type, code, padding, info, data; the offender's sockaddr follows."""
ORIGIN_VERSIONS: dict[int, Literal[4, 6]] = {2: 4, 3: 6}
"""SO_EE_ORIGIN_ICMP and SO_EE_ORIGIN_ICMP6."""

TOO_BIG = {(4, 3, 4), (6, 2, 0)}
"""Version, type and code of the two reports that carry an MTU (RFC 1191 section 4, RFC 4443 section 3.2)."""

PORT_UNREACHABLE = {(4, 3, 3), (6, 1, 4)}
"""Version, type and code (RFC 792, RFC 4443 section 3.1)."""

QUEUE_BYTES = 2048
"""Room for the packet that was refused, of which the kernel keeps what the ICMP error quoted, and for the report."""

MOST_ENTRIES = 64
"""Entries of the queue that `take` looks at, local errors and time stamps among them; a socket's buffer
holds a few hundred."""

_QUEUES = {(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)}


def enable(sock: socket.socket) -> None:
    """Have ICMP errors queued for `take`. Does nothing on a socket that is neither IPv4 nor IPv6."""
    _set(sock, 1)


def disable(sock: socket.socket) -> None:
    """Queue no more, and let the kernel treat passing errors as passing."""
    _set(sock, 0)


def _set(sock: socket.socket, value: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, value)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        # An IPv6 socket may refuse it; it matters there only for IPv4-mapped addresses.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, value)


def take(sock: socket.socket) -> IcmpReport | None:
    """The oldest ICMP error in the queue, taken out of it, or None. Never blocks and never raises."""
    timeout = sock.gettimeout()
    with suppress(OSError):
        try:
            if timeout:
                # Python waits out a socket's timeout on EAGAIN whatever the flags say; to the kernel the socket is
                # non-blocking with a timeout as without.
                sock.settimeout(0)
            for _ in range(MOST_ENTRIES):
                _, control, _, _ = sock.recvmsg(QUEUE_BYTES, QUEUE_BYTES, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
                for level, kind, data in control:
                    if (level, kind) in _QUEUES and (report := report_of(data)):
                        return report
        finally:
            if timeout:
                sock.settimeout(timeout)
    return None


def take_refusals(sock: socket.socket, most: int) -> Iterator[tuple[Any, bool]]:
    """Take up to `most` entries out of the queue of a non-blocking datagram socket: to whom was sent what came back as
    an ICMP error, and whether it was `port unreachable`: that host is there, and has nobody for it."""
    for _ in range(most):
        try:
            _, control, _, address = sock.recvmsg(0, QUEUE_BYTES, socket.MSG_ERRQUEUE)
        except OSError:
            return
        reports = [report_of(data) for level, kind, data in control if (level, kind) in _QUEUES]
        for report in filter(None, reports):
            yield address, (report.version, report.type, report.code) in PORT_UNREACHABLE


def report_of(data: bytes) -> IcmpReport | None:
    """The ICMP error in IP_RECVERR's or IPV6_RECVERR's ancillary `data`; None for an error of another origin."""
    if len(data) < EXTENDED_ERROR.size:
        return None
    _, origin, icmp_type, code, info, _ = EXTENDED_ERROR.unpack_from(data)
    version = ORIGIN_VERSIONS.get(origin)
    if version is None:
        return None
    mtu = info if (version, icmp_type, code) in TOO_BIG and info else None
    return IcmpReport(icmp_type, code, _offender(data[EXTENDED_ERROR.size :]), version, mtu)


def _offender(sockaddr: bytes) -> str:
    """The address in a sockaddr_in (ip(7)) or sockaddr_in6 (ipv6(7)); an IPv4-mapped one as IPv4."""
    family = int.from_bytes(sockaddr[:2], sys.byteorder)
    if family == socket.AF_INET and len(sockaddr) >= 8:
        return socket.inet_ntop(socket.AF_INET, sockaddr[4:8])
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return socket.inet_ntop(socket.AF_INET6, sockaddr[8:24]).removeprefix("::ffff:")
    return ""
