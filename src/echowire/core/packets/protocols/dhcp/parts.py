"""The parts of DHCP's options that take more than a width to read, and what the numbers in options mean."""

from __future__ import annotations

from collections.abc import Mapping
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
    octets,
    read_parts,
    rest,
    seconds_text,
    string,
    u8,
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


def _read_duration(walk: Walk, part: Part, at: int, end: int) -> int:
    if end - at != 4:
        return end
    value = walk.u32(at)
    text = "infinity" if value == 0xFFFFFFFF else f"({value}s) {seconds_text(value)}"
    walk.add(part.field, value, at, 4, f"{part.field.label}: {text}")
    return at + 4


def duration(name: str, label: str) -> Part:
    """A number of 32 bits: seconds."""
    return Part(Field(name, label, Type.UINT32), _read_duration)


def yes(name: str, label: str) -> Part:
    """A byte: whether something is enabled."""
    return Part(Field(name, label, Type.BOOLEAN, names={1: "Enabled", 0: "Disabled"}), fixed)


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
    return rest(walk, CLIENT, at, end)


def _bit(name: str, label: str, mask: int) -> Field:
    return Field(name, label, Type.BOOLEAN, size=1, mask=mask)


LENGTH = Field("dhcp.option.length", "Length", Type.UINT8)
HARDWARE_TYPE = Field("dhcp.hw.type", "Hardware type", Type.UINT8, names=HARDWARE, base="hex")
HARDWARE_ADDRESS = Field("dhcp.hw.mac_addr", "Client MAC address", Type.ETHER)
_CLIENT_TYPE = Field("dhcp.client_id.type", "Type", Type.UINT8)
_CLIENT_TEXT = Field("dhcp.client_id.undef", "Client Identifier", Type.STRING)
_DUID_TYPE = Field("dhcp.client_id.duid_type", "DUID Type", Type.UINT16)
CLIENT = Part(
    Field("dhcp.client_id", "Identifier", Type.BYTES),
    _read_client,
    also=(HARDWARE_TYPE, HARDWARE_ADDRESS, _CLIENT_TYPE, _CLIENT_TEXT, _DUID_TYPE),
)
ROUTES = Part(
    Field("dhcp.option.classless_static_route", "Subnet/MaskWidth-Router", Type.BYTES),
    _read_routes,
)
SEARCH = Part(Field("dhcp.option.dhcp_dns_domain_search_list_fqdn", "FQDN", Type.STRING), _read_search)
PORTAL = string("dhcp.option.captive_portal", "Captive Portal")
MACHINE = Part(Field("dhcp.client_id.uuid", "Client Identifier (UUID)", Type.GUID), _read_uuid)
FQDN_NAME = Part(Field("dhcp.fqdn.name", "Client name", Type.STRING), _read_fqdn)
FQDN_FLAGS = u8(
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
AGENT = Part(
    Field(f"{_AGENT_PREFIX}.suboption", "Option 82 Suboption", Type.UINT8),
    _read_agent,
    also=(_AGENT_VALUE, *fields_of([part for _, parts in _AGENT_OPTIONS.values() for part in parts])),
)
