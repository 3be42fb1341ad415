"""The small services of the early Internet, as tables: echo, discard, chargen, qotd, daytime, time; and STAMP.

A service says what a server sends, never how: an engine moves the bytes. `now` is an argument (seconds since
1970, UTC), so nothing here reads a clock.
"""

from __future__ import annotations

import time as _time  # for gmtime, a pure conversion
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from echowire.core.probing.stamp_reflector import Reflector
from echowire.errors import UsageError
from echowire.model import STAMP_PORT


class Flow(Enum):
    """What becomes of a connection's bytes."""

    ECHO = "each byte received is sent back"
    SINK = "each byte received is thrown away"
    SOURCE = "bytes are sent without end; what is received is thrown away"
    REFLECT = "each test packet is answered with when it came; there are no connections"
    ONCE = "one message is sent and the connection closed; what is received is thrown away"


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its name, its well-known port and RFC, and what it sends.

    `pattern` is what a SOURCE repeats for ever. `message(now)` is what ONCE sends. `datagram(data, now)` is the answer
    to one datagram, `None` for no answer; `is_text` says that a part of it is of use, too, where a whole one would be
    larger than its question and may not be. `reflector()` makes what answers those of one socket instead, which needs
    to know of each when it came, and from whom.
    """

    name: str
    port: int
    rfc: int
    flow: Flow
    datagram: Callable[[bytes, float], bytes | None]
    pattern: bytes = b""
    message: Callable[[float], bytes] = lambda now: b""
    reflector: Callable[[], Reflector] | None = None
    is_text: bool = False

    def answer(self, data: bytes) -> bytes:
        """What a connection sends back for `data`."""
        return data if self.flow is Flow.ECHO else b""


_PRINTABLE = bytes(range(0x20, 0x7F))


def _chargen_pattern() -> bytes:
    """RFC 864's recommended pattern: 72 of the 95 printable characters a line, each line begun one later."""
    ring = _PRINTABLE * 2
    return b"".join(ring[start : start + 72] + b"\r\n" for start in range(len(_PRINTABLE)))


CHARGEN_PATTERN = _chargen_pattern()
CHARGEN_DATAGRAM_MAX = 512
"""RFC 864: a datagram of a random number of characters, 0 to 512."""


def _chargen_datagram(data: bytes, now: float) -> bytes:
    # The length varies with the time of asking, as the RFC wants, yet stays a function of the arguments.
    size = int(now * 1e6) % (CHARGEN_DATAGRAM_MAX + 1)
    return CHARGEN_PATTERN[:size]


QUOTES = (
    "Be conservative in what you do, be liberal in what you accept from others. - Jon Postel, RFC 761",
    "With sufficient thrust, pigs fly just fine. - RFC 1925, truth 3",
    "It is always possible to add another level of indirection. - RFC 1925, truth 6a",
    "In protocol design, perfection has been reached when there is nothing left to take away. - RFC 1925, truth 12",
    "One size never fits all. - RFC 1925, truth 10",
    "If a network protocol can be misread, somewhere it already is. - a tester",
    "We reject kings, presidents and voting. We believe in rough consensus and running code. - David Clark",
)
"""Quotes of the day; RFC 865 allows 512 characters each."""


def _quote(now: float) -> bytes:
    return QUOTES[int(now // 86400) % len(QUOTES)].encode("ascii") + b"\r\n"


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _daytime(now: float) -> bytes:
    """RFC 867's popular syntax: `Weekday, Month Day, Year Time-Zone`, in UTC whatever the locale."""
    at = _time.gmtime(now)
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}-UTC"
    return f"{_DAYS[at.tm_wday]}, {_MONTHS[at.tm_mon - 1]} {at.tm_mday}, {at.tm_year} {clock}\r\n".encode("ascii")


SECONDS_1900_TO_1970 = 2_208_988_800
"""RFC 868: "the time is the number of seconds since 00:00 (midnight) 1 January 1900 GMT"."""


def _time_868(now: float) -> bytes:
    # 32 bits, big-endian; it wraps in 2036, and so does every client.
    return ((int(now) + SECONDS_1900_TO_1970) & 0xFFFF_FFFF).to_bytes(4, "big")


ECHO = Service("echo", 7, 862, Flow.ECHO, lambda data, now: data)
DISCARD = Service("discard", 9, 863, Flow.SINK, lambda data, now: None)
CHARGEN = Service("chargen", 19, 864, Flow.SOURCE, _chargen_datagram, pattern=CHARGEN_PATTERN, is_text=True)
QOTD = Service("qotd", 17, 865, Flow.ONCE, lambda data, now: _quote(now), message=_quote, is_text=True)
DAYTIME = Service("daytime", 13, 867, Flow.ONCE, lambda data, now: _daytime(now), message=_daytime, is_text=True)
TIME = Service("time", 37, 868, Flow.ONCE, lambda data, now: _time_868(now), message=_time_868)

STAMP = Service("stamp", STAMP_PORT, 8762, Flow.REFLECT, lambda data, now: None, reflector=Reflector)

SERVICES: Mapping[str, Service] = {
    service.name: service for service in (ECHO, DISCARD, CHARGEN, QOTD, DAYTIME, TIME, STAMP)
}

ANSWERING_PORTS = frozenset({7, 13, 17, 19, 37, 53, 69, 111, 123, 137, 161, 389, 520, STAMP_PORT, 1900, 5353, 11211})
"""Source ports whose owner would answer our answer, or amplify it: echo, daytime, qotd, chargen, time, STAMP, and
the servers most used for reflection (CERT CA-1996-01, TA14-017A). A datagram that claims to come from one, from beyond
loopback, is not answered: two such servers would talk to each other for ever."""


def service_named(name: str) -> Service:
    """The service called `name`. Raises `UsageError` that lists them."""
    try:
        return SERVICES[name]
    except KeyError:
        raise UsageError(f"no service is called '{name}'; one of {', '.join(SERVICES)}") from None
