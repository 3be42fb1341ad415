"""A directory that many files are written to at a time, of which some are as long as a capture.

What is written is gathered and goes to the files in turn, each opened, appended to and closed: so one file is open at a
time, however many there are. Nothing that is there already is written over, and no link is followed: what lies in the
directory may be anybody's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from echowire.errors import EchowireError, OperationError, UsageError
from echowire.kernel.boundary import operation
from echowire.kernel.output_files import refuse_foreign_links

MAX_GATHERED_BYTES = 64 * 1024 * 1024
"""Gathered before it is written: where thousands of streams take turns, most time goes into opening their files, and
half a gigabyte is then written in eight turns."""


class ExportDirectory:
    """Files by keys; in a `with` block, at whose end those are removed that were not finished."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with operation("create", str(path)):
            refuse_foreign_links(path)
            self.path.mkdir(parents=True, exist_ok=True)
        self._gathered: dict[str, list[bytes]] = {}
        self._size = 0
        self._begun: set[str] = set()
        self._unfinished: set[str] = set()

    def __enter__(self) -> ExportDirectory:
        return self

    def __exit__(self, *about: object) -> None:
        """After what the system refused, such as more on a full disk, what was begun is called `.part`."""
        for name in self._unfinished:
            self._gathered.pop(name, None)
            with suppress(OSError):
                (self.path / name).unlink()
        if any(isinstance(one, OperationError) for one in about):
            self._gathered.clear()
            for name in self._begun - self._unfinished:
                with suppress(OSError):
                    (self.path / name).rename(self.path / f"{name}.part")
        with suppress(EchowireError):  # after another error or Ctrl-C: what was gathered is written, if it can be
            self.flush()

    def append(self, name: str, data: bytes) -> None:
        """Write to the file `name`, which must not have been there before. Raises `OperationError`."""
        self._gathered.setdefault(name, []).append(data)
        self._size += len(data)
        if self._size > MAX_GATHERED_BYTES:
            self.flush()

    def append_unfinished(self, key: int, data: bytes) -> None:
        """Write to a file that gets its name when it is finished."""
        self._unfinished.add(_temporary(key))
        self.append(_temporary(key), data)

    def finish(self, key: int, next_name: Callable[[], str]) -> str:
        """Give a file its name: the first of those that `next_name` gives that is not taken."""
        unnamed = _temporary(key)
        if unnamed not in self._begun:
            self.append_unfinished(key, b"")
        self._write(unnamed, self._gathered.pop(unnamed, []))
        while True:
            name = next_name()
            with operation("create", str(self.path / name)):
                try:
                    os.close(os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
                except FileExistsError:
                    continue
                (self.path / unnamed).replace(self.path / name)
            self._unfinished.discard(unnamed)
            self._begun.discard(unnamed)
            return name

    def flush(self) -> None:
        """Write what was gathered."""
        while self._gathered:
            self._write(*self._gathered.popitem())  # no second time, where it fails
        self._size = 0

    def _write(self, name: str, some: list[bytes]) -> None:
        path, is_new = self.path / name, name not in self._begun
        how = os.O_CREAT | os.O_EXCL if is_new else os.O_APPEND
        with operation("write", str(path)):
            try:
                file = os.open(path, how | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            except FileExistsError:
                raise UsageError(f"{path} is there already; name a directory without it") from None
            self._begun.add(name)
            try:
                data = memoryview(b"".join(some))
                while data:
                    data = data[os.write(file, data) :]
            finally:
                os.close(file)


def _temporary(key: int) -> str:
    """The name of a file that has none yet; of this process alone."""
    return f".echowire-{os.getpid()}-{key}.part"
