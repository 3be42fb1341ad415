"""Compressed payloads of IPsec: unpacked where they can be, bounded where they lie."""

from __future__ import annotations

import zlib
from pathlib import Path

from fuzz.packets import ipv4, tcp

from echowire.core.packets.protocols.ipsec import MAX_UNPACKED_BYTES
from tests.core.packets.frames import dissect, survives, texts, tshark

RAW_IP = 101
INNER = ipv4(6, tcp(80, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
FIELDS = ("ip.proto", "ipcomp.next_header", "ipcomp.cpi", "tcp.dstport", "http.host")


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def compressed(data: bytes, number: int = 0xEED1) -> bytes:
    return ipv4(108, b"\4\0" + number.to_bytes(2, "big") + data)


def test_what_was_compressed_is_dissected_as_tshark_does(tmp_path: Path) -> None:
    packets = [compressed(deflated(INNER)), compressed(deflated(INNER), 2), compressed(b"\xff no deflate")]
    assert texts(RAW_IP, packets, FIELDS) == tshark(tmp_path, RAW_IP, packets, FIELDS)
    assert dissect(RAW_IP, packets, ["tcp.dstport"]) == {"tcp.dstport": [[80], [80], []]}


def test_a_bomb_is_unpacked_as_far_as_a_packet_can_be_long() -> None:
    bomb = compressed(deflated(INNER[:2] + b"\xff\xff" + INNER[4:] + bytes(10_000_000)))
    found = dissect(RAW_IP, [bomb], ["tcp.len"])
    assert found["tcp.len"] == [[MAX_UNPACKED_BYTES - 40]]


def test_damage_is_survived() -> None:
    survives(RAW_IP, compressed(deflated(INNER)))
