"""Resolving a name and connecting to it: Happy Eyeballs (RFC 8305), and a record of what each address answered.

A name often stands for several addresses, of which some do not work: IPv6 without a route, a server on one family
only. They are tried in the order of RFC 6724, the families taking turns, each a little after the one before, and
the first that connects is kept. Whatever comes of it, every attempt is kept too: "it failed" helps nobody,
"[::1] refused, 127.0.0.1 did not answer" does.

Only TCP can be raced. A UDP connect asks nobody, so its next address is tried when the first one refuses a
datagram; see `channel.DatagramChannel`.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field, replace

from echowire.core.failures.facts import IcmpReport
from echowire.core.proxies import Proxy
from echowire.core.units import format_duration
from echowire.errors import NoReplyError, OperationError, UsageError
from echowire.kernel.boundary import operation
from echowire.kernel.connections import icmp_errors
from echowire.kernel.connections.channel import (
    Channel,
    DatagramChannel,
    SeqpacketChannel,
    StreamChannel,
    endpoint_of,
    seconds_left,
)
from echowire.kernel.connections.listen import DATAGRAM_BUFFER_BYTES
from echowire.kernel.connections.proxies import go_through
from echowire.kernel.connections.resolve import SocketAddress, Source, resolve, socket_kind, source_addresses
from echowire.kernel.connections.tls import TlsClient
from echowire.kernel.connections.tls_connect import secure
from echowire.model import Endpoint, Family, Transport

ATTEMPT_DELAY_S = 0.25
"""Connection Attempt Delay: RFC 8305 section 5 recommends 250 ms and allows 10 ms to 2 s."""

CONNECT_TIMEOUT_S = 10.0
"""What connecting may take unless it is said: ncat's default. The kernel alone would try for 130 s (row 22)."""

LEAST_TELLING = frozenset(
    {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH, errno.ETIMEDOUT}
)
"""Where several addresses failed, one that said something else is the one to explain: these mean no way there."""

IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; Python has the name from 3.12
_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ETIMEDOUT: "timed out",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address that was tried.

    `outcome` is `connected`, `refused`, `reset`, `unreachable`, `timed out` (the kernel's timer), `no answer` (our
    timer), `abandoned` (another address was first), `self-connected`, or the name of the error. `seconds` is how
    long it took to know, `number` the error number, and `icmp` the message that brought it, if one did.
    """

    address: str
    outcome: str
    seconds: float
    number: int | None = None
    icmp: IcmpReport | None = None


@dataclass(slots=True)
class Connection:
    """A connected channel, and how it came about. `tls_s` is the handshake's time, None without TLS."""

    channel: Channel
    attempts: tuple[Attempt, ...]
    connect_s: float
    tls_s: float | None = None


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    """Why no address could be connected to.

    `outcome` is that of the attempt that tells most, `address` its socket address as an endpoint. `operation` on
    `where` is what failed with `number`; None where no call did: `no answer` and `self-connected`.
    """

    outcome: str
    address: Endpoint
    operation: str
    where: str
    number: int | None
    attempts: tuple[Attempt, ...]
    icmp: IcmpReport | None = None


@dataclass(slots=True, eq=False)
class Run:
    """One address, and the attempt under way to connect to it."""

    family: int
    address: SocketAddress
    began: float = 0.0
    sock: socket.socket | None = None
    outcome: str = ""
    seconds: float = 0.0
    number: int | None = None
    icmp: IcmpReport | None = None
    failed: tuple[str, Endpoint] | None = None
    """Operation and endpoint where another than the connect itself failed: the bind to the source."""

    def to_attempt(self) -> Attempt:
        """As it is told."""
        at = Endpoint("tcp", _host_of(self.address), self.address[1]).address
        return Attempt(at, self.outcome, self.seconds, self.number, self.icmp)


def connect(
    endpoint: Endpoint,
    *,
    timeout_s: float | None = CONNECT_TIMEOUT_S,
    family: Family | None = None,
    source: Source | None = None,
    tls: TlsClient | None = None,
    proxy: Proxy | None = None,
) -> Connection | ConnectFailure:
    """Connect to `endpoint`, or have `proxy` do it, within `timeout_s` seconds, with resolving and the TLS handshake.

    A failure to connect is returned, for it carries the attempts; what is wrong before that is raised:
    `NameResolutionError`, `UsageError`, `OperationError` of the socket itself. A TLS handshake that fails raises
    `ProtocolError`, or `NoReplyError` when its time was up. An empty host is this host, on both families.
    """
    began = time.perf_counter()
    if proxy is not None and endpoint.transport not in ("tcp", "tls"):
        raise UsageError(f"connect {endpoint}: a proxy connects over TCP, and not over {endpoint.transport}")
    if endpoint.is_unix:
        return connect_unix(endpoint, timeout_s, source)
    called = endpoint if proxy is None else proxy.endpoint
    runs, bound = find_addresses(called, family, source)
    deadline = None if timeout_s is None else began + timeout_s
    if not endpoint.is_stream:
        return connect_datagram(endpoint, runs, bound)
    if deadline is not None and time.perf_counter() >= deadline:
        spent = format_duration(time.perf_counter() - began)
        raise NoReplyError(f"connect {endpoint}: looking up the name took {spent}, and no time was left to connect")
    race = Race(called, runs, bound, deadline)
    winner = race.run()
    if winner is None:
        failed = race.failure()
        return failed if proxy is None else replace(failed, where=f"{failed.where} (the proxy)")
    assert winner.sock is not None
    attempts = race.attempts()
    plain = StreamChannel(winner.sock, endpoint)
    if proxy is not None:
        try:
            go_through(plain, proxy, deadline)
        except BaseException:
            winner.sock.close()
            raise
    if tls is None:
        return Connection(plain, attempts, winner.seconds)
    began = time.perf_counter()
    channel = secure(winner.sock, endpoint, tls, deadline)
    return Connection(channel, attempts, winner.seconds, time.perf_counter() - began)


def find_addresses(
    endpoint: Endpoint, family: Family | None, source: Source | None
) -> tuple[list[Run], dict[int, SocketAddress]]:
    """What there is to try for `endpoint`, in order, and the address to bind for each family. Raises as `connect`."""
    addresses = resolve(endpoint, family)
    bound = source_addresses(source, addresses) if source else {}
    runs = [Run(af, address) for af, address in addresses if not bound or af in bound]
    if not runs:
        raise UsageError(f"connect {endpoint}: it has no address of the family that the source is of")
    return runs, bound


def _open_socket(run: Run, kind: int, bound: dict[int, SocketAddress], transport: Transport) -> socket.socket:
    """A socket for `run`, bound to its source. Raises OSError; `run.failed` says where it was not the connect."""
    run.failed = ("socket", Endpoint(transport, _host_of(run.address), run.address[1]))
    sock = socket.socket(run.family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if source := bound.get(run.family):
            run.failed = ("bind", Endpoint(transport, _host_of(source), source[1]))
            if source[1] == 0:
                # The port is then chosen at connect, where only the four-tuple must be free (ip(7)).
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            elif kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(source)
    except BaseException:
        sock.close()
        raise
    run.failed = None
    return sock


@dataclass(slots=True)
class Race:
    """The attempts of one call, of which the first to connect wins (RFC 8305 section 5)."""

    endpoint: Endpoint
    waiting: list[Run]
    bound: dict[int, SocketAddress]
    deadline: float | None
    started: list[Run] = field(default_factory=list)
    running: dict[int, Run] = field(default_factory=dict)
    poll: select.poll = field(default_factory=select.poll)

    def run(self) -> Run | None:
        """The winner, or None when all failed or the time is up. Closes every other socket."""
        queue, next_start, winner = deque(self.waiting), 0.0, None
        try:
            while winner is None and (queue or self.running):
                now = time.perf_counter()
                if self.deadline is not None and now >= self.deadline:
                    break
                if queue and (not self.running or now >= next_start):
                    winner = self.start(queue.popleft())
                    next_start = now + ATTEMPT_DELAY_S
                elif (finished := self._wait(next_start if queue else None)) is not None:
                    winner = finished if finished.outcome == "connected" else None
                    next_start = 0.0  # a failure starts the next at once
        finally:
            self.abandon("abandoned" if winner else "no answer", but=winner)
        return winner

    def start(self, run: Run) -> Run | None:
        """Begin an attempt; it is given back where it has connected at once."""
        run.began = time.perf_counter()
        self.started.append(run)
        try:
            run.sock = _open_socket(run, socket.SOCK_STREAM, self.bound, self.endpoint.transport)
            icmp_errors.enable(run.sock)
            number = run.sock.connect_ex(run.address)
        except OSError as error:
            number = error.errno or errno.EIO
        if number == errno.EINPROGRESS:
            assert run.sock is not None
            self.running[run.sock.fileno()] = run
            self.poll.register(run.sock, select.POLLOUT)
            return None
        self._finish(run, number)
        return run if run.outcome == "connected" else None

    def _wait(self, until: float | None) -> Run | None:
        """The first attempt to finish, well or not, before `until` or the deadline."""
        limits = [limit for limit in (until, self.deadline) if limit is not None]
        for descriptor, _ in self.poll.poll(seconds_left(min(limits, default=None), in_ms=True)):
            return self.settle(descriptor)
        return None

    def settle(self, descriptor: int) -> Run:
        """The attempt on `descriptor` is over, as its being writable says: note how it came out."""
        run = self.running.pop(descriptor)
        self.poll.unregister(descriptor)
        assert run.sock is not None
        self._finish(run, run.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return run

    def _finish(self, run: Run, number: int) -> None:
        run.seconds = time.perf_counter() - run.began
        sock = run.sock
        if sock is not None and number == 0:
            # A connect to a free local port may meet itself: TCP's simultaneous open (RFC 9293 section 3.5, row 4).
            if _is_self_connected(sock):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leave no TIME-WAIT
                run.outcome = "self-connected"
            else:
                icmp_errors.disable(sock)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                run.outcome = "connected"
                return
        else:
            run.number = number
            run.outcome = _outcome(number)
        if sock is not None:
            run.icmp = icmp_errors.take(sock) if run.number else None
            sock.close()

    def abandon(self, outcome: str, but: Run | None) -> None:
        """Close those under way but one, and note why."""
        for run in self.running.values():
            if run is not but and run.sock is not None:
                run.outcome, run.seconds = outcome, time.perf_counter() - run.began
                run.sock.close()
        self.running.clear()

    def attempts(self) -> tuple[Attempt, ...]:
        """What was tried so far, in order."""
        return tuple(run.to_attempt() for run in self.started)

    def failure(self) -> ConnectFailure:
        """The error of the attempt that tells most, and all attempts."""
        return _failure(self.endpoint, self.started)


def _failure(endpoint: Endpoint, runs: list[Run]) -> ConnectFailure:
    """What to say of `runs`, which all failed: a refusal tells more than silence, and silence more than no route."""

    def rank(run: Run) -> int:
        if run.outcome == "self-connected":
            return 0
        if run.number is None:
            return 2
        return 3 if run.number in LEAST_TELLING else 1

    attempts = tuple(run.to_attempt() for run in runs)
    if not runs:  # the time was up before the first
        return ConnectFailure("no answer", endpoint, "connect", str(endpoint), None, attempts)
    chosen = min(runs, key=rank)
    at = Endpoint(endpoint.transport, _host_of(chosen.address), chosen.address[1])
    operation, on = chosen.failed or ("connect", at if len(runs) == 1 else endpoint)
    return ConnectFailure(chosen.outcome, at, operation, str(on), chosen.number, attempts, chosen.icmp)


def connect_datagram(
    endpoint: Endpoint, runs: list[Run], bound: dict[int, SocketAddress]
) -> Connection | ConnectFailure:
    """Connect a datagram socket to the first address that has a route; the others are kept for when it refuses."""
    tried: list[Run] = []
    queue = deque(runs)

    def open_next() -> socket.socket | None:
        while queue:
            run = queue.popleft()
            tried.append(run)
            run.began = time.perf_counter()
            sock = None
            try:
                sock = _open_socket(run, socket.SOCK_DGRAM, bound, endpoint.transport)
                for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                    sock.setsockopt(socket.SOL_SOCKET, option, DATAGRAM_BUFFER_BYTES)
                icmp_errors.enable(sock)
                sock.connect(run.address)
            except OSError as error:
                if sock is not None:
                    sock.close()
                run.number = error.errno or errno.EIO
                run.outcome = _outcome(run.number)
            else:
                run.outcome = "connected"
            run.seconds = time.perf_counter() - run.began
            if run.outcome == "connected":
                return sock
        return None

    sock = open_next()
    if sock is None:
        return _failure(endpoint, tried)
    attempts = tuple(run.to_attempt() for run in tried)
    return Connection(DatagramChannel(sock, endpoint, open_next), attempts, tried[-1].seconds)


def connect_unix(endpoint: Endpoint, timeout_s: float | None, source: Source | None) -> Connection | ConnectFailure:
    """Connect to a Unix socket; where its queue is full, within `timeout_s` seconds, and at once with 0."""
    if source:
        raise UsageError(f"connect {endpoint}: a Unix socket has no source address or port")
    kind = socket_kind(endpoint)
    path = "\0" + endpoint.path[1:] if endpoint.path.startswith("@") else endpoint.path
    with operation("socket", endpoint):
        sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    began = time.perf_counter()
    try:
        if kind == socket.SOCK_DGRAM:
            # A name of our own, which the kernel picks in the abstract namespace, so that we can be answered (unix(7)).
            with operation("bind", endpoint):
                sock.bind("")
        elif timeout_s == 0:
            sock.setblocking(False)
        elif timeout_s is not None:
            # A full backlog blocks connect; on a non-blocking socket it would fail at once, and poll tells nothing.
            _limit_sending(sock, timeout_s)
        sock.connect(path)
        seconds = time.perf_counter() - began
        _limit_sending(sock, 0)
        sock.setblocking(False)
    except OperationError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        number = error.errno or errno.EIO
        outcome = _outcome(number)
        attempt = Attempt(endpoint.path, outcome, time.perf_counter() - began, number)
        return ConnectFailure(outcome, endpoint, "connect", str(endpoint), number, (attempt,))
    except BaseException:
        sock.close()
        raise
    attempts = (Attempt(endpoint.path, "connected", seconds),)
    return Connection(channel_of(sock, endpoint), attempts, seconds)


def channel_of(sock: socket.socket, endpoint: Endpoint) -> Channel:
    """The channel of a connected socket that does not block, without TLS."""
    if endpoint.transport == "unixseqpacket":
        return SeqpacketChannel(sock, endpoint)
    return StreamChannel(sock, endpoint) if endpoint.is_stream else DatagramChannel(sock, endpoint)


def _limit_sending(sock: socket.socket, seconds: float) -> None:
    """Set SO_SNDTIMEO, which bounds a blocking connect too (socket(7)); 0 is no limit, so at least a microsecond."""
    micros = max(1, round(seconds * 1e6)) if seconds else 0
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", *divmod(micros, 1_000_000)))


def _is_self_connected(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False  # the peer has reset it already


def _host_of(address: SocketAddress) -> str:
    return endpoint_of(address, "tcp").host


def _outcome(number: int) -> str:
    return _OUTCOMES.get(number) or errno.errorcode.get(number, str(number))
