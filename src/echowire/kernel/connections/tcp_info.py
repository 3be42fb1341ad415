"""TCP_INFO of a socket of this process, and which layout of it this kernel has; `core/sockets/tcp_info.py` decodes."""

from __future__ import annotations

import os

from echowire.core.sockets.tcp_info import BITS_SINCE, decode_tcp_info

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

IPPROTO_TCP = 6
TCP_INFO = 11  # linux/tcp.h; the optname

TCP_INFO_MAX_BYTES = 1024
"""Room for a structure more than three times today's 280 bytes: a newer kernel's surplus is read and not decoded."""


def kernel_release(text: str | None = None) -> tuple[int, int]:
    """Major and minor of `text`, such as `6.18.44-cloud`; of this kernel if none is given."""
    major, _, rest = (os.uname().release if text is None else text).partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (int(major), int(minor)) if major.isdigit() and minor else BITS_SINCE


def read_tcp_info(sock: socket.socket) -> dict[str, int] | None:
    """TCP_INFO of `sock`; None where the socket is not TCP's or is gone."""
    try:
        data = sock.getsockopt(IPPROTO_TCP, TCP_INFO, TCP_INFO_MAX_BYTES)
    except OSError:
        return None
    return decode_tcp_info(data, release=kernel_release())
