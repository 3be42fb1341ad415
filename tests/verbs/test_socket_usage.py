"""Who uses the network: no byte of a process is lost, however short its connections are."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from echowire import SocketInquiry, SocketUsage
from tests.json_schemas import check_lines
from tests.peers import needs_root
from tests.processes import unprivileged

SHORT = """
import socket, sys
for number in range(1, int(sys.argv[2]) + 1):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as one:
        one.sendall(bytes(number))
        one.shutdown(socket.SHUT_WR)
        while one.recv(65536): pass
"""
"""Connections one after the other, of 1, 2, 3 … bytes that come back twice."""

CONNECTIONS = 300
SENT = CONNECTIONS * (CONNECTIONS + 1) // 2


@contextmanager
def answering(times: int = 2) -> Iterator[int]:
    """A server that sends back all that it gets so many times; its port."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data * times)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def totals(usage: SocketUsage, key: str) -> tuple[int, int, int]:
    """Sent, received and ended of a group at this look."""
    found = [group for group in usage.look() if group.key == key]
    return (found[0].sent, found[0].received, found[0].ended) if found else (0, 0, 0)


@needs_root
def test_bytes_of_connections_that_came_and_went_between_two_looks_are_their_process_s() -> None:
    with answering() as port:
        inquiry = SocketInquiry(f"sport = {port} or dport = {port}", kinds=["tcp"], with_processes=True)
        with SocketUsage(inquiry) as usage:
            usage.look()
            child = subprocess.Popen([sys.executable, "-c", SHORT, str(port), str(CONNECTIONS)])
            assert child.wait(30) == 0
            groups = {group.key: group for group in usage.look()}
            (theirs,) = (group for key, group in groups.items() if key.endswith(f"(pid {child.pid})"))
            (ours,) = (group for key, group in groups.items() if key.endswith(f"(pid {os.getpid()})"))
    assert (theirs.sent, theirs.ended) == (SENT, CONNECTIONS)
    # The kernel counts the end of a stream as a byte of it.
    assert 0 <= theirs.received - 2 * SENT <= CONNECTIONS
    assert ours.sent == 2 * SENT and 0 <= ours.received - SENT <= CONNECTIONS
    assert theirs.seconds > 0 and theirs.sent_per_s == SENT / theirs.seconds
    assert not usage.lost


def test_each_byte_of_a_connection_that_lasts_is_counted_once() -> None:
    with answering() as port, socket.create_connection(("127.0.0.1", port)) as client:
        inquiry = SocketInquiry(f"dport = {port}", kinds=["tcp"], with_processes=True)
        name = f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"
        with SocketUsage(inquiry) as usage:
            assert totals(usage, name) == (0, 0, 0), "what was before is not counted"
            for size in (1000, 5000, 70_000):
                client.sendall(bytes(size))
                received = 0
                while received < 2 * size:
                    received += len(client.recv(65536))
                assert totals(usage, name) == (size, 2 * size, 0)
            assert totals(usage, name) == (0, 0, 0)
            client.sendall(bytes(10))
            client.recv(20, socket.MSG_WAITALL)
            client.close()
            sent = received = ended = 0
            while not ended:  # a thread of the kernel tells of it
                more = totals(usage, name)
                sent, received, ended = sent + more[0], received + more[1], more[2]
            assert (sent, ended) == (10, 1) and received in (20, 21), "the kernel may count the end of a stream too"


@needs_root
def test_datagrams_are_counted_by_their_packets() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        inquiry = SocketInquiry(f"sport = {port} or dport = {port}", kinds=["udp"], with_processes=True)
        with SocketUsage(inquiry, by="port") as usage:
            assert usage.notes == []
            usage.look()
            for size in range(100):
                client.sendto(bytes(size), server.getsockname())
                server.recv(2000)
            sent = received = 0
            for _ in range(50):  # the kernel hands its blocks over every tenth of a second
                threading.Event().wait(0.02)
                for group in usage.look():
                    sent, received = sent + group.sent, received + group.received
                if sent:
                    break
    assert (sent, received) == (4950, 4950)


@pytest.mark.skipif(not shutil.which("ncat"), reason="ncat is not installed")
def test_as_lines_a_process_that_we_did_not_write() -> None:
    command = [sys.executable, "-m", "echowire", "sockets", "--by", "process", "--watch", "100ms", "--jsonl", "-t"]
    with ExitStack() as stack:
        port = stack.enter_context(answering(0))
        looking = stack.enter_context(subprocess.Popen([*command, f"dport = {port}"], stdout=subprocess.PIPE))
        talking = stack.enter_context(
            subprocess.Popen(["ncat", "--send-only", "127.0.0.1", str(port)], stdin=subprocess.PIPE)
        )
        assert looking.stdout is not None and talking.stdin is not None
        while not select.select([looking.stdout], [], [], 0.02)[0]:  # until the first look was
            talking.stdin.write(bytes(1000))
            talking.stdin.flush()
        talking.stdin.write(bytes(200_000))
        talking.stdin.close()
        lines, ended = [], 0
        while not ended:
            lines.append(looking.stdout.readline().decode())
            ended = json.loads(lines[-1])["ended"]
        looking.send_signal(signal.SIGINT)
        assert looking.wait(20) == 0
    found = check_lines("".join(lines), "sockets.groups")
    sent = sum(line["sent_bytes"] for line in found)
    assert sent >= 200_000 and sent % 1000 == 0 and found[-1]["total_sent_bytes"] == sent
    assert {(line["by"], line["key"]) for line in found} == {("process", f"ncat (pid {talking.pid})")}


@needs_root
def test_others_than_root_are_told_what_they_do_not_see() -> None:
    def look() -> str:
        with SocketUsage(SocketInquiry(kinds=["tcp"], with_processes=True)) as usage:
            usage.look()
            usage.look()
            return "; ".join(usage.notes)

    look()  # whoever has no rights may not read the modules that it takes
    assert unprivileged(look) == "root also sees whose connections of less than a look are, and the bytes of UDP"
