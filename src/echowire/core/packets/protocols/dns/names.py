"""Domain names with compression (RFC 1035, 4.1.4), read safely.

A pointer may point anywhere, at itself too. What a name can cost is bounded: by the bytes that it has, and by
`MAX_JUMPS`.
"""

from __future__ import annotations

from typing import NamedTuple

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field
from echowire.core.packets.layout import Part
from echowire.core.packets.walk import MalformedError, Walk
from echowire.core.text import printable_ascii

MAX_NAME = 255
"""Bytes of a name, its lengths and its end among them (RFC 1035, 3.1)."""

MAX_JUMPS = 128
"""Pointers that a name may follow: as many as it may have labels."""

ROOT = b"<Root>"
EXTENDED = "<Unknown extended label>"
LOOPS = "<Name contains a pointer that loops>"
TOO_LONG = "<Name too long>"

POINTER = 0xC0
"""The two bits that tell a pointer. Those with one of them set have come to nothing (RFC 6891, 5)."""

BIT_STRING = 0x41
"""A label of bits (RFC 2673, 3.1)."""


class Name(NamedTuple):
    """A name that was read."""

    text: str
    end: int
    """Offset behind it: behind its first pointer, if it has one."""
    size: int
    """Bytes of its text, before what cannot be shown was written otherwise."""

    @property
    def labels(self) -> int:
        """Labels that it has, as they can be told from its text: the root has one, which is empty."""
        return self.text.count(".") + 1


def read_name(walk: Walk, at: int) -> Name:
    """The name at `at`. One that loops or is too long is given as tshark says it, and the message goes on behind it."""
    parts: list[bytes] = []
    size, end = 1, 0
    seen: set[int] = set()
    while True:
        count = walk.u8(at)
        if count == 0:
            break
        if count & POINTER == POINTER:
            end, at = end or at + 2, walk.u16(at) & 0x3FFF
            if at in seen or len(seen) == MAX_JUMPS:
                return Name(LOOPS, end, len(LOOPS))
            seen.add(at)
        elif count == BIT_STRING:
            bits = walk.u8(at + 1) or 256
            parts.append(b"\\[x%s/%d]" % (walk.take(at + 2, (bits + 7) // 8).hex().encode(), bits))
            at, size = at + 2 + (bits + 7) // 8, size + len(parts[-1])
        elif count & POINTER:
            if not parts:
                raise MalformedError("a name of a kind that is not used")
            return Name(EXTENDED, end or at + 1, len(EXTENDED))
        else:
            size += 1 + count
            if size <= MAX_NAME:
                parts.append(walk.take(at + 1, count))
            at += 1 + count
        if end and size > MAX_NAME:
            break
    end = end or at + 1
    if size > MAX_NAME:
        return Name(TOO_LONG, end, len(TOO_LONG))
    raw = b".".join(parts) if parts else ROOT
    return Name(printable_ascii(raw), end, len(raw))


def read_part(walk: Walk, part: Part, at: int, end: int) -> int:
    """A name in a record; it may be compressed, so that it ends where it says."""
    name = read_name(walk, at)
    walk.add(part.field, name.text, at, name.end - at)
    return name.end


def name(name: str, label: str) -> Part:
    """A domain name as a part of a record."""
    return Part(Field(name, label, Type.STRING), read_part)


def read_labels(raw: bytes) -> list[tuple[str, int, int]]:
    """The names in a list of its own, with pointers within it: text, offset and size of each. What is cut is left."""
    found: list[tuple[str, int, int]] = []
    at = 0
    while at < len(raw):
        begin, labels, end, size = at, list[bytes](), 0, 0
        while at < len(raw) and raw[at] and size <= MAX_NAME:
            if raw[at] & POINTER == POINTER and at + 1 < len(raw):
                to = int.from_bytes(raw[at : at + 2], "big") & 0x3FFF
                end = end or at + 2
                if to >= begin:  # a pointer goes to what came before
                    return found
                at, size = to, size + 2
                continue
            labels.append(raw[at + 1 : at + 1 + raw[at]])
            size += 1 + raw[at]
            at += 1 + raw[at]
        end = end or at + 1
        found.append((printable_ascii(b".".join(labels)), begin, min(end, len(raw)) - begin))
        at = end
    return found
