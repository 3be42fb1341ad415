"""The sockets as psutil sees them, put in the form of sock_diag: for systems without Linux's interfaces.

It knows addresses, states and processes, and nothing of queues, timers, memory and what TCP counts.
"""

from __future__ import annotations

import errno
from struct import pack

from echowire.core.sockets.netlink import HEADER, HEADER_BYTES
from echowire.core.sockets.sock_diag import AF_INET, AF_INET6, SOCK_DIAG_BY_FAMILY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("tcp", "udp")
"""What it is asked for; its Unix sockets have no names on most systems."""

UNKNOWN = frozenset(
    {"accept_queue", "accept_limit", "unread", "unacked", "timer", "timer_ms", "timer_tries", "uid", "user"}
    | {"inode", "cookie", "interface"}
)
"""Columns that sock_diag has in each message, and psutil does not know."""

LACKS = "this system has no sock_diag: no queues, timers, memory or TCP_INFO, as psutil does not know them"

_STATES = {
    "ESTABLISHED": 1,
    "SYN_SENT": 2,
    "SYN_RECV": 3,
    "FIN_WAIT1": 4,
    "FIN_WAIT2": 5,
    "TIME_WAIT": 6,
    "CLOSE": 7,
    "CLOSE_WAIT": 8,
    "LAST_ACK": 9,
    "LISTEN": 10,
    "CLOSING": 11,
    "NONE": 7,
}


def psutil_messages(kind: str) -> Iterator[tuple[bytes, int | None, int]]:
    """Each TCP or UDP socket as a message; its process, if psutil may see it, and descriptor.

    The message's inode is its number here, from 1, for the processes to be found by. Raises `OSError`, EACCES where
    the system shows no connections to this user, ENOSYS where psutil is not installed.
    """
    try:
        import psutil
    except ImportError:
        raise OSError(errno.ENOSYS, "psutil is not installed") from None
    try:
        connections = psutil.net_connections(kind=kind)
    except psutil.AccessDenied:
        raise OSError(errno.EACCES, "the system shows no connections to this user") from None
    for number, one in enumerate(connections, 1):
        (host, port), (peer, other) = one.laddr or ("", 0), one.raddr or ("", 0)
        family = AF_INET6 if ":" in host else AF_INET
        state = _STATES.get(one.status, 0)
        if kind == "udp" and other:
            state = 1
        body = pack("=BBBB", family, state, 0, 0)
        body += pack(">HH16s16s", port, other, _packed(host), _packed(peer)) + bytes(28) + pack("=I", number)
        message = pack(HEADER, HEADER_BYTES + len(body), SOCK_DIAG_BY_FAMILY, 0, 0, 0) + body
        yield message, one.pid, one.fd


def _packed(host: str) -> bytes:
    import ipaddress

    return ipaddress.ip_address(host.partition("%")[0]).packed.ljust(16, b"\0") if host else bytes(16)
