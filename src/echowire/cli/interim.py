"""How it stands, told in between: Ctrl-\\ (SIGQUIT) has a running `echowire ping` say so and go on, as ping does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from echowire.cli.common import Environment


class Asked:
    """Whether somebody asked since the last look."""

    def __init__(self) -> None:
        self._asked = False

    def ask(self, *_: object) -> None:
        """To be answered at the next look; for any signal handler."""
        self._asked = True

    def take(self) -> bool:
        """Whether it was asked; once."""
        asked, self._asked = self._asked, False
        return asked


@contextmanager
def asked_by_quit() -> Iterator[Asked]:
    """Have SIGQUIT ask, where it would end the program with a core dump; another's handler stays."""
    asked = Asked()
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGQUIT) is not signal.SIG_DFL:
        yield asked
        return
    signal.signal(signal.SIGQUIT, asked.ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def say_interim(env: Environment, lines: Sequence[str]) -> None:
    """Write them to standard error, over what the terminal shows of the key."""
    if env.stderr.isatty():
        env.stderr.write("\r")
    for line in lines:
        env.say(line)
