"""`echowire bench`: options to `echowire.bench`, its report to a terminal or to JSON, and an exit status."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

import echowire
from echowire import Endpoint, UsageError, format_size, parse_rate, parse_size
from echowire.cli.bench_report import Report
from echowire.cli.common import (
    DURATION,
    SIZE,
    Environment,
    Quantity,
    family_of,
    join_host_port,
    pass_environment,
    refuse_two_forms,
)
from echowire.cli.contradictions import FAMILIES, Contradiction, refuse_together
from echowire.cli.endpoint_options import called_endpoint, refuse_other_scheme
from echowire.cli.group_options import group_options, is_many
from echowire.cli.tls_options import asks_for_tls, client_keywords, client_tls, default_port

CONTRADICTIONS: tuple[Contradiction, ...] = (
    *FAMILIES,
    (("udp", "unix"), ("congestion", "nodelay"), "-C and --nodelay are TCP's; leave out -u and -U, or them"),
    (("unix",), ("tos", "dscp"), "the DSCP is in the header of IP, which Unix sockets have not; leave it out"),
)  # fmt: skip

LARGEST_DOCUMENT = 64 << 20
"""Of an earlier run: a day of intervals, and TCP_INFO of ten thousand connections."""


def parse_sizes(text: str) -> tuple[int, int]:
    """The least and the largest of `64-1400`, or one size twice. Raises `UsageError`."""
    least, dash, most = text.partition("-")
    return (parse_size(least), parse_size(most if dash else least))


SIZES = Quantity("sizes", parse_sizes)


@dataclass(frozen=True)
class LoadRate:
    """What --rate asks for: `5000/s` is messages, `10M` and `10Mbit/s` are bits; None is what the load consists of."""

    value: float
    is_bits: bool | None


def parse_load_rate(text: str) -> LoadRate:
    """`5000/s`, `10M`, `10Mbit/s` or a plain number. Raises `UsageError`."""
    value, unit = parse_rate(text), text.strip().lower().lstrip("0123456789. ")
    if unit.endswith("/s") and "b" not in unit:
        return LoadRate(value, is_bits=False)
    return LoadRate(value, is_bits=True if unit else None)


LOAD_RATE = Quantity("rate", parse_load_rate)


@click.command("bench")
@called_endpoint
@client_tls
@click.option(
    "-c",
    "-P",
    "--connections",
    "--parallel",
    "connections",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Connections, or datagram sockets, at once.",
)
@click.option("-s", "--size", "sizes", type=SIZES, help="Bytes of a message, or a range: 64-1400. [default: 64]")
@click.option("-t", "--time", "seconds", type=DURATION, help="How long. [default: 10s, unless -n is given]")
@click.option("-n", "--count", type=click.IntRange(min=1), help="How many messages, instead or at most.")
@click.option("-O", "--omit", type=DURATION, default="0s", show_default=True, help="Warm up so long, not counted.")
@click.option("-i", "--interval", type=DURATION, default="1s", show_default=True, help="Of the live line and --jsonl.")
@click.option(
    "--pipeline",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Messages in flight on each connection.",
)
@click.option(
    "--rate",
    type=LOAD_RATE,
    help="Open loop: messages due a second, as in 5000/s, answered or not. Of bytes that flow (-R, --send, --bidir): "
    "bits a second on each connection, as in 10M.",
)
@click.option("--poisson", is_flag=True, help="With --rate: due at random, as independent clients are.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that make the load."
)
@click.option(
    "-R", "--reverse", is_flag=True, help="Only receive, from a source such as chargen; with -u each is asked for."
)
@click.option("--send", is_flag=True, help="Only send, to a sink such as discard.")
@click.option("--bidir", is_flag=True, help="Bytes through an echo as fast as they go, both ways at once.")
@click.option(
    "-W", "--wait", type=DURATION, default="1s", show_default=True, help="Wait so long for a datagram's reply."
)
@click.option(
    "-w",
    "--timeout",
    type=DURATION,
    default="10s",
    show_default=True,
    help="Connect within this time; 0: the kernel's.",
)
@click.option(
    "--stall", type=DURATION, default="5s", show_default=True, help="End when nothing moves for so long; 0: never."
)
@click.option("-S", "--tos", metavar="N", help="The TOS byte, 0 to 255 or 0x..; its upper six bits are the DSCP.")
@click.option("--dscp", metavar="NAME", help="The DSCP: 0 to 63, or a name such as ef or af41.")
@click.option("-C", "--congestion", metavar="NAME", help="TCP's congestion control, such as cubic or bbr.")
@click.option("--nodelay/--no-nodelay", default=True, help="TCP_NODELAY. [default: set]")
@click.option("--send-buffer", type=SIZE, help="SO_SNDBUF in bytes.")
@click.option("--receive-buffer", type=SIZE, help="SO_RCVBUF in bytes.")
@group_options()
@click.option("--against", metavar="FILE", help="Compare with an earlier run's --json document.")
@click.option("--fail-if", multiple=True, metavar="CONDITION", help="Exit 1 if it holds: p99>5ms, loss>=1%, rate<10k.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end.")
@click.option("--jsonl", is_flag=True, help="Print each interval, and the summary, as a line of JSON.")
@pass_environment
def command(env: Environment, /, **options: Any) -> int:
    """Put a load on ENDPOINT, and measure.

    ENDPOINT is an echo: HOST PORT, host:port, [v6]:port, a port of this host, or a URL: tcp:// tls:// udp://
    unix:/path unixgram:/path; without one, 127.0.0.1:12345. Each byte that comes back is compared. Latencies are
    round trips; with --rate they count from when a message was due, and the uncorrected ones stand beside them.
    The last lines say what the limit was: a result that measured the client is marked so. Ctrl-C ends it early.

    \b
    echowire bench                                   one connection, 64 bytes, 10 seconds
    echowire bench -c 50 -s 1K -t 5s --workers 2     as many echoes as it can
    echowire bench --rate 5000/s --poisson -c 20     latency at a given load
    echowire bench -u -s 64-1400 -n 10000            datagrams: lost, reordered, jitter
    echowire bench -u --bidir -s 1000                a flood of them
    echowire bench --send host 9                     throughput to a sink; -R host 19 from a source
    echowire bench --send --rate 10M -P 4 host 9     10 Mbit/s on each of four connections
    echowire bench --json > a.json; echowire bench --against a.json --fail-if 'p99>5ms'

    Conditions of --fail-if: p50 to p100 (also uncorrected_p99), min, mean, max, jitter, lateness; rate (echoes a
    second), sent, received (bits a second); loss; errors, lost, corrupted, truncated, duplicated, reordered,
    unanswered; rate_kept; client_cpu, server_cpu. Several are joined by 'or'.
    """
    return run(env, options)


def run(env: Environment, options: dict[str, Any]) -> int:
    """Measure, and print; the exit status."""
    refuse_two_forms(options, "an interval")
    refuse_together(CONTRADICTIONS)
    endpoint = _endpoint(options)
    if is_many(endpoint, options):
        from echowire.cli import groups

        return groups.bench(env, options, endpoint, _rates(options["rate"], endpoint, "echo")[0])
    report = Report(env, options, endpoint)
    direction = _direction(options)
    per_s, bits_per_s = _rates(options["rate"], endpoint, direction)
    with report:
        measured = echowire.bench(
            endpoint,
            connections=options["connections"],
            size=options["sizes"],
            seconds=options["seconds"],
            count=options["count"],
            omit_s=options["omit"],
            pipeline=options["pipeline"],
            rate=per_s,
            bits_per_s=bits_per_s,
            poisson=options["poisson"],
            direction=direction,
            workers=options["workers"],
            interval_s=options["interval"],
            wait_s=options["wait"],
            stall_s=options["stall"] or None,
            connect_timeout_s=options["timeout"] or None,
            family=family_of(options),
            **client_keywords(options),
            nodelay=options["nodelay"],
            dscp=_dscp(options),
            congestion=options["congestion"],
            send_buffer=options["send_buffer"],
            receive_buffer=options["receive_buffer"],
            fail_if=options["fail_if"],
            against=_earlier(options["against"]),
            on_interval=report.interval,
        )
    report.conclude(measured)
    return 0 if measured.ok else 1


def _endpoint(options: dict[str, Any]) -> Endpoint:
    given: tuple[str, ...] = options["endpoint"]
    if len(given) > 2:
        raise UsageError(f"one endpoint at a time; {len(given)} were given")
    secure = asks_for_tls(options)
    if secure and (options["udp"] or options["unix"]):
        raise UsageError("TLS is spoken over TCP; it excludes -u and -U")
    if options["unix"]:
        if len(given) != 1:
            raise UsageError("-U needs the path of a socket, as in: echowire bench -U /tmp/echo.sock")
        return Endpoint.parse(given[0], transport="unixgram" if options["udp"] else "unix")
    text = f"127.0.0.1:{echowire.DEFAULT_PORT}"
    if len(given) == 2:
        text = join_host_port(*given)
    elif given:
        text = f":{given[0]}" if given[0].isdigit() else given[0]
    transport: Any = "udp" if options["udp"] else "tls" if secure else "tcp"
    refuse_other_scheme(text, transport)
    endpoint = Endpoint.parse(text, transport=transport, port=default_port(options))
    return replace(endpoint, transport="tls") if secure and endpoint.transport == "tcp" else endpoint


def _direction(options: dict[str, Any]) -> Any:
    asked = {"receive": options["reverse"], "send": options["send"], "both": options["bidir"]}
    chosen = [name for name, is_asked in asked.items() if is_asked]
    if len(chosen) > 1:
        raise UsageError("-R receives, --send sends and --bidir does both; give one of them")
    return chosen[0] if chosen else "echo"


def _rates(rate: LoadRate | None, endpoint: Endpoint, direction: str) -> tuple[float | None, float | None]:
    """Messages a second, and bits a second. A plain number is of messages wherever there are any."""
    if rate is None:
        return None, None
    is_bits = direction != "echo" and endpoint.is_stream if rate.is_bits is None else rate.is_bits
    return (None, rate.value) if is_bits else (rate.value, None)


def _dscp(options: dict[str, Any]) -> str | int | None:
    if options["tos"] is None or options["dscp"] is not None:
        if options["tos"] is not None:
            raise UsageError("-S and --dscp say the same in two ways; give one of them")
        return str(options["dscp"]) if options["dscp"] is not None else None
    try:
        number = int(options["tos"], 0)
    except ValueError:
        number = -1
    if not 0 <= number <= 255 or number & 3:
        raise UsageError(f"'{options['tos']}' is no TOS byte: 0 to 255, and its lower two bits are the kernel's (ECN)")
    return number >> 2


def _earlier(name: str | None) -> Any:
    """The document in the file `name`."""
    if name is None:
        return None
    try:
        with Path(name).open("rb") as file:
            text = file.read(LARGEST_DOCUMENT + 1)
        if len(text) > LARGEST_DOCUMENT:
            raise UsageError(f"--against {name}: a document of bench has at most {format_size(LARGEST_DOCUMENT)}")
        return json.loads(text)
    except RecursionError as error:
        raise UsageError(f"--against {name}: it is nested too deeply for a document of bench") from error
    except OSError as error:
        raise UsageError(f"--against {name}: {(error.strerror or str(error)).lower()} (errno {error.errno})") from error
    except ValueError as error:
        raise UsageError(f"--against {name}: it is not JSON ({error})") from error
