"""WebSocket (RFC 6455, section 5.2): the frames that follow an agreed upgrade of HTTP."""

from __future__ import annotations

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Protocol
from echowire.core.packets.summary import column_where_said, infos, say
from echowire.core.packets.walk import Walk

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

OPCODES = {
    CONTINUATION: "Continuation",
    TEXT: "Text",
    BINARY: "Binary",
    CLOSE: "Connection Close",
    PING: "Ping",
    PONG: "Pong",
}

CLOSE_CODES = {
    1000: "Normal Closure",
    1001: "Going Away",
    1002: "Protocol error",
    1003: "Unsupported Data",
    1004: "---Reserved----",
    1005: "No Status Rcvd",
    1006: "Abnormal Closure",
    1007: "Invalid frame payload data",
    1008: "Policy Violation",
    1009: "Message Too Big",
    1010: "Mandatory Ext.",
    1011: "Internal Server",
    1015: "TLS handshake",
}
"""RFC 6455, section 7.4.1."""

MAX_FRAMES = 4_000
"""Frames that one segment may hold."""

FIN = Field("websocket.fin", "Fin", Type.BOOLEAN, mask=0x80)
RESERVED = Field("websocket.rsv", "Reserved", Type.UINT8, mask=0x70, base="hex")
COMPRESSED = Field("websocket.pmc", "Per-Message Compressed", Type.BOOLEAN, mask=0x40)
OPCODE = Field("websocket.opcode", "Opcode", Type.UINT8, mask=0x0F, names=OPCODES)
MASK = Field("websocket.mask", "Mask", Type.BOOLEAN, mask=0x80)
LENGTH = Field("websocket.payload_length", "Payload length", Type.UINT8, mask=0x7F)
LENGTH_16 = Field("websocket.payload_length_ext_16", "Extended Payload length (16 bits)", Type.UINT16)
LENGTH_64 = Field("websocket.payload_length_ext_64", "Extended Payload length (64 bits)", Type.UINT64)
MASKING_KEY = Field("websocket.masking_key", "Masking-Key", Type.BYTES)
PAYLOAD = Field("websocket.payload", "Payload", Type.NONE)
MASKED_PAYLOAD = Field("websocket.masked_payload", "Masked payload", Type.NONE)
CONTINUE = Field("websocket.payload.continue", "Continue", Type.BYTES)
TEXT_PAYLOAD = Field("websocket.payload.text", "Text", Type.STRING)
CLOSE_PAYLOAD = Field("websocket.payload.close", "Close", Type.NONE)
CLOSE_CODE = Field("websocket.payload.close.status_code", "Status code", Type.UINT16, names=CLOSE_CODES)
CLOSE_REASON = Field("websocket.payload.close.reason", "Reason", Type.STRING)
PING_PAYLOAD = Field("websocket.payload.ping", "Ping", Type.BYTES)
PONG_PAYLOAD = Field("websocket.payload.pong", "Pong", Type.BYTES)


def _walk(w: Walk) -> None:
    at = 0
    for _ in range(MAX_FRAMES):
        if at >= w.wire_size:
            return
        at = _frame(w, at)


def _frame(w: Walk, at: int) -> int:
    first, second = w.u8(at), w.u8(at + 1)
    opcode, is_masked, size = first & 0x0F, second & 0x80, second & 0x7F
    w.add(FIN, FIN.of_raw(first), at, 1)
    w.add(RESERVED, RESERVED.of_raw(first), at, 1)
    if first & 0x40:
        w.add(COMPRESSED, True, at, 1)
    w.add(OPCODE, opcode, at, 1)
    w.add(MASK, bool(is_masked), at + 1, 1)
    w.add(LENGTH, size, at + 1, 1)
    at += 2
    if size == 126:
        size = w.add_uint(LENGTH_16, at)
        at += 2
    elif size == 127:
        size = w.add_uint(LENGTH_64, at)
        at += 8
    key = b""
    if is_masked:
        key = w.take(at, 4)
        w.add(MASKING_KEY, key, at, 4)
        at += 4
    fin = " [FIN]" if first & 0x80 else ""
    say(w, f"WebSocket {OPCODES.get(opcode, 'Unknown')}{fin} {'[MASKED]' if is_masked else ''}")
    payload = w.data[at : at + size]
    if size:
        _payload(w, opcode, unmasked(payload, key), at, size, is_masked != 0)
    return at + size


def unmasked(payload: bytes, key: bytes) -> bytes:
    """What was masked with `key`, 4 bytes (RFC 6455, section 5.3); no key, no mask."""
    if not key:
        return payload
    pattern = key * (len(payload) // 4 + 1)
    size = len(payload)
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pattern[:size], "big")).to_bytes(size, "big")


def _payload(w: Walk, opcode: int, payload: bytes, at: int, size: int, is_masked: bool) -> None:
    if is_masked:
        w.add(MASKED_PAYLOAD, True, at, size)
    w.add(PAYLOAD, True, at, size)
    with w.subtree():
        if opcode == TEXT:
            w.add(TEXT_PAYLOAD, payload.decode("utf-8", "replace"), at, size)
        elif opcode == CONTINUATION:
            w.add(CONTINUE, payload, at, size)
        elif opcode == PING:
            w.add(PING_PAYLOAD, payload, at, size)
        elif opcode == PONG:
            w.add(PONG_PAYLOAD, payload, at, size)
        elif opcode == CLOSE and len(payload) >= 2:
            w.add(CLOSE_PAYLOAD, True, at, size)
            with w.subtree():
                w.add(CLOSE_CODE, int.from_bytes(payload[:2], "big"), at, 2)
                if len(payload) > 2:
                    w.add(CLOSE_REASON, payload[2:].decode("utf-8", "replace"), at + 2, size - 2)


PROTOCOLS = (
    Protocol(
        "websocket",
        "WebSocket",
        column_where_said("WebSocket"),
        fields=(
            FIN,
            RESERVED,
            COMPRESSED,
            OPCODE,
            MASK,
            LENGTH,
            LENGTH_16,
            LENGTH_64,
            MASKING_KEY,
            PAYLOAD,
            MASKED_PAYLOAD,
            CONTINUE,
            TEXT_PAYLOAD,
            CLOSE_PAYLOAD,
            CLOSE_CODE,
            CLOSE_REASON,
            PING_PAYLOAD,
            PONG_PAYLOAD,
        ),
        keys=(("http.upgrade", 1),),
        walk=_walk,
        info=infos(" "),
    ),
)
