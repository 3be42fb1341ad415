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

from echowire.core.captures.in_place import Notes
from echowire.core.captures.records import Rows
from echowire.core.owners.events import (
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
from echowire.core.owners.flow_keys import KEY_BYTES, TCP, UDP, Headers, distinct_flows
from echowire.core.packets.processes import Owner, note

MAX_SOCKETS = 65_536
"""That are remembered, those of last use: some 40 MB, and more than the ports of one address."""

LOOPBACK = mapped(b"\x7f")
"""What addresses of 127.0.0.0/8 begin with."""

EVERYWHERE = (ANY_ADDRESS, bytes(15) + b"\1")
"""Other addresses that every network has: any, and ::1."""

Key: TypeAlias = tuple[int, bytes, int, bytes, int]
"""Protocol, own address and port, the peer's; a socket that has no peer has `ANY_ADDRESS` and 0."""

OwnerOf: TypeAlias = Callable[[int, str, int, int, int], Owner]
"""Of a process, the name of its thread, the thread, its user and its control group."""


class _Known(NamedTuple):
    """Since when (monotonic) a socket was whose; None is not known yet, or of several."""

    socket: int
    since_ns: int
    owner: Owner | None


class _Sockets:
    """What is known of sockets. `changed` is told of each of which something else is known now."""

    def __init__(self, owner_of: OwnerOf, lives: Callable[[int], bool], changed: Callable[[Key], None]) -> None:
        self._owner_of, self._lives, self._changed = owner_of, lives, changed
        self.known: OrderedDict[Key, tuple[_Known, ...]] = OrderedDict()
        self._connecting: OrderedDict[int, tuple[int, Owner]] = OrderedDict()
        """Sockets that have no port yet: when, and whose."""

    def learn_socket(self, key: Key, owner: Owner | None) -> None:
        """A socket that was seen, not one whose events were heard: these know better."""
        known = self.known.get(key)
        if known is None or known[-1].socket == 0:
            self._set(key, (_Known(0, 0, owner),))

    def learn(self, key: Key, event: OwnerEvent) -> None:
        """What an event tells."""
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
            now = self.known.get(key)
            if now is None or (now[-1].owner is None and now[-1].socket == event.socket):
                self._used(key, event)

    def _owner(self, event: OwnerEvent) -> Owner:
        return self._owner_of(event.pid, event.name, event.thread, event.user, event.group)

    def _begin(self, key: Key, known: _Known) -> None:
        """A new connection, maybe between the same ports as one before, whose last packets may still come."""
        before = self.known.get(key, ())
        self._set(key, (*before[-1:], known))

    def _used(self, key: Key, event: OwnerEvent) -> None:
        if not event.local_port:
            return
        before = self.known.get(key)
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
        if self.known.get(key) != known:
            self._changed(key)
        self.known[key] = known
        self.known.move_to_end(key)
        if len(self.known) > MAX_SOCKETS:
            self.known.popitem(last=False)


class OwnerTable:
    """Learns whose sockets are whose, and tells it of packets. `owner_of` makes an `Owner` of what an event names;
    `lives` says whether a process does; `namespace` is the number of the network that packets are captured in.

    Sockets of other networks, which are those of containers, send packets that are seen here too. They are known by
    both addresses, as long as no two networks have the same pair, and never by addresses that each network has.
    """

    def __init__(self, owner_of: OwnerOf, lives: Callable[[int], bool], namespace: int) -> None:
        self._namespace = namespace
        self._here = _Sockets(owner_of, lives, self._forget)
        self._elsewhere = _Sockets(owner_of, lives, self._forget)
        self._networks: dict[Key, int] = {}
        """In which network a socket is that is elsewhere; 0 is in several."""
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
        """A socket of this network that was seen."""
        self._here.learn_socket(key, owner)

    def learn(self, event: OwnerEvent) -> None:
        """What an event tells."""
        if event.protocol not in (TCP, UDP):  # no packet is joined with others, such as MPTCP's (262)
            return
        key = (event.protocol, event.local, event.local_port, event.peer, event.peer_port)
        if event.namespace == self._namespace:
            self._here.learn(key, event)
        elif not (event.local in EVERYWHERE or event.local.startswith(LOOPBACK)):
            if event.local_port and self._networks.setdefault(key, event.namespace) != event.namespace:
                self._networks[key] = 0
                self._forget(key)
            if len(self._networks) > MAX_SOCKETS:
                self._networks.clear()  # those that are still used will be met again
                self._noted.clear()
            self._elsewhere.learn(key, event)

    def _forget(self, key: Key) -> None:
        """Something else is known of a socket."""
        if key[4]:
            self._noted.pop(_raw(key), None)
            self._noted.pop(_raw(_reverse(key)), None)
        else:
            self._noted.clear()  # whoever its peers are

    def owner(self, key: Key, now_ns: int) -> Owner | None:
        """Whose the socket is that a packet of the time `now_ns` (monotonic) belongs to."""
        return _at(self._found(key), now_ns)

    def _found(self, key: Key) -> tuple[_Known, ...]:
        protocol, address, port, _, _ = key
        known = self._here.known
        found = known.get(key)
        if found is None and protocol == UDP:
            found = known.get((protocol, address, port, ANY_ADDRESS, 0))
            if found is None and (address in self._addresses or address.startswith(LOOPBACK)):
                found = known.get((protocol, ANY_ADDRESS, port, ANY_ADDRESS, 0))
        if found is None and self._networks.get(key):
            found = self._elsewhere.known.get(key)
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
