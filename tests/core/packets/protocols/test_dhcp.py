"""DHCP and BOOTP: the header, options of all kinds, overloaded fields, and what is cut."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import pytest

from tests.core.packets.packets import answer, assert_as_tshark, assert_bounded, datagram, dissect, tree_of

MAGIC = bytes.fromhex("63825363")


def header(*, kind: int = 1, hardware: int = 1, size: int = 6, file: bytes = b"", server: bytes = b"") -> bytes:
    fixed = pack(">BBBBIHH4s4s4s4s", kind, hardware, size, 0, 0x12345678, 1, 0x8000, b"", b"\1\2\3\4", b"", b"")
    return fixed + b"\0\1\2\3\4\5".ljust(16, b"\0") + server.ljust(64, b"\0") + file.ljust(128, b"\0")


def option(code: int, data: bytes) -> bytes:
    return bytes([code, len(data)]) + data


def client(*options: bytes) -> bytes:
    return datagram(header() + MAGIC + option(53, b"\3") + b"".join(options) + b"\xff", 67, 68)


OPTIONS = (
    option(1, b"\xff\xff\xff\0"),
    option(2, b"\xff\xff\xf1\xf0"),
    option(3, b"\1\2\3\4\5\6\7\x08"),
    option(12, b"somehost"),
    option(15, b"example.com\0"),
    option(19, b"\1"),
    option(33, b"\1\2\3\4\5\6\7\x08"),
    option(50, b"\12\0\0\7"),
    option(51, b"\0\0\x0e\x10"),
    option(54, b"\12\0\0\1"),
    option(55, b"\1\3\6\x0f\x79\xfc"),
    option(57, b"\5\xdc"),
    option(60, b"udhcp 1.2"),
    option(61, b"\1\0\1\2\3\4\5"),
    option(61, b"\0name"),
    option(81, b"\1\0\0host.example"),
    option(82, option(1, b"circuit") + option(2, b"\x01\x02") + option(6, b"subscriber")),
    option(93, b"\0\7\0\x09"),
    option(121, b"\x18\xc0\xa8\1\12\0\0\1\0\12\0\0\2"),
    option(145, b"\1"),
    option(252, b"http://wpad/\n"),
    option(224, b"private"),
)


def test_a_request() -> None:
    fields = ["dhcp.type", "dhcp.option.dhcp", "dhcp.hw.mac_addr", "dhcp.option.hostname", "dhcp.option.router"]
    found = dissect([client(*OPTIONS[:14])], [*fields, "_ws.col.Protocol", "_ws.col.Info"])
    assert found["dhcp.type"] == [["1"]]
    assert found["dhcp.option.dhcp"] == [["3"]]
    assert found["dhcp.hw.mac_addr"] == [["00:01:02:03:04:05", "00:01:02:03:04:05"]]
    assert found["dhcp.option.hostname"] == [["somehost"]]
    assert found["dhcp.option.router"] == [["1.2.3.4", "5.6.7.8"]]
    assert found["_ws.col.Protocol"] == [["DHCP"]]
    assert found["_ws.col.Info"] == [["DHCP Request  - Transaction ID 0x12345678"]]


def test_the_tree() -> None:
    lines = tree_of(client(*OPTIONS))
    assert "Dynamic Host Configuration Protocol (Request)" in lines
    assert "  Bootp flags: 0x8000 (Broadcast)" in lines
    assert "  Server host name not given" in lines
    assert "  Option: (1) Subnet Mask (255.255.255.0)" in lines
    assert "    IP Address Lease Time: (3600s) 1 hour" in lines
    assert "    Parameter Request List Item: (121) Classless Static Route" in lines
    assert "    192.168.1.0/24-10.0.0.1" in lines
    assert "    default-10.0.0.2" in lines
    assert lines[-2:] == ["  Option: (255) End", "    Option End: 255"]


@pytest.mark.parametrize(("where", "flag"), [("file", 1), ("server", 2)])
def test_options_may_stand_where_names_do(where: str, flag: int) -> None:
    inner = {where: b"\0" + option(12, b"elsewhere") + b"\xff"}
    packet = datagram(header(**inner) + MAGIC + option(52, bytes([flag])) + b"\xff", 67, 68)  # type: ignore[arg-type]
    assert dissect([packet], ["dhcp.option.hostname"])["dhcp.option.hostname"] == [["elsewhere"]]


def test_an_option_of_the_wrong_size_is_left_out() -> None:
    found = dissect(
        [client(option(1, b"\xff\xff"), option(12, b"after"))], ["dhcp.option.subnet_mask", "dhcp.option.hostname"]
    )
    assert found == {"dhcp.option.subnet_mask": [[]], "dhcp.option.hostname": [["after"]]}


def test_all_options_are_as_tshark_has_them(tmp_path: Path) -> None:
    packets = [client(one) for one in OPTIONS]
    packets += [
        answer(header(kind=2, file=b"pxelinux.0", server=b"boot") + MAGIC + option(53, b"\5") + b"\xff\0\0", 67, 68),
        datagram(header() + bytes(64), 67, 68),
        answer(header(kind=2) + bytes(64), 67, 68),
        datagram(header(kind=9, hardware=7, size=16) + MAGIC + b"\0\0" + option(53, b"\1") + b"\xff", 67, 68),
    ]
    # tshark has 0 for the end's type, which is 255.
    assert_as_tshark(tmp_path, packets, "dhcp", but={"dhcp.option.type"})


def test_cut_and_damaged_messages_are_read() -> None:
    assert_bounded(client(*OPTIONS))
