"""path and path_mtu: which way it goes, and how large a packet may be on it.

    for hop in echowire.path("192.0.2.1").hops:
        print(hop.number, hop.addresses, hop.loss)

    echowire.path_mtu("192.0.2.1").mtu

Both are runs of ping's loop with another schedule: every time to live at once, or many sizes at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from echowire.core.probing.answers import Answer
from echowire.core.probing.echo_data import DATA_MAX
from echowire.core.probing.path import Path, PathReport
from echowire.core.probing.targets import TargetLike, expand_targets, target_text
from echowire.engines.probing.flight import Flight, Target
from echowire.engines.probing.flows import FlowsProber
from echowire.engines.probing.icmp import IcmpProber
from echowire.engines.probing.prober import Prober
from echowire.engines.probing.run import Run
from echowire.engines.probing.schedule import HopRounds, SizeSearch
from echowire.engines.probing.syn import SynProber
from echowire.engines.probing.tcp import TcpProber
from echowire.engines.probing.udp import UdpProber
from echowire.errors import EchowireError, OperationError, UsageError
from echowire.kernel.connections.probes import ProbeOptions, open_icmp, open_tcp, open_udp
from echowire.model import Family
from echowire.verbs.explained import explaining
from echowire.verbs.ping import (
    DEFAULT_SIZE,
    check_size,
    find_targets,
    interruptible,
    port_of,
    probe_options,
    random_bits,
)

PathProbe: TypeAlias = Literal["icmp", "udp", "tcp"]

PATH_PORTS: Mapping[PathProbe, int] = {"icmp": 0, "udp": 33434, "tcp": 443}
"""traceroute's first port for UDP, where nothing is expected to listen; HTTPS's, which firewalls let pass."""

MOST_HOPS = 64
FLOWS_MAX = 16

OVERHEAD: Mapping[Family, int] = {4: 28, 6: 48}
"""Bytes of a packet before its data: IP's header, and eight of ICMP's or UDP's."""

LEAST_PACKET: Mapping[Family, int] = {4: 28 + 16, 6: 1280}
"""The smallest that is tried: the least that names its probe, and what every IPv6 link must carry (RFC 8200, 5)."""

MTU_TRIES = 3


def path(
    target: TargetLike,
    *,
    probe: PathProbe = "icmp",
    port: int | None = None,
    count: int | None = 3,
    interval_s: float = 0.5,
    wait_s: float = 1.0,
    first_hop: int = 1,
    max_hops: int = 30,
    flows: int = 1,
    size: int | None = None,
    family: Family | None = None,
    source: str = "",
    tos: int | None = None,
    fragments: Literal["dont", "want", "do", "probe"] | None = None,
    on_begin: Callable[[Path, Mapping[str, Any]], object] | None = None,
    on_answer: Callable[[Answer], object] | None = None,
    on_idle: Callable[[], object] | None = None,
) -> PathReport:
    """Find the path to `target`: `count` probes (None: until Ctrl-C) for each hop, all hops at a time.

    With `flows` of 1 all probes look alike to routers that balance by flow, so that they take one path; with more,
    that many flows take turns, and a hop then has several addresses where there are equal-cost branches. TCP keeps
    its flow only with CAP_NET_RAW; without, each probe is a connection of its own, and `flow` says so. Raises
    `UsageError`, `NameResolutionError` and `OperationError`.
    """
    if not 1 <= first_hop <= max_hops <= MOST_HOPS or not 1 <= flows <= FLOWS_MAX:
        raise UsageError(f"hops are 1 to {MOST_HOPS}, and flows 1 to {FLOWS_MAX}")
    if (count is not None and count < 1) or interval_s < 0 or wait_s <= 0:
        raise UsageError("count and wait must be above 0, and the interval not below")
    data = _data_size(probe, size)
    target = target_text(target)
    at = _one_target(target, probe, port_of(probe, port, PATH_PORTS), family)
    options = probe_options(source, None, tos, fragments)
    start = time.monotonic_ns()
    rounds = HopRounds(at, data, count, (first_hop, max_hops), flows, round(interval_s * 1e9), start)

    def ended_at(hop: int) -> None:
        rounds.reached = hop

    found = Path(at.address, ended_at)
    flight = Flight(1, round(wait_s * 1e9), _both(found.take, on_answer))
    with explaining():
        prober, flow = _path_prober(probe, flight, at, options, flows)
    effective = {"probe": probe, "port": at.sockaddr[1] or None, "flow": flow, "flows": flows, "size": data}
    run = Run(flight, {at.family: prober}, rounds, on_idle=on_idle)
    started_ns = time.time_ns()
    if on_begin is not None:
        on_begin(found, {**effective, "address": at.address})
    with interruptible(run) as interrupted, explaining():
        ended: str = run.run()
    supplied = {
        "target": target,
        "probe": probe,
        "port": port,
        "count": count,
        "interval_s": interval_s,
        "wait_s": wait_s,
        "first_hop": first_hop,
        "max_hops": max_hops,
        "flows": flows,
        "size": size,
    }
    return PathReport(
        target,
        at.address,
        found.hops,
        found.reached,
        flow,
        supplied,
        effective,
        started_ns,
        (time.monotonic_ns() - start) / 1e9,
        "interrupted" if interrupted() else ended,
        flight.ghosts,
    )


@dataclass(frozen=True, slots=True)
class PathMtu:
    """How large a packet may be on the way to a target, there and back, and how that is known."""

    target: str
    address: str
    mtu: int | None
    """Bytes, IP's header included; None where the target did not answer at all."""
    told_by: str
    """The router that said so; `local` for this host's own interface; empty where nobody did."""
    black_hole: bool
    """Larger packets vanish without a word."""
    lost_after: str
    """Of a black hole, the last address on the way that a larger packet is known to have come to."""
    seconds: float
    probes: int

    @property
    def exit_status(self) -> int:
        """0 where it is known, else 1."""
        return 0 if self.mtu is not None else 1

    def document(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {"schema": "echowire.path_mtu", "version": 1, **asdict(self), "told_by": self.told_by or None,
                "lost_after": self.lost_after or None}  # fmt: skip


def path_mtu(
    target: TargetLike,
    *,
    probe: Literal["icmp", "udp"] = "icmp",
    port: int | None = None,
    wait_s: float = 0.5,
    tries: int = MTU_TRIES,
    family: Family | None = None,
    source: str = "",
    on_answer: Callable[[Answer], object] | None = None,
) -> PathMtu:
    """Find the largest packet that comes to `target` and back unfragmented, by echoes of many sizes at a time.

    It needs no router to say why a packet was dropped, and believes none that does before it has tried. Raises as
    `path` does.
    """
    if probe not in ("icmp", "udp"):
        raise UsageError("the size of packets is found by ICMP or UDP echoes")
    if tries < 1 or wait_s <= 0:
        raise UsageError("tries and wait must be above 0")
    target = target_text(target)
    at = _one_target(target, probe, port_of(probe, port), family)
    options = probe_options(source, None, None, "probe")
    start = time.monotonic_ns()
    overhead = OVERHEAD[at.family]
    search = SizeSearch(at, overhead, LEAST_PACKET[at.family], DATA_MAX + 28, tries)
    told: dict[int, str] = {}

    def take(answer: Answer) -> None:
        if answer.word == "too big" and answer.mtu is not None:
            told[answer.mtu] = answer.by
        search.told(answer)

    flight = Flight(1, round(wait_s * 1e9), _both(take, on_answer))
    with explaining():
        prober, _ = _path_prober(probe, flight, at, options, 1)
    run = Run(flight, {at.family: prober}, search)
    with interruptible(run), explaining():
        run.run()
    mtu = search.largest if search.finished else None
    told_by = told.get(mtu, "") if mtu is not None else ""
    black_hole = mtu is not None and not told_by and search.smallest_lost <= DATA_MAX + 28
    after = _lost_after(target, search.smallest_lost - overhead, probe, port, family, source) if black_hole else ""
    seconds = (time.monotonic_ns() - start) / 1e9
    return PathMtu(target, at.address, mtu, told_by, black_hole, after, seconds, sum(flight.sent))


def _lost_after(target: str, size: int, probe: PathProbe, port: int | None, family: Family | None, source: str) -> str:
    """The last router that a packet too large still came to."""
    try:
        found = path(
            target,
            probe=probe,
            port=port,
            count=2,
            interval_s=0.1,
            wait_s=0.5,
            size=size,
            family=family,
            source=source,
            fragments="probe",
        )
    except EchowireError:
        return ""
    answering = [hop for hop in found.hops if any(word == "ttl exceeded" for _, word, _ in hop.answers)]
    return answering[-1].addresses[0] if answering else ""


def _both(take: Callable[[Answer], object], on_answer: Callable[[Answer], object] | None) -> Callable[[Answer], object]:
    if on_answer is None:
        return take

    def tell(answer: Answer) -> None:
        take(answer)
        on_answer(answer)

    return tell


def _data_size(probe: PathProbe, size: int | None) -> int:
    if probe not in PATH_PORTS:
        raise UsageError(f"a path is found by {', '.join(PATH_PORTS)}")
    if size is None and probe != "tcp":
        return DEFAULT_SIZE
    found = check_size(probe, size)
    if probe == "icmp" and found < 18:
        raise UsageError("a path needs 18 bytes of data to be known again")
    return found


def _one_target(target: str, probe: PathProbe, port: int, family: Family | None) -> Target:
    names = list(expand_targets([target], ports=probe != "icmp"))
    if len(names) != 1:
        raise UsageError("one target at a time")
    found = find_targets(names, port, family, raising=True)
    return found.targets[0]


def _path_prober(probe: PathProbe, flight: Flight, at: Target, options: ProbeOptions, flows: int) -> tuple[Prober, str]:
    """What sends the probes, and what becomes of their flow."""
    run = random_bits(64)
    flow = "constant" if flows == 1 else "varied"
    made: list[Prober] = []
    try:
        if probe == "tcp":
            try:
                return SynProber(flight, at, options, flows), flow
            except OperationError:
                return TcpProber(flight, lambda version: open_tcp(version, options)), "varied"
        for _ in range(flows):
            if probe == "udp":
                made.append(UdpProber(flight, open_udp(at.family, options), at.family, run))
                continue
            opened = open_icmp(at.family, options, random_bits(16))
            made.append(IcmpProber(flight, opened, run, balanced=True))
            if opened.is_raw:
                break  # one socket has as many identifiers as one likes
    except BaseException:
        for each in made:
            each.close()
        raise
    return (made[0] if len(made) == 1 else FlowsProber(flight, made)), flow
