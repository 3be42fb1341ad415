"""UDP and UDP-Lite: what a datagram says of its length, conversations, times and checksums, and tshark's answers."""

from __future__ import annotations

import struct
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets.dissect import Dissector
from tests.core.packets.tcp.traffic import CLIENT, SERVER, differences, ipv4, records, said, tshark_says

UDP, UDP_LITE = 17, 136

FIELDS = [
    *("udp.srcport", "udp.dstport", "udp.length", "udp.stream", "udp.checksum", "udp.checksum.status"),
    *("udp.checksum_coverage", "udp.time_relative", "udp.time_delta", "udp.payload", "frame.protocols"),
]


def datagram(source: int, destination: int, length: int, checksum: int = 1, payload: bytes = b"abcd") -> bytes:
    return struct.pack(">HHHH", source, destination, length, checksum) + payload


PACKETS = [
    ipv4(UDP, datagram(62000, 61000, 12)),
    ipv4(UDP, datagram(61000, 62000, 12), SERVER, CLIENT),
    ipv4(UDP, datagram(62000, 61001, 12, 0)),
    ipv4(UDP, datagram(62000, 61000, 0)),
    ipv4(UDP, datagram(62000, 61000, 7)),
    ipv4(UDP, datagram(62000, 61000, 40)),
    ipv4(UDP, datagram(62000, 61002, 8, payload=b"")),
    ipv4(UDP_LITE, datagram(62000, 61003, 12, 0)),
    ipv4(UDP_LITE, datagram(62000, 61003, 0)),
    ipv4(UDP_LITE, datagram(62000, 61003, 4)),
    ipv4(UDP_LITE, datagram(62000, 61000, 100)),
]


def test_all_is_tsharks(tmp_path: Path) -> None:
    theirs = tshark_says(tmp_path / "a.pcap", PACKETS, FIELDS)
    assert differences(PACKETS, FIELDS, said(PACKETS, FIELDS), theirs) == []
    assert said(PACKETS, FIELDS, chunk=1) == said(PACKETS, FIELDS)


def test_the_list_says_what_tsharks_list_says(tmp_path: Path) -> None:
    theirs = tshark_says(tmp_path / "a.pcap", PACKETS, ["_ws.col.Info"])
    assert said(PACKETS, ["_ws.col.info"]) == theirs


def test_a_checksum_is_computed_when_it_is_asked_for() -> None:
    names = ["udp.checksum_calculated", "udp.checksum.bad"]
    wrong, none = ipv4(UDP, datagram(1, 2, 12, 7)), ipv4(UDP, datagram(1, 2, 12, 0))
    calculated, bad = said([wrong, none], names)[0]
    assert (bad, said([wrong, none], names)[1]) == ("1", ["", ""])
    right = ipv4(UDP, datagram(1, 2, 12, int(calculated, 16)))
    assert said([right], names) == [[calculated, ""]]
    words = CLIENT + SERVER + struct.pack(">HH", UDP, 12) + right[20:]
    assert sum(struct.unpack(f">{len(words) // 2}H", words)) % 0xFFFF == 0


@given(st.binary(max_size=30), st.sampled_from([UDP, UDP_LITE]))
@settings(max_examples=40)
def test_any_bytes_bring_nothing_down(data: bytes, protocol: int) -> None:
    found = Dissector(FIELDS).dissect(records([ipv4(protocol, data)]))
    assert len(found.values("udp.srcport").rows) == (len(data) >= 4)  # both ports, or Wireshark shows none
