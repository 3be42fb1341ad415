"""Which datagrams are answered, so that no reply loop and no amplifier can be made of a server.

A datagram's source address is whatever its sender wrote there. Beyond loopback, therefore, a peer is answered at
a limited rate, and a source port whose owner would answer our answer is not answered at all.
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


class DatagramGuard:
    """Decides for one listener. `now` is monotonic seconds."""

    def __init__(self, listener: Listener, limits: Limits) -> None:
        self.needed = listener.reachable
        """False where only this host can send: then `allow` need not be asked."""
        self._own_port = listener.endpoint.port
        self._rate = limits.datagrams_per_s
        # host -> (allowance left, when that was so, whether its refusal was reported)
        self._peers: OrderedDict[str, tuple[float, float, bool]] = OrderedDict()

    def allow(self, address: tuple[Any, ...], count: int, now: float) -> Allowance:
        """How many of `count` datagrams that came from `address` at `now` are answered."""
        host, port = address[0], address[1]
        if is_loopback(host):
            return Allowance(count, "", False)
        limit = max(self._rate, 1.0) if self._rate is not None else math.inf
        left, since, told = self._peers.get(host, (limit, now, False))
        if port in ANSWERING_PORTS or port in (self._own_port, 0):
            self._remember(host, (left, since, True))
            return Allowance(0, f"source port {port} belongs to a service that would answer the answer", told)
        if self._rate is None:
            return Allowance(count, "", False)
        left = min(left + (now - since) * self._rate, limit)
        answered = min(count, int(left))
        short = answered < count
        self._remember(host, (left - answered, now, told or short))
        return Allowance(answered, f"more than {self._rate:g} datagrams a second" if short else "", told)

    def _remember(self, host: str, state: tuple[float, float, bool]) -> None:
        self._peers[host] = state
        self._peers.move_to_end(host)
        if len(self._peers) > PEERS_REMEMBERED:
            self._peers.popitem(last=False)
