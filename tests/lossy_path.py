"""A path that misbehaves on purpose, and keeps account: between a prober and a STAMP reflector, both real.

What it does to each packet is drawn from a seed: forward and pass on, lose, send twice, hold until the next one has
passed, or hold for so long that nobody waits any more. What the prober must then have counted follows from what was
passed back to it, and in which order.
"""

from __future__ import annotations

import random
import select
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

HELD_LONG = 250
"""Packets of the same way after which one that is held for long is passed on: 2.5 s at 100 a second."""

BUFFER_BYTES = 4 * 1024 * 1024


class Way:
    """One direction of one target's path."""

    def __init__(self, seed: int, quiet_from: int) -> None:
        self._draw = random.Random(seed)
        self._quiet_from = quiet_from
        self._held: list[tuple[int, bytes]] = []
        self._count = 0
        self.lost = 0
        self.twice = 0

    def passed(self, data: bytes, *, may_hold_long: bool) -> list[bytes]:
        """What comes out when `data` goes in."""
        self._count += 1
        due = [held for at, held in self._held if at <= self._count]
        self._held = [(at, held) for at, held in self._held if at > self._count]
        fate = self._draw.random()
        if self._count >= self._quiet_from or fate < 0.88:
            return [data, *due]
        if fate < 0.92:
            self.lost += 1
            return due
        if fate < 0.95:
            self.twice += 1
            return [data, data, *due]
        if fate < 0.99 or not may_hold_long:
            self._held.append((self._count + 1, data))
            return due
        self._held.append((self._count + HELD_LONG, data))
        return due


class Account:
    """What the prober must count for one target, from what was passed back to it."""

    def __init__(self) -> None:
        self.passed_back: Counter[int] = Counter()
        self.reordered = 0
        self.duplicated = 0
        self.late = 0
        self._highest = -1
        self._newest = -1

    def sent(self, sequence: int) -> None:
        """The prober has sent this."""
        self._newest = max(self._newest, sequence)

    def answered(self, sequence: int) -> None:
        """The prober is given an answer to `sequence`."""
        self.passed_back[sequence] += 1
        if self.passed_back[sequence] > 1:
            self.duplicated += 1
            return
        if self._newest - sequence >= HELD_LONG // 2:
            # The prober counts one that comes after its time for late; it has been lost by then.
            self.late += 1
            self._highest = max(self._highest, sequence)
            return
        self.reordered += sequence < self._highest
        self._highest = max(self._highest, sequence)

    @property
    def received(self) -> int:
        """Probes that were answered in time."""
        return len(self.passed_back) - self.late


class LossyPath:
    """Paths from some addresses of this host to one reflector, in a thread. Each address is a target of its own."""

    def __init__(self, addresses: Sequence[str], reflector_port: int, count: int, seed: int = 1) -> None:
        self.accounts = [Account() for _ in addresses]
        self.ways = [
            (Way(seed + 2 * at, count - 400), Way(seed + 2 * at + 1, count - 400)) for at in range(len(addresses))
        ]
        self._outer = [self._socket(address) for address in addresses]
        self._inner = [self._socket("127.0.0.1") for _ in addresses]
        for sock in self._inner:
            sock.connect(("127.0.0.1", reflector_port))
        self._peers: list[Any] = [None] * len(addresses)
        self.targets = [
            f"{address}:{sock.getsockname()[1]}" for address, sock in zip(addresses, self._outer, strict=True)
        ]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lossy path")

    @staticmethod
    def _socket(address: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        sock.setblocking(False)
        sock.bind((address, 0))
        return sock

    def __enter__(self) -> LossyPath:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        for sock in (*self._outer, *self._inner):
            sock.close()

    def _run(self) -> None:
        numbers = {sock.fileno(): at for socks in (self._outer, self._inner) for at, sock in enumerate(socks)}
        outer = {sock.fileno() for sock in self._outer}
        while not self._ended.is_set():
            ready, _, _ = select.select(list(numbers), [], [], 0.05)
            for fd in ready:
                (self._there if fd in outer else self._back)(numbers[fd])

    def _there(self, at: int) -> None:
        try:
            data, self._peers[at] = self._outer[at].recvfrom(2048)
        except BlockingIOError:
            return
        self.accounts[at].sent(int.from_bytes(data[:4], "big"))
        for packet in self.ways[at][0].passed(data, may_hold_long=False):
            self._inner[at].send(packet)

    def _back(self, at: int) -> None:
        try:
            data = self._inner[at].recv(2048)
        except BlockingIOError:
            return
        for packet in self.ways[at][1].passed(data, may_hold_long=True):
            self.accounts[at].answered(int.from_bytes(packet[24:28], "big"))
            self._outer[at].sendto(packet, self._peers[at])
