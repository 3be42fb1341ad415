"""Sockets as JSON made of columns: the same values as the rows have, for every kind of socket in every state."""

from __future__ import annotations

import json
import os
import socket

from echowire import SocketInquiry, SocketJson
from echowire.core.text import json_text
from tests.busy_host import busy_host


def assert_alike(inquiry: SocketInquiry) -> int:
    maker, count = SocketJson(inquiry.reader), 0
    for block in maker.joined(inquiry.blocks()):
        lines = maker.lines(block)
        rows = list(inquiry.reader.dicts(block))
        assert [json.loads(line) for line in lines] == [json.loads(json_text(row)) for row in rows]
        assert all(line.isprintable() and len(json.loads(line)) == line.count('": ') - nested(line) for line in lines)
        count += len(lines)
    return count


def nested(line: str) -> int:
    """Members that are within another: of marks and of processes."""
    row = json.loads(line)
    return sum(len(one) for name in ("marks", "processes") for one in row.get(name) or ())


def test_each_socket_of_a_busy_host_has_the_values_of_its_row() -> None:
    with busy_host() as busy, busy.host.inside():
        assert assert_alike(SocketInquiry(with_processes=True)) > 40
        assert assert_alike(SocketInquiry(memory=False, info=False)) > 40


def test_a_name_that_would_steer_a_terminal_or_a_format_is_escaped() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f'\0{os.getpid()} %s "\x1b[2J\n')
        assert assert_alike(SocketInquiry(f"src '@{os.getpid()} *'", kinds=["unix"])) == 1


def test_messages_are_joined_in_their_order() -> None:
    inquiry = SocketInquiry(kinds=["netlink", "unix", "tcp", "udp"])
    blocks = list(inquiry.blocks())
    together = list(SocketJson.joined(blocks))
    assert b"".join(block.data for block in together) == b"".join(block.data for block in blocks)
    assert len(together) <= len(blocks)
    assert list(SocketJson.joined([])) == []
