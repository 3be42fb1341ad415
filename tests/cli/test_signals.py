"""Signals that whoever started us had ignored, as nohup(1) has SIGHUP, and a script SIGINT of its background jobs.

They stay ignored, and the others end a verb in order.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.processes import COMMAND, PATIENCE_S


def ignored_by(pid: int, number: signal.Signals) -> bool:
    """Whether a process ignores a signal (SigIgn, proc_pid_status(5))."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn:")]
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


VERBS = [
    pytest.param(("serve", "127.0.0.1:0"), signal.SIGINT, b"Server listening", id="serve"),
    pytest.param(("capture", "-i", "lo"), signal.SIGINT, b"Capturing on lo", id="capture"),
    pytest.param(("capture", "-i", "lo"), signal.SIGHUP, b"Capturing on lo", id="nohup capture"),
    pytest.param(("sockets", "--events", "--jsonl"), signal.SIGINT, b'"event"', id="sockets"),
    pytest.param(("ping", "-i", "0.2", "127.0.0.1"), signal.SIGINT, b"seq", id="ping"),
]


@pytest.mark.parametrize(("words", "number", "begun"), VERBS)
def test_what_is_ignored_stays_ignored(words: tuple[str, ...], number: signal.Signals, begun: bytes) -> None:
    if os.geteuid() and words[0] in ("capture", "ping"):
        pytest.skip("only root may do this")
    with started(words, partial(signal.signal, number, signal.SIG_IGN)) as process:
        wait_until_it_says(process, begun)
        assert ignored_by(process.pid, number)
        process.send_signal(number)
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    if words[0] != "ping":  # which SIGTERM ends as it ends any program
        assert process.returncode == 0


def started(words: tuple[str, ...], before: Callable[[], object]) -> subprocess.Popen[bytes]:
    """The command, with both its outputs in one pipe."""
    return subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=before, cwd="/"
    )


def wait_until_it_says(process: subprocess.Popen[bytes], text: bytes) -> None:
    """Read until there is `text`, with something happening meanwhile that an event could be told of."""
    assert process.stdout is not None
    said = b""
    os.set_blocking(process.stdout.fileno(), False)
    while text not in said:
        assert process.poll() is None, said
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
            listener.accept()[0].close()
        said += process.stdout.read() or b""
    os.set_blocking(process.stdout.fileno(), True)


def test_what_tests_start_hears_ctrl_c() -> None:
    """Also where the run itself was started by `sh -c 'make test &'`."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        assert not ignored_by(process.pid, signal.SIGINT)
        assert process.stdin is not None
        process.stdin.close()
