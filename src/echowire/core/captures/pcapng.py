"""The pcapng format: blocks of a type and a length, in sections that have each their own byte order and interfaces.

    block     type 4 | length 4 | body, padded to four | length 4                          (section 3.1)
    section   0x0A0D0D0A, and its byte-order magic: it begins all numbering anew           (section 4.1)
    packets   enhanced (section 4.3), simple (section 4.4), and the old packet block (appendix A)

(draft-ietf-opsawg-pcapng.) One pass follows the lengths, with a short way for enhanced packets, since files consist of
them; what their headers say is read as columns afterwards, and checked there. A packet's options are left where they
lie, and every block that is neither packet, section nor interface is kept raw: what this module does not know, a
writer passes on. tshark is the model in what is malformed, and in numbering custom blocks among the packets.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import (
    MAX_LONG_PACKET_BYTES,
    NO_INTERFACE,
    NO_LINK_TYPE,
    Block,
    Bytes,
    Interface,
    RecordReader,
    Records,
    Rows,
    Section,
    gather_words,
    max_packet_bytes,
    parse_options,
)
from echowire.core.captures.ticks import NO_TIME, to_ns

SECTION, INTERFACE, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
CUSTOM, CUSTOM_NOT_COPIED = 0x0BAD, 0x4000_0BAD
"""Custom blocks: the second says that a tool which changes a file is not to copy it (section 4.7)."""

MAGIC = SECTION.to_bytes(4, "big")
"""The first four bytes of a file: the type reads the same in both byte orders."""
BYTE_ORDER_MAGIC = 0x1A2B3C4D

MIN_BLOCK_BYTES = 12
MIN_BYTES = {SECTION: 28, INTERFACE: 20, OLD_PACKET: 32, SIMPLE_PACKET: 16, ENHANCED_PACKET: 32}
MIN_BYTES |= dict.fromkeys((CUSTOM, CUSTOM_NOT_COPIED), 16)
"""The shortest that blocks of a type can be, lengths and all."""

MAX_BLOCK_BYTES = MAX_LONG_PACKET_BYTES + 128 * 1024 + 32
"""The longest block taken, tshark's limit (MAX_BLOCK_SIZE): the longest packet, with 128 KiB for its options."""

MAX_DESCRIPTIONS = 1 << 18
"""Sections and interfaces of a file, about 150 MB as Python holds them. Files joined of thousands have thousands."""

MAX_DESCRIPTION_BYTES = 64 * 1024 * 1024
"""Bytes of all their blocks, as their options are kept while the file is read."""

TSRESOL, FCSLEN, TSOFFSET = 9, 13, 14
"""Options of an interface that Echowire itself reads (section 4.2)."""

HEADER_WORDS = 7
"""Of an enhanced packet: type, length, interface, time high, time low, bytes kept, bytes on the wire."""


class Epoch(NamedTuple):
    """What holds for rows from one on, until a section or an interface changes it."""

    row: int
    big_endian: bool
    first_interface: int
    interfaces: int
    """How many the section has."""
    sections: int
    """How many the file has."""


class PcapngReader(RecordReader):
    """Bytes of a pcapng file in, `Records` out; see `RecordReader`."""

    def __init__(self) -> None:
        super().__init__()
        self._need = MIN_BLOCK_BYTES
        self._sections: list[Section] = []
        self._interfaces: list[Interface] = []
        self._known: tuple[tuple[Section, ...], tuple[Interface, ...]] = ((), ())
        self._columns = np.zeros((0, 5), np.int64)
        """Per interface: link type, snapshot length or 2^32, resolution, offset, most bytes of a packet."""
        self._description_bytes = 0
        self._first_interface = 0
        self._order = "<"
        self._heads: list[int] = []
        self._epochs: list[Epoch] = []
        self._blocks: list[Block] = []

    def _scan(self) -> Records | None:
        self._heads, self._blocks, self._epochs = [], [], [self._epoch(0)]
        before = len(self._sections) + len(self._interfaces)
        end, need = self._walk()
        self._describe()
        if not (self._heads or self._blocks or len(self._sections) + len(self._interfaces) > before):
            self._need = need
            return None
        heads, base = np.array(self._heads, np.int64), self._offset
        return self._records(heads, self._take(end, need), base)

    def _walk(self) -> tuple[int, int]:
        """Find the whole blocks in the buffer. Gives the offset after the last, and what the next needs."""
        buffer, end, at = self._buffer, len(self._buffer), 0
        head, append = struct.Struct(f"{self._order}II").unpack_from, self._heads.append
        while at + MIN_BLOCK_BYTES <= end:
            kind, size = head(buffer, at)
            after = at + (size + 3 & -4)
            if kind == ENHANCED_PACKET and size >= 32 and after <= end:
                append(at)  # a size beyond all limits is found in the columns
                at = after
                continue
            if kind == SECTION and self._begin_order(at):
                head = struct.Struct(f"{self._order}II").unpack_from
                after = at + (head(buffer, at)[1] + 3 & -4)
            if self.problem or not self._is_sound(at, head(buffer, at), after):
                return at, MIN_BLOCK_BYTES
            if after > end:
                return at, after - at
            self._other(kind, at, head(buffer, at)[1])
            if self.problem:
                return at, MIN_BLOCK_BYTES
            at = after
        return at, MIN_BLOCK_BYTES

    def _begin_order(self, at: int) -> bool:
        """Read the byte order of the section that begins at `at`."""
        magic = bytes(self._buffer[at + 8 : at + 12])
        if magic not in (BYTE_ORDER_MAGIC.to_bytes(4, "little"), BYTE_ORDER_MAGIC.to_bytes(4, "big")):
            self._fail("malformed", at, f"a section whose byte-order magic is {magic.hex()}")
            return False
        self._order = "<" if magic[0] == 0x4D else ">"
        return True

    def _is_sound(self, at: int, head: tuple[int, int], after: int) -> bool:
        """Whether a block's lengths can be; where they cannot, that is the problem."""
        kind, size = head
        if not self._sections and kind != SECTION:
            self._fail("foreign", at, "not a pcapng file")
        elif size < MIN_BYTES.get(kind, MIN_BLOCK_BYTES):
            self._fail("malformed", at, f"a block of type {kind:#x} and only {size} bytes")
        elif size > MAX_BLOCK_BYTES:
            self._fail("malformed", at, f"a block of {size} bytes, where at most {MAX_BLOCK_BYTES} can be")
        elif after <= len(self._buffer):
            trailer = struct.unpack_from(f"{self._order}I", self._buffer, after - 4)[0]
            if trailer != size:
                self._fail("malformed", at, f"a block's two lengths differ: {size} and {trailer}")
        return self.problem is None

    def _other(self, kind: int, at: int, size: int) -> None:
        """Take a block that is no enhanced packet."""
        if kind in (OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET):
            self._heads.append(at)
            return
        body = bytes(self._buffer[at + 8 : at + size - 4])
        if kind in (SECTION, INTERFACE):
            self._description_bytes += size
            if kind == SECTION:
                self._add_section(at, body)
            else:
                self._add_interface(body)
            self._epochs.append(self._epoch(len(self._heads)))
            too_many = len(self._sections) + len(self._interfaces) > MAX_DESCRIPTIONS
            if too_many or self._description_bytes > MAX_DESCRIPTION_BYTES:
                self._fail("malformed", at, "more sections and interfaces than are taken of one file")
            return
        is_row = kind in (CUSTOM, CUSTOM_NOT_COPIED)
        self._blocks.append(Block(len(self._heads), len(self._sections) - 1, kind, body, is_row))
        if is_row:
            self._heads.append(at)

    def _add_section(self, at: int, body: bytes) -> None:
        major, minor = struct.unpack_from(f"{self._order}HH", body, 4)
        if (major, minor) not in ((1, 0), (1, 2)):  # 1.2 was written by some and is the same (section 4.1)
            self._fail("malformed", at, f"a section of version {major}.{minor}, which is not known")
            return
        big_endian = self._order == ">"
        self._sections.append(Section(big_endian, parse_options(body[16:], big_endian), is_pcapng=True))
        self._first_interface = len(self._interfaces)

    def _add_interface(self, body: bytes) -> None:
        link_type, _reserved, snap_len = struct.unpack_from(f"{self._order}HHI", body)
        options = parse_options(body[8:], self._order == ">")
        said = {one.code: one.value for one in reversed(options)}
        resolution, fcs_len, offset = said.get(TSRESOL), said.get(FCSLEN), said.get(TSOFFSET, b"")
        self._interfaces.append(
            Interface(
                link_type,
                snap_len,
                resolution[0] if resolution else 6,
                struct.unpack(f"{self._order}q", offset)[0] if len(offset) == 8 else 0,
                fcs_len[0] if fcs_len else None,
                len(self._sections) - 1,
                self._first_interface,
                options,
            )
        )

    def _epoch(self, row: int) -> Epoch:
        count = len(self._interfaces) - self._first_interface
        return Epoch(row, self._order == ">", self._first_interface, count, len(self._sections))

    def _describe(self) -> None:
        """Bring what depends on sections and interfaces up to date with those that were found."""
        if len(self._sections) > len(self._known[0]) or len(self._interfaces) > len(self._known[1]):
            new = self._interfaces[len(self._columns) :]
            rows = [
                (one.link_type, one.snap_len or 1 << 32, one.resolution, one.offset_s, max_packet_bytes(one.link_type))
                for one in new
            ]
            self._columns = np.concatenate([self._columns, np.array(rows, np.int64).reshape(-1, 5)])
            self._known = (tuple(self._sections), tuple(self._interfaces))

    def _records(self, heads: Rows, data: Bytes, base: int) -> Records:
        """The columns of the blocks that begin at `heads`, up to the first that cannot be."""
        changes = np.array([one.row for one in self._epochs] + [len(heads)], np.int64)
        epoch = np.repeat(np.array(self._epochs, np.int64), np.diff(changes), axis=0)
        words = gather_words(data, heads, HEADER_WORDS)
        if (big := epoch[:, 1] != 0).any():
            words[big] = words[big].byteswap()
        packets = Packets(words.astype(np.int64), heads, epoch, self._columns)
        fault = packets.fault(data, big)
        if fault is not None:
            row, message = fault
            self.problem, self._offset = None, base  # what the pass found behind this row is not to be trusted
            self._fail("malformed", int(heads[row]), message)
            self._buffer = bytearray()
            packets = Packets(packets.words[:row], heads[:row], epoch[:row], self._columns)
            self._blocks = [one for one in self._blocks if one.row < row or (one.row == row and not one.is_row)]
            _row, _big, first, interfaces, sections = epoch[row].tolist()
            self._known = self._known[0][:sections], self._known[1][: first + interfaces]
        return self._finished(packets, data)

    def _finished(self, packets: Packets, data: Bytes) -> Records:
        first, count = self.packets + 1, len(packets.start)
        self.packets += count
        option_row, option_start, option_size = packets.options()
        return Records(
            data=data,
            start=packets.start,
            cap_len=packets.cap_len,
            length=packets.length,
            time_ns=packets.time_ns(),
            interface=packets.interface.astype(np.int32),
            link_type=packets.column(0, NO_LINK_TYPE).astype(np.int32),
            first=first,
            sections=self._known[0],
            interfaces=self._known[1],
            option_row=option_row,
            option_start=option_start,
            option_size=option_size,
            blocks=tuple(self._blocks),
        )


class Packets:
    """The columns of a chunk's packet blocks, of whatever kind, from their first seven words: int64[n, 7].

    `epoch` is int64[n, 5], a row of `Epoch` for each; `interfaces` int64[m, 5], as `PcapngReader` has them.
    """

    def __init__(self, words: Rows, heads: Rows, epoch: Rows, interfaces: Rows) -> None:
        self.words, self.heads = words, heads
        kind, self.size = words[:, 0], words[:, 1]
        self.number = words[:, 2]
        """Of the interface within its section."""
        self.start, self.cap_len, self.length = heads + 28, words[:, 5], words[:, 6]
        self.fixed = np.full(len(heads), 32)
        """Bytes of a block that are not the packet."""
        self.has_time = self.is_packet = np.ones(len(heads), np.bool_)
        if (kind != ENHANCED_PACKET).any():
            self._take_others(kind, epoch)
        known = self.number < epoch[:, 3]
        self.foreign_interface = self.is_packet & ~known
        self.interface = np.where(self.is_packet & known, epoch[:, 2] + self.number, NO_INTERFACE)
        self._interfaces = interfaces
        simple = kind == SIMPLE_PACKET
        if simple.any():  # section 4.4: cut to its interface's snapshot length, and nothing says so
            self.cap_len = np.where(simple, np.minimum(self.length, self.column(1, 0)), self.cap_len)

    def _take_others(self, kind: Rows, epoch: Rows) -> None:
        words, heads = self.words, self.heads
        simple, old, custom = kind == SIMPLE_PACKET, kind == OLD_PACKET, (kind == CUSTOM) | (kind == CUSTOM_NOT_COPIED)
        short = simple | custom
        self.has_time, self.is_packet = ~short, ~custom
        self.fixed = np.where(short, 16, 32)
        self.start = heads + self.fixed - 4
        self.length = np.where(short, np.where(simple, words[:, 2], self.size - 16), words[:, 6])
        self.cap_len = np.where(custom, self.size - 16, self.cap_len)
        # appendix A: 16 bits of interface, then 16 of dropped packets
        old_number = np.where(epoch[:, 1] != 0, words[:, 2] >> 16, words[:, 2] & 0xFFFF)
        self.number = np.where(short, 0, np.where(old, old_number, words[:, 2]))

    def column(self, which: int, otherwise: int) -> Rows:
        """What `interfaces` has of each row's interface, `otherwise` where it has none."""
        if not len(self._interfaces):
            return np.full(len(self.interface), otherwise, np.int64)
        return np.where(self.interface >= 0, self._interfaces[self.interface, which], otherwise)

    def fault(self, data: Bytes, big: NDArray[np.bool_]) -> tuple[int, str] | None:
        """The first row that cannot be, and why."""
        size, cap_len, number = self.size, self.cap_len, self.number
        trailer = gather_words(data, self.heads + (size + 3 & -4) - 4, 1)[:, 0]
        trailer = np.where(big, trailer.byteswap(), trailer)
        limit = self.column(4, MAX_BLOCK_BYTES)
        wrong = [
            size > MAX_BLOCK_BYTES,
            trailer != size,
            self.foreign_interface,
            cap_len > size - self.fixed,
            cap_len > limit,
        ]
        bad = np.logical_or.reduce(wrong)
        if not bad.any():
            return None
        row = int(bad.argmax())
        said = (
            f"a block of {size[row]} bytes, where at most {MAX_BLOCK_BYTES} can be",
            f"a block's two lengths differ: {size[row]} and {trailer[row]}",
            f"a packet of interface {number[row]}, which its section does not have",
            f"a packet of {cap_len[row]} bytes in a block of {size[row]}",
            f"a packet of {cap_len[row]} bytes, where at most {limit[row]} can be",
        )
        return row, next(message for mask, message in zip(wrong, said, strict=True) if mask[row])

    def time_ns(self) -> Rows:
        """Nanoseconds since 1970, interface by interface's resolution."""
        ticks = (self.words[:, 3].astype(np.uint64) << np.uint64(32)) | self.words[:, 4].astype(np.uint64)
        resolution, offset = self.column(2, 6), self.column(3, 0)
        found = np.full(len(ticks), NO_TIME, np.int64)
        for one in np.unique(resolution).tolist():
            mask = self.has_time & (resolution == one)
            found[mask] = to_ns(ticks[mask], one, offset[mask])
        return found

    def options(self) -> tuple[Rows, Rows, Rows]:
        """The rows that have options, and where these begin and how many bytes they have."""
        begin = self.start + self.cap_len + (-self.cap_len & 3)
        size = self.heads + self.size - 4 - begin
        rows = np.flatnonzero((size > 0) & self.has_time)
        return rows, begin[rows], size[rows]
