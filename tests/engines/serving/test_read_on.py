"""Connections whose window the kernel takes back go on, on every engine (`kernel/connections/window_retraction.py`)."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme

from echowire.core.services import ECHO, Service, service_named
from echowire.engines.serving.base import Engine, Job
from echowire.engines.serving.in_kernel import SIOCINQ, Kernel, bytes_in, prove
from echowire.engines.serving.read_on import (
    GIVE_UP_S,
    READ_ON_ALL_BYTES,
    READ_ON_TIMES,
    STANDSTILL_S,
    UNHEARD,
    Standstills,
)
from echowire.engines.serving.readiness import Readiness
from echowire.engines.serving.serving import Serving
from echowire.engines.serving.threads import Threads
from echowire.kernel.bpf import echo_map
from echowire.kernel.connections.listen import open_listeners
from echowire.kernel.connections.window_retraction import Account, CutOff
from echowire.model import Endpoint, Event, Limits
from echowire.testing import PATIENCE_S, ManualClock, Peer, TlsPeer, receive_exactly
from tests.overrun import LARGE, PIECE, TRIES, account, has_room_in_time, time_passes, write

BUFFER_BYTES = 128 * 1024
"""The server's receive buffer, and so that it does not grow; the kernel doubles it."""

HELD_S = 0.4
"""Of a server that has left bytes unread for so long it is taken that it waits to write: longer than TCP waits (200 ms)
until it sends into the rest of a window that is too small for a whole segment, after which there is room once more."""

FULL_S = 0.5
"""Of a window that has not taken a byte for so long it is taken that it is full."""


class Served:
    """An engine at work, whose receive buffers are small and of a fixed size, as an operator may set them."""

    def __init__(self, engine: Engine, port: int) -> None:
        self.engine, self.address = engine, ("127.0.0.1", port)

    def socket_of(self, peer: socket.socket) -> socket.socket:
        """The server's end of the connection of `peer`."""
        pause = threading.Event()
        for _ in range(1000):
            if isinstance(self.engine, Serving):
                socks = [connection.sock for connection in tuple(self.engine.connections)]
            else:
                assert isinstance(self.engine, Threads)
                socks = list(self.engine._open.values())
            for sock in socks:
                with suppress(OSError):  # one that ends just now
                    if sock.getpeername() == peer.getsockname():
                        return sock
            pause.wait(0.01)
        raise AssertionError("the server has not accepted")


@contextmanager
def serving(
    engine: type[Engine], monkeypatch: pytest.MonkeyPatch, service: Service = ECHO, tls: ssl.SSLContext | None = None
) -> Iterator[Served]:
    if engine.name == "kernel" and (reason := prove()):
        pytest.skip(reason)
    monkeypatch.setattr(echo_map, "RECEIVE_BUFFER_BYTES", BUFFER_BYTES)
    [listener] = open_listeners([[Endpoint("tls" if tls else "tcp", "127.0.0.1", 0)]], tls=tls)
    listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    events: list[Event] = []
    at_work = engine(Job([listener], service), events.append)
    thread = threading.Thread(target=at_work.run, name="engine under test")
    thread.start()
    try:
        yield Served(at_work, listener.endpoint.port)
    finally:
        at_work.stop(0.0)
        thread.join()


def connected(served: Served, tls: ssl.SSLContext | None = None) -> tuple[Peer, socket.socket]:
    """A peer, and the server's end of its connection."""
    sock = socket.create_connection(served.address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SlowTlsPeer(sock, tls) if tls else sock, served.socket_of(sock)


def reads(server: socket.socket) -> bool:
    """Whether the server takes all that has come. A socket to which nothing more can be written does not show it:
    whoever wakes late finds room again.
    """
    until, before = 0.0, -1
    while unread := bytes_in(server.fileno(), SIOCINQ):
        if unread != before:
            until, before = time.monotonic() + HELD_S, unread
        elif time.monotonic() > until:
            return False
        time_passes(0.0005)
    return True


def overrun(peer: Peer, server: socket.socket) -> bytes | None:
    """Write without reading: until the server waits to write, and then, byte by byte, until its receive buffer has
    overrun. What was written; None where the window was full first, as it may be.
    """
    written = bytearray()
    peer.setblocking(False)
    while reads(server):
        written += LARGE[: write(peer, LARGE)]
    # What is left unread now is of large segments, of which a buffer has room for as much as it promises.
    drops = account(server).drops
    while True:
        written += PIECE
        # Under TLS too it is TCP's segments that are small, not what is in a record.
        sock, octets = peer.records_of(PIECE) if isinstance(peer, SlowTlsPeer) else (peer, PIECE)
        for octet in octets:
            until = time.monotonic() + FULL_S
            while not write(sock, bytes([octet])):
                if time.monotonic() > until:
                    return None
        if (seen := account(server)).has_overrun and seen.drops > drops:
            return bytes(written)


class SlowTlsPeer(TlsPeer):
    """One whose records may be sent in pieces."""

    def records_of(self, data: bytes) -> tuple[socket.socket, bytes]:
        """The socket on which all of these are to be sent."""
        self._tls.write(data)
        return self._sock, self._outgoing.read()


CASES = [
    (Kernel, "echo", False),
    (Readiness, "echo", False),
    (Threads, "echo", False),
    (Readiness, "echo", True),
    (Threads, "echo", True),
    (Threads, "chargen", False),
]


@pytest.mark.parametrize(("engine", "name", "encrypted"), CASES)
def test_who_waits_to_write_reads_on_when_its_buffer_has_overrun(
    engine: type[Engine], name: str, encrypted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = contexts_of_tls() if encrypted else (None, None)
    with serving(engine, monkeypatch, service_named(name), contexts[0]) as served:
        for _ in range(TRIES):
            peer, server = connected(served, contexts[1])
            with peer:
                if (written := overrun(peer, server)) is None:
                    continue
                # The peer still does not read: only the server can make room.
                assert has_room_in_time(server)
                peer.settimeout(PATIENCE_S)
                if name == "echo":
                    assert receive_exactly(peer, len(written)) == written
                return
    pytest.skip("nothing was tested: no buffer overran")


def test_what_is_read_on_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Readiness, monkeypatch) as served:
        peer, server = connected(served)
        assert isinstance(served.engine, Readiness)
        [connection] = served.engine.connections
        with peer:
            written = bytearray()
            peer.setblocking(False)
            until, most = time.monotonic() + 8 * STANDSTILL_S, 0
            while time.monotonic() < until:
                # Bytes beside large segments, so that there is always something to be dropped.
                written += LARGE[: write(peer, LARGE)]
                for _ in range(100):
                    written += LARGE[: write(peer, LARGE[:1])]
                most = max(most, connection.waiting_bytes)
            assert most <= max(READ_ON_TIMES.values()) * account(server).buffer + Limits().queue_bytes
            peer.settimeout(PATIENCE_S)
            assert receive_exactly(peer, len(written)) == written


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ((100, 100, 0, 0), (100, 100, 0, 0), CutOff.NO),  # full, as a buffer may be
        ((101, 100, 0, 0), (101, 100, 0, 0), CutOff.NO),  # the last segment fitted in just so
        ((100, 100, 1, 0), (100, 100, 2, 0), CutOff.NO),  # a probe of our closed window
        ((101, 100, 1, 0), (101, 100, 2, 0), CutOff.LIKELY),
        ((100, 100, 0, 0), (100, 100, 0, 1), CutOff.NO),  # the path has failed
        ((101, 100, 0, 0), (101, 100, 0, 1), CutOff.SURELY),
        ((100, 100, 1, 0), (100, 100, 2, 1), CutOff.NO),  # a question on its way, beside a probe
        ((100, 100, 1, 1), (100, 100, 2, 2), CutOff.SURELY),
        ((101, 100, 1, 3), (101, 100, 1, 3), CutOff.NO),  # not asked again
        ((101, 100, 1, 3), (101, 100, 2, 0), CutOff.LIKELY),  # answered
    ],
)
def test_when_a_connection_is_taken_to_be_cut_off(
    before: tuple[int, int, int, int], now: tuple[int, int, int, int], verdict: CutOff
) -> None:
    assert Account(*now).cut_off(Account(*before)) is verdict


class Stuck:
    """A connection that never moves, and is cut off: TCP asks again and again."""

    def __init__(self, waiting_bytes: int) -> None:
        self.mark, self.waiting_bytes = (1, 1), waiting_bytes
        self.limits: list[int] = []
        self.reasons: list[str] = []
        self._asked = 0

    @property
    def account(self) -> Account:
        self._asked += 1
        return Account(101, 100, 0, self._asked)

    def read_on(self, limit: int) -> None:
        self.limits.append(limit)
        self.mark = (self.mark[0] + 1, self.mark[1])

    def reset(self, reason: str) -> None:
        self.reasons.append(reason)


def test_beyond_its_limit_a_connection_that_is_cut_off_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr("echowire.engines.serving.read_on.time.monotonic", clock)
    standstills, below, beyond = Standstills(), Stuck(399), Stuck(400)
    for _ in range(int(GIVE_UP_S / STANDSTILL_S) + 1):
        assert not beyond.reasons
        standstills.look(below)
        standstills.look(beyond)
        clock.advance(STANDSTILL_S)
    assert beyond.reasons == [UNHEARD] and not beyond.limits
    assert set(below.limits) == {400} and not below.reasons


def test_all_that_is_read_on_together_has_a_limit() -> None:
    standstills, greedy, other = Standstills(), Stuck(0), Stuck(0)
    for held in (greedy, greedy, other):
        standstills.look(held)
    greedy.waiting_bytes = READ_ON_ALL_BYTES
    standstills.look(other)
    assert not other.limits
    standstills.leave(greedy)
    standstills.look(other)
    assert other.limits == [400]


def contexts_of_tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
