"""Which answer belongs to which question: what DNS's fields tell of two packets.

A message is the answer to the last question with its number between the same two sockets, if that had none yet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from echowire.core.captures.ticks import NO_TIME
from echowire.core.packets.columns import Type, column_of
from echowire.core.packets.conversation import sockets
from echowire.core.packets.layers import Field, Layer, Picked

MAX_QUESTIONS = 100_000
"""Questions remembered; the oldest is forgotten first. A resolver that has so many open has lost its network."""


@dataclass(slots=True)
class _Question:
    frame: int
    time_ns: int
    answer: int = 0
    """Frame of its answer; 0 is none yet."""


@dataclass(slots=True)
class Pairs:
    """What is known of the messages of one layer: by field, the entries that have it and its values."""

    found: dict[str, tuple[list[int], list[int]]]

    def note(self, name: str, entry: int, value: int) -> None:
        """A field of one entry."""
        entries, values = self.found.setdefault(name, ([], []))
        entries.append(entry)
        values.append(value)


def remember(layer: Layer) -> None:
    """Pair the messages of a layer with each other and with those before."""
    open_questions: OrderedDict[tuple[object, ...], _Question] = layer.memory.of("dns questions", OrderedDict)
    pairs = Pairs({})
    asked_here: dict[int, int] = {}
    for entry, key, is_answer, frame, time_ns in _messages(layer):
        known = open_questions.get(key)
        if not is_answer:
            if known is None or known.answer:
                open_questions[key] = _Question(frame, time_ns)
                open_questions.move_to_end(key)
                asked_here[frame] = entry
                if len(open_questions) > MAX_QUESTIONS:
                    open_questions.popitem(last=False)
            else:
                pairs.note("dns.retransmission", entry, 1)
                pairs.note("dns.retransmit_request_in", entry, known.frame)
        elif known is None:
            pairs.note("dns.unsolicited", entry, 1)
        elif known.answer:
            pairs.note("dns.retransmission", entry, 1)
            pairs.note("dns.retransmit_response_in", entry, known.answer)
        else:
            known.answer = frame
            pairs.note("dns.response_to", entry, known.frame)
            if NO_TIME not in (time_ns, known.time_ns):
                pairs.note("dns.time", entry, time_ns - known.time_ns)
            if known.frame in asked_here:
                pairs.note("dns.response_in", asked_here[known.frame], frame)
    layer.once("pairs", lambda: pairs)


def _messages(layer: Layer) -> Iterator[tuple[int, tuple[object, ...], bool, int, int]]:
    """Entry, key, whether it is an answer, frame number and time of each message that has a header's first words."""
    numbers, flags = layer.uint(0, 2).tolist(), layer.uint(2, 2).tolist()
    frames, times = layer.records.number[layer.rows].tolist(), layer.records.time_ns[layer.rows].tolist()
    where = sockets(layer)
    for entry in np.flatnonzero(layer.has(4)).tolist():
        key = (*where[entry], layer.protocol.name, numbers[entry])
        yield entry, key, bool(flags[entry] & 0x8000), frames[entry], times[entry]


def _told(name: str, label: str, kind: Type) -> Field:
    def make(layer: Layer) -> Picked:
        known: Pairs = layer.once("pairs", lambda: Pairs({}))
        entries, values = known.found.get(name, ([], []))
        order = np.argsort(entries, kind="stable") if entries else np.zeros(0, np.int64)
        return Picked(np.array(entries, np.int64)[order], column_of(kind, values)[order])

    return Field(name, label, kind, make=make, generated=True, remembered=True)


FIELDS = (
    _told("dns.response_in", "Response In", Type.FRAME_NUMBER),
    _told("dns.response_to", "Request In", Type.FRAME_NUMBER),
    _told("dns.time", "Time", Type.RELATIVE_TIME),
    _told("dns.unsolicited", "Unsolicited", Type.BOOLEAN),
    _told("dns.retransmission", "Retransmission", Type.BOOLEAN),
    _told("dns.retransmit_request_in", "Retransmitted request. Original request in", Type.FRAME_NUMBER),
    _told("dns.retransmit_response_in", "Retransmitted response. Original response in", Type.FRAME_NUMBER),
)
"""`dns.response_in` is told where the answer stands in the same chunk of the file: what follows is not known yet."""
