"""STAMP's test packets: those sent and those that answer."""

from __future__ import annotations

from struct import pack

from tests.core.packets.packets import answer, assert_bounded, datagram, dissect

SENT = pack(">III", 7, 0xE0000000, 0x80000000) + b"\x80\1" + bytes(30)
ANSWERED = pack(">IIIHHII", 9, 0xE0000001, 0, 0x8001, 0, 0xE0000000, 0xC0000000) + SENT[:14] + b"\0\0\x40\0\0\0"


def test_a_packet_and_its_answer() -> None:
    fields = [
        "twamp.test.seq_number",
        "twamp.test.timestamp",
        "twamp.test.error_estimate.multiplier",
        "twamp.test.receive_timestamp",
        "twamp.test.sender_seq_number",
        "twamp.test.sender_ttl",
        "_ws.col.Info",
    ]
    assert dissect([datagram(SENT, 862), answer(ANSWERED, 862)], fields) == {
        "twamp.test.seq_number": [["7"], ["9"]],
        "twamp.test.timestamp": [["Feb  2, 2019 11:39:44.500000000 UTC"], ["Feb  2, 2019 11:39:45.000000000 UTC"]],
        "twamp.test.error_estimate.multiplier": [["1"], ["1"]],
        "twamp.test.receive_timestamp": [[], ["Feb  2, 2019 11:39:44.750000000 UTC"]],
        "twamp.test.sender_seq_number": [[], ["7"]],
        "twamp.test.sender_ttl": [[], ["64"]],
        "_ws.col.Info": [["Sequence number 7"], ["Answer, sequence number 9, to 7"]],
    }


def test_cut_and_damaged_packets_are_read() -> None:
    assert_bounded(datagram(SENT, 862), answer(ANSWERED, 862))
