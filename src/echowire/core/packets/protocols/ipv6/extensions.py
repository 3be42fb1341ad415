"""IPv6's extension headers (RFC 8200, section 4): options, routing, fragments. Each says which header follows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.assigned import IP_PROTOCOLS
from echowire.core.packets.columns import Type, gather_bytes
from echowire.core.packets.fragments import Fragments, Joined, join, joined_fields
from echowire.core.packets.layers import Field, Layer, Next, Protocol
from echowire.core.packets.routes import HOME_ADDRESS, MOBILE_ROUTE, PAD1, SEGMENT_ROUTE, SOURCE_ROUTE
from echowire.core.packets.walk import MalformedError, Walk

UNIT_BYTES = 8
"""Extension headers are multiples of this."""

FRAGMENT_BYTES = 8
PADN, TUNNEL_LIMIT, ROUTER_ALERT, JUMBO = 0x01, 0x04, 0x05, 0xC2

OPTIONS = {
    0x00: "Pad1",
    0x01: "PadN",
    0x04: "Tunnel Encapsulation Limit",
    0x05: "Router Alert",
    0x07: "CALIPSO",
    0x08: "SMF_DPD",
    0x0F: "Performance and Diagnostic Metrics",
    0x1E: "Experimental",
    0x23: "RPL Option",
    0x26: "Quick-Start",
    0x30: "Path MTU Record",
    0x63: "RPL Option (Deprecated)",
    0x6D: "MPL Option",
    0x8A: "Endpoint Identification",
    0x8B: "ILNP Nonce",
    0x8C: "Line-Identification Option",
    0xC2: "Jumbo Payload",
    0xC9: "Home Address",
    0xEE: "IP_DFF",
}
ALERTS = {0: "MLD", 1: "RSVP", 2: "Active Networks"}
ROUTING_TYPES = {
    0: "Source Route",
    1: "Nimrod",
    2: "Type 2 Routing",
    3: "RPL Source Route",
    4: "Segment Routing",
    5: "CRH-16",
    6: "CRH-32",
    253: "RFC3692-style Experiment 1",
    254: "RFC3692-style Experiment 2",
}


def _bytes(layer: Layer) -> Rows:
    return (layer.uint(1, 1).astype(np.int64) + 1) * UNIT_BYTES


def _is_sound(layer: Layer) -> NDArray[np.bool_]:
    """Which have nothing in them that runs past their end: what follows the others is anything."""
    found = layer.has(2) & (layer.start + _bytes(layer) <= layer.wire_end)
    if layer.walked and layer.walked.malformed:
        found[layer.walked.malformed] = False
    return found


def _next(layer: Layer) -> Iterator[Next]:
    size = _bytes(layer)
    index = np.flatnonzero(_is_sound(layer))
    yield Next("ip.proto", (layer.uint(0, 1)[index],), index, (layer.start + size)[index], layer.wire_end[index])


def _fragment_next(layer: Layer) -> Iterator[Next]:
    whole = layer.has(FRAGMENT_BYTES)
    first = (layer.uint(2, 2) & (0xFFF9 if layer.memory.defragment else 0xFFF8)) == 0
    start = layer.start + FRAGMENT_BYTES
    index = np.flatnonzero(whole & first)
    yield Next("ip.proto", (layer.uint(0, 1)[index],), index, start[index], layer.wire_end[index])
    later = np.flatnonzero(whole & ~first & (start < layer.wire_end))
    if len(later) and layer.memory.defragment:
        joined = _joined(layer, later)
        # The first fragment says what the datagram is, and all fragments of one do (RFC 8200, section 4.5).
        kind = layer.uint(0, 1)[joined.index]
        yield Next("ip.proto", (kind,), joined.index, joined.start, joined.end, data=joined.data)
        later = np.setdiff1d(later, joined.index)
    yield Next("", (), later, start[later], layer.wire_end[later])


def leads_on(layer: Layer) -> NDArray[np.bool_]:
    """Which extension headers are whole, and have the next header behind them: of fragments, those that complete a
    datagram."""
    if layer.protocol.name != "ipv6.fraghdr":
        return _is_sound(layer) & layer.has(_bytes(layer))
    found = layer.has(FRAGMENT_BYTES) & (layer.start + FRAGMENT_BYTES >= layer.wire_end)  # a fragment of nothing
    for one in _fragment_next(layer):
        if one.table:
            found[one.index] = True
    return found


def _joined(layer: Layer, index: Rows) -> Joined:
    """The datagrams that the fragments at `index` complete. They are told apart by addresses and number."""

    def made() -> Joined:
        around = layer.outer("ipv6")
        addresses = (
            [b""] * len(index)
            if around is None
            else [one.tobytes() for one in gather_bytes(around[0].data, around[0].start[around[1][index]] + 8, 32)]
        )
        idents = layer.uint(4, 4)[index].tolist()
        keys = [pair + ident.to_bytes(4, "big") for pair, ident in zip(addresses, idents, strict=True)]
        at = layer.uint(2, 2)[index].astype(np.int64)
        start = layer.start[index] + FRAGMENT_BYTES
        return join(layer, Fragments(index, keys, at & 0xFFF8, at & 1, start, layer.wire_end[index]))

    return layer.once("joined", made)


def _fragment_info(layer: Layer) -> list[str | None]:
    """A whole datagram in one fragment says nothing of it."""
    columns = (layer.uint(0, 1), layer.uint(2, 2), layer.uint(4, 4), layer.has(FRAGMENT_BYTES))
    return [
        f"IPv6 fragment (off={at & 0xFFF8} more={'y' if at & 1 else 'n'} ident=0x{ident:08x} nxt={kind})"
        if whole and at & 0xFFF9
        else None
        for kind, at, ident, whole in zip(*(column.tolist() for column in columns), strict=True)
    ]


OPTION = Field("ipv6.opt.type", "Type", Type.UINT8, base="hex", names=OPTIONS)
OPTION_LENGTH = Field("ipv6.opt.length", "Length", Type.UINT8)
PADDING = Field("ipv6.opt.padn", "PadN", Type.BYTES)
ALERT = Field("ipv6.opt.router_alert", "Router Alert", Type.UINT16, names=ALERTS)
TUNNEL = Field("ipv6.opt.tel", "Tunnel Encapsulation Limit", Type.UINT8)
JUMBOGRAM = Field("ipv6.opt.jumbo", "Payload Length", Type.UINT32)
HOME = Field("ipv6.opt.mipv6.home_address", "MIPv6 Home Address", Type.IPV6)
UNKNOWN = Field("ipv6.opt.unknown", "Unknown Option Payload", Type.BYTES)
OPTION_FIELDS = (OPTION, OPTION_LENGTH, PADDING, ALERT, TUNNEL, JUMBOGRAM, HOME, UNKNOWN)
VALUES = {ROUTER_ALERT: ALERT, TUNNEL_LIMIT: TUNNEL, JUMBO: JUMBOGRAM}


def _walk_options(walk: Walk) -> None:
    """Type, length, value, one after another (RFC 8200, section 4.2)."""
    end = min((walk.u8(1) + 1) * UNIT_BYTES, walk.wire_size)
    at = 2
    while at < end:
        kind = walk.u8(at)
        size = 0 if kind == PAD1 else walk.u8(at + 1)
        whole = 1 if kind == PAD1 else 2 + size
        with walk.subtree(OPTIONS.get(kind, f"Unknown IPv6 Option ({kind})"), at, min(whole, end - at)):
            walk.add(OPTION, kind, at, 1)
            if kind != PAD1:
                walk.add(OPTION_LENGTH, size, at + 1, 1)
                if at + whole > walk.wire_size:
                    raise MalformedError("an option runs past its packet")
                _add_option(walk, kind, at + 2, size)
        at += whole


def _add_option(walk: Walk, kind: int, at: int, size: int) -> None:
    field = VALUES.get(kind)
    if field is not None and size == field.width:
        walk.add_uint(field, at)
    elif kind == HOME_ADDRESS and size == HOME.width:
        walk.add(HOME, walk.take(at, size), at, size)
    elif size:
        walk.add(PADDING if kind == PADN else UNKNOWN, walk.take(at, size), at, size)


SOURCE_ADDRESS = Field("ipv6.routing.src.addr", "Address", Type.IPV6)
MOBILE_ADDRESS = Field("ipv6.routing.mipv6.home_address", "Home Address", Type.IPV6)
SEGMENT = Field("ipv6.routing.srh.addr", "Address", Type.IPV6)
ROUTES = {SOURCE_ROUTE: SOURCE_ADDRESS, MOBILE_ROUTE: MOBILE_ADDRESS, SEGMENT_ROUTE: SEGMENT}


def _walk_routing(walk: Walk) -> None:
    """The addresses to go by (RFC 2460, section 4.4; RFC 6275, section 6.4; RFC 8754, section 2)."""
    size, kind = (walk.u8(1) + 1) * UNIT_BYTES, walk.u8(2)
    field = ROUTES.get(kind)
    if field is None:
        return
    count = walk.u8(4) + 1 if kind == SEGMENT_ROUTE else (size - UNIT_BYTES) // 16
    for at in range(UNIT_BYTES, UNIT_BYTES + 16 * count, 16):
        if at + 16 > size:
            raise MalformedError("an address runs past its header")
        walk.add(field, walk.take(at, 16), at, 16)


def _common(name: str) -> tuple[Field, ...]:
    """What options and routing headers begin with."""
    return (
        Field(f"{name}.nxt", "Next Header", Type.UINT8, 0, names=IP_PROTOCOLS),
        Field(f"{name}.len", "Length", Type.UINT8, 1),
        Field(
            f"{name}.len_oct",
            "Length",
            Type.UINT16,
            make=lambda layer: _bytes(layer).astype(np.uint16),
            when=lambda layer: layer.has(2),
            generated=True,
        ),
    )


def _options(name: str, title: str, key: int, info: str) -> Protocol:
    return Protocol(
        name,
        title,
        "IPv6",
        fields=(*_common(name), *OPTION_FIELDS),
        keys=(("ip.proto", key),),
        follow=_next,
        walk=_walk_options,
        tables=("ip.proto",),
        size=_bytes,
        info=lambda layer: [info] * len(layer),
    )


PROTOCOLS = (
    _options("ipv6.hopopts", "IPv6 Hop-by-Hop Option", 0, "IPv6 hop-by-hop options"),
    _options("ipv6.dstopts", "Destination Options for IPv6", 60, "IPv6 destination options"),
    Protocol(
        "ipv6.routing",
        "Routing Header for IPv6",
        "IPv6",
        fields=(
            *_common("ipv6.routing"),
            Field("ipv6.routing.type", "Type", Type.UINT8, 2, names=ROUTING_TYPES),
            Field("ipv6.routing.segleft", "Segments Left", Type.UINT8, 3),
            Field(
                "ipv6.routing.srh.last_entry",
                "Last Entry",
                Type.UINT8,
                4,
                when=lambda layer: layer.uint(2, 1) == SEGMENT_ROUTE,
            ),
            SOURCE_ADDRESS,
            MOBILE_ADDRESS,
            SEGMENT,
        ),
        keys=(("ip.proto", 43),),
        follow=_next,
        walk=_walk_routing,
        tables=("ip.proto",),
        size=_bytes,
        info=lambda layer: ["IPv6 routing"] * len(layer),
    ),
    Protocol(
        "ipv6.fraghdr",
        "Fragment Header for IPv6",
        "IPv6",
        fields=(
            Field("ipv6.fraghdr.nxt", "Next header", Type.UINT8, 0, names=IP_PROTOCOLS),
            Field("ipv6.fraghdr.reserved_octet", "Reserved octet", Type.UINT8, 1, base="hex"),
            Field(
                "ipv6.fraghdr.offset",
                "Offset",
                Type.UINT16,
                2,
                mask=0xFFF8,
                show=lambda layer: [f"{at >> 3} ({at & 0xFFF8} bytes)" for at in layer.uint(2, 2).tolist()],
            ),
            Field("ipv6.fraghdr.reserved_bits", "Reserved bits", Type.UINT16, 2, mask=0x0006),
            Field("ipv6.fraghdr.more", "More Fragments", Type.BOOLEAN, 2, 2, mask=0x0001),
            Field("ipv6.fraghdr.ident", "Identification", Type.UINT32, 4, base="hex"),
            *joined_fields("ipv6", "IPv6"),
        ),
        keys=(("ip.proto", 44),),
        follow=_fragment_next,
        tables=("ip.proto",),
        size=FRAGMENT_BYTES,
        info=_fragment_info,
    ),
)
