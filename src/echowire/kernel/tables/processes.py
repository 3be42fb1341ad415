"""Which process holds which socket: /proc/PID/fd of all that may be seen (proc_pid_fd(5)), and who they are.

A walk is one `readlink` a descriptor, and that is nearly all of its time. Where there are many, the kernel is asked for
all in one pass, if it may be (`open_sockets`); the answer is the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from struct import iter_unpack

from echowire.core.sockets.fields import HOLDER
from echowire.errors import OperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_PTRACE = 1, 2, 12, 19  # linux/capability.h

PROC = "/proc"

MANY_DESCRIPTORS = 1024
"""From so many on, the one pass takes less time than the walk, with all that is loaded for it."""


def pids() -> list[int]:
    """The processes of /proc, in order; none if it cannot be read."""
    try:
        return sorted(int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208
    except OSError:
        return []


def links(pid: int) -> Iterator[tuple[str, str]]:
    """Number and target of each descriptor of `pid`. Raises `OSError` if it may not be seen or is gone."""
    directory = os.open(f"{PROC}/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Relative to the directory and without a Path each: a third of the time for 100,000 descriptors.
        readlink = os.readlink
        for name in os.listdir(directory):  # noqa: PTH208
            try:
                target = readlink(name, dir_fd=directory)
            except OSError:  # it was closed since
                continue
            yield name, target
    finally:
        os.close(directory)


def name_of(pid: int) -> str:
    """The process's `comm`; `?` where it is gone."""
    return _text(f"{PROC}/{pid}/comm").rstrip("\n") or "?"


def has_capability(number: int) -> bool | None:
    """Whether this thread has the capability in effect (capabilities(7)); None where that cannot be told."""
    for line in _text(f"{PROC}/thread-self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return None


def sees_all_processes() -> bool | None:
    """Whether this thread may read every process's descriptors: CAP_SYS_PTRACE, and one that opens directories."""
    traces = has_capability(CAP_SYS_PTRACE)
    opens = has_capability(CAP_DAC_OVERRIDE) or has_capability(CAP_DAC_READ_SEARCH)
    return None if traces is None else bool(opens and traces)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib is not loaded for it
            return file.read()
    except OSError:
        return ""


def socket_holders() -> tuple[dict[int, bytes], int]:
    """Who holds each socket inode, and how many processes may not be looked into.

    The holders of one are packed, `HOLDER` each, by process and descriptor: no object is made for each.
    """
    numbers = pids()
    if has_many_descriptors(numbers) and sees_all_processes():
        with suppress(OperationError):
            return holders_by_kernel(), 0
    return holders_by_proc(numbers)


def has_many_descriptors(numbers: Iterable[int]) -> bool:
    """Whether these processes have `MANY_DESCRIPTORS` together, or the kernel does not say (before Linux 6.2)."""
    count = 0
    for pid in numbers:
        with suppress(OSError):
            count += os.stat(f"{PROC}/{pid}/fd").st_size  # noqa: PTH116
    return count >= MANY_DESCRIPTORS or not count


def holders_by_kernel() -> dict[int, bytes]:
    """The holders as one pass of the kernel gives them. Raises `OperationError` where it does not."""
    from echowire.kernel.tables import open_sockets

    rows = open_sockets.rows()
    found: dict[int, bytes] = dict(iter_unpack(open_sockets.ROW, rows))
    if len(found) < len(rows) // open_sockets.ROW_BYTES:
        found = {}
        for inode, holder in iter_unpack(open_sockets.ROW, rows):
            found[inode] = found[inode] + holder if inode in found else holder
    return found


def holders_by_proc(numbers: Iterable[int]) -> tuple[dict[int, bytes], int]:
    """The holders among these processes by their links, and how many processes may not be looked into."""
    found: dict[int, bytes] = {}
    hidden = 0
    for pid in numbers:
        try:
            for name, target in links(pid):
                if target[:8] == "socket:[":
                    inode, holder = int(target[8:-1]), HOLDER.pack(pid, int(name))
                    found[inode] = found[inode] + holder if inode in found else holder
        except PermissionError:
            hidden += 1
        except OSError:  # it has ended
            continue
    return found, hidden


def user_name(uid: int) -> str:
    """The user's name of /etc/passwd and its like; the number where there is none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def user_of(pid: int) -> int | None:
    """The effective user of `pid`; None where it is gone."""
    try:
        return os.stat(f"{PROC}/{pid}").st_uid  # noqa: PTH116
    except OSError:
        return None


def unit_of(pid: int) -> str:
    """The systemd unit or the container that `pid` runs in, by its control group; empty if it is in neither."""
    return unit_in(_text(f"{PROC}/{pid}/cgroup"))


CONTAINERS = ("docker", "libpod", "crio", "cri-containerd", "containerd", "lxc", "garden", "kubepods")
CONTAINER_DIGITS = 12
"""As container tools show the 64 digits of an id."""


def unit_in(cgroups: str) -> str:
    """The unit or container that the text of a /proc/PID/cgroup names: the innermost.

    >>> unit_in("0::/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope")
    'docker:0123456789ab'
    >>> unit_in("0::/system.slice/ssh.service")
    'ssh.service'
    """
    for line in sorted(cgroups.splitlines()):  # 0:: is version 2, which tells first
        above = ""
        found = ""
        for part in line.split(":", 2)[-1].split("/"):
            stem = part.removesuffix(".scope")
            kind, _, number = stem.rpartition("-")
            if len(number) == 64 and all(digit in "0123456789abcdef" for digit in number):
                maker = kind or next((name for name in CONTAINERS if name in above), "container")
                found = f"{maker}:{number[:CONTAINER_DIGITS]}"
            elif part.endswith((".service", ".scope", ".socket", ".mount")):
                found = part
            above = part
        if found:
            return found
    return ""
