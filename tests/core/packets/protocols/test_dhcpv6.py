"""DHCPv6: options within options, messages within messages."""

from __future__ import annotations

from pathlib import Path
from struct import pack

from echowire.core.packets.protocols.dhcpv6 import MAX_DEPTH
from tests.core.packets.packets import assert_as_tshark, assert_bounded, datagram, dissect, tree_of

ADDRESS = bytes.fromhex("20010db8000000000000000000000001")
DUID = bytes.fromhex("00010001183f4ef0001122334455")


def option(code: int, data: bytes) -> bytes:
    return pack(">HH", code, len(data)) + data


def message(kind: int, *options: bytes) -> bytes:
    return bytes([kind, 0xD8, 0x1E, 0xB8]) + b"".join(options)


def relayed(inner: bytes) -> bytes:
    return bytes([12, 1]) + ADDRESS + ADDRESS + option(18, b"eth0") + option(9, inner)


LEASE = option(5, ADDRESS + pack(">II", 300, 600))
OPTIONS = (
    option(1, DUID),
    option(2, bytes.fromhex("00030001000102030405")),
    option(1, bytes.fromhex("0002000000091122")),
    option(3, pack(">III", 0x02030405, 3600, 5400) + LEASE),
    option(25, pack(">III", 7, 1, 2) + option(26, pack(">IIB", 250, 300, 56) + ADDRESS)),
    option(6, b"\0\x17\0\x18"),
    option(7, b"\xff"),
    option(8, b"\0\x64"),
    option(13, b"\0\2no address"),
    option(14, b""),
    option(15, b"\0\4user"),
    option(16, b"\0\0\0\x09\0\5class"),
    option(17, b"\0\0\0\x09\0\1\0\2ab"),
    option(23, ADDRESS + ADDRESS),
    option(24, b"\7example\3com\0\7example\3org\0"),
    option(37, b"\0\0\0\x09remote"),
    option(39, b"\1\4host\7example\0"),
    option(999, b"unknown"),
)


def test_a_lease() -> None:
    packet = datagram(message(7, OPTIONS[0], OPTIONS[3]), 546, 547)
    fields = ["dhcpv6.msgtype", "dhcpv6.xid", "dhcpv6.duid.bytes", "dhcpv6.iaaddr.ip", "_ws.col.Info"]
    assert dissect([packet], fields) == {
        "dhcpv6.msgtype": [["7"]],
        "dhcpv6.xid": [["0xd81eb8"]],
        "dhcpv6.duid.bytes": [[DUID.hex()]],
        "dhcpv6.iaaddr.ip": [["2001:db8::1"]],
        "_ws.col.Info": [[f"Reply XID: 0xd81eb8 CID: {DUID.hex()} IAA: 2001:db8::1 "]],
    }
    assert "      IPv6 address: 2001:db8::1" in tree_of(packet)


def test_relayed_messages_are_followed_so_far() -> None:
    inner = message(1, OPTIONS[0])
    for _ in range(MAX_DEPTH + 10):
        inner = relayed(inner)
    found = dissect([datagram(relayed(message(1)), 547, 547), datagram(inner, 547, 547)], ["dhcpv6.msgtype"])
    assert found["dhcpv6.msgtype"][0] == ["12", "1"]
    assert len(found["dhcpv6.msgtype"][1]) <= MAX_DEPTH + 2


def test_all_options_are_as_tshark_has_them(tmp_path: Path) -> None:
    packets = [datagram(message(1, one), 547, 546) for one in OPTIONS]
    packets += [datagram(message(1, *OPTIONS), 547, 546), datagram(relayed(message(1, OPTIONS[0])), 547, 547)]
    assert_as_tshark(tmp_path, packets, "dhcpv6")


def test_cut_and_damaged_messages_are_read() -> None:
    assert_bounded(datagram(relayed(message(1, *OPTIONS)), 547, 547))
