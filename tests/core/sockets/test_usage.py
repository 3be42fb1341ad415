"""Bytes by group between two looks: each counted once, whenever a socket's end is told."""

from __future__ import annotations

import pytest

from echowire.core.sockets.usage import UsageTable


def figures(table: UsageTable, now: float) -> dict[str, tuple[int, int, int, int]]:
    return {one.key: (one.sent, one.received, one.sockets, one.ended) for one in table.take(now)}


def never() -> str:
    raise AssertionError("it is known")


def test_what_was_before_the_first_look_is_not_counted() -> None:
    table = UsageTable()
    table.see(1, "a", 1000, 2000)
    assert figures(table, 0.0) == {"a": (0, 0, 1, 0)}
    table.see(1, "a", 1010, 2020)
    table.see(2, "a", 5, 6)
    assert figures(table, 2.0) == {"a": (15, 26, 2, 0)}


@pytest.mark.parametrize("looks_later", [0, 1])
def test_an_end_is_counted_from_what_was_last_seen_also_if_it_is_told_late(looks_later: int) -> None:
    table = UsageTable()
    table.see(1, "a", 1000, 0)
    figures(table, 0.0)
    for at in range(looks_later):
        assert figures(table, 1.0 + at) == {}
    table.end(1, never, 1100, 7)
    assert figures(table, 5.0) == {"a": (100, 7, 0, 1)}


def test_one_that_came_and_went_is_counted_whole() -> None:
    table = UsageTable()
    figures(table, 0.0)
    table.end(9, lambda: "b", 10, 20)
    table.add("c", 3, 0)
    assert figures(table, 1.0) == {"b": (10, 20, 0, 1), "c": (3, 0, 0, 0)}


def test_a_socket_that_its_process_has_closed_is_still_its() -> None:
    table = UsageTable()
    table.see(1, "a", 0, 0)
    figures(table, 0.0)
    table.see(1, "-", 50, 0)
    assert figures(table, 1.0) == {"a": (50, 0, 1, 0)}


def test_rates_and_totals() -> None:
    table = UsageTable()
    table.see(1, "a", 0, 0)
    (first,) = table.take(10.0)
    table.see(1, "a", 100, 50)
    (second,) = table.take(12.0)
    table.see(1, "a", 100, 50)
    (third,) = table.take(13.0)
    assert (first.sent_per_s, second.sent_per_s, second.received_per_s, third.sent_per_s) == (0.0, 50.0, 25.0, 0.0)
    assert (third.total_sent, third.total_received, third.seconds) == (100, 50, 1.0)
    assert second.document()["sent_bytes_per_s"] == 50.0
