"""The flow of each packet, as one number of fixed size: addresses, ports and protocol of its outermost TCP or UDP.

The dissection knows far more and takes half a microsecond a packet for it. This is for who has to look at every packet
of a live capture, and so knows no more than the links and headers that packets of a host's own sockets have there:
Ethernet with up to two VLAN tags, Linux cooked, bare IP; IPv4 with options, IPv6 without extension headers.

Nearly all packets have no tags and no options. Of these `distinct_flows` makes one number of 64 bits, by few strokes,
and only one packet of each such number is looked at further: the packets of a flow come in runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import PAD, Bytes, Rows
from echowire.core.owners.events import V4_MAPPED
from echowire.core.packets.columns import gather_bytes, gather_uint

TCP, UDP = 6, 17
KEY_BYTES = 40
"""Source and destination address, 16 bytes each, IPv4 mapped into IPv6; their ports, 2 each; protocol; 3 of zero."""

LINK_TYPES: Mapping[int, tuple[int, int]] = {1: (12, 14), 113: (14, 16), 276: (0, 20)}
"""Where an Ethernet type stands, and where what it names begins: Ethernet, Linux cooked of both versions."""
RAW_IP = 101
IPV4_TYPE, IPV6_TYPE, VLAN_TYPES = 0x0800, 0x86DD, (0x8100, 0x88A8)
VLAN_TAGS = 2


PORTS_BYTES = 4


class Layout(NamedTuple):
    """Offsets in an IP header."""

    protocol: int
    addresses: int
    address_bytes: int


IPV4, IPV6 = Layout(9, 12, 4), Layout(6, 8, 16)
IPV4_BYTES, IPV6_BYTES = 20, 40
IPV4_PLAIN = 0x45
"""First byte of an IPv4 header without options."""
CARRIED = np.frombuffer(bytes([0, 0, 0x1F, 0xFF, 0, 0xFF, 0, 0]), "<u8")[0]
"""Of the bytes 4 to 11 of an IPv4 header: where in a datagram the fragment stands, and the protocol."""
OF_IPV4 = {protocol: np.uint64(protocol << 40) for protocol in (TCP, UDP)}
"""The same of a packet that has ports."""


class Headers(NamedTuple):
    """Where packets lie that are all of one link type."""

    data: Bytes
    start: Rows
    cap_len: Rows
    link_type: int


class Flows(NamedTuple):
    """The flows of some packets. The same flow may be there twice, if its packets bear different headers."""

    rows: Rows
    """The packets that have a flow."""
    which: Rows
    """The flow of each of these."""
    first: Rows
    """A packet of each flow."""
    keys: NDArray[np.uint8]
    """uint8[len(first), KEY_BYTES]"""


def distinct_flows(headers: Headers) -> Flows:
    """The flows of packets, whose data needs no padding behind it."""
    found, others = _plain_flows(headers)
    if len(others):
        found = _joined(found, _other_flows(headers, others))
    return found


def _joined(one: Flows, other: Flows) -> Flows:
    return Flows(
        np.concatenate([one.rows, other.rows]),
        np.concatenate([one.which, other.which + len(one.first)]),
        np.concatenate([one.first, other.first]),
        np.concatenate([one.keys, other.keys]),
    )


def _plain_flows(headers: Headers) -> tuple[Flows, Rows]:
    """The flows of packets without VLAN tags and IPv4 options, and the packets that may have others."""
    data, start, cap_len, link = headers
    if link not in LINK_TYPES:
        return _NO_FLOWS, np.arange(len(start))
    type_at, size = LINK_TYPES[link]
    rows = np.flatnonzero(cap_len >= size + IPV4_BYTES + PORTS_BYTES)
    if not len(rows):
        return _NO_FLOWS, rows
    kind = gather_uint(data, start[rows] + type_at, 2)
    at = start[rows] + size
    v4 = (kind == IPV4_TYPE) & (data[at] == IPV4_PLAIN)
    v6 = (kind == IPV6_TYPE) & (cap_len[rows] >= size + IPV6_BYTES + PORTS_BYTES)
    known = v4 | v6
    others = _NO_ROWS if known.all() else rows[~known & ((kind == IPV4_TYPE) | np.isin(kind, VLAN_TYPES))]
    parts = []
    if v4.any():
        parts.append(_plain_ipv4(data, *_where(v4, rows, at)))
    if v6.any():
        parts.append(_plain_ipv6(data, *_where(v6, rows, at)))
    return reduce(_joined, parts) if parts else _NO_FLOWS, others


def _where(mask: NDArray[np.bool_], *columns: NDArray[Any]) -> Sequence[NDArray[Any]]:
    """Those of the columns, which are only copied if need be."""
    return columns if mask.all() else [column[mask] for column in columns]


def _plain_ipv4(data: Bytes, rows: Rows, at: Rows) -> Flows:
    """Of packets whose IPv4 header begins at `at` and has no options."""
    carried = gather_uint(data, at + 4, 8, little=True) & CARRIED
    rows, at, carried = _where((carried == OF_IPV4[UDP]) | (carried == OF_IPV4[TCP]), rows, at, carried)
    addresses = gather_uint(data, at + 12, 8, little=True)
    ports = gather_uint(data, at + IPV4_BYTES, PORTS_BYTES)
    first, which = _distinct(carried | ports, addresses)
    return Flows(rows, which, rows[first], _keys(data, at[first], IPV4, at[first] + IPV4_BYTES))


def _plain_ipv6(data: Bytes, rows: Rows, at: Rows) -> Flows:
    """Of packets whose IPv6 header begins at `at`, and has no other behind it."""
    protocol = data[at + 6]
    rows, at, protocol = _where((protocol == UDP) | (protocol == TCP), rows, at, protocol)
    words = [gather_uint(data, at + place, 8, little=True) for place in (8, 16, 24, 32)]
    ports = gather_uint(data, at + IPV6_BYTES, PORTS_BYTES)
    first, which = _distinct(protocol.astype(np.uint64) << np.uint64(40) | ports, *words)
    return Flows(rows, which, rows[first], _keys(data, at[first], IPV6, at[first] + IPV6_BYTES))


def _other_flows(headers: Headers, others: Rows) -> Flows:
    """The flows of whatever packets, one by one."""
    start, cap_len = headers.start[others], headers.cap_len[others]
    begin, end = int(start.min()), int((start + cap_len).max())
    padded = np.concatenate([headers.data[begin:end], np.zeros(PAD, np.uint8)])
    rows, keys = flows_of(Headers(padded, start - begin, cap_len, headers.link_type))
    first, which = _distinct(*keys.view("<u8").T)
    return Flows(others[rows], which, others[rows[first]], keys[first])


def flows_of(headers: Headers) -> tuple[Rows, NDArray[np.uint8]]:
    """The packets that have a flow, and the flows: uint8[n, KEY_BYTES]. Behind the data there are `PAD` bytes."""
    data, end = headers.data, headers.start + headers.cap_len
    at, versions = _network_layers(headers)
    v4, v6 = np.flatnonzero(versions == 4), np.flatnonzero(versions == 6)
    header = (data[at[v4]] & 15).astype(np.int64) * 4
    whole = (header >= IPV4_BYTES) & (gather_uint(data, at[v4] + 6, 2) & 0x1FFF == 0)  # a later fragment has no ports
    found = [
        _flows(data, v4[whole], at[v4][whole], IPV4, at[v4][whole] + header[whole], end),
        _flows(data, v6, at[v6], IPV6, at[v6] + IPV6_BYTES, end),
    ]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([flows for _, flows in found])


def _network_layers(headers: Headers) -> tuple[Rows, NDArray[np.uint8]]:
    """Where each packet's IP header begins, and its version; 0 where there is none that this knows."""
    data, at = headers.data, headers.start.copy()
    if headers.link_type in LINK_TYPES:
        type_at, size = LINK_TYPES[headers.link_type]
        kind = gather_uint(data, at + type_at, 2)
        at += size
        for _ in range(VLAN_TAGS):
            tagged = np.isin(kind, VLAN_TYPES)
            if not tagged.any():
                break
            kind = np.where(tagged, gather_uint(data, at + 2, 2), kind)
            at[tagged] += 4
        return at, np.where(kind == IPV4_TYPE, 4, np.where(kind == IPV6_TYPE, 6, 0)).astype(np.uint8)
    if headers.link_type == RAW_IP:
        return at, (data[at] >> 4).astype(np.uint8)
    return at, np.zeros(len(at), np.uint8)


def _flows(data: Bytes, rows: Rows, at: Rows, layout: Layout, ports: Rows, end: Rows) -> tuple[Rows, NDArray[np.uint8]]:
    """Of the packets `rows` those of TCP and UDP, whose IP header begins at `at` and what it carries at `ports`."""
    protocol = data[at + layout.protocol]
    known = np.flatnonzero(((protocol == TCP) | (protocol == UDP)) & (ports + PORTS_BYTES <= end[rows]))
    return rows[known], _keys(data, at[known], layout, ports[known])


def _keys(data: Bytes, at: Rows, layout: Layout, ports: Rows) -> NDArray[np.uint8]:
    size = layout.address_bytes
    keys = np.zeros((len(at), KEY_BYTES), np.uint8)
    both = gather_bytes(data, at + layout.addresses, 2 * size)
    keys[:, 16 - size : 16], keys[:, 32 - size : 32] = both[:, :size], both[:, size:]
    if size == 4:
        keys[:, : len(V4_MAPPED)] = keys[:, 16 : 16 + len(V4_MAPPED)] = np.frombuffer(V4_MAPPED, np.uint8)
    keys[:, 32:36] = gather_bytes(data, ports, PORTS_BYTES)
    keys[:, 36] = data[at + layout.protocol]
    return keys


_FACTORS = np.random.default_rng().integers(1 << 63, size=KEY_BYTES // 8, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
"""Drawn anew each time, so that nobody can choose addresses whose flows are taken for one."""
_SHIFTS = np.uint64(29), np.uint64(32)


def _distinct(*words: NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """One of each distinct row of these columns, and which of them each row is: told apart by a number of 64
    bits, and compared with the row before, as bulk comes in runs.
    """
    sums = np.zeros(len(words[0]), np.uint64)
    for word, factor in zip(words, _FACTORS, strict=False):
        sums ^= word
        sums ^= sums >> _SHIFTS[0]
        sums *= factor
        sums ^= sums >> _SHIFTS[1]
    runs = _begins(sums)
    order = np.argsort(sums[runs])  # np.unique would sort stably, which takes five times as long
    begins = _begins(sums[runs[order]])
    which = np.empty(len(runs), np.int64)
    which[order] = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(runs)))
    return runs[order[begins]], np.repeat(which, np.diff(runs, append=len(sums)))


def _begins(values: NDArray[np.uint64]) -> Rows:
    """Where another value begins."""
    changes = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return np.flatnonzero(changes)


_NO_ROWS: Rows = np.zeros(0, np.int64)
_NO_FLOWS = Flows(_NO_ROWS, _NO_ROWS, _NO_ROWS, np.zeros((0, KEY_BYTES), np.uint8))
