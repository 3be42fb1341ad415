"""A program for each connection (inetd, ncat -e, socat EXEC): its standard input and output are the connection.

It is a handler for `serve`. The program is given the socket itself, and nothing stands between: its end is the
connection's, and what it does not read waits in the kernel. Whoever can connect runs it, as the user that serves.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

from echowire.errors import UsageError

GRACE_S = 1.0
"""How long a program has between SIGTERM and SIGKILL, when the server has ended."""


class Programs:
    """A handler that runs `command`: words, or a line that is cut into words as a shell does, which runs none.

    It finds its peer in `ECHOWIRE_PEER` and where it came in in `ECHOWIRE_LOCAL`, as getpeername(2) and getsockname(2)
    have them, with `ECHOWIRE_PEER_PORT` where there is a port; its standard error is ours. In a `with` block around the
    server, those that still run when it ends are ended. Raises `UsageError` where there is no such program.
    """

    def __init__(self, command: str | Sequence[str]) -> None:
        try:
            self.words = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as error:
            raise UsageError(f"'{command}' is no command ({str(error).lower()})") from error
        if not self.words:
            raise UsageError("there is no program to run; give its name and its arguments")
        if shutil.which(self.words[0]) is None:
            raise UsageError(f"there is no program '{self.words[0]}' to run; give its path, or mend PATH")
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def __call__(self, sock: socket.socket) -> None:
        """Run the program on the connection, until it ends."""
        if isinstance(sock, ssl.SSLSocket):
            raise UsageError("a program is given the socket itself, and would speak plainly where TLS is expected")
        process = subprocess.Popen(
            self.words,
            stdin=sock.fileno(),
            stdout=sock.fileno(),
            env={**os.environ, **_names_of(sock)},
            process_group=0,  # Ctrl-C is for the server, which lets them finish
        )
        with self._lock:
            self._running.add(process)
        try:
            process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def end(self) -> None:
        """End those that still run, and whatever they started: SIGTERM, and a moment later SIGKILL."""
        with self._lock:
            left = list(self._running)
        for process in left:
            _signal(process, signal.SIGTERM)
        for process in left:
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _names_of(sock: socket.socket) -> dict[str, str]:
    """Both ends of a connection, for the program's environment."""
    names: dict[str, str] = {}
    with suppress(OSError):  # it was reset
        for name, address in (("ECHOWIRE_PEER", sock.getpeername()), ("ECHOWIRE_LOCAL", sock.getsockname())):
            if isinstance(address, tuple):
                names |= {name: str(address[0]), f"{name}_PORT": str(address[1])}
            elif isinstance(address, str):
                names[name] = address
    return names
