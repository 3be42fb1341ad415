"""Display filters choose the packets that they say, of packets whose every field is known; and as tshark does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from echowire.core.captures.records import Records
from echowire.core.filters.packet_filter import PacketFilter
from echowire.core.packets.dissect import Dissector
from tests.captures import PACKETS, START_NS, ethernet, ipv4, needs_tshark, tcp, write_capture
from tests.compare_filters import all_by_tshark, by_echowire, by_tshark, filters

RECORDS = Records.of(PACKETS, [START_NS + number * 1_000_000_000 for number in range(len(PACKETS))])


def chosen(text: str, records: Records = RECORDS) -> list[int]:
    """The numbers of the packets that pass."""
    compiled = PacketFilter.of([text])
    mask = compiled.mask(Dissector(compiled.fields).dissect(records))
    return [number for number, passes in enumerate(mask.tolist(), 1) if passes]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("tcp", [1, 2, 4, 6]),
        ("!tcp", [3, 5]),
        ("ip.src", [1, 2, 3, 4, 6]),
        ("tcp.port == 80", [1, 2, 6]),
        ("80 == tcp.port", [1, 2, 6]),
        ("tcp.port != 80", [4]),
        ("tcp.port !== 80", [1, 2, 4]),
        ("tcp.port === 80", [6]),
        ("all tcp.port > 79", [1, 2, 6]),
        ("any tcp.port < 80", [4]),
        ("not tcp.port == 80", [3, 4, 5]),
        ("ip.addr == 10.0.0.0/8", [1, 2, 3, 4, 6]),
        ("ip.addr != 10.0.0.0/8", []),
        ("ip.addr !== 10.0.0.0/8", [3, 4]),
        ("ip.src > 10.0.0.0/30", []),
        ("ip.src < 10.0.0.0/8", [4]),
        ("ip.src == ip.dst", [6]),
        ("tcp.srcport == tcp.dstport", [6]),
        ("tcp.port in {1..10, 40000}", [1, 2, 4]),
        ("tcp.port not in {80}", [3, 4, 5]),
        ("tcp.flags & 0x10", [1, 2, 6]),
        ("tcp.port / 1 == 80", [1, 2, 6]),
        ("tcp.port % 1 == 0", [1, 2, 4, 6]),
        ("tcp.port / 0 == 80", []),
        ("tcp.flags & 0x12 == 2", [4]),
        ("tcp.srcport - tcp.dstport < 0", [2, 4]),
        ("tcp.srcport / 0 == 1", []),
        ("-tcp.srcport + 81 == 1", [2, 6]),
        ("(tcp.srcport + 1) * 2 == 162", [2, 6]),
        ("{tcp.srcport + 1} * 2 == 162", [2, 6]),
        ("ip.ttl % 7 == 4", [2]),
        ("frame.number / 2 == 1", [2, 3]),
        ("count(ip.addr) == 4", [4]),
        ("max(tcp.port) == 40000", [1, 2]),
        ("min(tcp.port, 50) == 50", [1, 2, 6]),
        ("abs(tcp.srcport - tcp.dstport) == 1", [4]),
        ("ip.src#2 == 10.0.0.1", [4]),
        ("ip.src#[-1] == 10.0.0.1", [1, 3, 4]),
        ("ip#2", [4]),
        ("len(ip) == 20", [1, 2, 3, 4, 6]),
        ("len(eth.src) == 6", [1, 2, 3, 4, 5, 6]),
        ("eth.src == ff:ee:dd:cc:bb:aa", [5]),
        ("eth.src == ffee.ddcc.bbaa || eth.src == ffeeddccbbaa", [5]),
        ("eth.src[0:2] == ff:ee", [5]),
        ("eth.src[-1] == aa", [5]),
        ("eth.src[-1] == :aa", [5]),
        (".eth.src[-1] == :aa", [5]),
        (".tcp", [1, 2, 4, 6]),
        ("eth.src == .eth.src", [1, 2, 3, 4, 5, 6]),
        ("eth.src[0,4-5] == ff:bb:aa", [5]),
        ("eth.src[6]", []),
        ("eth.src contains dd:cc", [5]),
        ("eth.src > 0a:00:00:00:00:01", [5]),
        ("ip.src[0] == 01", [4]),
        ("frame[12:2] == 88:b5", [5]),
        ("frame[-3:] == 01:02:03", [5]),
        ("tcp[13] & 2", [4, 6]),
        ("tcp contains \"html\"", [1]),
        ("tcp[20:3]", []),
        ("frame matches \"get\\\\s/INDEX\"", [1]),
        ("frame matches r\"example\\.com\"", [1]),
        ("udp contains 1e:1f", [3]),
        ("udp contains \"\\x1e\\x1f\"", [3]),
        ("string(tcp.dstport) == \"80\"", [1, 6]),
        ("string(ip.src) matches \"^10\\\\.\"", [1, 2, 3, 4, 6]),
        ("frame.time >= \"2020-09-13 12:26:45\"", [6]),
        ("frame.time == \"2020-09-13T12:26:40.123456Z\"", [1]),
        ("frame.time_epoch < 1600000001.5", [1, 2]),
        ("tcp xor ip", [3]),
        ("tcp ^^ ip && ip.ttl == 64", [2, 3]),
        ("tcp or ip and ip.ttl == 9", [1, 2, 4, 6]),
        ("tcp.flags.syn == 1 == tcp.flags.ack", [6]),
        ("tcp.flags.syn == True && tcp.flags.push == 0", [4, 6]),
    ],
)  # fmt: skip
def test_what_a_filter_chooses(text: str, numbers: list[int]) -> None:
    assert chosen(text) == numbers


def test_fields_are_those_that_the_filter_asks_for() -> None:
    compiled = PacketFilter.of(["max(tcp.port, 1) in {80} && !ip.ttl", "frame[0:1] == 00"])
    assert compiled.fields == {"tcp.port", "ip.ttl", "frame"}


def test_a_chunk_of_no_packet_has_an_empty_answer() -> None:
    compiled = PacketFilter.of(["tcp.port == 80 && ip.src == ip.dst"])
    assert compiled.mask(Dissector(compiled.fields).dissect(Records.of([], []))).tolist() == []


def test_a_length_that_was_reckoned_may_be_more_than_its_bits_hold() -> None:
    """The sender's kernel leaves cutting a long packet to the card, and 0 where the length would be."""
    long = bytearray(ethernet(ipv4("10.0.0.1", "10.0.0.2", 6, tcp(1, 2))) + bytes(70_000))
    long[16:18] = bytes(2)
    records = Records.of([bytes(long), PACKETS[0]], [0, 0])
    assert chosen("ip.len + 14 == frame.len", records) == [1, 2]
    assert chosen("ip.len in {60000..65535} || ip.len == 40", records) == []


def test_a_tcp_header_of_a_length_that_cannot_be_has_all_its_bytes() -> None:
    lying = tcp(1, 2)[:12] + b"\0\x12" + bytes(10)
    records = Records.of([ethernet(ipv4("10.0.0.1", "10.0.0.2", 6, lying))], [0])
    assert (chosen("tcp[13] == 12", records), chosen("len(tcp) == 24", records)) == ([1], [1])


@needs_tshark
def test_what_an_agreed_protocol_carries_is_not_http_any_more(tmp_path: Path) -> None:
    asked = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    agreed = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    segments = [(40000, 80, asked), (80, 40000, agreed), (80, 40000, b"hello")]
    packets, sent = [], {40000: 1000, 80: 1000}
    for source, target, payload in segments:
        segment = bytearray(tcp(source, target, payload))
        segment[4:8] = sent[source].to_bytes(4, "big")
        sent[source] += len(payload)
        ends = ("10.0.0.1", "10.0.0.2") if target == 80 else ("10.0.0.2", "10.0.0.1")
        packets.append(ethernet(ipv4(*ends, 6, bytes(segment))))
    file = write_capture(tmp_path / "a.pcap", packets)
    assert by_echowire(file, "http") == by_tshark(file, "http") == [1, 2]
    assert by_echowire(file, "data") == by_tshark(file, "data") == [3]
    assert by_echowire(file, 'frame.protocols contains "http"') == [1, 2, 3]


@needs_tshark
def test_tshark_listens_to_many_filters_at_once(tmp_path: Path) -> None:
    file = write_capture(tmp_path / "a.pcap")
    assert all_by_tshark(file, ["", "tcp", "udp"], tmp_path) == [[1, 2, 3, 4, 5, 6], [1, 2, 4, 6], [3]]
    refused = all_by_tshark(file, ["tcp ==", "udp"], tmp_path)
    assert (isinstance(refused[0], str), refused[1]) == (True, [3])


@needs_tshark
@pytest.mark.parametrize(
    "text",
    [
        "tcp.port !== 80",
        "ip.src#2",
        "eth.src[0:2] > f0",
        "tcp.flags & 0x12 == 2",
        'frame contains "GET"',
        "ip.ttl / 2 == 30",
    ],
)
def test_tshark_chooses_the_same(tmp_path: Path, text: str) -> None:
    file = write_capture(tmp_path / "a.pcap")
    assert by_echowire(file, text) == by_tshark(file, text)


@needs_tshark
@pytest.mark.skipif(not os.environ.get("ECHOWIRE_CAPTURES"), reason="ECHOWIRE_CAPTURES is not set")
def test_tshark_chooses_the_same_of_real_captures(tmp_path: Path) -> None:
    """Every twenty-fifth filter of the list, on some captures joined; all of them: tests/compare_filters.py."""
    captures = Path(os.environ["ECHOWIRE_CAPTURES"], "dev")
    some = ["tcpdump/tests__dns_tcp.pcap", "tcpdump/tests__QinQpcap.pcap", "tcpdump/tests__arp-atm-oobr.pcap"]
    files = [str(captures / one) for one in some if (captures / one).exists()]
    files += sorted(map(str, captures.glob("zeek/*http__2*.pcap")))[:5]
    file = tmp_path / "some.pcapng"
    subprocess.run(["mergecap", "-a", "-w", str(file), *files], check=True, capture_output=True)
    for text in filters()[::25]:
        assert by_echowire(file, text) == by_tshark(file, text), text
