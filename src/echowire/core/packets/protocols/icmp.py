"""ICMP (RFC 792, RFC 1256, RFC 4884, RFC 8335), with the packet that an error quotes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.captures.ticks import NO_TIME, SECOND_NS
from echowire.core.packets.columns import Type
from echowire.core.packets.echo_pairs import pair_fields, pairs
from echowire.core.packets.icmp_messages import HEADER_BYTES, named_codes, what_follows
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol, begins_with

MIN_BYTES = 4
ECHO_REPLY, UNREACHABLE, QUENCH, REDIRECT, ECHO, EXCEEDED, PARAMETER = 0, 3, 4, 5, 8, 11, 12
EXTENDED_ECHO, EXTENDED_REPLY = 42, 43
ERRORS = (UNREACHABLE, QUENCH, REDIRECT, EXCEEDED, PARAMETER)
QUERIES = (ECHO_REPLY, ECHO, 13, 14, 15, 16, 17, 18, 37, 38)
"""Types that have an identifier and a sequence number."""

FRAGMENTATION_NEEDED = 4
STAMP_BYTES = 8
"""Seconds and microseconds, with which ping begins its data."""

DAY_NS = 86_400 * SECOND_NS

TYPES = {
    ECHO_REPLY: "Echo (ping) reply",
    1: "Reserved",
    2: "Reserved",
    UNREACHABLE: "Destination unreachable",
    QUENCH: "Source quench (flow control)",
    REDIRECT: "Redirect",
    6: "Alternate host address",
    ECHO: "Echo (ping) request",
    9: "Router advertisement",
    10: "Router solicitation",
    EXCEEDED: "Time-to-live exceeded",
    PARAMETER: "Parameter problem",
    13: "Timestamp request",
    14: "Timestamp reply",
    15: "Information request",
    16: "Information reply",
    17: "Address mask request",
    18: "Address mask reply",
    30: "Traceroute",
    31: "Datagram Conversion Error",
    32: "Mobile Host Redirect",
    33: "IPv6 Where-Are-You",
    34: "IPv6 I-Am-Here",
    35: "Mobile Registration Request",
    36: "Mobile Registration Reply",
    37: "Domain Name Request",
    38: "Domain Name Reply",
    39: "SKIP",
    40: "Photuris",
    41: "Experimental mobility protocols",
    EXTENDED_ECHO: "Extended Echo request",
    EXTENDED_REPLY: "Extended Echo reply",
}
UNREACHABLE_CODES = {
    0: "Network unreachable",
    1: "Host unreachable",
    2: "Protocol unreachable",
    3: "Port unreachable",
    4: "Fragmentation needed",
    5: "Source route failed",
    6: "Destination network unknown",
    7: "Destination host unknown",
    8: "Source host isolated",
    9: "Network administratively prohibited",
    10: "Host administratively prohibited",
    11: "Network unreachable for TOS",
    12: "Host unreachable for TOS",
    13: "Communication administratively filtered",
    14: "Host precedence violation",
    15: "Precedence cutoff in effect",
}
EXTENDED_CODES = {
    0: "No error",
    1: "Malformed Query",
    2: "No Such Interface",
    3: "No Such Table Entry",
    4: "Multiple Interfaces Satisfy Query",
}
CODES = {
    UNREACHABLE: UNREACHABLE_CODES,
    REDIRECT: {
        0: "Redirect for network",
        1: "Redirect for host",
        2: "Redirect for TOS and network",
        3: "Redirect for TOS and host",
    },
    6: {0: "Alternate address for host"},
    9: {0: "Normal router advertisement", 16: "Does not route common traffic"},
    EXCEEDED: {0: "Time to live exceeded in transit", 1: "Fragment reassembly time exceeded"},
    PARAMETER: {0: "Pointer indicates the error", 1: "Required option missing", 2: "Bad length"},
    40: {0: "Bad SPI", 1: "Authentication Failed", 2: "Decompression Failed", 3: "Decryption Failed"},
    EXTENDED_ECHO: {0: "No error"},
    EXTENDED_REPLY: EXTENDED_CODES,
}


def _next(layer: Layer) -> Iterator[Next]:
    return what_follows(layer, ERRORS, (ECHO, ECHO_REPLY), np.where(_stamped(layer), STAMP_BYTES, 0))


def _stamps(layer: Layer) -> Rows:
    """The time that ping wrote at the beginning of its data, of either byte order, in nanoseconds; NO_TIME if none.

    It is taken for one where it lies within a day of the packet's own time.
    """

    def made() -> Rows:
        now = layer.records.time_ns[layer.rows]
        found = np.full(len(layer), NO_TIME, np.int64)
        for little in (False, True):
            seconds = layer.uint(8, 4, little=little).astype(np.int64)
            micros = layer.uint(12, 4, little=little).astype(np.int64)
            stamp = seconds * SECOND_NS + micros * 1000
            near = (now != NO_TIME) & (np.abs(stamp - now) < DAY_NS) & (micros < 1_000_000)
            found = np.where(near, stamp, found)
        usable = layer.has(HEADER_BYTES + STAMP_BYTES) & np.isin(layer.uint(0, 1), (ECHO, ECHO_REPLY))
        return np.where(usable, found, NO_TIME)

    return layer.once("stamps", made)


def _stamped(layer: Layer) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = _stamps(layer) != NO_TIME
    return found


def _stamp(layer: Layer) -> Picked:
    index = np.flatnonzero(_stamped(layer))
    return Picked(index, _stamps(layer)[index])


def _since_stamp(layer: Layer) -> Picked:
    index = np.flatnonzero(_stamped(layer))
    return Picked(index, layer.records.time_ns[layer.rows[index]] - _stamps(layer)[index])


def _code_text(kind: int, code: int) -> str | None:
    names = CODES.get(kind)
    return None if names is None else names.get(code, f"Unknown code: {code}")


def _info(layer: Layer) -> list[str | None]:
    around = layer.outer("ip")
    lives = [0] * len(layer) if around is None else around[0].uint(8, 1)[around[1]].tolist()
    found = pairs(layer, ECHO, ECHO_REPLY)
    columns = (layer.uint(0, 1), layer.uint(1, 1), layer.uint(4, 2), layer.uint(6, 2), layer.has(8))
    rows = zip(*(one.tolist() for one in columns), lives, found.notes(), strict=True)
    return [_sentence(*row) if has else None for row, has in zip(rows, layer.has(2).tolist(), strict=True)]


def _sentence(kind: int, code: int, ident: int, sequence: int, whole: bool, life: int, note: str) -> str:
    name = f"{TYPES.get(kind, 'Unknown ICMP (obsolete or malformed?)'):<20}"
    if kind in QUERIES:
        swapped = sequence >> 8 | (sequence & 0xFF) << 8
        return f"{name} id=0x{ident:04x}, seq={sequence}/{swapped}, ttl={life}{note}" if whole else name
    said = _code_text(kind, code)
    return name if said is None else f"{name} ({said})"


def _named_types(layer: Layer) -> list[str]:
    return [f"{kind} ({TYPES.get(kind, 'Unknown')})" for kind in layer.uint(0, 1).tolist()]


def _remember(layer: Layer) -> None:
    pairs(layer, ECHO, ECHO_REPLY)


_HAS_IDENT, _HAS_SEQUENCE = begins_with(*QUERIES, EXTENDED_ECHO, EXTENDED_REPLY), begins_with(*QUERIES)

PROTOCOLS = (
    Protocol(
        "icmp",
        "Internet Control Message Protocol",
        "ICMP",
        fields=(
            Field("icmp.type", "Type", Type.UINT8, 0, show=_named_types),
            Field("icmp.code", "Code", Type.UINT8, 1, show=named_codes(_code_text)),
            Field("icmp.checksum", "Checksum", Type.UINT16, 2, base="hex"),
            Field("icmp.ident", "Identifier (BE)", Type.UINT16, 4, base="dec_hex", when=_HAS_IDENT),
            Field("icmp.ident_le", "Identifier (LE)", Type.UINT16, 4, base="dec_hex", little=True, when=_HAS_IDENT),
            Field("icmp.seq", "Sequence Number (BE)", Type.UINT16, 6, base="dec_hex", when=_HAS_SEQUENCE),
            Field(
                "icmp.seq_le", "Sequence Number (LE)", Type.UINT16, 6, base="dec_hex", little=True, when=_HAS_SEQUENCE
            ),
            Field("icmp.pointer", "Pointer", Type.UINT32, 4, 1, when=begins_with(PARAMETER)),
            Field("icmp.redir_gw", "Gateway Address", Type.IPV4, 4, when=begins_with(REDIRECT)),
            Field(
                "icmp.mtu",
                "MTU of next hop",
                Type.UINT16,
                6,
                when=lambda layer: begins_with(UNREACHABLE)(layer) & (layer.uint(1, 1) == FRAGMENTATION_NEEDED),
            ),
            Field("icmp.num_addrs", "Number of addresses", Type.UINT8, 4, when=begins_with(9)),
            Field("icmp.addr_entry_size", "Address entry size", Type.UINT8, 5, when=begins_with(9)),
            Field("icmp.lifetime", "Lifetime", Type.UINT16, 6, when=begins_with(9)),
            Field("icmp.originate_timestamp", "Originate Timestamp", Type.UINT32, 8, when=begins_with(13, 14)),
            Field("icmp.receive_timestamp", "Receive Timestamp", Type.UINT32, 12, when=begins_with(13, 14)),
            Field("icmp.transmit_timestamp", "Transmit Timestamp", Type.UINT32, 16, when=begins_with(13, 14)),
            Field("icmp.address_mask", "Address Mask", Type.IPV4, 8, when=begins_with(17, 18)),
            *pair_fields("icmp", ("Request frame", "Response time"), ECHO, ECHO_REPLY),
            Field("icmp.data_time", "Timestamp from icmp data", Type.ABSOLUTE_TIME, make=_stamp),
            Field(
                "icmp.data_time_relative",
                "Timestamp from icmp data (relative)",
                Type.RELATIVE_TIME,
                make=_since_stamp,
                generated=True,
            ),
        ),
        keys=(("ip.proto", 1),),
        accepts=lambda layer: layer.wire_end - layer.start >= MIN_BYTES,
        follow=_next,
        tables=("quoted",),
        size=HEADER_BYTES,
        info=_info,
        remember=_remember,
        is_quoting=True,
        least=6,
    ),
)
