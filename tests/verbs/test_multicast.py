"""Groups and broadcast between real hosts on a bridge: who hears whom, and what is said where nobody does.

The other end is socat or iperf 2 wherever they can be; what the path really did is known from the bridge, the router or
the wire, which are the kernel's or the test's own.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import echowire
from echowire import GroupReport, GroupWatch, OperationError, Server, UsageError
from tests.bridged import add_port, bridged
from tests.choosing_wire import chosen_path
from tests.netns import Namespace, link, namespaces
from tests.peers import needs
from tests.processes import COMMAND, PATIENCE_S

GROUP, PORT = "239.1.2.3", 5000
WAIT_S = 0.3
"""How long a group that stays silent is waited for; one that answers is heard as soon as it does."""


def called(host: Namespace, endpoint: str, **how: Any) -> GroupReport:
    """A call of `endpoint` from `host`: one datagram, unless `how` says more."""
    with host.inside():
        return echowire.call_group(f"udp://{endpoint}", **{"wait_s": WAIT_S, **how}).run()


@contextmanager
def served(host: Namespace, endpoint: str, **how: Any) -> Iterator[Server]:
    """Our echo on `host`."""
    with host.inside():
        server = echowire.serve(f"udp://{endpoint}", **how)
    with server:
        yield server


def joined(host: Namespace, group: str = GROUP, interface: str = "veth0") -> bool:
    """Whether the kernel of `host` has joined the group there, by ip(8)."""
    return re.search(rf"\b{re.escape(group)}\b", host.run("ip", "maddr", "show", "dev", interface)) is not None


def wait_until(holds: Callable[[], bool]) -> None:
    until, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not holds():
        assert time.monotonic() < until, "it never happened"
        pause.wait(0.02)


def socat(host: Namespace, group: str = GROUP, interface: str = "veth0", port: int = PORT) -> None:
    """socat joins the group and echoes each datagram."""
    host.start("socat", f"UDP4-RECVFROM:{port},reuseaddr,ip-add-membership={group}:{interface},fork", "PIPE")
    wait_until(lambda: joined(host, group, interface))


def iperf(host: Namespace, group: str = GROUP, interface: str = "veth0", port: int = 5001) -> None:
    """iperf 2 joins the group, and answers nobody."""
    words = ("iperf", "-s", "-u", "-B", f"{group}%{interface}", "-p", str(port))
    host.start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: joined(host, group, interface))


def causes(report: GroupReport) -> list[tuple[str, bool]]:
    return [(finding.cause, finding.is_certain) for finding in report.findings]


def senders(report: GroupReport) -> dict[str, tuple[int, int, int]]:
    """Of each sender: answered, duplicated, reordered."""
    return {one.address: (one.answered, one.duplicated, one.reordered) for one in report.senders}


# --- who joined is heard ---------------------------------------------------------------------------------------------


@needs("socat")
def test_each_member_answers_for_itself() -> None:
    with bridged(3) as (_, caller, ours, theirs), served(ours, f"{GROUP}%veth0:{PORT}") as server:
        socat(theirs)
        report = called(caller, f"{GROUP}%veth0:{PORT}", count=20, interval_s=0.02, wait_s=1.0)
    # socat has a process for each datagram, which come to answer in whatever order.
    counted = {one.address: (one.answered, one.duplicated, one.intact) for one in report.senders}
    assert counted == {f"10.66.0.2:{PORT}": (20, 0, 20), f"10.66.0.3:{PORT}": (20, 0, 20)}
    assert report.source == "10.66.0.1" and not report.findings
    assert server.summary.datagrams_received == 20


@pytest.mark.parametrize("group", ["ff05::77", "ff02::77"])
def test_a_group_of_ipv6_is_joined_on_its_interface(group: str) -> None:
    with bridged(2) as (_, caller, host), served(host, f"[{group}%veth0]:{PORT}"):
        assert joined(host, group)
        report = called(caller, f"[{group}%veth0]:{PORT}", count=3)
    assert len(report.senders) == 1 and report.senders[0].answered == 3


@needs("iperf")
def test_what_iperf_sends_to_a_group_is_counted_to_the_last_datagram() -> None:
    with bridged(2) as (_, caller, host), served(host, f"{GROUP}%veth0:{PORT}", service="discard") as server:
        words = ("-c", f"{GROUP}%veth0", "-u", "-p", str(PORT), "-T", "1", "-l", "200", "-b", "1000pps", "-t", "1")
        caller.ip("route add 239.0.0.0/8 dev veth0")  # iperf asks for one, though it is told the interface
        told = caller.run("iperf", *words, check=False)
        counted = re.search(r"UdpOutDatagrams +(\d+)", caller.run("nstat", "-az", "UdpOutDatagrams"))
        sent = re.search(r"Sent (\d+) datagrams", told)
        assert sent and counted, told
    assert server.summary.datagrams_received == int(counted[1])
    assert abs(int(sent[1]) - int(counted[1])) <= 10  # iperf counts those that say that it has ended one too many
    assert server.summary.received_bytes == 200 * int(counted[1])


def test_it_is_joined_on_the_interface_that_is_named_and_on_no_other() -> None:
    with bridged(2) as (_, caller, host), namespaces(1) as (other,):
        link(host, other, "10.67.0.1/24", "10.67.0.2/24")
        here = host.devices[-1]
        host.ip(f"link set {here} up")
        with served(host, f"{GROUP}:{PORT}", interface="veth0") as server:
            assert str(server.endpoint) == f"{GROUP}%veth0:{PORT}/udp"
            assert joined(host, GROUP, "veth0") and not joined(host, GROUP, here)
            assert not called(other, f"{GROUP}%{other.devices[0]}:{PORT}").senders
            assert called(caller, f"{GROUP}%veth0:{PORT}").senders


def test_a_source_that_is_named_is_the_only_one_heard() -> None:
    with bridged(3) as (_, wanted, other, host), served(host, f"10.66.0.1@232.1.2.3%veth0:{PORT}") as server:
        assert server.endpoint.url == f"udp://10.66.0.1@232.1.2.3%veth0:{PORT}"
        assert called(wanted, f"232.1.2.3%veth0:{PORT}").senders
        assert not called(other, f"232.1.2.3%veth0:{PORT}").senders


# --- twelve that stay silent, and why --------------------------------------------------------------------------------


def test_1_nobody_has_joined_and_the_bridge_knows_it() -> None:
    with bridged(2, querier=True) as (hub, *_):
        wait_until(lambda: _has_asked(hub))
        report = called(hub, f"{GROUP}%br0:{PORT}")
    assert causes(report) == [("no-member", True)]
    assert "`bridge mdb` has no entry" in str(report.findings[0])


def _has_asked(hub: Namespace) -> bool:
    """Whether the bridge's querier is at work, so that its table of members is what it goes by."""
    return "querier" in hub.run("ip", "-d", "link", "show", "br0")


def test_1b_nobody_has_joined_and_nobody_here_can_know() -> None:
    with bridged(2) as (_, caller, _host):
        assert causes(called(caller, f"224.0.0.200%veth0:{PORT}")) == [("nobody", False)]


@needs("iperf")
def test_2_it_left_by_another_interface_than_that_of_the_members() -> None:
    with bridged(1) as (hub, host), namespaces(1) as (other,):
        link(hub, other, "10.67.0.1/24", "10.67.0.2/24")
        iperf(host)
        wait_until(lambda: GROUP in hub.run("bridge", "mdb"))
        report = called(hub, f"{GROUP}%veth0:5001")
    assert causes(report) == [("wrong-interface", True)]
    assert "its members are behind br0 (port1 in `bridge mdb`)" in str(report.findings[0])
    assert report.findings[0].remedy == "Send it there: --interface br0."


@needs("iperf")
def test_3_this_host_has_joined_on_another_interface() -> None:
    with bridged(1) as (_, host), namespaces(1) as (other,):
        link(host, other, "10.67.0.1/24", "10.67.0.2/24")
        iperf(host)
        report = called(host, f"{GROUP}%{host.devices[-1]}:5001")
    assert causes(report) == [("wrong-interface", True)]


MRT_INIT, MRT_ADD_VIF, MRT_ADD_MFC = 200, 202, 204  # linux/mroute.h


@needs("socat")
def test_4_a_router_passes_no_ttl_of_1() -> None:
    with namespaces(3) as (caller, router, host):
        link(caller, router, "10.1.0.1/24", "10.1.0.2/24")
        link(router, host, "10.2.0.1/24", "10.2.0.2/24")
        caller.ip("route add 10.2.0.0/24 via 10.1.0.2")
        host.ip("route add 10.1.0.0/24 via 10.2.0.1")
        router.sysctl("net.ipv4.ip_forward", 1)
        socat(host)
        with _multicast_router(router, "10.1.0.1"):
            report = called(caller, f"{GROUP}%veth0:{PORT}")
            assert causes(report) == [("ttl", False)]
            assert "with TTL 1, which no router passes on" in str(report.findings[0])
            assert list(senders(called(caller, f"{GROUP}%veth0:{PORT}", ttl=2))) == [f"10.2.0.2:{PORT}"]


@contextmanager
def _multicast_router(router: Namespace, source: str) -> Iterator[None]:
    """The kernel's own forwarding of the group, from the first interface to the second, as a routing daemon sets it."""
    with router.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_IP, MRT_INIT, 1)
        except OSError as error:
            pytest.skip(f"this kernel routes no multicast: {error}")
        for number, address in enumerate(("10.1.0.2", "10.2.0.1")):
            vif = struct.pack("=HBBI4s4s", number, 0, 1, 0, socket.inet_aton(address), bytes(4))
            sock.setsockopt(socket.IPPROTO_IP, MRT_ADD_VIF, vif)
        entry = struct.pack(
            "=4s4sH32s6xI", socket.inet_aton(source), socket.inet_aton(GROUP), 0, b"\0\1" + bytes(30), 0
        )
        sock.setsockopt(socket.IPPROTO_IP, MRT_ADD_MFC, entry + bytes(60 - len(entry)))
        yield


def test_5_the_reverse_path_filter_drops_what_has_no_way_back() -> None:
    with bridged(2) as (_, caller, host):
        host.sysctl("net.ipv4.conf.veth0.rp_filter", 1)
        caller.ip("address add 172.20.0.1/24 dev veth0")
        with served(host, f"{GROUP}%veth0:{PORT}") as server:
            with host.inside():
                watch = GroupWatch(server.endpoints)
                assert watch.findings() == []  # a setting alone is no proof
            assert not called(caller, f"{GROUP}%veth0:{PORT}", source="172.20.0.1", count=7).senders
            with host.inside():
                [(_, finding)] = watch.findings()
        assert server.summary.datagrams_received == 0
    assert finding.cause == "rp-filter" and finding.is_certain
    assert "7 packets were dropped meanwhile" in str(finding)


def test_5b_a_source_that_is_wanted_would_be_answered_by_another_interface() -> None:
    with bridged(1) as (_, host), namespaces(1) as (other,):
        link(host, other, "10.67.0.1/24", "10.67.0.2/24")
        host.sysctl("net.ipv4.conf.veth0.rp_filter", 1)
        with served(host, f"10.67.0.2@232.1.2.3%veth0:{PORT}") as server, host.inside():
            [(_, finding)] = GroupWatch(server.endpoints).findings()
            [membership] = [one for one in echowire.memberships().found if one.group == "232.1.2.3"]
    assert finding.cause == "rp-filter"
    assert membership.troubles == (str(finding),)
    assert "this host's route to it goes by veth1, and net.ipv4.conf.veth0.rp_filter is 1" in str(finding)


def test_5c_a_version_of_igmp_that_cannot_name_a_sender() -> None:
    with bridged(1, querier=True) as (hub, host):
        hub.ip("link set br0 type bridge mcast_igmp_version 2")
        with served(host, f"10.66.0.254@232.1.2.3%veth0:{PORT}") as server, host.inside():
            wait_until(lambda: bool(GroupWatch(server.endpoints).findings()))
            [(_, finding)] = GroupWatch(server.endpoints).findings()
    assert finding.cause == "igmp-version"
    assert "IGMPv2 is in force on veth0, which cannot say that 10.66.0.254 alone is wanted" in str(finding)


@needs("iperf")
def test_6_a_bridge_that_nobody_asks_has_forgotten_its_members() -> None:
    with bridged(1) as (hub, host):
        hub.ip("link set port1 type bridge_slave mcast_flood off")
        hub.ip("link set br0 type bridge mcast_membership_interval 100 mcast_querier 0")  # hundredths of a second
        with served(hub, f"{GROUP}%br0:{PORT}") as server, hub.inside():
            assert [finding.cause for _, finding in GroupWatch(server.endpoints).findings()] == ["no-querier"]
        iperf(host)
        wait_until(lambda: f"port1 grp {GROUP}" in hub.run("bridge", "mdb"))
        wait_until(lambda: GROUP not in hub.run("bridge", "mdb"))
        report = called(hub, f"{GROUP}%br0:5001")
    assert causes(report) == [("no-querier", True)]
    assert "port1 gets only what is joined" in str(report.findings[0])


def test_7_no_loop_keeps_it_from_this_host_s_own_members() -> None:
    with bridged(1) as (_, host), served(host, f"{GROUP}%veth0:{PORT}"):
        assert list(senders(called(host, f"{GROUP}%veth0:{PORT}"))) == [f"10.66.0.1:{PORT}"]
        assert causes(called(host, f"{GROUP}%veth0:{PORT}", loop=False)) == [("no-loop", True)]


def test_8_the_interface_has_no_carrier() -> None:
    with bridged(1) as (hub, host):
        hub.ip("link set port1 down")
        report = called(host, f"{GROUP}%veth0:{PORT}")
        assert causes(report) == [("no-carrier", True)]
        host.ip("link set veth0 multicast off")
        hub.ip("link set port1 up")
        host.ip("route add 239.0.0.0/8 dev veth0")
        wait_until(lambda: "LOWER_UP" in host.ip("link show veth0"))
        assert causes(called(host, f"{GROUP}%veth0:{PORT}")) == [("no-multicast", True)]


def test_9_it_was_joined_for_another_source() -> None:
    with bridged(1) as (_, host), served(host, f"10.66.0.99@232.1.2.3%veth0:{PORT}"):
        report = called(host, f"232.1.2.3%veth0:{PORT}")
    assert causes(report) == [("other-source", True)]
    assert "for 10.66.0.99 alone, and it came from 10.66.0.1" in str(report.findings[0])


@needs("iperf")
def test_10_the_group_is_joined_and_the_port_is_another() -> None:
    with bridged(1) as (_, host):
        iperf(host, port=5001)
        assert causes(called(host, f"{GROUP}%veth0:5002")) == [("no-socket", True)]


def test_11_no_route_tells_the_interface() -> None:
    with bridged(1) as (_, host):
        for attempt in (lambda: called(host, f"{GROUP}:{PORT}"), lambda: _serve_within(host, f"udp://{GROUP}:{PORT}")):
            with pytest.raises(OperationError) as caught:
                attempt()
            assert f"No route of this host says which interface {GROUP} is on; name the interface" in str(caught.value)
        with pytest.raises(UsageError, match=r"another one on each link; name the interface: ff02::77%veth0"):
            called(host, f"[ff02::77]:{PORT}")
        with pytest.raises(UsageError, match="no interface 'eht0' here; there are lo, veth0"):
            called(host, f"{GROUP}%eht0:{PORT}")


def _serve_within(host: Namespace, endpoint: str) -> None:
    with host.inside(), echowire.serve(endpoint):
        pytest.fail("it was joined")


def test_12_pings_to_a_group_are_ignored_unless_the_hosts_are_told() -> None:
    with bridged(2) as (hub, caller, host):
        report = called(caller, "224.0.0.1%veth0:7", probe="icmp")
        assert causes(report) == [("pings-ignored", False)]
        for one in (hub, host):
            one.sysctl("net.ipv4.icmp_echo_ignore_broadcasts", 0)
        report = called(caller, "224.0.0.1%veth0:7", probe="icmp", count=3)
        assert senders(report) == {"10.66.0.2": (3, 0, 0), "10.66.0.254": (3, 0, 0)}


# --- broadcast -------------------------------------------------------------------------------------------------------


def command(host: Namespace, *words: object) -> subprocess.CompletedProcess[str]:
    with host.inside():
        return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60)


def test_broadcast_is_asked_for_in_so_many_words() -> None:
    with bridged(3) as (_, caller, first, second), served(first, f":{PORT}"), served(second, f":{PORT}"):
        refused = command(caller, "call", "-u", "10.66.0.255", PORT, "-m", "hi")
        assert refused.returncode == 2 and refused.stdout == ""
        assert "permission denied (EACCES 13)" in refused.stderr and "(--broadcast)" in refused.stderr
        assert refused.stderr.count("\n") == 1
        for address, how in (("10.66.0.255", {}), ("255.255.255.255", {"interface": "veth0"})):
            report = called(caller, f"{address}:{PORT}", broadcast=True, count=5, interval_s=0.01, **how)
            assert senders(report) == {f"10.66.0.2:{PORT}": (5, 0, 0), f"10.66.0.3:{PORT}": (5, 0, 0)}
        refused = command(caller, "ping", "10.66.0.255", "-c", 1)
        assert refused.returncode == 2 and refused.stdout == "" and refused.stderr.count("\n") == 1
        assert "(EACCES 13)" in refused.stderr and "-b (--broadcast)" in refused.stderr
        first.sysctl("net.ipv4.icmp_echo_ignore_broadcasts", 0)
        answered = command(caller, "ping", "-b", "10.66.0.255", "-c", 2, "-i", "50ms", "-W", "300ms")
        assert answered.returncode == 0 and re.search(r"10\.66\.0\.2 +2 +0 +0% ", answered.stdout)
        with pytest.raises(UsageError, match=r"10\.66\.0\.2 is no broadcast address of this host's links"):
            called(caller, f"10.66.0.2:{PORT}", broadcast=True)


# --- no loop and no amplifier ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [PORT, 7, 19])
def test_no_answer_goes_to_a_port_that_would_answer_it(port: int) -> None:
    with bridged(2) as (_, caller, host), served(host, f"{GROUP}%veth0:{PORT}") as server:
        report = called(caller, f"{GROUP}%veth0:{PORT}", source_port=port, count=3)
    assert not report.senders
    assert (server.summary.datagrams_received, server.summary.datagrams_sent, server.summary.refused) == (3, 0, 3)


def test_a_group_s_server_answers_no_more_bytes_than_came() -> None:
    with bridged(2) as (_, caller, host), served(host, f"{GROUP}%veth0:{PORT}", service="daytime") as server:
        called(caller, f"{GROUP}%veth0:{PORT}", messages=[b"x" * 10] * 3)
    assert (server.summary.datagrams_sent, server.summary.sent_bytes) == (3, 30)


def test_a_loop_ends_where_it_begins() -> None:
    """One forged datagram, as if an echo server had sent it to the group, from a port that is on no list."""
    with bridged(3) as (_, forger, first, second):
        with served(first, f"10.66.0.2:{PORT + 1}") as one, served(second, f"{GROUP}%veth0:{PORT}") as group:
            with forger.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
                raw.setsockopt(socket.IPPROTO_IP, 32, struct.pack("=4s4si", bytes(4), bytes(4), _index(forger)))
                raw.sendto(_forged("10.66.0.2", PORT + 1, GROUP, PORT, b"again"), (GROUP, 0))
            # The echo of the group's answer comes to the host, and to no socket of it.
            wait_until(lambda: _counter(second, "UdpNoPorts") > 0)
    assert (group.summary.datagrams_received, group.summary.datagrams_sent) == (1, 1)
    assert (one.summary.datagrams_received, one.summary.datagrams_sent) == (1, 1)


def _index(host: Namespace) -> int:
    with host.inside():
        return socket.if_nametoindex("veth0")


def _counter(host: Namespace, name: str) -> int:
    with host.inside():
        return next(one.value for one in echowire.counters(keep=False).counters if one.name == name)


def _forged(source: str, source_port: int, target: str, port: int, data: bytes) -> bytes:
    """An IPv4 datagram of UDP, whose checksums the kernel fills in, or which need none (RFC 768)."""
    udp = struct.pack("!HHHH", source_port, port, 8 + len(data), 0) + data
    head = (0x45, 0, 20 + len(udp), 0, 0, 1, socket.IPPROTO_UDP, 0, socket.inet_aton(source), socket.inet_aton(target))
    return struct.pack("!BBHHHBBH4s4s", *head) + udp


def test_who_says_the_same_over_and_over_is_answered_from_one_port() -> None:
    """Of one peer that would be suspected of a loop, and tried from a second port: a second member, to who counts."""
    with bridged(2) as (_, caller, host), served(host, f"{GROUP}%veth0:{PORT}"):
        report = called(caller, f"{GROUP}%veth0:{PORT}", messages=[b"again"] * 300, interval_s=0.001)
    assert list(senders(report)) == [f"10.66.0.2:{PORT}"] and report.senders[0].answered == 300


def test_workers_would_answer_a_group_twice() -> None:
    with pytest.raises(UsageError, match="each of 2 workers would get, and answer, what comes to a group"):
        echowire.serve(f"udp://{GROUP}%lo:{PORT}", workers=2)
    with pytest.raises(UsageError, match="a connection has one peer"):
        echowire.serve(f"tcp://{GROUP}%lo:{PORT}")


# --- a hundred thousand ----------------------------------------------------------------------------------------------

MANY = 100_000


@pytest.mark.parametrize("count", [2_000, MANY])
def test_loss_order_and_duplicates_are_what_the_path_did(count: int) -> None:
    """Two servers behind a wire that loses, doubles and holds back frames each way, and keeps account of it."""
    with chosen_path(2, PORT) as path:
        for host in path.hosts:
            host.start(
                *COMMAND, "serve", f"udp://{GROUP}%veth0:{PORT}", "--datagram-rate", "0", "--datagram-bytes", "0"
            )
            wait_until(lambda host=host: joined(host))  # type: ignore[misc]
        words = ("bench", "-u", f"{GROUP}%tap0", PORT, "-n", count, "--rate", "4000/s", "-W", "3s", "--json")
        done = path.caller.start(*COMMAND, *map(str, words), stdout=subprocess.PIPE, text=True)
        out, _ = done.communicate(timeout=400)

    document = json.loads(out)
    assert document["sent"] == count and document["dropped_here"] == 0
    assert len(document["senders"]) == 2
    for one in document["senders"]:
        account = path.accounts[one["sender"].rpartition(":")[0]]
        told = {name: one[name] for name in ("answered", "lost", "duplicated", "reordered", "corrupted", "truncated")}
        assert told == {
            "answered": account.answered,
            "lost": count - account.answered,
            "duplicated": account.duplicated,
            "reordered": account.reordered,
            "corrupted": 0,
            "truncated": 0,
        }
        assert account.duplicated > count // 100 and account.reordered > count // 200
        assert count - account.answered > count // 100


def test_an_interrupt_ends_with_the_summary() -> None:
    with bridged(2) as (_, caller, host), served(host, f"{GROUP}%veth0:{PORT}"):
        words = ("ping", "-u", f"{GROUP}%veth0", "-P", str(PORT), "-i", "50ms")
        process = caller.start(*COMMAND, *words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert re.fullmatch(r"56 bytes from 10\.66\.0\.2:5000: seq=1 time=.*\n", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert "1 answered" in out and process.returncode == 0


def test_a_second_cable_needs_no_second_group() -> None:
    """Each port of the bridge gets one copy, also where a host has two."""
    with bridged(2) as (hub, caller, host):
        add_port(hub, host, "port9", "veth9")
        host.ip("link set veth9 up")
        with served(host, f"{GROUP}%veth0:{PORT}"):
            report = called(caller, f"{GROUP}%veth0:{PORT}", count=4)
    assert senders(report) == {f"10.66.0.2:{PORT}": (4, 0, 0)}
