"""Who uses the network: bytes between two looks by group, of sockets that last, and of those that came and went.

A socket's counters only grow, so what it had at the look before is subtracted; of one that is new all of it counts.
The kernel tells a socket's last counters at its end: what came and went between two looks is in them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class UsageGroup:
    """What a group sent and received, in bytes, over `seconds`, and in `total_sent` and `total_received` so far.

    `sockets` are those that there are, `ended` those that were closed meanwhile.
    """

    __slots__ = ("ended", "key", "received", "seconds", "sent", "sockets", "total_received", "total_sent")

    def __init__(self, key: str) -> None:
        self.key = key
        self.sent = self.received = self.sockets = self.ended = self.total_sent = self.total_received = 0
        self.seconds = 0.0

    @property
    def sent_per_s(self) -> float:
        """Bytes a second sent; 0 before there were two looks."""
        return self.sent / self.seconds if self.seconds > 0 else 0.0

    @property
    def received_per_s(self) -> float:
        """Bytes a second received."""
        return self.received / self.seconds if self.seconds > 0 else 0.0

    def document(self) -> dict[str, Any]:
        """The group as --jsonl has it."""
        return {
            "key": self.key,
            "sent_bytes_per_s": round(self.sent_per_s, 3),
            "received_bytes_per_s": round(self.received_per_s, 3),
            "sent_bytes": self.sent,
            "received_bytes": self.received,
            "total_sent_bytes": self.total_sent,
            "total_received_bytes": self.total_received,
            "sockets": self.sockets,
            "ended": self.ended,
        }


class UsageTable:
    """Adds up what is told of sockets until it is taken."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, int, int]] = {}
        """By cookie: the group, and the counters when they were last seen."""
        self._seen: dict[int, tuple[str, int, int]] = {}
        self._gone: dict[int, tuple[str, int, int]] = {}
        """Those that were there at the look before, and not at the last: a socket's end is told by a thread of the
        kernel, and may come after the look that it is missing from."""
        self._groups: dict[str, UsageGroup] = {}
        self._is_first = True
        self._when = 0.0

    def see(self, cookie: int, key: str, sent: int | None, received: int | None) -> None:
        """A socket at this look, with its counters; None where it has none."""
        before = self._known.get(cookie)
        if before is not None and key in ("-", "?"):
            key = before[0]  # it was closed by its process, and is still told of
        group = self._group(key)
        group.sockets += 1
        if sent is None or received is None:
            return
        self._seen[cookie] = (key, sent, received)
        if before is not None or not self._is_first:
            _, old_sent, old_received = before or (key, 0, 0)
            self._add(group, sent - old_sent, received - old_received)

    def end(self, cookie: int, key: Callable[[], str], sent: int, received: int) -> None:
        """A socket's end, with its last counters; `key` finds the group of one that was not seen."""
        known = self._known.pop(cookie, None) or self._gone.pop(cookie, None)
        self._seen.pop(cookie, None)
        group = self._group(known[0] if known else key())
        group.ended += 1
        _, old_sent, old_received = known or ("", 0, 0)
        self._add(group, sent - old_sent, received - old_received)

    def add(self, key: str, sent: int, received: int) -> None:
        """Bytes of what has no counters, such as packets that were seen."""
        self._add(self._group(key), sent, received)

    def take(self, now: float) -> list[UsageGroup]:
        """The groups since they were last taken, at `now` seconds of any clock, by key; counting begins anew."""
        seconds = 0.0 if self._is_first else now - self._when
        self._gone = {cookie: known for cookie, known in self._known.items() if cookie not in self._seen}
        self._known, self._seen = self._seen, {}
        self._is_first, self._when = False, now
        found, self._groups = self._groups, {}
        for key, group in found.items():
            group.seconds = seconds
            if group.sockets or group.sent or group.received or group.ended:
                after = self._groups[key] = UsageGroup(key)
                after.total_sent, after.total_received = group.total_sent, group.total_received
        return sorted(
            (one for one in found.values() if one.sockets or one.ended or one.sent or one.received),
            key=lambda one: one.key,
        )

    def _group(self, key: str) -> UsageGroup:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = UsageGroup(key)
        return group

    @staticmethod
    def _add(group: UsageGroup, sent: int, received: int) -> None:
        group.sent += max(0, sent)
        group.received += max(0, received)
        group.total_sent += max(0, sent)
        group.total_received += max(0, received)
