"""Regular expressions of display filters: PCRE's, without regard to case, over bytes.

Python's `re` speaks the same language but for a few spellings, which are translated here: classes such as `[:alpha:]`,
`(?<name>…)`, `\\h` and `\\R`, and `\\Q…\\E`.
"""

from __future__ import annotations

import re
from functools import cache

_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "a-zA-Z", "lower": "a-zA-Z", "space": r"\s",
    "blank": r" \t", "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "word": r"\w", "cntrl": r"\x00-\x1f\x7f",
    "print": " -~", "graph": "!-~",
}  # fmt: skip
_SPELLINGS = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|$)|\\(?P<escape>.)|\[:(?P<name>[a-z]+):\]|\(\?<(?P<group>[A-Za-z_])", re.DOTALL
)
_ESCAPES = {"h": r"[ \t]", "R": r"(?:\r\n|\n|\r)", "z": r"\Z"}


@cache
def compiled(pattern: str) -> re.Pattern[bytes]:
    """A pattern to search bytes with; texts are searched as UTF-8. Raises `ValueError` for one that is none."""
    try:
        return re.compile(_SPELLINGS.sub(_spelled, pattern).encode("utf-8", "surrogateescape"), re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _spelled(match: re.Match[str]) -> str:
    if match["quoted"] is not None:
        return re.escape(match["quoted"])
    if match["escape"] is not None:
        return _ESCAPES.get(match["escape"], match[0])
    if match["name"] is not None:
        if match["name"] not in _CLASSES:
            raise ValueError(f"there is no class [:{match['name']}:]")
        return _CLASSES[match["name"]]
    return f"(?P<{match['group']}"
