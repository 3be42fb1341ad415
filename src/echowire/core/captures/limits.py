"""When a capture ends, when its file does, and what was counted by then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rotation:
    """When the next file begins, each None for never, and how many are kept (dumpcap's -b)."""

    file_bytes: int | None = None
    duration_s: float | None = None
    packets: int | None = None
    files: int | None = None
    """The oldest is removed when there would be more."""

    @property
    def is_asked(self) -> bool:
        """Whether files follow each other at all."""
        return self != Rotation()


@dataclass(frozen=True, slots=True)
class CaptureCounters:
    """What came of the packets, all interfaces together."""

    captured: int
    received: int
    """That passed the filter in the kernel."""
    dropped: int
    """Of these, for want of room in the ring."""
    interface_dropped: int
    """By the interfaces, before the filter."""


@dataclass(frozen=True, slots=True)
class CaptureLimits:
    """When a capture ends by itself; None is never."""

    packets: int | None = None
    duration_s: float | None = None
    file_bytes: int | None = None
    files: int | None = None
