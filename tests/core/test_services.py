"""The small services, against what their RFCs print and against the standard library's calendar."""

from __future__ import annotations

import struct
from calendar import day_name, month_name
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.services import (
    ANSWERING_PORTS,
    CHARGEN,
    CHARGEN_DATAGRAM_MAX,
    CHARGEN_PATTERN,
    DAYTIME,
    DISCARD,
    ECHO,
    QOTD,
    QUOTES,
    SERVICES,
    STAMP,
    TIME,
    Flow,
    Service,
    service_named,
)
from echowire.errors import UsageError

moments = st.floats(0, 4_102_444_800)  # to the year 2100
datagrams = st.binary(max_size=2048)


@pytest.mark.parametrize(
    ("service", "name", "port", "rfc", "flow"),
    [
        (ECHO, "echo", 7, 862, Flow.ECHO),
        (DISCARD, "discard", 9, 863, Flow.SINK),
        (CHARGEN, "chargen", 19, 864, Flow.SOURCE),
        (QOTD, "qotd", 17, 865, Flow.ONCE),
        (DAYTIME, "daytime", 13, 867, Flow.ONCE),
        (TIME, "time", 37, 868, Flow.ONCE),
        (STAMP, "stamp", 862, 8762, Flow.REFLECT),
    ],
)
def test_each_service_is_what_its_rfc_says(service: Service, name: str, port: int, rfc: int, flow: Flow) -> None:
    assert (service.name, service.port, service.rfc, service.flow) == (name, port, rfc, flow)
    assert service_named(name) is service


def test_no_service_is_missing_from_the_tests_or_sends_what_its_flow_does_not() -> None:
    assert list(SERVICES) == ["echo", "discard", "chargen", "qotd", "daytime", "time", "stamp"]
    for service in SERVICES.values():
        assert bool(service.pattern) == (service.flow is Flow.SOURCE)
        assert bool(service.message(0.0)) == (service.flow is Flow.ONCE)


@pytest.mark.parametrize("name", ["", "Echo", "echo ", "dance"])
def test_an_unknown_service_is_answered_with_their_names(name: str) -> None:
    with pytest.raises(UsageError, match="one of echo, discard, chargen, qotd, daytime, time, stamp"):
        service_named(name)


@given(datagrams, moments)
def test_echo_answers_the_datagram_and_discard_none(data: bytes, now: float) -> None:
    assert ECHO.datagram(data, now) == data
    assert DISCARD.datagram(data, now) is None


# RFC 864, "Data Generation Examples": its first lines, as printed there.
RFC_864_EXAMPLE = rb"""
 !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefg
!"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefgh
"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghi
#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghij
""".strip(b"\n").replace(b"\n", b"\r\n")


def test_chargen_begins_as_the_rfc_prints_it() -> None:
    assert CHARGEN.pattern.startswith(RFC_864_EXAMPLE + b"\r\n")


def test_chargen_is_lines_of_72_characters_each_begun_one_later_without_a_seam() -> None:
    assert CHARGEN.pattern is CHARGEN_PATTERN
    assert len(CHARGEN_PATTERN) == 95 * 74
    lines = (CHARGEN_PATTERN * 2).split(b"\r\n")
    assert lines.pop() == b""
    assert {len(line) for line in lines} == {72}
    for line, following in pairwise(lines):
        assert following[:-1] == line[1:]
        assert (following[-1] - line[-1]) % 95 == 1
        assert all(0x20 <= byte < 0x7F for byte in following)
    assert lines[0] == lines[95] != lines[94]


@given(datagrams, moments)
def test_a_chargen_datagram_has_at_most_512_characters_of_the_pattern(data: bytes, now: float) -> None:
    answer = CHARGEN.datagram(data, now)
    assert answer is not None
    assert len(answer) <= CHARGEN_DATAGRAM_MAX == 512
    assert CHARGEN_PATTERN.startswith(answer)


def test_the_length_of_a_chargen_datagram_varies_over_all_that_are_allowed() -> None:
    lengths = {len(CHARGEN.datagram(b"", tick / 1e6) or b"") for tick in range(2000)}
    assert lengths == set(range(513))


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quote_is_short_and_of_printing_characters(quote: str) -> None:
    assert len(quote.encode("ascii")) + 2 <= 512
    assert quote.isprintable()


@given(datagrams, moments)
def test_the_quote_is_the_days(data: bytes, now: float) -> None:
    quote = QOTD.message(now)
    assert quote.endswith(b"\r\n")
    assert quote.decode("ascii").removesuffix("\r\n") in QUOTES
    assert QOTD.message(now // 86400 * 86400) == quote == QOTD.datagram(data, now)


def test_another_day_has_another_quote() -> None:
    week = {QOTD.message(day * 86400.0) for day in range(len(QUOTES))}
    assert len(week) == len(QUOTES)


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0, b"Thursday, January 1, 1970 00:00:00-UTC\r\n"),
        (0.999, b"Thursday, January 1, 1970 00:00:00-UTC\r\n"),
        (951_827_696, b"Tuesday, February 29, 2000 12:34:56-UTC\r\n"),
        (2**31, b"Tuesday, January 19, 2038 03:14:08-UTC\r\n"),
    ],
)
def test_daytime(now: float, text: bytes) -> None:
    assert DAYTIME.message(now) == text


@given(datagrams, st.integers(0, 4_102_444_800))
def test_daytime_is_the_calendars(data: bytes, now: int) -> None:
    at = datetime.fromtimestamp(now, UTC)
    text = DAYTIME.message(now).decode("ascii")
    weekday, date, rest = text.split(", ")
    month, day = date.split()
    year, clock = rest.split()
    assert (day, year, clock) == (str(at.day), str(at.year), at.strftime("%H:%M:%S-UTC"))
    assert weekday == day_name[at.weekday()]
    assert month == month_name[at.month]
    assert text.endswith("\r\n")
    assert DAYTIME.datagram(data, now) == DAYTIME.message(now)


@pytest.mark.parametrize(
    ("day", "number"),
    [  # RFC 868, its examples
        (datetime(1900, 1, 1, tzinfo=UTC), 0),
        (datetime(1900, 1, 1, 0, 0, 1, tzinfo=UTC), 1),
        (datetime(1970, 1, 1, tzinfo=UTC), 2_208_988_800),
        (datetime(1976, 1, 1, tzinfo=UTC), 2_398_291_200),
        (datetime(1980, 1, 1, tzinfo=UTC), 2_524_521_600),
        (datetime(1983, 5, 1, tzinfo=UTC), 2_629_584_000),
        (datetime(2036, 2, 7, 6, 28, 15, tzinfo=UTC), 2**32 - 1),
        (datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC), 0),
    ],
)
def test_time_is_a_known_number(day: datetime, number: int) -> None:
    assert TIME.message(day.timestamp()) == struct.pack("!I", number)


@given(datagrams, moments)
def test_time_is_four_bytes_in_stream_and_datagram_alike(data: bytes, now: float) -> None:
    assert len(TIME.message(now)) == 4
    assert TIME.datagram(data, now) == TIME.message(now)


def test_the_ports_of_services_that_answer_are_not_answered() -> None:
    answering = {service.port for service in SERVICES.values() if service.datagram(b"", 1.0) is not None}
    assert answering <= ANSWERING_PORTS
    assert STAMP.port in ANSWERING_PORTS
    assert DISCARD.port not in ANSWERING_PORTS
