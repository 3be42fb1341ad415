"""The language of display filters: what is understood, what is refused, and where it points."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.filters.parse import MAX_DEPTH, parse_filter
from echowire.core.filters.regex import compiled
from echowire.core.filters.syntax import MAX_FILTER, tokens, unescaped
from echowire.core.filters.tree import Compare, Constant, FieldValues, Joined, Not, Present, Range, Slice, fields_of
from echowire.errors import FilterError
from tests.compare_filters import filters


def test_a_comparison() -> None:
    tree = parse_filter("ip.src == 10.1.2.3/8")
    assert isinstance(tree, Compare)
    assert isinstance(tree.left, FieldValues)
    assert tree.left.name == "ip.src"
    assert tree.right == Constant("ipv4", 0x0A000000, 0x0AFFFFFF)


def test_what_binds_more() -> None:
    tree = parse_filter("tcp || !udp && ip xor arp")
    assert isinstance(tree, Joined)
    assert tree.sign == "||"
    inner = tree.parts[1]
    assert isinstance(inner, Joined)
    assert inner.sign == "^^"
    innermost = inner.parts[0]
    assert isinstance(innermost, Joined)
    assert isinstance(innermost.parts[0], Not)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("[0:2]", (Range(0, 1),)),
        ("[1-2]", (Range(1, 2),)),
        ("[:4]", (Range(0, 3),)),
        ("[4:]", (Range(4, None),)),
        ("[3]", (Range(3, 3),)),
        ("[-2:]", (Range(-2, None),)),
        ("[-3:2]", (Range(-3, -2),)),
        ("[-2:2]", (Range(-2, -1),)),
        ("[0,2:2]", (Range(0, 0), Range(2, 3))),
    ],
)
def test_slices(text: str, ranges: tuple[Range, ...]) -> None:
    tree = parse_filter(f"eth.src{text}")
    assert isinstance(tree, Present)
    assert isinstance(tree.operand, Slice)
    assert tree.operand.ranges == ranges


@pytest.mark.parametrize(
    ("literal", "value"),
    [("80", 80), ("0x50", 80), ("0120", 80), ("0b1010000", 80), ("'P'", 80), ("'\\x50'", 80), ("'\\120'", 80)],
)
def test_numbers(literal: str, value: int) -> None:
    tree = parse_filter(f"tcp.port == {literal}")
    assert isinstance(tree, Compare)
    assert tree.right == Constant("number", value, value)


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("ip.srcc == 1.2.3.4", 0, "did you mean ip.src?"),
        ("tcp.port == ", 11, "ends too soon"),
        ("tcp.port == 70000", 12, "maximum 65535"),
        ("tcp.port == -1", 13, "minimum 0"),
        ("tcp.port == x", 12, "not a valid number"),
        ("ip.src == 1.2.3", 10, "not a valid IPv4 address"),
        ("ip.src == 1.2.3.4/33", 10, "at most 32"),
        ("ip.src == \"1.2.3.4\"", 10, "without quotes"),
        ("eth.src == 00:11", 11, "2 bytes"),
        ("tcp tcp", 4, "unexpected"),
        ("(tcp", 4, "')' is wanted"),
        ("tcp)", 3, "unexpected"),
        ("tcp.port in {80 90}", 16, "'}' is wanted"),
        ("tcp.port[0] == 1", 0, "no bytes"),
        ("eth.src[2-1]", 7, "ends before"),
        ("eth.src[0:0]", 7, "must be positive"),
        ("ip.src#0", 6, "from 1"),
        ("tcp.port == ip.src", 12, "cannot be compared"),
        ("tcp matches \"a(\"", 12, "no regular expression"),
        ("tcp.port matches \"8\"", 0, "texts and bytes"),
        ("lenn(tcp) > 1", 0, "did you mean len?"),
        ("upper(tcp.port) == \"A\"", 6, "not for a number"),
        ("len(tcp)", 0, "must be compared"),
        ("\"a\" == \"b\"", 0, "nothing that a packet has"),
        ("1 == 1", 0, "neither a field"),
        ("80 -1", 0, "without any field"),
        ("tcp && 80 - 1 == 79", 7, "without any field"),
        ("1 + 2 in {3}", 0, "without any field"),
        ("frame.time < \"\n\"", 13, "\"\\n\" is not a valid time"),
        ("frame.time > 5x", 13, "not a valid time"),
        ("frame.time > \"2020-13-01\"", 13, "not a valid time"),
        ("tcp == \"abc", 7, "does not end"),
        ("tcp ; udp", 4, "not understood"),
        ("all tcp", 7, "said of a comparison"),
        ("", 0, "ends too soon"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(text: str, at: int, said: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    assert said in str(caught.value)
    assert caught.value.at == at
    assert caught.value.pointed.splitlines()[1].index("^") == at + 4


def test_depth_and_length_are_limited() -> None:
    parse_filter("(" * (MAX_DEPTH - 1) + "tcp" + ")" * (MAX_DEPTH - 1))
    for text in ("(" * 5000 + "tcp" + ")" * 5000, "!" * 5000 + "tcp", "tcp.port == " + "-" * 5000 + "1",
                 "tcp.port" + " + 1" * 5000 + " == 1", "eth.src" + "[0:1]" * 5000):  # fmt: skip
        with pytest.raises(FilterError, match="levels"):
            parse_filter(text)
    with pytest.raises(FilterError, match="at most"):
        tokens("a" * (MAX_FILTER + 1))


def test_a_long_list_is_no_depth() -> None:
    tree = parse_filter(" || ".join(f"tcp.port == {port}" for port in range(2000)))
    assert fields_of(tree) == {"tcp.port"}


def test_the_filters_that_are_held_against_tshark_are_understood() -> None:
    assert len(filters()) >= 200
    for text in filters():
        parse_filter(text)


@pytest.mark.parametrize(
    ("pattern", "data", "found"),
    [
        ("ABC", b"xabc", True),
        (r"^\d+$", b"12a", False),
        ("[[:alpha:]]{3}", b"12abc", True),
        (r"\Qa.b\E", b"axb", False),
        (r"(?<name>a)\h", b"a ", True),
        ("\\xff", b"\xff", True),
    ],
)
def test_regular_expressions(pattern: str, data: bytes, found: bool) -> None:
    assert (compiled(pattern).search(data) is not None) is found


PIECES = [
    "tcp", "ip.src", "tcp.port", "eth.src", "frame", "frame.time", "http.host", "==", "!=", "contains", "matches", "in",
    "{", "}", "(", ")", "[0:2]", "[", "]", "#1", "#[1-2]", "&&", "||", "!", "not", "&", "+", "-", "*", "/", "%", "80",
    "0x", "10.0.0.1", "10.0.0.0/8", "00:11:22:33:44:55", '"a"', 'r"\\d"', "'c'", "..", ",", "len", "max", "all", "any",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join) | st.text(max_size=20))
@settings(max_examples=400)
def test_whatever_is_typed_is_understood_or_refused(text: str) -> None:
    try:
        parse_filter(text)
    except FilterError as error:
        assert 0 <= error.at <= len(text)
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (r"\x9", "\t"),
        (r"\x41", "A"),
        (r"\xff", "\udcff"),
        (r"\101", "A"),
        (r"\n", "\n"),
        (r"\"", '"'),
        (r"\u00e9", "é"),
        (r"\x", "x"),
    ],
)
def test_what_a_backslash_means(typed: str, meant: str) -> None:
    assert unescaped(typed) == meant
