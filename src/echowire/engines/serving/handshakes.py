"""The budget of TLS handshakes: how many are under way, for how long, and how much of a thread's time they take.

Who connects and says nothing costs a socket, as without TLS: OpenSSL's memory is taken when the first bytes come. Who
has sent a byte has begun a handshake, and costs some tens of kilobytes until it is done. A real one takes a round trip
or two, so where too many are under way it is the eldest that will never be done, and it is that one which is ended: a
limit that refused newcomers would let those who never finish keep everybody else out.

A handshake is a millisecond of arithmetic and more (RSA), for which those who are connected wait where one thread
serves all. So in each round of the loop they have a few milliseconds; whoever finds them used up waits for the next
round."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from echowire.engines.serving.loop import Loop
from echowire.kernel.memory import give_back

HANDSHAKE_S = 10.0
"""Seconds within which the handshake must be done: who connects and says nothing must not hold a connection, also
where no idle time is set. nginx allows 60, HAProxy is told to allow 10."""

UNDER_WAY_MAX = 1_000
"""Handshakes under way at once: 40 MB of OpenSSL's at 40 KB each, and as many as one thread finishes in a second or
two, so that the eldest of more is one whose peer does not answer."""

ROUND_S = 0.005
"""Seconds of a round of the loop that handshakes may take, and the last of them may exceed. Who is connected waits
no longer for that; a processor that does nothing else still spends nine tenths of its time on them."""

GIVE_BACK_S = 1.0
"""How long after a TLS connection has ended its memory is given back, with that of all that ended meanwhile."""


class UnderWay:
    """The handshakes under way, eldest first. Safe to use from any thread."""

    def __init__(self) -> None:
        self._cut: OrderedDict[Hashable, Callable[[], object]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._cut)

    def begin(self, who: Hashable, cut: Callable[[], object]) -> None:
        """`who` has begun; `cut` ends it. Of too many the eldest is ended."""
        eldest = None
        with self._lock:
            self._cut[who] = cut
            if len(self._cut) > UNDER_WAY_MAX:
                _, eldest = self._cut.popitem(last=False)
        if eldest is not None:
            eldest()

    def end(self, who: Hashable) -> None:
        """`who` is done, or has gone."""
        with self._lock:
            self._cut.pop(who, None)


class Handshakes:
    """Those of the connections of one listener in a loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.under_way = UnderWay()
        # Until when each may be silent, eldest first: one timer serves all, and holds nobody who has gone.
        self._deadlines: OrderedDict[Hashable, tuple[float, Callable[[], object]]] = OrderedDict()
        self._is_timed = False
        self._spent = 0.0
        self._is_giving_back = False

    def expect(self, who: Hashable, cut: Callable[[], object]) -> None:
        """`who` has connected; `cut` ends it if it is not `done` in time."""
        self._deadlines[who] = (time.monotonic() + HANDSHAKE_S, cut)
        if not self._is_timed:
            self._is_timed = True
            self._loop.after(HANDSHAKE_S, self._sweep)

    def done(self, who: Hashable) -> None:
        """The handshake of `who` is done, or will never be."""
        self._deadlines.pop(who, None)
        self.under_way.end(who)

    def step(self, do: Callable[[], object]) -> bool:
        """Do a step of a handshake now; False, and nothing is done, where this round has no time left for it."""
        if self._spent >= ROUND_S:
            return False
        if not self._spent:
            self._loop.after(0.0, self._begin_round)
        start = time.perf_counter()
        try:
            do()
        finally:
            self._spent += time.perf_counter() - start
        return True

    def ended(self) -> None:
        """A connection has ended: see to it that its memory goes back."""
        if not self._is_giving_back:
            self._is_giving_back = True
            self._loop.after(GIVE_BACK_S, self._give_back)

    def _begin_round(self) -> None:
        self._spent = 0.0

    def _give_back(self) -> None:
        self._is_giving_back = False
        give_back()

    def _sweep(self) -> None:
        now = time.monotonic()
        while self._deadlines:
            until, cut = next(iter(self._deadlines.values()))
            if until > now:
                self._loop.after(until - now, self._sweep)
                return
            self._deadlines.popitem(last=False)
            cut()
        self._is_timed = False
