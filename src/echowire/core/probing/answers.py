"""What answers a probe, in a word, and who said it: the vocabulary of `ping` and `path`. Pure."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from echowire.core.probing.icmp import KINDS, Kind

Word: TypeAlias = Literal[
    "reply",
    "refused",
    "filtered",
    "unreachable",
    "too big",
    "ttl exceeded",
    "no reply",
    "no route",
    "name unknown",
]

Clock: TypeAlias = Literal["kernel", "kernel receive", "monotonic"]
"""What a round trip was measured with: the kernel's stamps of sending and receiving, its stamp of receiving and this
program's clock before sending, or this program's clock for both."""

UP: frozenset[Word] = frozenset({"reply", "refused"})
"""Words that only the target itself can have said: it is there."""

_OF_KIND: Mapping[Kind, tuple[Word, str]] = {
    "net": ("unreachable", "net"),
    "host": ("unreachable", "host"),
    "port": ("unreachable", "port"),
    "protocol": ("unreachable", "protocol"),
    "forbidden": ("filtered", ""),
    "size": ("too big", ""),
    "hops": ("ttl exceeded", ""),
}

_OF_ERRNO: Mapping[int, Word] = {
    errno.ENETUNREACH: "no route",
    errno.EHOSTUNREACH: "no route",
    errno.EHOSTDOWN: "no route",
    errno.ENETDOWN: "no route",  # the link has gone meanwhile
    errno.ENODEV: "no route",
    errno.ENXIO: "no route",
    errno.EADDRNOTAVAIL: "no route",
    errno.EINVAL: "no route",  # a blackhole route (FAILURES row 15)
    errno.EPERM: "filtered",  # a firewall's drop on the way out (row 16)
    errno.EACCES: "filtered",  # a prohibit route, or a broadcast address
    errno.EMSGSIZE: "too big",
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "refused",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one probe, or one more reply to it.

    A probe has one answer that counts, and may have more: a duplicate, or a reply later than was waited for.
    """

    target: int
    """Which target, counted from 0."""
    sequence: int
    """Which of the target's probes, counted from 1."""
    word: Word
    time_ns: int
    """When it came, or was given up; nanoseconds since 1970, UTC."""
    rtt_ns: int | None = None
    clock: Clock | None = None
    by: str = ""
    """The address that answered; empty where nobody did. This host's own refusals have `local`."""
    what: str = ""
    """Of `unreachable`, what is: net, host, port or protocol. Of a local refusal, the error's name."""
    mtu: int | None = None
    ttl: int | None = None
    size: int | None = None
    """Bytes of data that came back."""
    hops: int | None = None
    """The time to live that the probe was sent with, where that was chosen."""
    flow: int = 0
    duplicate: bool = False
    late: bool = False
    """Came after it had been given up, and was counted as lost."""
    reordered: bool = False
    """Came after the reply to a later probe (RFC 4737 section 3.3)."""
    corrupted: bool = False
    retransmitted: bool = False
    """TCP's first SYN was lost, so that `rtt_ns` has the wait for the second in it."""
    forward_ns: int | None = None
    """There, as STAMP's clocks have it: their offset is in it unless both are synchronised."""
    backward_ns: int | None = None
    error_ns: int | None = None
    """The most by which the one-way delays can be wrong, by what both clocks say of themselves; None unless both
    say that they are synchronised."""
    reflected: int | None = None
    """STAMP: the reflector's own sequence number."""
    reflector_received: int | None = None
    """STAMP's direct measurement: how many of this session's packets the reflector has received, and sent."""
    reflector_sent: int | None = None

    @property
    def is_reply(self) -> bool:
        """Whether it counts as the reply of its probe: the target is up, in time, for the first time."""
        return self.word in UP and not self.duplicate and not self.late and not self.corrupted

    def document(self) -> dict[str, Any]:
        """The answer as `--jsonl` has it: times in microseconds, null where nobody answered."""
        values = {**asdict(self), "by": self.by or None, "what": self.what or None}
        for name in ("rtt", "forward", "backward", "error"):
            found = values.pop(f"{name}_ns")
            values[f"{name}_us"] = None if found is None else found / 1e3
        return values


def word_of_icmp(version: int, icmp_type: int, code: int) -> tuple[Word, str]:
    """The word for an ICMP error, and what is unreachable."""
    kind = KINDS.get((version, icmp_type, code))
    if kind is None:
        return "unreachable", f"{'ICMPv6' if version == 6 else 'ICMP'} {icmp_type}/{code}"
    return _OF_KIND[kind[0]]


def word_of_errno(number: int) -> Word | None:
    """The word for what a system call refused; None where it says nothing about the way to the target."""
    return _OF_ERRNO.get(number)
