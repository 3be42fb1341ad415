"""Files written under a name that somebody gave: foreign links, pipes, full disks, and what is left after a failure."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import echowire
from echowire.errors import OperationError
from echowire.kernel.captures.writer import CaptureWriter, OutputFile
from echowire.kernel.output_files import open_to_write, refuse_foreign_links
from tests.captures import PACKETS, ethernet, ipv4, udp, write_capture
from tests.peers import needs, needs_root
from tests.processes import COMMAND, NOBODY, PATIENCE_S

LOOK_S = 0.01


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        threading.Event().wait(LOOK_S)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder like /tmp: everybody may write to it, and change only what is theirs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o1777)
        yield path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.write_bytes(b"precious")
    return path


def linked(folder: Path, target: Path, owner: int, name: str = "a.pcapng") -> Path:
    link = folder / name
    link.symlink_to(target)
    os.lchown(link, owner, owner)
    return link


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "some.pcap")


@needs_root
def test_a_link_of_somebody_else_is_not_followed_in_a_shared_folder(shared: Path, target: Path) -> None:
    link = linked(shared, target, NOBODY)
    with pytest.raises(PermissionError):
        open_to_write(link, 0o600)
    assert target.read_bytes() == b"precious"


@needs_root
def test_nor_one_on_the_way_or_behind_another(shared: Path, tmp_path: Path, target: Path) -> None:
    linked(shared, tmp_path, NOBODY, "folder")
    own = tmp_path / "own"
    own.symlink_to(shared / "folder" / "target")
    for path in (shared / "folder" / "target", own, shared / "folder" / ".." / target.name, shared / "folder" / "new"):
        with pytest.raises(PermissionError):
            refuse_foreign_links(path)


@needs_root
@pytest.mark.parametrize("case", ["own link", "link of the folder's owner", "no sticky folder", "no shared folder"])
def test_other_links_are_followed(shared: Path, target: Path, case: str) -> None:
    owner = 0 if case == "own link" else NOBODY
    link = linked(shared, target, owner)
    if case == "link of the folder's owner":
        os.chown(shared, NOBODY, NOBODY)
    shared.chmod({"no sticky folder": 0o777, "no shared folder": 0o1755}.get(case, 0o1777))
    if Path("/proc/sys/fs/protected_symlinks").read_text().strip() == "0" or case != "no sticky folder":
        os.close(open_to_write(link, 0o600))
        assert target.read_bytes() == b""


def test_what_is_no_file_is_not_asked_about(tmp_path: Path) -> None:
    refuse_foreign_links(tmp_path / "missing" / "a")
    ring = tmp_path / "ring"
    ring.symlink_to(ring)
    with pytest.raises(OSError, match="symbolic links") as refused:
        refuse_foreign_links(ring)
    assert refused.value.errno == errno.ELOOP


@needs_root
@pytest.mark.parametrize("words", [("-w",), ("-b", "packets:1", "-w")])
def test_a_capture_as_root_overwrites_nothing_through_it(shared: Path, target: Path, words: tuple[str, ...]) -> None:
    link = linked(shared, target, NOBODY)
    if "-b" in words:
        linked(shared, target, NOBODY, "folder")
    path = shared / "folder" / "a.pcapng" if "-b" in words else link
    (target.parent / "kept").touch()
    command = [*COMMAND, "capture", "-i", "lo", "-a", "duration:0.2", *words, str(path)]
    if "-b" in words:
        (shared / "folder").unlink()
        linked(shared, target.parent, NOBODY, "folder")
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert "EACCES" in done.stderr
    assert target.read_bytes() == b"precious"
    assert {one.name for one in target.parent.iterdir()} == {"target", "kept"}


@needs_root
def test_neither_does_what_is_read_and_written(shared: Path, target: Path, file: Path) -> None:
    link = linked(shared, target, NOBODY)
    folder = linked(shared, target.parent, NOBODY, "folder")
    with pytest.raises(OperationError, match="EACCES"):
        echowire.read(file).write(link)
    with pytest.raises(OperationError, match="EACCES"):
        echowire.read(file).export(folder / "a.csv")
    with pytest.raises(OperationError, match="EACCES"):
        echowire.read(file).export_streams(folder / "out")
    with pytest.raises(OperationError, match="EACCES"):
        echowire.read(file).export_objects(folder)
    assert target.read_bytes() == b"precious"


@needs_root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_pipe_that_nobody_reads_keeps_no_capture(tmp_path: Path, number: int) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [*COMMAND, "capture", "-i", "lo", "-w", str(pipe)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        # Once it catches SIGTERM, it has got as far as its file.
        wait_until(lambda: bool(int(status.read_text().partition("SigCgt:")[2].split()[0], 16) >> 14 & 1))
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert said == (
        f"echowire: write {pipe}: no such device or address (ENXIO 6). It ended before anybody read the pipe\n"
    )


@needs_root
def test_a_pipe_is_written_to_once_somebody_reads(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [*COMMAND, "capture", "-i", "lo", "-f", "udp port 9", "-c", "1", "-w", str(pipe)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        with pipe.open("rb") as reader:
            assert process.stderr.readline().startswith(b"Capturing")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.sendto(b"through a pipe", ("127.0.0.1", 9))
            data = reader.read()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert b"through a pipe" in data


@pytest.mark.parametrize("name", ["a.pcapng", "a.pcap", "a.pcapng.gz", "a.pcap.zst", "a.pcapng.lz4"])
def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path, file: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir()
    path.write_bytes(b"before")
    path.chmod(0o640)
    with suppress(KeyboardInterrupt), CaptureWriter(path) as writer:
        with echowire.read(file).chunks() as reading:
            for chosen in reading:
                writer.write(chosen.packets.records)
        assert path.read_bytes() == b"before"
        raise KeyboardInterrupt
    assert [one.name for one in path.parent.iterdir()] == [name]
    assert path.read_bytes() == b"before"
    assert echowire.read(file).write(path) == len(PACKETS)
    assert [one.name for one in path.parent.iterdir()] == [name]
    assert len(echowire.read(path)) == len(PACKETS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_of_ones_own_stays_a_link(tmp_path: Path, file: Path, target: Path) -> None:
    link = tmp_path / "a.pcap"
    link.symlink_to(target)
    echowire.read(file).write(link)
    assert link.is_symlink()
    assert len(echowire.read(target)) == len(PACKETS)


def test_the_modes_of_a_new_file_are_what_the_umask_leaves(tmp_path: Path, file: Path) -> None:
    before = os.umask(0o027)
    try:
        echowire.read(file).write(tmp_path / "a.pcap")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.pcap").stat().st_mode) == 0o640


@needs_root
def test_a_file_that_may_not_be_written_is_not_replaced(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        path = Path(folder, "a.pcap")
        path.write_bytes(b"mine")
        path.chmod(0o444)
        script = (
            f"import os, sys; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); "
            "import echowire.kernel.captures.writer as w\n"
            f"try: w.OutputFile({str(path)!r})\nexcept Exception as error: print(error)"
        )
        loaded = "import echowire.kernel.captures.writer, secrets, echowire.kernel.boundary;"
        done = subprocess.run([COMMAND[0], "-c", loaded + script], capture_output=True, text=True, timeout=PATIENCE_S)
        assert "EACCES" in done.stdout, done.stderr
        assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("words", [("-w", "-"), ("-w", "/dev/stdout")])
def test_standard_output_is_written_to_as_it_is(tmp_path: Path, file: Path, words: tuple[str, str]) -> None:
    path = tmp_path / "out.pcapng"
    command = [*COMMAND, "read", str(file), *words]
    piped = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE_S).stdout
    with path.open("wb") as out:
        number = path.stat().st_ino
        subprocess.run(command, stdout=out, timeout=PATIENCE_S, check=True)
    assert path.stat().st_ino == number
    assert path.read_bytes() == piped
    assert len(echowire.read(path)) == len(PACKETS)


@pytest.mark.parametrize("words", [("-w", "{}"), ("--export", "{}")])
def test_a_pipe_of_a_name_is_written_to_as_it_is(tmp_path: Path, file: Path, words: tuple[str, str]) -> None:
    pipe = tmp_path / ("a.pcap" if words[0] == "-w" else "a.csv")
    os.mkfifo(pipe)
    command = [*COMMAND, "read", str(file), words[0], str(pipe)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        data = pipe.read_bytes()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert data and stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A capture that a small disk has no room for."""
    noisy = [ethernet(ipv4("10.0.0.1", "10.0.0.2", 17, udp(5000, 6000, os.urandom(1000)))) for _ in range(1000)]
    return write_capture(tmp_path / "large.pcap", noisy)


@needs_root
@needs("unshare", "mount")
@pytest.mark.parametrize(
    "words",
    [
        ("-w", "a.pcapng"),
        ("-w", "a.pcap.zst"),
        ("--export", "a.csv", "-e", "frame.number", "-e", "frame.protocols", "-e", "data.data"),
        ("--export", "a.arrow", "-e", "frame.number", "-e", "frame.protocols", "-e", "data.data"),
        ("--export", "a.parquet", "-e", "frame.number", "-e", "ip.src", "-e", "data.data"),
    ],
    ids=lambda words: words[1],
)
@pytest.mark.parametrize("before", [None, b"before"])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, large: Path, words: tuple[str, ...], before: bytes | None
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    prepared = f"printf before > {words[1]};" if before else ""
    command = shlex.join([*COMMAND, "read", str(large), *words])
    then = f"{prepared} {command}; echo $?; ls -A; cat * 2>/dev/null"
    script = f"mount -t tmpfs -o size=64k none {disk} && cd {disk} && {{ {then}; }}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, timeout=PATIENCE_S)
    if b"mount:" in done.stderr:
        pytest.skip("nothing may be mounted here")
    assert b"ENOSPC" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1
    left = done.stdout.decode().splitlines()
    assert left == (["2", words[1], "before"] if before else ["2"])


@needs_root
@needs("unshare", "mount")
def test_a_full_disk_leaves_no_export_that_looks_whole(tmp_path: Path, large: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = shlex.join([*COMMAND, "read", str(large), "--export-streams", str(disk)])
    script = f"mount -t tmpfs -o size=64k none {disk} && {{ {command}; echo $?; ls -A {disk}; }}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, timeout=PATIENCE_S)
    if b"mount:" in done.stderr:
        pytest.skip("nothing may be mounted here")
    status, *names = done.stdout.decode().split()
    assert status == "2"
    assert b"ENOSPC" in done.stderr
    assert names and [name for name in names if not name.endswith(".part")] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing_half_done(tmp_path: Path, file: Path, number: int) -> None:
    if shutil.which("sh") is None:
        pytest.skip("not installed: sh")
    out = tmp_path / "out"
    out.mkdir()
    command = [*COMMAND, "read", "-", "-w", str(out / "a.pcapng")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(file.read_bytes())
        process.stdin.flush()
        wait_until(lambda: any(one.name.endswith(".part") and one.stat().st_size for one in out.iterdir()))
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == (130 if number == signal.SIGINT else 128 + number)
    assert list(out.iterdir()) == []


def test_a_file_beside_it_that_fails_to_get_its_name_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    with pytest.raises(OperationError), OutputFile(path) as file:
        file.write(b"x")
        path.mkdir()
    assert [one.name for one in tmp_path.iterdir()] == ["a.pcap"]
