"""TCP connect probes: whoever completes or refuses the handshake is there.

Each probe is a connection of its own, closed as soon as it is made. The kernel has timed the handshake itself
(`tcpi_rtt`), without this program's delay in waking up. Who refused is told apart by the error queue: a reset is
the target's own, an ICMP error a router's or a firewall's.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from functools import partial

from echowire.core.probing.answers import word_of_errno, word_of_icmp
from echowire.engines.probing.flight import Flight, Probe
from echowire.engines.probing.prober import Handlers, Prober
from echowire.kernel.boundary import operation
from echowire.kernel.connections import icmp_errors
from echowire.kernel.connections.poller import WRITE, Poller
from echowire.kernel.connections.tcp_info import read_tcp_info
from echowire.model import Family

OpenSocket = Callable[[Family], socket.socket]


class TcpProber(Prober):
    """Connections to any number of targets; `open_socket` makes the socket of each."""

    reads_only = False

    def __init__(self, flight: Flight, open_socket: OpenSocket) -> None:
        super().__init__(flight)
        self._open_socket = open_socket
        self._poller: Poller | None = None
        self._handlers: Handlers = {}
        self._sockets: dict[int, socket.socket] = {}

    def watch(self, poller: Poller, handlers: Handlers) -> None:
        """Keep them for the sockets to come."""
        self._poller, self._handlers = poller, handlers

    def send(self, probe: Probe) -> None:
        """Begin a connection."""
        assert self._poller is not None
        with operation("socket", probe.target.name):
            sock = self._open_socket(probe.target.family)
        if probe.hops is not None:
            level, option = socket.IPPROTO_IP, socket.IP_TTL
            if probe.target.family == 6:
                level, option = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
            sock.setsockopt(level, option, probe.hops)
        number = sock.connect_ex(probe.target.sockaddr)
        self._sockets[probe.number] = sock
        if number == errno.EINPROGRESS:
            fd = sock.fileno()
            self._handlers[fd] = partial(self._on_ready, probe, sock)
            self._poller.register(fd, WRITE)
        else:
            # Loopback refuses at once.
            self._finish(probe, sock, number)

    def expired(self, probe: Probe) -> None:
        """Let its connection go: a later answer would only be the kernel's second try."""
        sock = self._sockets.get(probe.number)
        if sock is not None:
            self._close(probe, sock)

    def close(self) -> None:
        """Close what is still under way."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _on_ready(self, probe: Probe, sock: socket.socket, mask: int) -> None:
        self._finish(probe, sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _finish(self, probe: Probe, sock: socket.socket, number: int) -> None:
        report = icmp_errors.take(sock)
        settle = self.flight.settle
        if report is not None:
            word, what = word_of_icmp(report.version, report.type, report.code)
            settle(probe.number, word, by=report.offender, what=what, mtu=report.mtu)
        elif number == 0:
            info = read_tcp_info(sock) or {}
            again = bool(info.get("tcpi_total_retrans"))
            rtt_us = 0 if again else info.get("tcpi_rtt", 0)
            by = str(sock.getpeername()[0]) if info else probe.target.address
            settle(probe.number, "reply", by=by, rtt_ns=rtt_us * 1000 or None, retransmitted=again)
        elif number in (errno.ECONNREFUSED, errno.ECONNRESET):
            settle(probe.number, "refused", by=probe.target.address)
        elif number == errno.ETIMEDOUT:
            pass  # the kernel gave up before we did
        elif number == errno.EHOSTUNREACH and word_of_errno(number):
            # No report and no route: the neighbour did not answer.
            self.flight.refuse(probe, "unreachable", "host")
        else:
            try:
                self.refused(probe, OSError(number, ""))
            finally:
                self._close(probe, sock)
            return
        self._close(probe, sock)

    def _close(self, probe: Probe, sock: socket.socket) -> None:
        assert self._poller is not None
        self._sockets.pop(probe.number, None)
        fd = sock.fileno()
        if self._handlers.pop(fd, None) is not None:
            self._poller.unregister(fd)
        sock.close()
