"""call: connect to an endpoint, and send, receive and echo over the connection.

    with echowire.call("tcp://127.0.0.1:12345") as peer:
        assert peer.echo(b"hello") == b"hello"

Every wait has a limit, and an error says whose it was: "our timer" is the `timeout` given here, `ETIMEDOUT` the
kernel's. A `Peer` holds no thread and nothing global, and may be used from any thread.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Unpack

from echowire.core.certificates import Certificate, read_certificate
from echowire.core.failures.explain import SELF_CONNECTED
from echowire.core.load.verify import Verdict, compare
from echowire.core.proxies import Proxy
from echowire.core.tls_options import ClientTls, ClientTlsOptions
from echowire.core.units import format_duration
from echowire.errors import EchowireError, NoReplyError, OperationError, ProtocolError, UsageError
from echowire.kernel.connections.channel import CHUNK_BYTES, Channel, Transferred, transfer, wait
from echowire.kernel.connections.connect import CONNECT_TIMEOUT_S, Attempt, ConnectFailure, Connection, connect
from echowire.kernel.connections.resolve import Source
from echowire.kernel.connections.tls import TlsClient
from echowire.kernel.connections.tls_channel import TlsChannel
from echowire.model import DEFAULT_PORT, Endpoint, EndpointLike, Family, Transport
from echowire.verbs.explained import explained, explaining
from echowire.verbs.lines import Lines

SURPLUS_BYTES = 1024 * 1024
"""The most that is taken of what a stream sends beyond the echo: a peer that never stops must not fill memory."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message and its echo.

    `received` is None where nothing came, `rtt_s` (round trip, seconds) where it did not come whole. `error` is
    why, and is what `Peer.echo` raises: `NoReplyError`, `ProtocolError` or `OperationError`.
    """

    sent: bytes
    received: bytes | None
    rtt_s: float | None
    verdict: Verdict
    error: EchowireError | None = None
    unasked: bytes = b""
    """In a conversation over a stream: what had come before the message was sent, such as a greeting."""


class Connected:
    """What is known of whom one is connected to, whether it is waited for in a thread or in asyncio."""

    channel: Channel
    """The socket itself, as `echowire.kernel.connections.channel` wraps it."""

    @property
    def local(self) -> Endpoint:
        """Where we are."""
        return self.channel.local

    @property
    def remote(self) -> Endpoint:
        """Where the peer is: the address, not the name. A datagram's may still change to the name's next one."""
        return self.channel.remote

    @property
    def transport(self) -> Transport:
        """`tcp`, `tls`, `udp`, `unix`, `unixgram` or `unixseqpacket`."""
        return self.channel.endpoint.transport

    @property
    def is_stream(self) -> bool:
        """True for a connection, False for datagrams."""
        return self.channel.is_stream

    @property
    def tls(self) -> tuple[str, str] | None:
        """TLS version and cipher suite; None without TLS."""
        channel = self.channel
        return (channel.version or "", channel.cipher or "") if isinstance(channel, TlsChannel) else None

    @property
    def tls_alpn(self) -> str | None:
        """The protocol agreed on by ALPN; None for none, and without TLS."""
        return self.channel.alpn if isinstance(self.channel, TlsChannel) else None

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The certificates that the peer sent, its own first; of TLS 1.3 only that one where Python is below 3.13. Of a
        served connection the client's, where it had to show one.
        """
        if not isinstance(self.channel, TlsChannel):
            return ()
        return tuple(map(read_certificate, self.channel.chain[0]))


class Peer(Connected, Lines):
    """A connection, or for datagrams a socket that speaks to one address. Close it, or use it in a `with` block.

    `timeout` of each operation is in seconds and bounds the time in which nothing moves; None is the timeout that
    `call` was given.
    """

    def __init__(self, connection: Connection, timeout_s: float | None, proxy: Proxy | None = None) -> None:
        self.channel = connection.channel
        self.attempts = connection.attempts
        """Each address that was tried, and what it answered."""
        self.connect_s = connection.connect_s
        """Seconds that connecting took, without TLS."""
        self.tls_s = connection.tls_s
        """Seconds that the TLS handshake took; None without TLS."""
        self.timeout_s = timeout_s
        self.proxy = proxy
        """What it is connected through: `remote` is then the proxy, and `channel.endpoint` who is called."""

    def send(self, data: bytes, *, timeout: float | None = None) -> None:
        """Send all of `data`; on a datagram transport as one datagram.

        Raises `NoReplyError` when the peer does not read for so long, `OperationError`.
        """
        timeout = self.timeout_s if timeout is None else timeout
        with self._explaining():
            if not self.is_stream:
                self._send_datagram(data, timeout)
                return
            done = transfer(self.channel, data, 0, timeout)
            if done.error is not None:
                raise done.error
            if done.timed_out:
                raise NoReplyError(f"send {self.channel.endpoint}: the peer has read nothing for {limit_text(timeout)}")

    def recv(self, n: int = CHUNK_BYTES, *, timeout: float | None = None) -> bytes:
        """Up to `n` bytes as soon as there are any, empty at the end; or one datagram, whole.

        Raises `NoReplyError` when none comes in time, `OperationError`.
        """
        timeout = self.timeout_s if timeout is None else timeout
        deadline = None if timeout is None else time.perf_counter() + timeout
        with self._explaining():
            while (data := self.channel.receive(n)) is None:
                if not wait(self.channel, read=True, write=False, deadline=deadline):
                    raise silence(self.channel, timeout)
            return data

    def recv_nowait(self, n: int = CHUNK_BYTES) -> bytes | None:
        """As `recv`, and None if nothing is there yet."""
        with self._explaining():
            return self.channel.receive(n)

    def fileno(self) -> int:
        """The socket's descriptor, for select, poll or asyncio; with `has_more` in mind. Raises `OperationError`."""
        return self.channel.fileno()

    @property
    def has_more(self) -> bool:
        """Whether `recv` has something although the socket itself may have nothing to read: what TLS has decrypted, or
        what came with the line that was read last. A loop over `poll` looks here first."""
        return self.channel.has_more

    def drain(self) -> bytes:
        """What has come on a stream and was not asked for, up to `SURPLUS_BYTES`, without waiting."""
        surplus = bytearray()
        try:
            while len(surplus) < SURPLUS_BYTES and (more := self.channel.receive(CHUNK_BYTES)):
                surplus += more
        except EchowireError:
            pass  # whoever uses the connection next will hear of it; this echo is whole
        return bytes(surplus)

    def recv_exactly(self, n: int, *, timeout: float | None = None) -> bytes:
        """`n` bytes of a stream. Raises `ProtocolError` when it ends before, and as `recv`."""
        if not self.is_stream:
            raise UsageError("recv_exactly is for streams: a datagram has the size that it was sent with")
        timeout = self.timeout_s if timeout is None else timeout
        with self._explaining():
            done = transfer(self.channel, b"", n, timeout)
            if len(done.received) < n:
                raise done.error or short(self.channel, done, n, timeout)
            return done.received

    def half_close(self) -> None:
        """Say that no more will be sent; receiving goes on. Datagrams have no such thing, and nothing happens."""
        with self._explaining():
            self.channel.half_close()

    def exchange(self, data: bytes, *, timeout: float | None = None) -> Exchange:
        """Send `data`, receive as many bytes (or one datagram), and compare. Never raises for what the peer does.

        A stream is sent and received at the same time. What it sends beyond the echo and has come already is
        received too, up to `SURPLUS_BYTES`: then the verdict is `surplus`. Raises `OperationError` for what is
        wrong on this host, such as a datagram that is too long.
        """
        timeout = self.timeout_s if timeout is None else timeout
        if not self.is_stream:
            return self._exchange_datagram(data, timeout)
        began = time.perf_counter()
        done = transfer(self.channel, data, len(data), timeout)
        rtt_s: float | None = time.perf_counter() - began
        received = done.received
        error: EchowireError | None = done.error
        if isinstance(error, OperationError):
            explained(error, self.remote, self.channel.icmp)
            _raise_own(error)
        if len(received) == len(data):
            received += self.drain()
        else:
            rtt_s, error = None, error or short(self.channel, done, len(data), timeout)
        kept = received if received or not data else None
        return Exchange(data, kept, rtt_s, compare(data, kept), error)

    def echo(self, data: bytes, *, timeout: float | None = None) -> bytes:
        """Send `data` and return what comes back: as many bytes, or one datagram. What it says is not checked.

        Raises `NoReplyError`, `ProtocolError` when the stream ends before, `OperationError`.
        """
        exchange = self.exchange(data, timeout=timeout)
        if exchange.error is not None:
            raise exchange.error
        assert exchange.received is not None
        return exchange.received[: len(data)] if self.is_stream else exchange.received

    def close(self) -> None:
        """Close the connection. May be called again, and from another thread than the one that waits in it."""
        self.channel.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Peer {self.remote} from {self.local}>"

    def _send_datagram(self, data: bytes, timeout: float | None) -> None:
        deadline = None if timeout is None else time.perf_counter() + timeout
        while self.channel.send(data) is None:
            if not wait(self.channel, read=False, write=True, deadline=deadline):
                raise NoReplyError(f"send {self.channel.endpoint}: no room to send for {limit_text(timeout)}")

    def _exchange_datagram(self, data: bytes, timeout: float | None) -> Exchange:
        began = time.perf_counter()
        try:
            with self._explaining():
                self._send_datagram(data, timeout)
            reply = self.recv(timeout=timeout)
        except (OperationError, NoReplyError) as error:
            _raise_own(error)
            return Exchange(data, None, None, compare(data, None), error)
        return Exchange(data, reply, time.perf_counter() - began, compare(data, reply))

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OperationError as error:
            explained(error, self.remote, self.channel.icmp)
            raise


def call(
    endpoint: EndpointLike = f"127.0.0.1:{DEFAULT_PORT}",
    *,
    timeout: float | None = CONNECT_TIMEOUT_S,
    family: Family | None = None,
    source: str = "",
    source_port: int = 0,
    proxy: Proxy | str | None = None,
    on_attempts: Callable[[tuple[Attempt, ...]], object] | None = None,
    **tls: Unpack[ClientTlsOptions],
) -> Peer:
    """Connect to `endpoint`: `host:port` (TCP), a URL (`tcp:// tls:// udp:// unix:/path unixgram:/path
    unixseqpacket:/path`), or what else `Endpoint.of` takes: an `Endpoint`, `(host, port)`, the `Path` of a Unix socket,
    a port of 127.0.0.1.

    An empty host is this host. A name's addresses are tried as RFC 8305 says, IPv4 or IPv6 alone with `family`.
    `timeout` is in seconds, for all of it (and later for each wait of the `Peer`); None leaves it to the kernel,
    which takes about two minutes. `source` and `source_port` are where to call from. `proxy` is one to
    connect through, by SOCKS 5 or HTTP (`Proxy`, or the text that `Proxy.parse` reads). `on_attempts` is told what each
    address answered, also when all failed. TLS checks the certificate against the system's authorities or those in the
    PEM file `tls_authorities`, for the host's name or `tls_name`; it shows `tls_certificate`, offers `tls_alpn`, speaks
    from `tls_min` to `tls_max`, and begins in the clear with `starttls="smtp"`: each is a field of `ClientTls`.

    Raises `OperationError`, `NoReplyError`, `NameResolutionError`, `ProtocolError` of TLS, `UsageError`.
    """
    at = Endpoint.of(endpoint, port=DEFAULT_PORT)
    asked = ClientTls(**tls)
    client = TlsClient.of(asked) if at.transport == "tls" else None
    through = Proxy.parse(proxy) if isinstance(proxy, str) else proxy
    with explaining(at):
        made = connect(
            at, timeout_s=timeout, family=family, source=Source(source, source_port), tls=client, proxy=through
        )
    if on_attempts is not None:
        on_attempts(made.attempts)
    if isinstance(made, ConnectFailure):
        raise connect_error(made, timeout, source_port)
    return Peer(made, timeout, through)


def connect_error(failure: ConnectFailure, timeout: float | None, source_port: int) -> EchowireError:
    """The one line for a call that failed: what it means here, and what each address answered if there were more."""
    tried = ""
    if len(failure.attempts) > 1:
        answers = ", ".join(f"{attempt.address} {attempt.outcome}" for attempt in failure.attempts)
        tried = f"Tried {answers}. "
    head = f"{failure.operation} {failure.where}"
    if failure.outcome == "self-connected":
        meaning, remedy = SELF_CONNECTED
        if source_port == failure.address.port:
            meaning = "Nothing listens: the source port is the called port, and the socket is connected to itself."
            remedy = "Start the server, or call from another port."
        return ProtocolError(f"{head}: {tried}{meaning} {remedy}")
    number = failure.number if failure.number is not None else errno.ETIMEDOUT
    error = OperationError(failure.operation, failure.where, number, os.strerror(number))
    if failure.number is None:
        error.__cause__ = TimeoutError()  # our timer, not the kernel's: the explanation tells them apart
    explained(error, None if failure.operation == "bind" else failure.address, failure.icmp)
    if failure.number is None:
        why = f" {error.meaning} {error.remedy}".rstrip()
        return NoReplyError(
            f"{head}: no answer within {limit_text(timeout)}.{' ' + tried.rstrip() if tried else ''}{why}"
        )
    error.meaning = tried + error.meaning
    return error


def silence(channel: Channel, timeout: float | None) -> NoReplyError:
    """Nothing came in time."""
    return NoReplyError(f"recv {channel.endpoint}: nothing came within {limit_text(timeout)}")


def short(channel: Channel, done: Transferred, wanted: int, timeout: float | None) -> EchowireError:
    """Why fewer than the `wanted` bytes came."""
    got = len(done.received)
    where = f"recv {channel.endpoint}"
    if done.ended:
        sent = f"after {got} of" if got else "and sent none of"
        return ProtocolError(f"{where}: the peer closed the connection {sent} the {wanted} bytes")
    if not got:
        return silence(channel, timeout)
    return NoReplyError(f"{where}: {got} of {wanted} bytes came, and no more within {limit_text(timeout)}")


def _raise_own(error: EchowireError) -> None:
    """Raise what this host refused; what the network or the peer did is a result."""
    if error.exit_status != 1:
        raise error


def limit_text(timeout: float | None) -> str:
    """A time that was given here, in words."""
    return f"{format_duration(timeout)} (our timer)"
