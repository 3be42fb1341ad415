"""Nothing is imported from the working directory, whatever lies there: by no verb, by no process that one starts."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.captures import write_capture
from tests.processes import COMMAND, PATIENCE_S, serving

MARK = "planted.mark"

PLANT = f"""
with open({MARK!r}, "a") as mark:
    mark.write(__name__ + "\\n")
raise ImportError("a planted module ran")
"""

PACKAGES = (
    "backports",
    "click",
    "lz4",
    "markdown_it",
    "numpy",
    "polars",
    "psutil",
    "pygments",
    "re2",
    "rich",
    "uvloop",
)

SCRIPT = str(Path(sys.executable).with_name("echowire"))
only_for_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do this")
LAUNCHERS = {
    "python -m": COMMAND,
    "python -P -m": (sys.executable, "-P", "-m", "echowire"),
    "python -I -m": (sys.executable, "-I", "-m", "echowire"),
    "the command": (SCRIPT,),
}

needs_script = pytest.mark.skipif(not os.access(SCRIPT, os.X_OK), reason="the command is not installed")
by_each_launcher = pytest.mark.parametrize(
    "launcher", [pytest.param(name, marks=needs_script if name == "the command" else ()) for name in LAUNCHERS]
)


@cache
def names() -> tuple[str, ...]:
    """All that can be imported, but for what Python itself has looked up before `-m` gives a module the word."""
    ask = [sys.executable, "-P", "-c", "import runpy, sys; print(*sys.modules)"]
    own = {name.partition(".")[0] for name in subprocess.check_output(ask, text=True).split()}
    return tuple(sorted((sys.stdlib_module_names | {*PACKAGES}) - own))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module of every name, of which each leaves a mark when it runs; and a capture."""
    for name in names():
        (tmp_path / f"{name}.py").write_text(PLANT)
    write_capture(tmp_path / "some.pcap")
    return tmp_path


def ran(folder: Path) -> list[str]:
    """The planted modules that ran."""
    mark = folder / MARK
    return mark.read_text().split() if mark.exists() else []


def run(folder: Path, launcher: str, *words: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        [*LAUNCHERS[launcher], *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        env={**os.environ, **(env or {})},
    )
    assert ran(folder) == []
    assert done.returncode == 0, done.stderr


def test_a_planted_module_would_tell(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import json"], cwd=folder, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert ran(folder) == ["json"]


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["read", "some.pcap"],
        ["read", "some.pcap", "-V", "-x"],
        ["read", "some.pcap", "-T", "json", "-Y", 'http.host matches "^ex"'],
        ["read", "some.pcap", "-q", "-z", "conv,tcp", "-z", "expert", "-z", "follow,tcp,ascii,0"],
        ["read", "some.pcap", "-w", "copy.pcapng.zst"],
        ["read", "some.pcap", "-w", "copy.pcap.lz4"],
        ["fields", "tcp"],
        ["sockets", "-tlnp"],
        ["sockets", "-x", "--json"],
        ["ping", "-c", "1", "127.0.0.1"],
        ["ping", "-c", "1", "-u", "127.0.0.1:1", "--json"],
        pytest.param(["capture", "-i", "lo", "-a", "duration:0.1", "-w", "lo.pcapng"], marks=only_for_root),
        pytest.param(["capture", "-i", "lo", "-a", "duration:0.1"], marks=only_for_root),
    ],
    ids=" ".join,
)
def test_no_verb_imports_what_lies_in_the_working_directory(folder: Path, words: list[str]) -> None:
    done = subprocess.run([*COMMAND, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert ran(folder) == []
    assert done.returncode in (0, 1), done.stderr


@by_each_launcher
def test_a_server_its_workers_a_client_and_a_load_import_nothing_of_it(folder: Path, launcher: str) -> None:
    workers = ("--workers", "2", "tcp://127.0.0.1:0")
    with serving(*workers, sockets=1, cwd=folder, command=LAUNCHERS[launcher]) as server:
        run(folder, launcher, "call", server.urls[0])
        run(folder, launcher, "bench", "-n", "10", "--workers", "2", "-c", "2", server.urls[0])
        assert server.stop()["connections"] >= 3
    assert ran(folder) == []


def test_an_unsafe_path_that_is_forbidden_by_the_environment_is_none(folder: Path) -> None:
    safe = {"PYTHONSAFEPATH": "1"}
    with serving("--workers", "2", "tcp://127.0.0.1:0", sockets=1, cwd=folder, env=safe) as server:
        run(folder, "python -m", "bench", "-n", "10", server.urls[0], env=safe)
    assert ran(folder) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_handler_is_found_there_and_nothing_else(folder: Path, workers: str) -> None:
    (folder / "shout.py").write_text("import colorsys\ndef serve(sock):\n    sock.sendall(sock.recv(100).upper())\n")
    words = ("--handler", "shout:serve", "--workers", workers, "tcp://127.0.0.1:0")
    with serving(*words, sockets=1, cwd=folder) as server:
        done = subprocess.run([*COMMAND, "call", server.urls[0]], input=b"hello", capture_output=True, timeout=30)
        assert done.stdout == b"HELLO", done.stderr
    assert ran(folder) == []


def test_the_library_starts_its_workers_as_safely(folder: Path) -> None:
    program = (
        "import echowire\n"
        "with echowire.serve('tcp://127.0.0.1:0', workers=2) as server:\n"
        "    assert echowire.bench(server.endpoint, count=10).outcomes.echoed == 10\n"
    )
    for switch in ("-P", "-I"):
        command = [sys.executable, switch, "-c", program]
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=PATIENCE_S)
        assert ran(folder) == []
        assert done.returncode == 0, done.stderr


def test_a_worker_finds_what_a_program_added_to_its_path(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "shout.py").write_text("def serve(sock):\n    sock.sendall(sock.recv(100).upper())\n")
    program = (
        "import sys, echowire\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "with echowire.serve('tcp://127.0.0.1:0', handler='shout:serve', workers=2) as server:\n"
        "    with echowire.call(server.endpoint) as peer:\n"
        "        peer.send(b'hello')\n"
        "        assert peer.recv() == b'HELLO'\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "elsewhere")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
