"""The frame: what the capture file itself says of a packet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echowire.wire.columns import Column, Type, objects
from echowire.wire.layers import Field, Layer, Next, Picked, Protocol
from echowire.wire.packet_list import COLUMN_FIELDS
from echowire.wire.ticks import NO_TIME


def _timed(layer: Layer) -> Picked:
    known = layer.records.time_ns != NO_TIME
    return Picked(np.flatnonzero(known), layer.records.time_ns[known])


def _protocols(layer: Layer) -> Column:
    """`eth:ethertype:ip:tcp`: all layers of each packet, as Wireshark writes it."""
    paths: list[str] = [""]
    path_of = np.zeros(len(layer), np.int64)
    for inner in layer.chunk[1:]:
        if inner.protocol.is_part:
            continue
        name = inner.protocol.name
        before, number = np.unique(path_of[inner.rows], return_inverse=True)
        grown = [f"{paths[old]}:{name}" if paths[old] else name for old in before.tolist()]
        path_of[inner.rows] = number + len(paths)
        paths += grown
    return objects(paths)[path_of]


def _label(layer: Layer) -> list[str]:
    records = layer.records
    rows = zip(records.number.tolist(), records.length.tolist(), records.cap_len.tolist(), strict=True)
    return [f" {number}: {had} bytes on wire, {kept} bytes captured" for number, had, kept in rows]


def _next(layer: Layer) -> Iterator[Next]:
    yield Next("link_type", (layer.records.link_type,), layer.every, layer.start, layer.wire_end)


PROTOCOLS = (
    Protocol(
        "frame",
        "Frame",
        fields=(
            Field("frame.number", "Frame Number", Type.FRAME_NUMBER, make=lambda layer: layer.records.number),
            Field("frame.time", "Arrival Time", Type.ABSOLUTE_TIME, make=_timed),
            Field("frame.time_epoch", "Epoch Time", Type.ABSOLUTE_TIME, make=_timed, base="epoch"),
            Field("frame.len", "Frame Length", Type.UINT32, make=lambda layer: layer.records.length),
            Field("frame.cap_len", "Capture Length", Type.UINT32, make=lambda layer: layer.records.cap_len),
            Field("frame.protocols", "Protocols in frame", Type.STRING, make=_protocols, whole=True, generated=True),
            *COLUMN_FIELDS,
        ),
        label=_label,
        follow=_next,
        tables=("link_type",),
    ),
)
