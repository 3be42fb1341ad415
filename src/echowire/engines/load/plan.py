"""What a load generator is asked to do, what it hands out, and what every kind of it has in common.

A generator is measured by what it costs: everything that is not needed for one echo is done between slices, which
are short stretches of running. It hands out raw times; counting them is somebody else's work, outside the loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from echowire.core.load.options import Direction, Load
from echowire.core.load.payloads import Outcomes
from echowire.core.tls_options import ClientTls
from echowire.errors import EchowireError, ProtocolError
from echowire.kernel.connections.channel import Channel
from echowire.kernel.connections.socket_options import SocketOptions, parse_dscp
from echowire.model import Endpoint, Family


@dataclass(frozen=True, slots=True)
class Plan:
    """One generator's share of a load. Sizes are bytes, `rate` is messages a second, times are seconds."""

    endpoint: Endpoint
    connections: int = 1
    least_size: int = 64
    most_size: int = 64
    direction: Direction = "echo"
    pipeline: int = 1
    """Messages that a connection may have in flight."""
    rate: float | None = None
    """Open loop: messages are due at this rate, whether or not the ones before have been answered."""
    bits_per_s: float | None = None
    """Where bytes flow: payload bits a second of each connection, sent, or received where nothing is sent."""
    rate_offset_s: float = 0.0
    """When the first is due, so that several generators take turns."""
    poisson: bool = False
    count: int | None = None
    """Messages to send; None is until told to stop."""
    wait_s: float = 1.0
    """How long a datagram's reply is waited for."""
    connect_timeout_s: float | None = 10.0
    family: Family | None = None
    tls: ClientTls = field(default_factory=ClientTls)
    options: SocketOptions = field(default_factory=SocketOptions)
    seed: int = 0
    """Of the random sizes and the Poisson intervals: the same seed draws the same."""


def plan_of(endpoint: Endpoint, load: Load) -> Plan:
    """The whole of `load` at `endpoint` as one generator's share. Raises `UsageError` for a DSCP that has no name."""
    least, most = load.sizes
    dscp = parse_dscp(load.dscp) if isinstance(load.dscp, str) else load.dscp
    return Plan(
        endpoint=endpoint,
        connections=load.connections,
        least_size=least,
        most_size=most,
        direction=load.direction,
        pipeline=load.pipeline,
        rate=load.rate,
        bits_per_s=load.bits_per_s,
        poisson=load.poisson,
        count=load.count,
        wait_s=load.wait_s,
        connect_timeout_s=load.connect_timeout_s,
        family=load.family,
        tls=load.tls,
        options=SocketOptions(load.nodelay, dscp, load.congestion, load.send_buffer, load.receive_buffer),
        seed=load.seed,
    )


@dataclass(slots=True)
class Records:
    """What happened since `clear`: times in seconds, in the order in which the echoes came."""

    latency: array[float] = field(default_factory=lambda: array("d"))
    """From when the message was due in an open loop, from its sending otherwise."""
    uncorrected: array[float] = field(default_factory=lambda: array("d"))
    """Open loop: from its sending, as a tool that omits the waiting would count."""
    lateness: array[float] = field(default_factory=lambda: array("d"))
    """Open loop: how much later than it could have, a message was sent. It is the generator's own fault."""
    outcomes: Outcomes = field(default_factory=Outcomes)
    """Counts since the beginning, or since `Generator.restart`."""

    def clear(self) -> None:
        """Forget the times. They are taken between slices, so no loop holds on to them."""
        del self.latency[:], self.uncorrected[:], self.lateness[:]


class Lane:
    """A connection under load, or a datagram socket. `failure` says why it carries nothing any more."""

    def __init__(self, number: int, channel: Channel) -> None:
        self.number = number
        self.channel = channel
        self.fd = channel.fileno()
        self.failure: EchowireError | None = None
        self.jitter_s: float | None = None
        """RFC 3550 section 6.4.1, of the round trips of this lane's datagrams."""
        self._transit: float | None = None

    def note_transit(self, transit: float) -> None:
        """Count a datagram's time into the jitter: the difference of two in a row, smoothed by a sixteenth."""
        if self._transit is not None:
            jitter = self.jitter_s or 0.0
            self.jitter_s = jitter + (abs(transit - self._transit) - jitter) / 16
        self._transit = transit


class Generator(ABC):
    """One way to make a load on some lanes. `run` is called again and again, a slice at a time."""

    def __init__(self, plan: Plan, lanes: Sequence[Lane], records: Records) -> None:
        self.plan, self.lanes, self.records = plan, list(lanes), records
        self.issuing = True
        """Whether new messages are sent; False while the last replies are waited for."""

    @abstractmethod
    def begin(self, now: float) -> None:
        """Send the first messages. `now` is `time.perf_counter`'s, as all times here are."""

    @abstractmethod
    def run(self, until: float) -> None:
        """Work until about `until`, or until there is nothing left to do."""

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """Messages sent and not yet answered, failed or given up."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing moves because nothing should: all is answered, and the next is not due yet."""
        return self.plan.rate is not None and not self.in_flight

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: every lane failed, or all that was to be sent is answered."""
        return not self.live_lanes

    @property
    def live_lanes(self) -> list[Lane]:
        """Those that have not failed."""
        return [lane for lane in self.lanes if lane.failure is None]

    def restart(self) -> None:
        """Begin to count: what was counted is forgotten, what is in flight counts as sent just now."""
        self.records.clear()
        self.records.outcomes = Outcomes(sent=self.in_flight)

    def finish(self) -> None:
        """Count what is still in flight as unanswered."""
        self.records.outcomes.unanswered += self.in_flight

    @abstractmethod
    def close(self) -> None:
        """Release what the generator itself acquired; the lanes are their owner's."""


def closed_by_peer(lane: Lane, received: int, wanted: int) -> ProtocolError:
    """The failure of a lane whose peer has ended the connection."""
    came = f"after {received} of {wanted} bytes of an echo" if received else "while an echo was awaited"
    return ProtocolError(f"recv {lane.channel.endpoint}: the peer closed the connection {came}")
