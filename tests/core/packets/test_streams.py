"""Conversations: one key for both directions, numbers in the order of first packets, and the columns that follow."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.packets.dissect import Dissector
from echowire.core.packets.streams import Growing, Numbers, Slots, befores, conversation, firsts, lasts
from tests.core.packets.tcp.traffic import CLIENT, SERVER, ipv4, ipv6, records, tcp

small_lists = st.lists(st.integers(0, 5), max_size=30)


def keys_of(*packets: bytes) -> tuple[list[int], list[bool]]:
    layer = Dissector(["tcp.stream"]).dissect(records(packets)).layers_of("tcp")[0]
    keys, higher = conversation(layer)
    return keys.tolist(), higher.tolist()


def test_both_directions_have_one_key_and_other_ends_another() -> None:
    there, back = ipv4(6, tcp(1, 2), CLIENT, SERVER), ipv4(6, tcp(2, 1), SERVER, CLIENT)
    crossed, other = ipv4(6, tcp(2, 1), CLIENT, SERVER), ipv4(6, tcp(1, 3), CLIENT, SERVER)
    keys, higher = keys_of(there, back, crossed, other)
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert higher[:2] == [False, True]


def test_the_same_host_is_told_apart_by_ports() -> None:
    keys, higher = keys_of(ipv4(6, tcp(1, 2), CLIENT, CLIENT), ipv4(6, tcp(2, 1), CLIENT, CLIENT))
    assert keys[0] == keys[1]
    assert higher == [False, True]


def test_ipv6_has_keys_of_its_own() -> None:
    packets = [ipv6(6, tcp(1, 2)), ipv6(6, tcp(1, 3))]
    part = records(packets)
    part.link_type[:] = 229
    layer = Dissector(["tcp.stream"]).dissect(part).layers_of("tcp")[0]
    keys, higher = conversation(layer)
    assert keys[0] != keys[1]
    assert higher.tolist() == [False, False]


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9) | st.integers(0, 9).map(lambda n: n << 20))))
def test_keys_are_numbered_as_a_dictionary_would(chunks: list[list[int]]) -> None:
    numbers, known = Numbers(), dict[int, int]()
    for chunk in chunks:
        expected = [known.setdefault(max(key, 1), len(known)) for key in chunk]  # 0 and 1 are one: 0 marks a free slot
        assert numbers.of(np.array(chunk, np.uint64)).tolist() == expected
        assert len(numbers) == len(known)


def test_the_table_grows() -> None:
    numbers = Numbers()
    for start in range(0, 10_000, 1000):
        keys = np.arange(start, start + 2000, dtype=np.uint64) + np.uint64(1)
        assert numbers.of(keys).tolist() == list(range(start, start + 2000))


def test_a_column_grows_and_keeps_what_it_has() -> None:
    column = Growing(np.int64, -1)
    column.of(3)[:3] = [1, 2, 3]
    assert column.of(1000)[:4].tolist() == [1, 2, 3, -1]


@given(small_lists)
def test_slots_are_numbered_and_found_again(numbers: list[int]) -> None:
    column = np.array(numbers, np.int64)
    slots = Slots(column, np.full(6, 77, np.int64))
    assert slots.number[slots.slot].tolist() == numbers
    assert slots.number.tolist() == list(dict.fromkeys(numbers))
    assert slots.first.tolist() == [numbers.index(one) for one in slots.number.tolist()]


@given(small_lists, st.lists(st.booleans(), min_size=30, max_size=30))
def test_first_last_and_the_one_before(numbers: list[int], chosen: list[bool]) -> None:
    column, where = np.array(numbers, np.int64), np.array(chosen[: len(numbers)], np.bool_)
    places = [[at for at, one in enumerate(numbers) if one == slot and chosen[at]] for slot in range(6)]
    assert firsts(column, 6, where).tolist() == [one[0] if one else len(numbers) for one in places]
    assert lasts(column, 6, where).tolist() == [one[-1] if one else -1 for one in places]
    before = [max((at for at in range(end) if numbers[at] == numbers[end]), default=-1) for end in range(len(numbers))]
    assert befores(column).tolist() == before
