"""Why a name does not resolve (getaddrinfo(3))."""

from __future__ import annotations

from echowire.core.failures.causes.case import Case, Explanation

EAI_NONAME, EAI_AGAIN, EAI_NODATA, EAI_ADDRFAMILY = -2, -3, -5, -9  # netdb.h


def resolver_silent(case: Case) -> Explanation | None:
    """Row 21: EAI_AGAIN."""
    servers = case.facts.nameservers
    if not servers:
        return None
    listed = ", ".join(servers)
    if case.facts.nameserver_route_number:
        return (
            f"This host has no route to its name server {servers[0]} (/etc/resolv.conf).",
            "Mend the network or resolv.conf, or use a numeric address.",
        )
    return (
        f"No usable answer came from the name servers of /etc/resolv.conf ({listed}).",
        "Check that they can be reached, or use a numeric address.",
    )


def no_such_name(_: Case) -> Explanation:
    """Row 21: EAI_NONAME."""
    return "No source of names here knows it (/etc/hosts, DNS).", "Check the spelling, or use a numeric address."


def no_such_family(_: Case) -> Explanation:
    """Row 21: EAI_NODATA and EAI_ADDRFAMILY."""
    return "The name exists, but has no address of this family.", "Leave out -4 or -6."
