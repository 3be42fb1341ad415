"""TCP: header, options, numbers, payload and lines of hand-made segments, and of the same segments tshark's."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets.dissect import Dissector
from echowire.core.packets.registry import registry
from tests.core.packets.tcp.traffic import (
    ACK,
    CLIENT,
    FIN,
    PSH,
    RST,
    SERVER,
    SYN,
    Step,
    differences,
    ipv4,
    packet,
    records,
    said,
    tcp,
    timestamps,
    tshark_says,
)

NOT_TSHARKS = ("tcp.checksum_calculated", "tcp.checksum_bad.expert", "tcp.options.mptcp.checksum")
"""Fields that tshark tells only when its preferences say so, or leaves out by mistake."""

FIELDS = [
    *dict.fromkeys(
        field.name
        for protocol in registry().protocols.values()
        if protocol.name.startswith(("tcp", "mptcp"))
        for field in protocol.fields
        if "." in field.name and not field.either and field.name not in NOT_TSHARKS
    )
]

OPTIONS = [
    bytes.fromhex(text)
    for text in (
        "020405b4 010303070402",
        "080a0000000100000002",
        "05120000000a000000140000001e00000028",
        "051a" + "0000000a00000014" * 3,
        "0512000000010000000200000001000000ff",
        "1312" + "000102030405060708090a0b0c0d0e0f",
        "2202",
        "220a3132333435363738",
        "060661626364",
        "070661626364",
        "1c048005",
        "0b0600000001",
        "0c0600000001",
        "0d0600000001",
        "1b080511 61626364",
        "1d100102" + "00" * 12,
        "1404ff11",
        "1602",
        "1702",
        "fd06f9896162",
        "fd04f989",
        "fe08034861626364",
        "fd02",
        "ac0b000102030405060708",
        "ae0b000102030405060708",
        "500661626364",
        "0205616263",
        "03046162",
        "03030f",
        "080900000000000000",
        "050e0000000a000000140000001e",
        "0101010101010101",
        "0201",
        "0820",
        "02",
        "00010101",
        "0e0301",
        "1e0c0081" + "4142434445464748",
        "1e140001" + "4142434445464748" * 2,
        "1e0c1005" + "6162636465666768",
        "1e101105" + "61626364656667686162636 4".replace(" ", ""),
        "1e181001" + "00" * 20,
        "1e1c201f" + "00" * 24,
        "1e0820010000004d",
        "1e0834020a000001",
        "1e0a34020a0000011f90",
        "1e1030020a0000014142434445464748",
        "1e143602" + "00" * 16,
        "1e044002",
        "1e05400203",
        "1e035101",
        "1e0c6000" + "61" * 8,
        "1e0c7000" + "61" * 8,
        "1e048105",
        "1e049105",
    )
]


def of(*segments: bytes, names: list[str]) -> list[list[str]]:
    return said([ipv4(6, one) for one in segments], names)


def info(packets: list[bytes]) -> list[str]:
    return [row[0] for row in said(packets, ["_ws.col.info"])]


def test_the_header() -> None:
    segment = bytes.fromhex("0050 c001 00000064 000000c8 6 1d8 03e8 beef 0007 01030307".replace(" ", "")) + b"hello"
    names = ["srcport", "dstport", "seq_raw", "ack_raw", "hdr_len", "flags", "flags.str", "window_size_value", "len"]
    names += ["checksum", "urgent_pointer", "payload", "options", "flags.ae", "flags.push", "flags.syn"]
    values = ["80", "49153", "100", "200", "24", "0x01d8", "···ACE·AP···", "1000", "5", "0xbeef", "7"]
    assert of(segment, names=[f"tcp.{name}" for name in names]) == [[*values, "68656c6c6f", "01030307", "1", "1", "0"]]


def test_every_cut_shows_what_is_left_and_no_more() -> None:
    segment = ipv4(6, tcp(1, 2, 3, 4, ACK | PSH, options=timestamps(5) + b"\3\3\7\0", payload=b"payload"))
    for size in range(len(segment)):
        part = records([segment[:size]])
        found = Dissector(FIELDS).dissect(part)
        for name in ("tcp.srcport", "tcp.urgent_pointer", "tcp.options.timestamp.tsecr", "tcp.payload"):
            values = found.values(name).values.tolist()
            whole = Dissector([name]).dissect(records([segment])).values(name).values.tolist()
            assert values in ([], whole) or name == "tcp.payload"


def test_a_header_that_is_too_short_to_be_one() -> None:
    bogus = struct.pack(">HHIIHHHH", 1, 2, 3, 4, 0x4010, 6, 7, 8)
    assert of(bogus, names=["tcp.hdr_len", "tcp.flags", "tcp.seq", "tcp.ack"]) == [["16", "", "1", ""]]
    assert info([ipv4(6, bogus)])[0].endswith(
        "[ACK] Seq=1 Ack=1 Win=6, bogus TCP header length (16, must be at least 20)"
    )


@given(st.binary(max_size=40), st.integers(0, 15), st.integers(0, 0xFFF))
@settings(max_examples=60)
def test_options_of_any_bytes_bring_nothing_down(options: bytes, words: int, flags: int) -> None:
    head = struct.pack(">HHIIHHHH", 1, 2, 3, 4, words << 12 | flags, 6, 7, 8)
    found = Dissector(FIELDS).dissect(records([ipv4(6, head + options)]))
    assert found.values("tcp.srcport").values.tolist() == [1]


def test_all_options_are_tsharks(tmp_path: Path) -> None:
    packets = [ipv4(6, tcp(1000, 5000 + n, 5, 6, ACK, options=one, payload=b"hi")) for n, one in enumerate(OPTIONS)]
    packets += [ipv4(6, tcp(1000, 6000 + n, 5, 6, SYN, options=one)) for n, one in enumerate(OPTIONS)]
    packets += [ipv4(6, tcp(7000, 7000 + bit, 5, 6, 1 << bit, urgent=7)) for bit in range(12)]
    theirs = tshark_says(tmp_path / "a.pcap", packets, FIELDS)
    assert differences(packets, FIELDS, said(packets, FIELDS), theirs) == []


def test_the_list_says_what_tsharks_list_says(tmp_path: Path) -> None:
    silent = {bytes.fromhex("1404ff11")}  # what SCPS says is left out
    options = [one for one in OPTIONS if one not in silent]
    packets = [ipv4(6, tcp(1000, 5000 + n, 5, 6, ACK, options=one)) for n, one in enumerate(options)]
    packets += [ipv4(6, tcp(7000, 7000 + bit, 5, 6, 1 << bit, urgent=7)) for bit in range(12)]
    theirs = [row[0] for row in tshark_says(tmp_path / "a.pcap", packets, ["_ws.col.Info"])]
    assert info(packets) == theirs


def test_a_syn_of_another_number_begins_another_stream() -> None:
    steps = [
        Step(True, 100, 0, SYN),
        Step(False, 900, 101, SYN | ACK),
        Step(True, 101, 901, ACK),
        Step(True, 100, 0, SYN),
        Step(True, 300, 0, SYN),
        Step(False, 77, 301, SYN | ACK),
        Step(True, 301, 78, ACK, 5),
    ]
    names = ["tcp.stream", "tcp.seq", "tcp.ack", "tcp.completeness", "tcp.analysis.reused_ports"]
    assert said([packet(one) for one in steps], names) == [
        ["0", "0", "0", "0", ""],
        ["0", "0", "1", "1", ""],
        ["0", "1", "1", "3", ""],
        ["0", "0", "0", "7", ""],
        ["1", "0", "0", "1", "1"],
        ["1", "0", "1", "1", ""],
        ["1", "1", "1", "3", ""],
    ]


@pytest.mark.parametrize(
    ("offers", "factors"),
    [((b"\3\3\7", b"\3\3\2"), ["128", "4"]), ((b"\3\3\7", b""), ["-2", "-2"]), ((b"", b"\3\3\2"), ["-2", "-2"])],
)
def test_a_window_is_scaled_if_both_ends_offer_it(offers: tuple[bytes, bytes], factors: list[str]) -> None:
    steps = [
        Step(True, 100, 0, SYN, options=offers[0]),
        Step(False, 900, 101, SYN | ACK, options=offers[1]),
        Step(True, 101, 901, ACK),
        Step(False, 901, 101, ACK),
    ]
    names = ["tcp.window_size_scalefactor", "tcp.window_size"]
    scaled = [str(1000 * max(int(one), 1)) for one in factors]
    expected = [["", "1000"], ["", "1000"], [factors[0], scaled[0]], [factors[1], scaled[1]]]
    assert said([packet(one) for one in steps], names) == expected


def test_a_checksum_is_computed_when_it_is_asked_for() -> None:
    right = bytearray(tcp(1, 2, payload=b"odd"))
    right[16:18] = bytes.fromhex(said([ipv4(6, bytes(right))], ["tcp.checksum_calculated"])[0][0][2:])
    names = ["tcp.checksum.status", "tcp.checksum_bad.expert"]
    assert said([ipv4(6, bytes(right)), ipv4(6, tcp(1, 2))], names) == [["2", ""], ["2", "1"]]
    words = CLIENT + SERVER + struct.pack(">HH", 6, len(right)) + bytes(right) + b"\0"
    assert sum(struct.unpack(f">{len(words) // 2}H", words)) % 0xFFFF == 0


def test_the_data_of_a_reset_is_its_cause() -> None:
    names = ["tcp.payload", "tcp.reset_cause", "frame.protocols"]
    reset = of(tcp(1, 2, flags=RST, payload=b"go away"), tcp(3, 2, flags=FIN, payload=b"x"), names=names)
    assert reset == [["", "go away", "raw:ip:tcp"], ["78", "", "raw:ip:tcp:data"]]


def test_what_came_before_is_handed_on_once() -> None:
    request = b"GET / HTTP/1.1\r\n\r\n"
    again = [tcp(40000, 80, seq=seq, payload=request) for seq in (1, 1 + len(request), 1)]
    assert of(*again, names=["http.request.uri", "frame.protocols"]) == [
        ["/", "raw:ip:tcp:http"],
        ["/", "raw:ip:tcp:http"],
        ["", "raw:ip:tcp"],
    ]


def test_a_byte_that_keeps_a_connection_alive_is_data() -> None:
    alive = [tcp(40000, 80, seq=1, payload=b"GET / HTTP/1.1\r\n\r\n"), tcp(40000, 80, seq=18, payload=b"\n")]
    assert of(*alive, names=["frame.protocols"]) == [["raw:ip:tcp:http"], ["raw:ip:tcp:data"]]
