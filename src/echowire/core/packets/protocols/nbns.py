"""NetBIOS's name service (RFC 1002, 4.2): DNS's layout, with names of sixteen bytes in a spelling of their own."""

from __future__ import annotations

from ipaddress import IPv4Address

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.layout import add_at
from echowire.core.packets.protocols.dns.names import read_name
from echowire.core.packets.walk import Walk
from echowire.core.text import printable_ascii

HEADER_BYTES = 12
NAME_BYTES = 16
NB, NBSTAT = 32, 33
RESPONSE = 0x8000

_OPCODES = {
    0: "Name query",
    5: "Registration",
    6: "Release",
    7: "Wait for acknowledgment",
    8: "Refresh",
    9: "Refresh (alternate opcode)",
    15: "Multi-homed registration",
}
_RCODES = {
    0: "No error",
    1: "Request was invalidly formatted",
    2: "Server failure",
    3: "Requested name does not exist",
    4: "Request is not implemented",
    5: "Request was refused",
    6: "Name is owned by another node",
    7: "Name is in conflict",
}
_TYPES = {NB: "NB", NBSTAT: "NBSTAT"}
_CLASSES = {1: "IN", 2: "CS", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}
_NODES = {0: "B-node", 1: "P-node", 2: "M-node", 3: "H-node"}
_SUFFIXES = {
    0x00: "Workstation/Redirector",
    0x01: "Browser",
    0x02: "Workstation/Redirector",
    0x03: "Messenger service/Main name",
    0x05: "Forwarded name",
    0x06: "RAS Server service",
    0x1B: "Domain Master Browser",
    0x1C: "Domain Controllers",
    0x1D: "Local Master Browser",
    0x1E: "Browser Election Service",
    0x1F: "Net DDE Service",
    0x20: "Server service",
    0x21: "RAS client service",
    0xBE: "Network Monitor Agent",
    0xBF: "Network Monitor Analyzer",
}
"""What the sixteenth byte of a name tells: the service that has registered it."""
_SECTIONS = ("Answers", "Authoritative nameservers", "Additional records")


def _is_response(layer: Layer) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = layer.uint(2, 2) & RESPONSE != 0
    return found


def _flag(name: str, label: str, mask: int, names: tuple[str, str], *, answers: bool = False) -> Field:
    return Field(
        f"nbns.flags.{name}",
        label,
        Type.BOOLEAN,
        2,
        2,
        mask,
        names={1: names[0], 0: names[1]},
        under="nbns.flags",
        when=_is_response if answers else None,
    )


_NAME = Field("nbns.name", "Name", Type.STRING)
_TYPE = Field("nbns.type", "Type", Type.UINT16, names=_TYPES)
_CLASS = Field("nbns.class", "Class", Type.UINT16, names=_CLASSES)
_TTL = Field("nbns.ttl", "Time to live", Type.UINT32)
_LENGTH = Field("nbns.data_length", "Data length", Type.UINT16)
_DATA = Field("nbns.data", "Data", Type.BYTES)
_NB_FLAGS = Field("nbns.nb_flags", "Name flags", Type.UINT16, base="hex")
_GROUP_NAMES = {1: "Group name", 0: "Unique name"}
_NB_GROUP = Field("nbns.nb_flags.group", "Name type", Type.BOOLEAN, size=2, mask=0x8000, names=_GROUP_NAMES)
_NB_NODE = Field("nbns.nb_flags.ont", "ONT", Type.UINT16, mask=0x6000, names=_NODES)
_ADDRESS = Field("nbns.addr", "Addr", Type.IPV4)
_NUMBER = Field("nbns.number_of_names", "Number of names", Type.UINT8)
_LISTED = Field("nbns.netbios_name", "Name", Type.STRING)
_NAME_FLAGS = Field("nbns.name_flags", "Name flags", Type.UINT16, base="hex")
_NAME_BITS = (
    Field("nbns.name_flags.group", "Name type", Type.BOOLEAN, size=2, mask=0x8000, names=_GROUP_NAMES),
    Field("nbns.name_flags.ont", "ONT", Type.UINT16, mask=0x6000, names=_NODES),
    Field("nbns.name_flags.drg", "Name is being deregistered", Type.BOOLEAN, size=2, mask=0x1000),
    Field("nbns.name_flags.cnf", "Name is in conflict", Type.BOOLEAN, size=2, mask=0x0800),
    Field("nbns.name_flags.act", "Name is active", Type.BOOLEAN, size=2, mask=0x0400),
    Field("nbns.name_flags.prm", "Permanent node name", Type.BOOLEAN, size=2, mask=0x0200),
)
_UNIT = Field("nbns.unit_id", "Unit ID", Type.ETHER)


def decoded(name: str) -> str:
    """A name of two letters a byte, `A` to `P` for each half, as text, its last byte in hexadecimal (RFC 1001, 14.1).

    One that is not spelled so is given as it is.
    """
    first, dot, scope = name.partition(".")
    halves = [ord(one) - ord("A") for one in first]
    if len(halves) != 2 * NAME_BYTES or not all(0 <= one < 16 for one in halves):
        return name
    raw = bytes(16 * high + low for high, low in zip(halves[::2], halves[1::2], strict=True))
    return f"{name_text(raw)}{dot}{scope}"


def name_text(raw: bytes) -> str:
    """Fifteen bytes of a name without what fills them, and the sixteenth, which tells the service."""
    filler = b"\0" if raw.startswith(b"*") else b" "
    said = "".join(chr(one) if 0x20 <= one < 0x7F else f"<{one:02x}>" for one in raw[:15].rstrip(filler))
    return f"{said}<{raw[15]:02x}>"


def _service(name: str) -> str:
    """What the name's last byte tells, in brackets."""
    at = name.find("<")
    code = name[name.rfind("<") + 1 : name.rfind(">")] if at >= 0 else ""
    known = _SUFFIXES.get(int(code, 16)) if len(code) == 2 else None
    return f"{name} ({known})" if known else name


def _walk(walk: Walk) -> None:
    counts = [walk.u16(at) for at in (4, 6, 8, 10)]
    told = walk.layer.once("told", dict[int, list[str]]).setdefault(walk.entry, [])
    at = HEADER_BYTES
    if counts[0]:
        with walk.subtree("Queries", at, max(walk.size - at, 0)):
            for _ in range(counts[0]):
                at = _question(walk, at, told)
    for title, count in zip(_SECTIONS, counts[1:], strict=True):
        if count:
            with walk.subtree(title, at, max(walk.size - at, 0)):
                for _ in range(count):
                    at = _record(walk, at, told)


def _begin(walk: Walk, at: int) -> tuple[str, int, str, str]:
    """A question or a record up to its class: its name, where that ends, its type and its class."""
    name = read_name(walk, at)
    kind, group = walk.u16(name.end), walk.u16(name.end + 2)
    return (
        decoded(name.text),
        name.end,
        _TYPES.get(kind, f"Unknown ({kind})"),
        _CLASSES.get(group, f"Unknown ({group})"),
    )


def _question(walk: Walk, at: int, told: list[str]) -> int:
    name, end, kind, group = _begin(walk, at)
    told.append(f" {kind} {name}")
    with walk.subtree(f"{name}: type {kind}, class {group}", at, end + 4 - at):
        walk.add(_NAME, name, at, end - at, f"Name: {_service(name)}")
        walk.add_uint(_TYPE, end)
        walk.add_uint(_CLASS, end + 2)
    return end + 4


def _record(walk: Walk, at: int, told: list[str]) -> int:
    name, end, kind, group = _begin(walk, at)
    size = walk.u16(end + 8)
    data = end + 10
    told.append(f" {kind}")
    with walk.subtree(f"{name}: type {kind}, class {group}", at, data + size - at):
        walk.add(_NAME, _service(name), at, end - at)
        walk.add_uint(_TYPE, end)
        walk.add_uint(_CLASS, end + 2)
        walk.add_uint(_TTL, end + 4)
        walk.add_uint(_LENGTH, end + 8)
        if kind == "NB":
            _addresses(walk, data, data + size, told)
        elif kind == "NBSTAT":
            _names(walk, data, data + size)
        elif size:
            add_at(walk, _DATA, data, size)
    return data + size


def _addresses(walk: Walk, at: int, end: int, told: list[str]) -> None:
    """The hosts that have a name (RFC 1002, 4.2.1.3)."""
    while at + 6 <= end:
        walk.add_uint(_NB_FLAGS, at)
        with walk.subtree():
            walk.add_uint(_NB_NODE, at)
            walk.add_uint(_NB_GROUP, at)
        told.append(f" {IPv4Address(walk.add_uint(_ADDRESS, at + 2))}")
        at += 6


def _names(walk: Walk, at: int, end: int) -> None:
    """The names that a host has, and its hardware address (RFC 1002, 4.2.18)."""
    count = walk.add_uint(_NUMBER, at)
    at += 1
    for _ in range(count):
        if at + NAME_BYTES + 2 > end:
            return
        name = name_text(walk.take(at, NAME_BYTES))
        walk.add(_LISTED, printable_ascii(name.encode()), at, NAME_BYTES, f"Name: {_service(name)}")
        at += NAME_BYTES
        walk.add_uint(_NAME_FLAGS, at)
        with walk.subtree():
            for bit in _NAME_BITS:
                walk.add_uint(bit, at)
        at += 2
    if at + 6 <= end:
        add_at(walk, _UNIT, at)


def _info(layer: Layer) -> list[str]:
    told = layer.once("told", dict[int, list[str]])
    out = []
    for entry, flags in enumerate(layer.uint(2, 2).tolist()):
        opcode = flags >> 11 & 0xF
        said = _OPCODES.get(opcode, f"Unknown operation ({opcode})")
        if flags & RESPONSE:
            said += " response"
            if flags & 0xF:
                said += f", {_RCODES.get(flags & 0xF, 'Unknown error')}"
        out.append(said + "".join(told.get(entry, ())))
    return out


PROTOCOLS = (
    Protocol(
        "nbns",
        "NetBIOS Name Service",
        "NBNS",
        fields=(
            Field("nbns.id", "Transaction ID", Type.UINT16, 0, base="hex"),
            Field("nbns.flags", "Flags", Type.UINT16, 2, base="hex"),
            _flag("response", "Response", 0x8000, ("Message is a response", "Message is a query")),
            Field("nbns.flags.opcode", "Opcode", Type.UINT16, 2, mask=0x7800, names=_OPCODES, under="nbns.flags"),
            _flag(
                "authoritative",
                "Authoritative",
                0x0400,
                ("Server is an authority for domain", "Server is not an authority for domain"),
                answers=True,
            ),
            _flag("truncated", "Truncated", 0x0200, ("Message is truncated", "Message is not truncated")),
            _flag("recdesired", "Recursion desired", 0x0100, ("Do query recursively", "Don't do query recursively")),
            _flag(
                "recavail",
                "Recursion available",
                0x0080,
                ("Server can do recursive queries", "Server can't do recursive queries"),
                answers=True,
            ),
            _flag("broadcast", "Broadcast", 0x0010, ("Broadcast packet", "Not a broadcast packet")),
            Field(
                "nbns.flags.rcode",
                "Reply code",
                Type.UINT16,
                2,
                mask=0x000F,
                names=_RCODES,
                under="nbns.flags",
                when=_is_response,
            ),
            Field("nbns.count.queries", "Questions", Type.UINT16, 4),
            Field("nbns.count.answers", "Answer RRs", Type.UINT16, 6),
            Field("nbns.count.auth_rr", "Authority RRs", Type.UINT16, 8),
            Field("nbns.count.add_rr", "Additional RRs", Type.UINT16, 10),
            *(_NAME, _TYPE, _CLASS, _TTL, _LENGTH, _DATA, _NB_FLAGS, _NB_NODE, _NB_GROUP, _ADDRESS),
            *(_NUMBER, _LISTED, _NAME_FLAGS, *_NAME_BITS, _UNIT),
        ),
        keys=(("udp.port", 137),),
        walk=_walk,
        info=_info,
        least=4,
    ),
)
