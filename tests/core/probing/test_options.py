"""What probes are asked to be: their keywords, their usual sizes and ports, and what cannot be."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from echowire.core.probing.options import Probing, ProbingOptions
from echowire.core.probing.path_options import PathOptions, PathProbing
from echowire.errors import UsageError


@pytest.mark.parametrize(("value", "options"), [(Probing, ProbingOptions), (PathProbing, PathOptions)])
def test_every_field_is_a_keyword_of_the_same_type(value: Any, options: type) -> None:
    assert get_type_hints(options) == {field.name: get_type_hints(value)[field.name] for field in fields(value)}


@pytest.mark.parametrize(
    ("asked", "data_bytes", "port"),
    [
        (Probing(), 56, 0),
        (Probing(probe="udp"), 56, 7),
        (Probing(probe="tcp"), 0, 443),
        (Probing(probe="stamp"), 0, 862),
        (Probing(probe="udp", size=16, port=9), 16, 9),
        (PathProbing(), 56, 0),
        (PathProbing(probe="udp"), 56, 33434),
        (PathProbing(probe="tcp", port=80), 0, 80),
    ],
)
def test_the_usual_size_and_port(asked: Probing | PathProbing, data_bytes: int, port: int) -> None:
    assert (asked.data_bytes, asked.to_port) == (data_bytes, port)


def test_stamp_begins_with_a_time_to_live_that_is_known() -> None:
    assert [Probing(probe="stamp").first_ttl, Probing(probe="stamp", ttl=9).first_ttl, Probing().first_ttl] == [
        255, 9, None,
    ]  # fmt: skip


@pytest.mark.parametrize("value", [Probing, PathProbing])
def test_what_was_asked_for_is_a_document_with_all_of_it(value: Any) -> None:
    document = value(family=6, source="::1", tos=8, fragments="do").document()
    assert json.loads(json.dumps(document)) == document
    assert document.keys() == {field.name for field in fields(value)}
    assert (document["family"], document["source"], document["tos"], document["fragments"]) == (6, "::1", 8, "do")
    assert value().document()["source"] is None


def test_a_pattern_is_bytes_also_of_an_odd_digit() -> None:
    assert Probing(pattern="ff00").pattern_bytes == b"\xff\0"
    assert Probing(pattern="7").pattern_bytes == b"\x07"
    assert Probing().pattern_bytes == b""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"probe": "smoke"}, "no probe 'smoke'"),
        ({"count": 0}, "above 0"),
        ({"wait_s": 0.0}, "above 0"),
        ({"rate": 0.0}, "above 0"),
        ({"interval_s": -1.0}, "the interval not below"),
        ({"size": 65_508}, "room for 0 to 65,507"),
        ({"probe": "udp", "size": 15}, "16 bytes"),
        ({"probe": "tcp", "size": 1}, "carries no data"),
        ({"ttl": 0}, "1 to 255"),
        ({"tos": 256}, "0 to 255"),
        ({"port": 1}, "ICMP has no ports"),
        ({"probe": "udp", "port": 0}, "1 to 65535"),
        ({"pace": "brisk"}, "no pace 'brisk'"),
        ({"preload": 0}, "1 to 65,536"),
        ({"pattern": "xy"}, "in hexadecimal"),
        ({"pattern": "ff" * 17}, "at most 16 bytes, not 17"),
        ({"pattern": "ff", "probe": "tcp"}, "ICMP and UDP"),
        ({"mark": -1}, "a mark is 0 to"),
    ],
)
def test_what_cannot_be_is_not_made(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Probing(**how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"probe": "stamp"}, "found by icmp, udp, tcp"),
        ({"flows": 17}, "flows 1 to 16"),
        ({"first_hop": 5, "max_hops": 4}, "hops are 1 to 64"),
        ({"size": 17}, "18 bytes"),
        ({"count": 0}, "above 0"),
        ({"tos": -1}, "0 to 255"),
        ({"probe": "tcp", "port": 70000}, "1 to 65535"),
    ],
)
def test_a_path_that_cannot_be_looked_for_is_not_made(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PathProbing(**how)
