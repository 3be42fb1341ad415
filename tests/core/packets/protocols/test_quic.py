"""QUIC: headers, and Initial packets opened: RFC 9001's examples, and packets that are sealed here."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets.aes import encrypt
from echowire.core.packets.protocols.quic.keys import VERSION_2, initial_keys, open_initial
from echowire.core.packets.registry import registry
from echowire.core.packets.walk import walk_layer
from tests.core.packets.applications import assert_sturdy, columns, conversation, infos, values
from tests.core.packets.protocols.test_tls import CLIENT_HELLO, SERVER_HELLO_13

CLIENT_ID = bytes.fromhex("8394c8f03e515708")

SERVER_INITIAL = bytes.fromhex(
    "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf7"
    "3c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f"
    "58891850abbdca3d20398c276456cbc42158407dd074ee"
)
"""RFC 9001, appendix A.3."""


def test_keys_are_those_of_rfc_9001() -> None:
    client, server = (initial_keys(1, CLIENT_ID, side) for side in (True, False))
    assert client.key.hex() == "1f369613dd76d5467730efcbe3b1a22d"
    assert client.iv.hex() == "fa044b2f42a3fd3b46fb255c"
    assert client.header.hex() == "9f50449e04a0e810283a1e9933adedd2"
    assert server.key.hex() == "cf3a5331653c364c88f0f379b6067e37"
    second = initial_keys(VERSION_2, CLIENT_ID, True)  # RFC 9369, appendix A.1
    assert second.key.hex() == "8b1a0bc121284290a29e0971b5cd045d"


def test_the_servers_packet_of_rfc_9001_is_opened() -> None:
    opened = open_initial(SERVER_INITIAL, 18, initial_keys(1, CLIENT_ID, False))
    assert opened is not None
    assert (opened.first, opened.number, opened.number_size) == (0xC1, 1, 2)
    assert opened.payload is not None
    assert opened.payload.hex().startswith("02000000000600405a020000560303")
    assert open_initial(SERVER_INITIAL, 18, initial_keys(1, CLIENT_ID, True)) is None
    assert open_initial(SERVER_INITIAL[:20], 18, initial_keys(1, CLIENT_ID, False)) is None


def sealed(
    frames: bytes, *, ids: bytes = CLIENT_ID, source: bytes = b"", by_client: bool = True, version: int = 1,
    number: int = 0, target: bytes | None = None,
) -> bytes:  # fmt: skip
    """An Initial packet, protected by OpenSSL under the keys that `ids` make."""
    aead = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead")
    keys, target = initial_keys(version, ids, by_client), ids if target is None else target
    first = 0xD3 if version == VERSION_2 else 0xC3
    head = bytes([first]) + struct.pack(">I", version) + bytes([len(target)]) + target + bytes([len(source)]) + source
    head += b"\0" + struct.pack(">H", 0x4000 | len(frames) + 16 + 4)
    plain = head + struct.pack(">I", number)
    nonce = (int.from_bytes(keys.iv, "big") ^ number).to_bytes(12, "big")
    body: bytes = aead.AESGCM(keys.key).encrypt(nonce, frames, plain)
    mask = encrypt(keys.header, np.frombuffer(body[:16], np.uint8).reshape(1, 16))[0].tobytes()
    protected = bytes(a ^ b for a, b in zip(plain[-4:], mask[1:5], strict=True))
    return bytes([first ^ mask[0] & 0x0F]) + plain[1:-4] + protected + body


def crypto(data: bytes, at: int = 0) -> bytes:
    return b"\6" + struct.pack(">HH", 0x4000 | at, 0x4000 | len(data)) + data


def quic(*datagrams: bytes):  # type: ignore[no-untyped-def]
    return conversation("quic", *datagrams, port=443, over="udp")


def handed_on(layer) -> list[tuple[int, bytes]]:  # type: ignore[no-untyped-def]
    return [
        (index, one.data[a:b].tobytes())
        for one in layer.walked.nexts
        for index, a, b in zip(one.index.tolist(), one.start.tolist(), one.wire_end.tolist(), strict=True)
    ]


@pytest.mark.parametrize("version", [1, VERSION_2, 0xFF00001D])
def test_a_handshake(version: int) -> None:
    server_id = b"\5\6\7\x08"
    layer = quic(
        b">" + sealed(crypto(CLIENT_HELLO) + bytes(20), version=version),
        b"<"
        + sealed(
            b"\2\0\0\0\0" + crypto(SERVER_HELLO_13), version=version, by_client=False, target=b"", source=server_id
        ),
        b">" + sealed(b"\2\0\0\0\0", version=version, target=server_id, number=1),
        b">\x40" + server_id + b"protected",
        b"<\x40protected",
    )
    assert handed_on(layer) == [(0, CLIENT_HELLO), (1, SERVER_HELLO_13)]
    assert values(layer, "quic.version") == [[version], [version], [version], [], []]
    assert values(layer, "quic.packet_number") == [[0], [0], [1], [], []]
    assert values(layer, "quic.crypto.length") == [[len(CLIENT_HELLO)], [len(SERVER_HELLO_13)], [], [], []]
    assert values(layer, "quic.padding_length") == [[20], [], [], [], []]
    assert infos(layer) == [
        f"Initial, DCID={CLIENT_ID.hex()}, PKN: 0, CRYPTO, PADDING",
        "Initial, SCID=05060708, PKN: 0, ACK, CRYPTO",
        "Initial, DCID=05060708, PKN: 1, ACK",
        "Protected Payload (KP0), DCID=05060708",
        "Protected Payload (KP0)",
    ]
    assert set(columns(layer)) == {"QUIC"}


def test_a_hello_of_several_packets_out_of_order() -> None:
    pieces = [crypto(CLIENT_HELLO[100:], 100), crypto(CLIENT_HELLO[:60]), crypto(CLIENT_HELLO[50:110], 50)]
    layer = quic(*(b">" + sealed(piece, number=number) for number, piece in enumerate(pieces)))
    assert handed_on(layer) == [(2, CLIENT_HELLO)]


def test_after_a_retry_the_keys_are_new() -> None:
    new_id = b"newconnect"
    retry = b"\xf0\0\0\0\1\0" + bytes([len(new_id)]) + new_id + b"token" + bytes(16)
    layer = quic(b">" + sealed(crypto(CLIENT_HELLO[:9])), b"<" + retry, b">" + sealed(crypto(CLIENT_HELLO), ids=new_id))
    assert values(layer, "quic.retry_token") == [[], [b"token"], []]
    assert handed_on(layer) == [(2, CLIENT_HELLO)]


def test_what_cannot_be_opened_says_why() -> None:
    handshake = b"\xe0\0\0\0\1\0\0\x08" + b"x" * 8
    layer = quic(b"<" + handshake, b"<" + SERVER_INITIAL, b">\xc0\xfa\xce\xb0\1\0\0\0\x08" + b"x" * 8)
    texts = [" ".join(item.text or "" for item in items) for items in layer.walked.items]
    assert "only the two ends know its keys" in texts[0]
    assert "not those of this conversation's first packet" in texts[1]
    assert "how this version makes its keys is not known" in texts[2]
    assert values(layer, "quic.long.packet_type") == [[2], [0], [0]]


def test_versions_are_negotiated() -> None:
    layer = quic(b"<\x8f\0\0\0\0\0\4serv" + b"\0\0\0\1" + b"\x1a\x2a\x3a\x4a")
    assert values(layer, "quic.supported_version") == [[1, 0x1A2A3A4A]]
    assert infos(layer) == ["Version Negotiation, SCID=73657276"]


@pytest.mark.parametrize(
    ("payload", "is_quic"),
    [
        (SERVER_INITIAL, True),
        (b"\xc0\x1a\x2a\x3a\x4a\x08" + bytes(20), True),
        (b"\xc0\0\0\0\1\x15" + bytes(30), False),  # an id of 21 bytes
        (b"\xc0\0\0\0\1\0\x15" + bytes(30), False),
        (b"\xc0\0\0\0\2\0" + bytes(30), False),
        (b"\x40" + bytes(30), False),
        (b"\xc0\0\0\0\1", False),
    ],
)
def test_what_is_guessed(payload: bytes, is_quic: bool) -> None:
    guess = registry().protocols["quic"].guess
    assert guess is not None
    assert guess(quic(b">" + payload)).tolist() == [is_quic]


def test_cut_anywhere() -> None:
    assert_sturdy("quic", SERVER_INITIAL, port=443, over="udp")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 130), st.integers(0, 10))
def test_mutated(noise: bytes, at: int, gone: int) -> None:
    quic(b">" + SERVER_INITIAL[:at] + noise + SERVER_INITIAL[at + gone :], b"<" + noise)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_frames_of_a_hostile_peer(frames: bytes) -> None:
    quic(b">" + sealed(frames + bytes(4)))


def test_the_hello_within_is_tls_and_leaves_the_packet_list_to_quic() -> None:
    layer = quic(b">" + sealed(crypto(CLIENT_HELLO)))
    assert layer.walked is not None
    (found,) = layer.walked.nexts
    inner = layer.child(registry().protocols["tls"], found, found.index)
    inner.walked = walk_layer(inner)
    assert values(inner, "tls.handshake.extensions_server_name") == [["www.example.org"]]
    assert values(inner, "tls.handshake.ja4")[0][0].startswith("q13d")
    assert (infos(inner), columns(inner)) == ([None], [None])
