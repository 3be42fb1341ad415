"""What `echowire call` prints: lines for people, one JSON document, or a line of JSON for each event.

All three are told the same at each step, so none of them knows more than another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from echowire import (
    EchowireError,
    Endpoint,
    Exchange,
    NoReplyError,
    OperationError,
    Peer,
    RelaySummary,
    Scanned,
    document_head,
    format_duration,
    format_size,
)
from echowire.cli.call_terminal import as_text
from echowire.cli.common import Environment, printable
from echowire.cli.tls_report import TLS_SUPPLIED, tls_document, tls_lines

PERCENTILES = (50, 90, 99)

SUPPLIED = ("size", "count", "half_close", "verify", *TLS_SUPPLIED)
SUPPLIED_TIMES = ("interval", "wait", "timeout", "quit_after")


class Report:
    """Told of each step of a call; prints what the options ask for."""

    def __init__(self, env: Environment, options: dict[str, Any]) -> None:
        self._env, self._options = env, options
        self._as_json, self._jsonl = options["as_json"], options["jsonl"]
        self._for_people = not (self._as_json or self._jsonl)
        self._rtts: list[float] = []
        self._number = 0
        self._finished = False
        self._peer: Peer | None = None
        self._document: dict[str, Any] = {
            **document_head("call"),
            **dict.fromkeys(("supplied", "effective")),
            "attempts": [],
            "exchanges": [],
            "scanned": [],
            "summary": None,
            "error": None,
        }
        self.measures = options["verify"] or any(options[name] is not None for name in ("size", "count", "interval"))
        """Whether the messages are sent to be measured, so that the answer is not what came back but how."""

    def begin(self, endpoint: Endpoint) -> None:
        """What will be called."""
        options = self._options
        self._document["supplied"] = {
            "endpoint": endpoint.url,
            "messages": list(options["messages"]),
            "family": 4 if options["ipv4"] and not options["ipv6"] else 6 if options["ipv6"] else None,
            "source": options["source"] or None,
            "source_port": options["source_port"] or None,
            **{name: options[name] for name in SUPPLIED},
            **{f"{name}_s": options[name] for name in SUPPLIED_TIMES},
        }

    def attempted(self, attempts: tuple[Any, ...]) -> None:
        """What each address answered."""
        self._document["attempts"] = [
            {
                "address": each.address,
                "outcome": each.outcome,
                "connect_us": _micro(each.seconds),
                "errno": each.number,
                "icmp": str(each.icmp) if each.icmp else None,
                "icmp_from": each.icmp.offender if each.icmp else None,
            }
            for each in attempts
        ]
        if self._options["verbose"] and self._for_people and len(attempts) > 1:
            for each in attempts:
                self._env.say(f"{each.address}: {each.outcome} after {format_duration(each.seconds)}")

    def connected(self, peer: Peer) -> None:
        """The call stands."""
        self._peer, tls = peer, peer.tls
        self._document["effective"] = {
            "transport": peer.transport,
            "local": peer.local.url if peer.local.address else None,
            "remote": peer.remote.url if peer.proxy is None else peer.channel.endpoint.url,
            "proxy": None if peer.proxy is None else peer.proxy.url,
            "connect_us": _micro(peer.connect_s),
            "tls_us": _micro(peer.tls_s),
            "tls_version": tls[0] if tls else None,
            "tls_cipher": tls[1] if tls else None,
            **tls_document(peer),
            "timeout_s": peer.timeout_s,
        }
        if self._for_people and (self._env.is_terminal or self._options["verbose"]):
            self._env.say(describe_connection(peer))
        if self._for_people:
            for line in tls_lines(peer, verbose=self._options["verbose"], offered=self._options["alpn"]):
                self._env.say(line)
        attempts = self._document["attempts"]
        self._event("connected", lambda: {**self._document["effective"], "attempts": attempts})

    def waits(self, seconds: float | None) -> None:
        """How long a reply is waited for, in effect."""
        self._document["effective"]["wait_s"] = seconds

    def exchanged(self, exchange: Exchange) -> None:
        """A message, and what came of it."""
        self._number += 1
        if exchange.rtt_s is not None:
            self._rtts.append(exchange.rtt_s)
        if not self._for_people:
            record = self._record(exchange)
            self._event("exchange", lambda: record)
            if self._as_json:
                self._document["exchanges"].append(record)
        elif self.measures:
            self._env.answer(self._line(exchange))
        else:
            if exchange.unasked:
                self._show(exchange.unasked)
            if exchange.received is not None:
                self._show(exchange.received)

    def _record(self, exchange: Exchange) -> dict[str, Any]:
        verdict = exchange.verdict
        return {
            "sequence": self._number,
            "sent_bytes": len(exchange.sent),
            "received_bytes": None if exchange.received is None else len(exchange.received),
            "received_hex": None if exchange.received is None or self.measures else exchange.received.hex(),
            "rtt_us": _micro(exchange.rtt_s),
            "verdict": verdict.outcome,
            "wrong_at": verdict.wrong_at,
            "missing_bytes": verdict.missing,
            "surplus_bytes": verdict.surplus,
            "unasked_bytes": len(exchange.unasked),
            "error": None if exchange.error is None else str(exchange.error),
        }

    def _line(self, exchange: Exchange) -> str:
        verdict = "" if exchange.verdict.ok else f" {exchange.verdict}"
        error = exchange.error
        if exchange.received is None:
            # What it means is said once, at the end.
            said = f"{error.system_message} ({error.errno_name})" if isinstance(error, OperationError) else str(error)
            return f"seq={self._number}: {printable(said[:1].lower() + said[1:])}"
        size = "1 byte" if len(exchange.received) == 1 else f"{len(exchange.received)} bytes"
        took = f" time={format_duration(exchange.rtt_s)}" if exchange.rtt_s is not None else ""
        who = (
            "?"
            if self._peer is None
            else self._peer.remote
            if self._peer.proxy is None
            else self._peer.channel.endpoint
        )
        return f"{size} from {who}: seq={self._number}{took}{verdict}"

    def _show(self, data: bytes) -> None:
        env = self._env
        if self._options["as_hex"] or env.stdout.isatty():
            env.answer(as_text(data, as_hex=self._options["as_hex"]))
        else:
            env.stdout.write(data + b"\n")
            env.stdout.flush()

    def conclude(self, tally: Any, peer: Peer, error: EchowireError | None) -> None:
        """The conversation has ended: its summary, and the error where nothing at all was answered."""
        if peer.proxy is None:
            self._document["effective"]["remote"] = peer.remote.url  # of datagrams it may have become another
        self._document["error"] = None if error is None else str(error)
        rtt = _statistics(self._rtts)
        self._document["summary"] = {
            **asdict(tally),
            "ok": tally.ok,
            **{f"rtt_{name}_us": _micro(value) for name, value in rtt.items()},
        }
        if self._for_people and self.measures:
            if self._options["verify"]:
                self._env.answer(f"Verified: {tally}")
            else:
                answered = tally.sent - tally.lost
                self._env.answer(f"{tally.sent} sent, {answered} answered, {tally.lost} lost")
            if self._rtts:
                named = ", ".join(f"{name} {format_duration(value)}" for name, value in rtt.items())
                self._env.answer(f"Round trip: {named}")
        self._finish()

    def relayed(self, done: RelaySummary, *, at_terminal: bool = False) -> None:
        """The relay has ended; who sits at a terminal is told why."""
        self._document["summary"] = {
            "sent_bytes": done.sent_bytes,
            "received_bytes": done.received_bytes,
            "ended": done.ended,
            "verdict": None if done.verdict is None else asdict(done.verdict),
            "tally": None if done.tally is None else asdict(done.tally),
            "ok": done.ok,
        }
        if self._for_people:
            sizes = f"sent {format_size(done.sent_bytes)}, received {format_size(done.received_bytes)}"
            if done.verdict is not None:
                self._env.say(f"Verified: {sizes}: {done.verdict}")
            elif done.tally is not None:
                self._env.say(f"Verified: {done.tally}")
            elif self._options["verbose"] or at_terminal:
                self._env.say(f"{sizes[0].upper()}{sizes[1:]}; ended: {done.ended}")
        self._finish()

    def failed(self, error: EchowireError) -> None:
        """The call failed: the document is printed all the same; the error itself is its caller's to print."""
        if not self._finished:
            self._document["error"] = str(error)
            self._finish()

    def scanned(self, scanned: Scanned, *, among_several: bool) -> None:
        """One endpoint of a scan: what is open is the answer; what is not is told beside it, a line a port."""
        record = {
            "endpoint": scanned.endpoint.url,
            "open": scanned.is_open,
            "connect_us": _micro(scanned.connect_s),
            "error": None if scanned.error is None else str(scanned.error),
        }
        self._event("scanned", lambda: record)
        self._document["scanned"].append(record)
        if self._for_people and scanned.is_open:
            self._env.answer(f"{scanned.endpoint} is open, connected in {format_duration(scanned.connect_s)}")
        elif self._for_people and among_several:
            self._env.say(f"{scanned.endpoint}: {_why_not(scanned.error)}")

    def end_scan(self) -> None:
        """All endpoints of a scan were tried."""
        self._finish()

    def _event(self, name: str, fields: Callable[[], dict[str, Any]]) -> None:
        if self._jsonl:
            self._env.answer_json({"event": name, **fields()})

    def _finish(self) -> None:
        self._finished = True
        if self._as_json:
            self._env.answer_json(self._document, indent=2)
            return
        if self._document["summary"] is not None:
            self._event("summary", lambda: {**document_head("call"), **self._document["summary"]})
        if self._document["error"] is not None:
            failure = {name: self._document[name] for name in ("error", "attempts")}
            self._event("failed", lambda: {**document_head("call"), **failure})


def _why_not(error: EchowireError | None) -> str:
    if isinstance(error, OperationError):
        return f"{error.system_message[:1].lower()}{error.system_message[1:]} ({error.errno_name} {error.number})"
    return "no answer" if isinstance(error, NoReplyError) else str(error)


def describe_connection(peer: Peer) -> str:
    """`Connected to 127.0.0.1:12345/tcp from 127.0.0.1:51234 in 52.1 µs`."""
    origin = f" from {peer.local.address}" if peer.local.address else ""
    if not peer.is_stream:
        return f"Sending to {peer.remote}{origin}"
    to = f"{peer.remote}" if peer.proxy is None else f"{peer.channel.endpoint} through {peer.remote.address}"
    line = f"Connected to {to}{origin} in {format_duration(peer.connect_s)}"
    if peer.tls is not None:
        line += f", TLS in {format_duration(peer.tls_s)} ({', '.join(peer.tls)})"
    return line


def _micro(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e6, 3)


def _statistics(seconds: list[float]) -> dict[str, float | None]:
    """Least, percentiles (nearest rank) and most of `seconds`; None where there are none."""
    ordered = sorted(seconds)
    ranks = {"min": 0.0, **{f"p{percent}": percent / 100 for percent in PERCENTILES}, "max": 1.0}
    if not ordered:
        return dict.fromkeys(ranks)
    return {name: ordered[max(0, math.ceil(share * len(ordered)) - 1)] for name, share in ranks.items()}
