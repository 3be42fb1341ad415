"""`bench` as a library: the report of real servers, of several workers, and of everything that ends a load early."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

import echowire
from echowire import Measurement, NoReplyError, OperationError, ProtocolError, UsageError
from echowire.core.load.options import Direction
from echowire.core.services import CHARGEN_PATTERN
from echowire.verbs.bench import error_from_document
from echowire.verbs.bench_worker import error_document
from tests.conftest import children
from tests.plain_servers import answering, echo, free_port, serving, serving_unix

QUICK: dict[str, Any] = {"seconds": 0.3, "interval_s": 0.1}


def swallow(sock: socket.socket) -> None:
    """Read for ever, and answer nothing."""
    while sock.recv(65_536):
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with serving(echo) as number:
        yield number


def document_of(measured: Measurement) -> Any:
    """The report through JSON, which must hold neither NaN nor infinity."""
    return json.loads(json.dumps(measured.document(), allow_nan=False))


def test_a_count_of_messages_is_exact(port: int) -> None:
    measured = echowire.bench(f"127.0.0.1:{port}", count=500, connections=3)
    assert measured.ok
    assert measured.ended == "count"
    assert (measured.outcomes.sent, measured.outcomes.echoed, measured.latency.count) == (500, 500, 500)
    assert measured.echoes_per_s == 500 / measured.seconds
    assert len(measured.tcp_info) == 3
    assert sum(info["tcpi_bytes_sent"] for info in measured.tcp_info) == 500 * 64


def test_a_time_is_kept_in_intervals_that_add_up(port: int) -> None:
    seen: list[Any] = []
    measured = echowire.bench(f"127.0.0.1:{port}", on_interval=seen.append, connections=2, **QUICK)
    assert measured.ended == "time"
    assert len(seen) >= 3
    assert list(measured.intervals) == seen
    assert sum(interval.outcomes.echoed for interval in seen) == measured.outcomes.echoed == measured.latency.count
    assert not any(interval.omitted for interval in seen)


def test_warm_up_is_in_no_total(port: int) -> None:
    measured = echowire.bench(f"127.0.0.1:{port}", omit_s=0.2, **QUICK)
    warm = [interval for interval in measured.intervals if interval.omitted]
    counted = [interval for interval in measured.intervals if not interval.omitted]
    assert warm and counted
    assert sum(interval.outcomes.echoed for interval in counted) == measured.outcomes.echoed == measured.latency.count
    assert measured.outcomes.sent == measured.outcomes.echoed + measured.outcomes.unanswered


def test_workers_share_connections_messages_and_rate(port: int) -> None:
    measured = echowire.bench(f"127.0.0.1:{port}", count=301, connections=5, workers=3, rate=3000)
    assert (measured.outcomes.sent, measured.outcomes.echoed) == (301, 301)
    assert measured.latency.count == measured.uncorrected.count == measured.lateness.count == 301
    assert len(measured.tcp_info) == 5
    assert measured.supplied["workers"] == 3


def test_what_was_asked_and_what_is_in_effect(port: int) -> None:
    measured = echowire.bench(f"localhost:{port}", count=5, nodelay=False, dscp="ef", congestion="reno")
    document = document_of(measured)
    assert document["supplied"]["dscp"] == 46
    assert document["supplied"]["congestion"] == "reno"
    assert document["effective"]["remote"] == f"tcp://127.0.0.1:{port}"
    assert (document["effective"]["nodelay"], document["effective"]["dscp"]) == (False, 46)
    assert (document["schema"], document["version"]) == ("echowire.bench", 1)
    assert document["histogram"]["count"] == 5
    assert document["tcp_info"][0]["tcpi_state"] == 1


def test_unix_and_datagrams(tmp_path: Path) -> None:
    with serving_unix(echo, tmp_path / "s") as path:
        assert echowire.bench(f"unix:{path}", count=50).outcomes.echoed == 50
    with answering(lambda data: [data]) as udp:
        measured = echowire.bench(f"udp://127.0.0.1:{udp}", count=50, size=(20, 2000), wait_s=0.3)
    assert measured.ok
    assert measured.outcomes.echoed == 50
    assert measured.loss == 0
    assert measured.jitter_s is not None


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.mark.parametrize(
    "how",
    [
        {"count": 50},
        {"count": 50, "rate": 2000.0},
        {"count": 20, "size": 300_000},
        {"direction": "both"},
        {"direction": "both", "bits_per_s": 8e6, "size": 500},
    ],
)
def test_tls(authority: trustme.CA, tmp_path: Path, how: dict[str, Any]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    how = how if "count" in how else {**how, **QUICK}
    with serving(echo, tls=context) as port:
        measured = echowire.bench(
            f"tls://localhost:{port}", connections=2, tls_authorities=str(tmp_path / "ca.pem"), **how
        )
    assert measured.ok, measured.failures
    assert measured.effective["tls_version"] == "TLSv1.3"
    assert measured.outcomes.echoed == how.get("count", 0)
    assert measured.outcomes.received_bytes > 0


def test_a_certificate_that_is_not_trusted_begins_nothing(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serving(echo, tls=context) as port, pytest.raises(ProtocolError, match="certificate"):
        echowire.bench(f"tls://localhost:{port}", count=1)


def test_a_sink_and_a_source() -> None:
    with echowire.serve("tcp://127.0.0.1:0", service="discard") as sink:
        measured = echowire.bench(sink.endpoint, direction="send", **QUICK)
    assert measured.ok
    assert measured.received_bits_per_s is None
    assert measured.sent_bits_per_s
    assert document_of(measured)["counts"]["echoed"] is None
    with echowire.serve("tcp://127.0.0.1:0", service="chargen") as source:
        measured = echowire.bench(source.endpoint, direction="receive", **QUICK)
    assert measured.ok
    assert measured.sent_bits_per_s is None
    assert measured.received_bits_per_s


@pytest.mark.parametrize(
    ("direction", "service", "paced_by"),
    [("send", "discard", "kernel"), ("receive", "chargen", "reading"), ("both", "echo", "kernel")],
)
def test_bytes_at_a_rate(direction: Direction, service: str, paced_by: str) -> None:
    with echowire.serve("tcp://127.0.0.1:0", service=service) as server:
        measured = echowire.bench(
            server.endpoint, direction=direction, bits_per_s=8e6, connections=2, workers=2, **QUICK
        )
    assert measured.ok, measured.failures
    assert measured.supplied["bits_per_s"] == 8e6
    assert measured.effective["paced_by"] == paced_by
    moved = measured.outcomes.received_bytes if direction == "receive" else measured.outcomes.sent_bytes
    assert measured.rate_kept == pytest.approx(8 * moved / (measured.seconds * 16e6))
    assert 0 < moved <= 2 * (1e6 * measured.seconds + 100_000), "no more than the rate, and a bucket's depth"
    assert document_of(measured)["rate_kept"] == pytest.approx(measured.rate_kept, abs=1e-6)


def test_a_rate_that_the_peer_does_not_keep_is_said() -> None:
    def send_a_little(sock: socket.socket) -> None:
        sock.sendall(b"x" * 1000)
        sock.recv(1)

    with serving(send_a_little) as port:
        measured = echowire.bench(f"127.0.0.1:{port}", direction="receive", bits_per_s=1e9, **QUICK)
    assert measured.rate_kept is not None and measured.rate_kept < 0.5
    assert measured.limit.by != "rate"


def test_a_slow_rate_is_no_stall() -> None:
    with echowire.serve("tcp://127.0.0.1:0", service="discard") as sink:
        measured = echowire.bench(sink.endpoint, direction="send", bits_per_s=8, stall_s=0.1, **QUICK)
    assert measured.ended == "time"
    assert measured.ok


def test_a_source_is_compared_if_it_sends_the_pattern() -> None:
    with echowire.serve("tcp://127.0.0.1:0", service="chargen") as source:
        compared = echowire.bench(source.endpoint, direction="receive", connections=2, **QUICK)
    with serving(lambda sock: sock.sendall(bytes(100_000))) as port:
        other = echowire.bench(f"127.0.0.1:{port}", direction="receive", **QUICK)
    assert compared.ok
    assert compared.outcomes.compared_bytes == compared.outcomes.received_bytes > 0
    assert compared.corrupted == 0
    assert (other.outcomes.received_bytes, other.outcomes.compared_bytes, other.corrupted) == (100_000, 0, None)
    assert document_of(other)["counts"]["corrupted"] is None


def test_a_source_with_wrong_bytes_fails() -> None:
    spoiled = bytearray(CHARGEN_PATTERN * 10)
    spoiled[30_000] ^= 1
    with serving(lambda sock: sock.sendall(spoiled)) as port:
        measured = echowire.bench(f"127.0.0.1:{port}", direction="receive", fail_if=["corrupted>0"], **QUICK)
    assert (measured.corrupted, measured.outcomes.compared_bytes) == (1, len(spoiled))
    assert measured.conditions == {"corrupted>0": True}
    assert not measured.ok


# What ends a load early, or keeps it from beginning.


@pytest.mark.parametrize("connections", [1, 4])
def test_a_server_that_dies_in_mid_run(connections: int) -> None:
    """What was measured is reported, with the reason."""
    code = (
        "import echowire\nwith echowire.serve('tcp://127.0.0.1:0') as s: print(s.endpoint.port, flush=True), s.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        killed: list[int] = []

        def kill_after_the_first(interval: Any) -> None:
            if not killed:
                killed.append(server.pid)
                server.kill()

        measured = echowire.bench(
            f"127.0.0.1:{port}",
            seconds=60,
            interval_s=0.1,
            connections=connections,
            on_interval=kill_after_the_first,
            fail_if=["errors>0"],
        )
    assert measured.ended == "failed"
    assert not measured.ok
    assert measured.outcomes.echoed > 0
    assert measured.latency.count == measured.outcomes.echoed
    assert sum(measured.failures.values()) == connections
    assert all(f"127.0.0.1:{port}" in failure for failure in measured.failures)
    assert measured.conditions == {"errors>0": True}
    document_of(measured)


LOADS: list[dict[str, Any]] = [{}, {"connections": 3}, {"pipeline": 3}, {"rate": 50.0}, {"size": (64, 65)}]
"""Each lean loop, and the general one closed and open."""


def banner(sock: socket.socket) -> None:
    sock.sendall(b"220 hello there\r\n")
    swallow(sock)


def half(sock: socket.socket) -> None:
    data = sock.recv(64)
    sock.sendall(data[:32])
    swallow(sock)


def source(sock: socket.socket) -> None:
    with suppress(OSError):
        while True:
            sock.sendall(b"0123456789abcdef" * 64)


@pytest.mark.parametrize("how", LOADS)
def test_a_greeting_is_no_echo(how: dict[str, Any]) -> None:
    with serving(banner) as port:
        measured = echowire.bench(f"127.0.0.1:{port}", seconds=0.3, **how)
    outcomes = measured.outcomes
    assert measured.no_echo and not measured.no_reply and not measured.ok
    assert outcomes.received_bytes == 17 * how.get("connections", 1)
    assert outcomes.corrupted == how.get("connections", 1) and outcomes.partial == outcomes.echoed == 0
    assert outcomes.sent == outcomes.corrupted + outcomes.unanswered
    document_of(measured)


@pytest.mark.parametrize("how", LOADS)
def test_half_an_echo_is_counted_and_is_none(how: dict[str, Any]) -> None:
    with serving(half) as port:
        measured = echowire.bench(f"127.0.0.1:{port}", seconds=0.3, **how)
    outcomes = measured.outcomes
    assert measured.no_echo and not measured.ok
    assert (outcomes.echoed, outcomes.corrupted, outcomes.partial) == (0, 0, how.get("connections", 1))
    assert outcomes.sent == outcomes.unanswered
    document_of(measured)


@pytest.mark.parametrize("how", LOADS)
@pytest.mark.parametrize("behave", [source, swallow, lambda sock: sock.recv(65_536)])
def test_what_only_sends_or_only_takes_or_closes_is_no_echo(behave: Any, how: dict[str, Any]) -> None:
    with serving(behave) as port:
        measured = echowire.bench(f"127.0.0.1:{port}", seconds=0.3, **how)
    assert measured.no_echo and not measured.ok and not measured.outcomes.echoed
    document_of(measured)


def test_an_echo_under_way_at_the_end_is_no_fault(port: int) -> None:
    """A message that the end cuts is in part, and the others are echoes."""
    measured = echowire.bench(f"127.0.0.1:{port}", seconds=0.3, size=1 << 20, pipeline=2)
    assert measured.ok and measured.outcomes.echoed and not measured.no_echo


@pytest.mark.parametrize("how", [{}, {"connections": 3}, {"pipeline": 3}, {"rate": 1000.0}, {"direction": "both"}])
def test_a_server_that_answers_nothing_is_no_reply(how: dict[str, Any]) -> None:
    with serving(swallow) as port:
        measured = echowire.bench(f"127.0.0.1:{port}", seconds=60, stall_s=0.2, **how)
    assert measured.no_reply
    assert not measured.ok
    assert measured.ended == "failed"
    assert any("nothing came back" in failure for failure in measured.failures)
    document = document_of(measured)
    assert document["echoes_per_s"] is None
    assert document["latency_us"]["p50"] is None


def test_datagrams_that_nobody_answers() -> None:
    with answering(lambda data: []) as port:
        measured = echowire.bench(f"udp://127.0.0.1:{port}", count=5, wait_s=0.05)
        stalled = echowire.bench(f"udp://127.0.0.1:{port}", seconds=60, wait_s=0.05, stall_s=0.3)
    assert (measured.outcomes.lost, measured.loss, measured.no_reply) == (5, 1, True)
    assert any("nothing came back" in failure for failure in stalled.failures)


def test_a_peer_that_reads_nothing_stalls_a_sender() -> None:
    released = threading.Event()
    with serving(lambda sock: released.wait(30)) as port:
        try:
            measured = echowire.bench(f"127.0.0.1:{port}", seconds=60, stall_s=0.3, direction="send")
        finally:
            released.set()
    assert any("the peer has read nothing" in failure for failure in measured.failures)


def test_nobody_there_is_explained() -> None:
    with pytest.raises(OperationError, match="No process of this host listens"):
        echowire.bench(f"127.0.0.1:{free_port()}", count=1)
    measured = echowire.bench(f"udp://127.0.0.1:{free_port()}", count=1)
    assert any("No process of this host has UDP port" in failure for failure in measured.failures)


def test_a_load_process_that_cannot_be_started_is_said(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(OperationError, match=r"start a load process for 127\.0\.0\.1.*ENOENT"):
        echowire.bench(f"127.0.0.1:{port}", count=2, workers=2, connections=2)


def test_a_worker_that_is_killed_costs_its_last_counts_alone(port: int) -> None:
    killed: list[str] = []

    def kill_one(interval: Any) -> None:
        if not killed:
            killed.extend(sorted(children()))
            os.kill(int(killed[0].split()[1]), signal.SIGKILL)

    measured = echowire.bench(
        f"127.0.0.1:{port}", connections=2, workers=2, seconds=0.5, interval_s=0.1, on_interval=kill_one
    )
    assert not measured.ok
    assert any("by signal 9" in failure for failure in measured.failures)
    assert measured.outcomes.echoed > 0


def test_an_interrupt_ends_it_with_its_report(port: int) -> None:
    measured = echowire.bench(
        f"127.0.0.1:{port}", seconds=60, interval_s=0.1, on_interval=lambda _: signal.raise_signal(signal.SIGINT)
    )
    assert measured.ended == "interrupted"
    assert measured.ok
    assert measured.outcomes.echoed > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_while_it_warms_up_has_measured_nothing(port: int) -> None:
    measured = echowire.bench(
        f"127.0.0.1:{port}",
        seconds=60,
        omit_s=60,
        interval_s=0.1,
        on_interval=lambda _: signal.raise_signal(signal.SIGINT),
    )
    assert (measured.ended, measured.seconds, measured.outcomes.echoed) == ("interrupted", 0, 0)
    assert measured.echoes_per_s is None
    document_of(measured)


def test_conditions_and_an_earlier_run(port: int) -> None:
    before = document_of(echowire.bench(f"127.0.0.1:{port}", count=20))
    measured = echowire.bench(f"127.0.0.1:{port}", count=40, fail_if=["p99>1h", "errors>0", "loss>1%"], against=before)
    assert measured.conditions == {"p99>1h": False, "errors>0": False, "loss>1%": None}
    assert measured.failed_conditions == ["loss>1%"]
    assert not measured.ok
    comparison = measured.compare()
    assert comparison is not None
    assert comparison.differences == ("count: 20 before, 40 now",)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"connections": 2, "workers": 3}, "3 workers need"),
        ({"count": 1, "workers": 2, "connections": 2}, "shared out"),
        ({"size": 0}, "at least 1 byte"),
        ({"size": (10, 5)}, "the least comes first"),
        ({"rate": 0.0}, "more than 0"),
        ({"poisson": True}, "needs a rate"),
        ({"pipeline": 0}, "at least one"),
        ({"seconds": 0.0}, "more than 0 seconds"),
        ({"direction": "send", "size": (1, 2)}, "for messages with their echoes"),
        ({"direction": "up"}, "no direction"),
        ({"dscp": 64}, "six bits"),
        ({"direction": "both", "rate": 5.0}, "give bits a second: 10M"),
        ({"bits_per_s": 1e6}, "give messages a second: 5000/s"),
        ({"direction": "both", "bits_per_s": 1e6, "rate": 5.0}, "give one of them"),
        ({"direction": "both", "bits_per_s": 7.0}, "at least 8 bits"),
        ({"direction": "both", "bits_per_s": float("nan")}, "at least 8 bits"),
        ({"rate": float("inf")}, "more than 0"),
        ({"fail_if": ["p99>"]}, r"at the \^"),
        ({"against": {}}, "no document"),
        ({"dscp": "nonsense"}, "DSCP"),
    ],
)
def test_what_cannot_be_is_said_before_anything_begins(how: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        echowire.bench("127.0.0.1:1", **how)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"size": 10}, "20 bytes"),
        ({"size": 65_508}, "at most"),
        ({"direction": "receive", "bits_per_s": 1e6}, "asks a second"),
    ],
)
def test_what_datagrams_cannot(how: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        echowire.bench("udp://127.0.0.1:1", **how)


def test_errors_travel_between_processes() -> None:
    for error in (OperationError("recv", "a:1/tcp", 104, "reset"), NoReplyError("nothing"), ProtocolError("bad")):
        again = error_from_document(json.loads(json.dumps(error_document(error))))
        assert (type(again), str(again)) == (type(error), str(error))


def test_a_load_is_changed_by_keywords(port: int) -> None:
    load = echowire.Load(connections=2, count=10, size=100)
    supplied = echowire.bench(f"127.0.0.1:{port}", load=load, count=20).supplied
    assert (supplied["connections"], supplied["count"], supplied["most_size"]) == (2, 20, 100)
