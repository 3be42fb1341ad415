"""`matches`: what a pattern finds, in an engine that takes no longer than the text is long, and what it refuses."""

from __future__ import annotations

import re
from itertools import product

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.filters.parse import parse_filter
from echowire.core.filters.regex import BeyondLinearError, compiled
from echowire.core.sockets.filter_columns import _text_matcher
from echowire.errors import FilterError

HOSTILE = ["(a|aa)+b", "(a+)+b", "(a*)*b", "(.*a){20}b", "(a|a?)+b", r"(\w+\s*)+:", "^(([a-z])+.)+[0-9]([a-z])+$"]

SHARED = [
    r"\.(html|php)", "^www", "COM$", "[0-9]", r"^[a-z]+\.", "(com|net|org)$", "^eth:.*:udp", r"get\s/INDEX", "a.c",
    "^$",
    r"\bget\b", r"\Bx", "(?-i:GET)", "(?s)a.b", "(?m)^b$", r"[^\s]", r"[\d.]+$", "a{2,3}", "a??b", r"\x41",
    r"[\x80-\xff]",
    r"\AGET", r"(?:ab)+", r"(?P<name>x)y", r"[]x]", r"[^]x]", r"[a\]]", r"\[", r"a|", "é", r"\0", r"\t", r"[\w-]+@",
]  # fmt: skip
"""Of which Python's engine, over bytes, says the same: PCRE, Python and RE2 agree on them."""


def finds(pattern: str, data: bytes) -> bool:
    return compiled(pattern).search(data) is not None


@pytest.mark.parametrize("pattern", SHARED)
@given(
    data=st.one_of(st.binary(max_size=40), st.text("aAbBcCxXyY.é \n\r\t:/wGETgetcom-@[]1", max_size=40).map(str.encode))
)
def test_what_is_found_is_what_pythons_engine_finds(pattern: str, data: bytes) -> None:
    assert finds(pattern, data) == (re.search(pattern.encode(), data, re.IGNORECASE) is not None)


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        (r"\h", b"a\tb", b"a\nb"),
        (r"[\h]x", b" x", b"\nx"),
        (r"\H", b" a", b" \t"),
        (r"\s", b"\x0b", b"a"),
        (r"[\s]", b"\x0b", b"a"),
        (r"a\Rb", b"a\r\nb", b"ab"),
        (r"a\Z", b"a\n", b"ab"),
        (r"a\z", b"a", b"a\n"),
        (r"a$", b"ba\n", b"a\nb"),
        (r"[$]a", b"$a", b"a"),
        (r"\$a", b"$a", b"a"),
        (r"\Qa.b$\E", b"A.B$", b"axb"),
        (r"\e\[", b"\x1b[", b"e["),
        (r"\cA", b"\x01", b"A"),
        (r"[[:alpha:]]", b"1a", b"12"),
        (r"[[:^alpha:]]", b"a1", b"ab"),
        (r"[x[:digit:]y]$", b"1", b"a"),
        (r"[[]", b"[", b"a"),
        (r"[a[]b", b"[b", b"cb"),
        (r"(?<name>a)b", b"ab", b"a"),
        (r"\N+$", b"ab", b"\n"),
        ("É", "É".encode(), "é".encode()),  # only ASCII has two cases
        (r"k", b"K", "\u212a".encode()),
        (r"\xe9", b"\xe9", b"\xc9"),
        ("\udcff", b"\xff", b"\xfe"),
    ],
)
def test_pcres_spellings(pattern: str, found: bytes, not_found: bytes) -> None:
    assert finds(pattern, found)
    assert not finds(pattern, not_found)


@pytest.mark.parametrize("pattern", HOSTILE)
def test_a_pattern_that_others_never_end_with(pattern: str) -> None:
    assert isinstance(compiled(pattern), re2._Regexp)  # whose searches are linear, whatever the pattern
    for size in (30_000, 60_000, 1_000_000):
        assert not finds(pattern, b"a" * size)


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"(a)\1", "back-references (\\1)"),
        (r"(?P<n>a)(?P=n)", "back-references ((?P=)"),
        (r"(?<n>a)\k<n>", "back-references (\\k)"),
        ("(?=a)b", "look-around ((?=)"),
        ("a(?!b)", "look-around ((?!)"),
        ("(?<=a)b", "look-around ((?<=)"),
        ("(?<!a)b", "look-around ((?<!)"),
        ("(?>a)b", "atomic groups ((?>)"),
        ("a++b", "possessive quantifiers (++)"),
        ("a{2}+b", "possessive quantifiers ({2}+)"),
        ("a(?#b)", "comments ((?#)"),
        ("(a)?(?(1)b|c)", "conditions ((?()"),
        ("a(?R)?b", "recursion ((?R)"),
        ("a{1001}", "too large"),
        ("((a{1,100}){1,100}){1,100}", "too large"),
    ],
)
@pytest.mark.parametrize("operator", ["matches", "~"])
def test_what_is_not_linear_is_refused_with_its_place(pattern: str, what: str, operator: str) -> None:
    with pytest.raises(BeyondLinearError, match=re.escape(what)):
        compiled(pattern)
    with pytest.raises(FilterError) as refused:
        parse_filter(f'http.host {operator} r"{pattern}"')
    assert what in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    text, caret = refused.value.pointed.splitlines()
    assert caret.index("^") == text.index('r"')


@pytest.mark.parametrize("pattern", [r"[+]+", r"[(?=]", r"\+\+", r"\(\?=", r"\Q(?=a)++\E", r"a\x2b+", "a}+"])
def test_what_only_looks_like_it_is_taken(pattern: str) -> None:
    compiled(pattern)


@pytest.mark.parametrize("pattern", ["a(", "[a", "*a", r"\q", "[[:nothing:]]", "(?<a", "a**", "\\"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError):
        compiled(pattern)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_pattern_of_stars_is_what_a_regular_expression_is(wanted: str, text: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, wanted.split("*"))), text) is not None
    assert _text_matcher(wanted)(text) == expected


def test_many_stars_end() -> None:
    for stars, size in product((10, 100), (1_000, 10_000)):
        assert not _text_matcher("*a" * stars + "*b*c")("a" * size + "b")
