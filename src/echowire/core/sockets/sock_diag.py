"""sock_diag: what the kernel tells of all sockets, as blocks of messages of one form (sock_diag(7); linux/*_diag.h).

A host may have a million sockets, and so no object is made for one. The kernel's replies are cut into runs of
messages of the same layout: as long as each other, with the same attributes at the same places. Then a field is one
offset for the whole block, and `struct` reads that field, or thirty, of all its messages in one pass of C. A buffer
of a dump is most often one such run, which a few strided comparisons tell without looking at each message.

The modules under it stay away from numpy on purpose: it takes longer to import than the kernel takes to list 40,000
sockets. `Block.array` is for those who have it anyway.
"""

from __future__ import annotations

import struct
import sys

from echowire.core.sockets.netlink import HEADER_BYTES, attribute, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    import numpy as np

TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 18, 20, 21
DESTROY_GROUPS = {("tcp", 4): 1, ("udp", 4): 2, ("tcp", 6): 3, ("udp", 6): 4}
"""`enum sknetlink_groups`: where the last of a socket is told."""

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK = 1, 2, 10, 16, 17, 40
IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_RAW, IPPROTO_MPTCP = 6, 17, 136, 255, 262

MEMINFO, INFO, VEGASINFO, CONG, TOS, TCLASS, SKMEMINFO, SHUTDOWN = range(1, 9)  # INET_DIAG_…, linux/inet_diag.h
DCTCPINFO, PROTOCOL, SKV6ONLY, _LOCALS, _PEERS, _PAD, MARK, BBRINFO, CLASS_ID, MD5SIG, ULP_INFO = range(9, 20)
CGROUP_ID, SOCKOPT = 21, 22
REQ_BYTECODE, REQ_PROTOCOL = 1, 3
ULP_NAME, ULP_TLS, ULP_MPTCP = 1, 2, 3
UNIX_NAME, UNIX_VFS, UNIX_PEER, UNIX_ICONS, UNIX_RQLEN, UNIX_MEMINFO, UNIX_SHUTDOWN, UNIX_UID = range(8)
PACKET_INFO, _MCLIST, PACKET_RX_RING, PACKET_TX_RING, PACKET_FANOUT, PACKET_UID, PACKET_MEMINFO, PACKET_FILTER = range(
    8
)
NETLINK_MEMINFO, NETLINK_GROUPS, _RX_RING, _TX_RING, NETLINK_FLAGS = range(5)

ALL_STATES = 0xFFF
"""Every state of include/net/tcp_states.h up to CLOSING, as bits."""

EXTENSIONS = {name: 1 << number - 1 for name, number in (("memory", SKMEMINFO), ("info", INFO), ("tos", TOS))}
EXTENSIONS["info"] |= 1 << VEGASINFO - 1 | 1 << CONG - 1
EXTENSIONS["tos"] |= 1 << TCLASS - 1
"""What is asked for besides what always comes, by what it shows; `idiag_ext` has a bit for each."""


def inet_request(
    family: int,
    protocol: int,
    *,
    states: int = ALL_STATES,
    extensions: int = 0,
    bytecode: bytes = b"",
    identity: bytes = bytes(48),
) -> bytes:
    """`struct inet_diag_req_v2` with its attributes. `identity` is a `struct inet_diag_sockid`, for one socket."""
    # A protocol that has no room in the byte is told as an attribute (IPPROTO_MPTCP).
    body = struct.pack("=BBBxI", family, min(protocol, 255), extensions, states) + identity
    if protocol > 255:
        body += attribute(REQ_PROTOCOL, struct.pack("=I", protocol))
    return body + (attribute(REQ_BYTECODE, bytecode) if bytecode else b"")


def every_tcp_request(*, states: int = ALL_STATES, extensions: int = 0, bytecode: bytes = b"") -> bytes:
    """`struct inet_diag_req`, the older form, for TCPDIAG_GETSOCK: TCP sockets of both families in one walk."""
    body = struct.pack("=BBBB48xII", AF_INET, 0, 0, extensions, states, 0)
    return body + (attribute(REQ_BYTECODE, bytecode) if bytecode else b"")


def unix_request(*, states: int = ALL_STATES, inode: int = 0) -> bytes:
    """`struct unix_diag_req` for everything but the file's inode."""
    show = 0x01 | 0x04 | 0x08 | 0x10 | 0x20 | 0x40  # name, peer, waiting connections, queues, memory, user
    return struct.pack("=BBxxIII8x", AF_UNIX, 0, states, inode, show)


def packet_request() -> bytes:
    """`struct packet_diag_req` for everything but multicast lists and the filter's code."""
    return struct.pack("=BBxxII8x", AF_PACKET, 0, 0, 0x01 | 0x04 | 0x08 | 0x10)


def netlink_request() -> bytes:
    """`struct netlink_diag_req` for all protocols: memory, groups, flags."""
    return struct.pack("=BBxxII8x", AF_NETLINK, 255, 0, 0x01 | 0x02 | 0x08)


def vsock_request(*, states: int = ALL_STATES) -> bytes:
    """`struct vsock_diag_req`."""
    return struct.pack("=BBxxIII8x", AF_VSOCK, 0, states, 0, 0)


BODY_BYTES = {AF_UNIX: 16, AF_INET: 72, AF_INET6: 72, AF_NETLINK: 28, AF_PACKET: 16, AF_VSOCK: 32}
"""Bytes of each family's message between netlink's header and the first attribute."""


class Layout:
    """The form of a message: its length, and where each attribute's data is.

    `attributes` has the offset and the length of each attribute's data by its number; `family` is that of the sockets.
    """

    def __init__(self, message: bytes) -> None:
        self.size = len(message)
        self.family = message[HEADER_BYTES] if self.size > HEADER_BYTES else 0
        room = max(0, self.size - HEADER_BYTES)
        self.body = min(room, BODY_BYTES.get(self.family, room))
        found = list(attributes(message, HEADER_BYTES + self.body, self.size))
        self.attributes = {kind: (at, length) for kind, at, length in found}
        # What two messages of this layout have in common: netlink's length and type, the family, attributes' headers.
        same = [(0, 6), (HEADER_BYTES, 1)] + [(at - 4, 4) for _, at, _ in found]
        self._same = [(at, message[at : at + length]) for at, length in same]
        self._headers = struct.Struct(_padded([(at, f"{length}s") for at, length in same], self.size))
        self._expected = tuple(data for _, data in self._same)

    def fills(self, buffer: bytes, count: int) -> bool:
        """Whether `buffer` is `count` messages of this layout and nothing else."""
        size = self.size
        return count * size == len(buffer) and all(
            buffer[at + i :: size] == bytes((byte,)) * count for at, data in self._same for i, byte in enumerate(data)
        )

    def fits(self, message: bytes) -> bool:
        """Whether `message`, of this layout's length, has its form."""
        return self._headers.unpack(message) == self._expected


class Block:
    """Messages of one layout, one behind the other. `netid` is what `ss` calls the kind, empty where it varies."""

    __slots__ = ("count", "data", "layout", "netid")

    def __init__(self, layout: Layout, data: bytes, netid: str) -> None:
        self.layout = layout
        self.data = data
        self.netid = netid
        self.count = len(data) // layout.size

    def place(self, kind: int | None, offset: int, letter: str) -> int | None:
        """Where in each message a field is: `offset` in the data of attribute `kind`, or in the body if None.

        None where these messages do not have it, or not whole.
        """
        at, length = (HEADER_BYTES, self.layout.body) if kind is None else self.layout.attributes.get(kind, (0, -1))
        return at + offset if offset + struct.calcsize("=" + letter) <= length else None

    def length(self, kind: int) -> int:
        """Bytes of the data of attribute `kind`; -1 where there is none."""
        return self.layout.attributes.get(kind, (0, -1))[1]

    def unpack(self, places: Sequence[tuple[int, str]]) -> Iterator[tuple[Any, ...]]:
        """Of each message the fields at `places`, which are offset and `struct` letter, in rising order."""
        return struct.iter_unpack(_padded(places, self.layout.size), self.data)

    def unpack_as(self, layout: str) -> Iterator[tuple[Any, ...]]:
        """As `unpack`, with a `struct` format of one's own, which need not go to the end of the message."""
        rest = self.layout.size - struct.calcsize(layout)
        return struct.iter_unpack(f"{layout}{rest}x", self.data)

    def array(self, at: int, letter: str) -> np.ndarray:
        """One field of all messages as a view of them, of numpy's type for `letter`."""
        import numpy as np

        kind = np.dtype("=" + {"B": "u1", "H": "u2", "I": "u4", "Q": "u8", "i": "i4"}[letter])
        return np.ndarray((self.count,), kind, self.data, at, (self.layout.size,))

    def take(self, keep: Sequence[object]) -> Block | None:
        """The messages for which `keep` has a true value; None if there are none."""
        size = self.layout.size
        if all(keep):
            return self
        kept = b"".join([self.data[at * size : at * size + size] for at, wanted in enumerate(keep) if wanted])
        return Block(self.layout, kept, self.netid) if kept else None


def _padded(places: Iterable[tuple[int, str]], size: int) -> str:
    """A `struct` format of `size` bytes that reads what is at `places`."""
    parts, at = ["="], 0
    for offset, letter in places:
        parts.append(f"{offset - at}x{letter}" if offset > at else letter)
        at = offset + struct.calcsize("=" + letter)
    return "".join(parts) + (f"{size - at}x" if size > at else "")


class Splitter:
    """Cuts the buffers of a dump into blocks. It remembers the layouts that it has met, of which there are few."""

    def __init__(self) -> None:
        self._known: dict[int, list[Layout]] = {}
        self._last: Layout | None = None

    def split(self, buffer: bytes, netid: str) -> list[Block]:
        """The blocks of one buffer, in the order in which their first messages come."""
        if (layout := self._last) is not None and layout.fills(buffer, len(buffer) // layout.size):
            return [Block(layout, buffer, netid)]
        blocks = []
        for data, size in _by_length(buffer):
            for layout in self._known.get(size, ()):
                if layout.fills(data, len(data) // size):
                    blocks.append(Block(layout, data, netid))
                    self._last = layout
                    break
            else:
                blocks += self._by_layout(data, size, netid)
        return blocks

    def _by_layout(self, data: bytes, size: int, netid: str) -> list[Block]:
        runs: dict[Layout, list[bytes]] = {}
        for at in range(0, len(data), size):
            message = data[at : at + size]
            runs.setdefault(self._layout(message), []).append(message)
        return [Block(layout, b"".join(found), netid) for layout, found in runs.items()]

    def _layout(self, message: bytes) -> Layout:
        known = self._known.setdefault(len(message), [])
        for layout in known:
            if layout.fits(message):
                return layout
        known.append(Layout(message))
        return known[-1]


def _by_length(buffer: bytes) -> Iterator[tuple[bytes, int]]:
    """The sockets' messages of a buffer, those of the same length joined, and that length."""
    found: dict[int, list[bytes]] = {}
    at, size, read = 0, len(buffer), _LENGTH_AND_TYPE.unpack_from
    while at + HEADER_BYTES < size:
        length, kind = read(buffer, at)
        end = at + length
        if length < HEADER_BYTES or end > size:  # it was cut: what comes cannot be found
            break
        if kind in _SOCKETS and length > HEADER_BYTES:
            if length in found:
                found[length].append(buffer[at:end])
            else:
                found[length] = [buffer[at:end]]
        at = end + (-length & 3)
    for length, messages in found.items():
        yield b"".join(messages), length


_SOCKETS = frozenset({TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY})
_LENGTH_AND_TYPE = struct.Struct("=IH")


def swapped(port: int) -> int:
    """A port as this machine read it, in the order of the network, as a number."""
    return (port & 0xFF) << 8 | port >> 8 if sys.byteorder == "little" else port


def nested(data: bytes) -> dict[int, bytes]:
    """The attributes within an attribute's data."""
    return {kind: data[at : at + length] for kind, at, length in attributes(data, 0, len(data))}
