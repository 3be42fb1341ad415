"""The files that a live capture writes: whole at all times, in turn if asked, and nothing lost between them.

What comes is written at once, unbuffered, by one gathering write a thousand packets (writev(2)): so a process that is
killed leaves all that it was given. Where the disk is full, what was written of a packet that does not fit is cut
off again, and the file ends with a whole one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.in_place import Pieces
from echowire.core.captures.limits import Rotation
from echowire.core.captures.ticks import SECOND_NS
from echowire.kernel.boundary import operation, operation_error
from echowire.kernel.output_files import CAPTURE_MODE, open_to_write

IOV_MAX = 1024
"""Pieces that one writev takes (linux/uio.h)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.writev.restype = ctypes.c_ssize_t
_libc.writev.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class CaptureOutput:
    """Writes packets to `path`, `-` being standard output, or to files in turn, `path` with a number and a time.

    `begin` gives the bytes that each file begins with, `end` those that it ends with, given the time in nanoseconds.
    Raises `OperationError`.
    """

    def __init__(
        self,
        path: str,
        begin: Callable[[], bytes],
        end: Callable[[int], bytes],
        *,
        rotation: Rotation | None = None,
        last_file: int | None = None,
        is_stopping: Callable[[], bool] = bool,
        now_ns: int,
        descriptor: int | None = None,
    ) -> None:
        """After `last_file` files no other is begun; what should go into it is not written. A named pipe that nobody
        reads is waited for until `is_stopping`. `descriptor` is the first file's, if it is open already."""
        self.path = path
        self.rotation = rotation or Rotation()
        self.is_full = False
        """Whether the last file has come to its end."""
        self.files = 0
        """Begun so far."""
        self.size = 0
        """Bytes of the present file."""
        self._before = 0
        self._is_stopping = is_stopping
        self._begin, self._end, self._last_file = begin, end, last_file
        self._kept: deque[str] = deque()
        self._open_file(now_ns, descriptor)

    def _open_file(self, now_ns: int, descriptor: int | None = None) -> None:
        self.files += 1
        self.name = self.path if not self.rotation.is_asked else numbered(self.path, self.files, now_ns)
        self._owned = self.path != "-"
        if descriptor is not None:
            self._fd = descriptor
        elif self._owned:
            with operation("write", self._shown):
                self._fd = open_to_write(self.name, CAPTURE_MODE, is_stopping=self._is_stopping)
        else:
            self._fd = sys.stdout.fileno()
        self._before += self.size
        self.size = self.packets = 0
        self._since_ns = now_ns
        if self.rotation.files and self._owned:
            if len(self._kept) == self.rotation.files:
                with suppress(OSError):
                    Path(self._kept.popleft()).unlink()
            self._kept.append(self.name)
        try:
            self._write_whole(self._begin())
        except BaseException:
            self._close_file()
            raise

    @property
    def written(self) -> int:
        """Bytes of all files."""
        return self._before + self.size

    @property
    def _shown(self) -> str:
        return "standard output" if self.path == "-" else self.name

    def write(self, pieces: Pieces, time_ns: NDArray[np.int64]) -> int:
        """Write packets, which came at `time_ns`; to the next file, where this one has come to its end. How many."""
        at = 0
        while at < len(pieces) and not self.is_full:
            count = self._count_until_next(pieces.size[at:], time_ns[at:])
            if count:
                last = at + count == len(pieces)
                self._gather(pieces, at, at + count, pieces.tail if last else b"")
                self.packets += count
                at += count
            if at < len(pieces):
                self._next_file(int(time_ns[at]))
        return at

    def _count_until_next(self, size: NDArray[np.int64], time_ns: NDArray[np.int64]) -> int:
        """How many of the packets go into the present file."""
        limits, count = self.rotation, len(size)
        if limits.file_bytes is not None:
            # A file that has a packet less than it may is nearer to what was asked than one with a packet more.
            fits = int(np.searchsorted(np.cumsum(size), limits.file_bytes - self.size, "right"))
            count = min(count, max(fits, 0 if self.packets else 1))
        if limits.packets is not None:
            count = min(count, limits.packets - self.packets)
        if limits.duration_s is not None:
            late = np.flatnonzero(time_ns - self._since_ns >= int(limits.duration_s * SECOND_NS))
            count = min(count, int(late[0]) if len(late) else count)
        return count

    def turn(self, now_ns: int) -> None:
        """Go on to the next file if this one's time is over, though nothing came."""
        limit = self.rotation.duration_s
        if limit is not None and now_ns - self._since_ns >= int(limit * SECOND_NS):
            self._next_file(now_ns)

    def _next_file(self, now_ns: int) -> None:
        if self.files == self._last_file:
            self.is_full = True
            return
        self.finish(now_ns)
        self._open_file(now_ns)

    def _gather(self, pieces: Pieces, first: int, stop: int, tail: bytes) -> None:
        """Write the packets `first` to `stop`, of which the last is followed by `tail`."""
        vectors = np.empty((stop - first + 1, 2), np.uint64)
        vectors[:-1, 0] = pieces.start[first:stop] + pieces.block.ctypes.data
        vectors[:-1, 1] = pieces.size[first:stop]
        vectors[-2, 1] -= np.uint64(len(tail))
        behind = np.frombuffer(tail or b"\0", np.uint8)
        vectors[-1] = behind.ctypes.data, len(tail)
        ends = np.cumsum(pieces.size[first:stop])
        done = 0
        while len(vectors):
            some = vectors[:IOV_MAX]
            wanted = int(some[:, 1].sum())
            written = _libc.writev(self._fd, some.ctypes.data, len(some))
            if written < 0:
                self._failed(ctypes.get_errno(), done, ends)
                continue
            done += written
            if written == wanted:
                vectors = vectors[IOV_MAX:]
                continue
            vectors = _after(vectors, written)  # a pipe took less, or the disk is full and says so next time
        self.size += done

    def _failed(self, number: int, done: int, ends: NDArray[np.int64]) -> None:
        """Having written `done` bytes of the packets that end at `ends`, cut off what is no whole packet."""
        if number == errno.EINTR:
            return
        self._raise_for(number, int(ends[np.searchsorted(ends, done, "right") - 1]) if done >= ends[0] else 0)

    def _raise_for(self, number: int, whole: int) -> None:
        if self._owned:
            with suppress(OSError):
                os.ftruncate(self._fd, self.size + whole)
            self.size += whole
        if number == errno.EPIPE:
            raise BrokenPipeError(number, os.strerror(number))
        raise operation_error("write", self._shown, OSError(number, os.strerror(number)))

    def _write_whole(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except OSError as error:
                self._raise_for(error.errno or errno.EIO, 0)
        self.size += len(data)

    def finish(self, now_ns: int) -> None:
        """End the present file and close it."""
        try:
            self._write_whole(self._end(now_ns))
        finally:
            self._close_file()

    def abandon(self) -> None:
        """Close the present file as it is."""
        self._close_file()

    def _close_file(self) -> None:
        if self._owned and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _after(vectors: NDArray[np.uint64], written: int) -> NDArray[np.uint64]:
    """What is left of `vectors`, of which so many bytes were written."""
    ends = np.cumsum(vectors[:, 1])
    left = vectors[int(np.searchsorted(ends, np.uint64(written), "right")) :].copy()
    if len(left):
        missing = ends[len(vectors) - len(left)] - np.uint64(written)
        left[0] = left[0, 0] + left[0, 1] - missing, missing
    return left


def numbered(path: str, number: int, now_ns: int) -> str:
    """The name of a file in turn, as dumpcap makes it: `a.pcapng` becomes `a_00001_20261122173000.pcapng`."""
    whole = Path(path)
    at = datetime.fromtimestamp(now_ns // SECOND_NS).astimezone()
    return str(whole.with_name(f"{whole.stem}_{number:05d}_{at:%Y%m%d%H%M%S}{whole.suffix}"))
