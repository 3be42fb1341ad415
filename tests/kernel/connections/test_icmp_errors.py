"""The error queue: real ICMP errors, on both families, for TCP and UDP; it never blocks and never raises."""

from __future__ import annotations

import errno
import socket
import struct
import time

import pytest

from echowire.core.failures.facts import IcmpReport
from echowire.kernel.connections import icmp_errors
from tests.netns import chain

V4, V6 = socket.AF_INET, socket.AF_INET6
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3  # linux/in.h
IPV6_MTU_DISCOVER = 23  # linux/in6.h


def closed_udp_port(family: int) -> tuple[str, int]:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1" if family == V4 else "::1", 0))
        host, port = sock.getsockname()[:2]
        return host, port


@pytest.mark.parametrize("timeout", [None, 0, 5.0])
@pytest.mark.parametrize(("family", "report"), [(V4, IcmpReport(3, 3, "127.0.0.1")), (V6, IcmpReport(1, 4, "::1", 6))])
def test_a_port_that_nobody_has(family: int, report: IcmpReport, timeout: float | None) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        icmp_errors.enable(sock)
        sock.connect(closed_udp_port(family))
        sock.send(b"x")
        assert icmp_errors.take(sock) == report
        assert icmp_errors.take(sock) is None
        assert sock.gettimeout() == timeout


@pytest.mark.parametrize("timeout", [None, 0, 5.0])
def test_an_empty_queue_is_none_at_once(timeout: float | None) -> None:
    with socket.socket() as sock:
        icmp_errors.enable(sock)
        sock.settimeout(timeout)
        before = time.monotonic()
        assert icmp_errors.take(sock) is None
        assert time.monotonic() - before < 1
        assert sock.gettimeout() == timeout


def test_disabled_it_queues_nothing() -> None:
    with socket.socket(V4, socket.SOCK_DGRAM) as sock:
        icmp_errors.enable(sock)
        icmp_errors.disable(sock)
        sock.connect(closed_udp_port(V4))
        sock.send(b"x")
        assert icmp_errors.take(sock) is None


def test_an_unconnected_socket_hears_of_errors_too() -> None:
    with socket.socket(V4, socket.SOCK_DGRAM) as sock:
        icmp_errors.enable(sock)
        sock.sendto(b"x", closed_udp_port(V4))
        assert icmp_errors.take(sock) == IcmpReport(3, 3, "127.0.0.1")


def test_sockets_without_such_a_queue_are_left_alone() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        icmp_errors.enable(sock)
        icmp_errors.disable(sock)
        assert icmp_errors.take(sock) is None
    for timeout in (None, 1.0):
        closed = socket.socket()
        closed.settimeout(timeout)
        closed.close()
        assert icmp_errors.take(closed) is None


def test_a_report_that_is_not_icmp_is_passed_over() -> None:
    with socket.socket(V6, socket.SOCK_DGRAM) as sock:
        icmp_errors.enable(sock)
        sock.connect(closed_udp_port(V6))
        with pytest.raises(OSError, match="Message too long"):
            sock.send(bytes(65528))
        # The kernel queued that too, as an error of its own (SO_EE_ORIGIN_LOCAL).
        sock.send(b"x")
        assert icmp_errors.take(sock) == IcmpReport(1, 4, "::1", 6)


def test_truncated_control_data_is_noreport_of() -> None:
    whole = (
        struct.pack("=IBBBxII", errno.ECONNREFUSED, 2, 3, 3, 0, 0) + struct.pack("=HH", V4, 0) + bytes([10, 0, 0, 1])
    )
    assert icmp_errors.report_of(whole) == IcmpReport(3, 3, "10.0.0.1")
    assert icmp_errors.report_of(whole[:16]) == IcmpReport(3, 3, "")
    for size in range(16):
        assert icmp_errors.report_of(whole[:size]) is None


def test_tcp_and_a_packet_too_big_and_the_routers_address() -> None:
    with chain(3) as (client, router, server):
        server.nft("add rule inet test input tcp dport 80 reject with icmp admin-prohibited")
        with client.socket() as sock:
            sock.settimeout(3)
            icmp_errors.enable(sock)
            with pytest.raises(OSError, match="No route to host"):
                sock.connect(("10.77.1.2", 80))
            assert icmp_errors.take(sock) == IcmpReport(3, 13, "10.77.1.2")
        router.ip("link set veth1 mtu 1300")
        for family, host, offender, kind in (
            (V4, "10.77.1.2", "10.77.0.2", (3, 4, 4)),
            (V6, "fd77:0:0:1::2", "fd77::2", (2, 0, 6)),
        ):
            with client.socket(family, socket.SOCK_DGRAM) as sock:
                icmp_errors.enable(sock)
                if family == V4:
                    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
                else:
                    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_PROBE)
                sock.connect((host, 9))
                sock.send(bytes(1400))
                report = icmp_errors.take(sock)
            assert report
            assert (report.type, report.code, report.version, report.offender) == (*kind, offender)
            assert report.mtu == 1300
