"""Digests of what was captured, as fingerprints and QUIC's keys need them.

`hashlib` is imported when one is made: OpenSSL takes longer to load than most captures need in all.
"""

from __future__ import annotations


def md5(data: bytes) -> str:
    """RFC 1321, in hexadecimal digits: as a name for what was seen, not as a secret."""
    import hashlib

    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def sha256(data: bytes) -> str:
    """FIPS 180-4, in hexadecimal digits."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """RFC 2104."""
    import hmac

    return hmac.digest(key, data, "sha256")
