"""Who sent what to whom, as a ladder of all packets, in the layout of `tshark -z flow`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from echowire.core.packets.dissect import Packets, first_of_each
from echowire.core.reports.base import Span
from echowire.core.text import printable

MAX_NODES = 40
"""Columns, as many as tshark has; packets of further nodes are counted and not drawn."""

MAX_STEPS = 1_000_000
"""Packets that are kept to be drawn, some hundred bytes each."""

LANE = 20
"""Characters from one node's column to the next."""

PORT = 9
FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
COLUMNS = ("source", "destination", "protocol", "info")


class Step(NamedTuple):
    """A packet as the ladder draws it."""

    frame: int
    time_ns: int
    source: str
    destination: str
    source_port: int | None
    destination_port: int | None
    label: str
    comment: str


class Flow:
    """The report, of all packets (`any`) or of one protocol's; TCP is shown by flags and numbers, the rest by Info."""

    def __init__(self, what: str, addresses: str) -> None:
        self.what = what
        self._by_network = addresses == "network"
        self._span = Span()
        self.steps: list[Step] = []
        self._left_out = 0

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs."""
        ports = ("tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport")
        numbers = ("tcp.flags", "tcp.len", "tcp.seq", "tcp.ack") if self.what == "tcp" else ()
        protocol = () if self.what == "any" else (self.what,)
        return (*(f"_ws.col.{name}" for name in COLUMNS), *ports, *numbers, *protocol, "ip", "ipv6")

    def add(self, packets: Packets) -> None:
        """Take a chunk."""
        self._span.add(packets)
        columns = {name: packets.values(f"_ws.col.{name}").values for name in COLUMNS}
        ports = [_first(packets, f"tcp.{end}") | _first(packets, f"udp.{end}") for end in ("srcport", "dstport")]
        numbers = (
            [_first(packets, f"tcp.{name}") for name in ("flags", "len", "seq", "ack")] if self.what == "tcp" else []
        )
        times, first = packets.records.time_ns, packets.records.first
        for row in self._rows(packets):
            source, destination = str(columns["source"][row]), str(columns["destination"][row])
            if not source or not destination:
                continue
            if len(self.steps) >= MAX_STEPS:
                self._left_out += 1
                continue
            if numbers:
                flags, length, sequence, acknowledged = (one.get(row, 0) for one in numbers)
                names = ", ".join(name for bit, name in enumerate(FLAGS) if flags >> bit & 1)
                label = names + (f" - Len: {length}" if length else "")
                comment = f"Seq = {sequence}" + (f" Ack = {acknowledged}" if flags & 0x10 else "")
            else:
                label = printable(str(columns["info"][row]))
                comment = f"{columns['protocol'][row]}: {label}"
            ends = (source, destination, ports[0].get(row), ports[1].get(row))
            self.steps.append(Step(first + row, int(times[row]), *ends, label, comment))

    def _rows(self, packets: Packets) -> list[int]:
        chosen = np.ones(len(packets), np.bool_)
        if self.what != "any":
            chosen[:] = False
            for layer in packets.layers_of(self.what):
                if not layer.is_quoted:
                    chosen[layer.rows] = True
        if self._by_network:
            network = np.zeros(len(packets), np.bool_)
            for name in ("ip", "ipv6"):
                for layer in packets.layers_of(name):
                    network[layer.rows] = True
            chosen &= network
        return np.flatnonzero(chosen).tolist()

    def text(self, width: int) -> Iterator[str]:
        """Two lines a packet: what it is, and an arrow from its sender's column to its receiver's."""
        nodes = list(dict.fromkeys(name for step in self.steps for name in (step.source, step.destination)))
        place = {name: at for at, name in enumerate(nodes[:MAX_NODES])}
        yield "|Time     |" + "".join(f" {name[: 2 * LANE - 2]:<{2 * LANE - 2}}|" for name in list(place)[::2])
        names = "".join(f" {name[: 2 * LANE - 2]:<{LANE - 2}}|{'':{LANE - 1}}|" for name in list(place)[1::2])
        yield f"|         |{'':{LANE - 1}}|{names}".removesuffix("|")
        drawn = 0
        for step in self.steps:
            if step.source in place and step.destination in place:
                drawn += 1
                yield from self._drawn(step, place[step.source], place[step.destination], len(place))
        left_out = len(self.steps) - drawn + self._left_out
        if left_out:
            yield f"[{left_out} packets more are not drawn]"

    def _drawn(self, step: Step, source: int, destination: int, lanes: int) -> Iterator[str]:
        low, high = min(source, destination), max(source, destination)
        span = LANE * (high - low)
        before = f"{'':{LANE - 1}}|" * low
        after = f"{'':{LANE - 1}}|" * (lanes - 1 - high)
        ports = [f"({port or 0})" for port in (step.source_port, step.destination_port)]
        forward = source <= destination
        left, right = ports if forward else ports[::-1]
        shaft = "-" * (span - 2) + ">" if forward else "<" + "-" * (span - 2)
        label = f"{'':{PORT}}{step.label[:span]:<{span}}".ljust(span + LANE - 1)
        arrow = f"{left:<{PORT}}{shaft if span else '':<{max(span - 1, 0)}}  {right}".ljust(span + LANE - 1)
        time = f"{self._span.since(step.time_ns):.6f}"
        yield f"|{time:<9}|{before}{label}|{after}{step.comment}"
        yield f"|         |{before}{arrow}|{after}"

    def document(self) -> dict[str, Any]:
        """As data."""
        steps = [step._asdict() | {"time_s": self._span.since(step.time_ns)} for step in self.steps]
        return {"report": "flow", "of": self.what, "packets": steps, "left_out": self._left_out}


def _first(packets: Packets, name: str) -> dict[int, int]:
    """The first value of a field in each packet that has it."""
    rows, values = first_of_each(packets.values(name))
    return dict(zip(rows.tolist(), values.tolist(), strict=True))
