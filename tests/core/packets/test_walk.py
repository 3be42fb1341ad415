"""A walk over bytes of variable shape: what it finds, where it ends, what it hands on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from echowire.core.captures.records import Records
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Memory, Protocol
from echowire.core.packets.walk import MAX_ITEMS, MalformedError, Walk, walk_layer

SIZE = Field("t.size", "Size", Type.UINT8)
BODY = Field("t.body", "Body", Type.STRING)
FLAG = Field("t.flag", "Flag", Type.BOOLEAN, size=2, mask=0x8000)
LESS = Field("t.less", "Less", Type.INT16, little=True)


def lists(walk: Walk) -> None:
    """A list of strings with their lengths in front."""
    at = 0
    while at < walk.wire_size:
        size = walk.add_uint(SIZE, at)
        walk.add(BODY, walk.take(at + 1, size).decode(), at + 1, size)
        at += 1 + size


def layer_of(walk: Callable[[Walk], None], *packets: bytes, lost: int = 0) -> Layer:
    """A layer of whole packets, of which the last `lost` bytes were not captured."""
    records = Records.of(packets, [0] * len(packets))
    end = records.start + records.cap_len
    rows = np.arange(len(packets), dtype=np.int64)
    protocol = Protocol("t", "Test", fields=(SIZE, BODY), walk=walk)
    return Layer(protocol, records, Memory(), rows, records.start, end + lost, end=end)


def test_what_is_found_becomes_columns() -> None:
    layer = layer_of(lists, b"\1a\2bc", b"", b"\0")
    layer.walked = walk_layer(layer)
    sizes, bodies = layer.pick(SIZE), layer.pick(BODY)
    assert (sizes.index.tolist(), sizes.values.tolist()) == ([0, 0, 2], [1, 2, 0])
    assert (bodies.index.tolist(), bodies.values.tolist()) == ([0, 0, 2], ["a", "bc", ""])
    assert [(item.at, item.size) for item in layer.walked.items[0]] == [(0, 1), (1, 1), (2, 1), (3, 2)]


@pytest.mark.parametrize("size", range(6))
def test_cut_anywhere_it_keeps_what_is_whole(size: int) -> None:
    whole = b"\1a\3bcd"
    layer = layer_of(lists, whole[:size], lost=len(whole) - size)
    walked = walk_layer(layer)
    assert walked.short == [0]
    assert [item.value for item in walked.items[0]] == [1, "a", 3, "bcd"][: [0, 1, 2, 3, 3, 3][size]]


def test_a_length_that_lies_is_malformed() -> None:
    walked = walk_layer(layer_of(lists, b"\1a\xff", b"\0"))
    assert (walked.malformed, walked.short) == ([0], [])
    assert [len(items) for items in walked.items] == [3, 2]


def test_what_the_protocol_forbids_is_malformed_and_the_next_packet_is_walked() -> None:
    def refuse(walk: Walk) -> None:
        walk.add_uint(SIZE, 0)
        if walk.data[0]:
            raise MalformedError("no")

    walked = walk_layer(layer_of(refuse, b"\1", b"\0"))
    assert walked.malformed == [0]
    assert [len(items) for items in walked.items] == [1, 1]


def test_a_walk_that_never_ends_ends() -> None:
    def forever(walk: Walk) -> None:
        while True:
            walk.add(BODY, "", 0, 0)

    walked = walk_layer(layer_of(forever, b"x"))
    assert (walked.malformed, len(walked.items[0])) == ([0], MAX_ITEMS)


def test_bits_and_byte_order_are_the_fields() -> None:
    found: list[object] = []

    def read(walk: Walk) -> None:
        found.extend([walk.add_uint(FLAG, 0), walk.add_uint(LESS, 2), walk.u32(0), walk.little(2, 2), walk.u16(0)])

    walked = walk_layer(layer_of(read, b"\x80\0\xfe\xff"))
    assert found == [1, -2, 0x8000FEFF, 0xFFFE, 0x8000]
    assert [item.value for item in walked.items[0]] == [True, -2]


@pytest.mark.parametrize("at", [-1, 4, 1 << 70])
def test_no_offset_reads_outside(at: int) -> None:
    for read in (Walk.u8, Walk.u16, Walk.u32):
        walked = walk_layer(layer_of(lambda walk, read=read: read(walk, at), b"abcd"))  # type: ignore[misc]
        assert walked.malformed == [0]


def test_levels_of_the_tree() -> None:
    def nested(walk: Walk) -> None:
        with walk.subtree("List", 0, 2):
            walk.add(BODY, "a", 0, 1)
            with walk.subtree():
                walk.add(BODY, "b", 1, 1)
        walk.add(BODY, "c", 2, 1)

    items = walk_layer(layer_of(nested, b"abc")).items[0]
    assert [(item.level, item.text or item.value) for item in items] == [(0, "List"), (1, "a"), (2, "b"), (0, "c")]


def test_what_is_handed_on_is_grouped_by_key() -> None:
    def hand(walk: Walk) -> None:
        walk.hand_on("table", walk.data[0], 1, walk.size - 1)
        walk.hand_on_bytes("table", 9, walk.data[:1] * 2)

    layer = layer_of(hand, b"\1ab", b"\2c", b"\1def")
    nexts = walk_layer(layer).nexts
    assert sorted((one.keys[0], one.index.tolist()) for one in nexts) == [(1, [0, 2]), (2, [1]), (9, [0, 1, 2])]
    for one in nexts:
        data = layer.data if one.data is None else one.data
        bodies = [data[a:b].tobytes() for a, b in zip(one.start, one.wire_end, strict=True)]
        assert bodies == {1: [b"ab", b"def"], 2: [b"c"], 9: [b"\1\1", b"\2\2", b"\1\1"]}[one.keys[0]]  # type: ignore[index]
