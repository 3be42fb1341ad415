"""Probes in flight, and which answer belongs to which: the one place that decides what an answer is.

Every prober names the probe that it heard of by the number that it gave it, which does not wrap. Answered probes are
remembered for a while, so that a second reply is known for a duplicate and one that comes after its time for late;
what belongs to no probe of this run is a ghost, and is counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from echowire.core.probing.answers import UP, Answer, Clock, Word
from echowire.model import Family

REMEMBERED = 1 << 16
"""Probes whose fate is remembered: as many as ICMP's sequence numbers tell apart, a minute of a thousand a second;
about 20 MB when full. What comes back later than that many others is a ghost."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where probes go: what the user called it, and the address that it has."""

    index: int
    name: str
    family: Family
    address: str
    sockaddr: tuple[Any, ...]
    """As `sendto` and `connect` take it, with the port where there is one."""


class Probe:
    """One probe. Times are nanoseconds; `begun_ns` and `left_ns` are of the real-time clock: before it was sent, and
    the kernel's stamp if `stamped`."""

    __slots__ = (
        "answered", "begun_ns", "flow", "hops", "left_ns", "number", "sent_ns", "sequence", "size", "stamped", "target",
        "wire",
    )  # fmt: skip

    def __init__(
        self, number: int, target: Target, sequence: int, size: int, hops: int | None = None, flow: int = 0
    ) -> None:
        self.number = number
        self.target = target
        self.sequence = sequence
        self.size = size
        self.hops = hops
        self.flow = flow
        self.sent_ns = 0
        self.begun_ns = 0
        self.left_ns = 0
        self.stamped = False
        self.answered: Word | None = None
        self.wire: Any = None
        """What the prober needs to remember of it."""


class Flight:
    """The probes of one run. `report` is told of each answer, in the run's own thread."""

    def __init__(self, targets: int, wait_ns: int, report: Callable[[Answer], object]) -> None:
        self.ghosts = 0
        """Packets that answered no probe of this run."""
        self.sent = [0] * targets
        """Probes sent, target by target."""
        self._open = 0
        self._highest = [0] * targets
        self._wait_ns = wait_ns
        self._report = report
        self._probes: dict[int, Probe] = {}
        self._waiting: deque[Probe] = deque()
        self._latest = 0

    @property
    def in_flight(self) -> int:
        """Probes that nothing is known of yet."""
        return self._open

    def __contains__(self, number: int) -> bool:
        return number in self._probes

    def begin(self, probe: Probe) -> None:
        """`probe` is about to be sent."""
        self._probes[probe.number] = probe
        self._latest = probe.number
        if len(self._probes) > REMEMBERED:
            del self._probes[next(iter(self._probes))]
        self._waiting.append(probe)
        self._open += 1
        self.sent[probe.target.index] += 1
        probe.begun_ns = probe.left_ns = time.time_ns()
        probe.sent_ns = time.monotonic_ns()

    def stamp(self, number: int, left_ns: int) -> None:
        """The kernel says when the probe left."""
        probe = self._probes.get(number)
        if probe is not None:
            probe.left_ns, probe.stamped = left_ns, True

    def number_of(self, sequence: int, address: str) -> int | None:
        """The latest probe with these sixteen bits of sequence, if it went to `address`."""
        number = self._latest - ((self._latest - sequence) & 0xFFFF)
        probe = self._probes.get(number)
        return number if probe is not None and probe.target.address == address else None

    def probe(self, number: int) -> Probe | None:
        """The probe of this number, if it is remembered."""
        return self._probes.get(number)

    def settle(
        self,
        number: int,
        word: Word,
        *,
        by: str = "",
        received_ns: int | None = None,
        rtt_ns: int | None = None,
        rtt_clock: Clock = "kernel",
        intact: bool = True,
        **more: Any,
    ) -> None:
        """Something answered probe `number`. `received_ns` is the kernel's stamp, `rtt_ns` a better round trip, and
        `rtt_clock` what it was measured with.

        `more` are other fields of `Answer`.
        """
        now = time.monotonic_ns()
        probe = self._probes.get(number)
        if probe is None:
            self.ghosts += 1
            return
        rtt, clock = _round_trip(probe, now, received_ns, rtt_ns, rtt_clock)
        late = duplicate = reordered = False
        if probe.answered is None:
            probe.answered = word
            self._open -= 1
        elif probe.answered == "no reply":
            late, probe.answered = True, word
        else:
            duplicate = True
        index, sequence = probe.target.index, probe.sequence
        if word in UP and not duplicate:
            reordered = sequence < self._highest[index]
            if not reordered:
                self._highest[index] = sequence
        self._report(
            Answer(
                index,
                sequence,
                word,
                received_ns or time.time_ns(),
                rtt,
                clock,
                by,
                hops=probe.hops,
                flow=probe.flow,
                duplicate=duplicate,
                late=late,
                reordered=reordered,
                corrupted=not intact,
                **more,
            )
        )

    def refuse(self, probe: Probe, word: Word, what: str, mtu: int | None = None) -> None:
        """This host itself did not let `probe` go."""
        probe.answered = word
        self._open -= 1
        self._report(
            Answer(
                probe.target.index,
                probe.sequence,
                word,
                time.time_ns(),
                by="local",
                what=what,
                mtu=mtu,
                hops=probe.hops,
                flow=probe.flow,
            )
        )

    def expire(self, now_ns: int) -> list[Probe]:
        """Give up those that have waited long enough; returns them."""
        waiting, gone = self._waiting, []
        while waiting and (waiting[0].answered is not None or waiting[0].sent_ns + self._wait_ns <= now_ns):
            probe = waiting.popleft()
            if probe.answered is None:
                probe.answered = "no reply"
                self._open -= 1
                gone.append(probe)
                self._report(
                    Answer(
                        probe.target.index,
                        probe.sequence,
                        "no reply",
                        time.time_ns(),
                        hops=probe.hops,
                        flow=probe.flow,
                        size=probe.size,
                    )
                )
        return gone

    def next_expiry_ns(self) -> int | None:
        """When the next one is given up, by the monotonic clock."""
        waiting = self._waiting
        while waiting and waiting[0].answered is not None:
            waiting.popleft()
        return waiting[0].sent_ns + self._wait_ns if waiting else None


def _round_trip(
    probe: Probe, now_ns: int, received_ns: int | None, better_ns: int | None, better: Clock
) -> tuple[int, Clock]:
    """The round trip, by the best clock whose answer can be true: stamps lie within what this program saw.

    Real time that was stepped between the two stamps gives less than nothing, or more than has passed.
    """
    seen = now_ns - probe.sent_ns
    if better_ns is not None and 0 <= better_ns <= seen:
        return better_ns, better
    if received_ns is not None:
        stamped = received_ns - probe.left_ns
        if 0 <= stamped <= seen:
            return stamped, "kernel" if probe.stamped else "kernel receive"
        # To a group this host belongs to itself, and answers before the packet has left by the link.
        begun = received_ns - probe.begun_ns
        if probe.stamped and 0 <= begun <= seen:
            return begun, "kernel receive"
    return seen, "monotonic"
