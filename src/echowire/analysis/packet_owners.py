"""Whose packets they are: what is known of sockets and processes, joined with packets by their addresses and ports.

A connection's end is found by all four, a datagram socket also by its own address and port alone. What is not known
stays unknown: a listener's process is not taken for that of its connections, as another may accept them, and a port
that several processes share belongs to none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from echowire.wire.flow_keys import UDP, Headers, distinct_flows
from echowire.wire.owner_events import (
    ACCEPTED,
    ANY_ADDRESS,
    CONNECTING,
    ESTABLISHED,
    FIN_WAIT_1,
    INPUT_OUTPUT,
    LAST_ACK,
    OwnerEvent,
)
from echowire.wire.packet_process import Owner, note
from echowire.wire.packets_in_place import Notes
from echowire.wire.records import Rows

MAX_SOCKETS = 65_536
"""That are remembered, those of last use: some 40 MB, and more than the ports of one address."""

Key: TypeAlias = tuple[int, bytes, int, bytes, int]
"""Protocol, own address and port, the peer's; a socket that has no peer has `ANY_ADDRESS` and 0."""


class _Known(NamedTuple):
    """Since when (monotonic) a socket was whose; None is not known yet, or of several."""

    socket: int
    since_ns: int
    owner: Owner | None


class OwnerTable:
    """Learns whose sockets are whose, and tells it of packets. `owner_of` makes an `Owner` of what an event names;
    `lives` says whether a process does.
    """

    def __init__(
        self, owner_of: Callable[[int, str, int], Owner], lives: Callable[[int], bool], namespace: int
    ) -> None:
        self._owner_of, self._lives, self._namespace = owner_of, lives, namespace
        self._known: OrderedDict[Key, tuple[_Known, ...]] = OrderedDict()
        self._connecting: OrderedDict[int, tuple[int, Owner]] = OrderedDict()
        """Sockets that have no port yet: when, and whose."""
        self.attributed = 0
        """Packets of which an end is known."""
        self.unknown = 0
        """TCP and UDP packets of which none is."""

    def learn_socket(self, key: Key, owner: Owner | None) -> None:
        """A socket that was seen, not one whose events were heard: these know better."""
        known = self._known.get(key)
        if known is None or known[-1].socket == 0:
            self._set(key, (_Known(0, 0, owner),))

    def learn(self, event: OwnerEvent) -> None:
        """What an event tells."""
        if event.namespace != self._namespace:
            return
        key = (event.protocol, event.local, event.local_port, event.peer, event.peer_port)
        if event.kind == CONNECTING:
            self._connecting[event.socket] = (event.time_ns, self._owner(event))
            if len(self._connecting) > MAX_SOCKETS:
                self._connecting.popitem(last=False)
        elif event.kind == ESTABLISHED:
            since = self._connecting.pop(event.socket, None)
            if since is not None:
                self._begin(key, _Known(event.socket, *since))
        elif event.kind == ACCEPTED:
            self._begin(key, _Known(event.socket, event.time_ns, None))
        elif event.kind == INPUT_OUTPUT:
            self._used(key, event)
        elif event.kind in (FIN_WAIT_1, LAST_ACK):
            now = self._known.get(key)
            if now is None or (now[-1].owner is None and now[-1].socket == event.socket):
                self._used(key, event)

    def _owner(self, event: OwnerEvent) -> Owner:
        return self._owner_of(event.pid, event.name, event.thread)

    def _begin(self, key: Key, known: _Known) -> None:
        """A new connection, maybe between the same ports as one before, whose last packets may still come."""
        before = self._known.get(key, ())
        self._set(key, (*before[-1:], known))

    def _used(self, key: Key, event: OwnerEvent) -> None:
        if not event.local_port:
            return
        before = self._known.get(key)
        known = _Known(event.socket, event.time_ns, self._owner(event))
        if before is None:
            self._set(key, (known,))
            return
        last = before[-1]
        if last.socket in (0, event.socket):
            self._set(key, (*before[:-1], known._replace(since_ns=last.since_ns)))
        elif key[4] == 0 and last.owner is not None and last.owner.pid != event.pid and self._lives(last.owner.pid):
            self._set(key, (known._replace(owner=None),))  # two sockets share the port: whose a datagram is, none knows
        else:
            self._set(key, (last, known))

    def _set(self, key: Key, known: tuple[_Known, ...]) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > MAX_SOCKETS:
            self._known.popitem(last=False)

    def owner(self, key: Key, now_ns: int) -> Owner | None:
        """Whose the socket is that a packet of the time `now_ns` (monotonic) belongs to."""
        protocol, address, port, _, _ = key
        found = self._known.get(key)
        if found is None and protocol == UDP:
            bound = self._known.get((protocol, address, port, ANY_ADDRESS, 0))
            found = bound or self._known.get((protocol, ANY_ADDRESS, port, ANY_ADDRESS, 0))
        if found is None:
            return None
        for known in reversed(found):
            if known.since_ns <= now_ns:
                return known.owner
        return found[0].owner

    def notes(self, headers: Headers, time_ns: Rows, since_1970_ns: int) -> Notes | None:
        """The options for packets that came at `time_ns`; None where nothing is known.

        `since_1970_ns` is what the clock of packets is ahead of the monotonic one.
        """
        flows = distinct_flows(headers)
        options: dict[bytes, int] = {}
        numbers = np.full(len(flows.first), -1, np.int64)
        times = time_ns[flows.first] - since_1970_ns
        for at, (raw, now_ns) in enumerate(zip(flows.keys, times.tolist(), strict=True)):
            key = _key(raw.tobytes())
            sender = self.owner(key, now_ns)
            receiver = self.owner((key[0], key[3], key[4], key[1], key[2]), now_ns)
            if sender or receiver:
                numbers[at] = options.setdefault(note(sender, receiver), len(options))
        found = numbers[flows.which]
        known = int(np.count_nonzero(found >= 0))
        self.attributed += known
        self.unknown += len(found) - known
        if not options:
            return None
        out = np.full(len(time_ns), -1, np.int64)
        out[flows.rows] = found
        return Notes(out, list(options))


def _key(raw: bytes) -> Key:
    ports = int.from_bytes(raw[32:34]), int.from_bytes(raw[34:36])
    return raw[36], raw[:16], ports[0], raw[16:32], ports[1]
