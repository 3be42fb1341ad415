"""Writing in the background: while one block goes out, the next is made.

A write of some hundred kilobytes is as much work for the kernel as making them is for this program; on a second core
they go on side by side. The first block is written at once, so that a short answer costs no thread.
"""

from __future__ import annotations

from queue import Queue
from threading import Thread
from typing import Self

from echowire.cli.environment import Environment

MAX_WAITING = 2
"""Blocks that may wait to be written: one is made while one is written."""


class WriteBehind:
    """Standard output, for a `with` block; what was written is out when that ends. An error of writing is raised by the
    next write, or at the end."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._waiting: Queue[bytes | None] = Queue(MAX_WAITING)
        self._thread: Thread | None = None
        self._error: BaseException | None = None
        self._is_begun = False

    def write(self, block: bytes) -> None:
        """Write a block, now or soon; an empty one is none."""
        if not block:
            return
        if self._error is not None:
            raise self._error
        if not self._is_begun:
            self._is_begun = True
            self._env.write(block)
            return
        if self._thread is None:
            self._thread = Thread(target=self._run, name="write-behind", daemon=True)
            self._thread.start()
        self._waiting.put(block)

    def _run(self) -> None:
        while (block := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self._env.write(block)
                except BaseException as error:  # raised where the writing was asked for
                    self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
        if error is None:
            if self._error is not None:
                raise self._error
            self._env.flush()
