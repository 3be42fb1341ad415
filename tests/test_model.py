"""Endpoints as people write them, limits, and events that come back from JSON as they went."""

from __future__ import annotations

import ipaddress
import json
import math
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echowire.errors import UsageError
from echowire.model import (
    DEFAULT_PORT,
    STREAM_TRANSPORTS,
    TRANSPORTS,
    UNIX_PATH_MAX,
    Accepted,
    Closed,
    Endpoint,
    EndpointLike,
    Event,
    Limits,
    Listening,
    Notice,
    Passed,
    Refused,
    Stopped,
    Summary,
    Transport,
    event_from_document,
    is_address,
    is_loopback,
    parse_port,
)

ports = st.integers(0, 65535)
labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_é", min_size=1, max_size=12)
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
zones = st.sampled_from(["", "", "%eth0", "%1", "%wlan-0.5", "%a]"])
v6 = st.builds(lambda address, zone: f"{address}{zone}", st.ip_addresses(v=6), zones)
hosts = st.just("") | names | st.ip_addresses(v=4).map(str) | v6
paths = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=26)  # 26 * 4 bytes fit
inet_endpoints = st.builds(Endpoint, st.sampled_from(["tcp", "tls", "udp"]), host=hosts, port=ports)
unix_endpoints = st.builds(
    Endpoint, st.sampled_from(["unix", "unixgram", "unixseqpacket"]), path=paths | paths.map("/{}".format)
)
endpoints = inet_endpoints | unix_endpoints


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (":7", Endpoint("tcp", "", 7)),
        (":0", Endpoint("tcp", "", 0)),
        ("h:7", Endpoint("tcp", "h", 7)),
        ("127.0.0.1:65535", Endpoint("tcp", "127.0.0.1", 65535)),
        ("[::1]:7", Endpoint("tcp", "::1", 7)),
        ("[::]:7", Endpoint("tcp", "::", 7)),
        ("[fe80::1%eth0]:7", Endpoint("tcp", "fe80::1%eth0", 7)),
        ("[::ffff:127.0.0.1]:7", Endpoint("tcp", "::ffff:127.0.0.1", 7)),
        ("tcp://h:7", Endpoint("tcp", "h", 7)),
        ("udp://239.1.2.3:7", Endpoint("udp", "239.1.2.3", 7)),
        ("udp://239.1.2.3%eth0:7", Endpoint("udp", "239.1.2.3%eth0", 7)),
        ("10.0.0.1@232.1.2.3%eth0:7/udp", Endpoint("udp", "232.1.2.3%eth0", 7, source="10.0.0.1")),
        ("udp://[fd00::1]@[ff3e::8%eth0]:7", Endpoint("udp", "ff3e::8%eth0", 7, source="fd00::1")),
        ("tcp://:7", Endpoint("tcp", "", 7)),
        ("udp://[::1]:7", Endpoint("udp", "::1", 7)),
        ("tls://example.org:443", Endpoint("tls", "example.org", 443)),
        ("unix:/run/echo.sock", Endpoint("unix", path="/run/echo.sock")),
        ("unix:///run/echo.sock", Endpoint("unix", path="/run/echo.sock")),
        ("unix:echo.sock", Endpoint("unix", path="echo.sock")),
        ("unix:@echo", Endpoint("unix", path="@echo")),
        ("unix:a:b", Endpoint("unix", path="a:b")),
        ("unix:////srv/echo", Endpoint("unix", path="//srv/echo")),
        ("unixgram:/run/echo.sock", Endpoint("unixgram", path="/run/echo.sock")),
        ("unixseqpacket:/run/echo.sock", Endpoint("unixseqpacket", path="/run/echo.sock")),
        ("9001", Endpoint("tcp", "127.0.0.1", 9001)),
        ("udp://9001", Endpoint("udp", "127.0.0.1", 9001)),
        ("9001/udp", Endpoint("udp", "127.0.0.1", 9001)),
        ("tcp:7", Endpoint("tcp", "tcp", 7)),
        ("h:007", Endpoint("tcp", "h", 7)),
    ],
)
def test_parse(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("h", "h"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[::1]", "::1"),
        ("tcp://h", "h"),
    ],
)
def test_where_the_text_names_no_port_the_default_holds(text: str, host: str) -> None:
    assert Endpoint.parse(text, port=7) == Endpoint("tcp", host, 7)
    with pytest.raises(UsageError, match="names no port"):
        Endpoint.parse(text)


def test_where_the_text_names_a_port_or_a_transport_the_defaults_do_not_hold() -> None:
    assert Endpoint.parse("h:9", port=7) == Endpoint("tcp", "h", 9)
    assert Endpoint.parse("udp://h:9", transport="tls") == Endpoint("udp", "h", 9)
    assert Endpoint.parse("h:9", transport="udp") == Endpoint("udp", "h", 9)
    assert Endpoint.parse("/run/x", transport="unix") == Endpoint("unix", path="/run/x")
    assert Endpoint.parse("a:b", transport="unixgram") == Endpoint("unixgram", path="a:b")
    assert Endpoint.parse("tcp://h:9", transport="unix") == Endpoint("tcp", "h", 9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (":", "not a port"),
        ("h:", "not a port"),
        ("h:x", "'x' is not a port"),
        ("h:-1", "not a port"),
        ("h:+1", "not a port"),
        ("h: 1", "not a port"),
        ("h:1.0", "not a port"),
        ("h:65536", "0 to 65535"),
        ("h:٧", "not a port"),
        ("h:²", "not a port"),
        ("[::1]:", "not a port"),
        ("[::1]:65536", "not a port"),
        ("[::1]7", "in brackets"),
        ("[::1", "in brackets"),
        ("[h]:7", "not an IPv6 address"),
        ("[127.0.0.1]:7", "not an IPv6 address"),
        ("[]:7", "not an IPv6 address"),
        ("[::1%]:7", "not an IPv6 address"),
        ("1:2:3", "neither host:port nor an IPv6 address"),
        ("http://h:80", "unknown scheme 'http'"),
        ("://h:80", "unknown scheme ''"),
        ("TCP://h:80", "unknown scheme 'TCP'"),
        ("h o:7", "not a host name"),
        ("h/x:7", "not a host name"),
        ("tcp://h:7/x", "not a port"),
        ("h\0:7", "not a host name"),
        ("h\x1b[2J:7", "not a host name"),
        ("unix:", "needs a path"),
        ("unix://", "needs a path"),
        ("unixgram:", "needs a path"),
        ("unix:a\0b", "no NUL"),
        ("unix:\ud800", "surrogate"),
    ],
)
def test_parse_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Endpoint.parse(text)


@pytest.mark.parametrize("text", ["", "tcp://"])
def test_an_empty_text_is_not_every_interface(text: str) -> None:
    with pytest.raises(UsageError):
        Endpoint.parse(text)
    with pytest.raises(UsageError, match="empty"):
        Endpoint.parse(text, port=DEFAULT_PORT)


@pytest.mark.parametrize("transport", ["unix", "unixgram"])
def test_a_unix_path_has_at_most_107_bytes(transport: Transport) -> None:
    for longest in ("x" * UNIX_PATH_MAX, "é" * 53 + "x", "@" + "x" * 106, "\udcff" * 107):
        assert Endpoint.parse(f"{transport}:{longest}").path == longest
        with pytest.raises(UsageError, match="108 bytes"):
            Endpoint.parse(f"{transport}:{longest}x")


def test_the_parts_of_an_endpoint() -> None:
    tcp, v6, every = Endpoint("tcp", "h", 7), Endpoint("udp", "::1", 7), Endpoint("tls", "", 7)
    unix = Endpoint("unix", path="/run/x")
    assert [one.address for one in (tcp, v6, every, unix)] == ["h:7", "[::1]:7", ":7", "/run/x"]
    assert [str(one) for one in (tcp, v6, every, unix)] == ["h:7/tcp", "[::1]:7/udp", ":7/tls", "unix:/run/x"]
    assert [one.url for one in (tcp, v6, every, unix)] == ["tcp://h:7", "udp://[::1]:7", "tls://:7", "unix:/run/x"]
    assert [one for one in TRANSPORTS if Endpoint(one).is_stream] == ["tcp", "tls", "unix", "unixseqpacket"]
    assert [one for one in TRANSPORTS if Endpoint(one).is_unix] == ["unix", "unixgram", "unixseqpacket"]
    assert set(TRANSPORTS) > STREAM_TRANSPORTS


def test_an_endpoint_is_a_value() -> None:
    assert len({Endpoint("tcp", "h", 7), Endpoint.parse("h:7")}) == 1
    with pytest.raises(FrozenInstanceError):
        Endpoint("tcp").port = 7  # type: ignore[misc]


@given(endpoints)
@example(Endpoint("unix", path="//run/x"))
@example(Endpoint("unix", path="//"))
@example(Endpoint("unix", path="unix:x"))
@example(Endpoint("unix", path="tcp://h:7"))
@example(Endpoint("tcp", "unix", 7))
def test_parse_reads_what_url_writes(endpoint: Endpoint) -> None:
    assert Endpoint.parse(endpoint.url) == endpoint
    assert Endpoint.parse(endpoint.url, transport="udp", port=1) == endpoint


pieces = st.sampled_from(
    ["[", "]", ":", "//", "@", "%", "unix", "unixgram", "udp", "::1", "1", "65536", "\0", " ", "."]
)


@given(
    st.text(st.characters(codec=None)) | st.lists(pieces | st.text(max_size=3), max_size=8).map("".join),
    st.sampled_from(TRANSPORTS),
    st.none() | ports,
)
@example("h:" + "0" * 5000 + "7", "tcp", None)
@example("h:" + "9" * 5000, "tcp", None)
@example("unix:\ud800", "tcp", None)
def test_any_text_is_an_endpoint_or_a_usage_error(text: str, transport: Transport, port: int | None) -> None:
    try:
        endpoint = Endpoint.parse(text, transport=transport, port=port)
    except UsageError:
        return
    assert 0 <= endpoint.port <= 65535
    assert bool(endpoint.path) == endpoint.is_unix
    assert Endpoint.parse(endpoint.url) == endpoint


@given(ports, st.integers(0, 12))
@example(0, 0)
@example(65535, 5000)
def test_a_port_is_read_with_zeros_before_it(port: int, zeros: int) -> None:
    assert parse_port("0" * zeros + str(port)) == port


@given(st.integers(min_value=65536), st.integers(0, 12))
@example(999999, 9)
def test_a_greater_number_is_no_port(number: int, zeros: int) -> None:
    with pytest.raises(UsageError, match="not a port"):
        parse_port("0" * zeros + str(number))


@pytest.mark.parametrize("text", ["", " ", "-0", "+1", "1 ", "1_0", "0x7", "1e2", "七"])
def test_what_is_no_number_is_no_port(text: str) -> None:
    with pytest.raises(UsageError, match="not a port"):
        parse_port(text)


@given(st.ip_addresses())
def test_an_address_is_one(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert is_address(str(address))


@pytest.mark.parametrize("host", ["", "h", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "127.1", "01.2.3.4", ":"])
def test_a_name_is_no_address(host: str) -> None:
    assert not is_address(host)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("::ffff:127.0.0.1", True),
        ("::FFFF:7f00:1", True),
        ("localhost", True),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::2", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%lo", False),
        ("127.example.org", False),
        ("127.0.0.1.example.org", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_limits_have_defaults_and_cannot_change() -> None:
    limits = Limits()
    assert (limits.connections, limits.idle_s, limits.queue_bytes) == (10_000, None, 524_288)
    with pytest.raises(FrozenInstanceError):
        limits.connections = 1  # type: ignore[misc]


counters = st.integers(0, 2**64)
seconds = st.floats(0, 1e9)
workers = st.none() | st.integers(0, 256)
times = st.integers(0, 2**63)
summaries = st.builds(
    Summary, **{item.name: seconds if item.name == "longest_s" else counters for item in fields(Summary)}
)


@given(summaries, summaries)
def test_a_sum_adds_counts_and_keeps_the_longest(mine: Summary, theirs: Summary) -> None:
    total = Summary()
    total.add(mine)
    assert total == mine
    total.add(theirs)
    assert total.connections == mine.connections + theirs.connections
    assert total.failed == mine.failed + theirs.failed
    assert total.longest_s == max(mine.longest_s, theirs.longest_s)


events = st.one_of(
    st.builds(Listening, time_ns=times, endpoint=endpoints, engine=names, service=names, worker=workers),
    st.builds(Accepted, time_ns=times, connection=counters, endpoint=endpoints, peer=st.text(), worker=workers),
    st.builds(
        Closed,
        time_ns=times,
        connection=counters,
        endpoint=endpoints,
        peer=st.text(),
        received_bytes=counters,
        sent_bytes=counters,
        seconds=seconds,
        reason=st.text(),
        ok=st.booleans(),
        worker=workers,
    ),
    st.builds(
        Passed,
        time_ns=times,
        connection=st.none() | counters,
        endpoint=endpoints,
        peer=st.text(),
        direction=st.sampled_from(["received", "sent"]),
        data=st.binary(),
        worker=workers,
    ),
    st.builds(Refused, time_ns=times, endpoint=endpoints, peer=st.text(), reason=st.text(), worker=workers),
    st.builds(Notice, time_ns=times, message=st.text(), worker=workers),
    st.builds(Stopped, time_ns=times, summary=summaries, worker=workers),
)


@given(events)
def test_an_event_comes_back_from_json_as_it_went(event: Event) -> None:
    line = json.dumps(event.document(), allow_nan=False)
    assert "\n" not in line
    assert event_from_document(json.loads(line)) == event


def test_every_kind_of_event_comes_back() -> None:
    kinds = {kind.__name__.lower() for kind in Event.__subclasses__()}
    assert kinds == {"listening", "accepted", "passed", "closed", "refused", "notice", "stopped"}
    for kind in kinds:
        with pytest.raises(TypeError):  # known, and incomplete
            event_from_document({"event": kind})


def test_an_event_as_json() -> None:
    event = Accepted(time_ns=1, connection=2, endpoint=Endpoint("tcp", "::1", 7), peer="[::1]:9")
    assert event.kind == "accepted"
    assert event.document() == {
        "event": "accepted",
        "time_ns": 1,
        "connection": 2,
        "endpoint": "tcp://[::1]:7",
        "peer": "[::1]:9",
        "worker": None,
    }
    stopped = Stopped(time_ns=1, summary=Summary(connections=3)).document()
    assert stopped["summary"]["connections"] == 3


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, KeyError),
        ({"event": "dance"}, KeyError),
        ({"event": "notice"}, TypeError),
        ({"event": "notice", "time_ns": 1, "message": "x", "more": 1}, TypeError),
        ({"event": "stopped", "time_ns": 1, "summary": {"dances": 1}}, TypeError),
        ({"event": "refused", "time_ns": 1, "endpoint": "h", "peer": "", "reason": ""}, UsageError),
    ],
)
def test_another_document_is_no_event(document: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        event_from_document(document)


def test_a_document_is_not_used_up() -> None:
    document = Notice(time_ns=1, message="x").document()
    event_from_document(document)
    assert document["event"] == "notice"


def test_no_default_is_beyond_reason() -> None:
    limits = Limits()
    assert limits.datagrams_per_s and math.isfinite(limits.datagrams_per_s)


@given(endpoints)
@example(Endpoint("tcp", "unix", 7))
@example(Endpoint("udp", "unixgram", 7))
@example(Endpoint("unix", path="//srv/a/tcp"))
@example(Endpoint("unix", path="a:1/udp"))
@example(Endpoint("tls", "", 0))
def test_what_str_says_is_read_back(endpoint: Endpoint) -> None:
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert Endpoint.of(str(endpoint)) == endpoint
    assert Endpoint.of(endpoint) is endpoint


@given(hosts, ports)
def test_an_address_as_sockets_have_it_is_an_endpoint(host: str, port: int) -> None:
    assert Endpoint.of((host, port), transport="udp") == Endpoint("udp", host, port)


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        (("::1", 7, 0, 0), Endpoint("tcp", "::1", 7)),
        (("fe80::1", 7, 0, 2), Endpoint("tcp", "fe80::1%2", 7)),
        (("fe80::1%eth0", 7, 0, 2), Endpoint("tcp", "fe80::1%eth0", 7)),
        (7, Endpoint("tcp", "127.0.0.1", 7)),
        (0, Endpoint("tcp", "127.0.0.1", 0)),
        (Path("/run/echo.sock"), Endpoint("unix", path="/run/echo.sock")),
        ("h:7/udp", Endpoint("udp", "h", 7)),
    ],
)
def test_what_else_is_an_endpoint(given: EndpointLike, endpoint: Endpoint) -> None:
    assert Endpoint.of(given) == endpoint


@pytest.mark.parametrize(
    "given",
    [None, True, 1.5, b"127.0.0.1:7", ["h", 7], ("h",), ("h", "7"), (1, 2), (b"h", 7), (), {1: 2}, "é" * 500 + "\n"],
    ids=repr,
)
def test_what_is_no_endpoint_is_refused_in_one_line(given: object) -> None:
    with pytest.raises(UsageError) as refused:
        Endpoint.of(given)  # type: ignore[arg-type]
    line = str(refused.value)
    assert line.isprintable()
    assert isinstance(given, str) or ("(host, port)" in line and len(line) < 250)


@pytest.mark.parametrize("port", [-1, 65536, 10**20])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match="a port is a number from 0 to 65535"):
        Endpoint.of(port)
    with pytest.raises(UsageError, match="a port is a number from 0 to 65535"):
        Endpoint.of(("h", port))
