"""SIP and RTSP: start lines, headers, and what is taken for them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets.registry import registry
from tests.core.packets.applications import all_items, assert_sturdy, columns, conversation, infos, values

INVITE = (
    b"INVITE sip:bob@biloxi.com:5061;transport=tcp SIP/2.0\r\n"
    b"v: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds\r\n"
    b'To: "Bob" <sip:bob@biloxi.com>\r\n'
    b"f: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Max-Forwards: 70\r\n"
    b"c: application/sdp\r\n"
    b"l: 4\r\n\r\nv=0\n"
)
OK = b"SIP/2.0 200 OK\r\nCSeq: 314159 INVITE\r\nTo: <sip:bob@biloxi.com>;tag=a6c85cf\r\nContent-Length: 0\r\n\r\n"


def test_an_invitation_and_its_answer() -> None:
    layer = conversation("sip", b">" + INVITE, b"<" + OK, port=5060, over="udp")
    items = dict(all_items(layer)[0])
    expected = {
        "Method": "INVITE",
        "r-uri": "sip:bob@biloxi.com:5061;transport=tcp",
        "r-uri.user": "bob",
        "r-uri.host": "biloxi.com",
        "r-uri.port": "5061",
        "Call-ID": "a84b4c76e66710",
        "CSeq.seq": 314159,
        "CSeq.method": "INVITE",
        "from.addr": "sip:alice@atlanta.com",
        "from.user": "alice",
        "from.tag": "1928301774",
        "to.host": "biloxi.com",
        "Max-Forwards": 70,
        "Content-Length": 4,
        "Via": "SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds",
    }
    assert {name: items[f"sip.{name}"] for name in expected} == expected
    assert values(layer, "sip.Status-Code") == [[], [200]]
    assert values(layer, "sip.to.tag") == [[], ["a6c85cf"]]
    assert infos(layer) == [
        "Request: INVITE sip:bob@biloxi.com:5061;transport=tcp | ",
        "Status: 200 OK (INVITE) | ",
    ]
    assert columns(layer) == ["SIP/SDP", "SIP"]


def test_two_messages_in_a_segment() -> None:
    layer = conversation("sip", b">" + INVITE + b"\r\n" + OK, port=5060)
    assert values(layer, "sip.CSeq.seq") == [[314159, 314159]]


@pytest.mark.parametrize(
    ("payload", "is_sip"),
    [(INVITE, True), (OK, True), (b"INVITE x HTTP/1.1\r\n\r\n\r\n", False), (b"FOO x SIP/2.0\r\n\r\n", False)],
)
def test_what_is_guessed(payload: bytes, is_sip: bool) -> None:
    guess = registry().protocols["sip"].guess
    assert guess is not None
    assert guess(conversation("sip", b">" + payload, port=7777)).tolist() == [is_sip]


def test_rtsp() -> None:
    setup = b"SETUP rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast\r\n\r\n"
    reply = b"RTSP/1.0 200 OK\r\nSession: 12\r\nContent-Length: 3\r\n\r\nabc"
    layer = conversation("rtsp", b">" + setup, b"<" + reply, port=554)
    assert values(layer, "rtsp.method") == [["SETUP"], []]
    assert values(layer, "rtsp.url") == [["rtsp://h/a"], []]
    assert values(layer, "rtsp.transport") == [["RTP/AVP;unicast"], []]
    assert values(layer, "rtsp.status") == [[], [200]]
    assert values(layer, "rtsp.content-length") == [[], [3]]
    assert infos(layer) == ["SETUP rtsp://h/a RTSP/1.0", "Reply: RTSP/1.0 200 OK"]


def test_cut_anywhere() -> None:
    assert_sturdy("sip", INVITE, port=5060)
    assert_sturdy("rtsp", b"SETUP rtsp://h/a RTSP/1.0\r\nContent-length: 1\r\n\r\n", port=554)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(INVITE)), st.integers(0, 40))
def test_mutated(noise: bytes, at: int, gone: int) -> None:
    conversation("sip", b">" + INVITE[:at] + noise + INVITE[at + gone :], b"<SIP/2.0 " + noise, port=5060)
    conversation("rtsp", b"<RTSP/1.0 " + noise, port=554)
