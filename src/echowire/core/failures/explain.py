"""What a failed socket call means on this host, and what to do: a table of rules, and a loop that asks each in turn.

Pure: the error, the endpoint and what the host's tables said go in, two sentences come out. Each row names the
symptoms that it implements by their numbers, under which `tests/test_failures.py` provokes them. A rule says only what
its evidence shows; where that leaves two causes it names both, and where it shows nothing the rule is silent and the
error number stands alone.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from echowire.core.failures.causes import bind, connect, exchange, groups, icmp, names, unix
from echowire.core.failures.causes.case import Case, Explanation, Rule
from echowire.core.failures.facts import HostFacts
from echowire.errors import NameResolutionError, OperationError
from echowire.model import Endpoint

SELF_CONNECTED: Explanation = (
    "The socket is connected to itself: nothing listens, and the kernel chose the called port as the local one.",
    "Start the server, or keep its port free of clients with net.ipv4.ip_local_reserved_ports.",
)
"""Row 4, which has no error number; see `is_self_connected`."""

TRUNCATED: Explanation = (
    "The datagram was longer than the buffer, and the kernel threw the rest of it away.",
    "Receive into a larger buffer; 65,535 bytes hold any.",
)
"""Row 39, which has no error number; see `is_truncated`."""

MSG_TRUNC = 0x20  # linux/socket.h


def is_self_connected(local: Sequence[Any], remote: Sequence[Any]) -> bool:
    """Whether a TCP socket is connected to itself (row 4): `getsockname` and `getpeername` are one address."""
    return isinstance(local, tuple) and isinstance(remote, tuple) and local[:2] == remote[:2]


def is_truncated(flags: int) -> bool:
    """Whether the flags that `recvmsg` gave say that a datagram lost its end (row 39; recvmsg(2), MSG_TRUNC)."""
    return bool(flags & MSG_TRUNC)


def explain(error: OperationError | NameResolutionError, target: Endpoint | None, facts: HostFacts) -> Explanation:
    """Meaning and remedy of `error`, empty where the error number says all that is known.

    `target` is the endpoint that the call was about, with its numeric address where that is known.
    """
    if isinstance(error, NameResolutionError):
        case = Case("resolve", error.number or 0, target, facts, error.host)
        table = NAME_ROWS
    else:
        # A Python time-out carries no number: it is this program's timer, not the kernel's.
        ours = isinstance(error.__cause__, TimeoutError) and error.__cause__.errno is None
        case = Case(error.operation, error.number, target, facts, error.endpoint, ours)
        table = ROWS
    for row in table:
        if case.number in row.numbers and (row.operations is None or case.operation in row.operations):
            said = row.rule(case)
            if said:
                return said
    return "", ""


@dataclass(frozen=True, slots=True)
class Row:
    """A rule, the error numbers and operations it is asked about, and the numbers of the symptoms it implements."""

    failures: tuple[int, ...]
    numbers: frozenset[int]
    operations: frozenset[str] | None
    rule: Rule


def _row(failures: Sequence[int], numbers: Sequence[int], operations: str | None, rule: Rule) -> Row:
    return Row(tuple(failures), frozenset(numbers), frozenset(operations.split()) if operations else None, rule)


_BIND = "bind listen"
_EXCHANGE = "send sendto sendmsg sendall write recv recvfrom recvmsg receive read echo"
_SENDING = f"connect {_EXCHANGE}"
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ECONNREFUSED, errno.EACCES)

ROWS: tuple[Row, ...] = (
    # What is certain goes before what is likely: this host's own routes, then what the network said, then the rest.
    _row((), (errno.ENODEV, errno.ENETUNREACH), None, groups.no_interface),
    _row((), (errno.ENOBUFS,), None, groups.too_many_memberships),
    _row((14,), (errno.ENETUNREACH, errno.EHOSTUNREACH), None, connect.no_route),
    _row((13,), (errno.EHOSTUNREACH,), None, connect.neighbour_silent),
    _row((11, 12, 14, 41), (*_UNREACHABLE, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.ETIMEDOUT), None, icmp.answered),
    _row((6,), (errno.EADDRINUSE,), _BIND, bind.no_port_is_free),
    _row((1,), (errno.EADDRINUSE,), _BIND, bind.listener_has_it),
    _row((48,), (errno.EADDRINUSE,), _BIND, unix.path_taken),
    _row((3,), (errno.EADDRINUSE,), _BIND, bind.client_has_it),
    _row((2,), (errno.EADDRINUSE,), _BIND, bind.time_wait_has_it),
    _row((3,), (errno.EADDRINUSE,), _BIND, bind.bound_has_it),
    _row((3,), (errno.EADDRINUSE,), _BIND, bind.unlisted_has_it),
    _row((5,), (errno.EADDRNOTAVAIL,), None, bind.ipv6_off),
    _row((5,), (errno.EADDRNOTAVAIL,), "bind", bind.not_local),
    _row((6,), (errno.EADDRNOTAVAIL,), "connect", connect.ports_used_up),
    _row((7, 8, 9, 41), (errno.ECONNREFUSED,), None, connect.refused_here),
    _row((48,), (errno.ECONNREFUSED,), None, unix.refused),
    _row((7, 41), (errno.ECONNREFUSED,), None, connect.refused_there),
    _row((10, 23), (errno.ETIMEDOUT,), "connect", connect.nothing_came),
    _row((15,), (errno.EACCES, errno.EINVAL), _SENDING, connect.forbidding_route),
    _row((), (errno.EINVAL,), None, connect.lacks_zone),
    _row((46,), (errno.EACCES,), "bind", bind.low_port),
    _row((48,), (errno.EACCES,), "bind", unix.may_not_bind),
    _row((48,), (errno.EACCES,), None, unix.may_not_connect),
    _row((), (errno.EACCES,), _SENDING, connect.broadcast),
    _row((46,), (errno.EACCES,), "socket", bind.ping_group),
    _row((46,), (errno.EPERM,), "socket", bind.needs_net_raw),
    _row((46,), (errno.EPERM,), "setsockopt", bind.needs_net_admin),
    _row((16, 19), (errno.EPERM,), _EXCHANGE, exchange.output_dropped),
    _row((25,), (errno.EMFILE,), None, bind.own_files),
    _row((25,), (errno.ENFILE,), None, bind.system_files),
    _row((27, 28), (errno.ECONNRESET,), None, exchange.reset),
    _row((29,), (errno.EPIPE,), None, exchange.broken_pipe),
    _row((31,), (errno.ETIMEDOUT,), _EXCHANGE, exchange.gone_silent),
    _row((37,), (errno.EMSGSIZE,), None, exchange.too_large),
    _row((), (errno.ENOENT, errno.EPERM), None, exchange.no_congestion_control),
    _row((48,), (errno.ENOENT,), None, unix.no_directory),
    _row((48,), (errno.ENOENT,), None, unix.missing),
    _row((48,), (errno.EAGAIN,), "connect", unix.backlog_full),
    _row((48,), (errno.EPROTOTYPE,), None, unix.other_type),
    # Python itself refuses a long path, with a message and no number, which the boundary makes EIO.
    _row((48,), (errno.EIO, errno.EINVAL, errno.ENAMETOOLONG), None, unix.path_too_long),
)

NAME_ROWS: tuple[Row, ...] = (
    _row((21,), (names.EAI_AGAIN,), None, names.resolver_silent),
    _row((21,), (names.EAI_NONAME,), None, names.no_such_name),
    _row((21,), (names.EAI_NODATA, names.EAI_ADDRFAMILY), None, names.no_such_family),
)
