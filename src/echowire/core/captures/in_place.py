"""A block of the kernel's packet ring as pieces of a file, without copying a packet.

Before each packet in the ring there is room that is ours once its header was read, and some after it: up to the next
packet there are 82 bytes at least, and a pcapng block needs 28 before the packet and 4 behind it, with its padding and
options. So the headers are put in place by columns, and the file is then the block's bytes, in pieces, a piece a
packet, that a gathering write takes as they lie. Only behind the last packet of a block begins another that is not
ours, maybe at once: what follows it there is a piece of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.pcap import PACKET_HEADER_BYTES
from echowire.core.captures.pcapng import ENHANCED_PACKET, HEADER_WORDS
from echowire.core.captures.records import Bytes, Rows, scatter_words
from echowire.core.captures.ring import BROADCAST, HOST, MULTICAST, OTHER_HOST, OUTGOING, Frames
from echowire.core.captures.ticks import SECOND_NS

HEADER_BYTES = 4 * HEADER_WORDS
INTERFACE_STATISTICS = 5

EPB_FLAGS, FLAGS_BYTES = 2, 8
"""epb_flags (section 4.3.1)."""
END_BYTES = 4
"""opt_endofopt."""

FLAGS = np.zeros(8, np.uint32)
FLAGS[[HOST, BROADCAST, MULTICAST, OTHER_HOST]] = [0b00101, 0b01101, 0b01001, 0b10001]
FLAGS[OUTGOING] = 0b00010
"""By packet type: inbound or outbound, and to whom: unicast, broadcast, multicast, promiscuous."""


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """What is to be written of a block: of each packet `size` bytes from `start`, and of the last the `tail` apart."""

    block: Bytes
    start: Rows
    size: Rows
    """Bytes in the file, of the last one with `tail`."""
    tail: bytes
    option_size: Rows
    """Bytes of the options behind each packet and its padding, those of the last in `tail`."""

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True, eq=False)
class Notes:
    """Options that packets are written with: `which[i]` of `options` for packet `i`, none where it is negative.

    The options are padded, without opt_endofopt, and at most `MAX_NOTE_BYTES` (`numbers.py`) long.
    """

    which: Rows
    options: Sequence[bytes]


def pcapng_pieces(frames: Frames, interface: int, *, with_flags: bool, notes: Notes | None = None) -> Pieces:
    """The packets as enhanced packet blocks of `interface`, times in nanoseconds; destroys the ring's headers."""
    block, padded = frames.block, frames.cap_len + 3 & ~3
    options, option_size = _options(frames, with_flags, notes)
    size = padded + option_size + (HEADER_BYTES + 4)
    begin, behind = frames.start - HEADER_BYTES, frames.start + padded
    header = np.empty((len(frames), HEADER_WORDS), np.uint32)
    header[:, 0], header[:, 2] = ENHANCED_PACKET, interface
    header[:, 1] = size
    header[:, 3], header[:, 4] = frames.time_ns >> 32, frames.time_ns & 0xFFFF_FFFF
    header[:, 5], header[:, 6] = frames.cap_len, frames.length
    scatter_words(block, begin, header)
    # All but the last: what is behind that one may be another block. The padding first, then what is over its end.
    scatter_words(block, (frames.start + frames.cap_len)[:-1], np.zeros((len(frames) - 1, 1), np.uint32))
    if options.shape[1]:
        scatter_words(block, behind[:-1], options[:-1])
    scatter_words(block, (begin + size - 4)[:-1], size[:-1, None].astype(np.uint32))
    tail = bytes(int(padded[-1] - frames.cap_len[-1])) + options[-1].tobytes()[: option_size[-1]]
    return Pieces(block, begin, size, tail + int(size[-1]).to_bytes(4, "little"), option_size)


def _options(frames: Frames, with_flags: bool, notes: Notes | None) -> tuple[NDArray[np.uint32], Rows]:
    """The options of each packet, as words, with zeros behind them up to the longest; and their bytes.

    They may be written as they are: there is room for the longest behind every packet.
    """
    count = len(frames)
    noted, sizes = np.zeros((count, 0), np.uint32), np.zeros(count, np.int64)
    if notes is not None:
        width = max(map(len, notes.options)) + END_BYTES
        table = np.frombuffer(b"".join(option.ljust(width, b"\0") for option in (*notes.options, b"")), np.uint32)
        table = table.reshape(-1, width // 4)
        table_sizes = np.array([*(len(option) + END_BYTES for option in notes.options), 0], np.int64)
        noted, sizes = table[notes.which], table_sizes[notes.which]
    if not with_flags:
        return noted, sizes
    words = np.zeros((count, FLAGS_BYTES // 4 + max(noted.shape[1], 1)), np.uint32)
    words[:, 0] = EPB_FLAGS | 4 << 16
    words[:, 1] = FLAGS[frames.packet_type & np.uint32(7)]
    words[:, 2 : 2 + noted.shape[1]] = noted
    return words, np.maximum(sizes, END_BYTES) + FLAGS_BYTES


def pcap_pieces(frames: Frames) -> Pieces:
    """The packets as records of a pcap file, times in nanoseconds; destroys the ring's headers."""
    seconds, part = np.divmod(frames.time_ns, SECOND_NS)
    header: NDArray[np.uint32] = np.stack([seconds, part, frames.cap_len, frames.length], axis=1).astype(np.uint32)
    begin = frames.start - PACKET_HEADER_BYTES
    scatter_words(frames.block, begin, header)
    return Pieces(frames.block, begin, frames.cap_len + PACKET_HEADER_BYTES, b"", np.zeros(len(frames), np.int64))


@dataclass(frozen=True, slots=True)
class InterfaceStatistics:
    """What came of an interface's packets: that passed the filter, dropped by the system, dropped by the interface."""

    received: int
    dropped: int
    interface_dropped: int


def statistics_block(interface: int, time_ns: int, start_ns: int, counted: InterfaceStatistics) -> bytes:
    """An interface statistics block (section 4.6) at `time_ns`, of a capture since `start_ns`.

    As dumpcap does it, and Wireshark shows it, isb_ifdrop has all that was dropped; isb_osdrop the system's part.
    """
    times = [(at >> 32, at & 0xFFFF_FFFF) for at in (time_ns, start_ns)]
    options = struct.pack("<HHII", 2, 8, *times[1]) + struct.pack("<HHII", 3, 8, *times[0])
    counts = ((4, counted.received), (5, counted.dropped + counted.interface_dropped), (7, counted.dropped))
    for code, value in counts:  # isb_ifrecv, isb_ifdrop, isb_osdrop
        options += struct.pack("<HHQ", code, 8, value)
    body = struct.pack("<III", interface, *times[0]) + options + bytes(4)
    size = 12 + len(body)
    return struct.pack("<II", INTERFACE_STATISTICS, size) + body + struct.pack("<I", size)
