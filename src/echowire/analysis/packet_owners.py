"""Whose packets they are: what is known of sockets and processes, joined with packets by their addresses and ports.

A connection's end is found by all four, a datagram socket also by its own address and port alone, or by its port, if
the address is one of this host: who has port 53 of any address here is not the name server that is asked elsewhere.
What is not known stays unknown: a listener's process is not taken for that of its connections, as another may accept
them, and a port that several processes share belongs to none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from echowire.wire.flow_keys import KEY_BYTES, UDP, Headers, distinct_flows
from echowire.wire.owner_events import (
    ACCEPTED,
    ANY_ADDRESS,
    CLOSED,
    CONNECTING,
    ESTABLISHED,
    FIN_WAIT_1,
    INPUT_OUTPUT,
    LAST_ACK,
    OwnerEvent,
    mapped,
)
from echowire.wire.packet_process import Owner, note
from echowire.wire.packets_in_place import Notes
from echowire.wire.records import Rows

MAX_SOCKETS = 65_536
"""That are remembered, those of last use: some 40 MB, and more than the ports of one address."""

LOOPBACK = mapped(b"\x7f")
"""What addresses of 127.0.0.0/8 begin with."""

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
        self, owner_of: Callable[[int, str, int, int, int], Owner], lives: Callable[[int], bool], namespace: int
    ) -> None:
        self._owner_of, self._lives, self._namespace = owner_of, lives, namespace
        self._known: OrderedDict[Key, tuple[_Known, ...]] = OrderedDict()
        self._connecting: OrderedDict[int, tuple[int, Owner]] = OrderedDict()
        """Sockets that have no port yet: when, and whose."""
        self._addresses: frozenset[bytes] = frozenset()
        self._noted: dict[bytes, bytes] = {}
        """The options of flows, until more is learned of one of their ends."""
        self.attributed = 0
        """Packets of which an end is known."""
        self.unknown = 0
        """TCP and UDP packets of which none is."""

    def learn_addresses(self, addresses: frozenset[bytes]) -> None:
        """The addresses that this host has by now, beside 127.0.0.0/8."""
        if addresses != self._addresses:
            self._addresses = addresses
            self._noted.clear()

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
        elif event.kind in (ESTABLISHED, CLOSED):
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
        return self._owner_of(event.pid, event.name, event.thread, event.user, event.group)

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
        if self._known.get(key) != known:
            if key[4]:
                self._noted.pop(_raw(key), None)
                self._noted.pop(_raw(_reverse(key)), None)
            else:
                self._noted.clear()  # whoever its peers are
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > MAX_SOCKETS:
            self._known.popitem(last=False)

    def owner(self, key: Key, now_ns: int) -> Owner | None:
        """Whose the socket is that a packet of the time `now_ns` (monotonic) belongs to."""
        return _at(self._found(key), now_ns)

    def _found(self, key: Key) -> tuple[_Known, ...]:
        protocol, address, port, _, _ = key
        found = self._known.get(key)
        if found is None and protocol == UDP:
            found = self._known.get((protocol, address, port, ANY_ADDRESS, 0))
            if found is None and (address in self._addresses or address.startswith(LOOPBACK)):
                found = self._known.get((protocol, ANY_ADDRESS, port, ANY_ADDRESS, 0))
        return found or ()

    def notes(self, headers: Headers, time_ns: Rows, since_1970_ns: int) -> Notes | None:
        """The options for packets that came at `time_ns`; None where nothing is known.

        `since_1970_ns` is what the clock of packets is ahead of the monotonic one.
        """
        flows = distinct_flows(headers)
        options: dict[bytes, int] = {b"": -1}
        numbers = np.empty(len(flows.first), np.int64)
        times, keys = time_ns - since_1970_ns, flows.keys.tobytes()
        changing = []
        for at, now_ns in enumerate(times[flows.first].tolist()):
            raw = keys[at * KEY_BYTES : (at + 1) * KEY_BYTES]
            option = self._noted.get(raw)
            if option is None:
                option = self._note(raw, now_ns)
                if raw not in self._noted:
                    changing.append((at, raw))
            numbers[at] = options.setdefault(option, len(options) - 1)
        found = numbers[flows.which]
        for at, raw in changing:
            if self._changes(raw, int(times.min()), int(times.max())):
                packets = np.flatnonzero(flows.which == at)
                noted = [self._note(raw, now_ns) for now_ns in times[flows.rows[packets]].tolist()]
                found[packets] = [options.setdefault(option, len(options) - 1) for option in noted]
        known = int(np.count_nonzero(found >= 0))
        self.attributed += known
        self.unknown += len(found) - known
        if len(options) == 1:
            return None
        out = np.full(len(time_ns), -1, np.int64)
        out[flows.rows] = found
        return Notes(out, [*options][1:])

    def _note(self, raw: bytes, now_ns: int) -> bytes:
        """The options of a flow's packets; empty where nothing is known. Remembered, unless it is a matter of time."""
        key = _key(raw)
        both = self._found(key), self._found(_reverse(key))
        sender, receiver = (_at(found, now_ns) for found in both)
        option = note(sender, receiver) if sender or receiver else b""
        if max(map(len, both)) <= 1:
            if len(self._noted) >= MAX_SOCKETS:
                self._noted.clear()
            self._noted[raw] = option
        return option

    def _changes(self, raw: bytes, begin_ns: int, end_ns: int) -> bool:
        """Whether an end of a flow became another process's in this time."""
        key = _key(raw)
        both = (*self._found(key), *self._found(_reverse(key)))
        return any(begin_ns < known.since_ns <= end_ns for known in both)


def _at(found: tuple[_Known, ...], now_ns: int) -> Owner | None:
    for known in reversed(found):
        if known.since_ns <= now_ns:
            return known.owner
    return found[0].owner if found else None


def _reverse(key: Key) -> Key:
    """The other end's."""
    protocol, address, port, peer, peer_port = key
    return protocol, peer, peer_port, address, port


def _raw(key: Key) -> bytes:
    """The flow of packets that this socket sends."""
    protocol, address, port, peer, peer_port = key
    return address + peer + port.to_bytes(2) + peer_port.to_bytes(2) + bytes([protocol, 0, 0, 0])


def _key(raw: bytes) -> Key:
    ports = int.from_bytes(raw[32:34]), int.from_bytes(raw[34:36])
    return raw[36], raw[:16], ports[0], raw[16:32], ports[1]
