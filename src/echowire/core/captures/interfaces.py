"""An interface on which packets can be captured, as one chooses it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """One interface, as one chooses it."""

    name: str
    state: str
    """`up`, `down`, `unknown` (of those that cannot tell, such as lo) and the others of RFC 2863."""
    is_up: bool
    is_loopback: bool
    addresses: tuple[str, ...]
    """With their prefix lengths."""
    bits_per_s: int | None
    """As the driver says; None where it does not."""
    mac: str
