"""A lock on the name of a Unix socket, for as long as it takes to look, remove, bind and listen.

Two servers that start at once could each take the other's fresh file for a stale one, so these steps must be one, by
whatever process. An flock(2) on the folder would do, were it not that whoever may read the folder may hold such a
lock, for ever. So there is a file for it, `.NAME.lock` beside the socket, which only who serves there can open: it is
made with mode 0600, is locked only if it is ours, and is removed by who holds it. To make another's in its place needs
the right to write in the folder; who has that can as well make a file of the socket's own name, and gains nothing.

A lock that cannot be had is done without, after a moment: who starts alone, as nearly always, needs none. It is so
where another's file is in the place, and where one of our own processes was stopped while it held it."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WAIT_S = 2.0
"""How long the lock is waited for; it is held for a fraction of a millisecond."""

LOOK_AGAIN_S = 0.002
"""How soon it is looked for again. A waiting flock could not be given up."""


@contextmanager
def locked_name(path: Path) -> Iterator[bool]:
    """Hold the lock of `path` meanwhile; False where it could not be had."""
    name = path.parent / f".{path.name}.lock"
    until = time.monotonic() + WAIT_S
    descriptor, again = None, threading.Event()
    try:
        while (descriptor := _open(name)) is not None and not _is_held(descriptor, name):
            os.close(descriptor)
            descriptor = None
            if time.monotonic() > until:
                break
            again.wait(LOOK_AGAIN_S)
        yield descriptor is not None
    finally:
        if descriptor is not None:
            # First the name: who has opened it sees that it is gone, and makes another.
            with suppress(OSError):
                name.unlink()
            os.close(descriptor)


def _open(name: Path) -> int | None:
    """Open the lock's file, made if there is none; None where that is not possible, or it is not ours."""
    # A pipe that somebody put there must not be waited for either.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(name, flags, 0o600)
    except OSError:
        return None
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        return descriptor
    os.close(descriptor)
    return None


def _is_held(descriptor: int, name: Path) -> bool:
    """Lock the open file; whether that is done, and it is still the one that has the name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), name.lstat())
    except OSError:
        return False
