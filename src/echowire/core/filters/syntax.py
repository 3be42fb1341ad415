"""The display filter's text to tokens: Wireshark 4.0's spelling (wireshark-filter(4), "FILTER SYNTAX").

Every token knows where it stands, so that an error can point at it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from echowire.errors import FilterError

MAX_FILTER = 64 * 1024
"""Characters of a filter. A list of a thousand addresses has 16,000; what parses it is recursive only in brackets."""

Kind: TypeAlias = Literal["word", "string", "character", "slice", "layer", "operator", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the filter: `text` as it stands there, `value` what it means."""

    kind: Kind
    text: str
    at: int
    value: str = ""

    def error(self, message: str, filter_text: str) -> FilterError:
        """An error that points here."""
        return FilterError(message, filter_text, self.at, max(len(self.text), 1))


OPERATORS = {
    "eq": "==", "any_eq": "==", "ne": "!=", "all_ne": "!=", "all_eq": "===", "any_ne": "!==", "~=": "!==",
    "gt": ">", "lt": "<", "ge": ">=", "le": "<=", "~": "matches", "contains": "contains", "matches": "matches",
    "and": "&&", "or": "||", "xor": "^^", "not": "!", "in": "in", "bitand": "&", "bitwise_and": "&",
    "any": "any", "all": "all",
}  # fmt: skip
"""Spellings in words, and others, of what is otherwise written in signs."""

_SIGNS = r"===|!==|==|!=|~=|>=|<=|&&|\|\||\^\^|\.\.|[~><!&+\-*/%(){},]"
_TOKENS = re.compile(
    rf"""\s*(?:
      (?P<raw>[rR]"(?P<rawtext>(?:[^"\\]|\\.)*)")
    | (?P<string>"(?P<text>(?:[^"\\]|\\.)*)")
    | (?P<character>'(?P<char>(?:[^'\\]|\\.)[^']*)')
    | (?P<prefix>(?:[0-9]+(?:\.[0-9]+){{0,3}}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)/[0-9]+)
    | (?P<word>(?:\.(?=[A-Za-z_]))?[A-Za-z0-9_:](?:[A-Za-z0-9_:\-]|\.(?!\.))*)
    | (?P<layer>\#\s*(?:\[[^\]]*\]|-?[0-9]+))
    | (?P<slice>\[[^\]]*\])
    | (?P<operator>{_SIGNS})
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{1,3}|.)", re.DOTALL)


def tokens(text: str) -> list[Token]:
    """The pieces of a filter, an end last. Raises `FilterError`."""
    if len(text) > MAX_FILTER:
        raise FilterError(f"a filter of {len(text)} characters, where at most {MAX_FILTER} are taken", "", 0, 0)
    found, at = [], 0
    while text[at:].strip():
        match = _TOKENS.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            sign = text[at]
            what = "a text that does not end" if sign in "\"'" else f"'{sign}' is not understood"
            raise FilterError(what, text, at, 1)
        found.append(_token(match, text))
        at = match.end()
    return [*found, Token("end", "", len(text.rstrip()))]


def _token(match: re.Match[str], filter_text: str) -> Token:
    kind = match.lastgroup or ""
    groups = match.groupdict()
    for name, inner in (("raw", "rawtext"), ("string", "text"), ("character", "char")):
        if groups[name] is not None:
            at, text = match.start(name), groups[name]
            value = groups[inner]
            if name != "raw":
                value = unescaped(value)
            if name == "character" and len(value) != 1:
                raise FilterError("one character stands between single quotes", filter_text, at, len(text))
            return Token("character" if name == "character" else "string", text, at, value)
    text, at = match[kind], match.start(kind)
    if kind == "prefix":
        return Token("word", text, at, text)
    if kind == "word" and text in OPERATORS:
        return Token("operator", text, at, OPERATORS[text])
    if kind == "operator":
        return Token("operator", text, at, OPERATORS.get(text, text))
    if kind == "layer":
        return Token("layer", text, at, text[1:].strip().removeprefix("[").removesuffix("]"))
    if kind == "slice":
        return Token("slice", text, at, text[1:-1])
    return Token("word", text, at, text)


def unescaped(text: str) -> str:
    """A quoted text's meaning. What is written as a byte above 127 (\\xff) is a surrogate, as Python has it for bytes
    that are no UTF-8."""

    def one(match: re.Match[str]) -> str:
        said = match[1]
        if said[0] in "uU" and len(said) > 1:
            return chr(min(int(said[1:], 16), 0x10FFFF))
        byte = -1
        if said[0] == "x" and len(said) > 1:
            byte = int(said[1:], 16)
        elif set(said) <= set("01234567"):
            byte = int(said, 8) & 0xFF
        if byte < 0:
            return _ESCAPES.get(said, said)
        return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)

    return _ESCAPE.sub(one, text)
