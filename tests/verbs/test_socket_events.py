"""The stream of socket events: every connection's end with its counters, and nothing left in tracefs."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import IO

import pytest

from echowire import SocketEvent, SocketEvents, SocketInquiry
from echowire.kernel.tables import tracefs
from tests.json_schemas import check_lines
from tests.netns import namespaces
from tests.processes import unprivileged

CONNECTIONS = 1000


def traced() -> Path:
    root = tracefs.tracing_root()
    if root is None:
        pytest.skip("the kernel's tracer needs root, and tracefs")
    return root


def instances(root: Path) -> set[str]:
    return {path.name for path in (root / "instances").glob("echowire-*")}


def converse(listener: socket.socket, connections: int) -> None:
    """Connections of a millisecond: the client sends a number of bytes of its own, the server twice as many."""

    def serve() -> None:
        for number in range(1, connections + 1):
            with listener.accept()[0] as sock:
                assert len(sock.recv(number, socket.MSG_WAITALL)) == number
                sock.sendall(bytes(2 * number))
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b""

    server = threading.Thread(target=serve)
    server.start()
    for number in range(1, connections + 1):
        with socket.create_connection(listener.getsockname()) as sock:
            sock.sendall(bytes(number))
            assert len(sock.recv(2 * number, socket.MSG_WAITALL)) == 2 * number
            assert sock.recv(1) == b""
    server.join()


@pytest.mark.parametrize("trace", [False, True], ids=["as anybody", "with the tracer"])
def test_each_of_a_thousand_short_connections_is_told_with_its_bytes(trace: bool) -> None:
    if trace:
        traced()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        inquiry = SocketInquiry(f"sport = {port} or dport = {port}", kinds=["tcp"])
        with SocketEvents(inquiry, trace=trace) as events:
            talk = threading.Thread(target=converse, args=(listener, CONNECTIONS))
            talk.start()
            kinds: Counter[str] = Counter()
            ends: list[SocketEvent] = []
            for event in events:
                kinds[event.kind] += 1
                if event.kind == "closed":
                    ends.append(event)
                if len(ends) == 2 * CONNECTIONS:
                    break
            talk.join()
    expected = range(1, CONNECTIONS + 1)
    servers = sorted(end.values["bytes_sent"] for end in ends if end.values["local_port"] == port)
    clients = sorted(end.values["bytes_sent"] for end in ends if end.values["peer_port"] == port)
    assert (clients, servers) == (list(expected), [2 * number for number in expected])
    # The kernel counts the end of a stream as a byte of it, once it came before the socket's own end.
    for end in ends:
        sent, received = end.values["bytes_sent"], end.values["bytes_received"]
        other = sent // 2 if end.values["local_port"] == port else 2 * sent
        assert received - other in (0, 1)
    assert kinds["lost"] == 0
    if trace:
        assert kinds["opened"] == 2 * CONNECTIONS
        assert all(end.values["lifetime_ns"] > 0 for end in ends)


def test_states_and_the_reason_of_a_reset_are_told() -> None:
    root = traced()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with SocketEvents(SocketInquiry(f"sport = {port} or dport = {port}", kinds=["tcp"])) as events:
            with socket.create_connection(listener.getsockname()) as client:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(b"never read")
                    client.recv(1)
            seen = []
            for event in events:
                seen.append(event)
                if [one.kind for one in seen].count("closed") == 2:
                    break
    (opened, *_) = [event for event in seen if event.kind == "opened"]
    assert (opened.values["state"], opened.values["pid"]) == ("SYN-SENT", threading.get_native_id())
    states = [event.values["state"] for event in seen if event.kind == "state" and event.values["peer_port"] == port]
    assert states[0] == "ESTAB" and states[-1] == "UNCONN"
    resets = {(event.values["direction"], event.values["reason"]) for event in seen if event.kind == "reset"}
    assert ("sent", "TCP_ABORT_ON_CLOSE") in resets and ("received", None) in resets
    ends = {event.values["local_port"] == port: event.values["reset"] for event in seen if event.kind == "closed"}
    assert ends == {True: "received", False: "sent: TCP_ABORT_ON_CLOSE"}
    assert instances(root) == set()


def test_a_run_that_is_ended_leaves_nothing() -> None:
    root = traced()
    command = [sys.executable, "-m", "echowire", "sockets", "--events", "-t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while not any(name.startswith(f"echowire-{process.pid}-") for name in instances(root)):
            assert process.poll() is None
        process.terminate()
        assert process.wait(20) == 0
    assert not any(name.startswith(f"echowire-{process.pid}-") for name in instances(root))


def test_what_a_killed_run_left_in_tracefs_is_removed_by_the_next() -> None:
    root = traced()
    command = [sys.executable, "-m", "echowire", "sockets", "--events", "--jsonl", "-t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with socket.create_server(("127.0.0.1", 0)):
            # Its instance is there before it tells the first event.
            while not any(name.startswith(f"echowire-{process.pid}-") for name in instances(root)):
                assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    (left,) = [name for name in instances(root) if name.startswith(f"echowire-{process.pid}-")]
    with SocketEvents(SocketInquiry(kinds=["tcp"])) as events:
        assert left not in instances(root)
        assert events.is_traced
    assert instances(root) == set()


def test_another_s_instance_is_left_alone() -> None:
    root = traced()
    mine = tracefs.PREFIX + f"{os.getpid()}-{tracefs.start_of(os.getpid())}"
    with tracefs.TraceInstance(root, []):
        assert tracefs.sweep(root) == [] and mine in instances(root)
    assert mine not in instances(root)


def test_the_end_is_told_to_anybody(needs_root: None) -> None:
    def look() -> str:
        with SocketEvents(SocketInquiry(kinds=["tcp"])) as events, socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection(listener.getsockname()) as client, listener.accept()[0]:
                client.sendall(b"12345")
            for event in events:
                if event.kind == "closed" and event.values["peer_port"] == port:
                    return json.dumps([event.values["bytes_sent"], events.is_traced, len(events.notes)])
        raise AssertionError

    assert json.loads(unprivileged(look)) == [5, False, 1]


def test_a_stream_ends_in_order_when_it_is_interrupted() -> None:
    with namespaces(1) as (host,):
        command = [sys.executable, "-m", "echowire", "sockets", "--events", "--jsonl", "-t", "-N", host.name]
        process = subprocess.Popen(
            [*command, "sport = 4000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines: list[str] = []
        # One that comes before it listens is not told.
        while not lines or '"closed"' not in lines[-1]:
            with host.inside(), socket.socket() as listener, socket.socket() as client:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", 4000))
                listener.listen()
                client.connect(("127.0.0.1", 4000))
            readable = select_one(process.stdout)
            if readable:
                lines.append(process.stdout.readline())
                assert lines[-1], process.communicate()[1]
        process.send_signal(signal.SIGINT)
        with process:
            assert process.stderr is not None
            rest, errors = process.stdout.read(), process.stderr.read()
        assert (process.returncode, errors) == (0, "")
        for line in (*lines, *rest.splitlines()):
            assert json.loads(line)["event"] in ("opened", "state", "closed", "reset", "lost", "retransmit", "drop")


def select_one(stream: IO[str]) -> bool:
    return bool(select.select([stream], [], [], 0.2)[0])


def test_an_end_that_is_looked_for_has_the_properties_of_one_that_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "listening")
    with SocketEvents(SocketInquiry(f"src {path}", kinds=["tcp", "unix"]), trace=False) as events:
        told = iter(events)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            opened = next(told)
        closed = next(told)
    assert (opened.kind, opened.values["state"], closed.kind) == ("opened", "LISTEN", "closed")
    assert check_lines([json.dumps(event.document()) for event in (opened, closed)], "sockets")
    assert closed.values["bytes_sent"] is None
