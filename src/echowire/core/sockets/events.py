"""Events of sockets: what one is, and how a connection's end is joined with its beginning.

An end is told by the two ends of the connection and no other name, and may be told after the next connection between
the same two has begun.
"""

from __future__ import annotations

from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

NAMESAKES = 8
"""Connections of the same two ends, one after the other, whose beginnings are kept: the end of one may be told after
the next has begun, and the kernel's own sockets have no end that is told."""

COUNTERS = {
    "bytes_sent": "tcpi_bytes_sent",
    "bytes_acked": "tcpi_bytes_acked",
    "bytes_received": "tcpi_bytes_received",
    "bytes_retransmitted": "tcpi_bytes_retrans",
    "retransmitted": "tcpi_total_retrans",
    "rtt_us": "tcpi_rtt",
    "min_rtt_us": "tcpi_min_rtt",
    "segments_sent": "tcpi_segs_out",
    "segments_received": "tcpi_segs_in",
}
"""What an end tells, and the column that it is."""


class SocketEvent:
    """One thing that happened: `kind`, when in nanoseconds since 1970, and `values` by their names in JSON."""

    __slots__ = ("kind", "time_ns", "values")

    def __init__(self, kind: str, time_ns: int, values: dict[str, Any]) -> None:
        self.kind, self.time_ns, self.values = kind, time_ns, values

    def document(self) -> dict[str, Any]:
        """The event as --jsonl prints it."""
        return {"event": self.kind, "time_ns": self.time_ns, **self.values}


class Known:
    """What is kept of a connection until its end is told."""

    __slots__ = ("began", "caller", "ended", "ends", "has_port", "reset", "state")

    def __init__(self, began: int) -> None:
        self.began = began
        self.ended = 0
        self.ends: dict[str, Any] = {}
        self.reset: str | None = None
        self.has_port = False
        self.caller: int | None = None
        self.state = ""


PLACES = ("netid", "family", "local_address", "local_port", "peer_address", "peer_port")
"""The columns by which an event says of which socket it is."""


key_of: Callable[[dict[str, Any]], tuple[Any, ...]] = itemgetter(*PLACES)
"""By what two events are known to be of sockets between the same two ends."""


def ends_with(known: dict[tuple[Any, ...], list[Known]], ends: list[SocketEvent]) -> Iterator[SocketEvent]:
    """The ends, with what is known of their beginning: how long each lasted, and by which reset it ended."""
    for end in ends:
        if end.kind == "closed":
            connection = _taken(known, key_of(end.values))
            began = connection.began if connection else 0
            end.values["lifetime_ns"] = (connection.ended or end.time_ns) - began if connection and began else None
            end.values["reset"] = connection.reset if connection else None
        yield end


def _taken(known: dict[tuple[Any, ...], list[Known]], key: tuple[Any, ...]) -> Known | None:
    """The connection of these two ends whose end this is: the first that is over; it is kept no longer."""
    namesakes = known.get(key)
    if not namesakes:
        return None
    connection = next((one for one in namesakes if one.ended), namesakes[0])
    namesakes.remove(connection)
    if not namesakes:
        del known[key]
    return connection
