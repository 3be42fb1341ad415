"""What can go wrong with the path of a Unix socket (unix(7))."""

from __future__ import annotations

from echowire.core.failures.causes.case import Case, Explanation, holder_of, to_see
from echowire.model import UNIX_PATH_MAX


def path_taken(case: Case) -> Explanation | None:
    """Row 48: something is at the path that is to be bound."""
    if case.transport != "unix" or case.facts.sockets is None:
        return None
    if case.facts.sockets:
        first = case.facts.sockets[0]
        return (
            f"{holder_of(case, first)} has a socket there.",
            f"Stop it or take another path{to_see(case, first.holder)}.",
        )
    if case.facts.file_kind == "socket":
        return (
            "A socket file is there that no process of this network namespace has bound.",
            "Remove it if no server uses it.",
        )
    if case.facts.file_kind:
        return f"The path is taken by a {case.facts.file_kind}, not by a socket.", "Take another path."
    return None


def may_not_bind(case: Case) -> Explanation | None:
    """Row 48: the directory of the path may not be written to."""
    if case.transport != "unix":
        return None
    return (
        "Making a socket file needs the right to write to its directory, and to search those above.",
        "Choose a directory of this user, such as $XDG_RUNTIME_DIR.",
    )


def no_directory(case: Case) -> Explanation | None:
    """Row 48: the directory of the path does not exist."""
    if case.facts.file_kind != "no directory":
        return None
    return "The directory of the path does not exist.", "Make it first, or mend the path."


def path_too_long(case: Case) -> Explanation | None:
    """Row 48: the path does not fit `sockaddr_un` (unix(7))."""
    if case.target is None or len(case.target.path.encode("utf-8", "surrogateescape")) <= UNIX_PATH_MAX:
        return None
    return f"A Unix socket's path has at most {UNIX_PATH_MAX} bytes.", "Use a shorter path, or a relative one."


def missing(case: Case) -> Explanation | None:
    """Row 48: no file is at the path."""
    if case.facts.file_kind != "missing":
        return None
    return "There is no socket file of that name.", "Start the server, or mend the path."


def refused(case: Case) -> Explanation | None:
    """Row 48: the socket file is stale, or is none."""
    if case.transport != "unix" or case.target is None:
        return None
    if case.target.path.startswith("@"):
        return "No process of this network namespace listens on that name.", "Start the server."
    if case.facts.file_kind in ("file", "directory"):
        return f"The path is a {case.facts.file_kind}, not a socket.", "Mend the path."
    if case.facts.sockets:
        return f"{holder_of(case, case.facts.sockets[0])} has bound the path but does not listen.", "Have it listen."
    return (
        "The socket file is stale: no process of this network namespace has bound it.",
        "Start the server; `echowire serve` replaces such a file.",
    )


def backlog_full(case: Case) -> Explanation | None:
    """Row 48: the listener's queue is full."""
    if case.transport != "unix":
        return None
    listening = case.sockets("LISTEN")
    who = holder_of(case, listening[0]) if listening else "The server"
    return (
        f"{who} listens, but its queue of connections that wait to be accepted is full.",
        "Have it accept faster, or listen with a larger backlog.",
    )


def may_not_connect(case: Case) -> Explanation | None:
    """Row 48: the file, or a directory above it, is not open to this user."""
    if case.transport != "unix":
        return None
    return (
        "Connecting needs the right to write to the socket file, and to search the directories above.",
        "Ask its owner for that right, or run as the owner.",
    )


def other_type(case: Case) -> Explanation | None:
    """Row 48: a stream called as datagrams, or the reverse."""
    if case.transport != "unix" or case.target is None:
        return None
    there = [socket.local.transport for socket in case.facts.sockets or () if socket.local.path == case.target.path]
    other = there[0] if there else "unix" if case.target.transport == "unixgram" else "unixgram"
    return "The socket there is of another type.", f"Try {other}:{case.target.path}."
