"""A line that is typed: what the terminal's canonical mode does, without its limit.

In canonical mode the kernel keeps a line until its end, in 4,096 bytes, and drops what is beyond without a word
(termios(3)). So lines are put together here: the keys are those that `stty` shows, and what is typed is echoed as the
kernel echoes it, with what would steer the terminal as `^[`. Nothing here touches the terminal.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from echowire import UsageError, printable

TAB_COLUMNS = 4
"""How wide a tab is echoed: not to the next stop, so that it can be taken back."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The characters that edit a line, as the terminal has them; empty where it has none."""

    erase: str = "\x7f"
    kill: str = "\x15"
    word_erase: str = "\x17"
    end: str = "\x04"
    reprint: str = "\x12"


NO_KEYS = Keys("", "", "", "", "")
"""For an input that is no terminal, or whose kernel edits the lines."""


class LineEditor:
    """Takes what is typed; gives lines, as the messages that they are.

    `message_of` makes a message of a line's bytes, without their end; where it raises `UsageError` that is told to
    `complain`, and nothing is sent. `echo` is given what is to be shown of what is typed.
    """

    def __init__(
        self,
        message_of: Callable[[bytes], bytes],
        echo: Callable[[str], None],
        complain: Callable[[str], None],
        keys: Keys = NO_KEYS,
        *,
        end: bytes = b"\n",
    ) -> None:
        self.has_ended = False
        self._message_of, self._echo, self._complain, self._keys, self._end = message_of, echo, complain, keys, end
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._typed: list[str] = []

    @property
    def shown(self) -> str:
        """The line that is being typed, as it is shown."""
        return "".join(map(_shown, self._typed))

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes."""
        messages: list[bytes] = []
        echoed: list[str] = []
        for char in self._decoder.decode(data):
            if self.has_ended:
                break  # what was typed behind the end is nobody's
            if char == "\n":
                echoed.append("\n")
                self._flush(echoed)
                self._finish(messages, self._end)
            elif char and char == self._keys.end:
                if self._typed:
                    self._finish(messages, b"")  # as canonical mode does: what there is goes at once
                else:
                    self.has_ended = True
            else:
                echoed.append(self._edit(char))
        self._flush(echoed)
        return messages

    def finish(self) -> list[bytes]:
        """The message that was begun, where the input has ended without the end of a line."""
        messages: list[bytes] = []
        self.has_ended = True
        if self._typed:
            self._finish(messages, b"")
        return messages

    def _flush(self, echoed: list[str]) -> None:
        if echoed:
            self._echo("".join(echoed))
            echoed.clear()

    def _finish(self, messages: list[bytes], end: bytes) -> None:
        line = "".join(self._typed).encode("utf-8", "surrogateescape")
        self._typed.clear()
        try:
            message = self._message_of(line)
        except UsageError as error:
            self._complain(str(error))
            return
        messages.append(message + end)

    def _edit(self, char: str) -> str:
        """Take a key; what is shown of it."""
        keys = self._keys
        if char in (keys.erase, "\b") and keys.erase:
            return self._take_back(1)
        if char and char == keys.kill:
            return self._take_back(len(self._typed))
        if char and char == keys.word_erase:
            words = "".join(self._typed).rstrip()
            return self._take_back(len(self._typed) - (words.rfind(" ") + 1 if words else 0))
        if char and char == keys.reprint:
            return f"^R\n{self.shown}"
        self._typed.append(char)
        return _shown(char)

    def _take_back(self, count: int) -> str:
        """Remove the last `count` characters, and the marks that are on them."""
        columns = 0
        while self._typed and (count > 0 or unicodedata.combining(self._typed[-1])):
            char = self._typed.pop()
            count -= 0 if unicodedata.combining(char) else 1
            columns += _columns(char)
            if count <= 0:
                break
        return "\b \b" * columns


def _shown(char: str) -> str:
    if char == "\t":
        return " " * TAB_COLUMNS
    return f"^{chr(ord(char) ^ 0x40)}" if char < " " or char == "\x7f" else printable(char)


def _columns(char: str) -> int:
    """How many columns a character takes on a terminal."""
    shown = _shown(char)
    if len(shown) > 1 or not shown:
        return len(shown)
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
