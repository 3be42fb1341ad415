"""Where the members of a kernel structure are, and a function's number, from the kernel's own type information (BTF).

The layout of `struct tcp_sock` changes with version and configuration; `/sys/kernel/btf/vmlinux` has this kernel's.
Decoding its hundred thousand types would take a second. Names are unique in its string table and a structure's
record begins with its name's offset, so a search for these bytes finds it in milliseconds.
https://docs.kernel.org/bpf/btf.html
"""

from __future__ import annotations

import struct
from itertools import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from mmap import mmap
    from typing import TypeAlias

    Image: TypeAlias = bytes | mmap

MAGIC = 0xEB9F
HEADER = struct.Struct("<HBBIIIII")  # magic, version, flags, hdr_len, type_off, type_len, str_off, str_len
TYPE = struct.Struct("<III")  # struct btf_type: name_off, info, size
MEMBER = struct.Struct("<III")  # struct btf_member: name_off, type, offset in bits
PARAMETER = struct.Struct("<II")  # struct btf_param: name_off, type
KIND_STRUCT, KIND_FUNC, KIND_FUNC_PROTO = 4, 12, 13
LINKAGES = range(3)
"""Of a function: static, global, extern. It stands where other kinds have how many they have."""

FIXED_BYTES = {1: 4, 3: 12, 14: 4, 17: 4}
"""What a kind has behind `TYPE`: INT, ARRAY, VAR, DECL_TAG. Kinds in neither table have nothing."""

BYTES_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
"""What it has for each member, value, parameter or variable: STRUCT, UNION, ENUM, FUNC_PROTO, DATASEC, ENUM64."""

LAST_KIND = 19
MAX_STEPS = 20_000
"""Records counted between a function and its prototype: 5 ms. As a rule the one follows the other."""


def member_offsets(btf: Image, structure: str, members: Sequence[str]) -> dict[str, int]:
    """Bytes from the start of `structure` to each of `members`. Raises `ValueError` where `btf` does not say."""
    sections = _Sections(btf)
    wanted = {sections.name(member): member for member in members}
    for place in sections.places(structure):
        found = _members_at(sections.types, place, wanted)
        if len(found) == len(members):
            return found
    raise ValueError(f"BTF has no struct {structure} with {', '.join(members)}")


def function_number(btf: Image, function: str, parameters: Sequence[str]) -> int:
    """The number by which the kernel knows the type of `function`. Raises `ValueError` where `btf` does not say.

    A type's number is how many come before it, and is written nowhere: to count from the first takes a fifth of a
    second. But a function's record has the number of its prototype, and the prototype is found by the names of its
    `parameters`; so there is one whose number is known, and only what lies between the two is counted.
    """
    sections = _Sections(btf)
    types, names = sections.types, [sections.name(parameter) for parameter in parameters]
    for linkage in LINKAGES:
        for place in sections.places(function, struct.pack("<I", KIND_FUNC << 24 | linkage)):
            just_before = place - TYPE.size - PARAMETER.size * len(names)
            elsewhere = (found - TYPE.size for found in sections.places(parameters[0]))
            for prototype in chain((just_before,), elsewhere):
                if _parameters_at(types, prototype) == names and place + TYPE.size <= len(types):
                    between = _count(types, min(place, prototype), max(place, prototype))
                    number: int = TYPE.unpack_from(types, place)[2]
                    return number + (between if place > prototype else -between)
    raise ValueError(f"BTF has no function {function}({', '.join(parameters)})")


class _Sections:
    """The two parts of BTF. All is searched where it lies: a copy of these megabytes takes longer than the search."""

    def __init__(self, btf: Image) -> None:
        if len(btf) < HEADER.size or HEADER.unpack_from(btf)[0] != MAGIC:
            raise ValueError("this is not little-endian BTF")
        _, _, _, header_size, type_offset, type_size, string_offset, string_size = HEADER.unpack_from(btf)
        self._btf = btf
        self._types_at: int = header_size + type_offset
        self._types_end: int = self._types_at + type_size
        self._strings_at: int = header_size + string_offset
        self._strings_end: int = self._strings_at + string_size
        self.types = memoryview(btf)[self._types_at : self._types_end]

    def name(self, name: str) -> int:
        """The offset that stands for a name. Raises `ValueError` where there is no such name."""
        place = self._btf.find(b"\0" + name.encode() + b"\0", self._strings_at, self._strings_end)
        if place < 0:
            raise ValueError(f"BTF has no name {name!r}")
        return place + 1 - self._strings_at

    def places(self, name: str, behind: bytes = b"") -> Iterator[int]:
        """Where in `types` the name stands, with these bytes behind it; or other bytes that look so."""
        wanted = struct.pack("<I", self.name(name)) + behind
        place = self._btf.find(wanted, self._types_at, self._types_end)
        while place >= 0:
            if (place - self._types_at) % 4 == 0:
                yield place - self._types_at
            place = self._btf.find(wanted, place + 1, self._types_end)


def _members_at(types: memoryview, place: int, wanted: dict[int, str]) -> dict[str, int]:
    """The wanted members of the structure at `place`; none where something else is there."""
    if place + TYPE.size > len(types):
        return {}
    _, info, _ = TYPE.unpack_from(types, place)
    count = info & 0xFFFF
    if info >> 24 & 0x1F != KIND_STRUCT or place + TYPE.size + count * MEMBER.size > len(types):
        return {}
    found: dict[str, int] = {}
    for name, _, bits in MEMBER.iter_unpack(types[place + TYPE.size :][: count * MEMBER.size]):
        if name in wanted:
            # With kind_flag set the upper eight bits are a bit field's width.
            found[wanted[name]] = (bits & 0xFFFFFF if info >> 31 else bits) // 8
    return found


def _parameters_at(types: memoryview, place: int) -> list[int]:
    """The names of the parameters of the prototype at `place`; none where something else is there."""
    if not 0 <= place <= len(types) - TYPE.size:
        return []
    name, info, _ = TYPE.unpack_from(types, place)
    end = place + TYPE.size + (info & 0xFFFF) * PARAMETER.size
    if name or info >> 24 != KIND_FUNC_PROTO or end > len(types):
        return []
    return [parameter for parameter, _ in PARAMETER.iter_unpack(types[place + TYPE.size : end])]


def _count(types: memoryview, start: int, end: int) -> int:
    """How many records there are from `start` to `end`. Raises `ValueError` where they do not end there."""
    steps = 0
    while start < end:
        info = TYPE.unpack_from(types, start)[1]
        kind = info >> 24 & 0x1F
        start += TYPE.size + FIXED_BYTES.get(kind, 0) + BYTES_EACH.get(kind, 0) * (info & 0xFFFF)
        steps += 1
        if not 0 < kind <= LAST_KIND or steps > MAX_STEPS:
            raise ValueError("BTF has types of an unknown kind, or too many")
    if start != end:
        raise ValueError("BTF has a function that is not among its types")
    return steps
