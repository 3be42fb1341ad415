"""Opening QUIC's Initial packets (RFC 9001, section 5; RFC 9369 for version 2).

Their keys are made of the version and of the connection id that the client first chose, which stands in the packet.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from echowire.core.packets.aes import encrypt, open_gcm
from echowire.core.packets.digests import hmac_sha256

SAMPLE_BYTES = 16

_DRAFT_29 = bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")
_DRAFT_23 = bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")

SALTS: Mapping[int, bytes] = {
    0x00000001: bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    0x6B3343CF: bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
    **dict.fromkeys(range(0xFF000017, 0xFF00001D), _DRAFT_23),
    **dict.fromkeys(range(0xFF00001D, 0xFF000023), _DRAFT_29),
}
"""Of each version whose Initial packets can be opened: 1, 2, and the drafts 23 to 34."""

VERSION_2 = 0x6B3343CF


class Keys(NamedTuple):
    """What one side protects its Initial packets with."""

    key: bytes
    iv: bytes
    header: bytes


class Opened(NamedTuple):
    """An Initial packet without its protection."""

    first: int
    """Its first byte."""
    number: int
    """The packet number, as far as it is sent."""
    number_size: int
    payload: bytes | None
    """None if not all of it was captured."""


def _expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, section 7.1) of no context; 32 bytes at most, which is one round."""
    name = b"tls13 " + label.encode()
    return hmac_sha256(secret, size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0\1")[:size]


@lru_cache(maxsize=256)
def initial_keys(version: int, connection_id: bytes, is_client: bool) -> Keys:
    """The keys of one side (RFC 9001, section 5.2)."""
    initial = hmac_sha256(SALTS[version], connection_id)
    secret = _expand(initial, "client in" if is_client else "server in", 32)
    prefix = "quicv2" if version == VERSION_2 else "quic"
    return Keys(*(_expand(secret, f"{prefix} {name}", size) for name, size in (("key", 16), ("iv", 12), ("hp", 16))))


def open_header(packet: bytes, at: int, keys: Keys) -> Opened | None:
    """Take the protection off the header alone (RFC 9001, section 5.4); the packet's number stands at `at`.

    Nothing in it tells whether these were its keys. None where too little of it was captured.
    """
    sample = packet[at + 4 : at + 4 + SAMPLE_BYTES]
    if len(sample) < SAMPLE_BYTES:
        return None
    mask = encrypt(keys.header, np.frombuffer(sample, np.uint8).reshape(1, -1))[0].tobytes()
    first = packet[0] ^ mask[0] & 0x0F
    size = (first & 3) + 1
    number = bytes(a ^ b for a, b in zip(packet[at : at + size], mask[1:], strict=False))
    return Opened(first, int.from_bytes(number, "big"), size, None)


def open_initial(packet: bytes, at: int, keys: Keys) -> Opened | None:
    """Take the protection off a packet (RFC 9001, section 5.3), or None if these are not its keys."""
    head = open_header(packet, at, keys)
    if head is None:
        return None
    header = bytes([head.first]) + packet[1:at] + head.number.to_bytes(head.number_size, "big")
    nonce = (int.from_bytes(keys.iv, "big") ^ head.number).to_bytes(12, "big")
    payload = open_gcm(keys.key, nonce, packet[at + head.number_size :], header)
    return None if payload is None else head._replace(payload=payload)
