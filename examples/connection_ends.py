"""Watch connections end: who talked with whom, how much, and whether segments had to be sent again.

    python examples/connection_ends.py [FILTER]

The filter is ss's, such as `dport = :443`. Anybody may watch; as root the lifetime and a reset's reason come too.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import echowire


def main() -> None:
    """Print a line each connection that ends, until Ctrl-C."""
    inquiry = echowire.SocketInquiry(" ".join(sys.argv[1:]), kinds=["tcp"])
    with echowire.SocketEvents(inquiry) as events, suppress(KeyboardInterrupt):
        print("Watching", "with the kernel's tracer" if events.is_traced else "the kernel's socket table", flush=True)
        for event in events:
            if event.kind != "closed":
                continue
            ends = event.values
            print(
                f"{ends['local_address']}:{ends['local_port']} → {ends['peer_address']}:{ends['peer_port']}  "
                f"sent {ends['bytes_sent']}, received {ends['bytes_received']}, sent again {ends['retransmitted']}"
                + (f", reset {ends['reset']}" if ends["reset"] else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()
