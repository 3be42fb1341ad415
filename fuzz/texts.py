"""Feed what people type to what reads it: display filters, socket filters, endpoints, durations and sizes.

    python -m fuzz.texts [RUNS=200000] [SEED=0] [display socket endpoint quantity]

Hypothesis draws the texts, a third of each: pieces of the language in any order, something that is right and was then
damaged, and any characters at all. Each is understood, or refused by the one error that says so, in one line. A display
filter that is understood is also used on packets, as what it compiles to can fail only then.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from echowire.core.filters.packet_filter import PacketFilter
from echowire.core.filters.parse import parse_filter
from echowire.core.packets.dissect import Dissector
from echowire.core.sockets.filter_bytecode import compile_bytecode
from echowire.core.sockets.filter_text import parse_filter as parse_socket_filter
from echowire.core.units import parse_duration, parse_rate, parse_size
from echowire.errors import FilterError, UsageError
from echowire.model import Endpoint
from fuzz.packets import made_here, records_of

KNOWN = [
    line
    for line in (Path(__file__).parents[1] / "tests" / "display_filters.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
"""Display filters of every form, which the tests hold against tshark."""

DISPLAY = [
    "tcp",
    "ip.src",
    "tcp.port",
    "eth.src",
    "frame",
    "frame.time",
    "http.host",
    "dns.qry.name",
    "tcp.flags.syn",
    "ip.addr",
    "udp",
    "==",
    "!=",
    "===",
    "!==",
    ">",
    "<=",
    "eq",
    "contains",
    "matches",
    "in",
    "not_in",
    "{",
    "}",
    "(",
    ")",
    "[0:2]",
    "[-1]",
    "[",
    "]",
    "#1",
    "#[1-2]",
    "&&",
    "||",
    "^^",
    "!",
    "not",
    "&",
    "+",
    "-",
    "*",
    "/",
    "%",
    "80",
    "0x1f",
    "-1",
    "1e9",
    "10.0.0.1",
    "::1",
    "10.0.0.0/8",
    "00:11:22:33:44:55",
    '"a"',
    '"a\\x00"',
    'r"\\d+"',
    "'c'",
    "..",
    ",",
    "len",
    "upper",
    "lower",
    "count",
    "max",
    "min",
    "abs",
    "string",
    "all",
    "any",
]
SOCKET = [
    "state",
    "established",
    "listening",
    "all",
    "connected",
    "synchronized",
    "bucket",
    "big",
    "sport",
    "dport",
    "src",
    "dst",
    "=",
    "==",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "eq",
    "and",
    "or",
    "not",
    "!",
    "&",
    "|",
    "(",
    ")",
    ":443",
    ":http",
    "10.0.0.0/8",
    "[::1]:22",
    "*",
    "*:*",
    "unix:*",
    "@name",
    "65536",
    "-1",
    "dev",
    "lo",
    "fwmark",
    "0x1/0x3",
    "cgroup",
    "autobound",
    "pid",
    "process",
    "uid",
    "retrans",
    "rtt",
    ">1ms",
]
ENDPOINT = [
    "tcp://",
    "udp://",
    "tls://",
    "unix:",
    "unixgram:",
    "//",
    "/",
    ":",
    "[",
    "]",
    "::1",
    "[::1]",
    "127.0.0.1",
    "localhost",
    "%",
    "eth0",
    "*",
    "0",
    "7",
    "65535",
    "65536",
    "@",
    "a",
    ".",
    "é",
]
QUANTITY = [
    "0",
    "1",
    "12",
    "1.5",
    ".5",
    "1e3",
    "-1",
    "+",
    "ns",
    "us",
    "µs",
    "ms",
    "s",
    "m",
    "h",
    "d",
    "k",
    "K",
    "M",
    "G",
    "T",
    "i",
    "b",
    "B",
    "bit",
    "/s",
    "pps",
    "%",
    "inf",
    "nan",
    "_",
    "٣",
    "",
]

Check = Callable[[str], bool]
RECORDS = records_of(made_here())


def display(text: str) -> bool:
    """Whether it is understood."""
    try:
        parse_filter(text)
        compiled = PacketFilter.of([text])
    except FilterError as error:
        assert 0 <= error.at <= len(text)
        assert "\n" not in str(error)
        return False
    assert len(compiled.mask(Dissector(compiled.fields).dissect(RECORDS))) == len(RECORDS)
    return True


def of_sockets(text: str) -> bool:
    """Whether it is understood."""
    try:
        parsed = parse_socket_filter(text, resolve=lambda name: [bytes(4)], service={"http": 80}.get)
        if parsed.expression is not None:
            compile_bytecode(parsed.expression, interfaces={}, cgroups={}, may_mark=False)
    except UsageError as error:
        assert "\n" not in str(error)
        return False
    return True


def endpoint(text: str) -> bool:
    """Whether it is one; then its text is read as the same again."""
    try:
        found = Endpoint.parse(text, port=12345)
    except UsageError as error:
        assert str(error).isprintable()
        return False
    assert Endpoint.parse(str(found)) == found
    return True


def quantity(text: str) -> bool:
    """Whether it is a duration, a size or a rate."""
    understood = False
    for parse in (parse_duration, parse_size, parse_rate):
        try:
            value = parse(text)
        except UsageError:
            continue
        assert math.isfinite(value)
        assert value >= 0
        understood = True
    return understood


def damaged(known: list[str]) -> st.SearchStrategy[str]:
    """One of `known`, of which a part is gone, doubled, or another."""

    def damage(text: str, at: int, size: int, instead: str) -> str:
        at %= len(text) + 1
        return text[:at] + instead + text[at + size :]

    return st.builds(damage, st.sampled_from(known), st.integers(0, 200), st.integers(0, 4), st.text(max_size=3))


def texts(pieces: list[str], known: list[str], joint: str) -> st.SearchStrategy[str]:
    """A third each: pieces in any order, what is right and was damaged, and anything."""
    return st.lists(st.sampled_from(pieces), max_size=12).map(joint.join) | damaged(known) | st.text(max_size=40)


KINDS: Mapping[str, tuple[Check, st.SearchStrategy[str]]] = {
    "display": (display, texts(DISPLAY, KNOWN, " ")),
    "socket": (of_sockets, texts(SOCKET, ["state established ( dport = :443 or sport = :22 ) dst 10.0.0.0/8"], " ")),
    "endpoint": (
        endpoint,
        texts(ENDPOINT, ["tcp://[::1]:7", "localhost:9000/udp", "unix:/tmp/a.sock", "[fe80::1%eth0]:9"], ""),
    ),
    "quantity": (quantity, texts(QUANTITY, ["1m30s", "300ms", "1.5G", "64K", "10M/s"], "")),
}


def run(kind: str, runs: int, start: int) -> int:
    """Try so many texts of a kind; how many were understood. Raises what was not foreseen, with the shortest text."""
    check, strategy = KINDS[kind]
    understood = 0

    @seed(start)
    @settings(
        max_examples=runs,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def attempt(text: str) -> None:
        nonlocal understood
        understood += check(text)

    attempt()
    return understood


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    kinds = [word for word in sys.argv[1:] if not word.isdigit()] or list(KINDS)
    if len(numbers) > 2 or not set(kinds) <= set(KINDS):
        sys.exit(f"usage: {Path(sys.argv[0]).name} [RUNS] [SEED] [{' '.join(KINDS)}]")
    count, first = numbers + [200_000, 0][len(numbers) :]
    for name in kinds:
        began = time.monotonic()
        print(
            f"{name}: {run(name, count, first):,} of {count:,} understood, {time.monotonic() - began:.0f} s", flush=True
        )
