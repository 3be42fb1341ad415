"""`echowire.ping` in real networks: every word provoked and told right, whom by; counts that are exact.

The chain is five hosts: .1 of link i is on the left, .2 on the right; host 0 asks, host 4 is asked.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import echowire
from echowire.wire.answers import Answer
from tests.netns import Namespace, chain

NEAR, FAR = "10.77.0.2", "10.77.3.2"
NEAR6, FAR6 = "fd77:0:0:0::2", "fd77:0:0:3::2"
THIRD = "10.77.2.2"
"""The address of host 3, the last router, that faces host 0."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Namespace, ...]]:
    with chain(5) as made:
        for host in made:
            # Each error is wanted, however many a second.
            host.sysctl("net.ipv4.icmp_ratelimit", 0)
            host.sysctl("net.ipv4.icmp_msgs_per_sec", 100000)
            host.sysctl("net.ipv6.icmp.ratelimit", 0)
        yield made


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "hosts" in request.fixturenames:
        for host in request.getfixturevalue("hosts"):
            host.flush()


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
    with narrow(hosts):
        answers = asked(hosts[0], target, size=1400, fragments="probe")
        assert {(answer.word, answer.by, answer.mtu) for answer in answers} == {("too big", by, 1280)}
        # Now the kernel knows, and itself refuses what is larger.
        answers = asked(hosts[0], target, size=1400, fragments="do")
        assert {(answer.word, answer.by, answer.mtu) for answer in answers} == {("too big", "local", 1280)}


@contextmanager
def narrow(hosts: tuple[Namespace, ...], mtu: int = 1280) -> Iterator[None]:
    """Of the link from host 2 to host 3, while it lasts."""
    ends = ((hosts[2], hosts[2].devices[1]), (hosts[3], hosts[3].devices[0]))
    for host, device in ends:
        host.ip(f"link set {device} mtu {mtu}")
    try:
        yield
    finally:
        for host, device in ends:
            host.ip(f"link set {device} mtu 1500")
        for host in hosts:
            host.ip("route flush cache")
            host.ip("-6 route flush cache")


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
