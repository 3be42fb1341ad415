"""The kernel engine: the conformance suite, and what only this engine can get wrong."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from echowire.core.services import service_named
from echowire.core.sockets.tcp_info import decode_tcp_info
from echowire.engines.serving import in_kernel as engine_module
from echowire.engines.serving.auto import Auto
from echowire.engines.serving.base import Engine, Job, Report
from echowire.engines.serving.choose import CHOSEN_FROM, choose
from echowire.engines.serving.connection import Connection, EchoConnection
from echowire.engines.serving.in_kernel import Kernel, KernelConnection, OvertakenConnection, prove
from echowire.errors import UsageError
from echowire.kernel.bpf import echo_map, echo_program
from echowire.kernel.bpf import syscall as bpf
from echowire.kernel.connections.listen import Listener, close_all, open_listeners
from echowire.model import Accepted, Closed, Endpoint, Limits
from echowire.testing import (
    HELD_MAX,
    PATIENCE_S,
    DatagramConformance,
    Running,
    StreamConformance,
    digest_of_fill,
    echo_to_the_end,
    ends,
    exchange,
    fill,
    half_close,
    receive_digest,
    receive_exactly,
    reset,
    running_thread,
)
from tests.netns import link, namespaces


@pytest.fixture(autouse=True, scope="module")
def the_kernel_can() -> None:
    if reason := prove():
        pytest.skip(reason)


class _Kernel:
    def make_engine(self, job: Job, report: Report) -> Engine:
        return Kernel(job, report)


class TestKernel(_Kernel, StreamConformance, DatagramConformance):
    pass


class TestKernelIpv6(_Kernel, StreamConformance, DatagramConformance):
    url = "tcp://[::1]:0"
    datagram_url = "udp://[::1]:0"


class TestKernelUnix(_Kernel, StreamConformance, DatagramConformance):
    """Not in the kernel, but in its loop: beside TCP it may be asked to."""

    url = "unix:{folder}/stream"
    datagram_url = "unixgram:{folder}/datagram"
    largest = 100_000


suite = TestKernel()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    until, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        pause.wait(0.005)


def engine_of(at_work: Running) -> Kernel:
    assert isinstance(at_work.engine, Kernel)
    return at_work.engine


def is_by_hand(at_work: Running) -> bool:
    """Whether the process serves any connection."""
    return any(isinstance(connection, OvertakenConnection) for connection in tuple(engine_of(at_work).connections))


def buffer_max(name: str) -> int:
    """The most that a buffer may grow to by itself (tcp(7))."""
    return int(Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2])


@pytest.fixture
def overtaken(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the process took over a connection."""
    moments: list[float] = []
    take_over = Kernel.take_over

    def noted(self: Kernel, connection: KernelConnection) -> None:
        moments.append(time.monotonic())
        take_over(self, connection)

    monkeypatch.setattr(Kernel, "take_over", noted)
    return moments


# Holding back.


@pytest.mark.slow
def test_a_gibibyte_against_a_reader_that_stops_for_seconds() -> None:
    total, stops = 1 << 30, [0, 300 << 20, 301 << 20]
    wanted, got = hashlib.sha256(), hashlib.sha256()
    written = read = 0
    most_held = 0
    chunk = random.Random(1).randbytes(1_000_003)

    with suite.serving() as at_work, suite.connect(at_work) as peer:

        def write() -> None:
            nonlocal written
            while written < total:
                part = chunk[: total - written]
                wanted.update(part)
                peer.sendall(part)
                written += len(part)
            half_close(peer)

        with running_thread(write):
            pause = threading.Event()
            buffer = bytearray(1 << 20)
            view = memoryview(buffer)
            while True:
                if stops and read >= stops[0]:
                    stops.pop(0)
                    pause.wait(2.0)
                    most_held = max(most_held, written - read)
                size = peer.recv_into(buffer)  # type: ignore[union-attr]
                if not size:
                    break
                got.update(view[:size])
                read += size
        assert read == total and got.digest() == wanted.digest()
        # All of it is in buffers that the kernel charges to the two sockets, and limits. Its own sizing of the
        # receive buffers goes far where the reader was fast before it stopped.
        assert most_held < 2 * buffer_max("tcp_rmem") + buffer_max("tcp_wmem") + 2 * echo_map.SEND_BUFFER_BYTES
        assert most_held < total / 8
        [closed] = at_work.wait_for(Closed)
        assert isinstance(closed, Closed)
        assert (closed.received_bytes, closed.sent_bytes, closed.ok) == (total, total, True)


def test_the_process_takes_over_from_a_peer_that_does_not_read_and_gives_back_when_it_has_caught_up() -> None:
    with suite.serving() as at_work, suite.connect(at_work) as slow, suite.connect(at_work) as healthy:
        assert exchange(slow, b"in the kernel") == b"in the kernel"
        assert not is_by_hand(at_work)
        sent = fill(slow)
        assert is_by_hand(at_work)
        assert exchange(healthy, b"unhindered") == b"unhindered"
        slow.settimeout(PATIENCE_S)
        assert receive_digest(slow, sent) == digest_of_fill(sent)
        wait_for(lambda: not is_by_hand(at_work))
        for _ in range(100):
            assert exchange(slow, b"x" * 1000) == b"x" * 1000
        assert not is_by_hand(at_work)


def test_changing_hands_all_the_time_keeps_the_order(monkeypatch: pytest.MonkeyPatch, overtaken: list[float]) -> None:
    monkeypatch.setattr(Kernel, "ahead_bytes", 24 * 1024)
    monkeypatch.setattr(engine_module, "GIVE_BACK_LOOK_S", 0.0)
    monkeypatch.setattr(engine_module, "GIVE_BACK_LOOK_MAX_S", 0.0)
    total = 8 << 20
    data = random.Random(2).randbytes(total)
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        received = bytearray()
        caught_up = threading.Condition()

        def has_come(size: int) -> bool:
            return len(received) >= size

        def write() -> None:
            """In bursts, each of which begins when the peer is so and so far behind."""
            choose_size, place = random.Random(3), 0
            while place < total:
                for _ in range(choose_size.choice((1, 1, 4))):
                    size = choose_size.choice((1, 100, 4000, 20_000, 60_000))
                    peer.sendall(data[place : place + size])
                    place += size
                behind = choose_size.choice((0, 0, 5000, 30_000))
                wanted = min(place, total) - behind
                with caught_up:
                    caught_up.wait_for(partial(has_come, wanted), PATIENCE_S)
            half_close(peer)

        choose_size = random.Random(4)
        with running_thread(write):
            while part := peer.recv(choose_size.choice((1, 500, 10_000, 200_000))):
                with caught_up:
                    received += part
                    caught_up.notify()
        assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
    assert len(overtaken) > 30


@pytest.mark.parametrize("hold_times", [1, echo_program.HOLD_TIMES])
def test_many_tiny_segments_are_too_much_too(
    monkeypatch: pytest.MonkeyPatch, overtaken: list[float], hold_times: int
) -> None:
    monkeypatch.setattr(echo_program, "AHEAD_MAX_SEGMENTS", 3)
    monkeypatch.setattr(echo_program, "HOLD_TIMES", hold_times)
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pieces = [bytes([number % 251]) for number in range(20_000)]

        def write() -> None:
            for piece in pieces:
                peer.sendall(piece)

        with running_thread(write):
            assert receive_exactly(peer, len(pieces)) == b"".join(pieces)
        assert overtaken


@contextmanager
def stopped(at_work: Running) -> Iterator[None]:
    """The process does nothing meanwhile, as where it gets no processor time."""
    go_on = threading.Event()

    def wait() -> None:
        go_on.wait(PATIENCE_S)

    engine_of(at_work).loop.call_from_anywhere(wait)
    try:
        yield
    finally:
        go_on.set()


def test_a_process_that_is_slow_to_come_lets_nobody_run_ahead() -> None:
    with suite.serving() as at_work, suite.connect(at_work) as peer, suite.connect(at_work) as healthy:
        assert exchange(peer, b"joined") == exchange(healthy, b"joined") == b"joined"
        assert isinstance(peer, socket.socket)
        address = peer.getsockname()
        [key] = [key for key, one in engine_of(at_work).joined.items() if one.sock.getpeername() == address]
        with stopped(at_work):
            sent = fill(peer)
            assert sent < HELD_MAX
            assert engine_of(at_work).echo_map._held.lookup(key)
            assert exchange(healthy, b"unhindered") == b"unhindered"
            half_close(peer)
        peer.settimeout(PATIENCE_S)
        assert receive_digest(peer, sent) == digest_of_fill(sent)
        assert peer.recv(1) == b""
        [closed] = at_work.wait_for(Closed)
        assert isinstance(closed, Closed)
        assert (closed.received_bytes, closed.sent_bytes, closed.ok) == (sent + 6, sent + 6, True)
        assert not engine_of(at_work).echo_map._held.lookup(key)
        counts = engine_of(at_work).echo_map._counts
        held, released = (
            counts.lookup(echo_program.INDEX.pack(at)) for at in (echo_program.HELD, echo_program.RELEASED)
        )
        assert held == released != bytes(8)


def test_nothing_is_taken_out_of_the_map_but_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the kernel has sent all just between one question and the next."""
    answers = [False, True, False, True, True]
    monkeypatch.setattr(KernelConnection, "_is_all_sent", lambda self: not answers or answers.pop(0))
    monkeypatch.setattr(KernelConnection, "_is_nothing_lost", lambda self: True)
    held: list[bool] = []
    take_out = echo_map.EchoMap.take_out

    def noted(self: echo_map.EchoMap, key: bytes) -> None:
        held.append(self._held.lookup(key) is not None)
        take_out(self, key)

    monkeypatch.setattr(echo_map.EchoMap, "take_out", noted)
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        fill(peer)
        assert held == [True]


def test_what_comes_in_while_the_process_takes_over_is_not_lost_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot come in, as the socket is held; if it does, the peer is told that not all went well."""
    monkeypatch.setattr(KernelConnection, "_is_nothing_lost", lambda self: False)
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        with pytest.raises(ConnectionResetError):
            fill(peer)
            while peer.recv(1 << 20):
                pass
        [closed] = at_work.wait_for(Closed)
        assert isinstance(closed, Closed) and not closed.ok


# The kernel's own books.

SO_MEMINFO, MEMINFO = 55, struct.Struct("@9i")  # asm-generic/socket.h; SK_MEMINFO_* in linux/sock_diag.h


def is_accounted_for(sock: socket.socket) -> bool:
    """Whether what the kernel thinks this socket has in memory is made of whole pages.

    It takes memory by pages, for what is received and sent (`rmem_alloc`, `wmem_queued`), and keeps the rest of them
    for what comes next (`fwd_alloc`). Two who count at once leave an odd sum, and when the socket ends its part of
    the "mem" in /proc/net/sockstat is wrong for ever. That itself is no measure: it is the sum over the host, and
    exact to a megabyte a processor.
    """
    received, _, _, _, forward, queued, *_ = MEMINFO.unpack(
        sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
    )
    held = int(received + queued + forward)
    return held >= 0 and held % resource.getpagesize() == 0


def test_changing_hands_keeps_the_kernel_s_count_of_memory(
    monkeypatch: pytest.MonkeyPatch, overtaken: list[float]
) -> None:
    monkeypatch.setattr(engine_module, "GIVE_BACK_LOOK_MAX_S", 0.005)
    checked: list[bool] = []
    close = Connection.close

    def checked_close(self: Connection, reason: str, *, ok: bool = True) -> None:
        if self.fd >= 0:
            # What is on its way may be counted in one place and not yet in the other.
            checked.append(any(is_accounted_for(self.sock) for _ in range(1000)))
        close(self, reason, ok=ok)

    monkeypatch.setattr(Connection, "close", checked_close)

    def stop_and_go_on(number: int) -> None:
        chosen = random.Random(number)
        with suite.connect(at_work) as peer:
            for _ in range(8):
                data = chosen.randbytes(chosen.choice((1, 3, 6)) << 20)
                with running_thread(partial(peer.sendall, data)):
                    threading.Event().wait(chosen.choice((0, 0.005, 0.02)))
                    assert receive_exactly(peer, len(data)) == data

    with suite.serving() as at_work:
        with ExitStack() as running:
            for number in range(4):
                running.enter_context(running_thread(partial(stop_and_go_on, number)))
        at_work.wait_for(Closed, 4)
        for _ in range(8):
            peer = suite.connect(at_work)
            peer.setblocking(False)
            peer.send(bytes(60_000_000))
            reset(peer)
        at_work.wait_for(Closed, 12)
    assert len(overtaken) >= 4
    assert len(checked) == 12 and all(checked)


def test_a_half_close_behind_a_full_queue() -> None:
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        sent = fill(peer)
        half_close(peer)
        peer.settimeout(PATIENCE_S)
        assert receive_digest(peer, sent) == digest_of_fill(sent)
        assert peer.recv(1) == b""
        [closed] = at_work.wait_for(Closed)
        assert isinstance(closed, Closed) and (closed.received_bytes, closed.sent_bytes) == (sent, sent)


# Each byte once, whatever TCP has to repeat.


def sequence_numbers(sock: socket.socket) -> tuple[int, int]:
    """What `sock` will send and expects to receive next (TCP_REPAIR, linux/tcp.h)."""
    repair, queue, number = 19, 20, 21
    sock.setsockopt(socket.IPPROTO_TCP, repair, 1)
    found = []
    for which in (2, 1):  # TCP_SEND_QUEUE, TCP_RECV_QUEUE
        sock.setsockopt(socket.IPPROTO_TCP, queue, which)
        found.append(sock.getsockopt(socket.IPPROTO_TCP, number) & 0xFFFFFFFF)
    sock.setsockopt(socket.IPPROTO_TCP, repair, -1)  # TCP_REPAIR_OFF_NO_WP: without a window probe
    return found[0], found[1]


def send_segment(peer: socket.socket, sequence: int, acknowledged: int, data: bytes) -> None:
    """Send a TCP segment (RFC 9293 section 3.1) on the connection of `peer`, which knows nothing of it."""
    (_, source), (_, target) = peer.getsockname(), peer.getpeername()
    acknowledge_and_push, window = 0x18, 0xFFFF

    def segment(checksum: int) -> bytes:
        ports = struct.pack("!HHII", source, target, sequence & 0xFFFFFFFF, acknowledged)
        return ports + struct.pack("!BBHHH", 5 << 4, acknowledge_and_push, window, checksum, 0) + data

    loopback = socket.inet_aton("127.0.0.1")
    summed = struct.pack("!4s4sHH", loopback, loopback, socket.IPPROTO_TCP, len(segment(0))) + segment(0)
    total = sum(struct.unpack(f"!{(len(summed) + 1) // 2}H", summed + bytes(len(summed) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(segment(~(total + (total >> 16)) & 0xFFFF), ("127.0.0.1", 0))


@pytest.mark.parametrize("repeated", [1, 6, 4095, 4096, 30_000])
def test_a_segment_that_begins_with_what_has_come_already(needs_root: None, repeated: int) -> None:
    """What a sender makes that merges what it repeats with what is new (tcp_retrans_try_collapse)."""
    before, new = random.Random(repeated).randbytes(50_000), b"new bytes"
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        assert isinstance(peer, socket.socket)
        assert exchange(peer, before) == before
        sent, received = sequence_numbers(peer)
        send_segment(peer, sent - repeated, received, before[-repeated:] + new)
        # Now the socket sends them itself: all of it is old to the server, whose echo is acceptable from here on.
        peer.sendall(new)
        assert receive_exactly(peer, len(new)) == new
        assert exchange(peer, b"and on") == b"and on"
        assert echo_to_the_end(peer, before) == before
        [closed] = at_work.wait_for(Closed)
        carried = len(before) * 2 + len(new) + len(b"and on")
        assert isinstance(closed, Closed) and (closed.received_bytes, closed.sent_bytes) == (carried, carried)


@pytest.mark.slow
def test_a_lossy_path() -> None:
    with namespaces(2) as (client, server):
        link(client, server, "10.0.0.1/24", "10.0.0.2/24")
        with server.inside():
            listeners = open_listeners([[Endpoint("tcp", "10.0.0.2", 0)]])
        at_work = Running(None, [at.endpoint for at in listeners])  # type: ignore[arg-type]
        at_work.engine = Kernel(Job(listeners), at_work.report)
        at_work.thread = threading.Thread(target=at_work.engine.run)
        at_work.thread.start()
        try:
            for host in (client, server):
                host.nft("add rule inet test input tcp flags & (syn|fin|rst) == 0 numgen random mod 50 0 drop")
            data = random.Random(5).randbytes(3_000_000)
            with client.inside():
                peer = socket.create_connection(("10.0.0.2", listeners[0].endpoint.port), PATIENCE_S)
            with peer:
                peer.settimeout(PATIENCE_S)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

                def write() -> None:
                    sizes, place = random.Random(6), 0
                    while place < len(data):
                        size = sizes.choice((1, 10, 300, 5000))
                        peer.sendall(data[place : place + size])
                        place += size
                    half_close(peer)

                received = bytearray()
                with running_thread(write):
                    while part := peer.recv(1 << 20):
                        received += part
            assert bytes(received) == data
        finally:
            at_work.engine.stop(0)
            at_work.wait_for_end()


# Ends.


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000, 60_000_000])
def test_resets_in_mid_stream(size: int) -> None:
    """Before a byte, in the kernel's hands, in the process's, and with everything full; nobody else notices."""
    with suite.serving() as at_work, suite.connect(at_work) as healthy:
        for _ in range(5):
            peer = suite.connect(at_work)
            peer.setblocking(False)
            with suppress(BlockingIOError):
                peer.send(bytes(size))
            reset(peer)
            assert exchange(healthy, b"still here") == b"still here"
        for closed in at_work.wait_for(Closed, 5):
            assert isinstance(closed, Closed)
            assert not closed.ok and closed.reason == "reset by the peer"
            assert closed.sent_bytes is not None and closed.received_bytes is not None
            assert closed.sent_bytes <= closed.received_bytes <= size
        assert exchange(healthy, b"and after") == b"and after"
        assert len(engine_of(at_work).joined) == 1


def test_a_reset_after_the_half_close_counts_no_byte_too_many() -> None:
    with suite.serving() as at_work, suite.connect(at_work) as healthy:
        for _ in range(50):
            peer = suite.connect(at_work)
            peer.sendall(b"seven b")
            half_close(peer)
            reset(peer)
        for closed in at_work.wait_for(Closed, 50):
            assert isinstance(closed, Closed) and closed.received_bytes in (0, 7), closed
        assert exchange(healthy, b"still here") == b"still here"


def test_what_was_cut_is_counted() -> None:
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        assert exchange(peer, b"before") == b"before"
        at_work.engine.stop(0)
        assert ends(peer)
        [closed] = at_work.wait_for(Closed)
        assert isinstance(closed, Closed)
        assert (closed.received_bytes, closed.sent_bytes, closed.ok) == (6, 6, True)
        assert closed.reason == "the server stopped"


# Beginnings.


@contextmanager
def late(*urls: str) -> Iterator[tuple[list[Listener], Callable[[], Running]]]:
    """Listeners, and a function that begins to serve them: what comes before waits in the kernel."""
    listeners = open_listeners([[Endpoint.parse(url)] for url in urls])
    at_work = Running(None, [at.endpoint for at in listeners])  # type: ignore[arg-type]

    def begin() -> Running:
        at_work.engine = Kernel(Job(listeners), at_work.report)
        at_work.thread = threading.Thread(target=at_work.engine.run)
        at_work.thread.start()
        return at_work

    try:
        yield listeners, begin
    finally:
        if at_work.thread is not None:
            at_work.engine.stop(0)
            at_work.wait_for_end()
        close_all(listeners)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "tcp://[::1]:0", "tcp://:0"])
def test_what_came_before_the_socket_joined_comes_back(url: str) -> None:
    with late(url) as (listeners, begin):
        host = "::1" if "::1" in url else "127.0.0.1"
        peers = [socket.create_connection((host, listeners[0].endpoint.port), PATIENCE_S) for _ in range(50)]
        messages = [random.Random(number).randbytes(1 + 700 * number) for number in range(50)]
        for peer, message in zip(peers, messages, strict=True):
            peer.sendall(message)
        begin()
        for peer, message in zip(peers, messages, strict=True):
            with peer:
                assert receive_exactly(peer, len(message)) == message
                assert exchange(peer, b"and on") == b"and on"


def test_a_peer_gone_before_its_socket_could_join() -> None:
    with late("tcp://127.0.0.1:0") as (listeners, begin):
        address = ("127.0.0.1", listeners[0].endpoint.port)
        ended, closed, broken, alive = (socket.create_connection(address, PATIENCE_S) for _ in range(4))
        for peer in (ended, closed, broken):
            peer.sendall(b"last words")
        half_close(ended)
        closed.close()
        reset(broken)
        at_work = begin()
        with ended, alive:
            assert receive_exactly(ended, 100) == b"last words"
            assert exchange(alive, b"alive") == b"alive"
        events = [event for event in at_work.wait_for(Closed, 4) if isinstance(event, Closed)]
        assert at_work.count(Accepted) == 4
        assert sorted(event.received_bytes or 0 for event in events)[2:] == [10, 10] or len(events) == 4
        assert not engine_of(at_work).joined


def test_a_socket_that_cannot_join_is_served_by_hand() -> None:
    """Here as the maps are full."""
    with suite.serving(limits=Limits(connections=None)) as at_work:
        engine = engine_of(at_work)
        full = bpf.Map(bpf.BPF_MAP_TYPE_HASH, 8, echo_program.ENTRY.size, 1, "echowire_test")
        entries, engine.echo_map._entries = engine.echo_map._entries, full
        full.update(bytes(8), bytes(echo_program.ENTRY.size))
        try:
            with suite.connect(at_work) as peer:
                assert exchange(peer, b"by hand") == b"by hand"
                assert not engine.joined
                assert {type(connection) for connection in engine.connections} == {EchoConnection}
        finally:
            engine.echo_map._entries = entries
            full.close()


NINE_THOUSAND_CLIENTS = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
port, count = map(int, sys.argv[1:])
peers = []
for number in range(count):
    peer = socket.create_connection(("127.0.0.1", port), 20)
    peer.sendall(b"early %d" % number)
    peers.append(peer)
for text in (b"early %d", b"%d again", b"and %d"):
    for number, peer in enumerate(peers):
        expected, got = text % number, b""
        if text != b"early %d":
            peer.sendall(expected)
        while len(got) < len(expected):
            got += peer.recv(len(expected) - len(got)) or sys.exit(f"{number} was closed")
        assert got == expected, (got, expected)
print("all came back")
"""


@pytest.mark.slow
def test_nine_thousand_connections() -> None:
    count = 9000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 1000:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with suite.serving() as at_work:
            port = at_work.endpoints[0].port
            clients = subprocess.run(
                [sys.executable, "-c", NINE_THOUSAND_CLIENTS, str(port), str(count)],
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert clients.stdout.strip() == "all came back", clients.stderr
            summary = at_work.finish()
            assert summary.connections == count and summary.received_bytes == summary.sent_bytes
            assert not engine_of(at_work).joined
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# What it leaves behind, and whether it can be had.


@contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`echowire serve` in a process of its own, and its `listening` event."""
    started = subprocess.Popen(
        [sys.executable, "-m", "echowire", "serve", *arguments, "--jsonl"], stdout=subprocess.PIPE, text=True
    )
    with started as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def maps_of(pid: int) -> set[int]:
    """The numbers of the maps that a process has open. Its program is held by one of them, not by a descriptor."""
    maps: set[int] = set()
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # the descriptor that this very listing was read by
            maps.update(int(line.split()[1]) for line in info.read_text().splitlines() if line.startswith("map_id"))
    return maps


def test_killed_it_leaves_no_map_and_no_program_behind() -> None:
    before = set(bpf.program_ids())
    with command("tcp://127.0.0.1:0", "--engine", "kernel") as (process, listening):
        port = Endpoint.parse(listening["endpoint"]).port
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as peer:
            assert exchange(peer, b"echo") == b"echo"
            maps = maps_of(process.pid)
            programs = set(bpf.program_ids()) - before
            assert len(maps) == 5 and maps <= set(bpf.map_ids()) and programs
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert ends(peer)
        wait_for(lambda: not maps & set(bpf.map_ids()) and not programs & set(bpf.program_ids()))


def test_stopped_it_leaves_no_map_and_no_program_behind() -> None:
    before = set(bpf.program_ids())
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        assert exchange(peer, b"echo") == b"echo"
        maps, programs = maps_of(os.getpid()), set(bpf.program_ids()) - before
        assert maps and programs
    wait_for(lambda: not maps & set(bpf.map_ids()) and not programs & set(bpf.program_ids()))


UNPRIVILEGED = """
import os, sys, sysconfig
from echowire.engines.serving.choose import choose
from echowire.engines.serving.base import Job
from echowire.errors import UsageError
from echowire.kernel.connections.listen import open_listeners
from echowire.model import Endpoint
import echowire.engines.serving.in_kernel, socket, encodings.idna
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
job = Job(open_listeners([[Endpoint.parse("tcp://127.0.0.1:0")]]))
kind, why = choose("auto", job)
print(kind.name, why, sep="|")
try:
    choose("kernel", job)
except UsageError as error:
    print(error)
"""


def test_without_privileges_it_says_what_it_needs_and_auto_takes_the_next(needs_root: None) -> None:
    run = subprocess.run([sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, timeout=60)
    reason = "it needs CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, which root has"
    assert run.stdout.splitlines() == [
        f"readiness|not kernel: {reason}",
        f"the engine 'kernel' cannot do this: {reason}",
    ], run.stderr


@contextmanager
def job_of(*urls: str, **more: Any) -> Iterator[Job]:
    listeners = open_listeners([[Endpoint.parse(url)] for url in urls])
    try:
        yield Job(listeners, **more)
    finally:
        close_all(listeners)


def test_what_it_serves_and_what_not(tmp_path: Path) -> None:
    with job_of("tcp://127.0.0.1:0", "udp://127.0.0.1:0", f"unix:{tmp_path}/s") as job:
        assert Kernel.why_not(job) is None
        assert choose("auto", job)[0] is Auto
    with job_of("udp://127.0.0.1:0", f"unix:{tmp_path}/s") as job:
        assert Kernel.why_not(job) == "the kernel echoes plain TCP alone, and none of this is"
    with job_of("tcp://127.0.0.1:0", service=service_named("discard")) as job:
        assert Kernel.why_not(job) == "the kernel can echo, and not serve discard"
    with job_of("tcp://127.0.0.1:0", handler=lambda sock: None) as job:
        with pytest.raises(UsageError, match="a handler runs in a process"):
            choose("kernel", job)


def test_a_mixed_job_is_served_whole(tmp_path: Path) -> None:
    with suite.serving("tcp://127.0.0.1:0", "udp://127.0.0.1:0", "unix:{folder}/s", "tcp://[::1]:0") as at_work:
        for endpoint in at_work.endpoints:
            sock, address = suite.socket_for(endpoint)
            with sock:
                sock.connect(address)
                sock.sendall(b"mixed")
                assert sock.recv(100) == b"mixed"
        # Those of the two TCP endpoints have joined; by now they may have left again.
        assert {type(connection) for connection in engine_of(at_work).connections} <= {KernelConnection, EchoConnection}


def test_the_proof_is_done_once_and_quickly() -> None:
    prove.cache_clear()
    before = time.perf_counter()
    assert prove() is None
    # A few hundredths of a second; a machine that is busy with other tests may take ten times that.
    assert time.perf_counter() - before < 1.0
    before = time.perf_counter()
    assert prove() is None
    assert time.perf_counter() - before < 0.01


def test_an_echo_that_is_wrong_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that loses a segment, as some did: here the first program drops all."""
    monkeypatch.setattr(engine_module, "PROOF_S", 0.2)
    monkeypatch.setattr(echo_program, "program", lambda *_: bytes.fromhex("b7000000000000009500000000000000"))
    prove.cache_clear()
    try:
        assert prove() == "its own echo of 1 bytes did not come back as it was sent"
    finally:
        prove.cache_clear()


def test_no_data_wakes_the_process_and_an_end_does(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, bytes]] = []
    tell = echo_map.EchoMap.told

    def noted(self: echo_map.EchoMap) -> list[tuple[int, bytes]]:
        news = tell(self)
        told.extend(news)
        return news

    monkeypatch.setattr(echo_map.EchoMap, "told", noted)
    with suite.serving() as at_work, suite.connect(at_work) as peer:
        assert exchange(peer, b"warm") == b"warm"
        engine = engine_of(at_work)
        # The socket echoes before the engine has returned from having it join.
        wait_for(lambda: bool(engine.joined))
        [(key, connection)] = engine.joined.items()
        assert connection.fd not in engine.loop._handlers
        for _ in range(100):
            assert exchange(peer, b"x" * 1000) == b"x" * 1000
        assert not told
        half_close(peer)
        at_work.wait_for(Closed)
        assert told == [(echo_program.PEER_ENDED, key)]


def test_ends_are_told_of_sockets_in_the_map_alone() -> None:
    """A half-close and a reset; of sockets that have not joined, or have left, nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    with ExitStack() as opened:
        opened.enter_context(listener)
        pairs = []
        for _ in range(4):
            peer = opened.enter_context(socket.create_connection(listener.getsockname()))
            pairs.append((peer, opened.enter_context(listener.accept()[0])))
        (ending, ended), (resetting, was_reset), (stranger, unknown), (leaving, left) = pairs
        echoes = echo_map.EchoMap(8)
        opened.callback(echoes.close)
        keys = [echoes.join(sock) for sock in (ended, was_reset, left)]
        echoes.take_out(keys[2])
        echoes.leave(keys[2])
        for peer in (stranger, leaving):
            half_close(peer)
        for sock in (unknown, left):
            assert sock.recv(1) == b""
        half_close(ending)
        wait_for(lambda: bool(select.select([echoes.fd], [], [], 0)[0]))
        assert echoes.told() == [(echo_program.PEER_ENDED, keys[0])]
        reset(resetting)
        wait_for(lambda: bool(select.select([echoes.fd], [], [], 0)[0]))
        assert echoes.told() == [(echo_program.CONNECTION_CLOSED, keys[1])]


@pytest.mark.parametrize("running", [0, 1])
def test_while_one_program_runs_the_other_tells_of_an_end(running: int) -> None:
    """The kernel passes over a program within itself; here the one that runs is gone."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        peer = opened.enter_context(socket.create_connection(listener.getsockname()))
        accepted = opened.enter_context(listener.accept()[0])
        echoes = echo_map.EchoMap(8)
        opened.callback(echoes.close)
        key = echoes.join(accepted)
        os.close(echoes._ends.pop(running))
        half_close(peer)
        wait_for(lambda: bool(select.select([echoes.fd], [], [], 0)[0]))
        assert echoes.told() == [(echo_program.PEER_ENDED, key)]


def test_where_tcp_info_has_the_counts() -> None:
    data = bytes(range(256))
    members = decode_tcp_info(data)
    for name, place in (
        ("tcpi_bytes_acked", engine_module.BYTES_ACKED_AT),
        ("tcpi_bytes_received", engine_module.BYTES_RECEIVED_AT),
    ):
        assert members[name] == int.from_bytes(data[place : place + 8], sys.byteorder)
    assert members["tcpi_state"] == data[0]
    assert engine_module.TCP_INFO_BYTES == engine_module.BYTES_RECEIVED_AT + 8


def test_auto_tries_it_first() -> None:
    assert CHOSEN_FROM[0] is Auto and issubclass(Auto, Kernel)
