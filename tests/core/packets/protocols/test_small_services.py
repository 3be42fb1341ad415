"""Echo, discard, chargen, daytime and time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.packets.packets import answer, assert_as_tshark, assert_bounded, datagram, dissect, segment

PORTS = {"echo": 7, "daytime": 13, "chargen": 19, "time": 37}


def test_an_echo_comes_back() -> None:
    packets = [datagram(b"hello", 7), answer(b"hello", 7), segment(b"hello", 7)]
    found = dissect(packets, ["echo.data", "echo.request", "echo.response", "_ws.col.Info"])
    assert found["echo.data"] == [[b"hello".hex()]] * 3
    assert found["echo.request"] == [["1"], [], ["1"]]
    assert found["echo.response"] == [[], ["1"], []]
    assert found["_ws.col.Info"][:2] == [["Request"], ["Response"]]


def test_what_wakes_a_host_is_not_discarded() -> None:
    found = dissect([datagram(b"gone", 9), datagram(b"\xff" * 6 + bytes(96), 9)], ["discard.data"])
    assert found["discard.data"] == [[b"gone".hex()], []]


@pytest.mark.parametrize("name", PORTS)
def test_services_are_as_tshark_has_them(tmp_path: Path, name: str) -> None:
    packets = [datagram(b"12345678", PORTS[name]), answer(b"Mon Jan 1\r\n", PORTS[name])]
    # tshark has the word "Data" for chargen's text.
    assert_as_tshark(tmp_path, packets, name, but={"chargen.data", "daytime.response_request", "time.response"})


def test_cut_and_damaged_messages_are_read() -> None:
    assert_bounded(*(answer(b"\xe0\0\0\0text", port) for port in (*PORTS.values(), 9)))
