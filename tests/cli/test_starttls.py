"""`call --starttls` against the servers that people have, with openssl s_client's verdict beside ours."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path
from subprocess import PIPE

import pytest

import echowire
import echowire.aio
from tests.certificates import DAY, Workshop, now
from tests.commands import run_command
from tests.peers import needs
from tests.plain_servers import serving
from tests.processes import COMMAND
from tests.starttls_servers import starttls_server

FIRST_WORDS: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "smtp": (b"NOOP\r\n", (b"250 ",)),
    "imap": (b"a2 LOGOUT\r\n", (b"* BYE",)),
    "pop3": (b"QUIT\r\n", (b"+OK",)),
    "ftp": (b"QUIT\r\n", (b"221 ",)),
    "postgres": (bytes.fromhex("00000015 00030000") + b"user\0nobody\0\0", (b"R", b"E")),
}
"""What is said in TLS, and how the answer begins."""


@needs("openssl")
@pytest.mark.parametrize("protocol", FIRST_WORDS)
def test_a_real_server(protocol: str, tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    said, answer = FIRST_WORDS[protocol]
    with starttls_server(protocol, shop.make("localhost")) as port:
        with echowire.call(f"tls://localhost:{port}", starttls=protocol, tls_authorities=shop.trusted) as peer:
            assert peer.certificates[0].names == ("localhost",)
            peer.send(said)
            assert peer.recv().startswith(answer)
        words = ["call", "--starttls", protocol, "localhost", str(port), "--tls-ca", str(shop.trusted), "-v"]
        with subprocess.Popen([*COMMAND, *words], stdin=PIPE, stdout=PIPE, stderr=PIPE, bufsize=0) as command:
            assert command.stdin is not None and command.stdout is not None
            command.stdin.write(said)
            # Some servers answer nothing any more once they see the end of what is said.
            assert command.stdout.read(100).startswith(answer)
            told = command.communicate(timeout=60)[1].decode()
        assert command.returncode == 0, told
        assert ", TLS in " in told and "Certificate 0: " in told and "days left" in told
        # s_client, with the same authority, has the same to say.
        theirs = ["openssl", "s_client", "-connect", f"localhost:{port}", "-starttls", protocol]
        checks = ["-CAfile", shop.trusted, "-verify_return_error", "-verify_hostname", "localhost", "-brief"]
        done = subprocess.run([*theirs, *map(str, checks)], input=b"", capture_output=True, timeout=60)
        assert b"Verification: OK" in done.stderr, done.stderr
        # And a fault is named through it, too, by a second look that speaks the protocol again.
        ran = run_command("call", "--starttls", protocol, "127.0.0.1", port, "--tls-ca", shop.trusted, stdin=said)
        assert ran.status == 1
        assert "it is for localhost, and not for 127.0.0.1" in ran.err


def test_an_expired_certificate_behind_starttls(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    expired = shop.make("localhost", not_before=now() - 9 * DAY, not_after=now() - 1.5 * DAY)
    with starttls_server("imap", expired) as port:
        ran = run_command("call", "--starttls", "imap", "localhost", port, "--tls-ca", shop.trusted)
    assert ran.status == 1 and "1 day ago; have it renewed" in ran.err


def test_it_is_awaited_as_well(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)

    async def main(port: int) -> None:
        at, how = f"tls://localhost:{port}", {"tls_authorities": shop.trusted}
        async with echowire.aio.call(at, starttls="imap", **how) as peer:  # type: ignore[arg-type]
            await peer.send(b"a2 LOGOUT\r\n")
            assert (await peer.recv()).startswith(b"* BYE")

    with starttls_server("imap", shop.make("localhost")) as port:
        asyncio.run(main(port))


def test_a_server_without_it_is_said() -> None:
    def plain_smtp(sock: socket.socket) -> None:
        sock.sendall(b"220 old ESMTP\r\n")
        sock.recv(1000)
        sock.sendall(b"250-old\r\n250 HELP\r\n")
        sock.recv(1000)

    with serving(plain_smtp) as port:
        ran = run_command("call", "--starttls", "smtp", "127.0.0.1", port)
    assert ran.status == 1
    said = "does not offer STARTTLS in its answer to EHLO"
    assert ran.err == f"echowire: STARTTLS (smtp) with 127.0.0.1:{port}/tls: the server {said}\n"


def test_a_server_that_waits_for_tls_at_once_is_said() -> None:
    with serving(lambda sock: sock.recv(1)) as port:
        ran = run_command("call", "--starttls", "imap", "127.0.0.1", port, "-w", "100ms")
    assert ran.status == 1
    assert "a server that waits for TLS at once needs no --starttls" in ran.err
