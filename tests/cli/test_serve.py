"""`echowire serve` as its users start it: a process, its output, its signals, its one-line errors."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from echowire.verbs.workers import STOPPED_S
from tests.peers import needs, needs_root
from tests.processes import COMMAND, PATIENCE_S, run, run_as_nobody, serving


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), PATIENCE_S)


def wait_until_refused(port: int) -> None:
    pause = threading.Event()
    while True:
        try:
            connect(port).close()
        except ConnectionError:
            return
        pause.wait(0.02)


def workers_of(pid: int, count: int) -> list[int]:
    """The child processes of `pid`, once there are `count`."""
    pause = threading.Event()
    while True:
        children = Path(f"/proc/{pid}/task").glob("*/children")
        found = [int(number) for child in children for number in child.read_text().split()]
        if len(found) == count:
            return found
        pause.wait(0.02)


def test_it_says_where_it_listens_and_what_it_did() -> None:
    with subprocess.Popen(
        [*COMMAND, "serve", "127.0.0.1", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        found = re.fullmatch(r"Server listening on 127\.0\.0\.1:(\d+)\n", process.stdout.readline())
        assert found
        with connect(int(found[1])) as peer:
            peer.sendall(b"Hello")
            assert peer.recv(10) == b"Hello"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE_S)
            peer.sendto(b"Hi", ("127.0.0.1", int(found[1])))
            assert peer.recv(10) == b"Hi"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert out.startswith(
        "Served 1 connection; received 7 bytes, sent 7 bytes; datagrams received 1, sent 1; refused 0"
    )
    assert err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_exits_0(number: int) -> None:
    with serving("127.0.0.1:0") as server, connect(server.port) as peer:
        peer.sendall(b"before")
        assert peer.recv(10) == b"before"
        server.process.send_signal(number)
        wait_until_refused(server.port)
        peer.sendall(b"after")
        assert peer.recv(10) == b"after"
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(10) == b""
        assert server.process.wait(PATIENCE_S) == 0


def test_a_second_signal_ends_it_at_once() -> None:
    with serving("127.0.0.1:0", "--drain", "1h") as server, connect(server.port) as peer:
        peer.sendall(b"x")
        assert peer.recv(10) == b"x"
        server.process.send_signal(signal.SIGINT)
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        summary = server.stop(signal.SIGINT)
        assert summary["connections"] == 1


def test_events_tell_the_whole_story() -> None:
    with serving("tcp://127.0.0.1:0", "--max-connections", "1", sockets=1) as server:
        with connect(server.port) as first:
            first.sendall(b"12345")
            assert first.recv(10) == b"12345"
            with connect(server.port) as second:
                assert second.recv(1) == b""
            refused = server.wait_for("refused")
            assert refused["peer"].startswith("127.0.0.1:") and "limit of 1 connection" in refused["reason"]
        closed = server.wait_for("closed")
        assert (closed["received_bytes"], closed["sent_bytes"], closed["reason"]) == (5, 5, "end of input")
        assert server.of_kind("accepted")[0]["connection"] == closed["connection"] == 1
        summary = server.stop()
        assert summary["refused"] == 1 and summary["longest_s"] > 0


def test_json_is_one_document() -> None:
    with subprocess.Popen(
        [*COMMAND, "serve", "--json", "-v", "tcp://127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("engine ")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    document = json.loads(out)
    assert document["schema"] == "echowire.serve" and document["version"] == 1
    assert document["endpoints"][0].startswith("tcp://127.0.0.1:") and document["summary"]["connections"] == 0


@pytest.mark.parametrize("engine", ["readiness", "threads"])
def test_when_nobody_reads_the_events_any_more_it_ends(engine: str) -> None:
    with serving("tcp://127.0.0.1:0", "--engine", engine, sockets=1) as server:
        assert server.process.stdout is not None and server.process.stderr is not None
        server.process.stdout.close()
        with connect(server.port) as peer:
            peer.recv(1)
        assert server.process.wait(PATIENCE_S) == 0
        assert server.process.stderr.read() == ""


def test_once_ends_after_the_first_connection() -> None:
    with serving("tcp://127.0.0.1:0", "--once", sockets=1) as server:
        with connect(server.port) as peer:
            peer.sendall(b"only")
            assert peer.recv(10) == b"only"
        assert server.process.wait(PATIENCE_S) == 0


def test_every_interface_answers_both_families() -> None:
    with serving(":0") as server:
        for family, host in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as peer:
                peer.settimeout(PATIENCE_S)
                peer.connect((host, server.port))
                peer.sendall(host.encode())
                assert peer.recv(100) == host.encode()
            with socket.socket(family, socket.SOCK_DGRAM) as peer:
                peer.settimeout(PATIENCE_S)
                # Not connected: whatever address the answer comes from is seen, and must be the one asked.
                peer.sendto(b"from whom?", (host, server.port))
                data, address = peer.recvfrom(100)
                assert (data, address[0]) == (b"from whom?", host)


@pytest.mark.parametrize(("flag", "refused"), [("-4", "::1"), ("-6", "127.0.0.1")])
def test_one_family_only(flag: str, refused: str) -> None:
    other = "127.0.0.1" if flag == "-4" else "::1"
    with serving(flag, ":0", "-t", sockets=1) as server:
        with connect(server.port, other) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
        with pytest.raises(ConnectionRefusedError):
            connect(server.port, refused)


def test_unix_sockets_of_both_kinds(tmp_path: Path) -> None:
    stream, datagram = tmp_path / "s", tmp_path / "d"
    with serving(f"unix:{stream}", f"unixgram:{datagram}") as server:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(stream))
            peer.sendall(b"hello")
            assert peer.recv(10) == b"hello"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.sendto(b"whom should one answer?", str(datagram))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind("")
            peer.connect(str(datagram))
            for message in (b"", b"x" * 100_000):
                peer.send(message)
                assert peer.recv(200_000) == message
        assert server.wait_for("accepted")["peer"] == f"pid {os.getpid()} uid {os.getuid()}"
        server.stop()
    assert not stream.exists() and not datagram.exists()


def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving("-U", str(path), sockets=1) as killed:
        killed.process.kill()
        killed.process.wait()
    assert path.exists()
    with serving("-U", str(path), sockets=1) as server:
        second = run("serve", "-U", str(path))
        assert second.returncode == 2
        assert second.stderr.decode().count("\n") == 1 and "EADDRINUSE" in second.stderr.decode()
        # A path that was taken over is not ours to remove.
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            server.stop()
            assert path.exists()


def test_two_that_start_at_once_on_a_stale_file_do_not_rob_each_other(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    rivals = [
        subprocess.Popen([*COMMAND, "serve", "-U", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    try:
        serving_now = []
        for rival in rivals:
            assert rival.stdout is not None
            if rival.stdout.readline():
                serving_now.append(rival)
            else:
                assert rival.wait(PATIENCE_S) == 2
        assert len(serving_now) == 1
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
    finally:
        for rival in rivals:
            rival.kill()
            rival.communicate()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    authority.issue_cert("other").private_key_pem.write_to_path(str(folder / "other.pem"))
    return {name: str(folder / f"{name}.pem") for name in ("ca", "key", "cert", "other")}


@needs("openssl")
def test_tls_with_a_real_client(certificate: dict[str, str]) -> None:
    arguments = ["--tls-cert", certificate["cert"], "--tls-key", certificate["key"]]
    with serving("127.0.0.1:0", *arguments, sockets=1) as server:
        assert server.urls[0].startswith("tls://")
        client = subprocess.Popen(
            [
                *("openssl", "s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-CAfile", certificate["ca"]),
                *("-servername", "localhost", "-connect", f"127.0.0.1:{server.port}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"hello\n"
        client.stdin.close()
        client.wait(PATIENCE_S)
        client.stdout.close()
        with connect(server.port) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while plain.recv(1000):
                pass
        assert "TLS failed" in server.wait_for("closed", 2)["reason"]


def test_a_handler_serves_and_one_that_raises_loses_that_connection_alone(tmp_path: Path) -> None:
    (tmp_path / "upper.py").write_text(
        "def serve(sock):\n"
        "    data = sock.recv(100)\n"
        "    if data == b'bad':\n"
        "        raise ValueError('it was bad')\n"
        "    print('printed, not an event')\n"
        "    sock.sendall(data.upper())\n"
    )
    for extra in ((), ("--workers", "2")):
        with serving("tcp://127.0.0.1:0", "--handler", "upper:serve", *extra, sockets=1, cwd=tmp_path) as server:
            for message, answer in ((b"one", b"ONE"), (b"bad", b""), (b"two", b"TWO")):
                with connect(server.port) as peer:
                    peer.sendall(message)
                    assert peer.recv(100) == answer
            if extra:
                assert server.wait_for("closed", 3)
            summary = server.stop()
            assert (summary["connections"], summary["failed"]) == (3, 1)
            reasons = [event["reason"] for event in server.of_kind("closed")]
            assert "the handler raised ValueError: it was bad" in reasons


def test_workers_share_the_port_and_one_summary(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving("127.0.0.1:0", f"unix:{path}", "--workers", "2", sockets=3) as server:
        for number in range(40):
            with connect(server.port) as peer:
                peer.sendall(b"%d" % number)
                assert peer.recv(10) == b"%d" % number
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
        server.wait_for("closed", 41)
        assert {event["worker"] for event in server.of_kind("closed")} == {0, 1}
        summary = server.stop()
        assert summary["connections"] == 41
    assert not path.exists()


def test_a_worker_that_is_killed_is_replaced() -> None:
    with serving("tcp://127.0.0.1:0", "--workers", "2", sockets=1) as server:
        with connect(server.port) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
        victim = workers_of(server.process.pid, 2)[0]
        threading.Event().wait(1.1)  # one that dies younger is taken to die again
        os.kill(victim, signal.SIGKILL)
        assert "signal 9" in server.wait_for("notice")["message"]
        for number in range(20):
            with connect(server.port) as peer:
                peer.sendall(b"%d" % number)
                assert peer.recv(10) == b"%d" % number
        server.stop()


def test_a_worker_that_is_stopped_is_replaced() -> None:
    with serving("tcp://127.0.0.1:0", "--workers", "2", sockets=1) as server:
        workers = workers_of(server.process.pid, 2)
        watched = os.pidfd_open(workers[0])
        os.kill(workers[0], signal.SIGSTOP)
        assert "is stopped by a signal" in server.wait_for("notice")["message"]
        assert "another takes its place" in server.wait_for("notice", 2)["message"]
        with suppress(ProcessLookupError):
            os.kill(workers[0], signal.SIGCONT)  # it comes too late, and brings nobody back
        assert select.select([watched], [], [], PATIENCE_S)[0], "the stopped worker lives on"
        os.close(watched)
        now = workers_of(server.process.pid, 2)
        assert workers[0] not in now and workers[1] in now
        for number in range(40):
            with connect(server.port) as peer:
                peer.settimeout(PATIENCE_S)
                peer.sendall(b"%d" % number)
                assert peer.recv(10) == b"%d" % number
        assert states_of_children(server.process.pid) <= {"S", "R"}, "a zombie"
        server.stop()


def test_a_worker_that_goes_on_at_once_is_left() -> None:
    """As after Ctrl-Z and `fg`, which stop and continue the whole group."""
    with serving("tcp://127.0.0.1:0", "--workers", "2", sockets=1) as server:
        workers = workers_of(server.process.pid, 2)
        for worker in workers * 3:
            os.kill(worker, signal.SIGSTOP)
            os.kill(worker, signal.SIGCONT)
        threading.Event().wait(2 * STOPPED_S)
        assert workers_of(server.process.pid, 2) == workers
        assert server.stop()["refused"] == 0
        assert not server.of_kind("notice")


@pytest.mark.parametrize("signals", [1, 2])
def test_a_stopped_worker_does_not_keep_the_server(signals: int) -> None:
    with serving("tcp://127.0.0.1:0", "--workers", "2", sockets=1) as server:
        workers = workers_of(server.process.pid, 2)
        watched = [os.pidfd_open(pid) for pid in (server.process.pid, *workers)]
        os.kill(workers[0], signal.SIGSTOP)
        for _ in range(signals):
            server.process.send_signal(signal.SIGINT)
        # Not by the last resort of a second signal, which takes a second and fails.
        assert server.process.wait(PATIENCE_S) == 0
        try:
            for descriptor in watched:
                assert select.select([descriptor], [], [], PATIENCE_S)[0], "a worker outlives its parent"
        finally:
            for descriptor in watched:
                os.close(descriptor)


def states_of_children(pid: int) -> set[str]:
    """The states (proc(5)) of the processes that `pid` has started, by whichever of its threads."""
    children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return {Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] for child in children}


def test_kill_9_takes_the_workers_along() -> None:
    with serving("tcp://127.0.0.1:0", "--workers", "2", sockets=1) as server:
        workers = workers_of(server.process.pid, 2)
        watched = [os.pidfd_open(worker) for worker in workers]
        server.process.kill()
        try:
            for descriptor in watched:
                assert select.select([descriptor], [], [], PATIENCE_S)[0], "a worker outlives its parent"
        finally:
            for descriptor in watched:
                os.close(descriptor)


@needs("systemd-socket-activate")
def test_systemd_hands_over_its_sockets(tmp_path: Path) -> None:
    path = tmp_path / "activated"
    process = subprocess.Popen(
        ["systemd-socket-activate", "-l", str(path), *COMMAND, "serve", "--jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None and process.stdout is not None
        while f"Listening on {path}" not in process.stderr.readline():
            assert process.poll() is None
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect(str(path))  # which starts the server
            peer.sendall(b"activated")
            assert peer.recv(100) == b"activated"
        assert json.loads(process.stdout.readline())["endpoint"] == f"unix:{path}"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_no_free_descriptor_pauses_accepting_and_drops_nobody() -> None:
    allowed = 40
    for engine in ("readiness", "threads"):
        limited = ("sh", "-c", f'ulimit -n {allowed}; exec "$@"', "sh")
        arguments = ("tcp://127.0.0.1:0", "--engine", engine)
        with serving(*arguments, sockets=1, prefix=limited) as server:
            peers = [connect(server.port) for _ in range(2 * allowed)]
            try:
                notice = server.wait_for("notice")["message"]
                assert "too many open files" in notice and "ulimit -n" in notice
                for number, peer in enumerate(peers):  # each is served in time, as those before it leave
                    peer.sendall(b"%d" % number)
                    assert peer.recv(10) == b"%d" % number
                    peer.close()
            finally:
                for peer in peers:
                    peer.close()
            summary = server.stop()
            assert summary["connections"] == 2 * allowed
            assert len(server.of_kind("notice")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["127.0.0.1:70000"], "'70000' is not a port"),
        (["127.0.0.1", "70000"], "'70000' is not a port"),
        (["no-such-host.invalid:7"], "no-such-host.invalid"),
        (["[fe80::1%nope]:7"], "nope"),
        (["-U", "/etc/passwd"], "/etc/passwd is a file, not a socket"),
        (["-U", "/no/such/folder/s"], "ENOENT 2"),
        (["unix:" + "x" * 200], "at most 107"),
        (["gopher://x:1"], "unknown scheme 'gopher'"),
        (["192.0.2.77:0"], "EADDRNOTAVAIL 99"),
        (["tls://127.0.0.1:0"], "--tls-cert"),
        (["--tls-cert", "/no/such.pem", "127.0.0.1:0"], "/no/such.pem"),
        (["--tls-cert", "/etc/passwd", "127.0.0.1:0"], "not valid PEM"),
        (["--handler", "nothing"], "module:function"),
        (["--handler", "no_such_module:serve"], "no_such_module"),
        (["--handler", "os:no_such_function"], "no_such_function"),
        (["--handler", "os:getcwd", "udp://127.0.0.1:0"], "datagrams"),
        (["--handler", "os:getcwd", "--engine", "readiness", "127.0.0.1:0"], "thread"),
        (["--service", "gopher"], "echo, discard"),
        (["--engine", "steam"], "no engine"),
        (["--idle", "soon"], "not a duration"),
        (["--workers", "0"], "--workers"),
        (["--max-queue", "0"], "--max-queue"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments: list[str], said: str) -> None:
    done = run("serve", *arguments)
    error = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b""), error
    assert error.count("\n") == 1 and error.startswith("echowire: ") and said in error, error


def test_mismatched_key(certificate: dict[str, str]) -> None:
    done = run("serve", "--tls-cert", certificate["cert"], "--tls-key", certificate["other"], "127.0.0.1:0")
    assert done.returncode == 2 and b"does not belong to the certificate" in done.stderr


def test_a_taken_port_names_who_holds_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        done = run("serve", f"127.0.0.1:{holder.getsockname()[1]}")
        error = done.stderr.decode()
        assert done.returncode == 2 and error.count("\n") == 1
        assert "EADDRINUSE 98" in error and str(os.getpid()) in error


@needs_root
def test_an_unprivileged_user_is_told_about_low_ports() -> None:
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if start < 2:
        pytest.skip("this host lets anyone bind any port")
    done = run_as_nobody("serve", "tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert "EACCES 13" in done.stderr and "CAP_NET_BIND_SERVICE" in done.stderr


def test_version_and_help_need_no_verb() -> None:
    assert re.fullmatch(rb"echowire \d+\.\d+\.\d+\n", run("--version").stdout)
    assert b"serve" in run("--help").stdout
    assert b"echowire serve" in run("serve", "--help").stdout
    unknown = run("srve")
    assert unknown.returncode == 2 and unknown.stderr.count(b"\n") == 1


def test_nine_thousand_connections_in_three_rounds() -> None:
    count, rounds = 9000, 3
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 1000:
        pytest.skip(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with serving("tcp://127.0.0.1:0", sockets=1) as server:
            idle = _resident(server.process.pid)
            # Nobody reads the events until the end: the pipe would fill, so they are drained beside.
            drained = threading.Thread(target=lambda: server.wait_for("closed", count))
            drained.start()
            peers = [connect(server.port) for _ in range(count)]
            try:
                for round_number in range(rounds):
                    for number, peer in enumerate(peers):
                        peer.sendall(b"%d/%d" % (round_number, number))
                    for number, peer in enumerate(peers):
                        expected = b"%d/%d" % (round_number, number)
                        assert peer.recv(100) == expected
                each = (_resident(server.process.pid) - idle) / count
            finally:
                for peer in peers:
                    peer.close()
            drained.join(PATIENCE_S)
            assert server.stop()["connections"] == count
            assert each <= 16 * 1024, f"{each:.0f} bytes resident a connection"
            print(f"{each:.0f} bytes resident a connection")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run([str(Path(sys.executable).with_name("echowire")), "-V"], capture_output=True, text=True)
    assert done.stdout == run("--version").stdout.decode()
