"""Receiving datagrams and answering them from the address they were sent to, many in one system call.

A socket bound to every interface answers, unless told, from the address that the route back happens to use, and
a client on a host of several addresses then ignores the answer. The address asked comes with each datagram as
IP_PKTINFO or IPV6_PKTINFO ancillary data (ip(7), RFC 3542 section 6.2), and goes back the same way.

With UDP_GRO (udp(7), Linux 5.0) the kernel hands over a burst from one peer as one buffer and the size of its
datagrams, all equal but the last; with UDP_SEGMENT it takes such a buffer and sends it as datagrams of that size.
A burst of 64 then costs the two system calls that one datagram costs.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from typing import Any, NamedTuple, TypeAlias

from echowire.kernel.connections import timestamps
from echowire.kernel.connections.listen import IP_PKTINFO, Listener
from echowire.kernel.connections.probes import receive_hops, received_hops

DATAGRAM_MAX = 65_536
"""Room for the largest UDP payload, 65,507 bytes over IPv4 and 65,527 over IPv6, and for the largest burst."""

UNIX_DATAGRAM_MAX = 1024 * 1024
"""Room for a Unix datagram: the sender's buffer bounds it, 208 KiB unless the administrator raised wmem_max."""

SOL_UDP = 17
UDP_SEGMENT = 103  # linux/udp.h
UDP_GRO = 104

Ancillary: TypeAlias = list[tuple[int, int, bytes]]

_IN_PKTINFO = struct.Struct("=I4s4s")  # ipi_ifindex, ipi_spec_dst, ipi_addr (linux/in.h)
_IN6_PKTINFO = struct.Struct("=16sI")  # ipi6_addr, ipi6_ifindex (linux/ipv6.h)
_INT = struct.Struct("=i")
_U16 = struct.Struct("=H")
_ANCILLARY_SPACE = (
    socket.CMSG_SPACE(_IN6_PKTINFO.size) + socket.CMSG_SPACE(_IN_PKTINFO.size) + socket.CMSG_SPACE(_INT.size)
)


class Arrival(NamedTuple):
    """What one receive brought: `size` bytes in the buffer, of so many `datagrams` of `segment` bytes each.

    The last one may be shorter. `address` is the sender's, None for a Unix socket without a name; `ancillary` is what
    `DatagramSocket.send` needs to answer from the address that was asked.
    """

    size: int
    address: Any
    ancillary: Ancillary
    segment: int
    datagrams: int


class DatagramSocket:
    """A bound, non-blocking datagram socket, and its one receive buffer.

    With `in_bursts`, and where the kernel can, an arrival may be of several datagrams. With `stamped`, `received_ns`
    and `hops` say when the last one came, by the kernel's clock if it stamps, and with which time to live.
    """

    def __init__(self, listener: Listener, *, in_bursts: bool, stamped: bool = False) -> None:
        self.socket = listener.socket
        is_unix = listener.endpoint.is_unix
        self.buffer = bytearray(UNIX_DATAGRAM_MAX if is_unix else DATAGRAM_MAX)
        self.view = memoryview(self.buffer)
        self.in_bursts = in_bursts and not is_unix and _set(self.socket, UDP_GRO)
        self._buffers = [self.buffer]
        self._space = timestamps.RECEIVE_SPACE if stamped else _ANCILLARY_SPACE
        self._is_stamped = stamped and not is_unix
        self._is_told = listener.wildcard or self.in_bursts or self._is_stamped
        self.received_ns = 0
        self.hops = 0
        if self._is_stamped:
            timestamps.enable_receive(self.socket)
            receive_hops(self.socket)
            timestamps.wait_ready()

    def receive(self) -> Arrival:
        """Receive into `buffer`. Raises `BlockingIOError` where nothing waits."""
        if not self._is_told:
            size, address = self.socket.recvfrom_into(self.buffer)
            return Arrival(size, address or None, [], size, 1)
        size, ancillary, _flags, address = self.socket.recvmsg_into(self._buffers, self._space)
        if self._is_stamped:
            self.received_ns = timestamps.received_ns(ancillary) or time.time_ns()
            self.hops = received_hops(ancillary) or 0
        if not ancillary:
            return Arrival(size, address, [], size, 1)
        segment = burst_size(ancillary) or size
        return Arrival(size, address, answer_from(ancillary), segment, -(-size // segment) if size else 1)

    def send(self, data: bytes | memoryview, address: Any, ancillary: Ancillary, segment: int) -> int:
        """Send `data` as datagrams of `segment` bytes; how many went.

        Fewer than all, down to none, if this peer cannot be sent to; raises `BlockingIOError` if none can be now.
        """
        if len(data) <= segment:
            return self._send_one(data, address, ancillary)
        told = [*ancillary, (SOL_UDP, UDP_SEGMENT, _U16.pack(segment))]
        try:
            self.socket.sendmsg([data], told, 0, address)
        except BlockingIOError:
            raise
        except OSError:
            # A device that cannot, or datagrams larger than the path takes at once: one by one, then.
            return self._send_each(data, address, ancillary, segment)
        return -(-len(data) // segment)

    def _send_each(self, data: bytes | memoryview, address: Any, ancillary: Ancillary, segment: int) -> int:
        sent = 0
        for start in range(0, len(data), segment):
            try:
                sent += self._send_one(data[start : start + segment], address, ancillary)
            except BlockingIOError:
                if not sent:
                    raise
                break  # what has gone must not go twice; the rest is lost, as datagrams may be
        return sent

    def _send_one(self, data: bytes | memoryview, address: Any, ancillary: Ancillary) -> int:
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
                return self._send_one(data, address, [])
            if error.errno == errno.ENOBUFS:
                raise BlockingIOError from error
            return 0
        return 1


def burst_size(received: Ancillary) -> int:
    """The size of each datagram of a burst (UDP_GRO's int), 0 where there is only one."""
    for level, kind, data in received:
        if level == SOL_UDP and kind == UDP_GRO and len(data) >= _INT.size:
            return int(_INT.unpack_from(data)[0])
    return 0


def answer_from(received: Ancillary) -> Ancillary:
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


def _set(sock: socket.socket, option: int) -> bool:
    try:
        sock.setsockopt(SOL_UDP, option, 1)
    except OSError:
        return False
    return True
