"""Whose packets: of 2,000 connections of 5 ms each, opened by ten processes in turn, how many `echowire capture` knows.

A server in one process accepts them; ten others, one after another, connect 200 times each, send two bytes, wait for
5 ms and close. They tell their number, their port and the time, and every packet of the file is compared with that, at
both ends: ports come again. Exits 1 where a process is wrong, or fewer than 95 % of the connections are known whole.

Needs root. Run it as `python bench/capture_processes.py`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import echowire

PROCESSES, CONNECTIONS, SECONDS = 10, 200, 0.005
PROMISED = 0.95

CLIENT = """
import os, socket, sys, threading, time
for _ in range(int(sys.argv[2])):
    begin = time.time_ns()
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as peer:
        print(peer.getsockname()[1], begin)
        peer.send(b"hi")
        threading.Event().wait(float(sys.argv[3]))
"""

SERVER = """
import socket
with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        peer, _ = server.accept()
        peer.recv(10)
        peer.close()
"""


def captured(path: Path) -> tuple[int, dict[int, list[tuple[int, int]]], int]:
    """Capture them to `path`: the server's port, who had which port since when, and the server's number."""
    began: dict[int, list[tuple[int, int]]] = {}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        words = (sys.executable, "-m", "echowire", "capture", "-i", "lo", "--processes", "-w", str(path))
        with subprocess.Popen([*words, "tcp", "port", str(port)], stderr=subprocess.PIPE, text=True) as capture:
            assert capture.stderr is not None
            capture.stderr.readline()
            for _ in range(PROCESSES):
                client = [sys.executable, "-c", CLIENT, str(port), str(CONNECTIONS), str(SECONDS)]
                with subprocess.Popen(client, stdout=subprocess.PIPE, text=True) as process:
                    assert process.stdout is not None
                    for line in process.stdout:
                        own, begin = map(int, line.split())
                        began.setdefault(own, []).append((begin, process.pid))
            capture.send_signal(signal.SIGINT)
            print(capture.stderr.read().strip())
        server.kill()
    return port, began, server.pid


def main() -> int:
    """Capture, compare, and say how it went."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pcapng"
        port, began, server = captured(path)
        ends = {"known": 0, "unknown": 0, "wrong": 0}
        whole: dict[tuple[int, int], bool] = {}
        with echowire.read(path).chunks("tcp.srcport", "tcp.dstport", "proc.srcpid", "proc.dstpid") as reading:
            for chunk in reading:
                times = chunk.packets.records.time_ns.tolist()
                for side in ("src", "dst"):
                    values = chunk.values(f"proc.{side}pid")
                    found = dict(zip(values.rows.tolist(), values.values.tolist(), strict=True))
                    ports = chunk.values(f"tcp.{side}port").values.tolist()
                    for row, (own, now) in enumerate(zip(ports, times, strict=True)):
                        since, pid = (0, server) if own == port else [one for one in began[own] if one[0] <= now][-1]
                        got = found.get(row)
                        ends["unknown" if got is None else "known" if got == pid else "wrong"] += 1
                        if own != port:
                            whole[own, since] = whole.get((own, since), True) and got == pid
    share = sum(whole.values()) / (PROCESSES * CONNECTIONS)
    print(f"{sum(whole.values())} of {PROCESSES * CONNECTIONS} connections known in every packet; ends: {ends}")
    return 1 if ends["wrong"] or share < PROMISED else 0


if __name__ == "__main__":
    sys.exit(main())
