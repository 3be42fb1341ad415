"""STAMP probes (RFC 8762): the reflector's own stamps tell both ways apart.

Round trips leave out the time that the reflector took. One-way delays are the difference of two clocks, and worth
as much as these say of themselves.
"""

from __future__ import annotations

import os
import socket
import time
from collections import OrderedDict

from echowire.core.probing import stamp
from echowire.core.probing.answers import Clock
from echowire.core.probing.stamp import ErrorEstimate, ReflectedPacket, SenderPacket
from echowire.engines.probing.flight import REMEMBERED, Flight, Probe
from echowire.engines.probing.prober import DatagramProber
from echowire.kernel.clock import ClockError
from echowire.kernel.connections.probes import received_hops
from echowire.kernel.connections.timestamps import Entry, received_ns
from echowire.model import Family


class StampProber(DatagramProber):
    """A Session-Sender from one socket of one family to any number of reflectors, a session each."""

    def __init__(
        self, flight: Flight, sock: socket.socket, family: Family, error: ClockError, key: bytes | None
    ) -> None:
        super().__init__(flight, sock, family)
        self._error = stamp.pack_error(ErrorEstimate(error.synchronised, error.seconds))
        self._own_error = error
        self._key = key
        self._session = int.from_bytes(os.urandom(2), "big")
        self._sent: dict[int, int] = {}
        # What comes back of each packet: its sequence number and timestamp, which no other has both of.
        self._numbers: OrderedDict[tuple[int, int], int] = OrderedDict()

    def send(self, probe: Probe) -> None:
        """Send a test packet."""
        index = probe.target.index
        sequence = (probe.sequence - 1) & 0xFFFFFFFF
        count = self._sent.get(index, 0) + 1
        self._sent[index] = count
        timestamp = stamp.ntp_of(time.time_ns())
        packet = SenderPacket(sequence, timestamp, self._error, (self._session + index) & 0xFFFF)
        data = stamp.pack_sender(packet, key=self._key, direct_sent=count, size=probe.size)
        self._numbers[sequence, timestamp] = probe.number
        if len(self._numbers) > REMEMBERED:
            self._numbers.popitem(last=False)
        self.transmit(probe, data, [], probe.target.sockaddr)

    def take_in(self, size: int, control: list[tuple[int, int, bytes]], address: tuple[object, ...]) -> None:
        """A reflected packet, or a stranger's."""
        packet = stamp.read_reflected(bytes(self.view[:size]), self._key)
        number = None
        if packet is not None:
            number = self._numbers.get((packet.sender_sequence, packet.sender_timestamp))
        probe = None if number is None else self.flight.probe(number)
        if packet is None or probe is None or probe.target.address != address[0]:
            self.flight.ghosts += 1
            return
        stamped_ns = received_ns(control)
        arrived_ns = stamped_ns or time.time_ns()
        forward_ns, backward_ns = self._delays(probe, packet, arrived_ns)
        clock: Clock = "monotonic" if stamped_ns is None else "kernel" if probe.stamped else "kernel receive"
        self.flight.settle(
            probe.number,
            "reply",
            by=str(address[0]),
            received_ns=arrived_ns,
            rtt_ns=forward_ns + backward_ns,
            rtt_clock=clock,
            ttl=received_hops(control),
            size=size,
            reflected=packet.sequence,
            error_ns=self._error_ns(packet),
            reflector_received=packet.direct.reflector_received if packet.direct else None,
            reflector_sent=packet.direct.reflector_sent if packet.direct else None,
            forward_ns=forward_ns,
            backward_ns=backward_ns,
        )

    def identify(self, entry: Entry) -> int | None:
        """The error queue has the packet as far as it was quoted: twelve bytes are enough without a key."""
        start = 4 if self._key is None else 16
        if len(entry.data) < start + 8:
            return None
        sequence, timestamp = entry.data[:4], entry.data[start : start + 8]
        return self._numbers.get((int.from_bytes(sequence, "big"), int.from_bytes(timestamp, "big")))

    def _delays(self, probe: Probe, packet: ReflectedPacket, arrived_ns: int) -> tuple[int, int]:
        theirs = stamp.read_error(packet.error)
        is_ptp = theirs is not None and theirs.ptp
        there, back = (stamp.ns_of(at, arrived_ns, ptp=is_ptp) for at in (packet.received, packet.timestamp))
        return there - probe.left_ns, arrived_ns - back

    def _error_ns(self, packet: ReflectedPacket) -> int | None:
        theirs = stamp.read_error(packet.error)
        if theirs is None or not (theirs.synchronised and self._own_error.synchronised) or theirs.ptp:
            return None  # PTP's time scale is another than ours
        return round((theirs.seconds + self._own_error.seconds) * 1e9)
