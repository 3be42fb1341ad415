"""Tables in a narrow terminal: which columns go, what is shortened, and that no figure is."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest

from echowire.cli.columns import WORDS_LEAST, fitted
from echowire.cli.ping_rows import COLUMNS, LEAVING, WORDS, answers_said

ROW = ("10.0.0.1", "100", "99", "1%", "10.5 µs", "11.5 µs", "12.5 µs", "13.5 µs", "1.50 µs", "filtered by 10.0.0.254 3")


def at(width: int | None) -> list[list[str]]:
    return fitted([COLUMNS, ROW], width, LEAVING, WORDS)


def test_what_has_no_end_has_all_columns() -> None:
    assert at(None) == [list(COLUMNS), list(ROW)]
    assert at(200) == [list(COLUMNS), list(ROW)]


@pytest.mark.parametrize("width", range(30, 140))
def test_no_line_is_longer_and_no_figure_is_cut(width: int) -> None:
    names, cells = at(width)
    assert sum(max(map(len, pair)) + 2 for pair in zip(names, cells, strict=True)) <= width
    whole = dict(zip(COLUMNS, ROW, strict=True))
    assert all(cell == whole[name] for name, cell in zip(names, cells, strict=True) if name not in WORDS)
    assert {"Target", "Sent", "Recv", "Loss"} <= set(names)


def test_they_go_in_order() -> None:
    gone = [set(COLUMNS) - set(at(width)[0]) for width in range(140, 29, -1)]
    order = [name for name in LEAVING if name in COLUMNS]
    assert all(left == set(order[: len(left)]) for left in gone)
    assert gone[-1] == set(order)


def test_words_are_shortened_before_figures_go() -> None:
    _, cells = at(95)
    assert cells[-1].endswith("…") and len(cells[-1]) >= WORDS_LEAST


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({("reply", "", "10.0.0.1"): 9}, "reply"),
        ({("no reply", "", ""): 25, ("filtered", "", "10.0.0.9"): 3}, "filtered by 10.0.0.9 3, no reply 25"),
        (
            {("no reply", "", ""): 1, ("reply", "", "10.0.0.1"): 2000, ("reply", "", "10.0.0.2"): 1},
            "reply 2,001, no reply 1",
        ),
        (
            {("unreachable", "host", "10.0.0.9"): 1, ("no route", "ENETUNREACH", "local"): 2},
            "no route (ENETUNREACH) 2, unreachable (host) by 10.0.0.9 1",
        ),
    ],
)
def test_the_most_telling_answer_comes_first(answers: dict[tuple[str, str, str], int], said: str) -> None:
    assert answers_said(SimpleNamespace(answers=Counter(answers), mtu=None)) == said
