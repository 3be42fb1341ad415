"""A host with a socket of every kind and in every state, made for real: two namespaces, and a firewall that loses
just what keeps a connection where it is wanted.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.netns import Namespace, link, namespaces

HERE, THERE = "10.9.0.1", "10.9.0.2"
HERE_6, THERE_6 = "fd09::1", "fd09::2"
IPPROTO_MPTCP, IPPROTO_UDPLITE, SO_MARK, AF_PACKET = 262, 136, 36, 17
PATIENCE_S = 5.0


class BusyHost:
    """`host` has the sockets, `other` their peers. Each socket is under what it shows."""

    def __init__(self, stack: ExitStack, host: Namespace, other: Namespace) -> None:
        self._stack, self.host, self.other = stack, host, other
        self.sockets: dict[str, socket.socket] = {}
        self._port = 4000

    def open(
        self, name: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """A socket of the host, kept under `name` and closed at the end."""
        self.sockets[name] = self._kept(self.host.socket(family, kind, protocol))
        return self.sockets[name]

    def _kept(self, sock: socket.socket) -> socket.socket:
        self._stack.callback(sock.close)
        return sock

    def listener(self, name: str, address: str = HERE, backlog: int = 8, family: int = socket.AF_INET) -> socket.socket:
        """A listener of the host."""
        sock = self.open(name, family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port += 1
        sock.bind((address, self._port))
        sock.listen(backlog)
        return sock

    def pair(self, name: str) -> tuple[socket.socket, socket.socket]:
        """A connection from the host to the other: the host's socket, kept under `name`, and the other's."""
        self._port += 1
        with self._kept(self.other.socket()) as listener:
            listener.bind((THERE, self._port))
            listener.listen(8)
            ours = self.open(name)
            ours.connect((THERE, self._port))
            theirs = self._kept(listener.accept()[0])
        return ours, theirs

    def lose(self, rule: str) -> None:
        """Have the other host lose what comes, as nftables says it."""
        self.other.nft(f"add rule inet test input {rule} drop")

    def lose_from(self, sock: socket.socket) -> None:
        """Have the other host lose all that comes from `sock`."""
        self.lose(f"tcp sport {sock.getsockname()[1]}")

    def state_of(self, sock: socket.socket) -> int:
        """`tcpi_state` of a socket that is open here."""
        return sock.getsockopt(socket.IPPROTO_TCP, 11, 1)[0]

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for the network, a few milliseconds at a time."""
        for _ in range(int(PATIENCE_S / 0.005)):
            if holds():
                return
            select.select([], [], [], 0.005)
        raise AssertionError("it did not come about")


@contextmanager
def busy_host() -> Iterator[BusyHost]:
    """The host. Skips the test where namespaces cannot be made."""
    with namespaces(2) as (host, other), ExitStack() as stack:
        link(host, other, (f"{HERE}/24", f"{HERE_6}/64"), (f"{THERE}/24", f"{THERE_6}/64"))
        busy = BusyHost(stack, host, other)
        _listeners(busy)
        _connected(busy)
        _closing(busy)
        _half_open(busy)
        _others(busy)
        yield busy


def _listeners(busy: BusyHost) -> None:
    busy.listener("LISTEN")
    busy.listener("LISTEN any", "0.0.0.0")
    busy.listener("LISTEN loopback", "127.0.0.1")
    busy.listener("LISTEN v6", HERE_6, family=socket.AF_INET6)
    busy.listener("LISTEN both", "::", family=socket.AF_INET6)
    only = busy.open("LISTEN v6only", socket.AF_INET6)
    only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    only.bind(("::", 3900))
    only.listen(3)
    device = busy.open("LISTEN device")
    device.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
    device.bind(("127.0.0.1", 3901))
    device.listen(3)
    full = busy.listener("LISTEN full", backlog=1)
    for number in range(4):  # two are let in, the others wait
        waiting = busy._kept(busy.other.socket())
        waiting.setblocking(False)
        with suppress(BlockingIOError):
            waiting.connect((HERE, full.getsockname()[1]))
        if number < 2:
            select.select([], [waiting], [], PATIENCE_S)
    for at in range(2):
        shared = busy.open(f"LISTEN shared {at}")
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind((HERE, 3902))
        shared.listen(4)
    bound = busy.open("UNCONN bound")
    bound.bind((HERE, 3903))


def _connected(busy: BusyHost) -> None:
    ours, theirs = busy.pair("ESTAB")
    ours.sendall(b"x" * 100_000)
    received = 0
    while received < 100_000:
        received += len(theirs.recv(65536))
    theirs.sendall(b"y" * 777)
    select.select([ours], [], [], PATIENCE_S)  # which is not read
    ours, theirs = busy.pair("ESTAB reno")
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    ours.setsockopt(socket.SOL_SOCKET, SO_MARK, 0x2A)
    ours.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x10)
    ours, theirs = busy.pair("ESTAB unacked")
    busy.lose_from(ours)
    ours.sendall(b"z" * 3000)
    mapped = busy.open("ESTAB mapped", socket.AF_INET6)
    mapped.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    mapped.connect((f"::ffff:{HERE}", busy.sockets["LISTEN any"].getsockname()[1]))
    six = busy.open("ESTAB v6", socket.AF_INET6)
    six.connect((HERE_6, busy.sockets["LISTEN v6"].getsockname()[1]))
    six.sendall(b"six")


def _closing(busy: BusyHost) -> None:
    ours, theirs = busy.pair("FIN-WAIT-2")
    ours.shutdown(socket.SHUT_WR)
    busy.until(lambda: busy.state_of(ours) == 5)
    ours, theirs = busy.pair("CLOSE-WAIT")
    theirs.close()
    busy.until(lambda: busy.state_of(ours) == 8)
    one, theirs = busy.pair("FIN-WAIT-1")
    busy.lose_from(one)
    one.shutdown(socket.SHUT_WR)
    two, theirs = busy.pair("CLOSING")
    busy.lose_from(two)
    two.shutdown(socket.SHUT_WR)
    theirs.shutdown(socket.SHUT_WR)
    busy.until(lambda: busy.state_of(two) == 11)
    three, theirs = busy.pair("LAST-ACK")
    theirs.close()
    busy.until(lambda: busy.state_of(three) == 8)
    busy.lose_from(three)
    three.shutdown(socket.SHUT_WR)
    busy.until(lambda: busy.state_of(three) == 9)
    four, theirs = busy.pair("TIME-WAIT")
    four.shutdown(socket.SHUT_WR)
    theirs.recv(1)
    theirs.close()
    four.recv(1)
    four.close()


def _half_open(busy: BusyHost) -> None:
    busy.lose("tcp dport 9")
    out = busy.open("SYN-SENT")
    out.setblocking(False)
    with suppress(BlockingIOError):
        out.connect((THERE, 9))
    listener = busy.sockets["LISTEN any"]
    busy.lose(f"tcp sport {listener.getsockname()[1]} ip saddr {HERE}")
    coming = busy._kept(busy.other.socket())
    coming.setblocking(False)
    with suppress(BlockingIOError):
        coming.connect((HERE, listener.getsockname()[1]))


def _others(busy: BusyHost) -> None:
    udp = busy.open("udp", kind=socket.SOCK_DGRAM)
    udp.bind((HERE, 5353))
    peer = busy.open("udp connected", kind=socket.SOCK_DGRAM)
    peer.connect((HERE, 5353))
    peer.send(b"to be read")
    busy.open("udp v6", socket.AF_INET6, socket.SOCK_DGRAM).bind(("::1", 5354))
    busy.open("udplite", kind=socket.SOCK_DGRAM, protocol=IPPROTO_UDPLITE).bind((HERE, 5355))
    busy.open("raw", kind=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP)
    busy.open("raw v6", socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    packet = busy.open("packet", AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    packet.bind(("lo", 3))
    busy.open("packet dgram", AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0806))
    route = busy.open("netlink", socket.AF_NETLINK, socket.SOCK_RAW, 0)
    route.bind((0, 0))
    for kind, name in (
        (socket.SOCK_STREAM, "stream"),
        (socket.SOCK_DGRAM, "dgram"),
        (socket.SOCK_SEQPACKET, "seqpacket"),
    ):
        bound = busy.open(f"unix {name}", socket.AF_UNIX, kind)
        bound.bind(f"\0echowire-{os.getpid()}-{name}")
        if kind != socket.SOCK_DGRAM:
            bound.listen(2)
        client = busy.open(f"unix {name} client", socket.AF_UNIX, kind)
        client.connect(bound.getsockname())
        client.send(b"unread")
    with suppress(OSError):
        many = busy.open("mptcp LISTEN", protocol=IPPROTO_MPTCP)
        many.bind((HERE, 3990))
        many.listen(2)
        client = busy.open("mptcp", protocol=IPPROTO_MPTCP)
        client.connect((HERE, 3990))
        client.sendall(struct.pack("=I", 7))
        busy.sockets["mptcp accepted"] = busy._kept(many.accept()[0])
