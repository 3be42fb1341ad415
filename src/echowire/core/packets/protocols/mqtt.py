"""MQTT 3.1, 3.1.1 and 5 (OASIS): the fixed header, and what connects, publishes and subscribes.

Version 5's properties are stepped over and shown as a whole. A message that goes on in the next segment is not shown.
"""

from __future__ import annotations

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Memory, Protocol
from echowire.core.packets.summary import column_where_said, infos, say
from echowire.core.packets.walk import MalformedError, Walk

PORT = 1883

CONNECT, CONNACK, PUBLISH, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ = 1, 2, 3, 8, 9, 10, 11, 12
DISCONNECT, AUTH = 14, 15

VERSION_5 = 5

MAX_CONNECTIONS = 65_536
"""Connections whose version is remembered; the oldest is forgotten first."""

TYPES = {
    0: "Reserved",
    1: "Connect Command",
    2: "Connect Ack",
    3: "Publish Message",
    4: "Publish Ack",
    5: "Publish Received",
    6: "Publish Release",
    7: "Publish Complete",
    8: "Subscribe Request",
    9: "Subscribe Ack",
    10: "Unsubscribe Request",
    11: "Unsubscribe Ack",
    12: "Ping Request",
    13: "Ping Response",
    14: "Disconnect Req",
    15: "Authentication Exchange",
}

QOS = {
    0: "At most once delivery (Fire and Forget)",
    1: "At least once delivery (Acknowledged deliver)",
    2: "Exactly once delivery (Assured Delivery)",
    3: "Reserved",
}

VERSIONS = {3: "MQTT v3.1", 4: "MQTT v3.1.1", 5: "MQTT v5.0"}

RETURN_CODES = {
    0: "Connection Accepted",
    1: "Connection Refused: unacceptable protocol version",
    2: "Connection Refused: identifier rejected",
    3: "Connection Refused: server unavailable",
    4: "Connection Refused: bad user name or password",
    5: "Connection Refused: not authorized",
}

FLAGS = Field("mqtt.hdrflags", "Header Flags", Type.UINT8, base="hex")
MESSAGE_TYPE = Field("mqtt.msgtype", "Message Type", Type.UINT8, mask=0xF0, names=TYPES)
DUP = Field("mqtt.dupflag", "DUP Flag", Type.BOOLEAN, mask=0x08)
MESSAGE_QOS = Field("mqtt.qos", "QoS Level", Type.UINT8, mask=0x06, names=QOS)
RETAIN = Field("mqtt.retain", "Retain", Type.BOOLEAN, mask=0x01)
RESERVED = Field("mqtt.hdr_reserved", "Reserved", Type.UINT8, mask=0x0F)
LENGTH = Field("mqtt.len", "Msg Len", Type.UINT64)
PROTOCOL_LENGTH = Field("mqtt.proto_len", "Protocol Name Length", Type.UINT16)
PROTOCOL_NAME = Field("mqtt.protoname", "Protocol Name", Type.STRING)
VERSION = Field("mqtt.ver", "Version", Type.UINT8, names=VERSIONS)
CONNECT_FLAGS = Field("mqtt.conflags", "Connect Flags", Type.UINT8, base="hex")
HAS_NAME = Field("mqtt.conflag.uname", "User Name Flag", Type.BOOLEAN, mask=0x80)
HAS_PASSWORD = Field("mqtt.conflag.passwd", "Password Flag", Type.BOOLEAN, mask=0x40)
WILL_RETAIN = Field("mqtt.conflag.retain", "Will Retain", Type.BOOLEAN, mask=0x20)
WILL_QOS = Field("mqtt.conflag.qos", "QoS Level", Type.UINT8, mask=0x18, names=QOS)
HAS_WILL = Field("mqtt.conflag.willflag", "Will Flag", Type.BOOLEAN, mask=0x04)
CLEAN = Field("mqtt.conflag.cleansess", "Clean Session Flag", Type.BOOLEAN, mask=0x02)
CONNECT_RESERVED = Field("mqtt.conflag.reserved", "(Reserved)", Type.BOOLEAN, mask=0x01)
KEEP_ALIVE = Field("mqtt.kalive", "Keep Alive", Type.UINT16)
CLIENT_LENGTH = Field("mqtt.clientid_len", "Client ID Length", Type.UINT16)
CLIENT = Field("mqtt.clientid", "Client ID", Type.STRING)
WILL_TOPIC_LENGTH = Field("mqtt.willtopic_len", "Will Topic Length", Type.UINT16)
WILL_TOPIC = Field("mqtt.willtopic", "Will Topic", Type.STRING)
WILL_LENGTH = Field("mqtt.willmsg_len", "Will Message Length", Type.UINT16)
WILL = Field("mqtt.willmsg", "Will Message", Type.BYTES)
NAME_LENGTH = Field("mqtt.username_len", "User Name Length", Type.UINT16)
NAME = Field("mqtt.username", "User Name", Type.STRING)
PASSWORD_LENGTH = Field("mqtt.passwd_len", "Password Length", Type.UINT16)
PASSWORD = Field("mqtt.passwd", "Password", Type.STRING)
ACK_FLAGS = Field("mqtt.conack.flags", "Acknowledge Flags", Type.UINT8, base="hex")
SESSION_PRESENT = Field("mqtt.conack.flags.sp", "Session Present", Type.BOOLEAN, mask=0x01)
RETURN_CODE = Field("mqtt.conack.val", "Return Code", Type.UINT8, names=RETURN_CODES)
REASON_CODE = Field("mqtt.connack.reason_code", "Reason Code", Type.UINT8)
MESSAGE_ID = Field("mqtt.msgid", "Message Identifier", Type.UINT16)
TOPIC_LENGTH = Field("mqtt.topic_len", "Topic Length", Type.UINT16)
TOPIC = Field("mqtt.topic", "Topic", Type.STRING)
PAYLOAD = Field("mqtt.msg", "Message", Type.BYTES)
SUBSCRIBE_QOS = Field("mqtt.sub.qos", "Requested QoS", Type.UINT8, names=QOS)
GRANTED_QOS = Field("mqtt.suback.qos", "Granted QoS", Type.UINT8, names={**QOS, 128: "Failure"})
PROPERTIES = Field("mqtt.properties", "Properties", Type.NONE)
PROPERTY_LENGTH = Field("mqtt.property_len", "Total Length", Type.UINT64)


def _versions(memory: Memory) -> dict[int, int]:
    return memory.of("mqtt", dict[int, int])


def _walk(w: Walk) -> None:
    streams = w.layer.once("conversations", w.layer.conversations)
    number = -1 if streams is None else int(streams[w.entry])
    at = 0
    while at < w.size:
        size, width = _variable(w, at + 1)
        begin, end = at + 1 + width, at + 1 + width + size
        if end > w.size:
            return  # it goes on in the next segment
        _message(w, number, at, begin, size)
        at = end


def _variable(w: Walk, at: int) -> tuple[int, int]:
    """A number of variable length (MQTT 5.0, section 1.5.5), and its bytes: four at most."""
    value = 0
    for width in range(4):
        byte = w.u8(at + width)
        value |= (byte & 0x7F) << 7 * width
        if not byte & 0x80:
            return value, width + 1
    raise MalformedError("a length of more than four bytes")


def _message(w: Walk, number: int, at: int, begin: int, size: int) -> None:
    first = w.u8(at)
    kind = first >> 4
    w.add_text(TYPES[kind], at, begin + size - at)
    with w.subtree():
        w.add(FLAGS, first, at, 1)
        with w.subtree():
            w.add(MESSAGE_TYPE, kind, at, 1)
            for one in (DUP, MESSAGE_QOS, RETAIN) if kind == PUBLISH else (RESERVED,):
                w.add(one, one.of_raw(first), at, 1)
        w.add(LENGTH, size, at + 1, begin - at - 1)
        says = [TYPES[kind]]
        w.within(begin, size, lambda part: _body(part, kind, first, number, says))
    say(w, " ".join(says))


def _body(w: Walk, kind: int, first: int, number: int, says: list[str]) -> None:
    is_5 = _versions(w.memory).get(number) == VERSION_5
    if kind == CONNECT:
        _connect(w, number)
    elif kind == CONNACK:
        w.add_uint(ACK_FLAGS, 0)
        w.add_uint(SESSION_PRESENT, 0)
        w.add_uint(REASON_CODE if is_5 else RETURN_CODE, 1)
    elif kind == PUBLISH:
        _publish(w, first, is_5, says)
    elif kind not in (PINGREQ, PINGREQ + 1, DISCONNECT, AUTH) and w.size >= 2:
        says.append(f"(id={w.add_uint(MESSAGE_ID, 0)})")
        if kind in (SUBSCRIBE, UNSUBSCRIBE):
            _topics(w, 2, kind, is_5, says)
        elif kind == SUBACK:
            for at in range(_properties(w, 2) if is_5 else 2, w.size):
                w.add_uint(GRANTED_QOS, at)


def _string(w: Walk, at: int, length: Field, value: Field) -> int:
    """A string with its length before it; gives the offset behind it."""
    size = w.add_uint(length, at)
    data = w.take(at + 2, size)
    w.add(value, data if value.type is Type.BYTES else data.decode("utf-8", "replace"), at + 2, size)
    return at + 2 + size


def _properties(w: Walk, at: int) -> int:
    """Version 5's properties, as a whole; gives the offset behind them."""
    size, width = _variable(w, at)
    w.need(at + width, size)
    w.add(PROPERTIES, True, at, width + size)
    with w.subtree():
        w.add(PROPERTY_LENGTH, size, at, width)
    return at + width + size


def _connect(w: Walk, number: int) -> None:
    at = _string(w, 0, PROTOCOL_LENGTH, PROTOCOL_NAME)
    version = w.add_uint(VERSION, at)
    known = _versions(w.memory)
    if number >= 0:
        if len(known) >= MAX_CONNECTIONS:
            del known[next(iter(known))]
        known[number] = version
    flags = w.add_uint(CONNECT_FLAGS, at + 1)
    with w.subtree():
        for one in (HAS_NAME, HAS_PASSWORD, WILL_RETAIN, WILL_QOS, HAS_WILL, CLEAN, CONNECT_RESERVED):
            w.add(one, one.of_raw(flags), at + 1, 1)
    w.add_uint(KEEP_ALIVE, at + 2)
    at = _properties(w, at + 4) if version == VERSION_5 else at + 4
    at = _string(w, at, CLIENT_LENGTH, CLIENT)
    if flags & 0x04:
        at = _properties(w, at) if version == VERSION_5 else at
        at = _string(w, at, WILL_TOPIC_LENGTH, WILL_TOPIC)
        at = _string(w, at, WILL_LENGTH, WILL)
    if flags & 0x80:
        at = _string(w, at, NAME_LENGTH, NAME)
    if flags & 0x40:
        _string(w, at, PASSWORD_LENGTH, PASSWORD)


def _publish(w: Walk, first: int, is_5: bool, says: list[str]) -> None:
    at = _string(w, 0, TOPIC_LENGTH, TOPIC)
    if first & 0x06:
        says.append(f"(id={w.add_uint(MESSAGE_ID, at)})")
        at += 2
    says.append(f"[{w.data[2 : 2 + w.u16(0)].decode('utf-8', 'replace')}]")
    at = _properties(w, at) if is_5 else at
    if at < w.size:
        w.add(PAYLOAD, w.data[at:], at, w.size - at)


def _topics(w: Walk, at: int, kind: int, is_5: bool, says: list[str]) -> None:
    at = _properties(w, at) if is_5 else at
    topics = []
    while at < w.size:
        begin = at
        at = _string(w, at, TOPIC_LENGTH, TOPIC)
        topics.append(w.data[begin + 2 : at].decode("utf-8", "replace"))
        if kind == SUBSCRIBE:
            w.add_uint(SUBSCRIBE_QOS, at)
            at += 1
    says.append("".join(f"[{topic}]" for topic in topics))


PROTOCOLS = (
    Protocol(
        "mqtt",
        "MQ Telemetry Transport Protocol",
        column_where_said("MQTT"),
        fields=(
            *(FLAGS, MESSAGE_TYPE, DUP, MESSAGE_QOS, RETAIN, RESERVED, LENGTH, PROTOCOL_LENGTH, PROTOCOL_NAME, VERSION),
            *(CONNECT_FLAGS, HAS_NAME, HAS_PASSWORD, WILL_RETAIN, WILL_QOS, HAS_WILL, CLEAN, CONNECT_RESERVED),
            *(KEEP_ALIVE, CLIENT_LENGTH, CLIENT, WILL_TOPIC_LENGTH, WILL_TOPIC, WILL_LENGTH, WILL, NAME_LENGTH, NAME),
            *(PASSWORD_LENGTH, PASSWORD, ACK_FLAGS, SESSION_PRESENT, RETURN_CODE, REASON_CODE, MESSAGE_ID),
            *(TOPIC_LENGTH, TOPIC, PAYLOAD, SUBSCRIBE_QOS, GRANTED_QOS, PROPERTIES, PROPERTY_LENGTH),
        ),
        keys=(("tcp.port", PORT),),
        walk=_walk,
        info=infos(", "),
    ),
)
