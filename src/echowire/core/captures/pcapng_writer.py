"""Writes pcapng: `Records` in, bytes out, with all that the records came with.

What was read is written as it was: each section anew with its byte order, its interfaces with all their options, each
packet in its interface's resolution with its options, and every other block, raw, in its place. So nothing has to be
understood to be kept. Packets of a pcap file get one section and one interface. The packets of a chunk are laid out
by columns: sizes, then offsets by a running sum, then all headers in one stroke.

Sections say how long they are only where a writer can go back; this one says -1 (section 4.1). Old packet blocks
become enhanced ones, as the draft asks (appendix A); their count of dropped packets is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.pcapng import (
    BYTE_ORDER_MAGIC,
    CUSTOM_NOT_COPIED,
    ENHANCED_PACKET,
    FCSLEN,
    HEADER_WORDS,
    INTERFACE,
    SECTION,
    SIMPLE_PACKET,
    TSOFFSET,
    TSRESOL,
)
from echowire.core.captures.records import (
    Interface,
    Option,
    Records,
    Rows,
    Section,
    chosen,
    copy_ranges,
    pack_options,
    scatter_words,
)
from echowire.core.captures.ticks import NO_TIME, to_ticks

SIMPLE_WORDS = 3
TRAILER_BYTES = 4


@dataclass(frozen=True, slots=True, order=True)
class _Piece:
    """A block that is no packet, and where it goes; sorted, they are in the order in which they are written."""

    row: int
    """Before which chosen row."""
    section: int
    rank: int
    """Among those of the same place: a section, its interfaces, the others."""
    block: bytes


class PcapngWriter:
    """`Records` in, bytes of a pcapng file out.

    All records of one writer come from one reader, or bear the same sections and interfaces, of which later records
    may have more.
    """

    def __init__(self) -> None:
        self._sections = 0
        self._interfaces = 0

    def write(self, records: Records, rows: NDArray[np.bool_] | Rows | None = None) -> bytearray:
        """The bytes for `records`, or for some `rows` of them: ascending indices, or a mask.

        Where rows are chosen, custom blocks that ask not to be copied (section 4.7) are left out.
        """
        keep = chosen(records, rows)
        layout = _Layout(records, keep[records.interface[keep] >= 0])
        pieces = sorted([*self._new_descriptions(records, layout), *_other_blocks(records, layout, keep, rows is None)])
        return layout.written(pieces)

    def packet(self, packet: bytes, time_ns: int, *, length: int | None = None, link_type: int = 1) -> bytearray:
        """The bytes for a single packet, of one interface with nanoseconds."""
        return self.write(Records.single(packet, time_ns, length=length, link_type=link_type))

    def _new_descriptions(self, records: Records, layout: _Layout) -> Iterator[_Piece]:
        """Sections and interfaces that were not written yet, each before its section's first packet."""
        for index in range(self._sections, len(records.sections)):
            yield _Piece(layout.begin_of(index), index, 0, _section_block(records.sections[index]))
        for index in range(self._interfaces, len(records.interfaces)):
            one = records.interfaces[index]
            at = layout.begin_of(one.section) if one.section >= self._sections else 0
            block = _interface_block(one, records.sections[one.section].big_endian)
            yield _Piece(at, one.section, 1 + index, block)
        self._sections, self._interfaces = len(records.sections), len(records.interfaces)


class _Layout:
    """Where in the output each of the chosen packets goes. All columns are [n], of the chosen rows alone."""

    def __init__(self, records: Records, keep: Rows) -> None:
        self.records, self.keep = records, keep
        self.start, self.cap_len, self.length = records.start[keep], records.cap_len[keep], records.length[keep]
        self.time_ns, self.interface = records.time_ns[keep], records.interface[keep]
        columns = [
            (one.section, one.first_of_section, one.snap_len or 1 << 32, one.resolution, one.offset_s)
            for one in records.interfaces
        ]
        of_row = np.array(columns, np.int64).reshape(-1, 5)[self.interface]
        self.section, first, snap_len, self.resolution, self.offset = of_row.T
        self.number = self.interface - first
        self.big = np.array([one.big_endian for one in records.sections], np.bool_)[self.section]
        self._add_options()
        # what has no time and fits a simple packet block (section 4.4) came from one
        fits = (self.number == 0) & (self.cap_len == np.minimum(self.length, snap_len)) & (self.body == self.cap_len)
        self.simple = (self.time_ns == NO_TIME) & fits
        self.header = np.where(self.simple, 4 * SIMPLE_WORDS, 4 * HEADER_WORDS)
        self.size = self.header + (self.body + 3 & -4) + TRAILER_BYTES

    def _add_options(self) -> None:
        """`body`: bytes to copy from the packet's first one on; options lie behind it, next to its padding."""
        records, keep = self.records, self.keep
        self.body = self.cap_len.copy()
        if len(records.option_row) and len(keep):
            at = np.minimum(np.searchsorted(keep, records.option_row), len(keep) - 1)
            kept = keep[at] == records.option_row
            end = records.option_start[kept] + records.option_size[kept]
            self.body[at[kept]] = end - self.start[at[kept]]

    def begin_of(self, section: int) -> int:
        """The first of the rows that is in `section` or a later one."""
        return int(np.searchsorted(self.section, section))

    def row_of(self, row: int) -> int:
        """The chosen row that comes first from row `row` of the records on."""
        return int(np.searchsorted(self.keep, row))

    def written(self, pieces: list[_Piece]) -> bytearray:
        """The packets, with `pieces` between them."""
        between = np.zeros(len(self.keep) + 1, np.int64)
        for piece in pieces:
            between[piece.row] += len(piece.block)
        # where each row's packet begins, and the end
        at = np.cumsum(between) + np.concatenate([[0], np.cumsum(self.size)])
        out = bytearray(int(at[-1]))
        target, at = np.frombuffer(out, np.uint8), at[:-1]
        copy_ranges(target, at + self.header, self.records.data, self.start, self.body)
        self._place_headers(target, at)
        place = (np.append(at, len(out)) - between).tolist()
        for piece in pieces:
            begin = place[piece.row]
            out[begin : begin + len(piece.block)] = piece.block
            place[piece.row] += len(piece.block)
        return out

    def _place_headers(self, target: NDArray[np.uint8], at: Rows) -> None:
        for mask, words in ((~self.simple, self._enhanced()), (self.simple, self._simple())):
            if mask.any():
                scatter_words(target, at[mask], self._ordered(words)[mask])
        if len(at):
            trailer = self._ordered(self.size.astype(np.uint32)[:, None])
            scatter_words(target, at + self.size - TRAILER_BYTES, trailer)

    def _enhanced(self) -> NDArray[np.uint32]:
        ticks = np.zeros(len(self.keep), np.uint64)
        for one in np.unique(self.resolution).tolist():
            mask = self.resolution == one
            ticks[mask] = to_ticks(self.time_ns[mask], one, self.offset[mask])
        high, low = (ticks >> np.uint64(32)).astype(np.uint32), ticks.astype(np.uint32)
        kind = np.full(len(ticks), ENHANCED_PACKET)
        columns = (kind, self.size, self.number, high, low, self.cap_len, self.length)
        return np.stack([column.astype(np.uint32) for column in columns], axis=1)

    def _simple(self) -> NDArray[np.uint32]:
        columns = (np.full(len(self.keep), SIMPLE_PACKET), self.size, self.length)
        return np.stack([column.astype(np.uint32) for column in columns], axis=1)

    def _ordered(self, words: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """`words` in the byte order of each row's section."""
        return np.where(self.big[:, None], words.byteswap(), words) if self.big.any() else words


def _other_blocks(records: Records, layout: _Layout, keep: Rows, whole: bool) -> Iterator[_Piece]:
    """The blocks that the records came with; those that are rows themselves if they were chosen."""
    rows = set(keep[records.interface[keep] < 0].tolist())
    for rank, one in enumerate(records.blocks, 1 + len(records.interfaces)):
        if (one.is_row and one.row not in rows) or (one.type == CUSTOM_NOT_COPIED and not whole):
            continue
        block = _block(one.type, one.body, records.sections[one.section].big_endian)
        yield _Piece(max(layout.row_of(one.row), layout.begin_of(one.section)), one.section, rank, block)


def _block(kind: int, body: bytes, big_endian: bool) -> bytes:
    order = ">" if big_endian else "<"
    body += bytes(-len(body) % 4)
    size = 12 + len(body)
    return struct.pack(f"{order}II", kind, size) + body + struct.pack(f"{order}I", size)


def _section_block(section: Section) -> bytes:
    fixed = struct.pack(">IHHq" if section.big_endian else "<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    return _block(SECTION, fixed + pack_options(section.options, section.big_endian), section.big_endian)


def _interface_block(interface: Interface, big_endian: bool) -> bytes:
    fixed = struct.pack(">HHI" if big_endian else "<HHI", interface.link_type, 0, interface.snap_len)
    return _block(INTERFACE, fixed + pack_options(_options_of(interface, big_endian), big_endian), big_endian)


def _options_of(interface: Interface, big_endian: bool) -> tuple[Option, ...]:
    """The options that an interface has, with those that its resolution, offset and FCS need."""
    needed = []
    if interface.resolution != 6:
        needed.append(Option(TSRESOL, bytes([interface.resolution])))
    if interface.offset_s:
        needed.append(Option(TSOFFSET, struct.pack(">q" if big_endian else "<q", interface.offset_s)))
    if interface.fcs_len is not None:
        needed.append(Option(FCSLEN, bytes([interface.fcs_len & 0xFF])))
    have = {one.code for one in interface.options}
    return (*interface.options, *(one for one in needed if one.code not in have))
