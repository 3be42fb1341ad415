"""Processor time of hosts and processes, and who serves an endpoint."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from echowire.kernel.tables.cpu import HostCpu, process_cpu_s, read_host_cpu, serving_pids, wake_punctually
from echowire.model import Endpoint, Transport


def test_shares_are_of_the_time_between() -> None:
    before = HostCpu((1.0, 5.0), (10.0, 10.0))
    assert HostCpu((2.0, 9.0), (14.0, 14.0)).shares_since(before) == [0.25, 1.0]
    assert before.shares_since(before) == []
    assert HostCpu((1.0,), (10.0,)).shares_since(before) == []


def test_this_host() -> None:
    now = read_host_cpu()
    assert now is not None
    assert len(now.busy_s) == len(now.whole_s) > 0
    assert all(0 <= busy <= whole for busy, whole in zip(now.busy_s, now.whole_s, strict=True))


def test_processes() -> None:
    assert process_cpu_s([]) == 0
    own = process_cpu_s([os.getpid()])
    assert own is not None
    assert own > 0
    assert process_cpu_s([os.getpid(), 2**22 + 1]) is None


@pytest.mark.parametrize(("kind", "transport"), [(socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")])
def test_who_serves_a_port(kind: int, transport: Transport) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        port = sock.getsockname()[1]
        assert serving_pids(Endpoint(transport, "127.0.0.1", port)) == {os.getpid()}
        assert serving_pids(Endpoint(transport, "203.0.113.9", port)) == set(), "that is another host"
    assert serving_pids(Endpoint(transport, "127.0.0.1", port)) == set()


def test_who_serves_a_path(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        assert serving_pids(Endpoint("unix", path=str(path))) == {os.getpid()}


def test_timers_are_punctual() -> None:
    slack = Path("/proc/self/timerslack_ns")
    if not slack.exists():
        pytest.skip("this kernel does not show the timer slack")
    before = slack.read_text()
    try:
        wake_punctually()
        assert slack.read_text() == "1\n"
    finally:
        slack.write_text(before)
