"""The Internet checksum over columns, held against the definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.packets.checksums import folded, word_sums


def plain(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = sum(int.from_bytes((data + b"\0")[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8))
def test_ranges_are_summed_as_the_definition_says(data: bytes, ranges: list[tuple[int, int]]) -> None:
    inside = [(min(start, len(data)), size) for start, size in ranges]
    inside = [(start, min(size, len(data) - start)) for start, size in inside]
    padded = np.frombuffer(data + bytes(4), np.uint8)
    start, size = (np.array([one[side] for one in inside], np.int64) for side in (0, 1))
    found = folded(word_sums(padded, start, size))
    assert found.tolist() == [plain(data[at : at + count]) for at, count in inside]
