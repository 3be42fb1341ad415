"""IPv4 and IPv6: lengths that lie, fragments, routes, extension headers, IPsec, and packets within packets."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from fuzz.packets import ethernet, ipv4, ipv6, tcp, udp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.packets.frames import damaged, dissect, survives, texts, tree, tshark

RAW = 101
UDP = udp(9999, b"payload!")


def altered(packet: bytes, at: int, value: bytes) -> bytes:
    """A packet with other bytes at one place."""
    return packet[:at] + value + packet[at + len(value) :]


PLAIN = ipv4(17, UDP)
ALERT = ipv4(17, UDP, options=bytes.fromhex("94040000"))
ROUTED = ipv4(17, UDP, options=bytes.fromhex("01 890b04 c0a80001 c0a80002"))
ARRIVED = ipv4(17, UDP, options=bytes.fromhex("01 890b0c c0a80001 c0a80002"))
RECORDING = ipv4(17, UDP, options=bytes.fromhex("070b08 0a000009 00000000 00"))
STAMPING = ipv4(17, UDP, options=bytes.fromhex("440c0d01 0a000009 00000007 00000000"))
SHORT_HEADER = altered(PLAIN, 0, b"\x44")
SHORT_LENGTH = altered(PLAIN, 2, b"\0\x13")
OFFLOADED = altered(ipv4(6, tcp(81, b"payload")), 2, b"\0\0")
LONG_LENGTH = altered(PLAIN, 2, b"\1\0")
FIRST_PART = altered(PLAIN, 6, b"\x20\0")
LATER_PART = altered(PLAIN, 6, b"\x20\x05")
LAST_PART = altered(PLAIN, 6, b"\0\x05")
OTHER_VERSION = altered(PLAIN, 0, b"\x75")
NESTED = ipv4(4, ipv4(41, ipv6(17, UDP)))

SIX = ipv6(17, UDP)
HOPS = ipv6(0, bytes.fromhex("11 00 0502 0000 0100") + UDP)
TARGET = ipv6(60, bytes.fromhex("11 02 0104 00000000 c910") + bytes(15) + b"\7" + UDP[:2] + bytes(4) + UDP)
ROUTE = ipv6(43, bytes.fromhex("11 02 00 01 00000000") + bytes(15) + b"\5" + UDP)
SEGMENTS = ipv6(43, bytes.fromhex("11 04 04 01 01000000") + bytes(15) + b"\5" + bytes(15) + b"\6" + UDP)
FIRST_6 = ipv6(44, bytes.fromhex("11 00 0001 0000abcd") + UDP)
LATER_6 = ipv6(44, bytes.fromhex("11 00 00b1 0000abcd") + UDP)
NOTHING = ipv6(59, b"")
UNKNOWN = ipv6(253, bytes(8))
EMPTY = altered(SIX, 4, b"\0\0")
SHORT_6 = SIX[:36]
SIGNED = ipv4(51, bytes.fromhex("11 04 0000 00000101 00000002 000102030405060708090a0b") + UDP)
SECRET = ipv4(50, bytes.fromhex("0000a71a 00000003") + bytes(24))
OVER_UDP = ipv4(17, udp(4500, bytes.fromhex("0000a71a 00000003") + bytes(24)))

PACKETS = (
    PLAIN,
    ALERT,
    ROUTED,
    ARRIVED,
    RECORDING,
    STAMPING,
    SHORT_HEADER,
    SHORT_LENGTH,
    OFFLOADED,
    LONG_LENGTH,
    FIRST_PART,
    LATER_PART,
    LAST_PART,
    NESTED,
    SIX,
    HOPS,
    TARGET,
    ROUTE,
    SEGMENTS,
    FIRST_6,
    LATER_6,
    NOTHING,
    UNKNOWN,
    EMPTY,
    SIGNED,
    SECRET,
    OVER_UDP,
)
FIELDS = (
    "ip.version",
    "ip.hdr_len",
    "ip.dsfield",
    "ip.dsfield.dscp",
    "ip.len",
    "ip.id",
    "ip.flags",
    "ip.flags.rb",
    "ip.flags.df",
    "ip.flags.mf",
    "ip.frag_offset",
    "ip.ttl",
    "ip.proto",
    "ip.checksum",
    "ip.checksum.status",
    "ip.src",
    "ip.dst",
    "ip.opt.type",
    "ip.opt.len",
    "ip.opt.ra",
    "ip.rec_rt",
    "ip.empty_rt",
    "ip.src_rt",
    "ip.opt.time_stamp",
    "ip.opt.flag",
    "ipv6.tclass",
    "ipv6.flow",
    "ipv6.plen",
    "ipv6.nxt",
    "ipv6.hlim",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hopopts.nxt",
    "ipv6.hopopts.len_oct",
    "ipv6.opt.type",
    "ipv6.opt.router_alert",
    "ipv6.dstopts.len",
    "ipv6.routing.type",
    "ipv6.routing.segleft",
    "ipv6.routing.src.addr",
    "ipv6.routing.srh.addr",
    "ipv6.fraghdr.offset",
    "ipv6.fraghdr.more",
    "ipv6.fraghdr.ident",
    "ah.spi",
    "ah.icv",
    "esp.spi",
    "esp.sequence",
    "udp.srcport",
)


def test_as_tshark(tmp_path: Path) -> None:
    assert texts(RAW, PACKETS, FIELDS) == tshark(tmp_path, RAW, PACKETS, FIELDS)


@pytest.mark.parametrize(
    ("packet", "info"),
    [
        (LATER_PART, "Fragmented IP protocol (proto=UDP 17, off=40, ID=0001)"),
        (SHORT_HEADER, "Bogus IP header length (16, must be at least 20)"),
        (SHORT_LENGTH, "Bogus IP length (19, less than header length 20)"),
        (LATER_6, "IPv6 fragment (off=176 more=y ident=0x0000abcd nxt=17)"),
        (NOTHING, "IPv6 no next header"),
        (UNKNOWN, "Unknown IP Protocol: Unknown (253)"),
        (ipv4(63, bytes(8)), "any local network (63)"),
        (SECRET, "ESP (SPI=0x0000a71a)"),
    ],
)
def test_info(packet: bytes, info: str) -> None:
    assert texts(RAW, [packet], ("_ws.col.info",)) == [[info]]


def test_a_version_that_cannot_be_shows_itself_alone() -> None:
    found = dissect(1, [ethernet(0x0800, OTHER_VERSION)], ("ip.version", "ip.hdr_len", "ip.src", "udp.srcport"))
    assert found == {"ip.version": [[7]], "ip.hdr_len": [[]], "ip.src": [[]], "udp.srcport": [[]]}


def test_a_source_route_leads_to_its_last_address() -> None:
    found = dissect(RAW, [ROUTED, ARRIVED], ("ip.dst", "ip.addr"))
    assert found["ip.dst"] == [[0xC0A80002], [0x0A000002]]
    assert found["ip.addr"] == [[0x0A000001, 0xC0A80002], [0x0A000001, 0x0A000002]]


def test_what_a_length_leaves_out_is_not_the_packet() -> None:
    found = dissect(RAW, [PLAIN + b"trailer", SIX + b"trailer", LONG_LENGTH], ("udp.length", "data.len"))
    assert found["data.len"] == [[8], [8], [8]]


def test_packets_within_packets() -> None:
    found = dissect(RAW, [NESTED], ("ip.proto", "ipv6.nxt", "ip.version", "udp.srcport"))
    assert found == {"ip.proto": [[4, 41]], "ipv6.nxt": [[17]], "ip.version": [[4, 4, 6]], "udp.srcport": [[9999]]}


def test_a_checksum_is_calculated() -> None:
    head = PLAIN[:20]
    words = struct.unpack(">10H", head)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    assert dissect(RAW, [PLAIN, ROUTED[:20]], ("ip.checksum_calculated",)) == {
        "ip.checksum_calculated": [[0xFFFF - total], []]
    }


def test_tree() -> None:
    lines = tree(RAW, LATER_PART)
    assert "Internet Protocol Version 4, Src: 10.0.0.1, Dst: 10.0.0.2" in lines
    assert "    ...0 0000 0000 0101 = Fragment Offset: 40" in lines
    assert "    Protocol: UDP (17)" in lines
    lines = tree(RAW, HOPS)
    assert "    Router Alert" in lines
    assert "        Router Alert: MLD (0)" in lines


@pytest.mark.parametrize("packet", [ROUTED, NESTED, TARGET, SEGMENTS, SIGNED], ids=range(5))
def test_cut_anywhere(packet: bytes) -> None:
    survives(RAW, packet)


@settings(max_examples=15)
@given(st.sampled_from(PACKETS), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4))
def test_damaged(packet: bytes, places: list[tuple[int, int]]) -> None:
    damaged(RAW, packet, places)
