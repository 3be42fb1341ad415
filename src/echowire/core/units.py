"""Durations, byte counts and rates as people write them: `300ms`, `64K`, `10M`.

Durations are seconds (a bare number) or a sequence of number and unit. Byte counts are binary (`64K` is 65,536),
rates are decimal (`10M` is 10,000,000), as `docs/` and every verb's `--help` say.
"""

from __future__ import annotations

import math
import re

from echowire.errors import UsageError

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_STEPS = ("", "k", "m", "g", "t")
_NUMBER = r"([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})"  # so long that nobody is refused, and no float overflows
_DURATION_PART = re.compile(rf"{_NUMBER}\s*(ns|us|µs|ms|s|m|h|d)")
_QUANTITY = re.compile(rf"{_NUMBER}\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_RATE = re.compile(rf"{_NUMBER}\s*([kmgt]?)(?:bits?(?:/s|ps)?|bps|/s|ps)?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds of `text`: `0.3`, `300ms`, `1m30s`. Raises `UsageError` on anything else, and on a negative one."""
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        rest = _DURATION_PART.sub("", text)
        if not text or rest.strip():
            raise UsageError(f"'{text}' is not a duration; write 300ms, 5s, 1m30s or a number of seconds") from None
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if not math.isfinite(seconds) or seconds < 0:
        raise UsageError(f"'{text}' is not a duration; it must be finite and not negative")
    return seconds


def parse_size(text: str) -> int:
    """Bytes of `text`, binary units: `64K` is 65,536. Raises `UsageError`."""
    match = _QUANTITY.fullmatch(text.strip())
    if not match:
        raise UsageError(f"'{text}' is not a number of bytes; write 1000, 64K or 1M (binary units)")
    factor: int = 1024 ** _STEPS.index(match[2].lower())
    return int(match[1]) * factor if match[1].isdigit() else round(float(match[1]) * factor)  # whole ones are exact


def parse_rate(text: str) -> float:
    """A rate in units a second, decimal: `10M` is 10,000,000; `/s` may follow. Raises `UsageError`."""
    match = _RATE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"'{text}' is not a rate; write 5000, 5000/s or 10M (decimal units)")
    factor: int = 1000 ** _STEPS.index(match[2].lower())
    return float(match[1]) * factor


def format_duration(seconds: float | None) -> str:
    """`seconds` with three significant digits and the unit that fits: `12.3 µs`, `1.50 s`; `?` for None."""
    if seconds is None:
        return "?"
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    for factor, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        digits = _three_digits(seconds * factor)
        if float(digits) < 1000:  # 999.9 ns is 1.00 µs
            return f"{digits} {unit}"
    return f"{_three_digits(seconds)} s"


def format_size(count: int) -> str:
    """`count` bytes in binary units: `1 byte`, `512 bytes`, `64 KiB`, `1.50 MiB`."""
    if count < 1024:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    value, units = float(count), ("KiB", "MiB", "GiB", "TiB")
    for unit in units:
        value /= 1024
        shown = f"{value:.2f}".removesuffix(".00")
        if float(shown) < 1024 or unit == units[-1]:  # 1023.999 KiB is 1 MiB
            break
    return f"{shown} {unit}"


def _three_digits(value: float) -> str:
    # 9.995 is the least that two decimals would round to four digits, 99.95 likewise.
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def micro(nanoseconds: float | None) -> float | None:
    """`nanoseconds` as microseconds, to the nanosecond: as JSON has times that were measured."""
    return None if nanoseconds is None else round(nanoseconds / 1e3, 3)
