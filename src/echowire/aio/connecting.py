"""`echowire.aio.call`: resolving, connecting and securing in asyncio's loop, with the rules and errors of `call`."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections import deque
from typing import Unpack

from echowire.aio.opening import Opening
from echowire.aio.peer import Peer
from echowire.aio.waiting import Waiter
from echowire.core.starttls import Negotiation, RefusedError
from echowire.core.tls_options import ClientTls, ClientTlsOptions
from echowire.errors import NameResolutionError, NoReplyError, OperationError, ProtocolError
from echowire.kernel.connections.channel import Channel, StreamChannel
from echowire.kernel.connections.connect import (
    ATTEMPT_DELAY_S,
    CONNECT_TIMEOUT_S,
    ConnectFailure,
    Connection,
    Race,
    Run,
    connect_datagram,
    connect_unix,
    find_addresses,
)
from echowire.kernel.connections.resolve import Source
from echowire.kernel.connections.tls import TlsClient
from echowire.kernel.connections.tls_channel import TlsChannel
from echowire.kernel.connections.tls_connect import refusal
from echowire.model import DEFAULT_PORT, Endpoint, EndpointLike, Family
from echowire.verbs.call import connect_error
from echowire.verbs.explained import explained

FULL_QUEUE_S = 0.01
"""How soon a Unix server whose queue of connections is full is tried again: nothing tells when it has room."""


def call(
    endpoint: EndpointLike = f"127.0.0.1:{DEFAULT_PORT}",
    *,
    timeout: float | None = CONNECT_TIMEOUT_S,
    family: Family | None = None,
    source: str = "",
    source_port: int = 0,
    **tls: Unpack[ClientTlsOptions],
) -> Opening[Peer]:
    """Connect to `endpoint` as `echowire.call` does; await it, or enter it by `async with`.

    Raises what that raises. Cancelled, it leaves nothing open.
    """
    return Opening(_call(endpoint, timeout, family, Source(source, source_port), ClientTls(**tls)))


async def _call(
    endpoint: EndpointLike, timeout: float | None, family: Family | None, source: Source, options: ClientTls
) -> Peer:
    at = Endpoint.of(endpoint, port=DEFAULT_PORT)
    client = TlsClient.of(options) if at.transport == "tls" else None
    deadline = None if timeout is None else time.perf_counter() + timeout
    try:
        made = await _connect(at, deadline, family, source)
    except (OperationError, NameResolutionError) as error:
        await asyncio.to_thread(explained, error, at)
        raise
    if isinstance(made, ConnectFailure):
        raise await asyncio.to_thread(connect_error, made, timeout, source.port)
    channel, tls_s = made.channel, None
    if client is not None:
        began = time.perf_counter()
        channel = await _secure(made.channel, at, client.named(at.host), deadline)
        tls_s = time.perf_counter() - began
    return Peer(channel, timeout, made.attempts, made.connect_s, tls_s)


async def _connect(
    at: Endpoint, deadline: float | None, family: Family | None, source: Source
) -> Connection | ConnectFailure:
    if at.is_unix:
        return await _connect_unix(at, deadline, source)
    runs, bound = await asyncio.to_thread(find_addresses, at, family, source)
    if not at.is_stream:
        return connect_datagram(at, runs, bound)
    race = Race(at, runs, bound, deadline)
    winner = await _run(race)
    if winner is None:
        return race.failure()
    assert winner.sock is not None
    return Connection(StreamChannel(winner.sock, at), race.attempts(), winner.seconds)


async def _run(race: Race) -> Run | None:
    """As `Race.run`, in asyncio's loop."""
    queue, next_start, winner = deque(race.waiting), 0.0, None
    try:
        while winner is None and (queue or race.running):
            now = time.perf_counter()
            if race.deadline is not None and now >= race.deadline:
                break
            if queue and (not race.running or now >= next_start):
                winner = race.start(queue.popleft())
                next_start = now + ATTEMPT_DELAY_S
                continue
            limits = [limit for limit in (next_start if queue else None, race.deadline) if limit is not None]
            descriptor = await _first_writable(list(race.running), min(limits, default=None))
            if descriptor is not None:
                finished = race.settle(descriptor)
                winner = finished if finished.outcome == "connected" else None
                next_start = 0.0
    finally:
        race.abandon("abandoned" if winner else "no answer", but=winner)
    return winner


async def _first_writable(descriptors: list[int], until: float | None) -> int | None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()

    def settle(descriptor: int) -> None:
        if not future.done():
            future.set_result(descriptor)

    for descriptor in descriptors:
        loop.add_writer(descriptor, settle, descriptor)
    try:
        async with asyncio.timeout(None if until is None else max(0.0, until - time.perf_counter())):
            return await future
    except TimeoutError:
        return None
    finally:
        for descriptor in descriptors:
            loop.remove_writer(descriptor)


async def _connect_unix(at: Endpoint, deadline: float | None, source: Source) -> Connection | ConnectFailure:
    while True:
        made = connect_unix(at, 0, source)
        if isinstance(made, Connection) or made.number != errno.EAGAIN:
            return made
        if deadline is not None and time.perf_counter() >= deadline:
            return made
        await asyncio.sleep(FULL_QUEUE_S)


async def _secure(plain: Channel, at: Endpoint, client: TlsClient, deadline: float | None) -> TlsChannel:
    """As `tls_connect.secure`, in asyncio's loop."""
    sock = plain.socket
    family, address = sock.family, plain.remote
    try:
        if client.options.starttls is not None:
            await _negotiate(plain, client.options.starttls, deadline)
        channel = TlsChannel(sock, at, client)
        await shake(channel, deadline)
    except ProtocolError as error:
        sock.close()
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            called = (address.host, address.port)
            raise await asyncio.to_thread(refusal, at, client, error.__cause__, family, called) from error.__cause__
        raise
    except BaseException:
        sock.close()
        raise
    return channel


async def shake(channel: TlsChannel, deadline: float | None) -> None:
    """The TLS handshake, of either side. Raises as `TlsChannel.handshake`."""
    waiter = Waiter(channel)
    while not channel.shake():
        if not await waiter.ready(read=True, write=channel.has_unsent, deadline=deadline):
            raise channel.handshake_silence()


async def _negotiate(channel: Channel, protocol: str, deadline: float | None) -> None:
    """As `tls_connect.negotiate`, in asyncio's loop."""
    negotiation, waiter = Negotiation(protocol), Waiter(channel)
    to_send = negotiation.to_send
    doing = f"STARTTLS ({protocol}) with {channel.endpoint}"
    try:
        while True:
            while to_send:
                to_send = to_send[channel.send(to_send) or 0 :]
            if negotiation.is_done:
                return
            while (data := channel.receive(4096)) is None:
                if not await waiter.ready(read=True, write=False, deadline=deadline):
                    raise NoReplyError(f"{doing}: no answer in time (our timer)")
            if not data:
                negotiation.end()
            to_send = negotiation.take(data)
    except RefusedError as refused:
        raise ProtocolError(f"{doing}: {refused}") from refused
