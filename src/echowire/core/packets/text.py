"""Bytes as text, the way that Wireshark shows them, for protocols whose messages are lines."""

from __future__ import annotations

_NAMED = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}


def ascii_text(data: bytes) -> str:
    """Text that must be ASCII, up to a byte of zero: any other byte that is none is U+FFFD."""
    return data.partition(b"\0")[0].decode("ascii", "replace")


def shown(data: bytes) -> str:
    """One line for a person: UTF-8 as it is, what cannot be printed as C writes it (`\\r`, `\\001`)."""
    text = data.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _NAMED.get(ord(c)) or _octal(c) for c in text)


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "replace"))


def printable(data: bytes) -> str:
    """A name of DNS and its kin: UTF-8 as it is, ASCII that cannot be printed as C writes it, all else as it is."""
    text = data.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or ord(c) >= 0x80 else _NAMED.get(ord(c)) or _octal(c) for c in text)
