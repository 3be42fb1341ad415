"""Who talked to whom, and how much: the conversations and the endpoints of a capture, by columns.

Counted as Wireshark counts: a frame's whole length, once for each header of the kind that it has (a tunnel has two of
IP), but not what an ICMP error quotes. Chunks of packets are gathered until there are enough for a grouping to be worth
its cost, and only the groups are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from echowire.wire.cells import colon_cells, ipv4_cells, ipv6_text
from echowire.wire.dissect import Packets
from echowire.wire.layers import Layer
from echowire.wire.records import Rows

GATHERED_ROWS = 500_000
"""Rows that are gathered before they are grouped: some tens of megabytes."""

ANY_STREAM = -1


@dataclass(frozen=True, slots=True)
class Kind:
    """What counts as one conversation."""

    name: str
    """As after `-z conv,`."""
    title: str
    protocol: str
    """The protocol whose header is counted."""
    has_ports: bool = False
    stream: str = ""
    """The field that tells conversations of the same ends apart."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that a reading needs."""
        ports = (f"{self.protocol}.srcport", f"{self.protocol}.dstport", "ip.src", "ipv6.src") if self.has_ports else ()
        return (self.protocol, *ports, *([self.stream] if self.stream else []))


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("eth", "Ethernet", "eth"),
        Kind("ip", "IPv4", "ip"),
        Kind("ipv6", "IPv6", "ipv6"),
        Kind("tcp", "TCP", "tcp", True, "tcp.stream"),
        Kind("udp", "UDP", "udp", True, "udp.stream"),
        Kind("sctp", "SCTP", "sctp", True),
    )
}

ADDRESS_SIZES = {"eth": 6, "ip": 4, "ipv6": 16}
ADDRESS_AT = {"eth": (6, 0), "ip": (12, 16), "ipv6": (8, 24)}
"""Offsets of source and destination in the header of each protocol that has addresses."""

ENDS = ["family", "a_high", "a_low", "b_high", "b_low", "a_port", "b_port", "stream"]
END = ["family", "high", "low", "port"]


class Conversations:
    """Conversations of one kind, counted chunk by chunk."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._gathered: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, packets: Packets, rows: Rows | None = None) -> None:
        """Count a chunk, or those of its packets that are in `rows`."""
        chosen = None if rows is None else np.isin(np.arange(len(packets)), rows)
        for layer in packets.layers_of(self.kind.protocol):
            if layer.is_quoted:
                continue
            found = _ends_of(layer, self.kind)
            if found is None:
                continue
            if chosen is not None:
                found = found.filter(pl.Series(chosen[layer.rows]))
            self._gathered.append(_grouped(found) if self._rows > GATHERED_ROWS else found)
            self._rows += len(found)
        if self._rows > GATHERED_ROWS:
            self._settle()

    def _settle(self) -> None:
        """Group what was gathered."""
        if self._gathered:
            self._gathered = [_grouped(pl.concat(self._gathered))]
            self._rows = 0

    def conversations(self) -> pl.DataFrame:
        """A row each, the most frames first: `a`, `b` and their ports, frames and bytes of each direction, the time of
        the first in nanoseconds since 1970, and how long it lasted, in nanoseconds.

        `a` is the end with the higher port; without ports, or with equal ones, the one with the lower address.
        """
        self._settle()
        if not self._gathered:
            return pl.DataFrame()
        found = self._gathered[0].sort("frames", "first", descending=[True, False], maintain_order=True)
        return found.select(
            a=_addresses(found, "a"),
            a_port="a_port",
            b=_addresses(found, "b"),
            b_port="b_port",
            stream="stream",
            frames_a_to_b="frames_a",
            bytes_a_to_b="bytes_a",
            frames_b_to_a=pl.col("frames") - pl.col("frames_a"),
            bytes_b_to_a=pl.col("bytes") - pl.col("bytes_a"),
            frames="frames",
            bytes="bytes",
            start_ns="start",
            duration_ns=pl.col("stop") - pl.col("start"),
        )

    def endpoints(self) -> pl.DataFrame:
        """A row for each end of a conversation, the most frames first, with what it sent and received."""
        self._settle()
        if not self._gathered:
            return pl.DataFrame()
        both = pl.concat(
            [
                self._gathered[0].select(
                    "family",
                    "first",
                    high=f"{end}_high",
                    low=f"{end}_low",
                    port=f"{end}_port",
                    sent=pl.col("frames_a") if end == "a" else pl.col("frames") - pl.col("frames_a"),
                    sent_bytes=pl.col("bytes_a") if end == "a" else pl.col("bytes") - pl.col("bytes_a"),
                    frames="frames",
                    bytes="bytes",
                )
                for end in ("a", "b")
            ]
        )
        counts = [pl.sum("sent"), pl.sum("sent_bytes"), pl.sum("frames"), pl.sum("bytes"), pl.min("first")]
        found = both.group_by(END, maintain_order=True).agg(counts)
        found = found.sort("frames", "first", descending=[True, False], maintain_order=True)
        return found.select(
            address=_addresses(found, ""),
            port="port",
            frames="frames",
            bytes="bytes",
            frames_sent="sent",
            bytes_sent="sent_bytes",
            frames_received=pl.col("frames") - pl.col("sent"),
            bytes_received=pl.col("bytes") - pl.col("sent_bytes"),
        )


def _ends_of(layer: Layer, kind: Kind) -> pl.DataFrame | None:
    """The ends of each packet of a layer, the one that counts as `a` first."""
    found = _addressed(layer)
    if found is None:
        return None
    holder, index = found
    name = holder.protocol.name
    whole = holder.has(max(ADDRESS_AT[name]) + ADDRESS_SIZES[name])[index]
    if kind.has_ports:
        whole &= layer.has(4)
    source, destination = (_address(holder, at)[index[whole]] for at in ADDRESS_AT[name])
    rows = layer.rows[whole]
    ports = [layer.uint(at, 2)[whole] if kind.has_ports else np.zeros(len(rows), np.uint16) for at in (0, 2)]
    higher = (source[:, 0] > destination[:, 0]) | (
        (source[:, 0] == destination[:, 0]) & (source[:, 1] > destination[:, 1])
    )
    swapped = (ports[0] < ports[1]) | ((ports[0] == ports[1]) & higher)
    a, b = np.where(swapped[:, None], destination, source), np.where(swapped[:, None], source, destination)
    length, time_ns = layer.records.length[rows], layer.records.time_ns[rows]
    return pl.DataFrame(
        {
            "family": np.full(len(rows), ADDRESS_SIZES[name], np.uint8),
            "a_high": a[:, 0],
            "a_low": a[:, 1],
            "b_high": b[:, 0],
            "b_low": b[:, 1],
            "a_port": np.where(swapped, ports[1], ports[0]),
            "b_port": np.where(swapped, ports[0], ports[1]),
            "stream": _streams(layer, kind)[whole],
            "frames": np.ones(len(rows), np.int64),
            "bytes": length,
            "frames_a": (~swapped).astype(np.int64),
            "bytes_a": np.where(swapped, 0, length),
            "start": time_ns,
            "stop": time_ns,
            "first": layer.records.number[rows],
        }
    )


def _grouped(found: pl.DataFrame) -> pl.DataFrame:
    """One row a conversation."""
    counts = [pl.sum("frames"), pl.sum("bytes"), pl.sum("frames_a"), pl.sum("bytes_a")]
    times = [pl.first("start"), pl.last("stop"), pl.min("first")]
    return found.group_by(ENDS, maintain_order=True).agg([*counts, *times])


def _addressed(layer: Layer) -> tuple[Layer, Rows] | None:
    """The nearest layer that has addresses, this one or one around it, and its entries."""
    holder: Layer | None = layer
    index = layer.every
    wanted = ADDRESS_SIZES if layer.protocol.name in ADDRESS_SIZES else ("ip", "ipv6")
    while holder is not None and holder.protocol.name not in wanted:
        index, holder = holder.index[index], holder.parent
    return None if holder is None else (holder, index)


def _address(holder: Layer, at: int) -> NDArray[np.uint64]:
    """Addresses as two numbers, the more significant first: uint64[n, 2]."""
    size = ADDRESS_SIZES[holder.protocol.name]
    out = np.zeros((len(holder), 2), np.uint64)
    if size == 16:
        out[:, 0] = holder.uint(at, 8)
    out[:, 1] = holder.uint(at + size - min(size, 8), min(size, 8))
    return out


def _streams(layer: Layer, kind: Kind) -> Rows:
    """The number of each packet's stream, where the kind has them."""
    out = np.full(len(layer), ANY_STREAM, np.int64)
    for field in layer.protocol.fields:
        if field.name == kind.stream:
            picked = layer.pick(field)
            out[picked.index] = picked.values
    return out


def _addresses(found: pl.DataFrame, end: str) -> pl.Series:
    """The addresses of one end as text."""
    prefix = f"{end}_" if end else ""
    columns = [found[name].to_numpy() for name in ("family", f"{prefix}high", f"{prefix}low")]
    return pl.Series(
        "address", [_text(*row) for row in zip(*(one.tolist() for one in columns), strict=True)], pl.String
    )


def _text(family: int, high: int, low: int) -> str:
    if family == ADDRESS_SIZES["ipv6"]:
        return ipv6_text(high.to_bytes(8, "big") + low.to_bytes(8, "big"))
    one = np.array([low], np.uint64)
    matrix = colon_cells(one, 6) if family == ADDRESS_SIZES["eth"] else ipv4_cells(one.astype(np.uint32))
    return matrix.tobytes().replace(b"\0", b"").decode()
