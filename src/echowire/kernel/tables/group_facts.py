"""What this host's tables say of a multicast group; and by which interface one is reached. Nothing is sent."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from echowire.core.failures.facts import GroupFacts
from echowire.errors import OperationError, UsageError
from echowire.kernel.connections.groups import interface_number
from echowire.kernel.tables import procfs, rtnetlink
from echowire.kernel.tables.memberships import memberships
from echowire.model import Endpoint, group_address

BY_INTERFACE = ("ff01:", "ff11:", "ff02:", "ff12:")
"""Groups that are another one on each link, so that no route can tell which is meant (RFC 4291 section 2.7)."""


def placed(endpoint: Endpoint, interface: str = "") -> Endpoint:
    """`endpoint`, a group, with its interface for a zone: the one it names, else `interface`, else the route's.

    Without any it comes back as it is. Raises `UsageError` for an interface that there is not, and where the two name
    different ones; for a group of one link, if neither names any.
    """
    host, _, zone = endpoint.host.partition("%")
    if zone and interface and zone != interface:
        raise UsageError(f"{endpoint} names {zone}, and --interface {interface}; give one of them")
    if zone or interface:
        named = replace(endpoint, host=f"{host}%{zone or interface}")
        index = interface_number(named)
        return replace(endpoint, host=f"{host}%{socket.if_indextoname(index)}")
    if host.lower().startswith(BY_INTERFACE):
        names = [name for _, name in socket.if_nameindex()]
        raise UsageError(f"{endpoint}: this group is another one on each link; name the interface: {host}%{names[-1]}")
    with suppress(OSError, IndexError):
        route = rtnetlink.route_to(host)
        return replace(endpoint, host=f"{host}%{socket.if_indextoname(route.hops[0].interface)}")
    return endpoint


def source_of(endpoint: Endpoint) -> str:
    """The address from which this host sends to `endpoint`, a group with its zone; empty where it cannot be told."""
    with suppress(OSError, UsageError):
        group = group_address(endpoint.host)
        assert group is not None
        return rtnetlink.route_to(str(group), interface=interface_number(endpoint)).source
    return ""


def gather_group(endpoint: Endpoint, *, source: str = "", counters: Mapping[str, int] | None = None) -> GroupFacts:
    """The facts of the group of `endpoint`, sent to or joined on the interface that is its zone.

    `source` is who sends, `counters` how much the kernel's have risen meanwhile. Never raises; what could not be read
    is absent.
    """
    group, _, interface = endpoint.host.partition("%")
    group = str(ipaddress.ip_address(group))
    facts = GroupFacts(group=group, interface=interface, source=source, counters=counters or {})
    with suppress(OperationError, OSError):
        facts = replace(facts, links=tuple(rtnetlink.links()))
    with suppress(OperationError, OSError):
        learnt = tuple(member for member in rtnetlink.bridge_members() if member.group == group)
        facts = replace(facts, bridge_members=learnt)
    own = tuple(one for one in memberships(with_members=False) if one.group == group)
    bound = [entry for entry in procfs.sockets("udp", local_port=endpoint.port) if _hears(entry.local.host, group)]
    return replace(
        facts,
        memberships=own,
        bound=len(bound) if endpoint.port else None,
        reverse_path=reverse_path(interface),
        source_interface=_interface_to(source) if source else None,
    )


def reverse_path(interface: str) -> int | None:
    """`rp_filter` as it is in effect: the larger of the interface's and of `all` (ip-sysctl.rst)."""
    values = [procfs.sysctl(f"net.ipv4.conf.{name.replace('.', '/')}.rp_filter") for name in ("all", interface)]
    known = [value[0] for value in values if value]
    return max(known) if interface and len(known) == 2 else None


def _hears(bound: str, group: str) -> bool:
    address = ipaddress.ip_address(bound)
    return address.is_unspecified or str(address) == group


def _interface_to(address: str) -> str:
    try:
        route = rtnetlink.route_to(address.partition("%")[0])
        return socket.if_indextoname(route.hops[0].interface)
    except (OSError, ValueError, IndexError):
        return ""
