"""A packet socket with a memory-mapped ring (packet(7), AF_PACKET with TPACKET_V3): packets by the block, as columns.

The kernel copies each packet once, into a block of memory that is ours too, and hands a block over when it is full or
after `RETIRE_MS`. Until it is given back it is ours alone, to read and to write. So nothing is done for a packet: one
poll, and some strokes of numpy, serve a block of thousands.

The socket is made for no protocol, and so takes nothing; then come ring and filter, and it is bound last. So the first
packet in the ring is one that passes the filter, and none has to be thrown away.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from echowire.core.bpf.classic import NOTHING, accept
from echowire.core.captures.in_place import InterfaceStatistics
from echowire.core.captures.records import MAX_PACKET_BYTES
from echowire.core.captures.ring import (
    BLOCK_PACKETS,
    BLOCK_STATUS,
    LINKTYPE_ETHERNET,
    LINKTYPE_LINUX_SLL2,
    OUTGOING,
    TYPES,
    Frames,
    cook,
    read_block,
    restore_vlan,
)
from echowire.errors import OperationError
from echowire.kernel.boundary import operation, operation_error
from echowire.kernel.connections.socket_filter import attach_filter

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 1, 5, 6, 10
PACKET_RESERVE = 12
PACKET_IGNORE_OUTGOING = 23  # from Linux 4.20
TPACKET_V3 = 2
PACKET_MR_PROMISC = 1
ETH_P_ALL = 3
TP_STATUS_KERNEL, TP_STATUS_USER = 0, 1

RING_REQUEST = struct.Struct("=7I")  # struct tpacket_req3
STATISTICS = struct.Struct("=3I")  # struct tpacket_stats_v3: packets (with those dropped), drops, times it stood still
MEMBERSHIP = struct.Struct("=iHH8s")  # struct packet_mreq
ADDRESS = struct.Struct("=HHiHBB8s")  # struct sockaddr_ll
SIOCGIFNAME, SIOCGIFHWADDR = 0x8910, 0x8927  # linux/sockios.h

BLOCK_BYTES = 1 << 20
"""A block: some 5,000 small packets, so that what a block costs is little for each, and still in the cache."""

RING_BYTES = 64 << 20
"""The ring, unless another is asked for. It holds what comes while this process does not run or its disk stands still:
350,000 small packets, two thirds of a second of half a million a second. dumpcap has 2 MiB, tcpdump as much."""

MAX_RING_BYTES = 1 << 30
"""The kernel takes it from memory that cannot be swapped."""

RETIRE_MS = 100
"""After so long a block is handed over though it is not full: what is seen and written is not older."""

ARPHRD_LOOPBACK = 772
LINK_TYPES = {1: LINKTYPE_ETHERNET, ARPHRD_LOOPBACK: LINKTYPE_ETHERNET, 801: 105, 802: 119, 803: 127}
LINK_TYPES |= dict.fromkeys((519, 65534, 768, 769, 776, 778), 101)
"""By hardware type (linux/if_arp.h): Ethernet and loopback, 802.11 bare and with its headers, and those that carry IP
without any header. All others are captured cooked, with the kernel's account of the link in front."""

ANY = "any"
"""The pseudo-interface of all interfaces, as libpcap has it."""

COUNTERS = ("rx_dropped", "rx_missed_errors", "rx_fifo_errors")
"""An interface's counters of packets that it lost before anybody could see them."""

_libc = ctypes.CDLL(None, use_errno=True)


class PacketRing:
    """The packets of one interface, or of `any`. Used as a context manager. Raises `OperationError`."""

    def __init__(
        self,
        interface: str,
        *,
        instructions: bytes = b"",
        promiscuous: bool = True,
        ring_bytes: int = RING_BYTES,
        snap_len: int = MAX_PACKET_BYTES,
        retire_ms: int = RETIRE_MS,
        room_bytes: int = 0,
    ) -> None:
        """`instructions` are those of a classic BPF program for the link type of `link_of(interface)`, which accepts
        and cuts. `room_bytes` are left free before each packet, beyond what the kernel's headers take: a multiple of
        16.
        """
        self.name = interface
        self.link_type, self.cooked, hardware = link_of(interface)
        self.is_loopback = hardware == ARPHRD_LOOPBACK
        self.snap_len = snap_len
        self.retire_ms = retire_ms
        self._counters = InterfaceStatistics(0, 0, 0)
        self._interface_before = _interface_drops(interface)
        self._next = 0
        with operation("capture on", interface):
            index = 0 if interface == ANY else _index_of(interface)
            self._index = index
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM if self.cooked else socket.SOCK_RAW, 0)
        try:
            with operation("capture on", interface):
                self._set_up(index, instructions or accept(snap_len), promiscuous, ring_bytes, room_bytes)
        except BaseException:
            self._socket.close()
            raise

    def _set_up(self, index: int, instructions: bytes, promiscuous: bool, ring_bytes: int, room: int) -> None:
        option = self._socket.setsockopt
        option(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        option(SOL_PACKET, PACKET_RESERVE, room)
        blocks = max(2, min(ring_bytes, MAX_RING_BYTES) // BLOCK_BYTES)
        self._make_ring(blocks)
        attach_filter(self._socket, instructions)
        if self.is_loopback:
            # Each packet there comes by twice, going out and coming in. Older kernels' are sorted out in `blocks`.
            try:
                option(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
        if promiscuous and index:
            option(SOL_PACKET, PACKET_ADD_MEMBERSHIP, MEMBERSHIP.pack(index, PACKET_MR_PROMISC, 0, bytes(8)))
        bind_all(self._socket, index)

    def _make_ring(self, blocks: int) -> None:
        """A ring of so many blocks, or of as many as there is memory for."""
        while True:
            # The frame size only has to divide the block: packets lie in it as long as they are.
            request = RING_REQUEST.pack(BLOCK_BYTES, blocks, 2048, BLOCK_BYTES // 2048 * blocks, self.retire_ms, 0, 0)
            try:
                self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
                break
            except OSError as error:
                if error.errno != errno.ENOMEM or blocks <= 2:
                    raise
                blocks //= 2
        memory = mmap.mmap(self._socket.fileno(), blocks * BLOCK_BYTES, mmap.MAP_SHARED)
        self._blocks = np.frombuffer(memory, np.uint8).reshape(blocks, BLOCK_BYTES)
        self._status, self._packets = (
            self._blocks[:, at : at + 4].view("=u4")[:, 0] for at in (BLOCK_STATUS, BLOCK_PACKETS)
        )

    def fileno(self) -> int:
        """The descriptor, readable when there is a block."""
        return self._socket.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket and give the ring's memory back; no block may be used after that."""
        del self._blocks, self._status, self._packets  # the mapping ends with the last of what looks at it
        self._socket.close()

    @property
    def backlog(self) -> float:
        """How much of the ring waits to be read, 0 to 1."""
        return float(np.count_nonzero(self._status & TP_STATUS_USER)) / len(self._status)

    @property
    def is_empty(self) -> bool:
        """Whether there is no packet, neither in a block that is ready nor in the one that is being filled."""
        return not self._status[self._next] & TP_STATUS_USER and not self._packets[self._next]

    def blocks(self, limit: int) -> Iterator[Frames]:
        """The packets of each block that is ready, in order, `limit` at most; a block goes back to the kernel when the
        next is asked for.

        Its packets are whole again: VLAN tags in their place, headers on cooked ones. Blocks without any are skipped.
        """
        for _ in range(limit):
            if not self._status[self._next] & TP_STATUS_USER:
                return
            at, self._next = self._next, (self._next + 1) % len(self._status)
            try:
                frames = self._restored(read_block(self._blocks[at]))
                if len(frames):
                    yield frames
            finally:
                self._status[at] = TP_STATUS_KERNEL

    def _restored(self, frames: Frames) -> Frames:
        if self.is_loopback:
            twice = frames.packet_type == OUTGOING
        elif self.name == ANY:
            twice = (frames.packet_type == OUTGOING) & (frames.words[:, TYPES] & 0xFFFF == ARPHRD_LOOPBACK)
        else:
            twice = np.zeros(0, np.bool_)
        if twice.any():
            frames = frames.only(~twice)
        frames = restore_vlan(frames, cooked=self.cooked)
        return cook(frames) if self.cooked else frames

    def stop(self) -> None:
        """Take no more packets: what is in the ring by now comes out of it within `retire_ms`."""
        with operation("capture on", self.name):
            attach_filter(self._socket, accept(NOTHING))

    def error(self) -> OperationError | None:
        """What went wrong with the interface since the last look: it went down, or is gone (`gone`)."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return operation_error("capture on", self.name, OSError(number, os.strerror(number))) if number else None

    @property
    def is_gone(self) -> bool:
        """Whether the interface is no more. The socket is asked: /sys may be another network namespace's."""
        if self.name == ANY:
            return False
        try:
            fcntl.ioctl(self._socket, SIOCGIFNAME, struct.pack("=16si20x", b"", self._index))
        except OSError as error:
            return error.errno == errno.ENODEV
        return False

    def counters(self) -> InterfaceStatistics:
        """What came of the packets so far."""
        raw = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, STATISTICS.size)
        received, dropped, _ = STATISTICS.unpack(raw)  # since the last look
        was = self._counters
        self._counters = InterfaceStatistics(
            was.received + received,
            was.dropped + dropped,
            max(was.interface_dropped, _interface_drops(self.name) - self._interface_before),
        )
        return self._counters


def link_of(interface: str) -> tuple[int, bool, int]:
    """The LINKTYPE_ of what is captured on an interface, whether it is cooked, and the interface's hardware type."""
    if interface == ANY:
        return LINKTYPE_LINUX_SLL2, True, 0
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            request = struct.pack("=16s24x", interface.encode()[:15])
            (hardware,) = struct.unpack_from("=H", fcntl.ioctl(asked, SIOCGIFHWADDR, request), 16)
    except OSError:  # there is none such, as opening it will tell
        hardware = 1
    known = LINK_TYPES.get(hardware)
    return (LINKTYPE_LINUX_SLL2, True, hardware) if known is None else (known, False, hardware)


def _index_of(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:  # it bears no number
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error


def bind_all(sock: socket.socket, index: int) -> None:
    """Have a packet socket take what comes and goes on interface `index`, 0 being all of them. Raises `OSError`.

    Python's own `bind` wants a name, and `any` has none.
    """
    address = ADDRESS.pack(socket.AF_PACKET, socket.htons(ETH_P_ALL), index, 0, 0, 0, bytes(8))
    if _libc.bind(sock.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _interface_drops(interface: str) -> int:
    names = os.listdir("/sys/class/net") if interface == ANY else [interface]  # noqa: PTH208
    total = 0
    for name in names:
        for counter in COUNTERS:
            try:
                total += int(Path("/sys/class/net", name, "statistics", counter).read_text())
            except (OSError, ValueError):
                pass
    return total
