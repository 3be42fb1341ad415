"""What can keep a socket from reaching its peer, as this host's own tables tell it."""

from __future__ import annotations

import errno

from echowire.core.failures.causes.case import Case, Explanation, clash, clashing, holder_of, parsed, to_see
from echowire.core.failures.facts import SocketEntry

SELF_REPORTED = {(4, 3, 1), (6, 1, 3)}
"""Version, type and code of what a host tells itself where a neighbour stays silent: host or address unreachable
(`ipv4_link_failure` and `ndisc_error_report` in the kernel)."""


def ports_used_up(case: Case) -> Explanation | None:
    """Row 6: every local port is taken towards this destination."""
    count, ports = case.facts.connections, case.facts.ephemeral_ports
    if not ports or count is None or (not count and case.address and case.address.version == 6):
        # With IPv6 it may also be that this host has no address to call from.
        return None
    first, last = ports
    return (
        (
            f"No local port is free for {case.subject}: {count:,} sockets here already go there, and"
            f" net.ipv4.ip_local_port_range has {last - first + 1:,} ({first} to {last})."
        ),
        "Reuse connections (a pool, keep-alive), or widen the range.",
    )


def refused_here(case: Case) -> Explanation | None:
    """Rows 7 to 9 where the target is this host: its own tables tell."""
    if not case.is_here or case.facts.sockets is None or case.target is None:
        return None
    states = ("UNCONN",) if case.transport == "udp" else ("LISTEN",)
    entries = case.sockets(*states)
    verb = "has" if case.transport == "udp" else "listens on"
    if not entries:
        opened = f"has {case.port} open" if case.transport == "udp" else f"listens on {case.port}"
        return f"No process of this host {opened}.", "Start the server, or mend the port."
    first = max(entries, key=lambda entry: clash(case.called, entry))
    if clash(case.called, first) == 1:
        return (
            f"{holder_of(case, first)} {verb} {first.local.address}, but it seems for IPv6 only.",
            f"Call [::1]:{case.target.port}, or have the server bind {case.host} too.",
        )
    if clash(case.called, first):
        return (
            (
                f"{holder_of(case, first)} {verb} {first.local.address} now: it has begun since, or a firewall rule of"
                " this host, or its full queue, refuses for it."
            ),
            "Try again, then look for the rule with `nft list ruleset`.",
        )
    only = _several(entries)
    return (
        f"{holder_of(case, first)} {verb} {only} only, not on {case.host}.",
        (
            f"Call {first.local.address}, or have the server bind {case.host} or every address"
            f"{to_see(case, first.holder)}."
        ),
    )


def _several(entries: list[SocketEntry]) -> str:
    return " and ".join(sorted({entry.local.address for entry in entries})[:3])


def refused_there(case: Case) -> Explanation | None:
    """Rows 7 and 41: another host refused, and no more is known."""
    if case.transport == "udp":
        return (
            (
                f"An earlier datagram came back with ICMP port unreachable: nothing has {case.port} open there, or a"
                " firewall says so."
            ),
            "Start the server, or mend the port; UDP tells so only at the next call.",
        )
    if case.transport != "tcp":
        return None
    return (
        f"{case.host} answered with a reset: nothing listens on {case.port} there, or a firewall answers for it.",
        "Start the server, or mend the port.",
    )


def nothing_came(case: Case) -> Explanation | None:
    """Rows 10 and 23: the call was not answered."""
    if case.transport != "tcp":
        return None
    waiting = [entry for entry in clashing(case, case.sockets("LISTEN")) if entry.receive_queue]
    if case.is_here and waiting:
        first = waiting[0]
        count = "1 connection" if first.receive_queue == 1 else f"{first.receive_queue:,} connections"
        return (
            (f"{holder_of(case, first)} listens on {first.local.address} and leaves {count} waiting to be accepted."),
            "Have it accept faster, or listen with a larger backlog (capped by net.core.somaxconn).",
        )
    whose = "within the time given here" if case.ours else "until the kernel gave up (net.ipv4.tcp_syn_retries)"
    return (
        (
            f"Neither an answer nor a refusal came {whose}: the packets are dropped on the way there or back, or"
            f" {case.host} is down."
        ),
        f"Check the address and that the host is up, then the firewall rules for {case.port}.",
    )


def no_route(case: Case) -> Explanation | None:
    """Row 14: this host's routing table has no way, or an `unreachable` route."""
    if case.facts.route_number not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return None
    if case.facts.route_number == errno.EHOSTUNREACH:
        return f"This host's route to {case.host} says unreachable.", f"Mend the route; see `ip route get {case.host}`."
    six = case.address is not None and case.address.version == 6
    return f"This host has no route to {case.host}.", (
        "Use IPv4 (-4), or give this host an IPv6 route." if six else "Add a route, or check that the network is up."
    )


def forbidding_route(case: Case) -> Explanation | None:
    """Row 15: a prohibit or blackhole route."""
    kind = {errno.EACCES: "prohibits it", errno.EINVAL: "is a blackhole"}.get(case.facts.route_number or 0)
    if kind is None or case.facts.route_number != case.number or lacks_zone(case):
        return None
    return f"This host's route to {case.host} {kind}.", f"Change the route; see `ip route get {case.host}`."


def lacks_zone(case: Case) -> Explanation | None:
    """A link-local IPv6 address without its interface (RFC 4007 section 11)."""
    address = case.address
    if address is None or address.version == 4 or not address.is_link_local or "%" in case.host:
        return None
    return "A link-local address means nothing without its interface.", f"Write it with its zone, as {case.host}%eth0."


def broadcast(case: Case) -> Explanation | None:
    """A broadcast address without SO_BROADCAST (socket(7))."""
    if case.transport != "udp" or case.facts.route_number != 0:
        return None
    if case.address is None or case.address.version == 6:
        return None
    return (
        f"There is a route to {case.host}, so it is a broadcast address, or a security module forbids it.",
        "Set SO_BROADCAST on the socket to send to all (--broadcast).",
    )


def neighbour_silent(case: Case) -> Explanation | None:
    """Row 13: the neighbour, or the gateway, does not answer on the link."""
    hop, icmp = case.facts.next_hop, case.facts.icmp
    offender = parsed(icmp.offender) if icmp else None
    if offender and not case.is_own(offender):
        return None
    if hop and case.facts.next_hop_answers is False:
        who = f"{hop} does not answer ARP" if hop == case.host else f"The gateway {hop} does not answer ARP"
        return f"{who}: it is down, or not on this network.", "Check that it is up, and this host's subnet mask."
    if icmp is None or offender is None or (icmp.version, icmp.type, icmp.code) not in SELF_REPORTED:
        return None
    return (
        (
            f"This host itself gave up on {case.host}: nobody on the link answers for it, or a rule of its own firewall"
            " rejects it."
        ),
        "Check that the host is up and on this network.",
    )
