"""The flows of packets, without dissecting them: what it knows, and that the dissection says the same."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.captures.records import Interface, Records
from echowire.core.owners.events import V4_MAPPED
from echowire.core.owners.flow_keys import KEY_BYTES, Flows, Headers, distinct_flows, flows_of
from echowire.core.packets.dissect import Dissector, first_of_each

A4, B4 = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
A6, B6 = bytes([0xFD, *range(15)]), bytes([0xFE, *range(15)])
PORTS = struct.pack(">HH", 1234, 53)


def ipv4(protocol: int = 17, options: bytes = b"", fragment: int = 0) -> bytes:
    length = 20 + len(options) + 8
    head = bytes([0x40 | (20 + len(options)) // 4, 0]) + struct.pack(">HHHBBH", length, 1, fragment, 64, protocol, 0)
    return head + A4 + B4 + options + PORTS + b"\0\x08\0\0"


def ipv6(protocol: int = 6) -> bytes:
    return b"\x60\0\0\0" + struct.pack(">HBB", 20, protocol, 64) + A6 + B6 + PORTS + bytes(8) + b"\x50\0" + bytes(6)


def ethernet(kind: bytes, rest: bytes) -> bytes:
    return bytes(12) + kind + rest


def headers(packets: list[bytes], link_type: int = 1) -> Headers:
    records = Records.of(packets, [0] * len(packets), interfaces=[Interface(link_type)])
    return Headers(records.data, records.start, records.cap_len, link_type)


def in_place(packets: list[bytes], link_type: int) -> Headers:
    """As packets lie in a block of the ring: with nothing behind the last."""
    sizes = np.array([len(packet) for packet in packets], np.int64)
    return Headers(np.frombuffer(b"".join(packets), np.uint8), np.cumsum(sizes) - sizes, sizes, link_type)


def by_row(flows: Flows) -> dict[int, bytes]:
    keys_by_row = {
        row: flows.keys[which].tobytes() for row, which in zip(flows.rows.tolist(), flows.which, strict=True)
    }
    assert [keys_by_row[row] for row in flows.first.tolist()] == [key.tobytes() for key in flows.keys]
    return keys_by_row


def keys(packet: bytes, link_type: int = 1) -> list[bytes]:
    rows, flows = flows_of(headers([packet], link_type))
    assert len(rows) == len(flows) <= 1
    found = [row.tobytes() for row in flows]
    assert list(by_row(distinct_flows(in_place([packet], link_type))).values()) == found
    return found


V4_KEY = V4_MAPPED + A4 + V4_MAPPED + B4 + PORTS + b"\x11\0\0\0"
V6_KEY = A6 + B6 + PORTS + b"\x06\0\0\0"


@pytest.mark.parametrize(
    ("packet", "link_type", "key"),
    [
        (ethernet(b"\x08\0", ipv4()), 1, V4_KEY),
        (ethernet(b"\x08\0", ipv4(options=bytes(8))), 1, V4_KEY),
        (ethernet(b"\x86\xdd", ipv6()), 1, V6_KEY),
        (ethernet(b"\x81\0\0\5\x08\0", ipv4()), 1, V4_KEY),
        (ethernet(b"\x88\xa8\0\5\x81\0\0\6\x86\xdd", ipv6()), 1, V6_KEY),
        (b"\x08\0" + bytes(18) + ipv4(), 276, V4_KEY),
        (bytes(14) + b"\x86\xdd" + ipv6(), 113, V6_KEY),
        (ipv4(), 101, V4_KEY),
        (ipv6(), 101, V6_KEY),
    ],
)
def test_what_it_knows(packet: bytes, link_type: int, key: bytes) -> None:
    assert keys(packet, link_type) == [key]
    ports_end = packet.index(PORTS) + 4
    for size in range(len(packet)):
        assert keys(packet[:size], link_type) == ([key] if size >= ports_end else [])


@pytest.mark.parametrize(
    "packet",
    [
        ethernet(b"\x08\0", ipv4(protocol=1)),
        ethernet(b"\x08\0", ipv4(fragment=5)),
        ethernet(b"\x08\0", b"\x41" + ipv4()[1:]),
        ethernet(b"\x86\xdd", ipv6(protocol=58)),
        ethernet(b"\x08\x06", bytes(60)),
        b"",
    ],
)
def test_what_has_no_flow(packet: bytes) -> None:
    assert keys(packet) == []
    assert keys(packet, 147) == []


@given(st.lists(st.binary(max_size=80), max_size=5), st.sampled_from([1, 101, 113, 276]))
def test_any_bytes_will_do(packets: list[bytes], link_type: int) -> None:
    rows, flows = flows_of(headers(packets, link_type))
    assert flows.shape == (len(rows), KEY_BYTES)
    assert (np.asarray(rows) < max(len(packets), 1)).all()


def test_the_dissection_says_the_same() -> None:
    packets = [ethernet(b"\x08\0", ipv4()), ethernet(b"\x86\xdd", ipv6()), ethernet(b"\x08\0", ipv4(protocol=1))]
    records = Records.of(packets, [0, 0, 0])
    rows, flows = flows_of(headers(packets))
    dissected = Dissector(["udp.srcport", "tcp.srcport"]).dissect(records)
    for number, name in ((17, "udp.srcport"), (6, "tcp.srcport")):
        values = first_of_each(dissected.values(name))
        mine = flows[:, 36] == number
        assert rows[mine].tolist() == values.rows.tolist()
        assert (flows[mine, 32].astype(int) << 8 | flows[mine, 33]).tolist() == values.values.tolist()


def varied() -> st.SearchStrategy[bytes]:
    """Packets of few flows: some of their bytes changed, some cut."""
    whole = st.sampled_from([
        ethernet(b"\x08\0", ipv4()), ethernet(b"\x08\0", ipv4(6)), ethernet(b"\x08\0", ipv4(options=bytes(4))),
        ethernet(b"\x86\xdd", ipv6()), ethernet(b"\x81\0\0\5\x08\0", ipv4()), ethernet(b"\x81\0\0\5\x86\xdd", ipv6(17)),
        ethernet(b"\x08\x06", bytes(40)), ipv4(), ipv6(),
    ])  # fmt: skip

    def changed(packet: bytes, at: int, to: int, size: int) -> bytes:
        at %= len(packet)
        return (packet[:at] + bytes([to]) + packet[at + 1 :])[: len(packet) - size]

    return st.builds(changed, whole, st.integers(0, 200), st.integers(0, 255), st.sampled_from([0, 0, 0, 0, 4, 9, 30]))


@given(st.lists(st.one_of(varied(), st.binary(max_size=80)), max_size=30), st.sampled_from([1, 1, 101, 113, 276, 147]))
def test_together_as_one_by_one(packets: list[bytes], link_type: int) -> None:
    rows, flows = flows_of(headers(packets, link_type))
    assert by_row(distinct_flows(in_place(packets, link_type))) == {
        row: flow.tobytes() for row, flow in zip(rows.tolist(), flows, strict=True)
    }


def test_a_flow_is_looked_at_once() -> None:
    one, other = ethernet(b"\x08\0", ipv4()), ethernet(b"\x08\0", ipv4(6))
    flows = distinct_flows(in_place([one, one, other, one, other, other], 1))
    assert len(flows.first) == 2
    assert len(set(flows.which[[0, 1, 3]])) == len(set(flows.which[[2, 4, 5]])) == 1
