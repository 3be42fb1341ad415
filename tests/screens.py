"""A terminal of a given size, driven by tmux: what a person would see, also after a change of size and after Ctrl-C."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.netns import Namespace
from tests.processes import PATIENCE_S

LOOK_S = 0.1
"""Between two looks at the screen: tmux tells nobody that it changed."""


class Screen:
    """One terminal, with a shell in it. Made by `screen`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def tmux(self, *words: str) -> str:
        """Run a command of tmux; its output."""
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout

    @property
    def lines(self) -> list[str]:
        """What is on it, without the empty lines at its end."""
        return self.tmux("capture-pane", "-p").rstrip().split("\n")

    def type(self, text: str) -> None:
        """Type a line, with Enter."""
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press a key by tmux's name, as `C-c`."""
        self.tmux("send-keys", key)

    def quit(self) -> None:
        """Ctrl-\\, which is SIGQUIT."""
        self.tmux("send-keys", "-H", "1c")

    def resize(self, width: int, height: int) -> None:
        """Change its size: the program hears of it (SIGWINCH)."""
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def wait(self, is_so: Callable[[list[str]], object]) -> list[str]:
        """Wait until the lines are as they should be; returns them."""
        until = time.monotonic() + PATIENCE_S
        while not is_so(lines := self.lines):
            shown = "\n".join(lines)
            assert time.monotonic() < until, f"the screen stayed:\n{shown}"
            threading.Event().wait(LOOK_S)
        return lines

    def assert_restored(self) -> None:
        """The terminal is as it was: it echoes, shows its cursor, and has a shell that answers."""
        self.type("echo is-$((6 * 7)); stty -a | tr ';' '\\n' | grep -ow -e '-\\?echo' -e '-\\?icanon'")
        lines = self.wait(lambda lines: "is-42" in "".join(lines) and "echo" in lines and "icanon" in lines)
        assert "-echo" not in lines and "-icanon" not in lines
        assert self.tmux("display-message", "-p", "#{cursor_flag} #{alternate_on}").split() == ["1", "0"]


@contextmanager
def screen(host: Namespace, width: int, height: int, command: Sequence[str]) -> Iterator[Screen]:
    """A terminal on `host`, in which `command` was typed. What it runs ends with it."""
    name = f"{host.name}-{width}x{height}"
    shown = Screen(name)
    environment = {**os.environ, "PS1": "$ ", "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    size = ("-x", str(width), "-y", str(height))
    shell = ("ip", "netns", "exec", host.name, "sh")
    subprocess.run(
        ["tmux", "-u", "-L", name, "-f", "/dev/null", "new-session", "-d", *size, shlex.join(shell)],
        env=environment, check=True, timeout=PATIENCE_S,
    )  # fmt: skip
    try:
        shown.type("clear; " + shlex.join(command))
        yield shown
    finally:
        shown.tmux("kill-server")
