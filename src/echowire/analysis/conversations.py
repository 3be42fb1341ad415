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
from echowire.wire.streams import internet_layer, stream_numbers

GATHERED_ROWS = 500_000
"""Rows that are gathered before they are grouped: some tens of megabytes."""

ANY_STREAM = -1

MIN_DATA_OFFSET = 0x50
"""A TCP header of less than five words is none, and not counted."""


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

ENDS = ["family", "lower_high", "lower_low", "higher_high", "higher_low", "lower_port", "higher_port", "stream"]
"""A conversation: its lower end and its higher, the addresses as two numbers each, and its stream."""

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
            self._gathered.append(found)
            self._rows += len(found)
        if self._rows > GATHERED_ROWS:
            self._settle()

    def _settle(self) -> None:
        """Group what was gathered."""
        if self._gathered:
            self._gathered = [_grouped(pl.concat(self._gathered))]
            self._rows = 0

    def conversations(self) -> pl.DataFrame:
        """A row each, the most frames first: `a`, which sent the first, and `b`, their ports, frames and bytes of each
        direction, the time of the first in nanoseconds since 1970, and how long it lasted, in nanoseconds."""
        self._settle()
        if not self._gathered:
            return pl.DataFrame()
        found = self._gathered[0].sort("frames", "first", descending=[True, False], maintain_order=True)
        forward = pl.col("from_lower")
        return found.select(
            a=_addresses(found, forward, "lower", "higher"),
            a_port=pl.when(forward).then("lower_port").otherwise("higher_port"),
            b=_addresses(found, forward, "higher", "lower"),
            b_port=pl.when(forward).then("higher_port").otherwise("lower_port"),
            stream="stream",
            frames_a_to_b=pl.when(forward).then("frames_up").otherwise(pl.col("frames") - pl.col("frames_up")),
            bytes_a_to_b=pl.when(forward).then("bytes_up").otherwise(pl.col("bytes") - pl.col("bytes_up")),
            frames_b_to_a=pl.when(forward).then(pl.col("frames") - pl.col("frames_up")).otherwise("frames_up"),
            bytes_b_to_a=pl.when(forward).then(pl.col("bytes") - pl.col("bytes_up")).otherwise("bytes_up"),
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
        up, down = ("frames_up", "bytes_up"), ("frames_down", "bytes_down")
        whole = self._gathered[0].with_columns(
            frames_down=pl.col("frames") - pl.col("frames_up"), bytes_down=pl.col("bytes") - pl.col("bytes_up")
        )
        both = pl.concat(
            [
                whole.select(
                    "family",
                    first=2 * pl.col("first") + (pl.col("from_lower") != (end == "lower")),
                    high=f"{end}_high",
                    low=f"{end}_low",
                    port=f"{end}_port",
                    sent=frames,
                    sent_bytes=sizes,
                    frames="frames",
                    bytes="bytes",
                )
                for end, (frames, sizes) in (("lower", up), ("higher", down))
            ]
        )
        counts = [pl.sum("sent"), pl.sum("sent_bytes"), pl.sum("frames"), pl.sum("bytes"), pl.min("first")]
        found = both.group_by(END, maintain_order=True).agg(counts)
        found = found.sort("frames", "first", descending=[True, False], maintain_order=True)
        return found.select(
            address=_texts(found.select("family", "high", "low")),
            port="port",
            frames="frames",
            bytes="bytes",
            frames_sent="sent",
            bytes_sent="sent_bytes",
            frames_received=pl.col("frames") - pl.col("sent"),
            bytes_received=pl.col("bytes") - pl.col("sent_bytes"),
        )


def _ends_of(layer: Layer, kind: Kind) -> pl.DataFrame | None:
    """The ends of each packet of a layer, the lower first, and which of them sent it."""
    found = _addressed(layer)
    if found is None:
        return None
    holder, index = found
    name = holder.protocol.name
    known = holder.has(max(ADDRESS_AT[name]) + ADDRESS_SIZES[name])[index]
    if kind.has_ports:
        known &= layer.has(4)
    if kind.protocol == "tcp":
        known &= layer.uint(12, 1) >= MIN_DATA_OFFSET
    source, destination = (_address(holder, at)[index[known]] for at in ADDRESS_AT[name])
    rows = layer.rows[known]
    ports = [layer.uint(at, 2)[known] if kind.has_ports else np.zeros(len(rows), np.uint16) for at in (0, 2)]
    words = ((source[:, 0], destination[:, 0]), (source[:, 1], destination[:, 1]), (ports[0], ports[1]))
    is_up = np.ones(len(rows), np.bool_)
    for ours, theirs in reversed(words):
        is_up = (ours < theirs) | ((ours == theirs) & is_up)
    lower = np.where(is_up[:, None], source, destination)
    higher = np.where(is_up[:, None], destination, source)
    length, time_ns = layer.records.length[rows], layer.records.time_ns[rows]
    stream = stream_numbers(layer, kind.stream) if kind.stream else np.full(len(layer), ANY_STREAM, np.int64)
    return pl.DataFrame(
        {
            "family": np.full(len(rows), ADDRESS_SIZES[name], np.uint8),
            "lower_high": lower[:, 0],
            "lower_low": lower[:, 1],
            "higher_high": higher[:, 0],
            "higher_low": higher[:, 1],
            "lower_port": np.where(is_up, ports[0], ports[1]),
            "higher_port": np.where(is_up, ports[1], ports[0]),
            "stream": stream[known],
            "frames": np.ones(len(rows), np.int64),
            "bytes": length,
            "frames_up": is_up.astype(np.int64),
            "bytes_up": np.where(is_up, length, 0),
            "from_lower": is_up,
            "start": time_ns,
            "stop": time_ns,
            "first": layer.records.number[rows],
        }
    )


def _grouped(found: pl.DataFrame) -> pl.DataFrame:
    """One row a conversation."""
    counts = [pl.sum("frames"), pl.sum("bytes"), pl.sum("frames_up"), pl.sum("bytes_up")]
    beginning = [pl.col("from_lower").get(pl.col("first").arg_min()), pl.min("start"), pl.max("stop"), pl.min("first")]
    return found.group_by(ENDS, maintain_order=True).agg([*counts, *beginning])


def _addressed(layer: Layer) -> tuple[Layer, Rows] | None:
    """The layer that has the addresses, this one or the nearest around it, and its entries."""
    return (layer, layer.every) if layer.protocol.name in ADDRESS_SIZES else internet_layer(layer)


def _address(holder: Layer, at: int) -> NDArray[np.uint64]:
    """Addresses as two numbers, the more significant first: uint64[n, 2]."""
    size = ADDRESS_SIZES[holder.protocol.name]
    out = np.zeros((len(holder), 2), np.uint64)
    if size == 16:
        out[:, 0] = holder.uint(at, 8)
    out[:, 1] = holder.uint(at + size - min(size, 8), min(size, 8))
    return out


def _addresses(found: pl.DataFrame, forward: pl.Expr, end: str, other: str) -> pl.Series:
    """The addresses as text: of `end` where the conversation was begun by its lower end, else of `other`."""
    parts = (
        pl.when(forward).then(f"{end}_{part}").otherwise(f"{other}_{part}").alias(part) for part in ("high", "low")
    )
    return _texts(found.select("family", *parts))


def _texts(found: pl.DataFrame) -> pl.Series:
    return pl.Series("address", [_text(*row) for row in found.iter_rows()], pl.String)


def _text(family: int, high: int, low: int) -> str:
    if family == ADDRESS_SIZES["ipv6"]:
        return ipv6_text(high.to_bytes(8, "big") + low.to_bytes(8, "big"))
    one = np.array([low], np.uint64)
    matrix = colon_cells(one, 6) if family == ADDRESS_SIZES["eth"] else ipv4_cells(one.astype(np.uint32))
    return matrix.tobytes().replace(b"\0", b"").decode()
