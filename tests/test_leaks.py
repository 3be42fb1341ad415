"""The watch for leaks in conftest.py sees each kind of leak, and gives what is about to end the time to do so."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import in_this_process, wait_left_since


@contextmanager
def a_thread() -> Iterator[None]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")
    thread.start()
    yield
    end.set()
    thread.join()


@contextmanager
def a_socket() -> Iterator[None]:
    with socket.socket():
        yield


@contextmanager
def an_epoll() -> Iterator[None]:
    with select.epoll():
        yield


@contextmanager
def a_child() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE):
        yield


@contextmanager
def a_zombie() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.read() == b""
        yield


@pytest.mark.parametrize(
    ("leak", "named"),
    [
        (a_thread, "thread 'forgotten'"),
        (a_socket, "(socket:["),
        (an_epoll, "(anon_inode:[eventpoll]"),
        (a_child, "(pipe:["),
        (a_child, "process "),
        (a_zombie, "process "),
    ],
)
def test_each_leak_is_seen_and_named(leak: Callable[[], Iterator[None]], named: str) -> None:
    before = in_this_process()
    with leak():  # type: ignore[attr-defined]
        left = wait_left_since(before, in_this_process, grace_s=0)
    assert any(named in one for one in left), left
    assert wait_left_since(before, in_this_process) == []


def test_what_ends_by_itself_is_waited_for() -> None:
    before = in_this_process()
    thread = threading.Timer(0.05, lambda: None)
    thread.start()
    assert wait_left_since(before, in_this_process, grace_s=0)
    assert wait_left_since(before, in_this_process) == []


def test_a_leaking_test_fails_and_names_the_leak(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *")
    (tmp_path / "test_it.py").write_text("import socket\nkept = []\ndef test(): kept.append(socket.socket())")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "the test left behind: descriptor " in run.stdout
    assert "1 passed, 1 error" in run.stdout
    assert run.returncode == 1
