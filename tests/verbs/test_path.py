"""`echowire.path` and `echowire.path_mtu` along a chain of five hosts, with branches, silence and black holes."""

from __future__ import annotations

from typing import Any

import pytest

import echowire
from echowire.errors import NameResolutionError, UsageError
from tests.netns import Namespace, link, namespaces, narrow

FAR, FAR6 = "10.77.3.2", "fd77:0:0:3::2"
WAY = ["10.77.0.2", "10.77.1.2", "10.77.2.2", FAR]
WAY6 = ["fd77::2", "fd77:0:0:1::2", "fd77:0:0:2::2", FAR6]


def path_to(host: Namespace, target: str, **how: Any) -> echowire.PathReport:
    with host.inside():
        return echowire.path(target, **{"interval_s": 0.05, "wait_s": 0.5, "max_hops": 12, **how})


def ways(found: echowire.PathReport) -> list[list[str]]:
    return [hop.addresses for hop in found.hops]


@pytest.mark.parametrize("datagram", [False, True])
@pytest.mark.parametrize("probe", ["icmp", "udp", "tcp"])
@pytest.mark.parametrize(("target", "way"), [(FAR, WAY), (FAR6, WAY6)])
def test_the_chain(hosts: tuple[Namespace, ...], probe: str, target: str, way: list[str], datagram: bool) -> None:
    hosts[0].sysctl("net.ipv4.ping_group_range", "0 2147483647" if datagram else "1 0")
    found = path_to(hosts[0], target, probe=probe)
    assert ways(found) == [[address] for address in way]
    assert found.reached
    assert found.exit_status == 0
    assert found.flow == "constant"
    assert [(hop.received, hop.lost) for hop in found.hops] == [(3, 0)] * 4
    last = {"icmp": ("reply", ""), "udp": ("unreachable", "port"), "tcp": ("refused", "")}[probe]
    assert [hop.said for hop in found.hops] == [[], [], [], [last]]
    assert all(hop.round_trips.count == 3 for hop in found.hops)


def test_tcp_where_something_listens(hosts: tuple[Namespace, ...]) -> None:
    with hosts[4].socket() as sock:
        sock.bind((FAR, 4433))
        sock.listen()
        found = path_to(hosts[0], f"{FAR}:4433", probe="tcp")
        assert ways(found) == [[address] for address in WAY]
        assert found.hops[-1].said == [("reply", "")]


def test_tcp_without_the_right_to_raw_sockets(hosts: tuple[Namespace, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise echowire.OperationError("socket", "raw TCP", 1, "Operation not permitted")

    monkeypatch.setattr("echowire.verbs.path.SynProber", refused)
    found = path_to(hosts[0], FAR, probe="tcp")
    assert ways(found) == [[address] for address in WAY]
    assert found.flow == "varied"


@pytest.mark.parametrize("probe", ["icmp", "udp", "tcp"])
def test_a_router_that_is_silent_loses_nothing(hosts: tuple[Namespace, ...], probe: str) -> None:
    hosts[2].nft("add rule inet test output icmp type time-exceeded drop")
    found = path_to(hosts[0], FAR, probe=probe)
    assert ways(found) == [[WAY[0]], [], [WAY[2]], [FAR]]
    document = found.document()
    assert [hop["silent"] for hop in document["hops"]] == [False, True, False, False]
    assert [hop["path_loss"] for hop in document["hops"]] == [0] * 4


def test_a_router_that_limits_its_errors_is_marked(hosts: tuple[Namespace, ...]) -> None:
    hosts[2].nft("add rule inet test output icmp type time-exceeded limit rate over 1/minute burst 2 packets drop")
    found = path_to(hosts[0], FAR, count=6)
    hops = found.document()["hops"]
    assert [hop["lost"] for hop in hops] == [0, 4, 0, 0]
    assert [hop["rate_limited"] for hop in hops] == [False, True, False, False]
    assert [hop["path_loss"] for hop in hops] == [0] * 4


def test_loss_that_goes_on_is_the_paths(hosts: tuple[Namespace, ...]) -> None:
    """Whatever host 2 is to forward or to receive is dropped every other time."""
    hosts[2].nft("add rule inet test forward ip daddr 10.77.3.2 numgen inc mod 2 1 drop")
    found = path_to(hosts[0], FAR, count=10)
    hops = found.document()["hops"]
    assert [hop["lost"] for hop in hops[:2]] == [0, 0]
    assert sum(hop["lost"] for hop in hops[2:]) == 10
    assert not any(hop["rate_limited"] for hop in hops if hop["path_loss"])


def test_a_firewall_ends_the_path(hosts: tuple[Namespace, ...]) -> None:
    hosts[2].nft("add rule inet test forward ip daddr 10.77.3.2 reject with icmp type admin-prohibited")
    found = path_to(hosts[0], FAR)
    assert ways(found) == [[WAY[0]], [WAY[1]], [WAY[1]]]
    assert found.hops[-1].said == [("filtered", "")]
    assert (found.reached, found.exit_status) == (False, 1)


def test_a_firewall_that_drops_ends_it_in_silence(hosts: tuple[Namespace, ...]) -> None:
    hosts[2].nft("add rule inet test forward ip daddr 10.77.3.2 drop")
    found = path_to(hosts[0], FAR, count=1)
    assert ways(found) == [[WAY[0]], [WAY[1]]]
    assert not found.reached


@pytest.mark.parametrize("probe", ["udp", "tcp"])
def test_branches_show_when_flows_vary(probe: str) -> None:
    """Two ways of equal cost from the first router, which balances by ports as well (fib_multipath_hash_policy 1)."""
    with namespaces(5) as (client, router, left, right, server):
        link(client, router, "10.1.0.1/24", "10.1.0.2/24")
        link(router, left, "10.2.0.1/24", "10.2.0.2/24")
        link(router, right, "10.3.0.1/24", "10.3.0.2/24")
        link(left, server, "10.4.0.1/24", "10.4.0.2/24")
        link(right, server, "10.5.0.1/24", "10.5.0.2/24")
        for host in (router, left, right):
            host.sysctl("net.ipv4.ip_forward", 1)
        for host in (router, left, right, server):
            host.sysctl("net.ipv4.conf.all.rp_filter", 0)
            host.sysctl("net.ipv4.icmp_ratelimit", 0)
        server.ip("address add 10.9.9.9/32 dev lo")
        client.ip("route add default via 10.1.0.2")
        router.sysctl("net.ipv4.fib_multipath_hash_policy", 1)
        router.ip("route add 10.9.9.9/32 nexthop via 10.2.0.2 nexthop via 10.3.0.2")
        left.ip("route add 10.9.9.9/32 via 10.4.0.2")
        right.ip("route add 10.9.9.9/32 via 10.5.0.2")
        left.ip("route add 10.1.0.0/24 via 10.2.0.1")
        right.ip("route add 10.1.0.0/24 via 10.3.0.1")
        server.ip("route add 10.1.0.0/24 via 10.4.0.1")
        one = path_to(client, "10.9.9.9", probe=probe, count=8)
        assert len(one.hops[1].addresses) == 1
        assert (one.flow, one.reached) == ("constant", True)
        many = path_to(client, "10.9.9.9", probe=probe, count=16, flows=16)
        assert sorted(many.hops[1].addresses) == ["10.2.0.2", "10.3.0.2"]
        assert (many.flow, many.reached) == ("varied", True)


@pytest.mark.parametrize("datagram", [False, True])
@pytest.mark.parametrize(("target", "by"), [(FAR, WAY[1]), (FAR6, WAY6[1])])
def test_the_mtu_of_a_link_in_the_middle(hosts: tuple[Namespace, ...], target: str, by: str, datagram: bool) -> None:
    hosts[0].sysctl("net.ipv4.ping_group_range", "0 2147483647" if datagram else "1 0")
    with narrow(hosts[2], hosts[3], 1280), hosts[0].inside():
        found = echowire.path_mtu(target)
    assert (found.mtu, found.told_by, found.black_hole, found.lost_after) == (1280, by, False, "")


@pytest.mark.parametrize(("target", "after"), [(FAR, WAY[1]), (FAR6, WAY6[1])])
@pytest.mark.parametrize("mtu", [1280, 1353])
def test_the_mtu_through_a_black_hole(hosts: tuple[Namespace, ...], target: str, after: str, mtu: int) -> None:
    hosts[2].nft(
        "add rule inet test output icmp type destination-unreachable drop\n"
        "add rule inet test output icmpv6 type packet-too-big drop"
    )
    with narrow(hosts[2], hosts[3], mtu), hosts[0].inside():
        found = echowire.path_mtu(target, wait_s=0.3)
    assert (found.mtu, found.told_by, found.black_hole, found.lost_after) == (mtu, "", True, after)


def test_the_mtu_where_some_are_lost_by_chance(hosts: tuple[Namespace, ...]) -> None:
    hosts[1].nft("add rule inet test forward ip daddr 10.77.3.2 numgen inc mod 4 1 drop")
    with narrow(hosts[2], hosts[3], 1400), hosts[0].inside():
        assert echowire.path_mtu(FAR, wait_s=0.3).mtu == 1400


def test_the_mtu_of_this_hosts_own_link(hosts: tuple[Namespace, ...]) -> None:
    with hosts[0].inside():
        found = echowire.path_mtu(FAR)
    assert (found.mtu, found.told_by, found.black_hole) == (1500, "local", False)


def test_the_mtu_by_udp(hosts: tuple[Namespace, ...]) -> None:
    with hosts[4].inside():
        server = echowire.serve(f"udp://{FAR}:0")
    with server, narrow(hosts[2], hosts[3], 1280), hosts[0].inside():
        found = echowire.path_mtu(FAR, probe="udp", port=server.endpoint.port)
    assert (found.mtu, found.told_by) == (1280, WAY[1])


def test_the_mtu_to_nobody(hosts: tuple[Namespace, ...]) -> None:
    hosts[4].nft("add rule inet test input icmp type echo-request drop")
    with hosts[0].inside():
        found = echowire.path_mtu(FAR, wait_s=0.1)
    assert (found.mtu, found.exit_status) == (None, 1)


def test_what_cannot_be() -> None:
    with pytest.raises(NameResolutionError):
        echowire.path("nosuch.invalid")
    for wrong in ({"flows": 0}, {"max_hops": 300}, {"probe": "stamp"}, {"count": 0}, {"size": 3}):
        with pytest.raises(UsageError):
            echowire.path("127.0.0.1", **wrong)
