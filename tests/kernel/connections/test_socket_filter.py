"""Filters on sockets: what a classic BPF program lets in, and what it keeps out."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from echowire.core.bpf.classic import NOTHING, WHOLE, accept, ports_only
from echowire.kernel.connections.socket_filter import attach_filter


def heard(program: bytes, *, ports_before: int = 0) -> list[bytes]:
    """What a UDP socket hears of two datagrams, the first sent to it while it has `program`.

    A datagram over loopback is filtered while it is sent: so what was kept out is known when the second has come.
    """
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        others = [1 + (port + at) % 65_535 for at in range(ports_before)]
        attach_filter(server, program or ports_only([*others, port], behind_ipv4=False))
        client.sendto(b"first", server.getsockname())
        attach_filter(server, accept(WHOLE))
        client.sendto(b"second", server.getsockname())
        datagrams = [server.recv(100)]
        while datagrams[-1] != b"second":
            datagrams.append(server.recv(100))
        return datagrams


@pytest.mark.parametrize("ports_before", [0, 1, 200])
def test_datagrams_to_one_of_the_ports_come_in(ports_before: int) -> None:
    assert heard(b"", ports_before=ports_before) == [b"first", b"second"]


@pytest.mark.parametrize(
    "program", [accept(NOTHING), ports_only([], behind_ipv4=False), ports_only([7], behind_ipv4=False)]
)
def test_all_others_stay_out(program: bytes) -> None:
    assert heard(program) == [b"second"]


def test_what_is_let_in_may_be_cut() -> None:
    header_bytes = 8  # UDP's own, with which the filter's count begins
    assert heard(accept(header_bytes + 3)) == [b"fir", b"second"]


def test_behind_the_header_of_ipv4() -> None:
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
        except PermissionError:
            pytest.skip("a raw socket needs CAP_NET_RAW")
        mine, other = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
        for sock in (mine, other):
            sock.bind(("127.0.0.1", 0))
        attach_filter(raw, ports_only([mine.getsockname()[1]], behind_ipv4=True))
        raw.settimeout(10)
        mine.sendto(b"not to mine", other.getsockname())
        other.sendto(b"to mine", mine.getsockname())
        assert raw.recv(100)[28:] == b"to mine"
