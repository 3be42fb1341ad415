"""Who answered what: the accounts of many senders, from none to more than there is room for."""

from __future__ import annotations

import pytest

from echowire.core.load import group_ledger
from echowire.core.load.group_ledger import GroupLedger
from echowire.core.load.verify import Payloads

PAYLOADS = Payloads(b"this run")


def ledger_of(count: int, size: int = 64) -> GroupLedger:
    """`count` payloads have been sent, a second apart."""
    ledger = GroupLedger(PAYLOADS, size)
    for number in range(count):
        assert ledger.note_sent(PAYLOADS.make(number, size), float(number)) == number
    return ledger


def answers(ledger: GroupLedger, sender: str, *numbers: int, size: int = 64) -> None:
    for number in numbers:
        ledger.received(sender, PAYLOADS.make(number, size), number + 0.5)


def test_nothing_was_sent() -> None:
    ledger = GroupLedger(PAYLOADS, 64)
    answers(ledger, "a", 0)
    assert (ledger.sent, ledger.unexpected, ledger.senders) == (0, 1, {})


def test_each_sender_has_its_own_account() -> None:
    ledger = ledger_of(5)
    answers(ledger, "a", 0, 1, 2, 3, 4)
    answers(ledger, "b", 1, 0, 4, 4)
    first, second = ledger.senders["a"], ledger.senders["b"]
    assert (first.answered, first.lost(5), first.duplicated, first.reordered, first.intact) == (5, 0, 0, 0, 5)
    assert (second.answered, second.lost(5), second.duplicated, second.reordered) == (3, 2, 1, 1)
    assert (second.least_s, second.mean_s, second.most_s) == (0.5, 0.5, 0.5)


def test_what_is_wrong_with_an_answer() -> None:
    ledger = ledger_of(4)
    whole = PAYLOADS.make(1, 64)
    verdicts = [
        ledger.received("a", data, 9.0).verdict.outcome
        for data in (whole[:40], whole[:-1] + b"!", PAYLOADS.make(2, 64) + b"more")
    ]
    assert verdicts == ["truncated", "corrupted", "surplus"]
    account = ledger.senders["a"]
    assert (account.truncated, account.duplicated, account.corrupted, account.intact) == (1, 1, 1, 0)


def test_an_answer_of_another_run_is_nobody_s() -> None:
    ledger = ledger_of(3)
    answer = ledger.received("a", Payloads(b"that run").make(1, 64), 9.0)
    assert answer.number is None and ledger.unexpected == 1 and not ledger.senders


def test_words_of_one_s_own_are_known_by_what_they_say() -> None:
    ledger = GroupLedger(PAYLOADS, None)
    for number, word in enumerate((b"one", b"two", b"two")):
        ledger.note_sent(word, float(number))
    assert [ledger.received("a", data, 3.0).number for data in (b"two", b"two", b"two", b"one")] == [2, 1, 2, 0]
    account = ledger.senders["a"]
    assert (account.answered, account.duplicated) == (3, 1)
    assert ledger.received("b", b"t?o", 3.0).verdict.outcome == "corrupted"


@pytest.mark.parametrize("size", [0, 1, 15])
def test_payloads_too_small_for_a_number_are_known_by_their_content(size: int) -> None:
    ledger = ledger_of(3, size)
    answers(ledger, "a", 0, 1, 2, size=size)
    assert (ledger.senders["a"].answered, ledger.senders["a"].lost(3)) == (3, 0)


def test_the_window_goes_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered a window ago is not taken for an answer to what has its place now."""
    monkeypatch.setattr(group_ledger, "WINDOW", 8)
    ledger = ledger_of(8)
    answers(ledger, "a", *range(8))
    for number in range(8, 30):
        ledger.note_sent(PAYLOADS.make(number, 64), float(number))
        answers(ledger, "a", number)
    account = ledger.senders["a"]
    assert (account.answered, account.duplicated, account.lost(30)) == (30, 0, 0)
    answers(ledger, "a", 3)
    assert ledger.unexpected == 1  # too late to be known


def test_there_is_room_for_so_many_senders() -> None:
    ledger = ledger_of(1)
    for number in range(group_ledger.SENDERS_MAX + 5):
        answers(ledger, f"sender {number}", 0)
    assert (len(ledger.senders), ledger.others) == (group_ledger.SENDERS_MAX, 5)


def test_numbers_beyond_32_bits_come_back_whole() -> None:
    ledger = GroupLedger(PAYLOADS, 64)
    ledger.sent = (1 << 32) + 5
    assert ledger._whole(3) == (1 << 32) + 3
    assert ledger._whole(0xFFFFFFFF) == 0xFFFFFFFF
