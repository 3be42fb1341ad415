"""The verb capture: packets as they come by, kept in memory and asked as those of a file are.

`LiveCapture` (`live_capture.py`) is the stream. `capture` runs one in a thread, which writes what comes to a capture
file in memory, so that the growing table is asked exactly as `read` is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Self

from echowire.core.captures.interfaces import NetworkInterface
from echowire.core.captures.limits import CaptureCounters, CaptureLimits
from echowire.core.captures.numbers import MAX_PACKET_BYTES
from echowire.core.views.field_lines import LineFormat
from echowire.kernel.tables.interfaces import list_interfaces
from echowire.verbs.live_capture import LiveCapture
from echowire.verbs.read import Capture, Reading, read

MEMORY_BYTES = 256 << 20
"""What the packets of `capture` take in memory at most, unless told otherwise; then it stops. That is a test's or an
afternoon's capture; a longer one goes to files."""

PROMPT_MS = 10
"""A block is handed over after this in `capture`: who waits for packets, in a test, does not wait for the ring."""


class LivePackets:
    """Packets that are captured while they are looked at: a table that grows. Used as a context manager.

    What can be asked of `echowire.read` can be asked of this, each time of all that there is: `filter`, `head`,
    `chunks`, `lines`. It ends at its limit, by `stop`, or with the `with` block; what came can be asked after that too,
    until `close`.
    """

    def __init__(self, live: LiveCapture) -> None:
        self._live = live
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._final: CaptureCounters | None = None
        self._memory = os.memfd_create("echowire-capture", os.MFD_CLOEXEC)
        try:
            live.write_to(f"/proc/self/fd/{self._memory}")
        except BaseException:
            os.close(self._memory)
            raise
        self._thread = threading.Thread(target=self._run, name="echowire-capture", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for _ in self._live.progress():
                with self._changed:
                    self._changed.notify_all()
        except BaseException as error:
            self._error = error
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __len__(self) -> int:
        return self._live.captured

    def __bool__(self) -> bool:
        return True

    @property
    def counters(self) -> CaptureCounters:
        """What came of the packets so far."""
        return self._final or self._live.counters()

    def wait(self, count: int, timeout_s: float | None = None) -> bool:
        """Wait until there are `count` packets; False if it ended, or the time was over, before."""
        with self._changed:
            self._changed.wait_for(lambda: len(self) >= count or not self._thread.is_alive(), timeout_s)
        return len(self) >= count

    def stop(self) -> None:
        """Take no more packets, and wait for those that came. Raises what went wrong meanwhile, once."""
        self._live.stop()
        self._thread.join()
        if self._final is None:
            self._final = self._live.counters()
            self._live.close()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Stop, and forget the packets."""
        try:
            self.stop()
        finally:
            if self._memory >= 0:
                os.close(self._memory)
                self._memory = -1

    def __del__(self) -> None:
        if getattr(self, "_memory", -1) >= 0:
            os.close(self._memory)

    @property
    def capture(self) -> Capture:
        """All packets so far, as a capture that was read."""
        return read(f"/proc/self/fd/{self._memory}")

    def filter(self, text: str) -> Capture:
        """Those for which a display filter holds; see `Capture.filter`."""
        return self.capture.filter(text)

    def head(self, count: int) -> Capture:
        """The first `count`."""
        return self.capture.head(count)

    def chunks(self, *names: str) -> Reading:
        """Chunk by chunk, to be asked for the fields `names`."""
        return self.capture.chunks(*names)

    def lines(self, *names: str, form: LineFormat | None = None) -> Iterator[bytes]:
        """A line a packet with its fields."""
        with self.chunks(*names) as reading:
            yield from reading.lines(form)


def capture(
    *interfaces: str,
    filter: str = "",  # noqa: A002 - the word of tcpdump and of everybody
    count: int | None = None,
    duration_s: float | None = None,
    max_bytes: int = MEMORY_BYTES,
    snap_len: int = MAX_PACKET_BYTES,
    promiscuous: bool = True,
    processes: bool = True,
) -> LivePackets:
    """Capture on `interfaces` (or `any`) into memory, from now on: every packet that comes after this call returns.

    Ends by itself after `count` packets, `duration_s` seconds or `max_bytes`. Needs CAP_NET_RAW. Raises
    `OperationError` where it cannot be, `UsageError` for a capture filter (pcap-filter(7)) that is wrong.
    """
    live = LiveCapture(
        interfaces,
        filter=filter,
        snap_len=snap_len,
        promiscuous=promiscuous,
        limits=CaptureLimits(count, duration_s, max_bytes),
        processes=processes,
        retire_ms=PROMPT_MS,
    )
    try:
        return LivePackets(live)
    except BaseException:
        live.close()
        raise


def interfaces() -> list[NetworkInterface]:
    """The interfaces of this host, first those that one would choose. Raises `OperationError`."""
    return list_interfaces()
