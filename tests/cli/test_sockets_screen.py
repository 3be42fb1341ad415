"""`echowire sockets --watch` on a real terminal, driven by tmux, while 200 connections a second come and go."""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_S = 20.0
COMMAND = f"{sys.executable} -m echowire sockets"
SMALL, LARGE = (80, 24), (200, 50)


class Terminal:
    """A terminal of its own, in a tmux server of its own."""

    def __init__(self, name: str, size: tuple[int, int], command: str) -> None:
        self._tmux = ("tmux", "-L", name, "-f", "/dev/null")
        width, height = map(str, size)
        script = f"trap : INT; stty -a; {command}; echo status=$?; stty -a; read -r _"
        environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX")}
        subprocess.run(
            [*self._tmux, "new-session", "-d", "-x", width, "-y", height, "sh", "-c", script],
            check=True,
            env={**environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        )

    def run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def screen(self) -> list[str]:
        return self.run("capture-pane", "-p").splitlines()

    def press(self, *keys: str) -> None:
        self.run("send-keys", *keys)

    def resize(self, size: tuple[int, int]) -> None:
        self.run("resize-window", "-x", str(size[0]), "-y", str(size[1]))

    def until(self, holds: Callable[[list[str]], object]) -> list[str]:
        """The screen, once it is as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds(screen := self.screen()):
            assert time.monotonic() < deadline, "\n".join(screen)
            select.select([], [], [], 0.02)
        return screen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)


@contextmanager
def terminal(command: str, size: tuple[int, int] = SMALL) -> Iterator[Terminal]:
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    opened = Terminal(f"echowire-{os.getpid()}-{time.monotonic_ns()}", size, command)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def busy_port() -> Iterator[int]:
    """A port with two connections that last and 200 a second that do not; these leave TIME-WAIT behind."""
    over = threading.Event()

    def come_and_go(address: tuple[str, int], listener: socket.socket) -> None:
        while not over.wait(0.005):
            with socket.create_connection(address) as client, listener.accept()[0]:
                client.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        address = listener.getsockname()
        lasting = [one for _ in range(2) for one in (socket.create_connection(address), listener.accept()[0])]
        thread = threading.Thread(target=come_and_go, args=(address, listener))
        thread.start()
        try:
            yield address[1]
        finally:
            over.set()
            thread.join()
            for one in lasting:
                one.close()


def watched(port: int, *more: str) -> str:
    return f"{COMMAND} --watch 100ms -tanp {' '.join(more)} '( sport = :{port} or dport = :{port} )'"


NAMES = ("State", "Recv-Q", "Send-Q", "Local", "Peer", "Sent", "Received", "Retrans", "Process")


def heading(screen: list[str]) -> bool:
    return len(screen) > 1 and screen[1].split()[:1] == ["State"]


def passing(screen: list[str]) -> int:
    found = re.search(r"passing: .*?(\d+) TIME-WAIT", "\n".join(screen))
    return int(found[1]) if found else 0


def ends(line: str) -> list[str]:
    return re.findall(r"127\.0\.0\.1:\d+", line)


def rows(screen: list[str]) -> list[str]:
    return [line for line in screen[2:-2] if line.strip()]


def test_what_lasts_keeps_its_place_and_what_passes_is_a_number(busy_port: int) -> None:
    with terminal(watched(busy_port)) as term:
        screen = term.until(lambda screen: heading(screen) and passing(screen) > 50)
        assert [name for name in screen[1].split() if name in NAMES] == screen[1].split()
        assert {"State", "Local", "Peer", "Process"} <= set(screen[1].split())
        assert all(len(line) <= 80 for line in screen)
        assert "TIME-WAIT" not in "\n".join(rows(screen))
        assert rows(screen)[0].split()[0] == "LISTEN"
        lasting = [ends(line) for line in rows(screen) if line.split()[:1] == ["ESTAB"]]
        counted = passing(screen)
        screen = term.until(lambda screen: passing(screen) > counted + 50)
        still = [ends(line) for line in rows(screen) if line.split()[:1] == ["ESTAB"]]
        kept = [one for one in lasting if one in still]
        assert len(kept) >= 4 and kept == [one for one in still if one in kept], "in the same order"


def test_a_larger_terminal_has_more_columns_and_a_change_of_size_is_followed(busy_port: int) -> None:
    with terminal(watched(busy_port), LARGE) as term:
        wide = term.until(heading)
        assert wide[1].split()[-4:] == ["Sent", "Received", "Retrans", "Process"] and len(wide) == LARGE[1]
        term.resize(SMALL)
        narrow = term.until(lambda screen: heading(screen) and len(screen) == SMALL[1] and "Retrans" not in screen[1])
        assert narrow[1].split()[-1] == "Process" and all(len(line) <= 80 for line in narrow)
        term.resize((46, 12))
        tiny = term.until(lambda screen: heading(screen) and len(screen) == 12 and "Process" not in screen[1])
        assert tiny[1].split() == ["State", "Local", "Peer"]
        term.resize(LARGE)
        term.until(lambda screen: heading(screen) and "Retrans" in screen[1])


def test_keys_sort_filter_freeze_scroll_and_help(busy_port: int) -> None:
    with terminal(watched(busy_port), (100, 8)) as term:
        term.until(lambda screen: heading(screen) and re.search("of [56] ", screen[-1]))
        term.press("?")
        term.until(lambda screen: screen[-1].startswith("q quit  / filter  s sort"))
        term.press("?")
        term.press("s")
        term.until(lambda screen: "order: rate" in screen[0])
        term.press("Down")
        term.until(lambda screen: screen[-1].startswith("rows 2-"))
        term.press("Home")
        term.press("/", *"state listening", "Enter")
        term.until(lambda screen: "filter: state listening" in screen[0] and len(rows(screen)) == 1)
        term.press("/", *["BSpace"] * 20, *"rtt ( 1", "Enter")
        term.until(lambda screen: "parenthesis" in screen[-1] or "comparison" in screen[-1])
        term.press("/", *["BSpace"] * 20, "Enter")
        term.until(lambda screen: "filter" not in screen[0] and len(rows(screen)) >= 4)
        term.press("Space")
        frozen = term.until(lambda screen: screen[0].startswith("FROZEN"))
        select.select([], [], [], 0.3)  # three looks
        assert term.screen() == frozen
        term.press("Space")
        term.until(lambda screen: not screen[0].startswith("FROZEN") and screen != frozen)


@pytest.mark.parametrize("end", ["q", "C-c", "SIGTERM"])
def test_the_terminal_is_given_back(busy_port: int, end: str, tmp_path: Path) -> None:
    command = watched(busy_port)
    if end == "SIGTERM":
        command = f"sh -c 'echo $$ > {tmp_path}/pid; exec {watched(busy_port).replace(chr(39), chr(34))}'"
    with terminal(command) as term:
        term.until(heading)
        assert term.run("display-message", "-p", "#{alternate_on}") == "1\n"
        if end == "SIGTERM":
            os.kill(int((tmp_path / "pid").read_text()), 15)
        else:
            term.press(end)
        screen = term.until(lambda screen: any(line.startswith("status=") for line in screen) and screen[-1:])
        text = "\n".join(term.until(lambda screen: sum("speed" in line for line in screen) == 2 or screen))
        assert "status=0" in text
        before, after = text.split("status=0\n")
        assert after.split()[:40] == before.split()[:40], "the terminal's settings are those of before"
        assert term.run("display-message", "-p", "#{alternate_on}#{cursor_flag}") == "01\n"
        assert screen


def test_who_uses_the_network_is_a_screen_too(busy_port: int) -> None:
    command = f"{COMMAND} --by process --watch 200ms -t '( sport = :{busy_port} or dport = :{busy_port} )'"
    with terminal(command) as term:
        screen = term.until(lambda screen: len(screen) > 2 and re.search(r"\(pid \d+\)", screen[2]))
        assert screen[1].split() == [
            "Process",
            "Sent",
            "Received",
            "Sockets",
            "Ended",
            "Sent",
            "in",
            "all",
            "Received",
            "in",
            "all",
        ]
        assert f"(pid {os.getpid()})" in screen[2] and all(len(line) <= 80 for line in screen)
        term.resize((40, 10))
        term.until(lambda screen: len(screen) == 10 and screen[1].split()[-1:] == ["Received"])
        term.resize(SMALL)  # so that all that comes behind it is to be seen
        term.until(lambda screen: len(screen) == SMALL[1] and "Ended" in screen[1])
        term.press("q")
        term.until(lambda screen: any("status=0" in line for line in screen))
