"""DHCP (RFC 2131), and BOOTP (RFC 951), whose message it has: a header of fixed places, then options."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Picked, Protocol
from echowire.core.packets.layout import text, value_text
from echowire.core.packets.protocols.dhcp.options import option_fields, option_title, read_option
from echowire.core.packets.protocols.dhcp.parts import ETHERNET_LIKE, HARDWARE, LENGTH, MESSAGE_TYPES
from echowire.core.packets.walk import Walk

HEADER_BYTES = 236
SERVER_AT, SERVER_BYTES = 44, 64
FILE_AT, FILE_BYTES = 108, 128
MAGIC = 0x63825363
"""What stands before options that are DHCP's (RFC 2131, 3)."""

PADDING, MESSAGE_TYPE, END = 0, 53, 255
OVERLOAD = 52
SHORT_OPTIONS = frozenset({1, 50, 54})
"""Options whose value stands in their line of the tree."""

_TYPES = {1: "Boot Request", 2: "Boot Reply"}


def _is_ethernet(layer: Layer) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isin(layer.uint(1, 1), list(ETHERNET_LIKE)) & (layer.uint(2, 1) == 6)
    return found


def _other_address(layer: Layer) -> Picked:
    """Hardware addresses that are not Ethernet's, of the length that the message says."""
    size = layer.uint(2, 1)
    which = np.flatnonzero(~_is_ethernet(layer) & (size > 0) & (size <= 16) & layer.has(SERVER_AT))
    found = np.empty(len(which), np.object_)
    for place, entry in enumerate(which.tolist()):
        begin = int(layer.start[entry]) + 28
        found[place] = layer.data[begin : begin + int(size[entry])].tobytes()
    return Picked(which, found)


def _padding(layer: Layer) -> Picked:
    size = layer.uint(2, 1)
    which = np.flatnonzero((size > 0) & (size < 16) & layer.has(SERVER_AT))
    found = np.empty(len(which), np.object_)
    for place, entry in enumerate(which.tolist()):
        begin = int(layer.start[entry]) + 28
        found[place] = layer.data[begin + int(size[entry]) : begin + 16].tobytes()
    return Picked(which, found)


def _seconds(layer: Layer) -> Picked:
    """Seconds since the client began, of which some clients write the low byte first, as their size gives away."""
    which = np.flatnonzero(layer.has(10))
    said = layer.uint(8, 2)[which]
    return Picked(which, np.where((said > 0xFF) & (said & 0xFF == 0), said >> 8, said).astype(np.uint16))


def _flags_shown(layer: Layer) -> list[str]:
    return [f"0x{one:04x} ({'Broadcast' if one & 0x8000 else 'Unicast'})" for one in layer.uint(10, 2).tolist()]


_SERVER = Field("dhcp.server", "Server host name", Type.STRING)
_FILE = Field("dhcp.file", "Boot file name", Type.STRING)
_COOKIE = Field("dhcp.cookie", "Magic cookie", Type.IPV4)
_OPTION = Field("dhcp.option.type", "Option", Type.UINT8)
_VALUE = Field("dhcp.option.value", "Value", Type.BYTES, hidden=True)
_END = Field("dhcp.option.end", "Option End", Type.UINT8)
_PAD = Field("dhcp.option.padding", "Padding", Type.BYTES)


def _walk(walk: Walk) -> None:
    _text(walk, _SERVER, SERVER_AT, SERVER_BYTES)
    _text(walk, _FILE, FILE_AT, FILE_BYTES)
    if walk.wire_size <= HEADER_BYTES:
        return
    if walk.u32(HEADER_BYTES) != MAGIC:
        walk.add_text("Bootp vendor specific options", HEADER_BYTES, walk.size - HEADER_BYTES)
        return
    walk.add(_COOKIE, MAGIC, HEADER_BYTES, 4, "Magic cookie: DHCP")
    overload = _options(walk, HEADER_BYTES + 4, walk.wire_size)
    if overload & 1:
        with walk.subtree("Boot file name option overload", FILE_AT, FILE_BYTES):
            _options(walk, FILE_AT, FILE_AT + FILE_BYTES)
    if overload & 2:
        with walk.subtree("Server host name option overload", SERVER_AT, SERVER_BYTES):
            _options(walk, SERVER_AT, SERVER_AT + SERVER_BYTES)


def _text(walk: Walk, field: Field, at: int, size: int) -> None:
    raw = walk.take(at, size)
    if raw[0]:
        walk.add(field, text(raw), at, size)
    else:
        walk.add_text(f"{field.label} not given", at, size)


def _options(walk: Walk, at: int, end: int) -> int:
    """The options up to `end`; gives what they say of where more of them stand (RFC 2132, 9.3)."""
    overload = 0
    while at < end:
        code = walk.u8(at)
        if code == PADDING:
            size = next((n for n, one in enumerate(walk.take(at, min(end, walk.size) - at)) if one), end - at)
            walk.add(_PAD, walk.take(at, size), at, size)
            at += size
            continue
        if code == END:
            walk.add(_OPTION, code, at, 1, "Option: (255) End")
            with walk.subtree():
                walk.add(_END, code, at, 1)
            if at + 1 < min(end, walk.size):
                rest = min(end, walk.size) - at - 1
                walk.add(_PAD, walk.take(at + 1, rest), at + 1, rest)
            break
        overload = _option(walk, code, at) or overload
        at += 2 + walk.u8(at + 1)
    return overload


def _option(walk: Walk, code: int, at: int) -> int:
    """One option; gives its value if it is of overload, else 0."""
    size = walk.u8(at + 1)
    line = len(walk.items)
    walk.add(_OPTION, code, at, 2 + size, f"Option: ({code}) {option_title(code)}")
    with walk.subtree():
        walk.add(LENGTH, size, at + 1, 1)
        if size:
            walk.add(_VALUE, walk.take(at + 2, size), at + 2, size)
        before = len(walk.items)
        read_option(walk, code, at + 2, size)
    found = walk.items[before] if before < len(walk.items) else None
    if found is None or found.field is None:
        return 0
    if code == MESSAGE_TYPE:
        walk.layer.once("types", dict[int, int])[walk.entry] = found.value
    if code == MESSAGE_TYPE or code in SHORT_OPTIONS:
        said = f"{walk.items[line].text} ({value_text(found.field, found.value)})"
        walk.items[line] = walk.items[line]._replace(text=said)
    return int(found.value) if code == OVERLOAD else 0


def _types(layer: Layer) -> dict[int, int]:
    """The message type of each entry that has one: those are DHCP, the others BOOTP."""
    return layer.once("types", dict[int, int])


def _column(layer: Layer) -> list[str]:
    types = _types(layer)
    return ["DHCP" if entry in types else "BOOTP" for entry in range(len(layer))]


def _label(layer: Layer) -> list[str]:
    types = _types(layer)
    names = (MESSAGE_TYPES.get(types[entry], "Unknown") if entry in types else "" for entry in range(len(layer)))
    kinds = (_TYPES.get(kind, "Unknown") for kind in layer.uint(0, 1).tolist())
    return [f" ({name or kind})" for name, kind in zip(names, kinds, strict=True)]


def _info(layer: Layer) -> list[str]:
    types, out = _types(layer), []
    numbers, kinds, addresses = layer.uint(4, 4).tolist(), layer.uint(0, 1).tolist(), layer.uint(28, 6).tolist()
    ethernet, sizes = _is_ethernet(layer).tolist(), layer.uint(2, 1).tolist()
    for entry, kind in enumerate(kinds):
        if entry in types:
            name = MESSAGE_TYPES.get(types[entry], f"Unknown Message Type (0x{types[entry]:02x})")
            out.append(f"DHCP {name:<8} - Transaction ID 0x{numbers[entry]:x}")
        elif kind == 1:
            said = ""
            if ethernet[entry]:
                address = f"{addresses[entry]:012x}"
                address = ":".join(address[at : at + 2] for at in range(0, 12, 2))
                said = f" from {address} ({address})"
            elif sizes[entry]:
                begin = int(layer.start[entry]) + 28
                said = f" from {layer.data[begin : begin + min(sizes[entry], 16)].tobytes().hex(':')}"
            out.append(f"Boot Request{said}")
        else:
            out.append("Boot Reply" if kind == 2 else f"Unknown BOOTP message type ({kind})")
    return out


def _address_at(name: str, label: str, at: int) -> Field:
    return Field(name, label, Type.IPV4, at)


PROTOCOLS = (
    Protocol(
        "dhcp",
        "Dynamic Host Configuration Protocol",
        _column,
        fields=(
            Field("dhcp.type", "Message type", Type.UINT8, 0, names=_TYPES),
            Field("dhcp.hw.type", "Hardware type", Type.UINT8, 1, names=HARDWARE, base="hex"),
            Field("dhcp.hw.len", "Hardware address length", Type.UINT8, 2),
            Field("dhcp.hops", "Hops", Type.UINT8, 3),
            Field("dhcp.id", "Transaction ID", Type.UINT32, 4, base="hex"),
            Field("dhcp.secs", "Seconds elapsed", Type.UINT16, make=_seconds),
            Field("dhcp.flags", "Bootp flags", Type.UINT16, 10, base="hex", show=_flags_shown),
            Field(
                "dhcp.flags.bc",
                "Broadcast flag",
                Type.BOOLEAN,
                10,
                2,
                mask=0x8000,
                names={1: "Broadcast", 0: "Unicast"},
                under="dhcp.flags",
            ),
            Field(
                "dhcp.flags.reserved", "Reserved flags", Type.UINT16, 10, mask=0x7FFF, base="hex", under="dhcp.flags"
            ),
            _address_at("dhcp.ip.client", "Client IP address", 12),
            _address_at("dhcp.ip.your", "Your (client) IP address", 16),
            _address_at("dhcp.ip.server", "Next server IP address", 20),
            _address_at("dhcp.ip.relay", "Relay agent IP address", 24),
            Field("dhcp.hw.mac_addr", "Client MAC address", Type.ETHER, 28, when=_is_ethernet),
            Field("dhcp.hw.addr", "Client hardware address", Type.BYTES, make=_other_address),
            Field("dhcp.hw.addr_padding", "Client hardware address padding", Type.BYTES, make=_padding),
            *(_SERVER, _FILE, _COOKIE, _OPTION, _VALUE, _END, _PAD),
            *option_fields(),
        ),
        keys=(("udp.port", 67), ("udp.port", 68), ("udp.port", 4011)),
        walk=_walk,
        label=_label,
        info=_info,
        least=34,
    ),
)
