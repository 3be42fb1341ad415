"""path and path_mtu: which way it goes, and how large a packet may be on it.

    for hop in echowire.path("192.0.2.1").hops:
        print(hop.number, hop.addresses, hop.loss)

    echowire.path_mtu("192.0.2.1").mtu

Both are runs of ping's loop with another schedule: every time to live at once, or many sizes at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Unpack

from echowire.core.probing.answers import Answer
from echowire.core.probing.echo_data import DATA_MAX
from echowire.core.probing.options import port_of
from echowire.core.probing.path import Path, PathReport
from echowire.core.probing.path_options import PathOptions, PathProbe, PathProbing
from echowire.core.probing.targets import TargetLike, expand_targets, in_zone, target_text
from echowire.core.schemas import document_head
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
from echowire.verbs.ping import find_targets, interface_of, interruptible, probe_options, random_bits

OVERHEAD: Mapping[Family, int] = {4: 28, 6: 48}
"""Bytes of a packet before its data: IP's header, and eight of ICMP's or UDP's."""

LEAST_PACKET: Mapping[Family, int] = {4: 28 + 16, 6: 1280}
"""The smallest that is tried: the least that names its probe, and what every IPv6 link must carry (RFC 8200, 5)."""

MTU_TRIES = 3


def path(
    target: TargetLike,
    *,
    probing: PathProbing | None = None,
    on_begin: Callable[[Path, Mapping[str, Any]], object] | None = None,
    on_answer: Callable[[Answer], object] | None = None,
    on_idle: Callable[[], object] | None = None,
    **options: Unpack[PathOptions],
) -> PathReport:
    """Find the path to `target`, all hops at a time.

    How is said by keyword, each a field of `PathProbing`, or by a `probing` of which the keywords change some:
    `probe`, `port`, `count`, `max_hops`, `flows` and the others. TCP keeps its flow only with CAP_NET_RAW; without,
    each probe is a connection of its own, and `flow` says so. `on_begin` is told of the path, `on_answer` of each
    answer as it comes, and `on_idle` is called a few times a second, in the calling thread. Raises `UsageError`,
    `NameResolutionError` and `OperationError`.
    """
    asked = replace(probing or PathProbing(), **options)
    data = asked.data_bytes
    target = target_text(target)
    at = _one_target(target, asked.probe, asked.to_port, asked.family, asked.source)
    start = time.monotonic_ns()
    hops = (asked.first_hop, asked.max_hops)
    rounds = HopRounds(at, data, asked.count, hops, asked.flows, round(asked.interval_s * 1e9), start)

    def ended_at(hop: int) -> None:
        rounds.reached = hop

    way = Path(at.address, ended_at)
    flight = Flight(1, round(asked.wait_s * 1e9), _both(way.take, on_answer))
    leaving = probe_options(asked.source, None, asked.tos, asked.fragments)
    with explaining():
        prober, flow = _path_prober(asked.probe, flight, at, leaving, asked.flows)
    port = at.sockaddr[1] or None
    effective = {"probe": asked.probe, "port": port, "flow": flow, "flows": asked.flows, "size": data}
    run = Run(flight, {at.family: prober}, rounds, on_idle=on_idle)
    started_ns = time.time_ns()
    if on_begin is not None:
        on_begin(way, {**effective, "address": at.address})
    with interruptible(run) as interrupted, explaining():
        ended: str = run.run()
    return PathReport(
        target,
        at.address,
        way.hops,
        way.reached,
        flow,
        {"target": target, **asked.document()},
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
        return {**document_head("path_mtu"), **asdict(self), "told_by": self.told_by or None,
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
    at = _one_target(target, probe, port_of(probe, port), family, source)
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
        report = path(
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
    answering = [hop for hop in report.hops if any(word == "ttl exceeded" for _, word, _ in hop.answers)]
    return answering[-1].addresses[0] if answering else ""


def _both(take: Callable[[Answer], object], on_answer: Callable[[Answer], object] | None) -> Callable[[Answer], object]:
    if on_answer is None:
        return take

    def tell(answer: Answer) -> None:
        take(answer)
        on_answer(answer)

    return tell


def _one_target(target: str, probe: PathProbe, port: int, family: Family | None, source: str) -> Target:
    names = in_zone(expand_targets([target], ports=probe != "icmp"), interface_of(source))
    if len(names) != 1:
        raise UsageError("one target at a time")
    return find_targets(names, port, family, raising=True)[0][0]


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
