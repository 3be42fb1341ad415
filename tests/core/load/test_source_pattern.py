"""RFC 864's pattern recognised and compared: from any offset, in any pieces, with any damage."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.load.payloads import CHUNK_BYTES
from echowire.core.load.source_pattern import DECIDE_BYTES, LINE, PERIOD, WINDOW, PatternCheck
from echowire.core.services import CHARGEN_PATTERN

STREAM = CHARGEN_PATTERN * 50


def fed(data: bytes, *, piece: int = CHUNK_BYTES) -> tuple[int, int]:
    """Wrong lines and compared bytes of `data`, fed in pieces."""
    check = PatternCheck()
    wrong = sum(check.feed(data[at : at + piece]) for at in range(0, len(data), piece))
    return wrong, check.compared_bytes


def flipped(data: bytes, *places: int) -> bytes:
    spoiled = bytearray(data)
    for place in places:
        spoiled[place] ^= 1
    return bytes(spoiled)


def test_a_window_is_in_the_pattern_once() -> None:
    ring = CHARGEN_PATTERN * 2
    assert len({ring[at : at + WINDOW] for at in range(PERIOD)}) == PERIOD


@pytest.mark.parametrize("piece", [1, 7, 147, 148, 1000, CHUNK_BYTES])
@pytest.mark.parametrize("start", [0, 1, 73, 74, 5000, PERIOD - 1])
def test_what_is_right_is_right_from_any_offset_in_any_pieces(start: int, piece: int) -> None:
    data = STREAM[start : start + 20_000]
    assert fed(data, piece=piece) == (0, len(data))


def test_a_whole_chunk_after_what_was_held() -> None:
    check = PatternCheck()
    data = STREAM[PERIOD - 1 :]
    assert check.feed(data[: WINDOW - 1]) == 0
    assert check.feed(data[WINDOW - 1 : WINDOW - 1 + CHUNK_BYTES]) == 0
    assert check.compared_bytes == WINDOW - 1 + CHUNK_BYTES


@pytest.mark.parametrize("piece", [37, 1000, CHUNK_BYTES])
def test_wrong_bytes_are_counted_by_the_line(piece: int) -> None:
    for places, lines in (((5000,), 1), ((5000, 5001), 1), ((LINE * 70 + 1, LINE * 70 + 70), 1), ((5000, 9000), 2)):
        assert fed(flipped(STREAM[:20_000], *places), piece=piece) == (lines, 20_000)


def test_a_wrong_byte_at_the_very_start_is_found_once_the_pattern_is_known() -> None:
    assert fed(flipped(STREAM[:5000], 3)) == (1, 5000)


@pytest.mark.parametrize("piece", [1000, CHUNK_BYTES])
@pytest.mark.parametrize("change", [-1, -100, 1, 300])
def test_bytes_missing_or_too_many_are_one_place_and_the_pattern_goes_on(change: int, piece: int) -> None:
    data = STREAM[:6000] + (STREAM[6000 - change :] if change < 0 else bytes(change) + STREAM[6000:])
    wrong, compared = fed(data[:30_000], piece=piece)
    assert 1 <= wrong <= 8, "the place itself, and the lines until the pattern is found again"
    assert compared == 30_000


@pytest.mark.parametrize(
    "data", [bytes(10_000), b"x" * 10_000, random.Random(1).randbytes(10_000), CHARGEN_PATTERN[::-1], STREAM[:100] * 99]
)
@pytest.mark.parametrize("piece", [100, CHUNK_BYTES])
def test_another_source_is_left_alone(data: bytes, piece: int) -> None:
    assert fed(data, piece=piece) == (0, 0)


def test_too_few_bytes_decide_nothing() -> None:
    assert fed(STREAM[: WINDOW - 1]) == (0, 0)
    assert fed(STREAM[:WINDOW]) == (0, WINDOW)


def test_the_pattern_after_something_else_is_another_source() -> None:
    assert fed(bytes(DECIDE_BYTES) + STREAM) == (0, 0)


def test_a_source_that_loses_its_place_all_the_time_costs_no_more_than_its_lines() -> None:
    data = b"".join(STREAM[k * 1000 % PERIOD :][:200] for k in range(1300))
    wrong, compared = fed(data)
    assert compared == len(data)
    assert 100 < wrong <= len(data) // LINE + 20


@given(st.integers(0, PERIOD), st.lists(st.tuples(st.integers(0, 9999), st.binary(max_size=300)), max_size=4))
def test_any_damage_is_seen_and_costs_no_exception(start: int, damages: list[tuple[int, bytes]]) -> None:
    whole = STREAM[start : start + 10_000]
    data = whole
    for place, put in damages:
        data = data[:place] + put + data[place + len(put) :]
    wrong, compared = fed(data, piece=999)
    assert compared in (0, len(data))
    assert bool(wrong) == (data != whole) or not compared
