"""A secret in a file."""

from __future__ import annotations

import os
from pathlib import Path

from echowire.errors import UsageError

KEY_MAX_BYTES = 4096
"""Longer files are none: HMAC would hash so long a key down to 32 bytes anyway (RFC 2104 section 2)."""


def read_key(path: str | os.PathLike[str]) -> bytes:
    """The key in a file: its bytes, without the line end that an editor left. Raises `UsageError`."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(KEY_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"key {path}: {(error.strerror or str(error)).lower()} (errno {error.errno})") from error
    key = data.removesuffix(b"\n").removesuffix(b"\r")
    if not key or len(data) > KEY_MAX_BYTES:
        raise UsageError(f"key {path}: a key has 1 to {KEY_MAX_BYTES:,} bytes")
    return key
