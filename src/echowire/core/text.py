"""Text from elsewhere on its way to a person: of a packet, a peer, a file's name, a process, a host.

Such text must not steer a terminal (ESC, BEL, CSI), break a line (CR, U+2028), turn around what stands beside it (the
bidirectional overrides) or be no UTF-8 (a lone surrogate, which is a byte of a file name that is none). What is shown
goes through `printable`, and a JSON document through `json_text`; `shown` and `printable_ascii` are for what Wireshark
spells otherwise. Unicode says what is harmless: `str.isprintable`, which is quick, and True of nearly all.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMED = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}


def printable(text: str) -> str:
    """One line: what cannot be printed as C writes it (`\\r`, `\\x1b`, `\\u202e`), all else as it is."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _NAMED.get(ord(c)) or _hexadecimal(c) for c in text)


def json_text(document: Any, *, indent: int | None = None) -> str:
    """`document` as JSON, in which all that cannot be printed is `\\uXXXX`: the same values to whoever parses it.

    With `indent` for people, else on one line. NaN is refused: `ValueError`.
    """
    import json  # a quick listing of sockets does without

    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent)
    if text.isprintable():
        return text
    # A line end stands between values: within them it is \n.
    return "\n".join(line if line.isprintable() else _json_escaped(line) for line in text.split("\n"))


def ascii_text(data: bytes) -> str:
    """Text that must be ASCII, up to a byte of zero: any other byte that is none is U+FFFD."""
    return data.partition(b"\0")[0].decode("ascii", "replace")


def shown(data: bytes) -> str:
    """One line for a person, as Wireshark's tree has it: what cannot be printed as C writes it (`\\r`, `\\001`)."""
    text = data.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _NAMED.get(ord(c)) or _octal(c) for c in text)


def printable_ascii(data: bytes) -> str:
    """A name of DNS and its kin: ASCII that cannot be printed as C writes it, all else as it is, as Wireshark has it.

    It is a field's value, of which filters and other fields speak; whoever shows it makes it `printable`.
    """
    text = data.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or ord(c) >= 0x80 else _NAMED.get(ord(c)) or _octal(c) for c in text)


def _hexadecimal(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "replace"))


def _json_escaped(text: str) -> str:
    return "".join(c if c.isprintable() else _json_units(c) for c in text)


def _json_units(char: str) -> str:
    """A character as JSON's escapes: one, or beyond U+FFFF a pair of surrogates (RFC 8259, section 7)."""
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
