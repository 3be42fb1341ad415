"""RTSP (RFC 7826, 2326): the start line and the headers of a session."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.summary import column_where_said, infos, say
from echowire.core.packets.walk import Walk
from echowire.core.text import shown

PORTS = (554, 7236, 8554)

METHODS = frozenset(
    b"""DESCRIBE ANNOUNCE GET_PARAMETER OPTIONS PAUSE PLAY RECORD REDIRECT SETUP SET_PARAMETER TEARDOWN""".split()
)

REQUEST = Field("rtsp.request", "Request", Type.STRING)
RESPONSE = Field("rtsp.response", "Response", Type.STRING)
METHOD = Field("rtsp.method", "Method", Type.STRING)
URL = Field("rtsp.url", "URL", Type.STRING)
STATUS = Field("rtsp.status", "Status", Type.UINT32)

HEADERS = {
    b"session": Field("rtsp.session", "Session", Type.STRING),
    b"transport": Field("rtsp.transport", "Transport", Type.STRING),
    b"content-type": Field("rtsp.content-type", "Content-type", Type.STRING),
    b"content-length": Field("rtsp.content-length", "Content-length", Type.UINT32),
}


def _alike(layer: Layer) -> NDArray[np.bool_]:
    found = np.zeros(len(layer), np.bool_)
    for entry in range(len(layer)):
        line = layer.payload(entry).partition(b"\n")[0]
        found[entry] = line.startswith(b"RTSP/") or line.partition(b" ")[0] in METHODS
    return found


def _walk(w: Walk) -> None:
    head = w.data.partition(b"\r\n\r\n")[0]
    at = 0
    for number, line in enumerate(head.split(b"\r\n")):
        if number == 0:
            _start_line(w, line)
        else:
            name, _, value = line.partition(b":")
            field = HEADERS.get(name.strip().lower())
            text = value.strip()
            if field is None:
                w.add_text(shown(line), at, len(line))
            elif field.type is Type.STRING:
                w.add(field, text.decode("utf-8", "replace"), at, len(line), shown(line))
            elif text.isdigit() and len(text) < 10:
                w.add(field, int(text), at, len(line), shown(line))
        at += len(line) + 2


def _start_line(w: Walk, line: bytes) -> None:
    parts = line.split(b" ", 2)
    if line.startswith(b"RTSP/"):
        say(w, f"Reply: {shown(line)}")
        w.add(RESPONSE, line.decode("utf-8", "replace") + "\r\n", 0, len(line))
        if len(parts) > 1 and parts[1].isdigit() and len(parts[1]) < 6:
            with w.subtree():
                w.add(STATUS, int(parts[1]), len(parts[0]) + 1, len(parts[1]))
        return
    say(w, shown(line))
    w.add(REQUEST, line.decode("utf-8", "replace") + "\r\n", 0, len(line))
    with w.subtree():
        w.add(METHOD, parts[0].decode("ascii", "replace"), 0, len(parts[0]))
        if len(parts) > 1:
            w.add(URL, parts[1].decode("utf-8", "replace"), len(parts[0]) + 1, len(parts[1]))


PROTOCOLS = (
    Protocol(
        "rtsp",
        "Real Time Streaming Protocol",
        column_where_said("RTSP"),
        fields=(REQUEST, RESPONSE, METHOD, URL, STATUS, *HEADERS.values()),
        keys=tuple(("tcp.port", port) for port in PORTS),
        accepts=_alike,
        walk=_walk,
        info=infos(),
    ),
)
