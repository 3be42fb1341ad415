"""The small services: echo, discard, chargen, daytime and time (RFC 862, 863, 864, 867, 868).

A packet to the service's port is a request, one from there an answer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Column, Type, objects
from echowire.core.packets.layers import Field, Layer, Picked, Protocol
from echowire.core.packets.layout import text

WAKE_UP = 0xFFFFFFFFFFFF
"""What a Wake-on-LAN packet begins with, which is often sent to discard's port, as nobody answers there."""

ECHO, DISCARD, DAYTIME, CHARGEN, TIME = 7, 9, 13, 19, 37


def _is_to(layer: Layer, port: int) -> NDArray[np.bool_]:
    """Which packets were sent to the service's port."""
    outer = layer.parent
    if outer is None or outer.protocol.name not in ("udp", "tcp"):
        return np.zeros(len(layer), np.bool_)
    found: NDArray[np.bool_] = outer.uint(2, 2)[layer.index] == port
    return found


def _bytes(layer: Layer) -> Column:
    return objects([layer.payload(entry) for entry in range(len(layer))])


def _texts(layer: Layer) -> Column:
    return objects([text(layer.payload(entry)) for entry in range(len(layer))])


def _answered(layer: Layer) -> Picked:
    which = np.flatnonzero(~_is_to(layer, DAYTIME))
    return Picked(which, _texts(layer)[which])


def _when(port: int, to: bool) -> Callable[[Layer], Picked]:
    def make(layer: Layer) -> Picked:
        which = np.flatnonzero(_is_to(layer, port) == to)
        return Picked(which, np.ones(len(which), np.bool_))

    return make


def _info(port: int, request: str, answer: str) -> Callable[[Layer], list[str]]:
    return lambda layer: [request if to else answer for to in _is_to(layer, port).tolist()]


PROTOCOLS = (
    Protocol(
        "echo",
        "Echo",
        "ECHO",
        fields=(
            Field("echo.request", "Echo request", Type.BOOLEAN, make=_when(ECHO, True), hidden=True),
            Field("echo.response", "Echo response", Type.BOOLEAN, make=_when(ECHO, False), hidden=True),
            Field("echo.data", "Echo data", Type.BYTES, make=_bytes),
        ),
        keys=(("udp.port", ECHO), ("tcp.port", ECHO)),
        info=_info(ECHO, "Request", "Response"),
    ),
    Protocol(
        "discard",
        "Discard Protocol",
        "DISCARD",
        fields=(Field("discard.data", "Data", Type.BYTES, make=_bytes),),
        keys=(("udp.port", DISCARD), ("tcp.port", DISCARD)),
        accepts=lambda layer: layer.uint(0, 6) != WAKE_UP,
        info=_info(DISCARD, "Discarded", "Discarded"),
    ),
    Protocol(
        "chargen",
        "Character Generator Protocol",
        "Chargen",
        fields=(Field("chargen.data", "Data", Type.STRING, make=_texts),),
        keys=(("udp.port", CHARGEN), ("tcp.port", CHARGEN)),
        info=_info(CHARGEN, "Chargen", "Chargen"),
    ),
    Protocol(
        "daytime",
        "Daytime Protocol",
        "DAYTIME",
        fields=(Field("daytime.string", "Daytime", Type.STRING, make=_answered),),
        keys=(("udp.port", DAYTIME), ("tcp.port", DAYTIME)),
        info=_info(DAYTIME, "DAYTIME Request", "DAYTIME Response"),
    ),
    Protocol(
        "time",
        "Time Protocol",
        "TIME",
        fields=(Field("time.time", "Time", Type.UINT32, 0, when=lambda layer: ~_is_to(layer, TIME)),),
        keys=(("udp.port", TIME), ("tcp.port", TIME)),
        info=_info(TIME, "TIME Request", "TIME Response"),
    ),
)
