"""SNMP (RFC 3416, RFC 3412): version, community, what is asked, and of which objects, in ASN.1's BER."""

from __future__ import annotations

from typing import NamedTuple

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Protocol
from echowire.core.packets.layout import text
from echowire.core.packets.summary import infos, say
from echowire.core.packets.walk import MalformedError, Walk

MAX_NUMBER_BYTES = 8
SEQUENCE, INTEGER, STRING, NULL, OID = 0x30, 0x02, 0x04, 0x05, 0x06
FIRST_PDU = 0xA0
BULK, TRAP_V1 = 5, 4

_VERSIONS = {0: "version-1", 1: "v2c", 2: "v2u", 3: "snmpv3"}
_PDUS = (
    "get-request",
    "get-next-request",
    "get-response",
    "set-request",
    "trap",
    "getBulkRequest",
    "informRequest",
    "snmpV2-trap",
    "report",
)
_ERRORS = dict(
    enumerate(
        (
            *("noError", "tooBig", "noSuchName", "badValue", "readOnly", "genErr", "noAccess", "wrongType"),
            *("wrongLength", "wrongEncoding", "wrongValue", "noCreation", "inconsistentValue", "resourceUnavailable"),
            *("commitFailed", "undoFailed", "authorizationError", "notWritable", "inconsistentName"),
        )
    )
)

_VERSION = Field("snmp.version", "version", Type.INT32, names=_VERSIONS)
_MESSAGE_VERSION = Field("snmp.msgVersion", "msgVersion", Type.INT32, names=_VERSIONS)
_COMMUNITY = Field("snmp.community", "community", Type.STRING)
_DATA = Field("snmp.data", "data", Type.UINT32, names=dict(enumerate(_PDUS)))
_REQUEST = Field("snmp.request_id", "request-id", Type.INT32)
_ERROR = Field("snmp.error_status", "error-status", Type.INT32, names=_ERRORS)
_ERROR_INDEX = Field("snmp.error_index", "error-index", Type.INT32)
_NON_REPEATERS = Field("snmp.non_repeaters", "non-repeaters", Type.UINT32)
_REPETITIONS = Field("snmp.max_repetitions", "max-repetitions", Type.UINT32)
_BINDINGS = Field("snmp.variable_bindings", "variable-bindings", Type.UINT32)
_NAME = Field("snmp.name", "Object Name", Type.OID)
_MESSAGE_ID = Field("snmp.msgID", "msgID", Type.UINT32)
_MAX_SIZE = Field("snmp.msgMaxSize", "msgMaxSize", Type.UINT32)
_FLAGS = Field("snmp.msgFlags", "msgFlags", Type.BYTES)
_MODEL = Field("snmp.msgSecurityModel", "msgSecurityModel", Type.UINT32)


class _Element(NamedTuple):
    """An element of BER (X.690, 8.1): its tag, and where its contents begin and end."""

    tag: int
    at: int
    end: int


def _element(walk: Walk, at: int) -> _Element:
    tag, size = walk.u8(at), walk.u8(at + 1)
    at += 2
    if tag & 0x1F == 0x1F:
        raise MalformedError("a tag of more than one byte")
    if size & 0x80:
        count = size & 0x7F
        if not 0 < count <= 4:
            raise MalformedError("a length of more than four bytes")
        size = walk.uint(at, count)
        at += count
    return _Element(tag, at, at + size)


def _expect(walk: Walk, at: int, tag: int) -> _Element:
    found = _element(walk, at)
    if found.tag != tag:
        raise MalformedError(f"tag {found.tag:#x} where {tag:#x} belongs")
    return found


def _number(walk: Walk, at: int, field: Field) -> tuple[int, int]:
    """Note an INTEGER; its value, and where it ends."""
    found = _expect(walk, at, INTEGER)
    size = found.end - found.at
    if not 0 < size <= MAX_NUMBER_BYTES:
        raise MalformedError("a number of no bytes or too many")
    value = int.from_bytes(walk.take(found.at, size), "big", signed=True)
    low, high = (-(1 << 31), (1 << 31) - 1) if field.type is Type.INT32 else (0, (1 << 32) - 1)
    walk.add(field, min(max(value, low), high), found.at, size)
    return value, found.end


def oid_text(raw: bytes) -> str:
    """An object identifier (X.690, 8.19) with dots. Raises `MalformedError` for one that breaks off."""
    if not raw or raw[-1] & 0x80:
        raise MalformedError("an object identifier that breaks off")
    numbers, number = [], 0
    for octet in raw:
        number = number << 7 | octet & 0x7F
        if number >> 64:
            raise MalformedError("an object identifier with a number beyond 64 bits")
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _walk(walk: Walk) -> None:
    outer = _expect(walk, 0, SEQUENCE)
    version = _expect(walk, outer.at, INTEGER)
    if walk.uint(version.at, 1) == 3 and version.end == version.at + 1:
        _, at = _number(walk, outer.at, _MESSAGE_VERSION)
        _version_3(walk, at)
        return
    _, at = _number(walk, outer.at, _VERSION)
    community = _expect(walk, at, STRING)
    size = community.end - community.at
    walk.add(_COMMUNITY, text(walk.take(community.at, size)), community.at, size)
    _pdu(walk, community.end)


def _version_3(walk: Walk, at: int) -> None:
    """The header of version 3 (RFC 3412, 6), and what follows it if it is not encrypted."""
    header = _expect(walk, at, SEQUENCE)
    with walk.subtree("msgGlobalData", at, header.end - at):
        _, at = _number(walk, header.at, _MESSAGE_ID)
        _, at = _number(walk, at, _MAX_SIZE)
        flags = _expect(walk, at, STRING)
        raw = walk.take(flags.at, flags.end - flags.at)
        walk.add(_FLAGS, raw, flags.at, len(raw))
        _number(walk, flags.end, _MODEL)
    security = _expect(walk, header.end, STRING)
    if raw[:1] and raw[0] & 2:
        say(walk, "encryptedPDU: privKey Unknown")
        return
    scoped = _expect(walk, security.end, SEQUENCE)
    engine = _expect(walk, scoped.at, STRING)
    context = _expect(walk, engine.end, STRING)
    _pdu(walk, context.end)


def _pdu(walk: Walk, at: int) -> None:
    """What is asked or told (RFC 3416, 3)."""
    found = _element(walk, at)
    kind = found.tag - FIRST_PDU
    if not 0 <= kind < len(_PDUS):
        raise MalformedError("a kind of message that there is none of")
    say(walk, _PDUS[kind])
    walk.add(_DATA, kind, at, found.end - at)
    if kind == TRAP_V1:
        return
    with walk.subtree():
        _, at = _number(walk, found.at, _REQUEST)
        _, at = _number(walk, at, _NON_REPEATERS if kind == BULK else _ERROR)
        _, at = _number(walk, at, _REPETITIONS if kind == BULK else _ERROR_INDEX)
        bindings = _expect(walk, at, SEQUENCE)
        line, names = len(walk.items), 0
        walk.add(_BINDINGS, 0, bindings.at, bindings.end - bindings.at)
        with walk.subtree():
            at = bindings.at
            while at < bindings.end:
                binding = _expect(walk, at, SEQUENCE)
                name = _expect(walk, binding.at, OID)
                oid = oid_text(walk.take(name.at, name.end - name.at))
                walk.add(_NAME, oid, name.at, name.end - name.at)
                say(walk, f" {oid}")
                names += 1
                at = binding.end
        title = f"variable-bindings: {names} item{'' if names == 1 else 's'}"
        walk.items[line] = walk.items[line]._replace(value=names, text=title)


PROTOCOLS = (
    Protocol(
        "snmp",
        "Simple Network Management Protocol",
        "SNMP",
        fields=(
            *(_VERSION, _MESSAGE_VERSION, _COMMUNITY, _MESSAGE_ID, _MAX_SIZE, _FLAGS, _MODEL, _DATA, _REQUEST),
            *(_ERROR, _ERROR_INDEX, _NON_REPEATERS, _REPETITIONS, _BINDINGS, _NAME),
        ),
        keys=(("udp.port", 161), ("udp.port", 162), ("tcp.port", 161), ("tcp.port", 162)),
        walk=_walk,
        info=infos(),
    ),
)
