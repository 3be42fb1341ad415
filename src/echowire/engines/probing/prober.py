"""What a prober is: one protocol's way to send a probe and to understand what comes back."""

from __future__ import annotations

import errno
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

from echowire.core.probing.answers import word_of_errno, word_of_icmp
from echowire.engines.probing.flight import Flight, Probe
from echowire.kernel.boundary import operation_error
from echowire.kernel.connections import timestamps
from echowire.kernel.connections.poller import READ, Poller
from echowire.kernel.connections.probes import known_path_mtu
from echowire.kernel.connections.timestamps import Entry
from echowire.model import Family

Handlers: TypeAlias = dict[int, Callable[[int], None]]
"""By descriptor, who is told with which mask it is ready."""

BATCH = 256
"""Packets taken in before the loop looks whether a probe is due."""

QUEUE_BATCH = 64
"""Entries taken from an error queue at a time."""

UNSTAMPED_MAX = 4096
"""Probes that may wait for their transmit stamps: some devices never give any."""

NO_ROOM = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
"""A send buffer or a device's queue is full: the probe is lost here, as a router would lose it."""


class Prober(ABC):
    """One way to probe, for all targets that it was made for. All calls come from the run's thread."""

    reads_only = True
    """Whether all that it waits for is to read."""

    def __init__(self, flight: Flight) -> None:
        self.flight = flight

    @abstractmethod
    def watch(self, poller: Poller, handlers: Handlers) -> None:
        """Register descriptors, and who is to be called when each is ready."""

    @abstractmethod
    def send(self, probe: Probe) -> None:
        """Send `probe`, which the flight has begun; settle it at once where this host refuses."""

    def expired(self, probe: Probe) -> None:  # noqa: B027 - most have nothing to let go
        """`probe` was given up."""

    @abstractmethod
    def close(self) -> None:
        """Close all sockets."""

    def refused(self, probe: Probe, error: OSError, mtu: int | None = None) -> None:
        """Sending `probe` failed with `error`. Raises `OperationError` where it is no answer about the target."""
        number = error.errno or errno.EIO
        what = errno.errorcode.get(number, str(number))
        word = word_of_errno(number)
        if number in NO_ROOM:
            return  # no reply will come
        if word is None:
            raise operation_error("send", probe.target.name, error) from error
        if word == "too big" and mtu is None:
            mtu = known_path_mtu(probe.target.family, probe.target.sockaddr)
        self.flight.refuse(probe, word, what, mtu)


class DatagramProber(Prober):
    """Probes that leave by one datagram or raw socket, with transmit stamps where the kernel gives them."""

    def __init__(self, flight: Flight, sock: socket.socket, family: Family) -> None:
        super().__init__(flight)
        self.sock = sock
        self.family: Family = family
        self._stamps_both = timestamps.enable_both(sock)
        if not self._stamps_both:
            timestamps.enable_receive(sock)
        self._unstamped: dict[int, int] = {}
        """Numbers of probes by the kernel's count of the socket's datagrams, until their stamps come."""
        self._count = 0
        self.buffer = bytearray(65_536)
        self.view = memoryview(self.buffer)
        self._buffers = [self.buffer]

    def watch(self, poller: Poller, handlers: Handlers) -> None:
        """Register the one socket."""
        timestamps.wait_ready()
        poller.register(self.sock.fileno(), READ)
        handlers[self.sock.fileno()] = self.on_ready

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def transmit(
        self, probe: Probe, data: bytes, control: list[tuple[int, int, bytes]], address: tuple[Any, ...]
    ) -> None:
        """Send `data`, and note its transmit stamp, which on most devices is there by now."""
        for attempt in (1, 2):
            try:
                if control:
                    self.sock.sendmsg([data], control, 0, address)
                else:
                    self.sock.sendto(data, address)
                break
            except OSError as error:
                # The error of an earlier probe to another target is told at the next call, whatever that is about.
                entries = self._drain()
                self._renumber()
                if attempt == 1 and any(entry.report for entry in entries):
                    continue
                mtu = next((entry.mtu for entry in entries if entry.mtu), None)
                self.refused(probe, error, mtu)
                return
        if self._stamps_both:
            if len(self._unstamped) >= UNSTAMPED_MAX:
                self._unstamped.clear()
            self._unstamped[self._count] = probe.number
            self._count = (self._count + 1) & 0xFFFFFFFF
            self._drain(stamps_only=True)

    def on_ready(self, mask: int) -> None:
        """Take in what has come: stamps and errors first, so that a reply finds its probe stamped."""
        if self._unstamped or mask != READ:
            self._drain()
        receive = self.sock.recvmsg_into
        for taken in range(BATCH):
            try:
                size, control, _, address = receive(self._buffers, timestamps.RECEIVE_SPACE)
            except BlockingIOError:
                if not taken:
                    self._drain()  # select(2) does not tell errors from packets
                return
            except OSError:
                self._drain()  # what the error was about
                continue
            self.take_in(size, control, address)
            if not self.flight.in_flight:
                return  # what nobody waits for may wait itself, and the look for it be saved

    @abstractmethod
    def take_in(self, size: int, control: list[tuple[int, int, bytes]], address: tuple[object, ...]) -> None:
        """Understand the `size` bytes in the buffer."""

    @abstractmethod
    def identify(self, entry: Entry) -> int | None:
        """The number of the probe that the error queue's `entry` quotes."""

    def _drain(self, *, stamps_only: bool = False) -> list[Entry]:
        """Take in the error queue, or as much of it as gives the stamps; returns what it had besides them."""
        entries: list[Entry] = []
        for _ in range(QUEUE_BATCH):
            entry = timestamps.read_queue(self.sock)
            if entry is None:
                break
            if entry.stamp_of is not None:
                number = self._unstamped.pop(entry.stamp_of, None)
                if number is not None and entry.stamp_ns is not None:
                    self.flight.stamp(number, entry.stamp_ns)
                if stamps_only and not self._unstamped:
                    break
                continue
            entries.append(entry)
            if entry.report is not None:
                self._settle(entry)
        return entries

    def _settle(self, entry: Entry) -> None:
        report = entry.report
        number = self.identify(entry)
        if report is None or number is None:
            self.flight.ghosts += 1
            return
        word, what = word_of_icmp(report.version, report.type, report.code)
        self.flight.settle(number, word, by=report.offender, what=what, mtu=report.mtu, received_ns=entry.stamp_ns)

    def _renumber(self) -> None:
        """Begin the kernel's count anew: whether a datagram that did not go was counted cannot be known."""
        if self._stamps_both:
            self._unstamped.clear()
            self._count = 0
            timestamps.enable_both(self.sock)
