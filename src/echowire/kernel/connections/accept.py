"""What accept(2) can answer besides a connection, and who the connected peer is."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from echowire.model import host_and_port

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""No descriptor or memory is free: the connection stays in the kernel's queue, and accepting must pause. To try
again at once would burn a processor without serving anyone."""

GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTDOWN, errno.ENETUNREACH})
"""This one connection is lost, by its peer, a firewall or the network; the next may be fine (accept(2), Notes)."""

RETRY_S = 0.25
"""How soon accepting is tried again after `NO_ROOM`, besides whenever a connection of ours closes: a descriptor may
become free elsewhere in the process or the host."""


def address_text(address: Any) -> str:
    """`127.0.0.1:80`, `[::1]:80`, a Unix path, `@name`, or `` for a socket without a name."""
    if isinstance(address, tuple):
        host, port = address[0].removeprefix("::ffff:"), address[1]
        return host_and_port(host, port)
    if isinstance(address, bytes):
        text = address.decode("utf-8", "replace")
        return "@" + text[1:] if text[:1] == "\0" else text
    return address or ""


def peer_text(sock: socket.socket, address: Any) -> str:
    """Who is at the other end: an address, or for a Unix socket its process (SO_PEERCRED, unix(7))."""
    if sock.family != socket.AF_UNIX:
        return address_text(address)
    try:
        pid, uid, _gid = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except (OSError, AttributeError):
        return address_text(address) or "unix"
    return f"pid {pid} uid {uid}"


def keep_urgent_bytes(sock: socket.socket) -> None:
    """Have bytes that were sent as urgent (RFC 9293 section 3.8.5; MSG_OOB) read in order with all others, where one
    read would else leave them out. What a listening TCP socket accepts inherits it; Unix sockets do not.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    except OSError:
        pass  # a family without urgent bytes, or a connection that is gone


def pause_notice(why: str) -> str:
    """What the operator is told when `NO_ROOM` stops the accepting."""
    return (
        f"accepting pauses: {why[:1].lower()}{why[1:]}. Who is connected is served on; newcomers wait until there is "
        "room. Raise the limit of open files (ulimit -n), or lower --max-connections."
    )
