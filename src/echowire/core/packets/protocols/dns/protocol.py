"""DNS (RFC 1035), and what is made of it: multicast DNS (RFC 6762) and link-local name resolution (RFC 4795).

The header is columns; names and records are walked. Answers are told from what was asked before
(`echowire.core.packets.protocols.dns.pairs`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Type
from echowire.core.packets.conversation import Socket, directed
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.layout import fields_of, read_parts, seconds_text, value_text
from echowire.core.packets.protocols.dns import options as dns_options
from echowire.core.packets.protocols.dns import pairs as dns_pairs
from echowire.core.packets.protocols.dns.names import read_name
from echowire.core.packets.protocols.dns.rdata import RCODES, RR_TYPE, TYPE_NAMES, type_short
from echowire.core.packets.protocols.dns.records import NAMED, OTHER, RECORDS
from echowire.core.packets.walk import Walk

HEADER_BYTES = 12
RESPONSE = 0x8000
"""The bit of the flags that an answer has."""
SRV = 33
UPDATE = 5
"""The opcode of RFC 2136, whose sections have other names."""

OPCODES = {
    0: "Standard query",
    1: "Inverse query",
    2: "Server status request",
    4: "Zone change notification",
    5: "Dynamic update",
    6: "DNS Stateful operations (DSO)",
}
CLASSES = {1: "IN", 2: "CS", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}
MAX_USUAL_ANSWERS, MAX_USUAL_OTHERS = 100, 10
"""Records of a message on a port that is not DNS's, beyond which it is taken for something else."""

MAX_MESSAGE_BYTES = 2 + 0xFFFF
"""Of a message over TCP, with its length."""

MAX_CONNECTIONS = 50_000
"""Of which it is remembered where the last message ends; the one that was silent longest is forgotten first."""

SEQUENCES = 1 << 32

UNICAST = 0x8000
"""The bit of a class that multicast DNS has taken: an answer to the asker alone is welcome, or what was cached before
is to be forgotten (RFC 6762, 18.12 and 18.13)."""

_SECTIONS = ("Answers", "Authoritative nameservers", "Additional records")
_UPDATE_SECTIONS = ("Prerequisites", "Updates", "Additional records")


def _flags(layer: Layer) -> NDArray[np.unsignedinteger]:
    return layer.once("flags", lambda: layer.uint(2, 2))


def _has(layer: Layer, mask: int, value: int) -> NDArray[np.bool_]:
    """Which messages have this under these bits of their flags."""
    found: NDArray[np.bool_] = _flags(layer) & mask == value
    return found


def _is_response(layer: Layer) -> NDArray[np.bool_]:
    return _has(layer, RESPONSE, RESPONSE)


def _is_update(layer: Layer) -> NDArray[np.bool_]:
    return _has(layer, 0x7800, UPDATE << 11)


def _is_no_update(layer: Layer) -> NDArray[np.bool_]:
    return ~_is_update(layer)


def _has_ad(layer: Layer) -> NDArray[np.bool_]:
    """Queries have the bit where it is set (RFC 6840, 5.7), responses always."""
    return ~_has(layer, 0x8020, 0)


def _is_over_tcp(layer: Layer) -> NDArray[np.bool_]:
    over = layer.parent is not None and layer.parent.protocol.name == "dns.tcp"
    return np.full(len(layer), over)


def _operation(flags: int) -> str:
    said = OPCODES.get(flags >> 11 & 0xF, f"Unknown operation ({flags >> 11 & 0xF})")
    return f"{said} response" if flags & RESPONSE else said


def _rcode(flags: int) -> str:
    return RCODES.get(flags & 0xF, f"Unknown error ({flags & 0xF})")


def _flags_shown(layer: Layer) -> list[str]:
    flags = _flags(layer).tolist()
    return [f"0x{one:04x} {_operation(one)}" + (f", {_rcode(one)}" if one & RESPONSE else "") for one in flags]


def _flag(name: str, label: str, mask: int, names: tuple[str, str], **more: object) -> Field:
    values = {1: names[0], 0: names[1]}
    return Field(
        f"dns.flags.{name}",
        label,
        Type.BOOLEAN,
        2,
        2,
        mask,
        names=values,
        under="dns.flags",
        **more,  # type: ignore[arg-type]
    )


_LENGTH = Field("dns.length", "Length", Type.UINT16, -2, when=_is_over_tcp)
_ID = Field("dns.id", "Transaction ID", Type.UINT16, 0, base="hex", when=lambda layer: layer.has(4))
_FLAGS = Field("dns.flags", "Flags", Type.UINT16, 2, base="hex", show=_flags_shown)
_RESPONSE = _flag("response", "Response", 0x8000, ("Message is a response", "Message is a query"))
_OPCODE = Field("dns.flags.opcode", "Opcode", Type.UINT16, 2, mask=0x7800, names=OPCODES, under="dns.flags")
_AUTHORITATIVE = _flag(
    "authoritative",
    "Authoritative",
    0x0400,
    ("Server is an authority for domain", "Server is not an authority for domain"),
    when=_is_response,
)
_TRUNCATED = _flag("truncated", "Truncated", 0x0200, ("Message is truncated", "Message is not truncated"))
_RECURSE = _flag("recdesired", "Recursion desired", 0x0100, ("Do query recursively", "Don't do query recursively"))
_RECURSES = _flag(
    "recavail",
    "Recursion available",
    0x0080,
    ("Server can do recursive queries", "Server can't do recursive queries"),
    when=_is_response,
)
_Z = _flag("z", "Z", 0x0040, ("reserved - incorrect!", "reserved (0)"))
_AUTHENTICATED = _flag(
    "authenticated",
    "Answer authenticated",
    0x0020,
    (
        "Answer/authority portion was authenticated by the server",
        "Answer/authority portion was not authenticated by the server",
    ),
    when=_has_ad,
)
_UNCHECKED = _flag("checkdisable", "Non-authenticated data", 0x0010, ("Acceptable", "Unacceptable"))
_RCODE = Field(
    "dns.flags.rcode",
    "Reply code",
    Type.UINT16,
    2,
    mask=0x000F,
    names=RCODES,
    under="dns.flags",
    when=_is_response,
)
_CONFLICT = _flag("conflict", "Conflict", 0x0400, ("The name is not considered unique", "None"))
_TENTATIVE = _flag("tentative", "Tentative", 0x0100, ("Tentative", "Not tentative"))
_COUNTS = (
    Field("dns.count.queries", "Questions", Type.UINT16, 4, when=_is_no_update),
    Field("dns.count.zones", "Zones", Type.UINT16, 4, when=_is_update),
    Field("dns.count.answers", "Answer RRs", Type.UINT16, 6, when=_is_no_update),
    Field("dns.count.prerequisites", "Prerequisites", Type.UINT16, 6, when=_is_update),
    Field("dns.count.auth_rr", "Authority RRs", Type.UINT16, 8, when=_is_no_update),
    Field("dns.count.updates", "Updates", Type.UINT16, 8, when=_is_update),
    Field("dns.count.add_rr", "Additional RRs", Type.UINT16, 10),
)

_NAME = Field("dns.qry.name", "Name", Type.STRING)
_NAME_LENGTH = Field("dns.qry.name.len", "Name Length", Type.UINT16, generated=True)
_LABELS = Field("dns.count.labels", "Label Count", Type.UINT16, generated=True)
_TYPE = Field("dns.qry.type", "Type", Type.UINT16, names=TYPE_NAMES)
_CLASS = Field("dns.qry.class", "Class", Type.UINT16, names=CLASSES, base="hex")
_MULTICAST_CLASS = Field("dns.qry.class", "Class", Type.UINT16, mask=0x7FFF, names=CLASSES, base="hex")
_UNICAST = Field("dns.qry.qu", '"QU" question', Type.BOOLEAN, size=2, mask=UNICAST)
_RR_NAME = Field("dns.resp.name", "Name", Type.STRING)
_RR_CLASS = Field("dns.resp.class", "Class", Type.UINT16, names=CLASSES, base="hex")
_RR_MULTICAST_CLASS = Field("dns.resp.class", "Class", Type.UINT16, mask=0x7FFF, names=CLASSES, base="hex")
_TTL = Field("dns.resp.ttl", "Time to live", Type.UINT32)
_SRV_NAMES = (
    Field("dns.srv.service", "Service", Type.STRING),
    Field("dns.srv.proto", "Protocol", Type.STRING),
    Field("dns.srv.name", "Name", Type.STRING),
)

_WALKED = (
    *(_NAME, _NAME_LENGTH, _LABELS, _TYPE, _CLASS, _MULTICAST_CLASS, _UNICAST),
    *(_RR_NAME, RR_TYPE, _RR_CLASS, _RR_MULTICAST_CLASS, dns_options.FLUSH, _TTL, dns_options.LENGTH, *_SRV_NAMES),
    *dict.fromkeys(fields_of([part for record in (OTHER, *RECORDS.values()) for part in record.parts])),
    *dns_options.FIELDS,
)


class _Reader:
    """One message being walked: how the protocol reads it, and what the packet list will say of it."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.multicast = walk.layer.protocol.name == "mdns"
        self.told: list[str] = []
        """What Info says behind the header's words."""
        walk.layer.once("told", dict[int, list[str]])[walk.entry] = self.told

    def read(self) -> None:
        """Questions and records, section by section."""
        walk = self.walk
        flags, counts = walk.u16(2), [walk.u16(at) for at in (4, 6, 8, 10)]
        update = (flags >> 11) & 0xF == UPDATE
        titles = ("Zone", *_UPDATE_SECTIONS) if update else ("Queries", *_SECTIONS)
        at = HEADER_BYTES
        for number, (title, count) in enumerate(zip(titles, counts, strict=True)):
            if count:
                at = self.section(title, count, at, self.record if number else self.question)

    def section(self, title: str, count: int, at: int, read: Callable[[int], int]) -> int:
        """So many questions or records; gives where the next section begins."""
        items, line, begin = self.walk.items, len(self.walk.items), at
        with self.walk.subtree(title, begin, max(self.walk.size - begin, 0)):
            for _ in range(count):
                at = read(at)
        items[line] = items[line]._replace(size=at - begin)
        return at

    def question(self, at: int) -> int:
        """One question; gives where the next one begins."""
        walk = self.walk
        name = read_name(walk, at)
        end = name.end
        kind, group = walk.u16(end), walk.u16(end + 2)
        said = ""
        if self.multicast:
            said = ', "QU" question' if group & UNICAST else ', "QM" question'
            group &= ~UNICAST
        self.told.append(f" {type_short(kind)} {name.text}{said}")
        with walk.subtree(f"{name.text}: type {type_short(kind)}, class {_class(group)}{said}", at, end + 4 - at):
            walk.add(_NAME, name.text, at, end - at)
            walk.add(_NAME_LENGTH, name.size, at, end - at)
            walk.add(_LABELS, name.labels, at, end - at)
            walk.add(_TYPE, kind, end, 2)
            walk.add(_MULTICAST_CLASS if self.multicast else _CLASS, group, end + 2, 2)
            if self.multicast:
                walk.add_uint(_UNICAST, end + 2)
        return end + 4

    def record(self, at: int) -> int:
        """One resource record; gives where the next one begins."""
        walk = self.walk
        begin, name = at, read_name(self.walk, at)
        at = name.end
        kind, group = walk.u16(at), walk.u16(at + 2)
        short = type_short(kind)
        if kind == dns_options.OPT:
            self.told.append(" OPT")
            with walk.subtree(f"{name.text}: type OPT", begin, at + 10 + walk.u16(at + 8) - begin):
                walk.add(_RR_NAME, name.text, begin, at - begin)
                walk.add(RR_TYPE, kind, at, 2)
                return dns_options.read_opt(walk, at + 2, self.multicast)
        size, said = walk.u16(at + 8), ""
        if self.multicast:
            said = ", cache flush" if group & UNICAST else ""
        self.told.append(f" {short}{said} {name.text}" if kind in NAMED else f" {short}{said}")
        shown = group & ~UNICAST if self.multicast else group
        line = f"{name.text}: type {short}, class {_class(shown)}{said}"
        where = len(walk.items)
        with walk.subtree(line, begin, at + 10 + size - begin):
            if kind == SRV:
                self.service_name(name.text, begin, at)
            else:
                walk.add(_RR_NAME, name.text, begin, at - begin)
            walk.add(RR_TYPE, kind, at, 2)
            walk.add(_RR_MULTICAST_CLASS if self.multicast else _RR_CLASS, shown, at + 2, 2)
            if self.multicast:
                walk.add_uint(dns_options.FLUSH, at + 2)
            ttl = walk.u32(at + 4)
            walk.add(_TTL, ttl, at + 4, 4, f"Time to live: {ttl} ({seconds_text(ttl)})")
            walk.add(dns_options.LENGTH, size, at + 8, 2)
            self.data(kind, at + 10, size, where)
        return at + 10 + size

    def service_name(self, text: str, at: int, end: int) -> None:
        """The parts of a service's name: `_sip._udp.example.com` (RFC 2782)."""
        for field, part in zip(_SRV_NAMES, text.split(".", 2), strict=False):
            self.walk.add(field, part, at, end - at)

    def data(self, kind: int, at: int, size: int, line: int) -> None:
        """A record's data; what its line says of it is put behind the text of item `line`."""
        walk, record = self.walk, RECORDS.get(kind, OTHER)
        if not size:
            return
        before = len(walk.items)
        read_parts(walk, record.parts, at, at + size)
        if not record.line and not record.info:
            return
        values = [value_text(one.field, one.value) for one in walk.items[before:] if one.field]
        try:
            said, told = record.line.format(*values), record.info.format(*values)
        except IndexError:  # it is shorter than its type has parts
            return
        item = walk.items[line]
        walk.items[line] = item._replace(text=f"{item.text}{said}")
        self.told.append(told)


def _class(group: int) -> str:
    return CLASSES.get(group, f"Unknown (0x{group:04x})")


def _walk(walk: Walk) -> None:
    _Reader(walk).read()


def _read_segment(walk: Walk) -> None:
    """The messages in a segment, each behind its length (RFC 1035, 4.2.2)."""
    sequence = walk.layer.once("sequence", lambda: _sequences(walk.layer))[walk.entry]
    ends = walk.memory.of("dns over tcp", dict[tuple[Socket, Socket], int])
    key = directed(walk.layer)[walk.entry]
    at = _continued(sequence, ends.pop(key, None))
    while at < walk.wire_size:
        size = walk.u16(at)
        if at + 2 < walk.wire_size:
            walk.hand_on("dns.message", 0, at + 2, size)
        at += 2 + size
        ends[key] = sequence + at & SEQUENCES - 1
    ends.setdefault(key, sequence + at & SEQUENCES - 1)
    if len(ends) > MAX_CONNECTIONS:
        del ends[next(iter(ends))]


def _continued(sequence: int, end: int | None) -> int:
    """Bytes of a segment that belong to a message which began before; all of one that is sent again."""
    behind = 0 if end is None else (end - sequence) % SEQUENCES
    return behind if behind <= MAX_MESSAGE_BYTES else 0


def _sequences(layer: Layer) -> list[int]:
    outer = layer.outer("tcp")
    if outer is None:
        return [0] * len(layer)
    found: list[int] = outer[0].uint(4, 4)[outer[1]].tolist()
    return found


def _info(layer: Layer) -> list[str]:
    told: dict[int, list[str]] = layer.once("told", dict[int, list[str]])
    out = []
    for entry, (number, flags) in enumerate(zip(layer.uint(0, 2).tolist(), _flags(layer).tolist(), strict=True)):
        rcode = f" {_rcode(flags)}" if flags & RESPONSE and flags & 0xF else ""
        out.append(f"{_operation(flags)} 0x{number:04x}{rcode}{''.join(told.get(entry, ()))}")
    return out


def _label(layer: Layer) -> list[str]:
    return [" (response)" if one else " (query)" for one in _is_response(layer).tolist()]


_HEADER = (_RESPONSE, _OPCODE)
_FIELDS = (
    *(_LENGTH, _ID, _FLAGS, *_HEADER, _AUTHORITATIVE, _TRUNCATED, _RECURSE, _RECURSES, _Z),
    *(_AUTHENTICATED, _UNCHECKED, _RCODE, *_COUNTS, *_WALKED, *dns_pairs.FIELDS),
)
_LOCAL_FIELDS = (
    *(_LENGTH, _ID, _FLAGS, *_HEADER, _CONFLICT, _TRUNCATED, _TENTATIVE, _RCODE, *_COUNTS),
    *(*_WALKED, *dns_pairs.FIELDS),
)


def _guess(layer: Layer) -> NDArray[np.bool_]:
    """Standard queries and answers on other ports, which tshark knows by counts that are usual (a question, few
    records): one to each query, and no record but additional ones."""
    flags = layer.uint(2, 2)
    questions, answers, authorities, additional = (layer.uint(at, 2) for at in (4, 6, 8, 10))
    is_query = (flags & RESPONSE) == 0
    usual = (questions == 1) & (answers == 0) & (authorities == 0) & is_query
    usual |= (questions <= 1) & (answers <= MAX_USUAL_ANSWERS) & (authorities <= MAX_USUAL_OTHERS) & ~is_query
    found: NDArray[np.bool_] = usual & (additional <= MAX_USUAL_OTHERS) & (flags & 0x7800 == 0)
    return found & layer.has(HEADER_BYTES + 1)


def _protocol(
    name: str, title: str, column: str, fields: tuple[Field, ...], *keys: tuple[str, int], guessed: bool = False
) -> Protocol:
    return Protocol(
        name,
        title,
        column,
        tuple(dict.fromkeys(fields)),  # some stand in records, too
        keys,
        walk=_walk,
        label=_label,
        info=_info,
        remember=dns_pairs.remember,
        guess=_guess if guessed else None,
        guess_in=("udp.port",) if guessed else (),
        guess_holds=False,
        least=4,
    )


PROTOCOLS = (
    _protocol("dns", "Domain Name System", "DNS", _FIELDS, ("udp.port", 53), ("dns.message", 0), guessed=True),
    _protocol("mdns", "Multicast Domain Name System", "MDNS", _FIELDS, ("udp.port", 5353)),
    _protocol("llmnr", "Link-local Multicast Name Resolution", "LLMNR", _LOCAL_FIELDS, ("udp.port", 5355)),
    Protocol(
        "dns.tcp", "DNS over TCP", keys=(("tcp.port", 53),), tables=("dns.message",), walk=_read_segment, is_part=True
    ),
)
