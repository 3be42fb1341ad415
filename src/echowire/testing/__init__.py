"""For tests, yours and ours: a connection in memory, a clock moved by hand, and what every engine must pass.

    class TestMyEngine(StreamConformance, DatagramConformance):
        def make_engine(self, job, report):
            return MyEngine(job, report)

is a whole test suite: each method is one promise of `echowire.engines.serving.base`. The peers in it are plain blocking
sockets, which share no code with the engines. Nothing here needs pytest.
"""

from __future__ import annotations

from echowire.testing.conformance import (
    Conformance,
    DatagramConformance,
    Running,
    StreamConformance,
    wait_until_refused,
)
from echowire.testing.peers import (
    FILL_CHUNK,
    HELD_MAX,
    PATIENCE_S,
    SETTLED_S,
    Peer,
    TlsPeer,
    digest_of_fill,
    echo_to_the_end,
    ends,
    exchange,
    fill,
    half_close,
    receive_digest,
    receive_exactly,
    reset,
    running_thread,
    wait_until_blocked,
)
from echowire.testing.tools import ManualClock, memory_connection

__all__ = [
    "FILL_CHUNK",
    "HELD_MAX",
    "PATIENCE_S",
    "SETTLED_S",
    "Conformance",
    "DatagramConformance",
    "ManualClock",
    "Peer",
    "Running",
    "StreamConformance",
    "TlsPeer",
    "digest_of_fill",
    "echo_to_the_end",
    "ends",
    "exchange",
    "fill",
    "half_close",
    "memory_connection",
    "receive_digest",
    "receive_exactly",
    "reset",
    "running_thread",
    "wait_until_blocked",
    "wait_until_refused",
]
