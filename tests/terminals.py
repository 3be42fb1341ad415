"""A command on a pseudo-terminal, with somebody who types and reads."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.processes import COMMAND, PATIENCE_S


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, command: Sequence[str]) -> None:
        self.master, self._slave = pty.openpty()
        slave = self._slave
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_own
        )
        self.seen = ""

    def expect(self, text: str) -> None:
        """Read until `text` is shown."""
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], PATIENCE_S)
            assert ready, f"{text!r} was not shown, but: {self.seen!r}"
            self.seen += self._read()
        self.seen = self.seen.partition(text)[2]

    def type(self, text: str) -> None:
        """Type `text`, reading meanwhile what is shown, as a terminal does."""
        left = text.encode()
        while left:
            readable, writable, _ = select.select([self.master], [self.master], [], PATIENCE_S)
            assert readable or writable, f"nobody reads what is typed; shown was {self.seen!r}"
            if readable:
                self.seen += self._read()
            if writable:
                left = left[os.write(self.master, left[:1024]) :]

    def end(self) -> int:
        """The exit status, once all that it shows is read."""
        os.close(self._slave)
        self._slave = -1
        while data := self._read():
            self.seen += data
        return self.process.wait(PATIENCE_S)

    @property
    def mode(self) -> list[Any]:
        """How the terminal is set (termios(3))."""
        return termios.tcgetattr(self._slave)

    def close(self) -> None:
        """Take the terminal away."""
        for descriptor in (self.master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)

    def _read(self) -> str:
        try:
            return os.read(self.master, 65_536).decode()
        except OSError:  # EIO: nobody has the terminal open any more
            return ""


def _own() -> None:
    """Make the terminal the process's controlling one, so that Ctrl-C is its signal."""
    import fcntl

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def terminal(*arguments: object, command: Sequence[str] = COMMAND) -> Iterator[Terminal]:
    """`echowire arguments` on a terminal; killed at the end if it runs."""
    opened = Terminal([*command, *map(str, arguments)])
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()
        opened.close()
