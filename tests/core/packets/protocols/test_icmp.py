"""ICMP, ICMPv6 and IGMP: what errors quote, which reply answers which request, neighbours, listeners, groups."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.packets import ipv4, ipv6, udp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.packets.frames import damaged, dissect, survives, texts, tree, tshark


def ones(data: bytes) -> int:
    """The Internet checksum."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def icmp(kind: int, code: int, rest: bytes) -> bytes:
    """An ICMP message with its checksum."""
    head = bytes([kind, code])
    return head + ones(head + b"\0\0" + rest).to_bytes(2, "big") + rest


def icmpv6(kind: int, code: int, rest: bytes) -> bytes:
    """An ICMPv6 packet with its checksum."""
    head = bytes([kind, code])
    size = 4 + len(rest)
    pseudo = bytes(15) + b"\1" + bytes(15) + b"\2" + size.to_bytes(4, "big") + bytes([0, 0, 0, 58])
    return ipv6(58, head + ones(pseudo + head + b"\0\0" + rest).to_bytes(2, "big") + rest)


def turned(packet: bytes) -> bytes:
    """The way back: source and destination exchanged."""
    if packet[0] >> 4 == 6:
        return packet[:8] + packet[24:40] + packet[8:24] + packet[40:]
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


RAW = 101
QUOTED = ipv4(17, udp(53, b"question"))
QUOTED_6 = ipv6(17, udp(53, b"question"))
REQUEST = ipv4(1, icmp(8, 0, bytes.fromhex("12340001") + b"abcdefgh"))
REPLY = turned(ipv4(1, icmp(0, 0, bytes.fromhex("12340001") + b"abcdefgh")))
OTHER = turned(ipv4(1, icmp(0, 0, bytes.fromhex("12340001") + b"ABCDEFGH")))
REQUEST_6 = icmpv6(128, 0, bytes.fromhex("12340001") + b"abcdefgh")
REPLY_6 = turned(icmpv6(129, 0, bytes.fromhex("12340001") + b"abcdefgh"))
NO_PORT = ipv4(1, icmp(3, 3, bytes(4) + QUOTED))
TOO_LONG = ipv4(1, icmp(3, 4, bytes.fromhex("000005dc") + QUOTED))
REDIRECTED = ipv4(1, icmp(5, 1, bytes.fromhex("0a0000fe") + QUOTED))
TIMES = ipv4(1, icmp(13, 0, bytes.fromhex("00010002 00000003 00000004 00000005")))
STAMPED = ipv4(1, icmp(8, 0, bytes.fromhex("12340002") + (1_700_000_000).to_bytes(4, "little") + bytes(12)))
NO_PORT_6 = icmpv6(1, 4, bytes(4) + QUOTED_6)
TOO_BIG_6 = icmpv6(2, 0, bytes.fromhex("00000500") + QUOTED_6)
MAC = bytes.fromhex("0101 0a0b0c0d0e0f")
TARGET_MAC = bytes.fromhex("0201 0a0b0c0d0e0f")
TARGET = bytes.fromhex("fe80") + bytes(13) + b"\5"
ASKED = icmpv6(135, 0, bytes(4) + TARGET + MAC)
ANSWERED = icmpv6(136, 0, bytes.fromhex("60000000") + TARGET + TARGET_MAC)
ROUTER = icmpv6(
    134,
    0,
    bytes.fromhex("40c0 0708 00000000 00000000")
    + MAC
    + bytes.fromhex("0501 0000 000005dc 0304 40c0 00000e10 00000708 00000000 20010db8")
    + bytes(12)
    + bytes.fromhex("1903 0000 00000e10 20010db8")
    + bytes(11)
    + b"\x35",
)
JOINED = icmpv6(143, 0, bytes.fromhex("00000001 04000000 ff020000") + bytes(11) + b"\5")
QUERY_1 = ipv4(2, bytes.fromhex("1100eeff00000000"))
QUERY_2 = ipv4(2, bytes.fromhex("1164ee9be0000001"))
QUERY_3 = ipv4(2, bytes.fromhex("11f8000000000000 0a140002 0a000001 0a000002"))
REPORT_2 = ipv4(2, bytes.fromhex("16000904e00000fb"))
LEAVE = ipv4(2, bytes.fromhex("17000804e00000fb"))
REPORT_3 = ipv4(
    2, bytes.fromhex("2200000000000003 04000000ef010101 03000000ef020202 01000002ef030303 0a000001 0a000002")
)

PACKETS = (
    REQUEST,
    REPLY,
    OTHER,
    REPLY,
    REQUEST_6,
    REPLY_6,
    NO_PORT,
    TOO_LONG,
    REDIRECTED,
    TIMES,
    STAMPED,
    NO_PORT_6,
    TOO_BIG_6,
    ASKED,
    ANSWERED,
    ROUTER,
    JOINED,
    QUERY_1,
    QUERY_2,
    QUERY_3,
    REPORT_2,
    LEAVE,
    REPORT_3,
)
FIELDS = (
    "icmp.type",
    "icmp.code",
    "icmp.checksum",
    "icmp.ident",
    "icmp.ident_le",
    "icmp.seq",
    "icmp.seq_le",
    "icmp.mtu",
    "icmp.redir_gw",
    "icmp.originate_timestamp",
    "icmp.resp_to",
    "icmp.resptime",
    "icmpv6.type",
    "icmpv6.code",
    "icmpv6.echo.identifier",
    "icmpv6.echo.sequence_number",
    "icmpv6.resp_to",
    "icmpv6.resptime",
    "icmpv6.mtu",
    "icmpv6.nd.ns.target_address",
    "icmpv6.nd.na.target_address",
    "icmpv6.nd.na.flag.s",
    "icmpv6.nd.ra.cur_hop_limit",
    "icmpv6.nd.ra.flag.m",
    "icmpv6.nd.ra.router_lifetime",
    "icmpv6.opt.type",
    "icmpv6.opt.length",
    "icmpv6.opt.linkaddr",
    "icmpv6.opt.mtu",
    "icmpv6.opt.prefix",
    "icmpv6.opt.prefix.length",
    "icmpv6.opt.prefix.valid_lifetime",
    "icmpv6.opt.rdnss",
    "icmpv6.mldr.nb_mcast_records",
    "icmpv6.mldr.mar.multicast_address",
    "igmp.version",
    "igmp.type",
    "igmp.max_resp",
    "igmp.maddr",
    "igmp.num_src",
    "igmp.saddr",
    "igmp.num_grp_recs",
    "igmp.record_type",
    "igmp.qqic",
    "ip.src",
    "ip.dst",
    "udp.srcport",
)


def test_as_tshark(tmp_path: Path) -> None:
    assert texts(RAW, PACKETS, FIELDS) == tshark(tmp_path, RAW, PACKETS, FIELDS)


def test_columns_as_tshark(tmp_path: Path) -> None:
    columns = ("_ws.col.Protocol", "_ws.col.Info")
    assert texts(RAW, PACKETS, columns) == tshark(tmp_path, RAW, PACKETS, columns)


def test_a_reply_answers_the_last_request_once() -> None:
    packets = [REPLY, REQUEST, REQUEST, OTHER, REPLY, REPLY, REPLY_6]
    found = dissect(RAW, packets, ("icmp.resp_to", "icmp.resptime"))
    assert found["icmp.resp_to"] == [[], [], [], [], [3], [], []]
    assert found["icmp.resptime"][4] == [2.0]


def test_a_quoted_packet_comes_after() -> None:
    found = dissect(RAW, [NO_PORT, NO_PORT_6], ("ip.proto", "ipv6.nxt", "udp.srcport"))
    assert found == {"ip.proto": [[1, 17], []], "ipv6.nxt": [[], [58, 17]], "udp.srcport": [[53], [53]]}


def test_an_echo_within_a_quoted_packet_is_no_request() -> None:
    found = dissect(RAW, [ipv4(1, icmp(3, 1, bytes(4) + REQUEST)), REPLY], ("icmp.resp_to",))
    assert found == {"icmp.resp_to": [[], []]}


def test_an_option_of_no_length_ends_the_walk() -> None:
    endless = icmpv6(135, 0, bytes(4) + TARGET + bytes(16))
    found = dissect(RAW, [endless], ("icmpv6.opt.type", "_ws.malformed"))
    assert found == {"icmpv6.opt.type": [[]], "_ws.malformed": [[1]]}


def test_tree() -> None:
    lines = tree(RAW, NO_PORT)
    assert "    Type: 3 (Destination unreachable)" in lines
    assert "    Code: 3 (Port unreachable)" in lines
    assert "            Prefix: 2001:db8::" in tree(RAW, ROUTER) or "        Prefix: 2001:db8::" in tree(RAW, ROUTER)


@pytest.mark.parametrize("packet", [NO_PORT, ROUTER, JOINED, QUERY_3, REPORT_3], ids=range(5))
def test_cut_anywhere(packet: bytes) -> None:
    survives(RAW, packet)


@settings(max_examples=15)
@given(st.sampled_from(PACKETS), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=4))
def test_damaged(packet: bytes, places: list[tuple[int, int]]) -> None:
    damaged(RAW, packet, places)
