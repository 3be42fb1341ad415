"""Columns as text, a cell a value, and cells as lines: what `-T fields` prints, without one Python string a packet.

A cell is a row of a byte matrix in which zero bytes do not count. So `10.0.0.1` is four gathers of a table of octets,
a line is its cells side by side, and a thousand lines become text by deleting all zero bytes at once. Strings, which
few packets have, are left out as a mark and put in afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import INTS, OBJECTS, UINTS, Column, Type, objects
from echowire.core.packets.layers import Field, Values
from echowire.core.text import printable

Cells = NDArray[np.uint8]
"""Text, a row each, in which zero bytes do not count: uint8[n, width]."""

MARKS = range(1, 32)
"""Bytes that may stand for a string in a line: no other cell has control characters."""

GROUP = 100_000
"""Decimal numbers are looked up five digits at a time."""

NS_PER_S = 1_000_000_000


@cache
def _groups() -> NDArray[np.uint64]:
    """The text of 0 to 99,999 in eight bytes: first as it is, then with leading zeros."""
    digits = np.zeros((2, GROUP, 8), np.uint8)
    number = np.arange(GROUP)
    for place, unit in enumerate((10_000, 1_000, 100, 10, 1)):
        digits[:, :, place] = number // unit % 10 + ord("0")
        digits[0, :unit, place] = 0 if unit > 1 else digits[0, :unit, place]
    return digits.reshape(-1, 8).view(np.uint64).ravel()


@cache
def _halves() -> NDArray[np.uint64]:
    """The text of an IPv4 address's first two octets, `10.0.`, by their number; then that of its last two, `0.1`."""
    dotted = np.array([b"%d." % number for number in range(256)], "S4").view(np.uint32)
    plain = np.array([b"%d" % number for number in range(256)], "S4").view(np.uint32)
    out = np.empty((2, 256, 256, 2), np.uint32)
    out[..., 0] = dotted[:, None]
    out[0, ..., 1], out[1, ..., 1] = dotted, plain
    return out.view(np.uint64).ravel()


@cache
def _hex_pairs() -> NDArray[np.uint16]:
    return np.array([b"%02x" % number for number in range(256)], "S2").view(np.uint16)


def decimal_cells(values: NDArray[Any], digits: int = 20) -> Cells:
    """Unsigned numbers of at most `digits` digits."""
    groups, count = _groups(), -(-digits // 5)
    out = np.empty((len(values), count), np.uint64)
    if digits <= 5:
        out[:, 0] = groups[values]
        return out.view(np.uint8).reshape(len(values), 8)
    rest = values if values.dtype == np.uint32 else values.astype(np.uint64)
    low = []
    for _ in range(count - 1):
        above = rest // GROUP
        low.append(rest - above * GROUP)
        rest = above
    out[:, 0] = np.where(rest > 0, groups[rest], 0)
    more = rest > 0
    for number, part in enumerate(reversed(low), 1):
        is_last = number == count - 1
        text = groups[part + np.where(more, rest.dtype.type(GROUP), 0)]
        more = more | (part > 0)
        out[:, number] = text if is_last else np.where(more, text, 0)
    return out.view(np.uint8).reshape(len(values), 8 * count)


def hex_cells(values: NDArray[Any], size: int, prefix: bytes = b"0x") -> Cells:
    """Unsigned numbers of `size` bytes, with leading zeros; `prefix` has two bytes or none."""
    raw = values.astype(f">u{1 if size == 1 else 2 if size == 2 else 4 if size <= 4 else 8}")
    octets = raw.view(np.uint8).reshape(len(values), raw.itemsize)[:, raw.itemsize - size :]
    out = np.zeros((len(values), -(-(len(prefix) + 2 * size) // 8) * 4), np.uint16)
    begin = len(prefix) // 2
    out[:, :begin] = np.frombuffer(prefix, np.uint16)
    for place in range(size):
        out[:, begin + place] = _hex_pairs()[octets[:, place]]
    return out.view(np.uint8)


def ipv4_cells(values: NDArray[np.uint32]) -> Cells:
    """Addresses with dots."""
    table, out = _halves(), np.empty((len(values), 2), np.uint64)
    out[:, 0] = table[values >> 16]
    out[:, 1] = table[(values & 0xFFFF) + (1 << 16)]
    return out.view(np.uint8).reshape(len(values), 16)


def colon_cells(values: NDArray[np.uint64], size: int) -> Cells:
    """Addresses of `size` bytes in hexadecimal with colons: MAC addresses."""
    octets = values.astype(">u8").view(np.uint8).reshape(len(values), 8)[:, 8 - size :]
    out = np.full((len(values), size, 3), ord(":"), np.uint8)
    out[:, :, :2] = _hex_pairs()[octets].view(np.uint8).reshape(len(values), size, 2)
    out[:, -1, 2] = 0
    return out.reshape(len(values), 3 * size)


def ipv6_text(address: bytes) -> str:
    """An IPv6 address as RFC 5952 writes it, with an embedded IPv4 address where inet_ntop has one."""
    groups = [int.from_bytes(address[at : at + 2], "big") for at in range(0, 16, 2)]
    best, length, at = 0, 0, 0
    while at < 8:
        end = at
        while end < 8 and not groups[end]:
            end += 1
        if end - at > length:
            best, length = at, end - at
        at = end + 1
    tail: list[str] = [f"{group:x}" for group in groups]
    if best == 0 and (length == 6 or (length == 5 and groups[5] == 0xFFFF)):
        tail[6:] = [".".join(map(str, address[12:]))]
    if length < 2:
        return ":".join(tail)
    return ":".join(tail[:best]) + "::" + ":".join(tail[best + length :])


def ipv6_cells(values: NDArray[np.uint8]) -> Cells:
    """Addresses as `ipv6_text` writes them."""
    if not len(values):
        return np.zeros((0, 1), np.uint8)
    keys = np.ascontiguousarray(values).view("V16").ravel()
    different, which = np.unique(keys, return_inverse=True)
    return _fixed([ipv6_text(one.tobytes()).encode() for one in different])[which]


def seconds_cells(time_ns: NDArray[np.int64]) -> Cells:
    """Nanoseconds as seconds, with nine digits behind the point."""
    if len(time_ns) and time_ns.min() < 0:
        return _fixed([seconds_text(one).encode() for one in time_ns.tolist()])
    seconds, rest = np.divmod(time_ns, NS_PER_S)
    high, low = np.divmod(rest, GROUP)
    filled = _groups()[GROUP:]
    out = np.zeros((len(time_ns), 8 + 8 + 1 + 8 + 8), np.uint8)
    out[:, :16] = decimal_cells(seconds, 10)
    out[:, 16] = ord(".")
    out[:, 17:25] = filled[high].view(np.uint8).reshape(-1, 8)
    out[:, 17] = 0  # four digits of the five
    out[:, 25:33] = filled[low].view(np.uint8).reshape(-1, 8)
    return out


def seconds_text(time_ns: int, digits: int = 9) -> str:
    """A span of time in seconds with so many decimals, of which none is rounded: `-0.000100000`."""
    seconds, rest = divmod(abs(time_ns), NS_PER_S)
    sign = "-" if time_ns < 0 else ""
    return f"{sign}{seconds}.{rest // 10 ** (9 - digits):0{digits}d}" if digits else f"{sign}{seconds}"


def date_text(time_ns: int) -> str:
    """`Oct 11, 2014 19:35:23.956615000 UTC`."""
    seconds, rest = divmod(time_ns, NS_PER_S)
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{_MONTHS[at.month - 1]} {at.day:>2}, {at.year} {at:%H:%M:%S}.{rest:09d} UTC"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _fixed(texts: Sequence[bytes]) -> Cells:
    """Texts of any kind as cells."""
    column = np.array(texts, np.bytes_)
    return column.view(np.uint8).reshape(len(texts), column.itemsize)


def text_of(field: Field, value: Any) -> str:
    """One value as text, as `cells` writes it."""
    if field.type is Type.STRING or field.type in (Type.GUID, Type.OID):
        return str(value)
    kind = field.type
    if kind is Type.BYTES:
        return bytes(value).hex()
    if kind is Type.IPV4:
        return ".".join(map(str, int(value).to_bytes(4, "big")))
    if kind is Type.ETHER:
        return int(value).to_bytes(6, "big").hex(":")
    if kind is Type.BOOLEAN or (kind in UINTS and field.base not in ("hex", "hex_dec")):
        return str(int(value))
    if kind is Type.RELATIVE_TIME or (kind is Type.ABSOLUTE_TIME and field.base == "epoch"):
        return seconds_text(int(value))
    return cells(field, np.array([value])).tobytes().replace(b"\0", b"").decode()


def cells(field: Field, values: Column) -> Cells:
    """The text of a column that is not of objects, as tshark prints it."""
    kind = field.type
    if kind in (Type.PROTOCOL, Type.NONE):
        return np.full((len(values), 1), ord("1"), np.uint8)
    if kind is Type.BOOLEAN:
        return (values.astype(np.uint8) + ord("0")).reshape(-1, 1)
    if kind is Type.IPV4:
        return ipv4_cells(values)
    if kind is Type.IPV6:
        return ipv6_cells(values)
    if kind is Type.ETHER:
        return colon_cells(values, 6)
    if kind is Type.EUI64:
        return colon_cells(values, 8)
    if kind in UINTS:
        if field.base in ("hex", "hex_dec"):
            return hex_cells(values, field.width or values.itemsize)
        return decimal_cells(values, len(str(np.iinfo(values.dtype).max)))
    if kind is Type.ABSOLUTE_TIME and field.base != "epoch":
        return _fixed([date_text(one).encode() for one in values.tolist()])
    if kind in (Type.ABSOLUTE_TIME, Type.RELATIVE_TIME):
        return seconds_cells(values)
    if kind in INTS:
        return _fixed([b"%d" % one for one in values.tolist()])
    return _fixed([f"{one:.15g}".encode() for one in values.tolist()])


def strings(field: Field, values: Column, *, escape: bool = True) -> Column:
    """The text of a column, one Python string a value; `escape` False leaves control characters as they are."""
    if field.type is Type.BYTES:
        return objects([one.hex() for one in values])
    if field.type in OBJECTS:
        return objects([printable(one) for one in values]) if escape else values
    matrix = cells(field, values)
    return objects([row.tobytes().replace(b"\0", b"").decode() for row in matrix])


def lines(
    columns: Sequence[tuple[Field | None, Values]],
    count: int,
    *,
    separator: bytes = b"\t",
    quote: bytes = b"",
    escape: bool = True,
) -> bytes:
    """`count` lines of cells. Of each column one value a row at most; where a row has none its cell is empty.

    `quote` stands before and behind each value that there is.
    """
    texts: list[tuple[Rows, int, list[str]]] = []
    mark, row = _mark(separator + quote), _Row(count)
    for number, (field, (rows, values)) in enumerate(columns):
        if number:
            row.add_text(separator)
        where: Rows | slice = slice(None) if len(rows) == count else rows
        if quote and len(rows):
            row.add(where, _text_cells(quote))
        if field is None or field.type in OBJECTS:
            column = values if field is None else strings(field, values, escape=escape)
            texts.append((rows, number, column.tolist()))
            row.add(where, _text_cells(mark))
        elif len(rows):
            row.add(where, cells(field, values))
        if quote and len(rows):
            row.add(where, _text_cells(quote))
    row.add_text(b"\n")
    return _put_in(row.text(), texts, mark)


class _Row:
    """What stands in every line, from left to right: cells, in words of eight bytes, as these are what numpy moves
    quickly, and texts that are the same in all, in bytes that the cells leave free."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._cells: list[tuple[int, Rows | slice, NDArray[np.uint64]]] = []
        self._texts: list[tuple[int, bytes]] = []
        self._words = self._free = 0

    def add(self, where: Rows | slice, matrix: Cells) -> None:
        """Cells of these lines, or one for all of them."""
        spare = -matrix.shape[1] % 8
        words = np.ascontiguousarray(np.pad(matrix, ((0, 0), (0, spare))) if spare else matrix).view(np.uint64)
        self._cells.append((self._words, where, words))
        self._words += words.shape[1]
        last: bytes = np.bitwise_or.reduce(words[:, -1]).tobytes() if words.size else b""
        self._free = 8 - len(last.rstrip(b"\0"))

    def add_text(self, text: bytes) -> None:
        """A text for all lines."""
        if self._free < len(text):
            self._words += -(-len(text) // 8)
            self._free = 8 * -(-len(text) // 8)
        self._texts.append((8 * self._words - self._free, text))
        self._free -= len(text)

    def text(self) -> bytes:
        """All lines."""
        buffer = bytearray(8 * self._count * self._words)
        every = np.frombuffer(buffer, np.uint64).reshape(self._count, self._words)
        for at, where, words in self._cells:
            for number in range(words.shape[1]):
                every[where, at + number] = words[:, number]
        matrix = every.view(np.uint8)
        for at, text in self._texts:
            for number, byte in enumerate(text):
                matrix[:, at + number] = byte
        del every, matrix
        return bytes(buffer.translate(None, b"\0"))


def _text_cells(text: bytes) -> Cells:
    """One text for every row."""
    return np.frombuffer(text, np.uint8).reshape(1, -1)


def _mark(between: bytes) -> bytes:
    """The byte that stands for a string in a line: one that no cell has, nor what stands between cells."""
    return bytes([next(one for one in MARKS if one not in between)])


def _put_in(text: bytes, texts: Sequence[tuple[Rows, int, list[str]]], mark: bytes) -> bytes:
    """`text` with its marks replaced, which stand in the order of rows, and of columns within one."""
    if not any(len(one) for _, _, one in texts):
        return text
    rows = np.concatenate([one for one, _, _ in texts])
    columns = np.concatenate([np.full(len(one), number) for one, number, _ in texts])
    order = np.lexsort((columns, rows)).tolist()
    every = [one.encode("utf-8", "replace") for _, _, some in texts for one in some]
    pieces = text.split(mark)
    out = [pieces[0]]
    for number, piece in zip(order, pieces[1:], strict=True):
        out += (every[number], piece)
    return b"".join(out)
