"""Every link type that carries IP leads to it, and so does every tunnel: the same datagram within each."""

from __future__ import annotations

import json
import lzma
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fuzz.packets import ethernet, ipv4, ipv6, udp
from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets.dissect import Dissector, first_of_each
from echowire.core.packets.registry import registry
from echowire.kernel.captures.files import read_records
from tests.core.packets.frames import damaged, dissect, survives, texts, tshark

INNER = ipv4(17, udp(9999, b"payload!"))
INNER_6 = ipv6(17, udp(9999, b"payload!"))
FRAME = ethernet(0x0800, INNER)
SNAP = bytes.fromhex("aaaa03 000000 0800")
WLAN = bytes.fromhex("0801 0000 0a0b0c0d0e01 0a0b0c0d0e02 0a0b0c0d0e03 1000")
QOS = bytes.fromhex("8802 0000 0a0b0c0d0e01 0a0b0c0d0e02 0a0b0c0d0e03 1000 0500")
BRIDGED = bytes.fromhex("0803 0000 0a0b0c0d0e01 0a0b0c0d0e02 0a0b0c0d0e03 1000 0a0b0c0d0e04")
RADIOTAP = bytes.fromhex("0000 0d00 2f000000") + b"\x10" + bytes(4)
ALIGNED = bytes.fromhex("0000 1900 6f080000 0000000000000000 00 02 8509 a000 d3 a1 01")[:25]

LINKS = {
    "null, little endian": (0, bytes.fromhex("02000000") + INNER),
    "null, big endian": (0, bytes.fromhex("00000002") + INNER),
    "null, IPv6 of macOS": (0, bytes.fromhex("1e000000") + INNER_6),
    "loop": (108, bytes.fromhex("00000002") + INNER),
    "raw": (101, INNER),
    "raw, IPv6": (101, INNER_6),
    "IPv4": (228, INNER),
    "IPv6": (229, INNER_6),
    "PPP": (9, bytes.fromhex("ff03 0021") + INNER),
    "PPP, compressed": (9, bytes.fromhex("21") + INNER),
    "PPP, IPv6": (9, bytes.fromhex("0057") + INNER_6),
    "PPP, of Cisco": (50, bytes.fromhex("0f00 0800") + INNER),
    "PPPoE": (1, ethernet(0x8864, bytes.fromhex("11000001") + (len(INNER) + 2).to_bytes(2, "big") + b"\0\x21" + INNER)),
    "Cisco HDLC": (104, bytes.fromhex("0f00 0800") + INNER),
    "cooked": (113, bytes.fromhex("0004 0001 0006 000102030405 0000 0800") + INNER),
    "cooked, of a GRE tunnel": (113, bytes.fromhex("0000 030a 0004 0a000001 00000000 0800") + INNER),
    "cooked, version 2": (276, bytes.fromhex("0800 0000 00000002 0001 00 06 000102030405 0000") + INNER),
    "FDDI": (10, bytes.fromhex("50 000102030405 060708090a0b") + SNAP + INNER),
    "ARCNET": (7, bytes.fromhex("01 02 d4 00 0001") + INNER),
    "ARCNET of Linux": (129, bytes.fromhex("01 02 0000 d4 00 0001") + INNER),
    "Frame Relay": (107, bytes.fromhex("1841 03 cc") + INNER),
    "Frame Relay of Cisco": (107, bytes.fromhex("1841 0800") + INNER),
    "SunATM": (123, bytes.fromhex("02 00 0064") + SNAP + INNER),
    "InfiniBand": (242, bytes(20) + bytes.fromhex("00000550") + bytes(16) + bytes.fromhex("08000000") + INNER),
    "ipnet": (226, bytes.fromhex("01 02 0000 00000024 00000002 00000000 ffffffff 00000000") + INNER),
    "802.11": (105, WLAN + SNAP + INNER),
    "802.11, QoS": (105, QOS + SNAP + INNER),
    "802.11, four addresses": (105, BRIDGED + SNAP + INNER),
    "802.11 behind radiotap": (127, bytes.fromhex("0000 0800 00000000") + WLAN + SNAP + INNER),
    "802.11 behind Prism": (119, bytes.fromhex("00000044 00000090") + bytes(136) + WLAN + SNAP + INNER),
    "PPI": (192, bytes.fromhex("00 00 0800 69000000") + WLAN + SNAP + INNER),
    "MPLS": (1, ethernet(0x8847, bytes.fromhex("0001003f 000641ff") + INNER)),
    "MPLS over PPP": (9, bytes.fromhex("ff03 0281 000641ff") + INNER),
    "GRE": (101, ipv4(47, bytes.fromhex("00000800") + INNER)),
    "GRE with all": (101, ipv4(47, bytes.fromhex("b0000800 00000000 00000007 00000001") + INNER)),
    "GRE of PPTP": (101, ipv4(47, bytes.fromhex("3081880b 00240001 00000001 00000001 ff03 0021") + INNER)),
    "GRE with Ethernet": (101, ipv4(47, bytes.fromhex("00006558") + FRAME)),
    "ERSPAN I": (101, ipv4(47, bytes.fromhex("000088be") + FRAME)),
    "ERSPAN II": (101, ipv4(47, bytes.fromhex("100088be 00000001 1001 0065 00000001") + FRAME)),
    "ERSPAN III": (101, ipv4(47, bytes.fromhex("100022eb 00000001 2001 0065 00000001 00000000") + FRAME)),
    "VXLAN": (101, ipv4(17, udp(4789, bytes.fromhex("08000000 00000100") + FRAME))),
    "Geneve": (101, ipv4(17, udp(6081, bytes.fromhex("0100 6558 00000100 00000000") + FRAME))),
    "Geneve with IPv6": (101, ipv4(17, udp(6081, bytes.fromhex("0000 86dd 00000100") + INNER_6))),
    "GTP": (101, ipv4(17, udp(2152, bytes.fromhex("30ff") + len(INNER).to_bytes(2, "big") + bytes(4) + INNER))),
    "GTP with an extension": (
        101,
        ipv4(
            17,
            udp(2152, bytes.fromhex("34ff") + (8 + len(INNER)).to_bytes(2, "big") + bytes(7) + b"\x85\1\0\0\0" + INNER),
        ),
    ),
    "Teredo": (101, ipv4(17, udp(3544, bytes.fromhex("0000 1234 0a0b0c0d") + INNER_6))),
    "6in4": (101, ipv4(41, INNER_6)),
    "a PIM register": (101, ipv4(103, bytes.fromhex("21000000 00000000") + INNER)),
}
FIELDS = ("udp.srcport", "ip.src", "ipv6.src", "vxlan.vni", "gre.proto", "gre.key", "erspan.vlan", "geneve.vni")
OF_WLAN = ("wlan.fc.type_subtype", "wlan.fc.ds", "wlan.ra", "wlan.ta", "wlan.da", "wlan.sa", "wlan.bssid", "wlan.seq")


@pytest.mark.parametrize("name", LINKS)
def test_each_leads_to_the_datagram(name: str) -> None:
    link_type, packet = LINKS[name]
    assert dissect(link_type, [packet], ("udp.srcport",))["udp.srcport"][0][-1] == 9999


@pytest.mark.parametrize("link_type", sorted({link for link, _ in LINKS.values()}))
def test_as_tshark(tmp_path: Path, link_type: int) -> None:
    packets = [packet for link, packet in LINKS.values() if link == link_type]
    fields = FIELDS + OF_WLAN if link_type in (105, 127) else FIELDS
    ours = texts(link_type, packets, (*fields, "frame.len"))
    assert ours == tshark(tmp_path, link_type, packets, (*fields, "frame.len"))


def test_management_frames(tmp_path: Path) -> None:
    head = bytes.fromhex("0000 ffffffffffff 0a0b0c0d0e02 0a0b0c0d0e02 2015")
    beacon = b"\x80\0" + head + bytes(8) + bytes.fromhex("6400 1104") + b"\0\4echo" + b"\3\1\6"
    probe = b"\x40\0" + head + b"\0\0" + b"\1\1\x82"
    farewell = b"\xc0\0" + head + b"\7\0"
    packets = [beacon, probe, farewell, bytes.fromhex("d4000000 0a0b0c0d0e02"), bytes.fromhex("b4000000") + bytes(12)]
    fields = ("wlan.fixed.beacon", "wlan.ssid", "wlan.ds.current_channel", "wlan.fixed.reason_code", *OF_WLAN)
    assert texts(105, packets[:1] + packets[2:], fields) == tshark(tmp_path, 105, packets[:1] + packets[2:], fields)
    columns = ("_ws.col.Protocol", "_ws.col.Info")
    assert texts(105, packets, columns)[:3] == tshark(tmp_path, 105, packets, columns)[:3]
    survives(105, beacon)


def test_radiotap_fields(tmp_path: Path) -> None:
    fields = (
        "radiotap.length",
        "radiotap.flags",
        "radiotap.datarate",
        "radiotap.channel.freq",
        "radiotap.dbm_antsignal",
    )
    packet = [ALIGNED + WLAN + SNAP + INNER]
    assert texts(127, packet, fields) == tshark(tmp_path, 127, packet, fields)


@pytest.mark.parametrize(
    "name", ["PPPoE", "cooked", "Frame Relay", "802.11, QoS", "GRE with all", "ERSPAN III", "Geneve"]
)
def test_cut_anywhere(name: str) -> None:
    survives(LINKS[name][0], LINKS[name][1])


@settings(max_examples=30)
@given(st.sampled_from(sorted(LINKS)), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4))
def test_damaged(name: str, places: list[tuple[int, int]]) -> None:
    damaged(LINKS[name][0], LINKS[name][1], places)


# What tshark found in real captures, of every link type but Ethernet.

CAPTURES = os.environ.get("ECHOWIRE_CAPTURES")
ETHERNET = 1
REACHED = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "arp.opcode", "icmp.type", "udp.srcport", "tcp.srcport")
MAX_MISSES = 2
"""Of a link type's values that may differ: the captures hold packets that were made to break dissectors."""


@pytest.mark.skipif(CAPTURES is None, reason="ECHOWIRE_CAPTURES is not set: no real captures at hand")
def test_link_types_of_real_captures_get_as_far_as_tshark() -> None:
    assert CAPTURES is not None
    known = [registry().fields[name][0][1] for name in REACHED]
    missed: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    with lzma.open(Path(CAPTURES, "golden.jsonl.xz"), "rt") as golden:
        for line in golden:
            answer = json.loads(line)
            dissector, first = Dissector(REACHED), 0
            file = read_records(Path(CAPTURES, "dev", answer["file"]))
            for records in file:
                if (records.link_type == ETHERNET).all():
                    break
                packets = dissector.dissect(records)
                links = records.link_type
                for name, field in zip(REACHED, known, strict=True):
                    theirs = answer["columns"].get(name, [""] * answer["rows"])[first : first + len(records)]
                    values = first_of_each(packets.values(name))
                    has = np.zeros(len(records), np.bool_)
                    has[values.rows] = True
                    differ = has[: len(theirs)] != np.array([bool(one) for one in theirs], np.bool_)
                    missed.update(links[: len(theirs)][differ].tolist())
                    seen.update(links[: len(theirs)][[bool(one) for one in theirs]].tolist())
                    assert field.name == name
                first += len(records)
            file.close()
    assert len(seen) > 10
    assert {link: count for link, count in missed.items() if count > MAX_MISSES} == {}
