"""Verdicts do not depend on where on the path a conversation was recorded: at the sender, at the receiver, between."""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
import trustme

from echowire.core.captures.records import Records
from echowire.core.packets.dissect import Dissector
from echowire.core.reports.tcp.verdict import judge
from tests.core.reports.tcp.judged import (
    EXPLAINED,
    MEGABYTE,
    reads,
    record_of,
    segments_of,
    sends,
    share,
    verdict_of,
    without_offload,
)
from tests.long_path import LongHosts, long_path
from tests.netns import chain, why_not
from tests.recorded import SO_RCVBUFFORCE, SO_SNDBUFFORCE, Hosts, Talk, pause, records_of, two_hosts

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "")

DELAY_S = 0.02
BULK = MEGABYTE[:300_000]
OPENING_AND_END = ("handshake", "closing", "round trip")
"""What a short transfer on a long path spends beside."""

MOSTLY = 0.8
"""Of the time: the rest is what a busy host does to the thread that is the wire."""

PORT = 4444


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as made:
        yield made


@pytest.fixture
def far() -> Iterator[LongHosts]:
    with long_path(DELAY_S) as made:
        yield made


def everywhere(hosts: LongHosts, client: Talk, server: Talk, *, prepare: Talk | None = None) -> list[Records]:
    """One conversation, as it was seen at both ends and halfway."""
    hosts.middle.clear()
    ends = hosts.recorded_at([hosts.client, hosts.server], client, server, prepare=prepare)
    return [*ends, records_of(hosts.middle)]


def roomy(listener: socket.socket) -> None:
    """A buffer that takes all, whether it is read or not."""
    listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)


def sends_at_once(data: bytes) -> Talk:
    """One that leaves everything to the kernel, so that it is not the sender who is waited for."""

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 23)
        connection.sendall(data)

    return talk


def reads_at_ease(connection: socket.socket) -> None:
    """One that may read late."""
    roomy(connection)
    reads(connection)


def control(hosts: Hosts, name: str) -> None:
    for host in (hosts.client, hosts.server):
        try:
            host.sysctl("net.ipv4.tcp_congestion_control", name)
        except OSError:
            pytest.skip(f"the kernel has no {name}")


@pytest.mark.parametrize("name", ["reno", "bbr"])
def test_a_transfer_that_slow_start_takes_waits_for_its_congestion_window(far: LongHosts, name: str) -> None:
    control(far, name)
    for records in everywhere(far, sends_at_once(BULK), reads, prepare=roomy):
        found = verdict_of(records)
        assert found.name == "congestion window", found
        assert share(found, "congestion window", *OPENING_AND_END) > MOSTLY, found


def test_a_download_is_judged_as_an_upload(far: LongHosts) -> None:
    control(far, "reno")
    for records in everywhere(far, reads_at_ease, sends_at_once(BULK)):
        found = verdict_of(records)
        assert found.name == "congestion window", found
        assert share(found, "congestion window", "server thinking", *OPENING_AND_END) > MOSTLY, found


def test_a_clamped_congestion_window_is_named(far: LongHosts) -> None:
    control(far, "reno")
    far.client.ip(f"route replace 10.0.0.0/24 dev {far.device} initcwnd 10 cwnd lock 10")
    far.recorded(sends(b"the kernel takes the clamp over with what it learns of a host"), reads)
    for records in everywhere(far, sends_at_once(BULK), reads, prepare=roomy):
        found = verdict_of(records)
        assert found.name == "congestion window", found
        assert share(found, "congestion window") > 0.6, found
        assert share(found, "congestion window", *OPENING_AND_END) > MOSTLY, found


def test_a_window_too_small_for_a_long_path_is_named_though_it_never_closes(far: LongHosts) -> None:
    control(far, "reno")

    def small(listener: socket.socket) -> None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)

    for records in everywhere(far, sends_at_once(BULK), reads, prepare=small):
        assert all(one.window for one in segments_of(records))
        found = verdict_of(records)
        assert found.name == "receiver's window", found
        assert "too small for a round trip of 4" in found.sentence
        assert share(found, "receiver's window", *OPENING_AND_END) > MOSTLY, found


@pytest.mark.parametrize("name", ["reno", "bbr"])
def test_a_long_path_that_is_used_up_is_named(far: LongHosts, name: str) -> None:
    control(far, name)
    limit = "root tbf rate 10mbit burst 5kb latency 60ms"
    far.client.run("tc", "qdisc", "add", "dev", far.device, *limit.split())
    for records in everywhere(far, sends_at_once(MEGABYTE), reads, prepare=roomy):
        found = verdict_of(records)
        assert found.name == "bandwidth", found
        assert share(found, "bandwidth") > 0.5, found
        assert share(found, "bandwidth", "congestion window", *OPENING_AND_END) > MOSTLY, found


def test_a_path_without_a_long_queue_is_used_up_though_it_loses() -> None:
    with chain(3) as (client, router, server):
        for host in (client, router, server):
            for device in host.devices:
                host.ip(f"link set dev {device} gso_max_segs 1")
        limit = "root tbf rate 10mbit burst 5kb latency 15ms"
        router.run("tc", "qdisc", "add", "dev", router.devices[1], *limit.split())
        hosts = Hosts(client, server, client.devices[0])
        control(hosts, "reno")
        for records in hosts.recorded_at([client, router, server], sends_at_once(MEGABYTE * 2), reads, prepare=roomy):
            found = verdict_of(records)
            assert found.name == "bandwidth", found
            assert "overrun" in found.sentence
            assert share(found, "bandwidth", "fast recovery", "timeout") > EXPLAINED, found


def test_both_ends_may_think_in_turn() -> None:
    def ask(connection: socket.socket) -> None:
        for number in range(3):
            if number:
                pause(0.08)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: echo\r\n\r\n")
            got = 0
            while got < 20_000:
                got += len(connection.recv(65536))

    def serve(connection: socket.socket) -> None:
        for _ in range(3):
            connection.recv(1000)
            pause(0.12)
            connection.sendall(bytes(20_000))

    with chain(3) as (client, router, server):
        hosts = Hosts(client, server, client.devices[0])
        for records in hosts.recorded_at([client, router, server], ask, serve):
            found = verdict_of(records)
            assert found.name == "server thinking", found
            assert share(found, "client thinking") > 0.25, found
            assert share(found, "server thinking", "client thinking") > EXPLAINED, found


def test_an_idle_connection_with_keep_alives_is_idle(hosts: Hosts) -> None:
    def wait(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        connection.sendall(b"hello")
        connection.recv(10)
        pause(1.3)

    def serve(connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(b"hello")
        connection.recv(10)

    for records in hosts.recorded_at([hosts.client, hosts.server], wait, serve):
        found = verdict_of(records)
        assert (found.name, found.notes) == ("clean", [])
        assert found.sentence.endswith("most of it idle")
        assert share(found, "idle") > EXPLAINED
        assert any(0 < one.seq < 6 and not one.end for one in segments_of(records)[-6:]), "there was no keep-alive"


def test_a_request_that_is_lost_waits_for_its_timer(hosts: Hosts) -> None:
    hosts.server.nft("add rule inet test input meta length > 300 numgen inc mod 1000 == 0 drop")

    def ask(connection: socket.socket) -> None:
        connection.sendall(bytes(400))
        connection.recv(100)

    def serve(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"answer")

    for records in hosts.recorded_at([hosts.client, hosts.server], ask, serve):
        found = verdict_of(records)
        assert found.name == "timeout", found
        assert found.totals["timeout"] > 180_000_000


def test_a_single_delayed_acknowledgment_is_named(hosts: Hosts) -> None:
    def late(connection: socket.socket, count: int) -> None:
        while count:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            count -= len(connection.recv(count))

    def serve(connection: socket.socket) -> None:
        for _ in range(12):  # the first acknowledgments of a connection are quick
            late(connection, 1)
            connection.sendall(b"x")
        late(connection, 200)
        connection.sendall(b"answer")

    def ask(connection: socket.socket) -> None:
        for _ in range(12):
            connection.sendall(b"x")
            connection.recv(1)
        connection.sendall(bytes(100))
        connection.sendall(bytes(100))
        connection.recv(100)

    for records in hosts.recorded_at([hosts.client, hosts.server], ask, serve):
        found = verdict_of(records)
        assert found.name == "delayed acknowledgment", found
        assert found.totals["delayed acknowledgment"] < 60_000_000


@pytest.mark.parametrize(
    ("rule", "name", "said"),
    [
        ("", "refused", "RST"),
        ("drop", "no answer", "2 times"),
        ("reject with icmpx type admin-prohibited", "refused", "ICMP administratively prohibited"),
        ("reject", "refused", "ICMP port unreachable"),
        ("reject with tcp reset", "refused", "RST"),
    ],
)
def test_a_connection_that_does_not_come_about(hosts: Hosts, rule: str, name: str, said: str) -> None:
    if rule:
        hosts.server.nft(f"add rule inet test input tcp dport {PORT} {rule}")
    with hosts.recording() as here, hosts.recording(hosts.server) as there, hosts.client.socket() as caller:
        caller.settimeout(1.5)
        with suppress(OSError):
            caller.connect((hosts.server.addresses[0], PORT))
    for packets in (here, there):
        found = verdict_of(records_of(packets))
        assert found.name == name, found
        assert said in found.sentence


def without(records: Records, left_out: Sequence[int]) -> Records:
    """A capture that lost these rows."""
    kept = [row for row in range(len(records)) if row not in set(left_out)]
    return records_of([(int(records.time_ns[row]), records.packet(row)) for row in kept])


def test_what_only_the_capture_lost_is_no_loss(hosts: Hosts) -> None:
    without_offload(hosts)
    records = hosts.recorded(sends(BULK), reads)
    base = records.first
    data = [one for one in segments_of(records) if one.length]
    times = Counter(one.stop for one in data)  # on a busy host a probe may have gone out
    lost = [one for at, one in enumerate(data) if at % 17 == 5 and one is not data[-1] and times[one.stop] == 1]
    found = verdict_of(without(records, [one.frame - base for one in lost]))
    assert found.name == verdict_of(records).name, found
    missing = sum(one.length for one in lost)
    said = f"{missing} bytes of the client were acknowledged and never seen: the capture lost them, not the network"
    assert said in found.notes


def test_what_went_on_while_the_capture_lost_all_is_unknown(hosts: Hosts) -> None:
    def serve(connection: socket.socket) -> None:
        for _ in range(3):
            connection.recv(100)
            pause(0.1)
            connection.sendall(b"answer")

    def ask(connection: socket.socket) -> None:
        for _ in range(3):
            connection.sendall(b"request")
            connection.recv(100)

    records = hosts.recorded(ask, serve)
    second = [one for one in segments_of(records) if one.length][1:4]  # first answer, second request and answer
    gone = range(second[0].frame - records.first, second[-1].frame - records.first + 1)
    found = judge(record_of(without(records, gone)))
    assert found is not None
    assert found.name == "unknown"
    assert found.totals["unknown"] > 150_000_000
    assert 0.2 < found.explained < 0.6


@pytest.mark.parametrize("at", ["client", "server"])
def test_what_the_network_lost_is_not_laid_to_the_capture(hosts: Hosts, at: str) -> None:
    hosts.server.nft("add rule inet test input meta length > 1000 numgen inc mod 100 == 50 drop")
    without_offload(hosts)
    found = verdict_of(hosts.recorded(sends(BULK), reads, at=getattr(hosts, at)))
    assert found.name == "fast recovery", found
    assert not any("the capture lost" in note for note in found.notes)


def test_what_a_network_card_does_later_is_no_fault(hosts: Hosts) -> None:
    records = hosts.recorded(sends(MEGABYTE), reads)
    assert max(one.length for one in segments_of(records)) > 10_000
    wrong = Dissector(["tcp.checksum", "tcp.checksum_calculated", "tcp.len"]).dissect(records)
    sums = [wrong.values(name)[1].tolist() for name in ("tcp.checksum", "tcp.checksum_calculated")]
    assert sums[0] != sums[1]
    found = verdict_of(records)
    assert found.name == "clean", found
    assert len(found.notes) == 1
    assert "segmentation offload" in found.notes[0]


def test_tls_is_judged_by_what_tcp_shows(hosts: Hosts) -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("echo.test").configure_cert(served)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)

    def serve(connection: socket.socket) -> None:
        with served.wrap_socket(connection, server_side=True) as tls:
            tls.recv(100)
            pause(0.4)
            tls.sendall(bytes(30_000))

    def ask(connection: socket.socket) -> None:
        with trusted.wrap_socket(connection, server_hostname="echo.test") as tls:
            tls.sendall(b"request")
            got = 0
            while got < 30_000:
                got += len(tls.recv(65536))

    for records in hosts.recorded_at([hosts.client, hosts.server], ask, serve):
        found = verdict_of(records)
        assert found.name == "server thinking", found
        assert share(found, "server thinking") > EXPLAINED


def test_a_packet_that_the_capture_has_twice_was_not_sent_again(hosts: Hosts) -> None:
    records = hosts.recorded(sends(b"question"), reads)
    packets = [(int(records.time_ns[row]), records.packet(row)) for row in range(len(records))]
    found = verdict_of(records_of([(time + late, data) for time, data in packets for late in (0, 5_000)]))
    assert found.name == "clean", found
    assert len(found.notes) == 1
    assert "in the capture twice" in found.notes[0]
