"""Which echo reply answers which request, for ICMP and ICMPv6 alike.

A reply answers the last request with the same addresses turned round, identifier, sequence number and data that has no
answer yet. The data are compared by checksum: both have the same but for the type, which it is corrected by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.ticks import NO_TIME
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Picked

MAX_PENDING = 65_536
"""Requests without a reply that are remembered; beyond it the oldest are forgotten. A sweep of a /16 fits."""

NS_PER_MS = 1_000_000

ADDRESSES = {"ip": (12, 4), "ipv6": (8, 16)}
"""Where an IP header has its source address, and how long it is; the destination comes next."""

_Key = tuple[bytes, bytes, int, int]


@dataclass(slots=True)
class _Pending:
    """Requests that wait for a reply: frame number and time of each."""

    requests: dict[_Key, tuple[int, int]] = field(default_factory=dict)

    def add(self, key: _Key, number: int, time_ns: int) -> None:
        """Remember a request. One sent again counts from then."""
        self.requests.pop(key, None)
        if len(self.requests) >= MAX_PENDING:
            del self.requests[next(iter(self.requests))]
        self.requests[key] = (number, time_ns)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """For each entry of a layer the frame number of the request that it answers, 0 for none, and how late it is."""

    request: NDArray[np.uint32]
    after_ns: NDArray[np.int64]

    def notes(self) -> list[str]:
        """What Info says of each."""
        return [f" (request in {number})" if number else "" for number in self.request.tolist()]


def pairs(layer: Layer, request: int, reply: int) -> Pairs:
    """The pairs of one layer's echoes, told by the types of request and reply. The first call counts, in the order of
    the file: so a protocol that has these fields has this as its `remember`."""
    return layer.once("echo pairs", lambda: _found(layer, request, reply))


def _found(layer: Layer, request: int, reply: int) -> Pairs:
    out = Pairs(np.zeros(len(layer), np.uint32), np.zeros(len(layer), np.int64))
    around = next((one for one in (layer.outer("ip"), layer.outer("ipv6")) if one is not None), None)
    kind = layer.uint(0, 1)
    echoes = np.flatnonzero(np.isin(kind, (request, reply)) & layer.has(8))
    if around is None or layer.is_quoted or not len(echoes):
        return out
    ip, entries = around
    first, size = ADDRESSES[ip.protocol.name]
    pending = layer.memory.of(f"echo requests of {layer.protocol.name}", _Pending)
    # One's complement sums are equal modulo 0xFFFF; the type is the upper half of the first word.
    sums = (0xFFFF - layer.uint(2, 2).astype(np.int64) - (kind.astype(np.int64) << 8)) % 0xFFFF
    idents, times = layer.uint(4, 4), layer.records.time_ns[layer.rows]
    starts = ip.start[entries] + first
    for entry in echoes.tolist():
        at, number, now = int(starts[entry]), int(layer.rows[entry]) + layer.records.first, int(times[entry])
        source, target = (ip.data[at + place : at + place + size].tobytes() for place in (0, size))
        rest = int(idents[entry]), int(sums[entry])
        if kind[entry] == request:
            pending.add((source, target, *rest), number, now)
            continue
        answered = pending.requests.pop((target, source, *rest), None)
        if answered is not None:
            out.request[entry] = answered[0]
            out.after_ns[entry] = now - answered[1] if NO_TIME not in (now, answered[1]) else 0
    return out


def pair_fields(name: str, labels: tuple[str, str], request: int, reply: int) -> tuple[Field, ...]:
    """The fields that tell of a reply's request."""

    def picked(take: Callable[[Pairs], NDArray[np.generic]]) -> Callable[[Layer], Picked]:
        def make(layer: Layer) -> Picked:
            found = pairs(layer, request, reply)
            index = np.flatnonzero(found.request)
            return Picked(index, take(found)[index])

        return make

    return (
        Field(
            f"{name}.resp_to",
            labels[0],
            Type.FRAME_NUMBER,
            make=picked(lambda found: found.request),
            generated=True,
            remembered=True,
        ),
        Field(
            f"{name}.resptime",
            labels[1],
            Type.DOUBLE,
            make=picked(lambda found: found.after_ns / NS_PER_MS),
            generated=True,
            remembered=True,
        ),
    )
