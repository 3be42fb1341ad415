"""The packet list: who says what a line shows, and how its times are written."""

from __future__ import annotations

from datetime import timedelta, timezone

import numpy as np
import pytest

from echowire.core.captures.records import Interface, Records
from echowire.core.captures.ticks import NO_TIME
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Layers, Memory, Next, Protocol
from echowire.core.packets.packet_list import Clock, TimeForm, digits_of, packet_list
from echowire.core.packets.registry import registry
from echowire.core.views.details import details_of

S = 1_000_000_000
T0 = 1_413_056_123 * S

ADDRESSES = (Field("n.src", "From", Type.UINT8, 0), Field("n.dst", "To", Type.UINT8, 1))
NETWORK = Protocol("n", "Net", "NET", ADDRESSES, addresses=("n.src", "n.dst"), info=lambda layer: ["net"] * len(layer))
UPPER = Protocol(
    "u",
    "Upper",
    lambda layer: ["UP" if size else None for size in layer.end - layer.start],
    info=lambda layer: ["upper\t" if size else None for size in layer.end - layer.start],
)
ERROR = Protocol("e", "Error", "ERR", is_quoting=True)


def stacked(*protocols: Protocol, packets: tuple[bytes, ...] = (b"\1\2\3\4\5", b"\7\x08")) -> Layers:
    """A frame layer of these packets with other layers in it, each two bytes further in."""
    records = Records.of(packets, [T0] * len(packets))
    rows = np.arange(len(packets), dtype=np.int64)
    frame = registry().protocols["frame"]
    layers = Layers()
    layers.append(Layer(frame, records, Memory(), rows, records.start, records.start + records.cap_len, chunk=layers))
    for depth, protocol in enumerate(protocols):
        outer = layers[-1]
        start = np.minimum(records.start + 2 * depth, outer.end)
        layers.append(outer.child(protocol, Next("t", (1,), outer.every, start, outer.wire_end), outer.every))
    return layers


def test_the_innermost_that_has_something_to_say_is_shown() -> None:
    lines = packet_list(stacked(NETWORK, UPPER))
    assert lines.source.tolist() == ["1", "7"]
    assert lines.destination.tolist() == ["2", "8"]
    assert lines.protocol.tolist() == ["UP", "NET"]
    assert lines.info.tolist() == ["upper\\t", "net"]
    assert lines.texts(["0.0", "0.1"]) == [
        "    1 0.0            1 → 2            UP 5 upper\\t",
        "    2 0.1            7 → 8            NET 2 net",
    ]
    assert len(lines.texts(["0.1"], np.array([1]))) == 1


def test_what_an_error_quotes_changes_nothing() -> None:
    lines = packet_list(stacked(NETWORK, ERROR, NETWORK))
    assert lines.source.tolist() == ["1", "7"]
    assert lines.protocol.tolist() == ["ERR", "ERR"]


def test_the_columns_are_fields() -> None:
    layers = stacked(NETWORK)
    for name in ("_ws.col.info", "_ws.col.Info"):
        ((_, field),) = registry().fields[name]
        assert layers[0].pick(field).values.tolist() == ["net", "net"]


def test_a_packet_in_full() -> None:
    first, second = details_of(stacked(NETWORK, UPPER), [0, 1])
    assert (first.number, first.summary, first.data) == (1, "1 → 2 UP 5 upper\\t", b"\1\2\3\4\5")
    assert (first["n.src"], second["n.dst"], "n.dst" in first, "n.no" in first) == (1, 8, True, False)
    with pytest.raises(KeyError):
        first["n.no"]
    lines = list(first.tree_lines(ranges=True))
    assert f"{'    To: 2':<72}  1" in lines
    assert f"{'Net':<72}  0-4" in lines
    assert str(second).splitlines()[-1] == "Upper"
    assert next(first.hex_lines()).startswith("0000  01 02 03 04 05 ")
    html = first._repr_html_()
    assert "<summary><code>Net</code></summary>" in html


def chunk(*times: int, resolution: int = 6) -> Records:
    return Records.of([b""] * len(times), times, interfaces=[Interface(resolution=resolution)])


@pytest.mark.parametrize(
    ("form", "first", "second"),
    [
        ("r", ["  0.000000", "  1.500000", "  3.000000"], [" -1.000000"]),
        ("d", ["  0.000000", "  1.500000", "  1.500000"], [" -4.000000"]),
        ("e", ["1413056123.000000", "1413056124.500000", "1413056126.000000"], ["1413056122.000000"]),
        ("u", ["19:35:23.000000", "19:35:24.500000", "19:35:26.000000"], ["19:35:22.000000"]),
        ("a", ["21:35:23.000000", "21:35:24.500000", "21:35:26.000000"], ["21:35:22.000000"]),
    ],
)
def test_times_go_on_from_chunk_to_chunk(form: TimeForm, first: list[str], second: list[str]) -> None:
    clock = Clock(form, timezone(timedelta(hours=2)))
    times = chunk(T0, T0 + 3 * S // 2, T0 + 3 * S)
    assert clock.texts(times, np.arange(3)) == first
    assert clock.texts(chunk(T0 - S), np.arange(1)) == second


def test_a_time_since_the_one_shown_before() -> None:
    clock = Clock("dd")
    times = chunk(T0, T0 + S, T0 + 4 * S)
    assert clock.texts(times, np.array([0, 2])) == ["  0.000000", "  4.000000"]
    assert clock.texts(chunk(T0 + 5 * S), np.array([0])) == ["  1.000000"]
    assert clock.texts(chunk(), np.zeros(0, np.int64)) == []


def test_dates() -> None:
    assert Clock("ud").texts(chunk(T0), np.arange(1)) == ["2014-10-11 19:35:23.000000"]
    assert Clock("ud").texts(chunk(-1, resolution=9), np.arange(1)) == ["1969-12-31 23:59:59.999999999"]


@pytest.mark.parametrize(("resolution", "digits"), [(6, 6), (9, 9), (3, 3), (0, 0), (7, 9), (0x8A, 6)])
def test_as_many_digits_as_the_file_has(resolution: int, digits: int) -> None:
    assert digits_of(chunk(T0, resolution=resolution)) == digits


def test_no_time_is_shown_as_none() -> None:
    assert Clock().texts(chunk(NO_TIME, T0, T0 + S), np.arange(3)) == [" " * 10, "  0.000000", "  1.000000"]


def test_a_file_without_packets() -> None:
    assert packet_list(stacked(packets=())).texts([]) == []
