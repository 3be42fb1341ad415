"""The small frozen values that every room speaks: endpoints, limits, and the events of a server.

They hold no socket and read no clock. Times are seconds as floats, or integers of nanoseconds where the name
says so; byte counts are integers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeAlias, get_args

from echowire.errors import HandlerError, UsageError

DEFAULT_PORT = 12345
"""The default echo port of `serve` and `call`."""

STAMP_PORT = 862
"""Where a STAMP reflector listens (RFC 8762 section 4.1)."""

UNIX_PATH_MAX = 107
"""Bytes that a Unix socket's path may have: `sockaddr_un.sun_path` is 108 with its closing NUL (linux/un.h)."""

Transport: TypeAlias = Literal["tcp", "tls", "udp", "unix", "unixgram", "unixseqpacket"]
TRANSPORTS: tuple[Transport, ...] = get_args(Transport)
Direction: TypeAlias = Literal["received", "sent"]
Family: TypeAlias = Literal[4, 6]
"""A version of IP, where one alone is wanted."""

STREAM_TRANSPORTS: frozenset[Transport] = frozenset({"tcp", "tls", "unix", "unixseqpacket"})
"""Those with connections. A `unixseqpacket` one keeps the bounds of messages (SOCK_SEQPACKET, unix(7))."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a socket is bound or connected to.

    `host` is an address or a name, with an IPv6 zone if any, and empty for every interface. `path` is a Unix
    socket's; one that begins with `@` is in Linux's abstract namespace (unix(7)). A multicast group has its interface
    for a zone (`239.1.2.3%eth0`), over IPv4 too, and maybe a `source`: the one sender that is heard (RFC 4607).
    """

    transport: Transport
    host: str = ""
    port: int = 0
    path: str = ""
    source: str = ""

    @classmethod
    def parse(cls, text: str, *, transport: Transport = "tcp", port: int | None = None) -> Endpoint:
        """Read `host:port`, `[v6]:port`, `:port`, a port of 127.0.0.1, any of these as in `host:port/udp`, or a URL
        (`tcp:// tls:// udp:// unix:/path unixgram:/path unixseqpacket:/path`); of a multicast group also
        `source@group:port`. It reads what `str` makes of one.

        `transport` and `port` hold where `text` names none. Raises `UsageError` with what is wrong.
        """
        # A path may end as it likes.
        scheme, text = _split_prefix(text) if transport in _PATH_SCHEMES else split_scheme(text)
        transport = scheme or transport
        if transport in _PATH_SCHEMES:
            return cls(transport, path=_checked_path(text))
        source, text = _split_source(text)
        host, port = _split_host(text, port)
        if source and group_address(host) is None:
            raise UsageError(f"'{source}@{text}': {host} is no multicast group; only of a group one names a source")
        return cls(transport, host=host, port=port, source=source)

    @classmethod
    def of(cls, given: EndpointLike, *, transport: Transport = "tcp", port: int | None = None) -> Endpoint:
        """The endpoint that is meant: itself, a text for `parse`, an address as sockets have it, `(host, port)`, the
        path of a Unix socket, or a port of 127.0.0.1.

        `transport` and `port` hold where it names none. Raises `UsageError` with what is taken.
        """
        if isinstance(given, Endpoint):
            return given
        if isinstance(given, str):
            return cls.parse(given, transport=transport, port=port)
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(transport, host="127.0.0.1", port=parse_port(str(given)))
        if isinstance(given, tuple) and len(given) in (2, 4) and isinstance(given[0], str) and type(given[1]) is int:
            zone = f"%{given[3]}" if len(given) == 4 and given[3] and "%" not in given[0] else ""
            return cls.parse(host_and_port(given[0] + zone, given[1]), transport=transport)
        to_path = getattr(given, "__fspath__", None)
        if to_path is not None and isinstance(path := to_path(), str):
            return cls("unixgram" if transport in ("udp", "unixgram") else "unix", path=_checked_path(path))
        raise UsageError(
            f"{_shown(given)} is no endpoint; give a text such as '127.0.0.1:{DEFAULT_PORT}' or 'unix:/run/echo.sock', "
            "an Endpoint, (host, port), a Path, or a port"
        )

    @property
    def is_stream(self) -> bool:
        """True for connections, False for datagrams."""
        return self.transport in STREAM_TRANSPORTS

    @property
    def is_unix(self) -> bool:
        """True for a Unix socket."""
        return self.transport in _PATH_SCHEMES

    @property
    def is_group(self) -> bool:
        """Whether the host is the address of a multicast group."""
        return not self.is_unix and group_address(self.host) is not None

    @property
    def address(self) -> str:
        """`127.0.0.1:80`, `[::1]:80`, `:80`, `10.0.0.1@239.1.2.3:80`, or the path."""
        if self.is_unix:
            return self.path
        at = host_and_port(self.host, self.port)
        if not self.source:
            return at
        return f"[{self.source}]@{at}" if ":" in self.source else f"{self.source}@{at}"

    @property
    def url(self) -> str:
        """The text that `parse` reads back as this endpoint."""
        slashes = "" if self.is_unix and not self.path.startswith("//") else "//"
        return f"{self.transport}:{slashes}{self.address}"

    def __str__(self) -> str:
        # A host may be called as a scheme is.
        return self.url if self.is_unix or self.host in _PATH_SCHEMES else f"{self.address}/{self.transport}"


class _Path(Protocol):
    def __fspath__(self) -> str: ...


EndpointLike: TypeAlias = Endpoint | str | tuple[str, int] | tuple[str, int, int, int] | int | _Path
"""What is taken for an endpoint (`Endpoint.of`); the tuples are those of `socket.getsockname()`."""

_PATH_SCHEMES = ("unix", "unixgram", "unixseqpacket")
_SUFFIXES: Mapping[str, Transport] = {"tcp": "tcp", "tls": "tls", "udp": "udp"}


def _shown(given: object) -> str:
    """What somebody gave, short and on one line."""
    text = repr(given)
    return ascii(text if len(text) <= 60 else text[:57] + "...")[1:-1]


def split_scheme(text: str) -> tuple[Transport | None, str]:
    """The scheme that `text` begins with, or the transport that it ends with (`host:port/udp`), if any, and the rest.

    Raises `UsageError` for a scheme that is not ours.
    """
    scheme, rest = _split_prefix(text)
    return (scheme, rest) if scheme is not None else _split_suffix(text)


def _split_suffix(text: str) -> tuple[Transport | None, str]:
    rest, slash, suffix = text.rpartition("/")
    return (_SUFFIXES[suffix], rest) if slash and suffix in _SUFFIXES and "/" not in rest else (None, text)


def _split_prefix(text: str) -> tuple[Transport | None, str]:
    scheme, colon, rest = text.partition(":")
    if not colon or not (rest.startswith("//") or scheme in _PATH_SCHEMES):
        return None, text
    if scheme not in TRANSPORTS:
        raise UsageError(f"'{text}': unknown scheme '{scheme}'; one of {', '.join(TRANSPORTS)}")
    return scheme, rest.removeprefix("//")


def _checked_path(path: str) -> str:
    if not path:
        raise UsageError("a Unix socket needs a path, as in unix:/run/echo.sock")
    try:
        size = len(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise UsageError("a Unix socket's path holds half a surrogate pair, which no file name can") from None
    if size > UNIX_PATH_MAX:
        raise UsageError(f"unix:{path}: the path has {size} bytes; a Unix socket's has at most {UNIX_PATH_MAX}")
    if "\0" in path:
        raise UsageError("a Unix socket's path holds no NUL byte; write @name for the abstract namespace")
    return path


def _split_source(text: str) -> tuple[str, str]:
    """The address before an `@`, empty where there is none, and the rest."""
    source, at, rest = text.partition("@")
    if not at:
        return "", text
    source = source.removeprefix("[").removesuffix("]")
    if not is_address(source) or group_address(source) is not None:
        raise UsageError(
            f"'{text}': before @ stands the address of a group's one sender, as in 10.0.0.1@232.1.2.3:5000"
        )
    return source, rest


def _split_host(text: str, port: int | None) -> tuple[str, int]:
    """Host and port of `host:port`, `[v6]:port`, `:port`, a port, `host` or a bare IPv6 address."""
    if text.isascii() and text.isdigit():  # which inet_aton would take for an address: 9001 for 0.0.35.41
        return "127.0.0.1", parse_port(text)
    if text.startswith("["):
        host, bracket, rest = text[1:].rpartition("]")  # the last: a zone may have one in its name
        if not bracket or (rest and not rest.startswith(":")):
            raise UsageError(f"'{text}': an IPv6 address in brackets is written [::1]:12345")
        if not is_address(host) or ":" not in host:
            raise UsageError(f"'{text}': '{host}' is not an IPv6 address")
        given = rest[1:] if rest else None
    elif text.count(":") > 1:
        if not is_address(text):
            raise UsageError(f"'{text}' is neither host:port nor an IPv6 address; write [::1]:12345")
        host, given = text, None
    else:
        host, colon, after = text.partition(":")
        given = after if colon else None
    if any(c in " /" or not c.isprintable() for c in host):
        raise UsageError(f"{text!r}: {host!r} is not a host name")
    if not host and given is None:
        raise UsageError("the endpoint is empty; write host:port, or :port for every interface")
    if given is not None:
        return host, parse_port(given)
    if port is None:
        raise UsageError(f"'{text}' names no port; write {text or 'host'}:{DEFAULT_PORT}")
    return host, port


def host_and_port(host: str, port: int) -> str:
    """`127.0.0.1:80`, or `[::1]:80`, an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_port(text: str) -> int:
    """The port number of `text`, 0 to 65535 (0: any free one). Raises `UsageError`."""
    digits = text.lstrip("0")[:6]
    if not (text.isascii() and text.isdigit()) or int(digits or "0") > 65535:
        raise UsageError(f"'{text}' is not a port; a port is a number from 0 to 65535")
    return int(digits or "0")


def is_address(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address (a zone may follow), not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def group_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The multicast address that `host` is, without its zone; None for any other host."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return address if address.is_multicast else None


@lru_cache(maxsize=1024)  # asked for each datagram
def is_loopback(host: str) -> bool:
    """Whether `host` cannot be reached from another machine: 127.0.0.0/8, ::1, those mapped, or `localhost`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server allows its peers; `None` is no limit.

    The defaults let a laptop's server hold ten thousand idle clients and keep a flood from growing it.
    """

    connections: int | None = 10_000
    """Connections held at once; a further one is closed at once and counted. 10,000 is what one thread of
    epoll serves without being noticed, and what fits the usual hard limit of open files."""

    idle_s: float | None = None
    """Seconds without a byte after which a connection is closed. A server that others than this
    host can reach has 300 (`echowire.verbs.serve`)."""

    queue_bytes: int = 512 * 1024
    """Bytes read and not yet sent back that one connection may hold. It is the size of one read: a peer whose
    echo does not drain is not read from again, so the queue holds no more, unless TCP cannot hear the peer without
    (`engines/serving/read_on.py`, which has the limits of that). Half a megabyte is where larger reads stopped to save
    processor time on loopback (four connections of 1 MiB messages)."""

    datagrams_per_s: float | None = 10_000.0
    """Datagrams a second answered to one peer beyond loopback, with a burst of one second's worth: enough for a
    tester, too few for an attack by reflection to be worth it. Loopback peers are not limited."""

    datagram_bytes_per_s: float | None = 16.0 * 1024 * 1024
    """Bytes of answers a second to one peer beyond loopback, with a burst of one second's worth: what the default of
    `datagrams_per_s` comes to with datagrams that fill an Ethernet frame. It bounds those of 64 KiB, of which as many
    would be 650 MB a second."""

    amplify: bool = False
    """Whether an answer beyond loopback may be larger than its question. Where it may, who forges the source address
    of a datagram of one byte has another host sent as much as 512."""


BEYOND_LOOPBACK_IDLE_S = 300.0
"""Idle time allowed, unless it is given, when a server can be reached from other machines."""


@dataclass(slots=True)
class Summary:
    """What a server did, from start to stop. Byte counts are of streams and datagrams together."""

    connections: int = 0
    received_bytes: int | None = 0
    """None where a handler serves: what passes through its socket is not counted."""
    sent_bytes: int | None = 0
    datagrams_received: int = 0
    datagrams_sent: int = 0
    refused: int = 0
    """Connections closed at once by the limit, and datagrams not answered by a limit or a rule."""
    failed: int = 0
    """Connections that ended otherwise than in order: a reset, a handler that raised, a TLS failure."""
    longest_s: float = 0.0
    """The longest that a connection lasted, in seconds."""

    def add(self, other: Summary) -> None:
        """Add what another worker did."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if mine is None or theirs is None:
                setattr(self, item.name, None)
            else:
                setattr(self, item.name, max(mine, theirs) if item.name == "longest_s" else mine + theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a server.

    `time_ns` is nanoseconds since 1970, UTC; `worker` is None unless several processes serve.
    """

    time_ns: int
    worker: int | None = None

    @property
    def kind(self) -> str:
        """The event's name in `--jsonl`: `listening`, `accepted`, `closed`, …"""
        return type(self).__name__.lower()

    def document(self) -> dict[str, Any]:
        """The event as `--jsonl` prints it. An endpoint is its URL."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "error"}
        for name, value in values.items():
            if isinstance(value, Endpoint):
                values[name] = value.url
            elif isinstance(value, Summary):
                values[name] = asdict(value)
        if isinstance(data := values.pop("data", None), bytes):
            values["data_hex"] = data.hex()
        return {"event": self.kind, **values}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening(Event):
    """A socket is bound and served."""

    endpoint: Endpoint
    engine: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Event):
    """A connection came in at `endpoint` from `peer`; `connection` numbers it within its worker."""

    connection: int
    endpoint: Endpoint
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """A connection ended: what it carried, how long it lasted, and why. `ok` is False where it was cut.

    A handler's bytes are not counted, and None. Where it raised, `error` is a `HandlerError` with what it raised.
    """

    connection: int
    endpoint: Endpoint
    peer: str
    received_bytes: int | None
    sent_bytes: int | None
    seconds: float
    reason: str
    ok: bool
    error: HandlerError | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A connection was closed at once, or a peer's datagrams are not answered, by a limit or a rule."""

    endpoint: Endpoint
    peer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed(Event):
    """Bytes that passed, where it was asked for: what one read of a connection, or one write, carried, or a datagram.

    `received` is from the peer, `sent` to it. A connection has its number, a datagram None. Under TLS it is what was
    encrypted.
    """

    connection: int | None
    endpoint: Endpoint
    peer: str
    direction: Direction
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """Something the operator should know: no descriptor is free, a worker died."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """The server has ended; its summary."""

    summary: Summary


_EVENTS: Mapping[str, type[Event]] = {
    kind.__name__.lower(): kind for kind in (Listening, Accepted, Passed, Closed, Refused, Notice, Stopped)
}


def event_from_document(document: Mapping[str, Any]) -> Event:
    """The event that `Event.document` wrote. Raises `KeyError`, `TypeError` or `UsageError` on another document."""
    values = dict(document)
    kind = _EVENTS[values.pop("event")]
    if "endpoint" in values:
        values["endpoint"] = Endpoint.parse(values["endpoint"])
    if "data_hex" in values:
        values["data"] = bytes.fromhex(values.pop("data_hex"))
    if "summary" in values:
        values["summary"] = Summary(**values["summary"])
    return kind(**values)
