"""The packet list: one line a packet, with the columns that Wireshark's list has.

Each layer says what it has to say of its packets, from the outside in, and the last one that has something to say is
shown; what an ICMP error quotes says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echowire.wire.cells import escaped, strings
from echowire.wire.columns import Column, Type, objects
from echowire.wire.layers import Field, Layer, Picked
from echowire.wire.records import Rows

ADDRESS_WIDTH = 12
"""Characters that the address columns have at least, as tshark's have."""


def _text_column(layer: Layer, key: str) -> Column:
    """One of the columns, computed for all of them at once."""
    root = layer.chunk[0]
    return root.once(f"packet list {key}", lambda: _made(root, key))


def _made(root: Layer, key: str) -> Column:
    out = np.full(len(root), "", np.object_)
    for layer in root.chunk:
        if layer.is_quoted:
            continue
        said = _said(layer, key)
        if said is None:
            continue
        index, texts = said
        out[layer.rows[index]] = texts
    return out


def _said(layer: Layer, key: str) -> tuple[Rows | slice, Column | str] | None:
    """What one layer has to say in a column, and in which of its entries."""
    protocol = layer.protocol
    if key in ("source", "destination"):
        if protocol.addresses is None:
            return None
        name = protocol.addresses[key == "destination"]
        field = next(one for one in protocol.fields if one.name == name)
        picked = layer.pick(field)
        return picked.index, _repeated_strings(field, picked.values)
    if key == "protocol" and isinstance(protocol.column, str):
        return (slice(None), protocol.column) if protocol.column else None
    say = protocol.column if key == "protocol" else protocol.info
    if say is None or isinstance(say, str):
        return None
    texts = list(say(layer))
    index = np.array([entry for entry, text in enumerate(texts) if text is not None], np.int64)
    return index, objects(texts)[index]


def _repeated_strings(field: Field, values: Column) -> Column:
    """The text of values of which many are the same: each is written once."""
    if values.ndim > 1:
        values = np.ascontiguousarray(values).view(f"V{values.shape[1]}").ravel()
        different, which = np.unique(values, return_inverse=True)
        return strings(field, different.view(np.uint8).reshape(len(different), -1))[which]
    different, which = np.unique(values, return_inverse=True)
    return strings(field, different)[which]


def _column(key: str) -> tuple[Field, Field]:
    """A column as a field, under its name of Wireshark 4.2 and, hidden, the one it had before."""

    def make(layer: Layer) -> Picked:
        return Picked(layer.every, _text_column(layer, key))

    label = key.capitalize()
    return (
        Field(f"_ws.col.{key}", label, Type.STRING, make=make, whole=True, hidden=True),
        Field(f"_ws.col.{label}", label, Type.STRING, make=make, whole=True, hidden=True),
    )


COLUMN_FIELDS: tuple[Field, ...] = tuple(
    field for key in ("source", "destination", "protocol", "info") for field in _column(key)
)
"""The list's columns as fields of the frame, so that `-e _ws.col.info` works and a filter can ask for them."""


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The packet list of a chunk, a column each."""

    number: Rows
    source: NDArray[np.object_]
    destination: NDArray[np.object_]
    protocol: NDArray[np.object_]
    length: Rows
    info: NDArray[np.object_]

    def texts(self, times: Sequence[str]) -> list[str]:
        """A line each, given the text of its time, in tshark's layout."""
        columns = (self.number, self.source, self.destination, self.protocol, self.length, self.info)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [
            f"{number:>5} {time} {source:>{ADDRESS_WIDTH}} → {destination:<{ADDRESS_WIDTH}} {protocol} {length} {info}"
            for time, (number, source, destination, protocol, length, info) in zip(times, rows, strict=True)
        ]


def packet_list(root: Layer) -> Lines:
    """The packet list of a chunk, given its frame layer. Info is on one line each, with control characters escaped."""
    info = _text_column(root, "info")
    return Lines(
        number=root.records.number,
        source=_text_column(root, "source"),
        destination=_text_column(root, "destination"),
        protocol=_text_column(root, "protocol"),
        length=root.records.length,
        info=objects([one if one.isprintable() else escaped(one) for one in info.tolist()]),
    )
