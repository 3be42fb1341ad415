"""What `echowire serve` has besides a server's options: programs, netcat's way, showing; and what excludes what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

import echowire
from echowire import UsageError
from echowire.cli.common import DURATION, join_host_port
from echowire.cli.contradictions import FAMILIES, Contradiction, is_given, refuse_together
from echowire.cli.endpoint_options import refuse_name, together

program_options = together(
    click.option(
        "-e",
        "--exec",
        "program",
        metavar="PROGRAM",
        help="Run PROGRAM, with its arguments and no shell, for each connection, which is its standard input and "
        "output. Whoever can connect runs it as you: beyond loopback that is dangerous.",
    ),
)
"""What serves instead of a service."""

raw_options = together(
    click.option(
        "--raw", is_flag=True, help="As nc -l: one connection's bytes to and from standard input and output, and end."
    ),
    click.option(
        "-k", "--keep-open", is_flag=True, help="With --raw: one after the other. It is what serve does else."
    ),
    click.option("-q", "--quit-after", type=DURATION, help="With --raw: quit so long after the end of the input."),
    click.option("-C", "--crlf", is_flag=True, help="With --raw: lines of the input end with CR and LF."),
    click.option(
        "-N/ ",
        "--half-close/--no-half-close",
        default=True,
        help="With --raw: tell the peer when the input has ended (it is the default), or do not.",
    ),
)
"""netcat's other half."""

show_options = together(
    click.option(
        "--show",
        type=click.Choice(["text", "hex"]),
        help="Show what passes, with time, peer and direction: > from the peer, < to it.",
    ),
    click.option("-n", "--numeric", is_flag=True, help="Addresses only: look up no name."),
)
"""What is told of it."""

_OTHERS = ("handler", "program", "raw")
OF_A_SERVER = ("tls_cert", "workers", "engine", "once", "amplify")

CONTRADICTIONS: tuple[Contradiction, ...] = (
    *FAMILIES,
    (("udp",), ("tcp",), "-u is datagrams alone and -t TCP alone; give one of them, or none for both"),
    (("unix",), ("tcp",), "-U is Unix sockets and -t TCP; give one of them"),
    (("unix",), ("port",), "a Unix socket has no port; -U excludes -p"),
    (("unix", "udp"), ("tls_cert", "tls_key"), "TLS is spoken over TCP; it excludes -u and -U"),
    (_OTHERS, ("service",), "a service, a handler, a program and --raw each serve by themselves; give one of them"),
    (("handler",), ("program", "raw"), "--handler, --exec and --raw each serve by themselves; give one of them"),
    (("program",), ("raw",), "--exec gives the connection to a program and --raw to this terminal; give one of them"),
    (("handler", "program"), ("udp",), "--handler and --exec serve connections, and datagrams have none; leave out -u"),
    (("handler", "program"), ("show",), "--show cannot see what a handler or a program does; echowire capture can"),
    (("program",), ("tls_cert",), "--exec gives a program the socket itself, which is plain; leave out --tls-cert"),
    (("program",), ("workers",), "--exec starts a process for each connection anyway; leave out --workers"),
    (("once",), ("keep_open",), "--once ends after the first connection and -k goes on; give one of them"),
    (("as_json",), ("jsonl",), "--json is one document, --jsonl a line an event; give one of them"),
    (("as_json",), ("show",), "--json is one document at the end; --jsonl has a line for what passes"),
    (("raw",), ("as_json", "jsonl", "show"), "--raw writes what the peer sends; it excludes --json, --jsonl, --show"),
    (("raw",), OF_A_SERVER, "--raw is one plain connection; it excludes TLS, --workers, --engine, --once, --amplify"),
)  # fmt: skip

OF_RAW = {"quit_after": "-q", "crlf": "-C", "half_close": "-N"}


def refuse_contradictions(options: Mapping[str, Any]) -> None:
    """Raise `UsageError` for options that do not go together."""
    refuse_together(CONTRADICTIONS)
    for name, flag in OF_RAW.items():
        if not options["raw"] and is_given(name):
            raise UsageError(f"{flag} is for standard input, which only --raw sends")
    if options["port"] is not None and options["endpoints"] and not _uses_port(options):
        raise UsageError("-p is the port where an endpoint names none, and all of these name theirs; leave it out")


def _uses_port(options: Mapping[str, Any]) -> bool:
    """Whether an endpoint names no port."""
    given = options["endpoints"]
    if len(given) == 2 and given[1].isdigit():
        return False
    parse = echowire.Endpoint.parse
    return any(parse(text, port=1) != parse(text, port=2) for text in given)


def endpoints_of(options: Mapping[str, Any]) -> list[str | echowire.Endpoint]:
    """The endpoints that the arguments mean, `HOST PORT` and a port alone included."""
    given, port = list(options["endpoints"]), options["port"]
    is_stamp = options["service"] == "stamp"
    default_port = echowire.STAMP_PORT if is_stamp else echowire.DEFAULT_PORT
    if options["unix"]:
        if not given:
            raise UsageError("-U needs the path of a socket, as in: echowire serve -U /tmp/echo.sock")
        return [echowire.Endpoint.parse(path, transport="unixgram" if options["udp"] else "unix") for path in given]
    if len(given) == 2 and given[1].isdigit() and not given[0].isdigit():
        given = [join_host_port(*given)]
    if not given and (port is not None or options["udp"] or options["tcp"]):
        given = ["127.0.0.1"]
    wanted: list[str | echowire.Endpoint] = []
    for text in given:
        if echowire.split_scheme(text)[0] is not None:
            wanted.append(text)
            continue
        endpoint = echowire.Endpoint.parse(text, port=default_port if port is None else port)
        if options["udp"] or is_stamp:
            wanted.append(replace(endpoint, transport="udp"))
        elif options["tcp"]:
            wanted.append(replace(endpoint, transport="tls" if options["tls_cert"] else "tcp"))
        else:
            wanted.append(endpoint.address)
    if options["numeric"]:
        for each in wanted:
            refuse_name(echowire.Endpoint.of(each, port=default_port))
    return wanted
