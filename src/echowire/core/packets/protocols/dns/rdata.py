"""The parts of DNS records that take more than a width to read, and what the numbers in records mean."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field
from echowire.core.packets.layout import (
    Part,
    add_at,
    counted_text,
    fields_of,
    ipv4,
    ipv6,
    many,
    octets,
    read_parts,
    text,
    u8,
    u16,
    u32,
)
from echowire.core.packets.protocols.dns.names import name
from echowire.core.packets.walk import Walk

TYPE_NAMES: Mapping[int, str] = {
    0: "Unused",
    1: "A (Host Address)",
    2: "NS (authoritative Name Server)",
    3: "MD (Mail Destination)",
    4: "MF (Mail Forwarder)",
    5: "CNAME (Canonical NAME for an alias)",
    6: "SOA (Start Of a zone of Authority)",
    7: "MB (MailBox domain name)",
    8: "MG (Mail Group member)",
    9: "MR (Mail Rename domain)",
    10: "NULL RR",
    11: "WKS (Well Known Service)",
    12: "PTR (domain name PoinTeR)",
    13: "HINFO (host information)",
    14: "MINFO (Mailbox or mail list information)",
    15: "MX (Mail eXchange)",
    16: "TXT (Text strings)",
    17: "RP (Responsible Person)",
    18: "AFSDB (AFS Data Base location)",
    19: "X25 (XX.25 PSDN address)",
    20: "ISDN (ISDN address)",
    21: "RT (Route Through)",
    22: "NSAP (NSAP address)",
    23: "NSAP-PTR (NSAP domain name pointer)",
    24: "SIG (security signature)",
    25: "KEY (security key)",
    26: "PX (X.400 mail mapping information)",
    27: "GPOS (Geographical Position)",
    28: "AAAA (IPv6 Address)",
    29: "LOC (Location Information)",
    30: "NXT (Next Domain)",
    31: "EID (Endpoint Identifier)",
    32: "NIMLOC (Nimrod Locator)",
    33: "SRV (Server Selection)",
    34: "ATMA (ATM Address)",
    35: "NAPTR (Naming Authority Pointer)",
    36: "KX (Key Exchanger)",
    37: "CERT",
    38: "A6 (OBSOLETE - use AAAA)",
    39: "DNAME",
    40: "SINK",
    41: "OPT",
    42: "APL",
    43: "DS (Delegation Signer)",
    44: "SSHFP (SSH Key Fingerprint)",
    45: "IPSECKEY",
    46: "RRSIG (Resource Record Signature)",
    47: "NSEC (Next Secure)",
    48: "DNSKEY (DNS Public Key)",
    49: "DHCID",
    50: "NSEC3",
    51: "NSEC3PARAM",
    52: "TLSA",
    55: "HIP (Host Identity Protocol)",
    57: "RKEY",
    58: "TALINK (Trust Anchor LINK)",
    59: "CDS (Child DS)",
    60: "CDNSKEY (DNSKEY(s) the Child wants reflected in DS)",
    61: "OPENPGPKEY (OpenPGP Key)",
    62: "CSYNC (Child-to-Parent Synchronization)",
    63: "ZONEMD",
    64: "SVCB (General Purpose Service Endpoints)",
    65: "HTTPS (HTTPS Specific Service Endpoints)",
    99: "SPF",
    100: "UINFO",
    101: "UID",
    102: "GID",
    103: "UNSPEC",
    104: "NID (NodeID)",
    105: "L32 (Locator32)",
    106: "L64 (Locator64)",
    107: "LP (Locator FQDN)",
    108: "EUI48",
    109: "EUI64",
    249: "TKEY (Transaction Key)",
    250: "TSIG (Transaction Signature)",
    251: "IXFR (incremental transfer)",
    252: "AXFR (transfer of an entire zone)",
    253: "MAILB (mailbox-related RRs)",
    254: "MAILA (mail agent RRs)",
    255: "* (A request for all records the server/cache has available)",
    256: "URI",
    257: "CAA (Certification Authority Restriction)",
    32768: "TA (DNSSEC Trust Authorities)",
    32769: "DLV (DNSSEC Lookaside Validation)",
    65281: "WINS",
    65282: "WINS-R",
    65422: "XPF",
}
"""What the types are called, and what that is short for."""
ALGORITHMS: Mapping[int, str] = {
    1: "RSA/MD5",
    2: "Diffie-Hellman",
    3: "DSA",
    4: "Elliptic curve crypto",
    5: "RSA/SHA1",
    6: "DSA + NSEC3/SHA1",
    7: "RSA/SHA1 + NSEC3/SHA1",
    8: "RSA/SHA-256",
    10: "RSA/SHA-512",
    12: "GOST R 34.10-2001",
    13: "ECDSA Curve P-256 with SHA-256",
    14: "ECDSA Curve P-386 with SHA-386",
    15: "Ed25519",
    16: "Ed448",
    157: "HMAC/MD5",
    252: "Indirect key",
    253: "Private, domain name",
    254: "Private, OID",
}
DIGESTS: Mapping[int, str] = {0: "Reserved digest", 1: "SHA-1", 2: "SHA-256", 3: "GOST R 34.11-94", 4: "SHA-384"}
HASHES: Mapping[int, str] = {0: "Reserved", 1: "SHA-1"}
FAMILIES: Mapping[int, str] = {1: "IPv4", 2: "IPv6"}
RCODES: Mapping[int, str] = {
    0: "No error",
    1: "Format error",
    2: "Server failure",
    3: "No such name",
    4: "Not implemented",
    5: "Refused",
    6: "Name exists",
    7: "RRset exists",
    8: "RRset does not exist",
    9: "Not authoritative",
    10: "Name out of zone",
    11: "DSO-Type not implemented",
    16: "Bad OPT Version or TSIG Signature Failure",
    17: "Key not recognized",
    18: "Signature out of time window",
    19: "Bad TKEY Mode",
    20: "Duplicate key name",
    21: "Algorithm not supported",
    22: "Bad Truncation",
    23: "Bad/missing Server Cookie",
}
SVC_KEYS: Mapping[int, str] = {
    0: "mandatory",
    1: "alpn",
    2: "no-default-alpn",
    3: "port",
    4: "ipv4hint",
    5: "echconfig",
    6: "ipv6hint",
    32769: "odohconfig",
    65535: "key65535",
}


@dataclass(frozen=True, slots=True)
class Record:
    """A type of resource record."""

    parts: tuple[Part, ...] = (octets("dns.data", "Data"),)
    line: str = ""
    """What follows in the record's line of the details tree; `{0}` is the first part's value."""
    info: str = ""
    """What follows the type in the packet list."""


def type_title(kind: int) -> str:
    """The name of a type in full."""
    return TYPE_NAMES.get(kind, f"Unknown ({kind})")


def type_short(kind: int) -> str:
    """The name of a type. One asks for ANY, which the RFCs write as an asterisk."""
    return "ANY" if kind == 255 else TYPE_NAMES[kind].split(" ", 1)[0] if kind in TYPE_NAMES else f"Unknown ({kind})"


def bit(name: str, label: str, mask: int, size: int = 2) -> Field:
    """One bit of `size` bytes."""
    return Field(name, label, Type.BOOLEAN, size=size, mask=mask)


def _type_bits(walk: Walk, part: Part, at: int, end: int) -> int:
    """The types that a name has, as windows of bits (RFC 4034, 4.1.2)."""
    while at < end:
        window, size = walk.u8(at), walk.u8(at + 1)
        for place, octet in enumerate(walk.take(at + 2, size)):
            for bit in range(8):
                if octet & (0x80 >> bit):
                    kind = 256 * window + 8 * place + bit
                    walk.add(part.field, kind, at + 2 + place, 1, f"RR type in bit map: {type_title(kind)}")
        at += 2 + size
    return at


def _hash(walk: Walk, part: Part, at: int, end: int) -> int:
    """The next hashed owner name of NSEC3, which people write in base 32 (RFC 5155, 3.3)."""
    assert part.count is not None
    size = walk.add_uint(part.count, at)
    raw = walk.take(at + 1, size)
    digits = base64.b32hexencode(raw).decode().rstrip("=").lower()
    walk.add(part.field, digits, at + 1, size)
    return at + 1 + size


def _key_tag(walk: Walk, part: Part, at: int, end: int) -> int:
    """The key's tag, by which others name it (RFC 4034, appendix B): a sum over flags, protocol, algorithm and key."""
    begin = at - 4
    raw = walk.take(begin, end - begin)
    if raw[3] == 1 and len(raw) >= 7:  # RSA/MD5: the modulus' last bytes but one (appendix B.1)
        tag = int.from_bytes(raw[-3:-1], "big")
    else:
        total = sum(raw[0::2]) * 256 + sum(raw[1::2])
        tag = (total + (total >> 16)) & 0xFFFF
    walk.add(part.field, tag, begin, end - begin)
    return at


def _gateway(walk: Walk, part: Part, at: int, end: int) -> int:
    """The gateway of IPSECKEY, of the type told two bytes before (RFC 4025, 2.3)."""
    kind = walk.u8(at - 2)
    if 0 < kind <= len(_GATEWAYS):
        return read_parts(walk, _GATEWAYS[kind - 1 : kind], at, end)
    return at


def _prefix(walk: Walk, part: Part, at: int, end: int) -> int:
    """The address of an APL item, without its trailing zeros (RFC 3123, 4)."""
    family, size = walk.u16(at - 4), walk.u8(at - 1) & 0x7F
    raw = walk.take(at, size)
    if family == 1 and size <= 4:
        walk.add(_PREFIXES[0], int.from_bytes(raw.ljust(4, b"\0"), "big"), at, size)
    elif family == 2 and size <= 16:
        walk.add(_PREFIXES[1], raw.ljust(16, b"\0"), at, size)
    else:
        walk.add(_PREFIXES[2], raw, at, size)
    return at + size


def _apl_size(walk: Walk, part: Part, at: int, end: int) -> int:
    """The negation and the address's length share a byte."""
    for field in part.also:
        walk.add_uint(field, at)
    return at + 1


def _suffix(walk: Walk, part: Part, at: int, end: int) -> int:
    """The address suffix of A6: so many of its last bits that its first byte makes 128 (RFC 2874, 3.1)."""
    size = 16 - min(walk.u8(at - 1), 128) // 8
    walk.add(part.field, walk.take(at, size).rjust(16, b"\0"), at, size)
    return at + size


def _mac(walk: Walk, part: Part, at: int, end: int) -> int:
    """The MAC of TSIG (RFC 8945, 4.2)."""
    assert part.count is not None
    size = walk.add_uint(part.count, at)
    walk.need(at + 2, size)
    if size:
        walk.add(part.field, 1, at + 2, size)
    return at + 2 + size


def _signed(walk: Walk, part: Part, at: int, end: int) -> int:
    """When TSIG was made: seconds in six bytes."""
    add_at(walk, part.field, at, 6)
    return at + 6


def _hit(walk: Walk, part: Part, at: int, end: int) -> int:
    """The tag and the key of HIP, whose lengths stand before both (RFC 8005, 5)."""
    tag, key = walk.u8(at - 4), walk.u16(at - 2)
    walk.add(part.field, walk.take(at, tag), at, tag)
    walk.add(_HIP_KEY, walk.take(at + tag, key), at + tag, key)
    return at + tag + key


def _service(walk: Walk, part: Part, at: int, end: int) -> int:
    """The parameters of SVCB and HTTPS (RFC 9460, 2.2)."""
    while at < end:
        key, size = walk.u16(at), walk.u16(at + 2)
        known = SVC_KEYS.get(key, f"key{key}")
        walk.add(part.field, 1, at, 4 + size, f"SvcParam: {known}")
        with walk.subtree():
            walk.add_uint(_SVC_KEY, at)
            walk.add_uint(_SVC_LENGTH, at + 2)
            read_parts(walk, _SVC_PARAMS.get(key, _SVC_OTHER), at + 4, at + 4 + size)
        at += 4 + size
    return at


def _caa(walk: Walk, part: Part, at: int, end: int) -> int:
    """Tag and value of CAA (RFC 8659, 4.1)."""
    size = walk.u8(at)
    tag = walk.take(at + 1, size).decode("latin-1")
    field = {"issue": _CAA_ISSUE, "issuewild": _CAA_WILD, "iodef": _CAA_IODEF}.get(tag, _CAA_UNKNOWN)
    value = text(walk.take(at + 1 + size, end - at - 1 - size))
    walk.add(field, value, at, end - at)
    with walk.subtree():
        walk.add_uint(_CAA_LENGTH, at)
        add_at(walk, _CAA_TAG, at + 1, size)
        add_at(walk, _CAA_VALUE, at + 1 + size, end - at - 1 - size)
    return end


def _location(walk: Walk, part: Part, at: int, end: int) -> int:
    """Where something is (RFC 1876, 2): of version 0 alone it is known how that stands there."""
    if walk.add_uint(part.field, at):
        return read_parts(walk, _LOCATION_OTHER, at, end)
    return read_parts(walk, _LOCATION, at + 1, end)


def _ports(walk: Walk, part: Part, at: int, end: int) -> int:
    """The ports that are served, as bits (RFC 1035, 3.4.2); bytes of none are left out."""
    for place, octet in enumerate(walk.take(at, end - at)):
        if octet:
            served = [8 * place + bit for bit in range(8) if octet & (0x80 >> bit)]
            walk.add(part.field, octet, at + place, 1, f"Bits: 0x{octet:02x} ({', '.join(map(str, served))})")
    return end


_GATEWAYS = (
    ipv4("dns.ipseckey.gateway_ipv4", "IPv4 Gateway"),
    ipv6("dns.ipseckey.gateway_ipv6", "IPv6 Gateway"),
    name("dns.ipseckey.gateway_dns", "DNS Gateway"),
)
_PREFIXES = (
    Field("dns.apl.afdpart.ipv4", "Address", Type.IPV4),
    Field("dns.apl.afdpart.ipv6", "Address", Type.IPV6),
    Field("dns.apl.afdpart.data", "Address", Type.BYTES),
)
_APL_NEGATION = bit("dns.apl.negation", "Negation Flag", 0x80, 1)
_APL_SIZE = Field("dns.apl.afdlength", "Address Length", Type.UINT8, mask=0x7F)
_HIP_KEY = Field("dns.hip.pk", "HIP Public Key", Type.BYTES)
_SVC_KEY = Field("dns.svcb.svcparam.key", "SvcParamKey", Type.UINT16, names=SVC_KEYS)
_SVC_LENGTH = Field("dns.svcb.svcparam.value.length", "SvcParamValue length", Type.UINT16)
_SVC_PARAMS: Mapping[int, tuple[Part, ...]] = {
    0: (many(u16("dns.svcb.svcparam.mandatory.key", "Mandatory key", names=SVC_KEYS)),),
    1: (many(counted_text("dns.svcb.svcparam.alpn.length", "ALPN length", "dns.svcb.svcparam.alpn", "ALPN")),),
    2: (),
    3: (u16("dns.svcb.svcparam.port", "Port"),),
    4: (many(ipv4("dns.svcb.svcparam.ipv4hint.ip", "IP")),),
    5: (octets("dns.svcb.svcparam.echconfig", "ECHConfig"),),
    6: (many(ipv6("dns.svcb.svcparam.ipv6hint.ip", "IP")),),
    32769: (octets("dns.svcb.svcparam.odohconfig", "ODoHConfig"),),
}
_SVC_OTHER = (octets("dns.svcb.svcparam.value", "SvcParamValue"),)
_CAA_ISSUE = Field("dns.caa.issue", "Issue", Type.STRING)
_CAA_WILD = Field("dns.caa.issuewild", "Issue Wildcard", Type.STRING)
_CAA_IODEF = Field("dns.caa.iodef", "Report URL", Type.STRING)
_CAA_UNKNOWN = Field("dns.caa.unknown", "Unknown tag", Type.STRING)
_CAA_LENGTH = Field("dns.caa.tag_length", "Tag length", Type.UINT8)
_CAA_TAG = Field("dns.caa.tag", "Tag", Type.STRING)
_CAA_VALUE = Field("dns.caa.value", "Value", Type.STRING)
_LOCATION = (
    u8("dns.loc.size", "Size"),
    u8("dns.loc.horizontal_precision", "Horizontal Precision"),
    u8("dns.loc.vertical_precision", "Vertical Precision"),
    u32("dns.loc.latitude", "Latitude"),
    u32("dns.loc.longitude", "Longitude"),
    u32("dns.loc.altitude", "Altitude"),
)
_LOCATION_OTHER = (octets("dns.loc.unknown_data", "Unknown data"),)

RR_TYPE = Field("dns.resp.type", "Type", Type.UINT16, names=TYPE_NAMES)
TYPE_BITS = Part(RR_TYPE, _type_bits)
NEXT_HASH = Part(
    Field("dns.nsec3.hash_value", "Next hashed owner", Type.STRING),
    _hash,
    count=Field("dns.nsec3.hash_length", "Hash length", Type.UINT8),
)
GATEWAY = Part(_GATEWAYS[0].field, _gateway, also=tuple(one.field for one in _GATEWAYS[1:]))
PREFIX_SIZE = Part(_APL_NEGATION, _apl_size, also=(_APL_NEGATION, _APL_SIZE))
PREFIX = Part(_PREFIXES[0], _prefix, also=_PREFIXES[1:])
SUFFIX = Part(Field("dns.a6.address_suffix", "Address Suffix", Type.IPV6), _suffix)
MAC = Part(Field("dns.tsig.mac", "MAC", Type.NONE), _mac, count=Field("dns.tsig.mac_size", "MAC Size", Type.UINT16))
TIME_SIGNED = Part(Field("dns.tsig.time_signed", "Time Signed", Type.ABSOLUTE_TIME), _signed)
TAG_AND_KEY = Part(Field("dns.hip.hit", "Host Identity Tag", Type.BYTES), _hit, also=(_HIP_KEY,))
SERVICE_PARAMETERS = Part(
    Field("dns.svcb.svcparam", "SvcParam", Type.NONE),
    _service,
    also=(_SVC_KEY, _SVC_LENGTH, *fields_of([part for some in (*_SVC_PARAMS.values(), _SVC_OTHER) for part in some])),
)
PROPERTY = Part(_CAA_ISSUE, _caa, also=(_CAA_WILD, _CAA_IODEF, _CAA_UNKNOWN, _CAA_LENGTH, _CAA_TAG, _CAA_VALUE))
LOCATION = Part(
    Field("dns.loc.version", "Version", Type.UINT8), _location, also=tuple(fields_of(_LOCATION + _LOCATION_OTHER))
)
PORTS = Part(Field("dns.wks.bits", "Bits", Type.UINT8, base="hex"), _ports)


def key_tag(name: str, label: str) -> Part:
    """What a key is known by, which is reckoned from it."""
    return Part(Field(name, label, Type.UINT16, generated=True), _key_tag)
