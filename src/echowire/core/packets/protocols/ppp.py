"""PPP (RFC 1661), bare, in HDLC-like framing (RFC 1662) and over Ethernet (RFC 2516), and Cisco's HDLC.

The address and control bytes may be left out, and the protocol's first byte where it is zero (RFC 1661, section 6.5).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.assigned import ETHERTYPES
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol
from echowire.core.packets.protocols.ethernet.protocol import type_column
from echowire.core.packets.walk import Walk

ALL_STATIONS = 0xFF
CISCO_ADDRESSES = (0x0F, 0x8F)
"""Unicast and multicast of Cisco HDLC, met where PPP is announced."""

PROTOCOL_NAMES = {
    0x0021: "Internet Protocol version 4",
    0x0023: "OSI Network Layer",
    0x0029: "Appletalk",
    0x002B: "Novell IPX",
    0x002D: "Van Jacobson Compressed TCP/IP",
    0x002F: "Van Jacobson Uncompressed TCP/IP",
    0x0031: "Bridging PDU",
    0x003D: "Multi-Link",
    0x0041: "Cisco Systems",
    0x0053: "Encryption",
    0x0057: "Internet Protocol version 6",
    0x0059: "PPP Muxing",
    0x00FB: "Single link compression in multilink",
    0x00FD: "Compressed datagram",
    0x0207: "Cisco Discovery Protocol",
    0x0281: "MPLS Unicast",
    0x0283: "MPLS Multicast",
    0x8021: "Internet Protocol Control Protocol",
    0x8023: "OSI Network Layer Control Protocol",
    0x8029: "AppleTalk Control Protocol",
    0x802B: "Novell IPX Control Protocol",
    0x8031: "Bridging NCP",
    0x8053: "Encryption Control Protocol",
    0x8057: "IPv6 Control Protocol",
    0x8059: "PPP Muxing Control Protocol",
    0x80FB: "Single link compression in multilink control",
    0x80FD: "Compression Control Protocol",
    0x8207: "Cisco Discovery Protocol Control Protocol",
    0x8281: "MPLS Control Protocol",
    0xC021: "Link Control Protocol",
    0xC023: "Password Authentication Protocol",
    0xC025: "Link Quality Report",
    0xC029: "Callback Control Protocol (CBCP)",
    0xC02B: "BACP Bandwidth Allocation Control Protocol",
    0xC02D: "BAP Bandwidth Allocation Protocol",
    0xC223: "Challenge Handshake Authentication Protocol",
    0xC227: "Extensible Authentication Protocol",
}
CODES = {
    0: "Vendor Specific",
    1: "Configuration Request",
    2: "Configuration Ack",
    3: "Configuration Nak",
    4: "Configuration Reject",
    5: "Termination Request",
    6: "Termination Ack",
    7: "Code Reject",
    8: "Protocol Reject",
    9: "Echo Request",
    10: "Echo Reply",
    11: "Discard Request",
    12: "Identification",
    13: "Time Remaining",
    14: "Reset Request",
    15: "Reset Ack",
}
PAP_CODES = {1: "Authenticate-Request", 2: "Authenticate-Ack", 3: "Authenticate-Nak"}
CHAP_CODES = {1: "Challenge", 2: "Response", 3: "Success", 4: "Failure"}
PPPOE_CODES = {
    0x00: "Session Data",
    0x07: "Active Discovery Offer (PADO)",
    0x09: "Active Discovery Initiation (PADI)",
    0x0A: "Session-Grant (PADG)",
    0x0B: "Session-Credit Response (PADC)",
    0x0C: "Quality (PADQ)",
    0x19: "Active Discovery Request (PADR)",
    0x65: "Active Discovery Session-confirmation (PADS)",
    0xA7: "Active Discovery Terminate (PADT)",
    0xD3: "Active Discovery Message (PADM)",
    0xD4: "Active Discovery Network (PADN)",
}
TAGS = {
    0x0000: "End-Of-List",
    0x0101: "Service-Name",
    0x0102: "AC-Name",
    0x0103: "Host-Uniq",
    0x0104: "AC-Cookie",
    0x0105: "Vendor-Specific",
    0x0110: "Relay-Session-Id",
    0x0120: "PPP-Max-Payload",
    0x0201: "Service-Name-Error",
    0x0202: "AC-System-Error",
    0x0203: "Generic-Error",
}


class _Header:
    """Where the protocol number stands, and how long it is."""

    def __init__(self, layer: Layer, framed: bool) -> None:
        has_address = (layer.uint(0, 1) == ALL_STATIONS) & framed
        self.at = np.where(has_address, 2, 0)
        first = layer.uint(self.at, 1)
        self.is_short = (first & 1) == 1
        self.size = np.where(self.is_short, 1, 2)
        self.number = np.where(self.is_short, first, layer.uint(self.at, 2)).astype(np.uint16)
        self.end = self.at + self.size
        self.has_address = has_address


def _header(layer: Layer) -> _Header:
    """Where PPP follows something that has no HDLC-like framing, no address is looked for."""
    framed = layer.parent is None or layer.parent.protocol.name != "pppoes"
    return layer.once("header", lambda: _Header(layer, framed))


def _is_cisco(layer: Layer) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = layer.has(4) & np.isin(layer.uint(0, 1), CISCO_ADDRESSES) & (layer.uint(1, 1) == 0)
    return found


def _is_ppp(layer: Layer) -> NDArray[np.bool_]:
    if layer.depth > 1:
        return layer.has(1)
    return layer.has(1) & ~_is_cisco(layer)


def _next(layer: Layer) -> Iterator[Next]:
    header, ppp = _header(layer), _is_ppp(layer)
    index = np.flatnonzero(ppp & layer.has(header.end))
    yield Next("ppp.protocol", (header.number[index],), index, (layer.start + header.end)[index], layer.wire_end[index])
    cisco = np.flatnonzero(layer.has(1) & ~ppp)
    yield Next("ppp.framing", (0,), cisco, layer.start[cisco], layer.wire_end[cisco])


def _number(layer: Layer) -> Picked:
    header = _header(layer)
    index = np.flatnonzero(_is_ppp(layer) & layer.has(header.end))
    return Picked(index, header.number[index])


def _ppp_info(layer: Layer) -> list[str | None]:
    return [
        PROTOCOL_NAMES.get(number, f"PPP Unknown (0x{number:04x})") if has else None
        for number, has in zip(_header(layer).number.tolist(), _is_ppp(layer).tolist(), strict=True)
    ]


def _has_address(layer: Layer) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = _is_ppp(layer) & _header(layer).has_address
    return found


def _pppoe_ends(layer: Layer) -> Rows:
    return np.minimum(layer.start + 6 + layer.uint(4, 2), layer.wire_end)


def _pppoe_next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(layer.has(6))
    yield Next("pppoes", (0,), index, layer.start[index] + 6, _pppoe_ends(layer)[index])


def _chdlc_next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(layer.has(4))
    protocol = layer.uint(2, 2)[index]
    # OSI packets are padded with a byte to an even beginning.
    start = layer.start[index] + 4 + (protocol == 0xFEFE)
    yield Next("chdlc.protocol", (protocol,), index, start, layer.wire_end[index])


PPPOE_FIELDS = (
    Field("pppoe.version", "Version", Type.UINT8, 0, mask=0xF0),
    Field("pppoe.type", "Type", Type.UINT8, 0, mask=0x0F),
    Field("pppoe.code", "Code", Type.UINT8, 1, base="hex", names=PPPOE_CODES),
    Field("pppoe.session_id", "Session ID", Type.UINT16, 2, base="hex"),
    Field("pppoe.payload_length", "Payload Length", Type.UINT16, 4),
)
TAG = Field("pppoed.tag", "Tag", Type.UINT16, base="hex", names=TAGS)
SERVICE_NAME = Field("pppoed.tags.service_name", "Service-Name", Type.STRING)
CONCENTRATOR = Field("pppoed.tags.ac_name", "AC-Name", Type.STRING)
HOST = Field("pppoed.tags.host_uniq", "Host-Uniq", Type.BYTES)
COOKIE = Field("pppoed.tags.ac_cookie", "AC-Cookie", Type.BYTES)
RELAY = Field("pppoed.tags.relay_session_id", "Relay-Session-Id", Type.BYTES)
TAG_FIELDS = {0x0101: SERVICE_NAME, 0x0102: CONCENTRATOR, 0x0103: HOST, 0x0104: COOKIE, 0x0110: RELAY}


def _walk_discovery(walk: Walk) -> None:
    """Tags: a number, a length, a value (RFC 2516, appendix A)."""
    end = min(6 + walk.u16(4), walk.wire_size)
    at = 6
    while at + 4 <= end:
        tag, size = walk.u16(at), walk.u16(at + 2)
        if tag == 0:
            return
        value = walk.take(at + 4, size)
        field = TAG_FIELDS.get(tag)
        if field is None:
            walk.add(TAG, tag, at, 2)
        elif size:
            walk.add(field, value.decode("utf-8", "replace") if field.type is Type.STRING else value, at + 4, size)
        at += 4 + size


def _discovery_info(layer: Layer) -> list[str | None]:
    found: list[str | None] = []
    items = layer.walked.items if layer.walked else [[] for _ in range(len(layer))]
    for code, has, some in zip(layer.uint(1, 1).tolist(), layer.has(2).tolist(), items, strict=True):
        said = "".join(f" AC-Name='{one.value}'" for one in some if one.field is CONCENTRATOR)
        found.append(f"{PPPOE_CODES.get(code, 'Unknown')}{said}" if has else None)
    return found


def _slarp_sentence(kind: int, first: int, second: int) -> str | None:
    if kind > 1:
        return f"Line keepalive, outgoing sequence {first}, returned sequence {second}" if kind == 2 else None
    address, mask = (".".join(map(str, word.to_bytes(4, "big"))) for word in (first, second))
    return f"{'Reply' if kind else 'Request'}, from {address}, mask {mask}"


def _control(name: str, title: str, column: str, key: int, codes: dict[int, str]) -> Protocol:
    """A protocol that manages the link: code, identifier, length (RFC 1661, section 5)."""

    def info(layer: Layer) -> list[str | None]:
        return [codes.get(code, "Unknown") for code in layer.uint(0, 1).tolist()]

    return Protocol(
        name,
        title,
        column,
        fields=(
            Field("ppp.code", "Code", Type.UINT8, 0, names=codes),
            Field("ppp.identifier", "Identifier", Type.UINT8, 1, base="dec_hex"),
            Field("ppp.length", "Length", Type.UINT16, 2),
        ),
        keys=(("ppp.protocol", key),),
        info=info,
    )


PROTOCOLS = (
    Protocol(
        "ppp",
        "Point-to-Point Protocol",
        lambda layer: type_column(_header(layer).number, "PPP"),
        fields=(
            Field("ppp.address", "Address", Type.UINT8, 0, base="hex", when=_has_address),
            Field("ppp.control", "Control", Type.UINT8, 1, base="hex", when=_has_address),
            Field("ppp.protocol", "Protocol", Type.UINT16, base="hex", names=PROTOCOL_NAMES, make=_number),
        ),
        keys=(
            ("link_type", 9),
            ("link_type", 50),
            ("link_type", 166),
            ("raw", 1),
            ("pppoes", 0),
            ("gre.proto", 0x880B),
        ),
        follow=_next,
        tables=("ppp.protocol", "ppp.framing"),
        size=lambda layer: _header(layer).end,
        info=_ppp_info,
    ),
    Protocol(
        "chdlc",
        "Cisco HDLC",
        "CHDLC",
        fields=(
            Field("chdlc.address", "Address", Type.UINT8, 0, base="hex", names={0x0F: "Unicast", 0x8F: "Multicast"}),
            Field("chdlc.control", "Control", Type.UINT8, 1, base="hex"),
            Field("chdlc.protocol", "Protocol", Type.UINT16, 2, base="hex", names=ETHERTYPES),
        ),
        keys=(("link_type", 104), ("ppp.framing", 0)),
        follow=_chdlc_next,
        tables=("chdlc.protocol",),
        size=4,
        least=4,
    ),
    Protocol(
        "slarp",
        "Cisco SLARP",
        "SLARP",
        fields=(
            Field("slarp.ptype", "Packet type", Type.UINT32, 0, names={0: "Request", 1: "Reply", 2: "Line keepalive"}),
            Field("slarp.address", "Address", Type.IPV4, 4, when=lambda layer: layer.uint(0, 4) < 2),
            Field("slarp.netmask", "Netmask", Type.IPV4, 8, when=lambda layer: layer.uint(0, 4) < 2),
            Field(
                "slarp.mysequence",
                "Outgoing sequence number",
                Type.UINT32,
                4,
                when=lambda layer: layer.uint(0, 4) == 2,
            ),
            Field(
                "slarp.yoursequence",
                "Returned sequence number",
                Type.UINT32,
                8,
                when=lambda layer: layer.uint(0, 4) == 2,
            ),
        ),
        keys=(("chdlc.protocol", 0x8035),),
        info=lambda layer: [
            _slarp_sentence(*row) for row in zip(*(layer.uint(at, 4).tolist() for at in (0, 4, 8)), strict=True)
        ],
        least=4,
    ),
    Protocol(
        "pppoes",
        "PPP-over-Ethernet Session",
        "PPPoES",
        fields=PPPOE_FIELDS,
        keys=(("ethertype", 0x8864), ("link_type", 51)),
        follow=_pppoe_next,
        tables=("pppoes",),
        size=6,
        least=6,
    ),
    Protocol(
        "pppoed",
        "PPP-over-Ethernet Discovery",
        "PPPoED",
        fields=(*PPPOE_FIELDS, TAG, SERVICE_NAME, CONCENTRATOR, HOST, COOKIE, RELAY),
        keys=(("ethertype", 0x8863),),
        walk=_walk_discovery,
        info=_discovery_info,
        least=6,
    ),
    _control("lcp", "PPP Link Control Protocol", "PPP LCP", 0xC021, CODES),
    _control("ipcp", "PPP IP Control Protocol", "PPP IPCP", 0x8021, CODES),
    _control("ipv6cp", "PPP IPv6 Control Protocol", "PPP IPV6CP", 0x8057, CODES),
    _control("ccp", "PPP Compression Control Protocol", "PPP CCP", 0x80FD, CODES),
    _control("pap", "PPP Password Authentication Protocol", "PPP PAP", 0xC023, PAP_CODES),
    _control("chap", "PPP Challenge Handshake Authentication Protocol", "PPP CHAP", 0xC223, CHAP_CODES),
)
