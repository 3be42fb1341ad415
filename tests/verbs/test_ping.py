"""`echowire.ping` in real networks: every word provoked and told right, whom by; counts that are exact.

The chain is five hosts: .1 of link i is on the left, .2 on the right; host 0 asks, host 4 is asked.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import echowire
from echowire.core.probing.answers import Answer
from echowire.kernel.clock import ClockError
from tests.netns import Namespace, narrow

NEAR, FAR = "10.77.0.2", "10.77.3.2"
NEAR6, FAR6 = "fd77:0:0:0::2", "fd77:0:0:3::2"
THIRD = "10.77.2.2"
"""The address of host 3, the last router, that faces host 0."""


def asked(host: Namespace, target: str, **how: Any) -> list[Answer]:
    """The answers to a few probes from `host`."""
    answers: list[Answer] = []
    how = {"count": 2, "interval_s": 0.02, "wait_s": 0.5, **how}
    with host.inside():
        echowire.ping(target, on_answer=answers.append, **how)
    return answers


def said(answers: list[Answer]) -> set[tuple[str, str, str]]:
    return {(answer.word, answer.what, answer.by) for answer in answers}


def with_group(host: Namespace, *, datagram: bool) -> None:
    host.sysctl("net.ipv4.ping_group_range", "0 2147483647" if datagram else "1 0")


BOTH_SOCKETS = pytest.mark.parametrize("datagram", [False, True], ids=["raw", "datagram"])


@BOTH_SOCKETS
@pytest.mark.parametrize("target", [FAR, FAR6])
def test_reply(hosts: tuple[Namespace, ...], datagram: bool, target: str) -> None:
    with_group(hosts[0], datagram=datagram)
    answers = asked(hosts[0], target)
    address = echowire.Endpoint.parse(f"[{target}]:1").host if ":" in target else target
    assert [answer.word for answer in answers] == ["reply"] * 2
    assert {answer.ttl for answer in answers} == {61}
    assert {answer.clock for answer in answers} == {"kernel"}
    assert all(socket.getaddrinfo(answer.by, 0)[0][4][0] == answer.by for answer in answers)
    assert len({answer.by for answer in answers}) == 1 and address
    with hosts[0].inside():
        assert echowire.ping(target, count=1).effective["socket"] == ("datagram" if datagram else "raw")


@BOTH_SOCKETS
@pytest.mark.parametrize(
    ("target", "rule", "answer"),
    [
        (FAR, "ip daddr 10.77.3.2 reject with icmp type admin-prohibited", ("filtered", "", NEAR)),
        (FAR, "ip daddr 10.77.3.2 reject with icmp type host-prohibited", ("filtered", "", NEAR)),
        (FAR, "ip daddr 10.77.3.2 reject with icmp type net-unreachable", ("unreachable", "net", NEAR)),
        (FAR, "ip daddr 10.77.3.2 reject with icmp type host-unreachable", ("unreachable", "host", NEAR)),
        (FAR, "ip daddr 10.77.3.2 reject with icmp type port-unreachable", ("unreachable", "port", NEAR)),
        (FAR, "ip daddr 10.77.3.2 reject with icmp type prot-unreachable", ("unreachable", "protocol", NEAR)),
        (FAR6, "ip6 daddr fd77:0:0:3::2 reject with icmpv6 type admin-prohibited", ("filtered", "", "fd77::2")),
        (FAR6, "ip6 daddr fd77:0:0:3::2 reject with icmpv6 type addr-unreachable", ("unreachable", "host", "fd77::2")),
        (FAR6, "ip6 daddr fd77:0:0:3::2 reject with icmpv6 type no-route", ("unreachable", "net", "fd77::2")),
        (FAR6, "ip6 daddr fd77:0:0:3::2 reject with icmpv6 type port-unreachable", ("unreachable", "port", "fd77::2")),
        (FAR, "ip daddr 10.77.3.2 drop", ("no reply", "", "")),
    ],
)
def test_a_router_says_no(
    hosts: tuple[Namespace, ...], datagram: bool, target: str, rule: str, answer: tuple[str, str, str]
) -> None:
    with_group(hosts[0], datagram=datagram)
    hosts[1].nft(f"add rule inet test forward {rule}")
    assert said(asked(hosts[0], target)) == {answer}


@BOTH_SOCKETS
@pytest.mark.parametrize(("target", "by"), [(FAR, THIRD), (FAR6, "fd77:0:0:2::2")])
def test_ttl_exceeded(hosts: tuple[Namespace, ...], datagram: bool, target: str, by: str) -> None:
    with_group(hosts[0], datagram=datagram)
    assert said(asked(hosts[0], target, ttl=3)) == {("ttl exceeded", "", by)}


@BOTH_SOCKETS
@pytest.mark.parametrize(("target", "by"), [(FAR, "10.77.1.2"), (FAR6, "fd77:0:0:1::2")])
def test_too_big(hosts: tuple[Namespace, ...], datagram: bool, target: str, by: str) -> None:
    with_group(hosts[0], datagram=datagram)
    with narrow(hosts[2], hosts[3], 1280):
        answers = asked(hosts[0], target, size=1400, fragments="probe")
        assert {(answer.word, answer.by, answer.mtu) for answer in answers} == {("too big", by, 1280)}
        # Now the kernel knows, and itself refuses what is larger.
        answers = asked(hosts[0], target, size=1400, fragments="do")
        assert {(answer.word, answer.by, answer.mtu) for answer in answers} == {("too big", "local", 1280)}


@BOTH_SOCKETS
def test_this_host_says_no(hosts: tuple[Namespace, ...], datagram: bool) -> None:
    with_group(hosts[0], datagram=datagram)
    assert said(asked(hosts[0], "192.0.2.1")) == {("no route", "ENETUNREACH", "local")}
    hosts[0].nft("add rule inet test output ip daddr 10.77.3.2 drop")
    assert said(asked(hosts[0], FAR)) == {("filtered", "EPERM", "local")}
    hosts[0].ip("route add prohibit 192.0.2.0/25")
    hosts[0].ip("route add blackhole 192.0.2.128/25")
    assert said(asked(hosts[0], "192.0.2.1")) == {("filtered", "EACCES", "local")}
    assert said(asked(hosts[0], "192.0.2.129")) == {("no route", "EINVAL", "local")}
    hosts[0].ip("route del prohibit 192.0.2.0/25")
    hosts[0].ip("route del blackhole 192.0.2.128/25")


@BOTH_SOCKETS
def test_a_neighbour_that_is_silent(hosts: tuple[Namespace, ...], datagram: bool) -> None:
    with_group(hosts[0], datagram=datagram)
    hosts[0].sysctl("net.ipv4.neigh.veth0.retrans_time_ms", 50)
    answers = asked(hosts[0], "10.77.0.99", count=1, wait_s=5)
    assert said(answers) == {("unreachable", "host", "10.77.0.1")}


@contextmanager
def listening(host: Namespace, address: str, port: int = 7777) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(64)
        yield port


@pytest.mark.parametrize("target", [FAR, FAR6])
def test_tcp_connects(hosts: tuple[Namespace, ...], target: str) -> None:
    with listening(hosts[4], target) as port:
        answers = asked(hosts[0], target, probe="tcp", port=port)
        assert [answer.word for answer in answers] == ["reply"] * 2
        assert {answer.clock for answer in answers} == {"kernel"}
        assert all(0 < (answer.rtt_ns or 0) < 100_000_000 for answer in answers)


@pytest.mark.parametrize(
    ("target", "at", "chain_name", "rule", "answer"),
    [
        (FAR, 4, "input", "", ("refused", "", FAR)),
        (FAR6, 4, "input", "", ("refused", "", "fd77:0:0:3::2")),
        (FAR, 4, "input", "tcp dport 7777 reject with tcp reset", ("refused", "", FAR)),
        (FAR, 4, "input", "tcp dport 7777 reject", ("unreachable", "port", FAR)),
        (FAR, 1, "forward", "tcp dport 7777 reject with icmp type admin-prohibited", ("filtered", "", NEAR)),
        (
            FAR,
            2,
            "forward",
            "tcp dport 7777 reject with icmp type host-unreachable",
            ("unreachable", "host", "10.77.1.2"),
        ),
        (FAR6, 1, "forward", "tcp dport 7777 reject with icmpv6 type admin-prohibited", ("filtered", "", "fd77::2")),
        (FAR, 4, "input", "tcp dport 7777 drop", ("no reply", "", "")),
        # What is dropped on its way out looks to TCP as if it were dropped anywhere (FAILURES row 16).
        (FAR, 0, "output", "tcp dport 7777 drop", ("no reply", "", "")),
    ],
)
def test_tcp_is_told_who_says_no(
    hosts: tuple[Namespace, ...], target: str, at: int, chain_name: str, rule: str, answer: tuple[str, str, str]
) -> None:
    if rule:
        hosts[at].nft(f"add rule inet test {chain_name} {rule}")
    assert said(asked(hosts[0], target, probe="tcp", port=7777)) == {answer}


def test_tcp_ttl_and_routes(hosts: tuple[Namespace, ...]) -> None:
    assert said(asked(hosts[0], FAR, probe="tcp", port=7777, ttl=2)) == {("ttl exceeded", "", "10.77.1.2")}
    assert said(asked(hosts[0], "192.0.2.1", probe="tcp", port=7777)) == {("no route", "ENETUNREACH", "local")}


def test_tcp_whose_first_syn_is_lost(hosts: tuple[Namespace, ...]) -> None:
    hosts[4].nft("add rule inet test input tcp dport 7777 limit rate over 1/day burst 1 packets counter accept")
    hosts[4].nft("add rule inet test input tcp flags syn tcp dport 7777 drop")
    with listening(hosts[4], FAR) as port:
        (answer,) = asked(hosts[0], FAR, probe="tcp", port=port, count=1, wait_s=5)
    assert (answer.word, answer.retransmitted, answer.clock) == ("reply", True, "monotonic")
    assert (answer.rtt_ns or 0) > 500_000_000


@contextmanager
def echoing(host: Namespace, address: str, answer: Callable[[int, bytes], list[bytes]] | None = None) -> Iterator[int]:
    """A UDP echo on `host`, which `answer` may make worse: it is given which datagram it is, and its bytes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = host.socket(family, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.settimeout(0.05)
    ended = threading.Event()

    def serve() -> None:
        number = 0
        while not ended.is_set():
            try:
                data, peer = sock.recvfrom(65536)
            except TimeoutError:
                continue
            for reply in [data] if answer is None else answer(number, data):
                sock.sendto(reply, peer)
            number += 1

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        ended.set()
        thread.join()
        sock.close()


@pytest.mark.parametrize("target", [FAR, FAR6])
def test_udp_echo(hosts: tuple[Namespace, ...], target: str) -> None:
    with echoing(hosts[4], target) as port:
        answers = asked(hosts[0], target, probe="udp", port=port)
    assert [(answer.word, answer.ttl, answer.clock, answer.size) for answer in answers] == [
        ("reply", 61, "kernel", 56)
    ] * 2


@pytest.mark.parametrize(
    ("target", "at", "rule", "answer"),
    [
        (FAR, 4, "", ("unreachable", "port", FAR)),
        (FAR6, 4, "", ("unreachable", "port", "fd77:0:0:3::2")),
        (FAR, 1, "udp dport 7777 reject with icmp type admin-prohibited", ("filtered", "", NEAR)),
        (FAR6, 1, "udp dport 7777 reject with icmpv6 type admin-prohibited", ("filtered", "", "fd77::2")),
        (FAR, 1, "udp dport 7777 drop", ("no reply", "", "")),
    ],
)
def test_udp_is_told_who_says_no(
    hosts: tuple[Namespace, ...], target: str, at: int, rule: str, answer: tuple[str, str, str]
) -> None:
    if rule:
        hosts[at].nft(f"add rule inet test forward {rule}")
    assert said(asked(hosts[0], target, probe="udp", port=7777)) == {answer}


def test_one_targets_error_is_not_anothers(hosts: tuple[Namespace, ...]) -> None:
    """The error of one is pending on the socket when the next is sent to."""
    answers: list[Answer] = []
    with echoing(hosts[4], FAR) as port, hosts[0].inside():
        pinged = echowire.ping(
            *(f"{FAR}:{port}", f"{FAR}:7777", f"{NEAR}:7777", "192.0.2.1:7777", "nosuch.invalid"),
            probe="udp",
            count=20,
            interval_s=0.01,
            on_answer=answers.append,
        )
    words = [[(word, by, count) for (word, _, by), count in target.answers.items()] for target in pinged.targets]
    assert words == [
        [("reply", FAR, 20)],
        [("unreachable", FAR, 20)],
        [("unreachable", NEAR, 20)],
        [("no route", "local", 20)],
        [("name unknown", "", 1)],
    ]
    assert pinged.exit_status == 2
    assert {answer.clock for answer in answers if answer.word == "reply"} == {"kernel"}


def test_what_the_path_did_is_counted(hosts: tuple[Namespace, ...]) -> None:
    """Lost, duplicated, reordered, corrupted and late, each by a server that does it on purpose."""
    kept: list[bytes] = []
    delayed: list[bytes] = []

    def answer(number: int, data: bytes) -> list[bytes]:
        if number == 3:  # lost
            return []
        if number == 5:  # twice, then once more
            return [data] * 3
        if number == 7:  # after the next one
            kept.append(data)
            return []
        if number == 8:
            return [data, kept.pop()]
        if number == 10:
            return [data[:-1] + b"!"]
        if number == 11:  # cut
            return [data[:-5]]
        if number == 12:
            delayed.append(data)
            return []
        if number == 24:  # much later
            return [data, delayed.pop(), b"a stranger's"]
        return [data]

    with echoing(hosts[4], FAR, answer) as port, hosts[0].inside():
        (target,) = (
            pinged := echowire.ping(FAR, probe="udp", port=port, count=30, interval_s=0.02, wait_s=0.1)
        ).targets
    counts = {name: getattr(target, name) for name in ("sent", "received", "lost", "unanswered")}
    assert counts == {"sent": 30, "received": 26, "lost": 2, "unanswered": 0}
    others = {name: getattr(target, name) for name in ("duplicated", "reordered", "corrupted", "late")}
    assert others == {"duplicated": 2, "reordered": 1, "corrupted": 2, "late": 1}
    assert pinged.ghosts == 1
    assert target.round_trips.count == 26


@contextmanager
def reflecting(host: Namespace | None, address: str, **how: Any) -> Iterator[echowire.Server]:
    endpoint = echowire.Endpoint("udp", address, 0)
    if host is None:
        with echowire.serve(endpoint, service="stamp", **how) as server:
            yield server
    else:
        with host.inside():
            server = echowire.serve(endpoint, service="stamp", **how)
        with server:
            yield server


@pytest.mark.parametrize("target", [FAR, FAR6])
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("engine", ["readiness", "threads"])
def test_stamp(hosts: tuple[Namespace, ...], target: str, keyed: bool, engine: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    how: dict[str, Any] = {"stamp_key": key} if keyed else {}
    with reflecting(hosts[4], target, engine=engine, **how) as server, hosts[0].inside():
        pinged = echowire.ping(
            target, probe="stamp", port=server.endpoint.port, count=10, interval_s=0.01, size=200, **how
        )
    (found,) = pinged.targets
    assert (found.sent, found.received, found.lost_forward, found.lost_backward) == (10, 10, 0, 0)
    assert found.clocks == {"kernel": 10}
    assert pinged.effective["authenticated"] == keyed
    assert server.summary.datagrams_sent == 10
    assert server.summary.sent_bytes == server.summary.received_bytes == 2000


def test_stamp_with_another_key_is_not_answered(hosts: tuple[Namespace, ...], tmp_path: Path) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_text("secret")
    other.write_text("guess")
    with reflecting(hosts[4], FAR, stamp_key=key) as server:
        port = server.endpoint.port
        assert said(asked(hosts[0], FAR, probe="stamp", port=port, stamp_key=other)) == {("no reply", "", "")}
        assert said(asked(hosts[0], FAR, probe="stamp", port=port)) == {("no reply", "", "")}
        assert said(asked(hosts[0], FAR, probe="stamp", port=port, stamp_key=key)) == {("reply", "", FAR)}


def test_stamp_errors_name_their_probe(hosts: tuple[Namespace, ...]) -> None:
    assert said(asked(hosts[0], FAR, probe="stamp", port=7777)) == {("unreachable", "port", FAR)}


def test_stamp_tells_on_which_way_it_was_lost(hosts: tuple[Namespace, ...]) -> None:
    """Every fourth is lost on the way there, every fifth of the answers on the way back; the last comes through."""
    with reflecting(hosts[4], FAR) as server:
        port = server.endpoint.port
        hosts[1].nft(f"add rule inet test forward udp dport {port} numgen inc mod 4 1 drop")
        hosts[3].nft(f"add rule inet test forward udp sport {port} numgen inc mod 5 2 drop")
        with hosts[0].inside():
            (found,) = echowire.ping(FAR, probe="stamp", port=port, count=40, interval_s=0.01, wait_s=0.2).targets
    assert (found.sent, found.lost) == (40, 16)
    assert (found.lost_forward, found.lost_backward) == (10, 6)


@pytest.mark.parametrize("synchronised", [False, True])
def test_one_way_delays_are_told_only_of_clocks_that_agree(synchronised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One host has one clock; what changes is what it says of itself."""
    for module in ("echowire.verbs.ping", "echowire.verbs.serving"):
        monkeypatch.setattr(f"{module}.clock_error", lambda: ClockError(synchronised, 0.0001))
    with reflecting(None, "127.0.0.1") as server:
        (found,) = echowire.ping(
            "127.0.0.1", probe="stamp", port=server.endpoint.port, count=10, interval_s=0.01
        ).targets
    for way in (found.forward, found.backward):
        document = way.document()
        assert document is not None
        assert document["synchronised"] is synchronised
        assert (document["delay_us"]["p50"] is not None) is synchronised
        assert document["jitter_us"] is not None
    if synchronised:
        median = [way.delays.percentile(50) or 0 for way in (found.forward, found.backward)]
        assert sum(median) <= 2 * (found.round_trips.max_ns or 0)
        assert found.forward.error_ns >= 200_000


def test_a_reflector_survives_what_is_no_test_packet() -> None:
    """A hundred thousand random datagrams: those that are test packets are answered, each in its own size."""
    draw = random.Random(862)
    with reflecting(None, "127.0.0.1") as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", server.endpoint.port))
        sock.settimeout(5)
        wanted = answered = 0
        for number in range(100_000):
            data = draw.randbytes(draw.randrange(1, 120))
            is_one = len(data) >= 41 and data[13] != 0
            wanted += is_one
            sock.send(data)
            if is_one:
                assert len(sock.recv(1000)) == len(data)
                answered += 1
            elif not number % 64:
                # The server takes them in order: an answer to this one shows that it got so far.
                sock.send(bytes(12) + b"\0\1" + bytes(30))
                sock.recv(1000)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1000)
    assert answered == wanted > 50_000
    assert server.summary.datagrams_received >= 100_000


def test_ghosts_of_another_run(hosts: tuple[Namespace, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once with the same identifier and the same sequence numbers, on raw sockets that hear both's replies."""
    draw = random.Random(1)
    monkeypatch.setattr("echowire.verbs.ping.random_bits", lambda bits: 4711 if bits == 16 else draw.getrandbits(bits))
    with_group(hosts[0], datagram=False)
    found: list[Any] = []

    def one() -> None:
        with hosts[0].inside():
            found.append(echowire.ping(FAR, count=20, interval_s=0.02))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for pinged in found:
        (target,) = pinged.targets
        assert (target.received, target.lost, target.duplicated, target.corrupted) == (20, 0, 0, 0)
        assert pinged.ghosts > 0


def test_damage_that_icmp_does_not_see(hosts: tuple[Namespace, ...]) -> None:
    """Replies whose data a router changed: by the raw socket's own checksum, and by comparing where that was mended."""
    with_group(hosts[0], datagram=False)
    hosts[1].nft("add rule inet test forward icmp type echo-reply @th,256,16 set 0xabcd")
    (target,) = _pinged(hosts[0], FAR).targets
    assert (target.received, target.corrupted, target.lost) == (0, 3, 0)
    assert target.round_trips.count == 0


def _pinged(host: Namespace, target: str) -> echowire.Pinged:
    with host.inside():
        return echowire.ping(target, count=3, interval_s=0.02, wait_s=0.3)


def test_probing_is_changed_by_keywords_and_said_with_the_report() -> None:
    with echowire.serve("udp://127.0.0.1:0") as server:
        probing = echowire.Probing(probe="udp", port=server.endpoint.port, count=5, tos=8)
        supplied = echowire.ping("127.0.0.1", probing=probing, count=1, family=4).document()["supplied"]
        way = echowire.path("127.0.0.1", probe="udp", port=server.endpoint.port, count=1, tos=8)
    assert supplied == {"targets": ["127.0.0.1"], **probing.document(), "count": 1, "family": 4}
    assert (way.document()["supplied"]["target"], way.document()["supplied"]["tos"]) == ("127.0.0.1", 8)
