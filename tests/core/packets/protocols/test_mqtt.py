"""MQTT: connecting, publishing, subscribing, in versions 3.1.1 and 5."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.packets.applications import all_items, assert_sturdy, columns, conversation, infos, values


def string(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def packet(first: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([first, len(body)]) + body


CONNECT = packet(
    0x10,
    string(b"MQTT")
    + b"\4\xee\0\x3c"
    + string(b"me")
    + string(b"will/t")
    + string(b"gone")
    + string(b"u")
    + string(b"p"),
)
PUBLISH = packet(0x32, string(b"a/b") + b"\0\7" + b"payload")


def test_a_session() -> None:
    subscribe = packet(0x82, b"\0\1" + string(b"a/#") + b"\1" + string(b"c") + b"\0")
    layer = conversation(
        "mqtt",
        b">" + CONNECT,
        b"<" + packet(0x20, b"\0\5"),
        b">" + subscribe + PUBLISH,
        b"<" + packet(0x90, b"\0\1\1\x80"),
        b">" + packet(0xC0, b"") + packet(0xE0, b""),
        port=1883,
    )
    items = dict(all_items(layer)[0])
    expected = {"protoname": "MQTT", "ver": 4, "kalive": 60, "clientid": "me", "willtopic": "will/t", "username": "u"}
    assert {name: items[f"mqtt.{name}"] for name in expected} == expected
    assert (items["mqtt.willmsg"], items["mqtt.passwd"], items["mqtt.conflag.qos"]) == (b"gone", "p", 1)
    assert values(layer, "mqtt.conack.val") == [[], [5], [], [], []]
    assert values(layer, "mqtt.topic") == [[], [], ["a/#", "c", "a/b"], [], []]
    assert values(layer, "mqtt.msg") == [[], [], [b"payload"], [], []]
    assert values(layer, "mqtt.suback.qos") == [[], [], [], [1, 128], []]
    assert infos(layer) == [
        "Connect Command",
        "Connect Ack",
        "Subscribe Request (id=1) [a/#][c], Publish Message (id=7) [a/b]",
        "Subscribe Ack (id=1)",
        "Ping Request, Disconnect Req",
    ]
    assert columns(layer)[0] == "MQTT"


def test_version_5_has_properties() -> None:
    connect = packet(0x10, string(b"MQTT") + b"\5\2\0\x3c" + b"\5\x11\0\0\0\x0a" + string(b"me"))
    publish = packet(0x30, string(b"t") + b"\2\1\1" + b"body")
    layer = conversation("mqtt", b">" + connect, b"<" + packet(0x20, b"\0\x87\0"), b">" + publish, port=1883)
    assert values(layer, "mqtt.clientid") == [["me"], [], []]
    assert values(layer, "mqtt.connack.reason_code") == [[], [0x87], []]
    assert values(layer, "mqtt.property_len") == [[5], [], [2]]
    assert values(layer, "mqtt.msg") == [[], [], [b"body"]]


def test_a_message_that_goes_on_is_not_shown_and_a_length_without_end_is_malformed() -> None:
    layer = conversation("mqtt", b">" + PUBLISH + CONNECT[:-1], b">\x30\xff\xff\xff\xff\x01", port=1883)
    assert values(layer, "mqtt.msgtype") == [[3], []]
    assert layer.walked is not None
    assert layer.walked.malformed == [1]


def test_cut_anywhere() -> None:
    assert_sturdy("mqtt", CONNECT + PUBLISH, port=1883)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 80), st.integers(0, 10))
def test_mutated(noise: bytes, at: int, gone: int) -> None:
    whole = CONNECT + PUBLISH
    conversation("mqtt", b">" + whole[:at] + noise + whole[at + gone :], b"<" + noise, port=1883)
