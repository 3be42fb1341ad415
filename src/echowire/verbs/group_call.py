"""A multicast group, or all hosts of a link, called: `call`, `bench` and `ping` where the endpoint is many.

    for answer in echowire.call_group("udp://239.1.2.3%eth0:5000", count=10).answers(): ...

It is a part of those verbs: one engine and one report, for the question is the same (who answers, and how well), and
only the pace differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from echowire.core.failures.causes.groups import Finding, unanswered
from echowire.core.load.group_ledger import GroupAnswer, GroupLedger, SenderAccount
from echowire.core.load.verify import Payloads
from echowire.core.schemas import document_head
from echowire.engines.load.group import GroupSocket, PingSocket, run
from echowire.errors import UsageError
from echowire.kernel.connections.groups import Sending, interface_number
from echowire.kernel.connections.resolve import Source
from echowire.kernel.tables import rtnetlink
from echowire.kernel.tables.group_facts import gather_group, placed, source_of
from echowire.model import DEFAULT_PORT, Endpoint, EndpointLike, Family
from echowire.verbs.explained import explaining

DEFAULT_SIZE = 64
WAIT_S = 1.0
"""How long after the last datagram answers are waited for, unless it is said."""


MEASURABLE, PACE_KEPT = 100, 0.95
"""Datagrams from which on a pace can be told, and what part of it must be kept to be called so."""


@dataclass(frozen=True, slots=True)
class GroupReport:
    """What was sent to many, and who answered.

    `findings` say why nobody did, the certain causes first; they are empty where somebody did, or nobody was to.
    """

    endpoint: Endpoint
    """Of a ping the port is 0, for it has none."""
    probe: str
    """`udp` or `icmp`."""
    source: str
    """The address from which it was sent; empty where that cannot be told."""
    how: Sending
    sent: int
    sent_bytes: int
    seconds: float
    """From the first datagram to the last."""
    asked_per_s: float | None
    """How many datagrams a second were to be sent; None where each was sent when there was one."""
    senders: tuple[SenderAccount, ...]
    unexpected: int
    others: int
    dropped_here: int
    """Answers that this host itself threw away: they are counted as lost, and are no fault of the path."""
    findings: tuple[Finding, ...] = ()

    @property
    def kept_pace(self) -> bool:
        """Whether as many went out a second as were to: else this host was the limit, not the group."""
        if not self.asked_per_s or self.sent < MEASURABLE:
            return True
        return self.sent / max(self.seconds, 1e-9) >= PACE_KEPT * self.asked_per_s

    @property
    def target(self) -> str:
        """The endpoint's URL, or the host that was pinged."""
        return self.endpoint.url if self.probe == "udp" else self.endpoint.host

    @property
    def ok(self) -> bool:
        """Whether somebody answered, and all who did answered everything, once, in order and right."""
        return bool(self.senders) and not any(
            one.lost(self.sent) or one.duplicated or one.reordered or one.intact != one.answered for one in self.senders
        )

    def document(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            **document_head("group"),
            "endpoint": self.target,
            "probe": self.probe,
            "interface": self.endpoint.host.partition("%")[2] or None,
            "source": self.source or None,
            "ttl": None if self.how.broadcast else self.how.ttl,
            "loop": None if self.how.broadcast else self.how.loop,
            "broadcast": self.how.broadcast,
            "sent": self.sent,
            "sent_bytes": self.sent_bytes,
            "seconds": self.seconds,
            "asked_per_s": self.asked_per_s,
            "senders": [one.document(self.sent) for one in self.senders],
            "unexpected": self.unexpected,
            "others": self.others,
            "dropped_here": self.dropped_here,
            "findings": [asdict(finding) for finding in self.findings],
        }


@dataclass(slots=True)
class GroupCall:
    """What is to be sent to many; `run` sends it. Made by `call_group`."""

    endpoint: Endpoint
    how: Sending
    probe: str
    _address: tuple[Any, ...]
    _source: Source
    _messages: Iterable[bytes]
    _payloads: Payloads
    _size: int | None
    _interval_s: float
    _wait_s: float
    _seconds: float | None
    _hears: bool
    _ledger: GroupLedger = field(init=False)
    report: GroupReport | None = None
    """What came of it, once `run` has ended, also by an error or Ctrl-C."""

    def run(self, on_answer: Callable[[GroupAnswer], object] | None = None) -> GroupReport:
        """Send, and hear who answers. Raises `OperationError` of what this host refuses."""
        ledger, began = GroupLedger(self._payloads, self._size), time.perf_counter()
        kind = GroupSocket if self.probe == "udp" else PingSocket
        with explaining(self.endpoint), kind(self.endpoint, self._address, self.how, self._source) as channel:
            try:
                run(
                    channel,
                    ledger,
                    self._messages,
                    interval_s=self._interval_s,
                    wait_s=self._wait_s if self._hears else 0.0,
                    on_answer=on_answer,
                    until=None if self._seconds is None else began + self._seconds,
                )
            finally:
                self.report = self._reported(ledger, channel.dropped)
        return self.report

    def _reported(self, ledger: GroupLedger, dropped: int) -> GroupReport:
        at = self.endpoint
        source = self._source.host or (source_of(at) if at.is_group else "")
        report = GroupReport(
            endpoint=at,
            probe=self.probe,
            source=source,
            how=self.how,
            sent=ledger.sent,
            sent_bytes=ledger.sent_bytes,
            seconds=(ledger.sent_until or 0.0) - (ledger.sent_from or 0.0),
            asked_per_s=1.0 / self._interval_s if self._interval_s else None,
            senders=tuple(ledger.senders.values()),
            unexpected=ledger.unexpected,
            others=ledger.others,
            dropped_here=dropped,
        )
        if not self._hears or report.senders or not at.is_group or not report.sent:
            return report
        facts = gather_group(at, source=source)
        found = unanswered(facts, ttl=self.how.ttl, loop=self.how.loop, probe=self.probe)
        return replace(report, findings=tuple(found))


def is_many(endpoint: Endpoint, *, broadcast: bool = False) -> bool:
    """Whether `endpoint` is called by `call_group`: it is a group, or a broadcast address and that is meant."""
    return endpoint.is_group or (broadcast and endpoint.transport == "udp")


def call_group(
    endpoint: EndpointLike,
    messages: Iterable[bytes] | None = None,
    *,
    size: int = DEFAULT_SIZE,
    count: int | None = 1,
    seconds: float | None = None,
    interval_s: float = 0.0,
    wait_s: float = WAIT_S,
    hears: bool = True,
    ttl: int = 1,
    loop: bool = True,
    interface: str = "",
    broadcast: bool = False,
    family: Family | None = None,
    source: str = "",
    source_port: int = 0,
    probe: str = "udp",
) -> GroupCall:
    """Call a multicast group (`udp://239.1.2.3%eth0:5000`), or with `broadcast` the broadcast address of a link.

    `messages` are sent in turn; without, `count` payloads of `size` bytes that say which one they are, None without
    end, or until `seconds` have gone. `interval_s` lies between two; after the last one
    answers are waited for `wait_s`, unless nobody `hears`. `probe` is `udp`, or `icmp` for pings, which have no port.
    `ttl`, `loop` and `interface` are those of what is sent.
    Nothing is sent until `run` is called. Raises `UsageError`.
    """
    at = Endpoint.of(endpoint, transport="udp", port=DEFAULT_PORT)
    if at.transport != "udp":
        raise UsageError(f"{at}: many are called by datagrams; write udp://{at.address}, or -u")
    if probe == "icmp":
        at = replace(at, port=0)
    elif at.port == 0:
        raise UsageError(f"{at}: port 0 means any free port to a server; a call needs the one that is served")
    if at.source:
        raise UsageError(f"{at}: a source is named by those who join; one sends from it with --source {at.source}")
    if not 0 <= ttl <= 255:
        raise UsageError(f"a time to live is a number from 0 to 255, and not {ttl}")
    if at.is_group:
        at = placed(at, interface)
        number = interface_number(at)
        address = _group_socket_address(at, number, family)
    else:
        number, address = _broadcast(at, interface)
    payloads = Payloads(os.urandom(8))
    return GroupCall(
        endpoint=at,
        how=Sending(ttl, loop, number, broadcast and not at.is_group),
        probe=probe,
        _address=address,
        _source=Source(source, source_port),
        _messages=_numbered(payloads, size, count) if messages is None else messages,
        _payloads=payloads,
        _size=size if messages is None else None,
        _interval_s=interval_s,
        _wait_s=wait_s,
        _seconds=seconds,
        _hears=hears,
    )


def _group_socket_address(at: Endpoint, number: int, family: Family | None) -> tuple[Any, ...]:
    host = at.host.partition("%")[0]
    version = 6 if ":" in host else 4
    if family not in (None, version):
        raise UsageError(f"{at} is no IPv{family} group")
    return (host, at.port, 0, number) if version == 6 else (host, at.port)


def _broadcast(at: Endpoint, interface: str) -> tuple[int, tuple[str, int]]:
    """The interface's number, 0 for the route's, and the socket address. Raises `UsageError`."""
    number = interface_number(replace(at, host=f"{at.host}%{interface}")) if interface else 0
    if not rtnetlink.is_broadcast(at.host):
        raise UsageError(f"{at}: {at.host} is no broadcast address of this host's links; leave out --broadcast")
    return number, (at.host, at.port)


def _numbered(payloads: Payloads, size: int, count: int | None) -> Iterator[bytes]:
    number = 0
    while count is None or number < count:
        yield payloads.make(number, size)
        number += 1
