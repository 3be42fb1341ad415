"""Marks of listeners, from the smallest hosts up."""

from __future__ import annotations

import socket

import pytest

from echowire.core.sockets.marks import Listener, find_marks


def listener(
    cookie: int, address: str, port: int = 80, waiting: int = 0, limit: int = 5, *, only_v6: bool = False
) -> Listener:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return Listener(cookie, socket.inet_pton(family, address), port, waiting, limit, only_v6=only_v6)


@pytest.mark.parametrize(
    ("host", "marks"),
    [
        ([("0.0.0.0",)], [["IPv4 only"]]),
        ([("::",)], [[]]),
        ([("0.0.0.0",), ("::", "only")], [[], []]),
        ([("::", "only")], [["IPv6 only"]]),
        ([("127.0.0.1",)], [["loopback only", "IPv4 only"]]),
        ([("127.0.0.1",), ("::1",)], [["loopback only"], ["loopback only"]]),
        ([("127.0.0.1",), ("10.0.0.1",)], [["IPv4 only"], []]),
        ([("::ffff:127.0.0.1",)], [["loopback only", "IPv4 only"]]),
        ([("10.0.0.1",)], [[]]),
        ([("127.0.0.1",), ("::",)], [[], []]),
    ],
)
def test_who_can_reach_it(host: list[tuple[str, ...]], marks: list[list[str]]) -> None:
    found = find_marks(listener(at, one[0], only_v6="only" in one) for at, one in enumerate(host))
    assert [[mark.name for mark in found.get(at, ())] for at in range(len(host))] == marks


def test_other_ports_are_other_matters() -> None:
    found = find_marks([listener(1, "0.0.0.0", 80), listener(2, "::", 81, only_v6=True)])
    assert [mark.name for mark in (*found[1], *found[2])] == ["IPv4 only", "IPv6 only"]


@pytest.mark.parametrize(("waiting", "is_full"), [(0, False), (5, False), (6, True)])
def test_the_kernel_lets_one_more_wait_than_the_limit_says(waiting: int, is_full: bool) -> None:
    found = find_marks([listener(1, "10.0.0.1", waiting=waiting, limit=5)])
    assert (1 in found) is is_full


def test_who_shares_a_port_with_a_full_one() -> None:
    found = find_marks([listener(1, "10.0.0.1", waiting=6), listener(2, "10.0.0.1"), listener(3, "10.0.0.2")])
    assert [mark.name for mark in found[1]] == ["full: 6 wait, 5 may"]
    assert [mark.name for mark in found[2]] == ["shares its port with a full one of 2"]
    assert 3 not in found
    assert all(mark.why for marks in found.values() for mark in marks)
