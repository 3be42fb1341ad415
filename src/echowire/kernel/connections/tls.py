"""TLS contexts from files, and what is wrong with the files when there is something wrong."""

from __future__ import annotations

import os
import re
import ssl
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from echowire.core.tls_options import ClientTls, File, check_alpn, check_versions
from echowire.errors import UsageError

NUMBERS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}

OLD = ("1.0", "1.1")
"""Their signatures are with SHA-1, which OpenSSL takes only below its first level of security."""


@dataclass(frozen=True, slots=True)
class TlsClient:
    """How to speak TLS as a client, and the context made of it, which serves many connections."""

    options: ClientTls
    context: ssl.SSLContext

    @classmethod
    def of(cls, options: ClientTls) -> TlsClient:
        """Raises `UsageError` for files that are not what they must be."""
        return cls(options, client_context(options))

    def named(self, host: str) -> TlsClient:
        """The same, for connections to `host`, whose name is sent and checked unless another was given."""
        return replace(self, options=self.options.named(host))

    @property
    def versions(self) -> str:
        """The versions that are spoken, in words."""
        lowest, highest = self.options.tls_min or "1.2", self.options.tls_max or "1.3"
        return lowest if lowest == highest else f"{lowest} to {highest}"


def client_context(options: ClientTls) -> ssl.SSLContext:
    """A client's context that checks the peer's certificate and name. Raises `UsageError`."""
    authorities = options.tls_authorities
    try:
        context = ssl.create_default_context(cafile=None if authorities is None else os.fspath(Path(authorities)))
    except ssl.SSLError as error:
        raise UsageError(f"TLS authorities {os.fspath(authorities or '')}: not valid PEM") from error
    except OSError as error:
        path = os.fspath(authorities or "")
        raise UsageError(f"TLS authorities {path}: {error.strerror} (errno {error.errno})") from error
    if options.tls_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.tls_certificate is not None:
        load_certificate(context, options.tls_certificate, options.tls_key or options.tls_certificate)
    _set_versions(context, options.tls_min, options.tls_max)
    if options.tls_alpn:
        context.set_alpn_protocols(list(options.tls_alpn))
    return context


def server_context(
    certificate: File,
    key: File,
    *,
    client_authorities: File | None = None,
    alpn: Sequence[str] = (),
    lowest: str | None = None,
    highest: str | None = None,
) -> ssl.SSLContext:
    """A context that serves with the PEM files `certificate` (a chain may follow) and `key`.

    With `client_authorities`, a PEM file, every client must have a certificate that one of these has signed. `alpn` are
    the protocols served, the preferred one first; `lowest` and `highest` are versions such as `1.2`. Raises
    `UsageError`, in one line, for a file that is missing, is not PEM, or does not fit the other.
    """
    check_versions(lowest, highest)
    check_alpn(alpn)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_certificate(context, certificate, key)
    if client_authorities is not None:
        _check_readable("authorities", client_authorities)
        try:
            context.load_verify_locations(client_authorities)
        except ssl.SSLError as error:
            raise UsageError(f"TLS authorities {os.fspath(client_authorities)}: not valid PEM") from error
        context.verify_mode = ssl.CERT_REQUIRED
    _set_versions(context, lowest, highest)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words, such as `wrong version number`; Python has no name for some of them, but the text."""
    if error.reason:
        return error.reason.lower().replace("_", " ")
    return _AROUND.sub("", str(error)).lower()


_AROUND = re.compile(r"^\[[^]]*\] *| *\([^()]*\)$")
"""What Python puts before and behind that text: the library, and a line of its own source."""


def load_certificate(context: ssl.SSLContext, certificate: File, key: File) -> None:
    """Have `context` show a certificate. Raises `UsageError` as `server_context` does."""
    _check_readable("certificate", certificate)
    _check_readable("key", key)
    try:
        # Never ask a terminal for a passphrase: a server is started by scripts.
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"the key {os.fspath(key)} does not belong to the certificate {os.fspath(certificate)}"
        else:
            problem = f"{os.fspath(certificate)} or {os.fspath(key)} is not valid PEM"
        raise UsageError(f"TLS: {problem} ({reason_of(error)})") from error


def _set_versions(context: ssl.SSLContext, lowest: str | None, highest: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # who names an old version wants that one
        if lowest is not None:
            context.minimum_version = NUMBERS[lowest]
        if highest is not None:
            if lowest is None and highest in OLD:
                context.minimum_version = NUMBERS[highest]
            context.maximum_version = NUMBERS[highest]
    if lowest in OLD or highest in OLD:
        context.set_ciphers("DEFAULT@SECLEVEL=0")


def _check_readable(what: str, path: File) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"TLS {what} {os.fspath(path)}: {error.strerror} (errno {error.errno})") from error


def _no_passphrase() -> str:
    raise UsageError("TLS: the key is encrypted; give one without a passphrase")
