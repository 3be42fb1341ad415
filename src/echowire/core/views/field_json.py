"""Chosen fields of packets as JSON, in the structure of `tshark -T json -e …` and `-T ek -e …`: all values, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np

from echowire.core.captures.ticks import NO_TIME
from echowire.core.packets.cells import strings
from echowire.core.packets.chosen import Chosen
from echowire.core.packets.registry import registry
from echowire.core.text import json_text

NS_PER_MS = 1_000_000


class FieldJson:
    """Chunks of packets in, the text of one JSON array out, a piece at a time."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(dict.fromkeys(names))
        self._first = True

    def begin(self) -> bytes:
        """What stands before the first packet."""
        return b"["

    def layers(self, chosen: Chosen) -> Sequence[Mapping[str, Any]]:
        """What is said of each packet of a chunk."""
        return layers_of(chosen, self._names)

    def packets(self, chosen: Chosen) -> bytes:
        """The packets of a chunk."""
        pieces = []
        for day, layers in zip(_days(chosen), self.layers(chosen), strict=True):
            whole = {"_index": f"packets-{day}", "_type": "doc", "_score": None, "_source": {"layers": layers}}
            pieces.append(("\n" if self._first else ",\n") + json_text(whole))
            self._first = False
        return "".join(pieces).encode()

    def end(self) -> bytes:
        """What stands behind the last packet."""
        return b"\n]\n"


class FieldLinesJson(FieldJson):
    """The same for Elasticsearch's bulk interface: two lines a packet, dots in names as underscores."""

    def begin(self) -> bytes:
        """What stands before the first packet."""
        return b""

    def layers(self, chosen: Chosen) -> Sequence[Mapping[str, Any]]:
        """What is said of each packet of a chunk."""
        found = layers_of(chosen, self._names)
        return [{name.replace(".", "_"): each for name, each in one.items()} for one in found]

    def packets(self, chosen: Chosen) -> bytes:
        """The packets of a chunk."""
        pieces = []
        times = chosen.time_ns().tolist()
        for day, time_ns, layers in zip(_days(chosen), times, self.layers(chosen), strict=True):
            head = {"index": {"_index": f"packets-{day}"}}
            stamp = None if time_ns == NO_TIME else str(time_ns // NS_PER_MS)
            body = {"timestamp": stamp, "layers": layers}
            pieces.append(f"{json_text(head)}\n{json_text(body)}\n")
        return "".join(pieces).encode()

    def end(self) -> bytes:
        """What stands behind the last packet."""
        return b""


def layers_of(chosen: Chosen, names: Sequence[str]) -> list[dict[str, list[str]]]:
    """For each packet its fields by name, in the order asked for, each with all its values."""
    found: list[dict[str, list[str]]] = [{} for _ in range(len(chosen))]
    for name in names:
        values = chosen.values(name)
        texts = strings(registry().described(name)[0][1], values.values, escape=False).tolist()
        begin = [*np.flatnonzero(np.diff(values.rows, prepend=-1)).tolist(), len(texts)]
        for at, end in pairwise(begin):
            found[int(values.rows[at])][name] = texts[at:end]
    return found


def _days(chosen: Chosen) -> list[str]:
    """The day on which each packet was captured, UTC."""
    days = chosen.time_ns() // (86_400 * 1_000_000_000)
    texts = {day: _day(day) for day in np.unique(days).tolist()}
    return [texts[day] for day in days.tolist()]


def _day(day: int) -> str:
    if day == NO_TIME // (86_400 * 1_000_000_000):
        return "1970-01-01"
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
