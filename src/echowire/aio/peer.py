"""A connection, or a datagram socket that speaks to one address, in asyncio: `echowire.Peer`'s words, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from echowire.aio.waiting import Waiter
from echowire.core.load.verify import compare
from echowire.errors import EchowireError, NoReplyError, OperationError, ProtocolError, UsageError
from echowire.kernel.connections.channel import CHUNK_BYTES, STANDSTILL_S, Channel, Transferred
from echowire.kernel.connections.connect import Attempt
from echowire.verbs.call import SURPLUS_BYTES, Connected, Exchange, limit_text, short, silence
from echowire.verbs.explained import explained


class Peer(Connected):
    """Close it, or use it in an `async with` block.

    One task may send while another receives. `timeout` of each operation is in seconds and bounds the time in which
    nothing moves; None is the timeout that `call` was given. A task that is cancelled while it receives has taken
    nothing; one that is cancelled while it sends has sent a part.
    """

    def __init__(
        self,
        channel: Channel,
        timeout_s: float | None,
        attempts: tuple[Attempt, ...] = (),
        connect_s: float = 0.0,
        tls_s: float | None = None,
    ) -> None:
        self.channel = channel
        self.attempts = attempts
        """Each address that was tried, and what it answered; of a served connection nothing."""
        self.connect_s = connect_s
        self.tls_s = tls_s
        self.timeout_s = timeout_s
        self.received_bytes = self.sent_bytes = 0
        self._waiter = Waiter(channel)

    async def send(self, data: bytes, *, timeout: float | None = None) -> None:
        """Send all of `data`; on a datagram transport as one datagram. When it returns, the kernel has taken all.

        Raises `NoReplyError` when the peer does not read for so long, `OperationError`.
        """
        timeout = self.timeout_s if timeout is None else timeout
        async with self._explaining():
            await asyncio.sleep(0)  # the others' turn: a socket that is always ready would else keep the loop
            rest, is_begun = memoryview(data), False
            while not is_begun or rest or self.channel.has_unsent:
                self.channel.flush()
                sent = self.channel.send(rest[:CHUNK_BYTES] if self.is_stream else rest) if not is_begun or rest else 0
                if sent is not None:
                    is_begun = True
                    self.sent_bytes += sent
                    rest = rest[sent:]
                if sent or (is_begun and not rest and not self.channel.has_unsent):
                    continue
                if not await self._wait_to_write(timeout):
                    raise NoReplyError(
                        f"send {self.channel.endpoint}: the peer has read nothing for {limit_text(timeout)}"
                    )

    async def recv(self, n: int = CHUNK_BYTES, *, timeout: float | None = None) -> bytes:
        """Up to `n` bytes as soon as there are any, empty at the end; or one datagram, whole.

        Raises `NoReplyError` when none comes in time, `OperationError`.
        """
        timeout = self.timeout_s if timeout is None else timeout
        async with self._explaining():
            await asyncio.sleep(0)
            deadline = None if timeout is None else time.perf_counter() + timeout
            while (data := self.channel.receive(n)) is None:
                if not await self._waiter.ready(read=True, write=self.channel.has_unsent, deadline=deadline):
                    raise silence(self.channel, timeout)
            self.received_bytes += len(data)
            return data

    async def recv_exactly(self, n: int, *, timeout: float | None = None) -> bytes:
        """`n` bytes of a stream. Raises `ProtocolError` when it ends before, and as `recv`."""
        if not self.is_stream:
            raise UsageError("recv_exactly is for streams: a datagram has the size that it was sent with")
        timeout = self.timeout_s if timeout is None else timeout
        async with self._explaining():
            done = await self._transfer(b"", n, timeout)
            if len(done.received) < n:
                raise done.error or short(self.channel, done, n, timeout)
            return done.received

    async def half_close(self) -> None:
        """Say that no more will be sent; receiving goes on, with TLS too. Datagrams have no such thing."""
        async with self._explaining():
            self.channel.half_close()

    async def exchange(self, data: bytes, *, timeout: float | None = None) -> Exchange:
        """Send `data`, receive as many bytes (or one datagram), and compare. Never raises for what the peer does."""
        timeout = self.timeout_s if timeout is None else timeout
        began = time.perf_counter()
        if not self.is_stream:
            try:
                await self.send(data, timeout=timeout)
                reply = await self.recv(timeout=timeout)
            except (OperationError, NoReplyError) as error:
                if error.exit_status != 1:
                    raise
                return Exchange(data, None, None, compare(data, None), error)
            return Exchange(data, reply, time.perf_counter() - began, compare(data, reply))
        done = await self._transfer(data, len(data), timeout)
        rtt_s: float | None = time.perf_counter() - began
        received, error_or_none = done.received, done.error
        if isinstance(error_or_none, OperationError):
            await asyncio.to_thread(explained, error_or_none, self.remote, self.channel.icmp)
            if error_or_none.exit_status != 1:
                raise error_or_none
        failure: EchowireError | None = error_or_none
        if len(received) == len(data):
            received += self._drain()
        else:
            rtt_s, failure = None, failure or short(self.channel, done, len(data), timeout)
        kept = received if received or not data else None
        return Exchange(data, kept, rtt_s, compare(data, kept), failure)

    async def echo(self, data: bytes, *, timeout: float | None = None) -> bytes:
        """Send `data` and return what comes back: as many bytes, or one datagram. What it says is not checked.

        Raises `NoReplyError`, `ProtocolError` when the stream ends before, `OperationError`.
        """
        exchange = await self.exchange(data, timeout=timeout)
        if exchange.error is not None:
            raise exchange.error
        assert exchange.received is not None
        return exchange.received[: len(data)] if self.is_stream else exchange.received

    async def close(self) -> None:
        """Close the connection; may be called again. A task that waits for it gets `OperationError` (EBADF)."""
        self.close_now()

    def close_now(self) -> None:
        """The same where nothing can be awaited."""
        self._waiter.close()
        self.channel.close()

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Peer {self.remote} from {self.local}>"

    async def _wait_to_write(self, timeout: float | None) -> bool:
        """Wait until it can be written. Who only sends is looked at from time to time, and may have to read as well."""
        until = None if timeout is None else time.perf_counter() + timeout
        while True:
            look = time.perf_counter() + STANDSTILL_S
            if until is not None and until <= look:
                return await self._waiter.ready(read=False, write=True, deadline=until)
            if await self._waiter.ready(read=False, write=True, deadline=look):
                return True
            self.channel.read_on()

    async def _transfer(self, data: bytes, want: int, idle_s: float | None) -> Transferred:
        """As `kernel.connections.channel.transfer`: both directions at once, until `want` bytes have come."""
        channel, out, missing, chunks, done = self.channel, memoryview(data), want, list[bytes](), Transferred()
        await asyncio.sleep(0)
        while out or channel.has_unsent or missing:
            moved = 0
            if (out or channel.has_unsent) and done.error is None:
                try:
                    channel.flush()
                    moved = (channel.send(out[:CHUNK_BYTES]) or 0) if out else 0
                    self.sent_bytes += moved
                    out = out[moved:]
                except (OperationError, ProtocolError) as error:
                    done.error, out = error, out[:0]
            if done.error is not None and not missing:
                break
            if missing:
                try:
                    got = channel.receive(min(missing, CHUNK_BYTES))
                except (OperationError, ProtocolError) as error:
                    done.error = done.error or error
                    break
                if got == b"":
                    done.ended = True
                    break
                if got:
                    chunks.append(got)
                    self.received_bytes += len(got)
                    missing -= len(got)
                    moved += len(got)
            if moved:
                await asyncio.sleep(0)
                continue
            wants_write = bool(out) or channel.has_unsent
            deadline = None if idle_s is None else time.perf_counter() + idle_s
            if not await self._waiter.ready(read=bool(missing), write=wants_write, deadline=deadline):
                done.timed_out = True
                break
        done.received = b"".join(chunks)
        return done

    def _drain(self) -> bytes:
        surplus = bytearray()
        try:
            while len(surplus) < SURPLUS_BYTES and (more := self.channel.receive(CHUNK_BYTES)):
                surplus += more
        except EchowireError:
            pass  # whoever uses the connection next will hear of it; this echo is whole
        return bytes(surplus)

    @asynccontextmanager
    async def _explaining(self) -> AsyncIterator[None]:
        try:
            yield
        except OperationError as error:
            # The kernel's tables are asked, which takes some milliseconds: not in the loop.
            await asyncio.to_thread(explained, error, self.remote, self.channel.icmp)
            raise
