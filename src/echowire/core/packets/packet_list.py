"""The packet list: one line a packet, with the columns that Wireshark's list has.

Each layer says what it has to say of its packets, from the outside in, and the last one that has something to say is
shown; what an ICMP error quotes says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Records, Rows
from echowire.core.captures.ticks import NO_TIME
from echowire.core.packets.cells import NS_PER_S, seconds_text, strings
from echowire.core.packets.columns import Column, Type, objects
from echowire.core.packets.layers import Field, Layer, Picked
from echowire.core.text import printable

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
        field = protocol.field(name)
        picked = layer.pick(field)
        return picked.index, _repeated_strings(field, picked.values)
    if key == "protocol" and isinstance(protocol.column, str):
        return (layer.shown, protocol.column) if protocol.column else None
    say = protocol.column if key == "protocol" else protocol.info
    if say is None or isinstance(say, str):
        return None
    texts = list(say(layer))
    index = np.array([entry for entry in layer.shown.tolist() if texts[entry] is not None], np.int64)
    return index, objects(texts)[index]


def _repeated_strings(field: Field, values: Column) -> Column:
    """The text of values of which many are the same: each is written once."""
    if values.ndim > 1:
        values = np.ascontiguousarray(values).view(f"V{values.shape[1]}").ravel()
        different, which = np.unique(values, return_inverse=True)
        return strings(field, different.view(np.uint8).reshape(len(different), different.itemsize))[which]
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


TimeForm: TypeAlias = Literal["r", "d", "dd", "e", "u", "ud", "a", "ad"]
"""tshark's `-t`: since the first packet, since the one before, since the one shown before, since 1970, the time of day
in UTC, with the date, in the zone of this host, with the date."""


@dataclass(slots=True)
class Clock:
    """The text of the times of a packet list, chunk after chunk."""

    form: TimeForm = "r"
    zone: tzinfo = UTC
    """Of `a` and `ad`."""
    first_ns: int | None = None
    before_ns: int | None = None
    shown_ns: int | None = None

    def texts(self, records: Records, rows: Rows) -> list[str]:
        """The times of the packets `rows`, which are shown; all packets of the file must come by, in order."""
        time_ns, digits = records.time_ns, digits_of(records)
        known = time_ns[time_ns != NO_TIME]
        if self.first_ns is None and len(known):
            self.first_ns = int(known[0])
        if self.form in ("r", "e"):
            start = np.full(len(rows), self.first_ns or 0 if self.form == "r" else 0, np.int64)
        elif self.form == "d":
            before = np.concatenate([[time_ns[0] if self.before_ns is None else self.before_ns], time_ns[:-1]])
            start = before[rows] if len(time_ns) else time_ns
        elif self.form == "dd":
            shown = time_ns[rows]
            start = np.concatenate([shown[:1] if self.shown_ns is None else [self.shown_ns], shown[:-1]])[: len(rows)]
        else:
            start = np.zeros(len(rows), np.int64)
        if len(time_ns):
            self.before_ns = int(time_ns[-1])
        if len(rows):
            self.shown_ns = int(time_ns[rows[-1]])
        write = self._dated if self.form in ("u", "ud", "a", "ad") else seconds_text
        return [
            f"{write(one - begin, digits):>10}" if one != NO_TIME else " " * 10
            for one, begin in zip(time_ns[rows].tolist(), start.tolist(), strict=True)
        ]

    def _dated(self, time_ns: int, digits: int) -> str:
        seconds, rest = divmod(time_ns, NS_PER_S)
        at = datetime.fromtimestamp(seconds, UTC if self.form[0] == "u" else self.zone)
        day = f"{at:%Y-%m-%d} " if self.form.endswith("d") else ""
        return f"{day}{at:%H:%M:%S}.{rest // 10 ** (9 - digits):0{digits}d}"


def digits_of(records: Records) -> int:
    """Decimals that the times of a file have: 9 of nanoseconds, 6 of microseconds."""
    finest = max((one.ticks_per_s for one in records.interfaces), default=1_000_000)
    return next((digits for digits in (0, 1, 2, 3, 6) if 10**digits >= finest), 9)


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The packet list of a chunk, a column each."""

    number: Rows
    source: NDArray[np.object_]
    destination: NDArray[np.object_]
    protocol: NDArray[np.object_]
    length: Rows
    info: NDArray[np.object_]

    def texts(
        self, times: Sequence[str], which: Rows | slice = slice(None), before_info: Sequence[str] | None = None
    ) -> list[str]:
        """A line each of the packets `which`, given the texts of their times, in tshark's layout; `before_info` is a
        column that tshark has not.
        """
        every = (self.number, self.source, self.destination, self.protocol, self.length, self.info)
        columns = [column[which] for column in every]
        rows = zip(*(column.tolist() for column in columns), strict=True)
        more = [""] * len(times) if before_info is None else [f"{one} " for one in before_info]
        return [
            f"{number:>5} {time} {source:>{ADDRESS_WIDTH}} → {to:<{ADDRESS_WIDTH}} {protocol} {length} {one}{info}"
            for time, one, (number, source, to, protocol, length, info) in zip(times, more, rows, strict=True)
        ]


def packet_list(layers: Sequence[Layer]) -> Lines:
    """The packet list of a chunk, given all its layers. Info is on one line each, with control characters escaped."""
    root = layers[0]
    info = _text_column(root, "info")
    return Lines(
        number=root.records.number,
        source=_text_column(root, "source"),
        destination=_text_column(root, "destination"),
        protocol=_text_column(root, "protocol"),
        length=root.records.length,
        info=objects([printable(one) for one in info.tolist()]),
    )
