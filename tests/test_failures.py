"""Each way in which sockets fail that can be told from one host, provoked for real, and what is said about it.

The numbers are the rows of FAILURES. Nothing here is simulated: the kernel refuses, the tables are its own.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from echowire.core.failures.explain import TRUNCATED, is_self_connected, is_truncated
from echowire.core.failures.facts import IcmpReport
from echowire.errors import NameResolutionError, OperationError
from echowire.kernel.boundary import operation
from echowire.kernel.connections import icmp_errors
from echowire.kernel.connections.tcp_info import kernel_release
from echowire.model import Endpoint, Transport
from echowire.verbs.call import call
from echowire.verbs.explained import explained, explaining
from tests.netns import Namespace, chain, namespaces
from tests.processes import unprivileged

ME = f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"
TCP_USER_TIMEOUT = 18  # linux/tcp.h, milliseconds
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2  # linux/in.h


def said(name: str, endpoint: Endpoint, act: Callable[[], object], icmp_of: socket.socket | None = None) -> str:
    """The line that a user reads when `act`, tried as the operation `name`, fails on `endpoint`."""
    with pytest.raises(OperationError) as caught:
        with operation(name, endpoint):
            act()
    report = icmp_errors.take(icmp_of) if icmp_of else None
    line = str(explained(caught.value, endpoint, report))
    assert "\n" not in line
    assert line.startswith(f"{name} {endpoint}: ")
    return line


def at(address: tuple[object, ...], transport: Transport = "tcp") -> Endpoint:
    return Endpoint(transport, str(address[0]), int(str(address[1])))


@pytest.fixture
def sockets() -> Iterator[Callable[..., socket.socket]]:
    """Makes sockets that the end of the test closes; they wait two seconds at most."""
    with ExitStack() as stack:

        def make(family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
            sock = stack.enter_context(socket.socket(family, kind))
            sock.settimeout(2)
            return sock

        yield make


Maker = Callable[..., socket.socket]


def listening(make: Maker, address: str = "127.0.0.1", port: int = 0, backlog: int = 5) -> socket.socket:
    sock = make(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, port))
    sock.listen(backlog)
    return sock


def a_free_port(make: Maker) -> int:
    with make() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def connect_all(clients: Iterable[socket.socket], address: tuple[str, int] | str) -> None:
    for client in clients:
        client.connect(address)


def line_of(name: str, endpoint: Endpoint, act: Callable[[], object]) -> str:
    """`said` without pytest's help, for a child process."""
    try:
        with explaining(endpoint), operation(name, endpoint):
            act()
    except OperationError as error:
        return str(error)
    return "nothing failed"


needs_root = pytest.mark.usefixtures("needs_root")


# --- bind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "taken"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::1", "::")])
def test_row_1_a_listener_is_named(sockets: Maker, wanted: str, taken: str) -> None:
    taker = listening(sockets, taken)
    endpoint = Endpoint("tcp", wanted, taker.getsockname()[1])
    sock = sockets(socket.AF_INET6 if ":" in wanted else socket.AF_INET)
    line = said("bind", endpoint, lambda: sock.bind((wanted, endpoint.port)))
    where = at(taker.getsockname()).address
    assert line == (
        f"bind {endpoint}: address already in use (EADDRINUSE 98)."
        f" {ME} listens on {where}; stop it or take another port."
    )


def test_row_1_of_udp(sockets: Maker) -> None:
    taker = sockets(kind=socket.SOCK_DGRAM)
    taker.bind(("127.0.0.1", 0))
    endpoint = at(taker.getsockname(), "udp")
    line = said("bind", endpoint, lambda: sockets(kind=socket.SOCK_DGRAM).bind(taker.getsockname()))
    assert f"{ME} has {endpoint.address}; stop it" in line


@needs_root
def test_row_1_a_holder_that_may_not_be_seen_is_not_guessed(sockets: Maker) -> None:
    taker = listening(sockets)
    address = taker.getsockname()
    endpoint = at(address)

    def act() -> str:
        # What root listens on and this child has open, too, would be seen: the child's own is closed first.
        os.close(taker.fileno())
        with socket.socket() as sock:
            return line_of("bind", endpoint, lambda: sock.bind(address))

    line = unprivileged(act)
    assert f"A process that this user may not see (uid 0) listens on {endpoint.address}" in line
    assert "root, or CAP_SYS_PTRACE, sees which process it is." in line


def test_row_2_time_wait_of_the_last_run(sockets: Maker) -> None:
    server = sockets()
    server.bind(("127.0.0.1", 0))
    server.listen()
    address = server.getsockname()
    client = sockets()
    client.connect(address)
    conn, _ = server.accept()
    conn.close()
    assert client.recv(1) == b""
    client.close()
    server.close()
    line = said("bind", at(address), lambda: sockets().bind(address))
    assert "Nothing listens, but 1 closed connection on the port wait in TIME-WAIT, up to 60 s; wait a minute" in line
    assert "SO_REUSEADDR" in line


def test_row_3_the_port_is_a_clients(sockets: Maker) -> None:
    server, client = listening(sockets), sockets()
    client.connect(server.getsockname())
    endpoint = at(client.getsockname())
    line = said("bind", endpoint, lambda: sockets().bind(client.getsockname()))
    peer = at(server.getsockname()).address
    assert f"Nothing listens, but {ME} has the port for its connection to {peer} (ESTAB)" in line
    assert "net.ipv4.ip_local_reserved_ports" in line


def test_row_3_the_port_is_bound_without_listening(sockets: Maker) -> None:
    taker = sockets()
    taker.bind(("127.0.0.1", 0))
    line = said("bind", at(taker.getsockname()), lambda: sockets().bind(taker.getsockname()))
    if kernel_release() >= (6, 8):
        assert f"Nothing listens, but {ME} has bound {at(taker.getsockname()).address} without listening" in line
    else:
        assert "so a process has bound it without listening; take another port" in line


def test_row_4_a_connection_to_oneself(sockets: Maker) -> None:
    sock, peer = sockets(), sockets()
    sock.bind(("127.0.0.1", 0))
    sock.connect(sock.getsockname())
    assert is_self_connected(sock.getsockname(), sock.getpeername())
    peer.connect(listening(sockets).getsockname())
    assert not is_self_connected(peer.getsockname(), peer.getpeername())


def test_row_5_an_address_that_is_not_local(sockets: Maker) -> None:
    endpoint = Endpoint("tcp", "203.0.113.7", 12345)
    line = said("bind", endpoint, lambda: sockets().bind(("203.0.113.7", 12345)))
    assert "203.0.113.7 is not an address of this host; bind one of " in line
    assert "127.0.0.1" in line


@needs_root
def test_row_5_ipv6_switched_off() -> None:
    with namespaces() as (host,):
        host.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        with host.inside(), socket.socket(socket.AF_INET6) as sock:
            bound = said("bind", Endpoint("tcp", "::1", 12345), lambda: sock.bind(("::1", 12345)))
            called = said("connect", Endpoint("tcp", "::1", 12345), lambda: sock.connect(("::1", 12345)))
    for line in (bound, called):
        assert "(EADDRNOTAVAIL 99). IPv6 is switched off here (net.ipv6.conf.all.disable_ipv6 = 1); use an" in line


@needs_root
def test_row_6_local_ports_used_up() -> None:
    with namespaces() as (host,), ExitStack() as stack:
        host.sysctl("net.ipv4.ip_local_port_range", "40000 40003")
        with host.inside():
            server = stack.enter_context(socket.create_server(("127.0.0.1", 12345)))
            clients = [stack.enter_context(socket.socket()) for _ in range(5)]
            for client in clients[:4]:
                client.connect(server.getsockname())
            line = said("connect", at(server.getsockname()), lambda: clients[4].connect(server.getsockname()))
    assert "No local port is free for 127.0.0.1:12345/tcp: 4 sockets here already go there, and" in line
    assert "net.ipv4.ip_local_port_range has 4 (40000 to 40003); reuse connections" in line


@needs_root
def test_row_46_a_low_port() -> None:
    endpoint = Endpoint("tcp", "127.0.0.1", 80)

    def act() -> str:
        with socket.socket() as sock:
            return line_of("bind", endpoint, lambda: sock.bind(("127.0.0.1", 80)))

    with namespaces() as (host,), host.inside():
        assert unprivileged(act) == (
            "bind 127.0.0.1:80/tcp: permission denied (EACCES 13)."
            " Ports below 1024 need CAP_NET_BIND_SERVICE; try a port from 1024 up."
        )


@needs_root
def test_row_46_raw_and_ping_sockets() -> None:
    endpoint = Endpoint("udp", "127.0.0.1")

    def open_one(kind: int) -> str:
        return line_of("socket", endpoint, lambda: socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP))

    with namespaces() as (host,), host.inside():
        host.sysctl("net.ipv4.ping_group_range", "1 0")
        raw, ping = (unprivileged(partial(open_one, kind)) for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM))
    assert "(EPERM 1). Raw and packet sockets need CAP_NET_RAW; run as root" in raw
    assert "(EACCES 13). ICMP sockets are for no group at all (net.ipv4.ping_group_range = 1 0); widen it" in ping


# --- connect to this host ---------------------------------------------------------------------------------------


def test_row_7_nothing_listens(sockets: Maker) -> None:
    endpoint = Endpoint("tcp", "127.0.0.1", a_free_port(sockets))
    line = said("connect", endpoint, lambda: sockets().connect((endpoint.host, endpoint.port)))
    assert line == (
        f"connect {endpoint}: connection refused (ECONNREFUSED 111)."
        f" No process of this host listens on port {endpoint.port}; start the server, or mend the port."
    )


def test_row_8_it_listens_on_another_address(sockets: Maker) -> None:
    port = listening(sockets).getsockname()[1]
    line = said("connect", Endpoint("tcp", "127.0.0.2", port), lambda: sockets().connect(("127.0.0.2", port)))
    assert f"{ME} listens on 127.0.0.1:{port} only, not on 127.0.0.2; call 127.0.0.1:{port}, or" in line


def test_row_9_it_listens_in_the_other_family(sockets: Maker) -> None:
    port = listening(sockets).getsockname()[1]
    line = said("connect", Endpoint("tcp", "::1", port), lambda: sockets(socket.AF_INET6).connect(("::1", port)))
    assert f"{ME} listens on 127.0.0.1:{port} only, not on ::1; call 127.0.0.1:{port}" in line
    port = listening(sockets, "::").getsockname()[1]
    line = said("connect", Endpoint("tcp", "127.0.0.1", port), lambda: sockets().connect(("127.0.0.1", port)))
    assert f"{ME} listens on [::]:{port}, but it seems for IPv6 only; call [::1]:{port}, or" in line


def test_row_23_a_full_accept_queue(sockets: Maker) -> None:
    server = listening(sockets, backlog=0)
    clients = [sockets() for _ in range(3)]
    clients[0].connect(server.getsockname())
    for client in clients[1:]:
        client.settimeout(0.2)
    line = said("connect", at(server.getsockname()), lambda: connect_all(clients[1:], server.getsockname()))
    assert f"{ME} listens on {at(server.getsockname()).address} and leaves 1 connection" in line


def test_row_25_no_descriptor_is_left(sockets: Maker) -> None:
    server = listening(sockets)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [sockets()]
    clients[0].connect(server.getsockname())
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        line = said("accept", at(server.getsockname()), server.accept)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "(EMFILE 24). This process has all 3 files that it may open (RLIMIT_NOFILE); raise the limit" in line


# --- connect to another host ------------------------------------------------------------------------------------

SERVER = "10.77.1.2"
SERVER6 = "fd77:0:0:1::2"
ROUTER = "10.77.0.2"
ROUTER6 = "fd77::2"


@pytest.fixture
def hosts() -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    """Client, router and server, two links in a row."""
    with chain(3) as (client, router, server):
        yield client, router, server


def calling(client: Namespace, host: str = SERVER, port: int = 80, timeout: float = 3, *, icmp: bool = True) -> str:
    """What is said when `client` calls a TCP port in vain."""
    with client.inside(), socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(timeout)
        if icmp:
            icmp_errors.enable(sock)
        return said("connect", Endpoint("tcp", host, port), lambda: sock.connect((host, port)), sock if icmp else None)


@needs_root
def test_row_7_a_remote_host_resets(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    line = calling(hosts[0])
    assert "10.77.1.2 answered with a reset: nothing listens on port 80 there, or a firewall answers for it" in line


@needs_root
def test_row_10_a_drop(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    client, _, server = hosts
    server.nft("add rule inet test input tcp dport 80 drop")
    line = calling(client, timeout=0.2)
    assert "(ETIMEDOUT 110). Neither an answer nor a refusal came within the time given here: " in line
    assert "then the firewall rules for port 80." in line
    with client.inside(), socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 100)
        line = said("connect", Endpoint("tcp", SERVER, 80), lambda: sock.connect((SERVER, 80)))
    assert "(ETIMEDOUT 110). Neither an answer nor a refusal came until the kernel gave up" in line


@needs_root
@pytest.mark.parametrize(
    ("host", "rule", "meaning"),
    [
        (
            SERVER,
            "icmp port-unreachable",
            "10.77.1.2 says port unreachable (ICMP 3/3) and sent no reset: that is a fire",
        ),
        (SERVER6, "icmpv6 port-unreachable", "fd77:0:0:1::2 says port unreachable (ICMPv6 1/4) and sent no reset"),
        (SERVER, "icmp host-unreachable", "10.77.1.2 says host unreachable (ICMP 3/1): a firewall rule there rejects"),
        (SERVER, "icmp host-prohibited", "10.77.1.2 says host administratively prohibited (ICMP 3/10): a firewall"),
        (SERVER, "icmp admin-prohibited", "10.77.1.2 says administratively prohibited (ICMP 3/13): a firewall rule"),
        (SERVER6, "icmpv6 admin-prohibited", "fd77:0:0:1::2 says administratively prohibited (ICMPv6 1/1): a fire"),
        (SERVER6, "icmpv6 addr-unreachable", "fd77:0:0:1::2 says address unreachable (ICMPv6 1/3): a firewall rule"),
    ],
)
def test_rows_11_and_12_a_firewall_rejects(
    hosts: tuple[Namespace, Namespace, Namespace], host: str, rule: str, meaning: str
) -> None:
    client, _, server = hosts
    server.nft(f"add rule inet test input tcp dport 80 reject with {rule}")
    line = calling(client, host)
    assert meaning in line
    assert line.endswith(f"; allow port 80 in the firewall of {host}.")


@needs_root
def test_row_11_a_reset_by_a_firewall_is_not_told_from_a_missing_server(
    hosts: tuple[Namespace, Namespace, Namespace],
) -> None:
    hosts[2].nft("add rule inet test input tcp dport 80 reject with tcp reset")
    assert "nothing listens on port 80 there, or a firewall answers for it" in calling(hosts[0])


@needs_root
def test_row_12_a_router_rejects(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    client, router, _ = hosts
    router.nft("add rule inet test forward tcp dport 80 reject with icmp host-unreachable")
    line = calling(client)
    assert "10.77.0.2 says host unreachable (ICMP 3/1): it gets no answer from 10.77.1.2, or a firewall rule" in line


@needs_root
def test_row_13_a_neighbour_does_not_answer(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    client = hosts[0]
    for family in ("ipv4", "ipv6"):
        client.sysctl(f"net.{family}.neigh.veth0.retrans_time_ms", 50)
    for icmp in (True, False):
        line = calling(client, "10.77.0.99", icmp=icmp)
        assert "(EHOSTUNREACH 113). 10.77.0.99 does not answer ARP: it is down, or not on this network" in line
    client.ip("route add 203.0.113.0/24 via 10.77.0.98")
    assert "The gateway 10.77.0.98 does not answer ARP" in calling(client, "203.0.113.1")
    line = calling(client, "fd77::99")
    assert "(EHOSTUNREACH 113). This host itself gave up on fd77::99: nobody on the link answers for it" in line


@needs_root
def test_row_13_behind_a_router(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    client, router, _ = hosts
    router.sysctl("net.ipv4.neigh.veth1.retrans_time_ms", 50)
    line = calling(client, "10.77.1.99")
    assert "10.77.0.2 says host unreachable (ICMP 3/1): it gets no answer from 10.77.1.99, or" in line


@needs_root
def test_row_14_no_route(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    client = hosts[0]
    assert "(ENETUNREACH 101). This host has no route to 203.0.113.1; add a route" in calling(client, "203.0.113.1")
    assert "This host has no route to 2001:db8::1; use IPv4 (-4)" in calling(client, "2001:db8::1")
    client.ip("route add 203.0.113.0/24 via 10.77.0.2")
    client.ip("-6 route add 2001:db8::/32 via fd77::2")
    line = calling(client, "203.0.113.1")
    assert f"{ROUTER} says network unreachable (ICMP 3/0): that router has no route to 203.0.113.1; mend" in line
    line = calling(client, "2001:db8::1")
    assert f"{ROUTER6} says no route (ICMPv6 1/0): that router has no route to 2001:db8::1; mend" in line
    client.ip("route add unreachable 198.51.100.0/24")
    assert "This host's route to 198.51.100.1 says unreachable" in calling(client, "198.51.100.1")


@needs_root
@pytest.mark.parametrize(
    ("kind", "number", "meaning"),
    [("prohibit", errno.EACCES, "prohibits it"), ("blackhole", errno.EINVAL, "is a black")],
)
def test_row_15_a_route_that_forbids(
    hosts: tuple[Namespace, Namespace, Namespace], kind: str, number: int, meaning: str
) -> None:
    client = hosts[0]
    for family, network, host in (("-4", "203.0.113.0/24", "203.0.113.1"), ("-6", "2001:db8::/32", "2001:db8::1")):
        client.ip(f"{family} route add {kind} {network}")
        line = calling(client, host)
        assert f"({errno.errorcode[number]} {number}). This host's route to {host} {meaning}" in line


@needs_root
def test_a_loop_of_routes_is_told(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    client, router, server = hosts
    client.ip("route add 203.0.113.0/24 via 10.77.0.2")
    router.ip("route add 203.0.113.0/24 via 10.77.1.2")
    server.ip("route add 203.0.113.0/24 via 10.77.1.1")
    server.sysctl("net.ipv4.ip_forward", 1)
    line = calling(client, "203.0.113.1")
    assert "says time to live exceeded (ICMP 11/0): the packet met too many routers, or a loop of routes" in line


def test_a_link_local_address_needs_its_zone(sockets: Maker) -> None:
    endpoint = Endpoint("tcp", "fe80::1", 80)
    line = said("connect", endpoint, lambda: sockets(socket.AF_INET6).connect(("fe80::1", 80)))
    assert "A link-local address means nothing without its interface; write it with its zone" in line


# --- datagrams --------------------------------------------------------------------------------------------------


@contextmanager
def datagrams(host: Namespace, family: int = socket.AF_INET) -> Iterator[socket.socket]:
    with host.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        yield sock


@needs_root
def test_row_16_a_drop_on_output(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    client = hosts[0]
    client.nft("add rule inet test output udp dport 80 drop")
    with client.inside(), datagrams(client) as sock:
        line = said("send", Endpoint("udp", SERVER, 80), lambda: sock.sendto(b"x", (SERVER, 80)))
    assert "(EPERM 1). This host itself dropped the packet: a firewall rule on its output" in line


def test_row_37_more_than_a_datagram_holds(sockets: Maker) -> None:
    for family, host, most in ((socket.AF_INET, "127.0.0.1", 65507), (socket.AF_INET6, "::1", 65527)):
        sock = sockets(family, socket.SOCK_DGRAM)
        line = said("send", Endpoint("udp", host, 9), lambda s=sock, h=host, m=most: s.sendto(bytes(m + 1), (h, 9)))  # type: ignore[misc]
        assert f"(EMSGSIZE 90). A datagram carries at most {most:,} bytes" in line


@needs_root
def test_row_37_more_than_the_path_carries_unfragmented(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    with hosts[0].inside(), datagrams(hosts[0]) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        line = said("send", Endpoint("udp", SERVER, 9), lambda: sock.sendto(bytes(1473), (SERVER, 9)))
        assert sock.sendto(bytes(1472), (SERVER, 9)) == 1472
    assert "65,507 bytes, and 1,472 to 10.77.1.2 where fragmentation is forbidden (path MTU 1,500); send less" in line


def test_row_39_a_datagram_cut_short(sockets: Maker) -> None:
    receiver, sender = (sockets(kind=socket.SOCK_DGRAM) for _ in range(2))
    receiver.bind(("127.0.0.1", 0))
    for text in (b"12345", b"1234"):
        sender.sendto(text, receiver.getsockname())
    data, _, flags, _ = receiver.recvmsg(4)
    assert (data, is_truncated(flags)) == (b"1234", True)
    data, _, flags, _ = receiver.recvmsg(4)
    assert (data, is_truncated(flags)) == (b"1234", False)
    assert "larger buffer" in TRUNCATED[1]


def test_row_41_udp_refused_on_this_host(sockets: Maker) -> None:
    sock = sockets(kind=socket.SOCK_DGRAM)
    closed = sockets(kind=socket.SOCK_DGRAM)
    closed.bind(("127.0.0.1", 0))
    endpoint = at(closed.getsockname(), "udp")
    closed.close()
    sock.connect((endpoint.host, endpoint.port))
    sock.send(b"x")
    line = said("recv", endpoint, lambda: sock.recv(1))
    assert f"(ECONNREFUSED 111). No process of this host has UDP port {endpoint.port} open; start the server" in line


@needs_root
def test_row_41_udp_refused_by_another_host(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    for icmp in (True, False):
        for family, host in ((socket.AF_INET, SERVER), (socket.AF_INET6, SERVER6)):
            with hosts[0].inside(), datagrams(hosts[0], family) as sock:
                if icmp:
                    icmp_errors.enable(sock)
                sock.connect((host, 80))
                sock.send(b"x")
                line = said("recv", Endpoint("udp", host, 80), lambda s=sock: s.recv(1), sock if icmp else None)  # type: ignore[misc]
            assert "nothing has UDP port 80 open there, or a firewall says so; start the server" in line
            assert (f"{host} says port unreachable" in line) is icmp


@needs_root
def test_a_broadcast_address_needs_its_option(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    with hosts[0].inside(), datagrams(hosts[0]) as sock:
        line = said("send", Endpoint("udp", "10.77.0.255", 9), lambda: sock.sendto(b"x", ("10.77.0.255", 9)))
    assert "(EACCES 13). There is a route to 10.77.0.255, so it is a broadcast address, or a" in line


# --- an open connection -----------------------------------------------------------------------------------------


def pair(make: Maker) -> tuple[socket.socket, socket.socket, Endpoint]:
    server, client = listening(make), make()
    client.connect(server.getsockname())
    conn, _ = server.accept()
    return client, conn, at(server.getsockname())


def test_rows_27_and_28_a_reset(sockets: Maker) -> None:
    client, conn, endpoint = pair(sockets)
    client.send(b"unread")
    conn.close()
    line = said("recv", endpoint, lambda: client.recv(1))
    assert "(ECONNRESET 104). The peer cut the connection: it closed with data unread or with linger 0" in line
    client, conn, endpoint = pair(sockets)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()
    assert "linger 0" in said("recv", endpoint, lambda: client.recv(1))


def test_row_29_a_broken_pipe(sockets: Maker) -> None:
    client, conn, endpoint = pair(sockets)
    conn.close()
    assert client.recv(1) == b""
    client.send(b"one")
    line = said("send", endpoint, lambda: [client.send(b"two") for _ in range(9)])
    assert "(EPIPE 32). The connection was closed before this write: by the peer" in line


@needs_root
def test_row_31_a_peer_that_stops_acknowledging(hosts: tuple[Namespace, Namespace, Namespace]) -> None:
    client, _, server = hosts
    with server.socket() as listener, client.socket() as sock:
        listener.bind((SERVER, 80))
        listener.listen()
        sock.connect((SERVER, 80))
        conn, _ = listener.accept()
        with conn, client.inside():
            sock.settimeout(0.1)
            line = said("recv", Endpoint("tcp", SERVER, 80), lambda: sock.recv(1))
            assert "Nothing came within the time given here; the kernel still holds the connection" in line
            server.nft("add rule inet test input tcp dport 80 drop")
            sock.settimeout(10)
            sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 300)
            sock.send(b"x")
            line = said("recv", Endpoint("tcp", SERVER, 80), lambda: sock.recv(1))
    assert "(ETIMEDOUT 110). The peer stopped acknowledging: data or keep-alive probes stayed unanswered" in line


# --- names ------------------------------------------------------------------------------------------------------


def resolving(name: str) -> str:
    with pytest.raises(NameResolutionError) as caught, explaining():
        with operation("resolve", name):
            socket.getaddrinfo(name, 80)
    return str(caught.value)


@needs_root
def test_row_21_the_name_servers_cannot_be_reached() -> None:
    with namespaces() as (host,), host.inside():
        line = resolving("host.example")
    if "servname" in line or "not known" in line:
        pytest.skip("this resolver calls an unreachable server a name that is not known")
    servers = re.findall(r"^nameserver\s+(\S+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE) or ["127.0.0.1"]
    assert line.startswith("resolve host.example: ")
    if servers[0].startswith("127."):
        assert f"name servers of /etc/resolv.conf ({', '.join(servers)})" in line
    else:
        assert f"This host has no route to its name server {servers[0]} (/etc/resolv.conf); mend the network" in line


def test_row_21_a_name_that_is_none() -> None:
    # Numeric only: nothing is asked of any server.
    with pytest.raises(NameResolutionError) as caught, explaining():
        with operation("resolve", "no-number"):
            socket.getaddrinfo("no-number", 80, flags=socket.AI_NUMERICHOST)
    assert str(caught.value).endswith(
        "No source of names here knows it (/etc/hosts, DNS); check the spelling, or use a numeric address."
    )


# --- Unix sockets -----------------------------------------------------------------------------------------------


def unix(path: Path | str, transport: Transport = "unix") -> Endpoint:
    return Endpoint(transport, path=str(path))


def test_row_48_no_file(sockets: Maker, tmp_path: Path) -> None:
    sock = sockets(socket.AF_UNIX)
    line = said("connect", unix(tmp_path / "s"), lambda: sock.connect(str(tmp_path / "s")))
    assert "(ENOENT 2). There is no socket file of that name; start the server" in line
    line = said("bind", unix(tmp_path / "no" / "s"), lambda: sock.bind(str(tmp_path / "no" / "s")))
    assert "(ENOENT 2). The directory of the path does not exist; make it first" in line


def test_row_48_a_stale_file(sockets: Maker, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with sockets(socket.AF_UNIX) as server:
        server.bind(path)
        line = said("connect", unix(path), lambda: sockets(socket.AF_UNIX).connect(path))
        assert f"(ECONNREFUSED 111). {ME} has bound the path but does not listen" in line
    line = said("connect", unix(path), lambda: sockets(socket.AF_UNIX).connect(path))
    assert "(ECONNREFUSED 111). The socket file is stale: no process of this network namespace has bound it" in line
    line = said("bind", unix(path), lambda: sockets(socket.AF_UNIX).bind(path))
    assert "(EADDRINUSE 98). A socket file is there that no process of this network namespace has" in line
    (tmp_path / "f").write_text("")
    line = said("connect", unix(tmp_path / "f"), lambda: sockets(socket.AF_UNIX).connect(str(tmp_path / "f")))
    assert "The path is a file, not a socket" in line
    line = said("connect", unix("@ewt-none"), lambda: sockets(socket.AF_UNIX).connect("\0ewt-none"))
    assert "listens on that name" in line


def test_row_48_a_path_that_is_taken_and_a_full_backlog(sockets: Maker, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    server = sockets(socket.AF_UNIX)
    server.bind(path)
    server.listen(0)
    line = said("bind", unix(path), lambda: sockets(socket.AF_UNIX).bind(path))
    assert f"{ME} has a socket there; stop it or take another path" in line
    clients = [sockets(socket.AF_UNIX) for _ in range(4)]
    for client in clients:
        client.setblocking(False)
    line = said("connect", unix(path), lambda: connect_all(clients, path))
    assert f"(EAGAIN 11). {ME} listens, but its queue of connections that wait to be accepted is full" in line
    other = sockets(socket.AF_UNIX, socket.SOCK_DGRAM)
    line = said("connect", unix(path, "unixgram"), lambda: other.connect(path))
    assert f"(EPROTOTYPE 91). The socket there is of another type; try unix:{path}." in line


def test_a_unix_socket_that_keeps_messages_called_as_a_stream(sockets: Maker, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listener = sockets(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    for transport in ("unix", "unixgram"):
        with pytest.raises(OperationError) as caught:
            call(f"{transport}:{path}")
        assert f"The socket there is of another type; try unixseqpacket:{path}." in str(caught.value)


def test_row_48_a_path_too_long(sockets: Maker, tmp_path: Path) -> None:
    path = "/" + "x" * 108
    line = said("connect", unix(path), lambda: sockets(socket.AF_UNIX).connect(path))
    assert "A Unix socket's path has at most 107 bytes; use a shorter path" in line


@needs_root
def test_row_48_no_right_to_the_file(sockets: Maker) -> None:
    # pytest's tmp_path would do but for its parents, which only its owner may search.
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/s"
        sockets(socket.AF_UNIX).bind(path)

        def act() -> str:
            with socket.socket(socket.AF_UNIX) as sock:
                return line_of("connect", unix(path), lambda: sock.connect(path))

        assert "(EACCES 13). Connecting needs the right to write to the socket file" in unprivileged(act)


def test_the_errors_own_endpoint_outweighs_the_target(sockets: Maker) -> None:
    """A server binds TCP and UDP for one target, and only one of them is taken."""
    taker = sockets(kind=socket.SOCK_DGRAM)
    taker.bind(("127.0.0.1", 0))
    endpoint = at(taker.getsockname(), "udp")
    for target in (None, replace(endpoint, transport="tcp"), Endpoint("tcp", "localhost", endpoint.port)):
        with pytest.raises(OperationError, match=re.escape(f"{ME} has {endpoint.address}")):
            with explaining(target), operation("bind", endpoint), socket.socket(type=socket.SOCK_DGRAM) as sock:
                sock.bind(taker.getsockname())


def test_the_target_says_which_address_a_name_was_tried_at(sockets: Maker) -> None:
    port = a_free_port(sockets)
    error = OperationError("connect", f"localhost:{port}/tcp", errno.ECONNREFUSED, "Connection refused")
    line = str(explained(error, Endpoint("tcp", "127.0.0.1", port)))
    assert f"No process of this host listens on port {port}" in line


def test_an_error_that_has_its_meaning_keeps_it() -> None:
    error = OperationError("bind", "127.0.0.1:80/tcp", errno.EACCES, "Permission denied", meaning="It is so.")
    assert explained(error) is error
    assert error.meaning == "It is so."


def test_an_unknown_error_is_left_as_it_is() -> None:
    error = explained(
        OperationError("bind", "here", errno.ENODEV, "No such device"), None, IcmpReport(3, 1, "10.0.0.1")
    )
    assert str(error) == "bind here: no such device (ENODEV 19)."
