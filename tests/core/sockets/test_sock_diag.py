"""sock_diag's messages: cut into blocks whatever they are mixed with, and however they are damaged."""

from __future__ import annotations

import ctypes
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.columns import Names, Reader
from echowire.core.sockets.fields import address
from echowire.core.sockets.lines import SocketLines, SocketShow
from echowire.core.sockets.netlink import HEADER, attribute, attributes, error_number, messages, request
from echowire.core.sockets.sock_diag import Block, Layout, Splitter
from echowire.kernel.tables.netlink import NetlinkSocket


def message(*, inode: int = 7, tail: bytes = b"", family: int = 2) -> bytes:
    body = struct.pack("=BBBB", family, 1, 0, 0) + struct.pack(">HH", 80, 4000) + bytes(32 + 4 + 8)
    body += struct.pack("=IIIII", 0, 1, 2, 1000, inode) + tail
    return struct.pack(HEADER, 16 + len(body), diag.SOCK_DIAG_BY_FAMILY, 2, 1, 0) + body


MARKED = attribute(diag.MARK, struct.pack("=I", 5))
SHUT = attribute(diag.SHUTDOWN, b"\1")


def inodes(blocks: list[Block]) -> list[int]:
    reader = Reader(Names())
    return [inode for block in blocks for inode in reader.column(block, "inode") or []]


def test_messages_of_one_layout_are_one_block() -> None:
    buffer = b"".join(message(inode=number, tail=MARKED) for number in range(1, 100))
    splitter = Splitter()
    for _ in range(2):
        (block,) = splitter.split(buffer, "tcp")
        assert block.count == 99 and inodes([block]) == list(range(1, 100))


def test_messages_of_several_layouts_are_several_blocks_and_none_is_lost() -> None:
    tails = (b"", MARKED, SHUT, attribute(diag.TOS, b"\1"), MARKED + SHUT)
    buffer = b"".join(message(inode=number, tail=tails[number % 5]) for number in range(1, 101))
    blocks = Splitter().split(buffer, "tcp")
    assert sorted(inodes(blocks)) == list(range(1, 101))
    assert len(blocks) == 5, "one for each, though two are as long as each other"
    reader = Reader(Names())
    assert sum((reader.column(block, "mark") or []).count(5) for block in blocks) == 40


class VsockDiagMsg(ctypes.Structure):
    """linux/vm_sockets_diag.h."""

    _fields_ = (
        *((f"vdiag_{name}", ctypes.c_uint8) for name in ("family", "type", "state", "shutdown")),
        *((f"vdiag_{name}", ctypes.c_uint32) for name in ("src_cid", "src_port", "dst_cid", "dst_port", "ino")),
        ("vdiag_cookie", ctypes.c_uint32 * 2),
    )


def test_vsock_is_laid_out_as_in_c() -> None:
    any_, cookie = 0xFFFF_FFFF, (ctypes.c_uint32 * 2)(9, 0)
    sent = (
        VsockDiagMsg(diag.AF_VSOCK, 1, 10, 0, any_, 5000, any_, any_, 71, cookie),
        VsockDiagMsg(diag.AF_VSOCK, 5, 1, 2, 3, 1024, 2, 5000, 72, cookie),
        VsockDiagMsg(diag.AF_VSOCK, 2, 7, 0, any_, any_, any_, any_, 73, cookie),
    )
    assert ctypes.sizeof(VsockDiagMsg) == diag.BODY_BYTES[diag.AF_VSOCK]
    header = struct.pack(HEADER, 16 + ctypes.sizeof(VsockDiagMsg), diag.SOCK_DIAG_BY_FAMILY, 2, 1, 0)
    (block,) = Splitter().split(b"".join(header + bytes(one) for one in sent), "")
    reader = Reader(Names())
    for name, expected in (
        ("netid", ["v_str", "v_seq", "v_dgr"]),
        ("state", ["LISTEN", "ESTAB", "UNCONN"]),
        ("local_address", [None, "3", None]),
        ("local_port", [5000, 1024, None]),
        ("peer_address", [None, "2", None]),
        ("peer_port", [None, 5000, None]),
        ("inode", [71, 72, 73]),
        ("cookie", [9, 9, 9]),
        ("shutdown", [0, 2, 0]),
    ):
        assert reader.column(block, name) == expected, name
    assert [" ".join(line.split()) for line in SocketLines(reader, SocketShow()).lines(block)] == [
        "v_str LISTEN 0 0 *:5000 *:*",
        "v_seq ESTAB 0 0 3:1024 2:5000",
        "v_dgr UNCONN 0 0 *:* *:*",
    ]


def test_what_a_layout_lacks_is_none() -> None:
    (block,) = Splitter().split(message(), "tcp")
    reader = Reader(Names())
    assert reader.column(block, "mark") is None
    assert reader.column(block, "tcpi_rtt") is None
    assert reader.column(block, "no such column") is None


@pytest.mark.parametrize("length", [0, 8, 100, 239, 240, 241, 280, 400])
def test_tcp_info_is_read_as_far_as_it_goes(length: int) -> None:
    info = bytes(range(1, 256)) * 2
    (block,) = Splitter().split(message(tail=attribute(diag.INFO, info[:length])), "tcp")
    reader = Reader(Names(release=(6, 18)))
    rtt, rehash = reader.column(block, "tcpi_rtt"), reader.column(block, "tcpi_rehash")
    assert rtt == (list(struct.unpack_from("=I", info, 68)) if length >= 72 else None)
    assert rehash == (list(struct.unpack_from("=I", info, 236)) if length >= 240 else None)


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_buffer_that_was_cut_gives_what_came_whole(cut: int) -> None:
    one = message(inode=3, tail=MARKED)
    assert inodes(Splitter().split(one + one[: min(cut, len(one) - 1)], "tcp")) == [3]


@given(st.data())
def test_damaged_buffers_raise_nothing(data: st.DataObject) -> None:
    tails = (b"", MARKED, attribute(diag.INFO, bytes(232)), attribute(diag.CONG, b"bbr\0"))
    buffer = bytearray(b"".join(message(tail=tails[number % 4]) for number in range(8)))
    for _ in range(data.draw(st.integers(1, 12))):
        buffer[data.draw(st.integers(0, len(buffer) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(buffer)))
    reader, splitter = Reader(Names()), Splitter()
    for block in splitter.split(bytes(buffer[:end]), "tcp"):
        for row in reader.dicts(block):
            assert row["netid"] is not None


def test_a_real_dump_splits_as_its_messages_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, NetlinkSocket() as netlink:
        own = listener.getsockname()[1]
        body = diag.inet_request(2, diag.IPPROTO_TCP, extensions=0xFF)
        buffers = list(netlink.dump(diag.SOCK_DIAG_BY_FAMILY, body))
    splitter = Splitter()
    for buffer in buffers:
        blocks = splitter.split(buffer, "tcp")
        found = sorted(part for block in blocks for (part,) in block.unpack_as("=20x48s"))
        assert found == sorted(buffer[at + 20 : at + 68] for _, _, at, _ in messages(buffer))
    reader = Reader(Names())
    ports = [
        port
        for buffer in buffers
        for block in splitter.split(buffer, "tcp")
        for port in reader.column(block, "local_port") or []
    ]
    assert own in ports


def test_an_array_is_the_column() -> None:
    buffer = b"".join(message(inode=number, tail=MARKED) for number in range(1, 50))
    (block,) = Splitter().split(buffer, "tcp")
    at = block.place(None, 68, "I")
    assert at is not None and block.array(at, "I").tolist() == list(range(1, 50))


def test_taking_keeps_what_is_wanted() -> None:
    (block,) = Splitter().split(b"".join(message(inode=number) for number in range(1, 6)), "tcp")
    kept = block.take([1, 0, 1, 0, 0])
    assert kept is not None and inodes([kept]) == [1, 3]
    assert block.take([0] * 5) is None and block.take([1] * 5) is block


def test_layouts_tell_messages_apart_by_their_attributes() -> None:
    one, other = message(tail=MARKED), message(tail=attribute(diag.TCLASS, bytes(4)))
    assert len(one) == len(other)
    assert Layout(one).fits(one) and not Layout(one).fits(other)


@given(st.binary(max_size=200))
def test_netlink_s_envelope_is_read_from_anything(data: bytes) -> None:
    for _, _, start, end in messages(data):
        assert 0 <= start < end <= len(data)
        error_number(data, start, end)
    for _, at, length in attributes(data, 0, len(data)):
        assert at + length <= len(data)


def test_a_request_reads_back() -> None:
    data = request(20, attribute(1, b"abc") + attribute(2, b""), flags=0x300, sequence=9)
    ((kind, flags, start, end),) = messages(data)
    assert (kind, flags, end) == (20, 0x301, len(data))
    assert [(number, data[at : at + size]) for number, at, size in attributes(data, start + 16, end)] == [
        (1, b"abc"),
        (2, b""),
    ]


@given(st.binary(min_size=16, max_size=16) | st.binary(min_size=4, max_size=4))
def test_addresses_are_written_as_inet_ntop_does(data: bytes) -> None:
    # It writes ::1.2.3.4 for the long deprecated "IPv4-compatible" ones, which RFC 5952 has as any other.
    if len(data) == 16 and not any(data[:12]) and any(data[12:14]):
        return
    assert address(data) == socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


@pytest.mark.parametrize("bytecode", [b"", b"\x02\x04\x08\0\0\0\x50\0"])
def test_a_request_has_what_the_kernel_is_to_choose_by(bytecode: bytes) -> None:
    """The attribute comes last, behind the fixed part, and only where there is one."""
    asked = diag.every_tcp_request(states=1 << 10, extensions=3, bytecode=bytecode)
    assert struct.unpack_from("=BBBB48xII", asked) == (socket.AF_INET, 0, 0, 3, 1 << 10, 0)
    newer = diag.inet_request(socket.AF_INET6, 6, states=1 << 10, extensions=3, bytecode=bytecode)
    assert struct.unpack_from("=BBBxI", newer) == (socket.AF_INET6, 6, 3, 1 << 10)
    for body, fixed in ((asked, 60), (newer, 56)):
        found = [(kind, body[start : start + size]) for kind, start, size in attributes(body, fixed, len(body))]
        assert found == ([(diag.REQ_BYTECODE, bytecode)] if bytecode else [])
