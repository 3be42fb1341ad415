"""Regular expressions of display filters: PCRE's language, without regard to case, over bytes, in linear time.

RE2 is the engine: a user's pattern meets what somebody else sent, and one such as `(a|aa)+b` takes an engine that tries
again and again, as Python's does, longer than anybody waits. What cannot be had in linear time (back-references,
look-around) it does not have, and it is said. As in Wireshark a letter beyond ASCII is its UTF-8 bytes, and only ASCII
has two cases (WS_REGEX_NEVER_UTF): so RE2 is told that all is Latin-1, where it knows no others either.

The few spellings that PCRE has and RE2 has not are translated here: `\\h`, `\\R`, `\\Z`, `$` before a last line end.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Protocol


class Pattern(Protocol):
    """What is searched with."""

    def search(self, text: bytes, /) -> object | None:
        """A match anywhere in `text`, or None."""


class BeyondLinearError(ValueError):
    """A pattern that is one, and that cannot be searched in linear time."""


_PART = re.compile(
    r"\\Q.*?(?:\\E|\Z)|\\c?.|\[:\^?[a-z]+:\]|\[\^?\]?|\(\?(?:P[=>]|<[=!]|[^)])?|[*+?]\+|\{\d+(?:,\d*)?\}\+|.",
    re.DOTALL,
)
"""What is looked at as one: a quotation, an escape, a class of a name, the begin of a class or a group with what it is,
a possessive quantifier; else a character."""

_MULTILINE = re.compile(r"\(\?[a-zA-Z]*m")

_BLANK, _SPACE, _VERTICAL = r" \t", r"\t-\r ", r"\n-\r\x85"
_IN_CLASS = {r"\h": _BLANK, r"\s": _SPACE, r"\v": _VERTICAL, r"\e": r"\x1b", r"\b": r"\x08"}
_OUTSIDE = {
    r"\h": f"[{_BLANK}]", r"\H": f"[^{_BLANK}]", r"\s": f"[{_SPACE}]", r"\S": f"[^{_SPACE}]", r"\v": f"[{_VERTICAL}]",
    r"\V": f"[^{_VERTICAL}]", r"\R": rf"(?:\r\n|[{_VERTICAL}])", r"\N": r"[^\n]", r"\e": r"\x1b",
    r"\Z": r"(?:\n?\z)", "$": r"(?:\n?\z)",
}  # fmt: skip

_REFUSED = {
    "back-references": (*(f"\\{digit}" for digit in range(1, 10)), r"\k", r"\g", "(?P="),
    "look-around": ("(?=", "(?!", "(?<=", "(?<!", r"\K"),
    "atomic groups": ("(?>",),
    "possessive quantifiers": ("*+", "++", "?+", "}+"),
    "comments": ("(?#",),
    "conditions": ("(?(",),
    "recursion": ("(?R", "(?&", "(?P>", *(f"(?{digit}" for digit in range(10))),
}
"""What PCRE has, by what it is known by, and RE2 has not."""

_WHAT = {token: what for what, tokens in _REFUSED.items() for token in tokens}

MAX_REPETITIONS = 1000
"""Of a counted repetition: RE2's limit (kMaxRepeat), as it makes as many copies."""


@cache
def compiled(pattern: str) -> Pattern:
    """A pattern to search bytes with; texts are searched as UTF-8. Raises `ValueError` for one that is none, and
    `BeyondLinearError` for what RE2 does not have."""
    import re2  # where a filter needs it, and in no start without

    options = re2.Options()
    options.encoding, options.case_sensitive = re2.Options.Encoding.LATIN1, False
    options.never_capture, options.log_errors = True, False
    try:
        made: Pattern = re2.compile(_translated(pattern).encode("utf-8", "surrogateescape"), options)
    except re2.error as error:
        text = error.args[0].decode("utf-8", "replace")
        if text.startswith(("invalid repetition size", "pattern too large")):
            raise BeyondLinearError(f"it is too large: a repetition is of {MAX_REPETITIONS:,} at most") from None
        raise ValueError(text) from None
    return made


def _translated(pattern: str) -> str:
    """The pattern as RE2 spells it."""
    spelled, in_class, has_lines = [], False, bool(_MULTILINE.search(pattern))
    for part in _PART.findall(pattern):
        if len(part) == 3 and part.startswith(r"\c"):
            spelled.append(f"\\x{ord(part[2].upper()) & 0x7F ^ 0x40:02x}")
        elif in_class:
            in_class = not (part == "]" or (part[0] == "[" and part.endswith("]") and part[1] != ":"))
            spelled.append(_IN_CLASS.get(part, part))
        elif part[0] == "[":
            in_class = not part.startswith("[:")
            spelled.append(part)
        elif what := _WHAT.get("}+" if part[0] == "{" and part != "{" else part):
            raise BeyondLinearError(f"it has no {what} ({part})")
        else:
            spelled.append(part if part == "$" and has_lines else _OUTSIDE.get(part, part))
    return "".join(spelled)
