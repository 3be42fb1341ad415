"""No reply loop lives, and no client loses anything by that: with forged datagrams, in a network namespace.

A loop is dead when nothing is answered any more; how many datagrams it took until then is what is asserted.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from echowire.core.services import service_named
from echowire.engines.serving import loops
from echowire.engines.serving.base import Engine, Job
from echowire.engines.serving.loops import LoopWatch, Standing
from echowire.engines.serving.readiness import Readiness
from echowire.engines.serving.threads import Threads
from echowire.kernel.connections.listen import open_listeners
from echowire.model import Endpoint, Event, Limits, Refused
from echowire.testing import ManualClock
from tests import netns
from tests.forged import ForeignServer, foreign_server, forge
from tests.peers import needs_root
from tests.processes import PATIENCE_S

ENGINES: dict[str, type[Engine]] = {"readiness": Readiness, "threads": Threads}

TURNS_MAX = 400
"""Datagrams that one server has answered of a loop of one when it is dead. A peer is suspected once eight datagrams
that were looked at have come before, and at most sixteen pass between two looks: 130, and twice that where the look
that counts is at the other server. A loop that lives makes as many in a hundredth of a second."""

QUIET_S = 0.4
"""Without an answer for so long, four times what a trial keeps one back, a loop is dead."""


_NEVER = threading.Event()
"""To look again by the clock: what is waited for is that nothing happens."""

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
ROOM_BYTES = 4096
"""Of a receive buffer, what the kernel reckons for a small datagram at most."""


class Server:
    """An engine in a thread, and what it tells."""

    def __init__(self, kind: type[Engine], url: str, service: str = "echo", limits: Limits | None = None) -> None:
        self.events: list[Event] = []
        [self.listener] = open_listeners([[Endpoint.parse(url)]])
        self.endpoint = self.listener.endpoint
        job = Job([self.listener], service_named(service), limits=limits or Limits(datagrams_per_s=None))
        self.engine: Any = kind(job, self.events.append)
        self._thread = threading.Thread(target=self.engine.run)
        self._thread.start()

    @property
    def answered(self) -> int:
        """Datagrams sent so far."""
        return int(self.engine.tally.summary.datagrams_sent)

    @property
    def address(self) -> tuple[str, int]:
        """Where it is."""
        return self.endpoint.host, self.endpoint.port

    def reasons(self) -> list[str]:
        """Why it refused whom, so far."""
        return [event.reason for event in self.events if isinstance(event, Refused)]

    def stop(self) -> None:
        """End it."""
        self.engine.stop(0.0)
        self._thread.join()


@contextmanager
def server(kind: type[Engine], url: str = "udp://127.0.0.1:0", service: str = "echo", **more: Any) -> Iterator[Server]:
    """A server for a while."""
    made = Server(kind, url, service, **more)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> type[Engine]:
    return ENGINES[request.param]


@pytest.fixture
def host() -> Iterator[netns.Namespace]:
    """A host of its own, in which the test runs."""
    with netns.namespaces(1) as (made,), made.inside():
        yield made


def assert_dead(*servers: Server | ForeignServer, turns: int = TURNS_MAX, quiet_s: float = QUIET_S) -> int:
    """Wait until nobody answers any more; how many answers it took. None has answered more than `turns`."""
    before, since = -1, time.monotonic()
    while time.monotonic() < since + quiet_s:
        now = max(one.answered for one in servers)
        assert now <= turns, "the loop lives"
        if now != before:
            before, since = now, time.monotonic()
        _NEVER.wait(0.005)
    return before


@needs_root
class TestLoops:
    @pytest.mark.parametrize("other", ENGINES)
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    def test_two_echoes(self, host: netns.Namespace, engine: type[Engine], other: str, address: str) -> None:
        url = str(Endpoint("udp", address, 0).url)
        with server(engine, url) as first, server(ENGINES[other], url) as second:
            forge(None, second.address, first.address, b"for ever")
            assert_dead(first, second)
            assert any("answers" in reason for reason in first.reasons() + second.reasons())
            # Others are answered as before.
            assert echoes(first.endpoint, [b"hello"] * 20) == [b"hello"] * 20

    @pytest.mark.parametrize("size", [0, 1, 9000])
    def test_a_datagram_of_any_size(self, host: netns.Namespace, engine: type[Engine], size: int) -> None:
        with server(engine) as first, server(engine) as second:
            forge(None, second.address, first.address, b"x" * size)
            assert_dead(first, second)

    def test_with_itself(self, host: netns.Namespace, engine: type[Engine]) -> None:
        with server(engine) as alone:
            forge(None, alone.address, alone.address, b"for ever")
            assert_dead(alone, turns=16)
            assert alone.reasons() == ["it claims to come from this socket"]

    def test_with_itself_at_another_address(self, host: netns.Namespace, engine: type[Engine]) -> None:
        with server(engine, "udp://0.0.0.0:0") as alone:
            port = alone.endpoint.port
            for number in range(1, 9):
                forge(None, (f"127.0.0.{number}", port), (f"127.0.1.{number}", port), b"%d" % number)
            assert_dead(alone, turns=8 * 16)

    @pytest.mark.parametrize(
        "services", ["chargen daytime", "chargen chargen", "daytime qotd", "echo qotd", "time time", "echo chargen"]
    )
    def test_services(self, host: netns.Namespace, engine: type[Engine], services: str) -> None:
        one, other = services.split()
        with server(engine, service=one) as first, server(engine, service=other) as second:
            forge(None, second.address, first.address, b"?")
            assert_dead(first, second)

    @pytest.mark.parametrize("services", ["stamp stamp", "stamp echo", "echo stamp", "stamp chargen"])
    @pytest.mark.parametrize("size", [41, 44, 600])
    def test_reflectors(self, host: netns.Namespace, engine: type[Engine], services: str, size: int) -> None:
        one, other = services.split()
        packet = bytes(12) + b"\x00\x01" + bytes(size - 14)
        with server(engine, service=one) as first, server(engine, service=other) as second:
            forge(None, second.address, first.address, packet)
            assert_dead(first, second)
            assert first.answered

    def test_three_in_a_ring(self, host: netns.Namespace, engine: type[Engine]) -> None:
        with server(engine) as a, server(engine) as b, server(engine) as c:
            for source, target in ((a, b), (b, c), (c, a), (b, a), (c, b), (a, c)):
                forge(None, source.address, target.address, b"round")
            assert_dead(a, b, c, turns=4 * TURNS_MAX)

    @pytest.mark.parametrize("distinct", [False, True])
    def test_many_in_flight(self, host: netns.Namespace, engine: type[Engine], distinct: bool) -> None:
        """They come in bursts, as UDP_GRO makes them, and each pair of servers has them all under way at once."""
        with server(engine) as first, server(engine) as second:
            for number in range(64):
                forge(None, second.address, first.address, b"%03d" % (number if distinct else 0) + bytes(500))
            assert_dead(first, second, turns=64 * TURNS_MAX)

    def test_many_pairs(self, host: netns.Namespace, engine: type[Engine]) -> None:
        with server(engine) as first, server(engine, "udp://0.0.0.0:0") as second:
            for number in range(1000):
                source = f"127.1.{number // 250}.{number % 250 + 1}"
                forge(None, (source, second.endpoint.port), first.address, b"for ever")
            assert_dead(first, second, turns=1000 * TURNS_MAX)

    def test_with_a_foreign_echo(self, host: netns.Namespace, engine: type[Engine]) -> None:
        with server(engine) as ours, foreign_server(bound()) as theirs:
            forge(None, theirs.address, ours.address, b"for ever")
            assert_dead(ours, theirs)

    def test_with_a_slow_one(self, host: netns.Namespace, engine: type[Engine]) -> None:
        """Fifty turns a second: what is counted is datagrams, not time."""
        with server(engine) as ours, foreign_server(bound(), delay_s=0.02) as theirs:
            forge(None, theirs.address, ours.address, b"for ever")
            assert_dead(ours, theirs)

    def test_with_one_that_changes_what_it_sends_back(
        self, host: netns.Namespace, engine: type[Engine], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loops, "ANY_MAX", 50)
        counter = iter(range(1 << 60))
        with server(engine) as ours, foreign_server(bound(), lambda data: b"%d" % next(counter)) as theirs:
            forge(None, theirs.address, ours.address, b"0")
            assert_dead(ours, theirs, turns=16 * 150)

    def test_beyond_loopback(self, engine: type[Engine]) -> None:
        """Two hosts, and a third that begins it, in whose place any host may be."""
        with netns.chain(3) as hosts, ExitStack() as stack:
            made = []
            for at, address in ((hosts[0], "10.77.0.1"), (hosts[2], "10.77.1.2")):
                with at.inside():
                    made.append(stack.enter_context(server(engine, f"udp://{address}:0")))
            hosts[1].sysctl("net.ipv4.conf.all.rp_filter", 0)
            forge(hosts[1], made[0].address, made[1].address, b"for ever")
            assert_dead(*made)

    def test_behind_a_firewall_that_hides_the_second_port(
        self, engine: type[Engine], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loops, "TRIED_AGAIN_AFTER", 0)
        with netns.namespaces(2) as (ours, theirs):
            netns.link(ours, theirs, "10.0.0.1/24", "10.0.0.2/24")
            with ours.inside():
                made = Server(engine, "udp://10.0.0.1:7777")
            with ExitStack() as stack:
                stack.callback(made.stop)
                echo = stack.enter_context(foreign_server(bound("10.0.0.2", theirs), delay_s=0.01))
                theirs.nft("add rule inet test input udp sport != 7777 drop")
                forge(theirs, echo.address, made.address, b"for ever")
                assert_dead(made, echo, turns=3 * TURNS_MAX)
                assert "it never pauses and cannot be tried" in made.reasons()

    def test_unix_datagrams(self, engine: type[Engine], tmp_path: Path) -> None:
        with server(engine, f"unixgram:{tmp_path}/a") as first, server(engine, f"unixgram:{tmp_path}/b") as second:
            second.listener.socket.sendto(b"for ever", f"{tmp_path}/a")
            assert_dead(first, second)
            first.listener.socket.sendto(b"for ever", f"{tmp_path}/a")
            assert_dead(first)


def bound(address: str = "127.0.0.1", host: netns.Namespace | None = None, family: int = socket.AF_INET) -> Any:
    """A datagram socket at a free port."""
    sock = socket.socket(family, socket.SOCK_DGRAM) if host is None else host.socket(family, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock


def echoes(endpoint: Endpoint, messages: list[bytes]) -> list[bytes]:
    """What comes back, one by one."""
    with socket.socket(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(PATIENCE_S)
        peer.connect((endpoint.host, endpoint.port))
        answers = []
        for message in messages:
            peer.send(message)
            answers.append(peer.recv(100))
        return answers


# Clients: each sends the same message over and over, which is what a loop looks like, and gets every echo.

DATAGRAMS = 12_000
"""Enough for several trials, with those made to come again soon."""


@pytest.fixture
def often_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "TRIED_AGAIN_AFTER", 100)


def exchange(peer: socket.socket, send: Callable[[bytes], object], window: int, count: int) -> list[Any]:
    """Keep `window` datagrams under way until `count` were sent; where the answers came from, in order."""
    peer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE if os.geteuid() == 0 else socket.SO_RCVBUF, 4 << 20)
    window = min(window, peer.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // ROOM_BYTES)
    sources = []
    for _ in range(window):
        send(b"the same again")
    for number in range(count):
        data, source = peer.recvfrom(100)
        assert data == b"the same again"
        sources.append(source)
        if number + window < count:
            send(b"the same again")
    return sources


@pytest.mark.usefixtures("often_tried")
@pytest.mark.parametrize("window", [1, 16, 256])
class TestClients:
    @pytest.mark.parametrize("url", ["udp://127.0.0.1:0", "udp://[::1]:0", "udp://:0"])
    def test_a_connected_one(self, engine: type[Engine], window: int, url: str) -> None:
        with server(engine, url) as ours:
            family = socket.AF_INET6 if "::1" in url else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as peer:
                peer.settimeout(PATIENCE_S)
                peer.connect(("::1" if "::1" in url else "127.0.0.1", ours.endpoint.port))
                exchange(peer, peer.send, window, DATAGRAMS)
                assert not more(peer)
            assert (ours.answered, ours.reasons()) == (DATAGRAMS, [])

    def test_one_that_is_not_connected(self, engine: type[Engine], window: int) -> None:
        """A trial's answer is from another port. It comes a second time, from the right one."""
        with server(engine) as ours, bound() as peer:
            peer.settimeout(PATIENCE_S)
            send = partial(send_to, peer, ours.address)
            sources = exchange(peer, send, window, DATAGRAMS)
            sources += more(peer)
            assert len(sources) - sources.count(ours.address) > 0, "nobody was tried"
            assert sources.count(ours.address) == DATAGRAMS
            assert ours.reasons() == []

    def test_a_unix_one(self, engine: type[Engine], window: int, tmp_path: Path) -> None:
        with server(engine, f"unixgram:{tmp_path}/a") as ours, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind("")
            peer.settimeout(PATIENCE_S)
            peer.connect(f"{tmp_path}/a")
            exchange(peer, peer.send, min(window, 8), DATAGRAMS)
            assert not more(peer)
            assert (ours.answered, ours.reasons()) == (DATAGRAMS, [])

    @needs_root
    def test_one_on_another_host(self, engine: type[Engine], window: int) -> None:
        with netns.namespaces(2) as (here, there):
            netns.link(here, there, ("10.0.0.1/24", "fd00::1/64"), ("10.0.0.2/24", "fd00::2/64"))
            with here.inside():
                ours = Server(engine, "udp://:7777", limits=Limits(datagrams_per_s=None, datagram_bytes_per_s=None))
            try:
                for family, address in ((socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "fd00::1")):
                    with there.socket(family, socket.SOCK_DGRAM) as peer:
                        peer.settimeout(PATIENCE_S)
                        peer.connect((address, 7777))
                        exchange(peer, peer.send, window, DATAGRAMS)
                        assert not more(peer)
            finally:
                ours.stop()
            assert ours.reasons() == []


@needs_root
@pytest.mark.usefixtures("often_tried")
def test_a_client_behind_a_firewall_loses_nothing(engine: type[Engine]) -> None:
    """Its firewall lets in only what it asked for: the answer of a trial is late, and comes."""
    with netns.namespaces(2) as (here, there):
        netns.link(here, there, "10.0.0.1/24", "10.0.0.2/24")
        there.nft("add rule inet test input udp sport != 7777 drop")
        with here.inside():
            ours = Server(engine, "udp://10.0.0.1:7777")
        try:
            with there.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.settimeout(PATIENCE_S)
                peer.connect(("10.0.0.1", 7777))
                exchange(peer, peer.send, 1, 400)
                assert not more(peer)
        finally:
            ours.stop()
        assert ours.reasons() == []


def test_what_a_trial_keeps_back_is_sent_at_the_end(engine: type[Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that looks where an answer is from, and the server ends before it is sent again."""
    monkeypatch.setattr("echowire.engines.serving.trials.RESEND_S", 3600.0)
    with bound() as peer:
        peer.settimeout(PATIENCE_S)
        with server(engine) as ours:
            sources: list[Any] = []
            while not sources or sources[-1] == ours.address:
                peer.sendto(b"the same again", ours.address)
                sources.append(peer.recvfrom(100)[1])
        assert more(peer) == [ours.address]


def send_to(peer: socket.socket, address: Any, data: bytes) -> None:
    peer.sendto(data, address)


def more(peer: socket.socket) -> list[Any]:
    """Where those are from that come late, until none comes for twice as long as a trial keeps one back."""
    peer.settimeout(0.25)
    late = []
    try:
        while True:
            late.append(peer.recvfrom(100)[1])
    except TimeoutError:
        return late


# What is suspected, with no socket at all.


def watch(**options: Any) -> LoopWatch:
    return LoopWatch(lambda address: False, ManualClock(), **options)


@pytest.mark.parametrize("period", [1, 2, 3, 7, 64, 1000])
def test_what_comes_again_is_suspected(period: int) -> None:
    watched = watch()
    cycle = [b"%d" % number for number in range(period)]
    for turn in range(40 * max(period, 8)):
        if watched.note("peer", bytearray(cycle[turn % period] + b"filling"), 10) is Standing.SUSPECT:
            return
    pytest.fail("a loop is not suspected")


def test_what_differs_is_not_but_after_a_million() -> None:
    watched = watch()
    suspected = [
        number
        for number in range(2 * loops.ANY_MAX)
        if watched.note("peer", bytearray(b"%d" % number), 10) is Standing.SUSPECT
    ]
    assert suspected and suspected[0] >= loops.ANY_MAX - 2


def test_whoever_asks_for_a_text_is_suspected() -> None:
    watched = watch(by_content=False)
    standings = [watched.note("peer", bytearray(b"%d" % number), 1) for number in range(loops.COME_AGAIN_MAX + 1)]
    assert standings[:-1] == [Standing.FREE] * loops.COME_AGAIN_MAX and standings[-1] is Standing.SUSPECT


def test_a_flood_of_forged_addresses_neither_grows_it_nor_hides_a_loop() -> None:
    watched = watch()
    for number in range(loops.WATCHED_MAX + 1000):
        watched.note(("flood", number), bytearray(b"x"), 1)
    assert len(watched._watched) == loops.WATCHED_MAX
    for turn in range(10_000):
        for number in range(50):
            watched.note(("flood", 1_000_000 + 50 * turn + number), bytearray(b"x"), 1)
        if watched.note("loop", bytearray(b"again"), 5) is Standing.SUSPECT:
            break
    else:
        pytest.fail("the loop is not suspected")
    assert turn < 1000
    for number in range(loops.BARRED_MAX + 1000):
        watched.bar(number)
    assert len(watched.barred) == loops.BARRED_MAX


def test_who_is_barred_is_so_for_a_while() -> None:
    clock = ManualClock()
    watched = LoopWatch(lambda address: address == "self", clock)
    assert watched.note("self", bytearray(), 0) is Standing.OWN
    assert watched.note("self", bytearray(), 0) is Standing.BARRED
    watched.bar("server")
    assert watched.note("server", bytearray(), 0) is Standing.BARRED and watched.is_barring()
    clock.advance(loops.BARRED_S)
    assert watched.note("server", bytearray(), 0) is Standing.FREE
    assert not watched.is_barring()
