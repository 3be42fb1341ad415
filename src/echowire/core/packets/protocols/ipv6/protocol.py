"""IPv6 (RFC 8200). Its extension headers are protocols of their own, in `extensions.py`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.assigned import IP_PROTOCOLS
from echowire.core.packets.cells import ipv6_text
from echowire.core.packets.columns import Type, gather_bytes
from echowire.core.packets.layers import Field, Layer, Next, Protocol
from echowire.core.packets.protocols.ipv4.protocol import DSCP, ECN
from echowire.core.packets.routes import option_at

HEADER_BYTES = 40
VERSION = 6
HOP_BY_HOP, NO_NEXT = 0, 59
JUMBO = 0xC2
"""An option of the header for every hop."""

KEYS = (
    ("ethertype", 0x86DD),
    ("ip.proto", 41),
    ("link_type", 229),
    ("raw", 6),
    ("null.family", 24),
    ("null.family", 28),
    ("null.family", 30),
    ("ppp.protocol", 0x0057),
    ("chdlc.protocol", 0x86DD),
    ("gre.proto", 0x86DD),
    ("mpls.nibble", 6),
    ("quoted", 6),
    ("fr.nlpid", 0x8E),
)


def is_sound(layer: Layer) -> NDArray[np.bool_]:
    """Those whose version is 6."""
    return layer.once("sound", lambda: (layer.uint(0, 1) >> 4 == 6) & layer.has(1))


def _ends(layer: Layer) -> Rows:
    """Offset behind each packet. A payload length of 0 is a jumbogram's if its options say so (RFC 2675)."""
    payload = layer.uint(4, 2).astype(np.int64)
    ends: Rows = np.minimum(layer.start + HEADER_BYTES + payload, layer.wire_end)
    for entry in np.flatnonzero((payload == 0) & (layer.uint(6, 1) == HOP_BY_HOP)).tolist():
        if option_at(layer.payload(entry)[HEADER_BYTES:], JUMBO) is not None:
            ends[entry] = layer.wire_end[entry]
    return ends


def _next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(is_sound(layer) & layer.has(HEADER_BYTES))
    end = _ends(layer)[index]
    yield Next("ip.proto", (layer.uint(6, 1)[index],), index, layer.start[index] + HEADER_BYTES, end)


def _label(layer: Layer) -> list[str]:
    addresses = gather_bytes(layer.data, layer.start + 8, 32)
    return [f", Src: {ipv6_text(one[:16].tobytes())}, Dst: {ipv6_text(one[16:].tobytes())}" for one in addresses]


def _info(layer: Layer) -> list[str | None]:
    sizes = (layer.wire_end - layer.start).tolist()
    columns = (sizes, layer.uint(0, 1), layer.uint(6, 1), layer.has(HEADER_BYTES))
    rows = zip(*(column if isinstance(column, list) else column.tolist() for column in columns), strict=True)
    return [_what(*row) for row in rows]


def _what(size: int, first: int, kind: int, has: bool) -> str | None:
    if size < HEADER_BYTES:
        return f"Invalid IPv6 header ({size} bytes, need exactly {HEADER_BYTES})"
    if first >> 4 != VERSION:
        return f"Bogus IPv6 version ({first >> 4}, must be {VERSION})"
    if not has:
        return None
    if kind == NO_NEXT:
        return "IPv6 no next header"
    return f"Unknown IP Protocol: {IP_PROTOCOLS.get(kind, 'Unknown')} ({kind})"


PROTOCOLS = (
    Protocol(
        "ipv6",
        "Internet Protocol Version 6",
        "IPv6",
        fields=(
            Field("ipv6.version", "Version", Type.UINT8, 0, mask=0xF0),
            Field("ip.version", "Version", Type.UINT8, 0, mask=0xF0, hidden=True),
            Field("ipv6.tclass", "Traffic Class", Type.UINT32, 0, mask=0x0FF00000, base="hex", when=is_sound),
            Field(
                "ipv6.tclass.dscp",
                "Differentiated Services Codepoint",
                Type.UINT32,
                0,
                mask=0x0FC00000,
                names=DSCP,
                under="ipv6.tclass",
                when=is_sound,
            ),
            Field(
                "ipv6.tclass.ecn",
                "Explicit Congestion Notification",
                Type.UINT32,
                0,
                mask=0x00300000,
                names=ECN,
                under="ipv6.tclass",
                when=is_sound,
            ),
            Field("ipv6.flow", "Flow Label", Type.UINT24, 1, mask=0x0FFFFF, base="hex", when=is_sound),
            Field("ipv6.plen", "Payload Length", Type.UINT16, 4, when=is_sound),
            Field("ipv6.nxt", "Next Header", Type.UINT8, 6, names=IP_PROTOCOLS, when=is_sound),
            Field("ipv6.hlim", "Hop Limit", Type.UINT8, 7, when=is_sound),
            Field("ipv6.src", "Source Address", Type.IPV6, 8, when=is_sound),
            Field("ipv6.dst", "Destination Address", Type.IPV6, 24, when=is_sound),
            Field("ipv6.addr", "Source or Destination Address", Type.IPV6, either=("ipv6.src", "ipv6.dst")),
        ),
        keys=KEYS,
        follow=_next,
        addresses=("ipv6.src", "ipv6.dst"),
        tables=("ip.proto",),
        size=HEADER_BYTES,
        label=_label,
        info=_info,
    ),
)
