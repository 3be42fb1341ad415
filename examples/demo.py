"""The main job, end to end: serve an echo on four kinds of endpoint, call each, and compare every byte.

`make demo` runs it. It shows each message, its answer, the round trip and the verdict, and exits 1 if one byte
differs. Nothing leaves this machine: the sockets are on loopback and in a temporary folder.
"""

from __future__ import annotations

import random
import socket
import sys
import tempfile

import echowire

MESSAGES: tuple[bytes, ...] = (
    b"!",
    b"Hello, Echowire",
    *(random.Random(size).randbytes(size) for size in (1_000, 65_507, 262_144, 1_048_576)),
)
"""One byte to 1 MiB; the larger ones are noise, so that a byte out of place cannot hide."""

DATAGRAM_MAX = 65_507
"""A larger message does not fit a UDP datagram over IPv4."""


def converse(endpoint: echowire.Endpoint) -> bool:
    """Send every message that fits to `endpoint`, show each exchange, and return whether all came back whole."""
    whole = True
    with echowire.call(endpoint) as peer:
        took = echowire.format_duration(peer.connect_s)
        source = peer.local.address or "a socket without a name"
        print(f"\n{endpoint.url}\n  from {source}, connected in {took}")
        for message in MESSAGES:
            if not endpoint.is_stream and len(message) > DATAGRAM_MAX:
                continue
            exchange = peer.exchange(message)
            same = exchange.received == message
            whole = whole and same
            print(
                f"  sent {shown(message):>17}   came back {shown(exchange.received):>17}"
                f"   round trip {echowire.format_duration(exchange.rtt_s):>8}   {'same' if same else 'DIFFERENT'}"
            )
    return whole


def shown(message: bytes | None) -> str:
    """A short text as itself, anything else by its size."""
    if message is None:
        return "nothing"
    is_text = len(message) <= 15 and message.isascii()
    return f'"{message.decode()}"' if is_text else echowire.format_size(len(message))


def main() -> int:
    """Serve, call, compare; the exit status."""
    with tempfile.TemporaryDirectory(prefix="echowire-demo-") as folder:
        endpoints = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", f"unix:{folder}/echo.sock"]
        if socket.has_ipv6 and _has_loopback_ipv6():
            endpoints.insert(1, "tcp://[::1]:0")
        else:
            print("This host has no IPv6; its part is left out.")
        with echowire.serve(*endpoints) as server:
            print(f"Serving with the engine '{server.engine}' ({server.why}).")
            verdicts = [converse(endpoint) for endpoint in server.endpoints]
    done = server.summary
    print(
        f"\nServed {done.connections} connections and {done.datagrams_received} datagrams: "
        f"received {echowire.format_size(done.received_bytes or 0)}, sent {echowire.format_size(done.sent_bytes or 0)}."
    )
    print("Every byte came back." if all(verdicts) else "Some bytes did NOT come back as they were sent.")
    return 0 if all(verdicts) else 1


def _has_loopback_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
