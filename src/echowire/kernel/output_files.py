"""Files that are written to under a name that somebody gave: whose links are followed, and what a pipe waits for.

In a folder that everybody may write to, such as /tmp, a link of somebody else's is not followed: whoever can guess a
name would choose what root overwrites. The kernel refuses the same where fs.protected_symlinks is 1 (proc_sys_fs(5)),
which containers and old systems leave 0.
"""

# A capture opens its file before anything is loaded that takes its time, as pathlib does.
# ruff: noqa: PTH109, PTH114, PTH115, PTH116, PTH118

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CAPTURE_MODE = 0o600
"""Of a capture that is written as it comes, as dumpcap's: it holds what others sent."""

MAX_LINKS = 40
"""Followed on one way: the kernel's limit (path_resolution(7))."""

READER_PERIOD_S = 0.05
"""Between two looks whether somebody reads a pipe: there is nothing that could be waited for."""

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def refuse_foreign_links(path: str | Path) -> None:
    """Raise `PermissionError` if the way to `path` leads over a link of another user's in a folder that everybody may
    write to, whose owner is neither that user: the rule of fs.protected_symlinks."""
    here, parts, links = "/", [*reversed(_parts(_absolute(path)))], 0
    while parts:
        part = parts.pop()
        place = os.path.join(here, part)
        try:
            about = os.lstat(place)
        except OSError:
            return  # it is not there: nothing to follow, and opening it says so
        if not stat.S_ISLNK(about.st_mode):
            here = place
            continue
        folder = os.stat(here)
        is_shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
        if is_shared and about.st_uid not in (os.geteuid(), folder.st_uid):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        links += 1
        target = os.readlink(place)
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        here = "/" if target.startswith("/") else here
        parts += reversed(_parts(target))


def _absolute(path: str | Path) -> str:
    """With `..` as it is, which is taken out only after the links before it."""
    return os.path.join(os.getcwd(), os.fspath(path))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def open_to_write(path: str | Path, mode: int, *, is_stopping: Callable[[], bool] = bool) -> int:
    """A descriptor of the file, emptied, or made with this mode. Raises `OSError`.

    A named pipe is waited for until somebody reads it, or `is_stopping`: then `OSError` with ENXIO.
    """
    refuse_foreign_links(path)
    # What is no link now may be one by then.
    follow = 0 if os.path.islink(path) else os.O_NOFOLLOW
    while True:
        try:
            descriptor = os.open(path, _FLAGS | follow | os.O_NONBLOCK, mode)
        except OSError as error:
            if error.errno != errno.ENXIO or is_stopping() or not _is_pipe(path):
                raise
            import threading  # for who waits, who has the time

            threading.Event().wait(READER_PERIOD_S)
            continue
        os.set_blocking(descriptor, True)
        return descriptor


def is_replaceable(path: str | Path) -> bool:
    """Whether a file of this name can be written beside and renamed: a plain file, or none; no device and no pipe, nor
    what another process has open, as /dev/stdout is."""
    if _parts(_absolute(path))[:1] in (["dev"], ["proc"]):
        return False
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        return error.errno == errno.ENOENT


def _is_pipe(path: str | Path) -> bool:
    return stat.S_ISFIFO(os.stat(path).st_mode)
