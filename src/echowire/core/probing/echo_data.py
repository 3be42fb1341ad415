"""What an echo probe carries, in ICMP and in UDP: enough to know it again among all others. Pure.

    0  8  run     drawn at random once a run: replies to another run's probes, or a forger's, are told apart
    8  8  number  of the probe within the run, which does not wrap as the sixteen bits of ICMP's sequence do
    16 …  fill    00 01 02 …, so that a byte that was changed shows

In traces the two bytes from 16 make the ICMP checksum the same for all probes of a flow: load balancers that look
at the first bytes after the IP header then keep to one path (Augustin et al., "Avoiding traceroute anomalies with
Paris traceroute", IMC 2006).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

IDENTITY = struct.Struct(">QQ")
IDENTITY_BYTES = IDENTITY.size
BALANCE_BYTES = 2
BALANCED_MIN = IDENTITY_BYTES + BALANCE_BYTES
"""The least size of balanced data."""

DATA_MAX = 65_507
"""Bytes that an IPv4 packet of 65,535 has left after its header and eight more, UDP's or ICMP's."""

_FILL = bytes(range(256)) * (DATA_MAX // 256 + 1)


DAMAGED_BITS = 16
"""Bits of `run` that may differ in data of this run that was damaged: a word. Another run's differ in 32 or so, and in
so few once in 20,000."""


class Seen(NamedTuple):
    """What came back: the number of the probe, and whether all else was as it was sent."""

    number: int
    intact: bool


def fill_of(pattern: bytes) -> bytes:
    """What fills the data: `pattern` again and again, or 00 01 02 … where there is none."""
    return pattern * (DATA_MAX // len(pattern) + 1) if pattern else _FILL


def pack_data(run: int, number: int, size: int, fill: bytes = _FILL) -> bytes:
    """The `size` bytes of probe `number`; fewer than 16 hold as much of the identity as fits."""
    return (IDENTITY.pack(run, number) + fill[: max(size - IDENTITY_BYTES, 0)])[:size]


def pack_balanced(run: int, number: int, size: int, sequence: int) -> bytes:
    """As `pack_data`, but the sum of `sequence` and the data is one and the same for every probe of the run."""
    identity = IDENTITY.pack(run, number)
    total = (sequence + int.from_bytes(identity, "big")) % 0xFFFF
    return identity + (0xFFFF - total).to_bytes(BALANCE_BYTES, "big") + _FILL[: size - BALANCED_MIN]


def read_data(
    run: int, size: int, data: bytes | memoryview, *, balanced: bool = False, fill: bytes = _FILL
) -> Seen | None:
    """Which probe of `run`, of `size` bytes, `data` is; None where it is too short to tell or of another run."""
    if len(data) < IDENTITY_BYTES:
        return None
    found, number = IDENTITY.unpack_from(data)
    if found != run:
        return None
    start = BALANCED_MIN if balanced else IDENTITY_BYTES
    return Seen(number, len(data) == size and data[start:] == fill[: size - start])


def may_be_damaged(run: int, data: bytes | memoryview) -> bool:
    """Whether `data`, which `read_data` did not know, may be of `run` all the same: cut, or changed a little."""
    if len(data) < IDENTITY_BYTES:
        return True
    found: int = IDENTITY.unpack_from(data)[0]
    return (found ^ run).bit_count() <= DAMAGED_BITS
