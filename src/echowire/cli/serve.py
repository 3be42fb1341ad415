"""`echowire serve`: options to `echowire.serve`, its events to a terminal, to JSON, or both."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from types import FrameType
from typing import Any

import click

import echowire
from echowire import EchowireError, Event, HandlerError, Limits, UsageError, format_duration, format_size
from echowire.cli.common import (
    DURATION,
    PORT,
    RATE,
    SIZE,
    Environment,
    family_of,
    pass_environment,
    printable,
)
from echowire.cli.endpoint_options import served_endpoints
from echowire.cli.netcat_hints import nc_of_serve
from echowire.cli.serve_groups import tell_silent, watched_groups
from echowire.cli.serve_options import (
    endpoints_of,
    program_options,
    raw_options,
    refuse_contradictions,
    show_options,
)
from echowire.cli.serve_raw import ServingRaw
from echowire.cli.serve_show import shown
from echowire.cli.served_at import is_exposed, listening_lines
from echowire.cli.signals import heard
from echowire.cli.tls_options import server_keywords, server_tls

AT_ONCE_S = 1.0
"""How long a second signal lets what is left end in order."""


@click.command("serve")
@served_endpoints
@click.option("-p", "--port", type=PORT, help="The port, where an endpoint names none.")
@click.option(
    "--service", default="echo", show_default=True, help="echo, discard, chargen, qotd, daytime, time, stamp."
)
@click.option("--key", metavar="FILE", help="The key of STAMP's authenticated mode (HMAC-SHA-256).")
@click.option("--stateless", is_flag=True, help="Have STAMP keep no count of each session's packets.")
@click.option("--handler", metavar="MODULE:FUNCTION", help="Serve with a blocking function of a connected socket.")
@program_options
@click.option("--engine", default="auto", show_default=True, help="auto, readiness (epoll), threads or kernel.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that share the port."
)
@server_tls
@click.option(
    "--max-connections",
    type=click.IntRange(min=0),
    help=f"Connections at once. [default: {Limits().connections}; 0: no limit]",
)
@click.option(
    "--idle",
    type=DURATION,
    help="Close a connection after this long without a byte. [default: 300s beyond loopback; 0: never]",
)
@click.option("--max-queue", type=SIZE, help="Bytes held for one connection that does not read. [default: 512K]")
@click.option(
    "--datagram-rate",
    type=RATE,
    help="Datagrams a second answered to a peer beyond loopback. [default: 10000; 0: no limit]",
)
@click.option(
    "--datagram-bytes",
    type=SIZE,
    help="Bytes a second of answers to a peer beyond loopback. [default: 16M; 0: no limit]",
)
@click.option("--interface", default="", metavar="NAME", help="Join multicast groups on it. [default: the route's]")
@click.option("--amplify", is_flag=True, help="Let datagrams beyond loopback have answers larger than they are.")
@click.option(
    "--drain",
    type=DURATION,
    default="5s",
    show_default=True,
    help="At the end, wait this long for connections to finish.",
)
@click.option("--backlog", type=click.IntRange(min=0), help="Connections that may wait to be accepted. [default: 4096]")
@click.option("--once", is_flag=True, help="End after the first connection.")
@raw_options
@show_options
@nc_of_serve
@click.option("-v", "--verbose", is_flag=True, help="Tell of each connection, on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end.")
@click.option("--jsonl", is_flag=True, help="Print each event as a line of JSON.")
@pass_environment
def command(env: Environment, /, **options: Any) -> int:
    """Serve an echo, or another small service, on ENDPOINT.

    Without ENDPOINT: 127.0.0.1:12345, TCP and UDP. An endpoint is HOST PORT, host:port, [v6]:port, :port (every
    interface, IPv4 and IPv6), a port of 127.0.0.1, or a URL: tcp:// udp:// tls:// unix:/path unixgram:/path
    unixseqpacket:/path. One without a scheme is TCP and UDP. Ctrl-C or SIGTERM ends it in order, a second one at once.

    Beyond loopback a datagram is never answered by a larger one, or whoever forges its source would have others sent
    more than was paid for: chargen, qotd and daytime send as much of their text as the question was long, and time, of
    four bytes, answers no shorter one. --amplify answers as RFC 864 to 868 have it.

    \b
    echowire serve                                       an echo for this host
    echowire serve :7 --service echo                     for every host
    echowire serve localhost:9 tcp://:8000 unix:/tmp/e   several at once
    echowire serve tls://:8443 --tls-cert c.pem --tls-key k.pem --tls-client-ca ca.pem
    echowire serve --handler mymodule:serve              your own function of a socket
    echowire serve --show text                           and see what passes
    echowire serve --raw 9000 > file                     as nc -l: one connection, its bytes to this file
    echowire serve --exec 'cat -n' 9000                  a program for each connection
    echowire serve udp://239.1.2.3%eth0:5000             a multicast group, joined on eth0; 10.0.0.1@232.1.2.3:5000
                                                         is one that only 10.0.0.1 is heard on
    echowire serve :862 --service stamp                  a reflector for echowire ping --stamp (RFC 8762)
    echowire serve :12345 --workers 2 --jsonl            two processes, events as JSON
    """
    refuse_contradictions(options)
    if options["raw"]:
        return ServingRaw(env, options).run()
    with nullcontext() if options["program"] is None else echowire.Programs(options["program"]) as programs:
        return Serving(env, options, programs).run()


class Serving:
    """One run of the command."""

    def __init__(self, env: Environment, options: dict[str, Any], programs: echowire.Programs | None) -> None:
        self._env = env
        self._programs = programs
        self._options = options
        self._signals = 0
        self._server: echowire.Server | None = None
        self._is_done = False
        self._unheard: Exception | None = None

    def run(self) -> int:
        """Serve until a signal; the exit status."""
        options = self._options
        echowire.raise_open_file_limit()
        # Signals wait until there is a server that can be told.
        ending = heard((signal.SIGINT, signal.SIGTERM))
        previous = {number: signal.signal(number, self._on_signal) for number in ending}
        try:
            self._server = server = echowire.serve(
                *endpoints_of(options),
                service=options["service"],
                handler=self._programs or options["handler"],
                engine=options["engine"],
                workers=options["workers"],
                limits=_limits(options),
                amplify=options["amplify"],
                show=options["show"] is not None,
                **({} if options["backlog"] is None else {"backlog": options["backlog"]}),
                **server_keywords(options),
                interface=options["interface"],
                stamp_key=options["key"],
                stamp_stateless=options["stateless"],
                family=family_of(options),
                inherited=self._env.variables,
                on_event=self._on_event,
                background=False,
            )
            # Standard output is for the answer; what a handler prints goes beside it.
            with server, redirect_stdout(self._env.stderr):
                groups = watched_groups(self._env, server.endpoints)  # from before anybody knows that it is there
                self._announce(server)
                if self._signals or self._is_done:  # before there was a server that could be told
                    server.stop(0.0 if self._is_done else options["drain"])
                server.wait()
            if groups is not None and not server.summary.datagrams_received:
                tell_silent(self._env, groups)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self._unheard is not None:
            raise self._unheard
        self._conclude(server)
        return 0

    def _announce(self, server: echowire.Server) -> None:
        if not self._options["as_json"] and not self._options["jsonl"]:
            for line in listening_lines(server, self._service_name):
                self._env.answer(line)
        if self._programs is not None and any(is_exposed(endpoint) for endpoint in server.endpoints):
            words = " ".join(self._programs.words)
            self._env.say(f"echowire: everybody who can reach this may run '{words}' as the user that serves")
        if self._options["verbose"]:
            self._env.say(f"engine {server.engine} ({server.why})")

    @property
    def _service_name(self) -> str:
        options = self._options
        return "program" if self._programs is not None else "handler" if options["handler"] else options["service"]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._server is None:
            return
        if self._signals == 1:
            self._server.stop(self._options["drain"])
            if self._env.is_terminal:
                self._env.say("stopping; who is connected may finish. Ctrl-C again ends it at once")
            return
        self._server.stop(0.0)
        # A handler in its own code, or a reader of our output that has stalled, must not keep us.
        last_resort = threading.Timer(AT_ONCE_S, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()

    def _on_event(self, event: Event) -> None:
        """Called in the server's threads. When nobody can read the answer any more, the server has no use."""
        try:
            self._tell(event)
        except (OSError, EchowireError) as error:
            self._unheard = error
        done = self._unheard is not None or (self._options["once"] and isinstance(event, echowire.Closed))
        self._is_done = self._is_done or done
        if done and self._server is not None:
            self._server.stop(0.0)

    def _tell(self, event: Event) -> None:
        env = self._env
        if self._options["jsonl"]:
            env.answer_json(event.document())
        if isinstance(event, echowire.Passed):
            if not self._options["jsonl"]:
                for line in shown(event, self._options["show"]):
                    env.answer(line, flush=False)
                env.flush()
        elif isinstance(event, echowire.Notice):
            env.say(f"echowire: {printable(event.message)}")
        elif isinstance(event, echowire.Closed) and (self._options["verbose"] or event.error):
            carried = _carried(event.received_bytes, event.sent_bytes)
            lasted = format_duration(event.seconds)
            peer, reason = printable(event.peer), printable(event.reason)
            env.say(f"closed {peer}: {reason}; {f'{carried} in {lasted}' if carried else f'it lasted {lasted}'}")
            if event.error is not None and env.debug:
                env.say(_trace(event.error))
        elif self._options["verbose"] and isinstance(event, echowire.Accepted):
            env.say(f"accepted {printable(event.peer)} on {event.endpoint}")
        elif self._options["verbose"] and isinstance(event, echowire.Refused):
            env.say(f"refused {printable(event.peer)} on {event.endpoint}: {event.reason}")

    def _conclude(self, server: echowire.Server) -> None:
        summary = asdict(server.summary)
        if self._options["as_json"]:
            endpoints = [endpoint.url for endpoint in server.endpoints]
            self._env.answer_json(
                {
                    **echowire.document_head("serve"),
                    "endpoints": endpoints,
                    "engine": server.engine,
                    "engine_why": server.why,
                    "summary": summary,
                },
                indent=2,
            )
        elif not self._options["jsonl"]:
            self._env.answer(_summary_line(server.summary))


def _limits(options: dict[str, Any]) -> dict[str, Any]:
    """The limits that were given; 0 is no limit."""
    given: dict[str, Any] = {}
    for name, option in (
        ("connections", "max_connections"),
        ("idle_s", "idle"),
        ("queue_bytes", "max_queue"),
        ("datagrams_per_s", "datagram_rate"),
        ("datagram_bytes_per_s", "datagram_bytes"),
    ):
        if options[option] is not None:
            given[name] = options[option] or None
    if options["max_queue"] == 0:
        raise UsageError("--max-queue 0: a connection that may hold nothing can echo nothing; give 1 byte or more")
    return given


def _carried(received: int | None, sent: int | None) -> str:
    """What was carried; nothing where it is not known."""
    return "" if received is None or sent is None else f"received {format_size(received)}, sent {format_size(sent)}"


def _trace(error: HandlerError) -> str:
    """Where in the handler it arose."""
    import traceback  # which is slow to start

    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(map(printable, lines))


def _summary_line(done: echowire.Summary) -> str:
    parts = [
        f"{done.connections} connection{'' if done.connections == 1 else 's'}",
        *filter(None, [_carried(done.received_bytes, done.sent_bytes)]),
        f"datagrams received {done.datagrams_received}, sent {done.datagrams_sent}",
        f"refused {done.refused}",
    ]
    if done.failed:
        parts.append(f"failed {done.failed}")
    if done.connections:
        parts.append(f"longest {format_duration(done.longest_s)}")
    return "Served " + "; ".join(parts)
