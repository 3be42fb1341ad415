"""The ring of a packet socket as blocks of packets, and those as columns (packet(7), AF_PACKET with TPACKET_V3).

The kernel copies each packet once, into a block of memory that is ours too, and hands a block over when it is full or
after `retire_ms`. Until it is given back it is ours alone, to read and to write. So nothing is done for a packet: one
poll, and some strokes of numpy, serve a block of thousands.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Self

import numpy as np

from echowire.core.captures.in_place import InterfaceStatistics
from echowire.core.captures.ring import (
    BLOCK_PACKETS,
    BLOCK_STATUS,
    OUTGOING,
    TYPES,
    Frames,
    cook,
    read_block,
    restore_vlan,
)
from echowire.errors import OperationError
from echowire.kernel.captures.ring_socket import (
    ANY,
    ARPHRD_LOOPBACK,
    BLOCK_BYTES,
    RingSocket,
    interface_losses,
    lost_since,
)

TP_STATUS_KERNEL, TP_STATUS_USER = 0, 1


class PacketRing:
    """What the kernel puts into the ring of a socket, which is this one's own from now on. Used as a context manager.

    Raises `OperationError`.
    """

    def __init__(self, opened: RingSocket) -> None:
        self._opened = opened
        self.name, self.link_type, self.cooked = opened.name, opened.link_type, opened.cooked
        self.is_loopback, self.snap_len, self.retire_ms = opened.is_loopback, opened.snap_len, opened.retire_ms
        self._counters = InterfaceStatistics(0, 0, 0)
        self._next = 0
        memory = mmap.mmap(opened.fileno(), opened.blocks * BLOCK_BYTES, mmap.MAP_SHARED)
        self._blocks = np.frombuffer(memory, np.uint8).reshape(opened.blocks, BLOCK_BYTES)
        self._status, self._packets = (
            self._blocks[:, at : at + 4].view("=u4")[:, 0] for at in (BLOCK_STATUS, BLOCK_PACKETS)
        )

    def fileno(self) -> int:
        """The descriptor, readable when there is a block."""
        return self._opened.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket and give the ring's memory back; no block may be used after that."""
        del self._blocks, self._status, self._packets  # the mapping ends with the last of what looks at it
        self._opened.close()

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
        self._opened.stop()

    def error(self) -> OperationError | None:
        """What went wrong with the interface since the last look: it went down, or is gone (`is_gone`)."""
        return self._opened.error()

    @property
    def is_gone(self) -> bool:
        """Whether the interface is no more."""
        return self._opened.is_gone

    def counters(self) -> InterfaceStatistics:
        """What came of the packets so far."""
        received, dropped = self._opened.statistics()
        was = self._counters
        self._counters = InterfaceStatistics(
            was.received + received,
            was.dropped + dropped,
            max(was.interface_dropped, lost_since(self._opened.losses_before, interface_losses(self.name))),
        )
        return self._counters
