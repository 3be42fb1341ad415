"""The load's stream and datagrams: what is made is read again, and every way to spoil one is told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.load.payloads import (
    CHUNK_BYTES,
    HEADER,
    PERIOD,
    VARIANTS,
    Bursts,
    Outcomes,
    State,
    Window,
    cycle,
    make_probe,
    read_probe,
)

RUN = 0xC0FFEE01
SEQUENCES = st.integers(min_value=0, max_value=2**62)
SIZES = st.integers(min_value=HEADER.size, max_value=2000)


def test_the_cycle_repeats_and_never_has_to_wrap() -> None:
    data = cycle()
    assert len(data) == PERIOD + CHUNK_BYTES
    assert data[PERIOD : PERIOD + 1000] == data[:1000]
    starts = {data[start : start + 16] for start in range(PERIOD)}
    assert len(starts) == PERIOD, "two places in the cycle look alike"


@given(SEQUENCES, SIZES)
def test_a_datagram_is_read_as_it_was_made(sequence: int, size: int) -> None:
    data = make_probe(RUN, sequence, size)
    assert len(data) == size
    assert read_probe(RUN, data) == (sequence, State.INTACT)
    assert read_probe(RUN + 1, data) == (None, State.UNEXPECTED)


@given(SEQUENCES, SIZES, st.data())
def test_one_wrong_bit_is_seen(sequence: int, size: int, data: st.DataObject) -> None:
    made = bytearray(make_probe(RUN, sequence, size))
    bit = data.draw(st.integers(min_value=0, max_value=8 * size - 1))
    made[bit // 8] ^= 1 << bit % 8
    said, state = read_probe(RUN, bytes(made))
    assert state is State.CORRUPTED
    assert said == (None if bit < 8 * HEADER.size else sequence)


@given(SEQUENCES, SIZES, st.data())
def test_a_cut_one_is_truncated(sequence: int, size: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(min_value=0, max_value=size - 1))
    said, state = read_probe(RUN, make_probe(RUN, sequence, size)[:kept])
    assert state is State.TRUNCATED
    assert said == (sequence if kept >= HEADER.size else None)


def test_a_longer_one_is_corrupted() -> None:
    assert read_probe(RUN, make_probe(RUN, 5, 100) + b"x") == (5, State.CORRUPTED)


@pytest.mark.parametrize("size", [HEADER.size, HEADER.size + 1, 1000])
def test_a_burst_is_so_many_datagrams(size: int) -> None:
    bursts = Bursts(RUN, size, 64)
    burst = bursts.make(VARIANTS * 3 - 10, 50)
    pieces = [bytes(burst[at : at + size]) for at in range(0, len(burst), size)]
    assert pieces == [make_probe(RUN, VARIANTS * 3 - 10 + number, size) for number in range(50)]
    assert bursts.read(burst, size) == (list(range(VARIANTS * 3 - 10, VARIANTS * 3 + 40)), {State.INTACT: 50})


def test_what_is_wrong_in_a_burst_is_told_apart() -> None:
    bursts = Bursts(RUN, 100, 64)
    pieces = [bytearray(make_probe(RUN, number, 100)) for number in range(6)]
    pieces[1][99] ^= 1  # the fill
    pieces[2][5] ^= 1  # the sequence number
    pieces[3] = bytearray(make_probe(RUN + 1, 3, 100))
    pieces[5] = pieces[5][:60]
    named, states = bursts.read(memoryview(b"".join(pieces)), 100)
    assert sorted(named) == [0, 1, 4, 5]
    assert states == {State.INTACT: 2, State.CORRUPTED: 2, State.UNEXPECTED: 1, State.TRUNCATED: 1}


def test_bursts_of_another_size_are_read_one_by_one() -> None:
    bursts = Bursts(RUN, 100, 64)
    cut = b"".join(make_probe(RUN, number, 100)[:50] for number in range(3))
    assert bursts.read(memoryview(cut), 50) == ([0, 1, 2], {State.INTACT: 0, State.TRUNCATED: 3})


def test_the_window_tells_first_second_and_reordered() -> None:
    window, outcomes = Window(), Outcomes()
    window.sent(5, 1.0)
    window.sent(5, 2.0)
    assert window.arrived([0, 1, 3, 2], [1.5, 1.5, 1.75, 2.0], outcomes) == [0.5, 0.5, 0.75, 1.0]
    assert window.arrived([2, 9, 9, 5, 77], [3.0] * 5, outcomes) == [1.0, 1.0]
    assert window.arrived([], [], outcomes) == []
    assert (outcomes.reordered, outcomes.duplicated, outcomes.unexpected) == (2, 2, 1)
    assert window.outstanding == 10 - 6


def test_the_window_forgets_what_is_too_long_ago() -> None:
    window, outcomes = Window(capacity=8), Outcomes()
    for _ in range(3):
        window.sent(4, 0.0)
    assert (window.outstanding, window.forgotten) == (8, 4)
    assert window.arrived([0, 4], [1.0, 1.0], outcomes) == [1.0]
    assert outcomes.unexpected == 1


def test_outcomes_add_up() -> None:
    before = Outcomes(sent=3, lost=1)
    after = before.copy()
    after.add(Outcomes(sent=4, echoed=2))
    assert after.since(before) == Outcomes(sent=4, echoed=2)
    assert before == Outcomes(sent=3, lost=1)
