"""RESP, the protocol of Redis and its kin (redis.io, "Redis serialization protocol specification"), version 2.

Each line is an element; an array or a bulk string says how much of what follows is its own. What is no element is a
fragment: a command typed inline, version 3's types, or what goes on in another segment.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.summary import column_where_said, infos, say
from echowire.core.packets.walk import MAX_ITEMS, Walk
from echowire.core.text import shown

PORT = 6379

MAX_DEPTH = 100
"""Arrays within each other."""

MAX_SAID = 4_000
"""Characters that the packet list is told at most."""

STRING = Field("resp.string", "String", Type.STRING)
ERROR = Field("resp.error", "Error", Type.STRING)
INTEGER = Field("resp.integer", "Integer", Type.INT64)
BULK = Field("resp.bulk_string", "Bulk String", Type.NONE)
BULK_LENGTH = Field("resp.bulk_string.length", "Length", Type.INT32)
BULK_VALUE = Field("resp.bulk_string.value", "Value", Type.BYTES)
ARRAY = Field("resp.array", "Array", Type.NONE)
ARRAY_LENGTH = Field("resp.array.length", "Length", Type.INT64)
FRAGMENT = Field("resp.fragment", "Fragment", Type.NONE)


def _is_request(layer: Layer) -> NDArray[np.bool_]:
    outer = layer.outer("tcp")
    if outer is None:
        return np.ones(len(layer), np.bool_)
    to_server: NDArray[np.bool_] = outer[0].uint(2, 2)[outer[1]] == PORT
    return to_server


def _walk(w: Walk) -> None:
    is_request = w.layer.once("requests", lambda: _is_request(w.layer))[w.entry]
    say(w, "Request:" if is_request else "Response:")
    said, at = list[str](), 0
    # What is left of each array that an element may lie in.
    open_arrays: list[int] = []
    while at < w.size:
        # A command of a client is an array; the packet list leaves its own line out.
        at, text, count = _element(w, at, is_command=bool(is_request))
        if text and not (open_arrays and text.removeprefix("-").isdigit()):
            said.append(text)
        if open_arrays:
            open_arrays[-1] -= 1
        if count > 0 and len(open_arrays) < MAX_DEPTH:
            open_arrays.append(count)
        while open_arrays and open_arrays[-1] <= 0:
            open_arrays.pop()
        w.level = len(open_arrays)
    size = 0
    for text in said:
        size += len(text)
        if size > MAX_SAID:
            break
        say(w, text)


def _element(w: Walk, at: int, is_command: bool) -> tuple[int, str, int]:
    """One element: the offset behind it, what to say of it, and how many elements are within."""
    end = w.data.find(b"\r\n", at)
    kind, line = w.data[at : at + 1], w.data[at + 1 : end]
    after = end + 2
    if end < 0 or kind not in (b"+", b"-", b":", b"$", b"*"):
        after = w.size if end < 0 else after
        if not w.data[at:after].strip():
            return after, "", 0
        w.add(FRAGMENT, True, at, after - at)
        return after, "[fragment]", 0
    if kind in (b"+", b"-"):
        text = line.decode("utf-8", "replace")
        w.add(STRING if kind == b"+" else ERROR, text, at, after - at)
        return after, shown(line), 0
    number = _number(line)
    if number is None:
        w.add(FRAGMENT, True, at, after - at)
        return after, "[fragment]", 0
    if kind == b":":
        w.add(INTEGER, number, at, after - at)
        return after, str(number), 0
    if kind == b"$":
        return _bulk(w, at, after, number)
    w.add(ARRAY, True, at, after - at, f"Array({number})")
    w.add(ARRAY_LENGTH, number, at, after - at)
    return after, "" if is_command else f"Array({number})", min(number, MAX_ITEMS)


def _number(line: bytes) -> int | None:
    digits = line.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 18:
        return None
    return int(line)


def _bulk(w: Walk, at: int, after: int, size: int) -> tuple[int, str, int]:
    """A string with its length before it; -1 is none."""
    if size < 0:
        w.add(BULK, True, at, after - at)
        w.add(BULK_LENGTH, -1, at, after - at)
        return after, "", 0
    if after + size > w.size:
        w.add(FRAGMENT, True, at, w.size - at)
        return w.size, "[fragment]", 0
    value = w.data[after : after + size]
    w.add(BULK, True, at, after + size - at)
    with w.subtree():
        w.add(BULK_LENGTH, size & 0x7FFFFFFF, at, after - at)
        w.add(BULK_VALUE, value, after, size)
    return after + size + 2, shown(value), 0


PROTOCOLS = (
    Protocol(
        "resp",
        "REdis Serialization Protocol",
        column_where_said("RESP"),
        fields=(STRING, ERROR, INTEGER, BULK, BULK_LENGTH, BULK_VALUE, ARRAY, ARRAY_LENGTH, FRAGMENT),
        keys=(("tcp.port", PORT),),
        walk=_walk,
        info=infos(" "),
    ),
)
