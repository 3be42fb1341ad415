"""ICMPv6 (RFC 4443), with the packet that an error quotes; neighbour discovery (RFC 4861) and multicast listener
discovery (RFC 2710, RFC 3810)."""

from __future__ import annotations

from collections.abc import Iterator

from echowire.core.packets.cells import ipv6_text, text_of
from echowire.core.packets.columns import Type
from echowire.core.packets.echo_pairs import pair_fields, pairs
from echowire.core.packets.icmp_messages import HEADER_BYTES, named_codes, what_follows
from echowire.core.packets.layers import Field, Item, Layer, Next, Protocol, begins_with
from echowire.core.packets.walk import MalformedError, Walk

ERRORS = (1, 2, 3, 4)
TOO_BIG, PARAMETER, ECHO, ECHO_REPLY = 2, 4, 128, 129
QUERY, REPORT, DONE, REPORT_2 = 130, 131, 132, 143
ROUTER_ASKS, ROUTER, NEIGHBOR_ASKS, NEIGHBOR, REDIRECT = 133, 134, 135, 136, 137
OPTIONS_AT = {ROUTER_ASKS: 8, ROUTER: 16, NEIGHBOR_ASKS: 24, NEIGHBOR: 24, REDIRECT: 40}
"""Where the options of neighbour discovery's messages begin."""

QUERY_2_BYTES = 28
"""A listener query of this size or more is of version 2."""

TYPES = {
    1: "Destination Unreachable",
    TOO_BIG: "Packet Too Big",
    3: "Time Exceeded",
    PARAMETER: "Parameter Problem",
    100: "Private experimentation",
    101: "Private experimentation",
    127: "Reserved for expansion of ICMPv6 error messages",
    ECHO: "Echo (ping) request",
    ECHO_REPLY: "Echo (ping) reply",
    QUERY: "Multicast Listener Query",
    REPORT: "Multicast Listener Report",
    DONE: "Multicast Listener Done",
    ROUTER_ASKS: "Router Solicitation",
    ROUTER: "Router Advertisement",
    NEIGHBOR_ASKS: "Neighbor Solicitation",
    NEIGHBOR: "Neighbor Advertisement",
    REDIRECT: "Redirect",
    138: "Router Renumbering",
    139: "Node Information Query",
    140: "Node Information Reply",
    141: "Inverse Neighbor Discovery Solicitation",
    142: "Inverse Neighbor Discovery Advertisement",
    REPORT_2: "Multicast Listener Report Message v2",
    144: "Home Agent Address Discovery Request",
    145: "Home Agent Address Discovery Reply",
    146: "Mobile Prefix Solicitation",
    147: "Mobile Prefix Advertisement",
    148: "Certification Path Solicitation",
    149: "Certification Path Advertisement",
    150: "Experimental Mobility",
    151: "Multicast Router Advertisement",
    152: "Multicast Router Solicitation",
    153: "Multicast Router Termination",
    154: "FMIPv6",
    155: "RPL Control",
    156: "Locator Update",
    157: "Duplicate Address Request",
    158: "Duplicate Address Confirmation",
    159: "MPL Control Message",
    160: "Extended Echo request",
    161: "Extended Echo reply",
    200: "Private experimentation",
    201: "Private experimentation",
    255: "Reserved for expansion of ICMPv6 informational messages",
}
CODES = {
    1: {
        0: "no route to destination",
        1: "Administratively prohibited",
        2: "Beyond scope of source address",
        3: "Address unreachable",
        4: "Port unreachable",
        5: "Source address failed ingress/egress policy",
        6: "Reject route to destination",
        7: "Error in Source Routing Header",
        8: "Headers too long",
    },
    3: {0: "hop limit exceeded in transit", 1: "fragment reassembly time exceeded"},
    PARAMETER: {
        0: "erroneous header field encountered",
        1: "unrecognized Next Header type encountered",
        2: "unrecognized IPv6 option encountered",
        3: "IPv6 First Fragment has incomplete IPv6 Header Chain",
        4: "SR Upper-layer Header Error",
    },
    138: {0: "Command", 1: "Result", 255: "Sequence number reset"},
    139: {0: "Query subject = IPv6 addresses", 1: "Query subject = DNS name", 2: "Query subject = IPv4 addresses"},
    140: {0: "Successful", 1: "Refused", 2: "Unknown query type"},
    155: {
        0: "DODAG Information Solicitation",
        1: "DODAG Information Object",
        2: "Destination Advertisement Object",
        3: "Destination Advertisement Object Acknowledgement",
    },
}
OPTIONS = {
    1: "Source link-layer address",
    2: "Target link-layer address",
    3: "Prefix information",
    4: "Redirected header",
    5: "MTU",
    6: "NBMA Shortcut Limit Option",
    7: "Advertisement Interval",
    8: "Home Agent Information",
    13: "Timestamp",
    14: "Nonce",
    24: "Route Information",
    25: "Recursive DNS Server",
    26: "RA Flags Extension",
    31: "DNS Search List Option",
    33: "Address Registration Option",
    37: "DHCP Captive-Portal",
    38: "PREF64 Option",
}
RECORDS = {
    1: "Include",
    2: "Exclude",
    3: "Changed to include",
    4: "Changed to exclude",
    5: "Allow new sources",
    6: "Block old sources",
}
PREFERENCES = {0: "Medium", 1: "High", 2: "Reserved", 3: "Low"}

OPTION = Field("icmpv6.opt.type", "Type", Type.UINT8, names=OPTIONS)
OPTION_LENGTH = Field("icmpv6.opt.length", "Length", Type.UINT8)
ADDRESS = Field("icmpv6.opt.linkaddr", "Link-layer address", Type.ETHER)
SOURCE_ADDRESS = Field("icmpv6.opt.src_linkaddr", "Source Link-layer address", Type.ETHER, hidden=True)
TARGET_ADDRESS = Field("icmpv6.opt.target_linkaddr", "Target Link-layer address", Type.ETHER, hidden=True)
PREFIX_LENGTH = Field("icmpv6.opt.prefix.length", "Prefix Length", Type.UINT8)
ON_LINK = Field("icmpv6.opt.prefix.flag.l", "On-link flag(L)", Type.BOOLEAN, size=1, mask=0x80)
AUTONOMOUS = Field("icmpv6.opt.prefix.flag.a", "Autonomous address-configuration flag(A)", Type.BOOLEAN, mask=0x40)
VALID = Field("icmpv6.opt.prefix.valid_lifetime", "Valid Lifetime", Type.UINT32)
PREFERRED = Field("icmpv6.opt.prefix.preferred_lifetime", "Preferred Lifetime", Type.UINT32)
PREFIX = Field("icmpv6.opt.prefix", "Prefix", Type.IPV6)
MTU_OPTION = Field("icmpv6.opt.mtu", "MTU", Type.UINT32)
NONCE = Field("icmpv6.opt.nonce", "Nonce", Type.BYTES)
RESOLVER_LIFETIME = Field("icmpv6.opt.rdnss.lifetime", "Lifetime", Type.UINT32)
RESOLVER = Field("icmpv6.opt.rdnss", "Recursive DNS Servers", Type.IPV6)
RECORD_COUNT = Field("icmpv6.mldr.nb_mcast_records", "Number of Multicast Address Records", Type.UINT16)
RECORD = Field("icmpv6.mldr.mar.record_type", "Record Type", Type.UINT8, names=RECORDS)
RECORD_EXTRA = Field("icmpv6.mldr.mar.aux_data_len", "Aux Data Len", Type.UINT8)
RECORD_SOURCES = Field("icmpv6.mldr.mar.nb_sources", "Number of Sources", Type.UINT16)
RECORD_GROUP = Field("icmpv6.mldr.mar.multicast_address", "Multicast Address", Type.IPV6)
RECORD_SOURCE = Field("icmpv6.mldr.mar.source_address", "Source Address", Type.IPV6)
SOURCE = Field("icmpv6.mld.source_address", "Source Address", Type.IPV6)
OPTION_FIELDS = (
    OPTION,
    OPTION_LENGTH,
    ADDRESS,
    SOURCE_ADDRESS,
    TARGET_ADDRESS,
    PREFIX_LENGTH,
    ON_LINK,
    AUTONOMOUS,
    VALID,
    PREFERRED,
    PREFIX,
    MTU_OPTION,
    NONCE,
    RESOLVER_LIFETIME,
    RESOLVER,
)
LISTENER_FIELDS = (RECORD_COUNT, RECORD, RECORD_EXTRA, RECORD_SOURCES, RECORD_GROUP, RECORD_SOURCE, SOURCE)


def _next(layer: Layer) -> Iterator[Next]:
    return what_follows(layer, ERRORS, (ECHO, ECHO_REPLY))


def _walk(walk: Walk) -> None:
    kind = walk.u8(0)
    if kind in OPTIONS_AT:
        _walk_options(walk, OPTIONS_AT[kind])
    elif kind == REPORT_2:
        _walk_report(walk)
    elif kind == QUERY and walk.wire_size >= QUERY_2_BYTES:
        for number in range(walk.u16(26)):
            walk.add(SOURCE, walk.take(28 + 16 * number, 16), 28 + 16 * number, 16)


def _walk_options(walk: Walk, at: int) -> None:
    """Type, length in units of eight bytes, value (RFC 4861, section 4.6)."""
    while at < walk.wire_size:
        kind, size = walk.u8(at), 8 * walk.u8(at + 1)
        if not size:
            raise MalformedError("an option of no length")
        with walk.subtree(f"ICMPv6 Option ({OPTIONS.get(kind, 'Unknown')})", at, min(size, walk.size - at)):
            walk.add_uint(OPTION, at)
            walk.add_uint(OPTION_LENGTH, at + 1)
            walk.need(at, size)
            _walk_option(walk, kind, at, size)
        at += size


def _walk_option(walk: Walk, kind: int, at: int, size: int) -> None:
    if kind in (1, 2) and size == 8:
        walk.add_uint(ADDRESS, at + 2)
        walk.add_uint(SOURCE_ADDRESS if kind == 1 else TARGET_ADDRESS, at + 2)
    elif kind == 3:
        walk.add_uint(PREFIX_LENGTH, at + 2)
        walk.add_uint(ON_LINK, at + 3)
        walk.add_uint(AUTONOMOUS, at + 3)
        walk.add_uint(VALID, at + 4)
        walk.add_uint(PREFERRED, at + 8)
        walk.add(PREFIX, walk.take(at + 16, 16), at + 16, 16)
    elif kind == 4:
        version = walk.u8(at + 8) >> 4 if size > 8 else 0
        walk.hand_on("quoted", version, at + 8, size - 8, otherwise="")
    elif kind == 5:
        walk.add_uint(MTU_OPTION, at + 4)
    elif kind == 14:
        walk.add(NONCE, walk.take(at + 2, size - 2), at + 2, size - 2)
    elif kind == 25:
        walk.add_uint(RESOLVER_LIFETIME, at + 4)
        for place in range(at + 8, at + size - 15, 16):
            walk.add(RESOLVER, walk.take(place, 16), place, 16)


def _walk_report(walk: Walk) -> None:
    """Multicast address records (RFC 3810, section 5.2)."""
    at = 8
    for _ in range(walk.add_uint(RECORD_COUNT, 6)):
        count = walk.u16(at + 2)
        name, group = RECORDS.get(walk.u8(at), "Unknown"), walk.take(at + 4, 16)
        with walk.subtree(f"Multicast Address Record {name}: {ipv6_text(group)}", at, 20 + 16 * count):
            walk.add_uint(RECORD, at)
            extra = walk.add_uint(RECORD_EXTRA, at + 1)
            walk.add_uint(RECORD_SOURCES, at + 2)
            walk.add(RECORD_GROUP, group, at + 4, 16)
            for number in range(count):
                place = at + 20 + 16 * number
                walk.add(RECORD_SOURCE, walk.take(place, 16), place, 16)
        at += 20 + 16 * count + 4 * extra


def _code_text(kind: int, code: int) -> str | None:
    names = CODES.get(kind)
    return None if names is None else names.get(code, f"unknown code {code}")


def _info(layer: Layer) -> list[str | None]:
    around, notes = layer.outer("ipv6"), pairs(layer, ECHO, ECHO_REPLY).notes()
    limits = [0] * len(layer) if around is None else around[0].uint(7, 1)[around[1]].tolist()
    walked = layer.walked.items if layer.walked else [[] for _ in range(len(layer))]
    has = layer.has(4).tolist()
    return [
        _sentence(layer, entry, limits[entry], notes[entry], walked[entry]) if has[entry] else None
        for entry in range(len(layer))
    ]


def _sentence(layer: Layer, entry: int, limit: int, note: str, items: list[Item]) -> str:
    message = layer.payload(entry)[:40]
    kind, name = message[0], TYPES.get(message[0], "Unknown")
    if kind in (ECHO, ECHO_REPLY):
        if len(message) < HEADER_BYTES:
            return name
        ident, sequence = int.from_bytes(message[4:6], "big"), int.from_bytes(message[6:8], "big")
        return f"{name} id=0x{ident:04x}, seq={sequence}, hop limit={limit}{note}"
    link = next((text_of(ADDRESS, one.value) for one in items if one.field is ADDRESS), "")
    if kind in (NEIGHBOR_ASKS, NEIGHBOR) and len(message) >= 24:
        name = f"{name}{' for' if kind == NEIGHBOR_ASKS else ''} {ipv6_text(message[8:24])}"
        if kind == NEIGHBOR:
            flags = [text for bit, text in ((0x80, "rtr"), (0x40, "sol"), (0x20, "ovr")) if message[4] & bit]
            return name + (f" ({', '.join(flags)})" if flags else "") + (f" is at {link}" if link else "")
    if link and kind in (ROUTER_ASKS, ROUTER, NEIGHBOR_ASKS):
        return f"{name} from {link}"
    said = _code_text(kind, message[1])
    return name if said is None else f"{name} ({said})"


def _remember(layer: Layer) -> None:
    pairs(layer, ECHO, ECHO_REPLY)


_IS_ECHO, _IS_ROUTER, _IS_LISTENER = (
    begins_with(ECHO, ECHO_REPLY),
    begins_with(ROUTER),
    begins_with(QUERY, REPORT, DONE),
)

PROTOCOLS = (
    Protocol(
        "icmpv6",
        "Internet Control Message Protocol v6",
        "ICMPv6",
        fields=(
            Field("icmpv6.type", "Type", Type.UINT8, 0, names=TYPES),
            Field("icmpv6.code", "Code", Type.UINT8, 1, show=named_codes(_code_text)),
            Field("icmpv6.checksum", "Checksum", Type.UINT16, 2, base="hex"),
            Field("icmpv6.echo.identifier", "Identifier", Type.UINT16, 4, base="hex", when=_IS_ECHO),
            Field("icmpv6.echo.sequence_number", "Sequence", Type.UINT16, 6, when=_IS_ECHO),
            *pair_fields("icmpv6", ("Response To", "Response Time"), ECHO, ECHO_REPLY),
            Field("icmpv6.mtu", "MTU", Type.UINT32, 4, when=begins_with(TOO_BIG)),
            Field("icmpv6.pointer", "Pointer", Type.UINT32, 4, when=begins_with(PARAMETER)),
            Field("icmpv6.nd.ra.cur_hop_limit", "Cur hop limit", Type.UINT8, 4, when=_IS_ROUTER),
            Field("icmpv6.nd.ra.flag", "Flags", Type.UINT8, 5, base="hex", when=_IS_ROUTER),
            *(
                Field(
                    f"icmpv6.nd.ra.flag.{name}",
                    label,
                    Type.BOOLEAN,
                    5,
                    mask=mask,
                    under="icmpv6.nd.ra.flag",
                    when=_IS_ROUTER,
                )
                for name, label, mask in (
                    ("m", "Managed address configuration", 0x80),
                    ("o", "Other configuration", 0x40),
                    ("h", "Home Agent", 0x20),
                    ("p", "Proxy", 0x04),
                )
            ),
            Field(
                "icmpv6.nd.ra.flag.prf",
                "Prf (Default Router Preference)",
                Type.UINT8,
                5,
                mask=0x18,
                names=PREFERENCES,
                under="icmpv6.nd.ra.flag",
                when=_IS_ROUTER,
            ),
            Field("icmpv6.nd.ra.router_lifetime", "Router lifetime (s)", Type.UINT16, 6, when=_IS_ROUTER),
            Field("icmpv6.nd.ra.reachable_time", "Reachable time (ms)", Type.UINT32, 8, when=_IS_ROUTER),
            Field("icmpv6.nd.ra.retrans_timer", "Retrans timer (ms)", Type.UINT32, 12, when=_IS_ROUTER),
            Field("icmpv6.nd.ns.target_address", "Target Address", Type.IPV6, 8, when=begins_with(NEIGHBOR_ASKS)),
            Field("icmpv6.nd.na.flag", "Flags", Type.UINT32, 4, base="hex", when=begins_with(NEIGHBOR)),
            *(
                Field(
                    f"icmpv6.nd.na.flag.{name}",
                    label,
                    Type.BOOLEAN,
                    4,
                    4,
                    mask=mask,
                    under="icmpv6.nd.na.flag",
                    when=begins_with(NEIGHBOR),
                )
                for name, label, mask in (
                    ("r", "Router", 0x80000000),
                    ("s", "Solicited", 0x40000000),
                    ("o", "Override", 0x20000000),
                )
            ),
            Field("icmpv6.nd.na.target_address", "Target Address", Type.IPV6, 8, when=begins_with(NEIGHBOR)),
            Field("icmpv6.nd.rd.target_address", "Target Address", Type.IPV6, 8, when=begins_with(REDIRECT)),
            Field("icmpv6.rd.na.destination_address", "Destination Address", Type.IPV6, 24, when=begins_with(REDIRECT)),
            Field(
                "icmpv6.mld.maximum_response_delay", "Maximum Response Delay [ms]", Type.UINT16, 4, when=_IS_LISTENER
            ),
            Field("icmpv6.mld.multicast_address", "Multicast Address", Type.IPV6, 8, when=_IS_LISTENER),
            *LISTENER_FIELDS,
            *OPTION_FIELDS,
        ),
        keys=(("ip.proto", 58),),
        follow=_next,
        walk=_walk,
        tables=("quoted",),
        info=_info,
        remember=_remember,
        is_quoting=True,
    ),
)
