"""Conversations and endpoints: what counts, of whom and in which order; and that tshark counts the same."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from echowire.core.captures.records import Rows
from echowire.core.captures.ticks import NO_TIME
from echowire.core.packets.dissect import Dissector
from echowire.core.reports.choose import report
from echowire.core.reports.conversations import KINDS, Conversations
from echowire.verbs.read import read
from tests.captures import needs_tshark
from tests.core.packets.frames import ETHERNET, START_NS, capture, records_of

SYN, ACK = 0x02, 0x10
A, B, C = b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x0a\0\0\3"
A6, B6, C6 = (b"\x20\x01\x0d\xb8" + bytes(11) + one[-1:] for one in (A, B, C))
UDP, TCP, SCTP, IN_IPV6, ROUTING, FRAGMENT, MOBILITY, HOP_BY_HOP, DESTINATION = 17, 6, 132, 41, 43, 44, 135, 0, 60
NO_NEXT = 59


def ethernet(payload: bytes, kind: int, source: int = 1, destination: int = 2) -> bytes:
    return bytes([2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source]) + struct.pack(">H", kind) + payload


def ip(payload: bytes, protocol: int, source: bytes = A, to: bytes = B, *, options: bytes = b"", cut: int = 0) -> bytes:
    size = 20 + len(options)
    head = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, size + len(payload) + cut, 7, 0, 64, protocol, 0)
    return ethernet(head + source + to + options + payload, 0x0800)


def ip6(payload: bytes, following: int, source: bytes = A6, to: bytes = B6) -> bytes:
    return ethernet(struct.pack(">IHBB", 6 << 28, len(payload), following, 64) + source + to + payload, 0x86DD)


def udp(payload: bytes = b"data", source: int = 1000, to: int = 2000) -> bytes:
    return struct.pack(">HHHH", source, to, 8 + len(payload), 0xFFFF) + payload


def tcp(payload: bytes = b"", source: int = 1000, to: int = 2000, *, words: int = 5, flags: int = ACK) -> bytes:
    head = struct.pack(">HHIIBBHHH", source, to, 1, 1, words << 4, flags, 500, 0, 0)
    return head + b"\1" * max(0, 4 * words - 20) + payload


def sctp(chunk: bytes = b"\x0b\0\0\4") -> bytes:
    return struct.pack(">HHII", 1000, 2000, 1, 0) + chunk


def routed(segments_left: int, kind: int = 0) -> bytes:
    return bytes([UDP, 4, kind, segments_left, 1 if kind == 4 else 0]) + bytes(3) + C6 + B6 + udp()


def fragment(at: int, more: int, data: bytes) -> bytes:
    return ip6(struct.pack(">BBHI", UDP, 0, at | more, 99) + data, FRAGMENT)


def vxlan(inner: bytes) -> bytes:
    return ip(udp(b"\x08\0\0\0\0\0\1\0" + inner, 5000, 4789), UDP, B, C)


LOOSE_ROUTE = b"\x83\x07\x04" + C + b"\0"
USED_ROUTE = b"\x83\x07\x08" + C + b"\0"
HOME = bytes([UDP, 2, 1, 2, 0, 0, 0xC9, 16]) + C6 + udp()


def counts(
    kind: str, packets: Sequence[bytes], length: Sequence[int] | None = None, rows: Rows | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    conversations = Conversations(KINDS[kind])
    found = Dissector(KINDS[kind].fields, defragment=True).dissect(records_of(ETHERNET, packets, length))
    conversations.add(found, rows)
    return conversations.conversations(), conversations.endpoints()


def ends(kind: str, *packets: bytes) -> list[tuple[str, str, int]]:
    return [(row["a"], row["b"], row["frames"]) for row in counts(kind, packets)[0]]


def test_nothing_has_no_conversations() -> None:
    assert counts("ip", []) == ([], [])


def test_both_directions_are_one_conversation_of_whoever_began() -> None:
    packets = [ip(udp(b"question"), UDP, B, A), ip(udp(b"answer is longer", 2000, 1000), UDP)]
    (row,), (first, second) = counts("udp", packets)
    assert (row["a"], row["a_port"], row["b"], row["b_port"]) == ("10.0.0.2", 1000, "10.0.0.1", 2000)
    assert (row["frames_a_to_b"], row["bytes_a_to_b"], row["frames_b_to_a"], row["bytes_b_to_a"]) == (1, 50, 1, 58)
    assert (row["stream"], row["start_ns"], row["duration_ns"]) == (0, START_NS, 1_000_000)
    assert (first["address"], first["port"], first["bytes_sent"], first["bytes_received"]) == ("10.0.0.2", 1000, 50, 58)
    assert (second["address"], second["port"], second["frames"], second["bytes"]) == ("10.0.0.1", 2000, 2, 108)


def test_an_end_that_talks_to_itself_sends_and_receives() -> None:
    (row,), (end,) = counts("ip", [ip(udp(), UDP, A, A)] * 3)
    assert (row["frames_a_to_b"], row["frames_b_to_a"]) == (3, 0)
    assert (end["frames"], end["frames_sent"], end["frames_received"]) == (6, 3, 3)


@pytest.mark.parametrize("size", [ETHERNET, 14, 33, 34, 41, 42, 43, 47, 53, 54, 57, 58])
def test_a_header_counts_once_it_is_whole(size: int) -> None:
    packet = ip(tcp(b"data", words=6), TCP)
    for kind, least in (("eth", 14), ("ip", 34), ("tcp", 58)):
        found, _ = counts(kind, [packet[:size]], [len(packet)])
        assert len(found) == (size >= least), kind


@pytest.mark.parametrize("words", range(16))
def test_a_tcp_header_counts_if_its_length_can_be(words: int) -> None:
    assert len(counts("tcp", [ip(tcp(words=words), TCP)])[0]) == (words >= 5)


def test_an_ip_header_counts_if_its_lengths_can_be() -> None:
    short = bytearray(ip(udp(), UDP))
    short[16:18] = b"\0\x13"
    few_words = bytearray(ip(udp(), UDP))
    few_words[14] = 0x44
    assert ends("ip", bytes(short), bytes(few_words), ip(udp(), UDP)) == [("10.0.0.1", "10.0.0.2", 1)]


def test_a_source_route_leads_to_its_last_address_until_it_is_used_up() -> None:
    packets = [ip(udp(), UDP, options=LOOSE_ROUTE), ip(udp(), UDP, options=USED_ROUTE)]
    assert ends("ip", *packets) == [("10.0.0.1", "10.0.0.3", 1), ("10.0.0.1", "10.0.0.2", 1)]
    assert ends("udp", *packets) == [("10.0.0.1", "10.0.0.3", 1), ("10.0.0.1", "10.0.0.2", 1)]


@pytest.mark.parametrize(
    ("packet", "source", "destination"),
    [
        (ip6(routed(1), ROUTING), "2001:db8::1", "2001:db8::2"),
        (ip6(routed(0), ROUTING, to=C6), "2001:db8::1", "2001:db8::3"),
        (ip6(routed(1, 4), ROUTING), "2001:db8::1", "2001:db8::3"),
        (ip6(HOME, DESTINATION), "2001:db8::3", "2001:db8::2"),
    ],
)
def test_ipv6_is_between_those_in_its_header_and_udp_between_the_ends_of_the_way(
    packet: bytes, source: str, destination: str
) -> None:
    assert ends("udp", packet) == [(source, destination, 1)]
    ((_, there, frames),) = ends("ipv6", packet)
    assert (there, frames) == ("2001:db8::3" if packet[38:54] == C6 else "2001:db8::2", 1)


@pytest.mark.parametrize("pointer", [0, 3, 5, 6, 8, 255])
def test_a_source_route_whose_pointer_is_none_leads_nowhere(pointer: int) -> None:
    packet = ip(udp(), UDP, options=b"\x83\x07" + bytes([pointer]) + C + b"\0")
    assert ends("ip", packet) == [("10.0.0.1", "10.0.0.2", 1)]


def test_ipv6_with_options_or_addresses_that_run_past_it_does_not_count() -> None:
    option = ip6(bytes([UDP, 0, 1, 99, 0, 0, 0, 0]) + udp(), HOP_BY_HOP)
    within = ip6(bytes([UDP, 0, 1, 9, 0, 0, 0, 0]) + udp(), HOP_BY_HOP)
    segments = bytearray(ip6(routed(1, 4), ROUTING))
    segments[14 + 40 + 4] = 9
    assert ends("ipv6", option, bytes(segments)) == ends("udp", option, bytes(segments)) == []
    assert ends("udp", within) == [("2001:db8::1", "2001:db8::2", 1)]


def test_no_payload_length_is_a_jumbogram_only_if_an_option_says_so() -> None:
    padded = bytearray(ip6(bytes([TCP, 0, 1, 4, 0, 0, 0, 0]) + tcp(b"x"), HOP_BY_HOP))
    jumbo = bytearray(ip6(bytes([TCP, 0, 0xC2, 4, 0, 1, 0, 9]) + tcp(b"x"), HOP_BY_HOP))
    padded[18:20] = jumbo[18:20] = b"\0\0"
    assert ends("tcp", bytes(padded)) == []
    assert ends("tcp", bytes(jumbo)) == [("2001:db8::1", "2001:db8::2", 1)]


@pytest.mark.parametrize(
    ("chunks", "counts_it"),
    [(b"\x0b\0\0\4", True), (b"", False), (b"\x0b\0\0\3", False), (b"\x0b\0\0\x09" + bytes(4), False)],
)
def test_sctp_counts_with_chunks_that_are_whole(chunks: bytes, counts_it: bool) -> None:
    assert bool(counts("sctp", [ip(sctp(chunks), SCTP)])[0]) == counts_it


def test_of_ipv6_fragments_the_one_counts_that_completes_the_datagram() -> None:
    whole = udp(bytes(16))
    parts = [fragment(0, 1, whole[:16]), fragment(16, 0, whole[16:])]
    (row,), _ = counts("ipv6", parts)
    assert (row["frames"], row["start_ns"]) == (1, START_NS + 1_000_000)
    assert ends("ipv6", parts[0]) == ends("ipv6", parts[1]) == []
    assert ends("ipv6", fragment(0, 0, whole)) == [("2001:db8::1", "2001:db8::2", 1)]


def test_a_first_fragment_that_was_cut_is_read_as_far_as_it_goes() -> None:
    head = bytearray(ip(udp(bytes(8)), UDP, cut=1000))
    head[20] = 0x20
    assert ends("udp", bytes(head)) == [("10.0.0.1", "10.0.0.2", 1)]
    whole = bytearray(ip(udp(bytes(8)), UDP))
    whole[20] = 0x20
    assert ends("udp", bytes(whole)) == []


def test_ipv6_that_leads_to_no_upper_layer_does_not_count() -> None:
    mobility = ip6(bytes([NO_NEXT, 0, 0, 0, 0, 0, 0, 0]), MOBILITY)
    too_long = ip6(bytes([UDP, 9, 1, 4, 0, 0, 0, 0]) + udp(), HOP_BY_HOP)
    nothing = ip6(b"", NO_NEXT)
    assert ends("ipv6", mobility, too_long, nothing) == [("2001:db8::1", "2001:db8::2", 1)]


def test_what_an_icmp_error_quotes_is_not_counted() -> None:
    quoted = ip(bytes([3, 3, 0, 0, 0, 0, 0, 0]) + ip(udp(), UDP, A, C)[14:], 1, B, A)
    assert ends("ip", quoted) == [("10.0.0.2", "10.0.0.1", 1)]
    assert ends("udp", quoted) == []


def test_a_tunnel_has_both_and_the_outer_ends_come_first() -> None:
    packets = [vxlan(ip(udp(), UDP, A, B)), ip(udp(), UDP, A, B)]
    assert ends("udp", *packets) == [("10.0.0.1", "10.0.0.2", 2), ("10.0.0.2", "10.0.0.3", 1)]
    _, points = counts("eth", [vxlan(ethernet(b"", 0x0800, 7, 8))])
    assert [row["address"][-2:] for row in points] == ["01", "02", "07", "08"]


def test_an_inner_packet_may_begin_what_an_outer_one_goes_on_with() -> None:
    inside = vxlan(ip(udp(source=2000, to=1000), UDP, B, A))
    rows, _ = counts("udp", [inside, ip(udp(), UDP, A, B)])
    (row,) = [row for row in rows if row["frames"] == 2]
    assert (row["a"], row["a_port"], row["frames_a_to_b"]) == ("10.0.0.2", 2000, 1)


def test_a_stream_that_ends_and_begins_again_is_two() -> None:
    packets = [ip(tcp(flags=SYN), TCP), ip(tcp(b"x"), TCP), ip(tcp(flags=SYN)[:4] + b"\0\1" + tcp(flags=SYN)[6:], TCP)]
    rows, points = counts("tcp", packets)
    assert [(row["stream"], row["frames"]) for row in rows] == [(0, 2), (1, 1)]
    assert [row["frames"] for row in points] == [3, 3]


def test_packets_without_a_time_were_at_1970() -> None:
    packets = records_of(ETHERNET, [ip(udp(), UDP)] * 2)
    packets.time_ns[1] = NO_TIME
    shown = report("conv,ip")
    shown.add(Dissector(shown.fields).dissect(packets))
    (row,) = shown.document()["conversations"]
    assert (row["start_ns"], row["duration_ns"]) == (0, START_NS)


def test_numbers_hold_from_chunk_to_chunk() -> None:
    conversations = Conversations(KINDS["ip"])
    dissector = Dissector(KINDS["ip"].fields, defragment=True)
    for turn in range(300):
        hosts = [struct.pack(">I", 0x0A010000 + turn + more) for more in range(3)]
        conversations.add(dissector.dissect(records_of(ETHERNET, [ip(udp(), UDP, host, B) for host in hosts])))
    rows, points = conversations.conversations(), conversations.endpoints()
    assert [row["frames"] for row in rows] == [3] * 298 + [2, 2, 1, 1]
    assert (points[0]["address"], points[0]["frames_received"]) == ("10.0.0.2", 900)


PACKETS = [
    *(ip(tcp(b"data", words=words), TCP) for words in (5, 6, 15)),
    ip(udp(), UDP),
    ip(sctp(), SCTP),
    ip(sctp(b"\0\3\0\x14" + bytes(16) + b"\0\3\0\x12" + bytes(16)), SCTP),
    *(ip(udp(), UDP, options=options) for options in (LOOSE_ROUTE, USED_ROUTE)),
    *(ip6(routed(left, kind), ROUTING) for left in (0, 1) for kind in (0, 4)),
    ip6(HOME, DESTINATION),
    ip6(bytes([TCP, 0, 1, 4, 0, 0, 0, 0]) + tcp(b"data", words=6), HOP_BY_HOP),
    fragment(0, 1, udp(bytes(16))[:16]),
    fragment(16, 0, udp(bytes(16))[16:]),
    ip6(ip6(udp(), UDP, C6, A6)[14:], IN_IPV6),
    ip6(bytes([NO_NEXT, 0, 0, 0, 0, 0, 0, 0]), MOBILITY),
    vxlan(ip(udp(), UDP, A, B)),
]


@needs_tshark
def test_tshark_counts_the_same_wherever_a_packet_is_cut(tmp_path: Path) -> None:
    cut = [packet[:size] for packet in PACKETS for size in range(1, len(packet) + 1)]
    wire = [len(packet) for packet in PACKETS for _ in range(len(packet))]
    path = tmp_path / "cut.pcap"
    path.write_bytes(capture(ETHERNET, cut, wire))
    names = [f"{what},{kind}" for what in ("conv", "endpoints") for kind in KINDS]
    words = [word for one in names for word in ("-z", one)]
    done = subprocess.run(["tshark", "-n", "-q", "-r", str(path), *words], capture_output=True, check=True, timeout=60)
    theirs = re.split(r"^={80}\n", done.stdout.decode(), flags=re.MULTILINE)
    for name, made in zip(names, read(path).report(*names), strict=True):
        ours = "".join(f"{line}\n" for line in made.text(80)).split("=" * 80 + "\n")[1]
        assert ours in theirs, (name, ours)
