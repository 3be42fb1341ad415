"""Durations, byte counts and rates, as people write them and as they are shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echowire.core.units import format_duration, format_size, parse_duration, parse_rate, parse_size
from echowire.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("5", 5.0),
        ("0.3", 0.3),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("0s", 0.0),
        ("1ns", 1e-9),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("300ms", 0.3),
        ("1s", 1.0),
        ("1m", 60.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("1m30s", 90.0),
        ("1m 30s", 90.0),
        ("1h1m1s1ms", 3661.001),
        (" 5 s ", 5.0),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "-1", "-1s", "1x", "1s2", "5min", "1 2s", "1.5.5s", "1s-1s", "nan", "inf", "-inf", "1e999", "1S"],
)
def test_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1", 1),
        ("1000", 1000),
        ("1b", 1),
        ("1K", 1024),
        ("1k", 1024),
        ("64K", 65_536),
        ("64KB", 65_536),
        ("64KiB", 65_536),
        ("64 KiB", 65_536),
        ("1.5k", 1536),
        (".5k", 512),
        ("1M", 1024**2),
        ("1g", 1024**3),
        ("1T", 1024**4),
        (" 7 ", 7),
        ("9007199254740993", 9_007_199_254_740_993),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_a_byte_count(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "K", "-1", "+1", "1P", "1e3", "1.2.3", "1,000", "0x10", "nan", "inf", "9" * 5000])
def test_no_byte_count(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number of bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0", 0.0),
        ("5000", 5e3),
        ("5000/s", 5e3),
        ("1k", 1e3),
        ("10M", 1e7),
        ("10Mbit", 1e7),
        ("10Mbit/s", 1e7),
        ("10Mbits/s", 1e7),
        ("10Mbps", 1e7),
        ("10M/s", 1e7),
        ("2.5G", 2.5e9),
        ("1T", 1e12),
    ],
)
def test_a_rate(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "M", "-1", "1/m", "1e3", "nan", "inf", "10MB/s", "10bips", "9" * 400])
def test_no_rate(text: str) -> None:
    with pytest.raises(UsageError, match="is not a rate"):
        parse_rate(text)


quantities = st.text(st.sampled_from("0123456789.kKmMgTbi/psnuµhd -+e_٣"), max_size=12) | st.text(
    st.characters(codec=None)
)


@given(quantities)
@example("9" * 400 + "s")
@example("9" * 5000)
def test_any_text_is_a_finite_quantity_or_a_usage_error(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_rate):
        try:
            value = parse(text)
        except UsageError as error:
            assert "\n" not in text or str(error)
        else:
            assert math.isfinite(value)
            assert value >= 0


@given(st.integers(0, 10**30 - 1), st.sampled_from(["", "K", "M", "G", "T"]))
def test_whole_byte_counts_are_exact(count: int, unit: str) -> None:
    assert parse_size(f"{count}{unit}") == count * 1024 ** "KMGT".find(unit or "K") * (1024 if unit else 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0, "0.00 ns"),
        (1e-9, "1.00 ns"),
        (12.34e-9, "12.3 ns"),
        (999.4e-9, "999 ns"),
        (999.9e-9, "1.00 µs"),
        (1e-6, "1.00 µs"),
        (9.999e-6, "10.0 µs"),
        (99.99e-6, "100 µs"),
        (12.3e-6, "12.3 µs"),
        (1e-3, "1.00 ms"),
        (0.9999, "1.00 s"),
        (1.5, "1.50 s"),
        (3600, "3600 s"),
        (-12.3e-6, "-12.3 µs"),
    ],
)
def test_a_duration_is_shown(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(1e-9, 999))
def test_what_is_shown_has_three_digits_and_is_read_back(seconds: float) -> None:
    text = format_duration(seconds)
    assert len(text.split()[0].replace(".", "")) == 3
    assert parse_duration(text) == pytest.approx(seconds, rel=0.005)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (2, "2 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.50 KiB"),
        (65_536, "64 KiB"),
        (1024**2 - 1, "1 MiB"),
        (1024**2, "1 MiB"),
        (3 * 1024**2 // 2, "1.50 MiB"),
        (1024**3, "1 GiB"),
        (1024**4, "1 TiB"),
        (1024**5, "1024 TiB"),
    ],
)
def test_a_byte_count_is_shown(count: int, text: str) -> None:
    assert format_size(count) == text


@given(st.integers(1024, 1024**5))
def test_a_shown_byte_count_is_read_back(count: int) -> None:
    assert parse_size(format_size(count)) == pytest.approx(count, rel=0.005)
