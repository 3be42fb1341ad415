"""The tables beside that of the sockets: groups joined, counters, interfaces, routes; of another namespace too.

They are what netstat, nstat and ip show, and a part of `sockets`. Each function asks once, and gives values; who wants
what changed keeps the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from echowire.core.failures.causes.groups import unheard
from echowire.core.schemas import document_head
from echowire.core.sockets.counters import CounterChange, changes
from echowire.core.sockets.memberships import Membership
from echowire.core.sockets.rtnetlink import TABLES, Link, Route
from echowire.errors import OperationError
from echowire.kernel.boundary import operation
from echowire.kernel.tables import counters as counter_tables
from echowire.kernel.tables import memberships as membership_tables
from echowire.kernel.tables import namespaces, processes, rtnetlink
from echowire.kernel.tables.group_facts import gather_group
from echowire.model import Endpoint
from echowire.verbs.sockets import ENTER_REMEDIES

Result = TypeVar("Result")


def _within(namespace: str | None, function: Callable[[], Result]) -> Result:
    """What `function` returns in the namespace. Raises `OperationError` where it may not be entered."""
    if namespace is None:
        return function()
    path = namespaces.path_of(namespace)
    try:
        with operation("enter", path):
            return namespaces.within(path, function)
    except OperationError as error:
        error.remedy = error.remedy or ENTER_REMEDIES.get(error.number, "")
        raise


# --- groups ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memberships:
    """The groups that were joined. `sees_all` says whether every process could be looked into for its sockets."""

    found: tuple[Membership, ...]
    sees_all: bool

    def document(self) -> dict[str, Any]:
        """The table as JSON has it."""
        return {
            **document_head("sockets.memberships"),
            "memberships": [one.document() for one in self.found],
            "sees_all_processes": self.sees_all,
        }


def memberships(namespace: str | None = None, *, link_layer: bool = True) -> Memberships:
    """Who has joined which multicast group on which interface; with `link_layer` the addresses of the links too.

    `namespace` is another network namespace: its name, or the number of a process in it. Raises `OperationError`.
    """

    def ask() -> list[Membership]:
        found = membership_tables.memberships(link_layer=link_layer)
        return [replace(one, troubles=_troubles(one)) if one.members else one for one in found]

    return Memberships(tuple(_within(namespace, ask)), bool(processes.sees_all_processes()))


def _troubles(one: Membership) -> tuple[str, ...]:
    """What keeps the group's datagrams from the programs that have joined it, as far as it is certain."""
    wanted = sorted({source for member in one.members for source in member.sources if member.mode == "include"})
    found: dict[str, None] = {}
    for source in wanted or [""]:
        facts = gather_group(Endpoint("udp", f"{one.group}%{one.interface}"), source=source)
        found |= {str(finding): None for finding in unheard(facts) if finding.is_certain}
    return tuple(found)


# --- counters --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CounterLook:
    """The kernel's counters at one moment. `since_s` are the seconds since the last look; None: this is the first."""

    counters: tuple[CounterChange, ...]
    since_s: float | None
    at_s: float
    """Seconds since the host started."""

    def values(self) -> dict[str, int]:
        """The values, for the next look to begin from."""
        return {one.name: one.value for one in self.counters}

    def document(self) -> dict[str, Any]:
        """The look as JSON has it."""
        return {
            **document_head("sockets.counters"),
            "since_s": self.since_s,
            "counters": [one.document() for one in self.counters],
        }


def counters(namespace: str | None = None, *, since: CounterLook | None = None, keep: bool = True) -> CounterLook:
    """The counters and their changes since the look `since`; without, since the last one that this user kept.

    With `keep`, and without `since`, this look is kept for the next. Raises `OperationError`.
    """

    def ask() -> tuple[int | None, dict[str, int]]:
        return namespaces.inode_of(), counter_tables.read_counters()

    number, found = _within(namespace, ask)
    now = counter_tables.boot_s()
    if since is not None:
        return CounterLook(tuple(changes(found, since.values())), now - since.at_s, now)
    last = counter_tables.last_look(number)
    if keep:
        counter_tables.keep_look(number, now, found)
    if last is None:
        return CounterLook(tuple(changes(found, None)), None, now)
    return CounterLook(tuple(changes(found, last[1])), now - last[0], now)


# --- interfaces ------------------------------------------------------------------------------------------------------

SHOWN = (
    "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_missed_errors", "tx_bytes", "tx_packets", "tx_errors",
    "tx_dropped",
)  # fmt: skip
"""Of an interface's counters those that a line shows."""


@dataclass(frozen=True, slots=True)
class InterfaceLook:
    """The interfaces at one moment, and the look before it, if there was one."""

    links: tuple[Link, ...]
    at_s: float
    before: InterfaceLook | None = None

    @property
    def since_s(self) -> float | None:
        """Seconds since the look before."""
        return None if self.before is None else self.at_s - self.before.at_s

    def rates(self, link: Link) -> dict[str, float] | None:
        """How much each counter rose a second; None where there was no look before, or no such interface in it."""
        was = None if self.before is None else next((one for one in self.before.links if _is_same(one, link)), None)
        if was is None or not self.since_s:
            return None
        return {name: max(0, value - was.counters.get(name, 0)) / self.since_s for name, value in link.counters.items()}

    def rows(self) -> list[dict[str, Any]]:
        """The interfaces as JSON has them."""
        names = {link.index: link.name for link in self.links}
        return [
            {
                "name": link.name,
                "index": link.index,
                "state": link.state,
                "flags": list(link.flags),
                "mtu": link.mtu,
                "kind": link.kind,
                "master": None if link.master is None else names.get(link.master, str(link.master)),
                "counters": dict(link.counters),
                "rates": _named_rates(self.rates(link)),
            }
            for link in self.links
        ]

    def document(self) -> dict[str, Any]:
        """The look as JSON has it."""
        return {**document_head("sockets.interfaces"), "since_s": self.since_s, "interfaces": self.rows()}


def _named_rates(rates: dict[str, float] | None) -> dict[str, float] | None:
    return None if rates is None else {f"{name}_per_s": rate for name, rate in rates.items()}


def _is_same(one: Link, other: Link) -> bool:
    return (one.index, one.name) == (other.index, other.name)


def link_counters(namespace: str | None = None, *, since: InterfaceLook | None = None) -> InterfaceLook:
    """The interfaces and their counters; with `since` also their rates from then on. Raises `OperationError`."""
    found = tuple(_within(namespace, rtnetlink.links))
    return InterfaceLook(found, counter_tables.boot_s(), None if since is None else replace(since, before=None))


# --- routes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Routes, and the names of the interfaces that they go by."""

    routes: tuple[Route, ...]
    names: dict[int, str]

    def name(self, number: int) -> str:
        """The name of the interface of that number, `-` for none."""
        return self.names.get(number, f"if{number}") if number else "-"

    def rows(self) -> list[dict[str, Any]]:
        """The routes as JSON has them."""
        return [
            {
                "family": f"ipv{route.family}",
                "type": route.type,
                "destination": route.destination,
                "table": table_name(route.table),
                "hops": [
                    {
                        "gateway": hop.gateway or None,
                        "interface": self.name(hop.interface) if hop.interface else None,
                        "weight": hop.weight,
                        "flags": list(hop.flags),
                    }
                    for hop in route.hops
                ],
                "source": route.source or None,
                "metric": route.metric,
                "protocol": route.protocol,
                "scope": route.scope,
                "mtu": route.mtu,
                "advmss": route.advmss,
                "window": route.window,
            }
            for route in self.routes
        ]

    def document(self) -> dict[str, Any]:
        """The table as JSON has it."""
        return {**document_head("sockets.routes"), "routes": self.rows()}


def table_name(number: int) -> str:
    """`main`, `local`, `default`, or the number."""
    return TABLES.get(number, str(number))


def routes(namespace: str | None = None, *, family: int | None = None, every_table: bool = False) -> RouteTable:
    """The routes of the main table, or of every one: IPv4's before IPv6's, each as the kernel has them.

    Raises `OperationError`.
    """

    def ask() -> tuple[list[Route], dict[int, str]]:
        return rtnetlink.routes(family), {link.index: link.name for link in rtnetlink.links()}

    found, names = _within(namespace, ask)
    return RouteTable(tuple(route for route in found if every_table or table_name(route.table) == "main"), names)
