"""Netlink's envelope: requests to bytes, and what came back to messages and attributes (RFC 3549; linux/netlink.h).

Everything is in the machine's own byte order, and aligned to four bytes. A reply is a buffer of messages, a message a
header, a body and attributes. It imports next to nothing: `echowire sockets` is done sooner than numpy is imported.
"""

from __future__ import annotations

from struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = "=IHHII"
"""`struct nlmsghdr`: length, type, flags, sequence, port."""
HEADER_BYTES = 16
ATTRIBUTE_BYTES = 4

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x2, 0x4, 0x300
NLM_F_DUMP_INTR = 0x10
"""On a reply: the table changed while it was dumped, and something may be missing or there twice."""

NLA_TYPE_MASK = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""


def align(size: int) -> int:
    """`size` bytes rounded up to netlink's four."""
    return (size + 3) & ~3


def request(kind: int, body: bytes, *, flags: int = 0, sequence: int = 1) -> bytes:
    """A request of type `kind`; `body` holds its attributes too, aligned."""
    return pack(HEADER, HEADER_BYTES + len(body), kind, NLM_F_REQUEST | flags, sequence, 0) + body


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded."""
    size = ATTRIBUTE_BYTES + len(data)
    return pack("=HH", size, kind) + data + bytes(align(size) - size)


def messages(buffer: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Type, flags, start and end (header included) of each whole message of `buffer`; ends at the first that is not."""
    at, size = 0, len(buffer)
    while at + HEADER_BYTES <= size:
        length, kind, flags, _, _ = unpack_from(HEADER, buffer, at)
        if length < HEADER_BYTES or at + length > size:
            return
        yield kind, flags, at, at + length
        at += align(length)


def attributes(buffer: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Type, start and length of the data of each whole attribute between `at` and `end`."""
    while at + ATTRIBUTE_BYTES <= end:
        length, kind = unpack_from("=HH", buffer, at)
        if length < ATTRIBUTE_BYTES or at + length > end:
            return
        yield kind & NLA_TYPE_MASK, at + ATTRIBUTE_BYTES, length - ATTRIBUTE_BYTES
        at += align(length)


def error_number(buffer: bytes, start: int, end: int) -> int:
    """The errno of an NLMSG_ERROR (0: an acknowledgement), or of the NLMSG_DONE that ends a dump."""
    if end - start < HEADER_BYTES + 4:
        return 0
    (number,) = unpack_from("=i", buffer, start + HEADER_BYTES)
    return -int(number)
