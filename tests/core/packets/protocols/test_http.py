"""HTTP/1 and SSDP: messages, headers, bodies, tunnels, and what is taken for HTTP."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets.registry import registry
from tests.core.packets.applications import all_items, assert_sturdy, columns, conversation, infos, values

GET = b"GET /x?a=1&b HTTP/1.1\r\nHost: h.org\r\nUser-Agent: u\r\nX-Foo:  bar\r\nCookie: a=1; b=2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x\r\nContent-Length: 5\r\n\r\nhello"


def first(field: str, *segments: bytes) -> list[object]:
    return [found[0] if found else None for found in values(conversation("http", *segments, port=80), field)]


def test_a_request_and_its_answer() -> None:
    layer = conversation("http", b">" + GET, b"<" + OK, port=80)
    request, answer = all_items(layer)
    assert request[:6] == [
        ("http.request.method", "GET"),
        ("http.request.uri", "/x?a=1&b"),
        ("http.request.uri.path", "/x"),
        ("http.request.uri.query", "a=1&b"),
        ("http.request.uri.query.parameter", "a=1"),
        ("http.request.uri.query.parameter", "b"),
    ]
    assert dict(request)["http.request.version"] == "HTTP/1.1"
    assert dict(request)["http.request.full_uri"] == "http://h.org/x?a=1&b"
    assert [value for name, value in request if name == "http.cookie_pair"] == ["a=1", "b=2"]
    assert ("http.request.line", "X-Foo:  bar\r\n") in request
    said = dict(answer)
    assert (said["http.response.code"], said["http.response.phrase"]) == (200, "OK")
    assert (said["http.content_length"], said["http.content_type"]) == (5, "text/html; charset=x")
    assert said["http.response_for.uri"] == "http://h.org/x?a=1&b"
    assert (said["http.request_in"], said["http.file_data"]) == (1, "hello")
    assert infos(layer) == ["GET /x?a=1&b HTTP/1.1 ", "HTTP/1.1 200 OK  (text/html)"]
    assert columns(layer) == ["HTTP", "HTTP"]


def test_where_a_message_ends_the_next_begins() -> None:
    posted = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    layer = conversation("http", b">" + posted + GET, port=80)
    assert values(layer, "http.request.method") == [["POST", "GET"]]
    assert infos(layer) == ["POST / HTTP/1.1 GET /x?a=1&b HTTP/1.1 "]
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nHTTP/1.1 204 No\r\n\r\n"
    )
    layer = conversation("http", b"<" + chunked, port=80)
    assert values(layer, "http.response.code") == [[200, 204]]
    assert values(layer, "http.file_data") == [["abcde"]]
    assert values(layer, "http.chunk_size") == [[3, 2, 0]]


@pytest.mark.parametrize(
    ("message", "codes"),
    [
        (b"HTTP/1.1 304 N\r\n\r\nHTTP/1.1 201 C\r\n\r\n", [304, 201]),
        (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 O\r\nContent-Length: 0\r\n\r\n", [100, 200]),
        (b"HTTP/1.1 200 O\r\n\r\nHTTP/1.1 404 N\r\n\r\n", [200]),  # no length: all the rest is its body
        (b"HTTP/1.0 200\r\n\r\n", [200]),
        (b"HTTP/1.1 abc d\r\n\r\n", [0]),
        (b"ICY 200 OK\r\n\r\n", [200]),
        (b"HTTP/1.1\r\n\r\n", []),
    ],
)
def test_bodies_of_answers(message: bytes, codes: list[int]) -> None:
    assert values(conversation("http", b"<" + message, port=80), "http.response.code") == [codes]


def test_a_compressed_body_is_shown_as_it_is_meant() -> None:
    body = gzip.compress(b"<html>")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert first("http.file_data", b"<" + head + body) == ["<html>"]
    bomb = gzip.compress(bytes(8 << 20))
    found = first("http.file_data", b"<HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + bomb)
    assert found == [""]  # text ends at the first zero; that it ends at all is the point


def test_odd_start_lines() -> None:
    assert first("http.request.uri", b">GET  /two  spaces HTTP/1.1\r\n\r\n") == [""]
    assert first("http.request.version", b">GET  /two  spaces HTTP/1.1\r\n\r\n") == ["/two  spaces HTTP/1.1"]
    assert first("http.request.uri", b">GET /\xff\xc3\xa4 HTTP/1.1\r\n\r\n") == ["/\ufffd\ufffd\ufffd"]
    assert first("http.request.method", b">M-POST / HTTP/1.1\r\n\r\n") == ["M-POST"]
    assert first("http.request.method", b">get / HTTP/1.1\r\n\r\n", b">FOO / HTTP/1.1\r\n\r\n") == [None, None]


def test_what_goes_on_from_the_segment_before() -> None:
    cut = b">GET /cut HTTP/1.1\r\nHost: a.b\r\nCook", b">ie: 1\r\nReferer: x\r\n\r\n", b"<\xff\xfe"
    layer = conversation("http", *cut, port=80)
    assert values(layer, "http.host") == [["a.b"], [], []]
    assert values(layer, "http.referer") == [[], ["x"], []]
    assert infos(layer) == ["GET /cut HTTP/1.1 ", "Continuation", "Continuation"]
    alone = conversation("http", b">\xff\xfe", port=80)
    assert (infos(alone), columns(alone)) == ([None], [None])


def test_only_what_looks_like_it_or_follows_a_request_is_http() -> None:
    layer = conversation("http", b">hello", b">" + GET, b"<binary\0", port=80)
    accepts = registry().protocols["http"].accepts
    assert accepts is not None
    layer.memory.by_key.clear()
    assert accepts(layer).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("payload", "is_http"),
    [
        (b"GET / HTTP/1.1\r\nHost: a", True),
        (b"HTTP/1.0 200\r\n", True),
        (b"WHATEVER / http/1.1\r\n", True),
        (b"GET / HTTP/1.1", False),  # the line may go on
        (b"GET /\r\n", False),
        (b"\r\nGET / HTTP/1.1\r\n", False),
        (b"RTSP/1.0 200 OK\r\n", False),
        (b"HTTP/2.0 200 OK\r\n", False),
        (b"", False),
    ],
)
def test_what_is_guessed_on_any_port(payload: bytes, is_http: bool) -> None:
    guess = registry().protocols["http"].guess
    assert guess is not None
    assert guess(conversation("http", b">" + payload, port=12345)).tolist() == [is_http]


def test_a_tunnel_carries_what_its_port_says() -> None:
    asked, made = b">CONNECT foo.org:443 HTTP/1.1\r\nHost: foo.org\r\n\r\n", b"<HTTP/1.1 200 Made\r\n\r\n"
    layer = conversation("http", asked, made, b">\x16\x03\x01\x00\x05hello", port=3128)
    assert values(layer, "http.proxy_connect_host") == [[], [], ["foo.org"]]
    assert values(layer, "http.proxy_connect_port") == [[], [], [443]]
    assert layer.walked is not None
    assert [(one.table, one.keys, one.index.tolist()) for one in layer.walked.nexts] == [("tcp.port", (443,), [2])]
    to_http = conversation("http", asked.replace(b":443", b":80"), made, b">" + GET, port=3128)
    assert to_http.walked is not None
    assert [one.keys for one in to_http.walked.nexts] == [(0,)]  # or it would go round in a ring


def test_an_upgrade_hands_on_the_rest() -> None:
    agreed = b"<HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x89\x00"
    layer = conversation("http", b">" + GET, agreed, b">\x81\x00", port=80)
    assert layer.walked is not None
    assert [(one.table, one.index.tolist()) for one in layer.walked.nexts] == [("http.upgrade", [1, 2])]


def test_ssdp_has_the_same_form() -> None:
    search = b'>M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\n\r\n'
    layer = conversation("ssdp", search, port=1900, over="udp")
    assert values(layer, "http.request.full_uri") == [["http://239.255.255.250:1900*"]]
    assert (infos(layer), columns(layer)) == (["M-SEARCH * HTTP/1.1 "], ["SSDP"])


def test_cut_anywhere() -> None:
    assert_sturdy("http", GET + OK, port=80)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.integers(0, len(GET + OK)), st.integers(0, 40))
def test_mutated(noise: bytes, at: int, gone: int) -> None:
    whole = GET + OK
    conversation("http", b">" + whole[:at] + noise + whole[at + gone :], b"<" + noise, port=80)
