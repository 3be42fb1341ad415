"""What can keep a socket from being made, bound or listened on."""

from __future__ import annotations

from echowire.core.failures.causes.case import Case, Explanation, clashing, holder_of, to_see


def listener_has_it(case: Case) -> Explanation | None:
    """Row 1: a listener has the port, or for UDP any socket."""
    states = ("UNCONN", "ESTAB") if case.transport == "udp" else ("LISTEN",)
    entries = clashing(case, case.sockets(*states))
    if not entries or case.transport == "unix":
        return None
    first = entries[0]
    verb = "has" if case.transport == "udp" else "listens on"
    meaning = f"{holder_of(case, first)} {verb} {first.local.address}."
    return meaning, f"Stop it or take another port{to_see(case, first.holder)}."


def no_port_is_free(case: Case) -> Explanation | None:
    """Row 6 at bind: port 0 asks for any, and there is none."""
    if case.target is None or case.transport == "unix" or case.target.port or not case.facts.ephemeral_ports:
        return None
    first, last = case.facts.ephemeral_ports
    return (
        f"Every port of net.ipv4.ip_local_port_range ({first} to {last}) is taken.",
        "Name a port outside of it, or widen the range.",
    )


def client_has_it(case: Case) -> Explanation | None:
    """Row 3: the port is the local port of a connection."""
    if case.transport != "tcp":
        return None
    states = ("ESTAB", "SYN-SENT", "SYN-RECV", "CLOSE-WAIT", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "LAST-ACK")
    entries = clashing(case, case.sockets(*states))
    if not entries or case.target is None:
        return None
    first = next((entry for entry in entries if entry.holder), entries[0])
    peer = first.peer.address if first.peer else "its peer"
    if not first.inode:
        return (
            f"Nothing listens, but a closed connection to {peer} still has the port, in {first.state}.",
            "Wait until the peer has closed it too, or take another port.",
        )
    low, high = case.facts.ephemeral_ports or (0, 0)
    reserve = ", or keep this one free of clients with net.ipv4.ip_local_reserved_ports"
    return (
        f"Nothing listens, but {holder_of(case, first)} has the port for its connection to {peer} ({first.state}).",
        f"Take another port{reserve if low <= case.target.port <= high else ''}{to_see(case, first.holder)}.",
    )


def time_wait_has_it(case: Case) -> Explanation | None:
    """Row 2: closed connections of the last run keep the port."""
    count = len(clashing(case, case.sockets("TIME-WAIT")))
    if not count:
        return None
    closed = "1 closed connection" if count == 1 else f"{count:,} closed connections"
    return (
        f"Nothing listens, but {closed} on the port wait in TIME-WAIT, up to 60 s.",
        "Wait a minute; SO_REUSEADDR spares the wait if the earlier run had it too.",
    )


def bound_has_it(case: Case) -> Explanation | None:
    """Row 3: a process has bound the port, and neither listens nor is connected."""
    entries = clashing(case, case.sockets("UNCONN")) if case.transport == "tcp" else []
    if not entries:
        return None
    first = entries[0]
    return (
        f"Nothing listens, but {holder_of(case, first)} has bound {first.local.address} without listening.",
        f"Stop it or take another port{to_see(case, first.holder)}.",
    )


def unlisted_has_it(case: Case) -> Explanation | None:
    """Row 3, by elimination: no table shows who has the port."""
    if case.facts.sockets is None or case.transport != "tcp":
        return None
    return (
        "Neither a listener nor a connection of this host has the port, so a process has bound it without listening.",
        "Take another port; Linux tells who it is from 6.8 on (`echowire sockets -tlnp`), and this kernel does not.",
    )


def ipv6_off(case: Case) -> Explanation | None:
    """Row 5: IPv6 is switched off by a sysctl."""
    name = case.facts.ipv6_disabled
    if not name:
        return None
    return f"IPv6 is switched off here ({name} = 1).", "Use an IPv4 address, or set it to 0."


def not_local(case: Case) -> Explanation | None:
    """Row 5: the address to bind is not this host's."""
    if case.address is None or case.is_here:
        return None
    own = [n for n in case.facts.local_addresses or () if n.prefixlen == n.max_prefixlen]
    same = [str(n.network_address) for n in own if n.version == case.address.version and not n.is_link_local]
    listed = f"Bind one of {', '.join(same[:4])}, or" if same else "Bind an address of this host, or"
    return f"{case.host} is not an address of this host.", f"{listed} name no address to have them all."


def low_port(case: Case) -> Explanation | None:
    """Row 46: the port is below `net.ipv4.ip_unprivileged_port_start`."""
    start = case.facts.unprivileged_port_start
    if case.target is None or start is None or not 0 < case.target.port < start:
        return None
    return f"Ports below {start} need CAP_NET_BIND_SERVICE.", f"Try a port from {start} up."


def ping_group(case: Case) -> Explanation | None:
    """Row 46: `net.ipv4.ping_group_range` does not have this user's group (icmp(7))."""
    if not case.facts.ping_group_range:
        return None
    low, high = case.facts.ping_group_range
    whose = "for no group at all" if low > high else f"for the groups {low} to {high} only"
    return (
        f"ICMP sockets are {whose} (net.ipv4.ping_group_range = {low} {high}).",
        "Widen it, or use a raw socket with CAP_NET_RAW.",
    )


def needs_net_raw(_: Case) -> Explanation:
    """Row 46: a raw or packet socket without CAP_NET_RAW (raw(7), packet(7))."""
    return "Raw and packet sockets need CAP_NET_RAW.", "Run as root, or give the program that capability."


def needs_net_admin(_: Case) -> Explanation:
    """Row 46: an option that needs a capability (socket(7), ip(7))."""
    return "This option needs CAP_NET_ADMIN or CAP_NET_RAW.", "Run as root, or leave the option out."


def own_files(case: Case) -> Explanation:
    """Row 25: RLIMIT_NOFILE is reached (getrlimit(2))."""
    limit = f"all {case.facts.file_limit:,} files that it may" if case.facts.file_limit else "all files that it may"
    return f"This process has {limit} open (RLIMIT_NOFILE).", "Raise the limit with `ulimit -n`, or close what leaks."


def system_files(case: Case) -> Explanation:
    """Row 25: fs.file-max is reached (proc_sys_fs(5))."""
    limit = f"all {case.facts.file_limit:,} files that it may" if case.facts.file_limit else "all files that it may"
    return f"This system has {limit} open (fs.file-max).", "Find who leaks them, or raise fs.file-max."
