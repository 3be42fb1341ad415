"""TCP_INFO against ctypes' own layout of the structure, and against the kernel's (BTF), bit fields above all."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.sockets.tcp_info import BITS, decode_tcp_info
from echowire.kernel.connections.tcp_info import kernel_release, read_tcp_info

U8, U16, U32, U64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64


def _members(kind: type, names: str) -> list[tuple[str, type]]:
    return [(f"tcpi_{name}", kind) for name in names.split()]


BEFORE_ACCECN_BITS: list[tuple[str, type] | tuple[str, type, int]] = [
    *_members(U8, "state ca_state retransmits probes backoff options"),
    ("tcpi_snd_wscale", U8, 4),
    ("tcpi_rcv_wscale", U8, 4),
    ("tcpi_delivery_rate_app_limited", U8, 1),
    ("tcpi_fastopen_client_fail", U8, 2),
    *_members(U32, "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets"),
    *_members(U32, "last_data_sent last_ack_sent last_data_recv last_ack_recv pmtu rcv_ssthresh rtt rttvar"),
    *_members(U32, "snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans"),
    *_members(U64, "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    *_members(U32, "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out"),
    *_members(U64, "delivery_rate busy_time rwnd_limited sndbuf_limited"),
    *_members(U32, "delivered delivered_ce"),
    *_members(U64, "bytes_sent bytes_retrans"),
    *_members(U32, "dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash"),
    *_members(U16, "total_rto total_rto_recoveries"),
    *_members(U32, "total_rto_time received_ce delivered_e1_bytes delivered_e0_bytes delivered_ce_bytes"),
    *_members(U32, "received_e1_bytes received_e0_bytes received_ce_bytes"),
]


class Linux618(ctypes.Structure):
    _fields_ = [*BEFORE_ACCECN_BITS, ("tcpi_accecn_fail_mode", U16), ("tcpi_accecn_opt_seen", U16)]


class Linux70(ctypes.Structure):
    _fields_ = [
        *BEFORE_ACCECN_BITS,
        ("tcpi_ecn_mode", U32, 2),
        ("tcpi_accecn_opt_seen", U32, 2),
        ("tcpi_accecn_fail_mode", U32, 4),
        ("tcpi_options2", U32, 24),
    ]


@pytest.mark.parametrize(("layout", "release"), [(Linux618, (6, 18)), (Linux70, (7, 0))])
@given(data=st.binary(min_size=280, max_size=280))
def test_every_field_is_where_ctypes_has_it(
    layout: type[ctypes.Structure], release: tuple[int, int], data: bytes
) -> None:
    assert ctypes.sizeof(layout) == 280
    expected = layout.from_buffer_copy(data)
    found = decode_tcp_info(data, release=release)
    assert list(found) == [field[0] for field in layout._fields_]
    assert found == {name: getattr(expected, name) for name in found}


@pytest.mark.parametrize("size", range(0, 281, 3))
def test_what_an_older_kernel_does_not_give_is_left_out(size: int) -> None:
    data = os.urandom(280)
    whole, part = decode_tcp_info(data, release=(6, 18)), decode_tcp_info(data[:size], release=(6, 18))
    assert part == {name: whole[name] for name in part}
    assert list(part) == list(whole)[: len(part)]


def test_a_newer_kernel_s_surplus_is_not_decoded() -> None:
    data = bytes(280)
    assert decode_tcp_info(data + b"\xff" * 40) == decode_tcp_info(data)


def test_bit_fields_of_a_big_endian_machine_begin_at_the_top() -> None:
    data = bytes(6) + bytes([0x7A, 0b1_01_00000]) + struct.pack(">I", 200_000)
    found = decode_tcp_info(data, byteorder="big")
    assert (found["tcpi_snd_wscale"], found["tcpi_rcv_wscale"]) == (7, 10)
    assert (found["tcpi_delivery_rate_app_limited"], found["tcpi_fastopen_client_fail"]) == (1, 1)
    assert found["tcpi_rto"] == 200_000


@pytest.mark.parametrize(("text", "release"), [("6.18.44-fc-v669", (6, 18)), ("7.0-rc1", (7, 0)), ("5.4+", (5, 4))])
def test_releases_are_read(text: str, release: tuple[int, int]) -> None:
    assert kernel_release(text) == release


def test_a_real_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        accepted, _ = listener.accept()
        with accepted:
            sock.sendall(b"x" * 1000)
            assert accepted.recv(1000, socket.MSG_WAITALL)
            accepted.sendall(b"y" * 10)
            assert sock.recv(10)
            found = read_tcp_info(sock)
    assert found is not None
    assert found["tcpi_state"] == 1  # TCP_ESTABLISHED
    assert (found["tcpi_bytes_sent"], found["tcpi_bytes_received"]) == (1000, 10)


def test_a_socket_that_is_not_tcp_has_none() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert read_tcp_info(sock) is None


BTF = Path("/sys/kernel/btf/vmlinux")


@pytest.mark.skipif(not BTF.exists() or sys.byteorder != "little", reason="this kernel carries no BTF")
def test_the_running_kernel_s_own_layout() -> None:
    """Each member of the kernel's own description, read from a buffer in which every bit position is tried."""
    members = list(_btf_members(BTF.read_bytes(), "tcp_info"))
    release = kernel_release()
    for name, first, width in members:
        data = bytearray(280)
        value = (1 << width) - 1
        data[:] = (value << first).to_bytes(280, "little")
        found = decode_tcp_info(bytes(data), release=release)
        if name not in found:
            continue  # newer than this table
        assert {other: found[other] for other in found if found[other]} == {name: value}
    assert {name for names in BITS.values() for name, _ in names} & {name for name, _, _ in members}


def _btf_members(data: bytes, wanted: str) -> Iterator[tuple[str, int, int]]:
    """Name, first bit and width of each member of the structure `wanted` (kernel.org, BTF specification)."""
    _, _, _, header, types_at, types_size, names_at, _ = struct.unpack_from("<HBBIIIII", data)
    first, end, names = header + types_at, header + types_at + types_size, header + names_at

    def name_of(offset: int) -> str:
        return data[names + offset : data.index(b"\0", names + offset)].decode()

    found, kinds, at = [], [("", 0, 0)], first
    while at < end:
        name, info, size = struct.unpack_from("<III", data, at)
        kind, count = info >> 24 & 31, info & 0xFFFF
        kinds.append((name_of(name), kind, size))
        at += 12
        if kind == 4 and kinds[-1][0] == wanted:
            found = [(*struct.unpack_from("<III", data, at + 12 * i), info >> 31) for i in range(count)]
        tail = {1: 4, 3: 12, 4: 12 * count, 5: 12 * count, 6: 8 * count, 13: 8 * count}
        at += tail.get(kind, {14: 4, 15: 12 * count, 17: 4, 19: 12 * count}.get(kind, 0))
    widths = {"__u8": 8, "__u16": 16, "__u32": 32, "__u64": 64}
    for name, kind, offset, has_bits in found:
        width = offset >> 24 if has_bits else 0
        yield name_of(name), offset & 0xFFFFFF if has_bits else offset, width or widths[kinds[kind][0]]
