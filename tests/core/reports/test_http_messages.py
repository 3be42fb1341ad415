"""HTTP/1 messages: heads and bodies, whole, byte by byte, pipelined, cut and with bytes missing."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.reports.http_messages import MAX_HEAD_BYTES, Connection, Message, Part

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"

Found = list[tuple[int, str, bytes, int, str]]


def joined(parts: Iterable[Part]) -> Found:
    """Each message that had a body: status, URI, body, missing bytes, problem."""
    bodies: dict[Message, bytearray] = {}
    missing: dict[Message, int] = {}
    found: Found = []
    for part in parts:
        if not part.is_end:
            bodies.setdefault(part.message, bytearray()).extend(part.data)
            missing[part.message] = missing.get(part.message, 0) + part.missing
        elif part.message in bodies:
            one = part.message
            found.append((one.code, one.uri or "", bytes(bodies[one]), missing[one], part.problem))
    return found


def read(*said: tuple[int, bytes], step: int = 0, is_cut: bool = False) -> Found:
    """What a conversation has, in pieces of `step` bytes; all at once with 0."""
    connection = Connection()
    parts: list[Part] = []
    for end, data in said:
        for at in range(0, len(data), step or len(data)):
            parts += connection.feed(end, data[at : at + (step or len(data))])
    for end in (0, 1):
        parts += connection.close(end, is_cut=is_cut)
    return joined(parts)


CASES = {
    "length": ([(0, GET), (1, OK + b"Content-Length: 3\r\n\r\nabc")], [(200, "/a", b"abc", 0, "")]),
    "chunked": (
        [(0, GET), (1, OK + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n")],
        [(200, "/a", b"abcde", 0, "")],
    ),
    "chunked and empty": (
        [(0, GET), (1, OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")],
        [(200, "/a", b"", 0, "")],
    ),
    "until close": ([(0, GET), (1, OK + b"\r\nabc"), (1, b"def")], [(200, "/a", b"abcdef", 0, "")]),
    "chunked wins over length": (
        [(0, GET), (1, OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")],
        [(200, "/a", b"ab", 0, "")],
    ),
    "folded header": (
        [(0, GET), (1, OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")],
        [(200, "/a", b"ab", 0, "")],
    ),
    "request with a body": (
        [(0, b"POST /p HTTP/1.1\r\nContent-Length: 2\r\n\r\nxy"), (1, OK + b"Content-Length: 1\r\n\r\nz")],
        [(0, "/p", b"xy", 0, ""), (200, "/p", b"z", 0, "")],
    ),
    "continue": (
        [
            (0, b"PUT /p HTTP/1.1\r\nContent-Length: 2\r\n\r\n"),
            (1, b"HTTP/1.1 100 Continue\r\n\r\n"),
            (0, b"xy"),
            (1, OK + b"Content-Length: 1\r\n\r\nz"),
        ],
        [(0, "/p", b"xy", 0, ""), (200, "/p", b"z", 0, "")],
    ),
    "no body": (
        [
            (0, b"HEAD /h HTTP/1.1\r\n\r\n" + GET + GET + GET),
            (1, OK + b"Content-Length: 9\r\n\r\n"),
            (1, b"HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n"),
            (1, OK + b"Content-Length: 1\r\n\r\nz"),
        ],
        [(200, "/a", b"z", 0, "")],
    ),
    "pipelined": (
        [
            (0, GET + GET.replace(b"/a", b"/b")),
            (1, OK + b"Content-Length: 1\r\n\r\n1" + OK + b"Content-Length: 1\r\n\r\n2"),
        ],
        [(200, "/a", b"1", 0, ""), (200, "/b", b"2", 0, "")],
    ),
    "malformed chunk": (
        [(0, GET), (1, OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n")],
        [(200, "/a", b"a", 0, "malformed chunk")],
    ),
    "without a request": ([(1, OK + b"Content-Length: 1\r\n\r\n1")], [(200, "", b"1", 0, "")]),
    "after a tunnel was made": (
        [
            (0, b"CONNECT h:1 HTTP/1.1\r\n\r\n"),
            (1, OK + b"\r\n"),
            (0, GET),
            (1, OK + b"Content-Length: 1\r\n\r\n1"),
        ],
        [(200, "/a", b"1", 0, "")],
    ),
    "line feeds alone": ([(0, GET), (1, b"HTTP/1.0 200 OK\nContent-Length: 1\n\n1")], [(200, "/a", b"1", 0, "")]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("step", [0, 1, 7])
def test_bodies(name: str, step: int) -> None:
    said, expected = CASES[name]
    assert read(*said, step=step) == expected


def test_what_is_cut_off_is_said_to_be() -> None:
    head = OK + b"Content-Length: 5\r\n\r\nab"
    assert read((0, GET), (1, head)) == [(200, "/a", b"ab", 0, "cut off")]
    assert read((0, GET), (1, OK + b"\r\nab"), is_cut=True) == [(200, "/a", b"ab", 0, "cut off")]


def test_bytes_that_are_missing_are_counted_and_the_next_message_is_found() -> None:
    connection = Connection()
    parts = [
        *connection.feed(0, GET + GET),
        *connection.feed(1, OK + b"Content-Length: 5\r\n\r\nab"),
        *connection.miss(1, 2),
        *connection.feed(1, b"e" + OK + b"Content-Length: 1\r\n\r\nz"),
    ]
    assert joined(parts) == [(200, "/a", b"abe", 2, "bytes missing"), (200, "/a", b"z", 0, "")]


def test_a_gap_beyond_a_body_ends_it() -> None:
    connection = Connection()
    parts = [*connection.feed(1, OK + b"Content-Length: 5\r\n\r\nab"), *connection.miss(1, 100)]
    parts += [*connection.feed(1, b"rubbish"), *connection.feed(1, OK + b"Content-Length: 1\r\n\r\nz")]
    assert joined(parts) == [(200, "", b"ab", 0, "bytes missing"), (200, "", b"z", 0, "")]


def test_what_is_no_http_is_not_kept() -> None:
    connection = Connection()
    for data in (b"\x16\x03\x01" + bytes(100), b"GET /old\r\n", b"GET " + b"a" * (MAX_HEAD_BYTES + 1)):
        assert list(connection.feed(0, data)) == []
        assert not connection._directions[0].buffer
    assert joined(connection.feed(1, OK + b"Content-Length: 1\r\n\r\nz")) == [(200, "", b"z", 0, "")]


def test_a_type_is_without_parameters_and_a_length_is_a_number() -> None:
    headers = {"content-type": "Text/HTML; charset=x", "content-length": "1" * 40}
    message = Message(False, "", None, None, 200, headers)
    assert (message.content_type, message.length) == ("text/html", None)


WHOLE = b"".join(data for said, _ in CASES.values() for _, data in said)


@given(st.data())
def test_whatever_comes_is_read_in_bounded_memory(data: st.DataObject) -> None:
    raw = bytearray(WHOLE)
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=20)):
        raw[at] = data.draw(st.integers(0, 255))
    step = data.draw(st.integers(1, 200))
    connection = Connection()
    size = 0
    for at in range(0, len(raw), step):
        size += sum(len(part.data) for part in connection.feed(at // step % 2, bytes(raw[at : at + step])))
        if data.draw(st.booleans()):
            size += sum(len(part.data) for part in connection.miss(at % 2, step))
    assert size <= len(raw)
