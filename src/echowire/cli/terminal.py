"""Somebody at a terminal, in a conversation: what is typed goes as lines, and what comes is shown when it comes.

The terminal gives up canonical mode (`line_editor.py` has why) and is as it was when the conversation is over, also
after Ctrl-C. Signals stay the kernel's: Ctrl-C is SIGINT, Ctrl-Z stops, and `fg` goes on.
"""

from __future__ import annotations

import io
import os
import select
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from echowire.cli.environment import Environment
from echowire.cli.line_editor import NO_KEYS, Keys, LineEditor
from echowire.cli.shown_stream import ShownStream

ECHO_FLAGS = os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK
ECHO_WAIT_MS = 200
"""How long a terminal that takes nothing is waited for; then the rest of the echo is lost, as the kernel's own would
be. What is typed is not."""

LOCAL_MODES, CONTROL_CHARACTERS = 3, 6  # of what tcgetattr gives


class Typing:
    """What somebody types, as a `LineEditor` of the terminal that standard input is. Use it in a `with` block.

    Where the terminal cannot be had (it is another job's, or cannot be opened to echo on) its canonical mode stays.
    """

    def __init__(self, env: Environment, message_of: Callable[[bytes], bytes], *, end: bytes = b"\n") -> None:
        self._env = env
        self._message_of, self.end = message_of, end
        self._input = env.stdin.fileno()
        self._echo_to: int | None = None
        self._before: list[Any] | None = None
        self._prompt = ""
        self.editor = self._editor(NO_KEYS)

    def fileno(self) -> int:
        """The descriptor to read from."""
        return self._input

    def read(self) -> list[bytes]:
        """What is typed now, as whole messages; afterwards `editor.has_ended` says whether that was all."""
        try:
            data = os.read(self._input, 65536)
        except OSError:  # the terminal has gone
            data = b""
        return self.editor.feed(data) if data else self.editor.finish()

    def prompt(self, text: str) -> None:
        """Ask for a line."""
        self._prompt = text
        self._env.stderr.write(text)
        self._env.stderr.flush()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Have something shown in between: what is half typed goes on after it."""
        typed = self.editor.shown
        if typed or self._prompt:
            self._echo("\n")
        yield
        if self._prompt:
            self.prompt(self._prompt)
        self._echo(typed)

    def __enter__(self) -> Typing:
        with suppress(OSError, termios.error):
            mode = termios.tcgetattr(self._input)
            self._echo_to = os.open(os.ttyname(self._input), ECHO_FLAGS)
            self.editor = self._editor(_keys_of(mode))
            self._before = mode
            self._take_over()
            self._on_continued = signal.signal(signal.SIGCONT, self._continued)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGCONT, self._on_continued)
            with suppress(termios.error):
                termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
        if self._echo_to is not None:
            os.close(self._echo_to)

    def _editor(self, keys: Keys) -> LineEditor:
        return LineEditor(self._message_of, self._echo, self._complain, keys, end=self.end)

    def _complain(self, text: str) -> None:
        self._env.say(text)
        if self._prompt:
            self.prompt(self._prompt)

    def _take_over(self) -> None:
        mode = termios.tcgetattr(self._input)
        mode[LOCAL_MODES] &= ~(termios.ICANON | termios.ECHO)
        mode[CONTROL_CHARACTERS][termios.VMIN], mode[CONTROL_CHARACTERS][termios.VTIME] = 1, 0
        termios.tcsetattr(self._input, termios.TCSANOW, mode)

    def _continued(self, number: int, frame: FrameType | None) -> None:
        """After Ctrl-Z and `fg`: the shell has set the terminal as it likes it."""
        with suppress(OSError, termios.error):
            self._take_over()
        self._echo(self._prompt + self.editor.shown)

    def _echo(self, text: str) -> None:
        if self._echo_to is None:
            return
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        poll = select.poll()
        poll.register(self._echo_to, select.POLLOUT)
        while data and poll.poll(ECHO_WAIT_MS):
            with suppress(BlockingIOError):
                data = data[os.write(self._echo_to, data) :]


class Interleaved(io.RawIOBase):
    """Standard output of a conversation at a terminal: what comes is shown between what is typed."""

    def __init__(self, env: Environment, typing: Typing, *, as_hex: bool) -> None:
        super().__init__()
        self._env, self._typing, self._as_hex = env, typing, as_hex
        self._stream = ShownStream(env) if env.stdout.isatty() else None

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Show what has come; how many bytes of it were taken: all."""
        data = bytes(data)
        if self._as_hex:
            self._shown_aside(lambda: self._env.answer(data.hex()))
        elif self._stream is None:
            self._env.write(data)
            self._env.flush()
        else:
            stream = self._stream
            self._shown_aside(lambda: stream.write(data))
        return len(data)

    def finish(self) -> None:
        """Show what was waiting for its end."""
        if self._stream is not None:
            self._stream.finish()

    def _shown_aside(self, show: Callable[[], object]) -> None:
        if self._env.stdout.isatty():
            with self._typing.aside():
                show()
        else:
            show()


def _keys_of(mode: list[Any]) -> Keys:
    """The keys that a terminal is set to; one that is disabled is empty."""
    characters = mode[CONTROL_CHARACTERS]

    def key(number: int) -> str:
        char = characters[number]
        code = char if isinstance(char, int) else ord(char)
        return chr(code) if code else ""

    return Keys(
        erase=key(termios.VERASE),
        kill=key(termios.VKILL),
        word_erase=key(termios.VWERASE),
        end=key(termios.VEOF),
        reprint=key(termios.VREPRINT),
    )
