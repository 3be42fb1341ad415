"""The clients of `torture.py`, and the cases: what they do, and over which network."""

from __future__ import annotations

import errno
import heapq
import random
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.netns import Namespace

MOST_BYTES = 50_000_000
LEAST_WRITE, MOST_WRITE = 17, 65_536
READ_BYTES = 256 * 1024
WRITES_A_TURN = 64
"""Writes of one client before the others have their turn."""

BURST_WRITES = 200
"""Writes of a size before the next is drawn: of small ones enough to fill a buffer with what they cost beyond their
bytes."""

PAUSE_MAX_S = 2.5
PAUSES_MAX = 4
LOOK_S = 0.25
"""How often it is looked whether a connection stands still, and how much memory the server has."""

FROZEN_S = 10.0

FINISH_S = 60.0
"""Seconds that the clients of the last moment are given to end in order."""


STAYS_BYTES = 16 * 1024 * 1024
"""What the server may have more at the end than at the start: the allocator's, and what a first connection loads."""

PERIOD = 1_048_573  # a prime, so that no read or write size divides it
PATTERN = random.Random(1).randbytes(PERIOD)
PATTERN += PATTERN[: READ_BYTES + MOST_WRITE]
SO_MEMINFO, IPPROTO_MPTCP = 55, 262


@dataclass(frozen=True, slots=True)
class Case:
    """A network, and how the clients write."""

    least_write: int = LEAST_WRITE
    most_write: int = MOST_WRITE
    receive_max: int | None = None
    """tcp_rmem's maximum, in bytes, on both hosts."""
    send_max: int | None = None
    """The same of tcp_wmem."""
    write_in_pauses: int | None = None
    """The size of writes while nothing is read, after some of the largest; None: as else. A buffer overruns when large
    segments had TCP promise much, and small ones use it up."""
    large_first: int = 0
    """How many bytes of the largest writes come before these, at most: about what both ends hold on the way back."""
    mtu: int | None = None
    loss_percent: int = 0
    is_v6: bool = False
    is_mptcp: bool = False

    @property
    def has_link(self) -> bool:
        """Whether it is over a veth pair, not over loopback."""
        return self.mtu is not None or self.loss_percent > 0


CASES = {
    "loopback": Case(),
    "veth-loss": Case(loss_percent=2, mtu=1500),
    "mtu576": Case(mtu=576),
    "ipv6": Case(is_v6=True),
    "mptcp": Case(is_mptcp=True),
    "rmem2": Case(receive_max=2 << 20),
    "rmem6": Case(receive_max=6 << 20),
    "rmem32": Case(receive_max=32 << 20),
    "tiny": Case(receive_max=256 << 10, send_max=128 << 10, write_in_pauses=1, large_first=1_000_000),
    "small": Case(write_in_pauses=17, large_first=16_000_000),
}


@dataclass(slots=True)
class Result:
    """What a run showed. Bytes unless the name says otherwise."""

    engine: str = ""
    served_by: str = ""
    case: str = ""
    seconds: float = 0.0
    connections: int = 0
    sent: int = 0
    received: int = 0
    wrong: int = 0
    cut: int = 0
    frozen: int = 0
    unnoticed: int = 0
    longest_still_s: float = 0.0
    """The longest that a connection moved no byte though both ends could, and then went on."""
    receive_drops: int = 0
    memory_start: int = 0
    memory_peak: int = 0
    memory_end: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        stays = self.memory_end - self.memory_start > STAYS_BYTES
        return not (self.wrong or self.cut or self.frozen or self.unnoticed or stays) and self.connections > 0


class Client:
    """One connection: what it will do is drawn when it begins."""

    def __init__(self, sock: socket.socket, case: Case, draw: random.Random, now: float) -> None:
        self.sock, self.draw, self.case = sock, draw, case
        self.fd = sock.fileno()
        self.name = sock.getsockname()[:2]
        self.total = int(min(MOST_BYTES, 10 ** draw.uniform(2, 8)))
        self.end = draw.choices(("half-close", "close", "reset"), (14, 3, 3))[0]
        self.breaks_at = draw.randrange(self.total + 1)
        """Of a close or a reset: after how many bytes that came back."""
        self.pauses = sorted(draw.randrange(self.total + 1) for _ in range(draw.randrange(PAUSES_MAX + 1)))
        self.base = draw.randrange(PERIOD)
        self.sent = self.received = 0
        self.paused_until = 0.0
        self.small_from = 0
        self.moved_at = now
        self.longest_still_s = 0.0
        self.has_half_closed = False
        self._burst = self._write_size = 0

    @property
    def mask(self) -> int:
        """What is waited for."""
        reads = select.EPOLLIN if not self.paused_until else 0
        return reads | (select.EPOLLOUT if self.sent < self.total else 0)

    def write(self, now: float) -> None:
        """Write what the socket takes, up to a turn's worth."""
        for _ in range(WRITES_A_TURN):
            if not self._burst:
                least, most = self.case.least_write, self.case.most_write
                self._burst = BURST_WRITES
                self._write_size = int(least * (most / least) ** self.draw.random())
            if not (size := min(self._size(), self.total - self.sent)):
                break
            start = (self.base + self.sent) % PERIOD
            try:
                self.sent += self.sock.send(PATTERN[start : start + size])
            except BlockingIOError:
                return
            self._burst -= 1
            self._move(now)
        if self.sent == self.total and self.end == "half-close" and not self.has_half_closed:
            self.has_half_closed = True
            self.sock.shutdown(socket.SHUT_WR)

    def _size(self) -> int:
        if not (self.paused_until and self.case.write_in_pauses):
            return self._write_size
        return self.case.most_write if self.sent < self.small_from else self.case.write_in_pauses

    def read(self, now: float) -> str:
        """Read once; what is to be said of it: nothing, `ended`, or what was wrong."""
        data = self.sock.recv(READ_BYTES)
        if not data:
            return "ended" if self.has_half_closed and self.received == self.sent else "cut: the end came too soon"
        if not PATTERN.startswith(data, (self.base + self.received) % PERIOD):
            at = next(n for n, byte in enumerate(data) if byte != PATTERN[(self.base + self.received + n) % PERIOD])
            return f"wrong: the byte at {self.received + at} is not what was sent there"
        self.received += len(data)
        self._move(now)
        if self.end != "half-close" and self.received >= self.breaks_at:
            return "ended"
        if self.pauses and self.received >= self.pauses[0]:
            del self.pauses[0]
            self.paused_until = now + self.draw.uniform(0.05, PAUSE_MAX_S)
            self.small_from = self.sent + self.draw.randrange(self.case.large_first + 1)
        return ""

    def _move(self, now: float) -> None:
        if not self.paused_until:
            self.longest_still_s = max(self.longest_still_s, now - self.moved_at)
        self.moved_at = now

    def hurry(self) -> None:
        """The time is up: send no more than was sent, and end."""
        self.total, self.pauses, self.end = self.sent, [], "half-close"

    def describe(self) -> str:
        """Where it stands, for who looks into a freeze."""
        memory = struct.unpack("9I", self.sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
        return f"{self.name}: {self.sent} of {self.total} sent, {self.received} back; {self.end}; memory {memory}"

    def leave(self, *, by_reset: bool) -> None:
        """Close."""
        if by_reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
        self.sock.close()


class Clients:
    """All of them, in one epoll."""

    def __init__(self, case: Case, host: Namespace, address: tuple[str, int], result: Result, seed: int) -> None:
        self.case, self.host, self.address, self.result = case, host, address, result
        self.draw = random.Random(seed)
        self.by_fd: dict[int, Client] = {}
        self.epoll = select.epoll()
        self.masks: dict[int, int] = {}
        self.resume: list[tuple[float, int, Client]] = []
        self.left: dict[int, str] = {}
        """Who has left, by port, and how."""

    def run(self, count: int, seconds: float) -> None:
        """Keep `count` clients busy for so long, and see them to their end."""
        began = now = time.monotonic()
        looked, hurried = now, False
        while now - began < seconds + FINISH_S:
            if now - began < seconds:
                while len(self.by_fd) < count:
                    self._begin(now)
            elif not hurried:
                hurried = True
                for client in list(self.by_fd.values()):
                    client.hurry()
                    self._work(client, select.EPOLLOUT, now)
            if not self.by_fd:
                break
            for fd, mask in self.epoll.poll(LOOK_S):
                if fd in self.by_fd:
                    self._work(self.by_fd[fd], mask, now)
            now = time.monotonic()
            self._resume(now)
            if now - looked > LOOK_S:
                looked = now
                self._look(now)
        for client in list(self.by_fd.values()):
            self._frozen(client)

    def _begin(self, now: float) -> None:
        family = socket.AF_INET6 if self.case.is_v6 else socket.AF_INET
        sock = self.host.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if self.case.is_mptcp else 0)
        sock.settimeout(FROZEN_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, self.draw.random() < 0.5)
        sock.connect(self.address)
        sock.setblocking(False)
        client = Client(sock, self.case, self.draw, now)
        self.by_fd[client.fd] = client
        self.masks[client.fd] = client.mask
        self.epoll.register(client.fd, client.mask)
        self.result.connections += 1

    def _work(self, client: Client, mask: int, now: float) -> None:
        said = ""
        try:
            if mask & select.EPOLLOUT:
                client.write(now)
            if mask & ~select.EPOLLOUT and (not client.paused_until or mask & (select.EPOLLERR | select.EPOLLHUP)):
                said = client.read(now)
        except BlockingIOError:
            pass
        except OSError as error:
            said = f"cut: {errno.errorcode.get(error.errno or 0)}"
        if said:
            self._end(client, said)
            return
        if client.paused_until > now and self.masks[client.fd] & select.EPOLLIN:
            heapq.heappush(self.resume, (client.paused_until, client.fd, client))
        self._watch(client)

    def _watch(self, client: Client) -> None:
        if client.mask != self.masks[client.fd]:
            self.masks[client.fd] = client.mask
            self.epoll.modify(client.fd, client.mask)

    def _resume(self, now: float) -> None:
        while self.resume and self.resume[0][0] <= now:
            client = heapq.heappop(self.resume)[2]
            if self.by_fd.get(client.fd) is client:
                client.paused_until, client.moved_at = 0.0, now
                self._watch(client)

    def _look(self, now: float) -> None:
        for client in list(self.by_fd.values()):
            if not client.paused_until and now - client.moved_at > FROZEN_S:
                self._frozen(client)

    def _frozen(self, client: Client) -> None:
        self.result.frozen += 1
        self.result.remarks.append(f"frozen: {client.describe()}")
        self._end(client, "frozen")

    def _end(self, client: Client, said: str) -> None:
        result = self.result
        if said.startswith("cut"):
            result.cut += 1
            result.remarks.append(f"{said}: {client.describe()}")
        if said.startswith("wrong"):
            result.wrong += 1
            result.remarks.append(f"{said}: {client.describe()}")
        result.sent += client.sent
        result.received += client.received
        result.longest_still_s = max(result.longest_still_s, client.longest_still_s)
        self.left[client.name[1]] = f"{client.end} after {client.received} of {client.sent} bytes"
        del self.by_fd[client.fd]
        self.epoll.unregister(client.fd)
        client.leave(by_reset=client.end == "reset" or said == "frozen")
