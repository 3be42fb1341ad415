"""Records told as tables of parts."""

from __future__ import annotations

import numpy as np
import pytest

from echowire.core.captures.records import Records
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Memory, Protocol
from echowire.core.packets.layout import (
    Part,
    counted_text,
    fields_of,
    ipv4,
    many,
    octets,
    read_parts,
    seconds_text,
    string,
    u8,
    u16,
)
from echowire.core.packets.walk import Walk, walk_layer

LIST = (
    u16("t.flags", "Flags", bits=(Field("t.flags.high", "High", Type.BOOLEAN, size=2, mask=0x8000),)),
    counted_text("t.size", "Size", "t.name", "Name"),
    many(u8("t.kind", "Kind"), ipv4("t.host", "Host")),
)


def walked(parts: tuple[Part, ...], data: bytes, end: int | None = None) -> tuple[list[tuple[str, object]], bool]:
    """What parts find in `data`, and whether it is as they say."""

    def walk(one: Walk) -> None:
        read_parts(one, parts, 0, len(data) if end is None else end)

    records = Records.of([data], [0])
    protocol = Protocol("t", "Test", walk=walk)
    layer = Layer(protocol, records, Memory(), np.zeros(1, np.int64), records.start, records.start + records.cap_len)
    found = walk_layer(layer)
    return [(item.field.name, item.value) for item in found.items[0] if item.field], not found.malformed


def test_parts_one_after_another() -> None:
    assert walked(LIST, b"\x80\1\2ab\7\1\2\3\4\x09\0\0\0\1") == (
        [
            ("t.flags", 0x8001),
            ("t.flags.high", True),
            ("t.size", 2),
            ("t.name", "ab"),
            ("t.kind", 7),
            ("t.host", 0x01020304),
            ("t.kind", 9),
            ("t.host", 1),
        ],
        True,
    )


@pytest.mark.parametrize(
    ("data", "count", "well"),
    [(b"", 0, True), (b"\0", 0, False), (b"\0\0", 2, True), (b"\0\0\5a", 3, False), (b"\0\0\0\7\1\2", 5, False)],
)
def test_what_does_not_fit_ends_the_walk(data: bytes, count: int, well: bool) -> None:
    found, is_well = walked(LIST, data)
    assert (len(found), is_well) == (count, well)


def test_the_rest_ends_where_its_record_does() -> None:
    assert walked((string("t.text", "Text"),), b"ab\0cd", 4)[0] == [("t.text", "ab")]
    assert walked((octets("t.raw", "Raw"),), b"ab\0cd", 4)[0] == [("t.raw", b"ab\0c")]


def test_the_fields_of_a_table_are_known_without_reading() -> None:
    assert [one.name for one in fields_of(LIST)] == ["t.flags", "t.flags.high", "t.size", "t.name", "t.kind", "t.host"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (270, "4 minutes, 30 seconds"),
        (86400, "1 day"),
        (90061, "1 day, 1 hour, 1 minute, 1 second"),
    ],
)
def test_spans(seconds: int, text: str) -> None:
    assert seconds_text(seconds) == text
