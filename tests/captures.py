"""Small captures that tests write themselves, of packets whose every field is known."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.records import Records

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

START_NS = 1_600_000_000_123_456_000


def ipv4(source: str, target: str, proto: int, payload: bytes, ttl: int = 64) -> bytes:
    """An IPv4 packet, its checksum left 0."""
    addresses = b"".join(bytes(map(int, one.split("."))) for one in (source, target))
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 7, 0x4000, ttl, proto, 0) + addresses + payload


def tcp(source: int, target: int, payload: bytes = b"", flags: int = 0x18) -> bytes:
    """A TCP segment without options."""
    return struct.pack(">HHIIBBHHH", source, target, 1000, 2000, 0x50, flags, 512, 0, 0) + payload


def udp(source: int, target: int, payload: bytes = b"") -> bytes:
    """A UDP datagram."""
    return struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload


def ethernet(payload: bytes, kind: int = 0x0800, source: bytes = bytes.fromhex("0a0000000001")) -> bytes:
    """A frame."""
    return bytes.fromhex("0a0000000002") + source + struct.pack(">H", kind) + payload


PACKETS = (
    ethernet(ipv4("10.0.0.1", "10.0.0.2", 6, tcp(40000, 80, b"GET /index.html HTTP/1.1\r\nHost: Example.com\r\n\r\n"))),
    ethernet(ipv4("10.0.0.2", "10.0.0.1", 6, tcp(80, 40000, flags=0x10), ttl=60)),
    ethernet(ipv4("10.0.0.1", "192.168.1.1", 17, udp(5000, 6000, bytes(range(32))))),
    ethernet(ipv4("1.1.1.1", "2.2.2.2", 4, ipv4("10.0.0.1", "10.0.0.9", 6, tcp(1, 2, flags=0x02)), ttl=9)),
    ethernet(b"\x01\x02\x03", 0x88B5, bytes.fromhex("ffeeddccbbaa")),
    ethernet(ipv4("10.0.0.3", "10.0.0.3", 6, tcp(80, 80, flags=0x12))),
)
"""Numbered from 1: HTTP's request; an acknowledgement; a datagram; IP in IP; what nobody knows; a packet to itself."""


def write_capture(path: Path, packets: Sequence[bytes] = PACKETS) -> Path:
    """A pcap file of these packets, a second apart."""
    times = [START_NS + number * 1_000_000_000 for number in range(len(packets))]
    path.write_bytes(PcapWriter(nanoseconds=True).write(Records.of(packets, times)))
    return path
