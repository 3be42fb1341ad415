"""TCP SYNs from raw sockets: all probes of a path at once with the same ports, which no connecting socket can do.

The ports are reserved by sockets that are bound and never used, so that no other program's connection is mistaken
for a probe. Whoever answers a SYN with SYN and ACK is reset at once by the kernel, which knows of no connection.
"""

from __future__ import annotations

import errno
import os
import socket

from echowire.core.bpf.classic import ports_only
from echowire.core.packets.tcp.header import ACK, RST, SYN
from echowire.core.probing.answers import word_of_icmp
from echowire.core.probing.icmp import TCP, read_error, strip_ipv4
from echowire.core.probing.tcp_syn import pack_syn, read_quoted_segment, read_segment
from echowire.engines.probing.flight import Flight, Probe, Target
from echowire.engines.probing.prober import BATCH, Handlers, Prober
from echowire.kernel.connections import timestamps
from echowire.kernel.connections.poller import READ, Poller
from echowire.kernel.connections.probes import (
    ProbeOptions,
    hops_control,
    open_raw_icmp,
    open_raw_tcp,
    open_tcp,
    source_of,
)
from echowire.kernel.connections.socket_filter import attach_filter
from echowire.model import Family


class SynProber(Prober):
    """SYNs to one target, from `flows` ports of this host."""

    def __init__(self, flight: Flight, target: Target, options: ProbeOptions, flows: int) -> None:
        super().__init__(flight)
        self.family: Family = target.family
        self._source = source_of(target.family, target.sockaddr, options)
        self._first = int.from_bytes(os.urandom(4), "big")
        self._sockets: list[socket.socket] = []
        try:
            self._raw = self._keep(open_raw_tcp(target.family, options))
            self._errors = self._keep(open_raw_icmp(target.family))
            self._ports = []
            for _ in range(flows):
                reserved = self._keep(open_tcp(target.family, options))
                if reserved.getsockname()[1] == 0:
                    reserved.bind((self._source, 0, *target.sockaddr[2:]))
                self._ports.append(reserved.getsockname()[1])
            # A raw socket sees IPv4's header, and not IPv6's. Segments of other connections stay out of it.
            attach_filter(self._raw, ports_only(self._ports, behind_ipv4=target.family == 4))
        except BaseException:
            self.close()
            raise
        timestamps.enable_receive(self._raw)
        timestamps.enable_receive(self._errors)
        self._buffer = bytearray(65_536)

    def watch(self, poller: Poller, handlers: Handlers) -> None:
        """Register the two sockets that hear."""
        timestamps.wait_ready()
        for sock, take in ((self._raw, self._take_segment), (self._errors, self._take_error)):
            poller.register(sock.fileno(), READ)
            handlers[sock.fileno()] = lambda mask, sock=sock, take=take: self._receive(sock, take)  # type: ignore[misc]

    def send(self, probe: Probe) -> None:
        """Send a SYN."""
        target = probe.target
        ports = (self._ports[probe.flow % len(self._ports)], int(target.sockaddr[1]))
        data = pack_syn(self.family, self._source, target.address, ports, (self._first + probe.number) & 0xFFFFFFFF)
        control = [] if probe.hops is None else hops_control(self.family, probe.hops)
        try:
            # The port of a raw socket's address would be taken for a protocol (raw(7)).
            self._raw.sendmsg([data], control, 0, (target.address, 0, *target.sockaddr[2:]))
        except OSError as error:
            self.refused(probe, error)

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._sockets:
            sock.close()

    def _keep(self, sock: socket.socket) -> socket.socket:
        self._sockets.append(sock)
        return sock

    def _receive(self, sock: socket.socket, take: object) -> None:
        for _ in range(BATCH):
            try:
                size, control, _, address = sock.recvmsg_into([self._buffer], timestamps.RECEIVE_SPACE)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK):
                    return
                continue
            message, ttl = memoryview(self._buffer)[:size], None
            if self.family == 4:
                stripped = strip_ipv4(message)
                if stripped is None:
                    continue
                message, ttl = stripped
            take(message, ttl, str(address[0]), timestamps.received_ns(control))  # type: ignore[operator]

    def _take_segment(self, data: memoryview, ttl: int | None, by: str, received_ns: int | None) -> None:
        segment = read_segment(data)
        if segment is None or not segment.flags & ACK or not segment.flags & (SYN | RST):
            return
        number = self._number_of(segment.acknowledged - 1)
        if number is None:
            self.flight.ghosts += 1
            return
        word = "refused" if segment.flags & RST else "reply"
        self.flight.settle(number, word, by=by, received_ns=received_ns, ttl=ttl)  # type: ignore[arg-type]

    def _take_error(self, data: memoryview, ttl: int | None, by: str, received_ns: int | None) -> None:
        error = read_error(self.family, bytes(data))
        if error is None or error.quoted.protocol != TCP:
            return
        quoted = read_quoted_segment(error.quoted.data)
        if quoted is None or quoted[0] not in self._ports:
            return
        number = self._number_of(quoted[2])
        if number is not None:
            word, what = word_of_icmp(self.family, error.type, error.code)
            self.flight.settle(number, word, by=by, what=what, mtu=error.mtu, received_ns=received_ns)

    def _number_of(self, sequence: int) -> int | None:
        number = (sequence - self._first) & 0xFFFFFFFF
        return number if number in self.flight else None
