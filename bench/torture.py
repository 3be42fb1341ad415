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
import json
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.netns import Namespace, link, namespaces, why_not
from torture_clients import CASES, FINISH_S, IPPROTO_MPTCP, LOOK_S, Case, Clients, Result

NOTICED_S = 10.0
"""Seconds within which the server must have told the end of a connection; where packets are lost, a reset may be too,
and then only the server's own limit of idle time finds it."""

LOSSY_IDLE_S = 15.0

SERVE = (sys.executable, "-m", "echowire", "serve", "--jsonl", "--engine")
AS_MPTCP = f"""
import socket
plain = socket.socket.__init__
def of_mptcp(self, family=-1, type=-1, proto=-1, fileno=None):
    is_tcp = fileno is None and type & 0xF == socket.SOCK_STREAM and family in (socket.AF_INET, socket.AF_INET6)
    plain(self, family, type, {IPPROTO_MPTCP} if is_tcp else proto, fileno)
socket.socket.__init__ = of_mptcp
import echowire.__main__
"""
"""What mptcpize(8) does by LD_PRELOAD: each TCP socket that the program makes is one of MPTCP."""

SERVE_MPTCP = (sys.executable, "-c", AS_MPTCP, *SERVE[3:])


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
                all_clients = Clients(case, near, (address, server.port), result, seed)
                all_clients.run(clients, seconds)
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
        result.remarks += [
            f"not noticed: {peer}: {all_clients.left.get(int(peer.rpartition(':')[2]), 'not a client')}"
            for peer in left
        ]
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
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # and end what was started here first
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
