"""A terminal as a screen with keys: drawn by rich on the alternate screen, and given back however it ends."""

from __future__ import annotations

import os
import select
import signal
import termios
import time
import tty
from contextlib import suppress
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from echowire.cli.environment import Environment
    from echowire.cli.live_view import View

SEQUENCES = {
    **dict.fromkeys((b"\x1b[A", b"\x1bOA"), "up"),
    **dict.fromkeys((b"\x1b[B", b"\x1bOB"), "down"),
    **dict.fromkeys((b"\x1b[H", b"\x1bOH", b"\x1b[1~"), "home"),
    **dict.fromkeys((b"\x1b[F", b"\x1bOF", b"\x1b[4~"), "end"),
    **dict.fromkeys((b"\r", b"\n"), "enter"),
    **dict.fromkeys((b"\x7f", b"\b"), "backspace"),
    b"\x1b[5~": "pageup",
    b"\x1b[6~": "pagedown",
}
"""What terminals send for keys that are no characters (console_codes(4), xterm)."""

READ_BYTES = 1024


def keys_of(data: bytes) -> Iterator[str]:
    """The keys in what a terminal sent. An escape sequence that is not known is nobody's key."""
    at = 0
    while at < len(data):
        found = next((size for size in (4, 3, 1) if data[at : at + size] in SEQUENCES), 0)
        if found:
            yield SEQUENCES[data[at : at + found]]
        elif data[at : at + 1] == b"\x1b":
            if at + 1 == len(data):
                yield "escape"
            found = len(data) - at
        else:
            found = next((size for size in (1, 2, 3, 4) if _is_text(data[at : at + size])), 1)
            yield data[at : at + found].decode("utf-8", "replace")
        at += found


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class Screen:
    """The terminal of `env`, from `with` to its end: drawn on, and its keys read, if standard input is one."""

    def __init__(self, env: Environment) -> None:
        self._console = Console(force_terminal=True)
        self._live = Live(console=self._console, auto_refresh=False, screen=True)
        self._input = env.stdin.fileno() if env.is_terminal else -1
        self._saved: list[Any] | None = None
        self._woken = self._wake = -1
        self._handler: Any = None

    def __enter__(self) -> Screen:
        # A change of the terminal's size is a signal, which a pipe makes something to wait for.
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._handler = signal.signal(signal.SIGWINCH, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        if self._input >= 0:
            self._saved = termios.tcgetattr(self._input)
            tty.setcbreak(self._input)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Not again by a second Ctrl-C while it is at it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            with suppress(OSError):  # the terminal has gone
                self._live.stop()
            if self._saved is not None:
                with suppress(termios.error, OSError):
                    termios.tcsetattr(self._input, termios.TCSAFLUSH, self._saved)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGWINCH, self._handler)
            os.close(self._woken)
            os.close(self._wake)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def draw(self, view: View) -> None:
        """Draw what the view shows at the size that the terminal has now."""
        width, height = self._console.size
        lines = [
            Text.assemble(*line, no_wrap=True, overflow="crop") if line else Text("")
            for line in view.lines(width, height)
        ]
        self._live.update(Group(*lines), refresh=True)

    def keys(self, until: float) -> Iterator[str]:
        """The keys that are pressed before the monotonic time `until`; an empty one for a change of the size."""
        poller = select.poll()
        for file in (self._woken, self._input):
            if file >= 0:
                poller.register(file, select.POLLIN)
        left = until - time.monotonic()
        while True:  # once at least: the keys are heard also when the looks are late
            for file, _ in poller.poll(max(0.0, left * 1000)):
                with suppress(BlockingIOError):
                    data = os.read(file, READ_BYTES)
                    if file == self._woken:
                        yield ""
                    elif data:
                        yield from keys_of(data)
                    else:  # nobody types any more
                        poller.unregister(file)
                        self._input = -1
            left = until - time.monotonic()
            if left <= 0:
                return


LEARN_S = 0.25
"""How often those who make rows may learn, between two looks."""


class Rows(Protocol):
    """What makes rows of a look."""

    def look(self, found: Any, /) -> None:
        """Another look."""

    def learn(self) -> None:
        """Between two looks, several times a second."""

    def show(self, view: View, /) -> None:
        """Give the view what is there by now."""

    def filter(self, text: str, /) -> None:
        """Show what this chooses. Raises `UsageError`."""


def follow(env: Environment, view: View, rows: Rows, found: Iterable[tuple[float, Any]]) -> None:
    """Show look after look: `found` has when the next is due, and what `rows` makes rows of, until q or a signal."""
    with suppress(KeyboardInterrupt), Screen(env) as screen:
        for due, look in found:
            rows.look(look)
            rows.show(view)
            screen.draw(view)
            while True:
                for key in screen.keys(min(due, time.monotonic() + LEARN_S)):
                    _press(view, rows, key)
                    if view.is_over:
                        return
                    screen.draw(view)
                rows.learn()
                if time.monotonic() >= due:
                    break


def _press(view: View, rows: Rows, key: str) -> None:
    before = view.filter
    if key:
        view.press(key)
    if view.filter != before:
        try:
            rows.filter(view.filter)
        except UsageError as error:
            view.trouble, view.filter = str(error), before
            rows.filter(before)
        was, view.is_frozen = view.is_frozen, False  # the rows are the same, and some are shown
        rows.show(view)
        view.is_frozen = was
