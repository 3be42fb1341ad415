"""DHCPv6 (RFC 8415): a type, a number and options, of which some hold options, and relayed messages whole messages."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from echowire.core.packets.cells import ipv6_text
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.layout import (
    NS_PER_S,
    Part,
    add_at,
    fields_of,
    ipv6,
    many,
    octets,
    read_parts,
    string,
    u8,
    u16,
    u32,
)
from echowire.core.packets.protocols.dns.names import read_labels
from echowire.core.packets.walk import MalformedError, Walk

RELAY_FORWARD, RELAY_REPLY = 12, 13
RELAYED = 9
MAX_DEPTH = 32
"""Messages and options within each other. A message may pass 8 relays (RFC 8415, 7.6: HOP_COUNT_LIMIT)."""
SECONDS_1970_TO_2000 = 946_684_800

_MESSAGES = {
    1: "Solicit",
    2: "Advertise",
    3: "Request",
    4: "Confirm",
    5: "Renew",
    6: "Rebind",
    7: "Reply",
    8: "Release",
    9: "Decline",
    10: "Reconfigure",
    11: "Information-request",
    RELAY_FORWARD: "Relay-forw",
    RELAY_REPLY: "Relay-reply",
    14: "Leasequery",
    15: "Leasequery-reply",
    16: "Leasequery-done",
    17: "Leasequery-data",
    18: "Reconfigure-request",
    19: "Reconfigure-reply",
}
OPTION_NAMES: Mapping[int, str] = {
    1: "Client Identifier",
    2: "Server Identifier",
    3: "Identity Association for Non-temporary Address",
    4: "Identity Association for Temporary Address",
    5: "IA Address",
    6: "Option Request",
    7: "Preference",
    8: "Elapsed time",
    9: "Relay Message",
    11: "Authentication",
    12: "Server unicast",
    13: "Status code",
    14: "Rapid Commit",
    15: "User Class",
    16: "Vendor Class",
    17: "Vendor-specific Information",
    18: "Interface-Id",
    19: "Reconfigure Message",
    20: "Reconfigure Accept",
    21: "SIP Server Domain Name List",
    22: "SIP Servers IPv6 Address List",
    23: "DNS recursive name server",
    24: "Domain Search List",
    25: "Identity Association for Prefix Delegation",
    26: "IA Prefix",
    27: "Network Information Server",
    28: "Network Information Server V2",
    29: "Network Information Server Domain Name",
    30: "Network Information Server V2 Domain Name",
    31: "Simple Network Time Protocol Server",
    32: "Lifetime",
    33: "BCMCS Server Domain",
    34: "BCMCS Servers IPv6 Address List",
    36: "Geoconf Civic Address",
    37: "Remote Identifier",
    38: "Subscriber Identifier",
    39: "Client Fully Qualified Domain Name",
    40: "PANA Agents IPv6 Address List",
    41: "Time Zone",
    42: "Time Zone Database",
    43: "Echo Request Option",
    44: "Leasequery Query",
    45: "Leasequery Client Data",
    46: "Client Last Transaction Time",
    47: "Leasequery Relay Data",
    48: "Leasequery Client Link Address List",
    49: "Home Network Identifier FQDN",
    50: "Visited Home Network Information",
    51: "LoST Server",
    52: "CAPWAP Access Controllers",
    53: "Relay-ID",
    54: "MoS IPv6 Address",
    55: "MoS Domain Name List",
    56: "NTP Server",
    57: "Access Network Domain Name",
    58: "SIP User Agent Configuration Service Domains",
    59: "Boot File URL",
    60: "Boot File Parameters",
    61: "Client System Architecture Type",
    62: "Client Network Interface Identifier",
    63: "Geolocation",
    64: "Dual-Stack Lite AFTR Name",
    65: "ERP Local Domain Name",
    66: "Relay-Supplied Options",
    67: "Prefix Exclude",
    68: "Virtual Subnet Selection",
    69: "Identified Home Network Information",
    70: "Unrestricted Home Network Information",
    71: "Home Network Prefix",
    72: "Home Agent Address",
    73: "Home Agent FQDN",
    74: "RDNSS Selection",
    75: "Kerberos Principal Name",
    76: "Kerberos Realm Name",
    77: "Kerberos Default Realm Name",
    78: "Kerberos KDC",
    79: "Client Link-Layer Address",
    80: "Link Address",
    81: "RADIUS",
    82: "SOL_MAX_RT",
    83: "INF_MAX_RT",
    84: "Address Selection",
    85: "Address Selection table",
    86: "PCP Server",
    87: "DHCPv4 Message",
    88: "DHCP 4o6 Servers Address",
    89: "S46 Rule",
    90: "S46 BR",
    91: "S46 DMR",
    92: "S46 IPv4/IPv6 Address Binding",
    93: "S46 Port Parameters",
    94: "S46 MAP-E Container",
    95: "S46 MAP-T Container",
    96: "S46 Lightweight 4over6 Container",
    97: "4rd Options",
    98: "4rd Mapping Rule",
    99: "4rd Non-Mapping Rule",
    100: "LQ Server Base Time",
    101: "LQ Server Query Start Time",
    102: "LQ Server Query End Time",
    103: "Captive Portal",
    104: "MPL Parameter Configuration",
    105: "Access Technology Type",
    106: "Access Network Name",
    107: "Access Point Name",
    108: "Access Point BSSID",
    109: "Access Network Operator ID",
    110: "Access Network Operator Realm",
    111: "S46 Priority",
    112: "Manufacturer Usage Description",
    113: "IPv4/IPv6 Multicast Prefixes",
    114: "Failover Binding Status",
    115: "Failover Connect Flags",
    116: "Failover DNS Removal Info",
    117: "Failover DNS Hostname",
    118: "Failover DNS Zone Name",
    119: "Failover DNS Flags",
    120: "Failover Expiration Time",
    121: "Failover Maximum Number Unacked BNDUPD Messages",
    122: "Failover Maximum Client Lead Time (MCLT)",
    123: "Failover Partner Lifetime",
    124: "Failover Partner Lifetime Sent",
    125: "Failover Partner Down Time",
    126: "Failover Partner Raw Client Time",
    127: "Failover Protocol Version",
    128: "Failover Keepalive Time",
    129: "Failover Reconfigure Data",
    130: "Failover Relationship Name",
    131: "Failover Server Flags",
    132: "Failover Server State",
    133: "Failover Start Time of State",
    134: "Failover State Expiration Time",
    135: "Relay Source Port",
    136: "SZTP Redirect",
    137: "Softwire Source Binding Prefix Hint",
    143: "ANDSF IPv6 Address",
    165: "Mobile IPv6 Home Agent",
    166: "Mobile IPv6 Home Address",
    167: "Network Access Identifier",
}
_DUIDS = {
    1: "link-layer address plus time",
    2: "assigned by vendor based on Enterprise number",
    3: "link-layer address",
    4: "Universally Unique IDentifier (UUID)",
}
_STATUSES = {
    0: "Success",
    1: "UnspecFail",
    2: "NoAddrAvail",
    3: "NoBinding",
    4: "NotOnLink",
    5: "UseMulticast",
    6: "NoPrefixAvail",
    7: "UnknownQueryType",
    8: "MalformedQuery",
    9: "NotConfigured",
    10: "NotAllowed",
}

_TYPE = Field("dhcpv6.msgtype", "Message type", Type.UINT8, names=_MESSAGES)
_ID = Field("dhcpv6.xid", "Transaction ID", Type.UINT24, base="hex")
_HOPS = Field("dhcpv6.hopcount", "Hopcount", Type.UINT8)
_LINK = Field("dhcpv6.linkaddr", "Link address", Type.IPV6)
_PEER = Field("dhcpv6.peeraddr", "Peer address", Type.IPV6)
_OPTION = Field("dhcpv6.option.type", "Option", Type.UINT16, names=OPTION_NAMES)
_LENGTH = Field("dhcpv6.option.length", "Length", Type.UINT16)
_DUID = Field("dhcpv6.duid.bytes", "DUID", Type.BYTES)
_DUID_TYPE = Field("dhcpv6.duid.type", "DUID Type", Type.UINT16, names=_DUIDS)
_LLT_HARDWARE = Field("dhcpv6.duidllt.hwtype", "Hardware type", Type.UINT16, names={1: "Ethernet"})
_LLT_TIME = Field("dhcpv6.duidllt.time", "DUID Time", Type.ABSOLUTE_TIME)
_LLT_ADDRESS = Field("dhcpv6.duidllt.link_layer_addr", "Link-layer address", Type.STRING)
_LL_HARDWARE = Field("dhcpv6.duidll.hwtype", "Hardware type", Type.UINT16, names={1: "Ethernet"})
_LL_ADDRESS = Field("dhcpv6.duidll.link_layer_addr", "Link-layer address", Type.STRING)
_EN_NUMBER = Field("dhcpv6.duiden.enterprise", "Enterprise ID", Type.UINT32)
_EN_ID = Field("dhcpv6.duiden.identifier", "Identifier", Type.BYTES)
_UUID = Field("dhcpv6.duiduuid.bytes", "UUID", Type.BYTES)
_IAID = Field("dhcpv6.iaid", "IAID", Type.STRING)
_IATA = Field("dhcpv6.iata", "IATA", Type.STRING)
_T1 = Field("dhcpv6.iaid.t1", "T1", Type.UINT32)
_T2 = Field("dhcpv6.iaid.t2", "T2", Type.UINT32)
_ADDRESS = Field("dhcpv6.iaaddr.ip", "IPv6 address", Type.IPV6)
_ADDRESS_PREFERRED = Field("dhcpv6.iaaddr.pref_lifetime", "Preferred lifetime", Type.UINT32)
_ADDRESS_VALID = Field("dhcpv6.iaaddr.valid_lifetime", "Valid lifetime", Type.UINT32)
_PREFIX_PREFERRED = Field("dhcpv6.iaprefix.pref_lifetime", "Preferred lifetime", Type.UINT32)
_PREFIX_VALID = Field("dhcpv6.iaprefix.valid_lifetime", "Valid lifetime", Type.UINT32)
_PREFIX_LENGTH = Field("dhcpv6.iaprefix.pref_len", "Prefix length", Type.UINT8)
_PREFIX = Field("dhcpv6.iaprefix.pref_addr", "Prefix address", Type.IPV6)
_ELAPSED = Field("dhcpv6.elapsed_time", "Elapsed time", Type.UINT32, size=2)
_REMOTE_NUMBER = Field("dhcpv6.remoteid.enterprise", "Enterprise ID", Type.UINT32)
_REMOTE_ID = Field("dhcpv6.remoteid_enterprise_id", "Remote-ID", Type.BYTES)
_FQDN_FLAGS = Field("dhcpv6.client_fqdn_flags", "Flags", Type.UINT8, base="hex")
_FQDN = Field("dhcpv6.client_domain", "Client Domain Name", Type.STRING)
_VENDOR_NUMBER = Field("dhcpv6.vendoropts.enterprise", "Enterprise ID", Type.UINT32)
_VENDOR_CODE = Field("dhcpv6.vendoropts.enterprise.option_code", "Option code", Type.UINT16)
_VENDOR_LENGTH = Field("dhcpv6.vendoropts.enterprise.option_length", "Option length", Type.UINT16)
_VENDOR_DATA = Field("dhcpv6.vendoropts.enterprise.option_data", "Option data", Type.BYTES)
_CLASS_NUMBER = Field("dhcpv6.vendorclass.enterprise", "Enterprise ID", Type.UINT32)
_CLASS_DATA = Field("dhcpv6.vendorclass.data", "vendor-class-data", Type.STRING)
_USER_LENGTH = Field("dhcpv6.userclass.length", "Length", Type.UINT16)
_USER_DATA = Field("dhcpv6.userclass.opaque_data", "Suboption", Type.BYTES)


def _names(name: str, label: str) -> Part:
    """Domain names without compression (RFC 8415, 10)."""
    return Part(Field(name, label, Type.STRING), _read_names)


def _read_names(walk: Walk, part: Part, at: int, end: int) -> int:
    for name, where, size in read_labels(walk.take(at, end - at)):
        walk.add(part.field, f"{name}.", at + where, size)
    return end


_OPTIONS: Mapping[int, tuple[Part, ...]] = {
    6: (many(u16("dhcpv6.requested_option_code", "Requested Option code", names=OPTION_NAMES)),),
    7: (u8("dhcpv6.option_preference", "Pref-value"),),
    12: (ipv6("dhcpv6.unicast", "IPv6 address"),),
    13: (
        u16("dhcpv6.status_code", "Status Code", names=_STATUSES),
        string("dhcpv6.status_msg", "Status Message"),
    ),
    18: (octets("dhcpv6.interface_id", "Interface-ID"),),
    19: (u8("dhcpv6.reconf_msg", "Reconfigure message type", names=_MESSAGES),),
    21: (_names("dhcpv6.sip_server_domain_search_fqdn", "SIP Server Domain Search FQDN"),),
    22: (many(ipv6("dhcpv6.sip_server_a", "SIP server address")),),
    23: (many(ipv6("dhcpv6.dns_server", "DNS server address")),),
    24: (_names("dhcpv6.search_list_entry", "List entry"),),
    27: (many(ipv6("dhcpv6.nis_server", "NIS server address")),),
    28: (many(ipv6("dhcpv6.nisp_server", "NISP server address")),),
    29: (_names("dhcpv6.nis_fqdn", "NIS FQDN"),),
    30: (_names("dhcpv6.nisp_fqdn", "NISP FQDN"),),
    31: (many(ipv6("dhcpv6.sntp_server", "SNTP server address")),),
    32: (u32("dhcpv6.lifetime", "Lifetime"),),
    38: (string("dhcpv6.subscriber_id", "Subscriber-ID"),),
    41: (string("dhcpv6.timezone", "Time-zone"),),
    42: (string("dhcpv6.tzdb", "TZ-database"),),
    46: (u32("dhcpv6.clt_time", "Clt_time"),),
    52: (many(ipv6("dhcpv6.capwap_ac_v6", "CAPWAP Access Controllers address")),),
    64: (_names("dhcpv6.aftr_name", "DS-Lite AFTR Name"),),
    103: (string("dhcpv6.captive_portal", "Captive Portal"),),
    112: (string("dhcpv6.mudurl", "MUDURL"),),
    135: (u16("dhcpv6.relay_port", "Downstream Source Port"),),
}


class _Reader:
    """One packet being walked, and what the packet list will say of it."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.told: list[str] = walk.layer.once("told", dict[int, list[str]]).setdefault(walk.entry, [])

    def message(self, at: int, end: int, depth: int) -> None:
        """A message (RFC 8415, 8), or one that a relay has wrapped (9)."""
        walk, kind = self.walk, self.walk.u8(at)
        walk.add_uint(_TYPE, at)
        name = _MESSAGES.get(kind, f"Message Type {kind}")
        if kind in (RELAY_FORWARD, RELAY_REPLY):
            self.told.append(f"{name} ")
            walk.add_uint(_HOPS, at + 1)
            link = add_at(walk, _LINK, at + 2)
            add_at(walk, _PEER, at + 18)
            self.told.append(f"L: {ipv6_text(link)} ")
            self.options(at + 34, end, depth)
        else:
            self.told.append(f"{name} XID: 0x{walk.uint(at + 1, 3):06x} ")
            walk.add_uint(_ID, at + 1)
            self.options(at + 4, end, depth)

    def options(self, at: int, end: int, depth: int) -> None:
        """Options up to `end`."""
        if depth > MAX_DEPTH:
            raise MalformedError("options within options without end")
        walk = self.walk
        while at < end:
            code, size = walk.u16(at), walk.u16(at + 2)
            with walk.subtree(OPTION_NAMES.get(code, f"DHCP option {code}"), at, 4 + size):
                walk.add_uint(_OPTION, at)
                walk.add_uint(_LENGTH, at + 2)
                walk.need(at + 4, size)
                self.option(code, at + 4, at + 4 + size, depth)
            at += 4 + size

    def option(self, code: int, at: int, end: int, depth: int) -> None:
        """What an option holds."""
        walk = self.walk
        if code == RELAYED:
            with walk.subtree("DHCPv6", at, end - at):
                self.message(at, end, depth + 1)
        elif code in (1, 2, 53):
            if code == 1:
                self.told.append(f"CID: {walk.take(at, end - at).hex()} ")
            _duid(walk, at, end)
        elif code in (3, 25):
            walk.add(_IAID, walk.take(at, 4).hex(), at, 4)
            walk.add_uint(_T1, at + 4)
            walk.add_uint(_T2, at + 8)
            self.options(at + 12, end, depth + 1)
        elif code == 4:
            walk.add(_IATA, walk.take(at, 4).hex(), at, 4)
            self.options(at + 4, end, depth + 1)
        elif code == 5:
            self.told.append(f"IAA: {ipv6_text(add_at(walk, _ADDRESS, at))} ")
            walk.add_uint(_ADDRESS_PREFERRED, at + 16)
            walk.add_uint(_ADDRESS_VALID, at + 20)
            self.options(at + 24, end, depth + 1)
        elif code == 26:
            walk.add_uint(_PREFIX_PREFERRED, at)
            walk.add_uint(_PREFIX_VALID, at + 4)
            walk.add_uint(_PREFIX_LENGTH, at + 8)
            add_at(walk, _PREFIX, at + 9)
            self.options(at + 25, end, depth + 1)
        elif code in _READERS:
            _READERS[code](walk, at, end)
        else:
            read_parts(walk, _OPTIONS.get(code, ()), at, end)


def _duid(walk: Walk, at: int, end: int) -> None:
    """A DUID (RFC 8415, 11)."""
    add_at(walk, _DUID, at, end - at)
    kind = walk.add_uint(_DUID_TYPE, at)
    if kind == 1:
        walk.add_uint(_LLT_HARDWARE, at + 2)
        walk.add(_LLT_TIME, (walk.u32(at + 4) + SECONDS_1970_TO_2000) * NS_PER_S, at + 4, 4)
        walk.add(_LLT_ADDRESS, walk.take(at + 8, end - at - 8).hex(":"), at + 8, end - at - 8)
    elif kind == 2:
        walk.add_uint(_EN_NUMBER, at + 2)
        add_at(walk, _EN_ID, at + 6, end - at - 6)
    elif kind == 3:
        walk.add_uint(_LL_HARDWARE, at + 2)
        walk.add(_LL_ADDRESS, walk.take(at + 4, end - at - 4).hex(":"), at + 4, end - at - 4)
    elif kind == 4 and end - at == 18:
        raw = walk.take(at + 2, 16)
        walk.add(_UUID, raw, at + 2, 16, f"UUID: {UUID(bytes=raw)}")


def _elapsed(walk: Walk, at: int, end: int) -> None:
    """Hundredths of a second (RFC 8415, 21.9), as milliseconds."""
    value = 10 * walk.u16(at)
    walk.add(_ELAPSED, value, at, 2, f"Elapsed time: {value}ms")


def _remote(walk: Walk, at: int, end: int) -> None:
    walk.add_uint(_REMOTE_NUMBER, at)
    add_at(walk, _REMOTE_ID, at + 4, end - at - 4)


def _fqdn(walk: Walk, at: int, end: int) -> None:
    walk.add_uint(_FQDN_FLAGS, at)
    names = read_labels(walk.take(at + 1, end - at - 1))
    walk.add(_FQDN, f"{names[0][0]}." if names else "", at + 1, end - at - 1)


def _vendor(walk: Walk, at: int, end: int) -> None:
    walk.add_uint(_VENDOR_NUMBER, at)
    at += 4
    while at < end:
        size = walk.u16(at + 2)
        if at + 4 + size > end:
            return
        with walk.subtree("option", at, 4 + size):
            walk.add_uint(_VENDOR_CODE, at)
            walk.add_uint(_VENDOR_LENGTH, at + 2)
            walk.add(_VENDOR_DATA, walk.take(at + 4, size), at + 4, size)
        at += 4 + size


def _vendor_class(walk: Walk, at: int, end: int) -> None:
    walk.add_uint(_CLASS_NUMBER, at)
    at += 4
    while at < end:
        size = walk.u16(at)
        if at + 2 + size > end:
            return
        walk.add(_CLASS_DATA, walk.take(at + 2, size).split(b"\0")[0].decode("utf-8", "replace"), at + 2, size)
        at += 2 + size


def _user_class(walk: Walk, at: int, end: int) -> None:
    while at < end:
        size = walk.u16(at)
        if at + 2 + size > end:
            return
        walk.add_uint(_USER_LENGTH, at)
        walk.add(_USER_DATA, walk.take(at + 2, size), at + 2, size)
        at += 2 + size


_READERS = {8: _elapsed, 15: _user_class, 16: _vendor_class, 17: _vendor, 37: _remote, 39: _fqdn}


def _walk(walk: Walk) -> None:
    _Reader(walk).message(0, walk.wire_size, 0)


def _info(layer: Layer) -> list[str]:
    told = layer.once("told", dict[int, list[str]])
    return ["".join(told.get(entry, ())) for entry in range(len(layer))]


PROTOCOLS = (
    Protocol(
        "dhcpv6",
        "DHCPv6",
        "DHCPv6",
        fields=(
            *(_TYPE, _ID, _HOPS, _LINK, _PEER, _OPTION, _LENGTH, _DUID, _DUID_TYPE, _LLT_HARDWARE, _LLT_TIME),
            *(_LLT_ADDRESS, _LL_HARDWARE, _LL_ADDRESS, _EN_NUMBER, _EN_ID, _UUID, _IAID, _IATA, _T1, _T2),
            *(_ADDRESS, _ADDRESS_PREFERRED, _ADDRESS_VALID, _PREFIX_PREFERRED, _PREFIX_VALID, _PREFIX_LENGTH),
            *(_PREFIX, _ELAPSED, _REMOTE_NUMBER, _REMOTE_ID, _FQDN_FLAGS, _FQDN, _VENDOR_NUMBER, _VENDOR_CODE),
            *(_VENDOR_LENGTH, _VENDOR_DATA, _CLASS_NUMBER, _CLASS_DATA, _USER_LENGTH, _USER_DATA),
            *fields_of([part for parts in _OPTIONS.values() for part in parts]),
        ),
        keys=(("udp.port", 546), ("udp.port", 547)),
        walk=_walk,
        info=_info,
    ),
)
