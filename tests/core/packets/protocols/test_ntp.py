"""NTP: times, modes, control and private messages, what follows the header."""

from __future__ import annotations

from pathlib import Path
from struct import pack

from tests.core.packets.packets import answer, assert_as_tshark, assert_bounded, datagram, dissect, tree_of

STAMPS = ((0xE0000000, 0x80000000), (0, 0), (0x10000000, 5), (0xE1112222, 0xFFFFFFFF))


def time(mode: int, *, version: int = 4, stratum: int = 2) -> bytes:
    head = bytes([0x40 | version << 3 | mode, stratum, 6, 0xEC]) + pack(">II", 0x12345, 0x678) + b"GPS\0"
    return head + b"".join(pack(">II", *one) for one in STAMPS)


def test_a_message() -> None:
    fields = ["ntp.flags.mode", "ntp.stratum", "ntp.refid", "ntp.reftime", "ntp.rec", "ntp.xmt", "_ws.col.Info"]
    assert dissect([datagram(time(3), 123)], fields) == {
        "ntp.flags.mode": [["3"]],
        "ntp.stratum": [["2"]],
        "ntp.refid": [["47505300"]],
        "ntp.reftime": [[f"{REFERENCE}.500000000 UTC"]],
        "ntp.rec": [[f"{SECOND_ERA}.000000001 UTC"]],
        "ntp.xmt": [[f"{LAST}.999999999 UTC"]],
        "_ws.col.Info": [["NTP Version 4, client"]],
    }


# 0xE0000000 and 0xE1112222 seconds after 1900, and 0x10000000 after 2036-02-07 06:28:16, when the first era ends.
REFERENCE = "Feb  2, 2019 11:39:44"
SECOND_ERA = "Aug 10, 2044 03:52:32"
LAST = "Aug 28, 2019 15:54:10"


def test_the_tree() -> None:
    lines = tree_of(datagram(time(4, stratum=1), 123))
    assert "Network Time Protocol (NTP Version 4, server)" in lines
    assert "  Peer Polling Interval: 6 (64 seconds)" in lines
    assert "  Root Delay: 1.137772 seconds" in lines
    assert "  Reference ID: GPS" in lines
    assert "  Reference ID: 71.80.83.0" in tree_of(datagram(time(4), 123))


def test_all_kinds_are_as_tshark_has_them(tmp_path: Path) -> None:
    packets = [datagram(time(mode, version=version), 123) for version in (1, 3, 4) for mode in range(6)]
    for behind in (b"\0\0\0\1" + bytes(16), b"\0\0\0\1" + bytes(20), b"\0\0\0\0"):
        packets.append(datagram(time(3) + behind, 123))
    extension = pack(">HH", 0x0104, 36) + bytes(32)
    packets.append(answer(time(4) + extension + extension, 123))
    packets.append(answer(time(4) + extension + b"\0\0\0\1" + bytes(16), 123))
    packets.append(datagram(bytes([0x16, 1]) + pack(">HHHHH", 1, 0, 0, 0, 0), 123))
    packets.append(datagram(bytes([0x16, 1]) + pack(">HHHHH", 2, 0, 7, 0, 0), 123))
    packets += [datagram(bytes([0x17, 0, 3, code]) + bytes(4) + bytes(40), 123) for code in (0, 1, 42)]
    # The system's and the peers' states are left to whoever needs them; tshark tells the data of a request of none.
    but = {"ntp.ctrl.data", "ntp.ctrl.item"}
    assert_as_tshark(tmp_path, packets, "ntp", but=but)


def test_variables_of_a_control_message() -> None:
    data = b'version="ntpd 4.2.8", stratum=2'
    packet = answer(bytes([0x16, 0x82]) + pack(">HHHHH", 1, 0x0615, 2, 0, len(data)) + data, 123)
    assert tree_of(packet)[-2:] == ['    version="ntpd 4.2.8"', "    stratum=2"]


def test_cut_and_damaged_messages_are_read() -> None:
    extension = pack(">HH", 0x0104, 36) + bytes(32)
    assert_bounded(
        datagram(time(3) + extension, 123), datagram(bytes([0x16, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4]) + b"a=b,", 123)
    )
