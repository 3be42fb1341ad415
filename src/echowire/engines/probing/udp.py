"""UDP echo probes (RFC 862): a datagram that names its probe, and the same back. A refusal is an ICMP error."""

from __future__ import annotations

import socket

from echowire.core.probing.echo_data import fill_of, pack_data, read_data
from echowire.engines.probing.flight import Flight, Probe
from echowire.engines.probing.prober import DatagramProber
from echowire.kernel.connections.probes import hops_control, received_hops
from echowire.kernel.connections.timestamps import Entry, received_ns
from echowire.model import Family


class UdpProber(DatagramProber):
    """Datagrams from one socket of one family to any number of targets."""

    def __init__(self, flight: Flight, sock: socket.socket, family: Family, run: int, pattern: bytes = b"") -> None:
        super().__init__(flight, sock, family)
        self._run = run
        self._fill = fill_of(pattern)

    def send(self, probe: Probe) -> None:
        """Send a datagram."""
        control = [] if probe.hops is None else hops_control(self.family, probe.hops)
        self.transmit(probe, pack_data(self._run, probe.number, probe.size, self._fill), control, probe.target.sockaddr)

    def take_in(self, size: int, control: list[tuple[int, int, bytes]], address: tuple[object, ...]) -> None:
        """An echo, or a stranger's datagram."""
        seen = read_data(self._run, size, self.view[:size], fill=self._fill)
        probe = None if seen is None else self.flight.probe(seen.number)
        if seen is None or probe is None:
            self.flight.ghosts += 1
            return
        self.flight.settle(
            seen.number,
            "reply",
            by=str(address[0]),
            received_ns=received_ns(control),
            intact=seen.intact and size == probe.size,
            ttl=received_hops(control),
            size=size,
        )

    def identify(self, entry: Entry) -> int | None:
        """The error queue has the datagram as far as it was quoted."""
        seen = read_data(self._run, len(entry.data), entry.data)
        return None if seen is None else seen.number
