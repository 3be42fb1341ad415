"""STAMP and TWAMP's test packets (RFC 8762, 4; RFC 5357, 4): a number and a time, and in answers those of the question.

Both stand at port 862 and look alike; the fields are Wireshark's for TWAMP.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Picked, Protocol
from echowire.core.packets.protocols.ntp import stamp_ns

PORT = 862
ANSWER_BYTES = 41
"""Bytes of an answer, up to the time to live that its question arrived with (RFC 5357, 4.2.1)."""


def _is_answer(layer: Layer) -> NDArray[np.bool_]:
    """Which packets answer: they come from the port, and have room for what they quote."""
    outer = layer.parent
    if outer is None or outer.protocol.name != "udp":
        return np.zeros(len(layer), np.bool_)
    from_port: NDArray[np.bool_] = outer.uint(0, 2)[layer.index] == PORT
    return from_port & layer.has(ANSWER_BYTES)


def _stamp(at: int, *, answers: bool = False) -> Callable[[Layer], Picked]:
    def make(layer: Layer) -> Picked:
        which = np.flatnonzero(layer.has(at + 8) & (_is_answer(layer) if answers else True))
        return Picked(which, stamp_ns(layer, at, which))

    return make


def _info(layer: Layer) -> list[str]:
    numbers = layer.uint(0, 4).tolist()
    answers, asked = _is_answer(layer).tolist(), layer.uint(24, 4).tolist()
    return [
        f"Answer, sequence number {number}, to {asked[entry]}" if answers[entry] else f"Sequence number {number}"
        for entry, number in enumerate(numbers)
    ]


PROTOCOLS = (
    Protocol(
        "twamp.test",
        "TwoWay Active Measurement Test Protocol",
        "TWAMP-Test",
        fields=(
            Field("twamp.test.seq_number", "Sequence Number", Type.UINT32, 0),
            Field("twamp.test.timestamp", "Timestamp", Type.ABSOLUTE_TIME, 4, 8, make=_stamp(4)),
            Field("twamp.test.error_estimate", "Error Estimate", Type.UINT16, 12, base="dec_hex"),
            Field(
                "twamp.test.error_estimate.s",
                "S",
                Type.BOOLEAN,
                12,
                2,
                mask=0x8000,
                under="twamp.test.error_estimate",
            ),
            Field(
                "twamp.test.error_estimate.z",
                "Z",
                Type.BOOLEAN,
                12,
                2,
                mask=0x4000,
                under="twamp.test.error_estimate",
            ),
            Field(
                "twamp.test.error_estimate.scale",
                "Scale",
                Type.UINT16,
                12,
                mask=0x3F00,
                under="twamp.test.error_estimate",
            ),
            Field(
                "twamp.test.error_estimate.multiplier",
                "Multiplier",
                Type.UINT16,
                12,
                mask=0x00FF,
                under="twamp.test.error_estimate",
            ),
            Field(
                "twamp.test.receive_timestamp",
                "Receive Timestamp",
                Type.ABSOLUTE_TIME,
                16,
                8,
                make=_stamp(16, answers=True),
            ),
            Field("twamp.test.sender_seq_number", "Sender Sequence Number", Type.UINT32, 24, when=_is_answer),
            Field(
                "twamp.test.sender_timestamp",
                "Sender Timestamp",
                Type.ABSOLUTE_TIME,
                28,
                8,
                make=_stamp(28, answers=True),
            ),
            Field(
                "twamp.test.sender_error_estimate",
                "Sender Error Estimate",
                Type.UINT16,
                36,
                base="dec_hex",
                when=_is_answer,
            ),
            Field("twamp.test.sender_ttl", "Sender TTL", Type.UINT8, 40, when=_is_answer),
        ),
        keys=(("udp.port", PORT),),
        info=_info,
    ),
)
