"""The control group (version 2) that has a number, also of a process that is gone: the number is its directory's."""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
MAX_GROUPS = 65_536
"""That are looked at: no host has more (cgroup.max.descendants is set far below where it is set at all)."""
_paths: dict[int, str] = {}


def path_of(number: int) -> str:
    """The path of a control group, as /proc/PID/cgroup has it; empty where it is not known.

    For a number that is new all are looked at, once: some milliseconds of a host that has hundreds.
    """
    if number not in _paths:
        if len(_paths) >= MAX_GROUPS:
            _paths.clear()
        _look()
    return _paths.setdefault(number, "")


def _look() -> None:
    root = mount_point(MOUNTS.read_text())
    for above, _, _ in os.walk(root) if root else ():
        if len(_paths) >= MAX_GROUPS:
            return
        try:
            _paths[Path(above).stat().st_ino] = above.removeprefix(root) or "/"
        except OSError:
            pass  # it was removed meanwhile


def mount_point(mounts: str) -> str:
    """Where the hierarchy of version 2 is mounted, by the text of a /proc/PID/mountinfo; empty where it is not."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return before.split()[4].encode().decode("unicode_escape")  # blanks are written as \040
    return ""
