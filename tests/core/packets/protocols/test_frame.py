"""The frame: its times from the packet before and the first, its interface, its comments, and what is wrong with it."""

from __future__ import annotations

from typing import Any

from fuzz.packets import ethernet, ipv4, udp

from echowire.core.captures.records import Interface, Option, Records, Section
from echowire.core.captures.ticks import NO_TIME
from echowire.core.packets.dissect import Dissector
from tests.core.packets.frames import dissect

PACKET = ethernet(0x0800, ipv4(17, udp(9999, b"x")))
TIMES = ("frame.time_delta", "frame.time_delta_displayed", "frame.time_relative")


def values(dissector: Dissector, records: Records, name: str) -> list[tuple[int, Any]]:
    found = dissector.dissect(records).values(name)
    return list(zip(found.rows.tolist(), found.values.tolist(), strict=True))


def test_times_go_on_from_chunk_to_chunk() -> None:
    dissector = Dissector(TIMES)
    first = dissector.dissect(Records.of([PACKET] * 3, [10, 15, 12]))
    second = dissector.dissect(Records.of([PACKET] * 2, [20, 40], first=4))
    assert [first.values(name).values.tolist() for name in TIMES] == [[0, 5, -3], [0, 5, -3], [0, 5, 2]]
    assert [second.values(name).values.tolist() for name in TIMES] == [[8, 20], [8, 20], [10, 30]]


def test_a_packet_without_a_time_has_none() -> None:
    dissector = Dissector(TIMES)
    found = dissector.dissect(Records.of([PACKET] * 4, [NO_TIME, 10, NO_TIME, 15]))
    assert found.values("frame.time_delta").rows.tolist() == [1, 3]
    assert found.values("frame.time_delta").values.tolist() == [0, 5]
    assert found.values("frame.time_relative").values.tolist() == [0, 5]


def test_interfaces_of_pcapng_are_numbered_within_their_section() -> None:
    interfaces = (
        Interface(options=(Option(2, b"eth0"), Option(3, b"the first"))),
        Interface(section=1, first_of_section=1, options=(Option(2, b"eth1"),)),
        Interface(section=1, first_of_section=1),
    )
    sections = (Section(is_pcapng=True), Section(is_pcapng=True))
    records = Records.of([PACKET] * 3, [0, 0, 0], interface=[0, 1, 2], interfaces=interfaces, sections=sections)
    dissector = Dissector(None)
    assert values(dissector, records, "frame.interface_id") == [(0, 0), (1, 0), (2, 1)]
    assert values(dissector, records, "frame.interface_name") == [(0, "eth0"), (1, "eth1"), (2, "unknown")]
    assert values(dissector, records, "frame.interface_description") == [(0, "the first")]


def test_a_pcap_file_does_not_number_its_interface() -> None:
    assert dissect(1, [PACKET], ("frame.interface_id", "frame.encap_type")) == {
        "frame.interface_id": [[]],
        "frame.encap_type": [[1]],
    }


def test_comments() -> None:
    records = Records.of([PACKET] * 3, [0, 0, 0], comments={1: ["one", "two"]})
    assert values(Dissector(["frame.comment"]), records, "frame.comment") == [(1, "one"), (1, "two")]


def test_a_header_of_the_file_is_no_part_of_the_packet() -> None:
    found = dissect(123, [bytes(64), bytes(2)], ("frame.len", "frame.cap_len"), length=[100, 2])
    assert found == {"frame.len": [[96], [0]], "frame.cap_len": [[60], [0]]}


def test_cut_and_malformed_packets_are_told_apart() -> None:
    packets = [PACKET, PACKET[:30], PACKET[:30]]
    found = dissect(1, packets, ("_ws.short", "_ws.malformed"), length=[len(PACKET), len(PACKET), 30])
    assert found == {"_ws.short": [[], [1], []], "_ws.malformed": [[], [], [1]]}


def test_protocols() -> None:
    found = dissect(1, [PACKET, b"", PACKET[:14]], ("frame.protocols",))
    assert found["frame.protocols"] == [["eth:ethertype:ip:udp:data"], ["eth"], ["eth:ethertype:ip"]]
