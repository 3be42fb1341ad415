"""Options of IPv6's extension headers. Where source routes and home addresses lead is held against tshark, in the
conversations' tests.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.packets.routes import HOME_ADDRESS, PAD1, option_at

HOME = bytes([HOME_ADDRESS, 16]) + bytes(range(16))
PADN = b"\x01\x02\0\0"


def header(options: bytes, *, next_header: int = 6) -> bytes:
    """A header of options, of whole units of eight bytes (RFC 8200, section 4.3)."""
    options += bytes([PAD1]) * (-(2 + len(options)) % 8)
    return bytes([next_header, (2 + len(options)) // 8 - 1]) + options


@pytest.mark.parametrize("before", [b"", bytes([PAD1]), PADN, bytes([PAD1]) + PADN + PADN])
def test_an_option_is_found_behind_others(before: bytes) -> None:
    assert option_at(header(before + HOME), HOME_ADDRESS) == 2 + len(before)


def test_what_is_not_there_is_not_found() -> None:
    assert option_at(header(PADN), HOME_ADDRESS) is None
    assert option_at(header(b"\x01\x12" + HOME), HOME_ADDRESS) is None  # it is what another option carries
    assert option_at(header(PADN) + HOME, HOME_ADDRESS) is None  # behind the header


def test_a_header_that_is_cut_has_what_is_left_of_it() -> None:
    whole = header(PADN + HOME)
    assert [option_at(whole[:size], HOME_ADDRESS) for size in range(8)] == [None] * 8
    assert option_at(whole[:8], HOME_ADDRESS) == 6


@given(st.binary(max_size=64), st.integers(1, 255))
def test_whatever_it_says_the_walk_ends_within_it(data: bytes, kind: int) -> None:
    at = option_at(data, kind)
    assert at is None or (at + 1 < len(data) and data[at] == kind)
