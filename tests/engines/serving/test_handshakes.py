"""What TLS costs those who do not finish a handshake, or do not read: objects, memory, and whose time."""

from __future__ import annotations

import gc
import os
import random
import resource
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from echowire.engines.serving import handshakes
from echowire.engines.serving.base import Engine, Job
from echowire.engines.serving.handshakes import Handshakes
from echowire.engines.serving.loop import Loop
from echowire.engines.serving.readiness import Readiness
from echowire.engines.serving.threads import Threads
from echowire.kernel.connections.listen import open_listeners
from echowire.kernel.memory import give_back
from echowire.model import Closed, Endpoint, Event
from tests.processes import PATIENCE_S, serving

SILENT = 600
NOT_READING = 40

KEPT_BYTES_MAX = 12 << 20
"""Resident memory that may be left of all of them. Before there was a budget it was a hundred megabytes."""

CLIENT_HELLO_BEGINS = b"\x16\x03\x01"
"""A record's type and version (RFC 8446 section 5.1)."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture(params=[Readiness, Threads])
def engine(request: pytest.FixtureRequest) -> type[Engine]:
    kind: type[Engine] = request.param
    return kind


class Server:
    """An engine that serves TLS in a thread."""

    def __init__(self, kind: type[Engine], context: ssl.SSLContext) -> None:
        self.events: list[Event] = []
        [self._listener] = open_listeners([[Endpoint("tls", "127.0.0.1", 0)]], tls=context)
        self.address = ("127.0.0.1", self._listener.endpoint.port)
        self.engine: Any = kind(Job([self._listener]), self.events.append)
        self._thread = threading.Thread(target=self.engine.run)
        self._thread.start()

    def closed(self) -> list[str]:
        """Why connections were closed, so far."""
        return [event.reason for event in self.events if isinstance(event, Closed)]

    def stop(self) -> None:
        """End it."""
        self.engine.stop(0.0)
        self._thread.join()


@contextmanager
def server(kind: type[Engine], certificate: trustme.LeafCert) -> Iterator[Server]:
    """A server for a while."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    made = Server(kind, context)
    try:
        yield made
    finally:
        made.stop()


def wait_until(holds: Callable[[], bool]) -> None:
    pause, until = threading.Event(), time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it does not come to that"
        pause.wait(0.01)


def objects_of_openssl() -> int:
    """Connections that OpenSSL knows of in this process."""
    return sum(isinstance(thing, ssl.SSLObject | ssl.SSLSocket) for thing in gc.get_objects())


def has_begun(serving_it: Server, count: int) -> bool:
    """Whether so many handshakes have begun at a server, those that have ended among them."""
    engine = serving_it.engine
    under_way = engine._under_way if isinstance(engine, Threads) else engine._acceptors[0]._make.args[1].under_way
    return len(under_way) + len(serving_it.closed()) >= count


def client(authority: trustme.CA, address: tuple[str, int]) -> ssl.SSLSocket:
    """A connected client, after its handshake."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context.wrap_socket(socket.create_connection(address, PATIENCE_S), server_hostname="localhost")


def test_who_says_nothing_costs_a_socket_alone(engine: type[Engine], certificate: trustme.LeafCert) -> None:
    before = objects_of_openssl()
    with server(engine, certificate) as serving_it, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(serving_it.address))
        wait_until(lambda: serving_it.engine.tally.active == 100)
        assert objects_of_openssl() == before


def test_of_too_many_handshakes_the_eldest_end(
    engine: type[Engine], authority: trustme.CA, certificate: trustme.LeafCert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "UNDER_WAY_MAX", 5)
    before = objects_of_openssl()
    with server(engine, certificate) as serving_it, ExitStack() as stack:
        begun = [stack.enter_context(socket.create_connection(serving_it.address)) for _ in range(20)]
        for number, peer in enumerate(begun):
            peer.sendall(CLIENT_HELLO_BEGINS)
            wait_until(partial(has_begun, serving_it, number + 1))
        for peer in begun[:15]:
            peer.settimeout(PATIENCE_S)
            assert peer.recv(1) == b"", "one of the eldest goes on"
        wait_until(lambda: len(serving_it.closed()) == 15)
        assert objects_of_openssl() - before <= 5
        assert all("TLS failed" in reason for reason in serving_it.closed())
        # Who can finish one is not kept out.
        with client(authority, serving_it.address) as other:
            other.sendall(b"hello")
            assert other.recv(10) == b"hello"
        assert not select.select(begun[-4:], [], [], 0)[0]


def test_what_has_ended_leaves_no_object(
    engine: type[Engine], authority: trustme.CA, certificate: trustme.LeafCert
) -> None:
    before = objects_of_openssl()
    with server(engine, certificate) as serving_it:
        for number in range(10):
            with client(authority, serving_it.address) as peer:
                peer.sendall(b"hello")
                assert peer.recv(10) == b"hello"
                if number % 2:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # it resets
            del peer
        wait_until(lambda: len(serving_it.closed()) == 10)
        # Without a collection, and before the handshakes would have been given up.
        wait_until(lambda: objects_of_openssl() == before)


@pytest.mark.parametrize("name", ["readiness", "threads"])
def test_memory_comes_back(name: str, authority: trustme.CA, certificate: trustme.LeafCert, tmp_path: Path) -> None:
    if not give_back():
        pytest.skip("this C library has no malloc_trim")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < SILENT + NOT_READING + 100:
        pytest.skip("too few descriptors")
    pem = tmp_path / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    with serving("tls://127.0.0.1:0", "--tls-cert", str(pem), "--engine", name, sockets=1) as process:
        address = ("127.0.0.1", process.port)
        heard = threading.Thread(target=_read_all, args=(process.process.stdout,))
        with client(authority, address) as bystander:
            bystander.sendall(b"hello")
            assert bystander.recv(10) == b"hello"
            before = resident_bytes(process.process.pid)
            heard.start()
            with ExitStack() as stack:
                for _ in range(SILENT):
                    stack.enter_context(socket.create_connection(address))
                not_reading = [stack.enter_context(client(authority, address)) for _ in range(NOT_READING)]
                fill(not_reading)
            wait_until(lambda: resident_bytes(process.process.pid) < before + KEPT_BYTES_MAX)
            bystander.sendall(b"still")
            assert bystander.recv(10) == b"still"
        process.process.terminate()
        heard.join()


def fill(peers: list[ssl.SSLSocket]) -> None:
    """Send on all until none takes more."""
    data, poll, by_descriptor = random.Random(0).randbytes(16_384), select.poll(), {}
    for peer in peers:
        peer.setblocking(False)
        poll.register(peer, select.POLLOUT)
        by_descriptor[peer.fileno()] = peer
    while ready := poll.poll(200):
        for descriptor, _ in ready:
            try:
                by_descriptor[descriptor].send(data)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass


def _read_all(stream: Any) -> None:
    for _ in stream:
        pass


def resident_bytes(pid: int) -> int:
    """What a process has in memory (statm, proc(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_handshakes_have_their_part_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "ROUND_S", 1e-9)
    loop = Loop()
    budget, done = Handshakes(loop), list[int]()
    assert budget.step(lambda: done.append(1))
    assert not budget.step(lambda: done.append(2))
    loop.after(0.0, loop.finish)
    loop.run()  # a round
    assert budget.step(lambda: done.append(3))
    assert done == [1, 3]
    loop.close()
