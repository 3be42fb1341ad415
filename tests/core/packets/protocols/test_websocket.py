"""WebSocket's frames: RFC 6455's examples, and lengths of all three forms."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets.protocols.websocket import unmasked
from tests.core.packets.applications import all_items, assert_sturdy, columns, conversation, infos, values

HELLO = bytes.fromhex("810548656c6c6f")
MASKED_HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
"""RFC 6455, section 5.7."""


def test_the_examples_of_the_rfc() -> None:
    layer = conversation("websocket", b"<" + HELLO, b">" + MASKED_HELLO, b"<" + HELLO + HELLO, port=80)
    assert values(layer, "websocket.payload.text") == [["Hello"], ["Hello"], ["Hello", "Hello"]]
    assert values(layer, "websocket.masking_key") == [[], [bytes.fromhex("37fa213d")], []]
    assert infos(layer)[:2] == ["WebSocket Text [FIN] ", "WebSocket Text [FIN] [MASKED]"]
    assert columns(layer)[0] == "WebSocket"
    items = dict(all_items(layer)[0])
    assert (items["websocket.fin"], items["websocket.opcode"], items["websocket.payload_length"]) == (True, 1, 5)


def test_longer_lengths() -> None:
    layer = conversation(
        "websocket", b"<\x82\x7e\1\0" + bytes(256) + HELLO, b"<\x82\x7f" + (70_000).to_bytes(8, "big"), port=80
    )
    assert values(layer, "websocket.payload_length_ext_16") == [[256], []]
    assert values(layer, "websocket.payload_length_ext_64") == [[], [70_000]]
    assert values(layer, "websocket.opcode") == [[2, 1], [2]]


def test_a_close_says_why() -> None:
    layer = conversation("websocket", b"<\x88\x06\x03\xe8done", b"<\x88\x00", b"<\x89\x02hi\x8a\x00", port=80)
    assert values(layer, "websocket.payload.close.status_code") == [[1000], [], []]
    assert values(layer, "websocket.payload.close.reason") == [["done"], [], []]
    assert values(layer, "websocket.payload.ping") == [[], [], [b"hi"]]
    assert infos(layer)[2] == "WebSocket Ping [FIN]  WebSocket Pong [FIN] "


@given(st.binary(max_size=40), st.binary(min_size=4, max_size=4))
def test_a_mask_undoes_itself(payload: bytes, key: bytes) -> None:
    assert unmasked(unmasked(payload, key), key) == payload


def test_cut_anywhere() -> None:
    assert_sturdy("websocket", MASKED_HELLO + HELLO, port=80)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_anything(noise: bytes) -> None:
    conversation("websocket", b">" + noise, port=80)
