"""Digests, by the test vectors of their standards."""

from __future__ import annotations

from echowire.core.packets.digests import hmac_sha256, md5, sha256


def test_md5() -> None:
    """RFC 1321, appendix A.5."""
    assert md5(b"") == "d41d8cd98f00b204e9800998ecf8427e"
    assert md5(b"abc") == "900150983cd24fb0d6963f7d28e17f72"


def test_sha256() -> None:
    """FIPS 180-4's example of one block."""
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_hmac_sha256() -> None:
    """RFC 4231, section 4.3."""
    digest = hmac_sha256(b"Jefe", b"what do ya want for nothing?")
    assert digest.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
