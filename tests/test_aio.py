"""`echowire.aio`: the engines' conformance suite over asyncio's loop and uvloop's, and what only a coroutine can do:
be cancelled, be one of a thousand, and hold no thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme

import echowire
import echowire.aio
from echowire import HandlerError, Limits, NoReplyError, OperationError, ProtocolError, UsageError
from echowire.aio import Peer
from echowire.aio.serving import AsyncioServing
from echowire.engines.serving.base import Engine, Job, Report
from echowire.kernel.connections.accept import keep_urgent_bytes
from echowire.model import Closed, Event, Refused
from echowire.testing import DatagramConformance, StreamConformance
from tests.certificates import Workshop
from tests.conftest import descriptors
from tests.plain_servers import free_port, serving

PATIENCE_S = 60.0


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, in time."""

    async def in_time() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await main

    asyncio.run(in_time())


async def echo(peer: Peer) -> None:
    while data := await peer.recv():
        await peer.send(data)


class InThread(Engine):
    """The engine as the suite wants it: in a thread, with a loop of its own."""

    name = "asyncio"
    handler: echowire.aio.Handler | None = None
    runner: Any = asyncio.Runner

    @classmethod
    def why_not(cls, job: Job) -> str | None:
        return AsyncioServing.why_not(job)

    def __init__(self, job: Job, report: Report) -> None:
        self._job, self._report = job, report
        self._has_begun = threading.Event()
        for (
            listener
        ) in job.listeners:  # which the engine does when it is made: here that is later than clients may come
            keep_urgent_bytes(listener.socket)

    def run(self) -> None:
        with self.runner() as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._engine = AsyncioServing(self._job, self._report, type(self).handler)
        self._has_begun.set()
        await self._engine.ended
        self._engine.end_connections()
        while self._engine.connections:
            await asyncio.sleep(0)
        self._engine.end()

    def stop(self, drain_s: float) -> None:
        assert self._has_begun.wait(PATIENCE_S)
        self._engine.stop(drain_s)


class _Asyncio:
    def make_engine(self, job: Job, report: Report) -> Engine:
        return InThread(job, report)


class _Tls:
    url = "tls://127.0.0.1:0"
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def contexts(cls) -> None:
        authority = trustme.CA()
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        cls.tls = (server, client)


class TestAsyncio(_Asyncio, StreamConformance, DatagramConformance):
    pass


class TestAsyncioUnix(_Asyncio, StreamConformance, DatagramConformance):
    url = "unix:{folder}/stream"
    datagram_url = "unixgram:{folder}/datagram"
    largest = 100_000


class TestAsyncioTls(_Asyncio, _Tls, StreamConformance):
    pass


@pytest.fixture(autouse=True, scope="module")
def libuv() -> None:
    """libuv has a pipe for signals as long as the process lives, from its first loop on."""
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.new_event_loop().close()


class TestUvloop(StreamConformance, DatagramConformance):
    def make_engine(self, job: Job, report: Report) -> Engine:
        uvloop = pytest.importorskip("uvloop")

        class OnUvloop(InThread):
            def run(self) -> None:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(self._main())

        return OnUvloop(job, report)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("acme"))


def test_each_transport(tmp_path: Path) -> None:
    async def main() -> None:
        urls = ("tcp://127.0.0.1:0", "udp://127.0.0.1:0", f"unix:{tmp_path}/s", f"unixgram:{tmp_path}/d")
        async with echowire.aio.serve(*urls) as server:
            for endpoint in server.endpoints:
                async with echowire.aio.call(endpoint) as peer:
                    assert peer.transport == endpoint.transport and peer.is_stream == endpoint.is_stream
                    for message in (b"x", bytes(60_000)):
                        exchange = await peer.exchange(message)
                        assert exchange.verdict.ok and exchange.rtt_s and exchange.received == message
                    if peer.is_stream:
                        large = os.urandom(5_000_000)
                        assert await peer.echo(large) == large
        assert server.summary.connections == 2 and server.summary.datagrams_received == 4

    run(main())


def test_it_speaks_with_what_blocks(shop: Workshop) -> None:
    """Our own servers and clients of the other kind, with TLS."""

    async def main() -> None:
        pair = shop.make("localhost").pair
        with echowire.serve("tls://127.0.0.1:0", tls=pair) as blocking:
            at = f"tls://localhost:{blocking.endpoint.port}"
            async with echowire.aio.call(at, tls_authorities=shop.trusted) as peer:
                assert await peer.echo(bytes(300_000)) == bytes(300_000)
                assert peer.tls is not None and peer.certificates[0].names == ("localhost",)

        def call(port: int) -> bytes:
            with echowire.call(f"tls://localhost:{port}", tls_authorities=shop.trusted) as peer:
                return peer.echo(b"hello")

        async with echowire.aio.serve("tls://127.0.0.1:0", tls=pair) as server:
            assert await asyncio.to_thread(call, server.endpoint.port) == b"hello"

    run(main())


def test_tls_half_closes(shop: Workshop) -> None:
    """What asyncio's own streams cannot: the answer after the question's end."""

    async def count(peer: Peer) -> None:
        size = 0
        while data := await peer.recv():
            size += len(data)
        await peer.send(str(size).encode())

    async def main() -> None:
        tls = shop.make("localhost").pair
        async with echowire.aio.serve("tls://127.0.0.1:0", tls=tls, handler=count) as server:
            at = f"tls://localhost:{server.endpoint.port}"
            async with echowire.aio.call(at, tls_authorities=shop.trusted) as peer:
                await peer.send(bytes(1_000_000))
                await peer.half_close()
                assert await peer.recv() == b"1000000"
                assert await peer.recv() == b""

    run(main())


def test_a_client_shows_its_certificate_to_a_handler(shop: Workshop) -> None:
    async def greet(peer: Peer) -> None:
        await peer.send(peer.certificates[0].names[0].encode() if peer.certificates else b"nobody")

    async def main() -> None:
        ours = shop.make("me.example.org")
        tls: Any = {"tls": shop.make("localhost").pair, "tls_client_authorities": str(shop.trusted), "tls_alpn": ["hi"]}
        async with echowire.aio.serve("tls://127.0.0.1:0", handler=greet, **tls) as server:
            at, how = f"tls://localhost:{server.endpoint.port}", {"tls_authorities": shop.trusted}
            shown: Any = {"tls_certificate": ours.certificate, "tls_key": ours.key, "tls_alpn": ["hi"]}
            async with echowire.aio.call(at, **how, **shown) as peer:  # type: ignore[arg-type]
                assert await peer.recv() == b"me.example.org" and peer.tls_alpn == "hi"
            with pytest.raises(ProtocolError, match="give --tls-cert and --tls-key"):
                async with echowire.aio.call(at, **how) as peer:  # type: ignore[arg-type]
                    await peer.recv()

    run(main())


def said_by_both(endpoint: str, **how: Any) -> tuple[str, str]:
    """What the blocking call, and the awaited one, raise."""
    with pytest.raises(echowire.EchowireError) as blocking:
        echowire.call(endpoint, **how)

    async def main() -> None:
        await echowire.aio.call(endpoint, **how)

    with pytest.raises(type(blocking.value)) as awaited:
        asyncio.run(main())
    return str(blocking.value), str(awaited.value)


def test_errors_are_the_same(shop: Workshop, tmp_path: Path) -> None:
    port = free_port()
    for endpoint in (f"127.0.0.1:{port}", f"unix:{tmp_path}/none", "no-such-name.invalid:80"):
        blocking, awaited = said_by_both(endpoint)
        assert blocking == awaited
    blocking, awaited = said_by_both(f"localhost:{port}")
    assert blocking == awaited
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*shop.make("other.example.org").pair)
    with serving(lambda sock: sock.recv(1), tls=context) as tls_port:
        blocking, awaited = said_by_both(f"tls://127.0.0.1:{tls_port}", tls_authorities=shop.trusted)
        assert "it is for other.example.org, and not for 127.0.0.1" in awaited and blocking == awaited
    with serving(lambda sock: sock.sendall(b"+OK POP3\r\n" * 9)) as plain_port:
        blocking, awaited = said_by_both(f"tls://127.0.0.1:{plain_port}")
        assert "--starttls pop3" in awaited and blocking == awaited


def test_datagrams_that_nobody_takes_are_explained() -> None:
    async def main() -> None:
        async with echowire.aio.call(f"udp://127.0.0.1:{free_port()}") as peer:
            exchange = await peer.exchange(b"anybody?", timeout=5)
            assert isinstance(exchange.error, OperationError)
            assert "port unreachable (ICMP 3/3)" in str(exchange.error)

    run(main())


def test_a_reply_that_does_not_come() -> None:
    async def main() -> None:
        end = threading.Event()
        with serving(lambda sock: end.wait(PATIENCE_S)) as port:
            async with echowire.aio.call(f"127.0.0.1:{port}") as peer:
                with pytest.raises(NoReplyError, match=r"nothing came within 50\.0 ms \(our timer\)|within 50 ms"):
                    await peer.recv(timeout=0.05)
                with pytest.raises(NoReplyError, match="the peer has read nothing"):
                    await peer.send(bytes(50_000_000), timeout=0.05)
            with pytest.raises(NoReplyError, match="no answer in time"):
                await echowire.aio.call(f"tls://127.0.0.1:{port}", timeout=0.1)
            end.set()

    run(main())


def test_who_is_cancelled_while_it_receives_has_taken_nothing() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def late(peer: Peer) -> None:
            await go_on.wait()
            await peer.send(b"late")
            await peer.recv()

        async with echowire.aio.serve("tcp://127.0.0.1:0", handler=late) as server:
            async with echowire.aio.call(server.endpoint) as peer:
                task = asyncio.create_task(peer.recv())
                await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                go_on.set()
                assert await peer.recv() == b"late"

    run(main())


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:{}", "tls://127.0.0.1:{}"])
def test_who_is_cancelled_while_it_calls_leaves_nothing_open(url: str) -> None:
    """With a full queue of connections the SYN is dropped and connecting waits; with TLS the handshake does."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port, filling = listener.getsockname()[1], []
            if url.startswith("tcp"):
                for _ in range(4):
                    filling.append(socket.socket())
                    filling[-1].setblocking(False)
                    filling[-1].connect_ex(("127.0.0.1", port))
            before = descriptors()

            async def call() -> None:
                await echowire.aio.call(url.format(port))

            task = asyncio.create_task(call())
            await asyncio.sleep(0.1)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert descriptors() == before
            for sock in filling:
                sock.close()

    run(main())


def test_one_task_may_send_while_another_receives_and_no_two_receive() -> None:
    async def main() -> None:
        async with echowire.aio.serve("tcp://127.0.0.1:0") as server:
            async with echowire.aio.call(server.endpoint) as peer:
                receiving = asyncio.create_task(peer.recv_exactly(3_000_000))
                await asyncio.sleep(0)
                await peer.send(bytes(3_000_000))
                assert len(await receiving) == 3_000_000
                first = asyncio.create_task(peer.recv())
                await asyncio.sleep(0.01)
                with pytest.raises(UsageError, match="another task waits for it already"):
                    await peer.recv()
                await peer.send(b"x")
                assert await first == b"x"

    run(main())


def test_closing_wakes_who_waits() -> None:
    async def main() -> None:
        async with echowire.aio.serve("tcp://127.0.0.1:0") as server:
            peer = await echowire.aio.call(server.endpoint)
            task = asyncio.create_task(peer.recv())
            await asyncio.sleep(0.01)
            await peer.close()
            with pytest.raises(OperationError, match="it is closed"):
                await task
            await peer.close()

    run(main())


@pytest.mark.slow
@pytest.mark.parametrize("handler", [None, echo])
def test_a_thousand_connections_at_once_and_no_thread_for_them(handler: Any) -> None:
    async def main() -> None:
        before = threading.active_count()
        async with echowire.aio.serve("tcp://127.0.0.1:0", handler=handler) as server:
            peers = await asyncio.gather(*(echowire.aio.call(server.endpoint, timeout=60) for _ in range(1000)))
            assert threading.active_count() <= before + 64  # the pool that looked up the names
            echoes = await asyncio.gather(*(peer.echo(b"%d" % n) for n, peer in enumerate(peers)))
            assert echoes == [b"%d" % number for number in range(1000)]
            for peer in peers:
                await peer.close()
        assert server.summary.connections == 1000 and server.summary.failed == 0

    run(main())


def test_who_floods_does_not_keep_the_loop() -> None:
    async def main() -> None:
        async def flood(peer: Peer) -> None:
            while True:
                await peer.send(bytes(65_536))

        async with echowire.aio.serve("tcp://127.0.0.1:0", handler=echo) as server:
            async with echowire.aio.call(server.endpoint) as loud, echowire.aio.call(server.endpoint) as quiet:
                flooding = asyncio.create_task(flood(loud))
                draining = asyncio.create_task(loud.recv_exactly(1 << 40))
                for _ in range(20):
                    assert await quiet.echo(b"still there?", timeout=10) == b"still there?"
                for task in (flooding, draining):
                    task.cancel()
                await asyncio.gather(flooding, draining, return_exceptions=True)

    run(main())


def test_what_a_handler_raises_is_raised_at_the_end_and_a_reset_is_not() -> None:
    async def fail(peer: Peer) -> None:
        raise ValueError(f"no {(await peer.recv()).decode()}")

    async def main() -> None:
        with pytest.raises(HandlerError, match="the handler raised ValueError: no thanks"):
            async with echowire.aio.serve("tcp://127.0.0.1:0", handler=fail) as server:
                async with echowire.aio.call(server.endpoint) as peer:
                    await peer.send(b"thanks")
                    assert await peer.recv() == b""
        async with echowire.aio.serve("tcp://127.0.0.1:0", handler=echo) as server:
            peer = await echowire.aio.call(server.endpoint)
            await peer.echo(b"x")
            peer.channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.channel.socket.close()
            while not server.summary.failed and server._engine.connections:
                await asyncio.sleep(0.01)
        assert server.summary.failed == 1

    run(main())


def test_an_error_in_the_block_goes_on_with_the_handlers_beside_it() -> None:
    async def fail(peer: Peer) -> None:
        raise ValueError("thanks, no")

    async def main() -> None:
        with pytest.raises(ProtocolError) as caught:
            async with echowire.aio.serve("tcp://127.0.0.1:0", handler=fail) as server:
                async with echowire.aio.call(server.endpoint) as peer:
                    await peer.recv_exactly(4)
        assert "thanks, no" in "".join(caught.value.__notes__)

    run(main())


def test_limits_hold() -> None:
    events: list[Event] = []

    async def main() -> None:
        limits = Limits(connections=1, idle_s=0.1)
        at = "tcp://127.0.0.1:0"
        async with echowire.aio.serve(at, handler=echo, limits=limits, on_event=events.append) as server:
            async with echowire.aio.call(server.endpoint) as first, echowire.aio.call(server.endpoint) as second:
                assert await first.echo(b"x") == b"x"
                with pytest.raises((OperationError, ProtocolError)):
                    await second.recv_exactly(1)
                assert await first.recv() == b""

    run(main())
    assert any(isinstance(event, Refused) for event in events)
    [closed] = [event for event in events if isinstance(event, Closed)]
    assert closed.reason.startswith("idle for") and closed.received_bytes == closed.sent_bytes == 1


def test_closing_cancels_the_handlers_that_do_not_end() -> None:
    cancelled: list[bool] = []

    async def never(peer: Peer) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        server = await echowire.aio.serve("tcp://127.0.0.1:0", handler=never)
        async with echowire.aio.call(server.endpoint) as peer:
            while not server.summary.connections and not server._engine.connections:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            await server.close(drain_s=0.0)
            assert await peer.recv() == b""
        await server.close()

    run(main())
    assert cancelled == [True]


def test_a_program_without_asyncio_does_not_load_it() -> None:
    program = "import sys, echowire; echowire.call, echowire.serve; assert 'asyncio' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
