"""Packets that the capture cut within a header: from which byte on a protocol is there, is what tshark says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.captures import ethernet, ipv4, tcp, udp
from tests.core.packets.frames import capture, dissect, texts, tree, tshark

ETHERNET, SLL, SLL2 = 1, 113, 276
HERE, THERE = "10.0.0.1", "10.0.0.2"

DNS = bytes.fromhex("1234 0100 0001 0000 0000 0000 03777777 00 0001 0001")
ICMP = bytes.fromhex("0800 1234 0001 0002") + b"abcdefgh"
SCTP = bytes.fromhex("03e8 07d0 00000007 00000009 03000010 00000001 00001000 0000 0000")
OSPF = bytes.fromhex("02010018 0a000001 00000000 0000 0000 0000000000000000")
ARP = bytes.fromhex("0001 0800 06 04 0001 0a0000000001 0a000001 000000000000 0a000002")
TO_UDP = ipv4(HERE, THERE, 17, udp(40000, 53, DNS))
TO_TCP = ipv4(HERE, THERE, 6, tcp(40000, 80, b"GET / HTTP/1.1\r\n\r\n"))

CUT = [
    (ETHERNET, ethernet(TO_UDP)),
    (ETHERNET, ethernet(TO_TCP)),
    (ETHERNET, ethernet(ipv4(HERE, THERE, 1, ICMP))),
    (ETHERNET, ethernet(ipv4(HERE, THERE, 132, SCTP))),
    (ETHERNET, ethernet(ipv4(HERE, THERE, 89, OSPF))),
    (ETHERNET, ethernet(ARP, 0x0806)),
    (ETHERNET, ethernet(bytes.fromhex("0064 0800") + TO_TCP, 0x8100)),
    (ETHERNET, ethernet(bytes.fromhex("00010140") + TO_TCP, 0x8847)),
    (ETHERNET, ethernet(bytes.fromhex("1100 0001 003a 0021") + TO_TCP, 0x8864)),
    (SLL, bytes.fromhex("0000 0001 0006 0a0000000001 0000 0800") + TO_TCP),
    (SLL2, bytes.fromhex("0800 0000 00000001 0001 00 06 0a0000000001 0000") + TO_TCP),
]
NAMES = ("eth", "arp", "vlan", "mpls", "pppoes", "sll", "ip", "icmp", "udp", "tcp", "sctp", "ospf", "dns", "http")


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_a_protocol_is_there_from_the_byte_on_that_tshark_needs(tmp_path: Path) -> None:
    for number, (link_type, packet) in enumerate(CUT):
        packets = [packet[:size] for size in range(len(packet) + 1)]
        length = [len(packet)] * len(packets)
        file = tmp_path / f"{number}.pcap"
        file.write_bytes(capture(link_type, packets, length))
        done = subprocess.run(
            ["tshark", "-n", "-r", str(file), "-T", "pdml"], capture_output=True, text=True, check=True
        )
        theirs = [set(re.findall(r'^  <proto name="(\w+)"', one, re.M)) for one in done.stdout.split("<packet>")[1:]]
        found = dissect(link_type, packets, NAMES, length)
        for size, names in enumerate(theirs):
            assert {name for name in NAMES if found[name][size]} == names & {*NAMES}, (packet, size)


def test_a_header_that_is_cut_has_no_fields_and_no_line() -> None:
    whole = ethernet(TO_UDP)
    cut = dissect(ETHERNET, [whole[:37], whole[:38]], ["udp.srcport", "udp", "frame.protocols"], [len(whole)] * 2)
    assert cut["udp.srcport"] == [[], [40000]]
    assert [len(one) for one in cut["udp"]] == [0, 1]
    assert cut["frame.protocols"] == [["eth:ethertype:ip:udp"]] * 2
    assert "User Datagram Protocol" not in "".join(tree(ETHERNET, whole[:37]))


def test_a_payload_of_which_nothing_was_captured_is_no_packet_of_it() -> None:
    whole = ethernet(TO_UDP)
    found = dissect(ETHERNET, [whole[:42], whole[:43]], ["frame.protocols"], [len(whole)] * 2)["frame.protocols"]
    assert [one[0].removeprefix("eth:ethertype:") for one in found] == ["ip:udp", "ip:udp:dns"]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_ip_that_carries_nothing_is_of_no_further_protocol(tmp_path: Path) -> None:
    empty = [ipv4(HERE, THERE, protocol, b"") for protocol in (1, 2, 4, 6, 17, 47, 50, 103, 132, 200)]
    said_more = bytearray(empty[3])
    said_more[2:4] = (40).to_bytes(2, "big")
    fields = ["frame.protocols", "_ws.col.Protocol", "_ws.col.Info"]
    packets = [*empty, bytes(said_more), ipv4(HERE, THERE, 2, bytes.fromhex("1600 0000 e0000005"))]
    assert texts(101, packets, fields[:2]) == [one[:2] for one in tshark(tmp_path, 101, packets, fields)]
    assert texts(101, packets[:-1], fields) == tshark(tmp_path, 101, packets[:-1], fields)


def test_what_is_cut_says_nothing_in_the_list_of_packets() -> None:
    whole = ethernet(TO_UDP)
    cut = dissect(ETHERNET, [whole[:37]], ["_ws.col.Protocol", "_ws.col.Info"], [len(whole)])
    assert cut == {"_ws.col.Protocol": [["IPv4"]], "_ws.col.Info": [["UDP (17)"]]}
