"""An echo client, as tutorials go on: each line of standard input is sent, and what comes back is printed.

    python examples/echo_client.py [ENDPOINT]

A stream has no messages, so as many bytes are received as were sent, however many pieces they come in.
"""

from __future__ import annotations

import sys

import echowire


def main() -> int:
    """Send, receive and print line by line; the exit status."""
    try:
        with echowire.call(*sys.argv[1:2], timeout=5) as peer:
            print(f"Connected to {peer.remote} from {peer.local}", file=sys.stderr)
            for line in sys.stdin.buffer:
                sys.stdout.buffer.write(peer.echo(line))
                sys.stdout.buffer.flush()
    except echowire.EchowireError as error:
        print(error, file=sys.stderr)  # what failed, what it means on this host, and what to do
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
