"""SCTP (RFC 9260): the common header and the chunks; what a whole DATA chunk carries is another protocol's.

Transmission sequence numbers are relative to the first of their direction, as Wireshark shows them: to the one that
INIT or INIT ACK announces, or to the first that was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from echowire.core.packets.checksums import CHECKSUM_STATES, unverified
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.streams import conversation
from echowire.core.packets.walk import MalformedError, Walk

HEADER_BYTES = 12
CHUNK_HEADER_BYTES = 4
WORD = 0xFFFFFFFF


DATA, INIT, INIT_ACK, SACK = 0, 1, 2, 3

CHUNKS = {
    0: "DATA",
    1: "INIT",
    2: "INIT_ACK",
    3: "SACK",
    4: "HEARTBEAT",
    5: "HEARTBEAT_ACK",
    6: "ABORT",
    7: "SHUTDOWN",
    8: "SHUTDOWN_ACK",
    9: "ERROR",
    10: "COOKIE_ECHO",
    11: "COOKIE_ACK",
    12: "ECNE",
    13: "CWR",
    14: "SHUTDOWN_COMPLETE",
    15: "AUTH",
    16: "NR_SACK",
    64: "I_DATA",
    128: "ASCONF_ACK",
    129: "PKTDROP",
    130: "RE_CONFIG",
    132: "PAD",
    192: "FORWARD_TSN",
    193: "ASCONF",
    194: "I_FORWARD_TSN",
    255: "IETF_EXTENSION",
}
"""IANA's SCTP chunk types, in Wireshark's spelling."""

PAYLOADS = {
    0: "not specified",
    1: "IUA",
    2: "M2UA",
    3: "M3UA",
    4: "SUA",
    5: "M2PA",
    6: "V5UA",
    7: "H.248/MEGACO",
    8: "BICC/Q.2150.3",
    9: "TALI",
    10: "DUA",
    11: "ASAP",
    12: "ENRP",
    13: "H.323",
    18: "S1 Application Protocol (S1AP)",
    27: "X2AP",
    38: "Echo",
    39: "Discard",
    40: "Daytime",
    41: "Character Generator",
    45: "SSH",
    46: "DIAMETER",
    47: "DIAMETER over DTLS",
    50: "WebRTC Control",
    51: "WebRTC String",
    53: "WebRTC Binary",
    56: "WebRTC String Empty",
    57: "WebRTC Binary Empty",
    60: "NGAP",
    61: "XnAP",
    62: "F1 AP",
}
"""The commoner of IANA's SCTP payload protocol identifiers."""


def _field(name: str, label: str, kind: Type, **more: Any) -> Field:
    return Field(f"sctp.{name}", label, kind, **more)


CHUNK_TYPE = _field("chunk_type", "Chunk type", Type.UINT8, names=CHUNKS)
STOP_BIT = _field(
    "chunk_bit_1",
    "Bit",
    Type.BOOLEAN,
    mask=0x80,
    names={0: "Stop processing of the packet", 1: "Skip chunk and continue processing of the packet"},
)
REPORT_BIT = _field("chunk_bit_2", "Bit", Type.BOOLEAN, mask=0x40, names={0: "Do not report", 1: "Do report"})
CHUNK_FLAGS = _field("chunk_flags", "Chunk flags", Type.UINT8, base="hex")
CHUNK_LENGTH = _field("chunk_length", "Chunk length", Type.UINT16)
VALUE = _field("chunk_value", "Chunk value", Type.BYTES)
COOKIE = _field("cookie", "Cookie", Type.BYTES)

DATA_FLAGS = (
    _field(
        "data_i_bit", "I-Bit", Type.BOOLEAN, mask=0x08, names={0: "Possibly delay SACK", 1: "Send SACK immediately"}
    ),
    _field("data_u_bit", "U-Bit", Type.BOOLEAN, mask=0x04, names={0: "Ordered delivery", 1: "Unordered delivery"}),
    _field("data_b_bit", "B-Bit", Type.BOOLEAN, mask=0x02, names={0: "Subsequent segment", 1: "First segment"}),
    _field("data_e_bit", "E-Bit", Type.BOOLEAN, mask=0x01, names={0: "Not the last segment", 1: "Last segment"}),
)
WHOLE = 0x03
"""First and last segment of a message."""

TSN = _field("data_tsn", "Transmission sequence number (relative)", Type.UINT32)
TSN_RAW = _field("data_tsn_raw", "Transmission sequence number (absolute)", Type.UINT32)
STREAM_ID = _field("data_sid", "Stream identifier", Type.UINT16, base="hex")
STREAM_SEQUENCE = _field("data_ssn", "Stream sequence number", Type.UINT16)
PAYLOAD_PROTOCOL = _field("data_payload_proto_id", "Payload protocol identifier", Type.UINT32, names=PAYLOADS)


def _init_fields(name: str) -> tuple[Field, ...]:
    return (
        _field(f"{name}_initiate_tag", "Initiate tag", Type.UINT32, base="hex"),
        _field(f"{name}_credit", "Advertised receiver window credit (a_rwnd)", Type.UINT32),
        _field(f"{name}_nr_out_streams", "Number of outbound streams", Type.UINT16),
        _field(f"{name}_nr_in_streams", "Number of inbound streams", Type.UINT16),
        _field(f"{name}_initial_tsn", "Initial TSN", Type.UINT32),
    )


INIT_FIELDS: Mapping[int, tuple[Field, ...]] = {INIT: _init_fields("init"), INIT_ACK: _init_fields("initack")}

ACKED = _field("sack_cumulative_tsn_ack", "Cumulative TSN ACK (relative)", Type.UINT32)
ACKED_RAW = _field("sack_cumulative_tsn_ack_raw", "Cumulative TSN ACK (absolute)", Type.UINT32)
CREDIT = _field("sack_a_rwnd", "Advertised receiver window credit (a_rwnd)", Type.UINT32)
GAP_BLOCKS = _field("sack_number_of_gap_blocks", "Number of gap acknowledgement blocks", Type.UINT16)
DUPLICATES = _field("sack_number_of_duplicated_tsns", "Number of duplicated TSNs", Type.UINT16)
GAP_START = _field("sack_gap_block_start", "Start", Type.UINT16)
GAP_END = _field("sack_gap_block_end", "End", Type.UINT16)
DUPLICATE = _field("sack_duplicate_tsn", "Duplicate TSN", Type.UINT32)
SHUTDOWN_ACKED = _field("shutdown_cumulative_tsn_ack", "Cumulative TSN Ack", Type.UINT32)
FORWARD_TSN = _field("forward_tsn_tsn", "New cumulative TSN", Type.UINT32)


class _Packet:
    """One packet being walked: who sends it, and what the list will say of it."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        keys, higher = conversation(walk.layer)
        self._side = int(keys[walk.entry]), bool(higher[walk.entry])
        self._other = self._side[0], not self._side[1]
        self._first: dict[tuple[int, bool], int] = walk.memory.of("sctp first tsn", dict)
        self.said: list[str] = []

    def begin(self, tsn: int) -> None:
        """The sender's numbers begin with this one."""
        self._first[self._side] = tsn

    def relative(self, tsn: int) -> int:
        """A number of the sender's."""
        return (tsn - self._first.setdefault(self._side, tsn)) & WORD

    def acknowledged(self, tsn: int) -> int:
        """A number of the other side's."""
        return (tsn - self._first.get(self._other, tsn)) & WORD


def _data(packet: _Packet, at: int, size: int) -> str:
    walk = packet.walk
    raw = walk.u32(at + 4)
    tsn = packet.relative(raw)
    walk.add(TSN, tsn, at + 4, 4)
    walk.add(TSN_RAW, raw, at + 4, 4)
    walk.add_uint(STREAM_ID, at + 8)
    walk.add_uint(STREAM_SEQUENCE, at + 10)
    protocol = walk.add_uint(PAYLOAD_PROTOCOL, at + 12)
    if walk.u8(at + 1) & WHOLE == WHOLE and size > 16:
        table, key = ("sctp.ppi", protocol) if protocol else ("sctp.port", min(walk.u16(0), walk.u16(2)))
        walk.hand_on(table, key, at + 16, size - 16)
    return f"DATA (TSN={tsn})"


def _init(packet: _Packet, at: int, size: int) -> str:
    walk, kind = packet.walk, packet.walk.u8(at)
    offset = at + 4
    for one in INIT_FIELDS[kind]:
        value = walk.add_uint(one, offset)
        offset += one.width
    packet.begin(value)
    return CHUNKS[kind]


def _sack(packet: _Packet, at: int, size: int) -> str:
    walk = packet.walk
    raw = walk.u32(at + 4)
    acked = packet.acknowledged(raw)
    walk.add(ACKED, acked, at + 4, 4)
    walk.add(ACKED_RAW, raw, at + 4, 4)
    credit = walk.add_uint(CREDIT, at + 8)
    blocks, duplicates = walk.add_uint(GAP_BLOCKS, at + 12), walk.add_uint(DUPLICATES, at + 14)
    if 16 + 4 * (blocks + duplicates) > size:
        raise MalformedError("more blocks than the chunk has room for")
    for number in range(blocks):
        walk.add_uint(GAP_START, at + 16 + 4 * number)
        walk.add_uint(GAP_END, at + 18 + 4 * number)
    for number in range(duplicates):
        walk.add_uint(DUPLICATE, at + 16 + 4 * (blocks + number))
    return f"SACK (Ack={acked}, Arwnd={credit})"


def _cookie(packet: _Packet, at: int, size: int) -> str:
    packet.walk.add(COOKIE, packet.walk.take(at + 4, size - 4), at + 4, size - 4)
    return "COOKIE_ECHO"


def _number(one: Field) -> Callable[[_Packet, int, int], str]:
    def read(packet: _Packet, at: int, size: int) -> str:
        packet.walk.add_uint(one, at + 4)
        return CHUNKS[packet.walk.u8(at)]

    return read


READERS: Mapping[int, Callable[[_Packet, int, int], str]] = {
    DATA: _data,
    INIT: _init,
    INIT_ACK: _init,
    SACK: _sack,
    7: _number(SHUTDOWN_ACKED),
    10: _cookie,
    192: _number(FORWARD_TSN),
}


def _walk(walk: Walk) -> None:
    packet = _Packet(walk)
    texts: dict[int, str] = walk.layer.once("sctp info", dict)
    at = HEADER_BYTES
    while at + CHUNK_HEADER_BYTES <= walk.wire_size:
        kind, size = walk.u8(at), walk.u16(at + 2)
        said = CHUNKS.get(kind, "UNKNOWN")
        with walk.subtree(f"{said} chunk", at, min(size, walk.wire_size - at)):
            walk.add_uint(CHUNK_TYPE, at)
            with walk.subtree():
                walk.add_uint(STOP_BIT, at)
                walk.add_uint(REPORT_BIT, at)
            walk.add_uint(CHUNK_FLAGS, at + 1)
            if kind == DATA:
                with walk.subtree():
                    for flag in DATA_FLAGS:
                        walk.add_uint(flag, at + 1)
            walk.add_uint(CHUNK_LENGTH, at + 2)
            texts[walk.entry] = texts.get(walk.entry, "") + f"{said} "
            if size < CHUNK_HEADER_BYTES or at + size > walk.wire_size:
                raise MalformedError("a chunk's length cannot be")
            if kind in READERS:
                full = READERS[kind](packet, at, size)
                texts[walk.entry] = f"{texts[walk.entry][: -len(said) - 1]}{full} "
            elif size > CHUNK_HEADER_BYTES:
                walk.add(VALUE, walk.take(at + 4, size - 4), at + 4, size - 4)
        at += size + -size % 4


def _label(layer: Layer) -> Sequence[str]:
    pairs = zip(layer.uint(0, 2).tolist(), layer.uint(2, 2).tolist(), strict=True)
    return [f", Src Port: {source} ({source}), Dst Port: {other} ({other})" for source, other in pairs]


def _info(layer: Layer) -> Sequence[str | None]:
    texts: dict[int, str] = layer.once("sctp info", dict)
    return [texts.get(entry) for entry in range(len(layer))]


PROTOCOLS = (
    Protocol(
        "sctp",
        "Stream Control Transmission Protocol",
        "SCTP",
        fields=(
            Field("sctp.srcport", "Source port", Type.UINT16, 0),
            Field("sctp.dstport", "Destination port", Type.UINT16, 2),
            Field("sctp.port", "Port", Type.UINT16, either=("sctp.srcport", "sctp.dstport")),
            Field("sctp.verification_tag", "Verification tag", Type.UINT32, 4, base="hex"),
            Field("sctp.checksum", "Checksum", Type.UINT32, 8, base="hex"),
            Field(
                "sctp.checksum.status",
                "Checksum Status",
                Type.UINT8,
                make=unverified,
                when=lambda layer: layer.has(HEADER_BYTES),
                names=CHECKSUM_STATES,
                generated=True,
            ),
            *(CHUNK_TYPE, STOP_BIT, REPORT_BIT, CHUNK_FLAGS, CHUNK_LENGTH, VALUE, COOKIE, *DATA_FLAGS),
            *(TSN, TSN_RAW, STREAM_ID, STREAM_SEQUENCE, PAYLOAD_PROTOCOL, *INIT_FIELDS[INIT], *INIT_FIELDS[INIT_ACK]),
            *(ACKED, ACKED_RAW, CREDIT, GAP_BLOCKS, DUPLICATES, GAP_START, GAP_END, DUPLICATE),
            *(SHUTDOWN_ACKED, FORWARD_TSN),
        ),
        keys=(("ip.proto", 132),),
        tables=("sctp.ppi", "sctp.port"),
        walk=_walk,
        size=HEADER_BYTES,
        label=_label,
        info=_info,
        least=12,
    ),
)
