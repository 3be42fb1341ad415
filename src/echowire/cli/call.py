"""`echowire call`: options to `echowire.call`, and then one of four uses of the connection.

a scan (-z)              connect, say so, send nothing
a conversation           -m, -s, -c, -i or --verify: messages with their echoes, measured
a prompt                 on a terminal, where the peer is known to be an echo: a line, its echo (`call_terminal.py`)
a relay                  netcat: lines at a terminal, or what is piped in
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, count, repeat
from typing import Any

import click

import echowire
from echowire import EchowireError, Endpoint, Peer, UsageError
from echowire.cli.call_options import proxy_options, refuse_contradictions, terminal_options, to_proxy
from echowire.cli.call_report import Report
from echowire.cli.call_terminal import Prompt, bytes_of, talk, typing_at
from echowire.cli.common import (
    DURATION,
    PORT,
    SIZE,
    Environment,
    family_of,
    join_host_port,
    pass_environment,
    refuse_two_forms,
)
from echowire.cli.contradictions import is_given
from echowire.cli.endpoint_options import called_endpoint, refuse_name, refuse_other_scheme
from echowire.cli.group_options import group_options, is_many
from echowire.cli.netcat_hints import nc_of_call
from echowire.cli.relay_streams import relay_streams
from echowire.cli.terminal import Typing
from echowire.cli.tls_options import asks_for_tls, client_keywords, client_tls, default_port

DEFAULT_SIZE = 64
"""Bytes of a generated payload: what ping's packet has with its header."""

INTERRUPTED = 130
"""The exit status after Ctrl-C, where there was nothing to measure: 128 and SIGINT's number, as the shell has it."""


@click.command("call")
@called_endpoint
@client_tls
@click.option("--source", default="", metavar="ADDRESS", help="Call from this address of this host.")
@click.option("-p", "--source-port", type=PORT, default=0, metavar="PORT", help="Call from this port.")
@click.option("-m", "--message", "messages", multiple=True, metavar="TEXT", help="Send TEXT; may be repeated.")
@click.option("--hex", "as_hex", is_flag=True, help="Messages are written in hex, and replies printed in hex.")
@click.option("-s", "--size", type=SIZE, help=f"Send generated payloads of this many bytes. [default: {DEFAULT_SIZE}]")
@click.option("-c", "--count", type=click.IntRange(min=0), help="Send the messages so often; 0 is until Ctrl-C.")
@click.option("-i", "--interval", type=DURATION, help="At least this long from one message to the next. [default: 0]")
@click.option("-W", "--wait", type=DURATION, help="Wait so long for a reply. [default: 1s for datagrams, else as -w]")
@click.option(
    "-w",
    "--timeout",
    type=DURATION,
    help="Connect within this time, and end when nothing moves for so long; 0: never. [default: 10s, to connect]",
)
@click.option("-q", "--quit-after", type=DURATION, help="Quit so long after the end of the input.")
@click.option(
    "-N/ ",
    "--half-close/--no-half-close",
    default=True,
    help="Tell the peer when the input has ended (it is the default, but for -x), or do not.",
)
@click.option("--verify", is_flag=True, help="Compare what comes back, and count; exit 1 if it is not the same.")
@click.option("-z", "--scan", is_flag=True, help="Only connect, and say so. The port may be a range, as in 20-30.")
@terminal_options
@proxy_options
@nc_of_call
@group_options()
@click.option("-v", "--verbose", is_flag=True, help="Say more, on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end, and nothing else.")
@click.option("--jsonl", is_flag=True, help="Print each event as a line of JSON.")
@pass_environment
def command(env: Environment, /, **options: Any) -> int:
    """Call ENDPOINT, and send and receive.

    ENDPOINT is HOST PORT, host:port, [v6]:port, a port of this host, or a URL: tcp:// tls:// udp:// unix:/path
    unixgram:/path unixseqpacket:/path. It is netcat: what is typed (lines, with their ends) or piped in is sent, then
    the half-close (Ctrl-D), and what comes is shown when it comes, until the peer closes; for UDP, until nothing has
    come for a second after the end of the input. Without ENDPOINT the peer is the echo at 127.0.0.1:12345, and a
    terminal has a prompt. Bytes that would steer a terminal are shown on one as \\x1b; to a pipe or a file everything
    goes as it is.

    \b
    echowire call                                   type, and see the echo
    echowire call example.org 7 -m Hello            one message
    printf hi | echowire call -u 127.0.0.1 12345    one datagram, and its answer
    echowire call -u -c 10 -i 100ms --verify        ten, measured and compared
    echowire call tls://host:8443 --tls-ca ca.pem -m Hello
    echowire call mail.example.org 25               type, and see what the server says; -C for CRLF
    echowire call --starttls smtp mail.example.org 587 -v    TLS that begins in the clear, and the chain
    echowire call -z host 20-30                     which ports take connections
    echowire call -x 127.0.0.1:1080 host 80         through a SOCKS 5 proxy; -X connect for one of HTTP
    """
    return Calling(env, options).run()


class Calling:
    """One run of the command."""

    def __init__(self, env: Environment, options: dict[str, Any]) -> None:
        self._env, self._options = env, options
        self._report = Report(env, options)

    def run(self) -> int:
        """Do what was asked for; the exit status."""
        options = self._options
        refuse_two_forms(options, "an event")
        refuse_contradictions(options)
        endpoints = _endpoints(options)
        if options["scan"]:
            return self._scan(endpoints)
        messages = self._messages(endpoints[0])
        if is_many(endpoints[0], options):
            from echowire.cli import groups

            return groups.call(self._env, options, endpoints[0], messages)
        self._report.begin(endpoints[0])
        types = messages is None and (self._at_terminal or self._prompts)
        lines = {"as_hex": options["as_hex"], "crlf": options["crlf"]}
        try:
            with (
                typing_at(self._env, **lines) if types else nullcontext() as typing,
                echowire.call(endpoints[0], on_attempts=self._report.attempted, **self._how()) as peer,
            ):
                self._report.connected(peer)
                if messages is not None:
                    return self._converse(peer, messages)
                if typing is None:
                    return self._relay(peer)
                if self._prompts:
                    return Prompt(self._env, peer, typing, as_hex=options["as_hex"], wait_s=options["wait"]).run()
                return self._talk(peer, typing)
        except EchowireError as error:
            self._report.failed(error)
            raise

    def _how(self) -> dict[str, Any]:
        options = self._options
        how = {
            "family": family_of(options),
            "source": options["source"],
            "source_port": options["source_port"],
            "proxy": to_proxy(options),
            **client_keywords(options),
        }
        if options["timeout"] is not None:
            how["timeout"] = options["timeout"] or None
        return how

    @property
    def _at_terminal(self) -> bool:
        """Whether a person types, and is to be shown what comes."""
        return self._env.is_terminal and not self._options["as_json"] and not self._options["jsonl"]

    @property
    def _prompts(self) -> bool:
        """Whether to ask for each message: where the peer is known to be an echo."""
        return self._options["prompt"] or (self._at_terminal and not self._options["endpoint"])

    def _messages(self, endpoint: Endpoint) -> Iterable[bytes] | None:
        """What to send, or None when that is typed or piped."""
        options = self._options
        texts, size, rounds = options["messages"], options["size"], options["count"]
        piped = not self._env.is_terminal
        asked = texts or size is not None or rounds is not None or options["interval"] is not None
        if not asked and (piped or not options["verify"]):
            if options["as_hex"] and piped:
                raise UsageError("--hex is for messages that are given by -m or typed; piped input is sent as it is")
            return None
        if texts and size is not None:
            raise UsageError("-m says what to send and -s generates it; give one of them")
        rounds = 1 if rounds is None else rounds
        if not texts:
            size = DEFAULT_SIZE if size is None else size
            if not size and endpoint.is_stream:
                raise UsageError("a stream has no empty messages; give -s 1 or more")
            return echowire.generate_payloads(size, rounds or None)
        given = [bytes_of(text, as_hex=options["as_hex"]) for text in texts]
        if endpoint.is_stream and not all(given):
            raise UsageError("a stream has no empty messages; -m '' is for datagrams")
        return chain.from_iterable(repeat(given, rounds) if rounds else (given for _ in count()))

    def _converse(self, peer: Peer, messages: Iterable[bytes]) -> int:
        options, report = self._options, self._report
        conversation = echowire.converse(
            peer,
            messages,
            interval_s=options["interval"] or 0.0,
            timeout_s=options["wait"],
            verify=options["verify"],
        )
        report.waits(conversation.timeout_s)
        failure: EchowireError | None = None
        try:
            for exchange in conversation:
                report.exchanged(exchange)
                if exchange.received is None or exchange.rtt_s is None:
                    failure = failure or exchange.error
        except KeyboardInterrupt:
            pass  # the summary is what was wanted
        tally = conversation.tally
        wrong = options["verify"] and not tally.ok
        unanswered = tally.sent > 0 and not tally.received
        report.conclude(tally, peer, failure if unanswered else None)
        if unanswered and failure is not None:
            raise failure
        return 1 if wrong or unanswered else 0

    def _relay_options(self) -> dict[str, Any]:
        options = self._options
        return {
            # Many a proxy takes a half-close for the end of both ways, and the answer is lost.
            "half_close": options["half_close"] and (not options["proxy"] or is_given("half_close")),
            "idle_s": options["timeout"] or None,
            "reply_wait_s": options["wait"],
            "quit_after_s": options["quit_after"],
            "verify": options["verify"],
        }

    def _talk(self, peer: Peer, typing: Typing) -> int:
        done = talk(self._env, peer, typing, as_hex=self._options["as_hex"], **self._relay_options())
        self._report.relayed(done, at_terminal=True)
        return 0 if done.ok else 1

    def _relay(self, peer: Peer) -> int:
        options = self._options
        writes = not options["as_json"] and not options["jsonl"]
        done = relay_streams(self._env, peer, writes=writes, crlf=options["crlf"], **self._relay_options())
        self._report.relayed(done)
        if done.ended == "interrupted" and not options["verify"]:
            return INTERRUPTED
        return 0 if done.ok else 1

    def _scan(self, endpoints: list[Endpoint]) -> int:
        options, open_ports = self._options, 0
        self._report.begin(endpoints[0])
        for scanned in echowire.scan(endpoints, **self._how()):
            open_ports += scanned.is_open
            self._report.scanned(scanned, among_several=len(endpoints) > 1)
            if len(endpoints) == 1 and scanned.error is not None:
                self._report.end_scan()
                raise scanned.error
        self._report.end_scan()
        if not open_ports and not options["as_json"] and not options["jsonl"]:
            self._env.say(f"echowire: none of these {len(endpoints)} ports takes connections")
        return 0 if open_ports else 1


def _endpoints(options: dict[str, Any]) -> list[Endpoint]:
    """What the arguments mean: one endpoint, or with -z and a range of ports several."""
    given = list(options["endpoint"])
    flagged = _transport(options)
    if len(given) > 2:
        raise UsageError(f"one endpoint at a time; {len(given)} were given")
    if options["unix"]:
        if len(given) != 1:
            raise UsageError("-U needs the path of a socket, as in: echowire call -U /tmp/echo.sock")
        if options["tls"]:
            raise UsageError("TLS is spoken over TCP; -U and --tls exclude each other")
        return [Endpoint.parse(given[0], transport=flagged)]
    host, ports = _host_and_ports(given, scan=options["scan"])
    refuse_other_scheme(host, flagged)
    text = host if ports is None else join_host_port(host, str(ports[0]))
    at = Endpoint.parse(text, transport=flagged, port=default_port(options))
    if options["numeric"]:
        refuse_name(at)
    if ports is None:
        return [at]
    return [replace(at, port=port) for port in ports]


def _host_and_ports(given: list[str], *, scan: bool) -> tuple[str, range | None]:
    """The host, and the ports where they stand alone; else the whole endpoint, and None."""
    if not given:
        return f"127.0.0.1:{echowire.DEFAULT_PORT}", None
    if len(given) == 1 and scan and is_range(given[0].rpartition(":")[2]):
        given = [part for part in given[0].rpartition(":") if part != ":"]
    if len(given) == 1 and not given[0].isdigit():
        return given[0], None
    host, text = given if len(given) == 2 else ("", given[0])
    first, dash, last = text.partition("-")
    if not (scan and dash):
        if is_range(text):
            raise UsageError(f"'{text}' is a range of ports, and one port is called; -z tries them all")
        port = echowire.parse_port(text)
        return host, range(port, port + 1)
    ports = range(echowire.parse_port(first), echowire.parse_port(last) + 1)
    if not ports:
        raise UsageError(f"'{text}' is no range of ports; the lower one comes first")
    return host, ports


def is_range(text: str) -> bool:
    """Whether it is written as a range of ports is."""
    first, dash, last = text.partition("-")
    return bool(dash) and first.isdigit() and last.isdigit()


def _transport(options: dict[str, Any]) -> Any:
    secure = asks_for_tls(options)
    if secure and options["udp"]:
        raise UsageError("TLS is spoken over TCP; -u and --tls exclude each other")
    if options["unix"]:
        return "unixgram" if options["udp"] else "unix"
    return "udp" if options["udp"] else "tls" if secure else "tcp"
