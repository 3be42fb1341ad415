"""Receiving a datagram and answering it from the address it was sent to.

A socket bound to every interface answers, unless told, from the address that the route back happens to use, and
a client on a host of several addresses then ignores the answer. The address asked comes with each datagram as
IP_PKTINFO or IPV6_PKTINFO ancillary data (ip(7), RFC 3542 section 6.2), and goes back the same way.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, TypeAlias

from echowire.kernel.listen import IP_PKTINFO, Listener

DATAGRAM_MAX = 65_536
"""Room for the largest UDP payload, 65,507 bytes over IPv4 and 65,527 over IPv6."""

UNIX_DATAGRAM_MAX = 1024 * 1024
"""Room for a Unix datagram: the sender's buffer bounds it, 208 KiB unless the administrator raised wmem_max."""

Ancillary: TypeAlias = list[tuple[int, int, bytes]]

_IN_PKTINFO = struct.Struct("=I4s4s")  # ipi_ifindex, ipi_spec_dst, ipi_addr (linux/in.h)
_IN6_PKTINFO = struct.Struct("=16sI")  # ipi6_addr, ipi6_ifindex (linux/ipv6.h)
_ANCILLARY_SPACE = socket.CMSG_SPACE(_IN6_PKTINFO.size) + socket.CMSG_SPACE(_IN_PKTINFO.size)


class DatagramSocket:
    """A bound, non-blocking datagram socket, and its one receive buffer."""

    def __init__(self, listener: Listener) -> None:
        self.socket = listener.socket
        self.names_address = listener.wildcard
        self.is_unix = listener.endpoint.is_unix
        self.buffer = bytearray(UNIX_DATAGRAM_MAX if self.is_unix else DATAGRAM_MAX)
        self.view = memoryview(self.buffer)

    def receive(self) -> tuple[int, Any, Ancillary]:
        """One datagram into `buffer`: its length, the sender's address, and what `send` needs to answer it.

        Raises `BlockingIOError` where none waits. The sender of a Unix datagram without a name is `None`.
        """
        if not self.names_address:
            size, address = self.socket.recvfrom_into(self.buffer)
            return size, address or None, []
        size, ancillary, _flags, address = self.socket.recvmsg_into([self.buffer], _ANCILLARY_SPACE)
        return size, address or None, answer_from(ancillary)

    def send(self, data: bytes | memoryview, address: Any, ancillary: Ancillary) -> bool:
        """Send one datagram. False if it cannot be sent to this peer at all; raises `BlockingIOError` if not now."""
        try:
            if ancillary:
                self.socket.sendmsg([data], ancillary, 0, address)
            else:
                self.socket.sendto(data, address)
        except BlockingIOError:
            raise
        except OSError as error:
            if ancillary and error.errno in (errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH):
                # It was sent to a broadcast address, or the address has gone since: the kernel's choice is better
                # than silence.
                return self.send(data, address, [])
            if error.errno == errno.ENOBUFS:
                raise BlockingIOError from error
            return False
        return True


def answer_from(received: list[tuple[int, int, bytes]]) -> Ancillary:
    """The ancillary data that makes an answer leave from the address its question was sent to; [] if not told."""
    for level, kind, data in received:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= _IN_PKTINFO.size:
            _interface, local, _destination = _IN_PKTINFO.unpack_from(data)
            # Interface 0: the answer is routed as any packet, also where routes are not symmetric.
            return [(level, kind, _IN_PKTINFO.pack(0, local, b"\0\0\0\0"))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(data) >= _IN6_PKTINFO.size:
            local, interface = _IN6_PKTINFO.unpack_from(data)
            if local[0] == 0xFF:  # multicast is no source address
                return []
            is_link_local = local[0] == 0xFE and local[1] & 0xC0 == 0x80
            return [(level, kind, _IN6_PKTINFO.pack(local, interface if is_link_local else 0))]
    return []
