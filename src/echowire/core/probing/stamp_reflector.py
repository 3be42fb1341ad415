"""A STAMP Session-Reflector (RFC 8762 section 4.3) as a function of what came and when. Pure.

Stateless, it sends the sender's sequence number back as its own. Stateful, it counts each session's packets and
numbers its own: a sender can then tell on which way a packet was lost. A packet that is none gets no answer, and an
answer is never longer than what it answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from echowire.core.probing.stamp import (
    BASE_BYTES,
    SIGNED_BYTES,
    ErrorEstimate,
    ReflectedPacket,
    ns_of_ntp,
    ntp_of,
    pack_error,
    pack_reflected,
    quoted_timestamp,
    read_sender,
    reflect_extensions,
)

SESSIONS_REMEMBERED = 16_384
"""Sessions that are counted at once, least recently heard forgotten first: about 5 MB. One that is forgotten begins
anew, as if the reflector had been restarted; a flood of forged identifiers can do no more than that."""

UNKNOWN = ErrorEstimate(False, 16.0)
"""Of a clock that nothing is known of; sixteen seconds are RFC 5905's MAXDISP."""

ANSWER_AGE_NS = 60_000_000_000
"""How old a time may be, 60 s, that an answer to our answer quotes. In a sender's packet zeros stand there, or, of a
TWAMP-Light sender, padding: one in 70 million of random padding would be taken for such a time."""

ESTIMATE_GOOD_NS = 64_000_000_000
"""How long an estimate is taken for true, 64 s: as often as NTP asks its servers."""


class Reflector:
    """Answers the packets of one socket. `estimate` asks for that of this host's clock; `key` is the authenticated
    mode's."""

    def __init__(
        self,
        estimate: Callable[[], ErrorEstimate] = lambda: UNKNOWN,
        *,
        key: bytes | None = None,
        stateful: bool = True,
    ) -> None:
        self._estimate = estimate
        self._error = pack_error(estimate())
        self._asked_ns = 0
        self._key = key
        self._stateful = stateful
        self._base = BASE_BYTES if key is None else SIGNED_BYTES
        # (who, session) -> packets received and sent
        self._sessions: OrderedDict[Any, int] = OrderedDict()

    @property
    def sessions(self) -> int:
        """Sessions that are remembered."""
        return len(self._sessions)

    def answer(self, data: bytes, peer: object, ttl: int, received_ns: int, now_ns: int) -> bytes | None:
        """The answer to `data`, which came from `peer` at `received_ns`; None for none. Times are since 1970."""
        asked = read_sender(data, self._key)
        if asked is None or self._is_reflected(data, now_ns):
            return None
        count = self._sessions.get((peer, asked.session), 0) + 1 if self._stateful else 0
        # Every packet that is counted is answered, so that one number is what was received and what was sent.
        sequence = (count - 1) & 0xFFFFFFFF if self._stateful else asked.sequence
        counts = (count, count) if self._stateful else None
        numbers = data[:4] + sequence.to_bytes(4, "big")
        extensions = reflect_extensions(numbers, data[self._base :], self._key, counts)
        if extensions is None:
            return None
        if self._stateful:
            self._remember((peer, asked.session), count)
        sent = (asked.sequence, asked.timestamp, asked.error, ttl)
        if now_ns - self._asked_ns > ESTIMATE_GOOD_NS:
            self._asked_ns = now_ns
            self._error = pack_error(self._estimate())
        packet = ReflectedPacket(sequence, ntp_of(now_ns), self._error, asked.session, ntp_of(received_ns), *sent)
        # A TWAMP-Light sender's packet may be up to three bytes shorter than STAMP's.
        return (pack_reflected(packet, self._key) + extensions)[: len(data)]

    def _is_reflected(self, data: bytes, now_ns: int) -> bool:
        """Whether `data` is not a question but a reflector's answer to an answer of ours: it quotes when that was sent.

        A reflector takes any packet that is long enough (a sender's and a reflector's have the same fields, and no
        type), so that two of them, or one and an echo server, would talk for ever. What comes back to where it began
        quotes a time that this host wrote.
        """
        return 0 <= now_ns - ns_of_ntp(quoted_timestamp(data, self._key), now_ns) <= ANSWER_AGE_NS

    def _remember(self, session: object, count: int) -> None:
        self._sessions[session] = count
        self._sessions.move_to_end(session)
        if len(self._sessions) > SESSIONS_REMEMBERED:
            self._sessions.popitem(last=False)
