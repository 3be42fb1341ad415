"""TLS contexts from files, and what is wrong with the files when there is something wrong."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from echowire.errors import UsageError


def server_context(certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> ssl.SSLContext:
    """A context that serves with the PEM files `certificate` (a chain may follow) and `key`.

    Raises `UsageError`, in one line, for a file that is missing, is not PEM, or does not fit the other.
    """
    for what, path in (("certificate", certificate), ("key", key)):
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"TLS {what} {os.fspath(path)}: {error.strerror} (errno {error.errno})") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Never ask a terminal for a passphrase: a server is started by scripts.
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"the key {os.fspath(key)} does not belong to the certificate {os.fspath(certificate)}"
        else:
            problem = f"{os.fspath(certificate)} or {os.fspath(key)} is not valid PEM"
        raise UsageError(f"TLS: {problem} ({(error.reason or str(error)).lower().replace('_', ' ')})") from error
    return context


def _no_passphrase() -> str:
    raise UsageError("TLS: the key is encrypted; give one without a passphrase")
