"""Where packets come from and go to in the end, where a header on their way says so: a source route of IPv4 (RFC 791,
section 3.1) or IPv6 (RFC 8200, section 4.4; RFC 8754), a mobile node's home address (RFC 6275). Conversations are
between those, as in Wireshark.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.layers import Layer

SOURCE_ROUTE, MOBILE_ROUTE, SEGMENT_ROUTE = 0, 2, 4
"""Types of IPv6's routing header."""

PAD1, HOME_ADDRESS = 0x00, 0xC9
"""Options."""

MIN_BYTES = 8
"""Of the header of IPv6 that has them."""

MIN_WORDS = 5
"""Of IPv4's header, which has options only beyond it."""


def destinations(ip: Layer) -> NDArray[np.unsignedinteger]:
    """Where each packet of IPv4 is to go in the end."""
    header = ip.uint(16, 4)
    if not len(ip) or (ip.uint(0, 1) & 0xF).max() <= MIN_WORDS:
        return header
    found = header.copy()
    picked = ip.pick(ip.protocol.field("ip.dst"))
    found[picked.index] = picked.values
    return found


def reroute(around: Iterable[tuple[Layer, Rows]], entries: Rows, sides: NDArray[np.uint64]) -> None:
    """Put the end of IPv6's route, and a home address, into the place of the addresses that its header has.

    `around` are the layers that some entries lie in, as of `streams.outer_layers`. `sides` is source and
    destination of `entries`, each address two numbers, the more significant first: uint64[2, n, 2].
    """
    for outer, index in around:
        name = outer.protocol.name
        if name == "ipv6":
            return
        if name in ("ipv6.routing", "ipv6.dstopts", "ipv6.hopopts"):
            side, read = (1, _last_hop) if name == "ipv6.routing" else (0, _home)
            for place, entry in enumerate(index[entries].tolist()):
                header = outer.payload(entry)
                found = read(header) if len(header) >= MIN_BYTES else None
                if found is not None:
                    sides[side, place] = int.from_bytes(found[:8], "big"), int.from_bytes(found[8:], "big")


def _last_hop(header: bytes) -> bytes | None:
    """The address where a routing header leads in the end; None where that is the packet's destination by now."""
    size, kind, left = 8 + header[1] * 8, header[2], header[3]
    if kind == SEGMENT_ROUTE:
        at = 8  # its list is the way back (RFC 8754, section 2)
    elif kind in (SOURCE_ROUTE, MOBILE_ROUTE):
        at = size - 16
    else:
        return None
    return header[at : at + 16] if left and 8 <= at <= size - 16 and len(header) >= at + 16 else None


def _home(options: bytes) -> bytes | None:
    """The home address that options give (RFC 6275, section 6.3), in whatever header they are."""
    at = option_at(options, HOME_ADDRESS)
    return options[at + 2 : at + 18] if at is not None and at + 18 <= len(options) else None


def option_at(header: bytes, kind: int) -> int | None:
    """Where a header of options for every hop, or for the destination, has one of a kind (RFC 8200, section 4.2)."""
    at, end = 2, min(8 + header[1] * 8, len(header)) if len(header) > 1 else 0
    while at + 1 < end:
        if header[at] == kind:
            return at
        at += 1 if header[at] == PAD1 else 2 + header[at + 1]
    return None
