"""What every engine must pass, whatever it is made of: a suite for streams and one for datagrams."""

from __future__ import annotations

import hashlib
import random
import select
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from echowire.core.services import CHARGEN_PATTERN, SECONDS_1900_TO_1970, service_named
from echowire.engines.serving.base import Engine, Handler, Job, Report
from echowire.kernel.connections.listen import open_listeners
from echowire.model import Accepted, Closed, Endpoint, Event, Limits, Refused, Stopped, Summary
from echowire.testing.peers import (
    HELD_MAX,
    PATIENCE_S,
    Peer,
    TlsPeer,
    digest_of_fill,
    echo_to_the_end,
    ends,
    exchange,
    fill,
    half_close,
    noise,
    receive_digest,
    receive_exactly,
    reset,
    running_thread,
    wait_until_blocked,
)


@dataclass(slots=True)
class Running:
    """An engine at work, and what it has reported."""

    engine: Engine
    endpoints: Sequence[Endpoint]
    events: list[Event] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    thread: threading.Thread | None = None

    def report(self, event: Event) -> None:
        """Take an event from the engine."""
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def wait_for(self, kind: type[Event], count: int = 1) -> list[Event]:
        """Wait until `count` events of `kind` have come, and return all of them."""
        with self.changed:
            found = self.changed.wait_for(lambda: self.count(kind) >= count, PATIENCE_S)
            assert found, f"{self.count(kind)} of {count} {kind.__name__} came: {self.events[-5:]}"
            return [event for event in self.events if isinstance(event, kind)]

    def count(self, kind: type[Event]) -> int:
        """How many events of `kind` have come."""
        return sum(isinstance(event, kind) for event in self.events)

    def wait_for_end(self) -> Summary:
        """Wait until the engine has ended; its summary."""
        assert self.thread is not None
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the engine did not end"
        return next(event.summary for event in self.events if isinstance(event, Stopped))

    def finish(self) -> Summary:
        """Stop it, after a moment for connections that were just closed; its summary."""
        self.engine.stop(PATIENCE_S)
        return self.wait_for_end()


class Conformance:
    """What both suites share: an engine, started on endpoints of the suite's kind."""

    url: str
    """Where to serve, with port 0, or with `{folder}` for a Unix socket."""
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
    """The server's and the client's context, for `tls://`."""

    def make_engine(self, job: Job, report: Report) -> Engine:
        """The engine under test."""
        raise NotImplementedError

    @contextmanager
    def serving(
        self,
        *urls: str,
        service: str = "echo",
        handler: Handler | None = None,
        limits: Limits | None = None,
    ) -> Iterator[Running]:
        """Serve `url`, or `urls`; at the end the engine must end too."""
        with tempfile.TemporaryDirectory(prefix="echowire-") as folder:
            endpoints = [Endpoint.parse(url.format(folder=folder)) for url in urls or (self.url,)]
            listeners = open_listeners([[at] for at in endpoints], tls=self.tls[0] if self.tls else None)
            job = Job(listeners, service_named(service), handler, limits or Limits())
            at_work = Running(None, [listener.endpoint for listener in listeners])  # type: ignore[arg-type]
            at_work.engine = self.make_engine(job, at_work.report)
            at_work.thread = threading.Thread(target=at_work.engine.run, name="engine under test")
            at_work.thread.start()
            try:
                yield at_work
            finally:
                at_work.engine.stop(0.0)
                at_work.wait_for_end()

    def socket_for(self, endpoint: Endpoint) -> tuple[socket.socket, Any]:
        """An unconnected socket of the endpoint's kind, and the address to connect it to."""
        kind = socket.SOCK_STREAM if endpoint.is_stream else socket.SOCK_DGRAM
        if endpoint.is_unix:
            address: Any = endpoint.path
            sock = socket.socket(socket.AF_UNIX, kind)
        else:
            family, _, _, _, address = socket.getaddrinfo(endpoint.host or "127.0.0.1", endpoint.port, 0, kind)[0]
            sock = socket.socket(family, kind)
        sock.settimeout(PATIENCE_S)
        return sock, address


class StreamConformance(Conformance):
    """Connections: TCP by default; set `url` for Unix sockets, IPv6 or TLS."""

    url = "tcp://127.0.0.1:0"

    def connect(self, at_work: Running) -> Peer:
        """A connected blocking socket with a timeout; encrypted where the endpoint is."""
        sock, address = self.socket_for(at_work.endpoints[0])
        sock.connect(address)
        return TlsPeer(sock, self.tls[1]) if self.tls else sock

    def test_whole_messages_of_every_size_come_back(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as peer:
            for size in (1, 2, 3, 63, 64, 1023, 65_535, 65_536, 65_537, 262_144, 262_145, 1_048_576):
                message = noise(size)
                assert exchange(peer, message) == message, size

    def test_byte_by_byte(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as peer:
            for byte in range(256):
                peer.sendall(bytes([byte]))
                assert receive_exactly(peer, 1) == bytes([byte])

    def test_an_urgent_byte_comes_back_in_its_place(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as peer:
            if not isinstance(peer, socket.socket):
                return  # TLS has no urgent bytes; one would be a fault in a record
            peer.sendall(b"abc")
            try:
                peer.send(b"!", socket.MSG_OOB)
            except OSError:
                assert peer.family == socket.AF_UNIX, "TCP has urgent bytes everywhere"
                return
            peer.sendall(b"def")
            assert receive_exactly(peer, 7) == b"abc!def"
            half_close(peer)
            assert peer.recv(1) == b""

    def test_half_close_without_a_byte_closes(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as peer:
            half_close(peer)
            assert peer.recv(1) == b""
            [closed] = at_work.wait_for(Closed)
            assert isinstance(closed, Closed) and closed.ok and closed.received_bytes == 0

    def test_after_the_half_close_the_rest_comes_and_then_the_end(self) -> None:
        message = noise(8 * 1024 * 1024)
        with self.serving() as at_work, self.connect(at_work) as peer:
            assert echo_to_the_end(peer, message) == message
            [closed] = at_work.wait_for(Closed)
            assert isinstance(closed, Closed)
            assert (closed.received_bytes, closed.sent_bytes, closed.ok) == (len(message), len(message), True)

    def test_a_reset_loses_that_connection_alone(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as healthy:
            for _ in range(20):
                peer = self.connect(at_work)
                peer.sendall(noise(100_000))
                reset(peer)
                assert exchange(healthy, b"still here") == b"still here"
            at_work.wait_for(Closed, 20)
            assert exchange(healthy, b"and after") == b"and after"

    def test_a_peer_that_does_not_read_is_not_read_from(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as slow, self.connect(at_work) as healthy:
            sent = fill(slow)
            assert sent < HELD_MAX, "the server takes in without end what it cannot send back"
            assert exchange(healthy, b"unhindered") == b"unhindered"
            slow.settimeout(PATIENCE_S)
            assert receive_digest(slow, sent) == digest_of_fill(sent)

    def test_slow_reader_and_fast_writer_lose_nothing(self) -> None:
        total = 64 * 1024 * 1024
        with self.serving() as at_work, self.connect(at_work) as peer:
            wanted, got = hashlib.sha256(), hashlib.sha256()
            chunk = noise(1_000_003)

            def write() -> None:
                left = total
                while left:
                    part = chunk[: min(left, len(chunk))]
                    wanted.update(part)
                    peer.sendall(part)
                    left -= len(part)
                half_close(peer)

            with running_thread(write):
                # Until the writer is held back nothing is read at all; then in uneven pieces.
                wait_until_blocked(peer)
                sizes = random.Random(7)
                while data := peer.recv(sizes.choice((1, 1000, 65_536, 1_000_000))):
                    got.update(data)
            assert got.digest() == wanted.digest()

    def test_ten_thousand_tiny_writes(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as peer:
            pieces = [noise(1 + number % 7) for number in range(10_000)]

            def write() -> None:
                for piece in pieces:
                    peer.sendall(piece)

            with running_thread(write):
                assert receive_exactly(peer, sum(map(len, pieces))) == b"".join(pieces)

    def test_many_connections_at_once(self) -> None:
        with self.serving() as at_work, ExitStack() as held:
            peers: list[Any] = [held.enter_context(self.connect(at_work)) for _ in range(200)]
            for round_number in range(3):
                for number, peer in enumerate(peers):
                    peer.sendall(b"%d/%d" % (round_number, number))
                for number, peer in enumerate(peers):
                    expected = b"%d/%d" % (round_number, number)
                    assert receive_exactly(peer, len(expected)) == expected

    def test_the_limit_of_connections_closes_a_further_one_at_once(self) -> None:
        with self.serving(limits=Limits(connections=2)) as at_work:
            with self.connect(at_work) as first, self.connect(at_work) as second:
                assert exchange(first, b"1") + exchange(second, b"2") == b"12"
                sock, address = self.socket_for(at_work.endpoints[0])
                with sock:
                    sock.connect(address)
                    assert ends(sock)
                assert len(at_work.wait_for(Refused)) == 1
                assert exchange(first, b"still here") == b"still here"
            at_work.wait_for(Closed, 2)
            with self.connect(at_work) as third:
                assert exchange(third, b"3") == b"3"
            assert at_work.finish().refused == 1

    def test_idle_connections_are_closed_and_busy_ones_are_not(self) -> None:
        with self.serving(limits=Limits(idle_s=0.4)) as at_work, self.connect(at_work) as busy:
            with self.connect(at_work) as idle:
                pause = threading.Event()
                while not at_work.count(Closed):
                    assert exchange(busy, b"busy") == b"busy"
                    pause.wait(0.05)
                assert ends(idle)
            assert exchange(busy, b"busy") == b"busy"

    def test_stop_lets_connections_finish(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as peer:
            assert exchange(peer, b"before") == b"before"
            at_work.engine.stop(PATIENCE_S)
            wait_until_refused(self, at_work)
            assert exchange(peer, b"after") == b"after"
            half_close(peer)
            assert peer.recv(1) == b""
            at_work.wait_for_end()
            # The attempts to connect may have been accepted, too, and closed.
            carried = [event for event in at_work.events if isinstance(event, Closed) and event.received_bytes]
            assert [(event.received_bytes, event.sent_bytes, event.ok) for event in carried] == [(11, 11, True)]

    def test_stop_ends_what_does_not_finish_in_time(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as peer:
            assert exchange(peer, b"before") == b"before"
            at_work.engine.stop(0.05)
            assert ends(peer)
            at_work.wait_for_end()

    def test_a_later_stop_shortens(self) -> None:
        with self.serving() as at_work, self.connect(at_work) as peer:
            assert exchange(peer, b"before") == b"before"
            at_work.engine.stop(3600)
            at_work.engine.stop(0)
            at_work.wait_for_end()

    def test_discard_answers_nothing(self) -> None:
        with self.serving(service="discard") as at_work, self.connect(at_work) as peer:
            assert echo_to_the_end(peer, noise(3_000_000)) == b""
            [closed] = at_work.wait_for(Closed)
            assert isinstance(closed, Closed) and closed.received_bytes == 3_000_000

    def test_chargen_never_ends_and_is_exact(self) -> None:
        with self.serving(service="chargen") as at_work, self.connect(at_work) as peer:
            size = 5_000_000
            expected = (CHARGEN_PATTERN * (size // len(CHARGEN_PATTERN) + 1))[:size]
            assert receive_exactly(peer, size) == expected

    def test_services_that_say_one_thing_say_it_and_close(self) -> None:
        for service in ("qotd", "daytime", "time"):
            with self.serving(service=service) as at_work, self.connect(at_work) as peer:
                peer.sendall(b"whatever is sent is thrown away" * 1000)
                said = b""
                while data := peer.recv(4096):
                    said += data
                peer.close()
                if service == "time":
                    seconds = int.from_bytes(said, "big") - SECONDS_1900_TO_1970
                    assert len(said) == 4 and seconds > 1_700_000_000
                else:
                    assert said.endswith(b"\r\n") and len(said) > 20
                [closed] = at_work.wait_for(Closed)
                assert isinstance(closed, Closed) and closed.ok, closed

    def test_every_connection_is_accounted_for(self) -> None:
        with self.serving() as at_work:
            for number in range(20):
                with self.connect(at_work) as peer:
                    assert exchange(peer, b"x" * (number + 1)) == b"x" * (number + 1)
            summary = at_work.finish()
            assert at_work.count(Accepted) == at_work.count(Closed) == summary.connections == 20
            assert summary.received_bytes == summary.sent_bytes == sum(range(1, 21))


class DatagramConformance(Conformance):
    """Datagrams: UDP by default; set `datagram_url` for IPv6 or Unix sockets."""

    datagram_url = "udp://127.0.0.1:0"
    largest = 65_507

    @contextmanager
    def peer_of(self, at_work: Running) -> Iterator[socket.socket]:
        """A connected datagram socket; a Unix one has a name, to be answered at."""
        sock, address = self.socket_for(at_work.endpoints[0])
        with sock:
            if sock.family == socket.AF_UNIX:
                sock.bind("")  # autobind: the kernel chooses an abstract name (unix(7))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.connect(address)
            yield sock

    def test_datagrams_of_every_size_come_back_whole(self) -> None:
        with self.serving(self.datagram_url) as at_work, self.peer_of(at_work) as peer:
            for size in (0, 1, 2, 511, 512, 1472, 1473, 9000, 65_506, self.largest, 0):
                message = noise(size)
                peer.send(message)
                assert peer.recv(self.largest + 1) == message, size

    def test_a_burst_keeps_every_boundary(self) -> None:
        with self.serving(self.datagram_url) as at_work, self.peer_of(at_work) as peer:
            for _ in range(20):
                messages = [noise(number % 50) for number in range(8)]
                for message in messages:
                    peer.send(message)
                assert sorted(peer.recv(100) for _ in messages) == sorted(messages)

    def test_a_thousand_peers_get_their_own(self) -> None:
        with self.serving(self.datagram_url) as at_work, ExitStack() as held:
            peers = [held.enter_context(self.peer_of(at_work)) for _ in range(1000)]
            # In waves: Unix answers that nobody has read yet fill the server's own send buffer (unix(7)).
            for start in range(0, 1000, 100):
                wave = list(enumerate(peers))[start : start + 100]
                for number, peer in wave:
                    peer.send(b"%d" % number)
                for number, peer in wave:
                    assert peer.recv(100) == b"%d" % number
            summary = at_work.finish()
            assert summary.datagrams_received == summary.datagrams_sent == 1000

    def test_services(self) -> None:
        for service in ("discard", "chargen", "qotd", "daytime", "time"):
            with self.serving(self.datagram_url, service=service) as at_work, self.peer_of(at_work) as peer:
                peer.send(b"?")
                if service == "discard":
                    assert at_work.finish().datagrams_received == 1
                    assert not select.select([peer], [], [], 0)[0]
                    continue
                answer = peer.recv(600)
                assert len(answer) <= 512
                assert service != "time" or len(answer) == 4

    def test_stop_answers_what_has_come(self) -> None:
        with self.serving(self.datagram_url) as at_work, self.peer_of(at_work) as peer:
            for number in range(5):
                peer.send(b"%d" % number)
            assert at_work.finish().datagrams_sent == 5


def wait_until_refused(suite: StreamConformance, at_work: Running) -> None:
    """Wait until the endpoint takes no more connections."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        sock, address = suite.socket_for(at_work.endpoints[0])
        with sock:
            try:
                sock.connect(address)
            except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
                return
        pause.wait(0.01)
    raise AssertionError("the endpoint still accepts")
