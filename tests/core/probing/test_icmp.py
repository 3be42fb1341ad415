"""ICMP: the checksum against RFC 1071's own sum, echoes, and errors with what they quote; cut and mutated."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.probing.icmp import (
    Echo,
    Error,
    Quoted,
    Version,
    checksum,
    pack_echo,
    read_echo,
    read_error,
    read_quoted,
    strip_ipv4,
)


def slow_checksum(data: bytes) -> int:
    """RFC 1071 section 4.1, in so many words."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(st.binary(max_size=200))
def test_the_checksum(data: bytes) -> None:
    assert checksum(data) == slow_checksum(data)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0", b"\xff\xff", b"\xff\xff\xff\xff", b"\xff\xfe\0\1"])
def test_the_checksum_at_its_edges(data: bytes) -> None:
    assert checksum(data) == slow_checksum(data)


def test_the_example_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=100))
def test_an_echo(identifier: int, sequence: int, data: bytes) -> None:
    four, six = pack_echo(4, identifier, sequence, data), pack_echo(6, identifier, sequence, data)
    assert four[:2] == b"\x08\0"
    assert six[:4] == b"\x80\0\0\0"
    assert checksum(four) == 0
    assert read_echo(four) == Echo(8, identifier, sequence, data)
    assert read_echo(six) == Echo(128, identifier, sequence, data)
    for size in range(8):
        assert read_echo(four[:size]) is None


def ipv4(destination: bytes, protocol: int, data: bytes, options: bytes = b"") -> bytes:
    length = 20 + len(options)
    first = 0x40 | length // 4
    head = struct.pack(">BBHHHBBH4s4s", first, 0, length + len(data), 0, 0, 9, protocol, 0, b"\x0a\0\0\1", destination)
    return head + options + data


def ipv6(destination: bytes, protocol: int, data: bytes) -> bytes:
    return struct.pack(">IHBB16s16s", 6 << 28, len(data), protocol, 9, bytes(16), destination) + data


ASKED = pack_echo(4, 7, 9, b"0123456789abcdef")
QUOTED4 = ipv4(b"\x0a\0\0\x09", 1, ASKED)
QUOTED6 = ipv6(bytes.fromhex("fd77") + bytes(13) + b"\x09", 58, ASKED)


@pytest.mark.parametrize(
    ("version", "message", "error"),
    [
        (4, b"\x03\x01\0\0\0\0\0\0" + QUOTED4, Error(3, 1, None, Quoted("10.0.0.9", 1, ASKED))),
        (4, b"\x03\x04\0\0\0\0\x05\x00" + QUOTED4, Error(3, 4, 1280, Quoted("10.0.0.9", 1, ASKED))),
        (4, b"\x03\x04\0\0\0\0\0\0" + QUOTED4, Error(3, 4, None, Quoted("10.0.0.9", 1, ASKED))),
        (4, b"\x0b\0\0\0\0\0\0\0" + QUOTED4[:28], Error(11, 0, None, Quoted("10.0.0.9", 1, ASKED[:8]))),
        (
            4,
            b"\x0b\0\0\0\0\0\0\0" + ipv4(b"\x0a\0\0\x09", 1, ASKED, bytes(8)),
            Error(11, 0, None, Quoted("10.0.0.9", 1, ASKED)),
        ),
        (6, b"\x02\0\0\0\0\0\x05\x00" + QUOTED6, Error(2, 0, 1280, Quoted("fd77::9", 58, ASKED))),
        (6, b"\x03\0\0\0\0\0\0\0" + QUOTED6[:48], Error(3, 0, None, Quoted("fd77::9", 58, ASKED[:8]))),
    ],
)
def test_an_error(version: Version, message: bytes, error: Error) -> None:
    assert read_error(version, message) == error
    head = 8 + (20 if version == 4 else 40)
    for size in range(len(message)):
        found = read_error(version, message[:size])
        assert size >= head or found is None
        assert found is None or message.endswith(found.quoted.data) or found.quoted.data in message


@pytest.mark.parametrize("message", [ASKED, b"\x00\0\0\0\0\0\0\0" + QUOTED4, b"\x03\0\0\0\0\0\0\0" + b"\x44" * 60])
def test_no_error(message: bytes) -> None:
    assert read_error(4, message) is None


@given(st.binary(max_size=120))
def test_anything_may_come(data: bytes) -> None:
    read_echo(data)
    read_quoted(data)
    strip_ipv4(data)
    for version in (4, 6):
        read_error(version, data)
        read_error(version, b"\x03\0\0\0\0\0\0\0" + data)


def test_a_raw_sockets_header_is_taken_off() -> None:
    stripped = strip_ipv4(ipv4(b"\x0a\0\0\x09", 1, ASKED, bytes(4)))
    assert stripped is not None
    assert (bytes(stripped[0]), stripped[1]) == (ASKED, 9)
    assert strip_ipv4(QUOTED4[:19]) is None
    assert strip_ipv4(b"\x41" + QUOTED4[1:]) is None


@pytest.mark.parametrize(("size", "is_whole"), [(0, False), (19, False), (20, True), (21, True)])
def test_a_header_is_taken_off_that_is_whole(size: int, is_whole: bool) -> None:
    packet = bytes([0x45, *bytes(7), 64, *bytes(12)])[:size]
    stripped = strip_ipv4(packet)
    assert (stripped is not None) is is_whole
    if stripped is not None:
        assert (bytes(stripped[0]), stripped[1]) == (bytes(size - 20), 64)


def test_a_header_with_options_is_longer_and_one_that_says_less_than_twenty_bytes_is_none() -> None:
    assert strip_ipv4(bytes([0x46, *bytes(23)])) is not None
    assert strip_ipv4(bytes([0x46, *bytes(22)])) is None
    assert strip_ipv4(bytes([0x44, *bytes(30)])) is None
