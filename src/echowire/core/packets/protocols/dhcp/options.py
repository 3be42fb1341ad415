"""DHCP's options, a row each: what it is called and what it holds (RFC 2132 and after it)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from uuid import UUID

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field
from echowire.core.packets.layout import (
    Part,
    add_at,
    fields_of,
    fixed,
    ipv4,
    many,
    octets,
    read_parts,
    rest,
    seconds_text,
    string,
    u8,
    u16,
    u32,
)
from echowire.core.packets.protocols.dns.names import read_labels
from echowire.core.packets.walk import MalformedError, Walk

MESSAGE_TYPES: Mapping[int, str] = {
    1: "Discover",
    2: "Offer",
    3: "Request",
    4: "Decline",
    5: "ACK",
    6: "NAK",
    7: "Release",
    8: "Inform",
    9: "Force Renew",
    10: "Lease query",
    11: "Lease Unassigned",
    12: "Lease Unknown",
    13: "Lease Active",
    14: "Bulk Lease Query",
    15: "Lease Query Done",
    16: "Active LeaseQuery",
    17: "Lease Query Status",
    18: "TLS",
}
HARDWARE: Mapping[int, str] = {
    0: "NET/ROM pseudo",
    1: "Ethernet",
    2: "Experimental Ethernet",
    3: "AX.25",
    4: "ProNET",
    5: "Chaos",
    6: "IEEE 802",
    7: "ARCNET",
    15: "Frame Relay DLCI",
    16: "ATM",
    17: "HDLC",
    18: "Fibre Channel",
    19: "ATM (RFC 2225)",
    20: "Serial Line",
    24: "IEEE 1394.1995",
    27: "EUI-64",
    31: "IPsec tunnel",
    32: "InfiniBand",
}
"""Of the numbers of ARP's hardware those that ask for an address."""
ETHERNET_LIKE = frozenset({1, 6})

NODE_TYPES = {1: "B-node", 2: "P-node", 4: "M-node", 8: "H-node"}
OVERLOADS = {
    1: "Boot file name holds options",
    2: "Server host name holds options",
    3: "Boot file and server host names hold options",
}
ARCHITECTURES = {
    0: "IA x86 PC",
    1: "NEC/PC98",
    2: "IA64 PC",
    3: "DEC Alpha",
    4: "ArcX86",
    5: "Intel Lean Client",
    6: "EFI IA32",
    7: "EFI BC",
    8: "EFI Xscale",
    9: "EFI x86-64",
    10: "ARM 32-bit UEFI",
    11: "ARM 64-bit UEFI",
}
"""RFC 4578, 2.1, and what IANA added."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its name, and what it holds."""

    title: str
    parts: tuple[Part, ...] = ()


def option_title(code: int) -> str:
    """The name of an option."""
    if code in OPTIONS:
        return OPTIONS[code].title
    return "Private" if code >= 224 else "Unassigned"


def _width(part: Part) -> int:
    return sum(map(_width, part.parts)) if part.parts else part.field.width if part.read is fixed else 0


def read_option(walk: Walk, code: int, at: int, size: int) -> None:
    """What an option holds. A number, an address that is shorter or longer than it can be is left out."""
    option = OPTIONS.get(code)
    parts = option.parts if option else ()
    width = _width(parts[0]) if len(parts) == 1 else 0
    if width and not parts[0].parts and size != width:
        return
    read_parts(walk, parts, at, at + (size - size % width if width else size))


def _read_duration(walk: Walk, part: Part, at: int, end: int) -> int:
    if end - at != 4:
        return end
    value = walk.u32(at)
    said = "infinity" if value == 0xFFFFFFFF else f"({value}s) {seconds_text(value)}"
    walk.add(part.field, value, at, 4, f"{part.field.label}: {said}")
    return at + 4


def _duration(name: str, label: str) -> Part:
    return Part(Field(name, label, Type.UINT32), _read_duration)


def _yes(name: str, label: str) -> Part:
    return Part(Field(name, label, Type.BOOLEAN, names={1: "Enabled", 0: "Disabled"}), fixed)


def _read_requested(walk: Walk, part: Part, at: int, end: int) -> int:
    for place, code in enumerate(walk.take(at, end - at), at):
        walk.add(part.field, code, place, 1, f"{part.field.label}: ({code}) {option_title(code)}")
    return end


def _read_client(walk: Walk, part: Part, at: int, end: int) -> int:
    """The client's identifier (RFC 2132, 9.14; RFC 4361, 6.1): a hardware address, a DUID, or what the client likes."""
    kind, size = walk.u8(at), end - at - 1
    if kind in ETHERNET_LIKE and size == 6:
        walk.add_uint(HARDWARE_TYPE, at)
        add_at(walk, HARDWARE_ADDRESS, at + 1)
    elif kind == 255 and size >= 6:
        walk.add_text(f"IAID: {walk.take(at + 1, 4).hex()}", at + 1, 4)
        walk.add_uint(_DUID_TYPE, at + 5)
    elif kind == 0:
        walk.add_uint(_CLIENT_TYPE, at)
        add_at(walk, _CLIENT_TEXT, at + 1, size)
    else:
        walk.add_uint(HARDWARE_TYPE, at)
        walk.add(part.field, walk.take(at + 1, size), at + 1, size)
    return end


def _read_agent(walk: Walk, part: Part, at: int, end: int) -> int:
    """What a relay agent adds: options within the option (RFC 3046, 2)."""
    while at + 2 <= end:
        code, size = walk.u8(at), walk.u8(at + 1)
        if at + 2 + size > end:
            raise MalformedError("an agent's option reaches beyond its option")
        title, parts = _AGENT_OPTIONS.get(code, ("Unknown", ()))
        walk.add(part.field, code, at, 2 + size, f"{part.field.label}: ({code}) {title}")
        with walk.subtree():
            walk.add_text(f"Length: {size}", at + 1, 1)
            walk.add(_AGENT_VALUE, walk.take(at + 2, size), at + 2, size)
            read_parts(walk, parts, at + 2, at + 2 + size)
        at += 2 + size
    return end


def _read_routes(walk: Walk, part: Part, at: int, end: int) -> int:
    """Routes: a width, as many bytes of the net as that needs, and a router (RFC 3442)."""
    while at < end:
        width = walk.u8(at)
        if width > 32:
            raise MalformedError("a mask of more than 32 bits")
        size = (width + 7) // 8
        net = IPv4Address(walk.take(at + 1, size).ljust(4, b"\0"))
        router = IPv4Address(walk.take(at + 1 + size, 4))
        raw = walk.take(at, 5 + size)
        where = f"{net}/{width}" if width else "default"
        walk.add(part.field, raw, at, 5 + size, f"{where}-{router}")
        at += 5 + size
    return at


def _read_search(walk: Walk, part: Part, at: int, end: int) -> int:
    """Domain names, which may be compressed within the option (RFC 3397, 2)."""
    for name, where, size in read_labels(walk.take(at, end - at)):
        walk.add(part.field, name, at + where, size)
    return end


def _read_fqdn(walk: Walk, part: Part, at: int, end: int) -> int:
    """The client's name: text, or labels where the flags say so (RFC 4702, 2.1)."""
    if walk.u8(at - 3) & 0x04:
        names = read_labels(walk.take(at, end - at))
        walk.add(part.field, names[0][0] if names else "", at, end - at)
        return end
    return rest(walk, part, at, end)


def _read_uuid(walk: Walk, part: Part, at: int, end: int) -> int:
    """The identifier of a machine (RFC 4578, 2.3), whose first numbers stand the other way round."""
    if walk.u8(at) == 0 and end - at == 17:
        walk.add(part.field, str(UUID(bytes_le=walk.take(at + 1, 16))), at + 1, 16)
        return end
    return rest(walk, _CLIENT, at, end)


def _bit(name: str, label: str, mask: int) -> Field:
    return Field(name, label, Type.BOOLEAN, size=1, mask=mask)


LENGTH = Field("dhcp.option.length", "Length", Type.UINT8)
HARDWARE_TYPE = Field("dhcp.hw.type", "Hardware type", Type.UINT8, names=HARDWARE, base="hex")
HARDWARE_ADDRESS = Field("dhcp.hw.mac_addr", "Client MAC address", Type.ETHER)
_CLIENT_TYPE = Field("dhcp.client_id.type", "Type", Type.UINT8)
_CLIENT_TEXT = Field("dhcp.client_id.undef", "Client Identifier", Type.STRING)
_DUID_TYPE = Field("dhcp.client_id.duid_type", "DUID Type", Type.UINT16)
_CLIENT = Part(
    Field("dhcp.client_id", "Identifier", Type.BYTES),
    _read_client,
    also=(HARDWARE_TYPE, HARDWARE_ADDRESS, _CLIENT_TYPE, _CLIENT_TEXT, _DUID_TYPE),
)
_REQUESTED = Part(Field("dhcp.option.request_list_item", "Parameter Request List Item", Type.UINT8), _read_requested)
_ROUTES = Part(
    Field("dhcp.option.classless_static_route", "Subnet/MaskWidth-Router", Type.BYTES),
    _read_routes,
)
_SEARCH = Part(Field("dhcp.option.dhcp_dns_domain_search_list_fqdn", "FQDN", Type.STRING), _read_search)
_PORTAL = string("dhcp.option.captive_portal", "Captive Portal")
_UUID = Part(Field("dhcp.client_id.uuid", "Client Identifier (UUID)", Type.GUID), _read_uuid)
_FQDN_NAME = Part(Field("dhcp.fqdn.name", "Client name", Type.STRING), _read_fqdn)
_FQDN_FLAGS = u8(
    "dhcp.fqdn.flags",
    "Flags",
    base="hex",
    bits=(
        Field("dhcp.fqdn.mbz", "Reserved flags", Type.UINT8, mask=0xF0, base="hex"),
        _bit("dhcp.fqdn.n", "Server DDNS", 0x08),
        _bit("dhcp.fqdn.e", "Encoding", 0x04),
        _bit("dhcp.fqdn.o", "Server overrides", 0x02),
        _bit("dhcp.fqdn.s", "Server", 0x01),
    ),
)
_AGENT_PREFIX = "dhcp.option.agent_information_option"
_AGENT_VALUE = Field(f"{_AGENT_PREFIX}.value", "Value", Type.BYTES, hidden=True)
_AGENT_OPTIONS: Mapping[int, tuple[str, tuple[Part, ...]]] = {
    1: ("Agent Circuit ID", (octets(f"{_AGENT_PREFIX}.agent_circuit_id", "Agent Circuit ID"),)),
    2: ("Agent Remote ID", (octets(f"{_AGENT_PREFIX}.agent_remote_id", "Agent Remote ID"),)),
    5: ("Link selection", (ipv4(f"{_AGENT_PREFIX}.link_selection", "Link selection"),)),
    6: ("Subscriber ID", (string(f"{_AGENT_PREFIX}.subscriber_id", "Subscriber ID"),)),
    7: ("RADIUS Attributes", (octets(f"{_AGENT_PREFIX}.radius_attributes", "RADIUS Attributes"),)),
    8: ("Authentication", (octets(f"{_AGENT_PREFIX}.authentication", "Authentication"),)),
    10: ("Flags", (u8(f"{_AGENT_PREFIX}.flags", "Flags", base="hex"),)),
    11: ("Server ID Override", (ipv4(f"{_AGENT_PREFIX}.server_id_override", "Server ID Override"),)),
    12: ("Relay Agent Identifier", (octets(f"{_AGENT_PREFIX}.relay_agent_id", "Relay Agent Identifier"),)),
}
_AGENT = Part(
    Field(f"{_AGENT_PREFIX}.suboption", "Option 82 Suboption", Type.UINT8),
    _read_agent,
    also=(_AGENT_VALUE, *fields_of([part for _, parts in _AGENT_OPTIONS.values() for part in parts])),
)


def _one(make: Callable[..., Part], several: bool = False) -> Callable[..., Option]:
    """How a row is made of an option that holds one kind of thing; its field is labelled as the option is called."""

    def row(title: str, name: str, label: str = "", **more: Mapping[int, str]) -> Option:
        part = make(f"dhcp.option.{name}", label or title, **more)
        return Option(title, (many(part) if several else part,))

    return row


_address, _addresses = _one(ipv4), _one(ipv4, several=True)
_text, _flag, _time = _one(string), _one(_yes), _one(_duration)
_u8, _u8s, _u16, _u16s = _one(u8), _one(u8, several=True), _one(u16), _one(u16, several=True)

OPTIONS: Mapping[int, Option] = {
    0: Option("Padding"),
    1: _address("Subnet Mask", "subnet_mask"),
    2: Option("Time Offset", (Part(Field("dhcp.option.time_offset", "Time Offset", Type.INT32), fixed),)),
    3: _addresses("Router", "router"),
    4: _addresses("Time Server", "time_server"),
    5: _addresses("Name Server", "name_server"),
    6: _addresses("Domain Name Server", "domain_name_server"),
    7: _addresses("Log Server", "log_server"),
    8: _addresses("Quotes Server", "quotes_server"),
    9: _addresses("LPR Server", "lpr_server"),
    10: _addresses("Impress Server", "impress_server"),
    11: Option(
        "Resource Location Server", (many(ipv4("dhcp.option.resource_location_server", "Resource Location Server")),)
    ),
    12: _text("Host Name", "hostname"),
    13: _u16("Boot File Size", "boot_file_size"),
    14: _text("Merit Dump File", "merit_dump_file"),
    15: _text("Domain Name", "domain_name"),
    16: _address("Swap Server", "swap_server"),
    17: _text("Root Path", "root_path"),
    18: _text("Extensions Path", "extension_path"),
    19: _flag("IP Forwarding", "ip_forwarding"),
    20: _flag("Non-Local Source Routing", "non_local_source_routing"),
    21: Option(
        "Policy Filter",
        (
            many(
                ipv4("dhcp.option.policy_filter.ip", "IP Address"),
                ipv4("dhcp.option.policy_filter.subnet_mask", "Subnet Mask"),
            ),
        ),
    ),
    22: Option(
        "Maximum Datagram Reassembly Size",
        (u16("dhcp.option.max_datagram_reassembly_size", "Maximum Datagram Reassembly Size"),),
    ),
    23: _u8("Default IP Time-to-Live", "default_ip_ttl"),
    24: _time("Path MTU Aging Timeout", "path_mtu_aging_timeout"),
    25: Option(
        "Path MTU Plateau Table", (many(u16("dhcp.option.path_mtu_plateau_table_item", "Path MTU Plateau Table Item")),)
    ),
    26: _u16("Interface MTU", "interface_mtu"),
    27: _flag("All Subnets are Local", "all_subnets_are_local"),
    28: _address("Broadcast Address", "broadcast_address"),
    29: _flag("Perform Mask Discovery", "perform_mask_discovery"),
    30: _flag("Mask Supplier", "mask_supplier"),
    31: _flag("Perform Router Discover", "perform_router_discover"),
    32: Option(
        "Router Solicitation Address", (ipv4("dhcp.option.router_solicitation_address", "Router Solicitation Address"),)
    ),
    33: Option(
        "Static Route",
        (
            many(
                ipv4("dhcp.option.static_route.ip", "Destination IP Address"),
                ipv4("dhcp.option.static_route.router", "Destination Router"),
            ),
        ),
    ),
    34: _flag("Trailer Encapsulation", "trailer_encapsulation"),
    35: _time("ARP Cache Timeout", "arp_cache_timeout"),
    36: _flag("Ethernet Encapsulation", "ethernet_encapsulation"),
    37: _u8("TCP Default TTL", "tcp_default_ttl"),
    38: _time("TCP Keepalive Interval", "tcp_keepalive_interval"),
    39: _flag("TCP Keepalive Garbage", "tcp_keepalive_garbage"),
    40: Option(
        "Network Information Service Domain", (string("dhcp.option.nis_domain", "Network Information Service Domain"),)
    ),
    41: Option(
        "Network Information Service Servers",
        (many(ipv4("dhcp.option.nis_server", "Network Information Service Server")),),
    ),
    42: Option(
        "Network Time Protocol Servers", (many(ipv4("dhcp.option.ntp_server", "Network Time Protocol Server")),)
    ),
    43: Option("Vendor-Specific Information", (octets("dhcp.option.vendor.value", "Value"),)),
    44: Option(
        "NetBIOS over TCP/IP Name Server",
        (many(ipv4("dhcp.option.netbios_over_tcpip_name_server", "NetBIOS over TCP/IP Name Server")),),
    ),
    45: Option(
        "NetBIOS over TCP/IP Datagram Distribution Name Server",
        (
            many(
                ipv4(
                    "dhcp.option.netbios_over_tcpip_dd_name_server",
                    "NetBIOS over TCP/IP Datagram Distribution Name Server",
                )
            ),
        ),
    ),
    46: Option(
        "NetBIOS over TCP/IP Node Type",
        (u8("dhcp.option.netbios_over_tcpip_node_type", "NetBIOS over TCP/IP Node Type", names=NODE_TYPES),),
    ),
    47: Option(
        "NetBIOS over TCP/IP Scope", (string("dhcp.option.netbios_over_tcpip_scope", "NetBIOS over TCP/IP Scope"),)
    ),
    48: Option(
        "X Window System Font Server",
        (many(ipv4("dhcp.option.xwindows_system_font_server", "X Window System Font Server")),),
    ),
    49: Option(
        "X Window System Display Manager",
        (many(ipv4("dhcp.option.xwindows_system_display_manager", "X Window System Display Manager")),),
    ),
    50: _address("Requested IP Address", "requested_ip_address"),
    51: _time("IP Address Lease Time", "ip_address_lease_time"),
    52: _u8("Option Overload", "option_overload", names=OVERLOADS),
    53: _u8("DHCP Message Type", "dhcp", "DHCP", names=MESSAGE_TYPES),
    54: _address("DHCP Server Identifier", "dhcp_server_id"),
    55: Option("Parameter Request List", (_REQUESTED,)),
    56: _text("Message", "message"),
    57: _u16("Maximum DHCP Message Size", "dhcp_max_message_size"),
    58: _time("Renewal Time Value", "renewal_time_value"),
    59: _time("Rebinding Time Value", "rebinding_time_value"),
    60: _text("Vendor class identifier", "vendor_class_id"),
    61: Option("Client identifier", (_CLIENT,)),
    62: Option(
        "Novell/Netware IP domain", (string("dhcp.option.novell_netware_ip_domain", "Novell/Netware IP domain"),)
    ),
    63: Option("Novell Options"),
    64: Option(
        "Network Information Service+ Domain",
        (string("dhcp.option.nis_plus_domain", "Network Information Service+ Domain"),),
    ),
    65: Option(
        "Network Information Service+ Servers",
        (many(ipv4("dhcp.option.nis_plus_server", "Network Information Service+ Server")),),
    ),
    66: _text("TFTP Server Name", "tftp_server_name"),
    67: _text("Bootfile name", "bootfile_name"),
    68: _addresses("Mobile IP Home Agent", "mobile_ip_home_agent"),
    69: _addresses("SMTP Server", "smtp_server"),
    70: _addresses("POP3 Server", "pop3_server"),
    71: _addresses("NNTP Server", "nntp_server"),
    72: _addresses("Default WWW Server", "default_www_server"),
    73: _addresses("Default Finger Server", "default_finger_server"),
    74: _addresses("Default IRC Server", "default_irc_server"),
    75: _addresses("StreetTalk Server", "streettalk_server"),
    76: Option(
        "StreetTalk Directory Assistance Server",
        (many(ipv4("dhcp.option.streettalk_da_server", "StreetTalk Directory Assistance Server")),),
    ),
    77: _text("User Class Information", "user_class.text", "User Class Data (Text)"),
    78: Option(
        "Directory Agent Information",
        (
            u8("dhcp.option.slp_directory_agent.value", "Value"),
            many(ipv4("dhcp.option.slp_directory_agent.slpda_address", "IP Address")),
        ),
    ),
    79: Option(
        "Service Location Agent Scope",
        (
            u8("dhcp.option.slp_service_scope.value", "Value"),
            string("dhcp.option.slp_service_scope.string", "SLP Service Scope"),
        ),
    ),
    80: Option("Rapid commit"),
    81: Option(
        "Client Fully Qualified Domain Name",
        (_FQDN_FLAGS, u8("dhcp.fqdn.rcode1", "A-RR result"), u8("dhcp.fqdn.rcode2", "PTR-RR result"), _FQDN_NAME),
    ),
    82: Option("Agent Information Option", (_AGENT,)),
    83: Option("iSNS"),
    85: _addresses("Novell Directory Services Servers", "novell_dss.ip", "IP Address"),
    86: Option(
        "Novell Directory Services Tree Name",
        (string("dhcp.option.novell_ds_tree_name", "Novell Directory Services Tree Name"),),
    ),
    87: Option(
        "Novell Directory Services Context",
        (string("dhcp.option.novell_ds_context", "Novell Directory Services Context"),),
    ),
    88: Option("BCMCS Controller Domain Name [TODO:RFC4280]"),
    89: Option("BCMCS Controller IPv4 address [TODO:RFC4280]"),
    90: Option(
        "Authentication",
        (
            u8("dhcp.option.dhcp_authentication.protocol", "Protocol"),
            u8("dhcp.option.dhcp_authentication.algorithm", "Algorithm"),
            u8("dhcp.option.dhcp_authentication.rdm", "Replay Detection Method"),
            Part(
                Field(
                    "dhcp.option.dhcp_authentication.rdm_replay_detection",
                    "RDM Replay Detection Value",
                    Type.UINT64,
                    base="hex",
                ),
                fixed,
            ),
            string("dhcp.option.dhcp_authentication.information", "Authentication Information"),
        ),
    ),
    91: Option(
        "Client last transaction time",
        (_duration("dhcp.option.client_last_transaction_time", "Client last transaction time"),),
    ),
    92: _addresses("Associated IP option", "associated_ip_option"),
    93: Option(
        "Client System Architecture",
        (many(u16("dhcp.option.client_system_architecture", "Client System Architecture", names=ARCHITECTURES)),),
    ),
    94: Option(
        "Client Network Device Interface",
        (
            u8("dhcp.client_network_id_major", "Major Version"),
            u8("dhcp.client_network_id_minor", "Minor Version"),
        ),
    ),
    95: Option("LDAP [TODO:RFC3679]"),
    97: Option("UUID/GUID-based Client Identifier", (_UUID,)),
    98: Option("Open Group's User Authentication [TODO:RFC2485]"),
    99: Option("Civic Addresses Configuration"),
    100: _text("PCode", "tz_pcode", "TZ PCode"),
    101: _text("TCode", "tz_tcode", "TZ TCode"),
    108: Option("IPv6-Only Preferred"),
    112: Option(
        "NetInfo Parent Server Address",
        (many(ipv4("dhcp.option.netinfo_parent_server_address", "NetInfo Parent Server Address")),),
    ),
    113: Option(
        "NetInfo Parent Server Tag", (string("dhcp.option.netinfo_parent_server_tag", "NetInfo Parent Server Tag"),)
    ),
    114: Option("DHCP Captive-Portal", (_PORTAL,)),
    116: Option(
        "DHCP Auto-Configuration",
        (
            u8(
                "dhcp.option.dhcp_auto_configuration",
                "DHCP Auto-Configuration",
                names={0: "DoNotAutoConfigure", 1: "AutoConfigure"},
            ),
        ),
    ),
    117: Option("Name Service Search"),
    118: Option(
        "Subnet Selection Option", (many(ipv4("dhcp.option.subnet_selection_option", "Subnet Selection Option")),)
    ),
    119: Option("Domain Search", (_SEARCH,)),
    120: _u8("SIP Servers", "sip_server.encoding", "SIP Server Encoding"),
    121: Option("Classless Static Route", (_ROUTES,)),
    122: Option("CableLabs Client Configuration [TODO:RFC3495]"),
    123: Option("Coordinate-based Location Configuration"),
    124: Option("V-I Vendor Class", (u32("dhcp.option.vi_class.enterprise", "Enterprise"),)),
    125: Option("V-I Vendor-specific Information", (u32("dhcp.option.vi.enterprise", "Enterprise"),)),
    128: Option("DOCSIS full security server IP [TODO]"),
    129: Option("PXE - undefined (vendor specific)"),
    130: Option("PXE - undefined (vendor specific)"),
    131: Option("PXE - undefined (vendor specific)"),
    132: Option("PXE - undefined (vendor specific)"),
    133: Option("PXE - undefined (vendor specific)"),
    134: Option("PXE - undefined (vendor specific)"),
    135: Option("PXE - undefined (vendor specific)"),
    136: _addresses("PANA Authentication Agent", "pana_agent", "PAA IPv4 Address"),
    137: _text("LoST Server Domain Name", "lost_server_domain_name"),
    138: Option(
        "CAPWAP Access Controllers", (many(ipv4("dhcp.option.capwap_access_controller", "CAPWAP Access Controllers")),)
    ),
    139: Option("IPv4 Address-MoS"),
    140: Option("IPv4 FQDN-MoS"),
    141: Option("SIP UA Configuration Domains"),
    142: _addresses("IPv4 Address ANDSF", "andsf_server", "ANDSF Server"),
    143: Option("Zerotouch Redirect [TODO: draft-ietf-netconf-zerotouch]"),
    144: Option("Geospatial Location [TODO:RFC6225]"),
    145: Option(
        "Forcerenew Nonce Capable",
        (many(u8("dhcp.option.forcerenew_nonce.algorithm", "Algorithm", names={1: "HMAC-MD5"})),),
    ),
    146: Option("RDNSS Selection"),
    150: _addresses("TFTP Server Address", "tftp_server_address"),
    151: Option(
        "Leasequery Status code",
        (
            u8("dhcp.option.bulk_lease.status_code", "Status Code"),
            string("dhcp.option.bulk_lease.status_code_message", "Status Code Message"),
        ),
    ),
    152: Option("Leasequery Base Time"),
    153: Option("Leasequery Start Time of State"),
    154: Option("Leasequery Query Start Time"),
    155: Option("Leasequery Query End Time"),
    156: Option("Leasequery Dhcp State"),
    157: Option("Leasequery Data Source"),
    158: Option("PCP Server"),
    159: Option("Portparams"),
    160: Option("Unassigned (ex DHCP Captive-Portal)", (_PORTAL,)),
    161: _text("Manufacturer Usage Description", "mudurl", "MUDURL"),
    175: Option("Etherboot"),
    176: Option("IP Telephone"),
    177: Option("Etherboot"),
    208: Option("PXELINUX Magic"),
    209: _text("PXE Configuration file", "pxe_config_file", "PXELINUX configuration file"),
    210: _text("PXE Path Prefix", "pxe_path_prefix", "PXELINUX path prefix"),
    211: Option("Reboot Time"),
    212: Option("6RD"),
    213: Option("V4 Access Domain"),
    220: Option("Subnet Allocation"),
    221: Option("Virtual Subnet Selection"),
    242: _text("Private/Avaya IP Telephone", "vendor.avaya"),
    249: Option("Private/Classless Static Route (Microsoft)", (_ROUTES,)),
    252: Option(
        "Private/Proxy autodiscovery",
        (string("dhcp.option.private_proxy_autodiscovery", "Private/Proxy autodiscovery"),),
    ),
    255: Option("End"),
}


def option_fields() -> tuple[Field, ...]:
    """All fields of all options, each once."""
    return tuple(dict.fromkeys([LENGTH, *fields_of([part for one in OPTIONS.values() for part in one.parts])]))
