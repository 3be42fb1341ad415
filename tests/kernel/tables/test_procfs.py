"""What is read from /proc: small texts in the kernel's own form, then this host's tables against real sockets."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from echowire.core.failures.facts import Process, SocketEntry
from echowire.kernel.tables import processes, procfs
from echowire.model import Endpoint
from tests.netns import link, namespaces

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 1627 1 00000000b356 100 0 0 10 0
   1: 0200A8C0:C350 0100007F:1F90 01 0000000A:00000014 00:00000000 00000000     0        0 1628 1 00000000b356 20 4 30 10 -1
   2: 0100007F:1F90 0200A8C0:C351 06 00000000:00000000 03:000014B5 00000000     0        0 0 3 00000000b356
"""  # noqa: E501
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0000 20 4 30 10 -1
"""  # noqa: E501
UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
000000009eabbcf2: 00000003 00000000 00000000 0001 03    69
00000000aaaabbbb: 00000002 00000000 00010000 0001 01  1001 /run/echo.sock
00000000aaaabbbc: 00000002 00000000 00000000 0002 01  1002 /run/with space.sock
00000000aaaabbbd: 00000002 00000000 00010000 0005 01  1003 @abstract
"""
FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
     |-- 192.0.2.2
        /32 host LOCAL
        /32 link BROADCAST
Local:
     |-- 192.0.2.2
        /32 host LOCAL
"""
IF_INET6 = (
    "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n"
)
ROUTE = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
*	007100CB	00000000	0200	0	0	0	00FFFFFF	0	0	0
"""
ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0
192.0.2.9        0x1         0x0         00:00:00:00:00:00     *        eth0
"""

little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the text is a little-endian kernel's")


@little_endian
def test_tcp_sockets() -> None:
    first, second, third = procfs.parse_inet(TCP.splitlines(), "tcp")
    assert first == SocketEntry(
        local=Endpoint("tcp", "127.0.0.1", 8080), peer=None, state="LISTEN", inode=1627, uid=1000, receive_queue=3
    )
    assert (second.local.address, second.state) == ("192.168.0.2:50000", "ESTAB")
    assert second.peer == Endpoint("tcp", "127.0.0.1", 8080)
    assert (second.send_queue, second.receive_queue) == (10, 20)
    assert (third.state, third.inode) == ("TIME-WAIT", 0)


@little_endian
def test_tcp_sockets_of_ipv6() -> None:
    first, second = procfs.parse_inet(TCP6.splitlines(), "tcp")
    assert (first.local.address, first.state) == ("[::1]:80", "LISTEN")
    assert second.peer
    assert (second.local.host, second.peer.host) == ("::ffff:127.0.0.1", "::ffff:127.0.0.2")


@little_endian
def test_only_sockets_of_a_port() -> None:
    lines = TCP.splitlines()
    assert [entry.inode for entry in procfs.parse_inet(lines, "tcp", local_port=8080)] == [1627, 0]
    assert [entry.inode for entry in procfs.parse_inet(lines, "tcp", peer_port=8080)] == [1628]
    assert list(procfs.parse_inet(lines, "tcp", local_port=8081)) == []


def test_unix_sockets() -> None:
    entries = list(procfs.parse_unix(UNIX.splitlines(keepends=True)))
    assert [(str(entry.local), entry.state, entry.inode) for entry in entries] == [
        ("unix:", "ESTAB", 69),
        ("unix:/run/echo.sock", "LISTEN", 1001),
        ("unixgram:/run/with space.sock", "UNCONN", 1002),
        ("unixseqpacket:@abstract", "LISTEN", 1003),
    ]
    only = procfs.parse_unix(UNIX.splitlines(keepends=True), "/run/with space.sock")
    assert [entry.inode for entry in only] == [1002]
    assert list(procfs.parse_unix(UNIX.splitlines(keepends=True), "space.sock")) == []


def test_local_addresses() -> None:
    found = procfs.parse_local_addresses(FIB_TRIE.splitlines(), IF_INET6.splitlines())
    assert [str(one) for one in found] == [
        "127.0.0.0/8",
        "127.0.0.1/32",
        "192.0.2.2/32",
        "fe80::fc:ff:fe00:1/128",
        "::1/128",
    ]


@little_endian
def test_routes_and_the_next_hop() -> None:
    routes = list(procfs.parse_routes(ROUTE.splitlines()))
    assert [(str(one.network), one.gateway) for one in routes] == [("0.0.0.0/0", "192.0.2.1"), ("192.0.2.0/24", None)]
    assert procfs.next_hop("203.0.113.1", routes) == "192.0.2.1"
    assert procfs.next_hop("192.0.2.9", routes) == "192.0.2.9"
    assert procfs.next_hop("203.0.113.1", routes[1:]) is None


def test_neighbours() -> None:
    assert procfs.parse_neighbours(ARP.splitlines()) == {"192.0.2.1": True, "192.0.2.9": False}


def test_nameservers() -> None:
    text = "# nameserver 1.1.1.1\nsearch example\nnameserver 192.0.2.53\nnameserver\t::1 \nnameserver\n"
    assert procfs.parse_nameservers(text) == ("192.0.2.53", "::1")
    assert procfs.parse_nameservers("") == ("127.0.0.1",)


def test_sysctl() -> None:
    low, high = procfs.sysctl("net.ipv4.ip_local_port_range") or (0, 0)
    assert 0 < low <= high < 65536
    assert procfs.sysctl("net.ipv4.no_such_thing") is None
    assert procfs.sysctl("kernel.ostype") is None


def test_a_real_listener_and_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        port = server.getsockname()[1]
        entries = list(procfs.sockets("tls", local_port=port))
        assert (entries[0].state, entries[0].local.host) == ("LISTEN", "127.0.0.1")
        assert entries[0].receive_queue == 1, "one connection waits to be accepted"
        assert entries[0].inode == os.fstat(server.fileno()).st_ino
        inode = os.fstat(client.fileno()).st_ino
        assert inode in [entry.inode for entry in procfs.sockets("tcp", peer_port=port)]
        me = Process(os.getpid(), Path("/proc/self/comm").read_text().strip())
        assert procfs.holders([entries[0].inode, inode, 0]) == {entries[0].inode: me, inode: me}
    assert procfs.holders([inode]) == {}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_real_udp_socket(family: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        host, port = sock.getsockname()[:2]
        sock.sendto(b"12345", (host, port))
        (entry,) = procfs.sockets("udp", local_port=port)
        assert (entry.local, entry.state, entry.peer) == (Endpoint("udp", host, port), "UNCONN", None)
        assert (entry.inode, entry.uid) == (os.fstat(sock.fileno()).st_ino, os.geteuid())
        assert entry.receive_queue >= 5, "the kernel counts its own overhead, too"


def test_a_real_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        (entry,) = procfs.unix_sockets(str(tmp_path / "s"))
        assert (entry.state, entry.inode) == ("LISTEN", os.fstat(sock.fileno()).st_ino)


def test_states_and_sockets_are_those_of_ss() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        port = server.getsockname()[1]
        try:
            shown = subprocess.run(
                ["ss", "-tanH", f"sport = :{port}"], capture_output=True, text=True, check=True
            ).stdout
        except FileNotFoundError:
            pytest.skip("ss is not installed")
        ours = {(entry.state, entry.local.address) for entry in procfs.sockets("tcp", local_port=port)}
        assert ours == {(words[0], words[3]) for words in map(str.split, shown.splitlines())}


def test_loopback_is_local() -> None:
    found = procfs.local_addresses()
    assert found
    assert any(ipaddress.ip_address("127.0.0.2") in network for network in found)


def test_the_tables_are_those_of_the_threads_namespace() -> None:
    with namespaces(2) as (one, other):
        link(one, other, ("10.0.0.1/24", "fd00::1/64"), ("10.0.0.2/24", "fd00::2/64"))
        one.ip("route add 203.0.113.0/24 via 10.0.0.2")
        with one.inside():
            own = {str(network.network_address) for network in procfs.local_addresses() or ()}
            assert {"10.0.0.1", "fd00::1", "127.0.0.1", "::1"} <= own
            assert procfs.next_hop("203.0.113.1", procfs.routes()) == "10.0.0.2"
            assert procfs.next_hop("198.51.100.1", procfs.routes()) is None
            with socket.socket() as sock:
                assert sock.connect_ex(("10.0.0.2", 7)) == errno.ECONNREFUSED
            assert procfs.neighbours() == {"10.0.0.2": True}
            with socket.create_server(("10.0.0.1", 7)) as server:
                (entry,) = procfs.sockets("tcp", local_port=7)
                assert entry.inode == os.fstat(server.fileno()).st_ino
                with other.inside():
                    assert list(procfs.sockets("tcp", local_port=7)) == []


def test_whether_all_processes_are_seen() -> None:
    try:
        os.listdir("/proc/1/fd")  # noqa: PTH208
        seen = True
    except PermissionError:
        seen = False
    assert processes.sees_all_processes() is seen
