"""Names for files: safe in any directory, short enough, and each there once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.reports.export_names import MAX_NAME_BYTES, Names, safe_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.html", "a.html"),
        ("../../etc/passwd", "..%2f..%2fetc%2fpasswd"),
        ("..", "%2e%2e"),
        (".", "%2e"),
        ("", "%"),
        ("/", "%2f"),
        ("a\0b\nc\x7f", "a%00b%0ac%7f"),
        ('<>:"\\|?*', "%3c%3e%3a%22%5c%7c%3f%2a"),
    ],
)
def test_names_are_safe(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_numbers_go_before_the_extension() -> None:
    names = Names()
    assert [names.following("a.tar.gz") for _ in range(3)] == ["a.tar.gz", "a.tar(1).gz", "a.tar(2).gz"]
    assert [names.following("a") for _ in range(2)] == ["a", "a(1)"]


@given(st.text(max_size=400), st.integers(0, 10**6))
def test_no_name_leads_elsewhere_or_is_too_long(text: str, number: int) -> None:
    name = safe_name(text, number)
    assert name
    assert name not in (".", "..")
    assert "/" not in name
    assert "\0" not in name
    assert len(name.encode()) <= MAX_NAME_BYTES
