"""Which peers may be servers that answer our answers: two such talk for ever, begun by one forged datagram.

A datagram's source address is whatever its sender wrote there. Who forges one from an echo server to another makes a
loop: each answers the other's answer, as fast as the processors allow, until one of them is ended (CERT CA-1996-01). A
list of ports of such servers (`guard.py`) helps only where they have those.

Nothing in a datagram tells a loop from a client. A client that sends the same message again as soon as its echo has
come is, byte for byte and microsecond for microsecond, what a loop looks like; and it must lose nothing. So the one is
suspected by what arrives, here, and told from the other by an experiment, in `trials.py`, in which a client loses
nothing.

What is suspected of an echo is that what arrives comes again. An echo loop of k datagrams brings the same k for ever,
in the same order, so that any of them, taken as an anchor, comes again after k arrivals; and since k is not known, the
anchor is replaced after twice as many arrivals each time, which is how Brent finds the period of a sequence ("An
improved Monte Carlo factorization algorithm", 1980). It takes one comparison, and a client that numbers its messages is
never suspected. What other services answer (a text, a time) differs from one answer to the next, so there every arrival
counts. And after a million arrivals whoever it is is tried, whatever it sent: its server may change what it sends back.

Not every arrival is looked at (`LOOK_BITS` in `datagram.py`), and the numbers here are of those that are: a loop of one
datagram is suspected after some eighty of them.

A clock is read for no arrival of a peer that is known, so that a slow loop, of some datagrams a second, is found as a
fast one is. How many loops there can be is bounded by the datagrams that sockets' buffers hold, some thousands; all of
them are watched at once. A flood of forged addresses fills the table, too, and is what takes turns in it: see `_admit`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from typing import Any

WATCHED_MAX = 16_384
"""Peers watched at once, about 6 MB: three times the datagrams that a receive buffer of 4 MB holds, each of which
could be of another loop."""

BARRED_MAX = 16_384
"""Peers barred at once, the eldest forgotten first: what is forgotten is watched anew."""

BARRED_S = 60.0
"""How long a server is not answered. By then its loop is long dead; it may be another's port, and a new datagram that
is forged buys no more than the first did."""

ANCHOR_BYTES = 64
"""How much of a datagram is kept to know it again. A mistake costs a trial, in which nobody loses anything."""

COME_AGAIN_MAX = 8
"""Arrivals that were looked at and had come before, after which their peer is suspected."""

TRIED_AGAIN_AFTER = 8_192
"""Such arrivals after which a peer that has stood its trial stands another: its port may have a new owner. A client
stands one in some 60,000 datagrams."""

ANY_MAX = 1 << 17
"""Arrivals of any kind after which a peer is tried, at the next change of its anchor."""

FIRST_SPAN = 8
"""Arrivals after which the first anchor is replaced; each next one is kept twice as long, up to `LAST_SPAN`."""

LAST_SPAN = 1 << 14

NEWCOMERS_A_TURN = 64
"""Where the table is full, one of so many newcomers is let in, in place of who has not been heard of for a round."""


class Standing(IntEnum):
    """What is thought of a peer as its datagram comes."""

    FREE = 0
    """It is answered."""
    SUSPECT = 1
    """It is to be tried: the answer goes out by the second port."""
    BARRED = 2
    """It is known for a server, and is not answered."""
    OWN = 3
    """It is the socket itself, and will be barred."""


class Watched:
    """What is remembered of one peer."""

    __slots__ = ("anchor", "arrivals", "came_again", "renew_at", "seen", "silent", "size", "span", "try_at")

    def __init__(self, anchor: bytes, size: int) -> None:
        self.anchor = anchor
        self.size = size
        self.arrivals = self.seen = 1
        self.span = FIRST_SPAN
        self.renew_at = 1 + FIRST_SPAN
        self.came_again = 0
        self.try_at = ANY_MAX
        self.silent = 0


class LoopWatch:
    """The peers of one datagram socket. `knows` says whether an address is that socket's own; `clock` is monotonic.

    With `by_content` it counts what comes again, without it whatever comes.
    """

    def __init__(self, knows: Callable[[Any], bool], clock: Callable[[], float], *, by_content: bool = True) -> None:
        self._is_own = knows
        self._clock = clock
        self._by_content = by_content
        self._watched: OrderedDict[Any, Watched] = OrderedDict()
        self.barred: OrderedDict[Any, float] = OrderedDict()
        """Who is barred, and until when, by the clock."""
        self._newcomers = 0

    def note(self, address: Any, buffer: bytearray, size: int) -> Standing:
        """Note an arrival from `address`, which begins with a datagram of `size` bytes at the start of `buffer`."""
        peer = self._watched.get(address)
        if peer is None:
            return self._meet(address, buffer, size)
        peer.arrivals += 1
        if not self._by_content or (size == peer.size and buffer.startswith(peer.anchor)):
            peer.came_again += 1
            if peer.came_again >= COME_AGAIN_MAX:
                return Standing.SUSPECT
        if peer.arrivals < peer.renew_at:
            return Standing.FREE
        self._renew(peer, buffer, size)
        return Standing.FREE if peer.arrivals < peer.try_at else Standing.SUSPECT

    def begin_trial(self, address: Any) -> bool:
        """A trial of `address` begins. True where it was silent in two already, and this is a peer that loops if any
        does: then its answer is to be dropped."""
        peer = self._watched.get(address)
        if peer is None:
            return False
        is_like_a_loop = peer.came_again >= COME_AGAIN_MAX
        peer.came_again, peer.try_at = -TRIED_AGAIN_AFTER, peer.arrivals + ANY_MAX
        if is_like_a_loop and peer.silent >= 2:
            peer.silent = 0
            return True
        return False

    def put_off(self, address: Any) -> None:
        """There is no room for a trial of `address` now: it is suspected again before long."""
        if peer := self._watched.get(address):
            peer.came_again, peer.try_at = 0, peer.arrivals + ANY_MAX

    def conclude(self, address: Any, *, is_client: bool) -> None:
        """The trial of `address` is over: it is a client, or nothing was heard."""
        if peer := self._watched.get(address):
            peer.silent = 0 if is_client else peer.silent + 1

    def bar(self, address: Any) -> None:
        """`address` is a server."""
        self._watched.pop(address, None)
        self.barred[address] = self._clock() + BARRED_S
        if len(self.barred) > BARRED_MAX:
            self.barred.popitem(last=False)

    def is_barring(self) -> bool:
        """Whether anybody is barred."""
        while self.barred and next(iter(self.barred.values())) <= self._clock():
            self.barred.popitem(last=False)
        return bool(self.barred)

    def _meet(self, address: Any, buffer: bytearray, size: int) -> Standing:
        """An arrival from a peer that is not watched."""
        until = self.barred.get(address)
        if until is not None:
            if self._clock() < until:
                return Standing.BARRED
            del self.barred[address]
        if self._is_own(address):
            self.bar(address)
            return Standing.OWN
        if len(self._watched) < WATCHED_MAX or self._admit():
            self._watched[address] = Watched(bytes(buffer[: min(size, ANCHOR_BYTES)]), size)
        return Standing.FREE

    def _admit(self) -> bool:
        """Whether a newcomer gets a place in the full table: the eldest goes if it was silent since it was last looked
        at.

        The turn is slow, so that whoever still sends is heard of between two looks. A flood of addresses that send once
        is what is replaced; a loop gets a place after some sixty of its datagrams, and keeps it.
        """
        self._newcomers += 1
        if self._newcomers % NEWCOMERS_A_TURN:
            return False
        address, eldest = next(iter(self._watched.items()))
        if eldest.arrivals == eldest.seen:
            del self._watched[address]
            return True
        eldest.seen = eldest.arrivals
        self._watched.move_to_end(address)
        return False

    def _renew(self, peer: Watched, buffer: bytearray, size: int) -> None:
        """Take this arrival for the anchor."""
        peer.anchor, peer.size = bytes(buffer[: min(size, ANCHOR_BYTES)]), size
        peer.span = min(peer.span * 2, LAST_SPAN)
        peer.renew_at = peer.arrivals + peer.span
