"""The application protocols over whole packets: what is found in conversations is what tshark finds, field by field."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from echowire.core.captures.records import Records
from echowire.core.packets.cells import text_of
from echowire.core.packets.dissect import Dissector, Packets
from echowire.core.packets.registry import registry
from echowire.core.text import printable
from tests.core.packets.protocols.test_http import GET, OK
from tests.core.packets.protocols.test_mqtt import CONNECT, PUBLISH
from tests.core.packets.protocols.test_resp import SET
from tests.core.packets.protocols.test_sip import INVITE
from tests.core.packets.protocols.test_sip import OK as SIP_OK
from tests.core.packets.protocols.test_tls import (
    CCS,
    CLIENT_HELLO,
    DTLS_HELLO,
    SERVER_HELLO,
    SERVER_HELLO_13,
    dtls_message,
    dtls_record,
    message,
    record,
)
from tests.core.packets.protocols.test_websocket import HELLO, MASKED_HELLO

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n"
TUNNEL = b"CONNECT foo.org:443 HTTP/1.1\r\nHost: foo.org\r\n\r\n"
HELLO_RECORD = record(22, CLIENT_HELLO)
ANSWER = record(22, SERVER_HELLO + message(14, b""), 0x0303)
ENCRYPTED = record(22, bytes(8) + b"\x9e" * 32, 0x0303)

TCP: list[tuple[int, list[bytes]]] = [
    (80, [b">" + GET, b"<" + OK, b"<more\0", b">" + GET + GET, b"<HTTP/1.1 304 N\r\n\r\nHTTP/1.1 201 C\r\n\r\n"]),
    (12345, [b">" + GET, b"<" + OK, b"<\xff\xfe"]),
    (8080, [b">GET /cut HTTP/1.1\r\nHost: a.b\r\nCook", b">ie: 1\r\nReferer: x\r\n\r\n", b"<ICY 200 OK\r\n\r\n"]),
    (3128, [b">" + TUNNEL, b"<HTTP/1.1 200 Made\r\n\r\n", b">" + HELLO_RECORD, b"<" + ANSWER]),
    (80, [b">" + UPGRADE, b"<" + UPGRADED, b"<" + HELLO, b">" + MASKED_HELLO]),
    (443, [b">" + HELLO_RECORD, b"<" + ANSWER, b">" + CCS + ENCRYPTED, b"<" + CCS, b"<" + ENCRYPTED]),
    (12346, [b">" + HELLO_RECORD, b"<" + record(22, SERVER_HELLO_13, 0x0303) + record(23, b"x" * 30, 0x0303)]),
    (443, [b">" + record(22, CLIENT_HELLO[:40]), b">" + record(22, CLIENT_HELLO[40:]), b"<" + ANSWER[:20]]),
    (443, [b">" + GET, b"<" + OK]),
    (443, [b"<" + record(21, b"\2\x28", 0x0303), b"<" + record(23, b"x" * 30, 0x0303)[:20], b"<\x99" + bytes(30)]),
    (6379, [b">" + SET, b"<+OK\r\n$-1\r\n:5\r\n"]),
    (1883, [b">" + CONNECT, b"<" + b"\x20\x02\0\0", b">" + PUBLISH]),
    (5060, [b">" + INVITE, b"<" + SIP_OK]),
]

UDP: list[tuple[int, list[bytes]]] = [
    (5060, [b">" + INVITE, b"<" + SIP_OK]),
    (7654, [b">" + dtls_record(dtls_message(1, DTLS_HELLO)), b"<" + dtls_record(b"\2\x28", kind=21)]),
    (1900, [b">NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNTS: ssdp:alive\r\n\r\n"]),
]

FIELD_NAMES = """
    http.request.method http.request.uri http.request.version http.host http.user_agent http.cookie
    http.referer http.response.code http.response.phrase http.content_type http.content_length http.request
    http.response http.notification http.request.full_uri http.request_number http.response_number
    http.response_for.uri http.request.line http.response.line http.proxy_connect_host http.proxy_connect_port
    http.upgrade tls.record.content_type tls.record.opaque_type tls.record.version tls.record.length
    tls.handshake.type tls.handshake.length tls.handshake.version tls.handshake.random tls.handshake.session_id
    tls.handshake.ciphersuite tls.handshake.comp_method tls.handshake.extension.type
    tls.handshake.extension.len tls.handshake.extensions_server_name tls.handshake.extensions_alpn_str
    tls.handshake.extensions_supported_group tls.handshake.extensions.supported_version
    tls.handshake.extensions_key_share_group tls.handshake.sig_hash_alg tls.handshake.ja3_full
    tls.handshake.ja3 tls.handshake.ja3s tls.alert_message.desc tls.app_data dtls.record.content_type
    dtls.record.epoch dtls.record.length dtls.handshake.type dtls.handshake.cookie dtls.handshake.ciphersuite
    dtls.handshake.ja3 dtls.alert_message.level websocket.fin websocket.opcode websocket.mask
    websocket.payload_length websocket.masking_key resp.string resp.integer resp.array.length
    resp.bulk_string.length resp.bulk_string.value mqtt.msgtype mqtt.len mqtt.clientid mqtt.ver mqtt.kalive
    mqtt.username mqtt.topic mqtt.msg mqtt.conack.val mqtt.msgid sip.Method sip.r-uri sip.Status-Code
    sip.Call-ID sip.CSeq sip.CSeq.method sip.from.addr sip.from.tag sip.to.addr sip.to.host sip.Via
    sip.Content-Length sip.Max-Forwards
"""

FIELDS = FIELD_NAMES.split()


def packet(port: int, client: int, segment: bytes, over: str, sent: dict[bool, int]) -> bytes:
    """An Ethernet frame; `sent` counts the bytes of each side, for TCP's numbers."""
    is_server, payload = segment[:1] == b"<", segment[1:]
    ports = (port, client) if is_server else (client, port)
    if over == "udp":
        body = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    else:
        numbers = 1000 + sent[is_server], 1000 + sent[not is_server]
        body = struct.pack(">HHIIBBHHH", *ports, *numbers, 0x50, 0x18, 8192, 0, 0) + payload
        sent[is_server] += len(payload)
    here, there = b"\x0a\0\0\2", b"\x0a\0\0\1"
    addresses = (here + there) if is_server else (there + here)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 17 if over == "udp" else 6, 0)
    return bytes(12) + b"\x08\0" + head + addresses + body


def packets() -> list[bytes]:
    """All conversations, one after the other."""
    found, client = [], 50_000
    for over, conversations in (("tcp", TCP), ("udp", UDP)):
        for port, segments in conversations:
            client += 1
            sent = {True: 0, False: 0}
            found += [packet(port, client, segment, over, sent) for segment in segments]
    return found


def ours(found: Packets, name: str) -> list[list[str]]:
    """A field's values in each packet, as text."""
    field = registry().described(name)[0][1]
    texts: list[list[str]] = [[] for _ in range(len(found))]
    rows, column = found.values(name)
    for row, value in zip(rows.tolist(), column, strict=True):
        texts[row].append(printable(text_of(field, value)))
    return texts


def said(found: Packets, kind: str) -> list[str | None]:
    """The column Info or Protocol of each packet: what the innermost layer says that says anything."""
    texts: list[str | None] = [None] * len(found)
    for layer in found.layers:
        maker = layer.protocol.info if kind == "info" else layer.protocol.column
        entries = [maker] * len(layer) if isinstance(maker, str) else maker(layer) if maker else [None] * len(layer)
        for row, text in zip(layer.rows.tolist(), entries, strict=True):
            if text or (text is not None and kind == "info"):
                texts[row] = text
    return texts


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Tshark's text of each field and column, a packet each."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    path = tmp_path_factory.mktemp("tshark") / "applications.pcap"
    write(path, packets())
    names = [*FIELDS, "_ws.col.Info", "_ws.col.Protocol"]
    command = [tshark, "-n", "-r", str(path), "-o", "tcp.desegment_tcp_streams:FALSE", "-T", "fields"]
    command += ["-E", "aggregator=;", *(part for name in names for part in ("-e", name))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def write(path: Path, frames: list[bytes]) -> None:
    """A capture of Ethernet frames."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for number, frame in enumerate(frames):
            file.write(struct.pack("<IIII", number, 0, len(frame), len(frame)) + frame)


@pytest.fixture(scope="module")
def dissected() -> Packets:
    """The same packets here."""
    frames = packets()
    return Dissector().dissect(Records.of(frames, [0] * len(frames)))


@pytest.mark.parametrize("name", FIELDS)
def test_a_field(name: str, dissected: Packets, theirs: dict[str, list[str]]) -> None:
    assert [";".join(texts) for texts in ours(dissected, name)] == theirs[name]


def test_every_field_was_met(theirs: dict[str, list[str]]) -> None:
    assert [name for name in FIELDS if not any(theirs[name])] == []


def test_columns(dissected: Packets, theirs: dict[str, list[str]]) -> None:
    assert said(dissected, "column") == theirs["_ws.col.Protocol"]


def test_infos(dissected: Packets, theirs: dict[str, list[str]]) -> None:
    # What tshark says of a message that goes on in the next segment is left out here.
    different = [
        (number + 1, our, their)
        for number, (our, their) in enumerate(zip(said(dissected, "info"), theirs["_ws.col.Info"], strict=True))
        if our is not None and our != their.removesuffix("[BoundErrorUnreassembled Packet]")
    ]
    assert different == []
