"""Where the members of a kernel structure are, from the kernel's own type information (BTF).

The layout of `struct tcp_sock` changes with version and configuration; `/sys/kernel/btf/vmlinux` has this kernel's.
Decoding its hundred thousand types would take a second. Names are unique in its string table and a structure's
record begins with its name's offset, so a search for these bytes finds it in milliseconds.
https://docs.kernel.org/bpf/btf.html
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

MAGIC = 0xEB9F
HEADER = struct.Struct("<HBBIIIII")  # magic, version, flags, hdr_len, type_off, type_len, str_off, str_len
TYPE = struct.Struct("<III")  # struct btf_type: name_off, info, size
MEMBER = struct.Struct("<III")  # struct btf_member: name_off, type, offset in bits
KIND_STRUCT = 4


def member_offsets(btf: bytes, structure: str, members: Sequence[str]) -> dict[str, int]:
    """Bytes from the start of `structure` to each of `members`. Raises `ValueError` where `btf` does not say."""
    if len(btf) < HEADER.size or HEADER.unpack_from(btf)[0] != MAGIC:
        raise ValueError("this is not little-endian BTF")
    _, _, _, header_size, type_offset, type_size, string_offset, string_size = HEADER.unpack_from(btf)
    # All is searched where it lies: a copy of these megabytes would take longer than the search.
    types_at, strings_at = header_size + type_offset, header_size + string_offset
    types = memoryview(btf)[types_at:][:type_size]
    strings_end = strings_at + string_size
    wanted = {_place_of_name(btf, strings_at, strings_end, name) - strings_at: name for name in members}
    start = struct.pack("<I", _place_of_name(btf, strings_at, strings_end, structure) - strings_at)
    place = btf.find(start, types_at, types_at + type_size)
    while place >= 0:
        found = _members_at(types, place - types_at, wanted)
        if len(found) == len(members):
            return found
        place = btf.find(start, place + 1, types_at + type_size)
    raise ValueError(f"BTF has no struct {structure} with {', '.join(members)}")


def _members_at(types: memoryview, place: int, wanted: dict[int, str]) -> dict[str, int]:
    """The wanted members of the structure at `place`; none where something else is there."""
    if place % 4 or place + TYPE.size > len(types):
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


def _place_of_name(btf: bytes, start: int, end: int, name: str) -> int:
    place = btf.find(b"\0" + name.encode() + b"\0", start, end)
    if place < 0:
        raise ValueError(f"BTF has no name {name!r}")
    return place + 1
