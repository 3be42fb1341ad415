"""`call` against peers that behave, and against those that do not: slow, silent, cut off, lying, flooding."""

from __future__ import annotations

import errno
import io
import os
import random
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import echowire
from echowire import NoReplyError, OperationError, Peer, ProtocolError, UsageError
from tests.peers import needs
from tests.plain_servers import (
    answering,
    echo,
    echo_by_bytes,
    free_port,
    reset,
    serving,
    serving_unix,
    silent_listener,
)

MEBIBYTE = 1024 * 1024
SHORT_S = 0.1
"""A wait that is meant to end by its timer."""


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@contextmanager
def calling(port: int, scheme: str = "tcp", *, timeout: float | None = 30) -> Iterator[Peer]:
    with echowire.call(f"{scheme}://127.0.0.1:{port}", timeout=timeout) as peer:
        yield peer


# Streams


@pytest.mark.parametrize("size", [0, 1, 2, 63, 65_536, 262_145, MEBIBYTE])
def test_echo_of_every_size(size: int) -> None:
    with serving(echo) as port, calling(port) as peer:
        for _ in range(3):
            assert peer.echo(noise(size)) == noise(size)


def test_64_mebibytes_do_not_deadlock() -> None:
    data = noise(64 * MEBIBYTE)
    with serving(echo) as port, calling(port) as peer:
        exchange = peer.exchange(data)
    assert exchange.verdict.ok and exchange.error is None and exchange.received == data
    assert exchange.rtt_s is not None and exchange.rtt_s > 0


def test_byte_by_byte() -> None:
    data = noise(20_000)
    with serving(echo_by_bytes) as port, calling(port) as peer:
        assert peer.echo(data) == data
        for byte in data[:200]:
            peer.send(bytes([byte]))
        assert peer.recv_exactly(200) == data[:200]


def test_unix_stream(tmp_path: Path) -> None:
    with serving_unix(echo, tmp_path / "s") as path, echowire.call(f"unix:{path}") as peer:
        assert peer.echo(noise(MEBIBYTE)) == noise(MEBIBYTE)
        assert peer.transport == "unix" and peer.is_stream


def test_what_a_peer_tells_of_itself() -> None:
    with serving(echo) as port, calling(port) as peer:
        assert peer.remote.url == f"tcp://127.0.0.1:{port}"
        assert peer.local.host == "127.0.0.1" and peer.local.port not in (0, port)
        assert [attempt.outcome for attempt in peer.attempts] == ["connected"]
        assert peer.connect_s > 0 and peer.tls is None and peer.tls_s is None
        assert repr(peer) == f"<Peer {peer.remote} from {peer.local}>"


def test_half_close_and_then_the_rest_and_the_end() -> None:
    with serving(echo) as port, calling(port) as peer:
        peer.send(b"hello")
        peer.half_close()
        assert peer.recv_exactly(5) == b"hello"
        assert peer.recv() == b""
        peer.half_close()


def test_nothing_yet_is_none_and_the_end_is_empty() -> None:
    go_on, told = threading.Event(), threading.Event()

    def behave(sock: socket.socket) -> None:
        go_on.wait(30)
        sock.sendall(b"x")
        told.wait(30)

    with serving(behave) as port, calling(port) as peer:
        assert peer.recv_nowait() is None
        go_on.set()
        assert peer.recv() == b"x"
        told.set()
        assert peer.recv() == b""


def test_a_silent_peer_is_told_of_with_whose_timer_it_was() -> None:
    end = threading.Event()
    with serving(lambda sock: end.wait(30)) as port, calling(port, timeout=SHORT_S) as peer:
        with pytest.raises(NoReplyError, match=r"nothing came within 100 ms \(our timer\)"):
            peer.recv()
        with pytest.raises(NoReplyError, match="our timer"):
            peer.echo(b"hello")
        exchange = peer.exchange(b"hello")
        assert (exchange.received, exchange.rtt_s, exchange.verdict.outcome) == (None, None, "lost")
        end.set()


def test_a_peer_that_does_not_read_stops_send() -> None:
    end = threading.Event()
    with serving(lambda sock: end.wait(30)) as port, calling(port) as peer:
        with pytest.raises(NoReplyError, match="the peer has read nothing for 100 ms"):
            peer.send(bytes(64 * MEBIBYTE), timeout=SHORT_S)
        end.set()


def test_a_reply_that_stalls_half_way() -> None:
    end = threading.Event()

    def behave(sock: socket.socket) -> None:
        sock.sendall(sock.recv(100)[:3])
        end.wait(30)

    with serving(behave) as port, calling(port, timeout=SHORT_S) as peer:
        exchange = peer.exchange(b"hello")
        assert exchange.received == b"hel" and exchange.rtt_s is None
        assert str(exchange.verdict) == "truncated, 2 bytes missing"
        assert "3 of 5 bytes came, and no more within" in str(exchange.error)
        end.set()


def test_a_peer_that_resets() -> None:
    with serving(reset) as port, calling(port) as peer, pytest.raises(OperationError) as caught:
        peer.echo(b"hello")
    assert caught.value.number == errno.ECONNRESET and caught.value.exit_status == 1


def test_a_peer_that_closes_early() -> None:
    with serving(lambda sock: sock.sendall(sock.recv(100)[:2])) as port, calling(port) as peer:
        with pytest.raises(ProtocolError, match="closed the connection after 2 of the 5 bytes"):
            peer.echo(b"hello")


def test_what_a_peer_said_before_it_left_is_kept() -> None:
    def behave(sock: socket.socket) -> None:
        sock.sendall(b"go away")
        sock.shutdown(socket.SHUT_RDWR)

    with serving(behave) as port, calling(port) as peer:
        exchange = peer.exchange(noise(8 * MEBIBYTE))
        assert exchange.error is not None
        assert exchange.received == b"go away"


def test_a_peer_that_lies() -> None:
    with serving(lambda sock: sock.sendall(sock.recv(100).upper())) as port, calling(port) as peer:
        exchange = peer.exchange(b"HELLo")
        assert exchange.received == b"HELLO" and exchange.error is None
        assert str(exchange.verdict) == "corrupted at byte 4"


def test_a_peer_that_floods_does_not_fill_memory() -> None:
    def behave(sock: socket.socket) -> None:
        while True:
            sock.sendall(bytes(65_536))

    with serving(behave) as port, calling(port) as peer:
        exchange = peer.exchange(bytes(10))
        assert exchange.received is not None and len(exchange.received) <= 2 * MEBIBYTE
        assert peer.recv_exactly(8 * MEBIBYTE) == bytes(8 * MEBIBYTE)
        assert 0 < len(peer.recv(1000)) <= 1000


def test_one_thread_sends_while_another_receives() -> None:
    data = noise(16 * MEBIBYTE)
    with serving(echo) as port, calling(port) as peer:
        sender = threading.Thread(target=peer.send, args=(data,))
        sender.start()
        assert peer.recv_exactly(len(data)) == data
        sender.join()


def test_closing_from_another_thread_ends_a_wait() -> None:
    with serving(echo) as port, calling(port, timeout=None) as peer:
        threading.Timer(0.05, peer.close).start()
        with pytest.raises(OperationError) as caught:
            while peer.recv() == b"":  # the wait may end by the shutdown before the close
                pass
        assert caught.value.number == errno.EBADF


# Connecting


def test_refused_by_every_address_says_what_each_answered() -> None:
    answers: list[object] = []
    with pytest.raises(OperationError) as caught:
        echowire.call(f"tcp://:{(port := free_port())}", on_attempts=answers.extend)
    said = str(caught.value)
    assert said.startswith(f"connect :{port}/tcp: connection refused (ECONNREFUSED 111).")
    assert f"Tried [::1]:{port} refused, 127.0.0.1:{port} refused." in said
    assert len(answers) == 2


def test_no_answer_says_whose_timer() -> None:
    with silent_listener(socket.AF_INET) as port:
        with pytest.raises(NoReplyError, match=rf"connect 127.0.0.1:{port}/tcp: no answer within 100 ms \(our timer\)"):
            echowire.call(f"127.0.0.1:{port}", timeout=SHORT_S)


def test_self_connect_is_an_error() -> None:
    port = free_port()
    with pytest.raises(ProtocolError, match="connected to itself"):
        echowire.call(f"127.0.0.1:{port}", source="127.0.0.1", source_port=port)


def test_the_public_example_works() -> None:
    with echowire.serve("tcp://127.0.0.1:0") as server, echowire.call(server.endpoint) as peer:
        assert peer.echo(b"hello") == b"hello"


# Datagrams


@pytest.mark.parametrize("size", [0, 1, 8, 512, 65_507])
def test_datagrams_of_every_size(size: int) -> None:
    with answering(lambda data: [data]) as port, calling(port, "udp") as peer:
        assert peer.echo(noise(size)) == noise(size)


def test_a_datagram_too_long_is_this_hosts_error() -> None:
    with answering(lambda data: [data]) as port, calling(port, "udp") as peer:
        with pytest.raises(OperationError) as caught:
            peer.exchange(bytes(65_508))
        assert caught.value.number == errno.EMSGSIZE and caught.value.exit_status == 2


def test_nobody_there_is_heard_by_the_next_call() -> None:
    with calling(free_port(), "udp") as peer:
        with pytest.raises(OperationError) as caught:
            peer.echo(b"anybody?")
        assert caught.value.number == errno.ECONNREFUSED
        assert "ICMP 3/3" in caught.value.meaning


def test_no_reply() -> None:
    with answering(lambda data: []) as port, calling(port, "udp") as peer:
        with pytest.raises(NoReplyError, match="our timer"):
            peer.echo(b"hello", timeout=SHORT_S)


def test_exactly_is_for_streams() -> None:
    with answering(lambda data: [data]) as port, calling(port, "udp") as peer:
        with pytest.raises(UsageError, match="for streams"):
            peer.recv_exactly(3)


# Conversations


def outcomes(peer: Peer, count: int, size: int = 100, **how: float) -> tuple[list[str], echowire.Conversation]:
    payloads = echowire.generate_payloads(size, count)
    conversation = echowire.converse(peer, payloads, timeout_s=how.get("timeout_s", 10), verify=True)
    return [exchange.verdict.outcome for exchange in conversation], conversation


def test_a_conversation_where_all_is_well() -> None:
    for server, scheme in ((serving(echo), "tcp"), (answering(lambda data: [data]), "udp")):
        with server as port, calling(port, scheme) as peer:
            seen, conversation = outcomes(peer, 20)
            assert seen == ["intact"] * 20
            assert conversation.tally.ok and conversation.tally.intact == 20
            assert (conversation.tally.duplicated is None) == (scheme == "tcp")


class Unreliable:
    """Answers datagram n (from 0) as `script[n]` says: a list of what to send of all that came so far."""

    def __init__(self, *script: list[int]) -> None:
        self.script, self.seen = script, list[bytes]()

    def __call__(self, data: bytes) -> list[bytes]:
        self.seen.append(data)
        return [self.seen[index] for index in self.script[len(self.seen) - 1]]


def test_loss_duplicates_and_reordering_are_told_apart() -> None:
    # 1 is lost; 2 comes twice; 3 comes only after 4.
    with answering(Unreliable([0], [], [2, 2], [], [4, 3], [5])) as port, calling(port, "udp") as peer:
        seen, conversation = outcomes(peer, 6, timeout_s=SHORT_S)
    tally = conversation.tally
    assert seen == ["intact", "lost", "intact", "lost", "intact", "intact"]
    assert (tally.lost, tally.duplicated, tally.reordered, tally.intact) == (1, 1, 1, 5)
    assert (tally.corrupted, tally.truncated, tally.unexpected) == (0, 0, 0)


def test_a_copy_of_the_last_datagram_is_still_heard() -> None:
    with answering(lambda data: [data, data]) as port, calling(port, "udp") as peer:
        _, conversation = outcomes(peer, 1)
    assert conversation.tally.duplicated == 1


@pytest.mark.parametrize("size", [4, 100])
def test_corrupted_and_truncated(size: int) -> None:
    faults: tuple[Callable[[bytes], bytes], ...] = (
        lambda data: data[:-1],
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data + b"!",
    )
    left = iter(faults)
    with answering(lambda data: [next(left)(data)]) as port, calling(port, "udp") as peer:
        seen, conversation = outcomes(peer, 3, size)
    assert seen == ["truncated", "corrupted", "surplus"]
    assert (conversation.tally.truncated, conversation.tally.corrupted) == (1, 2)
    assert not conversation.tally.ok


def test_a_refusal_is_a_result_and_the_conversation_goes_on() -> None:
    port = free_port()
    with calling(port, "udp") as peer:
        exchanges = iter(echowire.converse(peer, echowire.generate_payloads(64), timeout_s=10))
        first = next(exchanges)
        assert isinstance(first.error, OperationError) and first.error.number == errno.ECONNREFUSED
        with answering(lambda data: [data], port=port):
            assert any(next(exchanges).verdict.ok for _ in range(2))


def test_a_stream_that_says_more_than_the_echo() -> None:
    def behave(sock: socket.socket) -> None:
        sock.sendall(b"220 welcome\r\n")
        while data := sock.recv(100):
            sock.sendall(data + b"!")

    with serving(behave) as port, calling(port) as peer:
        assert peer.recv_exactly(1) == b"2"  # the greeting is here
        conversation = echowire.converse(peer, [b"one", b"two", b"three"], verify=True)
        exchanges = list(conversation)
    assert exchanges[0].unasked == b"20 welcome\r\n"
    back = b"".join(exchange.unasked + (exchange.received or b"") for exchange in exchanges)
    assert back.removesuffix(b"!") == b"20 welcome\r\none!two!three"
    assert conversation.tally.surplus_bytes == 12 + 3 and not conversation.tally.ok


def test_a_stream_that_ends_ends_the_conversation() -> None:
    with serving(lambda sock: sock.sendall(sock.recv(100))) as port, calling(port) as peer:
        exchanges = list(echowire.converse(peer, [b"one", b"two", b"three"]))
    assert [exchange.verdict.outcome for exchange in exchanges] == ["intact", "lost"]
    assert exchanges[1].error is not None


def test_an_empty_message_is_no_message_on_a_stream() -> None:
    with serving(echo) as port, calling(port) as peer, pytest.raises(UsageError, match="nothing to send"):
        list(echowire.converse(peer, [b""]))


def test_the_interval_is_from_message_to_message() -> None:
    with answering(lambda data: [data]) as port, calling(port, "udp") as peer:
        conversation = echowire.converse(peer, [b"a", b"b", b"c"], interval_s=0.02)
        assert [exchange.received for exchange in conversation] == [b"a", b"b", b"c"]


# Relays


def test_relay_of_streams_without_descriptors() -> None:
    data, back = noise(5 * MEBIBYTE), io.BytesIO()
    with serving(echo) as port, calling(port) as peer:
        done = echowire.relay(peer, io.BytesIO(data), back)
    assert back.getvalue() == data
    assert (done.sent_bytes, done.received_bytes, done.ended) == (len(data), len(data), "peer closed")


def test_relay_of_files(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(noise(5 * MEBIBYTE))
    with serving(echo) as port, calling(port) as peer:
        with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as sink:
            done = echowire.relay(peer, source, sink, verify=True)
    assert (tmp_path / "out").read_bytes() == noise(5 * MEBIBYTE)
    assert done.verdict is not None and done.verdict.ok and done.ok


def test_relay_verifies_what_comes_back() -> None:
    def behave(sock: socket.socket) -> None:
        received = sum(len(data) for data in iter(lambda: sock.recv(65_536), b""))
        sock.sendall(bytes(received - 1))

    with serving(behave) as port, calling(port) as peer:
        done = echowire.relay(peer, io.BytesIO(bytes(1000) + b"x" + bytes(1000)), None, verify=True)
    assert not done.ok and done.verdict is not None and done.verdict.wrong_at == 1000


def test_relay_sends_as_it_comes_and_writes_as_it_comes() -> None:
    reading, typing = os.pipe()
    showing, writing = os.pipe()
    with serving(echo) as port, calling(port) as peer:
        thread = threading.Thread(target=echowire.relay, args=(peer, reading, writing))
        thread.start()
        for word in (b"one", b"two"):
            os.write(typing, word)
            assert os.read(showing, 100) == word
        os.close(typing)
        thread.join()
    for descriptor in (reading, showing, writing):
        os.close(descriptor)


def test_an_output_that_nobody_reads_any_more_ends_the_relay() -> None:
    reading, typing = os.pipe()
    showing, writing = os.pipe()
    results = []
    with serving(echo) as port, calling(port) as peer:
        thread = threading.Thread(target=lambda: results.append(echowire.relay(peer, reading, writing)))
        thread.start()
        os.write(typing, b"x")
        assert os.read(showing, 1) == b"x"
        os.close(showing)
        thread.join()
    assert results[0].ended == "output closed"
    for descriptor in (reading, typing, writing):
        os.close(descriptor)


def test_a_slow_output_holds_the_peer_back_and_not_the_input() -> None:
    """The output is read only when all input has been sent: neither direction may wait for the other."""
    received = threading.Event()

    def behave(sock: socket.socket) -> None:
        sock.sendall(bytes(200_000))  # more than the output's pipe holds
        total = 0
        while total < 4 * MEBIBYTE:
            total += len(sock.recv(65_536))
        received.set()

    showing, writing = os.pipe()
    with serving(behave) as port, calling(port) as peer:
        thread = threading.Thread(
            target=echowire.relay, args=(peer, io.BytesIO(bytes(4 * MEBIBYTE)), writing), kwargs={"half_close": False}
        )
        thread.start()
        assert received.wait(30)
        total = 0
        while total < 200_000:
            total += len(os.read(showing, 65_536))
        thread.join()
    for descriptor in (showing, writing):
        os.close(descriptor)


def test_a_peer_that_only_closed_its_side_still_gets_the_input() -> None:
    got = bytearray()

    def behave(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65_536):
            got.extend(data)

    data = noise(8 * MEBIBYTE)
    with serving(behave) as port:
        with calling(port) as peer:
            assert echowire.relay(peer, io.BytesIO(data), io.BytesIO()).ended == "peer closed"
    assert bytes(got) == data


def test_a_reset_in_a_relay_is_an_error_after_what_had_come() -> None:
    back = io.BytesIO()
    with serving(reset) as port, calling(port) as peer, pytest.raises(OperationError) as caught:
        echowire.relay(peer, io.BytesIO(noise(MEBIBYTE)), back)
    assert caught.value.number in (errno.ECONNRESET, errno.EPIPE)


def test_the_endings_of_a_relay() -> None:
    end = threading.Event()
    with serving(lambda sock: end.wait(30)) as port:
        with calling(port) as peer:
            assert echowire.relay(peer, io.BytesIO(b"x"), None, quit_after_s=0).ended == "quit"
        with calling(port) as peer:
            assert echowire.relay(peer, io.BytesIO(b""), None, idle_s=SHORT_S).ended == "idle"
        with calling(port) as peer, pytest.raises(NoReplyError, match="our timer"):
            echowire.relay(peer, io.BytesIO(b"x"), None, idle_s=SHORT_S)
        end.set()


def test_datagrams_in_a_relay() -> None:
    back = io.BytesIO()
    with answering(lambda data: [data]) as port, calling(port, "udp") as peer:
        done = echowire.relay(peer, io.BytesIO(noise(65_507)), back, reply_wait_s=SHORT_S, verify=True)
    assert back.getvalue() == noise(65_507)
    assert done.ended == "idle" and done.tally is not None and done.tally.ok and done.tally.sent == 1
    with answering(lambda data: []) as port, calling(port, "udp") as peer, pytest.raises(NoReplyError):
        echowire.relay(peer, io.BytesIO(b"x"), back, reply_wait_s=SHORT_S)


@needs("ncat")
@pytest.mark.parametrize("size", [0, 1, 5, 65_536, 1_000_001])
def test_relay_gives_what_ncat_gives(size: int, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(noise(size))
    with serving(echo) as port:
        with (tmp_path / "in").open("rb") as source:
            theirs = subprocess.run(["ncat", "127.0.0.1", str(port)], stdin=source, capture_output=True, check=True)
        with calling(port) as peer, (tmp_path / "in").open("rb") as source:
            back = io.BytesIO()
            echowire.relay(peer, source, back)
    assert back.getvalue() == theirs.stdout == noise(size)


@needs("socat")
def test_socat_as_the_peer(tmp_path: Path) -> None:
    path = tmp_path / "s"
    command = ["socat", "-d", "-d", f"UNIX-LISTEN:{path}", "EXEC:cat"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as socat:
        assert socat.stderr is not None
        while b"listening on" not in socat.stderr.readline():
            pass
        back = io.BytesIO()
        with echowire.call(f"unix:{path}") as peer:
            echowire.relay(peer, io.BytesIO(noise(300_000)), back)
        socat.communicate()
    assert back.getvalue() == noise(300_000)


# Scans


def test_scan() -> None:
    with serving(echo) as port:
        ports = [port, free_port()]
        found = list(echowire.scan(echowire.Endpoint("tcp", "127.0.0.1", each) for each in ports))
    assert [each.is_open for each in found] == [True, False]
    assert found[0].connect_s is not None and isinstance(found[1].error, OperationError)
    with pytest.raises(UsageError, match="asks nobody"):
        list(echowire.scan([echowire.Endpoint("udp", "127.0.0.1", 1)]))


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def authorities(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_echo(tls_server: ssl.SSLContext, authorities: Path, version: ssl.TLSVersion) -> None:
    tls_server.minimum_version = tls_server.maximum_version = version
    with serving(echo, tls=tls_server) as port:
        with echowire.call(f"tls://127.0.0.1:{port}", tls_authorities=authorities) as peer:
            assert peer.tls is not None and peer.tls[0] == version.name.replace("_", ".")
            assert peer.tls_s is not None and peer.tls_s > 0
            for size in (1, 16_384, 16_385, 5 * MEBIBYTE):
                assert peer.echo(noise(size)) == noise(size)


def test_tls_half_close_loses_nothing(tls_server: ssl.SSLContext, authorities: Path) -> None:
    """The reply comes after our close_notify, and much of it was under way before."""
    data = noise(3 * MEBIBYTE)

    def behave(sock: socket.socket) -> None:
        first = sock.recv(65_536)
        sock.sendall(data)
        while sock.recv(65_536):
            pass
        sock.sendall(first)

    with serving(behave, tls=tls_server) as port:
        with echowire.call(f"tls://localhost:{port}", tls_authorities=authorities) as peer:
            peer.send(b"hello")
            got = peer.recv_exactly(1000)
            peer.half_close()
            got += peer.recv_exactly(len(data) - 1000 + 5)
            assert got == data + b"hello"


def test_tls_relay_of_files(tls_server: ssl.SSLContext, authorities: Path) -> None:
    data, back = noise(3 * MEBIBYTE), io.BytesIO()
    with serving(echo, tls=tls_server) as port:
        with echowire.call(f"tls://localhost:{port}", tls_authorities=authorities) as peer:
            assert echowire.relay(peer, io.BytesIO(data), back, verify=True).ok
            assert not peer.channel.ended_in_order  # this server closes without a close_notify
    assert back.getvalue() == data


def test_tls_that_is_not_trusted(tls_server: ssl.SSLContext, authorities: Path, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with serving(echo, tls=tls_server) as port:
        with pytest.raises(ProtocolError, match=r"the certificate is not accepted: .*--tls-ca"):
            echowire.call(f"tls://localhost:{port}", tls_authorities=tmp_path / "other.pem")
        with pytest.raises(
            ProtocolError, match=r"not accepted: it is for localhost, 127.0.0.1, and not for example.org"
        ):
            echowire.call(f"tls://localhost:{port}", tls_authorities=authorities, tls_name="example.org")
        with echowire.call(f"tls://localhost:{port}", tls_insecure=True) as peer:
            assert peer.echo(b"hello") == b"hello"


def test_tls_with_a_peer_that_does_not_speak_it() -> None:
    with serving(lambda sock: sock.sendall(b"220 I speak plainly\r\n" * 100)) as port:
        with pytest.raises(ProtocolError, match="the peer does not speak TLS"):
            echowire.call(f"tls://127.0.0.1:{port}")
    with serving(lambda sock: sock.recv(10_000)) as port:
        with pytest.raises(ProtocolError, match="closed the connection in the middle"):
            echowire.call(f"tls://127.0.0.1:{port}")
    end = threading.Event()
    with serving(lambda sock: end.wait(30)) as port:
        with pytest.raises(NoReplyError, match=r"TLS handshake .* \(our timer\)"):
            echowire.call(f"tls://127.0.0.1:{port}", timeout=10 * SHORT_S)
        end.set()


def test_tls_files_that_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("this is no certificate")
    with pytest.raises(UsageError, match="not valid PEM"):
        echowire.call("tls://127.0.0.1:1", tls_authorities=tmp_path / "none.pem")
    with pytest.raises(UsageError, match="No such file"):
        echowire.call("tls://127.0.0.1:1", tls_authorities=tmp_path / "missing.pem")
    with pytest.raises(UsageError, match="give one"):
        echowire.call("tls://127.0.0.1:1", tls_authorities=tmp_path / "none.pem", tls_insecure=True)
