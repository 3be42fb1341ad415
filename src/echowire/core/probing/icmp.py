"""ICMP and ICMPv6: echo messages made and read, and error messages with the datagram that they quote. Pure.

    0  1  type        8 and 0 for echo and its reply (RFC 792), 128 and 129 in ICMPv6 (RFC 4443 section 4)
    1  1  code
    2  2  checksum    over the message; in ICMPv6 over a pseudo-header too, which the kernel knows and fills in
    4  2  identifier  of who asks
    6  2  sequence
    8  …  data, which comes back as it was

An error quotes the packet that it is about, at least its IP header and the eight bytes that follow (RFC 792), and
most routers far more (RFC 1812 section 4.3.2.3, RFC 4443 section 3): so what was sent is known again.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Literal, NamedTuple, TypeAlias

HEADER = struct.Struct(">BBHHH")
HEADER_BYTES = 8
ECHO_REQUEST: dict[int, int] = {4: 8, 6: 128}
ECHO_REPLY: dict[int, int] = {4: 0, 6: 129}
ERRORS: dict[int, frozenset[int]] = {4: frozenset({3, 4, 5, 11, 12}), 6: frozenset({1, 2, 3, 4})}
"""Of each version of IP, the types of messages that quote what they are about."""

PROTOCOL: dict[int, int] = {4: 1, 6: 58}
TCP, UDP = 6, 17

IPV4_HEADER_MIN = 20
IPV6_HEADER_BYTES = 40

Version: TypeAlias = Literal[4, 6]
Kind: TypeAlias = Literal["net", "host", "forbidden", "port", "protocol", "size", "hops"]

KINDS: dict[tuple[int, int, int], tuple[Kind, str]] = {
    # RFC 792, RFC 1122 section 3.2.2.1 and RFC 1812 section 5.2.7.1
    (4, 3, 0): ("net", "network unreachable"),
    (4, 3, 1): ("host", "host unreachable"),
    (4, 3, 2): ("protocol", "protocol unreachable"),
    (4, 3, 3): ("port", "port unreachable"),
    (4, 3, 4): ("size", "fragmentation needed"),
    (4, 3, 6): ("net", "network unknown"),
    (4, 3, 7): ("host", "host unknown"),
    (4, 3, 9): ("forbidden", "network administratively prohibited"),
    (4, 3, 10): ("forbidden", "host administratively prohibited"),
    (4, 3, 13): ("forbidden", "administratively prohibited"),
    (4, 11, 0): ("hops", "time to live exceeded"),
    # RFC 4443 sections 3.1 to 3.3
    (6, 1, 0): ("net", "no route"),
    (6, 1, 1): ("forbidden", "administratively prohibited"),
    (6, 1, 3): ("host", "address unreachable"),
    (6, 1, 4): ("port", "port unreachable"),
    (6, 1, 5): ("forbidden", "source address failed policy"),
    (6, 1, 6): ("forbidden", "route rejected"),
    (6, 2, 0): ("size", "packet too big"),
    (6, 3, 0): ("hops", "hop limit exceeded"),
}
"""Of an ICMP version, type and code: what it is about, and the RFC's words."""


class Echo(NamedTuple):
    """An echo message. `data` shares the buffer that it was read from."""

    type: int
    identifier: int
    sequence: int
    data: bytes | memoryview


class Quoted(NamedTuple):
    """What an error quotes: where the packet was going, by which protocol, and the bytes after its IP header."""

    destination: str
    protocol: int
    data: bytes


class Error(NamedTuple):
    """An ICMP error: `mtu` is the bytes that still pass, where it is about size and says so."""

    type: int
    code: int
    mtu: int | None
    quoted: Quoted


def checksum(data: bytes | bytearray | memoryview) -> int:
    """The Internet checksum of `data` (RFC 1071): the complement of the one's complement sum of its 16-bit words.

    A number in base 65,536 is, modulo 65,535, the sum of its digits: so Python's long division does the work.
    """
    number = int.from_bytes(data, "big") << (8 if len(data) % 2 else 0)
    # 0 has two forms in one's complement; a sum of anything but nothing is the other one.
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))


def pack_echo(version: Version, identifier: int, sequence: int, data: bytes) -> bytes:
    """An echo request, with its checksum for IPv4; for ICMPv6 the kernel must fill it in (RFC 3542 section 3.1)."""
    kind = ECHO_REQUEST[version]
    if version == 6:
        return HEADER.pack(kind, 0, 0, identifier, sequence) + data
    total = checksum(HEADER.pack(kind, 0, 0, identifier, sequence) + data)
    return HEADER.pack(kind, 0, total, identifier, sequence) + data


def read_echo(message: bytes | memoryview) -> Echo | None:
    """The echo message, request or reply of either version, in `message`; None where it is none, or cut."""
    if len(message) < HEADER_BYTES:
        return None
    kind, code, _, identifier, sequence = HEADER.unpack_from(message)
    if code or kind not in (0, 8, 128, 129):
        return None
    return Echo(kind, identifier, sequence, message[HEADER_BYTES:])


def read_error(version: Version, message: bytes) -> Error | None:
    """The ICMP error in `message`; None where it is another message, or too short to say what it is about."""
    if len(message) < HEADER_BYTES or message[0] not in ERRORS[version]:
        return None
    quoted = read_quoted(message[HEADER_BYTES:])
    if quoted is None:
        return None
    kind, code = message[0], message[1]
    mtu = None
    if (version, kind, code) == (4, 3, 4):
        mtu = int.from_bytes(message[6:8], "big") or None  # RFC 1191 section 4; routers older than it say 0
    elif (version, kind) == (6, 2):
        mtu = int.from_bytes(message[4:8], "big") or None
    return Error(kind, code, mtu, quoted)


def read_quoted(packet: bytes) -> Quoted | None:
    """The packet that an error quotes; None where not even its header is whole. IPv6 extensions are not followed."""
    if len(packet) >= IPV4_HEADER_MIN and packet[0] >> 4 == 4:
        size = (packet[0] & 15) * 4
        if size < IPV4_HEADER_MIN or len(packet) < size:
            return None
        return Quoted(str(ipaddress.IPv4Address(packet[16:20])), packet[9], packet[size:])
    if len(packet) >= IPV6_HEADER_BYTES and packet[0] >> 4 == 6:
        return Quoted(str(ipaddress.IPv6Address(packet[24:40])), packet[6], packet[IPV6_HEADER_BYTES:])
    return None


def strip_ipv4(packet: bytes | memoryview) -> tuple[memoryview, int] | None:
    """What follows the IPv4 header of `packet`, and the time to live in it; None where the header is not whole.

    A raw socket gives IPv4's header along, and never IPv6's (raw(7), RFC 3542 section 3).
    """
    view = memoryview(packet)
    size = (view[0] & 15) * 4 if len(view) else 0
    if size < IPV4_HEADER_MIN or len(view) < size:
        return None
    return view[size:], view[8]
