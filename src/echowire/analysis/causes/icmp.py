"""What an ICMP error in the socket's queue says, and who sent it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from echowire.analysis.causes.case import Case, Explanation, parsed

Kind: TypeAlias = Literal["net", "host", "forbidden", "port", "protocol", "size", "hops"]

ICMP_KINDS: dict[tuple[int, int, int], tuple[Kind, str]] = {
    # RFC 792, RFC 1122 section 3.2.2.1 and RFC 1812 section 5.2.7.1
    (4, 3, 0): ("net", "network unreachable"),
    (4, 3, 1): ("host", "host unreachable"),
    (4, 3, 2): ("protocol", "protocol unreachable"),
    (4, 3, 3): ("port", "port unreachable"),
    (4, 3, 4): ("size", "fragmentation needed"),
    (4, 3, 6): ("net", "network unknown"),
    (4, 3, 7): ("host", "host unknown"),
    (4, 3, 9): ("forbidden", "network administratively prohibited"),
    (4, 3, 10): ("forbidden", "host administratively prohibited"),
    (4, 3, 13): ("forbidden", "administratively prohibited"),
    (4, 11, 0): ("hops", "time to live exceeded"),
    # RFC 4443 sections 3.1 to 3.3
    (6, 1, 0): ("net", "no route"),
    (6, 1, 1): ("forbidden", "administratively prohibited"),
    (6, 1, 3): ("host", "address unreachable"),
    (6, 1, 4): ("port", "port unreachable"),
    (6, 1, 5): ("forbidden", "source address failed policy"),
    (6, 1, 6): ("forbidden", "route rejected"),
    (6, 2, 0): ("size", "packet too big"),
    (6, 3, 0): ("hops", "hop limit exceeded"),
}
"""Of an ICMP version, type and code: what it is about, and the RFC's words."""


def answered(case: Case) -> Explanation | None:
    """Rows 11, 12, 14 and 41: what an ICMP report in the socket's error queue says, and who sent it."""
    icmp = case.facts.icmp
    kind, words = ICMP_KINDS.get((icmp.version, icmp.type, icmp.code), (None, "")) if icmp else (None, "")
    if icmp is None or kind is None:
        return None
    from_target = bool(icmp.offender) and parsed(icmp.offender) == case.address
    who = icmp.offender or "A host on the way"
    said = f"{who} says {words} ({icmp})"
    where = f"of {icmp.offender}" if icmp.offender else "on the way"
    if kind == "port" and case.transport == "tcp":
        return (
            f"{said} and sent no reset: that is a firewall's refusal, not a missing server's.",
            f"Allow {case.port} in the firewall {where}.",
        )
    if kind == "port":
        return (
            f"{said} to an earlier datagram: nothing has {case.port} open there, or a firewall says so.",
            "Start the server, or mend the port; UDP tells so only at the next call.",
        )
    if kind == "forbidden" or (kind in ("host", "net") and from_target):
        return f"{said}: a firewall rule there rejects it.", f"Allow {case.port} in the firewall {where}."
    if kind == "host":
        return (
            f"{said}: it gets no answer from {case.host}, or a firewall rule there rejects it.",
            f"Check that {case.host} is up, then the rules {where}.",
        )
    if kind == "net":
        return f"{said}: that router has no route to {case.host}.", "Mend the routes there, or the address."
    if kind == "size":
        most = f"packets of more than {icmp.mtu:,} bytes do" if icmp.mtu else "a packet so large does"
        return f"{said}: {most} not pass it.", "Send less at once, or allow fragmentation."
    if kind == "hops":
        return f"{said}: the packet met too many routers, or a loop of routes.", "Trace the path, or allow more hops."
    return f"{said}: {case.host} does not speak this protocol.", "Use another transport."
