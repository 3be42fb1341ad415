"""The command as a process of its own: started, heard, signalled and waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

PATIENCE_S = 30.0
"""How long a process is waited for; in full only by a test that fails."""

COMMAND = (sys.executable, "-m", "echowire")


class ServeProcess:
    """`echowire serve --jsonl` with some arguments."""

    def __init__(self, process: subprocess.Popen[str], sockets: int) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        while len(self.of_kind("listening")) < sockets:
            self.next_event()

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        return [event["endpoint"] for event in self.of_kind("listening")]

    @property
    def port(self) -> int:
        """The port of the first endpoint."""
        return int(self.urls[0].rpartition(":")[2])

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind so far."""
        return [event for event in self.events if event["event"] == kind]

    def next_event(self) -> dict[str, Any]:
        """Wait for the next event."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError(f"the server has ended: {self.process.stderr.read()}")
        self.events.append(json.loads(line))
        return self.events[-1]

    def wait_for(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait until `count` events of `kind` have come; the last."""
        while len(self.of_kind(kind)) < count:
            self.next_event()
        return self.of_kind(kind)[count - 1]

    def stop(self, number: int = signal.SIGTERM) -> dict[str, Any]:
        """Signal it, wait for its end in order, and return its summary."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        self.events += [json.loads(line) for line in out.splitlines()]
        assert self.process.returncode == 0, err
        summary = self.of_kind("stopped")[-1]["summary"]
        assert isinstance(summary, dict)
        return summary


@contextmanager
def serving(
    *arguments: str,
    sockets: int = 2,
    prefix: Sequence[str] = (),
    command: Sequence[str] = COMMAND,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Iterator[ServeProcess]:
    """`prefix echowire serve --jsonl arguments`, once it listens on `sockets` sockets; killed at the end if it runs."""
    process = subprocess.Popen(
        [*prefix, *command, "serve", "--jsonl", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    with process:  # which closes its pipes and waits
        try:
            yield ServeProcess(process, sockets)
        finally:
            if process.poll() is None:
                process.kill()


def run(*arguments: str, stdin: bytes | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """`echowire arguments` to its end. Without `stdin` it has none."""
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=PATIENCE_S, **given, **options)


NOBODY = 65534
"""The user and the group of nobody."""


RUN_AS_NOBODY = f"""
import encodings.idna, os, pkgutil, sys
import echowire
from echowire.cli.main import run
from importlib import import_module
for module in pkgutil.walk_packages(echowire.__path__, "echowire."):
    if module.name.partition(".")[2] not in ("__main__", "testing", "pytest_plugin"):
        import_module(module.name)
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
sys.exit(run(sys.argv[1:]))
"""


def run_as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`echowire arguments` as the user nobody, to its end; for root.

    All of the program is loaded before, since nobody may not be able to enter the folder that it is in.
    """
    command = [sys.executable, "-c", RUN_AS_NOBODY, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)


def unprivileged(act: Callable[[], str]) -> str:
    """What `act` returns when a child of this process, as the user nobody and without capabilities, does it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            signal.alarm(20)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, act().encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text
