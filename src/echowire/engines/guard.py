"""Which datagrams are answered, so that no reply loop and no amplifier can be made of a server.

A datagram's source address is whatever its sender wrote there. Beyond loopback, therefore, a peer is answered at
a limited rate, and a source port whose owner would answer our answer is not answered at all.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from echowire.kernel.listen import Listener
from echowire.model import Limits, is_loopback
from echowire.wire.services import ANSWERING_PORTS

PEERS_REMEMBERED = 16_384
"""Peers whose rate is tracked at once, least recently heard forgotten first: about 4 MB. A flood from more forged
addresses than that gets each its burst once, which is what forging them was worth anyway."""


class DatagramGuard:
    """Decides, a datagram at a time, for one listener. `now` is monotonic seconds."""

    def __init__(self, listener: Listener, limits: Limits) -> None:
        self.needed = listener.reachable
        """False where only this host can send: then `refusal` need not be asked."""
        self._own_port = listener.endpoint.port
        self._rate = limits.datagrams_per_s
        # host -> (allowance left, when that was so, whether its refusal was reported)
        self._peers: OrderedDict[str, tuple[float, float, bool]] = OrderedDict()

    def refusal(self, address: tuple[Any, ...], now: float) -> tuple[str, bool] | None:
        """Why the datagram from `address` is not answered, and whether that was said before; None to answer."""
        host, port = address[0], address[1]
        if is_loopback(host):
            return None
        if port in ANSWERING_PORTS or port == self._own_port or port == 0:
            return f"source port {port} belongs to a service that would answer the answer", self._seen(host, now)
        if self._rate is None:
            return None
        left, since, told = self._peers.get(host, (max(self._rate, 1.0), now, False))
        left = min(left + (now - since) * self._rate, max(self._rate, 1.0))
        if left >= 1.0:
            self._remember(host, (left - 1.0, now, told))
            return None
        self._remember(host, (left, now, True))
        return f"more than {self._rate:g} datagrams a second", told

    def _seen(self, host: str, now: float) -> bool:
        known = self._peers.get(host)
        left = known[0] if known else max(self._rate or 1.0, 1.0)
        self._remember(host, (left, known[1] if known else now, True))
        return bool(known and known[2])

    def _remember(self, host: str, state: tuple[float, float, bool]) -> None:
        self._peers[host] = state
        self._peers.move_to_end(host)
        if len(self._peers) > PEERS_REMEMBERED:
            self._peers.popitem(last=False)
