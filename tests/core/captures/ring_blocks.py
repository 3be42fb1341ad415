"""A block of the packet ring as the kernel would fill it, for tests: struct tpacket_block_desc, then the packets."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from echowire.core.captures.numbers import LINKTYPE_ETHERNET
from echowire.core.captures.records import Bytes
from echowire.core.captures.ring import HOST

BLOCK_BYTES = 1 << 16
FIRST = 48
SECOND = 1_700_000_000


class Packet(NamedTuple):
    """One packet, and what the kernel says of it."""

    data: bytes
    time_ns: int = SECOND * 10**9
    length: int | None = None
    vlan: tuple[int, int] | None = None
    """tpid and tci."""
    packet_type: int = HOST
    protocol: int = 0x0800


def block_of(packets: Sequence[Packet], *, cooked: bool = False, room: int = 0, size: int = BLOCK_BYTES) -> Bytes:
    """The block. What lies between the packets is not zero, as what was there before is not."""
    block = bytearray(b"\xa5" * size)
    at, seconds = FIRST, [packet.time_ns // 10**9 for packet in packets] or [0]
    for number, packet in enumerate(packets):
        mac = (96 if cooked else 82) + room
        step = mac + len(packet.data) + 7 & -8
        status = 1 | (0x50 if packet.vlan else 0)
        tpid, tci = packet.vlan or (0, 0)
        length = len(packet.data) if packet.length is None else packet.length
        after = 0 if number == len(packets) - 1 else step
        head = (after, *divmod(packet.time_ns, 10**9), len(packet.data), length, status, mac, 96 + room)
        struct.pack_into("<6IHH", block, at, *head)
        struct.pack_into("<IIH2x8x", block, at + 28, 0, tci, tpid)
        struct.pack_into("<H", block, at + 48, 17)
        struct.pack_into(">H", block, at + 50, packet.protocol)
        struct.pack_into("<iHBB8s", block, at + 52, 3, LINKTYPE_ETHERNET, packet.packet_type, 6, b"\2\0\0\0\0\1\0\0")
        block[at + mac : at + mac + len(packet.data)] = packet.data
        at += step
    struct.pack_into("<6IQ4I", block, 0, 3, 48, 1, len(packets), FIRST, at, 1, seconds[0], 0, seconds[-1], 0)
    return np.frombuffer(block, np.uint8)
