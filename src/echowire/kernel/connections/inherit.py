"""Listening sockets that someone else opened: systemd's socket activation, and our own workers' parents.

The protocol is sd_listen_fds(3): descriptors from 3 on, their number in LISTEN_FDS, and LISTEN_PID naming who they
are for.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping

from echowire.errors import UsageError
from echowire.kernel.connections.listen import Listener, prepare
from echowire.model import Endpoint, Transport

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""

UNIX_TRANSPORTS: Mapping[int, Transport] = {
    socket.SOCK_STREAM: "unix",
    socket.SOCK_DGRAM: "unixgram",
    socket.SOCK_SEQPACKET: "unixseqpacket",
}


def inherited_descriptors(variables: Mapping[str, str], pid: int) -> list[int]:
    """The descriptors that `variables` hand to process `pid`; [] where there are none or they are another's."""
    try:
        count, target = int(variables.get("LISTEN_FDS", "0")), int(variables.get("LISTEN_PID", "0"))
    except ValueError:
        return []
    return list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count)) if target == pid and count > 0 else []


def adopt(descriptor: int, tls: ssl.SSLContext | None = None) -> Listener:
    """The listener on `descriptor`, which we own from now on. Raises `UsageError` if no server can use it."""
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise UsageError(
            f"descriptor {descriptor} is no socket ({error.strerror}); LISTEN_FDS must count sockets"
        ) from error
    is_stream = sock.type in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
    if is_stream and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise UsageError(f"descriptor {descriptor} is a connection, not a listening socket; use Accept=no")
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = "@" + name[1:].decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)
        endpoint = Endpoint(UNIX_TRANSPORTS[sock.type], path=path)
        wildcard = False
    elif sock.family in (socket.AF_INET, socket.AF_INET6):
        kind: Transport = ("tls" if tls else "tcp") if is_stream else "udp"
        wildcard = name[0] in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
        endpoint = Endpoint(kind, "" if wildcard else name[0], name[1])
    else:
        sock.detach()
        raise UsageError(f"descriptor {descriptor} is neither an Internet nor a Unix socket")
    prepare(sock, endpoint, wildcard)
    return Listener(sock, endpoint, tls=tls if endpoint.transport == "tls" else None, wildcard=wildcard, inherited=True)
