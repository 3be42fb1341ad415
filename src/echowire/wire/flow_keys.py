"""The flow of each packet, as one number of fixed size: addresses, ports and protocol of its outermost TCP or UDP.

The dissection knows far more and takes half a microsecond a packet for it. This is for who has to look at every packet
of a live capture, and so knows no more than the links and headers that packets of a host's own sockets have there:
Ethernet with up to two VLAN tags, Linux cooked, bare IP; IPv4 with options, IPv6 without extension headers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from echowire.wire.columns import gather_bytes, gather_uint
from echowire.wire.records import Records, Rows

TCP, UDP = 6, 17
KEY_BYTES = 40
"""Source and destination address, 16 bytes each, IPv4 mapped into IPv6; their ports, 2 each; protocol; 3 of zero."""

V4_MAPPED = bytes(10) + b"\xff\xff"

LINK_TYPES: Mapping[int, tuple[int, int]] = {1: (12, 14), 113: (14, 16), 276: (0, 20)}
"""Where an Ethernet type stands, and where what it names begins: Ethernet, Linux cooked of both versions."""
RAW_IP = 101
IPV4_TYPE, IPV6_TYPE, VLAN_TYPES = 0x0800, 0x86DD, (0x8100, 0x88A8)
VLAN_TAGS = 2


def flows_of(records: Records) -> tuple[Rows, NDArray[np.uint8]]:
    """The packets that have a flow, and the flows: uint8[n, KEY_BYTES]."""
    data, end = records.data, records.start + records.cap_len
    at, versions = _network_layers(records)
    v4, v6 = np.flatnonzero(versions == 4), np.flatnonzero(versions == 6)
    header = (data[at[v4]] & 15).astype(np.int64) * 4
    whole = (header >= 20) & (gather_uint(data, at[v4] + 6, 2) & 0x1FFF == 0)  # a later fragment has no ports
    found = [
        _flows(records, v4[whole], at[v4][whole], (9, 12, 4), at[v4][whole] + header[whole], end),
        _flows(records, v6, at[v6], (6, 8, 16), at[v6] + 40, end),
    ]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([flows for _, flows in found])


def _network_layers(records: Records) -> tuple[Rows, NDArray[np.uint8]]:
    """Where each packet's IP header begins, and its version; 0 where there is none that this knows."""
    data, at, versions = records.data, records.start.copy(), np.zeros(len(records), np.uint8)
    for link in np.unique(records.link_type).tolist():
        rows = np.flatnonzero(records.link_type == link)
        if link in LINK_TYPES:
            type_at, size = LINK_TYPES[link]
            kind = gather_uint(data, at[rows] + type_at, 2)
            at[rows] += size
            for _ in range(VLAN_TAGS):
                tagged = np.isin(kind, VLAN_TYPES)
                if not tagged.any():
                    break
                kind = np.where(tagged, gather_uint(data, at[rows] + 2, 2), kind)
                at[rows[tagged]] += 4
            versions[rows] = np.where(kind == IPV4_TYPE, 4, np.where(kind == IPV6_TYPE, 6, 0))
        elif link == RAW_IP:
            versions[rows] = data[at[rows]] >> 4
    return at, versions


def _flows(
    records: Records, rows: Rows, at: Rows, layout: tuple[int, int, int], ports: Rows, end: Rows
) -> tuple[Rows, NDArray[np.uint8]]:
    """Of the packets `rows` those of TCP and UDP, whose IP header begins at `at` and what it carries at `ports`."""
    protocol_at, addresses_at, size = layout
    data = records.data
    protocol = data[at + protocol_at]
    known = np.flatnonzero(((protocol == TCP) | (protocol == UDP)) & (ports + 4 <= end[rows]))
    flows = np.zeros((len(known), KEY_BYTES), np.uint8)
    both = gather_bytes(data, at[known] + addresses_at, 2 * size)
    flows[:, 16 - size : 16], flows[:, 32 - size : 32] = both[:, :size], both[:, size:]
    if size == 4:
        flows[:, : len(V4_MAPPED)] = flows[:, 16 : 16 + len(V4_MAPPED)] = np.frombuffer(V4_MAPPED, np.uint8)
    flows[:, 32:36] = gather_bytes(data, ports[known], 4)
    flows[:, 36] = protocol[known]
    return rows[known], flows
