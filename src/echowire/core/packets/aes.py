"""AES-128 and its mode GCM (FIPS 197, NIST SP 800-38D), to open what was encrypted with a key that everybody knows.

A QUIC client's first packet is encrypted under a key made of numbers that stand in it (RFC 9001, section 5.2), so that
there is no secret here and nothing to protect: no key of anybody's ever comes this way, and what is fast enough and
right is good enough. That is why no cryptographic library is asked for: the smallest is larger than all of Echowire,
and a hundred lines of numpy open such a packet in a millisecond. Encryption of anything is not their job.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Blocks = NDArray[np.uint8]
"""Blocks of 16 bytes, a row each."""

ROUNDS = 10
BLOCK_BYTES = 16
TAG_BYTES = 16

_SHIFT_ROWS = np.array([0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11])
_REDUCTION = 0xE1 << 120
"""The polynomial of GHASH, bits in its order (SP 800-38D, section 6.3)."""


@cache
def _tables() -> tuple[Blocks, Blocks]:
    """The S-box, and multiplication by 2 (FIPS 197, sections 5.1.1 and 4.2.1)."""
    powers, number = [0] * 256, 1
    logs = [0] * 256
    for exponent in range(255):
        powers[exponent], logs[number] = number, exponent
        number ^= (number << 1) ^ (0x11B if number & 0x80 else 0)  # times 3, which generates them all
    box = []
    for value in range(256):
        inverse = powers[(255 - logs[value]) % 255] if value else 0
        turned = inverse | inverse << 8
        box.append((inverse ^ turned >> 7 ^ turned >> 6 ^ turned >> 5 ^ turned >> 4 ^ 0x63) & 0xFF)
    doubled = [(value << 1 ^ (0x1B if value & 0x80 else 0)) & 0xFF for value in range(256)]
    return np.array(box, np.uint8), np.array(doubled, np.uint8)


@lru_cache(maxsize=64)
def _round_keys(key: bytes) -> Blocks:
    """Key expansion (FIPS 197, section 5.2): 11 keys of 16 bytes."""
    box = _tables()[0].tolist()
    words = [list(key[at : at + 4]) for at in range(0, BLOCK_BYTES, 4)]
    constant = 1
    for number in range(4, 4 * (ROUNDS + 1)):
        word = words[-1]
        if number % 4 == 0:
            word = [box[byte] for byte in (*word[1:], word[0])]
            word[0] ^= constant
            constant = constant << 1 ^ (0x11B if constant & 0x80 else 0)
        words.append([a ^ b for a, b in zip(word, words[number - 4], strict=True)])
    return np.array(words, np.uint8).reshape(ROUNDS + 1, BLOCK_BYTES)


def encrypt(key: bytes, blocks: Blocks) -> Blocks:
    """Each block encrypted by itself; the key has 16 bytes."""
    box, doubled = _tables()
    keys = _round_keys(key)
    state: NDArray[Any] = blocks ^ keys[0]
    for number in range(1, ROUNDS + 1):
        state = box[state][:, _SHIFT_ROWS]
        if number < ROUNDS:
            column = state.reshape(-1, 4, 4)
            one, two, three = (np.roll(column, -by, axis=2) for by in (1, 2, 3))
            state = (doubled[column ^ one] ^ one ^ two ^ three).reshape(-1, BLOCK_BYTES)
        state = state ^ keys[number]
    return state


def open_gcm(key: bytes, nonce: bytes, sealed: bytes, extra: bytes) -> bytes | None:
    """What AES-128-GCM sealed, its tag behind it, or None if the tag is not right; the nonce has 12 bytes."""
    if len(sealed) < TAG_BYTES:
        return None
    text, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
    count = -(-len(text) // BLOCK_BYTES)
    counters = np.zeros((count + 2, BLOCK_BYTES), np.uint8)  # the first is all zeros: the key of GHASH
    counters[1:, :12] = np.frombuffer(nonce, np.uint8)
    counters[1:, 12:] = np.arange(1, count + 2, dtype=">u4").view(np.uint8).reshape(-1, 4)
    stream = encrypt(key, counters)
    sizes = (8 * len(extra)).to_bytes(8, "big") + (8 * len(text)).to_bytes(8, "big")
    found = _ghash(stream[0].tobytes(), _padded(extra) + _padded(text) + sizes)
    if found ^ int.from_bytes(stream[1].tobytes(), "big") != int.from_bytes(tag, "big"):
        return None
    return (np.frombuffer(text, np.uint8) ^ stream[2:].reshape(-1)[: len(text)]).tobytes()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK_BYTES)


def _ghash(key: bytes, data: bytes) -> int:
    """GHASH (SP 800-38D, section 6.4), four bits at a time."""
    table, reduced = _multiples(key)
    found = 0
    for at in range(0, len(data), BLOCK_BYTES):
        found ^= int.from_bytes(data[at : at + BLOCK_BYTES], "big")
        product = 0
        for _ in range(32):
            product = product >> 4 ^ reduced[product & 0xF] ^ table[found & 0xF]
            found >>= 4
        found = product
    return found


@lru_cache(maxsize=64)
def _multiples(key: bytes) -> tuple[list[int], list[int]]:
    """The key times each number of four bits, and what four bits that fall out at the end come back as."""
    powers = [int.from_bytes(key, "big")]
    for _ in range(3):
        powers.append(_halved(powers[-1]))
    table = [0] * 16
    reduced = [0] * 16
    for number in range(16):
        for bit in range(4):
            if number & 8 >> bit:
                table[number] ^= powers[bit]
        value = number
        for _ in range(4):
            value = _halved(value)
        reduced[number] = value
    return table, reduced


def _halved(value: int) -> int:
    """Times x, in GHASH's order of bits."""
    return value >> 1 ^ (_REDUCTION if value & 1 else 0)
