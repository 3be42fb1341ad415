"""What a load is asked to be: its keywords, what it is at an endpoint, and what cannot be."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any, get_type_hints

import pytest

from echowire.core.load.options import DEFAULT_DATAGRAM_BYTES, Load, LoadOptions
from echowire.core.load.payloads import HEADER
from echowire.errors import UsageError
from echowire.model import Endpoint

TCP, UDP = Endpoint.parse("tcp://127.0.0.1:1"), Endpoint.parse("udp://127.0.0.1:1")


def test_every_field_is_a_keyword_of_the_same_type() -> None:
    assert get_type_hints(LoadOptions) == {field.name: get_type_hints(Load)[field.name] for field in fields(Load)}


def test_a_load_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Load().seconds = 3.0  # type: ignore[misc]
    assert replace(Load(connections=5), size=100) == Load(connections=5, size=100)


@pytest.mark.parametrize(
    ("how", "endpoint", "sizes"),
    [
        ({}, TCP, (64, 64)),
        ({}, UDP, (64, 64)),
        ({"size": (20, 30)}, UDP, (20, 30)),
        ({"direction": "send"}, TCP, (128 * 1024, 128 * 1024)),
        ({"direction": "both"}, UDP, (DEFAULT_DATAGRAM_BYTES, DEFAULT_DATAGRAM_BYTES)),
        ({"direction": "receive"}, UDP, (HEADER.size, HEADER.size)),
        ({"direction": "receive", "size": 100}, UDP, (100, 100)),
    ],
)
def test_the_usual_size_is_that_of_the_direction(
    how: dict[str, Any], endpoint: Endpoint, sizes: tuple[int, int]
) -> None:
    assert Load(**how).at(endpoint).sizes == sizes


def test_it_ends_after_the_usual_time_unless_something_else_ends_it() -> None:
    assert (Load().at(TCP).seconds, Load(count=3).at(TCP).seconds, Load(seconds=2.0).at(TCP).seconds) == (10, None, 2)


def test_what_was_asked_for_is_a_document() -> None:
    document = Load(size=(20, 30), dscp="ef", seconds=3.0).at(UDP).document()
    assert json.loads(json.dumps(document)) == document
    assert (document["least_size"], document["most_size"], document["seconds"]) == (20, 30, 3.0)
    assert document.keys() == ({field.name for field in fields(Load)} - {"size"}) | {"least_size", "most_size"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"size": 1 << 31}, "at most 1073741824 bytes"),
        ({"wait_s": 0.0}, "wait for it"),
        ({"interval_s": 0.0}, "more than 0 seconds"),
        ({"omit_s": -1.0}, "more than 0 seconds"),
        ({"workers": 0}, "0 workers"),
        ({"connections": 0}, "at least one connection"),
        ({"direction": "send", "pipeline": 2}, "for messages with their echoes"),
    ],
)
def test_what_cannot_be_is_not_made(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Load(**how)


def test_what_the_endpoint_cannot() -> None:
    flowing = Load(direction="both", rate=5.0)
    assert flowing.at(UDP).rate == 5.0
    with pytest.raises(UsageError, match="give bits a second"):
        flowing.at(TCP)
    asking = Load(direction="receive", bits_per_s=1e6)
    assert asking.at(TCP).bits_per_s == 1e6
    with pytest.raises(UsageError, match="asks a second"):
        asking.at(UDP)
