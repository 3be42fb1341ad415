"""A server of one's own protocol: each line that a client sends is answered with its words in reverse order.

    python examples/line_server.py [ENDPOINT]

The handler is a plain blocking function of a connected socket, in a thread of its own; the server is Echowire's.
"""

from __future__ import annotations

import signal
import socket
import sys

import echowire

LINE_BYTES_MAX = 4096
"""A client that never ends its line must not fill memory."""


def answer_lines(connection: socket.socket) -> None:
    """Talk to one client, until it has said all."""
    with connection.makefile("rwb") as stream:
        while line := stream.readline(LINE_BYTES_MAX):
            stream.write(b" ".join(reversed(line.split())) + b"\n")
            stream.flush()


def main() -> None:
    """Serve until Ctrl-C."""
    endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:12345"
    limits = echowire.Limits(connections=100, idle_s=60)
    with echowire.serve(endpoint, handler=answer_lines, limits=limits) as server:
        signal.signal(signal.SIGINT, lambda *_: server.stop(drain_s=1))
        print(f"Listening on {server.endpoint}", flush=True)
        server.wait()


if __name__ == "__main__":
    main()
