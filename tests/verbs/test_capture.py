"""`echowire.capture`: a table that grows, stops at its limits, and is asked as a file is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import get_type_hints

import pytest

import echowire
from echowire.verbs.live_capture import Capturing, CapturingOptions
from tests.peers import needs_root

pytestmark = needs_root
PATIENCE_S = 20.0


@contextmanager
def pair() -> Iterator[tuple[socket.socket, int]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
    ):
        sink.bind(("127.0.0.1", 0))
        out.connect(sink.getsockname())
        yield out, sink.getsockname()[1]


def lengths(packets: echowire.LivePackets, display_filter: str = "udp") -> list[int]:
    with packets.filter(display_filter).chunks("udp.length") as reading:
        return [int(size) for chunk in reading for size in chunk.values("udp.length").values]


def test_the_table_grows_and_every_packet_of_the_block_is_there_after_it() -> None:
    with pair() as (out, port), echowire.capture("lo", filter=f"udp port {port}") as packets:
        out.send(b"12")
        assert packets.wait(1, PATIENCE_S)
        assert lengths(packets) == [10]
        for size in range(3, 50):
            out.send(bytes(size))
        packets.stop()
        assert len(packets) == 48
        assert lengths(packets) == [10, *range(11, 58)]
        assert lengths(packets, "udp.length == 20") == [20]
        assert b"".join(packets.lines("udp.length")).startswith(b"10\n11\n")
        assert packets.counters.dropped == 0
    packets.close()
    packets.close()


def test_it_stops_at_its_limit() -> None:
    with pair() as (out, port), echowire.capture("lo", filter=f"udp port {port}", count=3) as packets:
        for _ in range(10):
            out.send(b"x")
        assert not packets.wait(4, PATIENCE_S)
        assert len(packets) == 3
    packets.close()


def test_waiting_has_an_end() -> None:
    with pair() as (_, port), echowire.capture("lo", filter=f"udp port {port}") as packets:
        assert not packets.wait(1, 0.01)
        assert packets  # though it is empty
    packets.close()


def test_what_cannot_be_captured() -> None:
    with pytest.raises(echowire.UsageError, match="capture filter"):
        echowire.capture("lo", filter="port port")
    with pytest.raises(echowire.OperationError, match="no such device"):
        echowire.capture("nope0")
    with pytest.raises(echowire.UsageError, match="name an interface"):
        echowire.capture()


def test_every_field_of_a_capture_is_a_keyword_of_the_same_type() -> None:
    names = {field.name: get_type_hints(Capturing)[field.name] for field in fields(Capturing)}
    assert get_type_hints(CapturingOptions) == names
