"""Sockets counted: by kind and state, and by process, peer, port, control group or user, with totals."""

from __future__ import annotations

from echowire.core.sockets import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from typing import Any

    from echowire.core.sockets.columns import Reader
    from echowire.core.sockets.sock_diag import Block

TOTALS = {
    "unread": "unread",
    "unacked": "unacked",
    "bytes_sent": "tcpi_bytes_sent",
    "bytes_received": "tcpi_bytes_received",
    "retransmitted": "tcpi_total_retrans",
    "drops": "skmem_drops",
}
"""What is added up in a group, and the column that it is the sum of."""


class SocketGroup:
    """The sockets that have `key` in common: how many, in which states, and the sums of `TOTALS`.

    A sum is None where none of them has such a thing, as UDP counts no bytes.
    """

    __slots__ = ("count", "key", "states", "totals")

    def __init__(self, key: str) -> None:
        self.key = key
        self.count = 0
        self.states: dict[str, int] = {}
        self.totals: dict[str, int | None] = dict.fromkeys(TOTALS)

    def document(self) -> dict[str, Any]:
        """The group as JSON has it."""
        return {"key": self.key, "sockets": self.count, "states": self.states, **self.totals}


def group_by(reader: Reader, blocks: Iterable[Block], by: str, listening: Container[int] = ()) -> list[SocketGroup]:
    """The groups, the largest first. `by` is process, state, peer, port, cgroup, user or kind.

    A port is a service's: the local one if somebody listens on it (`listening`), else the peer's.
    """
    groups: dict[str, SocketGroup] = {}
    for block in blocks:
        keys = group_keys(reader, block, by, listening)
        states = reader.column(block, "state") or ["UNCONN"] * block.count
        sums = [reader.column(block, name) or [None] * block.count for name in TOTALS.values()]
        for key, state, *numbers in zip(keys, states, *sums, strict=True):
            group = groups.get(key)
            if group is None:
                group = groups[key] = SocketGroup(key)
            group.count += 1
            group.states[state] = group.states.get(state, 0) + 1
            for name, number in zip(TOTALS, numbers, strict=True):
                if number is not None:
                    group.totals[name] = (group.totals[name] or 0) + number
    return sorted(groups.values(), key=lambda group: (-group.count, group.key))


def group_keys(reader: Reader, block: Block, by: str, listening: Container[int] = ()) -> list[str]:
    """The group of each socket; `-` is none, `?` is not known."""
    none: list[Any] = [None] * block.count
    if by == "process":
        return _process_keys(reader, block)
    if by == "port":
        local, peer = (reader.column(block, name) or none for name in ("local_port", "peer_port"))
        return [service_of(mine, other, listening) for mine, other in zip(local, peer, strict=True)]
    name = {"state": "state", "peer": "peer_address", "cgroup": "cgroup", "user": "user", "kind": "netid"}[by]
    return ["-" if value is None else str(value) for value in reader.column(block, name) or none]


def service_of(local: int | None, peer: int | None, listening: Container[int]) -> str:
    """The port that a socket is of: its own if somebody listens on it, else the peer's."""
    number = local if local in listening or not peer else peer
    return "-" if number is None else str(number)


def _process_keys(reader: Reader, block: Block) -> list[str]:
    holders, rows = reader.names.holders, reader.raw(block, ("inode",))
    if holders is None or rows is None:
        return ["?"] * block.count
    keys = []
    for (inode,) in rows:
        held = holders.get(inode)
        nobody = "?" if inode and not reader.names.sees_all else "-"
        keys.append(f"{held[0].process.name} (pid {held[0].process.pid})" if held else nobody)
    return keys


class SocketSummary:
    """How many sockets there are of each kind and state; `orphans` are TCP's that no process holds any more."""

    def __init__(self, reader: Reader, blocks: Iterable[Block]) -> None:
        self.by_kind: dict[str, dict[str, int]] = {}
        self.by_family: dict[str, dict[str, int]] = {}
        self.orphans = 0
        for block in blocks:
            self._add(reader, block)

    def _add(self, reader: Reader, block: Block) -> None:
        kinds = reader.column(block, "netid") or [block.netid] * block.count
        states = reader.column(block, "state") or ["UNCONN"] * block.count
        for kind, state in zip(kinds, states, strict=True):
            of_kind = self.by_kind.setdefault(kind, {})
            of_kind[state] = of_kind.get(state, 0) + 1
        family = {2: "ipv4", 10: "ipv6"}.get(block.layout.family)
        if family:
            counts = self.by_family.setdefault(block.netid, {"ipv4": 0, "ipv6": 0})
            counts[family] += block.count
        if block.netid == "tcp" and (rows := reader.raw(block, ("_state", "inode"))):
            self.orphans += sum(1 for state, inode in rows if not inode and state not in _WITHOUT_HOLDER)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(sum(states.values()) for states in self.by_kind.values())

    def document(self) -> dict[str, Any]:
        """The summary as JSON has it."""
        return {"total": self.total, "kinds": self.by_kind, "families": self.by_family, "tcp_orphans": self.orphans}


_WITHOUT_HOLDER = (
    *(fields.TIME_WAIT, fields.SYN_RECV, fields.NEW_SYN_RECV),
    *(fields.ESTABLISHED, fields.CLOSE_WAIT),
)
"""States of what never had a process, or has it no more. What a process closed is in neither of the last two: those
are connections that wait to be accepted."""
