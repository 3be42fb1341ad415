"""The options of a connected socket that a measurement sets, and what the kernel made of them.

Asking is not getting: the kernel doubles a buffer's size and cuts it to net.core.[rw]mem_max, and a congestion
control that is not loaded is refused. So what is in effect is read back, and both are reported.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from echowire.errors import UsageError
from echowire.kernel.boundary import operation
from echowire.model import Endpoint

SO_MAX_PACING_RATE = 47  # asm-generic/socket.h
TCP_CONGESTION = 13  # linux/tcp.h
IPV6_TCLASS = 67  # linux/in6.h
CONGESTION_NAME_MAX = 16  # TCP_CA_NAME_MAX, net/tcp.h

DSCP_NAMES = {
    **{f"cs{n}": 8 * n for n in range(8)},  # RFC 2474 section 4.2.2
    **{f"af{c}{d}": 8 * c + 2 * d for c in range(1, 5) for d in range(1, 4)},  # RFC 2597 section 6
    "ef": 46,  # RFC 3246
    "va": 44,  # RFC 5865
    "le": 1,  # RFC 8622
}
"""Differentiated services code points by name (IANA's registry)."""


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """What to set; None leaves the system's own."""

    nodelay: bool | None = True
    """TCP_NODELAY: without it a second small message waits for the first one's acknowledgement (FAILURES row 35)."""
    dscp: int | None = None
    """The code point, 0 to 63, in the upper six bits of the IPv4 TOS or the IPv6 traffic class."""
    congestion: str | None = None
    """TCP's congestion control, such as `cubic`."""
    send_buffer: int | None = None
    """SO_SNDBUF in bytes, before the kernel doubles it."""
    receive_buffer: int | None = None
    """SO_RCVBUF, likewise."""


def parse_dscp(text: str) -> int:
    """The code point of `text`: a name such as `ef` or `af41`, or a number. Raises `UsageError`."""
    with suppress(ValueError):
        number = int(text, 0)
        if 0 <= number < 64:
            return number
    try:
        return DSCP_NAMES[text.lower()]
    except KeyError:
        raise UsageError(f"'{text}' is no DSCP; write 0 to 63, or a name: cs1, af41, ef, le") from None


def apply_options(sock: socket.socket, endpoint: Endpoint, options: SocketOptions) -> None:
    """Set `options` on a socket of `endpoint`'s transport. Raises `OperationError`, or `UsageError` for no such."""
    is_tcp = endpoint.transport in ("tcp", "tls")
    if options.congestion is not None and not is_tcp:
        raise UsageError(f"{endpoint}: only TCP has a congestion control to choose")
    if options.dscp is not None and endpoint.is_unix:
        raise UsageError(f"{endpoint}: a Unix socket's bytes travel in no packets that could be marked")
    if is_tcp and options.nodelay is not None:
        with operation("set TCP_NODELAY on", endpoint):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(options.nodelay))
    if options.congestion is not None:
        with operation(f"set congestion control '{options.congestion}' on", endpoint):
            sock.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, options.congestion.encode())
    if options.dscp is not None:
        level, name = _traffic_class(sock)
        with operation("set DSCP on", endpoint):
            sock.setsockopt(level, name, options.dscp << 2)
    for number, value in ((socket.SO_SNDBUF, options.send_buffer), (socket.SO_RCVBUF, options.receive_buffer)):
        if value is not None:
            with operation("set a buffer's size on", endpoint):
                sock.setsockopt(socket.SOL_SOCKET, number, min(value, 0x7FFFFFFF))


def pace(sock: socket.socket, bytes_per_s: int) -> bool:
    """Have TCP space out what `sock` sends; False where the kernel does not (Linux has it since 3.13, 64 bits 5.0)."""
    asked = struct.pack("@Q", min(bytes_per_s, 1 << 62))  # all bits set is no limit
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, asked)
        return sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, len(asked)) == asked
    except OSError:
        return False


def read_options(sock: socket.socket, endpoint: Endpoint) -> dict[str, int | str | bool | None]:
    """What is in effect, None where the transport has no such thing or the system does not say."""
    is_tcp = endpoint.transport in ("tcp", "tls")

    def number(level: int, name: int) -> int:
        return sock.getsockopt(level, name)

    def congestion() -> str:
        return sock.getsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, CONGESTION_NAME_MAX).rstrip(b"\0").decode()

    def maybe(get: Callable[[], int | str | bool]) -> int | str | bool | None:
        try:
            return get()
        except OSError:
            return None

    return {
        "nodelay": maybe(lambda: bool(number(socket.IPPROTO_TCP, socket.TCP_NODELAY))) if is_tcp else None,
        "dscp": None if endpoint.is_unix else maybe(lambda: number(*_traffic_class(sock)) >> 2),
        "congestion": maybe(congestion) if is_tcp else None,
        "send_buffer_bytes": maybe(lambda: number(socket.SOL_SOCKET, socket.SO_SNDBUF)),
        "receive_buffer_bytes": maybe(lambda: number(socket.SOL_SOCKET, socket.SO_RCVBUF)),
        "mss_bytes": maybe(lambda: number(socket.IPPROTO_TCP, socket.TCP_MAXSEG)) if is_tcp else None,
    }


def _traffic_class(sock: socket.socket) -> tuple[int, int]:
    if sock.family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, IPV6_TCLASS
    return socket.IPPROTO_IP, socket.IP_TOS
