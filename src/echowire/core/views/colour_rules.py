"""The colours of packets in a list: the first rule whose display filter a packet passes gives it its colours.

The rules and colours are Wireshark's default ones, as people know a red line for a bad one, but for those of protocols
that are not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np

from echowire.core.captures.records import Rows
from echowire.core.filters.packet_filter import PacketFilter
from echowire.core.packets.dissect import Packets

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, of 255 each."""

DARK: Colour = (18, 39, 46)
PALE: Colour = (255, 252, 156)
ALERT: Colour = (247, 135, 135)
DEEP_RED: Colour = (164, 0, 0)

NO_RULE = -1
RESET = "\x1b[0m"


class Rule(NamedTuple):
    """What packets that pass `filter` look like."""

    name: str
    filter: str
    foreground: Colour
    background: Colour


BAD_TCP = (
    "tcp.analysis.flags && !tcp.analysis.window_update && !tcp.analysis.keep_alive && !tcp.analysis.keep_alive_ack"
)
ODD_TTL = (
    "(ip.dst != 224.0.0.0/4 && ip.ttl < 5 && !pim && !ospf)"
    " || (ip.dst == 224.0.0.0/24 && ip.dst != 224.0.0.251 && ip.ttl != 1 && !vrrp)"
)

RULES: tuple[Rule, ...] = (
    Rule("Bad TCP", BAD_TCP, ALERT, DARK),
    Rule("HSRP State Change", "hsrp.state != 8 && hsrp.state != 16", PALE, DARK),
    Rule("OSPF State Change", "ospf.msg != 1", PALE, DARK),
    Rule("ICMP errors", "icmp.type in {3..5, 11}", (183, 247, 116), DARK),
    Rule("ICMPv6 errors", "icmpv6.type in {1..4}", (183, 247, 116), DARK),
    Rule("ARP", "arp", DARK, (250, 240, 215)),
    Rule("ICMP", "icmp || icmpv6", DARK, (252, 224, 255)),
    Rule("TCP RST", "tcp.flags.reset == 1", PALE, DEEP_RED),
    Rule("SCTP ABORT", "sctp.chunk_type == 6", PALE, DEEP_RED),
    Rule("TTL low or unexpected", ODD_TTL, (236, 240, 236), DEEP_RED),
    Rule("SMB", "nbns", DARK, (254, 255, 208)),
    Rule("HTTP", "http || tcp.port == 80", DARK, (228, 255, 199)),
    Rule("Routing", "ospf || igmp || vrrp || hsrp", DARK, (255, 243, 214)),
    Rule("TCP SYN/FIN", "tcp.flags & 0x02 || tcp.flags.fin == 1", DARK, (160, 160, 160)),
    Rule("TCP", "tcp", DARK, (231, 230, 255)),
    Rule("UDP", "udp", DARK, (218, 238, 255)),
    Rule("Broadcast", "eth[0] & 1", (186, 189, 182), (255, 255, 255)),
)
"""The rule for wrong checksums is not among them: to verify all is as much work as all others together, and segments
that a network card was to cut have none that is right."""


@cache
def compiled_rules() -> tuple[tuple[Rule, PacketFilter], ...]:
    """The rules, ready to be asked."""
    return tuple((rule, PacketFilter.of([rule.filter])) for rule in RULES)


def colour_fields() -> frozenset[str]:
    """The fields that a reading needs for the rules."""
    return frozenset().union(*(one.fields for _, one in compiled_rules()))


def rules_of(packets: Packets, rows: Rows) -> Sequence[Rule | None]:
    """The rule of each of the packets `rows` of a chunk; None where none holds."""
    rules = compiled_rules()
    number = np.full(len(packets), NO_RULE, np.int64)
    for at, (_, one) in enumerate(rules):
        number[(number == NO_RULE) & one.mask(packets)] = at
        if (number != NO_RULE).all():
            break
    return [None if at == NO_RULE else rules[at][0] for at in number[rows].tolist()]


def painted(text: str, rule: Rule | None) -> str:
    """A line in the colours of its rule, as ANSI codes."""
    if rule is None:
        return text
    return f"\x1b[38;2;{_rgb(rule.foreground)}m\x1b[48;2;{_rgb(rule.background)}m{text}{RESET}"


def _rgb(colour: Colour) -> str:
    return ";".join(map(str, colour))
