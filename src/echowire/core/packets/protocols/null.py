"""BSD loopback (link types NULL and LOOP), and raw IP: packets with four bytes of header, or none.

NULL's header is the address family as the capturing host has it in memory, so its byte order is that host's; LOOP's is
in network order. An IP packet begins with its version, and nothing more is needed to know it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.assigned import ETHERTYPES
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol

HEADER_BYTES = 4
PPP_HEADER = 0xFF03
"""Address and control of PPP in HDLC-like framing (RFC 1662, section 3.1), met under these link types too."""

MAX_FAMILY = 1500
"""A number above this is an Ethernet type, in its low half."""

IP, IPV6, PPP = 4, 6, 1
"""Keys of table "raw": IP versions, and what else is met."""

FAMILIES = {2: "IP", 7: "OSI", 16: "Appletalk", 23: "Netware IPX/SPX", 24: "IPv6", 28: "IPv6", 30: "IPv6"}
"""Those of the BSDs and macOS, which agree on IPv4 alone."""


def _family(layer: Layer) -> NDArray[np.int64]:
    """The family, or Ethernet type, in whichever byte order it is."""

    def made() -> NDArray[np.int64]:
        # Families are small: where a number has high bits it is of the other byte order, or is only two bytes wide.
        word = layer.uint(0, 4, little=True).astype(np.int64)
        high = (word & 0xFF000000 == 0) & (word & 0x00FF0000 < 0x00060000)
        low = (word & 0x000000FF == 0) & (word & 0x0000FF00 < 0x00000600) & (word & 0x0000FF00 != 0)
        other = np.where(low, layer.uint(0, 2), layer.uint(0, 4)).astype(np.int64)
        return np.where(word & 0xFFFF0000 == 0, word, np.where(high, word >> 16, other))

    return layer.once("family", made)


def _is_ppp(layer: Layer) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = layer.has(2) & (layer.uint(0, 2) == PPP_HEADER)
    return found


def _whole(layer: Layer) -> NDArray[np.bool_]:
    return layer.has(HEADER_BYTES) & ~_is_ppp(layer)


def _null_next(layer: Layer) -> Iterator[Next]:
    ppp = np.flatnonzero(_is_ppp(layer))
    yield Next("raw", (PPP,), ppp, layer.start[ppp], layer.wire_end[ppp])
    family, whole = _family(layer), _whole(layer)
    for table, which in (("null.family", family <= MAX_FAMILY), ("ethertype", family > MAX_FAMILY)):
        index = np.flatnonzero(whole & which)
        key = (family[index] & 0xFFFF).astype(np.uint16)
        yield Next(table, (key,), index, layer.start[index] + HEADER_BYTES, layer.wire_end[index])


def _loop_next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(layer.has(HEADER_BYTES))
    key = np.minimum(layer.uint(0, 4)[index], 0xFFFF)
    yield Next("null.family", (key,), index, layer.start[index] + HEADER_BYTES, layer.wire_end[index])


def _raw_next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(layer.has(1))
    nibble = (layer.uint(0, 1) >> 4)[index]
    kind = np.where(_is_ppp(layer)[index], PPP, np.where(nibble == IPV6, IPV6, IP)).astype(np.uint8)
    yield Next("raw", (kind,), index, layer.start[index], layer.wire_end[index])


def _small(layer: Layer) -> Picked:
    index = np.flatnonzero(_whole(layer) & (_family(layer) <= MAX_FAMILY))
    return Picked(index, _family(layer)[index].astype(np.uint32))


def _type(layer: Layer) -> Picked:
    index = np.flatnonzero(_whole(layer) & (_family(layer) > MAX_FAMILY))
    return Picked(index, (_family(layer)[index] & 0xFFFF).astype(np.uint16))


PROTOCOLS = (
    Protocol(
        "null",
        "Null/Loopback",
        "NULL",
        fields=(
            Field("null.family", "Family", Type.UINT32, names=FAMILIES, make=_small),
            Field("null.type", "Type", Type.UINT16, base="hex", names=ETHERTYPES, make=_type),
        ),
        keys=(("link_type", 0),),
        follow=_null_next,
        tables=("null.family", "ethertype", "raw"),
        size=HEADER_BYTES,
        least=4,
    ),
    Protocol(
        "loop",
        "OpenBSD loopback",
        "LOOP",
        fields=(Field("null.family", "Family", Type.UINT32, 0, names=FAMILIES),),
        keys=(("link_type", 108),),
        follow=_loop_next,
        tables=("null.family",),
        size=HEADER_BYTES,
    ),
    Protocol(
        "raw",
        "Raw packet data",
        "Raw",
        keys=(("link_type", 101), ("link_type", 12), ("link_type", 14)),
        follow=_raw_next,
        tables=("raw",),
        size=0,
        info=lambda layer: ["Raw packet data"] * len(layer),
    ),
)
