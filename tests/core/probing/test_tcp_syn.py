"""SYNs: fields where RFC 9293 has them, and a checksum that includes the addresses."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from echowire.core.packets.tcp.header import SYN
from echowire.core.probing.icmp import Version, checksum
from echowire.core.probing.tcp_syn import Segment, pack_syn, read_quoted_segment, read_segment


@pytest.mark.parametrize(("version", "source", "destination"), [(4, "10.0.0.1", "10.0.0.2"), (6, "fd00::1", "fd00::2")])
def test_a_syn(version: Version, source: str, destination: str) -> None:
    data = pack_syn(version, source, destination, (4000, 443), 0xDEADBEEF)
    assert len(data) == 24
    assert data[12:14] == b"\x60\x02"
    assert data[20:] == struct.pack(">BBH", 2, 4, 1460 if version == 4 else 1440)
    packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    assert checksum(packed + struct.pack(">II", len(data), 6) + data) == 0
    assert read_segment(data) == Segment(4000, 443, 0xDEADBEEF, 0, SYN)
    assert read_quoted_segment(data[:8]) == (4000, 443, 0xDEADBEEF)
    for size in range(20):
        assert read_segment(data[:size]) is None
        assert (read_quoted_segment(data[:size]) is None) == (size < 8)
