"""The frames in a QUIC packet that was opened (RFC 9000, section 19): those that Initial packets may hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field
from echowire.core.packets.walk import MalformedError, Walk

PADDING, PING, ACK, ACK_ECN, CRYPTO, CLOSE, CLOSE_APPLICATION = 0, 1, 2, 3, 6, 0x1C, 0x1D

FRAME_TYPES = {
    PADDING: "PADDING",
    PING: "PING",
    ACK: "ACK",
    ACK_ECN: "ACK",
    CRYPTO: "CRYPTO",
    CLOSE: "CONNECTION_CLOSE (Transport)",
    CLOSE_APPLICATION: "CONNECTION_CLOSE (Application)",
}

_SAID = {CLOSE: "CC", CLOSE_APPLICATION: "CC"}
"""What the packet list calls them, where that is shorter."""

FRAME_TYPE = Field("quic.frame_type", "Frame Type", Type.UINT64, names=FRAME_TYPES)
PADDING_LENGTH = Field("quic.padding_length", "Padding Length", Type.UINT32, generated=True)
LARGEST = Field("quic.ack.largest_acknowledged", "Largest Acknowledged", Type.UINT64)
DELAY = Field("quic.ack.ack_delay", "ACK Delay", Type.UINT64)
RANGE_COUNT = Field("quic.ack.ack_range_count", "ACK Range Count", Type.UINT64)
FIRST_RANGE = Field("quic.ack.first_ack_range", "First ACK Range", Type.UINT64)
GAP = Field("quic.ack.gap", "Gap", Type.UINT64)
RANGE = Field("quic.ack.ack_range", "ACK Range", Type.UINT64)
ECT0 = Field("quic.ack.ect0_count", "ECT(0) Count", Type.UINT64)
ECT1 = Field("quic.ack.ect1_count", "ECT(1) Count", Type.UINT64)
CE = Field("quic.ack.ecn_ce_count", "ECN-CE Count", Type.UINT64)
CRYPTO_OFFSET = Field("quic.crypto.offset", "Offset", Type.UINT64)
CRYPTO_LENGTH = Field("quic.crypto.length", "Length", Type.UINT64)
CRYPTO_DATA = Field("quic.crypto.crypto_data", "Crypto Data", Type.NONE)
CLOSE_CODE = Field("quic.cc.error_code", "Error code", Type.UINT64)
CLOSE_FRAME = Field("quic.cc.frame_type", "Frame Type", Type.UINT64)
REASON_LENGTH = Field("quic.cc.reason_phrase.length", "Reason phrase Length", Type.UINT64)
REASON = Field("quic.cc.reason_phrase", "Reason phrase", Type.STRING)

FRAME_FIELDS = (
    FRAME_TYPE,
    PADDING_LENGTH,
    LARGEST,
    DELAY,
    RANGE_COUNT,
    FIRST_RANGE,
    GAP,
    RANGE,
    ECT0,
    ECT1,
    CE,
    CRYPTO_OFFSET,
    CRYPTO_LENGTH,
    CRYPTO_DATA,
    CLOSE_CODE,
    CLOSE_FRAME,
    REASON_LENGTH,
    REASON,
)


@dataclass(slots=True)
class FrameReader:
    """Reads a packet's frames, and keeps what of the handshake they carry."""

    said: list[str]
    crypto: list[tuple[int, bytes]] = field(default_factory=list)
    """Offset and bytes of each CRYPTO frame."""

    def read(self, w: Walk) -> None:
        """All frames; `w` is over them alone."""
        at = 0
        while at < w.size:
            kind = w.u8(at)
            if kind not in FRAME_TYPES:
                raise MalformedError("a frame that no Initial packet may hold")
            name = FRAME_TYPES[kind]
            self.said.append(_SAID.get(kind, name))
            w.add_text(name, at, 1)
            with w.subtree():
                w.add(FRAME_TYPE, kind, at, 1)
                at = self._frame(w, kind, at + 1)

    def _frame(self, w: Walk, kind: int, at: int) -> int:
        if kind == PADDING:
            end = w.size - len(w.data[at:].lstrip(b"\0"))
            w.add(PADDING_LENGTH, end - at + 1, at - 1, end - at + 1)
            return end
        if kind in (ACK, ACK_ECN):
            return self._ack(w, kind, at)
        if kind == CRYPTO:
            offset, at = self._number(w, CRYPTO_OFFSET, at)
            size, at = self._number(w, CRYPTO_LENGTH, at)
            self.crypto.append((offset, w.take(at, size)))
            w.add(CRYPTO_DATA, True, at, size)
            return at + size
        if kind in (CLOSE, CLOSE_APPLICATION):
            return self._close(w, kind, at)
        return at

    def _number(self, w: Walk, field: Field, at: int) -> tuple[int, int]:
        """A number of variable length, and the offset behind it."""
        size = 1 << (w.u8(at) >> 6)
        value = w.uint(at, size) & ((1 << 8 * size - 2) - 1)
        w.add(field, value, at, size)
        return value, at + size

    def _ack(self, w: Walk, kind: int, at: int) -> int:
        _, at = self._number(w, LARGEST, at)
        _, at = self._number(w, DELAY, at)
        count, at = self._number(w, RANGE_COUNT, at)
        _, at = self._number(w, FIRST_RANGE, at)
        for _ in range(count):
            _, at = self._number(w, GAP, at)
            _, at = self._number(w, RANGE, at)
        for one in (ECT0, ECT1, CE) if kind == ACK_ECN else ():
            _, at = self._number(w, one, at)
        return at

    def _close(self, w: Walk, kind: int, at: int) -> int:
        _, at = self._number(w, CLOSE_CODE, at)
        if kind == CLOSE:
            _, at = self._number(w, CLOSE_FRAME, at)
        size, at = self._number(w, REASON_LENGTH, at)
        if size:
            w.add(REASON, w.take(at, size).decode("utf-8", "replace"), at, size)
        return at + size
