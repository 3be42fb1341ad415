"""A peer's bytes on a terminal: as they come, with all that would steer it as C writes it."""

from __future__ import annotations

import codecs
import io
import re
from typing import Any

from echowire import printable
from echowire.cli.environment import Environment

_KEPT = re.compile(r"(\r?\n|\t)")
"""What a text has between its words and lines, and a terminal may be given."""


def shown_text(text: str) -> str:
    """Text of several lines for a terminal: their ends and tabs as they are, all else printable."""
    return "".join(part if at % 2 else printable(part) for at, part in enumerate(_KEPT.split(text)))


class ShownStream(io.RawIOBase):
    """A stream to write bytes to, which are shown as text on standard output; `finish` when all were written."""

    def __init__(self, env: Environment) -> None:
        super().__init__()
        self._env = env
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""
        """A carriage return that a line feed may follow."""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Show a piece; how many bytes of it were taken: all."""
        self._show(self._decoder.decode(bytes(data)), is_last=False)
        return len(data)

    def finish(self) -> None:
        """Show what was waiting for its end: a character or a line end that was cut."""
        self._show(self._decoder.decode(b"", True), is_last=True)

    def _show(self, text: str, *, is_last: bool) -> None:
        text, self._held = self._held + text, ""
        if text.endswith("\r") and not is_last:
            text, self._held = text[:-1], "\r"
        self._env.write(shown_text(text).encode())
        self._env.flush()
