"""Connecting: which address is tried when, what each answered, and the errors before any is tried."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from echowire.core.failures.facts import IcmpReport
from echowire.errors import NameResolutionError, OperationError, UsageError
from echowire.kernel.connections.channel import Channel, wait
from echowire.kernel.connections.connect import ConnectFailure, Connection, connect
from echowire.kernel.connections.icmp_errors import IP_RECVERR
from echowire.kernel.connections.resolve import Source, interleaved, resolve
from echowire.model import Endpoint
from tests.netns import link, namespaces
from tests.plain_servers import answering, echo, free_port, reset, serving, serving_unix, silent_listener


def tcp(port: int, host: str = "127.0.0.1") -> Endpoint:
    return Endpoint("tcp", host, port)


@contextmanager
def connected(made: Connection | ConnectFailure) -> Iterator[Connection]:
    assert isinstance(made, Connection), made
    try:
        yield made
    finally:
        made.channel.close()


def failed(made: Connection | ConnectFailure) -> ConnectFailure:
    assert isinstance(made, ConnectFailure)
    return made


def receive(channel: Channel) -> bytes:
    while (data := channel.receive(65_536)) is None:
        assert wait(channel, read=True, write=False, deadline=None)
    return data


def outcomes(made: Connection | ConnectFailure) -> list[str]:
    return [attempt.outcome for attempt in made.attempts]


def test_one_address() -> None:
    with serving(echo) as port, connected(connect(tcp(port))) as made:
        assert outcomes(made) == ["connected"]
        assert made.attempts[0].address == f"127.0.0.1:{port}"
        assert made.attempts[0].seconds == made.connect_s > 0
        assert made.channel.remote == tcp(port)
        assert made.channel.local == tcp(made.channel.socket.getsockname()[1])
        assert made.channel.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_no_host_is_this_host_and_the_next_family_is_tried_at_once() -> None:
    with serving(echo) as port, connected(connect(tcp(port, ""))) as made:
        assert outcomes(made) == ["refused", "connected"]
        assert [attempt.address for attempt in made.attempts] == [f"[::1]:{port}", f"127.0.0.1:{port}"]
        assert made.attempts[0].number == errno.ECONNREFUSED


def test_the_first_family_is_enough_when_it_answers() -> None:
    with serving(echo, family=socket.AF_INET6) as port, connected(connect(tcp(port, ""))) as made:
        assert outcomes(made) == ["connected"]
        assert made.channel.remote.host == "::1"


def test_a_silent_address_does_not_hold_up_the_next() -> None:
    port = free_port()
    with silent_listener(socket.AF_INET6, port), serving(echo, port=port):
        with connected(connect(tcp(port, ""), timeout_s=20)) as made:
            assert outcomes(made) == ["abandoned", "connected"]
            assert made.channel.remote.host == "127.0.0.1"


def test_a_family_alone() -> None:
    with serving(echo) as port:
        assert outcomes(failed(connect(tcp(port, ""), family=6))) == ["refused"]
        with connected(connect(tcp(port, ""), family=4)) as made:
            assert outcomes(made) == ["connected"]


def test_all_refused() -> None:
    failure = failed(connect(tcp(port := free_port(), "")))
    assert outcomes(failure) == ["refused", "refused"]
    assert (failure.operation, failure.where, failure.number) == ("connect", f":{port}/tcp", errno.ECONNREFUSED)


def test_our_timer_is_not_the_kernels() -> None:
    with silent_listener(socket.AF_INET) as port:
        failure = failed(connect(tcp(port), timeout_s=0.2))
        assert (failure.outcome, failure.number) == ("no answer", None)
        assert outcomes(failure) == ["no answer"]


def test_a_refusal_tells_more_than_silence() -> None:
    with silent_listener(socket.AF_INET6, free_port()) as port:
        failure = failed(connect(tcp(port, ""), timeout_s=1))
        assert outcomes(failure) == ["no answer", "refused"]
        assert failure.number == errno.ECONNREFUSED
        assert failure.address == tcp(port)


def test_connecting_to_oneself_is_a_failure() -> None:
    port = free_port()
    failure = failed(connect(tcp(port), source=Source("127.0.0.1", port)))
    assert failure.outcome == "self-connected"
    with serving(echo, port=port):  # and it leaves no TIME-WAIT in the server's way
        pass


def test_a_reset_at_once_is_told_as_a_reset_whenever_it_is_seen() -> None:
    def cut(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(cut) as port:
        for _ in range(50):
            made = connect(tcp(port))
            if isinstance(made, ConnectFailure):
                assert (made.outcome, made.number) == ("reset", errno.ECONNRESET)
                continue
            with connected(made), pytest.raises(OperationError) as caught:
                receive(made.channel)
            assert caught.value.number == errno.ECONNRESET


def test_source_address_and_port() -> None:
    port_here = free_port()
    with serving(echo) as port:
        with connected(connect(tcp(port), source=Source("127.0.0.7", port_here))) as made:
            assert made.channel.local == tcp(port_here, "127.0.0.7")
        with connected(connect(tcp(port), source=Source("127.0.0.8"))) as made:
            assert made.channel.local.host == "127.0.0.8"


def test_a_source_that_is_not_ours() -> None:
    failure = failed(connect(tcp(free_port()), source=Source("192.0.2.77")))
    assert (failure.operation, failure.number) == ("bind", errno.EADDRNOTAVAIL)
    assert failure.where == "192.0.2.77:0/tcp"


def test_a_source_of_the_other_family() -> None:
    with pytest.raises(UsageError, match="family that the source is of"):
        connect(tcp(1), source=Source("::1"))


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (Endpoint("tcp", "no-such-name.invalid", 1), "resolve no-such-name.invalid"),
        (Endpoint("tcp", "fe80::1%nope0", 1), "no interface 'nope0' here; there are .*lo"),
        (Endpoint("tcp", "a" * 70 + ".example", 1), "cannot be a host name"),
    ],
)
def test_names_that_do_not_resolve(endpoint: Endpoint, said: str) -> None:
    with pytest.raises(NameResolutionError, match=said):
        connect(endpoint)


def test_a_link_local_address_without_its_zone_and_port_0() -> None:
    with pytest.raises(UsageError, match="needs the interface it is on: fe80::1%"):
        connect(tcp(1, "fe80::1"))
    with pytest.raises(UsageError, match="port 0"):
        connect(tcp(0))


def test_families_take_turns() -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    addresses = [(int(six), (f"::{n}", 1)) for n in range(3)] + [(int(four), (f"127.0.0.{n}", 1)) for n in range(2)]
    turns = interleaved(addresses)  # type: ignore[arg-type]
    assert [family for family, _ in turns] == [six, four, six, four, six]
    assert [address[0] for family, address in turns if family == six] == ["::0", "::1", "::2"]


def test_an_address_is_tried_once() -> None:
    assert len(resolve(tcp(80), None)) == 1


def test_unix_stream(tmp_path: Path) -> None:
    with serving_unix(echo, tmp_path / "s") as path, connected(connect(Endpoint("unix", path=str(path)))) as made:
        assert made.channel.send(b"hello") == 5
        assert receive(made.channel) == b"hello"
        assert made.channel.remote == Endpoint("unix", path=str(path))


def test_unix_datagrams_have_a_name_to_be_answered_at(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "d"))
        with connected(connect(Endpoint("unixgram", path=str(tmp_path / "d")))) as made:
            made.channel.send(b"hello")
            data, peer = server.recvfrom(100)
            server.sendto(data, peer)
            assert receive(made.channel) == b"hello"
            assert made.channel.local.path.startswith("@")


def test_unix_failures(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "gram"))
        for name, number in (("none", errno.ENOENT), ("file", errno.ECONNREFUSED), ("gram", errno.EPROTOTYPE)):
            failure = failed(connect(Endpoint("unix", path=str(tmp_path / name))))
            assert failure.number == number
            assert failure.where == f"unix:{tmp_path / name}"
    with pytest.raises(UsageError, match="no source"):
        connect(Endpoint("unix", path="/x"), source=Source(port=1))


def test_unix_backlog_full_ends_by_our_timer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        at = Endpoint("unix", path=str(tmp_path / "s"))
        with connected(connect(at)):
            assert failed(connect(at, timeout_s=0.1)).number == errno.EAGAIN


def test_udp_moves_on_to_the_address_that_answers() -> None:
    with answering(lambda data: [data]) as port, connected(connect(Endpoint("udp", "", port))) as made:
        assert made.channel.remote.host == "::1"
        made.channel.send(b"first")
        assert receive(made.channel) == b"first"
        assert made.channel.remote.host == "127.0.0.1"
        made.channel.send(b"second")
        assert receive(made.channel) == b"second"


def test_udp_refused_says_who_said_so() -> None:
    with connected(connect(Endpoint("udp", "127.0.0.1", free_port()))) as made:
        made.channel.send(b"anybody?")
        with pytest.raises(OperationError) as caught:
            receive(made.channel)
        assert caught.value.number == errno.ECONNREFUSED
        assert made.channel.icmp is not None
        assert (made.channel.icmp.type, made.channel.icmp.code, made.channel.icmp.offender) == (3, 3, "127.0.0.1")


def test_udp_refused_by_all_addresses() -> None:
    with connected(connect(Endpoint("udp", "", free_port()))) as made:
        made.channel.send(b"anybody?")
        with pytest.raises(OperationError) as caught:
            receive(made.channel)
        assert caught.value.number == errno.ECONNREFUSED


def test_a_firewall_that_refuses_is_named() -> None:
    with namespaces(2) as (client, server):
        link(client, server, "10.0.0.1/24", "10.0.0.2/24")
        server.nft("add rule inet test input meta l4proto { tcp, udp } reject with icmp type admin-prohibited")
        with client.inside():
            failure = failed(connect(tcp(81, "10.0.0.2")))
            assert failure.number == errno.EHOSTUNREACH
            assert failure.icmp == failure.attempts[0].icmp == IcmpReport(3, 13, "10.0.0.2")
            with connected(connect(Endpoint("udp", "10.0.0.2", 81))) as made:
                made.channel.send(b"anybody?")
                with pytest.raises(OperationError):
                    receive(made.channel)
                assert made.channel.icmp == IcmpReport(3, 13, "10.0.0.2")


def test_a_link_local_address_with_its_zone() -> None:
    with namespaces(2) as (client, server):
        device, theirs = link(client, server, "10.0.0.1/24", "10.0.0.2/24")
        server.ip(f"address add fe80::77/64 dev {theirs} nodad")
        with server.inside(), socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::", 0))
            listener.listen()
            at = tcp(listener.getsockname()[1], f"fe80::77%{device}")
            with client.inside(), connected(connect(at)) as made:
                assert made.channel.remote == at
                assert made.attempts[0].address == at.address


def test_once_connected_passing_icmp_errors_pass() -> None:
    with serving(echo) as port, connected(connect(tcp(port))) as made:
        assert made.channel.socket.getsockopt(socket.IPPROTO_IP, IP_RECVERR) == 0


def test_closing_wakes_the_thread_that_waits() -> None:
    with serving(echo) as port, connected(connect(tcp(port))) as made:
        woken = threading.Event()

        def waiting() -> None:
            wait(made.channel, read=True, write=False, deadline=None)
            woken.set()

        thread = threading.Thread(target=waiting)
        thread.start()
        made.channel.close()
        assert woken.wait(10)
        thread.join()
        with pytest.raises(OperationError, match="it is closed"):
            made.channel.fileno()


def test_reset_while_receiving() -> None:
    with serving(reset) as port, connected(connect(tcp(port))) as made:
        made.channel.send(b"x")
        with pytest.raises(OperationError) as caught:
            receive(made.channel)
        assert caught.value.number == errno.ECONNRESET
