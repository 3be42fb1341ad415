"""RIP, versions 1 and 2 (RFC 1058, RFC 2453, RFC 4822), and RIPng, which is the same for IPv6 (RFC 2080)."""

from __future__ import annotations

from ipaddress import IPv4Address

from echowire.core.packets.cells import ipv6_text
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.layout import add_at
from echowire.core.packets.walk import Walk

HEADER_BYTES = 4
ENTRY_BYTES = 20
UNSPECIFIED, INET, AUTHENTICATION = 0, 2, 0xFFFF
"""Address families; the last tells that the entry is no route (RFC 2453, 4.1)."""
PASSWORD, DIGEST = 2, 3
NEXT_HOP_METRIC = 0xFF
"""RIPng's entry that tells the next hop of those after it (RFC 2080, 2.1.1)."""

_COMMANDS = {1: "Request", 2: "Response", 3: "Traceon", 4: "Traceoff", 5: "Vendor specific (Sun)"}
_VERSIONS = {1: "RIPv1", 2: "RIPv2"}
_FAMILIES = {UNSPECIFIED: "Unspecified", INET: "IP"}
_AUTHENTICATIONS = {1: "IP Route", PASSWORD: "Simple Password", DIGEST: "Keyed Message Digest"}

_FAMILY = Field("rip.family", "Address Family", Type.UINT16, names=_FAMILIES)
_TAG = Field("rip.route_tag", "Route Tag", Type.UINT16)
_ADDRESS = Field("rip.ip", "IP Address", Type.IPV4)
_NETMASK = Field("rip.netmask", "Netmask", Type.IPV4)
_NEXT_HOP = Field("rip.next_hop", "Next Hop", Type.IPV4)
_METRIC = Field("rip.metric", "Metric", Type.UINT16)
_AUTH_TYPE = Field("rip.auth.type", "Authentication type", Type.UINT16, names=_AUTHENTICATIONS)
_PASSWORD = Field("rip.auth.passwd", "Password", Type.STRING)
_OFFSET = Field("rip.digest_offset", "Digest Offset", Type.UINT16)
_KEY = Field("rip.key_id", "Key ID", Type.UINT8)
_LENGTH = Field("rip.auth_data_len", "Auth Data Len", Type.UINT8)
_SEQUENCE = Field("rip.seq_num", "Seq num", Type.UINT32)
_ZERO = Field("rip.zero_padding", "Zero adding", Type.STRING)
_DIGEST = Field("rip.authentication_data", "Authentication Data", Type.BYTES)
_UNKNOWN = Field("rip.unknown_address_family", "Unknown address family", Type.NONE)


def _walk(walk: Walk) -> None:
    version, end = walk.u8(1), walk.wire_size
    at = HEADER_BYTES
    while at + ENTRY_BYTES <= end or at == HEADER_BYTES < end:
        family = walk.u16(at)
        if family == AUTHENTICATION:
            end -= _authentication(walk, at)
        elif family in _FAMILIES:
            _route(walk, at, family, version)
        else:
            walk.add(_UNKNOWN, 1, at, ENTRY_BYTES, f"Unknown address family {family}")
        at += ENTRY_BYTES


def _route(walk: Walk, at: int, family: int, version: int) -> None:
    metric = walk.u32(at + 16)
    known = "Address not specified" if family == UNSPECIFIED else f"IP Address: {IPv4Address(walk.u32(at + 4))}"
    with walk.subtree(f"{known}, Metric: {metric}", at, ENTRY_BYTES):
        walk.add_uint(_FAMILY, at)
        if version == 2:
            walk.add_uint(_TAG, at + 2)
        if family != UNSPECIFIED:
            walk.add_uint(_ADDRESS, at + 4)
        if version == 2:
            walk.add_uint(_NETMASK, at + 8)
            walk.add_uint(_NEXT_HOP, at + 12)
        walk.add(_METRIC, metric & 0xFFFF, at + 16, 4, f"Metric: {metric}")


def _authentication(walk: Walk, at: int) -> int:
    """The entry that comes first, if any; gives the bytes behind the last that belong to it (RFC 4822, 2.5)."""
    kind = walk.u16(at + 2)
    name = _AUTHENTICATIONS.get(kind, "Unknown")
    trailer = 0
    with walk.subtree(f"Authentication: {name}", at, ENTRY_BYTES):
        walk.add_uint(_AUTH_TYPE, at + 2)
        if kind == PASSWORD:
            add_at(walk, _PASSWORD, at + 4, 16)
        elif kind == DIGEST:
            offset = walk.add_uint(_OFFSET, at + 4)
            walk.add_uint(_KEY, at + 6)
            size = walk.add_uint(_LENGTH, at + 7)
            walk.add_uint(_SEQUENCE, at + 8)
            add_at(walk, _ZERO, at + 12, 8)
            if size and offset + size <= walk.wire_size:
                trailer = walk.wire_size - offset
                with walk.subtree("Authentication Data Trailer", offset, 4 + size):
                    add_at(walk, _DIGEST, offset + 4, min(size, trailer - 4))
    return trailer


def _info(layer: Layer) -> list[str]:
    return [_COMMANDS.get(one, f"Unknown command ({one})") for one in layer.uint(0, 1).tolist()]


def _column(layer: Layer) -> list[str]:
    return [_VERSIONS.get(one, "RIP") for one in layer.uint(1, 1).tolist()]


_NG_RESERVED = Field("ripng.reserved", "Reserved", Type.BYTES, 2, 2)
_NG_ENTRY = Field("ripng.rte", "Route Table Entry", Type.NONE)
_NG_PREFIX = Field("ripng.rte.ipv6_prefix", "IPv6 Prefix", Type.IPV6)
_NG_TAG = Field("ripng.rte.route_tag", "Route Tag", Type.UINT16, base="hex")
_NG_LENGTH = Field("ripng.rte.prefix_length", "Prefix Length", Type.UINT8)
_NG_METRIC = Field("ripng.rte.metric", "Metric", Type.UINT8)
_NG_COMMANDS = {1: "Request", 2: "Response"}


def _ng_walk(walk: Walk) -> None:
    at = HEADER_BYTES
    while at < walk.wire_size:
        prefix, length, metric = ipv6_text(walk.take(at, 16)), walk.u8(at + 18), walk.u8(at + 19)
        said = (
            f"Next hop: {prefix}" if metric == NEXT_HOP_METRIC else f"IPv6 Prefix: {prefix}/{length} Metric: {metric}"
        )
        walk.add(_NG_ENTRY, 1, at, ENTRY_BYTES, f"Route Table Entry: {said}")
        with walk.subtree():
            add_at(walk, _NG_PREFIX, at)
            walk.add_uint(_NG_TAG, at + 16)
            walk.add_uint(_NG_LENGTH, at + 18)
            walk.add_uint(_NG_METRIC, at + 19)
        at += ENTRY_BYTES


def _ng_info(layer: Layer) -> list[str]:
    commands, versions = layer.uint(0, 1).tolist(), layer.uint(1, 1).tolist()
    return [
        f" Command {_NG_COMMANDS.get(command, f'Unknown ({command})')}, Version {version}"
        for command, version in zip(commands, versions, strict=True)
    ]


PROTOCOLS = (
    Protocol(
        "rip",
        "Routing Information Protocol",
        _column,
        fields=(
            Field("rip.command", "Command", Type.UINT8, 0, names=_COMMANDS),
            Field("rip.version", "Version", Type.UINT8, 1, names=_VERSIONS),
            *(_FAMILY, _TAG, _ADDRESS, _NETMASK, _NEXT_HOP, _METRIC, _AUTH_TYPE, _PASSWORD),
            *(_OFFSET, _KEY, _LENGTH, _SEQUENCE, _ZERO, _DIGEST, _UNKNOWN),
        ),
        keys=(("udp.port", 520),),
        walk=_walk,
        info=_info,
    ),
    Protocol(
        "ripng",
        "RIPng",
        "RIPng",
        fields=(
            Field("ripng.cmd", "Command", Type.UINT8, 0, names=_NG_COMMANDS),
            Field("ripng.version", "Version", Type.UINT8, 1),
            *(_NG_RESERVED, _NG_ENTRY, _NG_PREFIX, _NG_TAG, _NG_LENGTH, _NG_METRIC),
        ),
        keys=(("udp.port", 521),),
        walk=_ng_walk,
        info=_ng_info,
    ),
)
