"""Who has joined which multicast group on which interface, as the kernel's tables tell it. Pure: lines in, values out.

Formats: net/ipv4/igmp.c (`/proc/net/igmp`, `mcfilter`), net/ipv6/mcast.c (`igmp6`, `mcfilter6`), net/core/net-procfs.c
(`dev_mcast`).
"""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

WELL_KNOWN = {
    "224.0.0.1": "all hosts",
    "224.0.0.2": "all routers",
    "224.0.0.5": "OSPF",
    "224.0.0.6": "OSPF",
    "224.0.0.9": "RIP",
    "224.0.0.13": "PIM",
    "224.0.0.18": "VRRP",
    "224.0.0.22": "IGMPv3 reports",
    "224.0.0.251": "mDNS",
    "224.0.0.252": "LLMNR",
    "224.0.1.1": "NTP",
    "224.0.1.129": "PTP",
    "239.255.255.250": "SSDP",
    "ff01::1": "all nodes of the interface",
    "ff02::1": "all nodes",
    "ff02::2": "all routers",
    "ff05::2": "all routers of the site",
    "ff02::5": "OSPF",
    "ff02::6": "OSPF",
    "ff02::9": "RIP",
    "ff02::d": "PIM",
    "ff02::12": "VRRP",
    "ff02::16": "MLDv2 reports",
    "ff02::6a": "snoopers",
    "ff02::fb": "mDNS",
    "ff02::1:2": "DHCP",
    "ff02::1:3": "LLMNR",
    "ff02::c": "SSDP",
}
"""What a group is for (IANA, Multicast Address Space Registries)."""

_SOLICITED = ipaddress.ip_network("ff02::1:ff00:0/104")  # RFC 4291 section 2.7.1


@dataclass(frozen=True, slots=True)
class SourceCount:
    """A sender of a group: how many sockets want it alone (`included`), and how many do not want it (`excluded`)."""

    address: str
    included: int
    excluded: int


@dataclass(frozen=True, slots=True)
class Member:
    """A socket that has joined, and its process. `mode` is `include` or `exclude`, of the `sources` (RFC 3678)."""

    pid: int
    process: str
    local: str
    """Address and port to which it is bound."""
    mode: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """A group that this host has joined on an interface. `family` is 4, 6, or 0 for an address of the link layer.

    `users` counts sockets and the kernel itself. `members` are the sockets whose processes could be looked into.
    """

    interface: str
    index: int
    family: int
    group: str
    users: int
    version: str | None = None
    """The version of IGMP in force there, such as `IGMPv3`; IPv6's MLD tells none."""
    sources: tuple[SourceCount, ...] = ()
    members: tuple[Member, ...] = ()
    troubles: tuple[str, ...] = ()
    """What keeps its datagrams from coming, as far as this host's tables show it."""

    @property
    def purpose(self) -> str:
        """What the group is for, empty where that is not known."""
        if self.family == 6 and ipaddress.ip_address(self.group) in _SOLICITED:
            return "neighbour discovery"
        return WELL_KNOWN.get(self.group, "")

    def document(self) -> dict[str, Any]:
        """The membership as JSON has it."""
        return {
            "interface": self.interface,
            "index": self.index,
            "family": {4: "ipv4", 6: "ipv6"}.get(self.family, "link"),
            "group": self.group,
            "purpose": self.purpose or None,
            "users": self.users,
            "igmp": self.version,
            "sources": [
                {"address": one.address, "included": one.included, "excluded": one.excluded} for one in self.sources
            ],
            "members": [
                {
                    "pid": one.pid,
                    "process": one.process,
                    "local": one.local,
                    "mode": one.mode,
                    "sources": list(one.sources),
                }
                for one in self.members
            ],
            "troubles": list(self.troubles),
        }


def parse_igmp(lines: Iterable[str]) -> Iterator[Membership]:
    """The IPv4 groups of /proc/net/igmp: a line an interface, and beneath it one for each group."""
    index, interface, version = 0, "", ""
    for line in lines:
        if not line[:1].isspace():
            head, _, tail = line.partition(":")
            words, rest = head.split(), tail.split()
            if len(words) < 2 or not words[0].isdigit() or len(rest) < 2:
                continue
            index, interface, version = int(words[0]), words[1], "IGMPv" + rest[1].lstrip("V")
            continue
        words = line.split()
        if len(words) >= 2 and interface:
            group = ipaddress.IPv4Address(int(words[0], 16).to_bytes(4, sys.byteorder))
            yield Membership(interface, index, 4, str(group), int(words[1]), version)


def parse_igmp6(lines: Iterable[str]) -> Iterator[Membership]:
    """The IPv6 groups of /proc/net/igmp6: number, interface, group, users, flags, timer."""
    for line in lines:
        words = line.split()
        if len(words) >= 4 and len(words[2]) == 32:
            yield Membership(
                words[1], int(words[0]), 6, str(ipaddress.ip_address(bytes.fromhex(words[2]))), int(words[3])
            )


def parse_dev_mcast(lines: Iterable[str]) -> Iterator[Membership]:
    """The link-layer addresses that interfaces take, of /proc/net/dev_mcast: number, interface, users, set by hand."""
    for line in lines:
        words = line.split()
        if len(words) >= 5:
            yield Membership(words[1], int(words[0]), 0, ":".join(_pairs(words[4])), int(words[2]))


def _pairs(text: str) -> list[str]:
    return [text[at : at + 2] for at in range(0, len(text), 2)]


def parse_sources(lines: Iterable[str]) -> dict[tuple[int, str], list[SourceCount]]:
    """The senders that are wanted or not, of /proc/net/mcfilter or mcfilter6, by interface and group."""
    found: dict[tuple[int, str], list[SourceCount]] = {}
    for line in lines:
        words = line.split()
        if len(words) < 6 or not words[0].isdigit():
            continue
        group, source = _address(words[2]), _address(words[3])
        found.setdefault((int(words[0]), group), []).append(SourceCount(source, int(words[4]), int(words[5])))
    return found


def _address(text: str) -> str:
    """`0xe8010203`, or 32 digits."""
    if text.startswith("0x"):
        return str(ipaddress.IPv4Address(int(text, 16)))
    return str(ipaddress.ip_address(bytes.fromhex(text)))
