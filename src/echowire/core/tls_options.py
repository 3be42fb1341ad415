"""What is asked for of TLS, as client and as server: values, checked, without a context or a file opened. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, TypedDict

from echowire.core.starttls import PROTOCOLS
from echowire.errors import UsageError

VERSIONS = ("1.0", "1.1", "1.2", "1.3")
"""The versions of TLS that may be named; what is below 1.2 is spoken by nobody who was not asked to (RFC 8996)."""


class _Path(Protocol):
    def __fspath__(self) -> str: ...


File: TypeAlias = str | _Path
"""A file's name, or its `Path`."""


class ClientTlsOptions(TypedDict, total=False):
    """The fields of `ClientTls`, as keywords."""

    tls_authorities: File | None
    tls_insecure: bool
    tls_name: str | None
    tls_certificate: File | None
    tls_key: File | None
    tls_alpn: Sequence[str]
    tls_min: str | None
    tls_max: str | None
    starttls: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """How a client speaks TLS. Making one raises `UsageError` for what cannot be."""

    tls_authorities: File | None = None
    """A PEM file of those to trust instead of the system's."""
    tls_insecure: bool = False
    """Check nothing."""
    tls_name: str | None = None
    """The name that is sent (SNI) and that the certificate must have; None is the endpoint's host."""
    tls_certificate: File | None = None
    """A PEM file, for a server that wants to know who calls; the chain may follow in it."""
    tls_key: File | None = None
    """Its private key; None: it is in the same file."""
    tls_alpn: Sequence[str] = ()
    """The protocols offered (RFC 7301), the preferred one first."""
    tls_min: str | None = None
    """The lowest version, one of `VERSIONS`; None is 1.2."""
    tls_max: str | None = None
    """The highest; None is the highest there is."""
    starttls: str | None = None
    """A protocol in which TLS is asked for first, one of `core.starttls.PROTOCOLS`."""

    def __post_init__(self) -> None:
        if self.tls_authorities is not None and self.tls_insecure:
            raise UsageError("TLS: --tls-ca says what to trust and --tls-insecure to trust anything; give one")
        if self.tls_key is not None and self.tls_certificate is None:
            raise UsageError("TLS: a key without its certificate; give --tls-cert too")
        if self.starttls is not None and self.starttls not in PROTOCOLS:
            raise UsageError(f"'{self.starttls}' has no STARTTLS here; one of {', '.join(PROTOCOLS)}")
        check_versions(self.tls_min, self.tls_max)
        check_alpn(self.tls_alpn)

    def named(self, host: str) -> ClientTls:
        """The same, with the name to send and to check, which is `host`'s unless there is one."""
        return self if self.tls_name else replace(self, tls_name=host.partition("%")[0] or "localhost")


def check_versions(lowest: str | None, highest: str | None) -> None:
    """Raise `UsageError` for versions that there are not, or in the wrong order."""
    for version in (lowest, highest):
        if version is not None and version not in VERSIONS:
            raise UsageError(f"'{version}' is no version of TLS; one of {', '.join(VERSIONS)}")
    if lowest is not None and highest is not None and lowest > highest:
        raise UsageError(f"TLS: the lowest version, {lowest}, is above the highest, {highest}")


def check_alpn(protocols: Sequence[str]) -> None:
    """Raise `UsageError` for a name that ALPN cannot carry: 1 to 255 bytes each (RFC 7301, section 3.1)."""
    for name in protocols:
        if not (name.isascii() and name.isprintable() and 0 < len(name) < 256):
            raise UsageError(f"{name!a} is no protocol of ALPN; give names such as h2,http/1.1")
