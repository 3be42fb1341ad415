"""What an ICMP error in the socket's queue says, and who sent it."""

from __future__ import annotations

from echowire.core.failures.causes.case import Case, Explanation, parsed
from echowire.core.probing.icmp import KINDS


def answered(case: Case) -> Explanation | None:
    """Rows 11, 12, 14 and 41: what an ICMP report in the socket's error queue says, and who sent it."""
    icmp = case.facts.icmp
    kind, words = KINDS.get((icmp.version, icmp.type, icmp.code), (None, "")) if icmp else (None, "")
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
        return (
            f"{said}: the packet met too many routers, or a loop of routes.",
            "Look at the path, or allow more hops.",
        )
    return f"{said}: {case.host} does not speak this protocol.", "Use another transport."
