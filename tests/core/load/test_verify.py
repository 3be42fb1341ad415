"""What was sent against what came back: every way in which an echo can be wrong is counted as what it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.load.verify import (
    HEADER,
    STREAM_WINDOW_BYTES,
    WINDOW_BYTES,
    WINDOW_DATAGRAMS,
    DatagramLedger,
    Payloads,
    StreamLedger,
    Tally,
    compare,
    first_difference,
)
from echowire.errors import ProtocolError

RUN = b"run-0001"


def counts(tally: Tally) -> dict[str, int]:
    names = ("intact", "lost", "corrupted", "truncated", "duplicated", "reordered", "unexpected")
    return {name: value for name in names if (value := getattr(tally, name))}


@pytest.mark.parametrize(
    ("sent", "received", "said"),
    [
        (b"abc", b"abc", "intact"),
        (b"", b"", "intact"),
        (b"abc", None, "lost"),
        (b"abc", b"", "truncated, 3 bytes missing"),
        (b"abc", b"ab", "truncated, 1 byte missing"),
        (b"abc", b"abcd", "1 byte too many"),
        (b"abc", b"abX", "corrupted at byte 2"),
        (b"abc", b"Xb", "corrupted at byte 0"),
        (b"abc", b"abXdef", "corrupted at byte 2"),
    ],
)
def test_compare(sent: bytes, received: bytes | None, said: str) -> None:
    verdict = compare(sent, received)
    assert str(verdict) == said
    assert verdict.ok == (said == "intact")


@given(st.binary(min_size=1, max_size=200_000), st.data())
def test_the_first_difference_is_found(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    other = bytearray(data)
    other[at] ^= 1
    assert first_difference(data, bytes(other)) == at
    assert first_difference(data, data) is None
    assert first_difference(data, data[:at]) is None


def test_payloads_are_of_every_size_and_never_alike() -> None:
    payloads = Payloads(RUN)
    for size in (0, 1, 15, 16, 17, 64, 65_507):
        assert len(payloads.make(7, size)) == size
        assert payloads.make(7, size) == Payloads(RUN).make(7, size)
    assert payloads.make(7, 16)[:8] == RUN
    assert HEADER.unpack(payloads.make(7, 100)[: HEADER.size]) == (RUN, 7, 100)
    assert len({payloads.make(number, 64) for number in range(1000)}) == 1000
    assert payloads.make(1, 64) != Payloads(b"run-0002").make(1, 64)
    assert len(payloads.make(2**40, 64)) == 64


@pytest.mark.parametrize("size", [8, 16, 64, 1400])
def test_each_fault_is_counted_as_what_it_is(size: int) -> None:
    ledger, payloads = DatagramLedger(), [Payloads(RUN).make(number, size) for number in range(8)]
    for index, payload in enumerate(payloads):
        assert ledger.sent(payload) == index
    assert ledger.received(payloads[0]).verdict.ok
    assert ledger.received(payloads[0]).again
    assert ledger.received(payloads[2]).index == 2
    assert ledger.received(payloads[1]).index == 1  # below what is expected next
    cut = ledger.received(payloads[3][:-3])
    assert (cut.index, cut.verdict.outcome, cut.verdict.missing) == (3, "truncated", 3)
    damaged = ledger.received(payloads[4][:-1] + bytes([payloads[4][-1] ^ 1]))
    assert (damaged.index, damaged.verdict.wrong_at) == (4, size - 1)
    assert counts(ledger.tally) == {
        "intact": 3,
        "lost": 3,
        "corrupted": 1,
        "truncated": 1,
        "duplicated": 1,
        "reordered": 1,
    }
    assert not ledger.tally.ok


def test_all_well() -> None:
    ledger = DatagramLedger()
    for payload in (b"", b"a", b"a", b"bc", b""):
        ledger.sent(payload)
    for payload in (b"", b"a", b"a", b"bc", b""):
        assert ledger.received(payload).verdict.ok
    assert counts(ledger.tally) == {"intact": 5}
    assert ledger.tally.ok
    assert str(ledger.tally).startswith("5 sent, 5 intact, 0 lost")


def test_identical_messages_are_answered_in_turn_and_a_further_reply_is_a_copy() -> None:
    ledger = DatagramLedger()
    for _ in range(3):
        ledger.sent(b"Hello")
    assert [ledger.received(b"Hello").index for _ in range(3)] == [0, 1, 2]
    assert ledger.received(b"Hello").again
    assert ledger.tally.duplicated == 1


def test_an_answer_that_names_nothing_is_for_what_still_waits() -> None:
    ledger = DatagramLedger()
    lost, current = ledger.sent(b"first"), ledger.sent(b"second")
    ledger.give_up(lost)
    arrival = ledger.received(b"something else")
    assert (arrival.index, arrival.verdict.outcome) == (current, "corrupted")
    assert ledger.received(b"first").index == lost  # late, and still itself


def test_what_answers_nothing_is_unexpected() -> None:
    ledger = DatagramLedger()
    ledger.sent(b"one")
    ledger.received(b"one")
    assert ledger.received(b"who is this?").index is None
    assert counts(ledger.tally) == {"intact": 1, "unexpected": 1}
    assert not ledger.tally.ok


def test_an_emptied_datagram_is_truncated() -> None:
    ledger = DatagramLedger()
    ledger.sent(b"abc")
    assert str(ledger.received(b"").verdict) == "truncated, 3 bytes missing"


def test_memory_is_bounded_in_datagrams_and_in_bytes() -> None:
    ledger, payloads = DatagramLedger(), Payloads(RUN)
    for number in range(3 * WINDOW_DATAGRAMS):
        ledger.give_up(ledger.sent(payloads.make(number, 20)))
    assert ledger.received(payloads.make(1, 20)).index is None
    assert ledger.received(payloads.make(3 * WINDOW_DATAGRAMS - 1, 20)).verdict.ok
    assert ledger.tally.lost == 3 * WINDOW_DATAGRAMS - 1
    size = 1024 * 1024
    for _ in range(4 * WINDOW_BYTES // size):
        ledger.sent(bytes(size))
    held = sum(map(len, ledger._window.values()))
    assert held <= WINDOW_BYTES


@given(st.lists(st.binary(max_size=20), max_size=20), st.data())
def test_a_stream_is_intact_however_it_is_cut(chunks: list[bytes], draw: st.DataObject) -> None:
    ledger = StreamLedger()
    for chunk in chunks:
        ledger.sent(chunk)
    rest = b"".join(chunks)
    while rest:
        size = draw.draw(st.integers(1, len(rest)))
        ledger.received(rest[:size])
        rest = rest[size:]
    assert ledger.verdict().ok


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=20), st.data())
def test_a_wrong_byte_of_a_stream_is_found_where_it_is(chunks: list[bytes], draw: st.DataObject) -> None:
    ledger, whole = StreamLedger(), bytearray(b"".join(chunks))
    for chunk in chunks:
        ledger.sent(chunk)
    at = draw.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 0x80
    cut = draw.draw(st.integers(0, len(whole)))
    ledger.received(bytes(whole[:cut]))
    ledger.received(bytes(whole[cut:]))
    assert (ledger.verdict().outcome, ledger.verdict().wrong_at) == ("corrupted", at)


def test_a_stream_cut_short_lost_or_too_long() -> None:
    for back, said in ((b"hel", "truncated, 2 bytes missing"), (b"", "lost"), (b"hello!!", "2 bytes too many")):
        ledger = StreamLedger()
        ledger.sent(b"hello")
        ledger.received(back)
        assert str(ledger.verdict()) == said


def test_what_comes_before_it_was_sent_is_no_echo() -> None:
    ledger = StreamLedger()
    ledger.received(b"220 welcome")
    ledger.sent(b"hello, how are you")
    assert ledger.verdict().wrong_at == 0


def test_a_stream_that_never_comes_back_is_given_up() -> None:
    ledger, mebibyte = StreamLedger(), bytes(1024 * 1024)
    for _ in range(STREAM_WINDOW_BYTES // len(mebibyte)):
        ledger.sent(mebibyte)
    with pytest.raises(ProtocolError, match="this is no echo"):
        ledger.sent(b"x")
