"""The control groups (version 2) by their numbers: a group's number is the inode of its directory."""

from __future__ import annotations

import os

MOUNTS = "/proc/self/mountinfo"
ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))
"""What that file has for characters that would break its lines and columns (proc_pid_mounts(5))."""

MAX_GROUPS = 100_000
"""That are looked at; a large host has some thousands."""
_paths: dict[int, str] = {}


def path_of(number: int) -> str:
    """The path of a control group, as /proc/PID/cgroup has it; empty where it is not known.

    Also of one whose processes are all gone. For a number that is new all are looked at, once: some milliseconds of a
    host that has hundreds.
    """
    if number not in _paths:
        if len(_paths) >= MAX_GROUPS:
            _paths.clear()
        _paths.update(paths())
    return _paths.setdefault(number, "")


def paths() -> dict[int, str]:
    """The paths of all groups by number, `MAX_GROUPS` at most."""
    found: dict[int, str] = {}
    root = _root()
    waiting = [root] if root else []
    while waiting and len(found) < MAX_GROUPS:
        directory = waiting.pop()
        try:
            found[os.stat(directory).st_ino] = directory[len(root) :] or "/"  # noqa: PTH116
            with os.scandir(directory) as entries:
                waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:  # it has gone, or may not be seen
            continue
    return found


def number_of(path: str) -> int | None:
    """The number of a group by its path, with or without the place where they are mounted; None if absent."""
    root = _root()
    beneath = f"{root}/{path.lstrip('/')}"
    for candidate in (path, beneath) if path.startswith(root) else (beneath,):
        try:
            return os.stat(candidate).st_ino if root else None  # noqa: PTH116
        except OSError:
            continue
    return None


def mount_point(mounts: str) -> str:
    """Where the hierarchy of version 2 is mounted, by the text of a /proc/PID/mountinfo; empty where it is not."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            path = before.split()[4]
            for escape, character in ESCAPES:
                path = path.replace(escape, character)
            return path
    return ""


def _root() -> str:
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
            return mount_point(file.read())
    except OSError:
        return ""
