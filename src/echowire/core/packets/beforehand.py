"""What is imported only once it is needed, imported before: for a program whose files may soon be out of its reach."""

from __future__ import annotations


def load_all() -> None:
    """Import what decoding packets, and finding their processes, would import at some packet."""
    import encodings.unicode_escape  # mount points are written in it
    import hashlib  # fingerprints
    import hmac  # QUIC's keys

    import numpy.ma  # numpy.unique asks whether an array is masked

    _ = encodings, hashlib, hmac, numpy
