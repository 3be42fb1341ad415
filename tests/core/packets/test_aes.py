"""AES-128 and GCM, against the standards' own examples and against OpenSSL."""

from __future__ import annotations

import random

import numpy as np
import pytest

from echowire.core.packets.aes import encrypt, open_gcm


def one_block(key: str, text: str) -> str:
    return encrypt(bytes.fromhex(key), np.frombuffer(bytes.fromhex(text), np.uint8).reshape(1, 16)).tobytes().hex()


def test_a_block_is_encrypted_as_fips_197_shows() -> None:
    key = "000102030405060708090a0b0c0d0e0f"
    assert one_block(key, "00112233445566778899aabbccddeeff") == "69c4e0d86a7b0430d8cdb78070b4c55a"  # appendix C.1
    key = "2b7e151628aed2a6abf7158809cf4f3c"
    assert one_block(key, "3243f6a8885a308d313198a2e0370734") == "3925841d02dc09fbdc118597196a0b32"  # appendix B


def test_gcm_opens_what_mcgrew_and_viega_sealed() -> None:
    """Test cases 1, 2 and 4 of "The Galois/Counter Mode of Operation", appendix B."""
    zeros = bytes(16)
    assert open_gcm(zeros, bytes(12), bytes.fromhex("58e2fccefa7e3061367f1d57a4e7455a"), b"") == b""
    sealed = bytes.fromhex("0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf")
    assert open_gcm(zeros, bytes(12), sealed, b"") == zeros
    text = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
        "ba637b39"
    )
    sealed = bytes.fromhex(
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac97"
        "3d58e0915bc94fbc3221a5db94fae95ae7121a47"
    )
    key, nonce = bytes.fromhex("feffe9928665731c6d6a8f9467308308"), bytes.fromhex("cafebabefacedbaddecaf888")
    extra = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    assert open_gcm(key, nonce, sealed, extra) == text


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1200])
def test_what_openssl_sealed_is_opened_and_a_changed_bit_is_seen(size: int) -> None:
    aead = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead")
    draw = random.Random(size)
    key, nonce, extra, text = (draw.randbytes(length) for length in (16, 12, size % 37, size))
    sealed = aead.AESGCM(key).encrypt(nonce, text, extra)
    assert open_gcm(key, nonce, sealed, extra) == text
    at = draw.randrange(len(sealed))
    changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
    assert open_gcm(key, nonce, changed, extra) is None
    assert open_gcm(key, nonce, sealed, extra + b"x") is None


def test_what_has_no_tag_is_not_opened() -> None:
    assert open_gcm(bytes(16), bytes(12), b"short", b"") is None
