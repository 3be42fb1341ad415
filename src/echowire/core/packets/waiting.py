"""Pieces of messages that wait for their rest, in all conversations together: as many as memory may hold."""

from __future__ import annotations

from collections import deque
from typing import Any

from echowire.core.packets.layers import Memory

MAX_WAITING = 256
"""Conversations with pieces at a time. Each may have 64 KiB, so 16 MiB in all; who leaves a thousand hellos unfinished
at once is flooding, and hellos are finished within a few packets."""


def keep_waiting(memory: Memory, pieces: dict[Any, Any]) -> None:
    """Note that `pieces` has something that waits; the oldest such is emptied where there are too many."""
    waiting = memory.of("waiting", deque[dict[Any, Any]])
    if not waiting or waiting[-1] is not pieces:
        waiting.append(pieces)
    if len(waiting) > MAX_WAITING:
        waiting.popleft().clear()
