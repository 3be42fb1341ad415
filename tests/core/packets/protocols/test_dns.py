"""DNS: names, records, what is said of a message, and which answer is whose."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import pytest

from echowire.core.packets.protocols.dns.names import LOOPS, TOO_LONG, read_labels
from tests.core.packets.packets import (
    answer,
    assert_as_tshark,
    assert_bounded,
    by_tshark,
    datagram,
    differences,
    dissect,
    segment,
    tree_of,
)

NAME = b"\3www\7example\3com\0"
A, AAAA, MX, TXT, SRV, OPT = 1, 28, 15, 16, 33, 41


def question(name: bytes = NAME, kind: int = A, group: int = 1) -> bytes:
    return name + pack(">HH", kind, group)


def record(data: bytes, kind: int = A, name: bytes = b"\xc0\x0c", group: int = 1, ttl: int = 60) -> bytes:
    return name + pack(">HHIH", kind, group, ttl, len(data)) + data


def message(*sections: list[bytes], number: int = 0x2D6D, flags: int = 0x8180) -> bytes:
    """A message of questions, answers, authorities and additional records."""
    whole = [*sections, *[[] for _ in range(4 - len(sections))]]
    return pack(">HHHHHH", number, flags, *map(len, whole)) + b"".join(one for some in whole for one in some)


def ask(name: bytes = NAME, kind: int = A, number: int = 0x2D6D) -> bytes:
    return datagram(message([question(name, kind)], number=number, flags=0x0100), 53)


def options(*parts: tuple[int, bytes]) -> bytes:
    data = b"".join(pack(">HH", code, len(value)) + value for code, value in parts)
    return record(data, OPT, b"\0", 1232, 0x01008000)


RDATA: tuple[tuple[int, str], ...] = (
    (1, "01020304"),
    (28, "20010db8000000000000000000000001"),
    (2, "036e7331076578616d706c6503636f6d00"),
    (5, "0163076578616d706c6503636f6d00"),
    (
        6,
        "026e73076578616d706c6503636f6d0004686f7374076578616d706c6503636f6d000000000100001c2000000e10001275000000012c",
    ),
    (12, "0170076578616d706c6503636f6d00"),
    (13, "025043074c696e75782078"),
    (15, "000a046d61696c076578616d706c6503636f6d00"),
    (16, "036f6e650974776f207468726565"),
    (16, "00"),
    (17, "016d076578616d706c6503636f6d000174076578616d706c6503636f6d00"),
    (18, "000103616673076578616d706c6503636f6d00"),
    (19, "0c333131303631373030393536"),
    (20, "0f31353038363230323830303332313703303034"),
    (20, "0f313530383632303238303033323137"),
    (21, "000a027274076578616d706c6503636f6d00"),
    (22, "47000580005a0000000001e133ffffff00016100"),
    (23, "03666f6f076578616d706c6503636f6d00"),
    (26, "000a0161076578616d706c6503636f6d000162076578616d706c6503636f6d00"),
    (27, "082d33322e36383832083131362e383635320431302e30"),
    (29, "000000008b0d2c8c7ff8fca500989680"),
    (33, "000a001413c403736970076578616d706c6503636f6d00"),
    (35, "0064000a0175074532552b7369701b215e2e2a24217369703a696e666f406578616d706c652e636f6d2100"),
    (35, "0064000a0153075349502b44325500045f736970045f756470076578616d706c6503636f6d00"),
    (36, "000a026b78076578616d706c6503636f6d00"),
    (37, "0001303908010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab78"),
    (39, "02646e076578616d706c6503636f6d00"),
    (42, "00011503c0a82000011c83c0a82600020801ff"),
    (43, "ec4505012bb183af5f22588179a53b0a98631fad1a292118"),
    (44, "0201123456789abcdef67890123456789abcdef67890"),
    (45, "0a0102c0000226010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab78"),
    (
        45,
        "0a020220010db8000000000000000080020001010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab78",
    ),
    (
        45,
        "0a0302046d796777076578616d706c6503636f6d00010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab78",
    ),
    (45, "0a0002010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab78"),
    (
        46,
        (
            "00010503000151803e7c9dd73e5510d70a52076578616d706c6503636f6d00a090755ba58d1affa576f4375831b43109"
            "20e481218d18a9f164eb"
        ),
    ),
    (
        47,
        (
            "04686f7374076578616d706c6503636f6d000006400100000003041b0000000000000000000000000000000000000000"
            "00000000000020"
        ),
    ),
    (48, "010003050103d22a6ca77f35b893206fd35e4c506d8378843709b97e041647e1bff43d8d64c649af1e371973c9e8"),
    (48, "010103080103d22a6ca77f35b893206fd35e4c506d8378843709b97e041647e1bff43d8d64c649af1e371973c9e8"),
    (49, "000201636fc0b8271c82825bb1ac5c41cf5351aa69b4febd94e8f17cdb95000da48c40"),
    (50, "0101000c04aabbccdd1417f3df17b2b2adaef615257de4d2020b80ac6c7c0006400000000002"),
    (50, "01000000001417f3df17b2b2adaef615257de4d2020b80ac6c7c"),
    (51, "0100000c04aabbccdd"),
    (52, "030101123456789abcdef67890123456789abcdef67890123456789abcdef123456789"),
    (
        55,
        (
            "10020084200100107b1a74df365639cc39f1d57803010001b771ca136e4aeb5ce44333c53b3d2c13c22243851fc708bc"
            "ce29f7e2eb5787b5f56ccad34f8223acc10904ddb56b2ec4a6d6232f3b50ea094f0914b3b941bbe529af582c36bbadef"
            "daf2adaf9b4911906f5b2522603c615272b880ec8fb930cc6ee39c444daa75b1678f005a4b2499d1da5433f805c7a5ad"
            "3237acc5dd5c5e430472767331076578616d706c6503636f6d000472767332076578616d706c6503636f6d00"
        ),
    ),
    (59, "ec4505012bb183af5f22588179a53b0a98631fad1a292118"),
    (60, "010103080103d22a6ca77f35b893206fd35e4c506d8378843709b97e041647e1bff43d8d64c649af1e371973c9e8"),
    (61, "6b6579"),
    (62, "000000420003000460000008"),
    (
        63,
        "7848b91c0101febe3d4ce2ec2ffa4ba99d46cd69d6d29711e55217057bee7eb1a7b641a47ba7fed2dd5b97ae499fafa4f22c6bd647de",
    ),
    (
        64,
        (
            "000103666f6f076578616d706c6503636f6d00000000020001000100060268320268330003000220fb00040008010203"
            "04050607080006001020010db8000000000000000000000001"
        ),
    ),
    (99, "0b763d73706631202d616c6c"),
    (104, "000a00144fffff20ee64"),
    (105, "000a0a010200"),
    (106, "000a20010db811401000"),
    (107, "000a036c3634076578616d706c6503636f6d00"),
    (108, "00005e00532a"),
    (109, "00005eef1000002a"),
    (257, "0005697373756563612e6578616d706c652e6e6574"),
    (257, "8009697373756577696c643b"),
    (257, "0005696f6465666d61696c746f3a7365637572697479406578616d706c652e636f6d"),
    (257, "0003746273556e6b6e6f776e"),
    (11, "0a000001060000004000000000000080"),
    (32769, "ec4505012bb183af5f22588179a53b0a98631fad1a292118"),
)
"""Data of records of each type, made by dnspython 2.8 of the examples of their RFCs."""


def test_a_query_and_its_answer() -> None:
    reply = message([question()], [record(b"\1\2\3\4"), record(NAME[4:], 5)])
    fields = ["dns.id", "dns.flags.response", "dns.flags.rcode", "dns.qry.name", "dns.qry.type", "dns.a", "dns.cname"]
    found = dissect([ask(), answer(reply, 53)], [*fields, "_ws.col.Info", "_ws.col.Protocol"])
    assert found["dns.id"] == [["0x2d6d"], ["0x2d6d"]]
    assert found["dns.flags.response"] == [["0"], ["1"]]
    assert found["dns.flags.rcode"] == [[], ["0"]]
    assert found["dns.qry.name"] == [["www.example.com"], ["www.example.com"]]
    assert found["dns.a"] == [[], ["1.2.3.4"]]
    assert found["dns.cname"] == [[], ["example.com"]]
    assert found["_ws.col.Protocol"] == [["DNS"], ["DNS"]]
    assert found["_ws.col.Info"] == [
        ["Standard query 0x2d6d A www.example.com"],
        ["Standard query response 0x2d6d A www.example.com A 1.2.3.4 CNAME example.com"],
    ]


def test_two_occurrences_in_one_of_two_packets_are_both_of_that_one() -> None:
    reply = message([question()], [record(b"\1\2\3\4"), record(b"\1\2\3\5")])
    assert dissect([ask(), answer(reply, 53)], ["dns.a"])["dns.a"] == [[], ["1.2.3.4", "1.2.3.5"]]


def test_the_tree_shows_each_record_with_its_bytes() -> None:
    lines = tree_of(answer(message([question()], [record(pack(">H", 10) + NAME, MX)]), 53))
    assert "Domain Name System (response)" in lines
    assert "  Flags: 0x8180 Standard query response, No error" in lines
    at = lines.index("    www.example.com: type MX, class IN, preference 10, mx www.example.com")
    assert lines[at - 1] == "  Answers"
    assert lines[at + 4 : at + 8] == [
        "      Time to live: 60 (1 minute)",
        "      Data length: 19",
        "      Preference: 10",
        "      Mail Exchange: www.example.com",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"\0", "<Root>"),
        (b"\1a\0", "a"),
        (b"\3a.b\0", "a.b"),
        (b"\2\n\x7f\0", "\\n\\177"),
        (b"\2\xc3\xa4\0", "ä"),
        (b"\xc0\x0c", LOOPS),
        (b"\1a\xc0\x0c", LOOPS),
        (b"\x3f" * 256 + b"\0", TOO_LONG),
    ],
)
def test_names(name: bytes, text: str) -> None:
    found = dissect([ask(name)], ["dns.qry.name", "dns.qry.type"])
    assert found == {"dns.qry.name": [[text]], "dns.qry.type": [["1"]]}


def test_a_name_of_pointers_to_pointers_ends() -> None:
    """Each of five thousand records has a name that goes through hundreds of pointers."""
    chain = b"".join(pack(">H", 0xC000 | (12 + 2 * number)) for number in range(1, 400)) + b"\0"
    records = [record(b"", name=b"\xc0\x0c")] * 4000
    whole = pack(">HHHHHH", 1, 0x8180, 1, len(records), 0, 0) + chain + pack(">HH", 1, 1) + b"".join(records)
    found = dissect([answer(whole[:60000], 53)], ["dns.resp.name"])["dns.resp.name"][0]
    assert set(found) <= {LOOPS, "<Root>"}


def test_names_in_an_option_may_point_within_it_alone() -> None:
    assert read_labels(b"\3com\0\1a\xc0\0") == [("com", 0, 5), ("a.com", 5, 4)]
    assert read_labels(b"\1a\xc0\0") == []
    assert read_labels(b"\5ab") == [("ab", 0, 3)]


def test_answers_find_their_questions_across_chunks() -> None:
    reply = message([question()], [record(b"\1\2\3\4")])
    packets = [ask(), ask(), answer(reply, 53), answer(reply, 53), answer(message([question()], number=7), 53)]
    fields = ["dns.response_to", "dns.time", "dns.retransmit_request_in", "dns.retransmit_response_in"]
    for chunk in (1, 2, 5):
        found = dissect(packets, [*fields, "dns.unsolicited"], chunk=chunk)
        assert found["dns.response_to"] == [[], [], ["1"], [], []]
        assert found["dns.time"] == [[], [], ["2.000000000"], [], []]
        assert found["dns.retransmit_request_in"] == [[], ["1"], [], [], []]
        assert found["dns.retransmit_response_in"] == [[], [], [], ["3"], []]
        assert found["dns.unsolicited"] == [[], [], [], [], ["1"]]


def test_dns_on_another_port_is_known_by_what_is_usual_in_it() -> None:
    usual = message([question()], flags=0x0100)
    two = message([question(), question()], flags=0x0100)
    found = dissect([datagram(usual, 4242), datagram(two, 4242), datagram(usual[:12], 4242)], ["dns.qry.name"])
    assert found["dns.qry.name"] == [["www.example.com"], [], []]


def over_tcp(*messages: bytes) -> bytes:
    return b"".join(pack(">H", len(one)) + one for one in messages)


def samples() -> list[bytes]:
    """A message of each kind; the replies are to questions before them."""
    packets = []
    for number, (kind, data) in enumerate(RDATA):
        name = b"\4_sip\4_udp\7example\3com\0" if kind == SRV else NAME
        packets.append(ask(name, kind, 0x1000 + number))
        whole = message([question(name, kind)], [record(bytes.fromhex(data), kind)], number=0x1000 + number)
        packets.append(answer(whole, 53))
    for opcode in range(8):
        packets.append(datagram(message([question()], number=0x2000 + opcode, flags=opcode << 11), 53))
        flags = 0x8000 | opcode << 11 | opcode
        packets.append(answer(message([question()], [], [record(b"")], number=0x2000 + opcode, flags=flags), 53))
    for number, (code, value) in enumerate(OPTIONS):
        whole = message([question()], [], [], [options((code, value))], number=0x3000 + number)
        packets.append(answer(whole, 53))
    packets.append(segment(over_tcp(message([question()], number=0x4000, flags=0x0100)), 53))
    return packets


OPTIONS = (
    (3, b"nsid"),
    (5, b"\5\7\10"),
    (6, b"\1\2"),
    (7, b"\1"),
    (8, bytes.fromhex("00011800010203")),
    (8, bytes.fromhex("0002380020010db8000102")),
    (8, bytes.fromhex("00033800616263")),
    (10, b"12345678"),
    (10, b"12345678abcdefgh"),
    (11, b"\0\1"),
    (12, bytes(9)),
    (15, b"\0\6hello"),
    (65001, b"zz"),
)


def test_all_records_are_as_tshark_has_them(tmp_path: Path) -> None:
    # tshark tells no answer's frame in one pass.
    assert_as_tshark(tmp_path, samples(), "dns", but={"dns.response_in"})


def test_multicast_dns_and_llmnr_are_as_tshark_has_them(tmp_path: Path) -> None:
    whole = [
        message([question(group=0x8001), question(kind=12)], flags=0),
        message([], [record(b"\1\2\3\4", group=0x8001), record(NAME, 12)], [], [options((4, b"x"))], flags=0x8400),
        message([question()], [record(b"\1\2\3\4")], flags=0x8500),
        message([question()], flags=0x0600),
    ]
    packets = [datagram(one, port, port) for one in whole for port in (5353, 5355)]
    assert_as_tshark(tmp_path, packets, "dns", but={"dns.response_in"})


def test_several_messages_in_a_segment(tmp_path: Path) -> None:
    two = over_tcp(
        message([question()], number=1, flags=0x0100), message([question(kind=AAAA)], number=2, flags=0x0100)
    )
    packets = [segment(two, 53), segment(two[:40], 53, 40001), segment(two[:1], 53, 40002)]
    fields = ["dns.id", "dns.qry.name", "dns.qry.type"]
    found = dissect(packets, [*fields, "dns.length"])
    assert found["dns.id"] == [["0x0001", "0x0002"], ["0x0001"], []]
    assert found["dns.length"][0] == ["33", "33"]
    assert differences({name: found[name] for name in fields}, by_tshark(tmp_path, packets, fields)) == []


def test_the_rest_of_a_message_is_no_message() -> None:
    whole = over_tcp(message([question()], number=1, flags=0x0100), message([question()], number=2, flags=0x0100))
    parts = [whole[:2], whole[2:30], whole[30:], whole[30:], whole]
    starts = [1, 3, 31, 31, 100_000]
    packets = [segment(part, 53, sequence=start) for part, start in zip(parts, starts, strict=True)]
    for chunk in (1, 10):
        assert dissect(packets, ["dns.id"], chunk=chunk)["dns.id"] == [[], [], ["0x0002"], [], ["0x0001", "0x0002"]]


def test_cut_and_damaged_messages_are_read() -> None:
    whole = message(
        [question()], [record(bytes.fromhex(data), kind) for kind, data in RDATA[::9]], [], [options(*OPTIONS)]
    )
    assert_bounded(answer(whole, 53))
