"""A chunk of a capture file as columns: where each packet lies in the chunk, how long it was, when and where it came.

Everything that is known of packets is built on these columns, and readers, writers and packet tables all speak them,
so that no format shows through. One object a packet would cost 20 to 500 times as much: a chunk is one buffer and a
handful of arrays, and a field of a million packets is one gather. What few packets have (comments and other options)
and what stands between packets (name resolution, statistics, unknown blocks) is kept sparsely, as raw bytes, so that
nobody pays for it who does not ask and a writer can pass it on unread.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.numbers import MAX_PACKET_BYTES
from echowire.core.captures.ticks import DEFAULT_RESOLUTION, ticks_per_second

Bytes: TypeAlias = NDArray[np.uint8]
Rows: TypeAlias = NDArray[np.int64]

PAD = 256
"""Zero bytes that follow a chunk at least, so that a gather which begins in a packet and runs past its end stays in
bounds. 256 is more than the longest fixed part that is gathered whole (an IPv4 header and a TCP header with all their
options are 120 bytes)."""

FRONT = 64 * 1024
"""Room before the bytes of a buffer that a reader takes over: what was left of the last is put there, which is less
than a record. Few are longer; then all is copied."""

MAX_LONG_PACKET_BYTES = 128 * 1024 * 1024
"""As `MAX_PACKET_BYTES`, for the link types of `LONG_PACKET_LINKS`: a D-Bus message may have that much (D-Bus
specification, Message Format), and Wireshark allows USB as much."""

LONG_PACKET_LINKS = frozenset({186, 189, 220, 231, 249, 266})
"""USB (FreeBSD, two of Linux, Windows, macOS) and D-Bus."""

SUN_ATM, SUN_ATM_BYTES = 123, 4
"""A link type whose packets have a header that Wireshark takes for a part of the file, not of the packet."""

NO_INTERFACE = -1
"""Interface of a row that is no packet: a custom block, which tshark numbers among the frames."""

NO_LINK_TYPE = -1
"""Link type of a row that is no packet."""

COMMENT = 1
"""opt_comment, the one option that every block may have (draft-ietf-opsawg-pcapng, section 3.5.1)."""


class Option(NamedTuple):
    """One option of a block: its code and its value, raw and without padding."""

    code: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file was not read further, and where. All whole packets before it were given.

    `cut`: the file ends within a record. `malformed`: what stands at `offset` cannot be. `foreign`: not a capture
    file that is known. `compression`: the compressed data is damaged or incomplete.
    """

    kind: Literal["cut", "malformed", "foreign", "compression"]
    offset: int
    """Bytes from the beginning of the (uncompressed) file; for `compression`, of the compressed one."""
    message: str

    def __str__(self) -> str:
        return f"{self.message}, at byte {self.offset}"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a pcapng file (draft-ietf-opsawg-pcapng, section 4.1), or a whole pcap file."""

    big_endian: bool = False
    options: tuple[Option, ...] = ()
    is_pcapng: bool = False
    """False of a pcap file, which has one interface, without a name or a number."""

    @property
    def comments(self) -> tuple[str, ...]:
        """What was noted of the section."""
        return texts(self.options, COMMENT)

    @property
    def hardware(self) -> str | None:
        """shb_hardware."""
        return text(self.options, 2)

    @property
    def os(self) -> str | None:
        """shb_os."""
        return text(self.options, 3)

    @property
    def application(self) -> str | None:
        """shb_userappl: what made it."""
        return text(self.options, 4)


@dataclass(frozen=True, slots=True)
class Interface:
    """Where packets were captured (draft-ietf-opsawg-pcapng, section 4.2)."""

    link_type: int = 1
    """A LINKTYPE_ number; 1 is Ethernet."""
    snap_len: int = 0
    """Bytes kept of a packet at most; 0 is no limit."""
    resolution: int = DEFAULT_RESOLUTION
    """if_tsresol: 6 is 10^-6 s; with bit 7 set, a power of two, so 0x8a is 2^-10 s."""
    offset_s: int = 0
    """if_tsoffset: seconds to add to each time."""
    fcs_len: int | None = None
    """Bytes of frame check sequence at the end of each packet; None where it is not told."""
    section: int = 0
    """Index of its section in the file."""
    first_of_section: int = 0
    """Index in the file of its section's first interface: numbers within pcapng count from there."""
    options: tuple[Option, ...] = ()
    """All that it came with, in the byte order of its section."""

    @property
    def ticks_per_s(self) -> int:
        """Units of time in a second."""
        return ticks_per_second(self.resolution)

    @property
    def comments(self) -> tuple[str, ...]:
        """What was noted of the interface."""
        return texts(self.options, COMMENT)

    @property
    def name(self) -> str | None:
        """if_name, such as `eth0`."""
        return text(self.options, 2)

    @property
    def description(self) -> str | None:
        """if_description."""
        return text(self.options, 3)

    @property
    def filter(self) -> str | None:
        """if_filter, where it is text: its first byte is 0 then, and 1 before BPF instructions."""
        said = text(self.options, 11)
        return said[1:] if said and said.startswith("\0") else None

    @property
    def os(self) -> str | None:
        """if_os."""
        return text(self.options, 12)

    @property
    def hardware(self) -> str | None:
        """if_hardware."""
        return text(self.options, 15)


@dataclass(frozen=True, slots=True)
class Block:
    """A block that describes neither section nor interface and holds no packet, kept as it came."""

    row: int
    """The row of its `Records` that it stood before; their number, if after the last."""
    section: int
    type: int
    body: bytes
    """All between the two lengths, in its section's byte order."""
    is_row: bool = False
    """True of a custom block, which is itself the row."""


PACKET_COLUMNS = ("start", "cap_len", "length", "time_ns", "interface", "link_type")
OPTION_COLUMNS = ("option_row", "option_start", "option_size")


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """The packets of one chunk, a row each. There may be no row, where a chunk held descriptions alone."""

    data: Bytes
    """The chunk, and at least `PAD` zero bytes."""
    start: Rows
    """Offset in `data` of each packet's first byte."""
    cap_len: Rows
    """Bytes kept of each packet."""
    length: Rows
    """Bytes that it had on the wire. A malformed file may say fewer than were kept."""
    time_ns: Rows
    """Nanoseconds since 1970, UTC; `ticks.NO_TIME` where there is none, or one beyond the years 1678 to 2262."""
    interface: NDArray[np.int32]
    """Index into `interfaces`, or `NO_INTERFACE`."""
    link_type: NDArray[np.int32]
    """The interface's, or `NO_LINK_TYPE`."""
    first: int
    """Number of the first packet in the file, from 1."""
    sections: tuple[Section, ...]
    """All that the file had up to here."""
    interfaces: tuple[Interface, ...]
    """All that the file had up to here."""
    option_row: Rows
    """Rows that have options, ascending; the next two columns have as many."""
    option_start: Rows
    """Offset in `data` of their first option, next to the packet and its padding to a multiple of four."""
    option_size: Rows
    blocks: tuple[Block, ...] = ()
    """What stood between the packets, in order."""

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of(
        cls,
        packets: Sequence[bytes],
        time_ns: Sequence[int],
        *,
        length: Sequence[int] | None = None,
        interface: Sequence[int] | int = 0,
        interfaces: Sequence[Interface] = (Interface(resolution=9),),
        sections: Sequence[Section] = (Section(),),
        comments: Mapping[int, Sequence[str]] | None = None,
        first: int = 1,
    ) -> Records:
        """The columns of packets at hand, `comments` by row."""
        options = {
            row: pack_options((Option(COMMENT, one.encode()) for one in said), sections[0].big_endian)
            for row, said in (comments or {}).items()
        }
        parts, sizes = [], np.zeros(len(packets), np.int64)
        for row, packet in enumerate(packets):
            parts += [packet, bytes(-len(packet) % 4), options.get(row, b"")]
            sizes[row] = sum(map(len, parts[-3:]))
        cap_len = np.array([len(packet) for packet in packets], np.int64)
        start = np.cumsum(sizes) - sizes
        which = np.broadcast_to(np.asarray(interface, np.int32), (len(packets),))
        with_options = np.array(sorted(options), np.int64)
        options_at = cap_len + (-cap_len & 3)
        return cls(
            data=np.frombuffer(b"".join([*parts, bytes(PAD)]), np.uint8),
            start=start,
            cap_len=cap_len,
            length=cap_len if length is None else np.array(length, np.int64),
            time_ns=np.array(time_ns, np.int64),
            interface=which,
            link_type=np.array([one.link_type for one in interfaces], np.int32)[which],
            first=first,
            sections=tuple(sections),
            interfaces=tuple(interfaces),
            option_row=with_options,
            option_start=(start + options_at)[with_options],
            option_size=(sizes - options_at)[with_options],
        )

    @classmethod
    def single(cls, packet: bytes, time_ns: int, *, length: int | None = None, link_type: int = 1) -> Records:
        """The columns of one packet, of an interface with nanoseconds."""
        lengths = None if length is None else [length]
        return cls.of([packet], [time_ns], length=lengths, interfaces=[Interface(link_type, 0, 9)])

    def head(self, count: int) -> Records:
        """The first `count` packets."""
        if count >= len(self):
            return self
        options = int(np.searchsorted(self.option_row, count))
        return replace(
            self,
            **{name: getattr(self, name)[:count] for name in PACKET_COLUMNS},
            **{name: getattr(self, name)[:options] for name in OPTION_COLUMNS},
        )

    @property
    def header(self) -> Rows:
        """Bytes before each packet that count as the file's, as they do to Wireshark."""
        return np.where(self.link_type == SUN_ATM, np.minimum(self.cap_len, SUN_ATM_BYTES), 0)

    @property
    def number(self) -> Rows:
        """Each packet's number in the file: Wireshark's frame.number."""
        return np.arange(self.first, self.first + len(self), dtype=np.int64)

    def packet(self, row: int) -> bytes:
        """The bytes kept of one packet."""
        return self.data[self.start[row] : self.start[row] + self.cap_len[row]].tobytes()

    def options(self, row: int) -> tuple[Option, ...]:
        """The options of one packet."""
        at = int(np.searchsorted(self.option_row, row))
        if at == len(self.option_row) or self.option_row[at] != row:
            return ()
        begin, size = int(self.option_start[at]), int(self.option_size[at])
        section = self.sections[self.interfaces[self.interface[row]].section]
        return parse_options(self.data[begin : begin + size].tobytes(), section.big_endian)

    def comments(self, row: int) -> tuple[str, ...]:
        """What was noted of one packet."""
        return texts(self.options(row), COMMENT)


def max_packet_bytes(link_type: int) -> int:
    """The longest packet of a link type that is taken; a longer one is malformed."""
    return MAX_LONG_PACKET_BYTES if link_type in LONG_PACKET_LINKS else MAX_PACKET_BYTES


def parse_options(raw: bytes, big_endian: bool) -> tuple[Option, ...]:
    """The options in `raw` (draft-ietf-opsawg-pcapng, section 3.5), up to opt_endofopt or the first that is cut."""
    head = struct.Struct(">HH" if big_endian else "<HH")
    found, at = [], 0
    while at + head.size <= len(raw):
        code, size = head.unpack_from(raw, at)
        at += head.size
        if code == 0 or at + size > len(raw):
            break
        found.append(Option(code, raw[at : at + size]))
        at += size + -size % 4
    return tuple(found)


def pack_options(options: Iterable[Option], big_endian: bool) -> bytes:
    """The bytes that `parse_options` reads, opt_endofopt last; none where there is no option."""
    head = struct.Struct(">HH" if big_endian else "<HH")
    parts = [head.pack(one.code, len(one.value)) + one.value + bytes(-len(one.value) % 4) for one in options]
    return b"".join([*parts, bytes(head.size)]) if parts else b""


def texts(options: Iterable[Option], code: int) -> tuple[str, ...]:
    """The values of one option as text. What is not UTF-8 is shown as U+FFFD, and a C string's end left out."""
    return tuple(one.value.rstrip(b"\0").decode("utf-8", "replace") for one in options if one.code == code)


def text(options: Iterable[Option], code: int) -> str | None:
    """The first value of one option as text, or None."""
    return next(iter(texts(options, code)), None)


def chosen(records: Records, rows: NDArray[np.bool_] | Rows | None) -> Rows:
    """Row numbers for a choice of rows: indices, a mask, or None for all."""
    if rows is None:
        return np.arange(len(records), dtype=np.int64)
    return np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)


def gather_words(data: Bytes, at: Rows, words: int) -> NDArray[np.uint32]:
    """`words` 32-bit words from each offset of `at`, which need not be aligned: uint32[len(at), words], little-endian.

    A window of that many bytes slides over `data` by one byte, so that a gather copies each record's bytes once.
    """
    window: NDArray[np.void] = np.ndarray((len(data) - 4 * words + 1,), f"V{4 * words}", data, strides=(1,))
    return window[at].view("<u4").reshape(-1, words)


def scatter_words(out: Bytes, at: Rows, words: NDArray[np.uint32]) -> None:
    """The reverse of `gather_words`: place row `i` of `words` at offset `at[i]` of `out`."""
    size = 4 * words.shape[1]
    window: NDArray[np.void] = np.ndarray((len(out) - size + 1,), f"V{size}", out, strides=(1,))
    window[at] = np.ascontiguousarray(words, "<u4").view(f"V{size}").ravel()


def copy_ranges(out: Bytes, to: Rows, data: Bytes, start: Rows, size: Rows) -> None:
    """Copy `data[start[i] : start[i] + size[i]]` to `out[to[i]:]`, `start` and `to` ascending.

    Neighbours that stay as far apart are copied as one, with what lies between them: where headers of the same size
    are then written over that, a whole chunk is a single copy.
    """
    if not len(to):
        return
    first = np.flatnonzero(np.diff(to - start, prepend=to[0] - start[0] - 1))
    last = np.append(first[1:], len(to)) - 1
    source, target = memoryview(data), memoryview(out)  # type: ignore[arg-type]
    begin, end = start[first].tolist(), (start[last] + size[last]).tolist()
    for at, a, b in zip(to[first].tolist(), begin, end, strict=True):
        target[at : at + b - a] = source[a:b]


def _extended(buffer: bytearray, data: bytes | bytearray | memoryview) -> bytearray:
    """`buffer` with `data` behind it: the same one, unless somebody else still holds a view of it.

    A scan's views end with its frames, and frames live on where another thread holds them, as profilers do. A buffer
    with views cannot grow, and is copied then.
    """
    try:
        buffer += data
    except BufferError:
        buffer = bytearray(b"".join((buffer, data)))
    return buffer


class RecordReader:
    """What the readers of all formats share: bytes in by `feed`, `Records` out, and `problem` once it goes no further.

    Not enough bytes is no problem: `feed` gives None and waits for more. After the last byte call `finish`. What is
    held between two calls is less than one record, and its length is checked before it is waited for.
    """

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self.packets = 0
        """Packets given so far."""
        self._buffer = bytearray()
        self._offset = 0
        """Of the buffer's first byte in the file."""
        self._need = 1
        """Bytes that the buffer must have before a look at it can yield anything."""

    def feed(self, chunk: bytes | bytearray | memoryview) -> Records | None:
        """Take the file's next bytes, however many. Gives the packets that they complete, or None."""
        if self.problem is not None:
            return None
        self._buffer = _extended(self._buffer, chunk)
        return self._scan() if len(self._buffer) >= self._need else None

    def take_over(self, buffer: bytearray) -> Records | None:
        """The same, of bytes that are not copied: `buffer` is the reader's from now on, and has `FRONT` bytes of room
        before them. Behind them it had best room for `PAD` more."""
        rest = self._buffer
        if len(rest) > FRONT or self.problem is not None:
            return self.feed(memoryview(buffer)[FRONT:])
        buffer[FRONT - len(rest) : FRONT] = rest
        del buffer[: FRONT - len(rest)]  # which moves nothing
        self._buffer = buffer
        return self._scan() if len(self._buffer) >= self._need else None

    def finish(self) -> Problem | None:
        """Say that the file has ended. Gives why it was not read to its end, None where it was."""
        if self.problem is None and self._buffer:
            have = len(self._buffer)
            self._fail("cut", 0, f"the file is cut: a record of at least {self._need} bytes has only {have}")
        return self.problem

    def _scan(self) -> Records | None:
        raise NotImplementedError

    def _fail(self, kind: Literal["cut", "malformed", "foreign"], at: int, message: str) -> None:
        """Go no further; `at` is an offset in the buffer. The first problem stands."""
        self.problem = self.problem or Problem(kind, self._offset + at, message)

    def _take(self, size: int, need: int) -> Bytes:
        """The buffer as a padded chunk, of which `size` bytes are done with; the rest waits until it has `need`."""
        chunk, rest = self._buffer, self._buffer[size:]
        self._buffer, self._need = rest if self.problem is None else bytearray(), need
        self._offset += size
        data = np.frombuffer(_extended(chunk, bytes(PAD)), np.uint8)
        data.flags.writeable = False
        return data
