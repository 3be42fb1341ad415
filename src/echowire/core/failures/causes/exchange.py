"""What ends an open connection, and what stops a datagram."""

from __future__ import annotations

import errno

from echowire.core.failures.causes.case import Case, Explanation


def output_dropped(case: Case) -> Explanation:
    """Rows 16 and 19: a packet did not leave this host."""
    count, most = case.facts.conntrack or (0, 0)
    if most and count >= most:
        return (
            f"This host's connection tracking is full ({count:,} of {most:,}), so it drops the packet.",
            "Raise net.netfilter.nf_conntrack_max.",
        )
    return (
        "This host itself dropped the packet: a firewall rule on its output, or a BPF program of its cgroup.",
        "Look for the rule with `nft list ruleset` or `iptables -S OUTPUT`.",
    )


def too_large(case: Case) -> Explanation | None:
    """Row 37: above what a datagram, or the path unfragmented, carries."""
    if case.transport == "unix":
        return "The datagram is larger than the socket's send buffer.", "Send less at once, or raise SO_SNDBUF."
    if case.transport != "udp":
        return None
    v6 = case.address is not None and case.address.version == 6
    header = 48 if v6 else 28  # IPv6 40 or IPv4 20, and UDP 8
    most = 65_535 - (8 if v6 else 28)  # an IPv6 header does not count in its length field (RFC 8200 section 3)
    meaning = f"A datagram carries at most {most:,} bytes"
    mtu = case.facts.path_mtu
    if mtu and mtu - header < most:
        meaning += f", and {mtu - header:,} to {case.host} where fragmentation is forbidden (path MTU {mtu:,})"
    return f"{meaning}.", "Send less at once."


def no_congestion_control(case: Case) -> Explanation | None:
    """A TCP_CONGESTION that this kernel does not have (ENOENT), or keeps for the privileged (EPERM; tcp(7))."""
    if not case.operation.startswith("set congestion control"):
        return None
    if case.number == errno.EPERM:
        return (
            "This host allows it to the privileged alone.",
            "Take one of net.ipv4.tcp_allowed_congestion_control, or add it there as root.",
        )
    return (
        "This kernel has no such congestion control, or has not loaded it.",
        "Take one of net.ipv4.tcp_available_congestion_control, or load its module as root (modprobe tcp_bbr).",
    )


def reset(_: Case) -> Explanation:
    """Rows 27 and 28: the peer reset the connection. From here the two look the same."""
    return (
        "The peer cut the connection: it closed with data unread or with linger 0, or it or a middlebox lost track.",
        "See the peer's log; one that reads to the end before it closes does not reset.",
    )


def broken_pipe(case: Case) -> Explanation:
    """Row 29: a write after the peer has gone."""
    if case.transport == "unix":
        return "The peer has closed its end, and this end wrote on.", "Stop writing at the peer's end of file."
    return (
        "The connection was closed before this write: by the peer, whose reset came after an earlier write, or here.",
        "Stop writing at the peer's end of file.",
    )


def gone_silent(case: Case) -> Explanation | None:
    """Row 31: an open connection on which nothing comes any more."""
    if case.ours and case.transport == "udp":
        return (
            "No datagram came within the time given here; UDP does not tell whether one was lost.",
            "Send again, or allow more time.",
        )
    if case.ours:
        return (
            "Nothing came within the time given here; the kernel still holds the connection to be sound.",
            "Allow more time, or see whether the peer reads and answers.",
        )
    if case.transport != "tcp":
        return None
    return (
        "The peer stopped acknowledging: data or keep-alive probes stayed unanswered until the kernel gave up.",
        "Check that the peer's host and the path are up.",
    )
