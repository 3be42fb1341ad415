"""The stream of socket events: every connection's end with its counters, and nothing left behind in the kernel."""

from __future__ import annotations

import errno
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, ClassVar

import pytest

from echowire import SocketEvent, SocketEvents, SocketInquiry
from echowire.kernel.tables import tracefs
from echowire.kernel.tables.tracefs import TraceInstance
from echowire.verbs import socket_events
from tests.json_schemas import check_lines
from tests.netns import namespaces
from tests.processes import unprivileged

CONNECTIONS = 1000


def traced() -> None:
    """Skips a test of what only the kernel's tracer tells."""
    with SocketEvents(SocketInquiry(kinds=["tcp"])) as events:
        if not events.is_traced:
            pytest.skip(events.notes[0])


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
    traced()
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


class InterruptedReading(TraceInstance):
    """An instance that once, between the first processor's buffer and the next, lets something happen."""

    acts: ClassVar[list[Callable[[], None]]] = []

    def _pages(self) -> Iterator[bytes]:
        files = self._files
        self._files = files[:1]
        yield from super()._pages()
        while self.acts:
            self.acts.pop()()
        self._files = files[1:]
        yield from super()._pages()
        self._files = files


def test_a_connection_that_moves_to_another_processor_is_told_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It begins where the buffer was read already, and the rest of its life is seen in the next one."""
    traced()
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2 or processors[0] != 0:
        pytest.skip("needs two processors, the first among them")
    with namespaces(1) as (host,), host.socket() as listener, host.socket() as client, ExitStack() as at_end:
        # Segments are received on the other processor (Documentation/networking/scaling.rst).
        mask = f"{1 << processors[1]:x}"
        host.run("sh", "-c", f"echo {mask} > /sys/class/net/lo/queues/rx-0/rps_cpus")
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        at_end.callback(os.sched_setaffinity, 0, processors)

        def live() -> None:
            os.sched_setaffinity(0, processors[:1])
            client.setblocking(False)
            assert client.connect_ex(listener.getsockname()) == errno.EINPROGRESS
            os.sched_setaffinity(0, processors[1:2])
            accepted, _ = listener.accept()
            accepted.shutdown(socket.SHUT_WR)
            client.setblocking(True)
            assert client.recv(1) == b""
            client.close()
            assert accepted.recv(1) == b""
            accepted.close()

        monkeypatch.setattr(socket_events, "TraceInstance", InterruptedReading)
        inquiry = SocketInquiry(f"sport = {port} or dport = {port}", kinds=["tcp"], namespace=host.name)
        with SocketEvents(inquiry) as events:
            InterruptedReading.acts.append(live)
            told = list(events.take())
            assert not InterruptedReading.acts
            for event in events:
                told.append(event)
                if [event.kind for event in told].count("closed") == 2:
                    break
    for end in ("peer_port", "local_port"):
        kinds = [event.kind for event in told if event.values[end] == port]
        assert kinds[0] == "opened" and kinds[-1] == "closed" and set(kinds[1:-1]) == {"state"}
    assert all(event.values["lifetime_ns"] > 0 for event in told if event.kind == "closed")


def test_ends_told_late_are_those_of_connections_between_the_same_two_ends_in_turn() -> None:
    """The second connection is there before the end of the first is told."""
    traced()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        inquiry = SocketInquiry(f"dport = {port}", kinds=["tcp"])
        with SocketEvents(inquiry) as events:
            told: list[SocketEvent] = []
            source = 0
            for _ in range(3):
                with socket.socket() as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    client.bind(("127.0.0.1", source))
                    client.connect(("127.0.0.1", port))
                    source = client.getsockname()[1]
                    with listener.accept()[0] as accepted:  # it is reset, so that nothing is left in TIME-WAIT
                        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
            for event in events:
                told.append(event)
                if [event.kind for event in told].count("closed") == 3:
                    break
    ends = [event for event in told if event.kind == "closed"]
    assert {event.values["local_port"] for event in ends} == {source}
    lifetimes = [event.values["lifetime_ns"] for event in ends]
    span = max(event.time_ns for event in told) - min(event.time_ns for event in told)
    assert all(lifetime > 0 for lifetime in lifetimes) and sum(lifetimes) < span


def instances() -> list[str]:
    root = tracefs.tracing_root()
    try:
        return sorted(path.name for path in Path(f"/proc/self/fd/{root}/instances").iterdir())
    finally:
        os.close(root)


@contextmanager
def tracing() -> Iterator[subprocess.Popen[str]]:
    """`echowire sockets --events`, once it has told of something that only the tracer sees."""
    command = [sys.executable, "-m", "echowire", "sockets", "--events", "--jsonl", "-t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, ExitStack() as at_end:
        at_end.callback(process.kill)
        assert process.stdout is not None
        kind = None
        while kind not in ("opened", "state", "drop"):
            assert process.poll() is None
            with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
                listener.accept()[0].close()
            if select_one(process.stdout):
                kind = json.loads(process.stdout.readline())["event"]
        yield process


def test_a_run_that_is_ended_leaves_nothing() -> None:
    traced()
    with tracing() as process:
        assert any(name.startswith(f"echowire-{process.pid}-") for name in instances())
        process.terminate()
        assert process.wait(20) == 0
        assert not any(name.startswith(f"echowire-{process.pid}-") for name in instances())


def test_a_run_that_is_killed_leaves_nothing_either() -> None:
    traced()
    with tracing() as process:
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
        pause = threading.Event()
        while any(name.startswith(f"echowire-{process.pid}-") for name in instances()):
            pause.wait(0.01)  # its guardian is at it


def test_what_was_left_with_its_guardian_killed_too_is_removed_by_the_next() -> None:
    traced()
    with subprocess.Popen(["true"]) as gone:
        pass
    root = tracefs.tracing_root()
    try:
        left = Path(f"/proc/self/fd/{root}/instances/{tracefs.PREFIX}{gone.pid}-1-0")
        left.mkdir()
        with SocketEvents(SocketInquiry(kinds=["tcp"])) as events:
            assert events.is_traced and not left.exists()
    finally:
        os.close(root)


def test_another_s_instance_is_left_alone() -> None:
    traced()
    with TraceInstance([]) as first, TraceInstance([]) as second:
        assert {first.path.name, second.path.name} <= set(instances())
    assert not {first.path.name, second.path.name} & set(instances())


def test_the_tracer_is_there_without_tracefs_and_unseen_by_others() -> None:
    """`ip netns exec` mounts a /sys of its own, in which tracefs is not."""
    traced()
    with namespaces(1) as (host,):
        command = (sys.executable, "-c", LOOK)
        hidden, traces, mounts = json.loads(host.run(*command).splitlines()[-1])
    assert hidden and traces and not mounts


LOOK = """
import json, os
from echowire import SocketEvents, SocketInquiry
with SocketEvents(SocketInquiry(kinds=["tcp"])) as events:
    mounts = [line for line in open("/proc/self/mountinfo") if " - tracefs " in line and " /sys/" in line]
    print(json.dumps([not os.path.exists("/sys/kernel/tracing/events"), events.is_traced, mounts]))
"""


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
    with SocketEvents(SocketInquiry(kinds=["tcp"])) as events:
        notes = events.notes  # such as that this kernel has no tracefs
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
        assert (process.returncode, errors.splitlines()) == (0, [f"echowire: {note}" for note in notes])
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
    assert closed.values["bytes_sent"] is None


@pytest.mark.parametrize("trace", [False, True], ids=["as anybody", "with the tracer"])
def test_a_socket_of_udp_is_told_when_it_opens_and_once_when_it_closes(trace: bool) -> None:
    if trace:
        traced()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        port = peer.getsockname()[1]
        with SocketEvents(SocketInquiry(f"dport = {port}"), trace=trace) as events:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
                caller.connect(("127.0.0.1", port))
                told = [next(iter(events))]  # within a second
            while told[-1].kind != "closed":
                told.append(next(iter(events)))
    assert [event.kind for event in told] == ["opened", "closed"]
    assert {event.values["netid"] for event in told} == {"udp"}


def test_another_network_s_connections_are_not_told() -> None:
    traced()
    with namespaces(2) as (here, there):
        inquiry = SocketInquiry(kinds=["tcp"], namespace=here.name)
        with SocketEvents(inquiry) as events:
            assert events.notes == []
            for host in (there, here):  # what is not told comes first
                with host.inside():
                    listener = socket.create_server(("127.0.0.1", 4000))
                    client = socket.create_connection(("127.0.0.1", 4000))
                with listener, client, listener.accept()[0]:
                    pass
            told: list[SocketEvent] = []
            for event in events:
                told.append(event)
                # A listener's end is told too.
                if [one.kind for one in told].count("closed") == 3:
                    break
    opened = [event for event in told if event.kind == "opened"]
    assert sorted(event.values["state"] for event in opened) == ["LISTEN", "SYN-RECV", "SYN-SENT"]


def test_without_states_a_connection_is_opened_and_closed_and_lasts_as_long() -> None:
    traced()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        inquiry = SocketInquiry(f"sport = {port} or dport = {port}", kinds=["tcp"])
        with SocketEvents(inquiry, states=False) as events:
            converse(listener, 20)
            events.stop()
            told = list(events)
    kinds = Counter(event.kind for event in told)
    assert kinds == {"opened": 40, "closed": 40}
    ends = [event for event in told if event.kind == "closed"]
    assert all(event.values["lifetime_ns"] > 0 for event in ends)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_has_come_is_told_after_the_signal(number: signal.Signals) -> None:
    """It is ended in the midst of a burst that it has no time for, since it is stopped meanwhile."""
    command = [sys.executable, "-m", "echowire", "sockets", "--events", "--jsonl", "-t"]
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        ends = f"sport = {port} or dport = {port}"
        with subprocess.Popen([*command, ends], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told: list[str] = []
            while not told:
                with socket.create_connection(listener.getsockname()), listener.accept()[0]:
                    pass
                if select_one(process.stdout):
                    told.append(process.stdout.readline())
            process.send_signal(signal.SIGSTOP)
            converse(listener, 500)
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            told += process.stdout.readlines()
            assert process.wait(20) == 0
    found = [json.loads(line) for line in told]
    sent = Counter(line["bytes_sent"] for line in found if line["event"] == "closed" and line["peer_port"] == port)
    assert [sent[number] for number in range(1, 501)] == [1] * 500
    assert not any(line["event"] == "lost" for line in found)


def test_the_second_signal_has_the_rest_counted() -> None:
    command = [sys.executable, "-m", "echowire", "sockets", "--events", "-tn"]
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        ends = f"sport = {port} or dport = {port}"
        with subprocess.Popen([*command, ends], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            told = 0
            while not told:
                with socket.create_connection(listener.getsockname()), listener.accept()[0]:
                    pass
                if select_one(process.stdout):
                    told += bool(process.stdout.readline())
            process.send_signal(signal.SIGSTOP)
            converse(listener, 300)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
                process.send_signal(number)
            lines = process.stdout.readlines()
            said = process.stderr.read()
            assert process.wait(20) == 1
    (untold,) = re.findall(r"(\d+) events that had come were not told", said)
    assert int(untold) + len(lines) >= 600
