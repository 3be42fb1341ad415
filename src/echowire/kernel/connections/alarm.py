"""A descriptor that is ready at a moment: what a loop waits for time with (timerfd_create(2)).

A timeout of epoll_wait(2) would do, and costs more: the kernel programs its timer for each wait and takes it back when
something is ready before. On a virtual machine that is an exit to the host, both times. A server that looks at its
connections fifty times a second, and wakes a hundred thousand times meanwhile, needs the timer fifty times.
"""

from __future__ import annotations

import ctypes
import os
import struct

CLOCK_MONOTONIC = 1  # linux/time.h; the clock of `time.monotonic`
TFD_TIMER_ABSTIME = 1
TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
ITIMERSPEC = struct.Struct("@4l")  # it_interval and it_value, each of seconds and nanoseconds; all 0 is never


class Alarm:
    """One moment. `fd` is ready to be read once it has come, until another is set."""

    def __init__(self) -> None:
        """Raises `OSError`; also where the system has no such descriptors."""
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            self._set_time = libc.timerfd_settime
            self.fd: int = libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        except AttributeError as error:
            raise OSError(str(error)) from None
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def set(self, moment: float | None) -> None:
        """Be ready at `moment`, in seconds of `time.monotonic`, or at once if it has passed; None: never."""
        nanoseconds = 0 if moment is None else max(1, int(moment * 1e9))
        seconds, rest = divmod(nanoseconds, 1_000_000_000)
        self._set_time(self.fd, TFD_TIMER_ABSTIME, ITIMERSPEC.pack(0, 0, seconds, rest), None)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
