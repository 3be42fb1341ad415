"""MPLS label stacks (RFC 3032). Each label is a layer; what follows the last is told by its first half byte."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Next, Protocol

LABEL_BYTES = 4

RESERVED = {
    0: "IPv4 Explicit-Null",
    1: "Router Alert",
    2: "IPv6 Explicit-Null",
    3: "Implicit-Null",
    7: "Entropy Label Indicator (ELI)",
    13: "Generic Associated Channel Label (GAL)",
    14: "OAM Alert",
}


def _next(layer: Layer) -> Iterator[Next]:
    whole = layer.has(LABEL_BYTES)
    start, bottom = layer.start + LABEL_BYTES, (layer.uint(0, 4) & 0x100) != 0
    more = np.flatnonzero(whole & ~bottom)
    yield Next("mpls.label", (0,), more, start[more], layer.wire_end[more])
    last = np.flatnonzero(whole & bottom & (layer.wire_end > start))
    # Nothing says what is inside: an IP header begins with its version, a pseudowire's control word with 0 or 1.
    yield Next("mpls.nibble", (layer.uint(LABEL_BYTES, 1)[last] >> 4,), last, start[last], layer.wire_end[last])


def _label(layer: Layer) -> list[str]:
    return [
        f", Label: {word >> 12}{f' ({RESERVED[word >> 12]})' if word >> 12 in RESERVED else ''}, "
        f"Exp: {word >> 9 & 7}, S: {word >> 8 & 1}, TTL: {word & 0xFF}"
        for word in layer.uint(0, 4).tolist()
    ]


PROTOCOLS = (
    Protocol(
        "mpls",
        "MultiProtocol Label Switching Header",
        "MPLS",
        fields=(
            Field("mpls.label", "MPLS Label", Type.UINT32, 0, mask=0xFFFFF000, base="dec_hex"),
            Field("mpls.exp", "MPLS Experimental Bits", Type.UINT32, 0, mask=0x00000E00),
            Field("mpls.bottom", "MPLS Bottom Of Label Stack", Type.UINT32, 0, mask=0x00000100),
            Field("mpls.ttl", "MPLS TTL", Type.UINT32, 0, mask=0x000000FF),
        ),
        keys=(
            ("ethertype", 0x8847),
            ("ethertype", 0x8848),
            ("ppp.protocol", 0x0281),
            ("ppp.protocol", 0x0283),
            ("ip.proto", 137),
            ("udp.port", 6635),
            ("chdlc.protocol", 0x8847),
            ("mpls.label", 0),
        ),
        follow=_next,
        tables=("mpls.label", "mpls.nibble"),
        size=LABEL_BYTES,
        label=_label,
        info=lambda layer: ["MPLS Label Switched Packet"] * len(layer),
        least=4,
    ),
)
