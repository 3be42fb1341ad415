"""TFTP: transfers, from the port that a server makes for each."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import pytest

from tests.core.packets.packets import answer, assert_as_tshark, assert_bounded, datagram, dissect

CLIENT, SERVER = 40001, 50123
READ = [
    datagram(pack(">H", 1) + b"file1\0octet\0", 69, CLIENT),
    answer(pack(">HH", 3, 1) + bytes(512), SERVER, CLIENT),
    datagram(pack(">HH", 4, 1), SERVER, CLIENT),
    answer(pack(">HH", 3, 2) + bytes(10), SERVER, CLIENT),
]
WRITE = [
    datagram(pack(">H", 2) + b"up.bin\0netascii\0blksize\x001024\0tsize\x00999\0", 69, CLIENT + 1),
    answer(pack(">H", 6) + b"blksize\x001024\0tsize\x00999\0", SERVER + 1, CLIENT + 1),
    datagram(pack(">HH", 3, 1) + bytes(1024), SERVER + 1, CLIENT + 1),
    answer(pack(">HH", 4, 1), SERVER + 1, CLIENT + 1),
    datagram(pack(">HH", 3, 2) + bytes(100), SERVER + 1, CLIENT + 1),
    answer(pack(">HH", 5, 1) + b"no such\0", SERVER + 1, CLIENT + 1),
]
STRANGER = datagram(pack(">HH", 3, 1) + b"zz", 44444, 33333)


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_a_transfer_is_known_by_its_request(chunk: int) -> None:
    fields = ["tftp.opcode", "tftp.block", "tftp.destination_file", "tftp.request_frame", "_ws.col.Info"]
    found = dissect([STRANGER, *READ, STRANGER], fields, chunk=chunk)
    assert found["tftp.opcode"] == [[], ["1"], ["3"], ["4"], ["3"], []]
    assert found["tftp.destination_file"] == [[], [], ["file1"], ["file1"], ["file1"], []]
    assert found["tftp.request_frame"] == [[], [], ["2"], ["2"], ["2"], []]
    assert [one[0] for one in found["_ws.col.Info"][1:5]] == [
        "Read Request, File: file1, Transfer type: octet",
        "Data Packet, Block: 1",
        "Acknowledgement, Block: 1",
        "Data Packet, Block: 2 (last)",
    ]


def test_transfers_are_as_tshark_has_them(tmp_path: Path) -> None:
    assert_as_tshark(tmp_path, [*READ, *WRITE], "tftp")


def test_cut_and_damaged_messages_are_read() -> None:
    assert_bounded(READ[0], WRITE[0], answer(pack(">HH", 5, 1) + b"no such\0", 69))
