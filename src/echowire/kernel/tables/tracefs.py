"""A private instance of the kernel's tracer: events by plain file reads, beside whoever else traces (root only).

An instance is a directory of tracefs with buffers of its own. It outlives its process, so its name says whose it is:
`echowire-PID-START`, with the time at which that process started, since numbers of processes come again. Each new one
removes those whose process is gone.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from contextlib import suppress
from pathlib import Path

from echowire.core.sockets.trace_events import EventFormat, read_page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOUNTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
PREFIX = "echowire-"

BUFFER_KB = 4096
"""A processor's buffer: some 40,000 events, what a busy host has in a second, if nobody reads meanwhile."""

PAGE_BYTES = 65536
"""Room for one page of the buffer: 4 KiB, unless it was made larger (`buffer_subbuf_size_kb`)."""


def tracing_root() -> Path | None:
    """Where tracefs is and may be written; None where it is not."""
    for mount in MOUNTS:
        instances = Path(mount, "instances")
        if os.access(instances, os.W_OK):
            return Path(mount)
    return None


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
        pid, _, started = directory.name.removeprefix(PREFIX).partition("-")
        if pid.isdigit() and start_of(int(pid)) != started:
            with suppress(OSError):
                directory.rmdir()
                removed.append(directory.name)
    return removed


class TraceInstance:
    """A running instance with `events`, each `system/name`; those that this kernel lacks are in `lacking`.

    Used as a context manager; it is removed at the end. Raises `OSError` where it cannot be made.
    """

    def __init__(self, root: Path, events: Sequence[str], filters: Mapping[str, str] | None = None) -> None:
        sweep(root)
        pid = os.getpid()
        self.path = root / "instances" / f"{PREFIX}{pid}-{start_of(pid)}"
        self.formats: dict[int, tuple[str, EventFormat]] = {}
        self.lacking: list[str] = []
        self.lost = False
        self._files: list[int] = []
        self._poller = select.poll()
        try:
            self.path.mkdir()
            self._set_up(events, filters or {})
        except BaseException:
            self.close()
            raise

    def _set_up(self, events: Sequence[str], filters: Mapping[str, str]) -> None:
        self._write("trace_clock", "mono")
        self._write("buffer_size_kb", str(BUFFER_KB))
        with suppress(OSError):  # older kernels wake at once anyway
            self._write("buffer_percent", "0")
        for processor in sorted(self.path.glob("per_cpu/cpu*")):
            file = os.open(processor / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._files.append(file)
            self._poller.register(file, select.POLLIN)
        for event in events:
            directory = self.path / "events" / event
            try:
                found = EventFormat((directory / "format").read_text(encoding="ascii", errors="replace"))
            except OSError:
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

    def read(self) -> Iterator[tuple[int, str, EventFormat, bytes]]:
        """Monotonic time in nanoseconds, name, format and content of each event that there is, in order of time.

        `lost` says whether some were lost since it was last set to False.
        """
        found: list[tuple[int, bytes]] = []
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
                events, lost = read_page(page)
                self.lost = self.lost or lost
                found += events
        for now, event in sorted(found, key=lambda one: one[0]):
            number = int.from_bytes(event[:2], sys.byteorder)
            if number in self.formats:
                yield now, *self.formats[number], event

    def close(self) -> None:
        """Stop and remove the instance."""
        with suppress(OSError):
            self._write("events/enable", "0")
        for file in self._files:
            os.close(file)
        self._files.clear()
        with suppress(OSError):
            self.path.rmdir()
