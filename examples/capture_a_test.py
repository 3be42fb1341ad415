"""Record what a piece of code says on the network while it runs, and hold it to what it should have said.

    python examples/capture_a_test.py [FILE.pcapng]

Needs root or CAP_NET_RAW. The packets stay in memory, and are asked as those of a file are.
"""

from __future__ import annotations

import sys

import echowire

MESSAGES = (b"one", b"two", b"three")


def main() -> int:
    """Capture a short conversation, check it, keep it if a file is named; the exit status."""
    try:
        with echowire.serve("tcp://127.0.0.1:0") as server:
            with echowire.capture("lo", filter=f"tcp port {server.endpoint.port}") as packets:
                with echowire.call(server.endpoint) as peer:  # the code under test
                    for message in MESSAGES:
                        peer.echo(message)
    except echowire.OperationError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    resets = len(packets.filter("tcp.flags.reset == 1"))
    said = packets.filter(f"tcp.dstport == {server.endpoint.port} && tcp.len > 0").frame("tcp.len", "proc.srcname")
    print(f"{len(packets)} packets, {resets} resets; the client sent {said['tcp.len'].to_list()} bytes")
    if len(sys.argv) > 1:
        packets.capture.write(sys.argv[1])
    packets.close()
    return 0 if not resets and said["tcp.len"].to_list() == [len(message) for message in MESSAGES] else 1


if __name__ == "__main__":
    sys.exit(main())
