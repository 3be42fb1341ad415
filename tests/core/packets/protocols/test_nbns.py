"""NetBIOS's name service: names in their spelling, addresses, lists of names."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import pytest

from echowire.core.packets.protocols.nbns import decoded
from tests.core.packets.packets import answer, assert_as_tshark, assert_bounded, datagram, dissect


def encoded(name: bytes) -> bytes:
    """A name of sixteen bytes as labels."""
    return b"\x20" + bytes(0x41 + half for one in name for half in (one >> 4, one & 15)) + b"\0"


WPAD = encoded(b"WPAD".ljust(15) + b"\0")


def message(flags: int, *counts: int, body: bytes) -> bytes:
    return pack(">HH4H", 0x8096, flags, *counts) + body


QUERY = message(0x0110, 1, 0, 0, 0, body=WPAD + b"\0\x20\0\1")
ANSWER = message(0x8500, 0, 1, 0, 0, body=WPAD + pack(">HHIH", 32, 1, 300, 6) + b"\x60\0\12\0\0\7")
NAMES = b"\2" + b"HOST".ljust(15) + b"\x20\x04\0" + b"GROUP".ljust(15) + b"\0\x84\0" + b"\0\1\2\3\4\5" + bytes(40)
STATUS = message(0x8400, 0, 1, 0, 0, body=encoded(b"*".ljust(16, b"\0")) + pack(">HHIH", 33, 1, 0, len(NAMES)) + NAMES)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FHFAEBEECACACACACACACACACACACAAA", "WPAD<00>"),
        ("FHFAEBEECACACACACACACACACACACAAA.scope.org", "WPAD<00>.scope.org"),
        ("CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "*<00>"),
        ("FHFAEBEECACACACACACACACACACACAA", "FHFAEBEECACACACACACACACACACACAA"),
        ("ZHFAEBEECACACACACACACACACACACAAA", "ZHFAEBEECACACACACACACACACACACAAA"),
        ("", ""),
    ],
)
def test_names(name: str, text: str) -> None:
    assert decoded(name) == text


def test_a_query_and_its_answer() -> None:
    fields = ["nbns.name", "nbns.addr", "nbns.netbios_name", "_ws.col.Info"]
    assert dissect([datagram(QUERY, 137, 137), answer(ANSWER, 137, 137), answer(STATUS, 137, 137)], fields) == {
        "nbns.name": [["WPAD<00>"], ["WPAD<00> (Workstation/Redirector)"], ["*<00> (Workstation/Redirector)"]],
        "nbns.addr": [[], ["10.0.0.7"], []],
        "nbns.netbios_name": [[], [], ["HOST<20>", "GROUP<00>"]],
        "_ws.col.Info": [
            ["Name query NB WPAD<00>"],
            ["Name query response NB 10.0.0.7"],
            ["Name query response NBSTAT"],
        ],
    }


def test_messages_are_as_tshark_has_them(tmp_path: Path) -> None:
    packets = [datagram(QUERY, 137, 137), answer(ANSWER, 137, 137)]
    packets += [
        datagram(message(opcode << 11, 1, 0, 0, 0, body=WPAD + b"\0\x20\0\1"), 137, 137) for opcode in range(10)
    ]
    assert_as_tshark(tmp_path, packets, "nbns")


def test_cut_and_damaged_messages_are_read() -> None:
    assert_bounded(datagram(QUERY, 137, 137), answer(STATUS, 137, 137))
