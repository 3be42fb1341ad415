"""SSH: banners, offers, and where encryption begins."""

from __future__ import annotations

import hashlib
from struct import pack

import pytest

from tests.core.packets.packets import answered, assert_bounded, dissect, in_order, segment

LISTS = (
    b"curve25519-sha256,x",
    b"ssh-ed25519",
    b"aes128-ctr",
    b"aes256-ctr",
    b"hmac-1",
    b"hmac-2",
    b"none",
    b"zlib",
    b"",
    b"",
)


def packet(code: int, body: bytes) -> bytes:
    whole = b"\4" + bytes([code]) + body + bytes(4)
    return pack(">I", len(whole)) + whole


def offer(*lists: bytes) -> bytes:
    return packet(20, bytes(16) + b"".join(pack(">I", len(one)) + one for one in lists) + bytes(5))


def talk() -> list[bytes]:
    return [
        segment(b"SSH-2.0-client\r\n", 22),
        answered(b"SSH-2.0-server\r\n", 22),
        segment(offer(*LISTS), 22),
        answered(offer(*LISTS), 22),
        segment(packet(30, bytes(36)), 22),
        answered(packet(31, bytes(36)) + packet(21, b""), 22),
        segment(packet(21, b"") + bytes(range(40)), 22),
        answered(bytes(range(64)), 22),
    ]


@pytest.mark.parametrize("chunk", [1, 100])
def test_a_conversation(chunk: int) -> None:
    fields = ["ssh.protocol", "ssh.kex_algorithms", "ssh.kex.hassh", "_ws.col.Info"]
    found = dissect(in_order(talk()), fields, chunk=chunk)
    assert found["ssh.protocol"][:2] == [["SSH-2.0-client"], ["SSH-2.0-server"]]
    assert found["ssh.kex_algorithms"][2] == ["curve25519-sha256,x"]
    hassh = hashlib.md5(b"curve25519-sha256,x;aes128-ctr;hmac-1;none", usedforsecurity=False).hexdigest()
    assert found["ssh.kex.hassh"][2] == [hassh]
    assert [one[0] for one in found["_ws.col.Info"]] == [
        "Client: Protocol (SSH-2.0-client)",
        "Server: Protocol (SSH-2.0-server)",
        "Client: Key Exchange Init",
        "Server: Key Exchange Init",
        "Client: Elliptic Curve Diffie-Hellman Key Exchange Init",
        "Server: Elliptic Curve Diffie-Hellman Key Exchange Reply, New Keys",
        "Client: New Keys, Encrypted packet (len=40)",
        "Server: Encrypted packet (len=64)",
    ]


def test_a_list_that_lies_ends_the_offer() -> None:
    bad = packet(20, bytes(16) + b"\xff\xff\xff\xff" + b"curve")
    packets = in_order([segment(b"SSH-2.0-x\r\n", 22), segment(bad, 22)])
    assert dissect(packets, ["ssh.kex_algorithms"])["ssh.kex_algorithms"] == [[], []]


def test_cut_and_damaged_packets_are_read() -> None:
    assert_bounded(segment(b"SSH-2.0-x\r\n" + offer(*LISTS), 22))
