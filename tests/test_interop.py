"""The peers that people use, against our server: ncat, socat and nc get back every byte they send."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

import echowire
from tests.peers import needs

PATIENCE_S = 30.0


def command(*arguments: str, stdin: bytes) -> bytes:
    return subprocess.run(arguments, input=stdin, capture_output=True, timeout=PATIENCE_S, check=True).stdout


@pytest.fixture(params=["readiness", "threads"])
def server(request: pytest.FixtureRequest) -> echowire.Server:
    start = request.getfixturevalue("serve")
    running: echowire.Server = start("127.0.0.1:0", engine=request.param)
    return running


@needs("ncat")
def test_ncat_gets_its_two_bytes_two_hundred_times(server: echowire.Server) -> None:
    port = str(server.endpoint.port)
    assert sum(command("ncat", "127.0.0.1", port, stdin=b"hi") == b"hi" for _ in range(200)) == 200


@needs("ncat")
@pytest.mark.parametrize("size", [1, 1_000_000, 20_000_000])
def test_ncat_gets_a_stream_back_whole(server: echowire.Server, size: int) -> None:
    message = random.Random(size).randbytes(size)
    assert command("ncat", "127.0.0.1", str(server.endpoint.port), stdin=message) == message


@needs("socat")
@pytest.mark.parametrize("size", [1, 1_000_000])
def test_socat_gets_a_stream_back_whole(server: echowire.Server, size: int) -> None:
    message = random.Random(size).randbytes(size)
    assert command("socat", "-t5", "-", f"TCP:127.0.0.1:{server.endpoint.port}", stdin=message) == message


@needs("socat")
@pytest.mark.parametrize("size", [1, 1472, 9000, 65_507])
def test_socat_gets_a_datagram_back_whole(server: echowire.Server, size: int) -> None:
    message = random.Random(size).randbytes(size)
    # -b: what socat reads, and so sends, at once; -T: it ends when nothing has come for so long.
    address = f"UDP:127.0.0.1:{server.endpoint.port}"
    assert command("socat", "-b65536", "-T0.5", "-t0.5", "-", address, stdin=message) == message


@needs("ncat")
@pytest.mark.parametrize("size", [1, 8192, 65_507])
def test_ncat_gets_datagrams_back_whole(server: echowire.Server, size: int) -> None:
    # ncat 7 reads 8 KiB at a time, so the largest input becomes several datagrams; and it leaves as soon as its
    # input ends, so the input stays open until all has come.
    message = random.Random(size).randbytes(size)
    with subprocess.Popen(
        ["ncat", "-u", "127.0.0.1", str(server.endpoint.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(message)
        process.stdin.flush()
        assert process.stdout.read(size) == message


@needs("ncat", "socat")
def test_unix_sockets(tmp_path: Path) -> None:
    message = random.Random(5).randbytes(300_000)
    path = tmp_path / "s"
    with echowire.serve(f"unix:{path}"):
        assert command("ncat", "-U", str(path), stdin=message) == message
        assert command("socat", "-t5", "-", f"UNIX-CONNECT:{path}", stdin=message) == message


@needs("ncat")
def test_tls(tmp_path: Path) -> None:
    import trustme

    issued = trustme.CA().issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    both = str(tmp_path / "both.pem")
    for engine in ("readiness", "threads"):
        with echowire.serve("127.0.0.1:0", tls=(both, both), engine=engine) as server:
            for size in (2, 1_000_000):
                message = random.Random(size).randbytes(size)
                assert command("ncat", "--ssl", "127.0.0.1", str(server.endpoint.port), stdin=message) == message


@needs("ncat")
@pytest.mark.parametrize("service", ["daytime", "qotd", "time", "discard"])
def test_services_to_ncat(serve: object, service: str) -> None:
    with echowire.serve("127.0.0.1:0", service=service) as server:
        said = command("ncat", "127.0.0.1", str(server.endpoint.port), stdin=b"")
        assert (len(said) == 4) if service == "time" else (said == b"") == (service == "discard")
