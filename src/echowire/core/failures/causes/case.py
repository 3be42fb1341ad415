"""One failed call with its evidence, and what the rules ask of it in common."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from echowire.core.failures.facts import HostFacts, Process, SocketEntry
from echowire.model import Endpoint, is_address

Explanation: TypeAlias = tuple[str, str]
"""Meaning and remedy: a sentence each. A remedy begins with a verb, because it follows the meaning in one line."""

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Case:
    """One error to be explained. `subject` is its endpoint as text; `ours` says whose timer a time-out was."""

    operation: str
    number: int
    target: Endpoint | None
    facts: HostFacts
    subject: str
    ours: bool = False

    @property
    def transport(self) -> str:
        """`tcp` (for TLS too), `udp`, or `unix` (for both kinds); empty where there is no target."""
        if self.target is None:
            return ""
        return "unix" if self.target.is_unix else "udp" if self.target.transport == "udp" else "tcp"

    @property
    def host(self) -> str:
        """The target's host, or what stands for it."""
        return self.target.host if self.target and self.target.host else "the target"

    @property
    def port(self) -> str:
        """`port 80`, with `UDP` before it where it is one."""
        number = f"port {self.target.port}" if self.target and not self.target.is_unix else "the port"
        return f"UDP {number}" if self.transport == "udp" else number

    @property
    def address(self) -> Address | None:
        """The target's address; None where it is a name, a path or every interface."""
        return parsed(self.target.host) if self.target and not self.target.is_unix else None

    @property
    def called(self) -> Address | None:
        """Where a call to the target goes: 0.0.0.0 and :: stand for the loopback address (ip(7)), as does its name."""
        host = self.target.host if self.target else ""
        return parsed({"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(host, host))  # noqa: S104

    @property
    def is_here(self) -> bool:
        """Whether the target is one of this host's own addresses, for certain."""
        if self.target and not self.target.is_unix and self.target.host in ("", "localhost"):
            return True
        return self.address is not None and (self.address.is_unspecified or self.is_own(self.address))

    def is_own(self, address: Address) -> bool:
        """Whether `address` is known to be one of this host's."""
        return any(address in network for network in self.facts.local_addresses or ())

    def sockets(self, *states: str) -> list[SocketEntry]:
        """The sockets on the target's port in one of `states`."""
        return [entry for entry in self.facts.sockets or () if entry.state in states]


Rule: TypeAlias = Callable[[Case], Explanation | None]
"""Says what a case means if its evidence shows it, and is silent if not."""


def parsed(host: str) -> Address | None:
    """The address that `host` is, its zone dropped (a group's is there with IPv4, too), an IPv4-mapped one as IPv4."""
    host = host.partition("%")[0]
    if not is_address(host):
        return None
    address = ipaddress.ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address


def clash(wanted: Address | None, entry: SocketEntry) -> Literal[0, 1, 2]:
    """How surely a socket bound to `entry`'s address takes the port from `wanted`: 2 surely, 1 perhaps, 0 no.

    Perhaps is a `::` against an IPv4 address: the table does not tell whether it is IPv6 only (ipv6(7)).
    """
    bound = parsed(entry.local.host)
    if wanted is None or bound is None or wanted == bound:
        return 2
    if wanted.version == bound.version:
        return 2 if wanted.is_unspecified or bound.is_unspecified else 0
    six = wanted if wanted.version == 6 else bound
    return 1 if six.is_unspecified else 0


def clashing(case: Case, entries: list[SocketEntry]) -> list[SocketEntry]:
    """Those of `entries` whose address takes the target's, the surest first."""
    ranked = [(clash(case.address, entry), entry) for entry in entries]
    return [entry for rank, entry in sorted(ranked, key=lambda pair: -pair[0]) if rank]


def holder_of(case: Case, entry: SocketEntry) -> str:
    """`nginx (pid 12)`, or what is known of a holder that may not be seen."""
    if entry.holder:
        return str(entry.holder)
    if case.facts.sees_all_processes:
        return "The kernel, or a process outside this PID namespace,"
    return "A process that this user may not see" + (f" (uid {entry.uid})" if entry.uid is not None else "")


def to_see(case: Case, holder: Process | None) -> str:
    """What follows a remedy where the holder is not known for want of rights."""
    return "" if holder or case.facts.sees_all_processes else "; root, or CAP_SYS_PTRACE, sees which process it is"
