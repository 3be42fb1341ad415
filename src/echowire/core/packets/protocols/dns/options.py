"""OPT, the record that is none: its class, time to live and data say what the sender is able to (RFC 6891)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field
from echowire.core.packets.layout import Part, fields_of, many, octets, read_parts, string, u8, u16
from echowire.core.packets.protocols.dns.names import name
from echowire.core.packets.protocols.dns.rdata import ALGORITHMS, DIGESTS, FAMILIES, HASHES
from echowire.core.packets.walk import MalformedError, Walk

OPT = 41
CLIENT_SUBNET = 8
CLIENT_SUBNET_TRIAL = 0x50FA
"""What the client's subnet had before RFC 7871 gave it a number."""
COOKIE = 10
CLIENT_COOKIE_BYTES = 8

OPTION_NAMES: Mapping[int, str] = {
    0: "Reserved",
    1: "LLQ - Long-lived query",
    2: "UL - Update lease",
    3: "NSID - Name Server Identifier",
    4: "Owner (reserved)",
    5: "DAU - DNSSEC Algorithm Understood (RFC6975)",
    6: "DHU - DS Hash Understood (RFC6975)",
    7: "N3U - NSEC3 Hash Understood (RFC6975)",
    CLIENT_SUBNET: "CSUBNET - Client subnet",
    9: "EDNS EXPIRE (RFC7314)",
    COOKIE: "COOKIE",
    11: "EDNS TCP Keepalive",
    12: "PADDING",
    13: "CHAIN",
    15: "Extended DNS Error",
    CLIENT_SUBNET_TRIAL: "Experimental - CSUBNET - Client subnet",
}
EXTENDED_ERRORS: Mapping[int, str] = {
    0: "Other Error",
    1: "Unsupported DNSKEY Algorithm",
    2: "Unsupported DS Digest Type",
    3: "Stale Answer",
    4: "Forged Answer",
    5: "DNSSEC Indeterminate",
    6: "DNSSEC Bogus",
    7: "Signature Expired",
    8: "Signature Not Yet Valid",
    9: "DNSKEY Missing",
    10: "RRSIGs Missing",
    11: "No Zone Key Bit Set",
    12: "NSEC Missing",
    13: "Cached Error",
    14: "Not Ready",
    15: "Blocked",
    16: "Censored",
    17: "Filtered",
    18: "Prohibited",
    19: "Stale NXDOMAIN Answer",
    20: "Not Authoritative",
    21: "Not Supported",
    22: "No Reachable Authority",
    23: "Network Error",
    24: "Invalid Data",
}
"""RFC 8914, section 4."""

_SIZE = Field("dns.rr.udp_payload_size", "UDP payload size", Type.UINT16)
_MULTICAST_SIZE = Field("dns.rr.udp_payload_size", "UDP payload size", Type.UINT16, mask=0x7FFF)
FLUSH = Field("dns.resp.cache_flush", "Cache flush", Type.BOOLEAN, size=2, mask=0x8000)
_HIGH_RCODE = Field("dns.resp.ext_rcode", "Higher bits in extended RCODE", Type.UINT8, base="hex")
_VERSION = Field("dns.resp.edns0_version", "EDNS0 version", Type.UINT8)
_Z = Field("dns.resp.z", "Z", Type.UINT16, base="hex")
_Z_DO = Field("dns.resp.z.do", "DO bit", Type.BOOLEAN, size=2, mask=0x8000, under="dns.resp.z")
_Z_RESERVED = Field("dns.resp.z.reserved", "Reserved", Type.UINT16, mask=0x7FFF, base="hex", under="dns.resp.z")
LENGTH = Field("dns.resp.len", "Data length", Type.UINT16)
_OPTION = Field("dns.opt", "Option", Type.NONE)
_CODE = Field("dns.opt.code", "Option Code", Type.UINT16, names=OPTION_NAMES)
_OPTION_LENGTH = Field("dns.opt.len", "Option Length", Type.UINT16)
_DATA = Field("dns.opt.data", "Option Data", Type.BYTES)

_OPTIONS: Mapping[int, tuple[Part, ...]] = {
    5: (many(u8("dns.opt.dau", "DAU", names=ALGORITHMS)),),
    6: (many(u8("dns.opt.dhu", "DHU", names=DIGESTS)),),
    7: (many(u8("dns.opt.n3u", "N3U", names=HASHES)),),
    11: (u16("dns.opt.edns_tcp_keepalive.timeout", "Timeout"),),
    12: (octets("dns.opt.padding", "Padding"),),
    13: (name("dns.opt.chain.fqdn", "Closest Trust Point"),),
    15: (
        u16("dns.opt.ext_error.info_code", "Info Code", names=EXTENDED_ERRORS),
        string("dns.opt.ext_error.extra_text", "Extra Text"),
    ),
}
_SUBNET = (
    u16("dns.opt.client.family", "Family", names=FAMILIES),
    u8("dns.opt.client.netmask", "Source Netmask"),
    u8("dns.opt.client.scope", "Scope Netmask"),
)
_SUBNET_ADDRESS = Field("dns.opt.client.addr", "Client Subnet", Type.BYTES)
_SUBNET_IPV4 = Field("dns.opt.client.addr4", "Client Subnet", Type.IPV4)
_SUBNET_IPV6 = Field("dns.opt.client.addr6", "Client Subnet", Type.IPV6)
_COOKIE_CLIENT = Field("dns.opt.cookie.client", "Client Cookie", Type.BYTES)
_COOKIE_SERVER = Field("dns.opt.cookie.server", "Server Cookie", Type.BYTES)

FIELDS = (
    *(_SIZE, _MULTICAST_SIZE, _HIGH_RCODE, _VERSION, _Z, _Z_DO, _Z_RESERVED, _OPTION, _CODE, _OPTION_LENGTH, _DATA),
    *fields_of([part for parts in _OPTIONS.values() for part in parts]),
    *fields_of(_SUBNET),
    *(_SUBNET_ADDRESS, _SUBNET_IPV4, _SUBNET_IPV6, _COOKIE_CLIENT, _COOKIE_SERVER),
)


def read_opt(walk: Walk, at: int, multicast: bool) -> int:
    """OPT, whose class stands at `at`; gives where the next record begins."""
    walk.add_uint(_MULTICAST_SIZE if multicast else _SIZE, at)
    if multicast:
        walk.add_uint(FLUSH, at)
    walk.add_uint(_HIGH_RCODE, at + 2)
    walk.add_uint(_VERSION, at + 3)
    walk.add_uint(_Z, at + 4)
    with walk.subtree():
        walk.add_uint(_Z_DO, at + 4)
        walk.add_uint(_Z_RESERVED, at + 4)
    end = at + 8 + walk.add_uint(LENGTH, at + 6)
    at += 8
    while at < end:
        at = _read_option(walk, at)
    return end


def _read_option(walk: Walk, at: int) -> int:
    code, size = walk.u16(at), walk.u16(at + 2)
    walk.add(_OPTION, 1, at, 4 + size, f"Option: {OPTION_NAMES.get(code, f'Unknown ({code})')}")
    with walk.subtree():
        walk.add_uint(_CODE, at)
        walk.add_uint(_OPTION_LENGTH, at + 2)
        at += 4
        walk.add(_DATA, walk.take(at, size), at, size)
        read_parts(walk, _OPTIONS.get(code, ()), at, at + size)
        special = _SPECIAL.get(code)
        if special:
            special(walk, at, at + size)
    return at + size


def _read_subnet(walk: Walk, at: int, end: int) -> None:
    """The client's subnet (RFC 7871, section 6): as many bytes of its address as its prefix has."""
    at = read_parts(walk, _SUBNET, at, end)
    family, size = walk.u16(at - 4), end - at
    raw = walk.take(at, max(size, 0))
    if family == 1:
        walk.add(_SUBNET_IPV4, int.from_bytes(raw[:4].ljust(4, b"\0"), "big"), at, size)
    elif family == 2:
        walk.add(_SUBNET_IPV6, raw[:16].ljust(16, b"\0"), at, size)
    else:
        walk.add(_SUBNET_ADDRESS, raw, at, size)


def _read_cookie(walk: Walk, at: int, end: int) -> None:
    """The two cookies (RFC 7873, section 4)."""
    middle = at + CLIENT_COOKIE_BYTES
    if middle > end:
        raise MalformedError("a cookie of less than eight bytes")
    walk.add(_COOKIE_CLIENT, walk.take(at, CLIENT_COOKIE_BYTES), at, CLIENT_COOKIE_BYTES)
    walk.add(_COOKIE_SERVER, walk.take(middle, end - middle), middle, end - middle)


_SPECIAL: Mapping[int, Callable[[Walk, int, int], None]] = {
    CLIENT_SUBNET: _read_subnet,
    CLIENT_SUBNET_TRIAL: _read_subnet,
    COOKIE: _read_cookie,
}
