"""A private instance of the kernel's tracer: events by plain file reads, beside whoever else traces (root only).

Where tracefs is not to be seen it is mounted for us alone. Many hosts have it not mounted, containers hardly ever, and
`ip netns exec` hides it, because it mounts a /sys of its own. fsmount(2) gives a mount that is in no namespace: nobody
else sees it, nothing of this process changes, and it is gone with its descriptor, however the process ends.

An instance is a directory of tracefs with buffers of its own, and would outlive its process. So a guardian, a shell
that only waits for the end of a pipe which we hold, removes it when we were killed. Where both are killed at once, the
next instance removes it: its name says whose it is, `echowire-PID-START-NUMBER`, with the time at which that process
started, since numbers of processes come again.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from echowire.core.sockets.trace_events import EventFormat, read_page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOUNTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
PREFIX = "echowire-"

# Numbers that all machines but the oldest two share, as all system calls from Linux 5.1 on do (asm-generic/unistd.h).
NR_FSOPEN, NR_FSCONFIG, NR_FSMOUNT = 430, 431, 432
OTHER_NUMBERS = ("alpha", "mips")
# linux/mount.h
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 2, 4, 8

BUFFER_KB = 4096
"""A processor's buffer: some 40,000 events, what a busy host has in a second, if nobody reads meanwhile."""

GUARDIAN = """
exec 3<&0
(
    read -r _ <&3
    tries=0
    while [ -d "$0" ] && [ $tries -lt 100 ]; do
        rmdir "$0" || sleep 0.05
        tries=$((tries + 1))
    done
) &
"""
"""sh's: in the background, and so nobody's child, wait for standard input to end, and remove the directory `$0`. That
is refused as long as our descriptors of its files are not closed."""

PAGE_BYTES = 65536
"""Room for one page of the buffer: 4 KiB, unless it was made larger (`buffer_subbuf_size_kb`)."""


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_numbers = itertools.count()


def tracing_root() -> int:
    """A descriptor of tracefs, mounted for us alone if need be. Raises `OSError` where this user cannot have it, EPERM
    without CAP_SYS_ADMIN, or this kernel has it not, ENODEV, or cannot mount it so, ENOSYS before Linux 5.2.
    """
    for mount in MOUNTS:
        if os.access(f"{mount}/instances", os.W_OK):
            return os.open(mount, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return mount_detached("tracefs")


def mount_detached(kind: str) -> int:
    """A new mount of a file system, in no namespace; its descriptor, with which it ends.

    Raises `OSError`: EPERM without CAP_SYS_ADMIN, ENODEV for a kind that this kernel has not, ENOSYS before Linux 5.2.
    """
    context = _call(NR_FSOPEN, ctypes.c_char_p(kind.encode()), ctypes.c_long(FSOPEN_CLOEXEC))
    try:
        _call(NR_FSCONFIG, ctypes.c_long(context), ctypes.c_long(FSCONFIG_CMD_CREATE), None, None, ctypes.c_long(0))
        attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
        return _call(NR_FSMOUNT, ctypes.c_long(context), ctypes.c_long(FSMOUNT_CLOEXEC), ctypes.c_long(attributes))
    finally:
        os.close(context)


def _call(number: int, *arguments: object) -> int:
    """syscall(2), each argument a full register. Raises `OSError`."""
    if os.uname().machine.startswith(OTHER_NUMBERS):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    answer: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if answer < 0:
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed))
    return answer


def start_of(pid: int) -> str:
    """When a process started, in ticks since the host did (proc_pid_stat(5)); empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def sweep(root: Path) -> list[str]:
    """Remove the instances of processes that are gone; their names."""
    removed = []
    for directory in (root / "instances").glob(f"{PREFIX}*"):
        pid, started, *_ = [*directory.name.removeprefix(PREFIX).split("-"), ""]
        if pid.isdigit() and start_of(int(pid)) != started:
            with suppress(OSError):
                directory.rmdir()
                removed.append(directory.name)
    return removed


class TraceInstance:
    """A running instance with `events`, each `system/name`; those that this kernel lacks are in `lacking`, as are those
    that have not the field by which they are `needed`.

    Used as a context manager; it is removed at the end. Raises `OSError` where it cannot be made.
    """

    def __init__(
        self,
        events: Sequence[str],
        filters: Mapping[str, str] | None = None,
        needed: Mapping[str, str] | None = None,
    ) -> None:
        self.formats: dict[int, tuple[str, EventFormat]] = {}
        self.lacking: list[str] = []
        self.lost = False
        self._files: list[int] = []
        self._early: list[tuple[int, bytes]] = []
        """What was read and may not be told yet."""
        self._root = tracing_root()
        root = Path(f"/proc/self/fd/{self._root}")
        pid = os.getpid()
        self.path = root / "instances" / f"{PREFIX}{pid}-{start_of(pid)}-{next(_numbers)}"
        self._life = -1
        try:
            sweep(root)
            self.path.mkdir()
            self._life = self._guard()
            self._set_up(events, filters or {}, needed or {})
        except BaseException:
            self.close()
            raise

    def _guard(self) -> int:
        """Have the instance removed when this process is killed; the descriptor whose end tells of that."""
        out, life = os.pipe2(os.O_CLOEXEC)
        quiet = subprocess.DEVNULL
        try:
            with suppress(OSError):  # no shell: then the next instance removes this one
                shell = subprocess.Popen(
                    ["/bin/sh", "-c", GUARDIAN, str(self.path)],
                    stdin=out,
                    stdout=quiet,
                    stderr=quiet,
                    pass_fds=[self._root],
                    cwd="/",
                    env={"PATH": "/usr/bin:/bin"},
                    start_new_session=True,  # a signal to our group is not for it
                )
                shell.wait()
        finally:
            os.close(out)
        return life

    def _set_up(self, events: Sequence[str], filters: Mapping[str, str], needed: Mapping[str, str]) -> None:
        self._write("trace_clock", "mono")
        self._write("buffer_size_kb", str(BUFFER_KB))
        with suppress(OSError):  # older kernels wake at once anyway
            self._write("buffer_percent", "0")
        for processor in sorted(self.path.glob("per_cpu/cpu*")):
            file = os.open(processor / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._files.append(file)
        for event in events:
            directory = self.path / "events" / event
            found: EventFormat | None
            try:
                found = EventFormat((directory / "format").read_text(encoding="ascii", errors="replace"))
            except OSError:
                found = None
            if found is None or needed.get(event, "common_pid") not in found.fields:
                self.lacking.append(event)
                continue
            self.formats[found.number] = (event.partition("/")[2], found)
            if event in filters:
                self._write(f"events/{event}/filter", filters[event])
            self._write(f"events/{event}/enable", "1")

    def _write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="ascii")

    def __enter__(self) -> TraceInstance:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def filenos(self) -> list[int]:
        """The descriptors that are readable when there are events."""
        return list(self._files)

    @property
    def has_more(self) -> bool:
        """Whether some of what was read is for the next `read`, which then need not wait."""
        return bool(self._early)

    def read(self) -> Iterator[tuple[int, str, EventFormat, bytes]]:
        """Monotonic time in nanoseconds, name, format and content of each event that there is, in order of time.

        `lost` says whether some were lost since it was last set to False.
        """
        # The processors' buffers are read one after the other, and a connection may move on to another processor. Its
        # beginning is then missed in a buffer that was read already, while the rest of its life is seen in the next.
        # But what led to an event was in its buffer before that event had its time. So nothing is told that is later
        # than the moment before the first buffer was read: of all that is earlier, what led to it has been seen.
        now = time.monotonic_ns()
        events, self._early = self._early, []
        for page in self._pages():
            more, lost = read_page(page)
            self.lost = self.lost or lost
            events += more
        events.sort(key=lambda event: event[0])
        for at, (moment, content) in enumerate(events):
            if moment > now:
                self._early = events[at:]
                return
            number = int.from_bytes(content[:2], sys.byteorder)
            if number in self.formats:
                yield moment, *self.formats[number], content

    def _pages(self) -> Iterator[bytes]:
        """What is new in each processor's buffer, one after the other."""
        for file in self._files:
            while True:
                try:
                    page = os.read(file, PAGE_BYTES)
                except OSError as error:
                    if error.errno not in (errno.EAGAIN, errno.EINTR):
                        raise
                    break
                if not page:
                    break
                yield page

    def stop(self) -> None:
        """Let nothing more come: what has come is there to be read."""
        with suppress(OSError):
            self._write("events/enable", "0")

    def close(self) -> None:
        """Stop and remove the instance; once."""
        if self._root < 0:
            return
        with suppress(OSError):
            self._write("events/enable", "0")
        for file in self._files:
            os.close(file)
        self._files.clear()
        with suppress(OSError):
            self.path.rmdir()
        if self._life >= 0:
            os.close(self._life)
        os.close(self._root)
        self._root = -1
