"""Which signals a verb may take: those that whoever started it did not have ignored."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def heard(numbers: Iterable[signal.Signals]) -> tuple[signal.Signals, ...]:
    """Those that are not ignored: nohup's SIGHUP, and SIGINT in a background job of a shell script, stay so."""
    return tuple(number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN)
