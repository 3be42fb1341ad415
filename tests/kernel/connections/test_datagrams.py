"""Datagrams are answered from the address that they were sent to, whatever the route would choose."""

from __future__ import annotations

import random
import select
import socket

import pytest

from echowire.kernel.connections.datagrams import SOL_UDP, UDP_SEGMENT, DatagramSocket, answer_from
from echowire.kernel.connections.listen import Listener, open_listeners
from echowire.model import Endpoint
from tests import netns
from tests.peers import needs_root


def echo_once(listener: Listener) -> None:
    assert select.select([listener.socket], [], [], 10)[0]
    port = DatagramSocket(listener, in_bursts=False)
    arrival = port.receive()
    assert arrival.datagrams == 1
    assert port.send(port.view[: arrival.size], arrival.address, arrival.ancillary, arrival.segment) == 1
    with pytest.raises(BlockingIOError):
        port.receive()


@pytest.mark.parametrize("family", [None, 4])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.9.9.9"])
def test_the_address_asked_is_the_address_that_answers(family: int | None, host: str) -> None:
    [listener] = open_listeners([[Endpoint("udp", "", 0)]], family=family)  # type: ignore[arg-type]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        for message in (b"", b"x", b"y" * 65_507):
            peer.sendto(message, (host, listener.endpoint.port))
            echo_once(listener)
            assert peer.recvfrom(70_000) == (message, (host, listener.endpoint.port))
    listener.close()


@pytest.mark.parametrize("host", ["", "127.0.0.1", "::1"])
@pytest.mark.parametrize(("segment", "count", "last"), [(1000, 64, 1000), (1000, 64, 7), (1, 3, 1), (1400, 10, 1400)])
def test_a_burst_is_one_call_each_way(host: str, segment: int, count: int, last: int) -> None:
    [listener] = open_listeners([[Endpoint("udp", host, 0)]])
    port = DatagramSocket(listener, in_bursts=True)
    if not port.in_bursts:
        pytest.skip("this kernel has no UDP_GRO")
    message = random.Random(segment).randbytes(segment * (count - 1) + last)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        peer.connect((host or "127.0.0.1", listener.endpoint.port))
        peer.sendmsg([message], [(SOL_UDP, UDP_SEGMENT, segment.to_bytes(2, "little"))])
        got = b""
        while len(got) < len(message):
            assert select.select([listener.socket], [], [], 10)[0]
            arrival = port.receive()
            assert arrival.datagrams == -(-arrival.size // arrival.segment)
            got += port.view[: arrival.size]
            sent = port.send(port.view[: arrival.size], arrival.address, arrival.ancillary, arrival.segment)
            assert sent == arrival.datagrams
        assert got == message
        pieces = [peer.recv(70_000) for _ in range(count)]
        assert [len(piece) for piece in pieces] == [segment] * (count - 1) + [last]
        assert b"".join(pieces) == message
    listener.close()


def test_a_burst_that_cannot_go_at_once_goes_one_by_one() -> None:
    # More datagrams than UDP_SEGMENT takes at a time (UDP_MAX_SEGMENTS): the kernel refuses, and none is lost.
    [listener] = open_listeners([[Endpoint("udp", "127.0.0.1", 0)]])
    port = DatagramSocket(listener, in_bursts=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        peer.bind(("127.0.0.1", 0))
        assert port.send(bytes(200), peer.getsockname(), [], 1) == 200
        assert [peer.recv(10) for _ in range(200)] == [b"\0"] * 200
    listener.close()


def test_ipv6() -> None:
    [listener] = open_listeners([[Endpoint("udp", "", 0)]], family=6)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        peer.sendto(b"x", ("::1", listener.endpoint.port))
        echo_once(listener)
        assert peer.recvfrom(10)[1][:2] == ("::1", listener.endpoint.port)
    listener.close()


@needs_root
def test_a_host_of_several_addresses_and_a_broadcast() -> None:
    if reason := netns.why_not():
        pytest.skip(reason)
    with netns.namespaces(2) as (server, client):
        netns.link(server, client, ["10.77.0.1/24", "10.77.0.2/24"], "10.77.0.9/24")
        with server.inside():
            [listener] = open_listeners([[Endpoint("udp", "", 0)]])
        with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(10)
            for host in ("10.77.0.1", "10.77.0.2"):
                peer.sendto(b"who?", (host, listener.endpoint.port))
                echo_once(listener)
                assert peer.recvfrom(10) == (b"who?", (host, listener.endpoint.port))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            peer.sendto(b"all?", ("10.77.0.255", listener.endpoint.port))
            echo_once(listener)  # a broadcast address is no source: an address of the host's own answers
            assert peer.recvfrom(10)[1][0] in ("10.77.0.1", "10.77.0.2")
        listener.close()


def test_a_multicast_question_is_answered_from_no_address_in_particular() -> None:
    group = socket.inet_pton(socket.AF_INET6, "ff02::1") + (2).to_bytes(4, "little")
    assert answer_from([(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, group)]) == []
    assert answer_from([]) == []
    assert answer_from([(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, b"short")]) == []


def test_the_interface_goes_back_with_link_local_addresses_alone() -> None:
    for host, kept in (("fe80::1", 7), ("2001:db8::1", 0)):
        told = socket.inet_pton(socket.AF_INET6, host) + (7).to_bytes(4, "little")
        [(_, _, data)] = answer_from([(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, told)])
        assert data == told[:16] + kept.to_bytes(4, "little")
