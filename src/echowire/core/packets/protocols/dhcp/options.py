"""DHCP's options, a row each: what it is called and what it holds (RFC 2132 and after it)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field
from echowire.core.packets.layout import Part, fields_of, fixed, ipv4, many, octets, read_parts, string, u8, u16, u32
from echowire.core.packets.protocols.dhcp.parts import (
    AGENT,
    ARCHITECTURES,
    CLIENT,
    FQDN_FLAGS,
    FQDN_NAME,
    LENGTH,
    MACHINE,
    MESSAGE_TYPES,
    NODE_TYPES,
    OVERLOADS,
    PORTAL,
    ROUTES,
    SEARCH,
    duration,
    yes,
)
from echowire.core.packets.walk import Walk


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


def _read_requested(walk: Walk, part: Part, at: int, end: int) -> int:
    for place, code in enumerate(walk.take(at, end - at), at):
        walk.add(part.field, code, place, 1, f"{part.field.label}: ({code}) {option_title(code)}")
    return end


_REQUESTED = Part(Field("dhcp.option.request_list_item", "Parameter Request List Item", Type.UINT8), _read_requested)


def _one(make: Callable[..., Part], several: bool = False) -> Callable[..., Option]:
    """How a row is made of an option that holds one kind of thing; its field is labelled as the option is called."""

    def row(title: str, name: str, label: str = "", **more: Mapping[int, str]) -> Option:
        part = make(f"dhcp.option.{name}", label or title, **more)
        return Option(title, (many(part) if several else part,))

    return row


_address, _addresses = _one(ipv4), _one(ipv4, several=True)
_text, _flag, _time = _one(string), _one(yes), _one(duration)
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
    61: Option("Client identifier", (CLIENT,)),
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
        (FQDN_FLAGS, u8("dhcp.fqdn.rcode1", "A-RR result"), u8("dhcp.fqdn.rcode2", "PTR-RR result"), FQDN_NAME),
    ),
    82: Option("Agent Information Option", (AGENT,)),
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
        (duration("dhcp.option.client_last_transaction_time", "Client last transaction time"),),
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
    97: Option("UUID/GUID-based Client Identifier", (MACHINE,)),
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
    114: Option("DHCP Captive-Portal", (PORTAL,)),
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
    119: Option("Domain Search", (SEARCH,)),
    120: _u8("SIP Servers", "sip_server.encoding", "SIP Server Encoding"),
    121: Option("Classless Static Route", (ROUTES,)),
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
    160: Option("Unassigned (ex DHCP Captive-Portal)", (PORTAL,)),
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
    249: Option("Private/Classless Static Route (Microsoft)", (ROUTES,)),
    252: Option(
        "Private/Proxy autodiscovery",
        (string("dhcp.option.private_proxy_autodiscovery", "Private/Proxy autodiscovery"),),
    ),
    255: Option("End"),
}


def option_fields() -> tuple[Field, ...]:
    """All fields of all options, each once."""
    return tuple(dict.fromkeys([LENGTH, *fields_of([part for one in OPTIONS.values() for part in one.parts])]))
