"""ss's filter language: what is read, what is refused and where the caret stands, and the kernel's code for it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.sockets.filter_bytecode import compile_bytecode
from echowire.core.sockets.filter_text import MAX_DEPTH, parse_filter
from echowire.core.sockets.filter_tree import And, Comparison, Expression, Host, Not, Or
from echowire.errors import FilterError, UsageError


def shown(one: Expression | None) -> str:
    if isinstance(one, And | Or):
        return (
            f"({' and '.join(map(shown, one.parts))})"
            if isinstance(one, And)
            else f"({' or '.join(map(shown, one.parts))})"
        )
    if isinstance(one, Not):
        return f"not {shown(one.part)}"
    if one is None:
        return ""
    value = one.value
    if isinstance(value, list):
        value = [(host.address.hex(), host.prefix, host.port, host.path) for host in value if isinstance(host, Host)]
    return f"{one.subject}{one.operator}{value}"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("dport = :443", "dport=443"),
        ("dport 443", "dport=443"),
        ("dport eq 443 and sport ge :1024", "(dport=443 and sport>=1024)"),
        (
            "( dport = :443 or dport = :80 ) dst 10.0.0.0/8",
            "((dport=443 or dport=80) and dst=[('0a000000', 8, None, None)])",
        ),
        ("src 10/8 or dst 192.168/16", "(src=[('0a000000', 8, None, None)] or dst=[('c0a80000', 16, None, None)])"),
        ("src 0/0", "src=[('00000000', 0, None, None)]"),
        ("not sport < 1024", "not sport<1024"),
        ("! ( dport = 1 | dport = 2 ) & dev = lo", "(not (dport=1 or dport=2) and dev=lo)"),
        ("a or b", None),
        ("dst [::1]:80", f"dst=[('{'00' * 15}01', 128, 80, None)]"),
        ("dst ::1", f"dst=[('{'00' * 15}01', 128, None, None)]"),
        ("src *:22", "src=[('', 0, 22, None)]"),
        ("src :22", "src=[('', 0, 22, None)]"),
        ("src unix:/run/x*", "src=[('', 0, None, '/run/x*')]"),
        ("src *x.sock or src @y", "(src=[('', 0, None, '*x.sock')] or src=[('', 0, None, '@y')])"),
        ("src inet:10.0.0.1:5", "(src=[('0a000001', 32, 5, None)] and family=4)"),
        ("dst != inet6:[::1]", f"not (dst=[('{'00' * 15}01', 128, None, None)] and family=6)"),
        ("sport inet6::443", "(sport=443 and family=6)"),
        ("src link:arp:lo", "(netid=p_* and protocol=2054 and dev=lo)"),
        ("src netlink:rtnl:kernel", "(netid=nl and protocol=rtnl and local_port=0)"),
        ("dst vsock:2:1024", "(netid=v_* and peer_address=2 and peer_port=1024)"),
        ("fwmark 0x10/0xff", "fwmark=(16, 255)"),
        ("dev lo cgroup /a", "(dev=lo and cgroup=/a)"),
        ("fwmark = 0x10/0xff", "fwmark=(16, 255)"),
        ("rtt > 100ms and retrans > 0", "(tcpi_rtt>100000.0 and tcpi_retrans>0)"),
        ("lastrcv > 1s", None),
        ("last_data_recv > 1s", "tcpi_last_data_recv>1000.0"),
        ("delivery_rate < 8M", "tcpi_delivery_rate<1000000.0"),
        ("bytes_sent >= 64K", "tcpi_bytes_sent>=65536"),
        ("comm = 'my server'", "comm=my server"),
        ("pid = 1234 or user = root", "(pid=1234 or user=root)"),
        ("state = close_wait", "state=CLOSE-WAIT"),
        ("autobound", "autobound=None"),
        ("drops > 0", "skmem_drops>0"),
    ],
)
def test_what_is_read(text: str, tree: str | None) -> None:
    if tree is None:
        with pytest.raises(UsageError):
            parse_filter(text)
    else:
        assert shown(parse_filter(text).expression) == tree


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("state established", 1 << 1),
        ("state ESTAB state time-wait", 1 << 1 | 1 << 6),
        ("exclude listening", 0x2FFF & ~(1 << 10)),
        ("state connected exclude SYN_SENT", 0xB7A),
        ("dport = 1", None),
        ("dport = 1 state time-wait", 0x2FFF),
        ("state established ( dport = 1 or exclude time-wait )", 1 << 1),
    ],
)
def test_states(text: str, states: int | None) -> None:
    assert parse_filter(text).states == states


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("dport = :99999", "'99999' is not a port", 8),
        ("dport : 5", "':' is not a port", 6),
        ("rtt > fast", "'fast' is not a time; write 100ms", 6),
        ("rtr > 1ms", "nothing is called 'rtr'", 0),
        ("( dport = 1", "this parenthesis is not closed", 0),
        ("dport = 1 )", "')' is one too many", 10),
        ("state nowhere", "no state is called 'nowhere'", 6),
        ("dst 10.0.0.0/33", "'/33' is not a prefix; an address has 32 bits", 4),
        ("dst 10.0.0.x", "'10.0.0.x' is not an address", 4),
        ("comm > x", "comm is text", 5),
        ("dport = 1 and", "here must be a test", 13),
        ("comm = 'x", "a quotation mark without its other half", 7),
        ("dst > 10.0.0.1", "dst can only be compared by = and !=", 4),
        ("fwmark = red", "'red' is not a mark", 9),
    ],
)
def test_what_is_wrong_is_told_with_a_caret_under_it(text: str, message: str, column: int) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    assert str(caught.value).startswith(message)
    assert caught.value.pointed == f"    {text}\n    {' ' * column}^"


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "(",
                ")",
                "not",
                "and",
                "or",
                "!",
                "&",
                "dport",
                "sport",
                "=",
                ">",
                ":80",
                "10.0.0.1",
                "dst",
                "state",
                "rtt",
            ]
        )
    ).map(" ".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_filter(text)
    except FilterError as error:
        assert 0 <= error.at <= len(text)
    except UsageError as error:
        assert "characters" in str(error)


def test_deep_nesting_is_refused_or_read() -> None:
    for text in ("(" * 3000 + "dport = 1" + ")" * 3000, "not " * 2000 + "dport = 1"):
        try:
            parse_filter(text)
        except UsageError as error:
            assert "deep" in str(error)


def test_it_may_be_nested_so_deep_and_no_deeper() -> None:
    for depth, is_read in ((MAX_DEPTH - 1, True), (MAX_DEPTH, False)):
        for text in ("(" * depth + "dport = 1" + ")" * depth, "not " * depth + "dport = 1"):
            try:
                parse_filter(text)
            except UsageError as error:
                assert f"more than {MAX_DEPTH} deep" in str(error) and not is_read
            else:
                assert is_read


def run(code: bytes, sport: int, dport: int) -> bool:
    """What the kernel's interpreter does with port tests and jumps (inet_diag_bc_run in net/ipv4/inet_diag.c)."""
    at = 0
    while at < len(code):
        op, size, jump = struct.unpack_from("=BBH", code, at)
        value = struct.unpack_from("=H", code, at + 6)[0] if op != 1 else 0
        holds = {
            1: False,
            2: sport >= value,
            3: sport <= value,
            4: dport >= value,
            5: dport <= value,
            11: sport == value,
            12: dport == value,
        }[op]
        at += size if holds else jump
    return at == len(code)


TESTS = st.builds(
    Comparison,
    st.sampled_from(["sport", "dport"]),
    st.sampled_from(["=", "!=", "<", ">", "<=", ">="]),
    st.integers(1, 4),
)
TREES = st.recursive(
    TESTS,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, min_size=2, max_size=3))
        | st.builds(Or, st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=12,
)


def holds(one: Expression, sport: int, dport: int) -> bool:
    if isinstance(one, Not):
        return not holds(one.part, sport, dport)
    if isinstance(one, And):
        return all(holds(part, sport, dport) for part in one.parts)
    if isinstance(one, Or):
        return any(holds(part, sport, dport) for part in one.parts)
    mine, value = sport if one.subject == "sport" else dport, one.value
    assert isinstance(value, int)
    return {
        "=": mine == value,
        "!=": mine != value,
        "<": mine < value,
        ">": mine > value,
        "<=": mine <= value,
        ">=": mine >= value,
    }[one.operator]


@given(TREES)
def test_the_code_decides_as_the_expression_does(tree: Expression) -> None:
    code, is_exact = compile_bytecode(tree, interfaces={}, cgroups={}, may_mark=False)
    assert is_exact
    for sport in range(6):
        for dport in range(6):
            assert run(code, sport, dport) is holds(tree, sport, dport)


def test_what_the_kernel_does_not_know_is_left_to_the_columns() -> None:
    def compiled(text: str) -> tuple[bytes, bool]:
        expression = parse_filter(text).expression
        assert expression is not None
        return compile_bytecode(expression, interfaces={"lo": 1}, cgroups={"/": 1}, may_mark=False)

    port, _ = compiled("dport = 5")
    assert compiled("dport = 5 and rtt > 1ms") == (port, False)
    assert compiled("dport = 5 or rtt > 1ms") == (b"", False)
    assert compiled("not rtt > 1ms") == (b"", False)
    assert compiled("fwmark = 1 and dport = 5") == (port, False)
    assert compiled("dev = lo")[1] and compiled("cgroup = /")[1]
    assert compiled("not ( dport = 5 and pid = 1 )") == (b"", False)
