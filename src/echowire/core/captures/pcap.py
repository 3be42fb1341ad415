"""The pcap format: a header, then packets one after another, each behind its time and two lengths.

    file header     magic 4 | major 2 | minor 2 | reserved 8 | snapshot length 4 | link type and FCS length 4
    packet header   seconds 4 | micro- or nanoseconds 4 | bytes kept 4 | bytes on the wire 4

(draft-ietf-opsawg-pcap, sections 4 and 5.) The magic number tells the byte order and whether times are micro- or
nanoseconds. Nothing marks where a packet begins but the length of the one before it, so one pass follows the lengths
(in many places at once: `chains.py`); all else is taken from the columns afterwards. Kuznetzov's variant,
which Linux distributions once shipped, has eight more bytes in each packet header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures import chains
from echowire.core.captures.records import (
    Interface,
    RecordReader,
    Records,
    Rows,
    Section,
    chosen,
    copy_ranges,
    gather_words,
    max_packet_bytes,
    scatter_words,
)
from echowire.core.captures.ticks import NO_TIME, SECOND_NS
from echowire.errors import UsageError

FILE_HEADER_BYTES = 24
PACKET_HEADER_BYTES = 16
FCS_KNOWN = 0x0400_0000
"""Bit of the link type's word that says that its topmost four bits are the FCS's length, in 16-bit units."""

MICROSECOND_MAGIC, NANOSECOND_MAGIC, MODIFIED_MAGIC = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34


@dataclass(frozen=True, slots=True)
class Variant:
    """What a magic number says: the resolution of times, as if_tsresol has it, and the packet header's size."""

    resolution: int
    header_bytes: int = PACKET_HEADER_BYTES


VARIANTS = {
    MICROSECOND_MAGIC: Variant(6),
    NANOSECOND_MAGIC: Variant(9),
    MODIFIED_MAGIC: Variant(6, header_bytes=24),
}
MAGICS = {magic.to_bytes(4, order): magic for magic in VARIANTS for order in ("little", "big")}
"""The first four bytes of a file."""

_NO_ROWS: Rows = np.zeros(0, np.int64)


class PcapReader(RecordReader):
    """Bytes of a pcap file in, `Records` out; see `RecordReader`. The file's header gives `Records` of no row."""

    def __init__(self) -> None:
        super().__init__()
        self._need = FILE_HEADER_BYTES
        self._interface: Interface | None = None
        self._section = Section()
        self._variant = VARIANTS[MICROSECOND_MAGIC]

    def _scan(self) -> Records | None:
        at = 0
        if self._interface is None:
            self._interface, at = self._read_header(), FILE_HEADER_BYTES
            if self._interface is None:
                return None
        interface, header = self._interface, self._variant.header_bytes
        heads, end, need = self._walk(at, header)
        limit = max_packet_bytes(interface.link_type)
        if need - header > limit:
            self._too_long(end, need - header, limit)
        if not end:
            self._need = need
            return None
        base, data = self._offset, self._take(end, need)
        words = gather_words(data, heads, 4)
        if self._section.big_endian:
            words = words.byteswap()
        if (long := np.flatnonzero(words[:, 2] > limit)).size:
            row = int(long[0])
            self.problem = None  # what the pass found after this row was no packet
            self._offset = base
            self._too_long(int(heads[row]), int(words[row, 2]), limit)
            self._buffer, heads, words = bytearray(), heads[:row], words[:row]
        return self._records(data, heads + header, words.astype(np.int64), interface)

    def _read_header(self) -> Interface | None:
        magic = bytes(self._buffer[:4])
        if magic not in MAGICS:
            self._fail("foreign", 0, "not a pcap file")
            return None
        number = MAGICS[magic]
        self._variant = VARIANTS[number]
        self._section = Section(big_endian=magic == number.to_bytes(4, "big"))
        order = ">" if self._section.big_endian else "<"
        snap_len, network = struct.unpack_from(f"{order}II", self._buffer, 16)
        fcs_len = (network >> 28) * 2 if network & FCS_KNOWN else None
        return Interface(network & 0xFFFF, snap_len, self._variant.resolution, fcs_len=fcs_len)

    def _walk(self, at: int, header: int) -> tuple[Rows, int, int]:
        """Where each whole packet's header begins in the buffer, the offset after the last, and what the next needs."""
        end, heads = len(self._buffer), _NO_ROWS
        if end - at >= chains.MIN_BYTES:
            heads, at = self._follow(at, header)
        rest, at = self._walk_singly(at, header)
        if rest:
            heads = np.concatenate([heads, np.array(rest, np.int64)])
        if at <= end:
            return heads, at, header
        begin = int(heads[-1])
        return heads[:-1], begin, at - begin

    def _walk_singly(self, at: int, header: int) -> tuple[list[int], int]:
        """Where headers begin from `at` on, packet after packet, and the offset behind the last packet."""
        buffer = self._buffer
        cap_len = struct.Struct(">8xI" if self._section.big_endian else "<8xI").unpack_from
        heads: list[int] = []
        append, last = heads.append, len(buffer) - header
        while at <= last:
            append(at)
            at += header + cap_len(buffer, at)[0]
        return heads, at

    def _follow(self, at: int, header: int) -> tuple[Rows, int]:
        """The same from many places at once: those where the seconds' upper half stands again, as in the first header.

        A guess must have a header behind its packet that looks the same. What it is worth is proved by `follow`.
        """
        data = np.frombuffer(self._buffer, np.uint8)
        stop = len(data) - header + 1
        order, shift = (">", 0) if self._section.big_endian else ("<", 2)
        cap_len, halves = chains.window(data, f"{order}u4")[8:], chains.window(data, "=u2")[shift:]
        upper = bytes(self._buffer[at + shift : at + shift + 2])
        guesses = chains.look_for(upper, self._buffer, shift, at, stop)
        behind = guesses + header + cap_len[guesses]
        alike = halves[np.minimum(behind, stop - 1)] == halves[at]
        return chains.follow(cap_len, header, at, stop, guesses[(behind < stop) & alike])

    def _too_long(self, at: int, size: int, limit: int) -> None:
        self._fail("malformed", at, f"a packet of {size} bytes, where at most {limit} can be")

    def _records(self, data: NDArray[np.uint8], start: Rows, words: Rows, interface: Interface) -> Records:
        first, count = self.packets + 1, len(start)
        self.packets += count
        return Records(
            data=data,
            start=start,
            cap_len=words[:, 2],
            length=words[:, 3],
            time_ns=words[:, 0] * SECOND_NS + words[:, 1] * 10 ** (9 - interface.resolution),
            interface=np.zeros(count, np.int32),
            link_type=np.full(count, interface.link_type, np.int32),
            first=first,
            sections=(self._section,),
            interfaces=(interface,),
            option_row=_NO_ROWS,
            option_start=_NO_ROWS,
            option_size=_NO_ROWS,
        )


class PcapWriter:
    """`Records` in, bytes of a little-endian pcap file out, the file's header before the first.

    A pcap file has one link type and neither comments nor descriptions: what else the records hold is left out, and
    so are rows that are no packets. `nanoseconds` None is as fine as the first records' interfaces are.
    """

    def __init__(self, *, nanoseconds: bool | None = None) -> None:
        self._nanoseconds = nanoseconds
        self._link_type: int | None = None

    def write(self, records: Records, rows: NDArray[np.bool_] | Rows | None = None) -> bytearray:
        """The bytes for `records`, or for some `rows` of them: ascending indices, or a mask.

        Raises `UsageError` for packets of another link type, or with a time that 32 bits of seconds do not hold.
        """
        keep = chosen(records, rows)
        keep = keep[records.interface[keep] >= 0]
        header = b""
        if self._link_type is None:
            header = self._header(records, keep)
        if (records.link_type[keep] != self._link_type).any():
            raise UsageError("a pcap file has packets of one link type only; write a pcapng file")
        start, cap_len = records.start[keep], records.cap_len[keep]
        sizes = PACKET_HEADER_BYTES + cap_len
        at = len(header) + np.cumsum(sizes) - sizes
        out = bytearray(len(header) + int(sizes.sum()))
        out[: len(header)] = header
        target = np.frombuffer(out, np.uint8)
        copy_ranges(target, at + PACKET_HEADER_BYTES, records.data, start, cap_len)
        if len(at):
            scatter_words(target, at, self._packet_headers(records, keep))
        return out

    def packet(self, packet: bytes, time_ns: int, *, length: int | None = None, link_type: int = 1) -> bytearray:
        """The bytes for a single packet."""
        return self.write(Records.single(packet, time_ns, length=length, link_type=link_type))

    def _header(self, records: Records, keep: Rows) -> bytes:
        used = [records.interfaces[i] for i in np.unique(records.interface[keep]).tolist()] or records.interfaces
        if not used:
            return b""
        self._link_type = used[0].link_type
        if self._nanoseconds is None:
            self._nanoseconds = any(one.ticks_per_s > 1_000_000 for one in used)
        magic = NANOSECOND_MAGIC if self._nanoseconds else MICROSECOND_MAGIC
        # 0 would be "no limit", which libpcap of old took at its word
        snap_len = max(one.snap_len for one in used) or max_packet_bytes(self._link_type)
        fcs = used[0].fcs_len
        network = self._link_type | (0 if fcs is None else FCS_KNOWN | (fcs // 2 & 0xF) << 28)
        return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, snap_len, network)

    def _packet_headers(self, records: Records, keep: Rows) -> NDArray[np.uint32]:
        time_ns = records.time_ns[keep]
        seconds, part = np.divmod(np.where(time_ns == NO_TIME, 0, time_ns), SECOND_NS)
        if ((seconds < 0) | (seconds >> 32 != 0)).any():
            raise UsageError("a pcap file holds times from 1970 to 2106 only; write a pcapng file")
        part = part if self._nanoseconds else part // 1000
        columns = [seconds, part, records.cap_len[keep], records.length[keep]]
        return np.stack(columns, axis=1).astype(np.uint32)
