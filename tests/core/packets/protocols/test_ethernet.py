"""Ethernet and what wraps it: types and lengths, tags, padding and trailers, ISL, FabricPath, MACsec."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.packets import ethernet, ipv4, ipv6, udp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.packets.frames import ETHERNET, damaged, dissect, survives, texts, tree, tshark

INNER = ipv4(17, udp(9999, b"payload!"))
ADDRESSES = bytes.fromhex("0180c2000000 0a0b0c0d0e0f")
LLC = bytes.fromhex("424203")
SNAP = bytes.fromhex("aaaa03 000000 0800")
TAG, PROVIDER = bytes.fromhex("a064"), bytes.fromhex("3005")

PLAIN = ethernet(0x0800, INNER)
TAGGED = ethernet(0x8100, TAG + b"\x08\0" + INNER)
TWICE = ethernet(0x88A8, PROVIDER + b"\x81\0" + TAG + b"\x08\0" + INNER)
LENGTH = ADDRESSES + (38).to_bytes(2, "big") + LLC + bytes(35)
OVER_SNAP = ADDRESSES + (8 + len(INNER)).to_bytes(2, "big") + SNAP + INNER
RAW_IPX = ADDRESSES + (32).to_bytes(2, "big") + b"\xff\xff" + bytes(30)
NEITHER = ethernet(0x05DD, bytes(46))
PADDED = ethernet(0x0800, ipv4(17, udp(9999, b"")) + bytes(18))
TRAILED = ethernet(0x0800, ipv4(17, udp(9999, b"")) + bytes(18) + b"trailer" + b"\1\2\3\4")
PADDED_TAG = ethernet(0x8100, TAG + b"\x08\0" + ipv4(17, udp(9999, b"")) + bytes(14))
ISL = bytes.fromhex("01000c0000 00 001122334455 0050 aaaa03 001122 00c9 0000 0000") + PLAIN + bytes(4)
FABRIC_PATH = bytes.fromhex("010203040506 020304050607 8903 0401") + PLAIN + bytes(4)
MACSEC = ethernet(0x88E5, bytes.fromhex("20 00 00000001 0a0b0c0d0e0f 0001") + b"\x08\0" + INNER + bytes(16))
BACKBONE = ethernet(0x88E7, bytes.fromhex("20000001") + PLAIN)

PACKETS = (
    PLAIN,
    TAGGED,
    TWICE,
    LENGTH,
    OVER_SNAP,
    RAW_IPX,
    NEITHER,
    PADDED,
    TRAILED,
    PADDED_TAG,
    ISL,
    FABRIC_PATH,
    MACSEC,
)
FIELDS = (
    "eth.dst",
    "eth.src",
    "eth.dst.lg",
    "eth.src.ig",
    "eth.dst.oui",
    "eth.type",
    "eth.len",
    "eth.invalid_lentype",
    "eth.padding",
    "eth.trailer",
    "eth.fcs",
    "vlan.id",
    "vlan.priority",
    "vlan.dei",
    "vlan.etype",
    "ieee8021ad.id",
    "llc.dsap",
    "llc.control",
    "llc.type",
    "llc.oui",
    "isl.vlan_id",
    "isl.len",
    "cfp.ftag",
    "macsec.PN",
    "ip.src",
    "ip.len",
    "udp.srcport",
)


def test_types_tags_and_lengths() -> None:
    found = dissect(ETHERNET, PACKETS, ("eth.type", "eth.len", "vlan.id", "ieee8021ad.id", "udp.srcport"))
    assert found["eth.type"][:4] == [[0x0800], [0x8100], [0x88A8], []]
    assert found["eth.len"][:6] == [[], [], [], [38], [8 + len(INNER)], [32]]
    assert found["vlan.id"][:3] == [[], [100], [100]]
    assert found["ieee8021ad.id"][2] == [5]
    assert [number for number, ports in enumerate(found["udp.srcport"]) if ports] == [0, 1, 2, 4, 7, 8, 9, 10, 11, 12]


def test_a_frame_in_a_frame_in_a_backbone() -> None:
    found = dissect(ETHERNET, [BACKBONE], ("ieee8021ah.isid", "ieee8021ah.cdst", "udp.srcport"))
    assert found == {"ieee8021ah.isid": [[1]], "ieee8021ah.cdst": [[0x000102030405]], "udp.srcport": [[9999]]}


def test_wrapped_frames_have_no_ethernet_header_outside() -> None:
    found = dissect(ETHERNET, [ISL, FABRIC_PATH], ("eth.dst", "isl.vlan_id"))
    assert found == {"eth.dst": [[0x000102030405]] * 2, "isl.vlan_id": [[100], []]}


def test_a_header_that_is_cut_says_nothing() -> None:
    assert dissect(ETHERNET, [PLAIN[:13]], ("eth.dst", "eth.type")) == {"eth.dst": [[]], "eth.type": [[]]}


def test_the_length_bounds_what_follows() -> None:
    short = ADDRESSES + (4).to_bytes(2, "big") + SNAP + INNER
    assert dissect(ETHERNET, [short], ("ip.src",)) == {"ip.src": [[]]}


def test_tree() -> None:
    lines = tree(ETHERNET, TAGGED)
    assert lines[1].startswith("    ") or lines[0].startswith("Frame 1: ")
    assert "Ethernet II, Src: 06:07:08:09:0a:0b, Dst: 00:01:02:03:04:05" in lines
    assert "    Type: 802.1Q Virtual LAN (0x8100)" in lines
    assert "802.1Q Virtual LAN, PRI: 5, DEI: 0, ID: 100" in lines
    assert "    101. .... .... .... = Priority: Voice, < 10ms latency and jitter (5)" in lines


def test_as_tshark(tmp_path: Path) -> None:
    assert texts(ETHERNET, PACKETS, FIELDS) == tshark(tmp_path, ETHERNET, PACKETS, FIELDS)


def test_protocols_as_tshark(tmp_path: Path) -> None:
    some = [PLAIN, TAGGED, LENGTH, ethernet(0x86DD, ipv6(59, b"")), ISL, FABRIC_PATH]
    ours = [row[0].removesuffix(":data") for row in texts(ETHERNET, some, ("frame.protocols",))]
    theirs = [row[0].removesuffix(":data") for row in tshark(tmp_path, ETHERNET, some, ("frame.protocols",))]
    assert [one.removesuffix(":stp") for one in ours] == [one.removesuffix(":stp") for one in theirs]


@pytest.mark.parametrize("packet", [TWICE, OVER_SNAP, ISL, MACSEC, BACKBONE], ids=range(5))
def test_cut_anywhere(packet: bytes) -> None:
    survives(ETHERNET, packet)


@settings(max_examples=15)
@given(st.sampled_from(PACKETS), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=4))
def test_damaged(packet: bytes, places: list[tuple[int, int]]) -> None:
    damaged(ETHERNET, packet, places)
