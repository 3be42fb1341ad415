"""Application protocols by themselves: a conversation's segments, dissected without the layers that carry them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from echowire.core.captures.records import Records
from echowire.core.packets.layers import Layer, Memory
from echowire.core.packets.registry import registry
from echowire.core.packets.walk import walk_layer

CLIENT_PORT = 50_000

HEADER_BYTES = {"tcp": 20, "udp": 8}


def conversation(name: str, *segments: bytes, port: int, over: str = "tcp", memory: Memory | None = None) -> Layer:
    """The layer of protocol `name` over segments of one conversation; `<` before one says that the server sent it."""
    packets = []
    for segment in segments:
        ports = (port, CLIENT_PORT) if segment[:1] == b"<" else (CLIENT_PORT, port)
        payload = segment[1:]
        size = struct.pack(">HH", 8 + len(payload), 0)
        packets.append(
            struct.pack(">HH", *ports) + (size if over == "udp" else bytes(8) + b"\x50" + bytes(7)) + payload
        )
    records = Records.of(packets, [0] * len(packets))
    rows = np.arange(len(packets), dtype=np.int64)
    end = records.start + records.cap_len
    memory = memory or Memory()
    outer = Layer(registry().protocols[over], records, memory, rows, records.start, end, end=end)
    layer = Layer(
        registry().protocols[name],
        records,
        memory,
        rows,
        records.start + HEADER_BYTES[over],
        end,
        end=end,
        parent=outer,
        index=rows,
        streams=lambda: np.zeros(len(rows), np.int64),
    )
    layer.walked = walk_layer(layer)
    return layer


def values(layer: Layer, field: str) -> list[list[Any]]:
    """A field's values in each entry."""
    found: list[list[Any]] = [[] for _ in range(len(layer))]
    described = next(one for one in layer.protocol.fields if one.name == field)
    picked = layer.pick(described)
    for entry, value in zip(picked.index.tolist(), picked.values.tolist(), strict=True):
        found[entry].append(value)
    return found


def infos(layer: Layer) -> Sequence[str | None]:
    """What the packet list says of each entry."""
    assert layer.protocol.info is not None
    return layer.protocol.info(layer)


def columns(layer: Layer) -> Sequence[str | None]:
    """What the packet list calls each entry."""
    column = layer.protocol.column
    return [column] * len(layer) if isinstance(column, str) else column(layer)


def all_items(layer: Layer) -> list[list[tuple[str, Any]]]:
    """All fields of each entry in their order: name and value."""
    assert layer.walked is not None
    return [[(item.field.name, item.value) for item in items if item.field] for items in layer.walked.items]


def assert_sturdy(name: str, payload: bytes, *, port: int, over: str = "tcp") -> None:
    """Cut at every byte, what is found is what was found before or less, and nothing fails."""
    pieces = [b">" + payload[:size] for size in range(len(payload) + 1)]
    for piece in pieces:
        layer = conversation(name, piece, port=port, over=over)
        for field in layer.protocol.fields:
            layer.pick(field)
        infos(layer)
        columns(layer)
