"""What a walk reads one after another, told as a table: the parts of a DNS record, of a DHCP option, of a header.

A `Part` is a field and how far it reaches. So a record type is a row of a table, and its code is here, once. Reading
is bounded twice: by `end`, where the part's container ends by its own word, and by the walk, which ends at the last
byte captured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, TypeAlias

from echowire.core.packets.cells import ipv6_text
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field
from echowire.core.packets.walk import MalformedError, Walk

NS_PER_S = 1_000_000_000

Read: TypeAlias = "Callable[[Walk, Part, int, int], int]"
"""Reads a part at an offset, its container's end being another, notes it, and gives where the next one begins."""


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a record, and how it is read."""

    field: Field
    read: Read
    bits: tuple[Field, ...] = ()
    """Fields that share its bytes, beneath it in the tree."""
    count: Field | None = None
    """The field before it that tells its bytes."""
    parts: tuple[Part, ...] = ()
    """What is repeated, of a part that is a list."""
    also: tuple[Field, ...] = ()
    """Other fields that its `read` may note."""

    def fields(self) -> Iterator[Field]:
        """All fields that it may note."""
        if self.count:
            yield self.count
        if not self.parts:
            yield self.field
        yield from self.bits
        yield from self.also
        yield from fields_of(self.parts)


def fields_of(parts: Sequence[Part]) -> Iterator[Field]:
    """All fields that these parts may note."""
    for part in parts:
        yield from part.fields()


def read_parts(walk: Walk, parts: Sequence[Part], at: int, end: int) -> int:
    """Note each part, from `at` to at most `end`, and give where the last one ends. Those that do not fit are left."""
    for part in parts:
        if at >= end:
            break
        at = part.read(walk, part, at, end)
    return at


def text(raw: bytes) -> str:
    """Bytes as text: UTF-8, with U+FFFD for what is none, and no further than a C string goes."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def seconds_text(seconds: int) -> str:
    """A number of seconds as people say it: `4 minutes, 30 seconds`."""
    if not seconds:
        return "0 seconds"
    parts, rest = [], seconds
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return ", ".join(parts)


def value_at(walk: Walk, field: Field, at: int, size: int) -> Any:
    """The value of a field in `size` bytes at `at`, by its type."""
    kind = field.type
    if kind is Type.STRING:
        return text(walk.take(at, size))
    if kind in (Type.BYTES, Type.IPV6):
        return walk.take(at, size)
    if kind is Type.NONE:
        walk.need(at, size)
        return 1
    if kind is Type.ABSOLUTE_TIME:
        return walk.uint(at, size) * NS_PER_S
    return field.of_raw(walk.little(at, size) if field.little else walk.uint(at, size))


def add_at(walk: Walk, field: Field, at: int, size: int = 0, text: str | None = None) -> Any:
    """Note a field of `size` bytes, 0 for its type's, and give its value."""
    size = size or field.width
    value = value_at(walk, field, at, size)
    walk.add(field, value, at, size, text)
    return value


def value_text(field: Field, value: Any) -> str:
    """A value as it stands in a line about its record."""
    if field.type is Type.IPV4:
        return str(IPv4Address(value))
    if field.type is Type.IPV6:
        return ipv6_text(value)
    if field.type is Type.BYTES:
        return bytes(value).hex()
    if field.names and value in field.names:
        return field.names[value]
    return str(value)


def whole_of(kind: Type) -> int:
    """Bytes of a type that is no number of its own width: a time of seconds is four."""
    return 4 if kind is Type.ABSOLUTE_TIME else 0


def fixed(walk: Walk, part: Part, at: int, end: int) -> int:
    """A field of the size of its type, and the bits in it."""
    size = part.field.width or whole_of(part.field.type)
    if at + size > end:
        raise MalformedError(f"{part.field.name} reaches beyond its record")
    add_at(walk, part.field, at, size)
    if part.bits:
        with walk.subtree():
            for bit in part.bits:
                walk.add_uint(bit, at)
    return at + size


def rest(walk: Walk, part: Part, at: int, end: int) -> int:
    """All that is left of the record."""
    add_at(walk, part.field, at, end - at)
    return end


def counted(walk: Walk, part: Part, at: int, end: int) -> int:
    """A number of bytes, in the width of `count`, and so many bytes."""
    assert part.count is not None
    size = walk.add_uint(part.count, at)
    at += part.count.width
    if at + size > end:
        raise MalformedError(f"{part.field.name} reaches beyond its record")
    if size:
        add_at(walk, part.field, at, size)
    elif part.field.type in (Type.STRING, Type.BYTES):
        walk.add(part.field, "" if part.field.type is Type.STRING else b"", at, 0)
    return at + size


def repeated(walk: Walk, part: Part, at: int, end: int) -> int:
    """The same parts again and again, to the end of the record."""
    while at < end:
        before, at = at, read_parts(walk, part.parts, at, end)
        if at <= before:
            raise MalformedError(f"a list of {part.field.name} does not go on")
    return at


def uint(name: str, label: str, size: int, *, bits: tuple[Field, ...] = (), **more: Any) -> Part:
    """A number of `size` bytes: 1, 2, 3, 4 or 8."""
    kind = {1: Type.UINT8, 2: Type.UINT16, 3: Type.UINT24, 4: Type.UINT32, 8: Type.UINT64}[size]
    return Part(Field(name, label, kind, **more), fixed, bits)


def u8(name: str, label: str, **more: Any) -> Part:
    """A number of a byte."""
    return uint(name, label, 1, **more)


def u16(name: str, label: str, **more: Any) -> Part:
    """A number of two bytes."""
    return uint(name, label, 2, **more)


def u32(name: str, label: str, **more: Any) -> Part:
    """A number of four bytes."""
    return uint(name, label, 4, **more)


def ipv4(name: str, label: str) -> Part:
    """An IPv4 address."""
    return Part(Field(name, label, Type.IPV4), fixed)


def ipv6(name: str, label: str) -> Part:
    """An IPv6 address."""
    return Part(Field(name, label, Type.IPV6), fixed)


def seconds(name: str, label: str) -> Part:
    """Seconds since 1970, in four bytes."""
    return Part(Field(name, label, Type.ABSOLUTE_TIME), fixed)


def string(name: str, label: str) -> Part:
    """Text to the end of the record."""
    return Part(Field(name, label, Type.STRING), rest)


def octets(name: str, label: str) -> Part:
    """Bytes to the end of the record."""
    return Part(Field(name, label, Type.BYTES), rest)


def counted_text(length: str, length_label: str, name: str, label: str) -> Part:
    """A byte of length and so much text (RFC 1035, 3.3: a character-string)."""
    return Part(Field(name, label, Type.STRING), counted, count=Field(length, length_label, Type.UINT8))


def many(*parts: Part) -> Part:
    """These again and again, to the end of the record."""
    return Part(parts[0].field, repeated, parts=parts)
