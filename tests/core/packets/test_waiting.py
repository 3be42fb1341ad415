"""What waits is bounded: the oldest gives way."""

from __future__ import annotations

from echowire.core.packets.layers import Memory
from echowire.core.packets.waiting import MAX_WAITING, keep_waiting


def test_the_oldest_is_emptied_first() -> None:
    memory, all_pieces = Memory(), [{0: b"piece"} for _ in range(MAX_WAITING + 2)]
    for pieces in all_pieces:
        keep_waiting(memory, pieces)
        keep_waiting(memory, pieces)
    assert [len(pieces) for pieces in all_pieces] == [0, 0, *[1] * MAX_WAITING]
