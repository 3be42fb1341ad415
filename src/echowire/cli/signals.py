"""Which signals a verb may take: those that whoever started it did not have ignored; and to end by them in order."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def heard(numbers: Iterable[signal.Signals]) -> tuple[signal.Signals, ...]:
    """Those that are not ignored: nohup's SIGHUP, and SIGINT in a background job of a shell script, stay so."""
    return tuple(number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the program as Ctrl-C does: what is half done is taken away first."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    taken = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        taken = []
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
