"""Which datagrams are answered, so that no reply loop and no amplifier can be made of a server.

A datagram's source address is whatever its sender wrote there. Beyond loopback, therefore, a peer is answered at
a limited rate, of datagrams and of bytes, and a source port whose owner would answer our answer is not answered at all.
Servers on other ports are found by `loops.py`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, NamedTuple

from echowire.core.services import ANSWERING_PORTS
from echowire.kernel.connections.listen import Listener
from echowire.model import Limits, is_loopback

PEERS_REMEMBERED = 16_384
"""Peers whose rate is tracked at once, least recently heard forgotten first: about 4 MB. A flood from more forged
addresses than that gets each its burst once, which is what forging them was worth anyway."""


class Allowance(NamedTuple):
    """How many datagrams of an arrival are answered, why not the rest, and whether this peer was told of before."""

    answered: int
    reason: str
    told: bool


class _Peer(NamedTuple):
    """What one host has left: datagrams, bytes, when that was so, and whether its refusal was reported."""

    datagrams: float
    size: float
    since: float
    told: bool


class DatagramGuard:
    """Decides for one listener. `now` is monotonic seconds."""

    def __init__(self, listener: Listener, limits: Limits) -> None:
        self.needed = listener.reachable
        """False where only this host can send: then nothing need be asked."""
        self._own_port = listener.endpoint.port
        self._is_limited = limits.datagrams_per_s is not None or limits.datagram_bytes_per_s is not None
        self._rate = _limit(limits.datagrams_per_s)
        self._byte_rate = _limit(limits.datagram_bytes_per_s)
        self._peers: OrderedDict[str, _Peer] = OrderedDict()

    def allow(self, address: tuple[Any, ...], count: int, now: float) -> Allowance:
        """How many of `count` datagrams that came from `address` at `now` are answered."""
        host, port = address[0], address[1]
        if is_loopback(host):
            return Allowance(count, "", False)
        most = max(self._rate, 1.0)
        peer = self._peers.get(host) or _Peer(most, self._byte_rate, now, False)
        if port in ANSWERING_PORTS or port in (self._own_port, 0):
            self._remember(host, peer._replace(told=True))
            return Allowance(0, f"source port {port} belongs to a service that would answer the answer", peer.told)
        if not self._is_limited:
            return Allowance(count, "", False)
        passed = now - peer.since
        left = most if self._rate == math.inf else min(peer.datagrams + passed * self._rate, most)
        size = min(peer.size + passed * self._byte_rate, self._byte_rate) if passed else peer.size
        # The last answer may exceed what was left: it is owed, so that one larger than a second's worth is possible.
        answered = min(count, int(min(left, count))) if size > 0 else 0
        short = answered < count
        self._remember(host, _Peer(left - answered, size, now, peer.told or short))
        return Allowance(answered, self._reason(size) if short else "", peer.told)

    def charge(self, address: tuple[Any, ...], size: int) -> None:
        """An answer of `size` bytes goes to `address`, which was allowed it."""
        peer = self._peers.get(address[0])
        if peer is not None:
            self._peers[address[0]] = peer._replace(size=peer.size - size)

    def tell(self, address: tuple[Any, ...], now: float) -> bool:
        """Whether a refusal of `address` was reported before; it is from now on."""
        most = max(self._rate, 1.0)
        peer = self._peers.get(address[0]) or _Peer(most, self._byte_rate, now, False)
        self._remember(address[0], peer._replace(told=True))
        return peer.told

    def _reason(self, size: float) -> str:
        if size > 0:
            return f"more than {self._rate:g} datagrams a second"
        return f"more than {self._byte_rate:g} bytes of answers a second"

    def _remember(self, host: str, peer: _Peer) -> None:
        self._peers[host] = peer
        self._peers.move_to_end(host)
        if len(self._peers) > PEERS_REMEMBERED:
            self._peers.popitem(last=False)


def _limit(rate: float | None) -> float:
    return math.inf if rate is None else rate
