"""Bytes of UDP by flow, of the packets of a block: of each datagram what IP says its length is, without the headers."""

from __future__ import annotations

import numpy as np

from echowire.core.captures.ring import Frames
from echowire.core.owners.flow_keys import IPV4_PLAIN, KEY_BYTES, LINK_TYPES, Headers, distinct_flows
from echowire.core.packets.columns import gather_uint

UDP_HEADER_BYTES = 8

DatagramFlow = tuple[bytes, int, bytes, int]
"""Source and its port, target and its port; addresses of 16 bytes, IPv4 mapped into IPv6."""


def datagram_bytes(frames: Frames, link_type: int) -> dict[DatagramFlow, int]:
    """Bytes of payload of each flow. Of fragments, the first has the ports, and the others are not counted."""
    flows = distinct_flows(Headers(frames.block, frames.start, frames.cap_len, link_type))
    if not len(flows.rows):
        return {}
    at = frames.start[flows.rows] + (LINK_TYPES[link_type][1] if link_type in LINK_TYPES else 0)
    first = frames.block[at]
    is_v4 = first >> 4 == IPV4_PLAIN >> 4
    total_v4 = gather_uint(frames.block, at + 2, 2).astype(np.int64)
    total_v6 = gather_uint(frames.block, at + 4, 2).astype(np.int64)
    size = np.where(is_v4, total_v4 - (first & 15).astype(np.int64) * 4, total_v6) - UDP_HEADER_BYTES
    sums = np.bincount(flows.which, np.maximum(size, 0), len(flows.first)).astype(np.int64).tolist()
    keys, found = flows.keys.tobytes(), dict[DatagramFlow, int]()
    for number, count in enumerate(sums):
        raw = keys[number * KEY_BYTES : (number + 1) * KEY_BYTES]
        flow = raw[:16], int.from_bytes(raw[32:34]), raw[16:32], int.from_bytes(raw[34:36])
        found[flow] = found.get(flow, 0) + count
    return found
