"""What a report says of what was recorded: nulls for what is unknown, the limit, two runs, and conditions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.figures.criteria import ConditionError, parse_condition
from echowire.core.figures.histogram import Histogram
from echowire.core.load.comparison import check_document
from echowire.core.load.measurement import (
    Cpu,
    Interval,
    Report,
    Share,
    merge_intervals,
    merge_shares,
)
from echowire.core.load.payloads import Outcomes
from echowire.errors import UsageError

ASKED: Mapping[str, Any] = {"direction": "echo", "rate": None, "connections": 1, "pipeline": 1, "seconds": 2.0}


def of_us(*micros: float) -> Histogram:
    made = Histogram()
    made.record([round(micro * 1000) for micro in micros])
    return made


def report(**fields: Any) -> Report:
    """Two seconds, four echoes of 100 bytes, 100 µs to 400 µs, and what differs from that."""
    values: dict[str, Any] = {
        "endpoint": "tcp://127.0.0.1:7",
        "supplied": ASKED,
        "effective": {},
        "started_ns": 0,
        "seconds": 2.0,
        "ended": "time",
        "failures": {},
        "outcomes": Outcomes(sent=4, echoed=4, sent_bytes=400, received_bytes=400),
        "latency": of_us(100, 200, 300, 400),
        "uncorrected": Histogram(),
        "lateness": Histogram(),
        "jitter_s": None,
        "cpu": Cpu(0.2, 0.3, 0.25, 0.3),
    }
    return Report(**(values | fields))


SILENT = {"outcomes": Outcomes(sent=1, lost=1, sent_bytes=64), "latency": Histogram()}


def test_rates_and_latencies() -> None:
    document = report().document()
    assert (document["echoes_per_s"], document["sent_bits_per_s"], document["received_bits_per_s"]) == (2, 1600, 1600)
    assert document["latency_us"]["min"] == 100
    assert document["latency_us"]["p50"] == pytest.approx(200, rel=1 / 2048)
    assert document["latency_us"]["max"] == 400
    assert document["uncorrected_latency_us"]["p99"] is None
    assert document["histogram"]["count"] == 4
    assert document["loss"] is None
    assert document["counts"]["duplicated"] is None
    json.dumps(document, allow_nan=False)


def test_no_reply_is_null_and_not_zero() -> None:
    silent = report(**SILENT)
    assert silent.no_reply
    assert not silent.ok
    document = silent.document()
    assert document["echoes_per_s"] is None
    assert document["received_bits_per_s"] is None
    assert set(document["latency_us"].values()) == {None}
    assert document["limit"] is None


def test_no_time_at_all_divides_nothing() -> None:
    document = report(seconds=0.0, outcomes=Outcomes(), latency=Histogram()).document()
    assert document["echoes_per_s"] is None
    assert document["sent_bits_per_s"] is None
    json.dumps(document, allow_nan=False)


def test_datagrams_have_losses_that_are_no_failure() -> None:
    outcomes = Outcomes(sent=10, echoed=7, lost=3, duplicated=1, received_bytes=800)
    lossy = report(endpoint="udp://127.0.0.1:7", outcomes=outcomes, jitter_s=5e-6)
    assert lossy.loss == 0.3
    assert lossy.ok
    assert lossy.document()["jitter_us"] == 5
    assert lossy.document()["counts"]["duplicated"] == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"failures": {"reset": 1}},
        {"outcomes": Outcomes(sent=2, echoed=1, corrupted=1, received_bytes=1)},
        {"outcomes": Outcomes(sent=2, echoed=1, truncated=1, received_bytes=1)},
        {"outcomes": Outcomes(sent=1, echoed=1, unexpected=1, received_bytes=1)},
        {"conditions": {"p99>1us": True}},
        {"conditions": {"p99>1us": None}},
    ],
)
def test_what_is_not_ok(fields: dict[str, Any]) -> None:
    assert report().ok
    assert report(conditions={"p99>1s": False}).ok
    assert not report(**fields).ok


@pytest.mark.parametrize(
    ("fields", "by"),
    [
        ({}, "round trip"),
        ({"supplied": {**ASKED, "connections": 9}}, None),
        ({"cpu": Cpu(0.97, 0.99, 1.0, 1.0)}, "client"),
        ({"cpu": Cpu(0.5, 0.99, 0.7, 1.0)}, "server"),
        ({"cpu": Cpu(0.5, None, 0.99, 1.0)}, "host"),
        ({"cpu": Cpu()}, "round trip"),
        ({"supplied": {**ASKED, "rate": 2.0}, "lateness": of_us(3)}, "rate"),
        ({"supplied": {**ASKED, "rate": 500.0}, "lateness": of_us(3)}, "round trip"),
        ({"supplied": {**ASKED, "rate": 2.0}, "lateness": of_us(9000)}, "client"),
        ({"supplied": {**ASKED, "direction": "both"}, "cpu": Cpu(0.5, 0.5)}, None),
        (SILENT, None),
    ],
)
def test_the_limit(fields: dict[str, Any], by: str | None) -> None:
    made = report(**fields)
    assert made.limit.by == by
    assert made.document()["measured_the_client"] is (by == "client")
    assert made.limit.why


def test_a_run_too_short_for_processor_time_blames_nobody() -> None:
    busy = Cpu(0.99, 0.99, 0.99, 0.99)
    many = {**ASKED, "connections": 5}
    assert report(cpu=busy, supplied=many, seconds=0.2).limit.by == "client"
    short = report(cpu=busy, supplied=many, seconds=0.02).limit
    assert (short.by, short.why) == (None, "less than 100 ms is too short to tell")


def test_workers_are_merged_by_their_values() -> None:
    one = Share(Outcomes(sent=1), of_us(100), Histogram(), Histogram(), 2.0, 1.0, 1e-6)
    two = Share(Outcomes(sent=2), of_us(300, 500), of_us(1), of_us(2), 2.5, 2.4, 3e-6)
    whole = merge_shares([one, two])
    assert whole.outcomes.sent == 3
    assert whole.latency == of_us(100, 300, 500)
    assert (whole.seconds, whole.cpu_s, whole.jitter_s) == (2.5, 2.4, 2e-6)
    assert merge_shares([]).jitter_s is None


def test_intervals_are_merged_by_their_values() -> None:
    part = Interval(0.0, 1.0, False, Outcomes(echoed=2), None, None, None, 0.5)
    whole = merge_intervals([(part, of_us(10, 20)), (replace(part, client_cpu=None), of_us(30, 40))])
    assert (whole.outcomes.echoed, whole.echoes_per_s, whole.client_cpu) == (4, 4, 0.5)
    assert whole.max_us == 40
    assert whole.p50_us == pytest.approx(20, rel=1 / 2048)
    assert replace(whole, seconds=0.0).document()["echoes_per_s"] is None


def test_two_runs_side_by_side() -> None:
    before = json.loads(json.dumps(report(supplied={**ASKED, "seconds": 5.0}).document()))
    after = report(latency=of_us(200, 400, 600, 800), against=check_document(before))
    comparison = after.compare()
    assert comparison is not None
    by_name = {row.name: row for row in comparison.rows}
    assert by_name["latency_us.max"].ratio == 2
    assert by_name["echoes_per_s"].ratio == 1
    assert "loss" not in by_name, "neither run knows it"
    assert comparison.differences == ("seconds: 5.0 before, 2.0 now",)
    assert (
        report(against=report(**SILENT).document()).document()["comparison"]["figures"]["echoes_per_s"]["ratio"] is None
    )
    assert report().document()["comparison"] is None


@pytest.mark.parametrize("document", [None, [], {}, {"schema": "echowire.bench", "version": 2}, {"schema": "x"}])
def test_another_document_is_not_compared_with(document: object) -> None:
    with pytest.raises(UsageError, match="no document of echowire bench"):
        check_document(document)


@pytest.mark.parametrize(
    "changed",
    [
        {"endpoint": 5},
        {"supplied": []},
        {"echoes_per_s": "many"},
        {"loss": float("nan")},
        {"sent_bits_per_s": 10**400},
        {"latency_us": {"p50": "x"}},
        {"uncorrected_latency_us": {"p50": []}},
        {"latency_us": None},
    ],
)
def test_a_document_whose_figures_are_none_is_not_compared_with(changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no document of echowire bench"):
        check_document({**report().document(), **changed})


@pytest.mark.parametrize(
    ("direction", "is_stream", "known"),
    [
        (
            "echo",
            True,
            {"sent", "echoed", "corrupted", "lost", "unanswered", "partial", "unexpected", "received_bytes"},
        ),
        ("send", True, set()),
        ("send", False, {"sent"}),
        ("receive", True, {"unexpected", "received_bytes", "compared_bytes"}),
        ("receive", False, {"sent", "lost", "unexpected", "received_bytes", "compared_bytes"}),
        ("both", True, {"corrupted", "unexpected", "received_bytes"}),
    ],
)
def test_an_interval_has_null_for_what_its_load_does_not_tell(direction: str, is_stream: bool, known: set[str]) -> None:
    part = Interval(0.0, 1.0, False, Outcomes(), None, None, None, 0.5, direction, is_stream)
    document = merge_intervals([(part, Histogram())]).document()
    assert {name for name in asdict(Outcomes()) if document[name] is not None} == known | {"sent_bytes"}
    assert (document["echoes_per_s"] is None) == ("echoed" not in known)
    assert (document["received_bits_per_s"] is None) == (direction == "send")


def test_what_came_while_it_warmed_up_is_a_reply() -> None:
    warm = Interval(0.0, 1.0, True, Outcomes(sent=9, echoed=9, received_bytes=900), 1.0, 2.0, 3.0, 0.1)
    ended = report(seconds=0.0, outcomes=Outcomes(), latency=Histogram(), intervals=(warm,))
    assert not ended.no_reply
    assert ended.limit.why == "nothing was measured"
    assert ended.document()["echoes_per_s"] is None


@pytest.mark.parametrize(
    ("poisson", "sent", "by"),
    [(False, 1000, "rate"), (False, 940, "round trip"), (True, 940, "rate"), (True, 800, "round trip")],
)
def test_a_poisson_process_keeps_its_rate_within_its_spread(poisson: bool, sent: int, by: str) -> None:
    asked = {**ASKED, "rate": 500.0, "poisson": poisson}
    assert report(supplied=asked, outcomes=Outcomes(sent=sent, echoed=sent, received_bytes=sent)).limit.by == by


@pytest.mark.parametrize(
    ("direction", "moved", "by", "kept"),
    [
        ("send", 2500, "rate", 1.0),
        ("both", 2480, "rate", 0.992),
        ("send", 1250, None, 0.5),
        ("receive", 250, None, 0.1),
    ],
)
def test_a_rate_of_bits_that_was_kept_or_not(direction: str, moved: int, by: str | None, kept: float) -> None:
    asked = {**ASKED, "direction": direction, "bits_per_s": 5000.0, "connections": 2}
    flow = Outcomes(sent_bytes=moved if direction != "receive" else 0, received_bytes=moved)
    flowed = report(supplied=asked, outcomes=flow, latency=Histogram())
    if by == "rate":
        assert replace(flowed, cpu=Cpu(0.99, 0.99, 0.99, 0.99)).limit.by == "rate", "a busy host kept it"
    assert flowed.rate_kept == flowed.document()["rate_kept"] == kept
    assert flowed.limit.by == by
    assert parse_condition("rate_kept<99%").holds(flowed) is (kept < 0.99)


def test_a_source_that_was_not_compared_has_no_count_of_wrong_lines() -> None:
    asked = {**ASKED, "direction": "receive"}
    counts = [
        report(supplied=asked, outcomes=Outcomes(received_bytes=500, compared_bytes=size, corrupted=0)).document()[
            "counts"
        ]
        for size in (0, 500)
    ]
    assert [(each["compared_bytes"], each["corrupted"]) for each in counts] == [(0, None), (500, 0)]
    assert report().document()["counts"]["compared_bytes"] is None


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("p99>5ms", False),
        ("p99 > 0.3ms", True),
        ("p50>=150us or loss>1%", True),
        ("max == 400us", True),
        ("max != 400us", False),
        ("rate<10", True),
        ("rate < 10/s || errors > 0", True),
        ("mean<250us", False),
        ("errors>0", False),
        ("client_cpu>10%", True),
        ("server_cpu>0.5", False),
        ("loss>1%", None),
        ("jitter>1ms", None),
        ("uncorrected_p99>1ms", None),
        ("p99.99<1s", True),
        ("loss>1% or p99<1us", None),
        ("loss>1% or p99<1s", True),
    ],
)
def test_conditions(text: str, holds: bool | None) -> None:
    assert parse_condition(text).holds(report()) is holds


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "a figure is expected, such as p99, rate or loss, at the ^ in '^'"),
        ("p9O>5ms", "'^p9O>5ms'"),
        ("p101>5ms", "'^p101>5ms'"),
        ("p99", "'p99^'"),
        ("p99 => 5ms", "'p99 ^=> 5ms'"),
        ("p99>", "'p99>^'"),
        ("p99>5mss", "'p99>^5mss'"),
        ("loss>1ms", "'loss>^1ms'"),
        ("errors>1.5", "'errors>^1.5'"),
        ("p99>5ms or", "'p99>5ms or^'"),
        ("p99>5ms or nothing>1", "'p99>5ms or ^nothing>1'"),
    ],
)
def test_a_condition_that_cannot_be_read_says_where(text: str, shown: str) -> None:
    with pytest.raises(ConditionError) as raised:
        parse_condition(text)
    assert shown in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.text(alphabet="p95>=<!.%ms |orlata_", max_size=20))
def test_any_text_is_a_condition_or_a_usage_error(text: str) -> None:
    try:
        parse_condition(text).holds(report())
    except UsageError as error:
        assert "^" in str(error)
