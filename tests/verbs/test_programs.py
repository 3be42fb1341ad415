"""A program for each connection: what it is given, how it ends, and that none is left."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

import echowire
from echowire import UsageError
from tests.processes import PATIENCE_S


def all_of(port: int, said: bytes) -> bytes:
    """What comes back of `said` and the end behind it."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while data := sock.recv(65536):
            got += data
        return got


def test_its_input_and_output_are_the_connection() -> None:
    with echowire.Programs("tr a-z A-Z") as programs, echowire.serve("127.0.0.1:0", handler=programs) as server:
        data = b"hello" * 100_000
        received: list[bytes] = []
        callers = [
            threading.Thread(target=lambda: received.append(all_of(server.endpoint.port, data))) for _ in range(3)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert received == [data.upper()] * 3


def test_words_are_cut_as_a_shell_does_and_no_shell_is_run() -> None:
    with echowire.Programs("""printf '%s|' "a b" '$HOME' c""") as programs:
        assert programs.words == ["printf", "%s|", "a b", "$HOME", "c"]
        with echowire.serve("127.0.0.1:0", handler=programs) as server:
            assert all_of(server.endpoint.port, b"") == b"a b|$HOME|c|"


def test_it_knows_both_ends() -> None:
    command = ["sh", "-c", "echo $ECHOWIRE_PEER $ECHOWIRE_PEER_PORT $ECHOWIRE_LOCAL $ECHOWIRE_LOCAL_PORT"]
    with echowire.Programs(command) as programs, echowire.serve("127.0.0.1:0", handler=programs) as server:
        with echowire.call(server.endpoint) as peer:
            line = f"127.0.0.1 {peer.local.port} 127.0.0.1 {server.endpoint.port}\n"
            assert peer.readline().decode() == line


def test_unix(tmp_path: Path) -> None:
    with echowire.Programs("cat") as programs, echowire.serve(f"unix:{tmp_path}/s", handler=programs) as server:
        with echowire.call(server.endpoint) as peer:
            assert peer.echo(b"hello") == b"hello"


def test_one_that_does_not_end_is_ended_with_the_server() -> None:
    """And so is what it has started."""
    began = time.monotonic()
    with echowire.Programs(["sh", "-c", "echo $$; sleep 1000 & sleep 1000"]) as programs:
        with echowire.serve("127.0.0.1:0", handler=programs) as server, echowire.call(server.endpoint) as peer:
            number = int(peer.readline())
            assert Path(f"/proc/{number}").exists()
    assert not Path(f"/proc/{number}").exists()
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.parametrize("command", ["", "no-such-program-anywhere -x", "'", []])
def test_what_cannot_be_run_is_refused_at_once(command: str | list[str]) -> None:
    with pytest.raises(UsageError):
        echowire.Programs(command)
