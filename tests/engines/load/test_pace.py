"""The token bucket by a clock of its own, and loads held to a rate by what they moved."""

from __future__ import annotations

import time
from typing import Any

import pytest

import echowire
from echowire.engines.load.pace import DEPTH_S, SEGMENT_BYTES, TICK_S, Bucket, kernel_rate
from echowire.engines.load.plan import Plan
from tests.engines.load.test_load import connected, measured, run_to_the_end, tcp
from tests.plain_servers import echo, serving

RATES = [1, 125, 10_000, 1_250_000, 125_000_000, 12_500_000_000]
"""Bytes a second."""


@pytest.mark.parametrize("rate", RATES)
def test_what_a_bucket_lets_go_is_the_rate(rate: int) -> None:
    bucket, now, gone = Bucket(rate), 100.0, 0
    bucket.fill(now)
    end = now + max(2.0, 10 / rate)
    while now < end:
        now += bucket.wait_s
        allowed = bucket.fill(now)
        if bucket.is_low:  # by a rounding
            now += TICK_S / 1000
            continue
        assert allowed >= bucket.piece
        bucket.take(allowed)
        gone += allowed
    assert gone == pytest.approx(rate * (now - 100.0), rel=0.001, abs=1)


@pytest.mark.parametrize("rate", RATES)
def test_pieces_are_no_finer_than_a_tick_and_no_coarser_than_needed(rate: int) -> None:
    bucket = Bucket(rate)
    assert bucket.piece >= max(1, int(rate * TICK_S))
    assert bucket.piece <= max(1, rate * TICK_S, SEGMENT_BYTES)
    bucket.fill(5.0)
    assert bucket.is_low
    assert bucket.wait_s == pytest.approx(bucket.piece / rate)


def test_a_pause_is_made_up_for_only_in_part() -> None:
    bucket = Bucket(1_000_000)
    bucket.fill(0.0)
    assert bucket.fill(60.0) == 1_000_000 * DEPTH_S


def test_what_was_taken_at_once_is_owed() -> None:
    bucket = Bucket(1000)
    bucket.fill(0.0)
    bucket.take(500)
    assert bucket.fill(0.5) == 0
    assert bucket.is_low
    assert bucket.wait_s == pytest.approx(bucket.piece / 1000)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("write", [1, 64, 131_072])
def test_the_kernel_s_rate_never_holds_the_bucket_back(rate: int, write: int) -> None:
    bucket = Bucket(rate)
    piece = min(bucket.piece, write, SEGMENT_BYTES)
    on_the_wire = rate * (piece + 66) / piece  # Ethernet, IPv4, TCP with time stamps
    assert kernel_rate(bucket, write) > on_the_wire


FLOWS: dict[str, tuple[str, dict[str, Any]]] = {
    "send": ("discard", {"direction": "send"}),
    "receive": ("chargen", {"direction": "receive"}),
    "both": ("echo", {"direction": "both"}),
    "two lanes": ("discard", {"direction": "send", "connections": 2}),
    "small writes": ("discard", {"direction": "send", "least_size": 100, "most_size": 100}),
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_quota_takes_its_time(name: str) -> None:
    service, fields = FLOWS[name]
    size = fields.get("most_size", 10_000)
    count = 200_000 // size
    plan_fields = {"least_size": size, "most_size": size, "count": count, "bits_per_s": 8e6} | fields
    with echowire.serve("tcp://127.0.0.1:0", service=service) as server:
        with connected(Plan(server.endpoint, **plan_fields)) as load:
            began = time.perf_counter()
            run_to_the_end(load)
            took = time.perf_counter() - began
            outcomes = load.records.outcomes
    moved = outcomes.received_bytes if name == "receive" else outcomes.sent_bytes
    # Not less than the rate allows; how much more is the machine's affair, and no test's.
    lanes = fields.get("connections", 1)
    assert took >= moved / (lanes * 1_000_000) - 0.001
    assert moved >= 200_000
    assert load.failures == []


def test_tcp_is_spaced_by_the_kernel() -> None:
    with echowire.serve("tcp://127.0.0.1:0", service="discard") as server:
        fields: dict[str, Any] = {"direction": "send", "least_size": 9999, "most_size": 9999, "bits_per_s": 1e9}
        with connected(Plan(server.endpoint, **fields)) as load:
            assert load.effective()["paced_by"] == "kernel"
            (info,) = load.tcp_info()
            assert 125_000_000 < info["tcpi_max_pacing_rate"] < 250_000_000


def test_a_full_socket_is_waited_for_and_the_rest_follows() -> None:
    """Pieces larger than a socket's buffer: what it does not take at once goes when it can."""
    with serving(echo) as port:
        fields = {"direction": "both", "count": 4, "least_size": 1 << 20, "most_size": 1 << 20, "bits_per_s": 8e9}
        load = measured(tcp(port, **fields))
    assert load.failures == []
    assert load.records.outcomes.received_bytes == 4 << 20


def test_idle_is_only_who_waits_for_the_rate() -> None:
    with echowire.serve("tcp://127.0.0.1:0", service="discard") as server:
        with connected(Plan(server.endpoint, direction="send", bits_per_s=8)) as load:
            load.generator.begin(time.perf_counter())
            assert load.generator.is_idle
        with connected(Plan(server.endpoint, direction="send")) as load:
            load.generator.begin(time.perf_counter())
            assert not load.generator.is_idle
