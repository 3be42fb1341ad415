"""Following records in many places at once gives what the plain loop gives, of whatever bytes."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from fuzz.capture_files import mutated, packets, read

from echowire.core.captures import chains
from echowire.core.captures.pcap import PcapReader


def capture(rng: random.Random, count: int, order: str) -> bytes:
    """Packets full of what looks like headers."""
    file = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    for number in range(count):
        now = 1_700_000_000 + number // 7
        decoy = struct.pack(f"{order}IIII", now, 1, rng.choice((0, 4, 20, 60)), 60)
        packet = (decoy * 5)[rng.randrange(16) :] if rng.random() < 0.02 else bytes(rng.randrange(90))
        file += struct.pack(f"{order}IIII", now, number, len(packet), len(packet)) + packet
    return file


def outcome(file: bytes) -> object:
    found, problem = read([file])
    return packets(found), problem


@pytest.mark.parametrize("order", ["<", ">"])
def test_it_gives_what_the_plain_loop_gives(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    rng = random.Random(order)
    followed = 0
    for number in range(150):
        file = capture(rng, 60, order)
        file = file if number % 3 == 0 else mutated(rng, file)
        monkeypatch.setattr(chains, "MIN_BYTES", 1 << 40)
        plain = outcome(file)
        monkeypatch.setattr(chains, "MIN_BYTES", 64)
        monkeypatch.setattr(chains, "MIN_APART", rng.choice((16, 100, 400)))
        monkeypatch.setattr(chains, "MAX_STEPS", rng.choice((8, 1024)))
        assert outcome(file) == plain
        reader = PcapReader()
        reader._buffer = bytearray(file)
        reader._read_header()
        followed += len(reader._follow(24, 16)[0]) if len(file) > 100 else 0
    assert followed > 150 * 20  # that is, the guesses were good, too


def test_records_of_nothing_but_their_headers_end() -> None:
    sizes = np.zeros(5_000, np.uint32)
    heads, end = chains.follow(sizes, 16, 0, 4_900, np.array([1_600, 3_200], np.int64))
    assert heads.tolist() == list(range(0, 4_900, 16))
    assert end == 4_912


def test_a_guess_that_the_chain_does_not_meet_ends_it() -> None:
    sizes = np.full(5_000, 4, np.uint32)
    heads, end = chains.follow(sizes, 16, 0, 4_900, np.array([401, 3_200], np.int64))
    assert heads.tolist() == list(range(0, 401, 20))
    assert end == 420


def test_sizes_beyond_the_chunk_are_not_followed() -> None:
    sizes = np.full(1_000, 0xFFFF_FFFF, np.uint32)
    assert chains.follow(sizes, 16, 0, 900, np.zeros(0, np.int64))[1] == 16 + 0xFFFF_FFFF
