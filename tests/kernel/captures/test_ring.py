"""The ring on real interfaces: tags, directions, cooked packets, each once, and what is dropped."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from echowire.core.bpf.classic import accept
from echowire.core.captures.ring import HOST, OUTGOING
from echowire.errors import OperationError
from echowire.kernel.captures.ring import PacketRing
from echowire.kernel.captures.ring_socket import BLOCK_BYTES, ETH_P_ALL, RingSocket, bind_all, lost_since
from echowire.kernel.captures.session import Batch, PacketSession
from tests.netns import Namespace, link, namespaces
from tests.peers import needs_root

pytestmark = needs_root

MAC = bytes.fromhex("020000000001")
PLAIN = b"\xff" * 6 + MAC + b"\x88\xb5"  # IEEE's type for experiments, so that nobody else sends it
PATIENCE_S = 10.0


def ring(name: str, **options: object) -> RingSocket:
    return RingSocket(name, retire_ms=10, **options)  # type: ignore[arg-type]


@contextmanager
def sender(host: Namespace, device: str) -> Iterator[socket.socket]:
    with host.socket(socket.AF_PACKET, socket.SOCK_RAW) as out, host.inside():
        out.bind((device, 0))
        yield out


def taken(session: PacketSession, want: int, is_ours: Callable[[bytes], bool]) -> list[tuple[bytes, int, int]]:
    """Packets of ours, with type and ring, until there are so many, and then all that come to the end."""
    found: list[tuple[bytes, int, int]] = []

    def add(batch: Batch | None) -> None:
        if batch is not None:
            frames = batch.frames
            for at, size, kind in zip(frames.start, frames.cap_len, frames.packet_type, strict=True):
                data = frames.block[at : at + size].tobytes()
                if is_ours(data):
                    found.append((data, int(kind), batch.interface))

    for batch in session.batches(time.monotonic() + PATIENCE_S):
        add(batch)
        if len(found) >= want:
            session.stop()
    return found


def test_tags_come_back_and_directions_are_told() -> None:
    with namespaces(2) as (one, other):
        device, peer = link(one, other, "10.0.0.1/24", "10.0.0.2/24")
        with other.inside():
            session = PacketSession([ring(peer)])
        with session, sender(one, device) as out, sender(other, peer) as back:
            tagged = PLAIN[:12] + b"\x81\0\x60\x05" + PLAIN[12:] + b"t" * 46
            double = PLAIN[:12] + b"\x88\xa8\0\x07\x81\0\0\x09" + PLAIN[12:] + b"d" * 46
            plain = PLAIN + b"p" * 46
            for data in (tagged, double, plain):
                out.send(data)
            back.send(plain)
            found = taken(session, 4, lambda data: data[6:12] == MAC)
        assert [data for data, _, _ in found] == [tagged, double, plain, plain]
        assert [kind == OUTGOING for _, kind, _ in found] == [False, False, False, True]


def test_what_came_before_the_end_is_had_though_its_block_is_not_full() -> None:
    with namespaces(2) as (one, other):
        device, peer = link(one, other, "10.0.0.1/24", "10.0.0.2/24")
        with other.inside():
            session = PacketSession([RingSocket(peer, retire_ms=500)])
        with session, sender(one, device) as out:
            out.send(PLAIN + b"p" * 46)
            until = time.monotonic() + PATIENCE_S
            while session.rings[0].is_empty:
                assert time.monotonic() < until
            session.stop()
            assert [data[:14] for data, _, _ in taken(session, 1, lambda data: data[6:12] == MAC)] == [PLAIN]
            assert session.rings[0].is_empty


def test_cooked_on_all_interfaces_each_packet_of_loopback_once() -> None:
    with namespaces(1) as (host,):
        with host.inside():
            session = PacketSession([ring("any"), ring("lo")])
        with session, host.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
                sink.bind(("127.0.0.1", 0))
                for _ in range(3):
                    out.sendto(b"mine" * 10, sink.getsockname())
                found = taken(session, 6, lambda data: data.endswith(b"mine" * 10))
        cooked = [data for data, _, which in found if which == 0]
        plain = [data for data, _, which in found if which == 1]
        assert len(cooked) == len(plain) == 3
        assert all(kind == HOST for _, kind, _ in found)
        assert [data[20:] for data in cooked] == [data[14:] for data in plain]
        assert cooked[0][:4] == b"\x08\0\0\0"


def test_a_ring_that_is_not_read_drops_and_counts() -> None:
    with namespaces(1) as (host,):
        with host.inside():
            made = PacketRing(RingSocket("lo", ring_bytes=2 * BLOCK_BYTES))
        with made, host.socket(socket.AF_INET, socket.SOCK_DGRAM) as out, host.socket(socket.AF_INET, 2) as sink:
            sink.bind(("127.0.0.1", 0))
            for _ in range(100):
                out.sendto(b"x" * 60_000, sink.getsockname())
            counted = made.counters()
            assert counted.dropped > 0
            kept = sum(len(frames) for _ in range(3) for frames in made.blocks(100))
            assert counted.received == 100
            assert kept <= 100 - counted.dropped


def test_the_snapshot_length_cuts_in_the_kernel() -> None:
    with namespaces(1) as (host,):
        with host.inside():
            session = PacketSession([ring("lo", instructions=accept(50))])
        with session, host.socket(socket.AF_INET, socket.SOCK_DGRAM) as out, host.socket(socket.AF_INET, 2) as sink:
            sink.bind(("127.0.0.1", 0))
            out.sendto(b"x" * 100, sink.getsockname())
            assert [len(data) for data, _, _ in taken(session, 1, lambda data: True)] == [50]


def test_an_interface_that_vanishes_ends_it_with_its_error() -> None:
    with namespaces(2) as (one, other):
        device, _ = link(one, other, "10.0.0.1/24", "10.0.0.2/24")
        with one.inside():
            session = PacketSession([ring(device)])
        with session:
            one.ip(f"link set {device} down")
            noticed: list[OperationError] = []
            session.on_notice = noticed.append
            stream = session.batches(time.monotonic() + PATIENCE_S)
            while not noticed:
                next(stream)
            assert [error.errno_name for error in noticed] == ["ENETDOWN"]
            one.ip(f"link set {device} up")
            next(stream)
            went_on = session.problem is None  # it may come up again, and has
            assert went_on
            other.ip("link delete veth0")
            for _ in stream:
                pass
            assert str(session.problem) == f"capture on {device}: no such device (ENODEV 19). The interface is gone"
        assert len(noticed) == 1  # that it went down on its way out was not told apart


def test_of_two_interfaces_one_may_vanish() -> None:
    with namespaces(2) as (one, other):
        device, _ = link(one, other, "10.0.0.1/24", "10.0.0.2/24")
        with one.inside():
            session = PacketSession([ring(device), ring("lo")])
        noticed: list[OperationError] = []
        session.on_notice = noticed.append
        with session, one.inside():
            one.ip(f"link delete {device}")
            stream = session.batches(time.monotonic() + PATIENCE_S)
            while not noticed:
                next(stream)
            ping_myself()
            while (batch := next(stream)) is None:
                pass
            assert batch.interface == 1
            stream.close()
        assert [str(error) for error in noticed] == [
            f"capture on {device}: no such device (ENODEV 19). The interface is gone"
        ]


def ping_myself() -> None:
    """A datagram on lo."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"me", ("127.0.0.1", 9))


def test_what_nobody_wanted_was_not_lost() -> None:
    """The kernel counts a tag that no interface is for as dropped, though it gave the packet to us (rx_dropped)."""
    with namespaces(2) as (one, other):
        device, peer = link(one, other, "10.0.0.1/24", "10.0.0.2/24")
        before = rx_dropped(other, peer)
        with other.inside():
            session = PacketSession([ring(peer)])
        with session, sender(one, device) as out, other.inside():
            for _ in range(6):
                out.send(PLAIN[:12] + b"\x81\0\0\x09" + PLAIN[12:] + b"t" * 46)
            assert len(taken(session, 6, lambda data: data[6:12] == MAC)) == 6
            assert rx_dropped(other, peer) - before == 6
            assert [each.interface_dropped for each in session.counters()] == [0]


def rx_dropped(host: Namespace, device: str) -> int:
    return int(host.run("cat", f"/sys/class/net/{device}/statistics/rx_dropped"))


def test_what_was_lost_for_certain() -> None:
    assert lost_since((1, 10, 5), (1, 13, 5)) == 0  # nobody wanted them
    assert lost_since((1, 10, 5), (1, 13, 7)) == 2  # so many found no room, of this interface or others
    assert lost_since((1, 10, 5), (4, 13, 900)) == 6
    assert lost_since((9, 10, 5), (0, 0, 0)) == 0  # counters began anew


def test_no_such_interface() -> None:
    with pytest.raises(OperationError, match=r"^capture on nope0: no such device \(ENODEV 19\)"):
        RingSocket("nope0")


def test_bind_by_number_refuses_what_is_not_there() -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock, pytest.raises(OSError) as raised:
        bind_all(sock, 1 << 30)
    assert raised.value.errno is not None
    assert os.strerror(raised.value.errno)
    assert ETH_P_ALL == 3
