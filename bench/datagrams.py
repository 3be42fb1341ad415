"""UDP in bursts: how many datagrams a second come back from `echowire serve`, and from a loop of recvfrom and sendto.

A client offers 1,000-byte datagrams as fast as the kernel takes them, 64 to a system call (UDP_SEGMENT), and counts
those that come back whole: of the right size, from the address asked, with the number and the bytes that were sent.
The two servers run in turn, the server on one processor and the client on another, and the median of the paired ratios
is printed. Exits 1 where it is below what is promised, or where a datagram came back wrong.

Run it as `python bench/datagrams.py`, or with the names of engines.
"""

from __future__ import annotations

import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

ALLOWED_RATIO = 5.0
PAIRS = 5
SECONDS = 1.0
DATAGRAM_BYTES = 1000
BURST = 64  # UDP_MAX_SEGMENTS of kernels before 6.9 (linux/udp.h)
BURSTS_BEFORE_READING = 4
BUFFER_BYTES = 4 * 1024 * 1024
"""Of both sockets: what comes while the processor is elsewhere. Both servers and the client have the same."""

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104  # linux/udp.h
NUMBER = struct.Struct("!I")
FILLING = bytes(number % 251 for number in range(DATAGRAM_BYTES - NUMBER.size))
KINDS = 1024
"""So many different datagrams are sent in turn, made once and compared by the burst: a client that makes and compares
them one by one is slower than the server."""
STREAM = memoryview(b"".join(NUMBER.pack(number % KINDS) + FILLING for number in range(KINDS + BURST)))

PLAIN = f"""
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("127.0.0.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, {BUFFER_BYTES})
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, {BUFFER_BYTES})
    print(f":{{sock.getsockname()[1]}}", flush=True)
    while True:
        data, address = sock.recvfrom(65536)
        sock.sendto(data, address)
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one server did: datagrams a second offered and come back, and how many came back wrong."""

    offered: float
    answered: float
    wrong: int


def command(engine: str | None) -> Sequence[str]:
    """How to start the server: an engine of ours, or the plain loop."""
    if engine is None:
        return (sys.executable, "-c", PLAIN)
    return (sys.executable, "-m", "echowire", "serve", "udp://127.0.0.1:0", "--engine", engine)


def measure(engine: str | None, seconds: float) -> Answered:
    """Run the server for a while, and offer it all that the kernel takes."""
    cpus = sorted(os.sched_getaffinity(0))
    with subprocess.Popen(
        command(engine), stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {cpus[0]})
    ) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rpartition(":")[2].split()[0])
            os.sched_setaffinity(0, {cpus[-1]})
            return offer(port, seconds)
        finally:
            os.sched_setaffinity(0, cpus)
            server.terminate()


def offer(port: int, seconds: float) -> Answered:
    """Offer datagrams to `port` of this host, and compare what comes back."""
    sent = came = wrong = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))  # so that only what comes from there is received
        sock.setsockopt(SOL_UDP, UDP_GRO, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        sock.setblocking(False)
        ancillary = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", DATAGRAM_BYTES))]
        buffer = bytearray(1 << 16)
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            for _ in range(BURSTS_BEFORE_READING):
                place = sent % KINDS * DATAGRAM_BYTES
                try:
                    sock.sendmsg([STREAM[place : place + BURST * DATAGRAM_BYTES]], ancillary)
                except BlockingIOError:
                    break
                sent += BURST
            with suppress(BlockingIOError):
                while True:
                    whole, bad = received(sock, buffer)
                    came, wrong = came + whole, wrong + bad
        taken = time.monotonic() - start
        while select.select([sock], [], [], 0.1)[0]:  # late ones are looked at, and not counted
            wrong += received(sock, buffer)[1]
    return Answered(sent / taken, came / taken, wrong)


def received(sock: socket.socket, buffer: bytearray) -> tuple[int, int]:
    """Receive once: how many datagrams came back as they were sent, and how many not."""
    size, ancillary, _flags, _address = sock.recvmsg_into([buffer], 64)
    segment = next((struct.unpack("=i", data)[0] for _, kind, data in ancillary if kind == UDP_GRO), size)
    count = -(-size // segment) if size else 1
    (number,) = NUMBER.unpack_from(buffer) if size >= NUMBER.size else (KINDS,)
    expected = STREAM[number * DATAGRAM_BYTES :][: count * DATAGRAM_BYTES]
    # Of datagrams that are as they were sent, the next in a burst is the next that was sent, unless one was lost
    # on the way, so that what differs is looked at singly.
    if segment == DATAGRAM_BYTES and len(expected) == size and buffer.startswith(expected):
        return count, 0
    pieces = [bytes(buffer[place : min(place + segment, size)]) for place in range(0, size, segment)] or [b""]
    whole = sum(is_as_sent(piece) for piece in pieces)
    return whole, len(pieces) - whole


def is_as_sent(datagram: bytes) -> bool:
    """Whether we have sent this very datagram."""
    if len(datagram) != DATAGRAM_BYTES:
        return False
    (number,) = NUMBER.unpack_from(datagram)
    return number < KINDS and datagram[NUMBER.size :] == FILLING


def compare(engine: str) -> bool:
    """Measure `engine` and the plain loop in turn, print both; whether it is as promised."""
    pairs = [(measure(engine, SECONDS), measure(None, SECONDS)) for _ in range(PAIRS)]
    ratio = statistics.median(ours.answered / plain.answered for ours, plain in pairs)
    wrong = sum(ours.wrong + plain.wrong for ours, plain in pairs)
    print(f"UDP, {DATAGRAM_BYTES:,}-byte datagrams offered in bursts of {BURST}, median of {PAIRS} pairs")
    for name, runs in ((engine, [pair[0] for pair in pairs]), ("recvfrom/sendto", [pair[1] for pair in pairs])):
        answered = statistics.median(run.answered for run in runs)
        offered = statistics.median(run.offered for run in runs)
        print(f"  {name:16} {answered:>12,.0f} answered a second of {offered:>12,.0f}")
    print(f"  ratio {ratio:.2f} (promised {ALLOWED_RATIO:g}); {wrong} came back wrong")
    return ratio >= ALLOWED_RATIO and not wrong


def main() -> int:
    """Measure, print, and judge."""
    promised = [compare(engine) for engine in sys.argv[1:] or ["auto"]]
    return int(not all(promised))


if __name__ == "__main__":
    sys.exit(main())
