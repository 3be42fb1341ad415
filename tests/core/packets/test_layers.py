"""Fields picked from a layer: by offset, by bits, by code, where the bytes are there and where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from echowire.core.captures.records import Records
from echowire.core.packets.cells import date_text
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Memory, Next, Picked, Protocol
from echowire.core.views.tree import Trees, bit_pattern, hex_dump, line, value_text

PACKETS = (bytes.fromhex("45 80fe 0a000001 ff"), bytes.fromhex("46 7f00 0a0000"), b"")

KIND = Field("t.kind", "Kind", Type.UINT8, 0, mask=0xF0, names={4: "Four"})
WORDS = Field("t.words", "Words", Type.UINT8, 0, mask=0x0F, scale=4)
FLAGS = Field("t.flags", "Flags", Type.UINT16, 1, mask=0x0FFF, base="hex")
LOW = Field("t.flags.low", "Low", Type.BOOLEAN, 1, 2, mask=0x0002, under="t.flags")
SIGNED = Field("t.signed", "Signed", Type.INT16, 1)
BITS = Field("t.bits", "Bits", Type.INT8, 1, mask=0xC0)
FROM = Field("t.from", "From", Type.IPV4, 3)
LAST = Field("t.last", "Last", Type.BYTES, 7, 1, when=lambda layer: layer.uint(0, 1) == 0x45)
LEN = Field("t.len", "Len", Type.UINT32, make=lambda layer: layer.wire_end - layer.start, generated=True)
ODD = Field("t.odd", "Odd", Type.UINT8, make=lambda layer: Picked(layer.every[1:], layer.uint(0, 1)[1:]), hidden=True)
SOME = Field("t.some", "Some", Type.UINT8, 0, when=lambda layer: layer.uint(0, 1) == 0x46)

FIELDS = (KIND, WORDS, FLAGS, LOW, SIGNED, BITS, FROM, LAST, LEN, ODD, SOME)
TEST = Protocol(
    "t", "Test", fields=FIELDS, size=7, label=lambda layer: [f", {n} long" for n in layer.end - layer.start]
)


def layer_of(*packets: bytes) -> Layer:
    records = Records.of(packets, [0] * len(packets))
    return Layer(TEST, records, Memory(), np.arange(len(packets)), records.start, records.start + records.cap_len)


@pytest.mark.parametrize(
    ("field", "index", "values"),
    [
        (KIND, [0, 1], [4, 4]),
        (WORDS, [0, 1], [20, 24]),
        (FLAGS, [0, 1], [0x0FE, 0xF00]),
        (LOW, [0, 1], [True, False]),
        (SIGNED, [0, 1], [-32514, 32512]),
        (BITS, [0, 1], [-2, 1]),
        (FROM, [0], [0x0A000001]),
        (LAST, [0], [b"\xff"]),
        (LEN, [0, 1, 2], [8, 6, 0]),
        (ODD, [1, 2], [0x46, 0]),
        (SOME, [1], [0x46]),
    ],
)
def test_a_field_is_picked_where_its_bytes_are(field: Field, index: list[int], values: list[object]) -> None:
    picked = layer_of(*PACKETS).pick(field)
    assert (picked.index.tolist(), picked.values.tolist()) == (index, values)


@pytest.mark.parametrize("field", FIELDS)
def test_a_layer_of_nothing_has_nothing(field: Field) -> None:
    assert len(layer_of().pick(field).index) == 0


def test_a_lying_offset_stays_within_the_data() -> None:
    layer = layer_of(*PACKETS)
    assert len(layer.uint(np.array([1 << 40, 0, 5]), 4)) == 3


def test_what_lies_within_knows_where_it_lies() -> None:
    outer = layer_of(*PACKETS)
    which = np.array([0, 1])
    found = Next("table", (1,), which, outer.start[which] + 3, outer.wire_end[which] + 9)
    inner = outer.child(TEST, found, np.array([1]))
    innermost = inner.child(TEST, Next("table", (1,), inner.every, inner.start + 1, inner.wire_end), inner.every)
    assert inner.rows.tolist() == [1]
    assert inner.payload(0) == PACKETS[1][3:]  # as much as was captured, whatever the outer layer claims
    assert (inner.wire_end - inner.start).tolist() == [12]
    assert list(outer.chunk) == [outer]  # of its own, as long as no dissector keeps it
    found_outer = innermost.outer("t")
    assert found_outer is not None and found_outer[0] is inner


def test_what_is_derived_has_its_own_bytes() -> None:
    outer = layer_of(*PACKETS)
    data = np.frombuffer(b"derived" + bytes(256), np.uint8)
    found = Next("table", (1,), np.array([2]), np.array([0]), np.array([7]), data=data)
    assert outer.child(TEST, found, np.array([0])).payload(0) == b"derived"


def test_the_tree_of_a_packet() -> None:
    trees = Trees([layer_of(*PACKETS)])
    (top,) = trees.of(0)
    assert [("  " * level + node.text, node.at, node.size) for level, node in top.walk()] == [
        ("Test, 8 long", 0, 7),
        ("  0100 .... = Kind: Four (4)", 0, 1),
        ("  .... 0101 = Words: 20", 0, 1),
        ("  .... 0000 1111 1110 = Flags: 0x0fe", 1, 2),
        ("    .... .... ..1. = Low: Set", 1, 2),
        ("  Signed: -32514", 1, 2),
        ("  10.. .... = Bits: -2", 1, 1),
        ("  From: 10.0.0.1", 3, 4),
        ("  Last: ff", 7, 1),
        ("  [Len: 8]", None, 0),
    ]
    assert [node.text for node in trees.of(2)] == ["Test, 0 long"]


def test_parts_stand_under_their_field() -> None:
    outer = layer_of(*PACKETS)
    part = Protocol("t.part", "Part", is_part=True, under="t.flags")
    inner = outer.child(
        part, Next("p", (1,), outer.every[:1], outer.start[:1] + 5, outer.wire_end[:1]), outer.every[:1]
    )
    (top,) = Trees([outer, inner]).of(0)
    flags = next(node for _, node in top.walk() if node.field is FLAGS)
    assert [node.text for node in flags.children] == [".... .... ..1. = Low: Set", "Part"]


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (Field("a", "A", Type.UINT16, 0, base="hex", names={0x800: "IPv4"}), 0x800, "A: IPv4 (0x0800)"),
        (Field("a", "A", Type.UINT8, 0, names={1: "One"}), 2, "A: Unknown (2)"),
        (Field("a", "A", Type.UINT16, 0, base="dec_hex"), 258, "A: 258 (0x0102)"),
        (Field("a", "A", Type.UINT16, 0, base="hex_dec"), 258, "A: 0x0102 (258)"),
        (Field("a", "A", Type.BOOLEAN, 0), 1, "A: True"),
        (Field("a", "A", Type.BOOLEAN, 0, names={0: "No"}), 0, "A: No"),
        (Field("a", "A", Type.RELATIVE_TIME), -1_500_000_000, "A: -1.500000000 seconds"),
        (Field("a", "A", Type.ABSOLUTE_TIME, base="epoch"), 1, "A: 0.000000001 seconds"),
        (Field("a", "A", Type.STRING), "x" * 300, "A: " + "x" * 240 + "…"),
        (Field("a", "A", Type.STRING), "a\x1b[31m", "A: a\\x1b[31m"),
        (Field("a", "A", Type.IPV6), bytes(15) + b"\1", "A: ::1"),
        (Field("a", "A", Type.NONE), 1, "A"),
    ],
)
def test_a_line(field: Field, value: object, text: str) -> None:
    assert line(field, value) == text


def test_bits_of_a_scaled_field_are_those_that_stand_there() -> None:
    assert bit_pattern(WORDS, 20) == ".... 0101"
    assert value_text(WORDS, 20) == "20"


def test_a_date() -> None:
    assert date_text(1413056123956615000) == "Oct 11, 2014 19:35:23.956615000 UTC"
    assert date_text(-1) == "Dec 31, 1969 23:59:59.999999999 UTC"


def test_bytes_in_hexadecimal() -> None:
    assert list(hex_dump(bytes(range(60, 77)) + b"\0")) == [
        "0000  3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK",
        "0010  4c 00                                            L.",
    ]
    assert list(hex_dump(b"")) == []
