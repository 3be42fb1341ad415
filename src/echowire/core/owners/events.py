"""What the kernel's tracepoints say of sockets and processes, as `kernel/tables/socket_owners.py` has it put.

    time 8 | socket 8 | process and thread 8 | name 16 | kind 4 | namespace 4 |
    protocol 2, unused 2 | user 4 | control group 8 | sock_common 88

The last is the beginning of the kernel's `struct sock_common` (net/sock.h), which has the addresses.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

RECORD = struct.Struct("<QQQ16sIIH2xIQ88s")
COMMON_BYTES = 88
NET_AT, V6_PEER_AT, V6_LOCAL_AT = 48, 56, 72
"""Offsets within sock_common where they depend on the kernel's version; checked against its type information."""

PEER_PORT_AT, LOCAL_PORT_AT = 12, 14

CONNECTING, ESTABLISHED, FIN_WAIT_1, LAST_ACK, CLOSED, ACCEPTED, INPUT_OUTPUT = 2, 1, 4, 9, 7, 64, 65
"""Kinds: the first five are the TCP states that were reached (net/tcp_states.h). `ESTABLISHED` is of who connected,
`CLOSED` of who could not, and its local port is in network order; `ACCEPTED` is that a connection came in, of which
nobody knows yet whose it will be."""

AF_INET, AF_INET6 = 2, 10
V4_MAPPED = bytes(10) + b"\xff\xff"
ANY_ADDRESS = bytes(16)


@dataclass(frozen=True, slots=True)
class OwnerEvent:
    """A process did something with a socket, or a socket changed its state (then the process may be anybody)."""

    time_ns: int
    """Monotonic."""
    socket: int
    """The socket's address in the kernel, its name while it lives."""
    pid: int
    thread: int
    name: str
    """The thread's."""
    kind: int
    namespace: int
    """Number of its network namespace."""
    protocol: int
    local: bytes
    """16 bytes, IPv4 as mapped into IPv6; `ANY_ADDRESS` for none of both."""
    local_port: int
    peer: bytes
    peer_port: int
    user: int
    group: int
    """Number of the process's control group (version 2)."""


def parse_event(raw: bytes) -> OwnerEvent | None:
    """The event; None for a socket of another family than IPv4 and IPv6, or of bytes that are none."""
    if len(raw) < RECORD.size:
        return None
    time_ns, socket, both, name, kind, namespace, protocol, user, group, common = RECORD.unpack_from(raw)
    (family,) = struct.unpack_from("<H", common, 16)
    (peer_port,) = struct.unpack_from(">H", common, PEER_PORT_AT)
    (local_port,) = struct.unpack_from(">H" if kind == CLOSED else "<H", common, LOCAL_PORT_AT)
    if family == AF_INET:
        peer, local = mapped(common[0:4]), mapped(common[4:8])
    elif family == AF_INET6:
        peer, local = common[V6_PEER_AT : V6_PEER_AT + 16], common[V6_LOCAL_AT : V6_LOCAL_AT + 16]
    else:
        return None
    text = name.partition(b"\0")[0].decode("utf-8", "replace")
    return OwnerEvent(
        time_ns, socket, both >> 32, both & 0xFFFF_FFFF, text, kind, namespace, protocol,
        normal(local), local_port, normal(peer), peer_port, user, group,
    )  # fmt: skip


def mapped(address: bytes) -> bytes:
    """An IPv4 address as 16 bytes."""
    return V4_MAPPED + address


def normal(address: bytes) -> bytes:
    """The same for "any address" of both families."""
    return ANY_ADDRESS if address == V4_MAPPED + bytes(4) else address
