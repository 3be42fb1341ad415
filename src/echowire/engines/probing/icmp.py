"""ICMP and ICMPv6 echo probes, by a datagram socket or a raw one.

Both speak the same messages. What differs: a datagram socket's errors come through its error queue, a raw one hears
the very messages, its own and those about every other program's probes; IPv4's raw socket hands over the IP header,
and has not looked at the ICMP checksum.
"""

from __future__ import annotations

from echowire.core.probing.answers import word_of_icmp
from echowire.core.probing.echo_data import BALANCED_MIN, fill_of, may_be_damaged, pack_balanced, pack_data, read_data
from echowire.core.probing.icmp import (
    ECHO_REPLY,
    ECHO_REQUEST,
    PROTOCOL,
    Echo,
    checksum,
    pack_echo,
    read_echo,
    read_error,
    strip_ipv4,
)
from echowire.engines.probing.flight import Flight, Probe
from echowire.engines.probing.prober import DatagramProber
from echowire.kernel.connections.probes import IcmpSocket, hops_control, received_hops
from echowire.kernel.connections.timestamps import Entry, received_ns


class IcmpProber(DatagramProber):
    """Echo requests from one socket of one family to any number of targets.

    `run` is the run's random number. `balanced` keeps the checksum the same for all probes of a flow, and without it
    `pattern` fills the data.
    """

    def __init__(
        self, flight: Flight, opened: IcmpSocket, run: int, *, balanced: bool = False, pattern: bytes = b""
    ) -> None:
        super().__init__(flight, opened.sock, opened.family)
        self._is_raw = opened.is_raw
        self._has_header = opened.is_raw and opened.family == 4
        self._identifier = opened.identifier
        self._run = run
        self._balanced = balanced
        self._fill = fill_of(pattern)
        self._reply = ECHO_REPLY[opened.family]

    def send(self, probe: Probe) -> None:
        """Send an echo request."""
        sequence, size = probe.number & 0xFFFF, probe.size
        balanced = self._balanced and size >= BALANCED_MIN
        if balanced:
            data = pack_balanced(self._run, probe.number, size, sequence)
        else:
            data = pack_data(self._run, probe.number, size, self._fill)
        message = pack_echo(self.family, self._identifier_of(probe.flow), sequence, data)
        control = [] if probe.hops is None else hops_control(self.family, probe.hops)
        self.transmit(probe, message, control, probe.target.sockaddr)

    def take_in(self, size: int, control: list[tuple[int, int, bytes]], address: tuple[object, ...]) -> None:
        """An echo reply, or on a raw socket an error, or something else of no concern."""
        message, ttl = self.view[:size], None
        if self._has_header:
            stripped = strip_ipv4(message)
            if stripped is None:
                return
            message, ttl = stripped
        echo = read_echo(message)
        by = str(address[0])
        if echo is None:
            if self._is_raw:
                self._take_error(bytes(message), by, received_ns(control))
            return
        if echo.type != self._reply:
            return
        sound = not self._has_header or checksum(message) == 0
        number, intact = self._match(echo, by)
        if number is None:
            self.flight.ghosts += self._is_ours(echo)
            return
        self.flight.settle(
            number,
            "reply",
            by=by,
            received_ns=received_ns(control),
            intact=intact and sound,
            ttl=ttl if ttl is not None else received_hops(control),
            size=len(echo.data),
        )

    def identify(self, entry: Entry) -> int | None:
        """A datagram socket's error: the queue has the ICMP message that was sent."""
        echo = read_echo(entry.data)
        return None if echo is None else self._match(echo, entry.address)[0]

    def _identifier_of(self, flow: int) -> int:
        return (self._identifier + flow) & 0xFFFF if self._is_raw else self._identifier

    def _is_ours(self, echo: Echo) -> bool:
        return not self._is_raw or echo.identifier == self._identifier

    def _match(self, echo: Echo, address: str) -> tuple[int | None, bool]:
        """The probe of `echo`, and whether its data is as it was sent."""
        if len(echo.data) >= 16:
            seen = read_data(self._run, len(echo.data), echo.data, balanced=self._balanced, fill=self._fill)
            if seen is not None:
                probe = self.flight.probe(seen.number)
                if probe is None:
                    return None, False
                return seen.number, seen.intact and probe.size == len(echo.data)
        if not may_be_damaged(self._run, echo.data):
            return None, False
        # Too little to tell, or damaged: then its identifier, sequence and address must do.
        number = self.flight.number_of(echo.sequence, address)
        probe = None if number is None else self.flight.probe(number)
        if probe is None or (self._is_raw and echo.identifier != self._identifier_of(probe.flow)):
            return None, False
        return number, echo.data == pack_data(self._run, probe.number, probe.size, self._fill)

    def _take_error(self, message: bytes, by: str, arrived_ns: int | None) -> None:
        error = read_error(self.family, message)
        if error is None or error.quoted.protocol != PROTOCOL[self.family]:
            return
        echo = read_echo(error.quoted.data)
        if echo is None or echo.type != ECHO_REQUEST[self.family]:
            return
        number, _ = self._match(echo, error.quoted.destination)
        if number is None:
            return  # about another program's probe
        word, what = word_of_icmp(self.family, error.type, error.code)
        self.flight.settle(number, word, by=by, what=what, mtu=error.mtu, received_ns=arrived_ns)
