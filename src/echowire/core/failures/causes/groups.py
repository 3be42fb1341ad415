"""Why a multicast group stays silent: to one who sends to it and gets no answer, and to one who has joined it.

Nothing refuses a datagram that is sent to a group: whoever does not want it is not asked. So most of this is no error
of a call, but a finding in this host's own tables, each with what it stands on; `is_certain` where the table alone
shows that nothing can come that way. What another host's tables would say is not known here, and what is likely all the
same comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from echowire.core.failures.causes.case import Case, Explanation
from echowire.core.failures.facts import GroupFacts

if TYPE_CHECKING:
    from echowire.core.sockets.rtnetlink import Link

STRICT, LOOSE = 1, 2


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause, by a short name; what it means with its proof, and what to do; a sentence each."""

    cause: str
    is_certain: bool
    meaning: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.meaning.removesuffix('.')}; {self.remedy[:1].lower()}{self.remedy[1:]}"


# --- what the system refused -----------------------------------------------------------------------------------------


def no_interface(case: Case) -> Explanation | None:
    """ENODEV or ENETUNREACH: neither an interface was named nor does a route tell one (ip(7), IP_ADD_MEMBERSHIP)."""
    if case.address is None or not case.address.is_multicast or "%" in case.host:
        return None
    return (
        f"No route of this host says which interface {case.host} is on.",
        f"Name the interface (--interface eth0, or {case.host}%eth0), or add a route for 224.0.0.0/4.",
    )


def too_many_memberships(case: Case) -> Explanation | None:
    """ENOBUFS where a group is joined (igmp_max_memberships in Documentation/networking/ip-sysctl.rst)."""
    if case.operation != "join" or case.address is None or case.address.version == 6:
        return None
    return "A socket may join no more groups than net.ipv4.igmp_max_memberships says.", "Raise it, or join fewer."


# --- what one sends that nobody answers ------------------------------------------------------------------------------


def unanswered(facts: GroupFacts, *, ttl: int, loop: bool, probe: str = "udp") -> list[Finding]:
    """What keeps those who joined from hearing what is sent, the certain first. Never empty."""
    found = [finding for rule in SENT for finding in rule(facts)]
    found += _of_this_host(facts, loop=loop, probe=probe)
    if any(finding.is_certain for finding in found):
        return sorted(found, key=lambda finding: not finding.is_certain)
    left = f"It left by {facts.interface or 'the route'}"
    if probe == "icmp" and ":" not in facts.group:
        found.append(
            Finding(
                "pings-ignored",
                False,
                f"{left}, and Linux hosts answer no ping to a group unless net.ipv4.icmp_echo_ignore_broadcasts is 0",
                "Ask those who joined by their own port: call -u, or ping -u.",
            )
        )
    elif ttl == 1 and not _is_of_the_link(facts.group):
        found.append(
            Finding(
                "ttl",
                False,
                f"{left} with TTL 1, which no router passes on, and nobody on that link has joined and answers",
                "Start the receiver there, or give --ttl 8 if it is behind a router.",
            )
        )
    else:
        found.append(
            Finding(
                "nobody",
                False,
                f"{left}, and nobody whom it reached has joined and answers",
                "Look with `echowire sockets --groups` on the hosts that should.",
            )
        )
    return found


def _is_of_the_link(group: str) -> bool:
    """Whether no router passes it on whatever its TTL (RFC 5771 section 4; RFC 4291 section 2.7)."""
    return group.startswith("224.0.0.") or group.lower().startswith(("ff01:", "ff02:"))


def _link_is_off(facts: GroupFacts) -> Iterator[Finding]:
    link = facts.link(facts.interface)
    if link is None:
        return
    if not link.is_up:
        yield Finding("link-down", True, f"{link.name} is down", f"Switch it on: ip link set {link.name} up.")
    elif "LOWER_UP" not in link.flags and "LOOPBACK" not in link.flags:
        yield Finding("no-carrier", True, f"{link.name} has no carrier", "Plug in its cable, or switch on its peer.")
    elif "MULTICAST" not in link.flags and "LOOPBACK" not in link.flags:
        yield Finding(
            "no-multicast",
            True,
            f"{link.name} is marked as one that carries no multicast",
            f"Mark it: ip link set {link.name} multicast on.",
        )


def _bridge_of(facts: GroupFacts) -> Link | None:
    """The bridge of this host that the datagram goes through: the interface itself, or what it is a port of."""
    link = facts.link(facts.interface)
    if link is None or link.kind == "bridge":
        return link
    master = next((other for other in facts.links if other.index == link.master), None)
    return master if master is not None and master.kind == "bridge" else None


def _members_elsewhere(facts: GroupFacts) -> Iterator[Finding]:
    """Members behind a bridge of this host by which it was not sent."""
    own = _bridge_of(facts)
    ports: dict[int, list[str]] = {}
    for member in facts.bridge_members:
        if own is None or member.bridge != own.index:
            ports.setdefault(member.bridge, []).append(facts.name_of(member.port))
    for bridge, names in ports.items():
        name = facts.name_of(bridge)
        yield Finding(
            "wrong-interface",
            True,
            f"It left by {facts.interface}, and its members are behind {name} ({_listed(names)} in `bridge mdb`)",
            f"Send it there: --interface {name}.",
        )


def _no_member_behind(facts: GroupFacts) -> Iterator[Finding]:
    """A bridge of this host that snoops and knows no member of the group."""
    bridge = _bridge_of(facts)
    if bridge is None or bridge.kind != "bridge" or not bridge.snooping:
        return
    if any(member.bridge == bridge.index for member in facts.bridge_members):
        return
    if _is_of_the_link(facts.group) and facts.group.startswith("224.0.0."):
        return  # passed on to all, joined or not (RFC 4541 section 2.1.2)
    ports = [link for link in facts.links if link.master == bridge.index]
    shut = [port.name for port in ports if port.floods is False and not port.port_of_router]
    if bridge.own_querier or bridge.querier:
        asked = f"{'its own querier' if bridge.own_querier else bridge.querier} asks who has"
        yield Finding(
            "no-member",
            True,
            f"Nobody behind {bridge.name} has joined {facts.group}: `bridge mdb` has no entry, and {asked}",
            "Start the receiver, or see on which interface it has joined.",
        )
    elif shut:
        yield Finding(
            "no-querier",
            True,
            (
                f"{bridge.name} snoops and nobody asks who has joined (no querier), so it has forgotten the members of"
                f" {facts.group} (no entry in `bridge mdb`), and {_listed(shut)} gets only what is joined"
            ),
            f"Have it ask: ip link set {bridge.name} type bridge mcast_querier 1.",
        )


SENT: tuple[Callable[[GroupFacts], Iterator[Finding]], ...] = (_link_is_off, _members_elsewhere, _no_member_behind)


def _of_this_host(facts: GroupFacts, *, loop: bool, probe: str) -> Iterator[Finding]:
    """Members on this host itself, which do not hear it."""
    here = [one for one in facts.memberships if one.interface == facts.interface]
    if not here:
        for one in facts.memberships:
            yield Finding(
                "wrong-interface",
                True,
                f"This host has joined {facts.group} on {one.interface}, and it left by {facts.interface}",
                f"Send it there (--interface {one.interface}), or join it on {facts.interface}.",
            )
        return
    if not loop:
        yield Finding(
            "no-loop",
            True,
            f"This host has joined {facts.group} on {facts.interface}, and --no-loop keeps it from its own members",
            "Leave out --no-loop.",
        )
        return
    wanted = [source for source in here[0].sources if source.included]
    if facts.source and wanted and all(source.address != facts.source for source in wanted):
        yield Finding(
            "other-source",
            True,
            (
                f"This host has joined {facts.group} for {_listed([one.address for one in wanted])} alone, and it came"
                f" from {facts.source}"
            ),
            f"Send it from there (--source), or join it for {facts.source}.",
        )
    elif facts.bound == 0 and probe == "udp":
        yield Finding(
            "no-socket",
            True,
            f"This host has joined {facts.group} on {facts.interface}, but no socket of it is bound to that port",
            "Bind one to the port that is called.",
        )


# --- what one joined and hears nothing of ----------------------------------------------------------------------------


def unheard(facts: GroupFacts) -> list[Finding]:
    """What keeps datagrams of a group from those who joined it on `facts.interface`, the certain first; or nothing."""
    found = [finding for rule in JOINED for finding in rule(facts)]
    return sorted(found, key=lambda finding: not finding.is_certain)


def _reverse_path(facts: GroupFacts) -> Iterator[Finding]:
    """Datagrams whose sender would not be answered by the interface on which they come (RFC 3704)."""
    dropped = facts.counters.get("TcpExtIPReversePathFilter", 0)
    setting = f"net.ipv4.conf.{facts.interface}.rp_filter is {facts.reverse_path}"
    if not facts.reverse_path or ":" in facts.group:
        return
    if facts.source and facts.source_interface is not None and facts.source_interface != facts.interface:
        if facts.reverse_path == LOOSE and facts.source_interface:
            return
        way = f"goes by {facts.source_interface}" if facts.source_interface else "is not there"
        yield Finding(
            "rp-filter",
            True,
            f"What {facts.source} sends is dropped: this host's route to it {way}, and {setting}",
            f"Add a route to {facts.source} by {facts.interface}, or set rp_filter to 0 there and for all.",
        )
    elif dropped:
        yield Finding(
            "rp-filter",
            True,
            (
                f"{dropped:,} packets were dropped meanwhile because this host has no route by which they came to those"
                f" who sent them (IPReversePathFilter), and {setting}"
            ),
            f"Add a route to the sender by {facts.interface}, or set rp_filter to 0 there and for all.",
        )


def _forgotten(facts: GroupFacts) -> Iterator[Finding]:
    """A bridge of this host that nobody asks, and that will forget this member."""
    bridge = _bridge_of(facts)
    if bridge is None or bridge.kind != "bridge" or not bridge.snooping or bridge.own_querier or bridge.querier:
        return
    shut = [link.name for link in facts.links if link.master == bridge.index and link.floods is False]
    if shut:
        yield Finding(
            "no-querier",
            True,
            (
                f"{bridge.name} snoops and nobody asks who has joined (no querier): it forgets the members of"
                f" {facts.group} after some minutes, and {_listed(shut)} gets only what is joined"
            ),
            f"Have it ask: ip link set {bridge.name} type bridge mcast_querier 1.",
        )


def _old_version(facts: GroupFacts) -> Iterator[Finding]:
    """A sender that is named in a version of IGMP that cannot name one (RFC 3376 section 4)."""
    for one in facts.memberships:
        if one.interface == facts.interface and one.version in ("IGMPv1", "IGMPv2") and facts.source:
            yield Finding(
                "igmp-version",
                True,
                f"{one.version} is in force on {one.interface}, which cannot say that {facts.source} alone is wanted",
                f"Set net.ipv4.conf.{one.interface}.force_igmp_version to 0, or find who asks in {one.version} there.",
            )


JOINED: tuple[Callable[[GroupFacts], Iterator[Finding]], ...] = (_link_is_off, _reverse_path, _forgotten, _old_version)


def _listed(names: list[str]) -> str:
    """`a`, `a and b`, or `a, b and 3 others`."""
    if len(names) > 3:
        return f"{', '.join(names[:2])} and {len(names) - 2} others"
    return " and ".join(", ".join(names).rsplit(", ", 1))
