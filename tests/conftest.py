"""What every test is held to: it leaves no thread, socket, pipe or child process behind, and no network namespace."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import polars
import pytest
from hypothesis import settings

GRACE_S = 2.0
"""Time that a thread, descriptor or process which is about to end has to do so."""

POLL_S = 0.01
"""Between two looks, while something is left."""

WATCHED_DESCRIPTORS = ("socket:", "pipe:", "anon_inode:")
"""What /proc/self/fd links to for sockets, pipes, and epoll, eventfd, timerfd, pidfd and BPF objects. Regular files
are not watched: pytest and hypothesis open some."""

NAMESPACE_PREFIX = f"ewt-{os.getpid()}-"
"""Begins the name of each network namespace that this run makes (`tests.netns`); another run may have its own."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell script: programs that tests start would ignore Ctrl-C as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and so of nohup and a lost terminal

for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)  # pytest-xdist sets them, and who is started on a terminal of its own is to ask that

settings.register_profile("echowire", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("echowire")


def threads() -> set[str]:
    """Each thread, by name and number: a name alone may come again."""
    return {f"thread {thread.name!r} ({thread.ident})" for thread in threading.enumerate()}


def descriptors() -> set[str]:
    """Each watched descriptor of this process. The three standard streams are pytest's to turn."""
    found = set()
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # closed since it was listed
            target = os.readlink(link)  # noqa: PTH115 - the target is no path
            if int(link.name) > 2 and target.startswith(WATCHED_DESCRIPTORS):
                found.add(f"descriptor {link.name} ({target})")
    return found


def children() -> set[str]:
    """Each child process, also one that has ended and was not waited for."""
    found = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for number in path.read_text().split():
                found.add(f"process {number} ({_command_of(number)})")
    return found


def namespaces() -> set[str]:
    """Each named network namespace of the tests (ip-netns(8))."""
    return {f"network namespace {path.name}" for path in Path("/run/netns").glob(f"{NAMESPACE_PREFIX}*")}


def in_this_process() -> set[str]:
    """All that a single test must not leave behind."""
    return threads() | descriptors() | children()


def wait_left_since(before: set[str], look: Callable[[], set[str]], grace_s: float = GRACE_S) -> list[str]:
    """What `look` sees and `before` does not have, once it has had `grace_s` to go."""
    until, pause = time.monotonic() + grace_s, threading.Event()
    while (left := look() - before) and time.monotonic() < until:
        pause.wait(POLL_S)
    return sorted(left)


@pytest.fixture(autouse=True, scope="session")
def polars_threads() -> None:
    """Polars starts its threads when it is first used, and they hold descriptors as long as the process lives."""
    packets = polars.LazyFrame({"number": [1, 2]}).filter(polars.col("number") > 1)
    packets.sink_parquet(io.BytesIO())


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fails a test that leaves something behind, and names it."""
    before = in_this_process()
    yield
    if left := wait_left_since(before, in_this_process):
        pytest.fail(f"the test left behind: {', '.join(left)}")


@pytest.fixture(autouse=True, scope="session")
def no_namespaces_left() -> Iterator[None]:
    """Fails the run that leaves network namespaces behind."""
    before = namespaces()
    yield
    if left := wait_left_since(before, namespaces):
        pytest.fail(f"the tests left behind: {', '.join(left)}")


@pytest.fixture
def needs_root() -> None:
    """Skips a test that only root can do."""
    if os.geteuid() != 0:
        pytest.skip("only root may do this")


def _command_of(number: str) -> str:
    try:
        return Path(f"/proc/{number}/comm").read_text().strip()
    except OSError:
        return "ended"
