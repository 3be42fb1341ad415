"""TLS, SSL 2's hellos and DTLS: records, hellos, what is encrypted, and what several records or segments hold."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.packets.protocols.tls.fingerprints import Hello, ja3, ja4, md5
from echowire.core.packets.registry import registry
from tests.core.packets.applications import all_items, assert_sturdy, columns, conversation, infos, values


def record(kind: int, body: bytes, version: int = 0x0301) -> bytes:
    return struct.pack(">BHH", kind, version, len(body)) + body


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def extension(kind: int, body: bytes) -> bytes:
    return struct.pack(">HH", kind, len(body)) + body


def vector(body: bytes, width: int = 2) -> bytes:
    return len(body).to_bytes(width, "big") + body


def numbers(hexadecimal: str) -> list[int]:
    """Numbers of two bytes."""
    return [int(hexadecimal[at : at + 4], 16) for at in range(0, len(hexadecimal), 4)]


RANDOM = bytes(range(32))
EXTENSIONS = b"".join(
    (
        extension(0x0A0A, b""),
        extension(0, vector(b"\0" + vector(b"www.example.org"))),
        extension(10, vector(bytes.fromhex("001d0017"))),
        extension(11, vector(b"\0", 1)),
        extension(13, vector(bytes.fromhex("04030804"))),
        extension(16, vector(vector(b"h2", 1) + vector(b"http/1.1", 1))),
        extension(43, vector(bytes.fromhex("0a0a03040303"), 1)),
        extension(51, vector(bytes.fromhex("001d") + vector(b"k" * 32))),
        extension(65281, b"\0"),
    )
)
CLIENT_HELLO = message(
    1, b"\3\3" + RANDOM + vector(b"s" * 32, 1) + vector(bytes.fromhex("1a1a1301c02f")) + b"\1\0" + vector(EXTENSIONS)
)
SERVER_HELLO = message(2, b"\3\3" + RANDOM + b"\0" + b"\xc0\x2f" + b"\0" + vector(extension(16, vector(b"\2h2"))))
SERVER_HELLO_13 = message(2, b"\3\3" + RANDOM + b"\0\x13\1\0" + vector(extension(43, b"\3\4")))
CCS = record(20, b"\1", 0x0303)


def tls(*segments: bytes, port: int = 443):  # type: ignore[no-untyped-def]
    return conversation("tls", *segments, port=port)


def test_a_client_hello() -> None:
    layer = tls(b">" + record(22, CLIENT_HELLO))
    items = all_items(layer)[0]
    said = dict(reversed(items))  # the first of each
    assert said["tls.record.content_type"] == 22
    assert (said["tls.record.version"], said["tls.handshake.version"]) == (0x0301, 0x0303)
    assert (said["tls.handshake.type"], said["tls.handshake.length"]) == (1, len(CLIENT_HELLO) - 4)
    assert (said["tls.handshake.random"], said["tls.handshake.session_id"]) == (RANDOM, b"s" * 32)
    assert said["tls.handshake.extensions_server_name"] == "www.example.org"
    lists = {
        "ciphersuite": [0x1A1A, 0x1301, 0xC02F],
        "extensions_supported_group": [29, 23],
        "sig_hash_alg": [0x0403, 0x0804],
        "extensions_alpn_str": ["h2", "http/1.1"],
        "extensions.supported_version": [0x0A0A, 0x0304, 0x0303],
        "extensions_key_share_group": [29],
        "extension.type": [0x0A0A, 0, 10, 11, 13, 16, 43, 51, 65281],
    }
    for name, expected in lists.items():
        assert values(layer, f"tls.handshake.{name}") == [expected]
    assert said["tls.handshake.ja3_full"] == "771,4865-49199,0-10-11-13-16-43-51-65281,29-23,0"
    assert said["tls.handshake.ja3"] == md5(said["tls.handshake.ja3_full"])
    assert said["tls.handshake.ja4"].startswith("t13d0208h2_")
    assert said["tls.handshake.ja4_r"] == "t13d0208h2_1301,c02f_000a,000b,000d,002b,0033,ff01_0403,0804"
    assert (infos(layer), columns(layer)) == (["Client Hello"], ["TLSv1"])


def test_ja4_of_the_specification() -> None:
    """The example of FoxIO's technical details: Chrome."""
    suites = "130113021303c02bc02fc02cc030cca9cca8c013c014009c009d002f0035"
    extensions = "001b00000033001044690017002d000d000500230012002bff01000b000a0015"
    signatures = "04030804040105030805050108060601"
    hello = Hello(
        0x0303,
        suites=numbers(suites),
        extensions=numbers(extensions),
        signatures=numbers(signatures),
        versions=[0x0304, 0x0303],
        alpn=[b"h2"],
    )
    assert ja4(hello, "t")[0] == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert ja3(Hello(769, suites=[47, 53], extensions=[0], groups=[23], points=[0])) == "769,47-53,0,23,0"


def test_a_server_hello_says_what_is_spoken() -> None:
    layer = tls(b">" + record(22, CLIENT_HELLO), b"<" + record(22, SERVER_HELLO, 0x0303), b"<" + record(23, b"x" * 9))
    assert columns(layer) == ["TLSv1", "TLSv1.2", "TLSv1.2"]
    assert values(layer, "tls.app_data_proto") == [[], [], ["HyperText Transfer Protocol 2"]]
    assert values(layer, "tls.handshake.ja3s_full") == [[], ["771,49199,16"], []]
    layer = tls(b"<" + record(22, SERVER_HELLO_13, 0x0303) + record(23, b"x" * 9, 0x0303))
    assert values(layer, "tls.record.content_type") == [[22]]
    assert values(layer, "tls.record.opaque_type") == [[23]]
    assert (infos(layer), columns(layer)) == (["Server Hello, Application Data"], ["TLSv1.3"])


def test_after_the_change_of_cipher_nothing_is_read() -> None:
    finished = record(22, message(20, b"z" * 28), 0x0303)
    nonce = record(22, bytes(8) + b"\x9e" * 32, 0x0303)
    layer = tls(
        b">" + record(22, CLIENT_HELLO),
        b"<" + record(22, SERVER_HELLO, 0x0303),
        b">" + CCS + nonce,
        b">" + finished,
        b"<" + finished,
        b"<" + CCS + record(22, b"\x50" * 40, 0x0303),
    )
    assert infos(layer)[2:] == [
        "Change Cipher Spec, Encrypted Handshake Message",
        "Encrypted Handshake Message",
        "Finished",
        "Change Cipher Spec, Encrypted Handshake Message",
    ]


def test_what_goes_on_in_the_next_segment_is_not_shown() -> None:
    hello = record(22, SERVER_HELLO, 0x0303)
    layer = tls(b"<" + hello + record(22, b"\x0b\0\x10\0" + bytes(4096), 0x0303)[:900], b"<" + b"\x99" * 30, b"<\x16")
    assert values(layer, "tls.record.length") == [[len(SERVER_HELLO)], [], []]
    assert infos(layer) == ["Server Hello", "Ignored Unknown Record", ""]
    layer = tls(b">" + record(22, CLIENT_HELLO)[:60], b">" + b"\x99" * 30)
    assert values(layer, "tls.record.length") == [[], []]
    assert (infos(layer), columns(layer)) == (["", "Continuation Data"], ["SSL", "SSL"])


def test_a_message_of_several_records_is_put_together() -> None:
    pieces = [record(22, CLIENT_HELLO[:3]), record(22, CLIENT_HELLO[3:50]), record(22, CLIENT_HELLO[50:])]
    apart = tls(*(b">" + piece for piece in pieces))
    assert values(apart, "tls.handshake.type") == [[], [], [1]]
    assert values(apart, "tls.handshake.extensions_server_name") == [[], [], ["www.example.org"]]
    assert infos(apart) == ["[Client Hello Fragment]", "", "Client Hello"]
    together = tls(b">" + b"".join(pieces))
    assert infos(together) == ["[Client Hello Fragment], Client Hello"]


def test_alerts_and_heartbeats() -> None:
    layer = tls(
        b">" + record(21, b"\2\x28"), b">" + record(21, b"\1\0" * 9), b">" + record(24, b"\1\0\x03abc" + bytes(16))
    )
    assert infos(layer) == [
        "Alert (Level: Fatal, Description: Handshake Failure)",
        "Encrypted Alert",
        "Heartbeat Request",
    ]
    assert values(layer, "tls.alert_message.desc") == [[40], [], []]


def test_certificates_and_a_request_for_one() -> None:
    chain = message(11, vector(vector(b"first", 3) + vector(b"second", 3), 3))
    asked = message(13, vector(b"\1\x40", 1) + vector(b"") + vector(b""))
    layer = tls(b"<" + record(22, chain + asked + message(14, b""), 0x0303))
    assert values(layer, "tls.handshake.certificate_length") == [[5, 6]]
    assert values(layer, "tls.handshake.certificate") == [[b"first", b"second"]]
    assert values(layer, "tls.handshake.cert_type") == [[1, 64]]
    assert infos(layer) == ["Certificate, Certificate Request, Server Hello Done"]


def test_ssl_2_hellos() -> None:
    hello = b"\x80\x1f\1\0\2\0\6\0\0\0\x10\7\0\xc0\5\0\x80" + b"c" * 16
    layer = tls(b">" + hello)
    assert values(layer, "tls.handshake.cipherspec") == [[0x0700C0, 0x050080]]
    assert values(layer, "tls.handshake.version") == [[2]]
    assert (infos(layer), columns(layer)) == (["Client Hello"], ["SSLv2"])


@pytest.mark.parametrize(
    ("payload", "is_tls"),
    [
        (record(22, CLIENT_HELLO), True),
        (record(22, CLIENT_HELLO)[:9], True),  # it goes on
        (record(23, b"data", 0x0303), True),
        (record(21, b"\2\x28"), False),
        (record(22, b"x", 0x0304), False),
        (record(22, b""), False),
        (b"\x17\3\3\xff\xff" + b"x" * 30, False),
        (b"GET / HTTP/1.1\r\n", False),
        (b"\x16\3\1", False),
    ],
)
def test_what_is_guessed_on_any_port(payload: bytes, is_tls: bool) -> None:
    guess = registry().protocols["tls"].guess
    assert guess is not None
    assert guess(tls(b">" + payload, port=12345)).tolist() == [is_tls]


def test_text_on_its_port_is_not_tls() -> None:
    accepts = registry().protocols["tls"].accepts
    assert accepts is not None
    assert accepts(tls(b">GET / HTTP", b">\x16\3\1\0\1", b">GET", b">\0\1\2\3\4")).tolist() == [False, True, True, True]


def test_lengths_that_lie() -> None:
    lying = bytearray(record(22, CLIENT_HELLO))
    lying[9 + 2 + 32] = 0xFF  # the session's id
    layer = tls(b">" + bytes(lying) + CCS)
    assert values(layer, "tls.handshake.type") == [[1]]
    assert layer.walked is not None
    assert layer.walked.malformed == [0]


def dtls_record(body: bytes, epoch: int = 0, kind: int = 22) -> bytes:
    return struct.pack(">BHHHIH", kind, 0xFEFD, epoch, 0, 7, len(body)) + body


def dtls_message(kind: int, body: bytes, at: int = 0, size: int | None = None) -> bytes:
    piece = body[at : at + (len(body) if size is None else size)]
    head = bytes([kind]) + len(body).to_bytes(3, "big") + b"\0\0" + at.to_bytes(3, "big")
    return head + len(piece).to_bytes(3, "big") + piece


DTLS_HELLO = b"\xfe\xfd" + RANDOM + b"\0" + vector(b"cook", 1) + vector(b"\xc0\x2b") + b"\1\0"


def test_dtls() -> None:
    hello = dtls_record(dtls_message(1, DTLS_HELLO))
    verify = dtls_record(dtls_message(3, b"\xfe\xfd" + vector(b"cookie", 1)))
    layer = conversation(
        "dtls", b">" + hello, b"<" + verify, b"<" + dtls_record(bytes(40), 1), b"<" + dtls_record(b"x", 1, 23),
        port=4433, over="udp",
    )  # fmt: skip
    assert values(layer, "dtls.handshake.cookie") == [[b"cook"], [b"cookie"], [], []]
    assert values(layer, "dtls.handshake.ciphersuite") == [[0xC02B], [], [], []]
    assert values(layer, "dtls.record.sequence_number") == [[7], [7], [7], [7]]
    assert infos(layer) == ["Client Hello", "Hello Verify Request", "Encrypted Handshake Message", "Application Data"]
    assert columns(layer) == ["DTLS", "DTLSv1.2", "DTLSv1.2", "DTLSv1.2"]
    pieces = [dtls_record(dtls_message(1, DTLS_HELLO, at, 20)) for at in (20, 0, 40)]
    layer = conversation("dtls", *(b">" + piece for piece in pieces), port=4433, over="udp")
    assert infos(layer) == ["Client Hello (Fragment)", "Client Hello (Fragment)", "Client Hello (Reassembled)"]
    assert values(layer, "dtls.handshake.ciphersuite") == [[], [], [0xC02B]]


def test_cut_anywhere() -> None:
    assert_sturdy("tls", record(22, SERVER_HELLO + CLIENT_HELLO) + CCS, port=443)
    assert_sturdy("dtls", dtls_record(dtls_message(1, DTLS_HELLO)), port=4433, over="udp")


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 20))
def test_mutated(noise: bytes, at: int, gone: int) -> None:
    for whole in (record(22, CLIENT_HELLO) + CCS, record(22, SERVER_HELLO, 0x0303)):
        mutated = whole[:at] + noise + whole[at + gone :]
        tls(b">" + mutated, b"<" + noise, b"<" + mutated)
    whole = dtls_record(dtls_message(1, DTLS_HELLO))
    conversation("dtls", b">" + whole[:at] + noise + whole[at + gone :], port=4433, over="udp")
