"""The sockets of probes: the one that may be had, and one line where none may."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys

import pytest

from echowire.errors import OperationError, UsageError
from echowire.kernel.clock import clock_error
from echowire.kernel.connections.probes import (
    ProbeOptions,
    hops_control,
    known_path_mtu,
    open_icmp,
    open_udp,
    source_of,
)
from tests.netns import namespaces


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("datagram", [True, False])
@pytest.mark.usefixtures("needs_root")
def test_which_socket(family: int, datagram: bool) -> None:
    with namespaces() as (host,):
        host.sysctl("net.ipv4.ping_group_range", "0 0" if datagram else "1 0")
        with host.inside():
            opened = open_icmp(family, ProbeOptions(ttl=9, tos=4), 77)  # type: ignore[arg-type]
        with opened.sock:
            assert opened.is_raw is not datagram
            assert opened.identifier == (opened.sock.getsockname()[1] if datagram else 77)
            assert not opened.sock.getblocking()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
@pytest.mark.usefixtures("needs_root")
def test_who_has_no_right_is_told_what_it_takes() -> None:
    """In one line: the sysctl that would let everyone in, or the capability. Root without CAP_NET_RAW is a user."""
    command = ("setpriv", "--bounding-set=-net_raw", sys.executable, "-m", "echowire", "ping", "-c", "1", "127.0.0.1")
    with namespaces() as (host,):
        host.sysctl("net.ipv4.ping_group_range", "1 0")
        with host.inside():
            done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert "ping_group_range = 1 0" in line
        assert "CAP_NET_RAW" in line
        host.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        with host.inside():
            done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "datagram socket" in done.stdout


def test_where_it_leaves_from() -> None:
    with open_udp(4, ProbeOptions(source="127.0.0.5")) as sock:
        assert sock.getsockname()[0] == "127.0.0.5"
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) != 9
    with open_udp(6, ProbeOptions(ttl=9, fragments="do")) as sock:
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) == 9
    assert source_of(4, ("127.0.0.9", 80), ProbeOptions()) == "127.0.0.1"
    with pytest.raises(UsageError, match="other IP version"):
        open_udp(6, ProbeOptions(source="127.0.0.1"))
    with pytest.raises(OperationError, match="EADDRNOTAVAIL"):
        open_udp(4, ProbeOptions(source="192.0.2.1"))
    with pytest.raises(OperationError, match="ENODEV"):
        open_udp(4, ProbeOptions(interface="nosuch0"))


def test_a_packets_own_time_to_live() -> None:
    assert hops_control(4, 3) == [(socket.IPPROTO_IP, socket.IP_TTL, struct.pack("=i", 3))]
    assert hops_control(6, 3) == [(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("=i", 3))]
    assert known_path_mtu(4, ("127.0.0.1", 0)) in (65535, 65536)


def test_the_clock_says_how_wrong_it_may_be() -> None:
    error = clock_error()
    assert isinstance(error.synchronised, bool)
    assert 0 <= error.seconds <= 16
