"""NTP (RFC 5905, 7.3; RFC 9327 for control messages; mode 7 as ntpd has it), and SNTP, which looks the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import Type, objects
from echowire.core.packets.layers import Field, Layer, Picked, Protocol
from echowire.core.packets.layout import add_at
from echowire.core.packets.walk import MalformedError, Walk

HEADER_BYTES = 48
CONTROL_BYTES = 12
PRIVATE_BYTES = 8
CONTROL, PRIVATE = 6, 7
MAX_MAC_BYTES = 24
"""Of a key's number and a digest: what follows the header beyond that is an extension field (RFC 7822, 3)."""

SECONDS_1900_TO_1970 = 2_208_988_800
ERA_SECONDS = 1 << 32
"""An era: times with the first bit unset are of the one that begins in 2036 (RFC 4330, 3)."""
NS_PER_S = 1_000_000_000

_LEAPS = {
    0: "no warning",
    1: "last minute of the day has 61 seconds",
    2: "last minute of the day has 59 seconds",
    3: "unknown (clock unsynchronized)",
}
_VERSIONS = {0: "reserved", **{one: f"NTP Version {one}" for one in range(1, 5)}, 5: "reserved", 6: "reserved"} | {
    7: "reserved"
}
_MODES = {
    0: "reserved",
    1: "symmetric active",
    2: "symmetric passive",
    3: "client",
    4: "server",
    5: "broadcast",
    CONTROL: "reserved for NTP control message",
    PRIVATE: "reserved for private use",
}
_SHORT_MODES = _MODES | {CONTROL: "control", PRIVATE: "private"}
_STRATA = {
    0: "unspecified or invalid",
    1: "primary reference",
    **dict.fromkeys(range(2, 16), "secondary reference"),
    16: "unsynchronized",
    **dict.fromkeys(range(17, 256), "reserved"),
}
_OPCODES = {
    0: "reserved",
    1: "read status",
    2: "read variables",
    3: "write variables",
    4: "read clock variables",
    5: "write clock variables",
    6: "set trap address/port",
    7: "asynchronous message",
    8: "runtime configuration",
    9: "save config to file",
    10: "retrieve MRU (mrulist)",
    11: "retrieve ordered list",
    12: "request a client nonce",
    31: "unset trap address/port",
}
_IMPLEMENTATIONS = {0: "UNIV", 2: "XNTPD_OLD (pre-IPv6)", 3: "XNTPD"}
_ERRORS = {
    0: "No error",
    1: "incompatible implementation number",
    2: "unimplemented request code",
    3: "format error",
    4: "no data available",
    7: "authentication failure",
}
_REQUESTS = {
    0: "PEER_LIST",
    1: "PEER_LIST_SUM",
    2: "PEER_INFO",
    3: "PEER_STATS",
    4: "SYS_INFO",
    5: "SYS_STATS",
    6: "IO_STATS",
    7: "MEM_STATS",
    8: "LOOP_INFO",
    9: "TIMER_STATS",
    10: "CONFIG",
    11: "UNCONFIG",
    12: "SET_SYS_FLAG",
    13: "CLR_SYS_FLAG",
    14: "MONITOR",
    15: "NOMONITOR",
    16: "GET_RESTRICT",
    17: "RESADDFLAGS",
    18: "RESSUBFLAGS",
    19: "UNRESTRICT",
    20: "MON_GETLIST",
    21: "RESET_STATS",
    22: "RESET_PEER",
    23: "REREAD_KEYS",
    24: "DO_DIRTY_HACK",
    25: "DONT_DIRTY_HACK",
    26: "TRUSTKEY",
    27: "UNTRUSTKEY",
    28: "AUTHINFO",
    29: "TRAPS",
    30: "ADD_TRAP",
    31: "CLR_TRAP",
    32: "REQUEST_KEY",
    33: "CONTROL_KEY",
    34: "GET_CTLSTATS",
    35: "GET_LEAPINFO",
    36: "GET_CLOCKINFO",
    37: "SET_CLKFUDGE",
    38: "GET_KERNEL",
    39: "GET_CLKBUGINFO",
    41: "SET_PRECISION",
    42: "MON_GETLIST_1",
    43: "HOSTNAME_ASSOCID",
    44: "IF_STATS",
    45: "IF_RELOAD",
}


def _is_mode(layer: Layer, mode: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = layer.uint(0, 1) & 7 == mode
    return found


def _is_time(layer: Layer) -> NDArray[np.bool_]:
    """Which messages are about the time."""
    return ~(_is_control(layer) | _is_private(layer))


def _is_control(layer: Layer) -> NDArray[np.bool_]:
    return _is_mode(layer, CONTROL)


def _is_private(layer: Layer) -> NDArray[np.bool_]:
    return _is_mode(layer, PRIVATE)


def _is_not_private(layer: Layer) -> NDArray[np.bool_]:
    return ~_is_private(layer)


def stamp_ns(layer: Layer, at: int, which: Rows) -> NDArray[np.int64]:
    """Timestamps as nanoseconds since 1970: seconds since 1900 and their fraction, in 32 bits each. None is 0, as it is
    in the packet."""
    seconds, fraction = (layer.uint(a, 4)[which].astype(np.int64) for a in (at, at + 4))
    since = seconds - SECONDS_1900_TO_1970 + np.where(seconds >> 31, 0, ERA_SECONDS)
    known = (seconds != 0) | (fraction != 0)
    return np.where(known, since * NS_PER_S + (fraction * NS_PER_S >> 32), 0)


def _stamp(at: int) -> Callable[[Layer], Picked]:
    def make(layer: Layer) -> Picked:
        which = np.flatnonzero(_is_time(layer) & layer.has(at + 8))
        return Picked(which, stamp_ns(layer, at, which))

    return make


def _low_bits(at: int) -> Callable[[Layer], Picked]:
    """The low twelve bits of two bytes."""

    def make(layer: Layer) -> Picked:
        which = np.flatnonzero(_is_private(layer) & layer.has(at + 2))
        return Picked(which, (layer.uint(at, 2)[which] & 0x0FFF).astype(np.uint16))

    return make


def _reference(layer: Layer) -> Picked:
    which = np.flatnonzero(_is_time(layer) & layer.has(16))
    return Picked(which, objects([layer.data[at + 12 : at + 16].tobytes() for at in layer.start[which].tolist()]))


def _reference_shown(layer: Layer) -> list[str]:
    """A clock's name (RFC 5905, figure 12), a kiss code or the address of the server's own server."""
    out = []
    for stratum, number in zip(layer.uint(1, 1).tolist(), layer.uint(12, 4).tolist(), strict=True):
        raw = number.to_bytes(4, "big")
        if stratum < 2:
            said = raw.rstrip(b"\0").decode("latin-1")
            out.append(said if said.isprintable() else raw.hex())
        else:
            out.append(".".join(map(str, raw)))
    return out


def _short_shown(at: int) -> Callable[[Layer], list[str]]:
    """Seconds in 16 bits, and 16 of their fraction."""
    return lambda layer: [f"{one / 65536:.6f} seconds" for one in layer.uint(at, 4).tolist()]


def _poll_shown(layer: Layer) -> list[str]:
    return [f"{one} ({2.0**one:.0f} seconds)" if one < 32 else f"{one}" for one in layer.uint(2, 1).tolist()]


def _precision_shown(layer: Layer) -> list[str]:
    return [f"{2.0 ** (one - 256 if one > 127 else one):.6f} seconds" for one in layer.uint(3, 1).tolist()]


def _flags_shown(layer: Layer) -> list[str]:
    out = []
    for one in layer.uint(0, 1).tolist():
        mode = one & 7
        leap = ("Response bit: " + ("Response" if one & 0x80 else "Request")) if mode == PRIVATE else ""
        said = leap or f"Leap Indicator: {_LEAPS[one >> 6]}"
        out.append(f"0x{one:02x}, {said}, Version number: {_VERSIONS[one >> 3 & 7]}, Mode: {_MODES[mode]}")
    return out


_KEY = Field("ntp.keyid", "Key ID", Type.BYTES)
_MAC = Field("ntp.mac", "Message Authentication Code", Type.BYTES)
_EXTENSION = Field("ntp.ext", "Extension", Type.NONE)
_EXTENSION_TYPE = Field("ntp.ext.type", "Field Type", Type.UINT16, base="hex")
_EXTENSION_LENGTH = Field("ntp.ext.length", "Length", Type.UINT16)
_EXTENSION_VALUE = Field("ntp.ext.value", "Value", Type.BYTES)
_DATA = Field("ntp.ctrl.data", "Data", Type.NONE)
_ITEM = Field("ntp.ctrl.item", "Item", Type.NONE)


def _walk(walk: Walk) -> None:
    mode = walk.u8(0) & 7
    if mode == CONTROL:
        _variables(walk)
    elif mode != PRIVATE and walk.wire_size > HEADER_BYTES:
        _behind(walk)


def _behind(walk: Walk) -> None:
    """What follows the header: extension fields (RFC 7822), then a key's number and a digest."""
    at = HEADER_BYTES
    while walk.wire_size - at > MAX_MAC_BYTES:
        size = walk.u16(at + 2)
        if size < 4:
            raise MalformedError("an extension field of less than its header")
        walk.add(_EXTENSION, 1, at, size)
        with walk.subtree():
            walk.add_uint(_EXTENSION_TYPE, at)
            walk.add_uint(_EXTENSION_LENGTH, at + 2)
            add_at(walk, _EXTENSION_VALUE, at + 4, size - 4)
        at += size
    if walk.wire_size - at >= 4:
        add_at(walk, _KEY, at, 4)
        if walk.wire_size - at > 4:
            add_at(walk, _MAC, at + 4, walk.wire_size - at - 4)


def _variables(walk: Walk) -> None:
    """What a control message says: variables, with commas between them."""
    size = walk.u16(10)
    if not size:
        return
    raw = walk.take(CONTROL_BYTES, size)
    walk.add(_DATA, 1, CONTROL_BYTES, size)
    if walk.u8(1) & 0x1F == 1:  # association numbers and their states, not text
        return
    with walk.subtree():
        at = CONTROL_BYTES
        for one in raw.split(b","):
            said = one.strip().decode("utf-8", "replace")
            if said:
                walk.add(_ITEM, 1, at, len(one), said)
            at += len(one) + 1


def _label(layer: Layer) -> list[str]:
    return [f" ({one})" for one in _said(layer)]


def _said(layer: Layer) -> list[str]:
    return [f"{_VERSIONS[one >> 3 & 7]}, {_SHORT_MODES[one & 7]}" for one in layer.uint(0, 1).tolist()]


def _info(layer: Layer) -> list[str]:
    out = _said(layer)
    whole, first, requests = layer.has(4).tolist(), layer.uint(0, 1).tolist(), layer.uint(3, 1).tolist()
    for entry in np.flatnonzero(_is_private(layer)).tolist():
        if whole[entry]:
            name = _REQUESTS.get(requests[entry], "Unknown")
            out[entry] += f", {'Response' if first[entry] & 0x80 else 'Request'}, {name}"
    return out


_CONTROL_STATUS = Field("ntp.ctrl.status", "Status", Type.UINT16, 4, base="hex", when=_is_control)


def _control(name: str, label: str, at: int) -> Field:
    return Field(f"ntp.ctrl.{name}", label, Type.UINT16, at, when=_is_control)


def _control_bit(name: str, label: str, mask: int, names: dict[int, str] | None = None) -> Field:
    return Field(
        f"ntp.ctrl.flags2.{name}",
        label,
        Type.UINT8,
        1,
        mask=mask,
        names=names,
        under="ntp.ctrl.flags2",
        when=_is_control,
    )


PROTOCOLS = (
    Protocol(
        "ntp",
        "Network Time Protocol",
        "NTP",
        fields=(
            Field("ntp.flags", "Flags", Type.UINT8, 0, base="hex", show=_flags_shown),
            Field(
                "ntp.flags.li",
                "Leap Indicator",
                Type.UINT8,
                0,
                mask=0xC0,
                names=_LEAPS,
                under="ntp.flags",
                when=_is_not_private,
            ),
            Field(
                "ntp.priv.flags.r",
                "Response bit",
                Type.UINT8,
                0,
                mask=0x80,
                names={0: "Request", 1: "Response"},
                under="ntp.flags",
                when=_is_private,
            ),
            Field("ntp.priv.flags.more", "More bit", Type.UINT8, 0, mask=0x40, under="ntp.flags", when=_is_private),
            Field("ntp.flags.vn", "Version number", Type.UINT8, 0, mask=0x38, names=_VERSIONS, under="ntp.flags"),
            Field("ntp.flags.mode", "Mode", Type.UINT8, 0, mask=0x07, names=_MODES, under="ntp.flags"),
            Field("ntp.stratum", "Peer Clock Stratum", Type.UINT8, 1, names=_STRATA, when=_is_time),
            Field("ntp.ppoll", "Peer Polling Interval", Type.UINT8, 2, when=_is_time, show=_poll_shown),
            Field("ntp.precision", "Peer Clock Precision", Type.UINT8, 3, when=_is_time, show=_precision_shown),
            Field("ntp.rootdelay", "Root Delay", Type.UINT32, 4, when=_is_time, show=_short_shown(4)),
            Field("ntp.rootdispersion", "Root Dispersion", Type.UINT32, 8, when=_is_time, show=_short_shown(8)),
            Field("ntp.refid", "Reference ID", Type.BYTES, 12, 4, make=_reference, show=_reference_shown),
            Field("ntp.reftime", "Reference Timestamp", Type.ABSOLUTE_TIME, 16, 8, make=_stamp(16)),
            Field("ntp.org", "Origin Timestamp", Type.ABSOLUTE_TIME, 24, 8, make=_stamp(24)),
            Field("ntp.rec", "Receive Timestamp", Type.ABSOLUTE_TIME, 32, 8, make=_stamp(32)),
            Field("ntp.xmt", "Transmit Timestamp", Type.ABSOLUTE_TIME, 40, 8, make=_stamp(40)),
            Field("ntp.ctrl.flags2", "Flags 2", Type.UINT8, 1, base="hex", when=_is_control),
            _control_bit("r", "Response bit", 0x80, {0: "Request", 1: "Response"}),
            _control_bit("error", "Error bit", 0x40),
            _control_bit("more", "More bit", 0x20),
            _control_bit("opcode", "Opcode", 0x1F, _OPCODES),
            _control("sequence", "Sequence", 2),
            _CONTROL_STATUS,
            _control("associd", "AssociationID", 6),
            _control("offset", "Offset", 8),
            _control("count", "Count", 10),
            Field("ntp.priv.auth_seq", "Auth, sequence", Type.UINT8, 1, when=_is_private),
            Field("ntp.priv.auth", "Auth bit", Type.UINT8, 1, mask=0x80, under="ntp.priv.auth_seq", when=_is_private),
            Field(
                "ntp.priv.seq",
                "Sequence number",
                Type.UINT8,
                1,
                mask=0x7F,
                under="ntp.priv.auth_seq",
                when=_is_private,
            ),
            Field("ntp.priv.impl", "Implementation", Type.UINT8, 2, names=_IMPLEMENTATIONS, when=_is_private),
            Field("ntp.priv.reqcode", "Request code", Type.UINT8, 3, names=_REQUESTS, when=_is_private),
            Field("ntp.priv.err", "Err", Type.UINT8, 4, mask=0xF0, base="hex", names=_ERRORS, when=_is_private),
            Field("ntp.priv.numitems", "Number of data items", Type.UINT16, 4, 2, make=_low_bits(4)),
            Field("ntp.priv.reserved", "Reserved", Type.UINT8, 6, mask=0xF0, base="hex", when=_is_private),
            Field("ntp.priv.itemsize", "Size of data item", Type.UINT16, 6, 2, make=_low_bits(6)),
            *(_EXTENSION, _EXTENSION_TYPE, _EXTENSION_LENGTH, _EXTENSION_VALUE, _KEY, _MAC, _DATA, _ITEM),
        ),
        keys=(("udp.port", 123), ("tcp.port", 123)),
        walk=_walk,
        label=_label,
        info=_info,
    ),
)
