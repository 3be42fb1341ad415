"""Options of a socket: set, read back, and refused where there is no such thing."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from echowire.errors import OperationError, UsageError
from echowire.kernel.connections.socket_options import (
    SO_MAX_PACING_RATE,
    SocketOptions,
    apply_options,
    pace,
    parse_dscp,
    read_options,
)
from echowire.model import Endpoint

TCP = Endpoint("tcp", "127.0.0.1", 7)


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6])
def sock(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.socket(request.param, socket.SOCK_STREAM) as made:
        yield made


def test_set_and_read_back(sock: socket.socket) -> None:
    options = SocketOptions(nodelay=True, dscp=10, congestion="reno", send_buffer=10_000, receive_buffer=12_000)
    apply_options(sock, TCP, options)
    found = read_options(sock, TCP)
    assert found == {
        "nodelay": True,
        "dscp": 10,
        "congestion": "reno",
        "send_buffer_bytes": 20_000,
        "receive_buffer_bytes": 24_000,
        "mss_bytes": found["mss_bytes"],
    }


@pytest.mark.parametrize("bytes_per_s", [1, 10**6, 10**10, 10**30])
def test_pacing_is_read_back(sock: socket.socket, bytes_per_s: int) -> None:
    assert pace(sock, bytes_per_s)
    (kept,) = struct.unpack("@Q", sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 8))
    assert kept == min(bytes_per_s, 1 << 62)


def test_pacing_that_cannot_be_is_said() -> None:
    closed = socket.socket()
    closed.close()
    assert not pace(closed, 1000)


def test_what_is_not_asked_for_stays(sock: socket.socket) -> None:
    before = read_options(sock, TCP)
    apply_options(sock, TCP, SocketOptions(nodelay=None))
    assert read_options(sock, TCP) == before


def test_other_transports_have_less() -> None:
    udp, unix = Endpoint("udp", "127.0.0.1", 7), Endpoint("unix", path="/x")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        apply_options(sock, udp, SocketOptions(dscp=46))
        found = read_options(sock, udp)
        assert (found["dscp"], found["nodelay"], found["congestion"], found["mss_bytes"]) == (46, None, None, None)
        with pytest.raises(UsageError, match="only TCP"):
            apply_options(sock, udp, SocketOptions(congestion="reno"))
    with socket.socket(socket.AF_UNIX) as sock:
        assert read_options(sock, unix)["dscp"] is None
        with pytest.raises(UsageError, match="no packets"):
            apply_options(sock, unix, SocketOptions(dscp=46))


def test_the_kernel_s_no_names_what_was_asked(sock: socket.socket) -> None:
    with pytest.raises(OperationError, match=r"set congestion control 'nonsense' on 127\.0\.0\.1:7/tcp"):
        apply_options(sock, TCP, SocketOptions(congestion="nonsense"))


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("63", 63), ("0x2e", 46), ("EF", 46), ("af41", 34), ("cs1", 8), ("le", 1)]
)
def test_code_points(text: str, value: int) -> None:
    assert parse_dscp(text) == value


@pytest.mark.parametrize("text", ["64", "-1", "af45", "", "e f"])
def test_no_code_points(text: str) -> None:
    with pytest.raises(UsageError, match="DSCP"):
        parse_dscp(text)
