"""How bytes that flow are held to a rate: a token bucket a lane, and TCP's own pacing under it.

The bucket alone keeps the total right, but what it lets go is a piece a tick: at 1 Gbit/s a burst of 125 kB. TCP can
space the segments of such a piece evenly (SO_MAX_PACING_RATE), but alone it bounds only what leaves the socket, and a
send buffer of megabytes takes a whole measurement at once. So the bucket decides how much, and the kernel, set a
little higher so that it never holds back what the bucket allows, decides when within the tick.
"""

from __future__ import annotations

TICK_S = 0.001
"""How often a bucket is emptied: the grain of epoll's timeout, and iperf3's --pacing-timer."""

PIECE_S = 0.01
"""What a slow rate waits for at most, before it sends less than a segment: a run of a second still ends on its rate."""

DEPTH_S = 0.1
"""How much of a pause is made up for afterwards. More would be a burst, and no rate, once a stalled peer reads on."""

SEGMENT_BYTES = 1448
"""What a segment on Ethernet carries (1500 less IPv4, TCP and its time stamps): no smaller piece is worth a packet."""

PIECE_OVERHEAD_BYTES = 100
"""Headers of a segment, which the fq queue counts (tc-fq(8)), and the frame of a TLS record (RFC 8446 section 5.2)."""

KERNEL_HEADROOM = 1.1
"""How much faster than the bucket the kernel may send: enough to make up for a late tick by the next."""


class Bucket:
    """Whole bytes that may go now. Times are seconds of CLOCK_MONOTONIC, as `time.perf_counter` gives."""

    __slots__ = ("_depth", "_filled_at", "_tokens", "piece", "rate")

    def __init__(self, bytes_per_s: float) -> None:
        self.rate = bytes_per_s
        self.piece = max(1, int(max(bytes_per_s * TICK_S, min(SEGMENT_BYTES, bytes_per_s * PIECE_S))))
        """What is waited for before the next goes, so that a slow rate is not a packet a byte."""
        self._depth = max(2.0 * self.piece, bytes_per_s * DEPTH_S)
        self._tokens = 0.0
        self._filled_at: float | None = None

    def fill(self, now: float) -> int:
        """Bytes that may go at `now`. Time counts from the first call."""
        if self._filled_at is not None:
            self._tokens = min(self._depth, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
        return int(self._tokens)

    def take(self, count: int) -> None:
        """`count` bytes went."""
        self._tokens -= count

    @property
    def is_low(self) -> bool:
        """Whether the next piece has to be waited for, as of the last `fill`."""
        return self._tokens < self.piece

    @property
    def wait_s(self) -> float:
        """How long, from the last `fill` on, until there is a piece."""
        return max(0.0, (self.piece - self._tokens) / self.rate)


def kernel_rate(bucket: Bucket, largest_piece: int) -> int:
    """Bytes a second for SO_MAX_PACING_RATE where a bucket decides, and no write is above `largest_piece`."""
    piece = min(bucket.piece, largest_piece, SEGMENT_BYTES)
    return int(bucket.rate * (KERNEL_HEADROOM + PIECE_OVERHEAD_BYTES / piece)) + 1
