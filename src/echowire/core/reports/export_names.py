"""Names for files that come of what others sent: safe in any directory, and each there once.

As tshark makes them (`--export-objects`): what no file system takes is written as %xx, and where a name is taken a
number goes before its extension: `a(1).html`.
"""

from __future__ import annotations

import re

MAX_NAME_BYTES = 255
"""NAME_MAX of every usual file system."""

_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def safe_name(text: str, number: int = 0) -> str:
    """A name in which nothing leads elsewhere, with `number` where that is not 0."""
    name = _REFUSED.sub(lambda one: f"%{ord(one[0]):02x}", text)
    if name.strip(".") == "":
        name = name.replace(".", "%2e") or "%"
    mark = f"({number})" if number else ""
    stem, dot, extension = name.rpartition(".")
    room = MAX_NAME_BYTES - len(mark)
    if not dot or len((dot + extension).encode()) >= room:
        return _cut(name, room) + mark
    return _cut(stem, room - len((dot + extension).encode())) + mark + dot + extension


def _cut(text: str, size: int) -> str:
    """As much of a text as takes so many bytes."""
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


class Names:
    """Which number comes next of each name, so that a thousand objects of one name are not a thousand searches each."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def following(self, text: str) -> str:
        """The next name for `text`; to be asked again where a file of that name is there already."""
        number = self._next.get(text, 0)
        self._next[text] = number + 1
        return safe_name(text, number)
