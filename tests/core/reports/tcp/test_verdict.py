"""Verdicts of conversations that were recorded between two hosts, each slowed down by one known cause."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest

from echowire.core.packets.tcp.header import ACK, FIN, SYN
from echowire.core.reports.tcp.record import Segment
from echowire.core.reports.tcp.waits import Waits
from tests.core.reports.tcp.judged import (
    EXPLAINED,
    MEGABYTE,
    reads,
    segments_of,
    sends,
    share,
    verdict_of,
    without_offload,
)
from tests.netns import why_not
from tests.recorded import Hosts, pause, read_all, two_hosts

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "")

MS = 1_000_000


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as made:
        yield made


def test_a_transfer_without_trouble_is_clean(hosts: Hosts) -> None:
    found = verdict_of(hosts.recorded(sends(MEGABYTE * 2), reads))
    assert found.name == "clean", found


def segment(
    end: int, at_ms: float, flags: int, seq: int, ack: int, length: int = 0, told_twice: int | None = None
) -> Segment:
    return Segment(end, 1, int(at_ms * MS), seq, ack, flags, length, 100_000, told_twice is not None, told_twice)


@pytest.mark.parametrize("told_twice", [2001, None])
def test_what_a_probe_sends_again_is_no_loss_if_it_had_come(told_twice: int | None) -> None:
    shake = [segment(0, 0, SYN, 0, 0), segment(1, 0.1, SYN | ACK, 0, 1), segment(0, 0.2, ACK, 1, 1)]
    sent = [segment(0, 0.3, ACK, 1, 1, 1000), segment(0, 0.4, ACK, 1001, 1, 1000), segment(0, 9, ACK, 1001, 1, 1000)]
    end = segment(1, 15, ACK, 1, 2001, told_twice=told_twice)
    waits = Waits([*shake, *sent, end])
    (sender, _), causes = waits.sides, [one.cause for one in waits.waits]
    assert (sender.sent_again, sender.for_nothing) == ((0, 1) if told_twice else (1, 0))
    assert ("timeout" in causes) == (told_twice is None)


def test_what_a_probe_sends_again_is_no_loss_if_all_acknowledgments_were_late() -> None:
    shake = [segment(0, 0, SYN, 0, 0), segment(1, 0.1, SYN | ACK, 0, 1), segment(0, 0.2, ACK, 1, 1)]
    sent = [segment(0, 0.3 + at, ACK, 1 + 1000 * at, 1, 1000) for at in range(3)]
    late = [segment(0, 12, ACK, 2001, 1, 1000), segment(1, 30, ACK, 1, 1001), segment(1, 30.1, ACK, 1, 3001)]
    waits = Waits([*shake, *sent, *late])
    assert (waits.sides[0].sent_again, waits.sides[0].for_nothing) == (0, 1)
    assert "timeout" not in [one.cause for one in waits.waits]


def test_a_fin_that_is_said_again_as_both_close_is_no_loss() -> None:
    shake = [segment(0, 0, SYN, 0, 0), segment(1, 0.1, SYN | ACK, 0, 1), segment(0, 0.2, ACK, 1, 1)]
    both = [segment(0, 1, FIN | ACK, 1, 1), segment(1, 1.1, FIN | ACK, 1, 1), segment(0, 1.2, FIN | ACK, 1, 2)]
    waits = Waits([*shake, *both, segment(1, 20, ACK, 2, 2)])
    assert [side.sent_again for side in waits.sides] == [0, 0]
    lost = [segment(0, 1, FIN | ACK, 1, 1), segment(0, 220, FIN | ACK, 1, 1), segment(1, 221, ACK, 1, 2)]
    assert Waits([*shake, *lost]).sides[0].sent_again == 1


def test_a_slow_reader_closes_its_window(hosts: Hosts) -> None:
    def slow(connection: socket.socket) -> None:
        pause(0.6)
        read_all(connection)

    def small(listener: socket.socket) -> None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)

    records = hosts.recorded(sends(MEGABYTE), slow, prepare=small)
    found = verdict_of(records)
    assert found.name == "receiver's window", found
    assert share(found, "receiver's window") > EXPLAINED
    acked = 0
    probes = 0
    for one in segments_of(records):
        acked = max(acked, one.ack) if one.end else acked
        probes += not one.end and one.seq == acked - 1 > 0
    assert probes, "a closed window was never probed"


@pytest.mark.parametrize("at", ["client", "server"])
def test_a_slow_server_thinks(hosts: Hosts, at: str) -> None:
    def serve(connection: socket.socket) -> None:
        for _ in range(3):
            connection.recv(100)
            pause(0.15)
            connection.sendall(b"answer")

    def ask(connection: socket.socket) -> None:
        for _ in range(3):
            connection.sendall(b"request")
            assert connection.recv(100) == b"answer"

    found = verdict_of(hosts.recorded(ask, serve, at=getattr(hosts, at)))
    assert found.name == "server thinking", found
    assert share(found, "server thinking") > EXPLAINED


def test_a_slow_client_thinks(hosts: Hosts) -> None:
    def ask(connection: socket.socket) -> None:
        for _ in range(3):
            pause(0.15)
            connection.sendall(b"request")
            assert connection.recv(100) == b"answer"

    def serve(connection: socket.socket) -> None:
        for _ in range(3):
            connection.recv(100)
            connection.sendall(b"answer")

    found = verdict_of(hosts.recorded(ask, serve))
    assert found.name == "client thinking", found
    assert share(found, "client thinking") > EXPLAINED


def test_small_writes_wait_for_delayed_acknowledgments(hosts: Hosts) -> None:
    def serve(connection: socket.socket) -> None:
        for _ in range(6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            got = b""
            while len(got) < 200:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
                got += connection.recv(200 - len(got))
            connection.sendall(b"answer")

    def ask(connection: socket.socket) -> None:
        for _ in range(6):
            connection.sendall(bytes(100))
            connection.sendall(bytes(100))
            assert connection.recv(100) == b"answer"

    found = verdict_of(hosts.recorded(ask, serve))
    assert found.name == "delayed acknowledgment", found
    assert share(found, "delayed acknowledgment") > EXPLAINED


@pytest.mark.parametrize("at", ["client", "server"])
def test_a_narrow_path_is_used_up(hosts: Hosts, at: str) -> None:
    queue = "root tbf rate 10mbit burst 20kb latency 2s"
    hosts.client.run("tc", "qdisc", "add", "dev", hosts.device, *queue.split())
    found = verdict_of(hosts.recorded(sends(MEGABYTE), reads, at=getattr(hosts, at)))
    assert found.name == "bandwidth", found
    assert share(found, "bandwidth") > EXPLAINED


def test_random_loss_is_recovered(hosts: Hosts) -> None:
    hosts.server.nft("add rule inet test input numgen random mod 100 < 8 drop")
    without_offload(hosts)
    # Of one megabyte now and then nothing is lost twice: there is no timeout then, and what is lost is soon repaired.
    found = verdict_of(hosts.recorded(sends(4 * MEGABYTE), reads))
    assert found.name in ("fast recovery", "timeout"), found
    assert share(found, "fast recovery", "timeout") > 0.5


def test_a_single_loss_is_named(hosts: Hosts) -> None:
    hosts.server.nft("add rule inet test input tcp dport > 0 meta length > 1000 numgen inc mod 100000 == 50 drop")
    without_offload(hosts)
    found = verdict_of(hosts.recorded(sends(MEGABYTE), reads))
    assert found.name == "fast recovery", found
    assert any("sent again" in note for note in found.notes)


def test_a_path_that_falls_silent_is_named(hosts: Hosts) -> None:
    hosts.server.nft("")  # skips here and now where it cannot

    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        hosts.server.nft("add rule inet test input drop\nadd rule inet test output drop")
        pause(2.5)

    def ask(connection: socket.socket) -> None:
        connection.sendall(b"first")
        pause(0.2)
        connection.sendall(b"second")
        connection.settimeout(2.2)
        with suppress(TimeoutError):
            connection.recv(100)

    found = verdict_of(hosts.recorded(ask, serve))
    assert found.name == "silence", found
    assert share(found, "timeout") > 0.5


def test_an_abrupt_end_is_a_reset(hosts: Hosts) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def ask(connection: socket.socket) -> None:
        connection.sendall(b"request")
        with suppress(ConnectionResetError):
            connection.recv(100)

    found = verdict_of(hosts.recorded(ask, serve))
    assert found.name == "reset", found
    assert "server broke" in found.sentence
