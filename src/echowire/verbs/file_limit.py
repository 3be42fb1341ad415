"""How many files this process may open: a server needs one a connection, a TCP ping one a probe in flight."""

from __future__ import annotations

from contextlib import suppress


def raise_open_file_limit() -> None:
    """Let this process open as many files as it is allowed to (RLIMIT_NOFILE, soft up to hard), as servers do."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
