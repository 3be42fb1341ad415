"""The load generators against servers that echo, lie, stall and die: every message is accounted for, by counts."""

from __future__ import annotations

import itertools
import random
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import echowire
from echowire.core.load.payloads import make_probe
from echowire.core.services import CHARGEN_PATTERN
from echowire.core.tls_options import ClientTls
from echowire.engines.load.asks import Asks
from echowire.engines.load.bulk import BulkStreams
from echowire.engines.load.closed import ManyLanes, OneLane
from echowire.engines.load.flood import Flood
from echowire.engines.load.messages import MessageLoop, due_times
from echowire.engines.load.plan import Plan
from echowire.engines.load.run import RunningLoad
from echowire.errors import EchowireError, NoReplyError, OperationError, ProtocolError, UsageError
from echowire.kernel.connections.socket_options import SocketOptions
from echowire.model import Endpoint
from tests.plain_servers import answering, echo, echo_by_bytes, free_port, serving, serving_unix, silent_listener

PATIENCE_S = 20.0
"""No test takes so long unless it hangs."""

LANES = 3


@contextmanager
def connected(plan: Plan) -> Iterator[RunningLoad]:
    load = RunningLoad(plan)
    try:
        load.connect()
        yield load
    finally:
        load.close()


def run_to_the_end(load: RunningLoad, *, slice_s: float = 0.05) -> None:
    """Run until the generator says that it is over, and count what is left."""
    generator, until = load.generator, time.perf_counter() + PATIENCE_S
    generator.begin(time.perf_counter())
    while not generator.is_over:
        now = time.perf_counter()
        assert now < until, f"it never ended: {load.records.outcomes}"
        generator.run(now + slice_s)
    generator.finish()


def measured(plan: Plan) -> RunningLoad:
    with connected(plan) as load:
        run_to_the_end(load)
        return load


def tcp(port: int, **fields: Any) -> Plan:
    return Plan(Endpoint("tcp", "127.0.0.1", port), **fields)


def udp(port: int, **fields: Any) -> Plan:
    return Plan(Endpoint("udp", "127.0.0.1", port), **({"wait_s": 0.3} | fields))


STREAM_PLANS: dict[str, tuple[type, dict[str, Any]]] = {
    "one lane": (OneLane, {}),
    "many lanes": (ManyLanes, {"connections": LANES}),
    "largest lean": (ManyLanes, {"connections": LANES, "least_size": 16384, "most_size": 16384}),
    "pipeline": (MessageLoop, {"connections": LANES, "pipeline": 5}),
    "range of sizes": (MessageLoop, {"connections": LANES, "least_size": 1, "most_size": 3000}),
    "large": (MessageLoop, {"connections": LANES, "least_size": 300_000, "most_size": 300_000}),
    "open loop": (MessageLoop, {"connections": LANES, "rate": 5000.0}),
    "poisson": (MessageLoop, {"connections": LANES, "rate": 5000.0, "poisson": True, "pipeline": 3}),
}


@pytest.mark.parametrize("name", STREAM_PLANS)
def test_every_message_of_a_count_is_echoed_and_timed(name: str) -> None:
    kind, fields = STREAM_PLANS[name]
    with serving(echo) as port:
        load = measured(tcp(port, count=200, **fields))
    outcomes, plan = load.records.outcomes, load.plan
    assert type(load.generator) is kind
    assert load.failures == []
    assert (outcomes.sent, outcomes.echoed, outcomes.unanswered) == (200, 200, 0)
    assert outcomes.sent_bytes == outcomes.received_bytes
    assert 200 * plan.least_size <= outcomes.sent_bytes <= 200 * plan.most_size
    assert len(load.records.latency) == 200
    assert all(latency > 0 for latency in load.records.latency)
    assert len(load.records.uncorrected) == len(load.records.lateness) == (200 if plan.rate else 0)


@pytest.mark.parametrize("name", STREAM_PLANS)
def test_an_echo_that_comes_in_bytes_is_put_together(name: str) -> None:
    _, fields = STREAM_PLANS[name]
    fields = fields | {"least_size": 1, "most_size": 50} if "rate" not in fields and name != "one lane" else fields
    with serving(echo_by_bytes) as port:
        outcomes = measured(tcp(port, count=30, **fields)).records.outcomes
    assert (outcomes.sent, outcomes.echoed) == (30, 30)


@pytest.mark.parametrize("fields", [{}, {"connections": 2}, {"pipeline": 4}, {"rate": 2000.0}])
def test_unix_sockets(tmp_path: Path, fields: dict[str, Any]) -> None:
    with serving_unix(echo, tmp_path / "s") as path:
        load = measured(Plan(Endpoint("unix", path=str(path)), count=100, **fields))
    assert load.records.outcomes.echoed == 100
    assert load.tcp_info() == []


def test_it_runs_on_without_end_until_it_is_told() -> None:
    for connections in (1, LANES):
        with serving(echo) as port, connected(tcp(port, connections=connections)) as load:
            generator = load.generator
            generator.begin(time.perf_counter())
            generator.run(time.perf_counter() + 0.05)
            assert generator.in_flight == connections
            generator.restart()
            assert load.records.outcomes.sent == connections
            assert len(load.records.latency) == 0
            generator.run(time.perf_counter() + 0.05)
            generator.issuing = False
            while not generator.is_over:
                generator.run(time.perf_counter() + 0.05)
            outcomes = load.records.outcomes
            assert outcomes.sent == outcomes.echoed == len(load.records.latency)


# Streams that go wrong.


def spoiling(after: int) -> Callable[[socket.socket], None]:
    """An echo that gets one byte wrong, `after` bytes in."""

    def behave(sock: socket.socket) -> None:
        seen = 0
        while data := bytearray(sock.recv(65_536)):
            if seen <= after < seen + len(data):
                data[after - seen] ^= 0x20
            seen += len(data)
            sock.sendall(data)

    return behave


def ending(after: int, *, by_reset: bool = False) -> Callable[[socket.socket], None]:
    """An echo that ends once `after` bytes are back."""

    def behave(sock: socket.socket) -> None:
        left = after
        while left:
            data = sock.recv(min(left, 65_536))
            sock.sendall(data)
            left -= len(data)
        if by_reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave


def babbling(sock: socket.socket) -> None:
    """An echo that adds a byte to what comes first."""
    data = sock.recv(65_536)
    sock.sendall(data + b"!")
    echo(sock)


def repeating(sock: socket.socket) -> None:
    """Sends everything twice."""
    while data := sock.recv(65_536):
        sock.sendall(data * 2)


KINDS = [{}, {"connections": 2}, {"connections": 2, "pipeline": 3}, {"rate": 5000.0}]


@pytest.mark.parametrize("fields", KINDS)
def test_one_wrong_byte_is_one_corrupted_message(fields: dict[str, Any]) -> None:
    with serving(spoiling(after=5)) as port:
        load = measured(tcp(port, count=60, **fields))
    outcomes, lanes = load.records.outcomes, load.plan.connections
    assert (outcomes.sent, outcomes.corrupted, outcomes.echoed) == (60, lanes, 60 - lanes)
    assert len(load.records.latency) == 60 - lanes


@pytest.mark.parametrize("fields", KINDS)
@pytest.mark.parametrize("by_reset", [False, True])
def test_a_server_that_ends_is_told_of_and_what_was_echoed_counts(fields: dict[str, Any], by_reset: bool) -> None:
    with serving(ending(64 * 20, by_reset=by_reset)) as port:
        load = measured(tcp(port, **fields))
    outcomes, lanes = load.records.outcomes, load.plan.connections
    assert len(load.failures) == lanes
    assert all(isinstance(failure, ProtocolError | OperationError) for failure in load.failures)
    assert all(str(port) in str(failure) for failure in load.failures)
    # A reset throws away what is on its way, and so does closing with input unread (FAILURES row 27).
    if not by_reset and load.plan.pipeline == 1:
        assert outcomes.echoed == 20 * lanes
    assert outcomes.sent == outcomes.echoed + outcomes.lost + outcomes.unanswered


@pytest.mark.parametrize("fields", KINDS)
@pytest.mark.parametrize("behave", [babbling, repeating])
def test_more_than_was_sent_is_seen(behave: Callable[[socket.socket], None], fields: dict[str, Any]) -> None:
    with serving(behave) as port, connected(tcp(port, count=20, **fields)) as load:
        generator, until = load.generator, time.perf_counter() + PATIENCE_S
        generator.begin(time.perf_counter())
        outcomes = load.records.outcomes
        while not (outcomes.unexpected or outcomes.corrupted) and time.perf_counter() < until:
            generator.run(time.perf_counter() + 0.05)
        assert outcomes.unexpected or outcomes.corrupted


def test_a_server_that_answers_nothing_leaves_one_message_on_each_lane() -> None:
    def swallow(sock: socket.socket) -> None:
        while sock.recv(65_536):
            pass

    for connections in (1, LANES):
        with serving(swallow) as port, connected(tcp(port, connections=connections)) as load:
            load.generator.begin(time.perf_counter())
            load.generator.run(time.perf_counter() + 0.1)
            load.generator.finish()
            outcomes = load.records.outcomes
            assert (outcomes.sent, outcomes.echoed, outcomes.unanswered) == (connections, 0, connections)


def test_an_open_loop_charges_the_server_with_its_stall() -> None:
    """A server that stops for a while: all that was due meanwhile is late from its due time, not from its sending."""
    pause_s = 0.4

    def stop_once(sock: socket.socket) -> None:
        sock.sendall(sock.recv(64))
        threading.Event().wait(pause_s)
        echo(sock)

    with serving(stop_once) as port:
        load = measured(tcp(port, count=100, rate=200.0))
    delayed = [latency for latency in load.records.latency if latency > pause_s / 4]
    counted_from_sending = [latency for latency in load.records.uncorrected if latency > pause_s / 4]
    assert len(delayed) > 30, "60 messages were due within three quarters of the pause"
    assert len(counted_from_sending) < len(delayed) / 3
    assert len(load.records.lateness) == 100


def test_due_times_are_even_or_random_and_begin_in_turn() -> None:
    plan = tcp(1, rate=100.0, rate_offset_s=0.5)
    even = list(itertools.islice(due_times(plan, 10.0, random.Random(1)), 5))
    assert even == pytest.approx([10.5, 10.51, 10.52, 10.53, 10.54])
    drawn = list(itertools.islice(due_times(replace(plan, poisson=True), 0.0, random.Random(1)), 2000))
    assert drawn == sorted(drawn)
    assert drawn[-1] == pytest.approx(20.5, rel=0.1)
    again = list(itertools.islice(due_times(replace(plan, poisson=True), 0.0, random.Random(1)), 2000))
    assert again == drawn


# Datagrams that go wrong. Of every ten the server treats one otherwise, and nobody else does.

MANY, FEW = 50, 5


def every_tenth(treat: Callable[[bytes], Iterable[bytes]]) -> Callable[[bytes], Iterable[bytes]]:
    numbers = itertools.count(1)
    return lambda data: treat(data) if next(numbers) % 10 == 0 else [data]


def flipped(data: bytes, at: int) -> bytes:
    spoiled = bytearray(data)
    spoiled[at] ^= 1
    return bytes(spoiled)


FATES: dict[str, tuple[Callable[[bytes], Iterable[bytes]], dict[str, int]]] = {
    "nothing wrong": (lambda data: [data], {"echoed": MANY}),
    "lost": (lambda data: [], {"echoed": MANY - FEW, "lost": FEW}),
    "twice": (lambda data: [data, data], {"echoed": MANY, "duplicated": FEW}),
    "a wrong byte": (lambda data: [flipped(data, -1)], {"echoed": MANY - FEW, "corrupted": FEW}),
    "a wrong number": (lambda data: [flipped(data, 11)], {"echoed": MANY - FEW, "corrupted": FEW, "lost": FEW}),
    "cut": (lambda data: [data[:30]], {"echoed": MANY - FEW, "truncated": FEW}),
    "too long": (lambda data: [data + b"x"], {"echoed": MANY - FEW, "corrupted": FEW}),
    "somebody else's": (lambda data: [data, make_probe(7, 3, 64)], {"echoed": MANY, "unexpected": FEW}),
}

DATAGRAM_PLANS: list[dict[str, Any]] = [
    {},
    {"pipeline": 8},
    {"rate": 5000.0, "pipeline": 16},
    {"direction": "both", "rate": 2000.0},
]


@pytest.mark.parametrize("fields", DATAGRAM_PLANS)
@pytest.mark.parametrize("fate", FATES)
def test_what_becomes_of_each_datagram(fate: str, fields: dict[str, Any]) -> None:
    treat, expected = FATES[fate]
    # A flood has no timer a datagram: it waits for all, for as long as its owner lets it.
    is_flood = fields.get("direction") == "both"
    with answering(every_tenth(treat)) as port, connected(udp(port, count=MANY, **fields)) as load:
        generator = load.generator
        if is_flood:
            until = time.perf_counter() + 1.0
            generator.begin(time.perf_counter())
            while not generator.is_over and time.perf_counter() < until:
                generator.run(time.perf_counter() + 0.05)
            generator.finish()
        else:
            run_to_the_end(load)
            generator.run(time.perf_counter() + 0.2)
            if fate in ("twice", "somebody else's"):  # a copy of the last one may still be on its way
                load.generator.run(time.perf_counter() + 0.1)
        outcomes = load.records.outcomes
    if is_flood and fate == "a wrong number":
        expected = expected | {"lost": 0}  # which ones did not come is not known: as many came that say no number
    names = ("echoed", "lost", "duplicated", "corrupted", "truncated", "unexpected", "reordered", "late")
    found = {name: getattr(outcomes, name) for name in names if getattr(outcomes, name)}
    if fate in ("twice", "somebody else's"):
        # The run ends with the last first copy, and a second one may come after that.
        key = "duplicated" if fate == "twice" else "unexpected"
        assert found.pop(key) in (FEW - 1, FEW)
        expected = {name: count for name, count in expected.items() if name != key}
    assert found == {name: count for name, count in expected.items() if count}
    assert outcomes.sent == MANY
    assert len(load.records.latency) == outcomes.echoed or is_flood


@pytest.mark.parametrize("fields", [{"pipeline": 8}, {"direction": "both", "rate": 2000.0}])
def test_datagrams_that_change_places(fields: dict[str, Any]) -> None:
    held: list[bytes] = []
    numbers = itertools.count(1)

    def swap(data: bytes) -> list[bytes]:
        if next(numbers) % 10 == 0:
            held.append(data)
            return []
        return [data, held.pop()] if held else [data]

    with answering(swap) as port:
        outcomes = measured(udp(port, count=99, **fields)).records.outcomes
    assert (outcomes.sent, outcomes.echoed, outcomes.reordered, outcomes.lost) == (99, 99, 9, 0)


def test_a_reply_after_it_was_given_up_is_late() -> None:
    held: list[bytes] = []

    def delay(data: bytes) -> list[bytes]:
        held.append(data)
        return [held.pop(0)] if len(held) > 1 else []

    with answering(delay) as port:
        outcomes = measured(udp(port, count=4, wait_s=0.05)).records.outcomes
    # Each reply answers the message before, which has been given up; the last is never answered.
    assert (outcomes.sent, outcomes.echoed, outcomes.lost, outcomes.late) == (4, 0, 4, 3)


def test_jitter_is_of_datagrams_only() -> None:
    with answering(lambda data: [data]) as port:
        assert measured(udp(port, count=50)).jitter_s is not None
    with serving(echo) as port:
        assert measured(tcp(port, count=50)).jitter_s is None


@pytest.mark.parametrize("fields", [{}, {"direction": "both"}])
def test_a_closed_udp_port_is_refused(fields: dict[str, Any]) -> None:
    with connected(udp(free_port(), **fields)) as load:
        generator, until = load.generator, time.perf_counter() + PATIENCE_S
        generator.begin(time.perf_counter())
        while not generator.is_over and time.perf_counter() < until:
            generator.run(time.perf_counter() + 0.05)
        (failure,) = load.failures
    assert isinstance(failure, OperationError)
    assert failure.errno_name == "ECONNREFUSED"


@pytest.mark.parametrize("fields", [{}, {"direction": "both", "rate": 2000.0}])
def test_a_name_of_two_addresses_goes_to_the_one_that_answers(fields: dict[str, Any]) -> None:
    with answering(lambda data: [data]) as port:
        load = measured(Plan(Endpoint("udp", "localhost", port), count=20, wait_s=0.3, **fields))
    assert load.records.outcomes.echoed == 20


def test_floods_go_in_bursts() -> None:
    with echowire.serve("udp://127.0.0.1:0") as server:
        plan = Plan(server.endpoint, direction="both", count=2000, least_size=1000, most_size=1000, rate=50_000.0)
        load = RunningLoad(plan)
        try:
            load.connect()
            run_to_the_end(load)
            effective, outcomes = load.effective(), load.records.outcomes
        finally:
            load.close()
    assert isinstance(load.generator, Flood)
    assert effective["udp_segment"] is not None
    assert (outcomes.sent, outcomes.corrupted, outcomes.truncated, outcomes.unexpected) == (2000, 0, 0, 0)
    assert outcomes.echoed + outcomes.lost == 2000


def test_datagrams_larger_than_the_path_s_packets_go_one_by_one() -> None:
    with answering(lambda data: [data]) as port:
        outcomes = measured(
            udp(port, direction="both", count=2, least_size=65_507, most_size=65_507, rate=500.0)
        ).records.outcomes
    assert outcomes.echoed == 2  # both fit into a receive buffer, however late it is read


# Datagrams from a source, which are asked for.


def characters(data: bytes) -> list[bytes]:
    """RFC 864: one of them for each datagram."""
    return [CHARGEN_PATTERN[data[11] :][:200]]


SOURCES: dict[str, tuple[Callable[[bytes], Iterable[bytes]], dict[str, int]]] = {
    "all answered": (characters, {"compared_bytes": 200 * MANY}),
    "some lost": (lambda data: [] if data[11] % 10 == 0 else characters(data), {"lost": FEW, "compared_bytes": 9000}),
    "a wrong byte": (
        lambda data: [flipped(characters(data)[0], 100)] if data[11] == 3 else characters(data),
        {"corrupted": 1, "compared_bytes": 200 * MANY},
    ),
    "empty ones": (lambda data: [b""], {}),
    "no pattern": (lambda data: [bytes(200)], {}),
}


@pytest.mark.parametrize("rate", [None, 5000.0])
@pytest.mark.parametrize("name", SOURCES)
def test_answers_of_a_source_are_counted(name: str, rate: float | None) -> None:
    source, expected = SOURCES[name]
    with answering(source) as port:
        load = measured(udp(port, direction="receive", least_size=20, most_size=20, count=MANY, rate=rate))
    outcomes = load.records.outcomes
    assert isinstance(load.generator, Asks)
    assert load.failures == []
    names = ("lost", "corrupted", "unexpected", "compared_bytes", "echoed")
    assert {name: getattr(outcomes, name) for name in names if getattr(outcomes, name)} == expected
    assert (outcomes.sent, outcomes.sent_bytes) == (MANY, 20 * MANY)


def test_an_echo_is_no_source() -> None:
    with answering(lambda data: [data]) as port:
        load = measured(udp(port, direction="receive", count=4 * MANY, connections=2))
    assert len(load.failures) == 2
    assert "an echo, and no source" in str(load.failures[0])


def test_a_source_that_is_not_there_is_refused() -> None:
    load = measured(udp(free_port(), direction="receive", count=MANY))
    (failure,) = load.failures
    assert isinstance(failure, OperationError)


# Bytes that just flow.


@pytest.mark.parametrize("size", [1, 1000, 128 * 1024])
def test_bytes_through_an_echo_are_compared(size: int) -> None:
    with serving(echo) as port:
        load = measured(tcp(port, connections=2, direction="both", count=50, least_size=size, most_size=size))
    outcomes = load.records.outcomes
    assert isinstance(load.generator, BulkStreams)
    assert load.failures == []
    assert outcomes.received_bytes == outcomes.sent_bytes == 50 * size


def test_a_wrong_byte_on_the_way_ends_the_stream() -> None:
    with serving(spoiling(after=70_000)) as port:
        load = measured(tcp(port, direction="both", least_size=1 << 17, most_size=1 << 17))
    (failure,) = load.failures
    assert "a wrong byte" in str(failure)
    assert load.records.outcomes.corrupted == 1


def test_a_sink_and_a_source() -> None:
    with echowire.serve("tcp://127.0.0.1:0", service="discard") as sink:
        load = measured(Plan(sink.endpoint, direction="send", count=100, least_size=10_000, most_size=10_000))
        assert load.records.outcomes.sent_bytes == 1_000_000
    with echowire.serve("tcp://127.0.0.1:0", service="chargen") as source:
        load = measured(Plan(source.endpoint, direction="receive", count=100, least_size=10_000, most_size=10_000))
        assert load.records.outcomes.received_bytes >= 1_000_000
        assert load.records.outcomes.sent_bytes == 0


def test_a_source_that_ends_is_told_of() -> None:
    with serving(lambda sock: sock.sendall(b"x" * 1000)) as port:
        load = measured(tcp(port, direction="receive"))
    assert load.records.outcomes.received_bytes == 1000
    assert "closed the connection" in str(load.failures[0])


def test_a_sink_that_has_nothing_to_say_is_sent_to_all_the_same() -> None:
    """Its end of its own direction (ncat --recv-only does that) is not the end of its reading."""
    taken: list[int] = []
    all_taken = threading.Event()

    def end_and_read(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65_536):
            taken.append(len(data))
        all_taken.set()

    with serving(end_and_read) as port:
        load = measured(tcp(port, direction="send", count=100, least_size=10_000, most_size=10_000))
        # All of it fits into the kernel's buffers, also before the connection is accepted.
        assert all_taken.wait(PATIENCE_S)
    assert load.failures == []
    assert sum(taken) == load.records.outcomes.sent_bytes == 1_000_000


@pytest.mark.parametrize("bits_per_s", [None, 1e9])
def test_a_sink_that_goes_is_told_of(bits_per_s: float | None) -> None:
    def read_once(sock: socket.socket) -> None:
        sock.recv(65_536)

    with serving(read_once) as port:
        load = measured(tcp(port, direction="send", least_size=10_000, most_size=10_000, bits_per_s=bits_per_s))
    assert isinstance(load.failures[0], OperationError | ProtocolError)
    assert load.records.outcomes.sent_bytes > 0


# The connections themselves.


def test_what_is_in_effect_is_read_back() -> None:
    options = SocketOptions(nodelay=False, dscp=46, congestion="reno", receive_buffer=20_000)
    with serving(echo) as port, connected(tcp(port, options=options)) as load:
        found = load.effective()
    assert (found["nodelay"], found["dscp"], found["congestion"]) == (False, 46, "reno")
    assert found["receive_buffer_bytes"] == 40_000  # the kernel doubles it (socket(7))


def test_tcp_info_of_each_connection() -> None:
    with serving(echo) as port, connected(tcp(port, connections=2, count=10)) as load:
        run_to_the_end(load)
        found = load.tcp_info()
    assert [info["tcpi_state"] for info in found] == [1, 1]
    assert sum(info["tcpi_bytes_sent"] for info in found) == 640


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_nobody_there(transport: Any) -> None:
    load = RunningLoad(
        Plan(Endpoint(transport, "127.0.0.1", free_port()), tls=ClientTls(tls_insecure=transport == "tls"))
    )
    with pytest.raises(OperationError, match=r"connect 127\.0\.0\.1"):
        load.connect()
    load.close()


def test_nobody_answers() -> None:
    with silent_listener(socket.AF_INET) as port:
        load = RunningLoad(tcp(port, connect_timeout_s=0.3))
        with pytest.raises(NoReplyError, match="our timer"):
            load.connect()
        load.close()


def test_more_connections_than_files_are_refused_before_the_first() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        load = RunningLoad(tcp(free_port(), connections=230))
        with pytest.raises(UsageError, match="256 open files"):
            load.connect()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_congestion_control_that_is_not_there_is_refused() -> None:
    with serving(echo) as port:
        load = RunningLoad(tcp(port, options=SocketOptions(congestion="nonsense")))
        with pytest.raises(EchowireError, match="nonsense"):
            load.connect()
        load.close()
