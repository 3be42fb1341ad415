"""What `call` tells of TLS beside version and cipher: the protocol agreed on, and the peer's certificates."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from echowire import Certificate, Peer
from echowire.cli.common import printable

TLS_SUPPLIED = (
    "tls_ca", "tls_insecure", "tls_name", "tls_cert", "tls_key", "alpn", "tls_min", "tls_max", "starttls",
)  # fmt: skip
"""The options that the document repeats."""


def tls_lines(peer: Peer, *, verbose: bool, offered: str | None) -> Iterator[str]:
    """For a person: with -v what was agreed on and the certificates, the peer's own first; else what is missing."""
    if peer.tls is None:
        return
    if verbose or (offered and not peer.tls_alpn):
        none = f"none agreed on of {printable(offered)}" if offered else "none, as none was offered"
        yield f"ALPN: {printable(peer.tls_alpn) if peer.tls_alpn else none}"
    if not verbose:
        return
    now, certificates = datetime.now(UTC), peer.certificates
    for place, one in enumerate(certificates):
        names = f" for {printable(', '.join(one.names))}" if one.names and not place else ""
        signed = "signed by itself" if one.is_self_signed else f"signed by {printable(one.issuer)}"
        yield f"Certificate {place}: {printable(one.subject) or 'no subject'}{names}; {signed}; {_lasts(one, now)}"

    if len(certificates) == 1 and peer.tls[0] == "TLSv1.3" and sys.version_info < (3, 13):
        yield "Certificates above it are not told by Python below 3.13; --tls-max 1.2 shows them"


def tls_document(peer: Peer) -> dict[str, Any]:
    """The same for `effective` of the document; null without TLS."""
    if peer.tls is None:
        return {"tls_alpn": None, "tls_chain": None}
    now = datetime.now(UTC)
    chain = [
        {
            "subject": one.subject,
            "issuer": one.issuer,
            "names": list(one.names),
            "not_before": one.not_before.isoformat(),
            "not_after": one.not_after.isoformat(),
            "days_left": one.days_left(now),
        }
        for one in peer.certificates
    ]
    return {"tls_alpn": peer.tls_alpn, "tls_chain": chain}


def _lasts(one: Certificate, now: datetime) -> str:
    left = one.days_left(now)
    until = f"not after {one.not_after:%Y-%m-%d}"
    return f"{until}, expired" if one.not_after < now else f"{until}, {left} day{'' if left == 1 else 's'} left"
