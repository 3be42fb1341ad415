"""An echo server, as tutorials begin: it binds, listens, accepts, and sends back what it receives, until Ctrl-C.

    python examples/echo_server.py [ENDPOINT …]

What the tutorials leave out is in it: many clients at once, a peer that does not read, half-closes, UDP, limits.
"""

from __future__ import annotations

import signal
import sys

import echowire


def main() -> int:
    """Serve until Ctrl-C, then say what was done; the exit status."""
    try:
        with echowire.serve(*sys.argv[1:]) as server:
            signal.signal(signal.SIGINT, lambda *_: server.stop(drain_s=1))
            for endpoint in server.endpoints:
                print(f"Listening on {endpoint}", flush=True)
            server.wait()
    except echowire.EchowireError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    done = server.summary
    print(f"{done.connections} connections: {done.received_bytes} bytes received, {done.sent_bytes} sent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
