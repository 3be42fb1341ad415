"""Control groups by their numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echowire.kernel.tables.control_groups import MOUNTS, mount_point, path_of

LINES = """\
25 30 0:23 / /proc rw,relatime shared:13 - proc proc rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/a\\040b rw,relatime shared:4 - cgroup2 cgroup2 rw
"""


def test_where_they_are_mounted() -> None:
    assert mount_point(LINES) == "/sys/fs/a b"
    assert mount_point("") == mount_point("nonsense\n - cgroup cgroup\n") == ""


def test_a_number_is_a_directory() -> None:
    root = mount_point(Path(MOUNTS).read_text())
    if not root:
        pytest.skip("no control groups of version 2 here")
    assert path_of(Path(root).stat().st_ino) == "/"
    assert path_of(1 << 60) == ""
    for name in sorted(os.listdir(root)):  # noqa: PTH208
        if Path(root, name).is_dir():
            assert path_of(Path(root, name).stat().st_ino) in (f"/{name}", "")  # it may be newer than the last look
            break
