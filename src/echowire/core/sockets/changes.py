"""What changed between two looks at the sockets: which opened, changed their state, closed, and how fast bytes go.

A connection is known by its addresses and ports: what waits in TIME-WAIT is another thing to the kernel than what was
established, and the same connection to its user. Everything else is known by the kernel's cookie.
"""

from __future__ import annotations

from echowire.core.sockets import fields
from echowire.core.sockets.sock_diag import Block
from echowire.core.sockets.table import SocketRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any

    from echowire.core.sockets.columns import Reader

COUNTERS = {"sent": "tcpi_bytes_sent", "received": "tcpi_bytes_received", "retransmitted": "tcpi_total_retrans"}
"""What is told as a rate, and the counter that it is of: bytes, and segments."""

_IDENTITY = (20, 56)
"""Where ports and addresses are in an inet_diag message behind netlink's header."""


_STATE = 17
"""Where the state is in an inet_diag message behind netlink's header."""


class SocketChange:
    """A socket at one look: `kind` is opened, state, closed or same; `was` is the state before.

    `rates` are a second's, of `COUNTERS`; empty at the first look and for what has no counters.
    """

    __slots__ = ("kind", "rates", "row", "was")

    def __init__(self, kind: str, row: SocketRow, was: str | None, rates: dict[str, float]) -> None:
        self.kind, self.row, self.was, self.rates = kind, row, was, rates

    @property
    def activity(self) -> float:
        """Bytes a second, both ways."""
        return self.rates.get("sent", 0.0) + self.rates.get("received", 0.0)

    def document(self) -> dict[str, Any]:
        """The change as --jsonl has it: rates as `sent_bytes_per_s`."""
        named = {"sent": "sent_bytes_per_s", "received": "received_bytes_per_s", "retransmitted": "retransmitted_per_s"}
        rates = {named[name]: round(rate, 3) for name, rate in self.rates.items()}
        return {"event": self.kind, "was": self.was, **rates, **self.row.document()}


class _Seen:
    __slots__ = ("block", "cookie", "counters", "look", "offset", "state")

    def __init__(
        self, state: int, cookie: int, counters: tuple[int, ...], block: Block, offset: int, look: int
    ) -> None:
        self.state, self.cookie, self.counters, self.look = state, cookie, counters, look
        self.block, self.offset = block, offset


class SocketTracker:
    """Compares each look with the one before.

    TCP sockets in the states `passing` are not looked at: of them there are the numbers of the last look, in `passed`.
    """

    def __init__(self, reader: Reader, passing: Collection[int] = ()) -> None:
        self._reader, self._passing = reader, frozenset(passing)
        self.passed: dict[int, int] = {}
        self._seen: dict[object, _Seen] = {}
        self._look = 0
        self._when = 0.0

    def update(self, blocks: Iterable[Block], now: float) -> list[SocketChange]:
        """Every socket of this look, and those that are gone since the last. `now` is in seconds, of any clock."""
        self._look += 1
        is_first, passed, self._when = self._look == 1, now - self._when, now
        changes = []
        self.passed = {}
        for block in self._lasting(blocks) if self._passing else blocks:
            for key, seen in self._read(block):
                before = self._seen.pop(key, None)
                if before is not None and not _is_same(before, seen):
                    changes.append(SocketChange("closed", self._row(before), None, {}))
                    before = None
                self._seen[key] = seen
                changes.append(self._change(before, seen, passed, is_first))
        gone = [key for key, seen in self._seen.items() if seen.look != self._look]
        for key in gone:
            changes.append(SocketChange("closed", self._row(self._seen.pop(key)), None, {}))
        return changes

    def _lasting(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The blocks without what passes, which is counted: on a busy host most, and not worth a row each."""
        for block in blocks:
            states = block.data[_STATE :: block.layout.size] if block.netid == "tcp" else b""
            passing = {state: states.count(state) for state in self._passing if state in states}
            for state, count in passing.items():
                self.passed[state] = self.passed.get(state, 0) + count
            if not passing:
                yield block
            elif sum(passing.values()) < block.count and (rest := block.take([s not in passing for s in states])):
                yield rest

    def _change(self, before: _Seen | None, seen: _Seen, passed: float, is_first: bool) -> SocketChange:
        row = self._row(seen)
        if before is None:
            return SocketChange("same" if is_first else "opened", row, None, {})
        rates: dict[str, float] = {}
        if before.counters and seen.counters and passed > 0:
            pairs = zip(COUNTERS, before.counters, seen.counters, strict=True)
            rates = {name: max(0, new - old) / passed for name, old, new in pairs}
        if before.state == seen.state:
            return SocketChange("same", row, None, rates)
        return SocketChange("state", row, fields.STATES[before.state], rates)

    def _read(self, block: Block) -> Iterable[tuple[object, _Seen]]:
        cookies = self._reader.column(block, "cookie") or []
        states = [state for (state,) in self._reader.raw(block, ("_state",)) or ()] or [fields.CLOSE] * block.count
        columns = [self._reader.column(block, name) for name in COUNTERS.values()]
        counters: Iterable[tuple[int, ...]] = [()] * block.count
        if None not in columns:
            counters = zip(*columns, strict=True)
        size, is_tcp = block.layout.size, block.netid == "tcp"
        for at, (cookie, state, counts) in enumerate(zip(cookies, states, counters, strict=True)):
            offset = at * size
            connected = is_tcp and state not in (fields.LISTEN, fields.CLOSE)
            key: object = block.data[offset + _IDENTITY[0] : offset + _IDENTITY[1]] if connected else cookie
            yield key, _Seen(state, cookie, counts, block, offset, self._look)

    def _row(self, seen: _Seen) -> SocketRow:
        block, end = seen.block, seen.offset + seen.block.layout.size
        return SocketRow(self._reader, Block(block.layout, block.data[seen.offset : end], block.netid))


def _is_same(before: _Seen, seen: _Seen) -> bool:
    """Whether it is the same connection: the same to the kernel, or what is left of it."""
    return (
        before.cookie == seen.cookie
        or seen.state in (fields.TIME_WAIT, fields.FIN_WAIT_2)
        or before.state == fields.SYN_RECV
    )
