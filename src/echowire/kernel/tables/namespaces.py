"""Another network namespace, for as long as one function runs: a thread enters it and ends (setns(2), netns(7)).

The thread that asked never leaves its own. A socket stays in the namespace in which it was made.
"""

from __future__ import annotations

import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000  # linux/sched.h
NAMED = "/run/netns"
"""Where ip-netns(8) puts the names."""


def path_of(namespace: str) -> str:
    """The file of a namespace that is named or, if `namespace` is a number, that of a process."""
    return f"/proc/{namespace}/ns/net" if namespace.isdigit() else f"{NAMED}/{namespace}"


def inode_of(path: str = "/proc/thread-self/ns/net") -> int | None:
    """The number by which a network namespace is known; None where it cannot be told."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116
    except OSError:
        return None


def within(path: str, function: Callable[[], Result]) -> Result:
    """What `function` returns, run in a thread of its own in the namespace of the file `path`.

    Raises `OSError`: EPERM without CAP_SYS_ADMIN, ENOENT where there is no such namespace; and what it raises.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(descriptor)
            finally:
                os.close(descriptor)
            outcome.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="echowire-namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _setns(descriptor: int) -> None:
    if hasattr(os, "setns"):  # from Python 3.12
        os.setns(descriptor, CLONE_NEWNET)
        return
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
