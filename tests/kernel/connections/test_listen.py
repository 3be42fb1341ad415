"""Listening sockets: groups that share a port, families, Unix files, and what is closed when one cannot be had."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytest

from echowire.errors import NameResolutionError, OperationError, UsageError
from echowire.kernel.connections import name_lock
from echowire.kernel.connections.listen import Listener, close_all, open_listeners
from echowire.model import Endpoint
from tests.processes import PATIENCE_S


def parse(*urls: str) -> list[Endpoint]:
    return [Endpoint.parse(url) for url in urls]


def test_a_group_shares_the_port_that_0_gave() -> None:
    for _ in range(20):
        listeners = open_listeners([parse("tcp://127.0.0.1:0", "udp://127.0.0.1:0")])
        assert len({listener.endpoint.port for listener in listeners}) == 1
        assert listeners[0].endpoint.port == listeners[0].socket.getsockname()[1] != 0
        close_all(listeners)


def test_all_or_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OperationError) as caught:
            open_listeners([parse("tcp://127.0.0.1:0"), parse(f"tcp://127.0.0.1:{port}")])
    assert (caught.value.operation, caught.value.number) == ("bind", errno.EADDRINUSE)
    assert caught.value.endpoint == f"127.0.0.1:{port}/tcp"


def test_every_interface_is_one_dual_stack_socket() -> None:
    listeners = open_listeners([parse("tcp://:0", "udp://:0")])
    try:
        assert [listener.socket.family for listener in listeners] == [socket.AF_INET6] * 2
        assert all(listener.wildcard and listener.reachable for listener in listeners)
        with socket.create_connection(("127.0.0.1", listeners[0].endpoint.port), 5) as peer:
            accepted, _ = listeners[0].socket.accept()
            accepted.close()
            assert peer.recv(1) == b""
    finally:
        close_all(listeners)


@pytest.mark.parametrize(("family", "expected"), [(4, socket.AF_INET), (6, socket.AF_INET6)])
def test_one_family_leaves_the_other_free(family: int, expected: int) -> None:
    first = open_listeners([parse("tcp://:0")], family=family)  # type: ignore[arg-type]
    try:
        port, other = first[0].endpoint.port, 10 - family
        second = open_listeners([parse(f"tcp://:{port}")], family=other)  # type: ignore[arg-type]
        close_all(second)
        assert first[0].socket.family == expected
    finally:
        close_all(first)


def test_a_name_is_every_address_that_it_has() -> None:
    expected = {str(answer[4][0]) for answer in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    listeners = open_listeners([parse("tcp://localhost:0")])
    try:
        assert {listener.endpoint.host for listener in listeners} == expected
        assert not any(listener.reachable for listener in listeners)
    finally:
        close_all(listeners)


def test_a_name_that_is_none() -> None:
    with pytest.raises(NameResolutionError, match=r"no-such-host\.invalid"):
        open_listeners([parse("tcp://no-such-host.invalid:0")])


def test_accepted_sockets_send_at_once() -> None:
    [listener] = open_listeners([parse("tcp://127.0.0.1:0")])
    try:
        with socket.create_connection(listener.socket.getsockname(), 5):
            accepted, _ = listener.socket.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    finally:
        listener.close()


def test_several_may_share_a_port_when_asked() -> None:
    first = open_listeners([parse("tcp://127.0.0.1:0")], reuse_port=True)
    second = open_listeners([[first[0].endpoint]], reuse_port=True)
    close_all(first + second)
    with pytest.raises(UsageError, match="certificate"):
        open_listeners([parse("tls://127.0.0.1:0")])


@pytest.fixture
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that every user may write in, as /tmp is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o1777)
        yield folder


LOCKER = """
import fcntl, os, pwd, sys
if len(sys.argv) > 2:
    os.setgroups([])
    os.setuid(pwd.getpwnam(sys.argv[2]).pw_uid)
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding_a_lock(path: Path, user: str | None) -> Iterator[None]:
    """Another process, of another user if one is given, that holds a lock on `path`."""
    command = [sys.executable, "-c", LOCKER, str(path), *([user] if user else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.terminate()


def opened_within(group: list[Endpoint]) -> list[Listener]:
    """What `open_listeners` opens. In a thread, since a lock that is held for ever would be waited for ever."""
    opened: list[Listener] = []
    thread = threading.Thread(target=lambda: opened.extend(open_listeners([group])), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "it waits for the lock"
    return opened


@pytest.mark.parametrize("scheme", ["unix", "unixgram"])
class TestUnix:
    def test_its_file_comes_and_goes(self, scheme: str, tmp_path: Path) -> None:
        path = tmp_path / "s"
        [listener] = open_listeners([parse(f"{scheme}:{path}")])
        assert stat.S_ISSOCK(path.stat().st_mode) and not listener.reachable
        listener.close()
        listener.close()
        assert not path.exists()

    def test_a_stale_file_is_replaced(self, scheme: str, tmp_path: Path) -> None:
        path = tmp_path / "s"
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_UNIX, kind) as stale:
                stale.bind(str(path))
            close_all(open_listeners([parse(f"{scheme}:{path}")]))

    def test_of_those_who_start_at_once_one_has_it(self, scheme: str, tmp_path: Path) -> None:
        """Also between another's bind and listen, when a stream socket refuses as a stale one does."""
        path, opened, failed = tmp_path / "s", list[Listener](), list[int | None]()

        def open_it() -> None:
            start.wait()
            try:
                opened.extend(open_listeners([parse(f"{scheme}:{path}")]))
            except OperationError as error:
                failed.append(error.number)

        for _ in range(100):
            start = threading.Barrier(4)
            threads = [threading.Thread(target=open_it) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            close_all(opened)
            assert (len(opened), failed) == (1, [errno.EADDRINUSE] * 3)
            opened.clear()
            failed.clear()

    @pytest.mark.parametrize("user", [None, "nobody"])
    def test_who_locks_the_folder_delays_nobody(self, scheme: str, user: str | None, open_folder: Path) -> None:
        """Anybody who may read a folder may hold a lock on it. The stale file is replaced, once, all the same."""
        if user and os.geteuid():
            pytest.skip("only root can be another user")
        path = open_folder / "s"
        with holding_a_lock(open_folder, user):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
                stale.bind(str(path))
            [listener] = opened_within(parse(f"{scheme}:{path}"))
            listener.close()
            self.test_of_those_who_start_at_once_one_has_it(scheme, open_folder)
        assert not list(open_folder.iterdir())

    @pytest.mark.parametrize("what", ["file", "pipe", "symbolic link", "folder"])
    def test_who_puts_something_where_the_lock_is_delays_nobody(
        self, scheme: str, what: str, open_folder: Path, tmp_path: Path
    ) -> None:
        path, place = open_folder / "s", open_folder / ".s.lock"
        make: dict[str, Callable[[], object]] = {
            "file": place.touch,
            "pipe": partial(os.mkfifo, place),
            "symbolic link": partial(place.symlink_to, tmp_path / "target"),
            "folder": place.mkdir,
        }
        make[what]()
        if what == "file":
            place.chmod(0o666)
        with holding_a_lock(place, None) if what == "file" else nullcontext():
            [listener] = opened_within(parse(f"{scheme}:{path}"))
        listener.close()
        assert list(open_folder.iterdir()) == [place] and not (tmp_path / "target").exists()

    def test_one_of_ours_that_was_stopped_with_the_lock_is_not_waited_for_long(
        self, scheme: str, open_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(name_lock, "WAIT_S", 0.1)
        (open_folder / ".s.lock").touch(0o600)
        with holding_a_lock(open_folder / ".s.lock", None):
            [listener] = opened_within(parse(f"{scheme}:{open_folder}/s"))
            listener.close()

    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
    def test_one_in_use_is_not(self, scheme: str, kind: int, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX, kind) as used:
            used.bind(str(path))
            if kind == socket.SOCK_STREAM:
                used.listen()
            with pytest.raises(OperationError) as caught:
                open_listeners([parse(f"{scheme}:{path}")])
            assert caught.value.number == errno.EADDRINUSE and path.exists()

    @pytest.mark.parametrize("what", ["file", "directory", "pipe", "symbolic link"])
    def test_what_is_no_socket_stays(self, scheme: str, what: str, tmp_path: Path) -> None:
        path = tmp_path / "s"
        if what == "file":
            path.touch()
        elif what == "directory":
            path.mkdir()
        elif what == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/null")
        with pytest.raises(UsageError, match=f"is a {what}, not a socket"):
            open_listeners([parse(f"{scheme}:{path}")])
        assert path.exists()

    def test_a_file_that_was_taken_over_is_left(self, scheme: str, tmp_path: Path) -> None:
        path = tmp_path / "s"
        [listener] = open_listeners([parse(f"{scheme}:{path}")])
        path.unlink()
        path.touch()
        listener.close()
        assert path.exists()

    def test_an_abstract_name_needs_no_file(self, scheme: str) -> None:
        name = f"{scheme}:@echowire-test-{os.getpid()}"
        [listener] = open_listeners([parse(name)])
        with pytest.raises(OperationError):
            open_listeners([parse(name)])
        listener.close()
        close_all(open_listeners([parse(name)]))

    def test_no_such_folder(self, scheme: str, tmp_path: Path) -> None:
        with pytest.raises(OperationError) as caught:
            open_listeners([parse(f"{scheme}:{tmp_path}/none/s")])
        assert caught.value.number == errno.ENOENT
