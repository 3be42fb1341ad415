"""What one does with a `Peer` of `call`: converse in messages and measure, relay as netcat does, or only scan.

It is built on `verbs/call.py` and is a part of the same verb.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from echowire.core.load.verify import DatagramLedger, Payloads, StreamLedger, Tally, Verdict
from echowire.core.units import format_duration
from echowire.errors import EchowireError, NoReplyError, OperationError, UsageError
from echowire.kernel.connections import relay as kernel_relay
from echowire.kernel.connections.relay import Endings, Reader, Stream
from echowire.model import Endpoint
from echowire.verbs.call import Exchange, Peer, call
from echowire.verbs.explained import explained

DATAGRAM_WAIT_S = 1.0
"""How long a datagram's reply is waited for unless it is said: on paths of this planet, thrice the round trip."""

_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")

LINGER_S = 0.05
"""How long, at the end of a verified conversation, second copies and late replies are still listened for."""


class Conversation:
    """Messages sent one at a time, each with its echo; iterate over it for the `Exchange` of each.

    `tally` counts what became of them, and is complete when the iteration has ended. Datagrams that come late, or
    twice, are counted there and are never taken for the reply to a later message.
    """

    def __init__(
        self, peer: Peer, messages: Iterable[bytes], *, interval_s: float, timeout_s: float | None, linger_s: float
    ) -> None:
        self._peer, self._messages = peer, messages
        self._interval_s, self._linger_s = interval_s, linger_s
        default = peer.timeout_s if peer.is_stream else DATAGRAM_WAIT_S
        self.timeout_s = default if timeout_s is None else timeout_s
        """Seconds that a reply is waited for; of a stream, that it may stand still. What is in effect."""
        self._ledger = DatagramLedger()
        self.tally = Tally() if peer.is_stream else self._ledger.tally

    def __iter__(self) -> Iterator[Exchange]:
        due = time.perf_counter()
        pause = threading.Event()
        for number, message in enumerate(self._messages):
            if number and self._peer.is_stream:
                pause.wait(max(0.0, due - time.perf_counter()))
            elif number:
                self._listen_until(due)
            # As ping does: what fell behind is not made up for by a burst.
            due = max(due, time.perf_counter() - self._interval_s) + self._interval_s
            exchange = self._by_stream(message) if self._peer.is_stream else self._by_datagram(message)
            yield exchange
            if self._peer.is_stream and exchange.error and not isinstance(exchange.error, NoReplyError):
                break  # the connection is over
        if self._linger_s and self._peer.is_stream:
            pause.wait(self._linger_s)
            self._take_stale()
        elif self._linger_s:
            self._listen_until(time.perf_counter() + self._linger_s)

    def _by_stream(self, message: bytes) -> Exchange:
        if not message:
            raise UsageError("an empty message cannot be sent over a stream: there would be nothing to send")
        unasked = self._take_stale()
        tally = self.tally
        exchange = replace(self._peer.exchange(message, timeout=self.timeout_s), unasked=unasked)
        verdict = exchange.verdict
        tally.sent += 1
        if verdict.outcome == "corrupted" and tally.first_wrong_offset is None:
            tally.first_wrong_offset = tally.sent_bytes + (verdict.wrong_at or 0)
        tally.sent_bytes += len(message)
        tally.received += exchange.received is not None
        tally.received_bytes += len(exchange.received or b"")
        tally.surplus_bytes += verdict.surplus
        tally.intact += verdict.outcome in ("intact", "surplus")
        tally.lost += verdict.outcome == "lost"
        tally.truncated += verdict.outcome == "truncated"
        tally.corrupted += verdict.outcome == "corrupted"
        return exchange

    def _take_stale(self) -> bytes:
        """What came since the last echo was whole: taken, so that it is not read as a part of the next one."""
        stale = self._peer.drain()
        self.tally.surplus_bytes += len(stale)
        self.tally.received_bytes += len(stale)
        return stale

    def _by_datagram(self, message: bytes) -> Exchange:
        peer, ledger = self._peer, self._ledger
        index = ledger.sent(message)
        began = time.perf_counter()
        deadline = None if self.timeout_s is None else began + self.timeout_s
        try:
            peer.send(message, timeout=self.timeout_s)
            while True:
                left = None if deadline is None else max(0.0, deadline - time.perf_counter())
                reply = peer.recv(timeout=left)
                arrival = ledger.received(reply)
                if arrival.index in (index, None) and not arrival.again:
                    return Exchange(message, reply, time.perf_counter() - began, arrival.verdict)
        except NoReplyError:
            waited = format_duration(self.timeout_s)
            error: EchowireError = NoReplyError(f"recv {peer.channel.endpoint}: no reply within {waited} (our timer)")
        except OperationError as refused:
            if refused.exit_status != 1:
                raise  # this host's own: no use in going on
            error = refused
        ledger.give_up(index)
        return Exchange(message, None, None, Verdict("lost", missing=len(message)), error)

    def _listen_until(self, due: float) -> None:
        """Wait until `due`, and count what comes meanwhile: it is late, or it comes a second time."""
        try:
            while (left := due - time.perf_counter()) > 0:
                self._ledger.received(self._peer.recv(timeout=left))
        except NoReplyError:
            pass
        except OperationError:
            threading.Event().wait(max(0.0, due - time.perf_counter()))


def converse(
    peer: Peer,
    messages: Iterable[bytes],
    *,
    interval_s: float = 0.0,
    timeout_s: float | None = None,
    verify: bool = False,
) -> Conversation:
    """Send `messages` one at a time, `interval_s` seconds or more apart, and wait for the echo of each.

    `timeout_s` is how long for; None is one second for datagrams, and for streams the peer's timeout. With
    `verify` the end waits a moment for copies and late replies. Iterating raises `OperationError` only for
    what this host refuses; what the peer does is in each `Exchange` and in the `tally`.
    """
    return Conversation(
        peer, messages, interval_s=interval_s, timeout_s=timeout_s, linger_s=LINGER_S if verify else 0.0
    )


def generate_payloads(size: int, count: int | None = None, *, run: bytes | None = None) -> Iterator[bytes]:
    """`count` payloads (None: without end) of `size` bytes, from 16 bytes on each says which one it is.

    `run` is eight bytes that no other run has; None draws them.
    """
    payloads, number = Payloads(run or os.urandom(8)), 0
    while count is None or number < count:
        yield payloads.make(number, size)
        number += 1


class CrlfReader:
    """Has each line end with CR and LF, as many protocols of the Internet want it (nc -C). One that does stays so."""

    has_ended = False

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """`data`, in which each line feed has its carriage return; of datagrams it is one."""
        # A carriage return may have been the last byte of the read before.
        bare = data[1:] if self._after_cr and data.startswith(b"\n") else data
        self._after_cr = data.endswith(b"\r")
        return [data[: len(data) - len(bare)] + _BARE_LINE_FEED.sub(b"\r\n", bare)]


@dataclass(frozen=True, slots=True)
class RelaySummary:
    """What a relay carried. `ended` is `peer closed`, `quit`, `idle`, `output closed` or `interrupted`.

    If it was verified, a stream has a `verdict` and datagrams have a `tally`.
    """

    sent_bytes: int
    received_bytes: int
    ended: str
    verdict: Verdict | None = None
    tally: Tally | None = None

    @property
    def ok(self) -> bool:
        """Whether all came back, as far as that was asked."""
        return (self.tally is None or self.tally.ok) and (self.verdict is None or self.verdict.ok)


def relay(
    peer: Peer,
    source: Stream,
    sink: Stream | None,
    *,
    half_close: bool = True,
    idle_s: float | None = None,
    reply_wait_s: float | None = None,
    quit_after_s: float | None = None,
    verify: bool = False,
    reader: Reader | None = None,
) -> RelaySummary:
    """Be netcat: send what `source` has, write what comes back to `sink`, until the peer closes.

    `source` and `sink` are descriptors or binary streams; a `sink` of None throws away. The end of the input
    half-closes the connection, unless told otherwise. `idle_s` ends it when nothing moved for so long,
    `quit_after_s` so long after the end of the input. Datagrams have no end: without `quit_after_s` it ends when
    nothing came for `reply_wait_s` after the end of the input; None is `idle_s` if given, else one second, and
    `math.inf` for ever. Each read of the input is then one datagram. `reader` makes of what is read what is sent, such
    as another line end (`CrlfReader`).

    Raises `OperationError`; `NoReplyError` when datagrams were waited for and not one came; with `verify`
    `ProtocolError` when what comes back is 64 MiB behind.
    """
    waited = next((s for s in (reply_wait_s, idle_s, DATAGRAM_WAIT_S) if s is not None), None)
    by_silence = not peer.is_stream and quit_after_s is None and waited != math.inf
    endings = Endings(half_close, idle_s, waited if by_silence else None, quit_after_s)
    ledger = (StreamLedger() if peer.is_stream else DatagramLedger()) if verify else None
    try:
        done = kernel_relay.relay(
            peer.channel,
            source,
            sink,
            endings,
            reader=reader,
            on_sent=ledger.sent if ledger else None,
            on_received=ledger.received if ledger else None,
        )
    except OperationError as error:
        explained(error, peer.remote, peer.channel.icmp)
        raise
    if done.ended == "idle" and done.sent_messages and not done.received_messages:
        limit = format_duration(waited if by_silence else idle_s)
        raise NoReplyError(f"recv {peer.channel.endpoint}: nothing came within {limit} (our timer)")
    return RelaySummary(
        done.sent_bytes,
        done.received_bytes,
        done.ended,
        ledger.verdict() if isinstance(ledger, StreamLedger) else None,
        ledger.tally if isinstance(ledger, DatagramLedger) else None,
    )


@dataclass(frozen=True, slots=True)
class Scanned:
    """Whether `endpoint` takes connections: how long connecting took, or the error that says why it does not."""

    endpoint: Endpoint
    connect_s: float | None
    error: EchowireError | None = None

    @property
    def is_open(self) -> bool:
        """Whether it does."""
        return self.error is None


def scan(endpoints: Iterable[Endpoint], **how: Any) -> Iterator[Scanned]:
    """Connect to each of `endpoints` and close again; nothing is sent. `how` is as for `call`.

    Raises `UsageError` for UDP: to connect such a socket asks nobody, and so tells nothing.
    """
    for endpoint in endpoints:
        if endpoint.transport == "udp":
            raise UsageError(f"{endpoint}: connecting a UDP socket asks nobody; send something instead, as with -m hi")
        try:
            with call(endpoint, **how) as peer:
                scanned = Scanned(endpoint, peer.connect_s)
        except UsageError:
            raise
        except EchowireError as error:
            scanned = Scanned(endpoint, None, error)
        yield scanned
