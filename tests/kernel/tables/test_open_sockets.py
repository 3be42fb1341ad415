"""Sockets that processes have open, as one pass of the kernel gives them, held against /proc."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from echowire.core.sockets.fields import HOLDER
from echowire.errors import OperationError
from echowire.kernel.bpf import syscall as bpf
from echowire.kernel.tables import open_sockets, processes
from tests.peers import needs, needs_root

HOST = """
import ctypes, os, resource, socket, sys, threading
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
path, count = sys.argv[1], int(sys.argv[2])
held = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.socketpair()]
held.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
held += [socket.socket() for _ in range(count)]
held.append(held[0].dup())
named = socket.socket(socket.AF_UNIX)
named.bind(path)
by_path = os.open(path, os.O_PATH)  # a file whose inode is a socket's, and no socket
others = [*os.pipe(), os.open("/dev/null", os.O_RDONLY)]
apart, told = [], threading.Event()
def thread():
    ctypes.CDLL(None).unshare(0x400)  # CLONE_FILES: a table of files of its own
    apart.append(socket.socket())
    told.set()
    threading.Event().wait()
threading.Thread(target=thread, daemon=True).start()
told.wait()
reader, writer = os.pipe()
if not os.fork():
    os.close(writer)
    os.read(reader, 1)  # until the parent is gone
    os._exit(0)
print("ready", flush=True)
sys.stdin.read()
"""
"""A process with sockets of all kinds, some twice, some in a child, one in a thread that shares no files."""


@pytest.fixture
def may_iterate(needs_root: None) -> None:
    """Skips where the kernel gives no iterator over files."""
    try:
        open_sockets.rows()
    except OperationError as error:
        pytest.skip(str(error))


@contextmanager
def hosts(directory: Path, *counts: int) -> Iterator[set[int]]:
    """A process with so many plain sockets for each of `counts`, and its child; the numbers of all of them."""
    with ExitStack() as stack:
        started = []
        for at, count in enumerate(counts):
            words = [sys.executable, "-c", HOST, str(directory / f"{at}.sock"), str(count)]
            process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        for process in started:
            assert process.stdout is not None and process.stdout.readline()
        parents = {process.pid for process in started}
        yield parents | {pid for pid in processes.pids() if parent_of(pid) in parents}


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def held_by(holders: dict[int, bytes], pids: set[int]) -> dict[int, list[tuple[int, int]]]:
    """The sockets of these processes, and who of them has which; others come and go."""
    found = {inode: [one for one in HOLDER.iter_unpack(held) if one[0] in pids] for inode, held in holders.items()}
    return {inode: held for inode, held in found.items() if held}


def test_the_kernel_and_proc_say_the_same(may_iterate: None, tmp_path: Path) -> None:
    with hosts(tmp_path, 0, 10, processes.MANY_DESCRIPTORS) as pids:
        assert len(pids) == 6
        by_kernel = held_by(processes.holders_by_kernel(), pids)
        by_proc, hidden = processes.holders_by_proc(processes.pids())
        assert hidden == 0 and by_kernel == held_by(by_proc, pids)
        assert len(by_kernel) == processes.MANY_DESCRIPTORS + 10 + 3 * 6
        assert max(map(len, by_kernel.values())) == 4, "the listener: a process and its child have it twice each"
        assert processes.has_many_descriptors(processes.pids())
        assert held_by(processes.socket_holders()[0], pids) == by_kernel


def test_sleepers_and_threads_are_passed_over(may_iterate: None) -> None:
    with ExitStack() as stack:
        for _ in range(50):
            process = stack.enter_context(subprocess.Popen(["sleep", "60"]))
            stack.callback(process.kill)
        with socket.socket() as sock:
            held = processes.holders_by_kernel()[os.fstat(sock.fileno()).st_ino]
            assert [*HOLDER.iter_unpack(held)] == [(os.getpid(), sock.fileno())]


def test_nothing_is_left_when_it_is_done_or_killed(may_iterate: None) -> None:
    before = set(bpf.program_ids())
    open_sockets.rows()
    wait_until_gone(before)
    held = (
        "import os, signal\n"
        "from echowire.kernel.bpf import syscall as bpf\nfrom echowire.kernel.tables import open_sockets as o\n"
        "bpf.iterate = lambda *_: os.kill(os.getpid(), signal.SIGSTOP)\n"
        "o.rows()"
    )
    with subprocess.Popen([sys.executable, "-c", held]) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert set(bpf.program_ids()) - before
        process.send_signal(signal.SIGKILL)
    wait_until_gone(before)


def wait_until_gone(before: set[int]) -> None:
    """Until no program is there that was not: the kernel frees them a little later."""
    for _ in range(100_000):
        if not set(bpf.program_ids()) - before:
            return
    raise AssertionError("a program was left behind")


@needs_root
def test_where_the_kernel_refuses_proc_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bytes:
        asked.append(True)
        raise OperationError("bpf PROG_LOAD", "open sockets", 1, "operation not permitted")

    asked: list[bool] = []
    monkeypatch.setattr(open_sockets, "rows", refuse)
    monkeypatch.setattr(processes, "MANY_DESCRIPTORS", 1)
    with socket.socket() as sock:
        held, hidden = processes.socket_holders()
        assert (os.getpid(), sock.fileno()) in [*HOLDER.iter_unpack(held[os.fstat(sock.fileno()).st_ino])]
    assert asked and hidden == 0


@pytest.mark.parametrize("data", [b"", b"no type information"])
def test_without_type_information_it_says_so(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "vmlinux", tmp_path / "absent"):
        monkeypatch.setattr(bpf, "BTF", str(path))
        open_sockets._program.cache_clear()
        (tmp_path / "vmlinux").write_bytes(data)
        with pytest.raises(OperationError, match="does not say how its files are laid out"):
            open_sockets._program()
    open_sockets._program.cache_clear()


INSIDE = """
import os, socket
from echowire.errors import OperationError
from echowire.kernel.tables import open_sockets
from echowire.kernel.tables import processes
processes.MANY_DESCRIPTORS = 1
with socket.socket() as sock:
    try:
        open_sockets.rows()
    except OperationError as error:
        print(error)
    held, _ = processes.socket_holders()
    holders = [*processes.HOLDER.iter_unpack(held[os.fstat(sock.fileno()).st_ino])]
    print(holders == [(os.getpid(), sock.fileno())], os.getpid())
"""


@needs_root
@needs("unshare")
@pytest.mark.parametrize("mounts", [["--mount-proc"], []])
def test_a_container_whose_processes_have_other_numbers_reads_proc(mounts: list[str]) -> None:
    """With its own /proc or, as nobody should, with its host's."""
    words = ["unshare", "--pid", "--fork", *mounts, sys.executable, "-c", INSIDE]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    if "unshare failed" in done.stderr:
        pytest.skip(done.stderr)
    said, _, rest = done.stdout.partition("\n")
    assert "processes have other numbers here" in said, done.stderr
    if mounts:
        assert rest == "True 1\n"
