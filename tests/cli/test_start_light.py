"""What a server and a client load, in the process that really serves or calls: neither numpy nor polars.

`tests/test_layers.py` has the same of what the source says; this is what Python then does.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import echowire

FIXTURES = """
import sys

def test_an_echo(echo_server):
    import echowire

    with echowire.call(echo_server.endpoint) as peer:
        assert peer.echo(b"hello") == b"hello"
    assert not {"numpy", "polars"} & sys.modules.keys()
"""


def packages(told: str) -> set[str]:
    """The packages that `-X importtime` told of."""
    loaded = {name.partition(".")[0] for name in re.findall(r"^import time:.*\| +(\S+)$", told, re.MULTILINE)}
    assert "echowire" in loaded
    return loaded


def command(*words: str) -> list[str]:
    return [sys.executable, "-X", "importtime", "-m", "echowire", *words]


@pytest.mark.parametrize("words", [["-m", "hello"], ["-c", "2", "--verify", "-s", "1000"], ["-u", "-m", "hello"]])
def test_call_loads_neither_numpy_nor_polars(words: list[str]) -> None:
    with echowire.serve("127.0.0.1:0") as server:
        at = next(endpoint for endpoint in server.endpoints if endpoint.is_stream == ("-u" not in words))
        done = subprocess.run(command("call", *words, at.address), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout, done.stderr
    assert not packages(done.stderr) & {"numpy", "polars"}


def test_serve_loads_neither(tmp_path: Path) -> None:
    with (tmp_path / "told").open("w+") as told:
        words = command("serve", "127.0.0.1:0")
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=told, text=True) as serving:
            assert serving.stdout is not None
            port = int(serving.stdout.readline().rpartition(":")[2])
            with echowire.call(f"tcp://127.0.0.1:{port}") as peer:
                assert peer.echo(b"hello") == b"hello"
            serving.send_signal(signal.SIGINT)
        told.seek(0)
        assert not packages(told.read()) & {"numpy", "polars"}


def test_the_fixtures_load_neither(tmp_path: Path) -> None:
    path = tmp_path / "test_fixtures.py"
    path.write_text(FIXTURES)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
