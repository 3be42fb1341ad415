"""Multipath TCP (RFC 8684), which is an option of TCP in nine forms.

What is told of connections from their keys (mptcp.stream, mptcp.dsn and the like) is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.protocols.tcp.options import KIND, LENGTH
from echowire.core.packets.walk import Walk

SUBTYPES = {
    0: "Multipath Capable",
    1: "Join Connection",
    2: "Data Sequence Signal",
    3: "Add Address",
    4: "Remove Address",
    5: "Change Subflow Priority",
    6: "TCP Fallback",
    7: "Fast Close",
    8: "TCP Reset",
}

RESET_REASONS = {
    0: "Unspecified error",
    1: "MPTCP-specific error",
    2: "Lack of resources",
    3: "Administratively prohibited",
    4: "Too much outstanding data",
    5: "Unacceptable performance",
    6: "Middlebox interference",
}

SET = {0: "Not set", 1: "Set"}


def _field(name: str, label: str, kind: Type, **more: Any) -> Field:
    return Field(f"tcp.options.mptcp.{name}", label, kind, **more)


def _flag(name: str, label: str, mask: int, kind: Type = Type.UINT8, **more: Any) -> Field:
    return _field(name, label, kind, mask=mask, under="tcp.options.mptcp.flags", **more)


SUBTYPE = _field("subtype", "Multipath TCP subtype", Type.UINT8, mask=0xF0, size=1, names=SUBTYPES)
VERSION = _field("version", "Multipath TCP version", Type.UINT8, mask=0x0F)
RESERVED = _field("reserved", "Reserved", Type.UINT16, base="hex", mask=0x0FFF)
FLAGS = _field("flags", "Multipath TCP flags", Type.UINT8, base="hex")
BACKUP = _flag("backup.flag", "Backup flag", 0x01)
CHECKSUM_REQUIRED = _flag("checksumreq.flags", "Checksum required", 0x80)
EXTENSIBILITY = _flag("extensibility.flag", "Extensibility", 0x40)
NO_MORE = _flag("nomoresubflows.flag", "Do not attempt to establish new subflows to this address and port", 0x20)
SHA1 = _flag("sha1.flag", "Use HMAC-SHA1", 0x01)
SHA256 = _flag("sha256.flag", "Use HMAC-SHA256", 0x01)
RESERVED_FLAGS = _flag("reserved.flag", "Reserved", 0x3E, base="hex")
DATA_FIN = _flag("datafin.flag", "DATA_FIN", 0x10)
SEQUENCE_8 = _flag("dseqn8.flag", "Data Sequence Number is 8 octets", 0x08)
SEQUENCE = _flag(
    "dseqnpresent.flag",
    "Data Sequence Number, Subflow Sequence Number, Data-level Length, Checksum present",
    0x04,
)
ACK_8 = _flag("dataack8.flag", "Data ACK is 8 octets", 0x02)
HAS_ACK = _flag("dataackpresent.flag", "Data ACK is present", 0x01)
FLAG_U = _flag("flag_U.flag", "Flag U", 0x8, Type.BOOLEAN, names=SET)
FLAG_V = _flag("flag_V.flag", "Flag V", 0x4, Type.BOOLEAN, names=SET)
FLAG_W = _flag("flag_W.flag", "Flag W", 0x2, Type.BOOLEAN, names=SET)
FLAG_T = _flag("flag_T.flag", "Transient", 0x1, Type.BOOLEAN, names=SET)
REASON = _field("rst_reason", "TCPRST Reason", Type.UINT8, base="hex", names=RESET_REASONS)
ADDRESS_ID = _field("addrid", "Address ID", Type.UINT8)
SENDER_KEY = _field("sendkey", "Sender's Key", Type.UINT64)
RECEIVER_KEY = _field("recvkey", "Receiver's Key", Type.UINT64)
TOKEN = _field("recvtok", "Receiver's Token", Type.UINT32)
RANDOM = _field("sendrand", "Sender's Random Number", Type.UINT32)
SHORT_HMAC = _field("sendtrunchmac", "Sender's Truncated HMAC", Type.UINT64)
HMAC = _field("sendhmac", "Sender's HMAC", Type.BYTES)
ADDRESS_HMAC = _field("addaddrtrunchmac", "Truncated HMAC", Type.UINT64)
DATA_ACK = _field("rawdataack", "Original MPTCP Data ACK", Type.UINT64)
DATA_SEQUENCE = _field("rawdataseqno", "Data Sequence Number", Type.UINT64)
SUBFLOW_SEQUENCE = _field("subflowseqno", "Subflow Sequence Number", Type.UINT32)
DATA_LENGTH = _field("datalvllen", "Data-level Length", Type.UINT16)
CHECKSUM = _field("checksum", "Checksum", Type.UINT16, base="hex")
IP_VERSION = _field("ipver", "IP version", Type.UINT8, mask=0x0F)
ECHO = _field("echo", "Echo", Type.UINT8, mask=0x01)
ADDRESS_4 = _field("ipv4", "Advertised IPv4 Address", Type.IPV4)
ADDRESS_6 = _field("ipv6", "Advertised IPv6 Address", Type.IPV6)
PORT = _field("port", "Advertised port", Type.UINT16)
REMOVED = Field("mptcp.rm_addr.count", "Number of removed addresses", Type.UINT8, generated=True)


def _add_flags(walk: Walk, at: int, flags: Sequence[Field]) -> int:
    value = walk.add_uint(FLAGS, at)
    with walk.subtree():
        for flag in flags:
            walk.add_uint(flag, at)
    return value


def _capable(walk: Walk, size: int) -> None:
    version = walk.add_uint(VERSION, 2)
    crypto = (SHA1,) if version == 0 else (NO_MORE, SHA256)
    _add_flags(walk, 3, (CHECKSUM_REQUIRED, EXTENSIBILITY, *crypto, RESERVED_FLAGS))
    if size >= 12:
        walk.add_uint(SENDER_KEY, 4)
    if size >= 20:
        walk.add_uint(RECEIVER_KEY, 12)
    if size >= 22:
        walk.add_uint(DATA_LENGTH, 20)
    if size >= 24:
        walk.add_uint(CHECKSUM, 22)


def _join(walk: Walk, size: int) -> None:
    if size == 24:  # the third of the handshake
        walk.add_uint(RESERVED, 2)
        walk.add(HMAC, walk.take(4, 20), 4, 20)
        return
    _add_flags(walk, 2, (BACKUP,))
    walk.add_uint(ADDRESS_ID, 3)
    if size == 12:
        walk.add_uint(TOKEN, 4)
        walk.add_uint(RANDOM, 8)
    elif size == 16:
        walk.add_uint(SHORT_HMAC, 4)
        walk.add_uint(RANDOM, 12)


def _number(walk: Walk, field: Field, at: int, size: int) -> int:
    """Note a number of `size` bytes; gives the offset behind it."""
    walk.add(field, walk.uint(at, size), at, size)
    return at + size


def _data_sequence(walk: Walk, size: int) -> None:
    flags = _add_flags(walk, 3, (DATA_FIN, SEQUENCE_8, SEQUENCE, ACK_8, HAS_ACK))
    at = 4
    if flags & 0x01:
        at = _number(walk, DATA_ACK, at, 8 if flags & 0x02 else 4)
    if flags & 0x04:
        at = _number(walk, DATA_SEQUENCE, at, 8 if flags & 0x08 else 4)
        at = _number(walk, SUBFLOW_SEQUENCE, at, 4)
        at = _number(walk, DATA_LENGTH, at, 2)
        if size >= at + 2:
            walk.add_uint(CHECKSUM, at)


def _add_address(walk: Walk, size: int) -> None:
    # Version 0 has the IP version here, version 1 whether it is an echo (RFC 6824 and RFC 8684, section 3.4.1).
    walk.add_uint(IP_VERSION if walk.u8(2) & 0x0F in (4, 6) else ECHO, 2)
    walk.add_uint(ADDRESS_ID, 3)
    at = 4
    if size >= 20:
        walk.add(ADDRESS_6, walk.take(at, 16), at, 16)
        at += 16
    else:
        walk.add_uint(ADDRESS_4, at)
        at += 4
    if size - at in (2, 10):
        at = _number(walk, PORT, at, 2)
    if size - at == 8:
        walk.add_uint(ADDRESS_HMAC, at)


def _remove_address(walk: Walk, size: int) -> None:
    walk.add(REMOVED, size - 3, 2, 1)
    for at in range(3, size):
        walk.add_uint(ADDRESS_ID, at)


def _priority(walk: Walk, size: int) -> None:
    _add_flags(walk, 2, (BACKUP,))
    if size == 4:
        walk.add_uint(ADDRESS_ID, 3)


def _fallback(walk: Walk, size: int) -> None:
    walk.add_uint(RESERVED, 2)
    if size == 12:
        walk.add_uint(DATA_SEQUENCE, 4)


def _fast_close(walk: Walk, size: int) -> None:
    walk.add_uint(RESERVED, 2)
    if size == 12:
        walk.add_uint(RECEIVER_KEY, 4)


def _reset(walk: Walk, size: int) -> None:
    _add_flags(walk, 2, (FLAG_U, FLAG_V, FLAG_W, FLAG_T))
    walk.add_uint(REASON, 3)


FORMS: Mapping[int, Callable[[Walk, int], None]] = {
    0: _capable,
    1: _join,
    2: _data_sequence,
    3: _add_address,
    4: _remove_address,
    5: _priority,
    6: _fallback,
    7: _fast_close,
    8: _reset,
}


def _walk(walk: Walk) -> None:
    subtype = walk.add_uint(SUBTYPE, 2)
    if subtype in FORMS:
        FORMS[subtype](walk, walk.wire_size)


def _label(layer: Layer) -> Sequence[str]:
    subtypes = (layer.uint(2, 1) >> 4).tolist()
    return [f": {SUBTYPES.get(one, f'Unknown ({one})')}" for one in subtypes]


PROTOCOLS = (
    Protocol(
        "mptcp",
        "Multipath Transmission Control Protocol",
        "MPTCP",
        fields=(
            KIND,
            LENGTH,
            *(SUBTYPE, VERSION, RESERVED, FLAGS, BACKUP, CHECKSUM_REQUIRED, EXTENSIBILITY, NO_MORE, SHA1, SHA256),
            *(RESERVED_FLAGS, DATA_FIN, SEQUENCE_8, SEQUENCE, ACK_8, HAS_ACK, FLAG_U, FLAG_V, FLAG_W, FLAG_T, REASON),
            *(ADDRESS_ID, SENDER_KEY, RECEIVER_KEY, TOKEN, RANDOM, SHORT_HMAC, HMAC, ADDRESS_HMAC, DATA_ACK),
            *(DATA_SEQUENCE, SUBFLOW_SEQUENCE, DATA_LENGTH, CHECKSUM, IP_VERSION, ECHO, ADDRESS_4, ADDRESS_6, PORT),
            REMOVED,
        ),
        keys=(("tcp.option", 30),),
        walk=_walk,
        label=_label,
    ),
)
