"""Whose a packet is, from events of sockets made by hand."""

from __future__ import annotations

import struct

import pytest

from echowire.core.captures.in_place import Notes
from echowire.core.captures.records import Records, parse_options
from echowire.core.owners.events import (
    ACCEPTED,
    ANY_ADDRESS,
    CLOSED,
    CONNECTING,
    ESTABLISHED,
    FIN_WAIT_1,
    INPUT_OUTPUT,
    RECORD,
    OwnerEvent,
    mapped,
    parse_event,
)
from echowire.core.owners.flow_keys import TCP, UDP, Headers
from echowire.core.owners.table import OwnerTable
from echowire.core.packets.processes import Owner, sides

ME, YOU = mapped(b"\x7f\0\0\1"), mapped(b"\x7f\0\0\2")
HERE = 7


def event(
    kind: int, pid: int = 0, *, at: int = 0, socket: int = 1, own: tuple[bytes, int] = (ME, 1000),
    peer: tuple[bytes, int] = (YOU, 80), protocol: int = TCP, namespace: int = HERE,
) -> OwnerEvent:  # fmt: skip
    return OwnerEvent(at, socket, pid, pid, f"p{pid}", kind, namespace, protocol, *own, *peer, 1000, 77)


def table(*events: OwnerEvent, living: bool = True) -> OwnerTable:
    made = OwnerTable(lambda pid, name, *_: Owner(pid, name), lambda pid: living, HERE)
    for one in events:
        made.learn(one)
    return made


def pid_of(made: OwnerTable, now: int = 100, protocol: int = TCP) -> int | None:
    owner = made.owner((protocol, ME, 1000, YOU, 80), now)
    return owner and owner.pid


def test_a_connection_is_whose_who_connected() -> None:
    # The port is not known yet when the process asks for it, and the answer comes in anybody's name.
    assert pid_of(table(event(CONNECTING, 5, own=(ANY_ADDRESS, 0)), event(ESTABLISHED, 99, at=3))) == 5
    assert pid_of(table(event(ESTABLISHED, 99))) is None


def test_a_connection_that_fails_is_whose_who_tried() -> None:
    assert pid_of(table(event(CONNECTING, 5, own=(ANY_ADDRESS, 0)), event(CLOSED, 99, at=3))) == 5
    assert pid_of(table(event(CLOSED, 99))) is None


def test_what_came_in_is_whose_who_uses_it_first() -> None:
    assert pid_of(table(event(ACCEPTED, 99))) is None
    assert pid_of(table(event(ACCEPTED, 99), event(INPUT_OUTPUT, 6, at=9)), now=1) == 6
    assert pid_of(table(event(ACCEPTED, 99), event(FIN_WAIT_1, 6, at=9))) == 6
    assert pid_of(table(event(ACCEPTED, 99), event(INPUT_OUTPUT, 6), event(FIN_WAIT_1, 8))) == 6


def test_the_same_ports_again_are_another_connection() -> None:
    made = table(
        event(CONNECTING, 5, at=1), event(ESTABLISHED, at=2),
        event(CONNECTING, 6, at=50, socket=2), event(ESTABLISHED, at=51, socket=2),
    )  # fmt: skip
    assert [pid_of(made, now) for now in (0, 10, 49, 50, 99)] == [5, 5, 5, 6, 6]


def test_another_network_is_known_by_addresses_of_its_own() -> None:
    here, there = (mapped(b"\x0a\0\0\1"), 80), (mapped(b"\x0a\0\0\2"), 1000)
    key = (TCP, *there, *here)
    made = table(event(INPUT_OUTPUT, 5, namespace=8, own=there, peer=here))
    assert made.owner(key, 9) == Owner(5, "p5")
    made.learn(event(INPUT_OUTPUT, 6, namespace=9, own=there, peer=here, socket=2))
    assert made.owner(key, 9) is None  # the same addresses in two networks
    made.learn(event(INPUT_OUTPUT, 7, own=there, peer=here, socket=3))
    assert made.owner(key, 9) == Owner(7, "p7")


@pytest.mark.parametrize("protocol", [1, 132, 255, 262, 65535])
def test_other_protocols_are_passed_over(protocol: int) -> None:
    for namespace in (HERE, 8):
        made = table(event(INPUT_OUTPUT, 5, own=(bytes(15) + b"\2", 9), protocol=protocol, namespace=namespace))
        assert made.owner((protocol, bytes(15) + b"\2", 9, YOU, 80), 9) is None


@pytest.mark.parametrize("own", [ME, bytes(15) + b"\1", ANY_ADDRESS])
def test_every_network_has_a_loopback(own: bytes) -> None:
    made = table(event(INPUT_OUTPUT, 5, namespace=8, own=(own, 1000), peer=(own, 80), protocol=UDP))
    assert made.owner((UDP, own, 1000, own, 80), 9) is None


def test_a_port_alone_is_of_this_network() -> None:
    made = table(event(INPUT_OUTPUT, 5, namespace=8, own=(YOU[:15] + b"\3", 1000), peer=(ANY_ADDRESS, 0), protocol=UDP))
    assert pid_of(made, protocol=UDP) is None


def test_what_is_noted_of_another_network_is_forgotten_when_it_is_of_two() -> None:
    ends = {"own": (mapped(b"\x0a\0\0\1"), 1000), "peer": (mapped(b"\x0a\0\0\2"), 9), "protocol": UDP}
    packet = udp(1000, 9).replace(b"\x7f\0\0\1\x7f\0\0\1", b"\x0a\0\0\1\x0a\0\0\2")
    made = table(event(INPUT_OUTPUT, 5, namespace=8, **ends))  # type: ignore[arg-type]
    assert pids(notes_of(made, [packet])) == [5]
    made.learn(event(INPUT_OUTPUT, 5, namespace=9, **ends))  # type: ignore[arg-type]
    assert notes_of(made, [packet]) is None


def test_datagrams_by_the_port_alone() -> None:
    for own in ((ME, 1000), (ANY_ADDRESS, 1000)):
        made = table(event(INPUT_OUTPUT, 5, own=own, peer=(ANY_ADDRESS, 0), protocol=UDP))
        assert pid_of(made, protocol=UDP) == 5
        assert pid_of(made, protocol=TCP) is None


def test_a_port_of_any_address_is_one_of_this_host() -> None:
    made = table(event(INPUT_OUTPUT, 5, own=(ANY_ADDRESS, 53), peer=(ANY_ADDRESS, 0), protocol=UDP))
    here, there = mapped(b"\x0a\0\0\1"), mapped(b"\x08\x08\x08\x08")
    assert [made.owner((UDP, one, 53, ME, 9), 9) for one in (here, there)] == [None, None]
    made.learn_addresses(frozenset([here]))
    assert [made.owner((UDP, one, 53, ME, 9), 9) for one in (here, there)] == [Owner(5, "p5"), None]


@pytest.mark.parametrize("living", [True, False])
def test_a_port_that_two_share_is_nobodys(living: bool) -> None:
    bound = {"own": (ME, 1000), "peer": (ANY_ADDRESS, 0), "protocol": UDP}
    made = table(event(INPUT_OUTPUT, 5, **bound), event(INPUT_OUTPUT, 6, socket=2, **bound), living=living)  # type: ignore[arg-type]
    assert pid_of(made, protocol=UDP) == (None if living else 6)


def test_what_proc_told_is_replaced_by_what_happens() -> None:
    made = table()
    made.learn_socket((TCP, ME, 1000, YOU, 80), Owner(3, "old"))
    assert pid_of(made) == 3
    made.learn(event(INPUT_OUTPUT, 4, at=5))
    assert pid_of(made) == 4


def udp(source: int, to: int, last: int = 1) -> bytes:
    body = struct.pack(">HHHH", source, to, 8, 0)
    header = b"\x45\0" + struct.pack(">H", 28) + bytes(5) + b"\x11\0\0" + b"\x7f\0\0\1\x7f\0\0" + bytes([last])
    return bytes(12) + b"\x08\0" + header + body


def notes_of(made: OwnerTable, packets: list[bytes], times: list[int] | None = None) -> Notes | None:
    records = Records.of(packets, times or [100] * len(packets))
    return made.notes(Headers(records.data, records.start, records.cap_len, 1), records.time_ns, 0)


def test_packets_are_noted_from_both_ends() -> None:
    made = table(
        event(INPUT_OUTPUT, 5, own=(ME, 1000), peer=(ME, 2000), protocol=UDP),
        event(INPUT_OUTPUT, 6, own=(ANY_ADDRESS, 2000), peer=(ANY_ADDRESS, 0), protocol=UDP, socket=2),
    )
    packets = [udp(1000, 2000), udp(2000, 1000), udp(1000, 9, 9), b"\0" * 60, udp(1000, 2000)[:36], udp(3, 4)]
    notes = notes_of(made, packets)
    assert notes is not None
    said = [
        sides(parse_options(notes.options[one], False)[1].value.decode()) if one >= 0 else None
        for one in notes.which.tolist()
    ]
    one, other = Owner(5, "p5"), Owner(6, "p6")
    assert said == [(one, other), (other, one), None, None, None, None]
    assert (made.attributed, made.unknown) == (2, 2)


def test_nothing_known_is_no_note() -> None:
    assert notes_of(table(), [udp(1, 2)]) is None


def test_records_of_the_kernel() -> None:
    common = struct.pack("<4s4sIHHH", b"\x0a\0\0\2", b"\x0a\0\0\1", 0, 0x5000, 1000, 2).ljust(88, b"\0")
    raw = RECORD.pack(11, 12, 13 << 32 | 14, b"curl".ljust(16, b"\0"), 65, HERE, TCP, 1000, 77, common)
    peer, own = mapped(b"\x0a\0\0\2"), mapped(b"\x0a\0\0\1")
    assert parse_event(raw) == OwnerEvent(11, 12, 13, 14, "curl", 65, HERE, TCP, own, 1000, peer, 80, 1000, 77)
    assert parse_event(raw[:-1]) is None
    assert parse_event(RECORD.pack(1, 2, 3, b"", 65, HERE, 0, 0, 0, bytes(16) + b"\1" + bytes(71))) is None


def pids(notes: Notes | None) -> list[int | None]:
    """The senders."""
    assert notes is not None
    told = [struct.unpack_from("<I", option, 4)[0] for option in notes.options]
    return [told[one] if one >= 0 else None for one in notes.which.tolist()]


def test_what_is_remembered_of_a_flow_is_found_again_once_more_is_known() -> None:
    made, packets = table(), [udp(1000, 2000), udp(2000, 1000), udp(7, 8)]
    peer = {"peer": (ME, 2000), "protocol": UDP}
    assert notes_of(made, packets) is None
    made.learn(event(INPUT_OUTPUT, 5, **peer))  # type: ignore[arg-type]
    assert pids(notes_of(made, packets)) == pids(notes_of(made, packets)) == [5, 5, None]
    bound = {"own": (ANY_ADDRESS, 2000), "peer": (ANY_ADDRESS, 0), "protocol": UDP}
    made.learn(event(INPUT_OUTPUT, 6, socket=2, **bound))  # type: ignore[arg-type]
    assert pids(notes_of(made, packets)) == [5, 6, None]
    made.learn(event(INPUT_OUTPUT, 8, **peer))  # type: ignore[arg-type]
    assert pids(notes_of(made, packets)) == [8, 6, None]


def test_ports_that_come_again_within_a_block() -> None:
    made = table(
        event(INPUT_OUTPUT, 5, at=1, peer=(ME, 2000), protocol=UDP),
        event(INPUT_OUTPUT, 6, at=50, socket=2, peer=(ME, 2000), protocol=UDP),
    )
    packets = [udp(1000, 2000)] * 4
    for times in ([10, 49, 50, 90], [90, 50, 49, 10]):
        assert pids(notes_of(made, packets, times)) == [5 if one < 50 else 6 for one in times]
    assert pids(notes_of(made, packets, [60] * 4)) == [6] * 4
