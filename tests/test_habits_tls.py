"""Habits of those who know openssl s_client, s_server, curl and ncat --ssl: what they type there, what that prints, and
what the same is here. Each test is one habit; the first lines are theirs, the last ones ours."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.certificates import DAY, Files, Workshop, now
from tests.commands import Ran, run_command
from tests.peers import needs
from tests.plain_servers import free_port

pytestmark = needs("openssl", "curl", "ncat")

PATIENCE_S = 60


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("acme"))


@pytest.fixture(scope="module")
def good(shop: Workshop) -> Files:
    return shop.make("localhost", ca=shop.intermediate)


def theirs(*words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run one of their programs to its end."""
    done = subprocess.run([*map(str, words)], input=stdin, capture_output=True, timeout=PATIENCE_S)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def typed(*words: object, line: bytes) -> str:
    """Type a line to a program that goes on until Ctrl-C, and the line that it prints then."""
    command = [*map(str, words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        try:
            assert run.stdin is not None and run.stdout is not None
            run.stdin.write(line)
            run.stdin.flush()
            return run.stdout.readline().decode()
        finally:
            run.kill()


def call(*words: object, stdin: bytes = b"") -> Ran:
    """`echowire call`."""
    return run_command("call", *words, stdin=stdin)


@contextmanager
def their_server(*words: object) -> Iterator[int]:
    """One of their servers, with its port for `PORT`."""
    port = free_port()
    command = [str(word).replace("PORT", str(port)) for word in words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            wait_for_port(port)
            yield port
        finally:
            run.kill()


@contextmanager
def our_server(*words: object) -> Iterator[int]:
    """`echowire serve tls://127.0.0.1:0`, with these options."""
    command = [sys.executable, "-m", "echowire", "serve", "tls://127.0.0.1:0", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        try:
            assert run.stdout is not None
            yield int(run.stdout.readline().partition("127.0.0.1:")[2].split()[0])
        finally:
            run.send_signal(signal.SIGINT)


def wait_for_port(port: int) -> None:
    until, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            pause.wait(0.05)
    pytest.fail(f"nothing listens on {port}")


def s_server(files: Files, *more: object) -> Sequence[object]:
    chain = ("-cert", files.certificate, "-cert_chain", files.certificate, "-key", files.key)
    return ("openssl", "s_server", "-accept", "127.0.0.1:PORT", *chain, "-quiet", *more)


def test_a_line_through_s_server(shop: Workshop, good: Files) -> None:
    """s_server -rev answers each line backwards."""
    with their_server(*s_server(good, "-rev")) as port:
        connect = ("openssl", "s_client", "-quiet", "-CAfile", shop.trusted, "-connect", f"localhost:{port}")
        assert typed(*connect, line=b"abc\n") == "cba\n"

        ran = call("--tls", "localhost", port, "--tls-ca", shop.trusted, stdin=b"abc\n")
        assert ran.out == "cba\n" and ran.status == 0


def test_s_client_curl_and_ncat_to_our_echo(shop: Workshop, good: Files) -> None:
    with our_server("--tls-cert", good.certificate, "--tls-key", good.key) as port:
        at = f"localhost:{port}"
        connect = ("openssl", "s_client", "-quiet", "-CAfile", shop.trusted, "-verify_return_error", "-connect", at)
        assert typed(*connect, line=b"hello\n") == "hello\n"

        done = theirs("curl", "-s", "--http0.9", "--cacert", shop.trusted, f"https://{at}/path", "-m", 2)
        assert done.stdout.startswith("GET /path HTTP/1.1")  # its own request, which an echo sends back

        trust = ("--ssl-verify", "--ssl-trustfile", shop.trusted)
        done = theirs("ncat", "--ssl", *trust, "-i", "2s", "localhost", port, stdin=b"hello\n")
        assert done.stdout == "hello\n"

        assert call(f"tls://{at}", "--tls-ca", shop.trusted, stdin=b"hello\n").out == "hello\n"


def test_our_call_to_ncat_that_listens(good: Files, shop: Workshop) -> None:
    """ncat -l --ssl --ssl-cert --ssl-key; here -e cat makes an echo of it."""
    listen = ("ncat", "-l", "-k", "127.0.0.1", "PORT", "--ssl", "--ssl-cert", good.certificate, "--ssl-key", good.key)
    with their_server(*listen, "-e", "/bin/cat") as port:
        ran = call("--tls", "localhost", port, "--tls-ca", shop.trusted, "-m", "hello")
        assert ran.out == "hello\n" and ran.status == 0


def test_a_certificate_of_the_clients(shop: Workshop, good: Files) -> None:
    """s_client -cert -key, curl --cert --key; s_server -Verify 1 -CAfile."""
    ours = shop.make("me@example.org")
    served = ("--tls-cert", good.certificate, "--tls-key", good.key, "--tls-client-ca", shop.trusted)
    with our_server(*served) as port:
        connect = ("openssl", "s_client", "-quiet", "-CAfile", shop.trusted, "-connect", f"localhost:{port}")
        assert typed(*connect, "-cert", ours.certificate, "-key", ours.key, line=b"hi\n") == "hi\n"
        assert "alert certificate required" in theirs(*connect, stdin=b"hi\n").stderr
        url = ("curl", "-sS", "--http0.9", "--cacert", shop.trusted, f"https://localhost:{port}/", "-m", 2)
        assert theirs(*url, "--cert", ours.certificate, "--key", ours.key).stdout.startswith("GET / HTTP/1.1")
        assert "certificate required" in theirs(*url).stderr
    verifying = ("-rev", "-Verify", 1, "-verify_return_error", "-CAfile", shop.trusted)
    with their_server(*s_server(good, *verifying)) as port:
        at = ("--tls", "localhost", port, "--tls-ca", shop.trusted)
        assert call(*at, "--tls-cert", ours.certificate, "--tls-key", ours.key, stdin=b"abc\n").out == "cba\n"
        ran = call(*at, stdin=b"abc\n")
        assert ran.status == 1 and "give --tls-cert and --tls-key" in ran.err


def test_alpn(shop: Workshop, good: Files) -> None:
    """s_client -alpn h2,http/1.1 says `ALPN protocol: h2`; curl -v `ALPN: server accepted h2`."""
    with our_server("--tls-cert", good.certificate, "--tls-key", good.key, "--alpn", "h2,http/1.1") as port:
        asked = ("openssl", "s_client", "-connect", f"localhost:{port}", "-alpn", "http/1.1,h2")
        assert "ALPN protocol: h2" in theirs(*asked).stdout
        done = theirs("curl", "-v", "-k", "--http1.1", "--http0.9", f"https://localhost:{port}/", "-m", 2)
        assert "accepted http/1.1" in done.stderr or "accepted to use http/1.1" in done.stderr
    with their_server(*s_server(good, "-rev", "-alpn", "h2")) as port:
        at = ("--tls", "localhost", port, "--tls-ca", shop.trusted)
        assert "ALPN: h2\n" in call(*at, "--alpn", "h2,http/1.1", "-v", stdin=b"\n").err
        ran = call(*at, "--alpn", "http/1.1", stdin=b"\n")
        assert ran.status == 1 and "the peer takes none of the protocols offered (http/1.1)" in ran.err


def test_versions(shop: Workshop, good: Files) -> None:
    """s_client -tls1_2, curl --tls-max 1.2; what does not meet is `alert protocol version` to all of them."""
    with our_server("--tls-cert", good.certificate, "--tls-key", good.key, "--tls-min", "1.3") as port:
        assert (
            "alert protocol version" in theirs("openssl", "s_client", "-tls1_2", "-connect", f"localhost:{port}").stderr
        )
        done = theirs("curl", "-sS", "-k", "--tls-max", "1.2", f"https://localhost:{port}/")
        assert done.returncode == 35 and "alert protocol version" in done.stderr
        ran = call("--tls", "localhost", port, "--tls-ca", shop.trusted, "--tls-max", "1.2", "-m", "x")
        assert ran.status == 1 and "the versions of TLS do not meet; here it is 1.2." in ran.err
        ran = call("--tls", "localhost", port, "--tls-ca", shop.trusted, "-m", "x", "-v")
        assert ran.out == "x\n" and "(TLSv1.3, TLS_AES_256_GCM_SHA384)" in ran.err


def test_what_is_wrong_with_a_certificate(shop: Workshop) -> None:
    """s_client says a number, curl a line; here it is that line with the date, the names, and what to do."""
    expired = shop.make("localhost", not_before=now() - 9 * DAY, not_after=now() - 2.5 * DAY)
    with their_server(*s_server(expired, "-rev")) as port:
        asked = ("openssl", "s_client", "-CAfile", shop.trusted, "-connect", f"localhost:{port}")
        assert "verify error:num=10:certificate has expired" in theirs(*asked).stderr
        done = theirs("curl", "-sS", "--cacert", shop.trusted, f"https://localhost:{port}/")
        assert done.returncode == 60 and "SSL certificate problem: certificate has expired" in done.stderr
        ran = call("--tls", "localhost", port, "--tls-ca", shop.trusted, "-m", "x")
        assert ran.status == 1 and f"it expired on {now() - 2.5 * DAY:%Y-%m-%d}, 2 days ago" in ran.err
    with their_server(*s_server(shop.make("www.example.org"), "-rev")) as port:
        done = theirs("curl", "-sS", "--cacert", shop.trusted, f"https://localhost:{port}/")
        assert done.returncode == 60 and "no alternative certificate subject name matches" in done.stderr
        trust = ("--ssl-verify", "--ssl-trustfile", shop.trusted)
        assert "Certificate verification error" in theirs("ncat", "--ssl", *trust, "localhost", port).stderr
        at = ("--tls", "localhost", port, "--tls-ca", shop.trusted)
        ran = call(*at, "-m", "x")
        assert "it is for www.example.org, and not for localhost" in ran.err
        # ncat --ssl-servername, s_client -servername: one option here, for the name that is sent and that is checked
        assert call(*at, "--tls-name", "www.example.org", stdin=b"abc\n").out == "cba\n"


def test_the_chain(shop: Workshop, good: Files) -> None:
    """s_client -showcerts lists `s:` and `i:` of each; here it is call -v, with the days that are left."""
    with their_server(*s_server(good, "-rev", "-tls1_2")) as port:
        done = theirs("openssl", "s_client", "-showcerts", "-connect", f"localhost:{port}")
        assert " 0 s:" in done.stdout and "   i:" in done.stdout and " 1 s:" in done.stdout
        ran = call("--tls", "localhost", port, "--tls-ca", shop.trusted, "-v", stdin=b"\n")
        own = next(line for line in ran.err.splitlines() if line.startswith("Certificate 0: "))
        assert (
            " for localhost; signed by OU=Testing CA " in own and "; not after " in own and own.endswith(" days left")
        )
        assert any(
            line.startswith("Certificate ") and "signed by OU=Root, O=Acme" in line for line in ran.err.splitlines()
        )


def test_no_tls_there() -> None:
    """curl says `wrong version number`, s_client too; here it is what the peer said instead."""
    serve = [sys.executable, "-m", "http.server", "PORT", "--bind", "127.0.0.1"]
    with their_server(*serve) as port:
        assert "wrong version number" in theirs("curl", "-sS", f"https://localhost:{port}/").stderr
        ran = call("--tls", "127.0.0.1", port, "-m", "x")
        assert ran.status == 1 and "the peer does not speak TLS" in ran.err and "it is HTTP in the clear" in ran.err
