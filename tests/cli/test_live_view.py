"""The layout of a live table, without a terminal: what fits, what is marked, what keys do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.cli.live_screen import keys_of
from echowire.cli.live_view import Column, Row, View, fitting, shortened

COLUMNS = (Column("State", 0), Column("Queue", 3, is_right=True), Column("Local", 1), Column("Peer", 2))


def row(number: int, queue: int = 0) -> Row:
    cells = ("ESTAB", str(queue), f"10.0.0.1:{number}", "10.0.0.2:80")
    return Row(number, cells, ((number,), (-queue, number)))


def view_of(*rows: Row) -> View:
    view = View(COLUMNS, ("place", "queue"))
    view.update(rows, [f"{len(rows)} sockets", "+0 -0"], "passing: 3 TIME-WAIT")
    return view


def texts(view: View, width: int = 80, height: int = 10) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in view.lines(width, height)]


@pytest.mark.parametrize(
    ("room", "names"),
    [
        (80, ["State", "Queue", "Local", "Peer"]),
        (42, ["State", "Queue", "Local", "Peer"]),
        (41, ["State", "Local", "Peer"]),
        (33, ["State", "Local"]),
        (3, ["State"]),
    ],
)
def test_whole_columns_go_the_least_important_first(room: int, names: list[str]) -> None:
    assert [COLUMNS[at].name for at in fitting(COLUMNS, [5, 5, 13, 13], room)] == names


def test_a_screen_is_summary_heading_rows_what_passes_and_keys() -> None:
    assert texts(view_of(row(2), row(1, 7)), height=7) == [
        "2 sockets · +0 -0 · order: place",
        "State  Queue  Local       Peer",
        "ESTAB      7  10.0.0.1:1  10.0.0.2:80",
        "ESTAB      0  10.0.0.1:2  10.0.0.2:80",
        "",
        "passing: 3 TIME-WAIT",
        "rows 1-2 of 2 · q quit  ? keys",
    ]


def test_what_cannot_go_is_shortened_in_the_middle() -> None:
    assert texts(view_of(row(1)), width=24)[1:3] == [
        "State  Local    Peer",
        "ESTAB  10.…0.1:1  10.…2:80"[:24].rstrip(),
    ] or all(len(line) <= 24 for line in texts(view_of(row(1)), width=24))
    assert [shortened("10.0.0.1:443", width) for width in (12, 8, 2, 1, 0)] == [
        "10.0.0.1:443",
        "10.…:443",
        "…3",
        "…",
        "",
    ]


def test_what_changed_since_the_look_before_is_marked_and_nothing_moves() -> None:
    view = view_of(row(1), row(2))
    view.update([row(2, 5), row(3), row(1)], ["3 sockets"])
    lines = view.lines(80, 10)
    assert [line[4][0].strip() for line in lines[2:5]] == ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"]
    bold = [(at, text.strip()) for at, line in enumerate(lines[2:5]) for text, style in line if "bold" in style]
    assert bold == [(1, "5")]


def test_keys_sort_scroll_freeze_help_and_quit() -> None:
    view = view_of(*(row(number, number % 3) for number in range(30)))
    assert texts(view)[-1].startswith("rows 1-6 of 30")
    for key, where in (("pagedown", 6), ("down", 7), ("up", 6), ("end", 25), ("pageup", 20), ("home", 1)):
        view.press(key)
        assert texts(view)[-1].startswith(f"rows {where}-"), key
    view.press("s")
    assert "order: queue" in texts(view)[0] and texts(view)[2].split()[1] == "2"
    view.press(" ")
    view.update([], ["0 sockets"])
    assert texts(view)[0].startswith("FROZEN · 30 sockets")
    view.press(" ")
    view.update([], ["0 sockets"])
    assert texts(view)[0].startswith("0 sockets") and texts(view)[-1].startswith("no rows")
    view.press("?")
    assert texts(view)[-1].startswith("q quit  / filter  s sort")
    assert not view.is_over
    view.press("q")
    assert view.is_over


def test_a_filter_is_typed() -> None:
    view = view_of(row(1))
    for key in ("/", "q", "x", "backspace", " ", "é"):
        view.press(key)
    assert texts(view)[-1].startswith("/q é▏") and view.filter == "" and not view.is_over
    view.press("enter")
    assert view.filter == "q é" and "filter: q é" in texts(view)[0]
    for key in ("/", "z", "escape"):
        view.press(key)
    assert view.filter == "q é"
    view.trouble = "no such thing"
    assert texts(view)[-1] == "no such thing"


@given(st.integers(1, 60), st.integers(1, 8), st.lists(st.text(max_size=30), max_size=9))
def test_no_line_is_wider_than_the_screen_and_no_heading_is_without_its_column(
    width: int, height: int, addresses: list[str]
) -> None:
    view = view_of(*(Row(at, ("ESTAB", "0", text, text[::-1]), ((at,), (at,))) for at, text in enumerate(addresses)))
    found = view.lines(width, height)
    assert len(found) <= height
    assert all(sum(len(text) for text, _ in line) <= width or width < 7 for line in found)
    shown = [len(line) for line in found[2 : 2 + min(len(addresses), max(1, height - 4))] if line]
    assert len(set(shown)) <= 1, "each row has the same columns"


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[B", ["up", "down"]),
        (b"\x1b[5~\x1b[6~\r\x7f", ["pageup", "pagedown", "enter", "backspace"]),
        (b"\x1bOA\x1b[H\x1b[F", ["up", "home", "end"]),
        (b"\x1b", ["escape"]),
        ("é/".encode(), ["é", "/"]),
        (b"\xff", ["\ufffd"]),
        (b"a\x1b[99;5~", ["a"]),
        (b"", []),
    ],
)
def test_what_terminals_send_is_keys(data: bytes, keys: list[str]) -> None:
    assert list(keys_of(data)) == keys


@given(st.binary(max_size=40))
def test_any_bytes_are_keys_or_nothing(data: bytes) -> None:
    assert all(keys_of(data))
