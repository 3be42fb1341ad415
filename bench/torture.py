"""Clients that are hard on an echo server, in namespaces of their own: does any connection freeze, lie or leak?

    python bench/torture.py --engine kernel --case loopback --seconds 60 --clients 64 [--json]

Each client sends up to 50 MB in writes of 17 bytes to 64 KiB, stops reading now and then, and ends by a half-close, a
close or a reset; a next one takes its place. Each byte that comes back is compared with what was sent at its offset.
Reported: connections and bytes; wrong bytes; connections cut by the server; those frozen (not a byte for 10 s while
both ends could); those whose end the server did not notice; how often a receive buffer overran (TCPRcvQDrop, without
which nothing was tested of what the server does then); and the server's resident memory. It exits 1 if a byte was
wrong, or a connection was cut, froze, or went unnoticed, or memory stayed.

Cases: `loopback`, `veth-loss` (2 % of all packets lost, both ways), `mtu576`, `ipv6`, `mptcp`, and `rmem2`, `rmem6`,
`rmem32` (tcp_rmem's maximum in MiB). Two cases overrun within seconds: in `small` clients make small writes while they
do not read, which is hard on the kernel engine's buffers; in `tiny`, for the others, they write byte by byte, and the
buffers are small. It needs root, for the namespaces.
"""

from __future__ import annotations

import argparse
import errno
import heapq
import json
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.netns import Namespace, link, namespaces, why_not

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
NOTICED_S = 10.0
"""Seconds within which the server must have told the end of a connection; where packets are lost, a reset may be too,
and then only the server's own limit of idle time finds it."""

LOSSY_IDLE_S = 15.0
FINISH_S = 60.0
"""Seconds that the clients of the last moment are given to end in order."""

STAYS_BYTES = 16 * 1024 * 1024
"""What the server may have more at the end than at the start: the allocator's, and what a first connection loads."""

PERIOD = 1_048_573  # a prime, so that no read or write size divides it
PATTERN = random.Random(1).randbytes(PERIOD)
PATTERN += PATTERN[: READ_BYTES + MOST_WRITE]
TCP_INFO, SO_MEMINFO, IPPROTO_MPTCP = 11, 55, 262

SERVE = (sys.executable, "-m", "echowire", "serve", "--jsonl", "--engine")
AS_MPTCP = f"""
import socket
plain = socket.socket.__init__
def of_mptcp(self, family=-1, type=-1, proto=-1, fileno=None):
    is_tcp = fileno is None and type == socket.SOCK_STREAM and family in (socket.AF_INET, socket.AF_INET6)
    plain(self, family, type, {IPPROTO_MPTCP} if is_tcp else proto, fileno)
socket.socket.__init__ = of_mptcp
import echowire.__main__
"""
"""What mptcpize(8) does by LD_PRELOAD: each TCP socket that the program makes is one of MPTCP."""

SERVE_MPTCP = (sys.executable, "-c", AS_MPTCP, *SERVE[3:])


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
            return "wrong"
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
        result.wrong += said == "wrong"
        result.sent += client.sent
        result.received += client.received
        result.longest_still_s = max(result.longest_still_s, client.longest_still_s)
        del self.by_fd[client.fd]
        self.epoll.unregister(client.fd)
        client.leave(by_reset=client.end == "reset" or said == "frozen")


class Server:
    """`echowire serve` on a host, and what it has told."""

    def __init__(self, case: Case, host: Namespace, address: str, engine: str) -> None:
        at = f"tcp://{f'[{address}]' if ':' in address else address}:0"
        idle = ("--idle", str(LOSSY_IDLE_S)) if case.loss_percent else ()
        command = SERVE_MPTCP if case.is_mptcp else SERVE
        self.process = host.start(*command, engine, *idle, at, stdout=subprocess.PIPE, text=True)
        self.open: dict[int, tuple[str, float]] = {}
        self.reasons: list[str] = []
        self.first: dict[str, Any] = self._next()
        self.port = int(self.first["endpoint"].rpartition(":")[2])
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._listen, name="events of the server", daemon=True)
        self.thread.start()

    def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        event: dict[str, Any] = json.loads(self.process.stdout.readline())
        return event

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            with self.changed:
                if event["event"] == "accepted":
                    self.open[event["connection"]] = (event["peer"], time.monotonic())
                elif event["event"] == "closed":
                    self.open.pop(event["connection"], None)
                    if event["reason"] not in ("end of input", "reset by the peer"):
                        self.reasons.append(f"closed {event['peer']}: {event['reason']}")
                elif event["event"] == "notice":
                    self.reasons.append(event["message"])
                self.changed.notify_all()

    def wait_for_ends(self, seconds: float) -> list[str]:
        """Who is still connected, to the server's mind, when all have left and time is up."""
        with self.changed:
            self.changed.wait_for(lambda: not self.open, seconds)
            return [peer for peer, _ in self.open.values()]

    @property
    def resident(self) -> int:
        """Resident bytes (proc(5), statm)."""
        pid = self.process.pid  # `ip netns exec` becomes the program
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(FINISH_S)
        self.thread.join()


@contextmanager
def network(case: Case) -> Iterator[tuple[Namespace, Namespace, str]]:
    """The client's host, the server's, and the server's address."""
    if not case.has_link:
        with namespaces() as (host,):
            _tune(case, host)
            yield host, host, "::1" if case.is_v6 else "127.0.0.1"
        return
    with namespaces(2) as (client, server):
        devices = link(client, server, "10.0.0.1/24", "10.0.0.2/24")
        for host, device in zip((client, server), devices, strict=True):
            _tune(case, host)
            host.ip(f"link set {device} mtu {case.mtu}")
            if case.loss_percent:
                host.nft(f"add rule inet test input numgen random mod 100 < {case.loss_percent} drop")
        yield client, server, "10.0.0.2"


def _tune(case: Case, host: Namespace) -> None:
    if case.receive_max is not None:
        host.sysctl("net.ipv4.tcp_rmem", f"4096 {min(131_072, case.receive_max)} {case.receive_max}")
    if case.send_max is not None:
        host.sysctl("net.ipv4.tcp_wmem", f"4096 16384 {case.send_max}")


def receive_drops(host: Namespace) -> int:
    """How often a segment was dropped because a receive buffer was full (proc(5), net/netstat)."""
    with host.inside():
        names, values = Path("/proc/thread-self/net/netstat").read_text().splitlines()[:2]
    return int(dict(zip(names.split(), values.split(), strict=True))["TCPRcvQDrop"])


def torture(name: str, engine: str, seconds: float, clients: int, seed: int) -> Result:
    """Run a case; what it showed."""
    case = CASES[name]
    result = Result(engine=engine, case=name, seconds=seconds)
    with network(case) as (near, far, address):
        server = Server(case, far, address, engine)
        try:
            result.served_by = server.first["engine"]
            result.memory_start = server.resident
            drops = receive_drops(far)
            over = threading.Event()
            watch = threading.Thread(target=_watch_memory, args=(server, result, over), name="memory")
            watch.start()
            try:
                Clients(case, near, (address, server.port), result, seed).run(clients, seconds)
                waited = NOTICED_S + (1.25 * LOSSY_IDLE_S if case.loss_percent else 0.0)
                left = server.wait_for_ends(waited)
            finally:
                over.set()
                watch.join()
            result.receive_drops = receive_drops(far) - drops
            result.memory_end = server.resident
        finally:
            server.stop()
        result.unnoticed = len(left)
        result.remarks += [f"not noticed: {peer}" for peer in left]
        result.remarks += server.reasons if not case.loss_percent else []
    return result


def _watch_memory(server: Server, result: Result, over: threading.Event) -> None:
    while True:
        result.memory_peak = max(result.memory_peak, server.resident)
        if over.wait(LOOK_S):
            return


def main() -> int:
    """Run what was asked, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", default="auto", help="auto, kernel, readiness or threads")
    parser.add_argument("--case", default="loopback", choices=CASES)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seed", type=int, default=None, help="what the clients do; drawn, and printed, if not given")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if reason := why_not(nft=CASES[asked.case].loss_percent > 0):
        print(f"torture: {reason}", file=sys.stderr)
        return 2
    seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    result = torture(asked.case, asked.engine, asked.seconds, asked.clients, seed)
    if asked.json:
        print(json.dumps({**asdict(result), "seed": seed, "ok": result.ok}))
        return not result.ok
    memory = "/".join(f"{size / 2**20:.0f}" for size in (result.memory_start, result.memory_peak, result.memory_end))
    print(
        f"{result.engine:<10}{result.case:<10}{result.connections:>6} connections {result.received / 1e9:6.2f} GB back"
        f"  wrong {result.wrong}  cut {result.cut}  frozen {result.frozen}  unnoticed {result.unnoticed}"
        f"  longest still {result.longest_still_s:.1f} s"
        f"  overran {result.receive_drops}  memory {memory} MiB  seed {seed}"
    )
    for remark in result.remarks:
        print(f"    {remark}")
    return not result.ok


if __name__ == "__main__":
    sys.exit(main())
