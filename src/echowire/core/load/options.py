"""What a load is asked to be: `Load`, the value behind the keywords of `bench`. Pure.

`LoadOptions` has the same names for a function that takes them as keywords; their defaults and what they mean stand at
`Load` alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from echowire.core.load.payloads import HEADER
from echowire.core.tls_options import ClientTls
from echowire.errors import UsageError
from echowire.model import Endpoint, Family

Direction: TypeAlias = Literal["echo", "send", "receive", "both"]
"""Messages and their echoes; or bytes as fast as they go: to a sink, from a source, or through an echo."""

DEFAULT_SECONDS = 10.0
"""Of a load that nothing else ends."""

DEFAULT_MESSAGE_BYTES = 64
"""Of a message in the echo direction: what ping's packet has."""

DEFAULT_WRITE_BYTES = 128 * 1024
"""Of a write where bytes just flow: iperf3's."""

DEFAULT_DATAGRAM_BYTES = 1200
"""Of a datagram where they just flow: what passes every path without being cut (QUIC's, RFC 9000 section 14)."""

LARGEST_MESSAGE = 1 << 30
LARGEST_DATAGRAM = 65_507
"""UDP's largest payload over IPv4."""

LEAST_BITS_PER_S = 8
"""A byte a second."""

STALL_S = 5.0
"""A load to which nothing moves for so long has ended, unless it is said otherwise."""


class LoadOptions(TypedDict, total=False):
    """The fields of `Load`, as keywords."""

    connections: int
    size: int | tuple[int, int] | None
    direction: Direction
    pipeline: int
    rate: float | None
    bits_per_s: float | None
    poisson: bool
    count: int | None
    wait_s: float
    connect_timeout_s: float | None
    family: Family | None
    tls_authorities: str | None
    tls_insecure: bool
    tls_name: str | None
    tls_certificate: str | None
    tls_key: str | None
    tls_alpn: Sequence[str]
    tls_min: str | None
    tls_max: str | None
    starttls: str | None
    seed: int
    nodelay: bool | None
    dscp: int | str | None
    congestion: str | None
    send_buffer: int | None
    receive_buffer: int | None
    workers: int
    seconds: float | None
    omit_s: float
    interval_s: float
    stall_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked for of a load, whatever the endpoint. Making one raises `UsageError` for what cannot be.

    Sizes are bytes, times seconds.
    """

    connections: int = 1
    """Connections, or datagram sockets, at once."""
    size: int | tuple[int, int] | None = None
    """Of a message, or the least and the largest; None is the usual one of the direction."""
    direction: Direction = "echo"
    """`echo`: messages, each compared with its echo; `send` to a sink such as discard; `receive` from a source such as
    chargen (a datagram for each that asks); `both`: bytes through an echo as fast as they go."""
    pipeline: int = 1
    """Messages in flight on each connection of a closed loop."""
    rate: float | None = None
    """Messages a second to all together: an open loop, in which they are due whether or not others were answered."""
    bits_per_s: float | None = None
    """Where bytes flow, what holds each connection: payload that it sends, or, receiving, how fast it reads."""
    poisson: bool = False
    """With a rate: due as independent clients are, and not evenly spaced."""
    count: int | None = None
    """Messages after which it ends."""
    wait_s: float = 1.0
    """How long a datagram's reply is waited for."""
    connect_timeout_s: float | None = 10.0
    """None leaves it to the kernel."""
    family: Family | None = None
    tls_authorities: str | None = None
    """A PEM file of those to trust instead of the system's."""
    tls_insecure: bool = False
    tls_name: str | None = None
    """The name that is sent and that the certificate must have, where it is not the endpoint's host."""
    tls_certificate: str | None = None
    """This and the next ones as in `ClientTls`."""
    tls_key: str | None = None
    tls_alpn: Sequence[str] = ()
    tls_min: str | None = None
    tls_max: str | None = None
    starttls: str | None = None
    seed: int = 0
    """Of the random sizes and the Poisson intervals: the same seed draws the same."""
    nodelay: bool | None = True
    """TCP_NODELAY; None, here and below, leaves the system's own."""
    dscp: int | str | None = None
    """The code point, 0 to 63, or its name, such as `ef`."""
    congestion: str | None = None
    """TCP's congestion control, such as `cubic`."""
    send_buffer: int | None = None
    """SO_SNDBUF, before the kernel doubles it."""
    receive_buffer: int | None = None
    """SO_RCVBUF, likewise."""
    workers: int = 1
    """Processes that make the load."""
    seconds: float | None = None
    """After which it ends; None is `DEFAULT_SECONDS` unless there is a `count`."""
    omit_s: float = 0.0
    """Warm-up before that, not counted."""
    interval_s: float = 1.0
    stall_s: float | None = STALL_S
    """A load to which nothing moves for so long ends; None lets it go on."""

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            raise UsageError(f"'{self.direction}' is no direction; one of {', '.join(get_args(Direction))}")
        self._check_size()
        self._check_rate()
        _ = self.tls
        if self.pipeline < 1 or self.connections < 1:
            raise UsageError("at least one connection, with one message in flight, is needed")
        if self.wait_s <= 0:
            raise UsageError("a reply takes more than 0 seconds; wait for it a little")
        if isinstance(self.dscp, int) and not 0 <= self.dscp < 64:
            raise UsageError(f"{self.dscp} is no DSCP; it has six bits, 0 to 63")
        workers, count = self.workers, self.count
        if workers < 1 or self.connections < workers:
            raise UsageError(f"{workers} workers need at least one connection each; {self.connections} were asked for")
        if count is not None and count < workers:
            raise UsageError(f"{count} messages cannot be shared out to {workers} workers; give each one at least")
        if (self.seconds is not None and self.seconds <= 0) or self.interval_s <= 0 or self.omit_s < 0:
            raise UsageError("a measurement and its intervals take more than 0 seconds")

    @property
    def tls(self) -> ClientTls:
        """How TLS is spoken, where it is. Raises `UsageError` for what cannot be."""
        return ClientTls(**{item.name: getattr(self, item.name) for item in fields(ClientTls)})

    @property
    def flows(self) -> bool:
        """Whether bytes just flow, instead of messages with their echoes."""
        return self.direction != "echo"

    @property
    def sizes(self) -> tuple[int, int]:
        """The least and the largest, the usual ones for a stream where nothing was said."""
        size = self.size
        if size is None:
            size = DEFAULT_WRITE_BYTES if self.flows else DEFAULT_MESSAGE_BYTES
        return (size, size) if isinstance(size, int) else size

    def at(self, endpoint: Endpoint) -> Load:
        """This load as it is to be at `endpoint`, with a size and an end. Raises `UsageError` for what it cannot be."""
        size, seconds = self.size, self.seconds
        if size is None and not endpoint.is_stream and self.flows:
            size = HEADER.size if self.direction == "receive" else DEFAULT_DATAGRAM_BYTES  # to receive, they only ask
        if seconds is None and self.count is None:
            seconds = DEFAULT_SECONDS
        load = replace(self, size=self.sizes if size is None else size, seconds=seconds)
        if endpoint.transport == "unixseqpacket":
            raise UsageError(
                f"{endpoint}: a load is of bytes or of datagrams, and not of unixseqpacket; call --verify it"
            )
        if not endpoint.is_stream:
            load._check_datagrams(endpoint)
        elif load.rate is not None and load.flows:
            raise UsageError(
                "a rate in messages a second, such as 5000/s, is for messages and their echoes; for a stream of bytes "
                "give bits a second: 10M"
            )
        return load

    def document(self) -> dict[str, Any]:
        """The load as a part of the document: what was supplied."""
        least, most = self.sizes
        values = asdict(self)
        del values["size"]
        return {"least_size": least, "most_size": most, **values, "tls_alpn": list(self.tls_alpn)}

    def _check_size(self) -> None:
        least, most = self.sizes
        if least < 1 or least > most:
            raise UsageError(f"sizes from {least} to {most}: a message has at least 1 byte, and the least comes first")
        if most > LARGEST_MESSAGE:
            raise UsageError(f"a message of the load has at most {LARGEST_MESSAGE} bytes, and {most} were asked for")
        if self.flows and (least != most or self.pipeline != 1 or self.poisson):
            raise UsageError("a range of sizes, a pipeline and Poisson spacing are for messages with their echoes")

    def _check_rate(self) -> None:
        """Raise `UsageError` for a rate that cannot be, above all for one of the other kind."""
        rate, bits = self.rate, self.bits_per_s
        if rate is not None and bits is not None:
            raise UsageError("a rate is messages a second or bits a second; give one of them")
        if bits is not None and not self.flows:
            raise UsageError(
                "a rate in bits a second, such as 10M, is for bytes that flow (-R, --send, --bidir); for messages and "
                "their echoes give messages a second: 5000/s"
            )
        if rate is not None and not 0 < rate < math.inf:
            raise UsageError("a rate is more than 0 messages a second; without one, it is as fast as replies come")
        if bits is not None and not LEAST_BITS_PER_S <= bits < math.inf:
            raise UsageError(
                f"a rate is at least {LEAST_BITS_PER_S} bits a second; without one, bytes go as fast as they can"
            )
        if self.poisson and rate is None:
            raise UsageError("Poisson spacing needs a rate")

    def _check_datagrams(self, endpoint: Endpoint) -> None:
        least, most = self.sizes
        if least < HEADER.size:
            raise UsageError(f"a datagram of the load says which one it is, and needs {HEADER.size} bytes for that")
        if most > LARGEST_DATAGRAM:
            raise UsageError(f"a datagram carries at most {LARGEST_DATAGRAM} bytes, and {most} were asked for")
        if self.direction == "receive" and self.bits_per_s is not None:
            raise UsageError(
                f"{endpoint}: how large answers are is the server's affair; give asks a second, such as 5000/s"
            )
